#!/bin/bash
# Takes from a local.conf ($1) what DevStack would source as localrc, by the rules of its
# inc/meta-config: the sections whose header's first field, without brackets, is local|localrc.
awk '
    /^\[\[.+\|.*\]\]/ {
        name = $1
        gsub(/[][]/, "", name)
        split(name, part, "|")
        inside = part[1] == "local" && part[2] == "localrc"
        next
    }
    inside { print }
' "$1"
