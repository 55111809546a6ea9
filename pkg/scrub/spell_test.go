package scrub

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/secret"
)

func newScrubber(t testing.TB, secrets ...string) *Scrubber {
	t.Helper()
	var list []secret.Text
	for _, s := range secrets {
		list = append(list, secret.New(s))
	}
	s, _, err := New(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func scrubbed(t testing.TB, s *Scrubber, text string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	n, err := s.Copy(&out, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), n
}

// passwords are those that make encoders and shells work. In each, "Zeb" and "ra" show what was left.
var passwords = []string{
	"Zebra", "Zeb'ra", "Zeb''ra'", "'Zebra'", `Zeb"ra`, `Zeb\ra`, `Zeb\\ra\`, "Zeb ra", "Zeb$HOME ra", "Zeb`id`ra", "Zeb%ra", "Zeb%25ra", "Zeb+ra&<>",
	"Zeb/ra?x=y#z", "Zeb\nra", "Zeb\tra\r", "Zeb\x01\x1bra\x7f", "Zébra Zeb", "Zeb日本ra", "Zeb😀ra", "Zeb\xffra", "*Zeb?[ra]", "~Zeb!ra", "{Zeb};ra|", "-Zebra", "Zeb=ra", "Zeb,ra",
}

var left = []string{"Zeb", "ra", "Z\\e", "%5A"}

func shows(text string) bool {
	for _, s := range left {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// Each encoder of the standard library writes spellings that are found.
func TestEncoders(t *testing.T) {
	for _, p := range passwords {
		s := newScrubber(t, p)
		for name, encode := range map[string]func(string) string{
			"as it is":   func(s string) string { return s },
			"path":       url.PathEscape,
			"query":      url.QueryEscape,
			"path twice": func(s string) string { return url.PathEscape(url.PathEscape(s)) },
			"lower case": func(s string) string {
				return strings.NewReplacer("%2F", "%2f", "%5C", "%5c", "%0A", "%0a", "%C3", "%c3", "%A9", "%a9").Replace(url.PathEscape(s))
			},
			"every byte":  func(s string) string { return everyByte("%%%02X", s) },
			"hex bytes":   func(s string) string { return everyByte(`\x%02x`, s) },
			"octal bytes": func(s string) string { return everyByte(`\%03o`, s) },
			"json":        func(s string) string { b, _ := json.Marshal(s); return string(b) },
			"json ascii":  func(s string) string { return strconv.QuoteToASCII(s) },
			"json in json": func(s string) string {
				a, _ := json.Marshal(s)
				b, _ := json.Marshal(string(a))
				return string(b)
			},
			"go":   strconv.Quote,
			"html": html.EscapeString,
			"xml":  func(s string) string { var b bytes.Buffer; _ = xml.EscapeText(&b, []byte(s)); return b.String() },
			"csv": func(s string) string {
				var b strings.Builder
				w := csv.NewWriter(&b)
				_ = w.Write([]string{s, "x"})
				w.Flush()
				return b.String()
			},
			"bash":    func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" },
			"busybox": func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'" },
			"pattern": func(s string) string { return everyByte(`\%s`, s) },
		} {
			switch {
			case !utf8.ValidString(p) && (strings.Contains(name, "json") || name == "go" || name == "xml"),
				name == "xml" && strings.ContainsRune(p, 1):
				continue // it would be another password then
			}
			text := "x=" + encode(p) + "; y"
			got, n := scrubbed(t, s, text)
			if n != 1 || shows(got) || !strings.HasPrefix(got, "x=") || !strings.HasSuffix(strings.TrimSuffix(got, "\n"), "y") && name != "csv" {
				t.Errorf("%s of %q: %q became %q, %d places", name, p, text, got, n)
			}
		}
	}
}

func everyByte(format, s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.HasSuffix(format, "s") {
			fmt.Fprintf(&b, format, s[i:i+1])
			continue
		}
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

// What shells print of their own work under set -x is found, in each shell that is here.
func TestShellTraces(t *testing.T) {
	const script = `set -x
echo "$P" >/dev/null
A=$P
B="x$P y"
[ "$P" = no ]
case $P in no) ;; esac
for i in "$P"; do :; done
export C="$P"
eval "D=\$P"
test -n "$A$B$C$D"
`
	const more = `[[ $Q == "$P" ]]
[[ $Q == *"$P"* ]]
[[ -n $P ]]
printf '%q\n' "$P"
L=("$P" 'b')
typeset E="$P"
`
	for _, shell := range []struct {
		argv []string
		more bool
	}{
		{[]string{"dash"}, false}, {[]string{"bash"}, true}, {[]string{"bash", "--posix"}, true}, {[]string{"busybox", "sh"}, false},
		{[]string{"zsh"}, true}, {[]string{"ksh93"}, true}, {[]string{"mksh"}, true},
	} {
		t.Run(strings.Join(shell.argv, " "), func(t *testing.T) {
			t.Parallel()
			testneeds.Program(t, shell.argv[0])
			text := script
			if shell.more {
				text += more
			}
			for _, locale := range []string{"C", "C.UTF-8"} {
				for _, p := range passwords {
					cmd := exec.Command(shell.argv[0], append(shell.argv[1:], "-c", text)...)
					cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "P=" + p, "Q=hello", "LC_ALL=" + locale}
					out, _ := cmd.CombinedOutput() // its status is that of a test that fails
					if !strings.Contains(string(out), "/dev/null") && !strings.Contains(string(out), "echo") {
						t.Fatalf("no trace: %q", out)
					}
					// The command line of -c is not traced, so Zeb and ra are the password's.
					got, n := scrubbed(t, newScrubber(t, p), string(out))
					if n < 5 || shows(strings.ReplaceAll(got, "typeset", "")) {
						t.Errorf("%q, LC_ALL=%s: %d places in\n%s\nbecame\n%s", p, locale, n, out, got)
					}
				}
			}
		})
	}
}

// Python writes as DevStack's services and tempest do.
func TestPython(t *testing.T) {
	const script = `
import html, json, shlex, sys, urllib.parse
def forms(p):
    yield from (repr(p), repr([p, "'"]), ascii(p), "%r" % p.encode(), shlex.quote(p), html.escape(p))
    yield from (json.dumps(p), json.dumps({"a": json.dumps(p)}), json.dumps(p, ensure_ascii=False))
    yield from (urllib.parse.quote(p), urllib.parse.quote(p, safe=""), urllib.parse.quote_plus(p), urllib.parse.urlencode({"q": p}))
print(json.dumps([list(forms(p)) for p in json.load(sys.stdin)]))
`
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	var texts []string
	for _, p := range passwords {
		if utf8.ValidString(p) { // else it is no text for Python
			texts = append(texts, p)
		}
	}
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-c", script)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var forms [][]string
	if err := json.Unmarshal(out, &forms); err != nil {
		t.Fatal(err)
	}
	for i, p := range texts {
		s := newScrubber(t, p)
		for _, form := range forms[i] {
			if got, n := scrubbed(t, s, form); n != 1 || shows(got) {
				t.Errorf("%q: %q became %q, %d places", p, form, got, n)
			}
		}
	}
}

// What only resembles a password stays.
func TestNoSpelling(t *testing.T) {
	s := newScrubber(t, "Zeb'ra", "p+q r")
	for _, text := range []string{
		"Zebra", "Zeb", "Zeb''r", `Zeb\`, `Zeb\'`, "Zeb%2", "Zeb%27", "Zeb%2Gra", "Zeb&#39", "Zeb&apos", "Zeb&;ra", "Zeb&unknown;ra", "zeb'ra", `Zeb\u0028ra`, `Zeb\u002`,
		"Zeb\"\"\"\"\"\"'ra", strings.Repeat(`\`, 300), "p+q-r", "pq r", "p%2Bqr", "%", "&#;", "&#x;", `\U`, `\M-`, `\C-`, "",
	} {
		if got, n := scrubbed(t, s, text); n != 0 || got != text {
			t.Errorf("%q became %q, %d places", text, got, n)
		}
	}
}

func TestBasicAuth(t *testing.T) {
	p := base64.StdEncoding.EncodeToString([]byte("admin:Zeb'ra"))
	if got, n := scrubbed(t, newScrubber(t, p), "Authorization: Basic "+p+"\r\n"); n != 1 || got != "Authorization: Basic [redacted]\r\n" {
		t.Errorf("%q, %d places", got, n)
	}
}
