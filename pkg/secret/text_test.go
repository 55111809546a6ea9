package secret

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// hidden is looked for in its own form and in those that %x, %X, %d, %q and %U would give.
const hidden = "Tr0ub4dor&3"

func shows(out string) bool {
	forms := []string{hidden, "ub4dor", fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden), fmt.Sprintf("% x", hidden),
		strings.Trim(fmt.Sprint([]byte(hidden)), "[]"), strings.Trim(fmt.Sprintf("%U", []rune(hidden)), "[]"), "VHIwdWI0ZG9yJjM"}
	for _, f := range forms {
		if strings.Contains(out, f) {
			return true
		}
	}
	return false
}

type exposing struct {
	User     string
	Password Text
	Deep     *exposing
	unseen   Text // fmt asks no method of such a field
	list     []Text
	keyed    map[string]Text
	any      any
}

// shapes are the ways in which a secret lies within what somebody prints.
func shapes() map[string]any {
	t := New(hidden)
	inner := exposing{Password: t, unseen: t, list: []Text{t}, keyed: map[string]Text{"k": t}, any: t}
	outer := inner
	outer.Deep = &inner
	return map[string]any{
		"value": t, "pointer": &t, "slice": []Text{t}, "array": [1]Text{t}, "pointers": []*Text{&t},
		"map value": map[string]Text{"k": t}, "map key": map[Text]string{t: "v"}, "interface": []any{t, &t},
		"struct": outer, "struct pointer": &outer, "struct slice": []exposing{outer}, "error": fmt.Errorf("bad: %v %w", t, errors.New("x")),
	}
}

func TestTextShowsNothing(t *testing.T) {
	if !shows(fmt.Sprintf("%x", hidden)) || !shows(fmt.Sprintf("%v", []byte(hidden))) {
		t.Fatal("the test does not see what it looks for")
	}
	for name, v := range shapes() {
		t.Run(name, func(t *testing.T) {
			for _, verb := range "vsdqxXbcoOtTeEfFgGpUw" {
				for _, flag := range []string{"", "+", "#", " ", "-", "0", "+#", "30", ".3", "*"} {
					format := "%" + flag + string(verb)
					args := []any{v}
					if flag == "*" {
						args = []any{9, v}
					}
					if out := fmt.Sprintf(format, args...); shows(out) {
						t.Errorf("%s shows %s", format, out)
					}
				}
			}
			if out := fmt.Sprint(v) + fmt.Sprintln(v); shows(out) {
				t.Errorf("Sprint shows %s", out)
			}
			if out, err := json.Marshal(v); err == nil && shows(string(out)) {
				t.Errorf("json shows %s", out)
			}
			if out, err := xml.Marshal(v); err == nil && shows(string(out)) {
				t.Errorf("xml shows %s", out)
			}
			if out, err := yaml.Marshal(v); err == nil && shows(string(out)) {
				t.Errorf("yaml shows %s", out)
			}
			var buf bytes.Buffer
			for _, h := range []slog.Handler{slog.NewTextHandler(&buf, nil), slog.NewJSONHandler(&buf, nil)} {
				slog.New(h).With("with", v).WithGroup("g").Info("message", "k", v, slog.Group("in", "v", v))
			}
			if shows(buf.String()) {
				t.Errorf("slog shows %s", buf.String())
			}
		})
	}
}

func TestTextForms(t *testing.T) {
	s := New(hidden)
	for format, want := range map[string]string{"%v": redacted, "%s": redacted, "%#v": redacted, "%x": redacted, "%d": redacted} {
		if got := fmt.Sprintf(format, s); got != want {
			t.Errorf("%s: %q, want %q", format, got, want)
		}
	}
	type entry struct {
		A Text `json:"a"`
		B Text `json:"b,omitzero"`
	}
	out, err := json.Marshal(entry{A: s})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"a":null}`, string(out)); diff != "" {
		t.Errorf("json (-want +got)\n%s", diff)
	}
	if out, err = yaml.Marshal(map[string]any{"a": s}); err != nil || string(out) != "a: null\n" {
		t.Errorf("yaml: %q, %v", out, err)
	}
}

func TestTextEquality(t *testing.T) {
	a, b := New("x"+hidden), New("x"+strings.Clone(hidden))
	if a != b || !a.Equal(b) || a.IsZero() || a == New(hidden) {
		t.Error("equal values must be ==, others not")
	}
	if !New("").IsZero() || (Text{}) != New("") || (Text{}).Reveal() != "" || a.Reveal() != "x"+hidden {
		t.Error("the zero Text is the empty secret")
	}
	type holder struct{ Password Text }
	if cmp.Equal(holder{a}, holder{New("other")}) || !cmp.Equal(holder{a}, holder{b}) {
		t.Error("go-cmp must compare the values")
	}
}

func TestKeyShowsNothing(t *testing.T) {
	k := NewKey()
	raw := k.raw.Reveal()
	type holder struct {
		Key *Key
		own *Key
		val Key
	}
	for _, v := range []any{k, *k, holder{k, k, *k}, &holder{k, k, *k}, []*Key{k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
			out := fmt.Sprintf(verb, v)
			if strings.Contains(out, raw) || strings.Contains(out, fmt.Sprintf("%x", raw[:8])) ||
				strings.Contains(out, strings.Trim(fmt.Sprint([]byte(raw[:8])), "[]")) {
				t.Errorf("%s of %T shows the key: %s", verb, v, out)
			}
		}
		if out, err := json.Marshal(v); err == nil && strings.Contains(string(out), "raw") {
			t.Errorf("json of %T: %s", v, out)
		}
	}
	if got := fmt.Sprintf("%v %s", k, k); got != "key "+k.ID()+" key "+k.ID() {
		t.Errorf("a key prints as %q", got)
	}
}
