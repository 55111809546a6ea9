#!/bin/bash
# Reads a hardware_info file ($1) for a driver ($2) by the rules of DevStack's enroll_nodes, and prints
# the arguments that the openstack client would get: each ended by NUL, each node ended by one NUL more.
# What matters is kept as it is there: read without -r, expansions without quotes, awk for the fields,
# one string of options that is split once more.
while read hardware_info; do
    address=$(echo $hardware_info | awk '{print $1}')
    mac=$(echo $hardware_info | awk '{print $2}')
    user=$(echo $hardware_info | awk '{print $3}')
    password=$(echo $hardware_info | awk '{print $4}')
    options=""
    case $2 in
    ipmi)
        options+=" --driver-info ipmi_address=$address \
            --driver-info ipmi_password=$password \
            --driver-info ipmi_username=$user"
        ;;
    redfish)
        system=$(echo $hardware_info | awk '{print $5}')
        options+=" --driver-info redfish_address=https://$address \
            --driver-info redfish_system_id=$system \
            --driver-info redfish_password=$password \
            --driver-info redfish_username=$user \
            --driver-info redfish_verify_ca=False"
        ;;
    esac
    printf '%s\0' $options
    for info in ${mac//;/ }; do
        printf '%s\0' "mac=$(echo $info | awk -F ',' '{print $1}')"
    done
    printf '\0'
done <"$1"
