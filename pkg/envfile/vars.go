package envfile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// variable is one name with what it is set to.
type variable struct {
	name  string
	value secret.Text // most are no secrets, but nothing in this package prints one
}

// The names that depend on the first node's driver, and their forms for node i (MOLTEN_NODE_1_…).
// Those of the other driver are unset, so that a build never mixes the addresses of two machines.
var (
	ipmiNames    = []string{"IPMI_ADDRESS", "IPMI_PORT", "IPMI_USERNAME", "IPMI_PASSWORD"}
	redfishNames = []string{"REDFISH_ENDPOINT", "REDFISH_USERNAME", "REDFISH_PASSWORD", "REDFISH_SYSTEM_ID"}
)

// ipmitoolPassword is what ipmitool -E looks for first, before IPMI_PASSWORD: set together, so that a
// password of the machine's own configuration is never sent to the build's node.
const ipmitoolPassword = "IPMITOOL_PASSWORD"

// variables lists what the allocation sets, and the names that it unsets, both in the order of the file.
func variables(a *pool.Allocation) (set []variable, unset []string, err error) {
	if len(a.Nodes) == 0 {
		return nil, nil, fmt.Errorf("allocation %d has no nodes, so there is nothing to write", a.ID)
	}
	add := func(name, value string) { set = append(set, variable{name, secret.New(value)}) }

	add("MOLTEN_OWNER", a.Owner)
	add("MOLTEN_SLOT", a.Slot)
	add("MOLTEN_ALLOCATION", strconv.FormatInt(a.ID, 10))
	add("MOLTEN_TOKEN", a.Token.Reveal())
	add("MOLTEN_POOL", a.Pool)
	add("MOLTEN_EXPIRES_AT", moment(a.ExpiresAt))
	add("MOLTEN_NODE_COUNT", strconv.Itoa(len(a.Nodes)))
	add("MOLTEN_NODES", strings.Join(a.NodeNames(), " "))

	first := a.Nodes[0].Node
	controller, others := bmcVariables(first.BMC)
	set, unset = append(set, controller...), append(unset, others...)
	if first.BMC.Driver == pool.DriverRedfish {
		unset = append(unset, ipmitoolPassword)
	} else {
		add(ipmitoolPassword, first.BMC.Password.Reveal())
	}
	add("MOLTEN_NODE", first.Name)
	for _, v := range hardwareVariables(first) {
		set = append(set, variable{"MOLTEN_" + v.name, v.value})
	}

	for i, n := range a.Nodes {
		prefix := fmt.Sprintf("MOLTEN_NODE_%d_", i+1)
		add(prefix+"NAME", n.Name)
		add(prefix+"GROUP", n.Group)
		add(prefix+"BMC_DRIVER", n.BMC.Driver)
		controller, others := bmcVariables(n.BMC)
		for _, name := range others {
			unset = append(unset, prefix+name)
		}
		for _, v := range slices.Concat(controller, hardwareVariables(n.Node)) {
			set = append(set, variable{prefix + v.name, v.value})
		}
		for _, key := range slices.Sorted(maps.Keys(n.Properties)) {
			if !propertyKey(key) {
				return nil, nil, fmt.Errorf("node %s: property key %q cannot be part of a variable's name; use lower-case letters, digits and _", n.Name, key)
			}
			add(prefix+"PROP_"+strings.ToUpper(key), n.Properties[key])
		}
	}
	for _, v := range set {
		if strings.IndexByte(v.value.Reveal(), 0) >= 0 {
			return nil, nil, fmt.Errorf("the value of %s holds a NUL byte, which no environment variable can carry", v.name)
		}
	}
	return set, unset, nil
}

// bmcVariables gives the variables of the node's driver and the names of the other driver's.
func bmcVariables(b pool.BMC) (set []variable, unset []string) {
	if b.Driver == pool.DriverRedfish {
		return []variable{
			{"REDFISH_ENDPOINT", secret.New(b.RedfishEndpoint())},
			{"REDFISH_USERNAME", secret.New(b.Username)},
			{"REDFISH_PASSWORD", b.Password},
			{"REDFISH_SYSTEM_ID", secret.New(b.SystemID)},
		}, ipmiNames
	}
	return []variable{
		{"IPMI_ADDRESS", secret.New(b.Address)},
		{"IPMI_PORT", secret.New(known(int64(b.Port)))},
		{"IPMI_USERNAME", secret.New(b.Username)},
		{"IPMI_PASSWORD", b.Password},
	}, redfishNames
}

func hardwareVariables(n pool.Node) []variable {
	mac := ""
	if len(n.MACs) > 0 {
		mac = n.MACs[0]
	}
	return []variable{
		{"MAC", secret.New(mac)},
		{"MACS", secret.New(strings.Join(n.MACs, " "))},
		{"ARCH", secret.New(n.Arch)},
		{"CPUS", secret.New(known(n.CPUs))},
		{"RAM_MB", secret.New(known(n.RAMMB))},
		{"DISK_GB", secret.New(known(n.DiskGB))},
		{"IPS", secret.New(strings.Join(n.IPs, " "))},
	}
}

// known writes a number; 0 means unknown in pool and is the empty string in a shell, so that
// ${MOLTEN_CPUS:-4} does what one expects.
func known(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// moment writes a time as RFC 3339 in UTC; digits below the second are cut off, so that a lease is
// never shown longer than it is.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// propertyKey reports whether the upper-cased key can end a variable's name. The pool keeps to the
// same rule; it is checked again because a name, unlike a value, cannot be quoted in a shell.
func propertyKey(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}
