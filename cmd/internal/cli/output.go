package cli

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/molteniron/molteniron/pkg/view"
)

// Output is where a command's data goes: a terminal with its width and colours, or anything else.
type Output struct {
	io.Writer
	Width int       // of the terminal in columns; 0 where it is none
	Color bool      // a terminal, and NO_COLOR is not set
	Now   time.Time // what ages on a terminal are counted from
}

// NewOutput looks at w: colours and ages are for terminals, everything else gets plain text and times
// in RFC 3339. COLUMNS overrides the width that the terminal tells.
func NewOutput(w io.Writer, getenv func(string) string) Output {
	o := Output{Writer: w, Now: time.Now()}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return o
	}
	o.Color = getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	o.Width = 80
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		o.Width = width
	}
	if _, err := fmt.Sscanf(getenv("COLUMNS"), "%d", &o.Width); err == nil {
		o.Width = max(o.Width, 20)
	}
	return o
}

// Terminal reports whether a person looks at it.
func (o Output) Terminal() bool { return o.Width > 0 }

// Time writes a moment: "2h ago" on a terminal, RFC 3339 in UTC elsewhere, "-" for the zero time.
func (o Output) Time(t time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case !o.Terminal():
		return t.UTC().Format(time.RFC3339)
	}
	d := o.Now.Sub(t)
	if d < 0 { // the database's clock is a little ahead of ours
		d = 0
	}
	return Brief(d) + " ago"
}

// Left writes how long it is until t: "5h12m", "over" when it has passed, "-" for the zero time.
func (o Output) Left(t time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case !t.After(o.Now):
		return "over"
	}
	return Precise(t.Sub(o.Now))
}

// Brief writes a duration by its largest unit alone: 40s, 12m, 5h, 3d.
func Brief(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// Precise writes a duration by its two largest units, rounded: 40s, 12m5s, 5h12m, 3d4h.
func Precise(d time.Duration) string {
	const day = 24 * time.Hour
	two := func(big, small time.Duration, b, s string) string {
		text := fmt.Sprintf("%d%s", d/big, b)
		if rest := d % big / small; rest > 0 {
			text += fmt.Sprintf("%d%s", rest, s)
		}
		return text
	}
	d = d.Round(time.Second)
	if d >= time.Hour {
		d = d.Round(time.Minute)
	}
	if d >= 2*day {
		d = d.Round(time.Hour)
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return two(time.Minute, time.Second, "m", "s")
	case d < 2*day:
		return two(time.Hour, time.Minute, "h", "m")
	}
	return two(day, time.Hour, "d", "h")
}

// Data writes v, a struct of pkg/view or a slice of them, in the format "json" or "yaml".
func (o Output) Data(format string, v any) error {
	encode := view.JSON
	if format == "yaml" {
		encode = view.YAML
	}
	text, err := encode(v)
	if err != nil {
		return err
	}
	_, err = o.Write(text)
	return err
}

// CSV writes a header and rows, as RFC 4180 with newlines alone.
func (o Output) CSV(header []string, rows [][]string) error {
	w := csv.NewWriter(o)
	if err := w.Write(header); err != nil {
		return err
	}
	return w.WriteAll(rows)
}

// Choice is the value of a flag that takes one of a few words.
type Choice struct {
	Value   string
	Allowed []string
}

// String implements pflag.Value.
func (c *Choice) String() string { return c.Value }

// Set implements pflag.Value.
func (c *Choice) Set(s string) error {
	if !slices.Contains(c.Allowed, s) {
		return fmt.Errorf("use one of %s", strings.Join(c.Allowed, ", "))
	}
	c.Value = s
	return nil
}

// Type implements pflag.Value; help shows it as the value's name.
func (c *Choice) Type() string { return strings.Join(c.Allowed, "|") }
