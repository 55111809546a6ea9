package hook

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// The examples of docs/forms.md are what Prepare writes: each block's lines are in the file, in that order; where
// there is no "…" between two, one follows the other.
func TestFormsDocumentation(t *testing.T) {
	node := func(name, ip, address, password, mac string, cpus, ram, disk int64) pool.Node {
		return pool.Node{
			Name: name, Pool: "default", BMC: pool.BMC{Driver: pool.DriverIPMI, Address: address, Port: 623, Username: "admin", Password: secret.New(password)},
			MACs: []string{mac}, Arch: "x86_64", CPUs: cpus, RAMMB: ram, DiskGB: disk, IPs: []string{ip},
		}
	}
	one := node("bm-01", "198.51.100.11", "192.0.2.11", "it's", "52:54:00:00:01:01", 4, 16384, 200)
	one.Properties = map[string]string{"rack": "B4"}
	two := node("bm-02", "198.51.100.12", "192.0.2.12", `a\b`, "52:54:00:00:02:01", 8, 8192, 400)
	a := &pool.Allocation{
		ID: 12, Token: secret.New("TOKEN"), Owner: "https://ci.example.org/job/nightly/7/", Pool: "default", State: pool.Granted, ExpiresAt: time.Unix(1e9, 0),
		Nodes: []pool.GrantedNode{{Node: one, Group: "controller"}, {Node: two, Group: "compute"}},
	}
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	p := &prepare{Process: environment(nil), Request: Request{
		EnvFile: at("env"), JSONFile: at("json"),
		Forms: Forms{
			PropertiesFile: at("properties"), HardwareInfo: at("hardware_info"), Localrc: at("localrc"), LocalConf: at("local.conf"),
			BaremetalFile: at("nodes.yaml"), InventoryFile: at("hosts.yaml"),
		},
	}}
	staged, err := p.stage(a, nil)
	if err == nil {
		err = staged.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/forms.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)\n```[a-z]*\n(.*?)```\n").FindAllStringSubmatch(string(doc), -1)
	files := []string{"env", "json", "properties", "hardware_info", "localrc", "", "nodes.yaml", "hosts.yaml"} // "" is a job's own
	if len(blocks) != len(files) {
		t.Fatalf("the page has %d examples, and the test knows %d", len(blocks), len(files))
	}
	for i, name := range files {
		if name == "" {
			continue
		}
		text, err := os.ReadFile(at(name))
		if err != nil {
			t.Fatal(err)
		}
		rest := string(text)
		parts := strings.Split(blocks[i][1], "…\n")
		for j, part := range parts {
			at := strings.Index(rest, part)
			if at < 0 || j == 0 && at > 0 {
				t.Errorf("the example of %s has lines that the file has not, or not there:\n%s\nin\n%s", name, part, rest)
				break
			}
			if rest = rest[at+len(part):]; j == len(parts)-1 && rest != "" && part != "" {
				t.Errorf("the example of %s ends before the file:\n%s", name, rest)
			}
		}
	}
	for _, f := range p.forms() { // each flag is on the page, with its variable
		for _, want := range []string{"`--" + f.flag, "`MOLTENIRON_" + strings.ToUpper(strings.ReplaceAll(f.flag, "-", "_")) + "`"} {
			if !strings.Contains(string(doc), want) {
				t.Errorf("the page does not name %s", want)
			}
		}
	}
}
