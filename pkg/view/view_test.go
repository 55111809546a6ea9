package view_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
	"github.com/molteniron/molteniron/pkg/view"
)

func node() pool.Node {
	return pool.Node{
		UID: "never shown", Name: "bm-01", Pool: "default", Status: pool.Allocated, Reason: "r", Since: time.Date(2026, 1, 2, 3, 4, 5, 999999999, time.FixedZone("", 3600)),
		BMC:  pool.BMC{Driver: pool.DriverIPMI, Address: "10.0.0.1", Port: 623, Username: "admin", Password: secret.New("hunter2")},
		MACs: []string{"de:ad:be:ef:00:01", "de:ad:be:ef:00:02"}, Arch: "x86_64", CPUs: 8, RAMMB: 2048, DiskGB: 32,
		IPs: []string{"10.1.2.3"}, Properties: map[string]string{"rack": "B4"}, Cost: -1,
		Generation: 3, Allocation: 7, Owner: "o", Slot: "s", ExpiresAt: time.Date(2026, 1, 2, 9, 4, 5, 0, time.UTC),
		HoldReason: "stays for a look", Suspect: true, Maintenance: true, MaintReason: "fan",
	}
}

const fullNode = `{
  "name": "bm-01",
  "pool": "default",
  "status": "allocated",
  "reason": "r",
  "suspect": true,
  "maintenance": true,
  "maintenance_reason": "fan",
  "owner": "o",
  "slot": "s",
  "allocation": 7,
  "generation": 3,
  "since": "2026-01-02T02:04:05Z",
  "expires_at": "2026-01-02T09:04:05Z",
  "hold_reason": "stays for a look",
  "bmc": {
    "driver": "ipmi",
    "address": "10.0.0.1",
    "port": 623,
    "system_id": "",
    "verify": "",
    "username": "admin",
    "password": null
  },
  "mac": "de:ad:be:ef:00:01",
  "macs": [
    "de:ad:be:ef:00:01",
    "de:ad:be:ef:00:02"
  ],
  "arch": "x86_64",
  "cpus": 8,
  "ram_mb": 2048,
  "disk_gb": 32,
  "ips": [
    "10.1.2.3"
  ],
  "properties": {
    "rack": "B4"
  },
  "cost": -1
}
`

const emptyNode = `{
  "name": "",
  "pool": "",
  "status": "",
  "reason": "",
  "suspect": false,
  "maintenance": false,
  "maintenance_reason": "",
  "owner": "",
  "slot": "",
  "allocation": null,
  "generation": 0,
  "since": null,
  "expires_at": null,
  "hold_reason": "",
  "bmc": {
    "driver": "",
    "address": "",
    "port": null,
    "system_id": "",
    "verify": "",
    "username": "",
    "password": ""
  },
  "mac": "",
  "macs": [],
  "arch": "",
  "cpus": null,
  "ram_mb": null,
  "disk_gb": null,
  "ips": [],
  "properties": {},
  "cost": 0
}
`

const emptyExplanation = `{
  "pool": "",
  "owner": "",
  "slot": "",
  "place": 0,
  "groups": [],
  "reason": "",
  "now": false,
  "impossible": false,
  "stalled": false,
  "braked": false,
  "lacking": [],
  "steps": [],
  "relax": [],
  "relax_now": [],
  "suitable": {
    "ready": 0,
    "allocated": 0,
    "dirty": 0,
    "broken": 0
  },
  "maintenance": 0,
  "outages": [],
  "set_aside": 0,
  "holders": [],
  "estimate": {
    "known": false,
    "p50": null,
    "p90": null,
    "basis": ""
  },
  "at": null
}
`

const emptyAllocation = `{
  "id": 0,
  "owner": "",
  "slot": "",
  "pool": "",
  "state": "",
  "place": null,
  "priority": 0,
  "count": 0,
  "groups": [],
  "lease_seconds": 0,
  "queued_at": null,
  "granted_at": null,
  "claimed_at": null,
  "expires_at": null,
  "ended_at": null,
  "end_reason": "",
  "end_detail": "",
  "hold_reason": "",
  "result": "",
  "labels": {},
  "where": "",
  "nodes": []
}
`

const emptyDeed = `{
  "action": "set-aside",
  "pool": "",
  "nodes": [],
  "owner": "",
  "slot": "",
  "allocation": null,
  "expires_at": null,
  "result": "",
  "text": "t"
}
`

func TestJSON(t *testing.T) {
	tests := []struct {
		name string
		v    any
		want string
	}{
		{"a node", view.NewNode(node(), false), fullNode},
		{"a node with credentials", view.NewNode(node(), true), strings.Replace(fullNode, `"password": null`, `"password": "hunter2"`, 1)},
		{"an empty node with credentials", view.NewNode(pool.Node{}, true), emptyNode},
		{"an empty allocation", view.NewAllocation(&pool.Allocation{}, false), emptyAllocation},
		{"an empty explanation", view.NewExplanation(&pool.Explanation{}), emptyExplanation},
		{"an empty queue", view.NewQueue(nil), "[]\n"},
		{"a deed about nothing", view.NewDeed("set-aside", "", nil, "", "", 0, "t"), emptyDeed},
		{"no nodes", view.NewNodes(nil, false), "[]\n"},
		{"no allocations", view.NewAllocations(nil), "[]\n"},
		{"a nil slice", []view.Node(nil), "[]\n"},
		{"characters of HTML", map[string]string{"a": "<&>"}, "{\n  \"a\": \"<&>\"\n}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := view.JSON(tt.v)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// filled sets every field below v to something that is not its zero value.
func filled(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("hidden")
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(7 * time.Second))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		for _, key := range []string{"k", "ready", "allocated", "dirty", "broken"} {
			value := reflect.New(v.Type().Elem()).Elem()
			filled(t, value)
			m.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
		}
		v.Set(m)
	case reflect.Interface:
		v.Set(reflect.ValueOf("any"))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		filled(t, v.Index(0))
	case reflect.Struct:
		switch v.Interface().(type) {
		case secret.Text:
			v.Set(reflect.ValueOf(secret.New("S3CRET")))
		case time.Time: // a struct, but nothing to walk through
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
		default:
			for i := range v.NumField() {
				filled(t, v.Field(i))
			}
		}
	default:
		t.Fatalf("the test cannot fill a %s", v.Kind())
	}
}

// Every field of pool's structs reaches its JSON form, and none of the secrets does unless asked for.
func TestNothingIsForgotten(t *testing.T) {
	var n pool.Node
	var a pool.Allocation
	var p pool.PoolInfo
	var e pool.Event
	var x pool.Explanation
	var q pool.QueuedRequest
	for _, v := range []any{&n, &a, &p, &e, &x, &q} {
		filled(t, reflect.ValueOf(v).Elem())
	}
	tests := []struct {
		name    string
		v       any
		secrets int
	}{
		{"node", view.NewNode(n, false), 0},
		{"node with credentials", view.NewNode(n, true), 1},
		{"allocation", view.NewAllocation(&a, false), 0},
		{"allocation with credentials", view.NewAllocation(&a, true), 2},
		{"allocations", view.NewAllocations([]pool.Allocation{a}), 0},
		{"pools", view.NewPools([]pool.PoolInfo{p}), 0},
		{"events", view.NewEvents([]pool.Event{e}), 0},
		{"explanation", view.NewExplanation(&x), 0},
		{"queue", view.NewQueue([]pool.QueuedRequest{q}), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, err := view.JSON(tt.v)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(string(text), "S3CRET"); got != tt.secrets {
				t.Errorf("it shows %d secrets, want %d", got, tt.secrets)
			}
			filled := strings.Replace(string(text), `"password": null`, `"password": "shown as null"`, 1)
			for _, empty := range []string{`""`, ": null", ": 0", "false", "[]", "{}"} {
				if strings.Contains(filled, empty) {
					t.Errorf("a field of pool's does not arrive, for there is %s in:\n%s", empty, text)
				}
			}
		})
	}
}

func TestAllocation(t *testing.T) {
	compute, err := pool.ParseRequirement("rack:not=A1,A2")
	if err != nil {
		t.Fatal(err)
	}
	n := node()
	n.Generation = 9 // meanwhile
	v := view.NewAllocation(&pool.Allocation{
		ID: 4, Place: 2, Lease: 90 * time.Minute, State: pool.Waiting,
		Groups: []pool.Group{{Name: "compute", Count: 2, Require: []pool.Requirement{compute}}, {Name: "control", Count: 1}},
		Nodes:  []pool.GrantedNode{{Node: n, Group: "compute", Generation: 3}},
	}, false)
	if v.Count != 3 || *v.Place != 2 || v.LeaseSeconds != 5400 || v.Nodes[0].Generation != 3 || v.Nodes[0].Group != "compute" {
		t.Errorf("got %+v", v)
	}
	if diff := cmp.Diff([]view.Group{{"compute", 2, []string{"rack:not=A1,A2"}}, {"control", 1, []string{}}}, v.Groups); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// A YAML reader gets from YAML what a JSON reader gets from JSON, whatever the strings are.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"", "null", "~", "true", "yes", "012", "1e3", "0x1f", "1:20", "2026-01-02", "2026-01-02T03:04:05Z", "- a", "a: b", "a:", "#x", "a #x",
		"*a", "&a", "!a", "|", ">", "%a", "@a", "`a", "'", "\"", "\\", "a\nb", "a\n", "\n", " a", "a ", "\t", "{{ x }}", "[", "{", "é 🔑", "\u2028", "\u0085", "\u00a0", "\x01", "\x7f", "\ufeff", "<<", "=", ".", "..", ".inf", "-", "--- a", "..."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := node()
		n.Owner, n.Name, n.BMC.Password = s, s, secret.New(s)
		n.Properties = map[string]string{"p": s}
		v := view.NewNodes([]pool.Node{n, {}}, true)
		asJSON, err := view.JSON(v)
		if err != nil {
			t.Fatal(err)
		}
		asYAML, err := view.YAML(v)
		if err != nil {
			t.Fatalf("%v of %q", err, asJSON)
		}
		var a, b any
		if err := json.Unmarshal(asJSON, &a); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(asYAML, &b); err != nil {
			t.Fatalf("%v in %q", err, asYAML)
		}
		b = jsonNumbers(b)
		// Times are strings in either form.
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("JSON and YAML differ (-JSON +YAML):\n%s\n%s", diff, asYAML)
		}
	})
}

// jsonNumbers makes what yaml.v3 reads comparable with what encoding/json reads.
func jsonNumbers(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case []any:
		for i := range v {
			v[i] = jsonNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = jsonNumbers(v[k])
		}
	}
	return v
}

// What YAML 1.1 would not read as a text has quotes, though YAML 1.2 needs none.
func TestYAMLQuotes(t *testing.T) {
	for s, want := range map[string]string{
		"bm-01": "bm-01", "de:ad:be:ef:00:01": "de:ad:be:ef:00:01", "a/b+c.d_e": "a/b+c.d_e",
		"10:11:12:13:14:15": `"10:11:12:13:14:15"`, "1_000": `"1_000"`, "0b1": `"0b1"`, "y": `"y"`, "No": `"No"`, "off": `"off"`,
		"2026-01-02": `"2026-01-02"`, "~": `"~"`, "<<": `"<<"`, "a:": `"a:"`, "a b": `"a b"`, ".inf": `".inf"`, "-1": `"-1"`, "": `""`,
	} {
		got, err := view.YAML([]string{s})
		if err != nil || string(got) != "- "+want+"\n" {
			t.Errorf("%q is %q (%v), want - %s", s, got, err, want)
		}
	}
}

func TestYAML(t *testing.T) {
	got, err := view.YAML(view.NewNode(node(), false))
	if err != nil {
		t.Fatal(err)
	}
	want := `name: bm-01
pool: default
status: allocated
reason: r
suspect: true
maintenance: true
maintenance_reason: fan
owner: o
slot: s
allocation: 7
generation: 3
since: "2026-01-02T02:04:05Z"
expires_at: "2026-01-02T09:04:05Z"
hold_reason: "stays for a look"
bmc:
  driver: ipmi
  address: "10.0.0.1"
  port: 623
  system_id: ""
  verify: ""
  username: admin
  password: null
mac: de:ad:be:ef:00:01
macs:
  - de:ad:be:ef:00:01
  - de:ad:be:ef:00:02
arch: x86_64
cpus: 8
ram_mb: 2048
disk_gb: 32
ips:
  - "10.1.2.3"
properties:
  rack: B4
cost: -1
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A pool's policy has in JSON the names under which it is set, and the values that setting takes.
func TestPolicy(t *testing.T) {
	text, err := view.JSON(view.NewPool(pool.PoolInfo{Policy: pool.DefaultPolicy()}).Policy)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{}
	for _, f := range pool.PolicyFields {
		value, err := pool.DefaultPolicy().Field(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		want[f.Name] = value
	}
	for name, v := range got {
		if _, isText := v.(string); !isText {
			got[name] = fmt.Sprint(v)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-fields +JSON):\n%s", diff)
	}
}
