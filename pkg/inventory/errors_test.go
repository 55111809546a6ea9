package inventory

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/molteniron/molteniron/pkg/pool"
)

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
