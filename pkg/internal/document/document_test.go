package document

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// show writes a tree as one line: key@line:column, texts in quotes when they were quoted.
func show(v *Value) string {
	switch v.Kind {
	case Scalar:
		text := v.Text
		if v.Quoted {
			text = fmt.Sprintf("%q", v.Text)
		}
		if v.Comment {
			text += " #"
		}
		return text
	case List:
		var items []string
		for _, item := range v.Items {
			items = append(items, show(item))
		}
		return "[" + strings.Join(items, " ") + "]"
	case Map:
		var fields []string
		for _, f := range v.Fields {
			fields = append(fields, fmt.Sprintf("%s@%d:%d=%s", f.Key, f.Line, f.Column, show(f.Value)))
		}
		return "{" + strings.Join(fields, " ") + "}"
	}
	if v.Comment {
		return "null #"
	}
	return "null"
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"empty":              {"", "null"},
		"only a comment":     {"# nothing\n", "null"},
		"as typed":           {"a: 007\nb: yes\nc: 1.10\nd: 2026-11-22\ne: ~\n", "{a@1:1=007 b@2:1=yes c@3:1=1.10 d@4:1=2026-11-22 e@5:1=null}"},
		"quotes":             {"a: '007'\nb: \"x\\ny\"\nc: |\n  z\n", `{a@1:1="007" b@2:1="x\ny" c@3:1="z\n"}`},
		"lists":              {"- a\n- [b, {c: d}]\n", "[a [b {c@2:8=d}]]"},
		"comments":           {"a: #x\nb: y #z\nc: {d: e #f\n }\n", "{a@1:1=null # b@2:1=y # c@3:1={d@3:5=e #}}"},
		"byte order mark":    {"\ufeffa: 1\r\nb: 2\r\n", "{a@1:1=1 b@2:1=2}"},
		"alias":              {"a: &x {b: 1}\nc: *x\n", "{a@1:1={b@1:8=1} c@2:1={b@1:8=1}}"},
		"merge":              {"a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3\n", "{a@1:1={b@1:8=1 c@1:14=2} d@2:1={b@4:3=3 c@1:14=2}}"},
		"merge of several":   {"<<: [{a: 1}, {a: 2, b: 3}]\n", "{a@1:7=1 b@1:21=3}"},
		"json":               {"{\n\t\"a\": \"x\", \"b\": [1, true, null],\n  \"c\": {}\n}\n", `{a@2:2="x" b@2:12=[1 true null] c@3:3={}}`},
		"json, surrogates":   {`{"a": "\ud83d\ude00\/"}`, `{a@1:2="😀/"}`},
		"json, characters":   {`{"ä": 1, "b": 2}`, `{ä@1:2=1 b@1:10=2}`},
		"json, one number":   {"[0123]", "[0123]"}, // no JSON, but YAML
		"json, empty string": {`[""]`, `[""]`},
		"yaml in brackets":   {"{a: b}", "{a@1:2=b}"},
	} {
		v, err := Parse([]byte(c.in), "")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, show(v)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for name, c := range map[string]struct{ in, file, want string }{
		"twice":             {"a: 1\nb: 2\na: 3\n", "", `line 3, column 1: the key "a" stands twice in one map`},
		"twice in json":     {`{"a": 1, "a": 2}`, "", `line 1, column 10: the key "a" stands twice in one map`},
		"second document":   {"a: 1\n---\nb: 2\n", "", "line 2: a second document begins; one file holds one"},
		"broken second":     {"a: 1\n---\n[", "", "line 3: did not find expected node content"},
		"anchor as value":   {"a: 1\npassword: *hunter2\n", "", "line 2: * begins a reference to an anchor, and there is no such anchor; a value that begins with * needs quotes"},
		"empty anchor":      {"password: &hunter2\n", "", "line 1, column 11: & begins an anchor and nothing follows it; a value that begins with & needs quotes"},
		"tag":               {"password: !hunter2\n", "", "line 1, column 11: ! begins a tag, and tags are not used here; a value that begins with ! needs quotes"},
		"binary":            {"a: !!binary aGk=\n", "", "line 1, column 4: ! begins a tag, and tags are not used here; a value that begins with ! needs quotes"},
		"key of a list":     {"? [a]\n: b\n", "", "line 1, column 3: a key must be a plain text"},
		"a loop":            {"a: &x [*x]\n", "", "line 1, column 8: a reference to what it stands in itself"},
		"merge of a text":   {"<<: x\n", "", "line 1, column 1: << merges maps, and here is a single value"},
		"merge of texts":    {"<<: [x]\n", "", "line 1, column 6: << merges maps, and here is a single value"},
		"indented wrongly":  {"a: 1\n b: 2\n", "", "line 2: mapping values are not allowed in this context"},
		"latin 1":           {"a: 1\nb: \xe4\n", "", "line 2: not UTF-8 text; save the file as UTF-8"},
		"utf-16":            {"\xff\xfea\x00", "", "line 1: the file is UTF-16; save it as UTF-8"},
		"json, cut":         {"{\"a\": [1,\n", "x.json", "line 2, column 1: the JSON text ends too early"},
		"json, a word":      {"{\"a\": 1,\n \"b\": x}", "x.JSON", "line 2, column 7: no JSON: invalid character 'x' looking for beginning of value"},
		"json, a comma":     {"{\"a\": 1,}", "x.json", "line 1, column 9: no JSON: invalid character '}'"},
		"json, no key":      {"{1: 2}", "x.json", "line 1, column 2: no JSON: invalid character '1'"},
		"json, two":         {"{} {}", "x.json", "line 1, column 5: something follows the end of the document"},
		"json, deep":        {strings.Repeat("[", 200), "x.json", "line 1, column 102: nested too deeply"},
		"yaml, deep":        {strings.Repeat("[", 200) + "x" + strings.Repeat("]", 200), "x.yaml", "line 1, column 102: nested too deeply"},
		"control character": {"a: \x01\n", "", "control characters are not allowed"},
	} {
		_, err := Parse([]byte(c.in), c.file)
		var se *SyntaxError
		if !errors.As(err, &se) {
			t.Errorf("%s: %v", name, err)
		} else if got := err.Error(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows a value: %v", name, err)
		}
	}
}

func TestEncodeYAML(t *testing.T) {
	text := func(s string) *Value { return &Value{Kind: Scalar, Text: s, Quoted: true} }
	v := &Value{Kind: Map, Fields: []Field{
		{Key: "name", Value: text("ci-01")},
		{Key: "no", Value: text("no")},
		{Key: "mac", Value: text("52:54:00:12:34:56")},
		{Key: "address", Value: text("192.0.2.1")},
		{Key: "password", Value: text(`it's "$x" #1 `)},
		{Key: "port", Value: &Value{Kind: Scalar, Text: "623"}},
		{Key: "text", Value: text("623")},
		{Key: "none", Value: &Value{}},
		{Key: "ips", Value: &Value{Kind: List, Items: []*Value{text("192.0.2.2"), text("2001:db8::1")}}},
		{Key: "empty", Value: &Value{Kind: List}},
		{Key: "maps", Value: &Value{Kind: List, Items: []*Value{{Kind: Map, Fields: []Field{{Key: "a", Value: text("b")}}}}}},
	}}
	got, err := EncodeYAML(v)
	if err != nil {
		t.Fatal(err)
	}
	want := `name: ci-01
"no": "no"
mac: "52:54:00:12:34:56"
address: 192.0.2.1
password: "it's \"$x\" #1 "
port: 623
text: "623"
none: null
ips: [192.0.2.2, "2001:db8::1"]
empty: []
maps:
  - a: b
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := EncodeYAML(text("\xff")); err == nil {
		t.Error("a text that is no UTF-8 was written")
	}
}

var asValues = cmp.Options{cmpopts.IgnoreFields(Value{}, "Line", "Column", "Comment", "Quoted"), cmpopts.IgnoreFields(Field{}, "Line", "Column")}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "a: 1\n", "- a: 'x'\n  b: |\n    y\n", "a: &x {b: 1}\nc: *x\n<<: *x\n", "{\"a\": [1, \"\\u0000\\ud83d\\ude00\"]}", "a: #b\n", "\"\\uFEFF\\x85\\L\"",
		"? a\n: - b\n", "[[[[", "!!binary aGk=", "%YAML 1.2\n---\na\n...\n", "a: |+1\n  x\n\n", "a: \"b\\\n  c\"", "a: >-\n  b\n  c\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 4096 {
			return
		}
		v, err := Parse([]byte(in), "")
		if err != nil {
			return
		}
		if strings.Contains(in, "*") && strings.Contains(in, "&") {
			return // aliases of aliases: small in memory, huge when written out
		}
		quote(v)
		out, err := EncodeYAML(v)
		if err != nil {
			t.Fatalf("read, and not written again: %v", err)
		}
		again, err := ParseYAML(out)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if diff := cmp.Diff(v, again, asValues); diff != "" {
			t.Fatalf("written as\n%s\n(-want +got)\n%s", out, diff)
		}
	})
}

// quote marks every scalar as a text, as writers do whose values are texts.
func quote(v *Value) {
	if v.Kind == Scalar {
		v.Quoted = true
	}
	for _, f := range v.Fields {
		quote(f.Value)
	}
	for _, item := range v.Items {
		quote(item)
	}
}
