package devstack

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/molteniron/molteniron/pkg/pool"
)

// The marks around what this package writes into a file that is a person's. Behind the first stands whose it is.
const (
	begin = "# BEGIN molteniron"
	end   = "# END molteniron"
)

// Options say for which DevStack the settings are.
type Options struct {
	// Compatible writes IRONIC_HW_ARCH under the names that the original MoltenIron used (ppc64el), for old
	// stable branches. DevStack of today takes two architectures only.
	Compatible bool
	// Bare leaves the marks away, as the original did in a localrc.
	Bare bool
}

// Block gives the settings of an allocation's nodes as lines for a localrc: IRONIC_HW_ARCH, _NODE_CPU, _NODE_RAM
// (MB), _NODE_DISK (GB) and ALLOCATION_POOL, between two marks that name the allocation.
//
// DevStack takes one value for all nodes of a run: the smallest one is written. A number that no node
// has is left out, and DevStack's default stands; one that only some have is refused, as are two
// architectures, and one that DevStack does not take.
func Block(a *pool.Allocation, o Options) ([]byte, error) {
	lines, err := settings(a, o)
	if err != nil {
		return nil, fmt.Errorf("settings for DevStack: %w", err)
	}
	if o.Bare {
		return lines, nil
	}
	return fmt.Appendf(nil, "%s, allocation %d\n%s%s\n", begin, a.ID, lines, end), nil
}

// Localrc gives the text of a localrc with a block of settings. before is what the file holds now, nil when
// there is none; the block goes to its end, so that it wins, and replaces the marked ones of earlier
// runs. Refused are marks in before that do not pair.
func Localrc(before, block []byte) ([]byte, error) {
	rest, err := withoutBlocks(before, anyMark)
	if err != nil {
		return nil, err
	}
	return append(whole(rest), block...), nil
}

// header is a line that begins a section of local.conf, as DevStack's inc/meta-config matches it; the
// first field is the section's name.
var header = regexp.MustCompile(`^\[\[.+\|.*\]\]`)

// LocalConf gives the text of a local.conf with a block of settings in its section [[local|localrc]], which is
// made when there is none. before and the rest are as with Localrc; the block goes to the end of the last such
// section.
func LocalConf(before, block []byte) ([]byte, error) {
	rest, err := withoutBlocks(before, anyMark)
	if err != nil {
		return nil, err
	}
	rest = whole(rest)
	at := -1 // where the block goes: behind the section's last line that is not blank
	inside := false
	for offset, line := range linesOf(rest) {
		if header.Match(line) {
			inside = isLocalrc(line)
			if inside {
				at = offset + len(line)
			}
		} else if inside && len(bytes.TrimSpace(line)) > 0 {
			at = offset + len(line)
		}
	}
	if at < 0 {
		return append(append(rest, section...), block...), nil
	}
	if bytes.HasSuffix(rest[:at], []byte("\\\n")) { // it would join the block with that line; a blank one ends it
		if !bytes.HasPrefix(rest[at:], []byte("\n")) {
			return slices.Concat(rest[:at], []byte("\n"), block, rest[at:]), nil
		}
		at++
	}
	return slices.Concat(rest[:at], block, rest[at:]), nil
}

// section is the header that LocalConf writes where there is none.
const section = "[[local|localrc]]\n"

// Without takes a block out of a localrc or local.conf that Localrc or LocalConf put there. A marked one is
// found by its marks, whatever a build has written between them; of bare ones the last that is still as it
// was. Where there is none, the text comes back as it is.
func Without(text, block []byte) ([]byte, error) {
	first, _, _ := bytes.Cut(block, []byte("\n"))
	if mark := string(first); anyMark(mark) {
		return withoutBlocks(text, func(line string) bool { return line == mark })
	}
	for from := len(text); len(block) > 0; {
		at := bytes.LastIndex(text[:from], block)
		if at < 0 {
			break
		}
		if at == 0 || text[at-1] == '\n' {
			return slices.Concat(text[:at], text[at+len(block):]), nil
		}
		from = at
	}
	return text, nil
}

// Empty reports whether a localrc or local.conf holds nothing: no more than LocalConf makes for a block.
func Empty(text []byte) bool {
	rest := strings.TrimSpace(string(text))
	return rest == "" || rest == strings.TrimSpace(section)
}

// isLocalrc reports whether a header begins the section that DevStack sources as localrc: its first
// field, without brackets, is local|localrc. A carriage return is no blank there.
func isLocalrc(line []byte) bool {
	fields := bytes.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' || c == '\n' })
	parts := strings.Split(strings.NewReplacer("[", "", "]", "").Replace(string(fields[0])), "|")
	return len(parts) > 1 && parts[0] == "local" && parts[1] == "localrc"
}

// CheckLocalConf refuses a local.conf beside which a localrc stands: DevStack would read that and
// ignore the section. path is the local.conf's.
func CheckLocalConf(path string) error {
	localrc := filepath.Join(filepath.Dir(path), "localrc")
	_, err := os.Stat(localrc)
	switch {
	case err == nil:
		return fmt.Errorf("%s makes DevStack ignore [[local|localrc]] in %s; use --localrc %s, or remove it", localrc, path, localrc)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

// settings are the lines for an allocation's nodes.
func settings(a *pool.Allocation, o Options) ([]byte, error) {
	var b bytes.Buffer
	arch := ""
	for i, n := range a.Nodes {
		name, err := archName(n.Arch, o)
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", n.Name, err)
		}
		if i > 0 && name != arch {
			return nil, fmt.Errorf("node %s is of architecture %q and node %s of %q, but DevStack takes one for all; ask for one with --require arch=NAME",
				a.Nodes[0].Name, a.Nodes[0].Arch, n.Name, n.Arch)
		}
		arch = name
	}
	if arch != "" {
		fmt.Fprintf(&b, "IRONIC_HW_ARCH=%s\n", arch)
	}
	for _, f := range []struct {
		setting, field string
		value          func(pool.Node) int64
	}{
		{"IRONIC_HW_NODE_CPU", "cpus", func(n pool.Node) int64 { return n.CPUs }},
		{"IRONIC_HW_NODE_RAM", "ram_mb", func(n pool.Node) int64 { return n.RAMMB }},
		{"IRONIC_HW_NODE_DISK", "disk_gb", func(n pool.Node) int64 { return n.DiskGB }},
	} {
		least, err := smallest(a.Nodes, f.field, f.value)
		if err != nil {
			return nil, err
		}
		if least > 0 {
			fmt.Fprintf(&b, "%s=%d\n", f.setting, least)
		}
	}
	var pairs []string
	for _, n := range a.Nodes {
		for _, ip := range n.IPs {
			if _, err := netip.ParseAddr(ip); err != nil {
				return nil, fmt.Errorf("node %s: deployment address %q is none", n.Name, ip)
			}
			pairs = append(pairs, "start="+ip+",end="+ip)
		}
	}
	if len(pairs) > 0 {
		// DevStack uses it unquoted as the value of --allocation-pool, hence the option within.
		fmt.Fprintf(&b, "ALLOCATION_POOL=\"%s\"\n", strings.Join(pairs, " --allocation-pool "))
	}
	return b.Bytes(), nil
}

// smallest is the least of the nodes' values, 0 when no node has one.
func smallest(nodes []pool.GrantedNode, field string, value func(pool.Node) int64) (int64, error) {
	least, with, without := int64(0), "", ""
	for _, n := range nodes {
		v := value(n.Node)
		if v == 0 {
			without = n.Name
			continue
		}
		if with == "" || v < least {
			least, with = v, n.Name
		}
	}
	if with != "" && without != "" {
		return 0, fmt.Errorf("node %s has a %s and node %s has none, but DevStack takes one for all; set it with: moltenironctl set %s %s=N",
			with, field, without, without, field)
	}
	return least, nil
}

var archPattern = regexp.MustCompile(`^[A-Za-z0-9_]*$`)

// archName gives the name under which DevStack knows an architecture, "" for an unknown one.
func archName(arch string, o Options) (string, error) {
	if !archPattern.MatchString(arch) {
		return "", fmt.Errorf("architecture %q: letters, digits and _ only", arch)
	}
	if o.Compatible {
		if arch == "ppc64le" {
			return "ppc64el", nil // Debian's name, which the CI of that time used
		}
		return arch, nil
	}
	switch arch {
	case "", "x86_64", "aarch64":
		return arch, nil
	case "amd64":
		return "x86_64", nil
	case "arm64":
		return "aarch64", nil
	}
	return "", fmt.Errorf("architecture %q: DevStack takes x86_64 and aarch64 only since 2024; for an older branch add --devstack-compatible", arch)
}

// anyMark reports whether a line, without the blanks around it, is the first mark of a block.
func anyMark(line string) bool { return line == begin || strings.HasPrefix(line, begin+",") }

// withoutBlocks takes the blocks out of a text whose first mark fits; there may be several, where a person has
// copied one. Marks that do not pair are refused, if they fit or not: nobody could say what is whose.
func withoutBlocks(text []byte, fits func(mark string) bool) ([]byte, error) {
	rest := make([]byte, 0, len(text))
	from, number := 0, 0 // the line of the open mark, and the present one
	keep := true
	for _, line := range linesOf(text) {
		number++
		word := strings.TrimSpace(string(line))
		if anyMark(word) {
			if from > 0 {
				return nil, fmt.Errorf("line %d: %q again, and that of line %d has no end; remove one of them", number, begin, from)
			}
			from, keep = number, !fits(word)
		}
		if word == end && from == 0 {
			return nil, fmt.Errorf("line %d: %q without a beginning; remove that line", number, end)
		}
		if keep {
			rest = append(rest, line...)
		}
		if word == end {
			from, keep = 0, true
		}
	}
	if from > 0 {
		return nil, fmt.Errorf("line %d: %q has no end; add a line %q behind what is to be replaced", from, begin, end)
	}
	return rest, nil
}

// linesOf yields the lines of a text, each with its line break, and where they begin.
func linesOf(text []byte) func(yield func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		offset := 0
		for line := range bytes.Lines(text) {
			if !yield(offset, line) {
				return
			}
			offset += len(line)
		}
	}
}

// whole copies a text and ends its last line, also where a backslash would join it with what follows.
func whole(text []byte) []byte {
	text = bytes.Clone(text)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	if bytes.HasSuffix(text, []byte("\\\n")) {
		text = append(text, '\n')
	}
	return text
}
