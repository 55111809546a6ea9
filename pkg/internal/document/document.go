// Package document reads YAML and JSON into a tree that remembers where each value was written, for
// readers who must name the line and the key in their errors, and writes such a tree as YAML.
//
// Scalars stay as they were typed: 007, yes, 1.10 and 2026-11-22 are texts until the reader of a field
// says what the field holds, so that no password turns into a number and no version loses its zero.
package document

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Kind is what a Value is.
type Kind uint8

// The kinds. The zero Kind is Null.
const (
	Null   Kind = iota // nothing: empty, ~, null
	Scalar             // Text
	Map                // Fields, in the order written
	List               // Items
)

// String names the kind as a person would.
func (k Kind) String() string {
	return [...]string{"nothing", "a single value", "a map", "a list"}[k]
}

// Value is one value of a document. Values may be shared where YAML aliases are used: do not change them.
type Value struct {
	Kind   Kind
	Text   string
	Quoted bool   // the text stood in quotes, or is JSON text: it is no number
	Tag    string // for EncodeYAML, before a quoted text, as in "!unsafe"; what was read has none
	Fields []Field
	Items  []*Value
	Line   int // where it begins, from 1; 0 in a tree that was not read
	Column int // from 1, in characters

	// Comment: a comment follows on the value's line. Who wrote "password: #x" or "password: a #b" without
	// quotes did perhaps not mean one.
	Comment bool
}

// Field is one entry of a map.
type Field struct {
	Key    string
	Value  *Value
	Line   int // of the key
	Column int
}

// Get gives the value of a map's key, or nil.
func (v *Value) Get(key string) *Value {
	for _, f := range v.Fields {
		if f.Key == key {
			return f.Value
		}
	}
	return nil
}

// SyntaxError is the first place at which a text is no YAML or JSON. It never shows a value.
type SyntaxError struct {
	Line   int // from 1; 0 when the parser does not tell
	Column int // from 1; 0 when the parser does not tell
	Text   string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	switch {
	case e.Line == 0:
		return e.Text
	case e.Column == 0:
		return fmt.Sprintf("line %d: %s", e.Line, e.Text)
	default:
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
	}
}

// IsJSON reports whether Parse takes data for JSON: when its first sign is { or [, and the name ends in
// .json or all of it is JSON (YAML may begin with a bracket too).
func IsJSON(data []byte, name string) bool {
	text := strings.TrimLeft(string(trimBOM(data)), " \t\r\n")
	return text != "" && (text[0] == '{' || text[0] == '[') &&
		(strings.HasSuffix(strings.ToLower(name), ".json") || validJSON(data))
}

// Parse reads a document of JSON or, else, of YAML; the name of the file helps to tell which. An empty
// document is a Null. The error is a *SyntaxError.
func Parse(data []byte, name string) (*Value, error) {
	if IsJSON(data, name) {
		return ParseJSON(data)
	}
	return ParseYAML(data)
}

// trimBOM takes off the mark that some editors put before UTF-8.
func trimBOM(data []byte) []byte {
	if len(data) >= 3 && data[0] == 0xef && data[1] == 0xbb && data[2] == 0xbf {
		return data[3:]
	}
	return data
}

// checkUTF8 refuses what the parsers would take and silently change.
func checkUTF8(data []byte) error {
	if len(data) >= 2 && (data[0] == 0xff && data[1] == 0xfe || data[0] == 0xfe && data[1] == 0xff) {
		return &SyntaxError{Line: 1, Text: "the file is UTF-16; save it as UTF-8"}
	}
	for line, rest := 1, data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			return &SyntaxError{Line: line, Text: "not UTF-8 text; save the file as UTF-8"}
		}
		if r == '\n' {
			line++
		}
		rest = rest[size:]
	}
	return nil
}
