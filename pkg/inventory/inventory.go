// Package inventory reads and writes lists of nodes: MoltenIron's own YAML and CSV, and, to read only,
// the formats in which people already have their machines (TripleO's instackenv.json, the files of
// `openstack baremetal create`, bifrost's inventory).
//
// A reader tells all that is wrong in a file at once, each fault with its line. What the values must be
// (addresses, ranges, what is taken) is pkg/pool's to judge; Locate puts the lines to its judgement.
package inventory

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/molteniron/molteniron/pkg/internal/document"
	"github.com/molteniron/molteniron/pkg/pool"
)

// Format is the form of an inventory.
type Format string

// The formats. YAML and CSV are MoltenIron's own; each that is YAML may be JSON as well.
const (
	YAML       Format = "yaml"
	CSV        Format = "csv"
	Instackenv Format = "instackenv" // TripleO: https://docs.openstack.org/project-deploy-guide/tripleo-docs/latest/environments/baremetal.html
	Baremetal  Format = "baremetal"  // openstack baremetal create: https://docs.openstack.org/python-ironicclient/latest/cli/osc/v1/index.html
	Bifrost    Format = "bifrost"    // https://docs.openstack.org/bifrost/latest/user/howto.html
)

// Formats lists every format that Read knows, the own ones first.
var Formats = []Format{YAML, CSV, Instackenv, Baremetal, Bifrost}

// Row is a node as it was read.
type Row struct {
	Spec pool.NodeSpec // as written: pkg/pool gives the values their one spelling
	Line int           // where it begins, from 1
}

// Inventory is a file of nodes as it was read.
type Inventory struct {
	Name     string // of the file, for messages
	Format   Format
	Rows     []Row
	Warnings []string // what is not carried over or looks like a slip; each begins with file and line

	faulted map[string]bool // lines of the rows that Read found faults in
}

// Specs are the nodes in their order.
func (inv *Inventory) Specs() []pool.NodeSpec {
	specs := make([]pool.NodeSpec, len(inv.Rows))
	for i, r := range inv.Rows {
		specs[i] = r.Spec
	}
	return specs
}

// maxInput bounds what is read, so that a wrong file ends in an error and not in a full memory. A node
// takes about 500 bytes. In bytes.
const maxInput = 64 << 20

// Read reads an inventory; format "" is found out from the content. name is the file's, for messages and
// for finding password files, which are relative to its folder; "" and "-" are standard input. The error is
// a *pool.Problems with every fault of the file (class pool.ErrInvalid), or that of r. It shows no
// password. With a *pool.Problems comes what could be read, for Together.
func Read(r io.Reader, format Format, name string) (*Inventory, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("read inventory %s: %w", name, err)
	}
	if name == "" || name == "-" {
		name = "standard input"
	}
	if len(data) > maxInput {
		return nil, invalid(fmt.Sprintf("%s: longer than %d MiB, which is no inventory", name, maxInput>>20))
	}
	if format == "" {
		format = Detect(data, name)
	}
	p := &parser{inventory: &Inventory{Name: name, Format: format, faulted: map[string]bool{}}, lost: map[string]*loss{}}
	switch format {
	case CSV:
		p.readCSV(data)
	case YAML, Instackenv, Baremetal, Bifrost:
		p.readTree(data)
	default:
		return nil, invalid(fmt.Sprintf("%s: unknown format %q; the formats are %s", name, format, formatNames()))
	}
	p.tellLosses()
	if len(p.problems) > 0 {
		return p.inventory, p.inventory.Together(invalid(p.problems...), pool.CheckNodes(p.inventory.Specs()))
	}
	return p.inventory, nil
}

// Together adds to the faults that Read found those that pkg/pool finds in the rows that could be read, so that
// nobody who mends the first is then told of more. A row that Read found faults in is not judged: what it lacks
// may be what could not be read. An error in found that is no *pool.Problems adds nothing.
func (inv *Inventory) Together(read, found error) error {
	var faults, more *pool.Problems
	if !errors.As(read, &faults) || !errors.As(inv.Locate(found), &more) {
		return read
	}
	all := &pool.Problems{Class: faults.Class, List: slices.Clone(faults.List)}
	told := map[string]bool{}
	for _, text := range all.List {
		told[text] = true
	}
	for _, text := range more.List {
		line, _, _ := strings.Cut(strings.TrimPrefix(text, inv.Name+":"), ":")
		if !inv.faulted[line] && !told[text] {
			all.List = append(all.List, text)
		}
	}
	inv.sort(all.List)
	return all
}

func invalid(problems ...string) error {
	return &pool.Problems{Class: pool.ErrInvalid, List: problems}
}

func formatNames() string {
	names := make([]string, len(Formats))
	for i, f := range Formats {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// Detect tells the format of an inventory from its content, with the name's help where the content is
// broken. What looks like nothing known is YAML.
func Detect(data []byte, name string) Format {
	lower := strings.ToLower(name)
	if strings.HasSuffix(lower, ".csv") || strings.HasSuffix(lower, ".tsv") || looksLikeCSV(data) {
		return CSV
	}
	tree, err := document.Parse(data, name)
	if err != nil || tree.Kind != document.Map {
		return YAML
	}
	nodes := tree.Get("nodes")
	if nodes == nil {
		switch {
		case tree.Get("chassis") != nil:
			return Baremetal
		case slices.ContainsFunc(tree.Fields, func(f document.Field) bool { return hasAny(f.Value, "driver_info", "nics", "driver") }):
			return Bifrost
		}
		return YAML
	}
	for _, n := range nodes.Items {
		switch {
		case hasAny(n, "bmc"):
			return YAML
		case hasAny(n, "pm_type", "pm_addr", "pm_user", "pm_password"):
			return Instackenv
		case hasAny(n, "driver_info", "driver"):
			return Baremetal
		}
	}
	return YAML
}

func hasAny(v *document.Value, keys ...string) bool {
	return v.Kind == document.Map && slices.ContainsFunc(keys, func(k string) bool { return v.Get(k) != nil })
}

// Locate puts file and line before the faults that pkg/pool found in the inventory's specs, so that a
// person finds the row. An error that is no *pool.Problems comes back as it is.
func (inv *Inventory) Locate(err error) error {
	var problems *pool.Problems
	if !errors.As(err, &problems) {
		return err
	}
	// pkg/pool begins each fault with "node NAME: ". Of two rows with one name it faults the later.
	lines := map[string]int{}
	for _, r := range inv.Rows {
		lines["node "+r.Spec.Name+": "] = r.Line
	}
	located := &pool.Problems{Class: problems.Class, List: slices.Clone(problems.List)}
	for i, text := range located.List {
		line := 0
		for end := 0; ; { // a name that is no name may hold ": " too; the longest that is known counts
			next := strings.Index(text[end:], ": ")
			if next < 0 {
				break
			}
			end += next + len(": ")
			if l := lines[text[:end]]; l > 0 {
				line = l
			}
		}
		if line > 0 {
			located.List[i] = fmt.Sprintf("%s:%d: %s", inv.Name, line, text)
		}
	}
	inv.sort(located.List)
	return located
}

// sort puts faults into the order of their lines; those without one come last.
func (inv *Inventory) sort(list []string) {
	line := func(text string) int {
		rest, _ := strings.CutPrefix(text, inv.Name+":")
		digits, _, _ := strings.Cut(rest, ":")
		if n, err := strconv.Atoi(digits); err == nil {
			return n
		}
		return math.MaxInt
	}
	slices.SortStableFunc(list, func(a, b string) int { return cmp.Compare(line(a), line(b)) })
}

// Write writes nodes as YAML or CSV, with their passwords only when asked. Read gives the same specs
// back. The error is a value that the format cannot carry, or that of w.
func Write(w io.Writer, format Format, specs []pool.NodeSpec, withCredentials bool) error {
	var data []byte
	var err error
	switch format {
	case YAML:
		data, err = encodeYAML(specs, withCredentials)
	case CSV:
		data, err = encodeCSV(specs, withCredentials)
	default:
		return invalid(fmt.Sprintf("inventories are written as yaml and csv, not as %q", format))
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(w, bytes.NewReader(data))
	return err
}

// parser is one Read on its way.
type parser struct {
	inventory *Inventory
	problems  []string
	before    int // problems when the present row began
	lost      map[string]*loss
}

// loss is a key that is not carried over, in however many nodes.
type loss struct {
	line  int // of the first
	node  string
	count int
}

func (p *parser) fault(line int, format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf("%s:%d: %s", p.inventory.Name, line, fmt.Sprintf(format, args...)))
}

func (p *parser) warn(line int, format string, args ...any) {
	p.inventory.Warnings = append(p.inventory.Warnings, fmt.Sprintf("%s:%d: %s", p.inventory.Name, line, fmt.Sprintf(format, args...)))
}

// lose notes that a key is not carried over; one warning a key is enough for a file of a thousand nodes.
func (p *parser) lose(line int, node, key string) {
	if l := p.lost[key]; l != nil {
		l.count++
		return
	}
	p.lost[key] = &loss{line, node, 1}
}

func (p *parser) tellLosses() {
	keys := slices.SortedFunc(maps.Keys(p.lost), func(a, b string) int {
		return cmp.Or(p.lost[a].line-p.lost[b].line, strings.Compare(a, b))
	})
	for _, key := range keys {
		l := p.lost[key]
		times := ""
		if l.count > 1 {
			times = fmt.Sprintf(" (%d times)", l.count)
		}
		p.warn(l.line, "%s: %s is not carried over%s", l.node, key, times)
	}
}
