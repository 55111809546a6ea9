package envfile_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/envfile"
	"github.com/molteniron/molteniron/pkg/pool"
)

// shown is an allocation whose values the form can carry, but for the property p of the first node.
func shown(p string) *pool.Allocation {
	a := sample()
	a.Nodes[0].Properties = map[string]string{"p": p, "rack": "B4", "root_password": "of the image"}
	return a
}

func TestPropertiesGolden(t *testing.T) {
	var b bytes.Buffer
	if err := envfile.Properties(&b, shown(`C:\dir\`)); err != nil {
		t.Fatal(err)
	}
	golden(t, "two-nodes.properties", b.Bytes())
	for _, secret := range []string{"hunter2", "T0K3N", "pa's", "admin", "root\n"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("it shows %q", secret)
		}
	}
}

func TestPropertiesRefuses(t *testing.T) {
	for value, says := range map[string]string{
		"hid\nden":   "holds a line break or another control character, which EnvInject cannot carry",
		"hid\tden":   "holds a line break or another control character, which EnvInject cannot carry",
		"hid\u2028":  "holds a line break or another control character, which EnvInject cannot carry",
		" hidden":    "begins or ends with a blank, which EnvInject would cut off",
		"hidden ":    "begins or ends with a blank, which EnvInject would cut off",
		`\hidden`:    "begins with a backslash, which some versions of EnvInject would double",
		"hid$den":    "holds a $, which EnvInject would expand",
		"hid\xffden": "is not UTF-8",
	} {
		var b bytes.Buffer
		err := envfile.Properties(&b, shown(value))
		if want := "properties file: the value of MOLTEN_NODE_1_PROP_P " + says; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if b.Len() > 0 {
			t.Errorf("it wrote %q all the same", &b)
		}
	}
	if err := envfile.Properties(brokenPipe{}, shown("")); err == nil {
		t.Error("a broken pipe is no error")
	}
}

// FuzzProperties: what is written, every version of the plugin reads back, and nothing else.
func FuzzProperties(f *testing.F) {
	f.Add("plain", uint64(0))
	f.Add(`C:\dir\`, uint64(1))
	f.Add("a=b:c#d!e", uint64(2))
	f.Add("\u2028<=\\'", uint64(3)) // a line break for one of the plugin's patterns
	f.Add("påss 密码 🔑", uint64(4))
	f.Fuzz(func(t *testing.T, value string, seed uint64) {
		a := shown(value)
		want := map[string]string{}
		r := rand.New(rand.NewPCG(seed, 0))
		pieces := []string{`\`, `\`, "=", ":", "#", "!", " ", "$", "n", "t", "u0041", "a", "HOME", "{", "}", `"`, "'", "*", "?", "<", ">", "/", "é", "\u2028", "\u00a0", "\ufeff"}
		values := []string{value}
		for range 40 {
			v := ""
			for range r.IntN(8) {
				v += pieces[r.IntN(len(pieces))]
			}
			values = append(values, v)
		}
		keys := map[string]string{}
		for i, v := range values {
			key := "k" + string(rune('a'+i/26)) + string(rune('a'+i%26))
			if envfile.Properties(io.Discard, shown(v)) == nil {
				keys[key] = v
				want["MOLTEN_NODE_1_PROP_"+strings.ToUpper(key)] = v
			}
		}
		a.Nodes[0].Properties = keys
		var b bytes.Buffer
		if err := envfile.Properties(&b, a); err != nil {
			t.Fatal(err)
		}
		for i, escapeFirst := range []bool{false, true} {
			got := inject(b.String(), escapeFirst)
			n := 0
			for name := range got {
				if strings.HasPrefix(name, "MOLTEN_NODE_1_PROP_") {
					n++
				} else if !slices.ContainsFunc([]string{"MOLTEN_", "IPMI_", "REDFISH_"}, func(p string) bool { return strings.HasPrefix(name, p) }) {
					t.Errorf("version %d reads a variable %q", i, name)
				}
			}
			if n != len(want) {
				t.Errorf("version %d reads %d properties, want %d", i, n, len(want))
			}
			for name, w := range want {
				if g, ok := got[name]; !ok || g != w {
					t.Errorf("version %d: %s is %q (%v), want %q", i, name, g, ok, w)
				}
			}
			if diff := cmp.Diff("it's", got["MOLTEN_OWNER"][len("https://ci.example.org/job/"):][:4]); diff != "" {
				t.Errorf("version %d: the owner is %q", i, got["MOLTEN_OWNER"])
			}
		}
	})
}
