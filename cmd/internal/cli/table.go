package cli

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Color is how a cell looks on a terminal.
type Color string

// The colours that tables use; each is the parameter of an ANSI SGR sequence.
const (
	Plain  Color = ""
	Bold   Color = "1"
	Dim    Color = "2"
	Red    Color = "31"
	Green  Color = "32"
	Yellow Color = "33"
	Blue   Color = "34"
	Purple Color = "35"
)

// Fit says what a column gives away when the table is wider than the terminal.
type Fit int

// The ways of a column to become narrower.
const (
	Keep    Fit = iota // never cut
	CutTail            // prose: the beginning says most
	CutHead            // URLs of builds: the end tells them apart
)

// Column is a title and how the column behaves.
type Column struct {
	Title string
	Fit   Fit
	Right bool // numbers
}

// Cell is a text with a colour. An empty text is shown as "-", so that each line has every column.
type Cell struct {
	Text  string
	Color Color
}

// Table is lines of cells under titles. The columns are the same on a terminal and elsewhere; only on
// a terminal is anything cut to its width or coloured.
type Table struct {
	Columns []Column
	Rows    [][]Cell
}

// leastWidth is how narrow a column may become: less tells nothing.
const leastWidth = 10

// Table writes t, columns padded with blanks and two blanks between them.
func (o Output) Table(t Table) error {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = utf8.RuneCountInString(c.Title)
	}
	rows := make([][]Cell, len(t.Rows))
	for r, row := range t.Rows {
		rows[r] = make([]Cell, len(row))
		for i, c := range row {
			if c.Text == "" {
				c.Text = "-"
			}
			rows[r][i] = Cell{Printable(c.Text), c.Color}
			widths[i] = max(widths[i], utf8.RuneCountInString(rows[r][i].Text))
		}
	}
	if o.Terminal() {
		shrink(t.Columns, widths, o.Width)
	}

	var b strings.Builder
	titles := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		titles[i] = Cell{c.Title, Bold}
	}
	for _, row := range append([][]Cell{titles}, rows...) {
		for i, c := range row {
			text := cut(c.Text, widths[i], t.Columns[i].Fit)
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			last := i == len(row)-1
			if t.Columns[i].Right {
				b.WriteString(pad)
			}
			b.WriteString(o.Paint(text, c.Color))
			if !t.Columns[i].Right && !last {
				b.WriteString(pad)
			}
			if !last {
				b.WriteString("  ")
			}
		}
		b.WriteByte('\n')
	}
	_, err := o.Write([]byte(b.String()))
	return err
}

// Paint colours text where colours are wanted.
func (o Output) Paint(text string, c Color) string {
	if !o.Color || c == Plain {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// shrink takes from the widest column that may be cut until the table fits or none can give more.
func shrink(columns []Column, widths []int, limit int) {
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; total > limit; total-- {
		widest := -1
		for i, c := range columns {
			if c.Fit != Keep && widths[i] > leastWidth && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

func cut(text string, width int, fit Fit) string {
	n := utf8.RuneCountInString(text)
	if n <= width || fit == Keep {
		return text
	}
	runes := []rune(text)
	if fit == CutHead {
		return "…" + string(runes[n-width+1:])
	}
	return string(runes[:width-1]) + "…"
}

// Printable makes a text from the database safe for a terminal and a log: each control character and
// each byte that is no UTF-8 becomes one U+FFFD.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
