#!/bin/bash -e
# Gets DevStack, with settings that deploy to real machines. What depends on which machines, molten-prehook adds
# to local.conf after this, and takes out again when the build ends.
rm -rf devstack logs published
git clone --depth 1 --branch "${DEVSTACK_BRANCH:-master}" https://opendev.org/openstack/devstack

password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
cat >devstack/local.conf <<END
[[local|localrc]]
ADMIN_PASSWORD=$password
DATABASE_PASSWORD=$password
RABBIT_PASSWORD=$password
SERVICE_PASSWORD=$password
LOGFILE=$WORKSPACE/logs/stack.sh.log
LOG_COLOR=False

# The change that is tested, where Gerrit started the build.
enable_plugin ironic https://review.opendev.org/openstack/ironic ${GERRIT_REFSPEC:-master}
VIRT_DRIVER=ironic
enable_service ir-api ir-cond ir-neutronagt
disable_service n-novnc horizon

IRONIC_IS_HARDWARE=True
IRONIC_DEPLOY_DRIVER=ipmi
IRONIC_HWINFO_FILE=$WORKSPACE_TMP/hardware_info
END
