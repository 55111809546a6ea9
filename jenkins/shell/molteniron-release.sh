#!/bin/sh -e
# Gives back what the build holds that MOLTENIRON_OWNER names; molten-posthook reads it by itself. The build
# has mostly done so already, and then there is nothing to do.
# shellcheck disable=SC2016 # Jenkins leaves a variable that is not set as it was written
case $MOLTENIRON_OWNER in
'' | '$BUILD_URL')
	echo 'molteniron-release: no build is named. Where each build fails so, this Jenkins does not know its own URL: set "Jenkins URL" in its system configuration' >&2
	exit 2
	;;
esac

case $MOLTENIRON_HOLD_ON_FAILURE in
[0-9]*)
	# A build that was good has nothing left. Another may keep its nodes for a post-mortem: what its own
	# post-hook has kept stays as it is, and what it left undone is done here.
	MOLTENIRON_RESULT=FAILURE
	export MOLTENIRON_RESULT
	;;
*) unset MOLTENIRON_HOLD_ON_FAILURE ;;
esac
exec molten-posthook
