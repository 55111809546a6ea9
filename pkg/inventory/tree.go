package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/molteniron/molteniron/pkg/internal/document"
	"github.com/molteniron/molteniron/pkg/secret"
)

// readTree reads the formats that are YAML or JSON.
func (p *parser) readTree(data []byte) {
	tree, err := document.Parse(data, p.inventory.Name)
	if err != nil {
		var se *document.SyntaxError
		if errors.As(err, &se) && se.Line > 0 {
			p.fault(se.Line, "%s", se.Text)
			return
		}
		p.problems = append(p.problems, fmt.Sprintf("%s: %v", p.inventory.Name, err))
		return
	}
	if tree.Kind != document.Map {
		p.fault(max(tree.Line, 1), "must be a map with the key nodes, and is %s", tree.Kind)
		return
	}
	switch p.inventory.Format {
	case Instackenv:
		p.eachNode(tree, p.instackenvNode, nil)
	case Baremetal:
		p.baremetal(tree)
	case Bifrost:
		p.bifrost(tree)
	default:
		p.eachNode(tree, p.ownNode, nil)
	}
}

// eachNode reads the list under nodes; other tells what becomes of the other keys at the top.
func (p *parser) eachNode(tree *document.Value, read func(*fields), other map[string]func(*document.Value)) {
	found := false
	for _, f := range tree.Fields {
		switch {
		case f.Key == "nodes":
			p.nodeList(f.Value, read)
			found = true
		case other[f.Key] != nil:
			other[f.Key](f.Value)
			found = true
		case p.inventory.Format == YAML:
			p.fault(f.Line, "unknown key %q; at the top is nodes", f.Key)
		default:
			p.lose(f.Line, "the file", f.Key)
		}
	}
	if !found {
		p.fault(max(tree.Line, 1), "there is no key nodes; write nodes: and a list of nodes under it")
	}
}

func (p *parser) nodeList(list *document.Value, read func(*fields)) {
	if list.Kind == document.Null {
		return
	}
	if list.Kind != document.List {
		p.fault(list.Line, "nodes must be a list and is %s", list.Kind)
		return
	}
	for i, v := range list.Items {
		label := fmt.Sprintf("node %d", i+1)
		if v.Kind != document.Map {
			p.fault(v.Line, "%s must be a map and is %s", label, v.Kind)
			continue
		}
		if name := v.Get("name"); name != nil && name.Kind == document.Scalar && name.Text != "" {
			label = "node " + name.Text
		}
		p.before = len(p.problems)
		read(&fields{p: p, v: v, label: label})
	}
}

// fields reads the keys of one map and knows which were asked for.
type fields struct {
	p     *parser
	v     *document.Value
	label string   // of the node
	path  string   // "bmc." within that map
	asked []string // in order, for messages
}

func (f *fields) fault(line int, key, format string, args ...any) {
	f.p.fault(line, "%s: %s%s %s", f.label, f.path, key, fmt.Sprintf(format, args...))
}

// get gives the value of a key, nil when it is absent or null.
func (f *fields) get(key string) *document.Value {
	f.asked = append(f.asked, key)
	v := f.v.Get(key)
	if v == nil || v.Kind == document.Null {
		return nil
	}
	return v
}

// text gives a scalar as it was written, "" when it is absent.
func (f *fields) text(key string) string {
	v := f.get(key)
	if v == nil {
		return ""
	}
	if v.Kind != document.Scalar {
		f.fault(v.Line, key, "must be a single value and is %s", v.Kind)
		return ""
	}
	return v.Text
}

// password gives a secret. Where a comment follows a password without quotes, # may have been meant as a
// part of it; all that YAML left of "password: #x" is nothing.
func (f *fields) password(key string) secret.Text {
	if v := f.v.Get(key); v != nil && v.Comment && !v.Quoted {
		f.p.warn(v.Line, "%s: what follows # is taken for a comment and not for a part of %s%s; write the password in quotes", f.label, f.path, key)
	}
	return secret.New(f.text(key))
}

// number gives a whole number, 0 when it is absent or an empty text.
func (f *fields) number(key string) int64 {
	text := strings.TrimSpace(f.text(key))
	if text == "" {
		return 0
	}
	n, problem := wholeNumber(text)
	if problem != "" {
		f.fault(f.v.Get(key).Line, key, "%s", problem)
	}
	return n
}

// port is a number that must be one of TCP or UDP: what lies beyond an int would wrap around.
func (f *fields) port(key string) int {
	text := strings.TrimSpace(f.text(key))
	if text == "" {
		return 0
	}
	n, problem := portNumber(text)
	if problem != "" {
		f.fault(f.v.Get(key).Line, key, "%s", problem)
	}
	return n
}

// portNumber is wholeNumber for a port.
func portNumber(text string) (int, string) {
	n, problem := wholeNumber(text)
	if problem == "" && (n < 1 || n > 65535) {
		n, problem = 0, fmt.Sprintf("%d is not between 1 and 65535", n)
	}
	return int(n), problem
}

// wholeNumber reads a decimal number; the second result says what is wrong.
func wholeNumber(text string) (int64, string) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, fmt.Sprintf("%q is too big", text)
	case err != nil:
		return 0, fmt.Sprintf("%q is no whole number", text)
	}
	return n, ""
}

// list gives the texts of a list; one text counts as blank-separated ones.
func (f *fields) list(key string) []string {
	v := f.get(key)
	switch {
	case v == nil:
		return nil
	case v.Kind == document.Scalar:
		return splitList(v.Text)
	case v.Kind != document.List:
		f.fault(v.Line, key, "must be a list and is %s", v.Kind)
		return nil
	}
	var out []string
	for _, item := range v.Items {
		if item.Kind != document.Scalar {
			f.fault(item.Line, key, "must be a list of single values and holds %s", item.Kind)
			continue
		}
		out = append(out, item.Text)
	}
	return out
}

// splitList takes MAC and IP addresses apart; none of them holds any of these.
func splitList(s string) []string {
	out := strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune(" \t\r\n,;", c) })
	if len(out) == 0 {
		return nil
	}
	return out
}

// sub gives the fields of a map within this one; an absent map has none.
func (f *fields) sub(key string) *fields {
	v := f.get(key)
	s := &fields{p: f.p, v: &document.Value{Kind: document.Map, Line: f.v.Line}, label: f.label, path: f.path + key + "."}
	switch {
	case v == nil:
	case v.Kind != document.Map:
		f.fault(v.Line, key, "must be a map and is %s", v.Kind)
	default:
		s.v = v
	}
	return s
}

// rest gives the fields that nobody asked for.
func (f *fields) rest() []document.Field {
	var out []document.Field
	for _, field := range f.v.Fields {
		if !slices.Contains(f.asked, field.Key) {
			out = append(out, field)
		}
	}
	return out
}

// refuseRest makes a fault of every key that nobody asked for.
func (f *fields) refuseRest() {
	for _, field := range f.rest() {
		known := slices.Sorted(slices.Values(f.asked))
		f.p.fault(field.Line, "%s: unknown key %q; the keys are %s", f.label, f.path+field.Key, strings.Join(slices.Compact(known), ", "))
	}
}

// loseRest makes a warning of every key that nobody asked for.
func (f *fields) loseRest() {
	for _, field := range f.rest() {
		f.p.lose(field.Line, f.label, f.path+field.Key)
	}
}
