package envfile_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// shell is one of the shells in which the env file must mean the same.
type shell struct {
	name string
	argv []string
	// leaksUnderV: ksh93 reads a file in blocks and echoes them before it runs their first line, so
	// nothing in the file can stop set -v there. The documentation says so.
	leaksUnderV bool
	// quiet: not even the guard's own line is in the trace.
	quiet bool
}

var shells = []shell{
	{name: "dash", argv: []string{"dash"}, quiet: true},
	{name: "bash", argv: []string{"bash"}, quiet: true},
	{name: "bash-posix", argv: []string{"bash", "--posix"}, quiet: true},
	{name: "busybox", argv: []string{"busybox", "sh"}, quiet: true},
	{name: "zsh", argv: []string{"zsh"}},
	{name: "zsh-sh", argv: []string{"zsh", "--emulate", "sh"}},
	{name: "ksh93", argv: []string{"ksh93"}, leaksUnderV: true},
	{name: "mksh", argv: []string{"mksh"}},
}

// locales: in one a byte is a character, in the other some bytes are no characters at all.
var locales = []string{"C", "C.UTF-8"}

// find gives the shell's program, skips the test where it is not installed, and fails it where the
// environment says that everything must be.
func (s shell) find(t testing.TB) []string {
	t.Helper()
	return append([]string{testneeds.Program(t, s.argv[0])}, s.argv[1:]...)
}

// sourced is what a script saw that sourced files.
type sourced struct {
	env     map[string]string // as a child of the shell gets it
	trace   string            // stderr
	before  string            // $- before the first file
	after   string            // $- after the last one
	status  string            // $? after the last one
	guard   string            // MOLTEN_TRACE after the last one
	folder  string            // where it ran
	touched []string          // what lies there afterwards beside the files
}

// source runs a script that sources the files in turn, in a folder of its own.
//
// The values are not read with $(…), which drops final newlines, nor with read or printf, which have
// opinions: a child process prints the environment it was given, byte by byte.
func source(t testing.TB, argv []string, flags, locale string, files ...[]byte) sourced {
	t.Helper()
	folder := t.TempDir()
	var script strings.Builder
	script.WriteString("echo \"$-\" >before\n")
	for i, text := range files {
		name := fmt.Sprintf("%d.env", i)
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, ". ./%s\n", name)
	}
	// $? is looked at first, before anything else sets it.
	script.WriteString("echo \"$?\" >status\necho \"$-\" >after\necho \"${MOLTEN_TRACE-unset}\" >guard\nexec /usr/bin/env -0 >env\n")
	if err := os.WriteFile(filepath.Join(folder, "script"), []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	argv = slices.Clone(argv)
	if flags != "" {
		argv = append(argv, flags)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], "script")...)
	cmd.Dir = folder
	cmd.Env = []string{"PATH=/nonexistent", "HOME=" + folder, "LC_ALL=" + locale}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v %s: %v\n%s%s", argv, locale, err, &stdout, &stderr)
	}
	if stdout.Len() > 0 {
		t.Errorf("it printed %q", &stdout)
	}
	s := sourced{env: map[string]string{}, trace: stderr.String(), folder: folder}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	s.before, s.after, s.status, s.guard = read("before"), read("after"), read("status"), read("guard")
	for _, pair := range strings.Split(read("env"), "\x00") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			s.env[name] = value
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{"before", "status", "after", "guard", "env", "script"}, e.Name()) && !strings.HasSuffix(e.Name(), ".env") {
			s.touched = append(s.touched, e.Name())
		}
	}
	return s
}

// nasty are values that some shell, somewhere, would not give back if they were written carelessly.
// Each that can be seen holds the word hidden, for the search in the trace; TOUCH stands for what
// would leave a file behind if it ran.
var nasty = map[string]string{
	"plain":         "hidden",
	"empty":         "",
	"quote":         "'",
	"quotes":        `hidden'"''""'\''"'"'`,
	"double":        `"hidden"`,
	"dollar":        "$hidden ${hidden} $$ $1 $? ${hidden:-x}",
	"substitution":  "$(>touched) hidden $(( 1 + 1 ))",
	"backticks":     "`>touched` hidden",
	"breakout":      "hidden'; >touched; '",
	"breakout2":     "hidden\\'; >touched; \\'",
	"newlines":      "hidden\n\nhidden\n\n\n",
	"newline":       "\n",
	"command":       "\n>touched\nhidden",
	"return":        "hidden\r\nhidden\r",
	"backslashes":   `\hidden\\n\t\0\c\'\`,
	"backslash":     `\`,
	"trailing":      `hidden\\\`,
	"dashes":        "-n hidden",
	"option":        "--hidden",
	"glob":          "* ? [a-z] ~ ~root {hidden,b} !(x) **",
	"history":       "!! !hidden ^a^b",
	"comment":       "# hidden",
	"redirection":   "> touched < /dev/null & | ; hidden",
	"blanks":        "  hidden \t  ",
	"utf8":          "hidden påsswörd 密码 🔑 \u00a0\u200b\u2028",
	"controls":      "hidden\x01\x02\x03\x07\x08\x0b\x0c\x1b[31m\x7f",
	"equals":        "hidden=hidden=",
	"tilde":         "~/hidden:~/hidden",
	"assignment":    "hidden A=1 export B=2",
	"heredoc":       "<<EOF\nhidden\nEOF\n",
	"percent":       "%s %n hidden %%",
	"guard":         "hidden\ncase $MOLTEN_TRACE in *x*) set -x;; esac\n",
	"4k":            strings.Repeat("hidden' \\\n$(>touched)", 205),
	"4k-of-quotes":  strings.Repeat("'", 4096),
	"4k-of-letters": strings.Repeat("hidden0123456789", 256),
	"every":         every(),
}

// every is a value of all bytes but NUL; in a UTF-8 locale half of them are no characters.
func every() string {
	b := make([]byte, 255)
	for i := range b {
		b[i] = byte(i + 1)
	}
	return "hidden" + string(b) + string(b)
}

// carrying makes an allocation that carries the values in every place where a person can put one.
func carrying(values map[string]string) (*pool.Allocation, map[string]string) {
	a := sample()
	want := map[string]string{}
	a.Nodes[0].Properties = map[string]string{}
	n := 0
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := values[name]
		key := fmt.Sprintf("k%d", n)
		n++
		a.Nodes[0].Properties[key] = v
		want["MOLTEN_NODE_1_PROP_"+strings.ToUpper(key)] = v
		a.Nodes[0].BMC.Password = secret.New(v)
		a.Nodes[0].BMC.Username = v
		a.Owner = v
	}
	for _, name := range []string{"IPMI_PASSWORD", "IPMITOOL_PASSWORD", "MOLTEN_NODE_1_IPMI_PASSWORD"} {
		want[name] = a.Nodes[0].BMC.Password.Reveal()
	}
	want["IPMI_USERNAME"], want["MOLTEN_OWNER"] = a.Nodes[0].BMC.Username, a.Owner
	return a, want
}

// check says what is wrong with what the shell ended up with.
func (s sourced) check(t testing.TB, want map[string]string) {
	t.Helper()
	for name, w := range want {
		if got, ok := s.env[name]; !ok || got != w {
			t.Errorf("%s is %.300q, want %.300q", name, got, w)
		}
	}
	if s.status != "0\n" {
		t.Errorf("$? after the file is %q", s.status)
	}
	if s.before != s.after {
		t.Errorf("the flags were %q and are now %q", s.before, s.after)
	}
	if len(s.touched) > 0 {
		t.Errorf("something was executed and left %q", s.touched)
	}
	if s.guard != "unset\n" {
		t.Errorf("MOLTEN_TRACE is left as %q", s.guard)
	}
}

func TestShells(t *testing.T) {
	a, want := carrying(nasty)
	text := write(t, a)
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			argv := sh.find(t)
			for _, locale := range locales {
				for _, flags := range []string{"", "-eu", "-aeu", "-x", "-xeu", "-v", "-vxeu"} {
					t.Run(locale+flags, func(t *testing.T) {
						s := source(t, argv, flags, locale, text, text)
						s.check(t, want)
						if strings.Contains(flags, "v") && sh.leaksUnderV {
							return
						}
						if strings.Contains(s.trace, "hidden") {
							t.Errorf("the trace shows a value: %.500q", s.trace)
						}
						if sh.quiet && strings.Contains(strings.ReplaceAll(s.trace, "${MOLTEN_TRACE-unset}", ""), "MOLTEN_TRACE") && !strings.Contains(flags, "v") {
							t.Errorf("the trace shows the guard: %.500q", s.trace)
						}
					})
				}
			}
		})
	}
}

// The search in the trace can fail: without the guard every shell shows the values.
func TestShellsLeakWithoutGuard(t *testing.T) {
	a, _ := carrying(map[string]string{"plain": "hidden"})
	_, unguarded, ok := bytes.Cut(write(t, a), []byte("2>/dev/null\n"))
	if !ok {
		t.Fatal("the guard is gone")
	}
	unguarded = append([]byte("MOLTEN_TRACE=\n"), unguarded...)
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			argv := sh.find(t)
			for _, flags := range []string{"-xeu", "-v"} {
				if s := source(t, argv, flags, "C", unguarded); !strings.Contains(s.trace, "hidden") {
					t.Errorf("%s without the guard shows no value, so the tests above prove nothing: %q", flags, s.trace)
				}
			}
		})
	}
}

// Sourcing another allocation's file leaves nothing of the first in the names that do not count nodes.
func TestShellsNothingStale(t *testing.T) {
	ipmi, redfish := sample(), sample()
	ipmi.Nodes = ipmi.Nodes[:1]
	redfish.Nodes = redfish.Nodes[1:]
	redfish.Slot = ""
	stale := func(env map[string]string, names ...string) (found []string) {
		for _, name := range names {
			if v, ok := env[name]; ok {
				found = append(found, name+"="+v)
			}
		}
		return found
	}
	ipmiNames := []string{"IPMI_ADDRESS", "IPMI_PORT", "IPMI_USERNAME", "IPMI_PASSWORD", "IPMITOOL_PASSWORD",
		"MOLTEN_NODE_1_IPMI_ADDRESS", "MOLTEN_NODE_1_IPMI_PORT", "MOLTEN_NODE_1_IPMI_USERNAME", "MOLTEN_NODE_1_IPMI_PASSWORD"}
	redfishNames := []string{"REDFISH_ENDPOINT", "REDFISH_USERNAME", "REDFISH_PASSWORD", "REDFISH_SYSTEM_ID",
		"MOLTEN_NODE_1_REDFISH_ENDPOINT", "MOLTEN_NODE_1_REDFISH_USERNAME", "MOLTEN_NODE_1_REDFISH_PASSWORD", "MOLTEN_NODE_1_REDFISH_SYSTEM_ID"}
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			argv := sh.find(t)
			s := source(t, argv, "-xeu", "C", write(t, ipmi), write(t, redfish))
			s.check(t, map[string]string{"REDFISH_ENDPOINT": "https://bmc2.example.org:8443", "MOLTEN_SLOT": "", "MOLTEN_CPUS": "", "MOLTEN_MACS": ""})
			if found := stale(s.env, ipmiNames...); found != nil {
				t.Errorf("after the redfish node's file there is still %q", found)
			}
			s = source(t, argv, "-xeu", "C", write(t, redfish), write(t, ipmi))
			s.check(t, map[string]string{"IPMI_ADDRESS": "2001:db8::1", "MOLTEN_SLOT": "left"})
			if found := stale(s.env, redfishNames...); found != nil {
				t.Errorf("after the ipmi node's file there is still %q", found)
			}
			s.check(t, map[string]string{
				"MOLTEN_NODE": "bm-01", "MOLTEN_NODES": "bm-01", "MOLTEN_NODE_COUNT": "1", "MOLTEN_ALLOCATION": "12",
				"MOLTEN_EXPIRES_AT": "2026-11-03T16:00:00Z", "MOLTEN_MAC": "de:ad:be:ef:00:01",
				"MOLTEN_MACS": "de:ad:be:ef:00:01 de:ad:be:ef:00:02", "MOLTEN_ARCH": "x86_64", "MOLTEN_CPUS": "8",
				"MOLTEN_RAM_MB": "2048", "MOLTEN_DISK_GB": "32", "MOLTEN_IPS": "10.1.2.3 10.1.2.4", "IPMI_PORT": "623",
			})
		})
	}
}

// A function that has the name of a variable which the file unsets is left alone.
func TestShellsLeaveFunctions(t *testing.T) {
	ipmi := sample()
	ipmi.Nodes = ipmi.Nodes[:1]
	function := []byte("REDFISH_ENDPOINT() { :; }\n")
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			source(t, sh.find(t), "-eu", "C", function, write(t, ipmi), []byte("REDFISH_ENDPOINT\n"))
		})
	}
}

// FuzzWriteShells: the input is cut at NULs into values, which together with some made from the seed
// go through one start of each shell; the trace with them must be, byte for byte, the trace with the letter x in their places.
// Starting shells is slow, so keep the fuzzer from minimising: -fuzzminimizetime 1x.
func FuzzWriteShells(f *testing.F) {
	for _, name := range slices.Sorted(maps.Keys(nasty)) {
		f.Add(nasty[name]+"\x00"+nasty[name]+"'", uint64(len(name)))
	}
	programs := map[string][]string{}
	for _, sh := range shells {
		if path, err := exec.LookPath(sh.argv[0]); err == nil {
			programs[sh.name] = append([]string{path}, sh.argv[1:]...)
		} else if testneeds.All() {
			f.Fatal(err)
		}
	}
	references := map[string]string{} // by shell, locale and number of values
	f.Fuzz(func(t *testing.T, input string, seed uint64) {
		values, plain := map[string]string{}, map[string]string{}
		for i, v := range append(strings.Split(input, "\x00"), invent(seed)...) {
			if len(v) > 8192 || i == 100 {
				return // Linux passes at most 128 KiB in a variable and 2 MiB in all
			}
			name := fmt.Sprintf("%03d", i)
			values[name], plain[name] = v, "x"
		}
		locale := locales[len(input)%2]
		a, want := carrying(values)
		text := write(t, a)
		for _, sh := range shells {
			argv, ok := programs[sh.name]
			if !ok {
				continue
			}
			s := source(t, argv, "-xeu", locale, text)
			s.check(t, want)
			key := fmt.Sprint(sh.name, locale, len(values))
			if _, ok := references[key]; !ok {
				b, _ := carrying(plain)
				references[key] = source(t, argv, "-xeu", locale, write(t, b)).trace
			}
			if shorten(s.trace) != shorten(references[key]) {
				t.Errorf("the trace depends on the values: %.500q, and with x it is %.500q", s.trace, references[key])
			}
			if t.Failed() {
				t.Fatalf("in %s, locale %s", sh.name, locale)
			}
		}
	})
}

// invent makes values of what shells give a meaning to; random bytes alone would seldom put two of
// these side by side.
func invent(seed uint64) []string {
	pieces := []string{"'", "'", "'", `\`, `\`, "$", "`", `"`, "\n", " ", "(", ")", "{", "}", "[", "]", "<", ">", "|", "&", ";", "#",
		"!", "~", "*", "?", "=", "%", "^", "-", "\t", "\r", "a", "0", "é", "\x01", "\x7f", "\x80", "\x81", "\x83", "\x88", "\xff", "IPMI", "\nexport A\n"}
	r := rand.New(rand.NewPCG(seed, 0))
	values := make([]string, 60)
	for i := range values {
		for range r.IntN(12) {
			values[i] += pieces[r.IntN(len(pieces))]
		}
	}
	return values
}

// shorten takes the line numbers out of a trace, which count the line breaks within values.
func shorten(trace string) string { return lineNumbers.ReplaceAllString(trace, "N") }

var lineNumbers = regexp.MustCompile(`[0-9]+`)
