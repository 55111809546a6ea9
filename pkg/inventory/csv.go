package inventory

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// The columns of a CSV inventory are the fields of a node as get and set name them, in any order; name and
// bmc_address must be there. Each property has a column of its own, prop:KEY, because that is what a
// spreadsheet can sort and filter; an empty cell is a value that is not set.
type column struct {
	name string
	take func(c *cell, s *pool.NodeSpec)
	give func(s *pool.NodeSpec) string
}

const (
	propertyPrefix = "prop:"
	passwordColumn = "bmc_password"
)

// columns are the fixed ones, in the order in which they are written.
var columns = []column{
	{"name", func(c *cell, s *pool.NodeSpec) { s.Name = c.text() }, func(s *pool.NodeSpec) string { return s.Name }},
	{"pool", func(c *cell, s *pool.NodeSpec) { s.Pool = c.text() }, func(s *pool.NodeSpec) string { return s.Pool }},
	{"bmc_driver", func(c *cell, s *pool.NodeSpec) { s.BMC.Driver = c.text() }, func(s *pool.NodeSpec) string { return s.BMC.Driver }},
	{"bmc_address", func(c *cell, s *pool.NodeSpec) { s.BMC.Address = c.text() }, func(s *pool.NodeSpec) string { return s.BMC.Address }},
	{"bmc_port", func(c *cell, s *pool.NodeSpec) { s.BMC.Port = c.port() }, func(s *pool.NodeSpec) string { return digits(int64(s.BMC.Port)) }},
	{"bmc_system_id", func(c *cell, s *pool.NodeSpec) { s.BMC.SystemID = c.text() }, func(s *pool.NodeSpec) string { return s.BMC.SystemID }},
	{"bmc_verify", func(c *cell, s *pool.NodeSpec) { s.BMC.Verify = c.text() }, func(s *pool.NodeSpec) string { return s.BMC.Verify }},
	{"bmc_user", func(c *cell, s *pool.NodeSpec) { s.BMC.Username = c.text() }, func(s *pool.NodeSpec) string { return s.BMC.Username }},
	// Blanks around a password belong to it.
	{passwordColumn, func(c *cell, s *pool.NodeSpec) { s.BMC.Password = secret.New(c.raw) }, func(s *pool.NodeSpec) string { return s.BMC.Password.Reveal() }},
	{"mac", func(c *cell, s *pool.NodeSpec) { s.MACs = splitList(c.raw) }, func(s *pool.NodeSpec) string { return strings.Join(s.MACs, " ") }},
	{"arch", func(c *cell, s *pool.NodeSpec) { s.Arch = c.text() }, func(s *pool.NodeSpec) string { return s.Arch }},
	{"cpus", func(c *cell, s *pool.NodeSpec) { s.CPUs = c.number() }, func(s *pool.NodeSpec) string { return digits(s.CPUs) }},
	{"ram_mb", func(c *cell, s *pool.NodeSpec) { s.RAMMB = c.number() }, func(s *pool.NodeSpec) string { return digits(s.RAMMB) }},
	{"disk_gb", func(c *cell, s *pool.NodeSpec) { s.DiskGB = c.number() }, func(s *pool.NodeSpec) string { return digits(s.DiskGB) }},
	{"ip", func(c *cell, s *pool.NodeSpec) { s.IPs = splitList(c.raw) }, func(s *pool.NodeSpec) string { return strings.Join(s.IPs, " ") }},
	{"cost", func(c *cell, s *pool.NodeSpec) { s.Cost = c.number() }, func(s *pool.NodeSpec) string { return digits(s.Cost) }},
}

// needed are the columns without which there is no inventory.
var needed = []string{"name", "bmc_address"}

// otherNames are what people call columns who know the YAML form.
var otherNames = map[string]string{"bmc_username": "bmc_user", "macs": "mac", "ips": "ip"}

func digits(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func columnNames() string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return strings.Join(names, ", ") + " and " + propertyPrefix + "KEY for a property"
}

// cell is one value of a row, with its place for messages.
type cell struct {
	p      *parser
	raw    string
	column string
	node   string
	line   int
	offset int // of the character in its line, from 1
}

func (c *cell) text() string { return strings.TrimSpace(c.raw) }

func (c *cell) fault(format string, args ...any) {
	c.p.faultAt(c.line, c.offset, "%s: %s %s", c.node, c.column, fmt.Sprintf(format, args...))
}

func (c *cell) number() int64 {
	text := c.text()
	if text == "" {
		return 0
	}
	n, problem := wholeNumber(text)
	if problem != "" {
		c.fault("%s", problem)
	}
	return n
}

func (c *cell) port() int {
	text := c.text()
	if text == "" {
		return 0
	}
	n, problem := portNumber(text)
	if problem != "" {
		c.fault("%s", problem)
	}
	return n
}

func (p *parser) faultAt(line, offset int, format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf("%s:%d:%d: %s", p.inventory.Name, line, offset, fmt.Sprintf(format, args...)))
}

// headerLine is the first line that holds something.
func headerLine(data []byte) string {
	for line := range strings.Lines(strings.TrimPrefix(string(data[:min(len(data), 64<<10)]), "\ufeff")) {
		if strings.TrimSpace(line) != "" {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// separator is the sign between cells: a comma, or what spreadsheets write in countries whose numbers
// have commas, or what they put on the clipboard.
func separator(data []byte) rune {
	best, most := ',', 0
	for _, s := range []rune{',', ';', '\t'} {
		if n := strings.Count(headerLine(data), string(s)); n > most {
			best, most = s, n
		}
	}
	return best
}

// columnName gives the one name of a column as it stands in a header.
func columnName(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if other := otherNames[s]; other != "" {
		return other
	}
	return s
}

// looksLikeCSV reports whether the first line names columns.
func looksLikeCSV(data []byte) bool {
	header := headerLine(data)
	known := 0
	for name := range strings.SplitSeq(header, string(separator(data))) {
		name = columnName(strings.Trim(strings.TrimSpace(name), `"`))
		if slices.ContainsFunc(columns, func(c column) bool { return c.name == name }) {
			known++
		}
	}
	return known >= 2
}

// table reads CSV records with their places.
type table struct {
	p     *parser
	data  []byte
	csv   *csv.Reader
	lines []int // where each line begins
}

func (p *parser) readCSV(data []byte) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !p.checkText(data) {
		return
	}
	t := &table{p: p, data: data, csv: csv.NewReader(bytes.NewReader(data)), lines: []int{0}}
	for i, b := range data {
		if b == '\n' {
			t.lines = append(t.lines, i+1)
		}
	}
	t.csv.Comma = separator(data)
	t.csv.FieldsPerRecord = -1 // counted here, with better words

	header, ok := t.next()
	if !ok {
		if len(p.problems) == 0 {
			p.fault(1, "empty; the first line names the columns: %s", columnNames())
		}
		return
	}
	take := t.header(header)
	if len(p.problems) > 0 {
		return // without a sound header every row would be wrong
	}
	for row, ok := t.next(); ok; row, ok = t.next() {
		t.row(row, header, take)
	}
}

// checkText refuses what a spreadsheet saved as something else than UTF-8: it would be read as wrong
// characters, in passwords too.
func (p *parser) checkText(data []byte) bool {
	line := 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			p.fault(line, "not UTF-8 text; save the file as \"CSV UTF-8\"")
			return false
		case r == 0:
			p.fault(line, "holds a NUL character; save the file as \"CSV UTF-8\"")
			return false
		case r == '\n':
			line++
		}
		rest = rest[size:]
	}
	return true
}

// place gives line and character of a cell of the record that was read last.
func (t *table) place(i int) (line, offset int) {
	line, column := t.csv.FieldPos(i)
	return line, t.character(line, column)
}

// character turns a place in bytes, from 1, into one in characters.
func (t *table) character(line, column int) int {
	if line < 1 || line > len(t.lines) {
		return column
	}
	start := t.lines[line-1]
	return 1 + utf8.RuneCount(t.data[start:min(start+column-1, len(t.data))])
}

// next gives the next record that holds something. Broken ones are faults and passed over.
func (t *table) next() ([]string, bool) {
	for {
		begin := t.csv.InputOffset()
		record, err := t.csv.Read()
		var pe *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil, false
		case errors.As(err, &pe):
			t.broken(pe, int(begin))
		case err != nil:
			t.p.problems = append(t.p.problems, fmt.Sprintf("%s: %v", t.p.inventory.Name, err))
			return nil, false
		case slices.ContainsFunc(record, func(s string) bool { return strings.TrimSpace(s) != "" }):
			return record, true
		}
	}
}

func (t *table) broken(pe *csv.ParseError, begin int) {
	switch {
	case errors.Is(pe.Err, csv.ErrQuote) && int(t.csv.InputOffset()) >= len(t.data) && t.openQuote(begin) >= 0:
		at := t.openQuote(begin)
		line, _ := slices.BinarySearch(t.lines, at+1)
		t.p.faultAt(line, t.character(line, at-t.lines[line-1]+1), "a quote is opened here and never closed")
	case errors.Is(pe.Err, csv.ErrQuote):
		began := ""
		if pe.StartLine != pe.Line {
			began = fmt.Sprintf("; the row began in line %d, is a quote left open there?", pe.StartLine)
		}
		t.p.faultAt(pe.Line, t.character(pe.Line, pe.Column), "a quote in the middle of a quoted cell; a quote within one is written twice, as in \"5\"\" disk\"%s", began)
	case errors.Is(pe.Err, csv.ErrBareQuote):
		t.p.faultAt(pe.Line, t.character(pe.Line, pe.Column), "a quote in a cell that does not begin with one; put the whole cell in quotes and write the quote within twice")
	default:
		t.p.faultAt(pe.Line, t.character(pe.Line, pe.Column), "%v", pe.Err)
	}
}

// openQuote finds where the last quote of data[begin:] opened that nothing closes, or gives -1.
func (t *table) openQuote(begin int) int {
	open, fresh := -1, true
	comma := byte(t.csv.Comma)
	for i := begin; i < len(t.data); i++ {
		switch c := t.data[i]; {
		case open >= 0:
			if c == '"' && i+1 < len(t.data) && t.data[i+1] == '"' {
				i++
			} else if c == '"' {
				open = -1
			}
		case c == '"' && fresh:
			open, fresh = i, false
		default:
			fresh = c == comma || c == '\n'
		}
	}
	return open
}

// header checks the first row and gives what takes each of its columns.
func (t *table) header(names []string) []func(*cell, *pool.NodeSpec) {
	if !slices.ContainsFunc(names, func(s string) bool { return slices.Contains(needed, columnName(s)) }) {
		line, _ := t.place(0) // a row of values: none of them may be shown
		t.p.fault(line, "the first line names no columns; the columns are %s", columnNames())
		return nil
	}
	take := make([]func(*cell, *pool.NodeSpec), len(names))
	seen := map[string]bool{}
	for i, written := range names {
		name := columnName(written)
		line, offset := t.place(i)
		key, isProperty := strings.CutPrefix(name, propertyPrefix)
		at := slices.IndexFunc(columns, func(c column) bool { return c.name == name })
		switch {
		case name == "" && i > 0:
			continue // a spreadsheet's empty column; its cells must be empty too
		case seen[name]:
			t.p.faultAt(line, offset, "the column %s stands twice in the header", name)
		case isProperty && key != "":
			take[i] = func(c *cell, s *pool.NodeSpec) {
				if v := c.text(); v != "" {
					setProperty(s, key, v)
				}
			}
		case at >= 0:
			take[i] = columns[at].take
		default:
			t.p.faultAt(line, offset, "%q is no column; the columns are %s", strings.TrimSpace(written), columnNames())
		}
		seen[name] = true
	}
	line, _ := t.place(0)
	for _, name := range needed {
		if !seen[name] {
			t.p.fault(line, "the header has no column %s; the columns are %s", name, columnNames())
		}
	}
	return take
}

func (t *table) row(row, header []string, take []func(*cell, *pool.NodeSpec)) {
	t.p.before = len(t.p.problems)
	line, _ := t.place(0)
	label := fmt.Sprintf("row in line %d", line)
	for i, name := range header[:min(len(header), len(row))] {
		if columnName(name) == "name" && strings.TrimSpace(row[i]) != "" {
			label = "node " + strings.TrimSpace(row[i])
		}
	}
	last := len(row)
	for last > len(header) && strings.TrimSpace(row[last-1]) == "" {
		last--
	}
	switch {
	case last > len(header):
		_, offset := t.place(len(header))
		t.p.faultAt(line, offset, "%s: %d cells, and the header has %d; put a cell that holds a %q in quotes", label, last, len(header), t.csv.Comma)
		return
	case len(row) < len(header):
		t.p.faultAt(line, 1, "%s: %d cells, and the header has %d: %s is missing", label, len(row), len(header), columnName(header[len(row)]))
		return
	}
	var spec pool.NodeSpec
	for i := range header {
		c := &cell{p: t.p, raw: row[i], column: columnName(header[i]), node: label}
		c.line, c.offset = t.place(i)
		switch {
		case take[i] != nil:
			take[i](c, &spec)
		case strings.TrimSpace(row[i]) != "":
			t.p.faultAt(c.line, c.offset, "%s: a value in a column without a name", label)
		}
	}
	if spec.Name == "" {
		t.p.fault(line, "the row has no name")
	}
	t.p.add(spec, line)
}

// encodeCSV writes all fixed columns, so that every export has the same, and one for each property.
func encodeCSV(specs []pool.NodeSpec, withCredentials bool) ([]byte, error) {
	keys := map[string]bool{}
	for _, s := range specs {
		for key := range s.Properties {
			keys[key] = true
		}
	}
	properties := slices.Sorted(maps.Keys(keys))
	written := slices.DeleteFunc(slices.Clone(columns), func(c column) bool { return c.name == passwordColumn && !withCredentials })

	var buf bytes.Buffer
	w := csv.NewWriter(&buf)
	var header []string
	for _, c := range written {
		header = append(header, c.name)
	}
	for _, key := range properties {
		header = append(header, propertyPrefix+key)
	}
	if err := w.Write(header); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	for i := range specs {
		var row []string
		for _, c := range written {
			row = append(row, c.give(&specs[i]))
		}
		for _, key := range properties {
			row = append(row, specs[i].Properties[key])
		}
		if err := w.Write(row); err != nil {
			return nil, fmt.Errorf("export node %s: %w", specs[i].Name, err)
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	return buf.Bytes(), checkCSV(buf.Bytes(), specs, withCredentials)
}

// checkCSV reads back what was written: CSV has no way to carry some values (it makes CR LF in a password
// a LF), and an export that loses a password unnoticed is worse than none.
func checkCSV(data []byte, specs []pool.NodeSpec, withCredentials bool) error {
	again, err := Read(bytes.NewReader(data), CSV, "export")
	if err != nil {
		return fmt.Errorf("these nodes cannot be written as CSV, write them as YAML: %w", err)
	}
	got := again.Specs()
	for i, want := range specs {
		if !withCredentials {
			want.BMC.Password = secret.Text{}
		}
		if i >= len(got) || !reflect.DeepEqual(tidy(want), tidy(got[i])) {
			return invalid(fmt.Sprintf("node %s holds a value that CSV cannot carry (a line end of CR LF, or blanks around it); write the nodes as YAML", want.Name))
		}
	}
	return nil
}

// tidy makes nothing of what is empty.
func tidy(s pool.NodeSpec) pool.NodeSpec {
	if len(s.MACs) == 0 {
		s.MACs = nil
	}
	if len(s.IPs) == 0 {
		s.IPs = nil
	}
	if len(s.Properties) == 0 {
		s.Properties = nil
	}
	return s
}
