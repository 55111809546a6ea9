package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// ParseYAML reads one YAML document. Aliases and merge keys (<<) are followed; tags other than those of
// plain scalars, a key that stands twice and a second document are errors. The error is a *SyntaxError.
func ParseYAML(data []byte) (*Value, error) {
	data = trimBOM(data)
	if err := checkUTF8(data); err != nil {
		return nil, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	switch err := dec.Decode(&first); {
	case errors.Is(err, io.EOF):
		return &Value{Line: 1, Column: 1}, nil
	case err != nil:
		return nil, yamlError(err, data)
	}
	if err := dec.Decode(&second); err == nil {
		return nil, &SyntaxError{Line: second.Line, Text: "a second document begins; one file holds one"}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(err, data)
	}
	if first.Kind != yaml.DocumentNode || len(first.Content) != 1 {
		return &Value{Line: 1, Column: 1}, nil
	}
	return (&yamlReader{done: map[*yaml.Node]*Value{}}).value(first.Content[0], 0)
}

var (
	yamlLine      = regexp.MustCompile(`^line (\d+): `)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// yamlError takes the line out of the parser's message and the value out of the one message that has
// one: a password that begins with * and stands without quotes.
func yamlError(err error, data []byte) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		e := &SyntaxError{Text: "* begins a reference to an anchor, and there is no such anchor; a value that begins with * needs quotes"}
		if i := bytes.Index(data, []byte("*"+m[1])); i >= 0 {
			e.Line = 1 + bytes.Count(data[:i], []byte("\n"))
		}
		return e
	}
	e := &SyntaxError{Text: text}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Text = text[len(m[0]):]
	}
	return e
}

type yamlReader struct {
	done map[*yaml.Node]*Value // nil while it is being read
}

func (r *yamlReader) value(n *yaml.Node, depth int) (*Value, error) {
	fail := func(text string) (*Value, error) { return nil, &SyntaxError{n.Line, n.Column, text} }
	if n.Kind == yaml.AliasNode {
		v, known := r.done[n.Alias]
		if known && v == nil {
			return fail("a reference to what it stands in itself")
		}
		if known {
			return v, nil
		}
		return r.value(n.Alias, depth)
	}
	if depth > maxDepth {
		return fail("nested too deeply")
	}
	r.done[n] = nil
	v := &Value{Line: n.Line, Column: n.Column, Comment: n.LineComment != ""}
	switch tag := n.ShortTag(); {
	case n.Kind == yaml.ScalarNode && tag == "!!null" && n.Anchor != "":
		return fail("& begins an anchor and nothing follows it; a value that begins with & needs quotes")
	case n.Kind == yaml.ScalarNode && tag == "!!null":
	case n.Kind == yaml.ScalarNode && plainTags[tag]:
		v.Kind, v.Text = Scalar, n.Value
		v.Quoted = n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	case n.Kind == yaml.SequenceNode && tag == "!!seq":
		v.Kind = List
		for _, c := range n.Content {
			item, err := r.value(c, depth+1)
			if err != nil {
				return nil, err
			}
			v.Items = append(v.Items, item)
		}
	case n.Kind == yaml.MappingNode && tag == "!!map":
		v.Kind = Map
		if err := r.fields(v, n, depth); err != nil {
			return nil, err
		}
	default:
		return fail("! begins a tag, and tags are not used here; a value that begins with ! needs quotes")
	}
	r.done[n] = v
	return v, nil
}

// plainTags are what YAML makes of scalars by itself; all are texts to us.
var plainTags = map[string]bool{"!!str": true, "!!int": true, "!!float": true, "!!bool": true, "!!timestamp": true, "!!merge": true}

func (r *yamlReader) fields(v *Value, n *yaml.Node, depth int) error {
	own := map[string]bool{}
	var merged []*Value
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		fail := func(text string) error { return &SyntaxError{key.Line, key.Column, text} }
		item, err := r.value(n.Content[i+1], depth+1)
		if err != nil {
			return err
		}
		// A comment after an empty value is told of the key.
		if key.LineComment != "" && item.Kind == Null {
			item.Comment = true
		}
		switch {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			switch {
			case item.Kind == Map:
				merged = append(merged, item)
			case item.Kind == List:
				merged = append(merged, item.Items...)
			default:
				return fail("<< merges maps, and here is " + item.Kind.String())
			}
		case key.Kind != yaml.ScalarNode || !plainTags[key.ShortTag()]:
			return fail("a key must be a plain text")
		case own[key.Value]:
			return fail("the key " + strconv.Quote(key.Value) + " stands twice in one map")
		default:
			own[key.Value] = true
			v.Fields = append(v.Fields, Field{key.Value, item, key.Line, key.Column})
		}
	}
	for _, m := range merged { // what is said here goes before what is merged, the first merged before the rest
		if m.Kind != Map {
			return &SyntaxError{m.Line, m.Column, "<< merges maps, and here is " + m.Kind.String()}
		}
		for _, f := range m.Fields {
			if !own[f.Key] {
				own[f.Key] = true
				v.Fields = append(v.Fields, f)
			}
		}
	}
	return nil
}

// EncodeYAML writes a tree that ParseYAML reads back as the same: quoted texts with quotes unless every
// reader of YAML, old or new, takes them for texts anyway; lists of scalars on one line. The error is a
// text that is not UTF-8, which YAML cannot carry.
func EncodeYAML(v *Value) ([]byte, error) {
	n, err := yamlNode(v)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return nil, fmt.Errorf("write yaml: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write yaml: %w", err)
	}
	return buf.Bytes(), nil
}

func yamlNode(v *Value) (*yaml.Node, error) {
	switch v.Kind {
	case Scalar:
		if err := checkUTF8([]byte(v.Text)); err != nil {
			return nil, errors.New("a text is not UTF-8, which YAML cannot carry")
		}
		n := &yaml.Node{Kind: yaml.ScalarNode, Value: v.Text}
		if v.Quoted {
			n.Tag = "!!str"
			switch {
			case v.Tag != "":
				n.Tag, n.Style = v.Tag, yaml.TaggedStyle|yaml.DoubleQuotedStyle
			case !plainYAML(v.Text):
				n.Style = yaml.DoubleQuotedStyle
			}
		}
		return n, nil
	case List:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range v.Items {
			c, err := yamlNode(item)
			if err != nil {
				return nil, err
			}
			if item.Kind == Map || item.Kind == List {
				n.Style = 0
			}
			n.Content = append(n.Content, c)
		}
		return n, nil
	case Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range v.Fields {
			key, err := yamlNode(&Value{Kind: Scalar, Text: f.Key, Quoted: true})
			if err != nil {
				return nil, err
			}
			c, err := yamlNode(f.Value)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, key, c)
		}
		return n, nil
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	}
}

var (
	plainWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)
	// Words that some YAML reader takes for something else than a text.
	notText = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null)$`)
)

// plainYAML reports whether a text needs no quotes: a word, or an IPv4 address.
func plainYAML(s string) bool {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is4() {
		return true
	}
	return plainWord.MatchString(s) && !notText.MatchString(s)
}
