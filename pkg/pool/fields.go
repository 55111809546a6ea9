package pool

import (
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/molteniron/molteniron/pkg/secret"
)

// Kind is the type of a field's value.
type Kind string

// The kinds of fields.
const (
	KindText     Kind = "text"
	KindNumber   Kind = "number"   // whole, 0 or more
	KindList     Kind = "list"     // blank-separated
	KindDuration Kind = "duration" // as time.ParseDuration reads it, whole seconds
	KindSwitch   Kind = "switch"   // true or false
)

// Field describes one field of a node or of a pool's policy.
type Field struct {
	Name       string
	Kind       Kind
	Settable   bool // by SetNode or SetPool
	Secret     bool // shown only when asked for with credentials
	Requirable bool // a requirement may name it
	Help       string
}

// NodeFields are the fields of a node that get, set and requirements know. Everything else of the form
// [a-z][a-z0-9_]* is a property.
var NodeFields = []Field{
	{Name: "name", Kind: KindText, Settable: true, Requirable: true, Help: "unique name"},
	{Name: "uid", Kind: KindText, Help: "what never changes, renames included"},
	{Name: "pool", Kind: KindText, Settable: true, Help: "the pool it belongs to"},
	{Name: "bmc_driver", Kind: KindText, Settable: true, Requirable: true, Help: "ipmi or redfish"},
	{Name: "bmc_address", Kind: KindText, Settable: true, Help: "address or DNS name of the BMC"},
	{Name: "bmc_port", Kind: KindNumber, Settable: true, Help: "port of the BMC"},
	{Name: "bmc_system_id", Kind: KindText, Settable: true, Help: "redfish: the system, as in /redfish/v1/Systems/1"},
	{Name: "bmc_verify", Kind: KindText, Settable: true, Help: "redfish: empty, off, or the path of a CA file"},
	{Name: "bmc_user", Kind: KindText, Settable: true, Secret: true, Help: "account on the BMC"},
	{Name: "bmc_password", Kind: KindText, Secret: true, Help: "its password; set from a file or stdin only"},
	{Name: "mac", Kind: KindList, Settable: true, Requirable: true, Help: "MAC addresses, the first is the deployment port's"},
	{Name: "arch", Kind: KindText, Settable: true, Requirable: true, Help: "as uname -m says: x86_64, aarch64, ppc64le"},
	{Name: "cpus", Kind: KindNumber, Settable: true, Requirable: true, Help: "number of CPUs"},
	{Name: "ram_mb", Kind: KindNumber, Settable: true, Requirable: true, Help: "memory in MiB"},
	{Name: "disk_gb", Kind: KindNumber, Settable: true, Requirable: true, Help: "disk in GB"},
	{Name: "ip", Kind: KindList, Settable: true, Requirable: true, Help: "deployment addresses"},
	{Name: "cost", Kind: KindNumber, Settable: true, Requirable: true, Help: "nodes of lower cost go out first"},
	{Name: "status", Kind: KindText, Help: "ready, allocated, dirty or broken"},
	{Name: "reason", Kind: KindText, Help: "why it is broken, dirty or suspect"},
	{Name: "since", Kind: KindText, Help: "since when it has its status"},
	{Name: "generation", Kind: KindNumber, Help: "grows at each hand-over"},
	{Name: "suspect", Kind: KindSwitch, Help: "taken back from a build that never gave it back"},
	{Name: "maintenance", Kind: KindSwitch, Help: "taken out of service by a person"},
	{Name: "maintenance_reason", Kind: KindText, Help: "why"},
	{Name: "owner", Kind: KindText, Help: "who holds it"},
	{Name: "slot", Kind: KindText, Help: "the owner's slot"},
	{Name: "allocation", Kind: KindNumber, Help: "id of the allocation that holds it"},
	{Name: "expires_at", Kind: KindText, Help: "end of the lease"},
	{Name: "hold_reason", Kind: KindText, Help: "why it is kept for a post-mortem"},
}

func fieldByName(name string) (Field, bool) {
	i := slices.IndexFunc(NodeFields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return Field{}, false
	}
	return NodeFields[i], true
}

// Field gives the value of a field or property as text, lists blank-separated, times in RFC 3339,
// unknown numbers empty. A secret one is "" unless the node was read with credentials. A name that is
// neither a field nor a property of the node is ErrNotFound.
func (n Node) Field(name string) (string, error) {
	number := func(v int64) string {
		if v == 0 {
			return ""
		}
		return strconv.FormatInt(v, 10)
	}
	switch name {
	case "name":
		return n.Name, nil
	case "uid":
		return n.UID, nil
	case "pool":
		return n.Pool, nil
	case "bmc_driver":
		return n.BMC.Driver, nil
	case "bmc_address":
		return n.BMC.Address, nil
	case "bmc_port":
		return strconv.Itoa(n.BMC.Port), nil
	case "bmc_system_id":
		return n.BMC.SystemID, nil
	case "bmc_verify":
		return n.BMC.Verify, nil
	case "bmc_user":
		return n.BMC.Username, nil
	case "bmc_password":
		return n.BMC.Password.Reveal(), nil
	case "mac":
		return strings.Join(n.MACs, " "), nil
	case "arch":
		return n.Arch, nil
	case "cpus":
		return number(n.CPUs), nil
	case "ram_mb":
		return number(n.RAMMB), nil
	case "disk_gb":
		return number(n.DiskGB), nil
	case "ip":
		return strings.Join(n.IPs, " "), nil
	case "cost":
		return strconv.FormatInt(n.Cost, 10), nil
	case "status":
		return string(n.Status), nil
	case "reason":
		return n.Reason, nil
	case "since":
		return formatTime(n.Since), nil
	case "generation":
		return strconv.FormatInt(n.Generation, 10), nil
	case "suspect":
		return strconv.FormatBool(n.Suspect), nil
	case "maintenance":
		return strconv.FormatBool(n.Maintenance), nil
	case "maintenance_reason":
		return n.MaintReason, nil
	case "owner":
		return n.Owner, nil
	case "slot":
		return n.Slot, nil
	case "allocation":
		return number(n.Allocation), nil
	case "expires_at":
		return formatTime(n.ExpiresAt), nil
	case "hold_reason":
		return n.HoldReason, nil
	}
	if v, ok := n.Properties[name]; ok {
		return v, nil
	}
	return "", fail(ErrNotFound, "node %s has no field or property %q; its fields are %s%s", n.Name, name, fieldNames(), propertyNames(n.Properties))
}

func fieldNames() string {
	names := make([]string, len(NodeFields))
	for i, f := range NodeFields {
		names[i] = f.Name
	}
	return strings.Join(names, ", ")
}

// requirableNames are the fields that a requirement may name.
func requirableNames() string {
	var names []string
	for _, f := range NodeFields {
		if f.Requirable {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

func propertyNames(p map[string]string) string {
	if len(p) == 0 {
		return ""
	}
	return "; its properties " + strings.Join(slices.Sorted(maps.Keys(p)), ", ")
}

// Limits of what is stored: the columns of the schema.
const (
	maxName          = 63
	maxArch          = 32
	maxHost          = 253
	maxText          = 255
	maxReason        = 512
	maxResult        = 64
	maxOwner         = 768
	maxPassword      = 4096
	maxPropertyValue = 4096
	maxProperties    = 256
)

// Lengths are compared beside these patterns: a counted repetition takes long to compile, in each process.
var (
	namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	archPattern = regexp.MustCompile(`^[a-z0-9_]+$`)
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
)

func checkName(what, name string) error {
	if len(name) > maxName || !namePattern.MatchString(name) {
		return fmt.Errorf("%s %q: 1 to %d letters, digits, dots, underscores and hyphens, beginning with a letter or digit", what, name, maxName)
	}
	return nil
}

// checkPlain refuses what cannot be shown in a line or kept in a column: control characters, broken
// UTF-8, outer blanks (which a database takes for nothing), and too much.
func checkPlain(what, value string, limit int) error {
	switch {
	case utf8.RuneCountInString(value) > limit:
		return fmt.Errorf("%s is longer than %d characters", what, limit)
	case !utf8.ValidString(value):
		return fmt.Errorf("%s is no UTF-8 text", what)
	case strings.TrimSpace(value) != value:
		return fmt.Errorf("%s begins or ends with a blank", what)
	case strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("%s holds a control character", what)
	}
	return nil
}

// normalMAC gives aa:bb:cc:dd:ee:ff for any notation of a 48-bit MAC address.
func normalMAC(s string) (string, error) {
	if len(s) == 12 && !strings.ContainsAny(s, ":.-") {
		s = s[0:2] + ":" + s[2:4] + ":" + s[4:6] + ":" + s[6:8] + ":" + s[8:10] + ":" + s[10:12]
	}
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return "", fmt.Errorf("mac %q is no MAC address; write it as 52:54:00:12:34:56", s)
	}
	return mac.String(), nil
}

func normalIP(s string) (string, error) {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return "", fmt.Errorf("ip %q is no IP address", s)
	}
	return ip.String(), nil
}

// normalAddress checks a BMC's address and gives IP addresses their one spelling.
func normalAddress(driver, s string) (string, error) {
	bad := fmt.Errorf("bmc_address %q is no address: write an IP address or a DNS name", s)
	if s == "" {
		return "", fmt.Errorf("bmc_address is missing")
	}
	if driver == DriverRedfish && strings.Contains(s, "://") {
		u, err := url.Parse(s)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil ||
			u.Port() != "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return "", fmt.Errorf("bmc_address %q is no Redfish address: write https://HOST, the port goes into bmc_port", u.Redacted())
		}
		if u.Scheme == "http" {
			return "http://" + u.Host, nil
		}
		s = u.Hostname() // https is what is meant without a scheme: one endpoint, one spelling
	}
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		if ip.IsUnspecified() || ip.IsMulticast() {
			return "", fmt.Errorf("bmc_address %q is no address of a host", s)
		}
		return ip.String(), nil
	}
	if len(s) > maxHost || !hostPattern.MatchString(s) || strings.Contains(s, "..") {
		return "", bad
	}
	if strings.Trim(s, "0123456789.") == "" { // 10.0.0.300, 10.0.0: meant as an address
		return "", bad
	}
	return strings.ToLower(s), nil
}

// normalize checks a spec and gives every value its one spelling. All that is wrong is told at once,
// each line naming the field and the value (never a secret one).
func (s NodeSpec) normalize() (NodeSpec, []string) {
	var problems []string
	bad := func(err error) {
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	bad(checkName("name", s.Name))
	if s.Pool == "" {
		s.Pool = DefaultPool
	}
	bad(checkName("pool", s.Pool))

	b := &s.BMC
	if b.Driver == "" {
		b.Driver = DriverIPMI
	}
	switch b.Driver {
	case DriverIPMI:
		if b.Port == 0 {
			b.Port = 623
		}
		if b.SystemID != "" {
			bad(fmt.Errorf("bmc_system_id %q: only the driver redfish has one", b.SystemID))
		}
		if b.Verify != "" {
			bad(fmt.Errorf("bmc_verify %q: only the driver redfish has it", b.Verify))
		}
	case DriverRedfish:
		if b.Port == 0 {
			b.Port = 443
			if strings.HasPrefix(b.Address, "http://") {
				b.Port = 80
			}
		}
	default:
		bad(fmt.Errorf("bmc_driver %q: use ipmi or redfish", b.Driver))
	}
	if address, err := normalAddress(b.Driver, b.Address); err != nil {
		bad(err)
	} else {
		b.Address = address
	}
	if b.Port < 1 || b.Port > 65535 {
		bad(fmt.Errorf("bmc_port %d is not between 1 and 65535", b.Port))
	}
	bad(checkPlain("bmc_system_id", b.SystemID, maxText))
	bad(checkPlain("bmc_verify", b.Verify, maxText))
	bad(checkPlain("bmc_user", b.Username, maxText))
	bad(checkPassword(b.Password))

	s.MACs = normalizeList(s.MACs, "mac", normalMAC, bad)
	s.IPs = normalizeList(s.IPs, "ip", normalIP, bad)
	if s.Arch != "" && (len(s.Arch) > maxArch || !archPattern.MatchString(s.Arch)) {
		bad(fmt.Errorf("arch %q: write it as uname -m says, as in x86_64", s.Arch))
	}
	for _, n := range []struct {
		name  string
		value int64
		max   int64
	}{{"cpus", s.CPUs, math.MaxInt32}, {"ram_mb", s.RAMMB, math.MaxInt32}, {"disk_gb", s.DiskGB, math.MaxInt32}, {"cost", s.Cost, math.MaxInt32}} {
		if n.value < 0 || n.value > n.max {
			bad(fmt.Errorf("%s %d is not between 0 and %d", n.name, n.value, n.max))
		}
	}
	if len(s.Properties) > maxProperties {
		bad(fmt.Errorf("more than %d properties", maxProperties))
	}
	for _, key := range slices.Sorted(maps.Keys(s.Properties)) {
		bad(checkProperty(key, s.Properties[key]))
	}
	if len(s.Properties) == 0 {
		s.Properties = nil
	}
	return s, problems
}

func normalizeList(list []string, what string, normal func(string) (string, error), bad func(error)) []string {
	var out []string
	for _, item := range list {
		v, err := normal(item)
		if err != nil {
			bad(err)
			continue
		}
		if slices.Contains(out, v) {
			bad(fmt.Errorf("%s %s is named twice", what, v))
			continue
		}
		out = append(out, v)
	}
	return out
}

func checkProperty(key, value string) error {
	if !keyPattern.MatchString(key) || len(key) > maxName {
		return fmt.Errorf("property %q: lower-case letters, digits and _ only, beginning with a letter", key)
	}
	if _, isField := fieldByName(key); isField {
		return fmt.Errorf("property %q has the name of a field", key)
	}
	if value == "" {
		return fmt.Errorf("property %s is empty; leave it out instead", key)
	}
	return checkPlain("property "+key, value, maxPropertyValue)
}

// checkPassword allows every character that an env file can carry: all but NUL.
func checkPassword(p secret.Text) error {
	switch v := p.Reveal(); {
	case len(v) > maxPassword:
		return fmt.Errorf("bmc_password is longer than %d bytes", maxPassword)
	case strings.ContainsRune(v, 0):
		return fmt.Errorf("bmc_password holds a NUL character")
	case !utf8.ValidString(v):
		return fmt.Errorf("bmc_password is no UTF-8 text")
	}
	return nil
}
