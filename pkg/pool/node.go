package pool

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// Status is the machine state of a node (DESIGN: ready → allocated → ready, or → dirty → ready; broken).
type Status string

// The statuses of a node. Maintenance is no status: a person's decision is kept apart.
const (
	Ready     Status = "ready"     // free, may be handed out
	Allocated Status = "allocated" // held by an allocation
	Dirty     Status = "dirty"     // given back, must be cleaned before the next build
	Broken    Status = "broken"    // taken out by a check, a rule or a policy; carries a reason
)

// Statuses lists every status in the order in which people expect them.
var Statuses = []Status{Ready, Allocated, Dirty, Broken}

// The BMC drivers.
const (
	DriverIPMI    = "ipmi"
	DriverRedfish = "redfish"
)

// BMC is how a node's management controller is reached.
type BMC struct {
	Driver   string      `json:"driver"`  // ipmi or redfish
	Address  string      `json:"address"` // IPv4, IPv6 (no brackets) or a DNS name; redfish: optionally with scheme
	Port     int         `json:"port"`    // 1 to 65535; 623 for ipmi and 443 for redfish unless said
	SystemID string      `json:"system_id,omitempty"`
	Verify   string      `json:"verify,omitempty"` // redfish: "" (verify), "off", or the path of a CA file
	Username string      `json:"username"`
	Password secret.Text `json:"password"` // null in JSON unless revealed with NodeWithCredentials
}

// RedfishEndpoint is the URL of a Redfish controller without a path: https unless the address says
// otherwise, the port where it is not the scheme's own, brackets around an IPv6 address.
func (b BMC) RedfishEndpoint() string {
	scheme, host, ok := strings.Cut(b.Address, "://")
	if !ok {
		scheme, host = "https", b.Address
	}
	host = strings.TrimSuffix(strings.TrimPrefix(strings.TrimRight(host, "/"), "["), "]")
	port := strconv.Itoa(b.Port)
	if b.Port == 0 || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return scheme + "://" + host
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// RedfishSystem is the path of the node's system, as Ironic and Redfish clients want it: where a person gave
// only its name, the standard's path before it. "" is the controller's only system.
func (b BMC) RedfishSystem() string {
	if b.SystemID == "" || strings.HasPrefix(b.SystemID, "/") {
		return b.SystemID
	}
	return "/redfish/v1/Systems/" + b.SystemID
}

// NodeSpec is what a person says of a node: all that add, import and export carry.
type NodeSpec struct {
	Name       string            // 1 to 63 of [A-Za-z0-9._-], beginning with a letter or digit
	Pool       string            // "" is the default pool
	BMC        BMC               // Driver "" is ipmi, Port 0 the driver's default
	MACs       []string          // any usual notation; kept as aa:bb:cc:dd:ee:ff
	Arch       string            // "" is unknown; x86_64, aarch64, ppc64le …: [a-z0-9_]+
	CPUs       int64             // 0 is unknown
	RAMMB      int64             // MiB, 0 is unknown
	DiskGB     int64             // GB, 0 is unknown
	IPs        []string          // deployment addresses, what the original calls allocation_pool
	Properties map[string]string // keys [a-z][a-z0-9_]*, never a field's name
	Cost       int64             // nodes of lower cost go out first
}

// Node is a node as the database has it.
type Node struct {
	UID        string            // immutable, survives renames
	Name       string            //
	Pool       string            //
	BMC        BMC               // Password is set only where the method says so
	MACs       []string          // in the order given
	Arch       string            //
	CPUs       int64             //
	RAMMB      int64             // MiB
	DiskGB     int64             // GB
	IPs        []string          //
	Properties map[string]string //
	Cost       int64             //

	Status      Status    //
	Reason      string    // why it is broken, dirty or suspect; "" otherwise
	Since       time.Time // of the status
	Generation  int64     // grows at each hand-over
	Suspect     bool      // taken back from a build that never gave it back: handed out last
	Maintenance bool      // a person's decision; a held node drains
	MaintReason string    //
	Allocation  int64     // id, 0 when not allocated
	Owner       string    // of that allocation
	Slot        string    //
	ExpiresAt   time.Time // the end of that allocation's lease; zero when nobody holds it
	HoldReason  string    // why it is in hold for a post-mortem; "" when it is not
}

// Spec gives back what a person said of the node.
func (n Node) Spec() NodeSpec {
	return NodeSpec{
		Name: n.Name, Pool: n.Pool, BMC: n.BMC, MACs: n.MACs, Arch: n.Arch, CPUs: n.CPUs, RAMMB: n.RAMMB,
		DiskGB: n.DiskGB, IPs: n.IPs, Properties: n.Properties, Cost: n.Cost,
	}
}
