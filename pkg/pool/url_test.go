package pool

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]URL{
		"sqlite:pool.db":                          {Path: "pool.db"},
		"sqlite:///var/lib/m/pool.db":             {Path: "/var/lib/m/pool.db"},
		"sqlite:////var/lib/m/pool.db":            {Path: "/var/lib/m/pool.db"},
		"mysql://h/d":                             {Hosts: []string{"h:3306"}, Database: "d"},
		"mariadb://u@h1,h2:3307,[2001:db8::1]/d":  {User: "u", Hosts: []string{"h1:3306", "h2:3307", "[2001:db8::1]:3306"}, Database: "d"},
		"mysql://u%40x@[::1]:33/":                 {User: "u@x", Hosts: []string{"[::1]:33"}},
		"mysql://u@localhost/d?socket=%2Frun%2Fs": {User: "u", Socket: "/run/s", Database: "d"},
	} {
		got, err := ParseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", raw, diff)
		}
	}
	for raw, told := range map[string]string{
		"":                           "no scheme",
		"/var/lib/pool.db":           "no scheme",
		"postgres://h/d":             "postgres",
		"sqlite:":                    "names no file",
		"sqlite://host/pool.db":      "names a host",
		"sqlite:///var/lib/":         "names no file",
		"mysql:h/d":                  "//",
		"mysql:///d":                 "a host is empty",
		"mysql://h1,,h2/d":           "a host is empty",
		"mysql://h:99999/d":          "99999",
		"mysql://2001:db8::1/d":      "brackets",
		"mysql://h/d/e":              "d/e",
		"mysql://h/d?tls=on":         "tls",
		"mysql://u:%zz@h/d":          "password",
		"mysql://u:geheim@h:x/d":     "port",
		"mysql://u:geheim@h/d?x=1":   "x",
		"mysql://u:gehei%6d@h/a%2Fb": "database",
		"mysql://u:geheim?x@h/d":     "%3F",
		"mysql://u@h[/d":             "neither a host name nor an address",
	} {
		got, err := ParseURL(raw)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, %v; want an error", raw, got, err)
		} else if !strings.Contains(err.Error(), told) || strings.Contains(err.Error(), "gehei") {
			t.Errorf("%q: the error %q does not tell %q, or tells the password", raw, err, told)
		}
	}
}

// FuzzParseURL sees that a URL reads back what it prints, and prints no password.
func FuzzParseURL(f *testing.F) {
	for _, raw := range []string{
		"sqlite:pool.db", "sqlite:///a b", "sqlite:a%20b?c", "mysql://u:p@h1,[::1]:3307/d", "mysql://u%3A@h/d%3F", "mariadb://@localhost/d?socket=/s%26",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := ParseURL(raw)
		if err != nil {
			return
		}
		again, err := ParseURL(u.String())
		if err != nil {
			t.Fatalf("%q prints as %q, which cannot be read: %v", raw, u, err)
		}
		u.Password = again.Password
		if !again.Password.IsZero() {
			t.Fatalf("%q prints its password: %q", raw, u)
		}
		if diff := cmp.Diff(u, again); diff != "" {
			t.Fatalf("%q prints as %q (-first +second):\n%s", raw, u, diff)
		}
	})
}
