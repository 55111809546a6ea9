// Package devstack writes what DevStack's ironic plugin reads of an allocation's nodes: the
// hardware_info file, and the settings of a localrc or local.conf. It also knows what these forms
// cannot carry, and refuses it with the reason, because DevStack would not: it would enrol another
// machine, or the right one with a wrong password.
//
// hardware_info is read by a shell loop (devstack/lib/ironic in openstack/ironic, enroll_nodes) whose
// rules were taken from its source, and are replayed by this package's tests with the same bash:
// `read` eats backslashes and drops a last line without newline; each unquoted expansion splits at
// blanks and expands * ? [; blank and # lines make bogus nodes. What comes out of the loop goes to
// `openstack baremetal node create --driver-info KEY=VALUE`, which reads VALUE as JSON where it can.
// DevStack traces all of it into its log, passwords included: scrub its logs before they are published.
package devstack
