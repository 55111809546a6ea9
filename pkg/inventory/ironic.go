package inventory

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/view"
)

// The file of `openstack baremetal create`, as far as nodes have something to put there.
type (
	ironicFile struct {
		Nodes []ironicNode `json:"nodes"`
	}
	ironicNode struct {
		Name          string         `json:"name"`
		Driver        string         `json:"driver"`
		ResourceClass string         `json:"resource_class,omitempty"`
		DriverInfo    map[string]any `json:"driver_info"`
		Properties    map[string]any `json:"properties,omitempty"`
		Ports         []ironicPort   `json:"ports,omitempty"`
	}
	ironicPort struct {
		Address string `json:"address"`
	}
)

// WriteBaremetal writes nodes, with their passwords, as the file that `openstack baremetal create` reads: in
// YAML, or in JSON, which it tells apart by the file's suffix. Read gives the nodes back, but for their
// pool, addresses and cost, which Ironic has no place for.
//
// A node's properties go where Ironic's users look for such things: resource_class into the node's own field,
// the others into its properties. Refused, with the node named and no value shown, is a property that has the
// name of one of Ironic's own, and a text that is not UTF-8. Nothing is written then.
func WriteBaremetal(w io.Writer, nodes []pool.NodeSpec, asJSON bool) error {
	file := ironicFile{Nodes: []ironicNode{}}
	for _, n := range nodes {
		node, err := newIronicNode(n)
		if err != nil {
			return fmt.Errorf("baremetal file: node %s: %w", n.Name, err)
		}
		file.Nodes = append(file.Nodes, node)
	}
	encode := view.YAML
	if asJSON {
		encode = view.JSON
	}
	text, err := encode(file)
	if err == nil {
		_, err = w.Write(text)
	}
	if err != nil {
		return fmt.Errorf("baremetal file: %w", err)
	}
	return nil
}

func newIronicNode(n pool.NodeSpec) (ironicNode, error) {
	if err := checkTexts(n); err != nil {
		return ironicNode{}, err
	}
	node := ironicNode{Name: n.Name, Driver: n.BMC.Driver, DriverInfo: driverInfo(n.BMC), Properties: map[string]any{}}
	for key, value := range n.Properties {
		switch key {
		case "resource_class":
			node.ResourceClass = value
		case "cpu_arch", "cpus", "memory_mb", "local_gb":
			return ironicNode{}, fmt.Errorf("its property %s has the name of one that Ironic makes of its fields; rename it", key)
		default:
			node.Properties[key] = value
		}
	}
	if n.Arch != "" {
		node.Properties["cpu_arch"] = n.Arch
	}
	for key, value := range map[string]int64{"cpus": n.CPUs, "memory_mb": n.RAMMB, "local_gb": n.DiskGB} {
		if value != 0 {
			node.Properties[key] = value
		}
	}
	for _, mac := range n.MACs {
		node.Ports = append(node.Ports, ironicPort{mac})
	}
	return node, nil
}

// driverInfo is what Ironic's driver wants to know of a controller. BMC passwords are revealed here.
func driverInfo(b pool.BMC) map[string]any {
	prefix := b.Driver + "_"
	info := map[string]any{}
	if b.Driver == pool.DriverRedfish {
		info["redfish_address"] = b.RedfishEndpoint()
		if b.SystemID != "" {
			info["redfish_system_id"] = b.RedfishSystem()
		}
		switch b.Verify {
		case "": // Ironic verifies by itself
		case "off":
			info["redfish_verify_ca"] = false
		default:
			info["redfish_verify_ca"] = b.Verify
		}
	} else {
		info["ipmi_address"] = b.Address
		if b.Port != 0 {
			info["ipmi_port"] = b.Port
		}
	}
	if b.Username != "" {
		info[prefix+"username"] = b.Username
	}
	if password := b.Password.Reveal(); password != "" {
		info[prefix+"password"] = password
	}
	return info
}

// checkTexts refuses what encoding/json, and with it every form made of it, would silently replace.
func checkTexts(n pool.NodeSpec) error {
	texts := []string{n.Name, n.BMC.Address, n.BMC.SystemID, n.BMC.Verify, n.BMC.Username, n.BMC.Password.Reveal(), n.Arch}
	for key, value := range n.Properties {
		texts = append(texts, key, value)
	}
	if slices.ContainsFunc(texts, func(s string) bool { return !utf8.ValidString(s) }) {
		return errors.New("one of its values is not UTF-8")
	}
	return nil
}
