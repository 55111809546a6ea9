package devstack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/molteniron/molteniron/pkg/pool"
)

// HardwareInfo writes the hardware_info file of an allocation: a line for each node with the BMC's
// address, the first MAC address, the user and the password, and for redfish the system. It is the
// original MoltenIron's form, byte for byte, and DevStack's of today. BMC passwords are revealed here.
//
// Refused, with the node and the field named and never the value, is what DevStack's loop would change
// (see the package) and what the form has no field for: a port of IPMI other than 623, Redfish by http,
// nodes of two drivers (DevStack has one IRONIC_DEPLOY_DRIVER), a node without MAC address. DevStack
// itself turns certificate verification off for Redfish, whatever the node says. Nothing is written
// then.
func HardwareInfo(w io.Writer, a *pool.Allocation) error {
	var b bytes.Buffer
	for i, n := range a.Nodes {
		if first := a.Nodes[0]; n.BMC.Driver != first.BMC.Driver {
			return fmt.Errorf("hardware_info: node %s is driven by %s and node %s by %s, but DevStack takes one driver for all; ask for one with --require bmc_driver=%s",
				first.Name, first.BMC.Driver, n.Name, n.BMC.Driver, first.BMC.Driver)
		}
		fields, err := hardwareFields(n.Node)
		if err != nil {
			return fmt.Errorf("hardware_info: node %s: %w", a.Nodes[i].Name, err)
		}
		// `read` without -r takes a backslash for the quoting of what follows.
		b.WriteString(strings.ReplaceAll(strings.Join(fields, " "), `\`, `\\`))
		b.WriteByte('\n')
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("hardware_info: %w", err)
	}
	return nil
}

// hardwareFields gives the fields of a node's line, checked.
func hardwareFields(n pool.Node) ([]string, error) {
	if len(n.MACs) == 0 {
		return nil, fmt.Errorf("it has no MAC address; add one with: moltenironctl set %s mac=ADDRESS", n.Name)
	}
	address := n.BMC.Address
	redfish := n.BMC.Driver == pool.DriverRedfish
	switch {
	case redfish && strings.HasPrefix(address, "http://"):
		return nil, errors.New("its BMC speaks http, and DevStack makes https of every Redfish address")
	case redfish:
		address = strings.TrimPrefix(address, "https://")
		if n.BMC.Port != 443 && n.BMC.Port != 0 {
			address += ":" + strconv.Itoa(n.BMC.Port)
		}
		if strings.Count(address, ":") > 1 {
			return nil, errors.New("its BMC has an IPv6 address, whose brackets DevStack would take for a pattern; give the BMC a DNS name")
		}
	case n.BMC.Port != 623 && n.BMC.Port != 0:
		return nil, fmt.Errorf("its BMC listens on port %d, and hardware_info has no field for a port other than 623", n.BMC.Port)
	}
	fields := []string{address, n.MACs[0], n.BMC.Username, n.BMC.Password.Reveal()}
	names := []string{"the BMC's address", "the MAC address", "the BMC's user", "the BMC's password", "the Redfish system"}
	if redfish && n.BMC.SystemID != "" {
		fields = append(fields, n.BMC.RedfishSystem()) // Ironic would take a bare 1 for a number, which it refuses
	}
	if strings.HasPrefix(address, "-") {
		return nil, errors.New("the BMC's address begins with a hyphen, which DevStack would take for an option")
	}
	for i, f := range fields {
		if err := survives(f); err != nil {
			return nil, fmt.Errorf("%s %w", names[i], err)
		}
	}
	for i := 2; i < 4; i++ {
		if readAsJSON(fields[i]) && (redfish || i == 2 || !digits.MatchString(fields[i])) {
			return nil, fmt.Errorf("%s is of a form that the openstack client would read as JSON and change (a number, true, null, \"quoted\", [list])", names[i])
		}
	}
	return fields, nil
}

// survives says why DevStack's loop would not give the field back as it is.
func survives(field string) error {
	switch {
	case field == "":
		return errors.New("is empty, which would shift the fields behind it")
	case strings.ContainsAny(field, "*?["):
		return errors.New("holds one of * ? [, which DevStack would take for a pattern of file names")
	case !utf8.ValidString(field):
		return errors.New("is not UTF-8")
	case strings.ContainsFunc(field, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }):
		return errors.New("holds a blank or a control character, at which DevStack would cut it")
	}
	return nil
}

// digits are numbers that come back as they went: ironic makes a text of ipmi_password again.
var digits = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

// readAsJSON reports whether Python's json.loads takes s for a value; unlike the standard it knows NaN
// and Infinity.
func readAsJSON(s string) bool {
	if strings.Contains(s, "NaN") || strings.Contains(s, "Infinity") {
		// Alone or in a list or object; within a longer word they are harmless.
		s = strings.NewReplacer("-Infinity", "0", "Infinity", "0", "NaN", "0").Replace(s)
	}
	return json.Valid([]byte(s))
}
