package inventory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; rewrite it with: go test ./pkg/inventory -update):\n%s", name, diff)
	}
}

// granted is an allocation with both drivers, known and unknown values, and texts that need quoting.
func granted() *pool.Allocation {
	return &pool.Allocation{ID: 12, Nodes: []pool.GrantedNode{
		{Group: "compute", Node: pool.Node{
			Name: "bm-01", Pool: "gpu",
			BMC:  pool.BMC{Driver: pool.DriverIPMI, Address: "2001:db8::1", Port: 623, Username: "admin", Password: secret.New("pa's {{ \"w\" }} #\u2028\n")},
			MACs: []string{"10:11:12:13:14:15", "de:ad:be:ef:00:02"}, Arch: "x86_64", CPUs: 8, RAMMB: 2048, DiskGB: 32,
			IPs: []string{"10.1.2.3", "10.1.2.4"}, Properties: map[string]string{"rack": "B4", "gpu": "yes", "resource_class": "baremetal"},
		}},
		{Group: "control-plane", Node: pool.Node{
			Name: "007",
			BMC:  pool.BMC{Driver: pool.DriverRedfish, Address: "bmc2.example.org", Port: 8443, SystemID: "437XR1138R2", Verify: "off", Username: "root", Password: secret.New("hunter2")},
		}},
		{Group: "compute", Node: pool.Node{
			Name: "bm-03",
			BMC:  pool.BMC{Driver: pool.DriverRedfish, Address: "http://127.0.0.1", Port: 8000, SystemID: "/redfish/v1/Systems/1", Verify: "/etc/ssl/bmc.pem"},
		}},
	}}
}

func specsOf(a *pool.Allocation) []pool.NodeSpec {
	var specs []pool.NodeSpec
	for _, n := range a.Nodes {
		specs = append(specs, n.Spec())
	}
	return specs
}

// python is a Python of Debian's that reads files with a program's own code. It is started once a script, for that
// takes a moment, and ends with us.
type python struct {
	in  io.Writer
	out *bufio.Reader
}

func startPython(script, module string) func() (*python, error) {
	return sync.OnceValues(func() (*python, error) {
		if out, err := exec.Command("/usr/bin/python3", "-c", "import "+module).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
		cmd := exec.Command("/usr/bin/python3", script)
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		return &python{in, bufio.NewReader(out)}, cmd.Start()
	})
}

var (
	ironic  = startPython("testdata/read_ironic.py", "ironicclient")
	ansible = startPython("testdata/read_ansible.py", "ansible")
)

// read writes a file of the name and gives what the program makes of it.
func read(t testing.TB, start func() (*python, error), name string, text []byte, answer any) {
	t.Helper()
	p, err := start()
	if err != nil {
		testneeds.Missing(t, fmt.Errorf("install it with scripts/install-deps test: %w", err))
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p.in, path+"\n"); err != nil {
		t.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		t.Fatalf("it says: %s\nof:\n%s", line, text)
	}
}

// call is one of the API's that `openstack baremetal create` would make.
type call [2]any

func (c *call) UnmarshalJSON(text []byte) error {
	var pair []any
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	*c = call(pair)
	return nil
}

type object = map[string]any

func TestBaremetal(t *testing.T) {
	want := []call{
		{"node", object{
			"name": "bm-01", "driver": "ipmi", "resource_class": "baremetal",
			"driver_info": object{"ipmi_address": "2001:db8::1", "ipmi_port": 623.0, "ipmi_username": "admin", "ipmi_password": "pa's {{ \"w\" }} #\u2028\n"},
			"properties":  object{"cpu_arch": "x86_64", "cpus": 8.0, "memory_mb": 2048.0, "local_gb": 32.0, "rack": "B4", "gpu": "yes"},
		}},
		{"port", object{"address": "10:11:12:13:14:15", "node_uuid": "uuid-1"}},
		{"port", object{"address": "de:ad:be:ef:00:02", "node_uuid": "uuid-1"}},
		{"node", object{
			"name": "007", "driver": "redfish",
			"driver_info": object{"redfish_address": "https://bmc2.example.org:8443", "redfish_system_id": "/redfish/v1/Systems/437XR1138R2",
				"redfish_username": "root", "redfish_password": "hunter2", "redfish_verify_ca": false},
		}},
		{"node", object{
			"name": "bm-03", "driver": "redfish",
			"driver_info": object{"redfish_address": "http://127.0.0.1:8000", "redfish_system_id": "/redfish/v1/Systems/1", "redfish_verify_ca": "/etc/ssl/bmc.pem"},
		}},
	}
	for name, asJSON := range map[string]bool{"nodes.yaml": false, "nodes.json": true} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := WriteBaremetal(&b, specsOf(granted()), asJSON); err != nil {
				t.Fatal(err)
			}
			golden(t, "written-baremetal"+filepath.Ext(name), b.Bytes())
			var got []call
			read(t, ironic, name, b.Bytes(), &got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("what openstack baremetal create would do (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnsible(t *testing.T) {
	var b bytes.Buffer
	if err := WriteAnsible(&b, granted()); err != nil {
		t.Fatal(err)
	}
	golden(t, "written-ansible.yaml", b.Bytes())
	var got struct {
		Hosts  map[string]object
		Groups map[string][]string
	}
	read(t, ansible, "hosts.yaml", b.Bytes(), &got)
	hosts := map[string]object{
		"bm-01": {
			"ansible_host": "10.1.2.3", "molten_bmc_driver": "ipmi",
			"ipmi_address": "2001:db8::1", "ipmi_port": 623.0, "ipmi_username": "admin", "ipmi_password": "pa's {{ \"w\" }} #\u2028\n",
			"molten_mac": "10:11:12:13:14:15", "molten_macs": []any{"10:11:12:13:14:15", "de:ad:be:ef:00:02"},
			"molten_arch": "x86_64", "molten_cpus": 8.0, "molten_ram_mb": 2048.0, "molten_disk_gb": 32.0,
			"molten_ips": []any{"10.1.2.3", "10.1.2.4"}, "molten_group": "compute",
			"molten_properties": object{"rack": "B4", "gpu": "yes", "resource_class": "baremetal"},
		},
		"007": {
			"molten_bmc_driver": "redfish", "redfish_endpoint": "https://bmc2.example.org:8443", "redfish_system_id": "437XR1138R2",
			"redfish_username": "root", "redfish_password": "hunter2", "molten_group": "control-plane",
		},
		"bm-03": {
			"molten_bmc_driver": "redfish", "redfish_endpoint": "http://127.0.0.1:8000", "redfish_system_id": "/redfish/v1/Systems/1", "molten_group": "compute",
		},
	}
	if diff := cmp.Diff(hosts, got.Hosts); diff != "" {
		t.Errorf("what Ansible knows of the hosts (-want +got):\n%s", diff)
	}
	groups := map[string][]string{
		"all": {"007", "bm-01", "bm-03"}, "ungrouped": {}, "molteniron": {"007", "bm-01", "bm-03"},
		"molteniron_compute": {"bm-01", "bm-03"}, "molteniron_control_plane": {"007"},
	}
	if diff := cmp.Diff(groups, got.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// What people call, on the same file: the command itself.
func TestAnsibleInventoryCommand(t *testing.T) {
	command := testneeds.Program(t, "ansible-inventory")
	cmd := exec.CommandContext(t.Context(), command, "-i", "testdata/written-ansible.yaml", "--host", "bm-01")
	cmd.Env = append(os.Environ(), "ANSIBLE_LOCAL_TEMP="+t.TempDir(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got object
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(object{"__ansible_unsafe": "pa's {{ \"w\" }} #\u2028\n"}, got["ipmi_password"]); diff != "" {
		t.Errorf("the password (-want +got):\n%s", diff)
	}
}

func TestFormsRefuse(t *testing.T) {
	baremetal := func(w io.Writer, a *pool.Allocation) error { return WriteBaremetal(w, specsOf(a), false) }
	for _, tt := range []struct {
		name   string
		write  func(io.Writer, *pool.Allocation) error
		change func(*pool.Allocation)
		says   string
	}{
		{"Ironic's own", baremetal, func(a *pool.Allocation) { a.Nodes[0].Properties = map[string]string{"memory_mb": "hidden"} },
			"baremetal file: node bm-01: its property memory_mb has the name of one that Ironic makes of its fields; rename it"},
		{"not UTF-8 for Ironic", baremetal, func(a *pool.Allocation) { a.Nodes[1].BMC.Password = secret.New("hidden\xff") },
			"baremetal file: node 007: one of its values is not UTF-8"},
		{"not UTF-8 for Ansible", WriteAnsible, func(a *pool.Allocation) { a.Nodes[0].Properties = map[string]string{"x": "hidden\xff"} },
			"inventory file: node bm-01: one of its values is not UTF-8"},
		{"a node called all", WriteAnsible, func(a *pool.Allocation) { a.Nodes[0].Name = "all" },
			"inventory file: node all has the name of a group of the inventory; ask for another, or rename it"},
		{"a node called as its group", WriteAnsible, func(a *pool.Allocation) { a.Nodes[1].Name = "molteniron_compute" },
			"inventory file: node molteniron_compute has the name of a group of the inventory; ask for another, or rename it"},
		{"groups alike", WriteAnsible, func(a *pool.Allocation) { a.Nodes[0].Group = "control_plane" },
			"inventory file: the groups control_plane and control-plane would both be molteniron_control_plane in Ansible; name one of them otherwise"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := granted()
			tt.change(a)
			var b bytes.Buffer
			if err := tt.write(&b, a); err == nil || err.Error() != tt.says {
				t.Errorf("got  %v\nwant %s", err, tt.says)
			}
			if b.Len() > 0 {
				t.Errorf("it wrote %d bytes all the same", b.Len())
			}
		})
	}
	for _, write := range []func(io.Writer, *pool.Allocation) error{baremetal, WriteAnsible} {
		if err := write(brokenPipe{}, granted()); err == nil || !strings.HasSuffix(err.Error(), "broken pipe") {
			t.Errorf("a broken pipe: %v", err)
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// invented gives texts made of what YAML, JSON and Jinja give a meaning to.
func invented(seed uint64, n int) []string {
	pieces := []string{"{{", "}}", "{%", "%}", "{#", "#}", "{", "}", "'", `"`, `\`, "\n", "\r", "\t", " ", "#", ":", "- ", "!", "&", "*", "|", ">", "%", "@", "`", "~", "?", "[", "]", ",", "=", "<<",
		"1", "0", "_", "e", "x", ".", "-", "+", "yes", "null", "\u0085", "\u00a0", "\u2028", "\ufeff", "\ufffe", "\U0001f511", "\x01", "\x1b", "\x7f", "é"}
	r := rand.New(rand.NewPCG(seed, 0))
	texts := make([]string, n)
	for i := range texts {
		for range r.IntN(8) {
			texts[i] += pieces[r.IntN(len(pieces))]
		}
	}
	return texts
}

// carrying gives nodes that carry the texts in each place where a person can put one.
func carrying(texts []string) *pool.Allocation {
	a := &pool.Allocation{}
	for i, s := range texts {
		n := pool.Node{Name: fmt.Sprintf("node-%d", i), BMC: pool.BMC{Driver: pool.DriverIPMI, Address: "h", Port: 1, Username: s, Password: secret.New(s)},
			Properties: map[string]string{"p": s, "y": s}}
		if i%2 == 1 {
			n.BMC.Driver, n.BMC.SystemID, n.BMC.Verify = pool.DriverRedfish, s, s
			if strings.HasPrefix(s, "/") {
				n.BMC.SystemID = "/redfish/v1/Systems/" + s
			}
		}
		if s == "" {
			n.Properties = nil
		}
		a.Nodes = append(a.Nodes, pool.GrantedNode{Node: n})
	}
	return a
}

func addFormSeeds(f *testing.F) {
	for _, s := range []string{"", "password", "{{ lookup('pipe', 'id') }}", "null", "012", "1:20", "a\nb\n", "\ufeff", "\u2028", "\x00", "\xff", " a ", "*a", "!unsafe"} {
		f.Add(s, uint64(len(s)))
	}
}

// FuzzBaremetal: what is written, Ironic's client and our own reader read back, in both forms.
func FuzzBaremetal(f *testing.F) {
	addFormSeeds(f)
	f.Fuzz(func(t *testing.T, s string, seed uint64) {
		for name, asJSON := range map[string]bool{"nodes.yaml": false, "nodes.json": true} {
			texts := invented(seed, 30)
			if WriteBaremetal(io.Discard, specsOf(carrying([]string{s})), asJSON) == nil {
				texts = append(texts, s)
			}
			a := carrying(texts)
			var b bytes.Buffer
			if err := WriteBaremetal(&b, specsOf(a), asJSON); err != nil {
				t.Fatal(err)
			}
			var got []call
			read(t, ironic, name, b.Bytes(), &got)
			if len(got) != len(texts) {
				t.Fatalf("%d calls for %d nodes", len(got), len(texts))
			}
			for i, s := range texts {
				prefix, info, properties := "ipmi_", object{"ipmi_address": "h", "ipmi_port": 1.0}, object{"p": s, "y": s}
				if i%2 == 1 {
					prefix, info = "redfish_", object{"redfish_address": "https://h:1"}
				}
				want := object{"name": fmt.Sprintf("node-%d", i), "driver": strings.TrimSuffix(prefix, "_"), "driver_info": info}
				if s != "" {
					info[prefix+"username"], info[prefix+"password"] = s, s
					want["properties"] = properties
					if i%2 == 1 {
						info["redfish_verify_ca"], info["redfish_system_id"] = s, "/redfish/v1/Systems/"+s
						if s == "off" {
							info["redfish_verify_ca"] = false
						}
					}
				}
				if diff := cmp.Diff(call{"node", want}, got[i]); diff != "" {
					t.Fatalf("%s (-want +got):\n%s", name, diff)
				}
			}
			inv, err := Read(&b, Baremetal, name)
			if err != nil {
				t.Fatalf("our own reader: %v", err)
			}
			for i, spec := range inv.Specs() {
				if spec.BMC.Password.Reveal() != texts[i] || spec.Name != a.Nodes[i].Name {
					t.Errorf("our own reader: %s has the password %q, want %q", spec.Name, spec.BMC.Password.Reveal(), texts[i])
				}
			}
		}
	})
}

// FuzzAnsible: what is written, Ansible reads back, and resolves no template in it.
func FuzzAnsible(f *testing.F) {
	addFormSeeds(f)
	f.Fuzz(func(t *testing.T, s string, seed uint64) {
		texts := invented(seed, 30)
		if WriteAnsible(io.Discard, carrying([]string{s})) == nil {
			texts = append(texts, s)
		}
		a := carrying(texts)
		var b bytes.Buffer
		if err := WriteAnsible(&b, a); err != nil {
			t.Fatal(err)
		}
		var got struct{ Hosts map[string]object }
		read(t, ansible, "hosts.yaml", b.Bytes(), &got)
		want := map[string]object{}
		for i, s := range texts {
			vars := object{"molten_bmc_driver": "ipmi", "ipmi_address": "h", "ipmi_port": 1.0}
			prefix := "ipmi_"
			if i%2 == 1 {
				vars = object{"molten_bmc_driver": "redfish", "redfish_endpoint": "https://h:1"}
				prefix = "redfish_"
			}
			if s != "" {
				vars[prefix+"username"], vars[prefix+"password"] = s, s
				vars["molten_properties"] = object{"p": s, "y": s}
				if i%2 == 1 {
					vars["redfish_system_id"] = a.Nodes[i].BMC.SystemID
				}
			}
			want[fmt.Sprintf("node-%d", i)] = vars
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if diff := cmp.Diff(want[name], got.Hosts[name]); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}
