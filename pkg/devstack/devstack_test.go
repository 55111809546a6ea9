package devstack_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/devstack"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// original is the sample node of the original MoltenIron's tests; what its hook wrote for it stands in
// its repository as hardware_info.good and localrc.good.
func original() pool.Node {
	return pool.Node{
		Name: "test1", BMC: pool.BMC{Driver: pool.DriverIPMI, Address: "10.1.2.1", Port: 623, Username: "user", Password: secret.New("password")},
		MACs: []string{"de:ad:be:ef:00:01"}, Arch: "ppc64el", CPUs: 8, RAMMB: 2048, DiskGB: 32, IPs: []string{"10.1.2.3", "10.1.2.4"},
	}
}

const (
	originalHardwareInfo = "10.1.2.1 de:ad:be:ef:00:01 user password\n"
	originalLocalrc      = "IRONIC_HW_ARCH=ppc64el\nIRONIC_HW_NODE_CPU=8\nIRONIC_HW_NODE_RAM=2048\nIRONIC_HW_NODE_DISK=32\n" +
		"ALLOCATION_POOL=\"start=10.1.2.3,end=10.1.2.3 --allocation-pool start=10.1.2.4,end=10.1.2.4\"\n"
)

func ipmi(change func(*pool.Node)) pool.Node {
	n := original()
	n.Name, n.Arch = "bm-01", "x86_64"
	if change != nil {
		change(&n)
	}
	return n
}

func redfish(change func(*pool.Node)) pool.Node {
	return ipmi(func(n *pool.Node) {
		n.Name = "rf-01"
		n.BMC = pool.BMC{Driver: pool.DriverRedfish, Address: "bmc.example.org", Port: 443, SystemID: "/redfish/v1/Systems/1", Username: "root", Password: secret.New("pass")}
		if change != nil {
			change(n)
		}
	})
}

func allocation(nodes ...pool.Node) *pool.Allocation {
	a := &pool.Allocation{ID: 1}
	for _, n := range nodes {
		a.Nodes = append(a.Nodes, pool.GrantedNode{Node: n})
	}
	return a
}

func password(s string) pool.Node {
	return ipmi(func(n *pool.Node) { n.BMC.Password = secret.New(s) })
}

func TestOriginal(t *testing.T) {
	var b bytes.Buffer
	if err := devstack.HardwareInfo(&b, allocation(original())); err != nil || b.String() != originalHardwareInfo {
		t.Errorf("hardware_info is %q (%v), want %q", b.String(), err, originalHardwareInfo)
	}
	for _, arch := range []string{"ppc64el", "ppc64le"} { // the same machine, under today's name too
		n := original()
		n.Arch = arch
		block, err := devstack.Block(allocation(n), devstack.Options{Compatible: true, Bare: true})
		if err != nil {
			t.Fatal(err)
		}
		for before, want := range map[string]string{"": originalLocalrc, "A=1": "A=1\n" + originalLocalrc} {
			if got, err := devstack.Localrc([]byte(before), block); err != nil || string(got) != want {
				t.Errorf("localrc is %q (%v), want %q", got, err, want)
			}
		}
	}
}

func TestHardwareInfo(t *testing.T) {
	tests := []struct {
		name  string
		nodes []pool.Node
		want  string
	}{
		{"two", []pool.Node{original(), ipmi(func(n *pool.Node) {
			n.BMC.Address, n.MACs = "2001:db8::1", []string{"de:ad:be:ef:00:02", "de:ad:be:ef:00:03"}
		})},
			originalHardwareInfo + "2001:db8::1 de:ad:be:ef:00:02 user password\n"},
		{"backslashes", []pool.Node{password(`a\b\\c\`)}, `10.1.2.1 de:ad:be:ef:00:01 user a\\b\\\\c\\` + "\n"},
		{"what passes", []pool.Node{password("it's\"$HOME`id`$(id)!#~{a,b}<>|&;%")}, "10.1.2.1 de:ad:be:ef:00:01 user it's\"$HOME`id`$(id)!#~{a,b}<>|&;%\n"},
		{"hyphen", []pool.Node{password("-n")}, "10.1.2.1 de:ad:be:ef:00:01 user -n\n"},
		{"digits", []pool.Node{password("12345678")}, "10.1.2.1 de:ad:be:ef:00:01 user 12345678\n"},
		{"redfish", []pool.Node{redfish(nil)}, "bmc.example.org de:ad:be:ef:00:01 root pass /redfish/v1/Systems/1\n"},
		{"redfish port", []pool.Node{redfish(func(n *pool.Node) { n.BMC.Port, n.BMC.SystemID = 8443, "" })}, "bmc.example.org:8443 de:ad:be:ef:00:01 root pass\n"},
		{"redfish bare system", []pool.Node{redfish(func(n *pool.Node) { n.BMC.SystemID = "1" })}, "bmc.example.org de:ad:be:ef:00:01 root pass /redfish/v1/Systems/1\n"},
		{"redfish scheme", []pool.Node{redfish(func(n *pool.Node) { n.BMC.Address = "https://10.0.0.1" })}, "10.0.0.1 de:ad:be:ef:00:01 root pass /redfish/v1/Systems/1\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := devstack.HardwareInfo(&b, allocation(tt.nodes...)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(meant(tt.nodes), enrol(t, b.Bytes(), tt.nodes[0].BMC.Driver)); diff != "" {
				t.Errorf("what DevStack reads (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHardwareInfoRefuses(t *testing.T) {
	tests := []struct {
		name  string
		nodes []pool.Node
		says  string
	}{
		{"two drivers", []pool.Node{ipmi(nil), redfish(nil)}, "hardware_info: node bm-01 is driven by ipmi and node rf-01 by redfish, but DevStack takes one driver for all; ask for one with --require bmc_driver=ipmi"},
		{"no MAC", []pool.Node{ipmi(nil), ipmi(func(n *pool.Node) { n.MACs = nil })}, "hardware_info: node bm-01: it has no MAC address; add one with: moltenironctl set bm-01 mac=ADDRESS"},
		{"another port", []pool.Node{ipmi(func(n *pool.Node) { n.BMC.Port = 6230 })}, "hardware_info: node bm-01: its BMC listens on port 6230, and hardware_info has no field for a port other than 623"},
		{"http", []pool.Node{redfish(func(n *pool.Node) { n.BMC.Address = "http://10.0.0.1" })}, "hardware_info: node rf-01: its BMC speaks http, and DevStack makes https of every Redfish address"},
		{"redfish by IPv6", []pool.Node{redfish(func(n *pool.Node) { n.BMC.Address = "2001:db8::1" })}, "hardware_info: node rf-01: its BMC has an IPv6 address, whose brackets DevStack would take for a pattern; give the BMC a DNS name"},
		{"blank", []pool.Node{password("hid den")}, "hardware_info: node bm-01: the BMC's password holds a blank or a control character, at which DevStack would cut it"},
		{"newline", []pool.Node{password("hid\nden")}, "hardware_info: node bm-01: the BMC's password holds a blank or a control character, at which DevStack would cut it"},
		{"pattern", []pool.Node{password("hidden*")}, "hardware_info: node bm-01: the BMC's password holds one of * ? [, which DevStack would take for a pattern of file names"},
		{"pattern of one sign", []pool.Node{password("?")}, "hardware_info: node bm-01: the BMC's password holds one of * ? [, which DevStack would take for a pattern of file names"},
		{"pattern in brackets", []pool.Node{password("[hidden]")}, "hardware_info: node bm-01: the BMC's password holds one of * ? [, which DevStack would take for a pattern of file names"},
		{"empty password", []pool.Node{password("")}, "hardware_info: node bm-01: the BMC's password is empty, which would shift the fields behind it"},
		{"empty user", []pool.Node{ipmi(func(n *pool.Node) { n.BMC.Username = "" })}, "hardware_info: node bm-01: the BMC's user is empty, which would shift the fields behind it"},
		{"not UTF-8", []pool.Node{password("hidden\xff")}, "hardware_info: node bm-01: the BMC's password is not UTF-8"},
		{"hyphen", []pool.Node{ipmi(func(n *pool.Node) { n.BMC.Address = "-n" })}, "hardware_info: node bm-01: the BMC's address begins with a hyphen, which DevStack would take for an option"},
		{"JSON", []pool.Node{password(`"hidden"`)}, `hardware_info: node bm-01: the BMC's password is of a form that the openstack client would read as JSON and change (a number, true, null, "quoted", [list])`},
		{"a float", []pool.Node{password(`1.50`)}, `hardware_info: node bm-01: the BMC's password is of a form that the openstack client would read as JSON and change (a number, true, null, "quoted", [list])`},
		{"Python's JSON", []pool.Node{password(`-Infinity`)}, `hardware_info: node bm-01: the BMC's password is of a form that the openstack client would read as JSON and change (a number, true, null, "quoted", [list])`},
		{"digits for redfish", []pool.Node{redfish(func(n *pool.Node) { n.BMC.Password = secret.New("1234") })}, `hardware_info: node rf-01: the BMC's password is of a form that the openstack client would read as JSON and change (a number, true, null, "quoted", [list])`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			err := devstack.HardwareInfo(&b, allocation(tt.nodes...))
			if err == nil || err.Error() != tt.says {
				t.Errorf("got  %v\nwant %s", err, tt.says)
			}
			if b.Len() > 0 {
				t.Errorf("it wrote %q all the same", &b)
			}
		})
	}
}

// meant is what ironic should be told of the nodes.
func meant(nodes []pool.Node) []map[string]string {
	var want []map[string]string
	for _, n := range nodes {
		m := map[string]string{"mac": n.MACs[0]}
		if n.BMC.Driver == pool.DriverRedfish {
			m["redfish_address"] = "https://" + strings.TrimPrefix(n.BMC.Address, "https://")
			if n.BMC.Port != 443 {
				m["redfish_address"] += fmt.Sprintf(":%d", n.BMC.Port)
			}
			m["redfish_system_id"] = n.BMC.SystemID
			if n.BMC.SystemID != "" && n.BMC.SystemID[0] != '/' {
				m["redfish_system_id"] = "/redfish/v1/Systems/" + n.BMC.SystemID
			}
			m["redfish_username"], m["redfish_password"] = n.BMC.Username, n.BMC.Password.Reveal()
			m["redfish_verify_ca"] = "False"
		} else {
			m["ipmi_address"], m["ipmi_username"], m["ipmi_password"] = n.BMC.Address, n.BMC.Username, n.BMC.Password.Reveal()
		}
		want = append(want, m)
	}
	return want
}

// jsonLoads does what the openstack client does with the value of --driver-info KEY=VALUE, and what
// ironic's ipmitool driver does with the password: a text again.
const jsonLoads = `
import json, sys
def value(v):
    try:
        v = json.loads(v)
    except ValueError:
        pass
    return str(v)
print(json.dumps([value(v) for v in json.load(sys.stdin)]))
`

// enrol reads a hardware_info file as DevStack and the openstack client do. It runs in a folder with
// files that a pattern might match.
func enrol(t testing.TB, text []byte, driver string) []map[string]string {
	t.Helper()
	bash, python := testneeds.Program(t, "bash"), testneeds.Program(t, "python3")
	script, err := filepath.Abs("testdata/enroll.sh")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for _, name := range []string{"a", "b", "1", "password", "ipmi_password=a"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(folder, "hardware_info")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bash, script, path, driver)
	cmd.Dir = folder
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]string
	var values []string
	for _, node := range strings.SplitAfter(string(out), "\x00\x00") {
		if node == "" {
			continue
		}
		m := map[string]string{}
		for _, word := range strings.Split(strings.TrimSuffix(node, "\x00\x00"), "\x00") {
			if word == "--driver-info" {
				continue
			}
			key, value, ok := strings.Cut(word, "=")
			if !ok {
				t.Errorf("the client would get the argument %q", word)
			}
			m[key] = value
			values = append(values, value)
		}
		got = append(got, m)
	}
	input, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), python, "-c", jsonLoads)
	cmd.Stdin = bytes.NewReader(input)
	if out, err = cmd.Output(); err != nil {
		t.Fatal(err)
	}
	var loaded []string
	if err := json.Unmarshal(out, &loaded); err != nil {
		t.Fatal(err)
	}
	as := map[string]string{}
	for i, v := range values {
		as[v] = loaded[i]
	}
	for _, m := range got {
		for key, v := range m {
			if key != "mac" {
				m[key] = as[v]
			}
		}
	}
	return got
}

// FuzzHardwareInfo: what is written comes out of DevStack's loop and the client as it went in.
func FuzzHardwareInfo(f *testing.F) {
	f.Add("user", "password", "1", true, uint64(1))
	f.Add(`\`, `\\\`, "/redfish/v1/Systems/1", false, uint64(2))
	f.Add("é", "007", "", true, uint64(3))
	f.Add("1e5", "[1]", "a b", true, uint64(4))
	f.Fuzz(func(t *testing.T, user, pass, system string, isRedfish bool, seed uint64) {
		var nodes []pool.Node
		add := func(user, pass string) {
			n := ipmi(nil)
			if isRedfish {
				n = redfish(func(n *pool.Node) { n.BMC.SystemID = system })
			}
			n.BMC.Username, n.BMC.Password = user, secret.New(pass)
			if devstack.HardwareInfo(&bytes.Buffer{}, allocation(n)) == nil {
				nodes = append(nodes, n)
			}
		}
		add(user, pass)
		r := rand.New(rand.NewPCG(seed, 0))
		pieces := []string{`\`, "'", `"`, "$", "`", "a", "1", "0", ".", "-", "e", "{", "}", "(", ")", "!", "#", "~", "=", ",", ":", ";", "]", "^", "\u00a0", "é", "true", "NaN"}
		for range 6 { // each takes ten processes
			word := func() (s string) {
				for range 1 + r.IntN(6) {
					s += pieces[r.IntN(len(pieces))]
				}
				return s
			}
			add(word(), word())
		}
		if len(nodes) == 0 {
			return
		}
		var b bytes.Buffer
		if err := devstack.HardwareInfo(&b, allocation(nodes...)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(meant(nodes), enrol(t, b.Bytes(), nodes[0].BMC.Driver)); diff != "" {
			t.Errorf("what DevStack reads (-want +got):\n%s\nof %q", diff, b.Bytes())
		}
	})
}

const settings = "# BEGIN molteniron, allocation 1\nIRONIC_HW_ARCH=x86_64\nIRONIC_HW_NODE_CPU=4\nIRONIC_HW_NODE_RAM=1024\nIRONIC_HW_NODE_DISK=32\n" +
	"ALLOCATION_POOL=\"start=10.1.2.3,end=10.1.2.3 --allocation-pool start=10.1.2.4,end=10.1.2.4 --allocation-pool start=10.1.2.5,end=10.1.2.5\"\n# END molteniron\n"

// two are nodes of which neither has the least of everything.
func two() *pool.Allocation {
	return allocation(
		ipmi(func(n *pool.Node) { n.CPUs, n.RAMMB = 4, 4096 }),
		ipmi(func(n *pool.Node) {
			n.Arch, n.CPUs, n.RAMMB, n.DiskGB, n.IPs = "amd64", 8, 1024, 64, []string{"10.1.2.5"}
		}),
	)
}

// block is that of the settings.
func block(t testing.TB) []byte {
	t.Helper()
	b, err := devstack.Block(two(), devstack.Options{})
	if err != nil || string(b) != settings {
		t.Fatalf("the block is %q (%v), want %q", b, err, settings)
	}
	return b
}

func TestLocalrc(t *testing.T) {
	tests := []struct{ name, before, want string }{
		{"new", "", settings},
		{"appended", "ADMIN_PASSWORD=x\n", "ADMIN_PASSWORD=x\n" + settings},
		{"no last newline", "ADMIN_PASSWORD=x", "ADMIN_PASSWORD=x\n" + settings},
		{"continued last line", "A=x \\\n", "A=x \\\n\n" + settings},
		{"replaced, at the end", "A=1\n# BEGIN molteniron\nIRONIC_HW_ARCH=aarch64\n# END molteniron\nB=2\n", "A=1\nB=2\n" + settings},
		{"replaced twice", settings + "B=2\n" + settings, "B=2\n" + settings},
		{"indented marks", "  # BEGIN molteniron\nX=1\n\t# END molteniron \r\n", settings},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := devstack.Localrc([]byte(tt.before), block(t))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			again, err := devstack.Localrc(got, block(t))
			if err != nil || string(again) != string(got) {
				t.Errorf("a second run changed it (%v): %s", err, again)
			}
			check(t, got)
		})
	}
}

// check sources a localrc as DevStack does, and looks at the settings.
func check(t *testing.T, localrc []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "localrc")
	if err := os.WriteFile(path, localrc, 0o600); err != nil {
		t.Fatal(err)
	}
	// ALLOCATION_POOL is used without quotes, behind an option of its own.
	out, err := exec.CommandContext(t.Context(), testneeds.Program(t, "bash"), "-euc", `source "$1"; shift
		printf '%s\n' "$IRONIC_HW_ARCH" "$IRONIC_HW_NODE_CPU" "$IRONIC_HW_NODE_RAM" "$IRONIC_HW_NODE_DISK" --allocation-pool $ALLOCATION_POOL`, "bash", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := "x86_64\n4\n1024\n32\n--allocation-pool\nstart=10.1.2.3,end=10.1.2.3\n--allocation-pool\nstart=10.1.2.4,end=10.1.2.4\n--allocation-pool\nstart=10.1.2.5,end=10.1.2.5\n"
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("what DevStack sources (-want +got):\n%s", diff)
	}
}

func TestLocalConf(t *testing.T) {
	tests := []struct{ name, before, want string }{
		{"new", "", "[[local|localrc]]\n" + settings},
		{"no section", "[[post-config|$NOVA_CONF]]\n[DEFAULT]\na = b", "[[post-config|$NOVA_CONF]]\n[DEFAULT]\na = b\n[[local|localrc]]\n" + settings},
		{"at the end of the section", "[[local|localrc]]\nA=1\n\n\n[[post-config|x]]\ny = z\n", "[[local|localrc]]\nA=1\n" + settings + "\n\n[[post-config|x]]\ny = z\n"},
		{"last line", "[[local|localrc]]\nA=1", "[[local|localrc]]\nA=1\n" + settings},
		{"empty section", "[[local|localrc]]\n[[a|b]]\n", "[[local|localrc]]\n" + settings + "[[a|b]]\n"},
		{"two sections", "[[local|localrc]]\nA=1\n[[a|b]]\nx\n[[local|localrc]]\nB=2\n[[a|b]]\n", "[[local|localrc]]\nA=1\n[[a|b]]\nx\n[[local|localrc]]\nB=2\n" + settings + "[[a|b]]\n"},
		{"replaced", "[[local|localrc]]\n" + strings.ReplaceAll(settings, "1024", "99") + "A=1\n", "[[local|localrc]]\nA=1\n" + settings},
		{"a block in the wrong place", "[[a|b]]\n" + settings + "[[local|localrc]]\nA=1\n", "[[a|b]]\n[[local|localrc]]\nA=1\n" + settings},
		{"another group's localrc", "[[extra|localrc]]\nA=1\n", "[[extra|localrc]]\nA=1\n[[local|localrc]]\n" + settings},
		{"not a header", " [[local|localrc]]\n[local|localrc]\n", " [[local|localrc]]\n[local|localrc]\n[[local|localrc]]\n" + settings},
		{"a comment behind", "[[local|localrc]] # mine\nA=1\n", "[[local|localrc]] # mine\nA=1\n" + settings},
		{"continued last line", "[[local|localrc]]\nA=1\\\n[[a|b]]\n", "[[local|localrc]]\nA=1\\\n\n" + settings + "[[a|b]]\n"},
		{"continued and blank", "[[local|localrc]]\nA=1\\\n\n[[a|b]]\n", "[[local|localrc]]\nA=1\\\n\n" + settings + "[[a|b]]\n"},
		{"a carriage return", "[[local|localrc]]\r\nA=1\n", "[[local|localrc]]\r\nA=1\n[[local|localrc]]\n" + settings},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := devstack.LocalConf([]byte(tt.before), block(t))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			again, err := devstack.LocalConf(got, block(t))
			if err != nil || string(again) != string(got) {
				t.Errorf("a second run changed it (%v): %s", err, again)
			}
			check(t, section(t, got))
		})
	}
}

func TestWithout(t *testing.T) {
	bare := []byte(originalLocalrc)
	tests := []struct {
		name, text string
		block      []byte
		want       string
	}{
		{"at the end", "A=1\n" + settings, []byte(settings), "A=1\n"},
		{"in the middle", "A=1\n" + settings + "B=2\n", []byte(settings), "A=1\nB=2\n"},
		{"changed within", "A=1\n" + strings.Replace(settings, "1024", "99\nC=3", 1) + "B=2\n", []byte(settings), "A=1\nB=2\n"},
		{"another's", strings.Replace(settings, "allocation 1", "allocation 11", 1), []byte(settings), strings.Replace(settings, "allocation 1", "allocation 11", 1)},
		{"gone", "A=1\n", []byte(settings), "A=1\n"},
		{"no file", "", []byte(settings), ""},
		{"bare", "A=1\n" + originalLocalrc + "B=2\n", bare, "A=1\nB=2\n"},
		{"bare twice", originalLocalrc + "A=1\n" + originalLocalrc, bare, originalLocalrc + "A=1\n"},
		{"bare, alone", originalLocalrc, bare, ""},
		{"bare, changed", strings.Replace(originalLocalrc, "2048", "1", 1), bare, strings.Replace(originalLocalrc, "2048", "1", 1)},
		{"bare, behind something", "X" + originalLocalrc, bare, "X" + originalLocalrc},
		{"bare, nothing", "A=1\n", nil, "A=1\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := devstack.Without([]byte(tt.text), tt.block)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for text, want := range map[string]bool{"": true, "\n \n": true, "\n[[local|localrc]]\n\n": true, "A=1\n": false, "[[a|b]]\n": false, "#\n": false} {
		if got := devstack.Empty([]byte(text)); got != want {
			t.Errorf("%q is empty: %v, want %v", text, got, want)
		}
	}
}

// section is what DevStack takes from a local.conf as localrc.
func section(t testing.TB, text []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "local.conf")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), testneeds.Program(t, "bash"), "testdata/localrc.sh", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSettings(t *testing.T) {
	bare := pool.Node{Name: "bare", BMC: pool.BMC{Driver: pool.DriverIPMI}}
	arch := func(name string) pool.Node { return pool.Node{Name: "n-" + name, Arch: name} }
	tests := []struct {
		name  string
		nodes []pool.Node
		o     devstack.Options
		want  string // without marks
		says  string
	}{
		{name: "nothing known", nodes: []pool.Node{bare, bare}, want: ""},
		{name: "arm64", nodes: []pool.Node{arch("arm64"), arch("aarch64")}, want: "IRONIC_HW_ARCH=aarch64\n"},
		{name: "old name kept", nodes: []pool.Node{arch("amd64")}, o: devstack.Options{Compatible: true}, want: "IRONIC_HW_ARCH=amd64\n"},
		{name: "a number that one lacks", nodes: []pool.Node{ipmi(nil), ipmi(func(n *pool.Node) { n.Name, n.RAMMB = "bm-02", 0 })},
			says: "settings for DevStack: node bm-01 has a ram_mb and node bm-02 has none, but DevStack takes one for all; set it with: moltenironctl set bm-02 ram_mb=N"},
		{name: "two architectures", nodes: []pool.Node{arch("x86_64"), arch("arm64")},
			says: `settings for DevStack: node n-x86_64 is of architecture "x86_64" and node n-arm64 of "arm64", but DevStack takes one for all; ask for one with --require arch=NAME`},
		{name: "an architecture that one lacks", nodes: []pool.Node{arch("x86_64"), bare},
			says: `settings for DevStack: node n-x86_64 is of architecture "x86_64" and node bare of "", but DevStack takes one for all; ask for one with --require arch=NAME`},
		{name: "refused since 2024", nodes: []pool.Node{arch("ppc64el")},
			says: `settings for DevStack: node n-ppc64el: architecture "ppc64el": DevStack takes x86_64 and aarch64 only since 2024; for an older branch add --devstack-compatible`},
		{name: "code for an architecture", nodes: []pool.Node{arch("$(id)")}, o: devstack.Options{Compatible: true},
			says: `settings for DevStack: node n-$(id): architecture "$(id)": letters, digits and _ only`},
		{name: "code for an address", nodes: []pool.Node{{Name: "n", IPs: []string{"$(id)"}}}, says: `settings for DevStack: node n: deployment address "$(id)" is none`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := devstack.Block(allocation(tt.nodes...), tt.o)
			if tt.says != "" {
				if err == nil || err.Error() != tt.says {
					t.Errorf("got  %v\nwant %s", err, tt.says)
				}
				return
			}
			tt.want = "# BEGIN molteniron, allocation 1\n" + tt.want + "# END molteniron\n"
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestMarksThatDoNotPair(t *testing.T) {
	for before, says := range map[string]string{
		"A=1\n# BEGIN molteniron\nB=2\n":                              `line 2: "# BEGIN molteniron" has no end; add a line "# END molteniron" behind what is to be replaced`,
		"A=1\n# END molteniron\n":                                     `line 2: "# END molteniron" without a beginning; remove that line`,
		"# BEGIN molteniron\n# BEGIN molteniron\n# END molteniron\n":  `line 2: "# BEGIN molteniron" again, and that of line 1 has no end; remove one of them`,
		"# BEGIN molteniron\n# END molteniron\nA=1\n# END molteniron": `line 4: "# END molteniron" without a beginning; remove that line`,
	} {
		if _, err := devstack.Localrc([]byte(before), block(t)); err == nil || err.Error() != says {
			t.Errorf("localrc: got  %v\nwant %s", err, says)
		}
		if _, err := devstack.LocalConf([]byte(before), block(t)); err == nil || err.Error() != says {
			t.Errorf("local.conf: got  %v\nwant %s", err, says)
		}
		if _, err := devstack.Without([]byte(before), block(t)); err == nil || err.Error() != says {
			t.Errorf("taking it out: got  %v\nwant %s", err, says)
		}
	}
}

func TestCheckLocalConf(t *testing.T) {
	folder := t.TempDir()
	conf := filepath.Join(folder, "local.conf")
	if err := devstack.CheckLocalConf(conf); err != nil {
		t.Errorf("without a localrc: %v", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "localrc"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := devstack.CheckLocalConf(conf)
	if want := "FOLDER/localrc makes DevStack ignore [[local|localrc]] in FOLDER/local.conf; use --localrc FOLDER/localrc, or remove it"; err == nil || strings.ReplaceAll(err.Error(), folder, "FOLDER") != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// FuzzLocalConf: whatever a person's file holds, all its lines stay in their order, the settings are
// there once and in the section, a second run changes nothing, and taking them out leaves what was there.
func FuzzLocalConf(f *testing.F) {
	f.Add("[[local|localrc]]\nA=1\n\n[[a|b]]\n")
	f.Add(settings + "[[local|localrc]]\n")
	f.Add("[[local|localrc]]\\\n\\\n[[x|]]")
	f.Add("[[|local|localrc]]\n[[[local|localrc]] ]]\n[[local|localrc|x]]\n")
	headers := regexp.MustCompile(`^\[\[.+\|.*\]\]`)
	f.Fuzz(func(t *testing.T, before string) {
		got, err := devstack.LocalConf([]byte(before), block(t))
		if err != nil {
			return
		}
		again, err := devstack.LocalConf(got, block(t))
		if err != nil || string(again) != string(got) {
			t.Errorf("a second run changed it (%v):\n%q\n%q", err, got, again)
		}
		if n := strings.Count(string(got), settings); n != 1 {
			t.Fatalf("the settings are there %d times:\n%q", n, got)
		}
		head, _, _ := strings.Cut(string(got), settings)
		in := "nowhere"
		for line := range strings.Lines(head) {
			if headers.MatchString(line) {
				in = strings.NewReplacer("[", "", "]", "").Replace(strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(" \t\n", c) })[0])
			}
		}
		if in != "local|localrc" && !strings.HasPrefix(in, "local|localrc|") {
			t.Errorf("the settings are in the section %q:\n%q", in, got)
		}
		rc, err := devstack.Localrc([]byte(before), block(t))
		if err != nil || !strings.HasSuffix(string(rc), settings) || strings.Count(string(rc), settings) != 1 {
			t.Errorf("localrc (%v): %q", err, rc)
		}
		if out, err := devstack.Without(rc, block(t)); err != nil || string(out)+settings != string(rc) {
			t.Errorf("localrc, taken out (%v): %q", err, out)
		}
		out, err := devstack.Without(got, block(t))
		if rest := strings.Replace(string(got), settings, "", 1); err != nil || string(out) != rest {
			t.Errorf("taken out (%v):\n%q\nand it should be\n%q", err, out, rest)
		}
		if !strings.Contains(before, "molteniron") {
			// Breaks that end the line before the block, and a section, are all that may come to a person's lines.
			lines := func(s string) string {
				return strings.TrimRight(regexp.MustCompile(`\\\n+`).ReplaceAllString(s, "\\\n"), "\n")
			}
			if w := lines(before); lines(string(out)) != w && lines(strings.TrimSuffix(string(out), "[[local|localrc]]\n")) != w {
				t.Errorf("lines were changed:\n%q\n%q", before, out)
			}
		}
	})
}
