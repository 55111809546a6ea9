#!/bin/bash -e
# One run of DevStack and of Ironic's scenario tests, on the machines of this build. The agent is thrown away or
# reset after it, and its user may use sudo.

# Also when something fails. The post-hook blanks the machines' passwords in logs/, before it is archived.
collect() {
	mkdir -p logs
	sudo journalctl --no-pager --unit 'devstack@*' | gzip >logs/devstack.txt.gz
	grep -v PASSWORD devstack/local.conf >logs/local.conf.txt
}
trap collect EXIT

# Jenkins' time limit in milliseconds; DevStack has a variable of the same name, in seconds, for Tempest.
unset BUILD_TIMEOUT

(cd devstack && ./stack.sh)
(cd "${DEST:-/opt/stack}/tempest" && tox -e all -- ironic_tempest_plugin.tests.scenario)
