package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What `go test -json` says, shortened: a|b is the test b of package a.
func TestReport(t *testing.T) {
	tests := []struct {
		name   string
		events []string
		bad    bool // the command's exit status was not 0
		want   tally
		shows  []string
		hides  []string
	}{
		{
			name: "a package that passes takes one line",
			events: []string{
				`run p TestA`, `output p TestA chatter`, `pass p TestA`,
				`output p - PASS`, `pass p`,
			},
			want:  tally{passed: 1},
			shows: []string{"ok   p: 1 passed, "},
			hides: []string{"chatter", "PASS"},
		},
		{
			name: "a test with subtests is not counted beside them",
			events: []string{
				`run p TestA`, `run p TestA/x`, `run p TestA/x/deep`, `pass p TestA/x/deep`, `pass p TestA/x`,
				`run p TestA/y`, `pass p TestA/y`, `pass p TestA`, `pass p`,
			},
			want: tally{passed: 2},
		},
		{
			name: "a subtest that failed fails its parents but is counted once",
			events: []string{
				`run p TestA`, `run p TestA/x`, `output p TestA/x why`, `fail p TestA/x`,
				`run p TestA/y`, `pass p TestA/y`, `fail p TestA`, `fail p`,
			},
			bad:   true,
			want:  tally{passed: 1, failed: 1},
			shows: []string{"FAIL p TestA/x\nwhy\n", "FAIL p: 1 passed, 1 failed"},
		},
		{
			name: "a parent that fails by itself is counted",
			events: []string{
				`run p TestA`, `run p TestA/x`, `pass p TestA/x`, `output p TestA leak`, `fail p TestA`, `fail p`,
			},
			bad:   true,
			want:  tally{passed: 1, failed: 1},
			shows: []string{"FAIL p TestA\nleak\n"},
		},
		{
			name: "a skipped test tells why",
			events: []string{
				`run p TestA`, `output p TestA === RUN TestA`, `output p TestA a_test.go:1: no server`,
				`output p TestA --- SKIP: TestA`, `skip p TestA`, `pass p`,
			},
			want:  tally{skipped: 1},
			shows: []string{"SKIP p TestA: a_test.go:1: no server\n", "ok   p: 0 passed, 1 skipped"},
		},
		{
			name:   "a package without tests is nothing",
			events: []string{`output p - ? no test files`, `skip p`},
		},
		{
			name: "a build that fails is a failure",
			events: []string{
				`build-output p x.go:1: undefined: y`, `build-fail p`, `output p - FAIL p [build failed]`, `fail p`,
			},
			bad:   true,
			want:  tally{failed: 1},
			shows: []string{"FAIL build of p\nx.go:1: undefined: y\n", "FAIL p: 0 passed, 1 failed"},
		},
		{
			name: "a test that never ended is a failure, with its output",
			events: []string{
				`run p TestA`, `pass p TestA`, `run p TestB`, `output p TestB goroutine 7`, `fail p`,
			},
			bad:   true,
			want:  tally{passed: 1, failed: 1},
			shows: []string{"FAIL p TestB did not end\ngoroutine 7\n"},
		},
		{
			name:   "an end outside of any test is a failure, with the package's output",
			events: []string{`run p TestA`, `pass p TestA`, `output p - exit status 3`, `fail p`},
			bad:    true,
			want:   tally{passed: 1, failed: 1},
			shows:  []string{"FAIL p: 1 passed, 1 failed", "exit status 3\n"},
		},
		{
			name:   "a package that was cut off is a failure",
			events: []string{`run p TestA`, `pass p TestA`},
			bad:    true,
			want:   tally{passed: 1, failed: 1},
			shows:  []string{"FAIL p did not end\n"},
		},
		{
			name:  "a command that fails without a word is a failure",
			bad:   true,
			want:  tally{failed: 1},
			shows: nil,
		},
		{
			name:   "what is no JSON is passed on",
			events: []string{`plain go: downloading x`},
			shows:  []string{"go: downloading x\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			if err := r.read(strings.NewReader(stream(tt.events))); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, r.finish(tt.bad), cmp.AllowUnexported(tally{})); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			for _, s := range tt.shows {
				if !strings.Contains(out.String(), s) {
					t.Errorf("output lacks %q:\n%s", s, out.String())
				}
			}
			for _, s := range tt.hides {
				if strings.Contains(out.String(), s) {
					t.Errorf("output has %q:\n%s", s, out.String())
				}
			}
		})
	}
}

// stream writes events given as `ACTION PACKAGE TEST OUTPUT` ("-" for no test) as go test would.
func stream(events []string) string {
	var b strings.Builder
	for _, e := range events {
		f := append(strings.SplitN(e, " ", 4), "", "", "")
		action, pkg, test, output := f[0], f[1], strings.TrimPrefix(f[2], "-"), f[3]
		switch action {
		case "plain":
			b.WriteString(strings.TrimPrefix(e, "plain ") + "\n")
		case "build-output", "build-fail":
			output = strings.TrimPrefix(e, action+" "+pkg+" ")
			b.WriteString(`{"ImportPath":"` + pkg + `","Action":"` + action + `","Output":"` + output + `\n"}` + "\n")
		default:
			b.WriteString(`{"Package":"` + pkg + `","Action":"` + action + `","Test":"` + test + `","Output":"` + output + `\n"}` + "\n")
		}
	}
	return b.String()
}

func TestRun(t *testing.T) {
	tests := []struct {
		name   string
		script string
		want   int
		counts string
	}{
		{"all passed", "cat", 0, "1 0 0\n"},
		{"status without a failed test", "cat >/dev/null; exit 3", 1, "0 1 0\n"},
		{"status after tests that passed", "cat; exit 3", 1, "1 1 0\n"},
		{"failed test", "sed s/pass/fail/", 1, "0 1 0\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			counts := filepath.Join(t.TempDir(), "counts")
			var stdout, stderr strings.Builder
			script := "{ " + tt.script + "; } <<'END'\n" + stream([]string{`run p TestA`, `pass p TestA`, `pass p`}) + "END\n"
			if got := run([]string{"-counts", counts, "sh", "-c", script}, &stdout, &stderr); got != tt.want {
				t.Errorf("status %d, want %d\n%s%s", got, tt.want, stdout.String(), stderr.String())
			}
			got, err := os.ReadFile(counts)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.counts, string(got)); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("no such command", func(t *testing.T) {
		var stdout, stderr strings.Builder
		if got := run([]string{"/nonexistent"}, &stdout, &stderr); got != 2 || stderr.Len() == 0 {
			t.Errorf("status %d with %q, want 2 with a message", got, stderr.String())
		}
	})
}
