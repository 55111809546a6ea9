package pool

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRequirement(t *testing.T) {
	for expr, want := range map[string]Requirement{
		"arch=x86_64":           {"arch", OpIs, []string{"x86_64"}},
		"gpu=A100,80 GB":        {"gpu", OpIs, []string{"A100", "80 GB"}},
		"url=http://x?a=b:min":  {"url", OpIs, []string{"http://x?a=b:min"}},
		"arch:not=x86_64,ppc64": {"arch", OpNot, []string{"x86_64", "ppc64"}},
		"arch!=x86_64":          {"arch", OpNot, []string{"x86_64"}},
		"ram_mb:min=065536":     {"ram_mb", OpMin, []string{"65536"}},
		"ram_mb>=-1":            {"ram_mb", OpMin, []string{"-1"}},
		"slots<=8":              {"slots", OpMax, []string{"8"}},
		"slots:max=8":           {"slots", OpMax, []string{"8"}},
		"ram_mb=1024,02048":     {"ram_mb", OpIs, []string{"1024", "2048"}},
		"gpu":                   {"gpu", OpPresent, nil},
		"ram_mb:absent":         {"ram_mb", OpAbsent, nil},
		"mac=52-54-00-AB-CD-EF": {"mac", OpIs, []string{"52:54:00:ab:cd:ef"}},
		"ip:not=2001:DB8::0:1":  {"ip", OpNot, []string{"2001:db8::1"}},
	} {
		got, err := ParseRequirement(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", expr, diff)
		}
	}
	for expr, told := range map[string]string{
		"":                 "no key",
		"=x":               "no key",
		"GPU=1":            "no key",
		"gpu-type=1":       "no key",
		"ram_mb":           "the shell ate",
		"ram_mb>65536":     "cannot read",
		"gpu<":             "cannot read",
		"gpu:some":         "cannot read",
		"gpu:not":          "cannot read",
		"gpu:absent=1":     "cannot read",
		"gpu=":             "gpu:absent",
		"gpu=a,,b":         "gpu:absent",
		"arch:min=5":       "arch is no number",
		"ram_mb:min=lots":  "no whole number",
		"slots:max=1.5":    "no whole number",
		"ram_mb=64G":       "no whole number",
		"mac=52:54":        "52:54",
		"ip=192.0.2.300":   "192.0.2.300",
		"gpu=two\nlines":   "the value",
		"bmc_password=x":   "bmc_password cannot be asked for", // secrets are no keys,
		"bmc_password":     "bmc_password cannot be asked for", // whatever would be learned of them
		"bmc_user=admin":   "bmc_user cannot be asked for",
		"bmc_address=x":    "bmc_address cannot be asked for",
		"status=ready":     "status cannot be asked for",
		"owner=me":         "owner cannot be asked for",
		"generation:min=1": "generation cannot be asked for",
	} {
		got, err := ParseRequirement(expr)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, %v; want an error", expr, got, err)
		} else if !strings.Contains(err.Error(), told) {
			t.Errorf("%q: the error %q does not tell %q", expr, err, told)
		}
	}
}

// FuzzParseRequirement sees that a requirement reads its own text back, which is how the database keeps it.
func FuzzParseRequirement(f *testing.F) {
	for _, expr := range []string{
		"arch=x86_64", "gpu", "gpu:absent", "a!=b,c", "ram_mb>=065536", "slots<=-0", "mac=525400ABCDEF", "ip=::ffff:192.0.2.1", "x=a=b:min=1", "x:not= ",
	} {
		f.Add(expr)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		r, err := ParseRequirement(expr)
		if err != nil {
			return
		}
		again, err := ParseRequirement(r.String())
		if err != nil {
			t.Fatalf("%q becomes %q, which cannot be read: %v", expr, r, err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatalf("%q becomes %q (-first +second):\n%s", expr, r, diff)
		}
	})
}

func FuzzParseGroup(f *testing.F) {
	for _, text := range []string{"compute=3", "compute=3:arch=x86_64+gpu:absent", "a=1:", "a=1:x=1:2", "a=0", "A=1", "a=1:gpu++"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGroup(text)
		if err != nil {
			return
		}
		if _, err := (Request{Owner: "x", Groups: []Group{g}}).normalize(); err != nil && g.Count <= maxCount {
			t.Fatalf("%q is read as %+v, which no request may have: %v", text, g, err)
		}
		groups, err := decodeGroups(encodeGroups([]Group{g}))
		if err != nil {
			t.Fatalf("%q is kept as %s, which cannot be read: %v", text, encodeGroups([]Group{g}), err)
		}
		if diff := cmp.Diff([]Group{g}, groups); diff != "" {
			t.Fatalf("%q (-read +kept):\n%s", text, diff)
		}
	})
}
