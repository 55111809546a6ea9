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
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
	"pgregory.net/rapid"
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

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		in, file string
		want     []string // what each line begins with
	}{
		// CSV
		"csv, all rows": {
			"name,bmc_address,bmc_port,cpus,ram_mb\na,h,x,1,1\nb,h,1,2\nc,h,70000,1.5,99999999999999999999\n\nd,h,1,2,3\ne,h,1,2,3,4\n,h,,,\n", "n.csv",
			[]string{
				`n.csv:2:5: node a: bmc_port "x" is no whole number`,
				`n.csv:3:1: node b: 4 cells, and the header has 5: ram_mb is missing`,
				`n.csv:4:5: node c: bmc_port 70000 is not between 1 and 65535`,
				`n.csv:4:11: node c: cpus "1.5" is no whole number`,
				`n.csv:4:15: node c: ram_mb "99999999999999999999" is too big`,
				`n.csv:7:11: node e: 6 cells, and the header has 5; put a cell that holds a ',' in quotes`,
				`n.csv:8: the row has no name`,
			},
		},
		"csv, columns": {"name,bmc_adress,cpus,cpus,prop:,\n", "n.csv", []string{
			`n.csv:1:6: "bmc_adress" is no column; the columns are name, pool, bmc_driver, bmc_address`,
			`n.csv:1:22: the column cpus stands twice in the header`,
			`n.csv:1:27: "prop:" is no column`,
			`n.csv:1: the header has no column bmc_address; the columns are`,
		}},
		"csv, an alias twice":   {"name,bmc_address,mac,MACs\n", "n.csv", []string{`n.csv:1:22: the column mac stands twice`}},
		"csv, no header":        {"node1,192.0.2.1,admin," + hidden + "\n", "n.csv", []string{`n.csv:1: the first line names no columns; the columns are name, `}},
		"csv, empty":            {"\n", "n.csv", []string{`n.csv:1: empty; the first line names the columns: name, `}},
		"csv, no name column":   {"bmc_address,cpus\nh,1\n", "n.csv", []string{`n.csv:1: the header has no column name`}},
		"csv, a nameless value": {"name,bmc_address,\na,h,x\n", "n.csv", []string{`n.csv:2:5: node a: a value in a column without a name`}},
		"csv, a comma in the password": {"name,bmc_address,bmc_password\na,h,x," + hidden + "\n", "n.csv",
			[]string{`n.csv:2:7: node a: 4 cells, and the header has 3; put a cell that holds a ',' in quotes`}},
		"csv, an open quote": {"name,bmc_address,bmc_password\na,h,ok\nä,\"h\",\"" + hidden + "\nc,h,x\n", "n.csv",
			[]string{`n.csv:3:7: a quote is opened here and never closed`}},
		"csv, a quote in a quoted cell": {"name,bmc_address\n\"a\"b,h\nc,h\nd,\"h\"x\n", "n.csv", []string{
			`n.csv:2:3: a quote in the middle of a quoted cell; a quote within one is written twice`,
			`n.csv:4:5: a quote in the middle of a quoted cell`,
		}},
		"csv, a quote open over rows": {"name,bmc_address\n\"a,h\nb,\"h\"\n", "n.csv",
			[]string{`n.csv:3:3: a quote in the middle of a quoted cell; a quote within one is written twice, as in "5"" disk"; the row began in line 2, is a quote left open there?`}},
		"csv, a quote in a plain cell": {"name,bmc_address\na,h\"\nb,h,\n", "n.csv",
			[]string{`n.csv:2:4: a quote in a cell that does not begin with one; put the whole cell in quotes and write the quote within twice`}},
		"csv, latin 1": {"name,bmc_address\na,\xe4\n", "n.csv", []string{`n.csv:2: not UTF-8 text; save the file as "CSV UTF-8"`}},
		"csv, utf-16":  {"\xff\xfen\x00", "n.csv", []string{`n.csv:1: not UTF-8 text`}},
		"csv, NUL":     {"name,bmc_address\na,\x00\n", "n.csv", []string{`n.csv:2: holds a NUL character`}},

		// own YAML
		"yaml, all nodes": {
			"nodes:\n- name: a\n  bmc: {address: h, port: x, pasword: " + hidden + "}\n  rams: 1\n- bmc: {address: h}\n  cpus: [1]\n- x\n- name: d\n- name: e\n  bmc: h\n  macs: {a: b}\n  ips: [[1]]\n  properties: {a: , b: [c]}\n",
			"n.yaml", []string{
				`n.yaml:3: node a: bmc.port "x" is no whole number`,
				`n.yaml:3: node a: unknown key "bmc.pasword"; the keys are address, driver, password, password_file, port, system_id, username, verify`,
				`n.yaml:4: node a: unknown key "rams"; the keys are arch, bmc, cost, cpus, disk_gb, ips, macs, name, pool, properties, ram_mb`,
				`n.yaml:5: node 2 has no name`,
				`n.yaml:6: node 2: cpus must be a single value and is a list`,
				`n.yaml:7: node 3 must be a map and is a single value`,
				`n.yaml:8: node d has no bmc; write bmc: {address: ADDRESS, username: NAME, password: PASSWORD}`,
				`n.yaml:10: node e: bmc must be a map and is a single value`,
				`n.yaml:11: node e: macs must be a list and is a map`,
				`n.yaml:12: node e: ips must be a list of single values and holds a list`,
				`n.yaml:13: node e: properties.a has no value; leave it out, or write it in quotes`,
				`n.yaml:13: node e: properties.b must be a single value and is a list`,
			},
		},
		"yaml, empty":           {"", "n.yaml", []string{`n.yaml:1: must be a map with the key nodes, and is nothing`}},
		"yaml, a list":          {"- name: a\n", "n.yaml", []string{`n.yaml:1: must be a map with the key nodes, and is a list`}},
		"yaml, another key":     {"nodes: []\npools: []\n", "n.yaml", []string{`n.yaml:2: unknown key "pools"; at the top is nodes`}},
		"yaml, no nodes":        {"{}\n", "n.yaml", []string{`n.yaml:1: there is no key nodes`}},
		"yaml, nodes is a map":  {"nodes: {a: b}\n", "n.yaml", []string{`n.yaml:1: nodes must be a list and is a map`}},
		"yaml, twice":           {"nodes:\n- name: a\n  name: b\n", "n.yaml", []string{`n.yaml:3: the key "name" stands twice in one map`}},
		"yaml, syntax":          {"nodes:\n- name: a\n bmc: b\n", "n.yaml", []string{`n.yaml:2: did not find expected key`}},
		"yaml, a starred value": {"nodes:\n- bmc: {password: *" + hidden + "}\n", "n.yaml", []string{`n.yaml:2: * begins a reference to an anchor`}},
		"yaml, two passwords": {"nodes:\n- {name: a, bmc: {address: h, password: x, password_file: y}}\n", "n.yaml",
			[]string{`n.yaml:2: node a: bmc.password_file and password are both set; keep one`}},
		"yaml, no such password file": {"nodes:\n- {name: a, bmc: {address: h, password_file: /nonexistent}}\n", "n.yaml",
			[]string{`n.yaml:2: node a: bmc.password_file /nonexistent: no such file or directory`}},
		"json": {"{\"nodes\": [\n{\"name\": \"a\", }]}", "n.json", []string{`n.json:2: no JSON: invalid character '}'`}},

		// foreign
		"instackenv": {
			`{"nodes": [` + "\n" + `{"name": "a", "pm_type": "pxe_ilo", "pm_addr": "h", "pm_password": "` + hidden + `"},` + "\n" +
				`{"pm_type": "ipmi", "pm_addr": "h", "mac": ["x"], "cpu": "two"},` + "\n" +
				`{"name": "c", "pm_type": "redfish", "pm_addr": "ftp://u:` + hidden + `@h", "ports": [{}, "x"]},` + "\n" +
				`{"name": "d", "pm_addr": "h", "ports": "x", "pm_port": "0x10"}]}`, "i.json",
			[]string{
				`i.json:2: node a: pm_type "pxe_ilo" is not known; the known ones are agent_ipmitool, ipmi, pxe_ipmitool, redfish`,
				`i.json:3: node 2 has no name; give it one`,
				`i.json:3: node 2: mac is the old form; write "ports": [{"address": "MAC"}]`,
				`i.json:3: node 2: cpu "two" is no whole number`,
				`i.json:4: node c: pm_addr is no http or https URL`,
				`i.json:4: node c: pm_system_id is missing, and pm_type is redfish`,
				`i.json:4: node c: ports.address is missing`,
				`i.json:4: node c: ports must be a list of maps and holds a single value`,
				`i.json:5: node d has no pm_type; the known ones are`,
				`i.json:5: node d: pm_port "0x10" is no whole number`,
				`i.json:5: node d: ports must be a list and is a single value`,
			},
		},
		"baremetal": {
			"chassis:\n- x\n- nodes:\n  - name: a\n    driver: redfish\n    driver_info: {redfish_address: 'https://h:99999', redfish_password: " + hidden + "}\nnodes:\n- driver: idrac\n  driver_info: {}\n- driver: redfish\n  name: b\n  driver_info: {redfish_address: 'https://u:p@h'}\n", "b.yaml",
			[]string{
				`b.yaml:2: chassis must be a list of maps and holds a single value`,
				`b.yaml:6: node a: driver_info.redfish_address has the port "99999"`,
				`b.yaml:8: node 1 has no name`,
				`b.yaml:8: node 1: driver "idrac" is not known`,
				`b.yaml:12: node b: driver_info.redfish_address holds more than scheme, host and port`,
			},
		},
		"bifrost": {"a: {driver: ipmi, driver_info: x}\nb: []\n", "b.yaml", []string{
			`b.yaml:1: node a: driver_info must be a map and is a single value`,
			`b.yaml:2: node b must be a map and is a list`,
		}},
	} {
		_, err := Read(strings.NewReader(c.in), "", c.file)
		var problems *pool.Problems
		if !errors.As(err, &problems) || !errors.Is(err, pool.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, problems.List, cmp.Comparer(func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) })); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		if strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: the error shows a password: %v", name, err)
		}
	}
	if _, err := Read(strings.NewReader("x"), "toml", "n"); err == nil || !strings.Contains(err.Error(), `unknown format "toml"; the formats are yaml, csv, instackenv, baremetal, bifrost`) {
		t.Errorf("an unknown format: %v", err)
	}
	if _, err := Read(iotest.ErrReader(io.ErrUnexpectedEOF), YAML, "n"); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, pool.ErrInvalid) {
		t.Errorf("a broken reader: %v", err)
	}
	if _, err := Read(strings.NewReader("x"), YAML, "-"); err == nil || !strings.HasPrefix(err.Error(), "standard input:1: ") {
		t.Errorf("standard input: %v", err)
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

func TestWrite(t *testing.T) {
	specs := []pool.NodeSpec{
		{
			Name: "a", Pool: "default", BMC: pool.BMC{Driver: "ipmi", Address: "192.0.2.1", Port: 623, Username: "ci", Password: secret.New(`x "y", $z`)},
			MACs: []string{"52:54:00:12:34:56", "52:54:00:12:34:57"}, Arch: "x86_64", CPUs: 8, RAMMB: 1024, DiskGB: 10, IPs: []string{"203.0.113.1"},
			Properties: map[string]string{"rack": "a1", "fw": "1.10"}, Cost: 5,
		},
		{Name: "b", BMC: pool.BMC{Address: "h"}},
	}
	for _, c := range []struct {
		format      Format
		credentials bool
		want        string
	}{
		{YAML, true, `nodes:
  - name: a
    pool: default
    bmc:
      driver: ipmi
      address: 192.0.2.1
      port: 623
      username: ci
      password: "x \"y\", $z"
    macs: ["52:54:00:12:34:56", "52:54:00:12:34:57"]
    arch: x86_64
    cpus: 8
    ram_mb: 1024
    disk_gb: 10
    ips: [203.0.113.1]
    properties:
      fw: "1.10"
      rack: a1
    cost: 5
  - name: b
    bmc:
      address: h
`},
		{CSV, true, `name,pool,bmc_driver,bmc_address,bmc_port,bmc_system_id,bmc_verify,bmc_user,bmc_password,mac,arch,cpus,ram_mb,disk_gb,ip,cost,prop:fw,prop:rack
a,default,ipmi,192.0.2.1,623,,,ci,"x ""y"", $z",52:54:00:12:34:56 52:54:00:12:34:57,x86_64,8,1024,10,203.0.113.1,5,1.10,a1
b,,,h,,,,,,,,,,,,,,
`},
		{CSV, false, `name,pool,bmc_driver,bmc_address,bmc_port,bmc_system_id,bmc_verify,bmc_user,mac,arch,cpus,ram_mb,disk_gb,ip,cost,prop:fw,prop:rack
a,default,ipmi,192.0.2.1,623,,,ci,52:54:00:12:34:56 52:54:00:12:34:57,x86_64,8,1024,10,203.0.113.1,5,1.10,a1
b,,,h,,,,,,,,,,,,,
`},
	} {
		var buf bytes.Buffer
		if err := Write(&buf, c.format, specs, c.credentials); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, buf.String()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.format, diff)
		}
	}
	var buf bytes.Buffer
	if err := Write(&buf, YAML, specs, false); err != nil || strings.Contains(buf.String(), "password") {
		t.Errorf("without credentials: %v\n%s", err, buf.String())
	}
	for _, format := range []Format{YAML, CSV} {
		buf.Reset()
		if err := Write(&buf, format, nil, true); err != nil {
			t.Fatal(err)
		}
		if inv, err := Read(&buf, "", ""); err != nil || inv.Format != format || len(inv.Rows) != 0 {
			t.Errorf("an empty %s: %+v, %v", format, inv, err)
		}
	}
	for name, spec := range map[string]pool.NodeSpec{
		"CR LF":        {Name: "a", BMC: pool.BMC{Password: secret.New(hidden + "\r\n")}},
		"outer blanks": {Name: "a", BMC: pool.BMC{Username: " x"}},
		"no UTF-8":     {Name: "a", BMC: pool.BMC{Password: secret.New(hidden + "\xff")}},
		"a big key":    {Name: "a", Properties: map[string]string{"GPU": "x"}},
		"an empty one": {Name: "a", Properties: map[string]string{"gpu": ""}},
		"no name":      {},
	} {
		err := Write(io.Discard, CSV, []pool.NodeSpec{spec}, true)
		if err == nil || strings.Contains(err.Error(), hidden) || !strings.Contains(err.Error(), "as YAML") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Write(io.Discard, YAML, []pool.NodeSpec{{Name: "a", BMC: pool.BMC{Password: secret.New(hidden + "\xff")}}}, true); err == nil {
		t.Error("a text that is no UTF-8 was written")
	}
	if err := Write(io.Discard, Bifrost, nil, true); !errors.Is(err, pool.ErrInvalid) {
		t.Errorf("bifrost was written: %v", err)
	}
}

// drawSpec makes specs that pkg/pool takes, and passwords of every kind but those with CR LF.
func drawSpec(t *rapid.T) pool.NodeSpec {
	plain := rapid.StringMatching(`([!-~äß€😀]([ -~äß€😀]{0,20}[!-~äß€😀])?)?`)
	word := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,20}`)
	value := plain.Filter(func(s string) bool { return s != "" })
	number := rapid.Int64Range(0, 1<<31-1)
	return pool.NodeSpec{
		Name: word.Draw(t, "name"), Pool: rapid.OneOf(rapid.Just(""), word).Draw(t, "pool"),
		BMC: pool.BMC{
			Driver: rapid.SampledFrom([]string{"", "ipmi", "redfish"}).Draw(t, "driver"), Address: word.Draw(t, "address"),
			Port: rapid.IntRange(0, 65535).Draw(t, "port"), SystemID: plain.Draw(t, "system"), Verify: plain.Draw(t, "verify"),
			Username: plain.Draw(t, "user"),
			Password: secret.New(rapid.OneOf(plain, rapid.String(), rapid.StringMatching("[=+@' \t\n\",;#*&!|>%`\\\\-]{0,5}[a-z ]{0,3}")).
				Filter(func(s string) bool { return !strings.Contains(s, "\r\n") && !strings.Contains(s, "\x00") }).Draw(t, "password")),
		},
		MACs: rapid.SliceOfN(rapid.StringMatching(`([0-9a-f]{2}:){5}[0-9a-f]{2}`), 0, 3).Draw(t, "macs"),
		Arch: rapid.SampledFrom([]string{"", "x86_64", "no"}).Draw(t, "arch"), CPUs: number.Draw(t, "cpus"), RAMMB: number.Draw(t, "ram"),
		DiskGB: number.Draw(t, "disk"), IPs: rapid.SliceOfN(rapid.StringMatching(`[0-9]{1,3}\.[0-9.]{5}|2001:db8::[0-9a-f]{1,4}`), 0, 3).Draw(t, "ips"),
		Properties: rapid.MapOfN(rapid.StringMatching(`[a-z][a-z0-9_]{0,10}`), value, 0, 4).Draw(t, "properties"), Cost: number.Draw(t, "cost"),
	}
}

// What is written is read back as the same, whatever the values are.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		specs := rapid.SliceOfN(rapid.Custom(drawSpec), 0, 5).Draw(t, "specs")
		format := rapid.SampledFrom([]Format{YAML, CSV}).Draw(t, "format")
		credentials := rapid.Bool().Draw(t, "credentials")
		var buf bytes.Buffer
		if err := Write(&buf, format, specs, credentials); err != nil {
			t.Fatal(err)
		}
		text := buf.String()
		inv, err := Read(&buf, "", "")
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		want := make([]pool.NodeSpec, len(specs))
		for i, s := range specs {
			if !credentials {
				s.BMC.Password = secret.Text{}
			}
			want[i] = tidy(s)
		}
		if diff := cmp.Diff(want, inv.Specs(), same); diff != "" || inv.Format != format || len(inv.Warnings) > 0 {
			t.Fatalf("%s, %q (-want +got)\n%s\nwritten as\n%s", inv.Format, inv.Warnings, diff, text)
		}
	})
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
				if inv != nil || len(problems.List) == 0 {
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
