package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// hidden is in every faulty input that has a password, and must be in no message.
const hidden = "hunter2"

func mustRead(t *testing.T, path string) *Inventory {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inv, err := Read(f, "", filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// same takes a secret for the text it holds, so that a difference can be read.
var same = cmp.Options{
	cmp.Transformer("reveal", func(t secret.Text) string { return t.Reveal() }),
	cmp.Transformer("tidy", tidySlices),
}

func tidySlices(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	return s
}

func TestForeignSamples(t *testing.T) {
	for file, c := range map[string]struct {
		format   Format
		rows     []Row
		warnings []string
	}{
		"instackenv.json": {Instackenv, []Row{
			{pool.NodeSpec{
				Name: "rack1-u01",
				BMC:  pool.BMC{Driver: "ipmi", Address: "192.0.2.11", Port: 6230, Username: "admin", Password: secret.New("Sp3cial/pw")},
				MACs: []string{"52:54:00:87:c8:2f"}, Arch: "x86_64", CPUs: 40, RAMMB: 131072, DiskGB: 445,
				Properties: map[string]string{"profile": "compute", "boot_option": "local", "resource_class": "baremetal"},
			}, 3},
			{pool.NodeSpec{
				Name: "rack1-u02",
				BMC: pool.BMC{Driver: "redfish", Address: "192.0.2.12", SystemID: "/redfish/v1/Systems/1", Username: "root",
					Password: secret.New("calvin")},
				MACs: []string{"52:54:00:87:c8:30"}, Arch: "x86_64", CPUs: 64, RAMMB: 262144, DiskGB: 890,
				Properties: map[string]string{"profile": "control"},
			}, 5},
			{pool.NodeSpec{
				Name: "rack1-u03", BMC: pool.BMC{Driver: "ipmi", Address: "192.0.2.13", Username: "admin"},
				MACs: []string{"52:54:00:87:c8:31"}, Arch: "aarch64", CPUs: 96, RAMMB: 524288, DiskGB: 1788,
			}, 7},
		}, []string{
			"instackenv.json:4: node rack1-u01: ports.physical_network is not carried over",
			"instackenv.json:7: node rack1-u03: _comment is not carried over",
		}},
		"baremetal-create.yaml": {Baremetal, []Row{
			{pool.NodeSpec{
				Name: "bm-01",
				BMC:  pool.BMC{Driver: "ipmi", Address: "198.51.100.21", Port: 623, Username: "admin", Password: secret.New(`it's #1: "ok"`)},
				MACs: []string{"de:ad:be:ef:01:01"}, Arch: "x86_64", CPUs: 8, RAMMB: 16384, DiskGB: 100,
				Properties: map[string]string{"boot_mode": "uefi", "resource_class": "baremetal"},
			}, 2},
			{pool.NodeSpec{
				Name: "bm-02",
				BMC: pool.BMC{Driver: "redfish", Address: "198.51.100.22", SystemID: "/redfish/v1/Systems/437XR1138R2", Verify: "off",
					Username: "admin", Password: secret.New(hidden)},
				MACs: []string{"de:ad:be:ef:01:02"}, Arch: "aarch64", CPUs: 64, RAMMB: 262144, DiskGB: 1900,
			}, 10},
		}, []string{"baremetal-create.yaml:9: node bm-01: ports.physical_network is not carried over"}},
		"bifrost.yaml": {Bifrost, []Row{
			{pool.NodeSpec{
				Name: "testbed-a", BMC: pool.BMC{Driver: "ipmi", Address: "203.0.113.31", Username: "ADMIN", Password: secret.New("ADMIN")},
				MACs: []string{"00:25:90:a6:13:4e"}, Arch: "x86_64", CPUs: 16, RAMMB: 32760, DiskGB: 235, IPs: []string{"203.0.113.131"},
			}, 1},
			{pool.NodeSpec{
				Name: "testbed-b", BMC: pool.BMC{Driver: "ipmi", Address: "203.0.113.32", Username: "ADMIN", Password: secret.New("ADMIN")},
				MACs: []string{"00:25:90:a6:13:50", "00:25:90:a6:13:51"}, Arch: "x86_64", CPUs: 16, RAMMB: 32760, DiskGB: 235,
			}, 8},
		}, nil},
	} {
		t.Run(file, func(t *testing.T) {
			inv := mustRead(t, "testdata/"+file)
			if inv.Format != c.format {
				t.Errorf("taken for %q", inv.Format)
			}
			if diff := cmp.Diff(c.rows, inv.Rows, same); diff != "" {
				t.Errorf("nodes (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(c.warnings, inv.Warnings, same); diff != "" {
				t.Errorf("warnings (-want +got)\n%s", diff)
			}
			addAll(t, inv)
		})
	}
}

// addAll asks the database whether it takes the nodes.
func addAll(t *testing.T, inv *Inventory) {
	t.Helper()
	db := openPool(t)
	pools := map[string]bool{"": true, pool.DefaultPool: true}
	for _, s := range inv.Specs() {
		if !pools[s.Pool] {
			if err := db.AddPool(t.Context(), s.Pool, pool.DefaultPolicy()); err != nil {
				t.Fatal(err)
			}
			pools[s.Pool] = true
		}
	}
	if err := db.AddNodes(t.Context(), inv.Specs()); err != nil {
		t.Errorf("not taken: %v", inv.Locate(err))
	}
}

func openPool(t *testing.T) *pool.DB {
	t.Helper()
	url := "sqlite://" + filepath.Join(t.TempDir(), "pool.db")
	if _, err := pool.Init(t.Context(), url, pool.Options{}); err != nil {
		t.Fatal(err)
	}
	db, err := pool.Open(t.Context(), url, pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestExamples(t *testing.T) {
	yaml, csv := mustRead(t, "../../examples/inventory.yaml"), mustRead(t, "../../examples/inventory.csv")
	if len(yaml.Warnings)+len(csv.Warnings) > 0 {
		t.Errorf("%q %q", yaml.Warnings, csv.Warnings)
	}
	if diff := cmp.Diff(yaml.Specs(), csv.Specs(), same); diff != "" {
		t.Errorf("the examples differ (-yaml +csv)\n%s", diff)
	}
	pools := map[string]int{}
	for _, s := range yaml.Specs() {
		pools[s.Pool]++
	}
	if diff := cmp.Diff(map[string]int{"": 7, "gpu": 2, "arm": 3}, pools); diff != "" {
		t.Errorf("pools (-want +got)\n%s", diff)
	}
	if got := yaml.Specs()[2].BMC.Password.Reveal(); got != `it's "new" $X & #\o/` {
		t.Errorf("the odd password is %q", got)
	}
	addAll(t, yaml)
}

func TestDetect(t *testing.T) {
	for name, c := range map[string]struct {
		in, file string
		want     Format
	}{
		"by name":            {"", "nodes.CSV", CSV},
		"tabs":               {"\ufeff\nName\tbmc_address\n", "-", CSV},
		"semicolons, quotes": {"\"bmc_address\";\"name\"\n", "-", CSV},
		"aliases":            {"name,macs\n", "", CSV},
		"own":                {"nodes:\n- {name: a, bmc: {address: b}}\n", "", YAML},
		"own in JSON":        {`{"nodes": [{"name": "a", "bmc": {"address": "b"}}]}`, "", YAML},
		"empty":              {"", "", YAML},
		"no nodes":           {"nodes: []\n", "", YAML},
		"broken":             {"nodes: [\n", "", YAML},
		"a text":             {"name\n", "", YAML},
		"instackenv":         {`{"nodes": [{"pm_addr": "a"}]}`, "", Instackenv},
		"baremetal":          {"nodes:\n- driver: ipmi\n", "", Baremetal},
		"chassis":            {"chassis:\n- nodes: []\n", "", Baremetal},
		"bifrost":            {"a: {nics: []}\n", "", Bifrost},
		"something else":     {"all: {children: {}}\n", "", YAML},
	} {
		if got := Detect([]byte(c.in), c.file); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestOwnYAML(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bmc.pass"), []byte("from a file\n"), 0o604); err != nil {
		t.Fatal(err)
	}
	in := `
nodes:
- name: 007
  bmc: &bmc {driver: ipmi, username: ci, address: 192.0.2.1, password: 0123}
  macs: 00:00:5e:00:53:01 00:00:5e:00:53:02
  properties: {fw: 1.10, gpu: yes}
- name: b
  bmc: {address: "2001:db8::1", port: "6230", password: a #b
    }
  cpus: "16"
- name: c
  bmc:
    <<: *bmc
    password: ''
    address: c.example.org
    password_file: bmc.pass
  ips: []
  properties: {}
  pool: null
`
	name := filepath.Join(dir, "nodes.yaml")
	inv, err := Read(strings.NewReader(in), "", name)
	if err != nil {
		t.Fatal(err)
	}
	want := []Row{
		{pool.NodeSpec{
			Name: "007", BMC: pool.BMC{Driver: "ipmi", Address: "192.0.2.1", Username: "ci", Password: secret.New("0123")},
			MACs: []string{"00:00:5e:00:53:01", "00:00:5e:00:53:02"}, Properties: map[string]string{"fw": "1.10", "gpu": "yes"},
		}, 3},
		{pool.NodeSpec{Name: "b", BMC: pool.BMC{Address: "2001:db8::1", Port: 6230, Password: secret.New("a")}, CPUs: 16}, 7},
		{pool.NodeSpec{Name: "c", BMC: pool.BMC{Driver: "ipmi", Username: "ci", Address: "c.example.org", Password: secret.New("from a file")}}, 11},
	}
	if diff := cmp.Diff(want, inv.Rows, same); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	warnings := []string{
		name + ":8: node b: what follows # is taken for a comment and not for a part of bmc.password; write the password in quotes",
		name + ":16: " + dir + "/bmc.pass holds a secret and everybody on this machine can read it; type: chmod o= " + dir + "/bmc.pass",
	}
	if diff := cmp.Diff(warnings, inv.Warnings); diff != "" {
		t.Errorf("warnings (-want +got)\n%s", diff)
	}
}

func TestCSV(t *testing.T) {
	node := func(name string, change func(*pool.NodeSpec)) pool.NodeSpec {
		s := pool.NodeSpec{Name: name, BMC: pool.BMC{Address: "h"}}
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		in   string
		want []Row
	}{
		"only a header": {"name,bmc_address\n", nil},
		"what a spreadsheet writes": {
			"\ufeffName;BMC_Address;prop:GPU;;\r\n;;;;\r\na;h; a100 ;;\r\n\r\n\"b\";\"h\";;;\r\n",
			[]Row{
				{node("a", func(s *pool.NodeSpec) { s.Properties = map[string]string{"gpu": "a100"} }), 3},
				{node("b", func(*pool.NodeSpec) {}), 5},
			},
		},
		"tabs and another order": {
			"bmc_address\tmacs\tname\tcpus\nh\t1 2,3;4\ta\t 16 \n",
			[]Row{{node("a", func(s *pool.NodeSpec) { s.MACs, s.CPUs = []string{"1", "2", "3", "4"}, 16 }), 2}},
		},
		"what only looks like a formula": {
			"name,bmc_address,bmc_password,prop:a,prop:b\na,h,=1+1,-x,@y\nb,h,' ,+1,\n",
			[]Row{
				{node("a", func(s *pool.NodeSpec) {
					s.BMC.Password, s.Properties = secret.New("=1+1"), map[string]string{"a": "-x", "b": "@y"}
				}), 2},
				{node("b", func(s *pool.NodeSpec) { s.BMC.Password, s.Properties = secret.New("' "), map[string]string{"a": "+1"} }), 3},
			},
		},
		"quotes": {
			"name,bmc_address,bmc_password\na,h,\" \"\"x\"\",\n y \"\nb,h, z \n",
			[]Row{
				{node("a", func(s *pool.NodeSpec) { s.BMC.Password = secret.New(" \"x\",\n y ") }), 2},
				{node("b", func(s *pool.NodeSpec) { s.BMC.Password = secret.New(" z ") }), 4},
			},
		},
	} {
		inv, err := Read(strings.NewReader(c.in), CSV, "n.csv")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(c.want, inv.Rows, same); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestForeignOddities(t *testing.T) {
	in := `
description: lab
nodes:
- name: a
  driver: agent_ipmitool
  owner: me
  driver_info: {ipmi_address: h, ipmi_terminal_port: 1, ipmi_password: x #y
    }
  properties: {capabilities: {profile: p, Bad: x, cpus: 3, empty: ''}, vendor: acme, root_device: {wwn: x}, cpus: 2, rack: ''}
  resource_class: {a: b}
  ports: [{address: m1}]
  portgroups: [{address: g, ports: [{address: m2}]}]
- name: b
  driver: redfish
  driver_info: {redfish_address: 'http://[2001:db8::1]:8000/redfish/v1/', redfish_verify_ca: /ca.pem}
- name: c
  driver: redfish
  owner: you
  driver_info: {redfish_address: 'https://[2001:db8::1]/other', redfish_verify_ca: True}
`
	inv, err := Read(strings.NewReader(in), "", "b.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []pool.NodeSpec{
		{
			Name: "a", BMC: pool.BMC{Driver: "ipmi", Address: "h", Password: secret.New("x")}, CPUs: 2, MACs: []string{"m1", "m2"},
			Properties: map[string]string{"profile": "p", "vendor": "acme"},
		},
		{Name: "b", BMC: pool.BMC{Driver: "redfish", Address: "http://[2001:db8::1]", Port: 8000, Verify: "/ca.pem"}},
		{Name: "c", BMC: pool.BMC{Driver: "redfish", Address: "2001:db8::1"}},
	}
	if diff := cmp.Diff(want, inv.Specs(), same); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	warnings := []string{
		"b.yaml:7: node a: what follows # is taken for a comment and not for a part of driver_info.ipmi_password; write the password in quotes",
		"b.yaml:2: the file: description is not carried over",
		"b.yaml:6: node a: owner is not carried over (2 times)",
		"b.yaml:7: node a: driver_info.ipmi_terminal_port is not carried over",
		"b.yaml:9: node a: properties.capability Bad is not carried over",
		"b.yaml:9: node a: properties.capability cpus is not carried over",
		"b.yaml:9: node a: properties.capability empty is not carried over",
		"b.yaml:9: node a: properties.rack is not carried over",
		"b.yaml:9: node a: properties.root_device is not carried over",
		"b.yaml:10: node a: resource_class is not carried over",
		"b.yaml:12: node a: portgroups is not carried over",
		"b.yaml:19: node c: driver_info.redfish_address path /other is not carried over",
	}
	if diff := cmp.Diff(warnings, inv.Warnings); diff != "" {
		t.Errorf("warnings (-want +got)\n%s", diff)
	}
}

func TestLocate(t *testing.T) {
	db := openPool(t)
	in := "nodes:\n- {name: a, bmc: {address: h1}}\n- {name: b, bmc: {address: h1}}\n- {name: 'b: c', bmc: {address: h3}, arch: X}\n"
	inv, err := Read(strings.NewReader(in), YAML, "n.yaml")
	if err != nil {
		t.Fatal(err)
	}
	err = inv.Locate(db.AddNodes(t.Context(), inv.Specs()))
	want := []string{
		`n.yaml:3: node b: bmc h1 port 623 is given to node a too`,
		`n.yaml:4: node b: c: name "b: c": `,
		`n.yaml:4: node b: c: arch "X": `,
	}
	var problems *pool.Problems
	if !errors.As(err, &problems) || !errors.Is(err, pool.ErrInvalid) {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, problems.List, cmp.Comparer(func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := inv.Locate(io.EOF); err != io.EOF { //nolint:errorlint // the very same
		t.Errorf("another error became %v", err)
	}
	if inv.Locate(nil) != nil {
		t.Error("no error became one")
	}
}

func FuzzRead(f *testing.F) {
	for _, file := range []string{"testdata/instackenv.json", "testdata/baremetal-create.yaml", "testdata/bifrost.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add("nodes:\n- name: a\n  bmc: {address: h, port: 1, password: 'x'}\n  macs: a b\n  properties: {a: b}\n")
	f.Add("name;bmc_address;prop:a;;\r\na;\"h\n\"\"x\";b;;\r\n")
	f.Add("name,bmc_address\n\"a,h\nb,\"h\"\n")
	f.Add("name\tbmc_address\tbmc_password\na\th\t\"x")
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 4096 || strings.Contains(in, "password_file") { // would read files
			return
		}
		for _, format := range append([]Format{""}, Formats...) {
			inv, err := Read(strings.NewReader(in), format, "f")
			var problems *pool.Problems
			switch {
			case errors.As(err, &problems):
				if inv == nil || len(problems.List) == 0 {
					t.Fatalf("%s: %v, %q", format, inv, problems.List)
				}
				for _, p := range problems.List {
					if !strings.HasPrefix(p, "f:") || strings.Contains(p, "%!") {
						t.Fatalf("%s: problem %q", format, p)
					}
				}
				continue
			case err != nil:
				t.Fatalf("%s: %v", format, err)
			}
			for _, r := range inv.Rows {
				if r.Spec.Name == "" || r.Line < 1 || r.Line > 1+strings.Count(in, "\n") {
					t.Fatalf("%s: %+v", format, r)
				}
			}
			var buf bytes.Buffer
			if err := Write(&buf, YAML, inv.Specs(), true); err != nil {
				t.Fatalf("%s: %v", format, err)
			}
			text := buf.String()
			again, err := Read(&buf, YAML, "again")
			if err != nil {
				t.Fatalf("%s: %v in\n%s", format, err, text)
			}
			if diff := cmp.Diff(withoutEmptyProperties(inv.Specs()), again.Specs(), same); diff != "" {
				t.Fatalf("%s (-want +got)\n%s\nwritten as\n%s", format, diff, text)
			}
			if err := Write(io.Discard, CSV, inv.Specs(), true); err != nil && !errors.Is(err, pool.ErrInvalid) {
				t.Fatalf("%s: %v", format, err)
			}
		}
	})
}

func withoutEmptyProperties(specs []pool.NodeSpec) []pool.NodeSpec {
	for i, s := range specs {
		specs[i] = tidy(s)
	}
	return specs
}

func ExampleRead() {
	inv, err := Read(strings.NewReader("name,bmc_address,prop:gpu\nci-01,192.0.2.11,a100\n"), "", "-")
	if err != nil {
		panic(err)
	}
	for _, r := range inv.Rows {
		fmt.Println(r.Line, r.Spec.Name, r.Spec.BMC.Address, r.Spec.Properties)
	}
	// Output: 2 ci-01 192.0.2.11 map[gpu:a100]
}
