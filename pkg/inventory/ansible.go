package inventory

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/molteniron/molteniron/pkg/internal/document"
	"github.com/molteniron/molteniron/pkg/pool"
)

// ansibleGroup is the group of all nodes; that of a request's group NAME is ansibleGroup_NAME.
const ansibleGroup = "molteniron"

// WriteAnsible writes the nodes of an allocation, with their passwords, as a YAML inventory of Ansible: the group
// molteniron, and below it one for each named group of the request, molteniron_NAME. A host's variables have the
// names of the env file in lower case (ipmi_address, molten_mac, …); what is unknown is left out, so that
// `is defined` says it. ansible_host is the node's first deployment address, where it has one.
//
// Texts with a { are marked !unsafe, so that {{ in a password stays what it is and is no template. Refused,
// with the node named and no value shown, are a node that has the name of a group, two groups that Ansible could
// not tell apart, and a text that is not UTF-8. Nothing is written then.
func WriteAnsible(w io.Writer, a *pool.Allocation) error {
	groups, err := ansibleGroups(a)
	if err != nil {
		return fmt.Errorf("inventory file: %w", err)
	}
	hosts := newMap()
	members := map[string]*document.Value{}
	for _, n := range a.Nodes {
		if err := checkTexts(n.Spec()); err != nil {
			return fmt.Errorf("inventory file: node %s: %w", n.Name, err)
		}
		if n.Name == "all" || n.Name == "ungrouped" || n.Name == ansibleGroup || slices.Contains(slices.Collect(maps.Values(groups)), n.Name) {
			return fmt.Errorf("inventory file: node %s has the name of a group of the inventory; ask for another, or rename it", n.Name)
		}
		putValue(hosts, n.Name, hostVariables(n))
		if name := groups[n.Group]; name != "" {
			if members[name] == nil {
				members[name] = newMap()
			}
			putValue(members[name], n.Name, newMap())
		}
	}
	top := newMap()
	putValue(top, "hosts", hosts)
	if len(members) > 0 {
		children := newMap()
		for _, name := range slices.Sorted(maps.Keys(members)) {
			group := newMap()
			putValue(group, "hosts", members[name])
			putValue(children, name, group)
		}
		putValue(top, "children", children)
	}
	text, err := document.EncodeYAML(within(within(within(top, ansibleGroup), "children"), "all"))
	if err == nil {
		_, err = w.Write(text)
	}
	if err != nil {
		return fmt.Errorf("inventory file: %w", err)
	}
	return nil
}

// ansibleGroups names the groups of Ansible by those of the request. Ansible warns of every name that is not one
// of Python's.
func ansibleGroups(a *pool.Allocation) (map[string]string, error) {
	names, from := map[string]string{}, map[string]string{}
	for _, n := range a.Nodes {
		if n.Group == "" || names[n.Group] != "" {
			continue
		}
		name := ansibleGroup + "_" + strings.ReplaceAll(n.Group, "-", "_")
		if other, taken := from[name]; taken {
			return nil, fmt.Errorf("the groups %s and %s would both be %s in Ansible; name one of them otherwise", other, n.Group, name)
		}
		names[n.Group], from[name] = name, n.Group
	}
	return names, nil
}

func hostVariables(n pool.GrantedNode) *document.Value {
	v := newMap()
	if len(n.IPs) > 0 {
		putText(v, "ansible_host", n.IPs[0])
	}
	putText(v, "molten_bmc_driver", n.BMC.Driver)
	if n.BMC.Driver == pool.DriverRedfish {
		putText(v, "redfish_endpoint", n.BMC.RedfishEndpoint())
		putText(v, "redfish_username", n.BMC.Username)
		putText(v, "redfish_password", n.BMC.Password.Reveal())
		putText(v, "redfish_system_id", n.BMC.SystemID)
	} else {
		putText(v, "ipmi_address", n.BMC.Address)
		putNumber(v, "ipmi_port", int64(n.BMC.Port))
		putText(v, "ipmi_username", n.BMC.Username)
		putText(v, "ipmi_password", n.BMC.Password.Reveal())
	}
	if len(n.MACs) > 0 {
		putText(v, "molten_mac", n.MACs[0])
	}
	putList(v, "molten_macs", n.MACs)
	putText(v, "molten_arch", n.Arch)
	putNumber(v, "molten_cpus", n.CPUs)
	putNumber(v, "molten_ram_mb", n.RAMMB)
	putNumber(v, "molten_disk_gb", n.DiskGB)
	putList(v, "molten_ips", n.IPs)
	putText(v, "molten_group", n.Group)
	if len(n.Properties) > 0 {
		properties := newMap()
		for _, key := range slices.Sorted(maps.Keys(n.Properties)) {
			putText(properties, key, n.Properties[key])
		}
		putValue(v, "molten_properties", properties)
	}
	return v
}

func newMap() *document.Value { return &document.Value{Kind: document.Map} }

// within gives a map with v as its one value.
func within(v *document.Value, key string) *document.Value {
	m := newMap()
	putValue(m, key, v)
	return m
}

func putValue(m *document.Value, key string, v *document.Value) {
	m.Fields = append(m.Fields, document.Field{Key: key, Value: v})
}

// putText is put for Ansible, which takes a text with {{, {% or {# for a template.
func putText(m *document.Value, key, value string) {
	if value == "" {
		return
	}
	v := text(value)
	if strings.Contains(value, "{") {
		v.Tag = "!unsafe"
	}
	putValue(m, key, v)
}
