// Package scrub takes secrets out of logs before they are published. DevStack and shell scripts trace what
// they do, passwords included; a job archives those logs for everybody to read. What is blanked are the
// secrets that one build was given, in the spellings in which programs write them (spell.go); everything else
// stays as it was, byte for byte.
//
// Files may be larger than the memory, and compressed. They are replaced whole or not at all.
package scrub

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/molteniron/molteniron/pkg/secret"
)

// least is the length of the shortest secret that is looked for, in bytes: to blank each "abc" of a log
// would spoil it, and tell by its gaps what the secret is.
const least = 4

// Scrubber blanks a set of secrets. It is for one goroutine.
type Scrubber struct {
	patterns []pattern
	begins   [1 << 16]bool // two bytes with which a spelling of a secret can begin, by the first * 256 + the second
	longest  int
	mark     []byte // stands for a secret in text
	pad      byte   // stands for each byte of one where the length must stay
	window   int    // how much is read at a time, beside what a secret needs
	buffer   []byte
	scratch  scratch
}

// New makes a scrubber. Secrets shorter than four bytes are left out and counted. The error says that the
// secrets leave no sign free to stand for them.
func New(secrets []secret.Text) (s *Scrubber, short int, err error) {
	s = &Scrubber{window: window}
	seen := map[secret.Text]bool{}
	for _, t := range secrets {
		if seen[t] || t.IsZero() {
			continue
		}
		seen[t] = true
		if len(t.Reveal()) < least {
			short++
			continue
		}
		p := newPattern(t.Reveal())
		s.patterns = append(s.patterns, p)
		p.beginnings(&s.begins)
		s.longest = max(s.longest, p.longest())
	}
	return s, short, s.chooseMark()
}

// Empty reports whether there is nothing to look for.
func (s *Scrubber) Empty() bool { return len(s.patterns) == 0 }

// chooseMark finds what can stand for a secret: signs that are part of no spelling, so that what stands
// beside them cannot make a secret anew together with them.
func (s *Scrubber) chooseMark() error {
	free := func(c byte) bool {
		if strings.IndexByte(syntax, c) >= 0 {
			return false
		}
		for _, p := range s.patterns {
			if bytes.IndexByte(p.text, c) >= 0 || bytes.IndexByte(p.text, c|0x80) >= 0 || c >= '@' && c <= '_' && bytes.IndexByte(p.text, c&0x1f) >= 0 {
				return false
			}
		}
		return true
	}
	found := false
	for _, c := range []byte("*=.~!:,/|^_@<>()[]{}`kwyzhijRSTVWXYZ\x7f") {
		if free(c) {
			s.pad, found = c, true
			break
		}
	}
	if !found {
		return errors.New("the passwords together hold every sign that could stand in their place")
	}
	s.mark = []byte("[redacted]")
	if free('[') && free(']') {
		within := false
		for i := range s.mark {
			within = within || s.match(s.mark[i:]) > 0
		}
		if !within {
			return nil
		}
	}
	s.mark = bytes.Repeat([]byte{s.pad}, 8)
	return nil
}

// match is the length of the longest spelling of any secret with which text begins.
func (s *Scrubber) match(text []byte) int {
	longest := 0
	for i := range s.patterns {
		longest = max(longest, s.patterns[i].match(text, &s.scratch))
	}
	return longest
}

// window is how much is read at a time, in bytes.
const window = 256 << 10

// binaryWithin is how far a file is looked at for a zero byte, which no text has.
const binaryWithin = 8000

// errFound ends a search at the first place.
var errFound = errors.New("found")

// Copy copies what r gives to w without the secrets, and counts the places where they stood. What is no
// text keeps its length, so that an archive or a database among the logs can still be read. The memory that
// it takes does not depend on how much it copies.
func (s *Scrubber) Copy(w io.Writer, r io.Reader) (places int, err error) {
	out := bufio.NewWriterSize(w, 64<<10)
	places, err = s.copy(out, r, false)
	if err == nil {
		err = out.Flush()
	}
	return places, err
}

// find reports whether a secret stands in what r gives; it reads no further than the first.
func (s *Scrubber) find(r io.Reader) (bool, error) {
	_, err := s.copy(bufio.NewWriter(io.Discard), r, true)
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

func (s *Scrubber) copy(out *bufio.Writer, r io.Reader, first bool) (places int, err error) {
	if size := s.window + 2*s.longest; len(s.buffer) < size {
		s.buffer = make([]byte, size)
	}
	var (
		buf    []byte // what was read and not decided
		until  int    // of buf, how much is part of a secret
		ended  bool
		begun  bool
		binary bool
	)
	for {
		// Not io.ReadFull: a compressed file that was cut off is no end.
		for len(buf) < len(s.buffer) && !ended {
			n, err := r.Read(s.buffer[len(buf):])
			buf = s.buffer[:len(buf)+n]
			if errors.Is(err, io.EOF) {
				ended = true
			} else if err != nil {
				return places, err
			}
		}
		if !begun {
			begun, binary = true, bytes.IndexByte(buf[:min(len(buf), binaryWithin)], 0) >= 0
		}
		// What begins at the last places may not be there whole.
		limit := len(buf)
		if !ended {
			limit -= s.longest
		}
		kept := 0 // up to here it is written
		for at := 0; at < limit; at++ {
			if at >= until && (at+1 == len(buf) || !s.begins[int(buf[at])<<8|int(buf[at+1])]) {
				continue // nearly always
			}
			if end := at + s.match(buf[at:]); end > at && end > until {
				if first {
					return 1, errFound
				}
				if at >= until { // else it overlaps with the one before, and is blanked with it
					places++
					if at > kept {
						_, _ = out.Write(buf[kept:at]) // a bufio.Writer keeps its error for Flush
					}
					if !binary {
						_, _ = out.Write(s.mark)
					}
				}
				until = end
			}
			if at < until {
				if binary {
					_ = out.WriteByte(s.pad)
				}
				kept = at + 1
			}
		}
		if limit > kept {
			if _, err := out.Write(buf[kept:limit]); err != nil {
				return places, err
			}
		}
		if ended {
			return places, nil
		}
		until -= limit
		buf = s.buffer[:copy(s.buffer, buf[limit:])]
	}
}
