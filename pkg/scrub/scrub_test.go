package scrub

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/molteniron/molteniron/pkg/secret"
)

func TestNew(t *testing.T) {
	var every strings.Builder
	for c := byte(1); c < 0x80; c++ {
		every.WriteByte(c)
	}
	for _, tt := range []struct {
		secrets []string
		short   int
		want    string // of "<SECRET>" for the last secret
	}{
		{[]string{"Zebra"}, 0, "<[redacted]>"},
		{[]string{"abc", "", "ab", "Zebra", "abc"}, 2, "<[redacted]>"}, // each counts once
		{[]string{"reda"}, 0, "<********>"},                            // it would stand in its own mark
		{[]string{"Zeb]ra"}, 0, "<********>"},
		{[]string{"Zeb[*ra"}, 0, "<========>"},
		{[]string{"Zeb\x1bra"}, 0, "<********>"}, // \C-[
	} {
		var list []secret.Text
		for _, s := range tt.secrets {
			list = append(list, secret.New(s))
		}
		s, short, err := New(list)
		if err != nil || short != tt.short {
			t.Errorf("%q: %d short, %v", tt.secrets, short, err)
			continue
		}
		if got, _ := scrubbed(t, s, "<"+tt.secrets[len(tt.secrets)-1]+">"); got != tt.want && tt.short == 0 {
			t.Errorf("%q: %q, want %q", tt.secrets, got, tt.want)
		}
	}
	if _, _, err := New([]secret.Text{secret.New(every.String())}); err == nil {
		t.Error("a secret of all signs finds a mark")
	}
}

func TestCopy(t *testing.T) {
	for _, tt := range []struct {
		secrets    []string
		text, want string
		places     int
	}{
		{nil, "Zebra", "Zebra", 0},
		{[]string{"Zebra"}, "", "", 0},
		{[]string{"Zebra"}, "Zebra", "[redacted]", 1},
		{[]string{"Zebra"}, "a Zebra, ZebraZebra; Zebr", "a [redacted], [redacted][redacted]; Zebr", 3},
		{[]string{"Zebra", "Zebra two"}, "Zebra two Zebra", "[redacted] [redacted]", 2}, // the longest
		{[]string{"abcdef", "defghi"}, "abcdefghi", "[redacted]", 1},                    // both, where they overlap
		{[]string{"aaaa"}, strings.Repeat("a", 99) + "b" + "aaa", "[redacted]baaa", 1},  // so nothing of one is left
		{[]string{"Zebra"}, "Zebra\x00bin", "*****\x00bin", 1},                          // what is no text keeps its length
		{[]string{"Zebra"}, "\x00%5aebra\\\\Zebra", "\x00**************", 2},            //
		{[]string{"Zeb'ra"}, `'Zeb'\''ra'` + "\n", "'[redacted]'\n", 1},                 //
		{[]string{"Zebra"}, "Ze\x1b[31mbra", "Ze\x1b[31mbra", 0},                        // colours within are beyond us
		{[]string{"pa ss", "ss wd"}, "pa%20ss%20wd", "[redacted]", 1},                   //
		{[]string{"Zebra"}, strings.Repeat("ZebZebr", 50) + "Zebra", strings.Repeat("ZebZebr", 50) + "[redacted]", 1},
	} {
		s := newScrubber(t, tt.secrets...)
		if got, n := scrubbed(t, s, tt.text); got != tt.want || n != tt.places {
			t.Errorf("%q of %q: %q at %d places, want %q at %d", tt.secrets, tt.text, got, n, tt.want, tt.places)
		}
		if found, err := s.find(strings.NewReader(tt.text)); err != nil || found != (tt.places > 0) {
			t.Errorf("%q in %q: found %v, %v", tt.secrets, tt.text, found, err)
		}
	}
}

// A secret is found wherever it lies to the borders of what is read at a time.
func TestBorders(t *testing.T) {
	s := newScrubber(t, "Zeb'ra")
	for _, spelling := range []string{"Zeb'ra", `Zeb'\''ra`, "%5A%65%62%27%72%61"} {
		for shift := range len(spelling) + 2 {
			before := strings.Repeat("x", window+2*s.longest-shift)
			after := strings.Repeat("y", 3*window)
			got, n := scrubbed(t, s, before+spelling+after)
			if n != 1 || got != before+"[redacted]"+after {
				t.Fatalf("%s, %d before the border: %d places", spelling, shift, n)
			}
		}
	}
}

func TestCopyErrors(t *testing.T) {
	s := newScrubber(t, "Zebra")
	trouble := errors.New("trouble")
	if _, err := s.Copy(io.Discard, io.MultiReader(strings.NewReader("x Zebra"), iotest.ErrReader(trouble))); !errors.Is(err, trouble) {
		t.Errorf("reading: %v", err)
	}
	if _, err := s.Copy(failing{trouble}, strings.NewReader("x Zebra")); !errors.Is(err, trouble) {
		t.Errorf("writing a little: %v", err)
	}
	if _, err := s.Copy(failing{trouble}, strings.NewReader(strings.Repeat("x Zebra", window))); !errors.Is(err, trouble) {
		t.Errorf("writing much: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// The memory does not grow with what is copied.
func TestMemory(t *testing.T) {
	s := newScrubber(t, "Zebra of the first machine", "it's another")
	line := []byte("2026-11-24 12:00:00.123 | + ironic create --driver-info ipmi_password='it'\\''s another' \"%20\" Zebra\n")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := s.Copy(io.Discard, &repeat{line, 32 << 20})
	runtime.ReadMemStats(&after)
	if want := 32 << 20 / len(line); err != nil || n < want-1 || n > want {
		t.Errorf("%d places, want %d; %v", n, want, err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("32 MiB took %d KiB of memory", grown>>10)
	}
}

// repeat gives a line again and again until so many bytes are given.
type repeat struct {
	line []byte
	left int
}

func (r *repeat) Read(p []byte) (n int, err error) {
	for n < len(p) && r.left >= len(r.line) {
		k := copy(p[n:], r.line)
		if k < len(r.line) {
			if n == 0 {
				n += k
			}
			break
		}
		n += k
		r.left -= k
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func BenchmarkCopy(b *testing.B) {
	s := newScrubber(b, "Zebra of the first machine", "it's another", "e.password-2", "another password")
	line := []byte("2026-11-24 12:00:00.123 DEBUG oslo_concurrency.processutils [None req-7a8b nova service] CMD \"ipmitool -I lanplus -H 192.0.2.1\" returned: 0 in 0.042s\n")
	b.SetBytes(16 << 20)
	for b.Loop() {
		if n, err := s.Copy(io.Discard, &repeat{line, 16 << 20}); n != 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// naive blanks what stands in text as it is, the slow way, for text that holds no byte of another spelling.
func naive(secrets []string, text, mark string) (string, int) {
	blank := make([]bool, len(text)+1)
	starts := make([]bool, len(text)+1)
	for _, s := range secrets {
		for i := range text {
			if strings.HasPrefix(text[i:], s) {
				starts[i] = true
				for k := range len(s) {
					blank[i+k] = true
				}
			}
		}
	}
	var out strings.Builder
	places := 0
	until := 0
	for i := range len(text) {
		if starts[i] && i >= until {
			places++
			out.WriteString(mark)
		}
		if starts[i] {
			for _, s := range secrets {
				if strings.HasPrefix(text[i:], s) {
					until = max(until, i+len(s))
				}
			}
		}
		if !blank[i] {
			out.WriteByte(text[i])
		}
	}
	return out.String(), places
}

// Whatever the secrets, the text and the sizes in which it is read: no secret is left, in no spelling, and
// all else is as it was.
func FuzzCopy(f *testing.F) {
	f.Add("Zebra", "it's", "a Zebra 'it'\\''s' %5aebra", byte(3), byte(0))
	f.Add("aaaa", "aaab", "aaaaaaaab aaa", byte(1), byte(1))
	f.Add("redacted", "[red", "[redacted] redacted [red", byte(2), byte(2))
	f.Add("Zeb ra+", "\x00\x01\x02\x03", "\x00 Zeb+ra%2B \\u0000\\x01\\002\\C-C", byte(9), byte(3))
	f.Add("****", "====", "********", byte(1), byte(4))
	f.Add("\\\\\\\\", "\\'\"$", "\\\\\\\\\\\\\\\\", byte(7), byte(5))
	f.Fuzz(func(t *testing.T, a, b, text string, size, spelling byte) {
		if len(a) > 40 || len(b) > 40 || len(text) > 2000 {
			return
		}
		var secrets []string
		var list []secret.Text
		for _, p := range []string{a, b} {
			list = append(list, secret.New(p))
			if len(p) >= least && !slices.Contains(secrets, p) {
				secrets = append(secrets, p)
			}
		}
		s, _, err := New(list)
		if err != nil {
			return
		}
		if len(secrets) > 0 { // one spelling that is there for certain
			text = text[:len(text)/2] + spell(secrets[0], spelling) + text[len(text)/2:]
		}
		want, n := scrubbed(t, s, text)
		if len(secrets) > 0 && n == 0 {
			t.Fatalf("nothing of %q is found in %q", secrets, text)
		}
		if len(secrets) == 0 && want != text {
			t.Fatalf("%q became %q without a secret", text, want)
		}
		// The same, whatever the pieces in which it is read.
		small, _, _ := New(list)
		small.window = int(size) + 1
		var out bytes.Buffer
		m, err := small.Copy(&out, iotest.OneByteReader(strings.NewReader(text)))
		binary := strings.IndexByte(text[:min(len(text), binaryWithin)], 0) >= 0
		if early := strings.IndexByte(text[:min(len(text), small.window+2*small.longest)], 0) >= 0; err != nil || early == binary && (m != n || out.String() != want) {
			t.Fatalf("in pieces of %d: %q at %d places, else %q at %d", size, out.String(), m, want, n)
		}
		// Nothing is left.
		for i := range want {
			if s.match([]byte(want[i:])) > 0 {
				t.Fatalf("of %q in %q there is left %q, in %q", secrets, text, want[i:], want)
			}
		}
		if binary && len(want) != len(text) {
			t.Fatalf("%q had %d bytes and has %d", text, len(text), len(want))
		}
		// All else is as it was: the text, cut at the marks, comes in pieces from the text.
		if !binary && !strings.ContainsAny(text, string(s.mark[0])) {
			rest := text
			for i, piece := range strings.Split(want, string(s.mark)) {
				at := strings.Index(rest, piece)
				if at < 0 || i == 0 && at != 0 {
					t.Fatalf("%q is not of %q", piece, text)
				}
				rest = rest[at+len(piece):]
			}
		}
		if !binary && !strings.ContainsAny(text, special[:len(special)-1]+"+") && strings.IndexByte(text, 0x83) < 0 {
			if slow, m := naive(secrets, text, string(s.mark)); slow != want || m != n {
				t.Fatalf("%q at %d places, the slow way %q at %d", want, n, slow, m)
			}
		}
	})
}

// spell spells each byte in one of the ways, in turn from the given one on.
func spell(p string, from byte) string {
	var b strings.Builder
	for i := range len(p) {
		switch (int(from) + i) % 6 {
		case 1:
			b.WriteString(everyByte("%%%02x", p[i:i+1]))
		case 2:
			b.WriteString(everyByte(`\%03o`, p[i:i+1]))
		case 3:
			b.WriteString(everyByte(`\x%02X`, p[i:i+1]))
		case 4:
			b.WriteString(`\\\` + p[i:i+1])
		case 5:
			b.WriteString(p[i : i+1])
			if i+1 < len(p) {
				b.WriteString(`'$'`)
			}
		default:
			b.WriteString(p[i : i+1])
		}
	}
	return b.String()
}
