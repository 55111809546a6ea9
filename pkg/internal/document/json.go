package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

func validJSON(data []byte) bool { return json.Valid(trimBOM(data)) }

// maxDepth of what may be nested: no inventory needs ten, and a reader that calls itself needs an end.
const maxDepth = 100

// ParseJSON reads one JSON value. A key that stands twice in a map is an error, as in YAML. The error
// is a *SyntaxError.
func ParseJSON(data []byte) (*Value, error) {
	data = trimBOM(data)
	if err := checkUTF8(data); err != nil {
		return nil, err
	}
	p := &jsonParser{data: data, dec: json.NewDecoder(bytes.NewReader(data)), line: 1}
	p.dec.UseNumber()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, p.fail("something follows the end of the document")
	}
	return v, nil
}

type jsonParser struct {
	data  []byte
	dec   *json.Decoder
	line  int // of data[:seen]
	start int // where that line begins
	seen  int
}

// at gives the place of the next token.
func (p *jsonParser) at() (line, column int) {
	end := int(p.dec.InputOffset())
	for end < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[end]) >= 0 {
		end++
	}
	for ; p.seen < end; p.seen++ {
		if p.data[p.seen] == '\n' {
			p.line++
			p.start = p.seen + 1
		}
	}
	return p.line, 1 + utf8.RuneCount(p.data[p.start:end])
}

func (p *jsonParser) fail(text string) error {
	line, column := p.at()
	return &SyntaxError{Line: line, Column: column, Text: text}
}

// wrong says where the decoder stopped; its own words can quote one character of the input, no more.
func (p *jsonParser) wrong(err error) error {
	var se *json.SyntaxError
	if errors.As(err, &se) && !strings.HasPrefix(se.Error(), "unexpected end") {
		return p.fail("no JSON: " + se.Error())
	}
	return p.fail("the JSON text ends too early")
}

func (p *jsonParser) value(depth int) (*Value, error) {
	if depth > maxDepth {
		return nil, p.fail("nested too deeply")
	}
	v := new(Value)
	v.Line, v.Column = p.at()
	token, err := p.dec.Token()
	if err != nil {
		return nil, p.wrong(err)
	}
	switch t := token.(type) {
	case string:
		v.Kind, v.Text, v.Quoted = Scalar, t, true
	case json.Number:
		v.Kind, v.Text = Scalar, t.String()
	case bool:
		v.Kind, v.Text = Scalar, strconv.FormatBool(t)
	case json.Delim:
		if t == '[' {
			v.Kind = List
		} else {
			v.Kind = Map
		}
		err = p.inside(v, depth)
	}
	return v, err
}

// inside reads the rest of a map or list, with its closing bracket.
func (p *jsonParser) inside(v *Value, depth int) error {
	keys := map[string]bool{}
	for p.dec.More() {
		var f Field
		if v.Kind == Map {
			f.Line, f.Column = p.at()
			token, err := p.dec.Token()
			if err != nil {
				return p.wrong(err)
			}
			f.Key, _ = token.(string) // the decoder lets nothing else be a key
			if keys[f.Key] {
				return &SyntaxError{f.Line, f.Column, "the key " + strconv.Quote(f.Key) + " stands twice in one map"}
			}
			keys[f.Key] = true
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		if v.Kind == Map {
			f.Value = item
			v.Fields = append(v.Fields, f)
		} else {
			v.Items = append(v.Items, item)
		}
	}
	if _, err := p.dec.Token(); err != nil {
		return p.wrong(err)
	}
	return nil
}
