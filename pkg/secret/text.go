// Package secret holds the type of every value that must not be shown: BMC passwords, database
// passwords, tokens; and what seals the stored ones. A Text prints as [redacted] whoever prints it
// and however (fmt, slog, JSON, YAML), so a secret reaches the outside only where the code says
// Reveal. A Key seals it for the database, so that a copy of the database alone gives nothing away.
package secret

import (
	"fmt"
	"log/slog"
	"unique"
)

// redacted is what every printer shows instead of the value.
const redacted = "[redacted]"

// Text is a secret string. Its zero value is the empty secret. Two are == when their values are equal.
//
// The value lies behind a handle, not in a plain string: fmt asks no method of a field whose name is
// lower-case, it prints what lies in it, and that is then an address.
type Text struct{ value unique.Handle[string] }

// New wraps value.
func New(value string) Text {
	if value == "" {
		return Text{}
	}
	return Text{unique.Make(value)}
}

// Reveal gives the value itself. Each call is a place where a secret leaves the program: search for
// them when you review.
func (t Text) Reveal() string {
	if t.IsZero() {
		return ""
	}
	return t.value.Value()
}

// IsZero reports whether the secret is empty; encoding/json's omitzero asks it too.
func (t Text) IsZero() bool { return t == Text{} }

// Equal reports whether both hold the same value; go-cmp asks it.
func (t Text) Equal(other Text) bool { return t == other }

// String implements fmt.Stringer.
func (t Text) String() string { return redacted }

// GoString implements fmt.GoStringer, for %#v.
func (t Text) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb (%q, %x, %d …) reaches the field.
func (t Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (t Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler: a secret is null in JSON unless it is revealed on purpose.
func (t Text) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// MarshalYAML implements yaml.Marshaler in the same way.
func (t Text) MarshalYAML() (any, error) { return nil, nil }

// MarshalText implements encoding.TextMarshaler for the encoders that prefer it.
func (t Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }
