package envfile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/envfile"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample is an allocation with both drivers, known and unknown numbers, and values that need quoting.
func sample() *pool.Allocation {
	return &pool.Allocation{
		ID: 12, Token: secret.New("T0K3N"), Owner: "https://ci.example.org/job/it's%20a/7/", Slot: "left", Pool: "gpu",
		State: pool.Granted, Priority: 3, Lease: 6 * time.Hour,
		Groups: []pool.Group{
			{Name: "compute", Count: 1, Require: []pool.Requirement{{Key: "arch", Op: pool.OpIs, Values: []string{"x86_64"}}}},
			{Name: "control", Count: 1},
		},
		QueuedAt:  time.Date(2026, 11, 3, 9, 59, 59, 999999000, time.UTC),
		GrantedAt: time.Date(2026, 11, 3, 10, 0, 0, 0, time.UTC),
		ExpiresAt: time.Date(2026, 11, 3, 17, 0, 0, 900000000, time.FixedZone("", 3600)),
		Labels:    map[string]string{"JOB_NAME": "a & b"},
		Nodes: []pool.GrantedNode{
			{Group: "compute", Generation: 4, Node: pool.Node{
				Name: "bm-01", Pool: "gpu", Status: pool.Allocated, Generation: 9,
				BMC:  pool.BMC{Driver: pool.DriverIPMI, Address: "2001:db8::1", Port: 623, Username: "admin", Password: secret.New("pa's \"w\" $x `y` \\\n")},
				MACs: []string{"de:ad:be:ef:00:01", "de:ad:be:ef:00:02"}, Arch: "x86_64", CPUs: 8, RAMMB: 2048, DiskGB: 32,
				IPs:        []string{"10.1.2.3", "10.1.2.4"},
				Properties: map[string]string{"rack": "B4", "gpu": "", "note_2": "-n $(reboot)"},
			}},
			{Group: "control", Generation: 1, Node: pool.Node{
				Name: "bm-02", Pool: "gpu", Status: pool.Allocated,
				BMC: pool.BMC{Driver: pool.DriverRedfish, Address: "bmc2.example.org", Port: 8443, SystemID: "437XR1138R2", Verify: "off", Username: "root", Password: secret.New("hunter2")},
			}},
		},
	}
}

func write(t testing.TB, a *pool.Allocation) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := envfile.Write(&b, a); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

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
		t.Errorf("%s (-want +got; rewrite it with: go test ./pkg/envfile -update):\n%s", name, diff)
	}
}

func TestWriteGolden(t *testing.T) {
	golden(t, "two-nodes.env", write(t, sample()))

	redfish := sample()
	redfish.Nodes = redfish.Nodes[1:]
	redfish.Slot, redfish.ExpiresAt = "", time.Time{}
	golden(t, "redfish.env", write(t, redfish))
}

func TestJSONGolden(t *testing.T) {
	got, err := envfile.JSON(sample())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "two-nodes.json", got)

	bad := sample()
	bad.Nodes[1].BMC.Password = secret.New("hunter2\xff")
	_, err = envfile.JSON(bad)
	if want := "JSON file: the value of nodes[1].bmc.password is not UTF-8, which JSON cannot carry"; err == nil || err.Error() != want {
		t.Errorf("a password that is not UTF-8: %v, want %s", err, want)
	}
}

// The keys that the JSON file's documentation lists are those that it has.
func TestJSONDocumentation(t *testing.T) {
	source, err := os.ReadFile("json.go")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(source[bytes.Index(source, []byte("Its keys:")):bytes.Index(source, []byte("Package view says"))])
	documented := regexp.MustCompile(`[a-z][a-z_]*`).FindAllString(strings.TrimPrefix(doc, "Its keys:"), -1)

	text, err := envfile.JSON(sample())
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	d := json.NewDecoder(bytes.NewReader(text))
	var walk func(isKey bool)
	walk = func(isKey bool) {
		token, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		switch token {
		case json.Delim('{'):
			for d.More() {
				key, _ := d.Token()
				if name := key.(string); !regexp.MustCompile(`^(JOB_NAME|rack|gpu|note_2)$`).MatchString(name) {
					have = append(have, name)
				}
				walk(false)
			}
			_, _ = d.Token()
		case json.Delim('['):
			for d.More() {
				walk(false)
			}
			_, _ = d.Token()
		}
	}
	walk(false)
	unique := func(s []string) []string { slices.Sort(s); return slices.Compact(s) }
	if diff := cmp.Diff(unique(have), unique(documented)); diff != "" {
		t.Errorf("keys in the file and in its documentation (-file +documentation):\n%s", diff)
	}
}

func TestWriteRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*pool.Allocation)
		says   string
	}{
		{"no nodes", func(a *pool.Allocation) { a.Nodes = nil }, "env file: allocation 12 has no nodes, so there is nothing to write"},
		{"NUL in the password", func(a *pool.Allocation) { a.Nodes[0].BMC.Password = secret.New("hidden\x00") },
			"env file: the value of IPMI_PASSWORD holds a NUL byte, which no environment variable can carry"},
		{"NUL in a property", func(a *pool.Allocation) { a.Nodes[1].Properties = map[string]string{"rack": "hidden\x00"} },
			"env file: the value of MOLTEN_NODE_2_PROP_RACK holds a NUL byte, which no environment variable can carry"},
		{"a key that is code", func(a *pool.Allocation) { a.Nodes[1].Properties = map[string]string{"x=1;reboot": "hidden"} },
			`env file: node bm-02: property key "x=1;reboot" cannot be part of a variable's name; use lower-case letters, digits and _`},
		{"too large", func(a *pool.Allocation) { a.Owner = strings.Repeat("x", envfile.MaxSize) },
			fmt.Sprintf("env file: %d bytes for 2 nodes are above the limit of %d; ask for fewer nodes at a time",
				envfile.MaxSize+len(write(t, sample()))-len(sample().Owner)-len(`'\''`)+1, envfile.MaxSize)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := sample()
			tt.change(a)
			var b bytes.Buffer
			err := envfile.Write(&b, a)
			if err == nil || err.Error() != tt.says {
				t.Errorf("got  %v\nwant %s", err, tt.says)
			}
			if b.Len() > 0 {
				t.Errorf("it wrote %d bytes all the same", b.Len())
			}
		})
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestWriteTellsTheCause(t *testing.T) {
	if err := envfile.Write(brokenPipe{}, sample()); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v, want a broken pipe", err)
	}
}

func TestParse(t *testing.T) {
	got, err := envfile.Parse(bytes.NewReader(write(t, sample())))
	if err != nil {
		t.Fatal(err)
	}
	if got.Token.Reveal() != "T0K3N" {
		t.Errorf("token %q", got.Token.Reveal())
	}
	if p := got.Vars["MOLTEN_NODE_1_IPMI_PASSWORD"].Reveal(); p != "pa's \"w\" $x `y` \\\n" {
		t.Errorf("password %q", p)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if s := fmt.Sprintf(verb, got); strings.Contains(s, "hunter2") || strings.Contains(s, "T0K3N") {
			t.Errorf("%s prints a secret: %s", verb, s)
		}
	}
	got.Vars, got.Token = nil, secret.Text{}
	want := envfile.File{
		Owner: "https://ci.example.org/job/it's%20a/7/", Slot: "left", Pool: "gpu", Allocation: 12,
		ExpiresAt: time.Date(2026, 11, 3, 16, 0, 0, 0, time.UTC), Nodes: []string{"bm-01", "bm-02"},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b secret.Text) bool { return a == b })); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(write(t, sample()))
	lines := strings.SplitAfter(good, "\n")
	replace := func(old, new string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("the sample has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	lineOf := func(what string) int { return 1 + strings.Count(good[:strings.Index(good, what)], "\n") }
	tests := []struct {
		name, text, says string
		foreign          bool
	}{
		{"empty", "", "not an env file of molten-prehook", true},
		{"a shell script", "#!/bin/sh\nexport A=1\n", "not an env file of molten-prehook", true},
		{"binary", "\x7fELF\x00\x01", "not an env file of molten-prehook", true},
		{"the mark alone, cut", lines[0][:20], "not an env file of molten-prehook", true},
		{"a later form", strings.Replace(good, "env 1:", "env 2:", 1), "not an env file of molten-prehook", true},
		{"without guard", lines[0] + strings.Join(lines[2:], ""), "line 2: the guard against set -x is missing or was changed", false},
		{"cut in the guard", good[:len(lines[0])+9], "line 2: the guard against set -x is missing or was changed", false},
		{"cut in a value", good[:strings.Index(good, "B4")+1], fmt.Sprintf("line %d: the value of MOLTEN_NODE_1_PROP_RACK has no end; the file was cut off", lineOf("B4")), false},
		{"cut after a value", good[:strings.Index(good, "B4")+3], fmt.Sprintf("line %d: the value of MOLTEN_NODE_1_PROP_RACK is not followed by a line that exports it", lineOf("B4")), false},
		{"cut before the end", good[:strings.Index(good, "case $MOLTEN_TRACE in *v*)")], fmt.Sprintf("line %d: the file ends too early; it was cut off", lineOf("case $MOLTEN_TRACE in *v*)")), false},
		{"cut in the end", strings.TrimSuffix(good, "\n"), fmt.Sprintf("line %d: the file ends too early; it was cut off", lineOf("case $MOLTEN_TRACE in *v*)")), false},
		{"more after the end", good + "reboot\n", fmt.Sprintf("line %d: text after the end", len(lines)), false},
		{"a command", replace("MOLTEN_POOL='gpu'\n", "reboot\n"), fmt.Sprintf("line %d: here should be the name of a variable", lineOf("MOLTEN_POOL=")), false},
		{"a command after a value", replace("MOLTEN_POOL='gpu'\n", "MOLTEN_POOL='gpu' reboot\n"), fmt.Sprintf("line %d: the value of MOLTEN_POOL is not followed by a line that exports it", lineOf("MOLTEN_POOL=")), false},
		{"no quotes", replace("MOLTEN_POOL='gpu'\n", "MOLTEN_POOL=gpu\n"), fmt.Sprintf("line %d: MOLTEN_POOL is not followed by a value in single quotes", lineOf("MOLTEN_POOL=")), false},
		{"other quotes", replace("MOLTEN_POOL='gpu'\n", "MOLTEN_POOL=\"gpu\"\n"), fmt.Sprintf("line %d: MOLTEN_POOL is not followed by a value in single quotes", lineOf("MOLTEN_POOL=")), false},
		{"exports another", replace("export MOLTEN_POOL\n", "export PATH\n"), fmt.Sprintf("line %d: the value of MOLTEN_POOL is not followed by a line that exports it", lineOf("MOLTEN_POOL=")), false},
		{"unsets two", replace("unset -v REDFISH_ENDPOINT\n", "unset -v REDFISH_ENDPOINT PATH\n"), "line 3: more than one name after unset -v", false},
		{"unsets an option", replace("unset -v REDFISH_ENDPOINT\n", "unset -v -f\n"), "line 3: here should be the name of a variable", false},
		{"twice", replace("MOLTEN_POOL='gpu'\nexport MOLTEN_POOL\n", "MOLTEN_SLOT='hidden'\nexport MOLTEN_SLOT\n"), fmt.Sprintf("line %d: MOLTEN_SLOT is set a second time", lineOf("MOLTEN_POOL=")+2), false},
		{"NUL", replace("'gpu'", "'hid\x00den'"), fmt.Sprintf("line %d: the value of MOLTEN_POOL holds a NUL byte", lineOf("MOLTEN_POOL=")), false},
		{"no owner", replace("MOLTEN_OWNER='https://ci.example.org/job/it'\\''s%20a/7/'\nexport MOLTEN_OWNER\n", ""), "it does not set MOLTEN_OWNER", false},
		{"no token", replace("MOLTEN_TOKEN='T0K3N'", "MOLTEN_TOKEN=''"), "it does not set MOLTEN_TOKEN", false},
		{"no number", replace("MOLTEN_ALLOCATION='12'", "MOLTEN_ALLOCATION='twelve'"), "MOLTEN_ALLOCATION is no number", false},
		{"no time", replace("'2026-11-03T16:00:00Z'", "'hidden'"), "MOLTEN_EXPIRES_AT is no RFC 3339 time", false},
		{"too large", good + strings.Repeat("x", envfile.MaxSize), fmt.Sprintf("larger than %d bytes", envfile.MaxSize), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := envfile.Parse(strings.NewReader(tt.text))
			if err == nil || err.Error() != tt.says {
				t.Errorf("got  %v\nwant %s", err, tt.says)
			}
			if errors.Is(err, envfile.ErrForeign) != tt.foreign {
				t.Errorf("ErrForeign is %v, want %v", !tt.foreign, tt.foreign)
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	if err := os.WriteFile(at("good"), write(t, sample()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("other"), []byte("A=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("good", at("link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := envfile.ReadFile(at("good")); err != nil || f.Allocation != 12 {
		t.Errorf("good: %v, %v", f.Allocation, err)
	}
	tests := []struct {
		name, says string
		is         error
	}{
		{"other", "env file FOLDER/other: not an env file of molten-prehook", envfile.ErrForeign},
		{"link", "env file FOLDER/link: not an env file of molten-prehook: it is a symbolic link", envfile.ErrForeign},
		{"pipe", "env file FOLDER/pipe: not an env file of molten-prehook: it is no regular file", envfile.ErrForeign},
		{".", "env file FOLDER: not an env file of molten-prehook: it is no regular file", envfile.ErrForeign},
		{"gone", "env file: open FOLDER/gone: no such file or directory", fs.ErrNotExist},
	}
	for _, tt := range tests {
		_, err := envfile.ReadFile(at(tt.name))
		if err == nil || strings.ReplaceAll(err.Error(), folder, "FOLDER") != tt.says || !errors.Is(err, tt.is) {
			t.Errorf("%s: got %v\nwant %s (%v)", tt.name, err, tt.says, tt.is)
		}
	}
}

// form is the whole form once more, as one pattern: what Parse must accept and nothing else.
var form = regexp.MustCompile(`^# molteniron env 1: .*\n\{ case .*\n(unset -v [A-Z][A-Z0-9_]*\n)*([A-Z][A-Z0-9_]*='([^'\x00]|'\\'')*'\nexport [A-Z][A-Z0-9_]*\n)*case .*\ncase .*\n$`)

// FuzzParse: whatever the bytes, Parse neither panics nor accepts what is not of the form, and a
// refusal shows nothing of a value.
func FuzzParse(f *testing.F) {
	good := write(f, sample())
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(bytes.Replace(good, []byte("'gpu'"), []byte("$(reboot)"), 1))
	f.Add([]byte("# molteniron env 1: "))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := envfile.Parse(bytes.NewReader(text))
		if err == nil && !form.Match(text) {
			t.Errorf("it accepted what is not of the form: %q", text)
		}
		if err == nil && file.Token.IsZero() {
			t.Error("it accepted a file without a token")
		}
		if err != nil && len(err.Error()) > 200 && !strings.Contains(err.Error(), "MOLTEN_") {
			t.Errorf("the error shows more than a name: %v", err)
		}
	})
}

// FuzzJSON: what JSON writes, a reader of JSON reads back; what it refuses is not UTF-8.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "<&>", "\u2028", "\x00", "\xff", "\\", "\"", "\ufffd", "🔑"} {
		f.Add("owner"+s, s, s)
	}
	f.Fuzz(func(t *testing.T, owner, password, property string) {
		a := sample()
		a.Owner, a.Nodes[0].BMC.Password, a.Nodes[1].Properties = owner, secret.New(password), map[string]string{"p": property}
		text, err := envfile.JSON(a)
		if valid := utf8.ValidString(owner + "," + password + "," + property); err != nil || !valid {
			if valid || err == nil {
				t.Errorf("UTF-8 is %v, and the error %v", valid, err)
			}
			return
		}
		var got struct {
			Owner string
			Nodes []struct {
				BMC        struct{ Password string }
				Properties map[string]string
			}
		}
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if got.Owner != owner || got.Nodes[0].BMC.Password != password || got.Nodes[1].Properties["p"] != property {
			t.Errorf("read back: %+v", got)
		}
	})
}

// FuzzRoundTrip: what Write writes, Parse reads back, all of it.
func FuzzRoundTrip(f *testing.F) {
	f.Add("owner", "slot", "user", "pass'word", "value\n", uint8(1))
	f.Add("https://ci/job/a/1/", "", "'", "''", "'\\''", uint8(3))
	f.Fuzz(func(t *testing.T, owner, slot, user, password, property string, count uint8) {
		a := sample()
		a.Owner, a.Slot = owner, slot
		a.Nodes = slices.Repeat(a.Nodes[:1], int(count%5)+1)
		for i := range a.Nodes {
			a.Nodes[i].BMC.Username, a.Nodes[i].BMC.Password = user, secret.New(password)
			a.Nodes[i].Properties = map[string]string{"p": property}
		}
		var b bytes.Buffer
		if err := envfile.Write(&b, a); err != nil {
			if !strings.Contains(owner+slot+user+password+property, "\x00") {
				t.Fatal(err)
			}
			return
		}
		if !form.Match(b.Bytes()) {
			t.Fatalf("what was written is not of the form: %q", b.Bytes())
		}
		file, err := envfile.Parse(&b)
		if err != nil {
			t.Fatal(err)
		}
		if file.Owner != owner || file.Slot != slot || file.Token != a.Token || len(file.Nodes) != len(a.Nodes) {
			t.Errorf("read back: %+v", file)
		}
		for i := range a.Nodes {
			prefix := fmt.Sprintf("MOLTEN_NODE_%d_", i+1)
			for name, want := range map[string]string{"IPMI_USERNAME": user, "IPMI_PASSWORD": password, "PROP_P": property} {
				if got := file.Vars[prefix+name].Reveal(); got != want {
					t.Errorf("%s%s is %q, want %q", prefix, name, got, want)
				}
			}
		}
	})
}
