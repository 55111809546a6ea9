#!/bin/sh -e
# The build's own part: by now it holds a node, and molteniron.env says which and how to reach its BMC.
# Where Jenkins is older than 2020, WORKSPACE_TMP is not set: "$WORKSPACE@tmp" it is there.
# shellcheck source=/dev/null
. "$WORKSPACE_TMP/molteniron.env"
mkdir -p logs
echo "testing on $MOLTEN_NODE until $MOLTEN_EXPIRES_AT"
# -E takes the password from the environment; -P would show it to everybody on the agent.
ipmitool -I lanplus -H "$IPMI_ADDRESS" -p "$IPMI_PORT" -U "$IPMI_USERNAME" -E chassis power status | tee logs/power.txt
