#!/bin/sh -e
# Gives back what the build holds that MOLTENIRON_OWNER names; molten-posthook reads it by itself. The build
# has mostly done so already, and then there is nothing to do.
# shellcheck disable=SC2016 # it is Jenkins that left the variable as it was written
case $MOLTENIRON_OWNER in
'' | '$BUILD_URL')
	echo 'molteniron-release: no build is named. Where each build fails so, this Jenkins does not know its own URL: set "Jenkins URL" in its system configuration' >&2
	exit 2
	;;
esac
exec molten-posthook
