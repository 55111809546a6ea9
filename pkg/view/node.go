package view

import (
	"maps"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// BMC is how a node's management controller is reached.
type BMC struct {
	Driver   string  `json:"driver"`    // ipmi or redfish
	Address  string  `json:"address"`   // IPv4, IPv6 without brackets, or a DNS name
	Port     *int64  `json:"port"`      // 1 to 65535
	SystemID string  `json:"system_id"` // redfish only, "" when the controller has one system
	Verify   string  `json:"verify"`    // redfish only: "" (verify), "off", or the path of a CA file
	Username string  `json:"username"`
	Password *string `json:"password"` // null unless credentials were asked for
}

// Node is a node in JSON.
type Node struct {
	Name              string            `json:"name"`
	Pool              string            `json:"pool"`
	Status            string            `json:"status"` // ready, allocated, dirty or broken
	Reason            string            `json:"reason"` // why it is broken, dirty or suspect
	Suspect           bool              `json:"suspect"`
	Maintenance       bool              `json:"maintenance"`
	MaintenanceReason string            `json:"maintenance_reason"`
	Owner             string            `json:"owner"` // "" when nobody holds it
	Slot              string            `json:"slot"`
	Allocation        *int64            `json:"allocation"`  // the id, null when nobody holds it
	Generation        int64             `json:"generation"`  // grows at each hand-over
	Since             Time              `json:"since"`       // when the status began
	ExpiresAt         Time              `json:"expires_at"`  // the end of the holder's lease
	HoldReason        string            `json:"hold_reason"` // why it is kept for a post-mortem, "" when it is not
	BMC               BMC               `json:"bmc"`
	MAC               string            `json:"mac"`     // the first one
	MACs              []string          `json:"macs"`    // all, in their order
	Arch              string            `json:"arch"`    //
	CPUs              *int64            `json:"cpus"`    //
	RAMMB             *int64            `json:"ram_mb"`  // MiB
	DiskGB            *int64            `json:"disk_gb"` // GB
	IPs               []string          `json:"ips"`     // deployment addresses
	Properties        map[string]string `json:"properties"`
	Cost              int64             `json:"cost"` // nodes of lower cost go out first
}

// GrantedNode is a node within an allocation in JSON: the node's keys, and its group. Its generation
// is the one with which it was granted.
type GrantedNode struct {
	Node
	Group string `json:"group"`
}

// NewNode makes the JSON form of n. With credentials the password is shown as n has it, so n must come
// from a method that reads it; without, it is null.
func NewNode(n pool.Node, credentials bool) Node {
	v := Node{
		Name: n.Name, Pool: n.Pool, Status: string(n.Status), Reason: n.Reason, Suspect: n.Suspect,
		Maintenance: n.Maintenance, MaintenanceReason: n.MaintReason,
		Owner: n.Owner, Slot: n.Slot, Allocation: number(n.Allocation), Generation: n.Generation,
		Since: Time{n.Since}, ExpiresAt: Time{n.ExpiresAt}, HoldReason: n.HoldReason,
		BMC: BMC{
			Driver: n.BMC.Driver, Address: n.BMC.Address, Port: number(int64(n.BMC.Port)), SystemID: n.BMC.SystemID,
			Verify: n.BMC.Verify, Username: n.BMC.Username, Password: reveal(n.BMC.Password, credentials),
		},
		MACs: list(n.MACs), Arch: n.Arch, CPUs: number(n.CPUs), RAMMB: number(n.RAMMB), DiskGB: number(n.DiskGB),
		IPs: list(n.IPs), Properties: object(n.Properties), Cost: n.Cost,
	}
	if len(v.MACs) > 0 {
		v.MAC = v.MACs[0]
	}
	return v
}

// NewNodes makes the JSON forms of several nodes, in their order; the result is never nil.
func NewNodes(nodes []pool.Node, credentials bool) []Node {
	v := make([]Node, len(nodes))
	for i, n := range nodes {
		v[i] = NewNode(n, credentials)
	}
	return v
}

// number gives nil for 0, which is how pool says that a number is unknown.
func number(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

// reveal is the one place where this package takes a secret out.
func reveal(t secret.Text, credentials bool) *string {
	if !credentials {
		return nil
	}
	s := t.Reveal()
	return &s
}

func list(s []string) []string { return append([]string{}, s...) }

func object(m map[string]string) map[string]string {
	o := make(map[string]string, len(m))
	maps.Copy(o, m)
	return o
}
