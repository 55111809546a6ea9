// Package view holds the documented JSON forms of nodes, allocations, pools and events, one struct
// each, with and without credentials. moltenironctl prints them (-o json, -o yaml) and the pre-hook
// writes them (--json-file), so that a script finds the same keys wherever it looks.
//
// The rules are the same for all of them. Keys are never left out, except an allocation's token, which
// is there only where credentials were asked for. Strings are never null: an unknown one is "".
// Numbers are null when unknown, times are RFC 3339 in UTC with whole seconds and null when they have
// not come yet, arrays and objects are never null, and a password is null unless it was asked for.
// New keys may be added; a key is never removed and never changes its type.
package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Time is a moment that prints as RFC 3339 in UTC with whole seconds, and as null when it is zero.
// Digits below the second are cut off, not rounded: an expiry is never shown later than it is.
type Time struct{ time.Time }

// String gives the form of the package, "" for the zero time.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.String() + `"`), nil
}

// JSON writes v, one of this package's structs or a slice of them, with two blanks of indent and a
// final newline. A nil slice is written as [], so that a script can always loop.
func JSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // URLs with & stay readable, and nothing here goes into a web page
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	if b.String() == "null\n" {
		return []byte("[]\n"), nil
	}
	return b.Bytes(), nil
}

// YAML writes what JSON would write, as block YAML with the same keys in the same order. v may be any
// value that encoding/json takes.
func YAML(v any) ([]byte, error) {
	text, err := JSON(v)
	if err != nil {
		return nil, err
	}
	// By way of JSON: that needs no second set of tags and keeps the order of keys. Read as JSON, not as
	// the YAML that it nearly is: YAML folds and refuses characters that JSON takes as they are.
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	tree, err := yamlTree(d)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(tree); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// yamlTree reads the next value as a tree. Plain words get no quotes, every other string gets double
// ones, so that no rule of YAML about blanks, breaks or indicators decides what a password is.
func yamlTree(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.MappingNode}
		if v == '[' {
			n.Kind = yaml.SequenceNode
		}
		for d.More() {
			for range map[yaml.Kind]int{yaml.MappingNode: 2, yaml.SequenceNode: 1}[n.Kind] { // key and value
				child, err := yamlTree(d)
				if err != nil {
					return nil, err
				}
				n.Content = append(n.Content, child)
			}
		}
		_, err := d.Token() // the closing one
		return n, err
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
		if !plainWord(v) {
			n.Style = yaml.DoubleQuotedStyle
		}
		return n, nil
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	default: // a number or a boolean
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}, nil
	}
}

// plainWord reports whether s needs no quotes in any YAML reader. Those of YAML 1.1 (PyYAML is one)
// take 10:20:30 for a number of seconds, 1_000 for a thousand and y for true, which yaml.v3 does not
// know of: so a word begins with a letter and is none of theirs.
func plainWord(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && (c >= '0' && c <= '9' || c == '.' || c == '-' || c == '/' || c == '+' || c == ':' && i+1 < len(s)):
		default:
			return false
		}
	}
	return s != ""
}
