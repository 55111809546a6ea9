package scrub

import (
	"strings"
	"unicode/utf8"
)

// This file knows in which spellings a secret stands in logs. Byte for byte, and in any mixture, because no
// two programs agree about what must be escaped:
//
//   - as it is;
//   - behind backslashes, as bash's [[ ]] shows patterns, printf %q, JSON, C and Python strings, and JSON
//     within such a string do;
//   - as an escape: \n, \x6e, \156, \u006e, \U0000006e, ksh93's \x[6e], zsh's \C-n and \M-n;
//   - percent-encoded once or twice, a blank as +;
//   - as an entity of HTML or XML;
//   - with quotes between its characters, where a shell changes how it quotes: 'it'\''s', 'it'"'"'s',
//     new$'\n'line; and a quote doubled, as CSV and SQL do.

// Limits of one byte's spelling; a log that has more of them is not an escaped password but a drawing.
const (
	maxBackslashes = 8
	maxQuotes      = 4                                               // between two characters
	maxEntity      = 10                                              // &#x00027;
	maxSpelling    = maxBackslashes + len("u[0000006e]") + maxQuotes // the longest spelling of a byte
)

// syntax are the bytes that spellings have beside the secret's own; what follows \C- and \M- is not among them.
const syntax = special + "#;+-?0123456789abcdefABCDEF" + "nrtvxuUMC" + "ampltgquos"

// special are the bytes that can begin a spelling other than as it is, or stand between two. (A blank's + is
// treated apart.)
const special = `\%&'"$` + "\x83"

// pattern is one secret.
type pattern struct {
	text  []byte
	runes []rune // at the index where one begins that is not ASCII, else 0
}

func newPattern(s string) pattern {
	p := pattern{text: []byte(s), runes: make([]rune, len(s))}
	for i, r := range s {
		if r >= utf8.RuneSelf && (r != utf8.RuneError || strings.HasPrefix(s[i:], "\uFFFD")) {
			p.runes[i] = r
		}
	}
	return p
}

// step is a spelling that was found: so many bytes of the secret in so many of the text.
type step struct{ secret, text int }

// spellings appends those with which text spells what the secret has at i.
func (p *pattern) spellings(steps []step, text []byte, i int) []step {
	c := p.text[i]
	b := text[0]
	if b == c {
		steps = append(steps, step{1, 1})
	}
	switch b {
	case '%':
		if v, ok := hex(text, 1, 2); ok && byte(v) == c {
			steps = append(steps, step{1, 3})
		}
		if len(text) >= 5 && text[1] == '2' && text[2] == '5' {
			if v, ok := hex(text, 3, 2); ok && byte(v) == c {
				steps = append(steps, step{1, 5})
			}
		}
	case '+':
		if c == ' ' {
			steps = append(steps, step{1, 1})
		}
	case '&':
		steps = p.entity(steps, text, i)
	case 0x83: // zsh, which keeps some bytes in two, shows the word of a case so
		if len(text) > 1 && text[1]^0x20 == c {
			steps = append(steps, step{1, 2})
		}
	case '\'', '"':
		if c == b && len(text) > 1 && text[1] == b {
			steps = append(steps, step{1, 2})
		}
	case '\\':
		for n := 1; n <= maxBackslashes && n < len(text); n++ {
			steps = p.escape(steps, text, n, i)
			if text[n] != '\\' {
				break
			}
		}
	}
	return steps
}

// escapes are the letters that stand for control characters.
var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'a': '\a', 'b': '\b', 'f': '\f', 'v': '\v', 'e': 0x1b, 'E': 0x1b}

// escape looks at what follows n backslashes.
func (p *pattern) escape(steps []step, text []byte, n, i int) []step {
	c, b := p.text[i], text[n]
	add := func(length int) { steps = append(steps, step{1, length}) }
	if b == c {
		add(n + 1)
	}
	if v, ok := escapes[b]; ok && v == c {
		add(n + 1)
	}
	switch {
	case b >= '0' && b <= '7':
		v := 0
		for k := n; k < n+3 && k < len(text) && text[k] >= '0' && text[k] <= '7'; k++ {
			if v = v*8 + int(text[k]-'0'); v == int(c) {
				add(k + 1)
			}
		}
	case (b == 'x' || b == 'u') && n+1 < len(text) && text[n+1] == '[': // ksh93, where a digit follows
		end := n + 2
		for end < len(text) && end < n+10 && text[end] != ']' {
			end++
		}
		if v, ok := hex(text, n+2, end-n-2); ok && end < len(text) && text[end] == ']' {
			if b == 'x' && v == rune(c) {
				add(end + 1)
			}
			steps = p.character(steps, v, end+1, i)
		}
	case b == 'x':
		for digits := 1; digits <= 2; digits++ {
			if v, ok := hex(text, n+1, digits); ok {
				if v == rune(c) {
					add(n + 1 + digits)
				}
				steps = p.character(steps, v, n+1+digits, i) // Python's, of characters below 256
			}
		}
	case b == 'u':
		if v, ok := hex(text, n+1, 4); ok {
			steps = p.character(steps, v, n+5, i)
			// Beyond the first plane JSON needs two, each behind as many backslashes.
			second := n + 5
			if v >= 0xd800 && v < 0xdc00 && len(text) >= second+n+5 && string(text[second:second+n]) == string(text[:n]) && text[second+n] == 'u' {
				if w, ok := hex(text, second+n+1, 4); ok && w >= 0xdc00 && w < 0xe000 {
					steps = p.character(steps, 0x10000+(v-0xd800)<<10+(w-0xdc00), second+n+5, i)
				}
			}
		}
	case b == 'U':
		if v, ok := hex(text, n+1, 8); ok {
			steps = p.character(steps, v, n+9, i)
		}
	case b == 'C' || b == 'M':
		if length, v := zsh(text[n:]); length > 0 && v == c {
			add(n + length)
		}
	}
	return steps
}

// zsh reads C-x, M-x and M-\C-x.
func zsh(text []byte) (length int, value byte) {
	if len(text) < 3 || text[1] != '-' {
		return 0, 0
	}
	if text[0] == 'C' {
		switch c := text[2]; {
		case c == '?':
			return 3, 0x7f
		case c >= '@' && c <= '_':
			return 3, c & 0x1f
		}
		return 0, 0
	}
	if text[2] == '\\' && len(text) >= 6 && text[3] == 'C' {
		if length, value = zsh(text[3:]); length > 0 {
			return length + 3, value | 0x80
		}
	}
	return 3, text[2] | 0x80
}

// entities of XML and HTML.
var entities = map[string]byte{"amp": '&', "lt": '<', "gt": '>', "quot": '"', "apos": '\''}

func (p *pattern) entity(steps []step, text []byte, i int) []step {
	end := 1
	for end < len(text) && end < maxEntity && text[end] != ';' {
		end++
	}
	if end >= len(text) || text[end] != ';' || end < 3 {
		return steps
	}
	name := text[1:end]
	if name[0] != '#' {
		if v, ok := entities[string(name)]; ok && v == p.text[i] {
			steps = append(steps, step{1, end + 1})
		}
		return steps
	}
	var v rune
	ok := true
	if name[1] == 'x' || name[1] == 'X' {
		v, ok = hex(name, 2, len(name)-2)
	} else {
		for _, d := range name[1:] {
			ok = ok && d >= '0' && d <= '9'
			v = v*10 + rune(d-'0')
		}
	}
	if ok {
		steps = p.character(steps, v, end+1, i)
	}
	return steps
}

// character appends a spelling by the character's number.
func (p *pattern) character(steps []step, v rune, length, i int) []step {
	switch {
	case v < utf8.RuneSelf && v == rune(p.text[i]):
		steps = append(steps, step{1, length})
	case v >= utf8.RuneSelf && v == p.runes[i]:
		steps = append(steps, step{utf8.RuneLen(v), length})
	}
	return steps
}

// hex reads so many digits at an index.
func hex(text []byte, at, digits int) (v rune, ok bool) {
	if digits < 1 || at+digits > len(text) {
		return 0, false
	}
	for _, d := range text[at : at+digits] {
		switch {
		case d >= '0' && d <= '9':
			d -= '0'
		case d >= 'a' && d <= 'f':
			d -= 'a' - 10
		case d >= 'A' && d <= 'F':
			d -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | rune(d)
	}
	return v, true
}

// quotes is how many bytes at the beginning of text a shell may have put between two characters.
func quotes(text []byte) int {
	n := 0
	for n < len(text) && n < maxQuotes {
		switch text[n] {
		case '\'', '"':
		case '$':
			if n+1 >= len(text) || text[n+1] != '\'' && text[n+1] != '"' {
				return n
			}
		default:
			return n
		}
		n++
	}
	return n
}

// longest is the most bytes in which the secret can be spelled.
func (p *pattern) longest() int { return len(p.text) * maxSpelling }

// beginnings marks the two bytes with which a spelling can begin.
func (p *pattern) beginnings(begins *[1 << 16]bool) {
	first, second := []byte{p.text[0]}, []byte(special+string(p.text[1:2]))
	for i, c := range p.text[:2] {
		if c == ' ' && i == 0 {
			first = append(first, '+')
		} else if c == ' ' {
			second = append(second, '+')
		}
	}
	for _, a := range first {
		for _, b := range second {
			begins[int(a)<<8|int(b)] = true
		}
	}
	for _, a := range []byte("\\%&\x83") {
		for b := range 256 {
			begins[int(a)<<8|b] = true
		}
	}
}

// scratch is memory for match.
type scratch struct {
	ends  [][]int // where text may stand when so many bytes of the secret are spelled
	steps []step
}

// match is the length of the longest spelling of the secret with which text begins, 0 when it begins with
// none.
func (p *pattern) match(text []byte, s *scratch) int {
	n := len(p.text)
	for len(s.ends) <= n {
		s.ends = append(s.ends, nil)
	}
	ends := s.ends[:n+1]
	reached := 0 // the last index with an end; all behind it are empty
	ends[0] = append(ends[0][:0], 0)
	for i := 0; i < n && i <= reached; i++ {
		for _, at := range ends[i] {
			if at >= len(text) {
				continue
			}
			s.steps = p.spellings(s.steps[:0], text[at:], i)
			for _, st := range s.steps {
				to := i + st.secret
				for reached < to {
					reached++
					ends[reached] = ends[reached][:0]
				}
				end := at + st.text
				ends[to] = include(ends[to], end)
				if to < n {
					for q := range quotes(text[end:]) {
						ends[to] = include(ends[to], end+q+1)
					}
				}
			}
		}
	}
	if reached < n || len(ends[n]) == 0 {
		return 0
	}
	longest := 0
	for _, end := range ends[n] {
		longest = max(longest, end)
	}
	return longest
}

func include(list []int, v int) []int {
	for _, have := range list {
		if have == v {
			return list
		}
	}
	return append(list, v)
}
