package envfile_test

import (
	"bufio"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// The rules by which Jenkins' EnvInject plugin reads a properties file, old versions and new: those of
// java.util.Properties, with what the plugin does before and after. testdata/EnvInject.java has them once more, with
// the JVM's own class; where there is a JVM, the two are held to each other.

var injectEnv = map[string]string{"HOME": "/expanded", "a": "expanded", "A": "expanded", "0": "expanded"}

var macro = regexp.MustCompile(`\$([A-Za-z0-9_]+|\{[A-Za-z0-9_.]+\}|\$)`)

// expand is Jenkins' Util.replaceMacro: $NAME and ${NAME} if they are set, and $ for $$.
func expand(s string) string {
	return macro.ReplaceAllStringFunc(s, func(m string) string {
		if m == "$$" {
			return "$"
		}
		if v, ok := injectEnv[strings.Trim(m[1:], "{}")]; ok {
			return v
		}
		return m
	})
}

// inject gives the variables that a properties file makes.
func inject(text string, escapeFirst bool) map[string]string {
	if escapeFirst {
		text = escapeBackslashes(text)
	}
	vars := map[string]string{}
	for key, value := range loadProperties(text) {
		// Once by the loader, once more when all variables are resolved; what still has a $ is dropped.
		if value = trim(expand(trim(expand(value)))); !strings.Contains(value, "$") {
			vars[trim(expand(key))] = value
		}
	}
	return vars
}

// clash reports whether two names of a properties file become one.
func clash(text string, escapeFirst bool) bool {
	if escapeFirst {
		text = escapeBackslashes(text)
	}
	names := map[string]bool{}
	raw := loadProperties(text)
	for name := range raw {
		names[trim(expand(name))] = true
	}
	return len(names) < len(raw)
}

// trim is Java's.
func trim(s string) string { return strings.TrimFunc(s, func(c rune) bool { return c <= ' ' }) }

// escapeBackslashes is what the plugin does since 2.1: single backslashes stay, but before a few characters; the
// first two of a value are four.
func escapeBackslashes(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteByte(text[i])
		alone := text[i] == '\\' && (i == 0 || text[i-1] != '\\')
		if alone && (i+1 == len(text) || !strings.Contains("n:*?\"<>\\/\n", text[i+1:i+2])) {
			b.WriteByte('\\')
		}
	}
	// From the beginning of a line up to the first =, which need not be in that line.
	text = b.String()
	b.Reset()
	from := 0
	for _, start := range lineStarts.FindAllStringIndex(text, -1) {
		at := strings.IndexByte(text[start[1]:], '=') + start[1] + 1
		if start[1] < from || at <= start[1]+1 || !strings.HasPrefix(text[at:], `\\`) {
			continue
		}
		if at+2 == len(text) || !strings.Contains(":*?\"<>\\/", text[at+2:at+3]) {
			b.WriteString(text[from:at] + `\\\\`)
			from = at + 2
		}
	}
	return b.String() + text[from:]
}

// lineStarts are where Java lets a line begin.
var lineStarts = regexp.MustCompile(`^|\r\n|[\n\r\x{85}\x{2028}\x{2029}]`)

// loadProperties is java.util.Properties.load.
func loadProperties(text string) map[string]string {
	vars := map[string]string{}
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
	const blank = " \t\f"
	for i := 0; i < len(lines); i++ {
		line := strings.TrimLeft(lines[i], blank)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for oddBackslashes(line) {
			if line = line[:len(line)-1]; line == "" || i+1 == len(lines) {
				break
			}
			i++
			line += strings.TrimLeft(lines[i], blank)
		}
		if line == "" { // it was a backslash: to Java the next one is a first line
			continue
		}
		end := 0
		for end < len(line) && strings.IndexByte("=:"+blank, line[end]) < 0 {
			if line[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(line))
		rest := strings.TrimLeft(line[end:], blank)
		if rest != "" && (rest[0] == '=' || rest[0] == ':') {
			rest = strings.TrimLeft(rest[1:], blank)
		}
		vars[unescape(line[:end])] = unescape(rest)
	}
	return vars
}

func oddBackslashes(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}

func unescape(s string) string {
	var out []uint16
	units := utf16.Encode([]rune(s))
	for i := 0; i < len(units); i++ {
		c := units[i]
		if c != '\\' || i+1 == len(units) {
			out = append(out, c)
			continue
		}
		i++
		switch c = units[i]; c {
		case 't':
			c = '\t'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 'f':
			c = '\f'
		case 'u':
			n, err := strconv.ParseUint(string(utf16.Decode(units[i+1:min(i+5, len(units))])), 16, 16)
			if err != nil {
				panic("a malformed \\u")
			}
			c, i = uint16(n), i+4
		}
		out = append(out, c)
	}
	return string(utf16.Decode(out))
}

// TestEnvInjectRules holds the rules to what is known of the plugin, and where there is a JVM to its own class.
func TestEnvInjectRules(t *testing.T) {
	for text, want := range map[string][2]string{ // the variable A, by versions
		`A="x"`:              {`"x"`, `"x"`},
		"A = x ":             {"x", "x"},
		`A=a\\b`:             {`a\b`, `a\b`},
		`A=a\b`:              {"ab", `a\b`},
		`A=a\nb`:             {"a\nb", "a\nb"},
		"A=a\\\n  b":         {"ab", "ab"},
		`A=$HOME`:            {"/expanded", "/expanded"},
		`A=$$HOME`:           {"/expanded", "/expanded"},
		`A=\\x`:              {`\x`, `\\x`},
		`A=\\\\x`:            {`\\x`, `\\x`},
		"A:x=y":              {"x=y", "x=y"},
		"#A=x\n!A=x\n\n A=y": {"y", "y"},
		`A=\u0041`:           {"A", `\\u0041`},
	} {
		for i, escapeFirst := range []bool{false, true} {
			if got := inject(text, escapeFirst)["A"]; got != want[i] {
				t.Errorf("version %d of %q: %q, want %q", i, text, got, want[i])
			}
		}
	}

	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("no JVM to hold the rules to")
	}
	cmd := exec.CommandContext(t.Context(), java, "-Dfile.encoding=UTF-8", "-XX:TieredStopAtLevel=1", "testdata/EnvInject.java")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	pieces := []string{`\`, `\`, `\\`, "=", "=", "=", "A=", "\nA=", "\n", "\n", "\r", " ", "#", "!", ":", "n", "t", "f", "/", "*", `"`, "a", "A", "$", "${a}", "$$", "HOME", "é", "🔑", "\u2028", "\u0085", "\t", "\f"}
	r := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "properties")
	for range 1000 {
		text := ""
		for range 1 + r.IntN(14) {
			text += pieces[r.IntN(len(pieces))]
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, path+"\n"); err != nil {
			t.Fatal(err)
		}
		for i, escapeFirst := range []bool{false, true} {
			var pairs []string
			for {
				pair, err := out.ReadString(0)
				if err != nil {
					t.Fatal(err)
				}
				if pair == "\x00" {
					break
				}
				if pair[0] != '=' { // that is no name, and the rules differ in when a stray backslash makes one
					pairs = append(pairs, strings.TrimSuffix(pair, "\x00"))
				}
			}
			var want []string
			for k, v := range inject(text, escapeFirst) {
				if pair := k + "=" + v; pair[0] != '=' {
					want = append(want, pair)
				}
			}
			slices.Sort(pairs)
			slices.Sort(want)
			if clash(text, escapeFirst) { // which of two wins is chance
				continue
			}
			if diff := cmp.Diff(pairs, want); diff != "" {
				t.Errorf("version %d of %q (-Java +rules):\n%s", i, text, diff)
			}
		}
		if t.Failed() {
			break
		}
	}
	_ = in.(io.Closer).Close()
	_ = cmd.Wait()
}
