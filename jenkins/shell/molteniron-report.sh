#!/bin/sh -e
# Writes what the pool looks like into molteniron-report/, as a page for the HTML Publisher and as text.
# The page has neither style nor script: Jenkins would not let them pass.
rm -rf molteniron-report
mkdir molteniron-report
cd molteniron-report

moltenironctl status >status.txt
moltenironctl queue >queue.txt
moltenironctl history --since 24h >history.txt

section() {
	printf '<h2>%s</h2>\n<pre>\n' "$1"
	sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g' "$2"
	printf '</pre>\n<p><a href="%s">as text</a></p>\n' "$2"
}
page() {
	printf '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>MoltenIron pool</title></head>\n<body>\n'
	printf '<h1>MoltenIron pool</h1>\n<p>As of %s.</p>\n' "$(date -u '+%Y-%m-%d %H:%M UTC')"
	section Nodes status.txt
	section Queue queue.txt
	section 'History of the last day' history.txt
	printf '</body>\n</html>\n'
}
page >index.html
