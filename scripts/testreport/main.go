// Testreport runs `go test -json …` and tells a person and a CI system what came of it: a line for each
// package that passed, the whole output of each test that failed, and the reasons of what was skipped.
// With -counts it writes "PASSED FAILED SKIPPED" to a file, from which scripts/test makes its closing line.
//
// It exits with 0 when everything passed, with 1 otherwise, and with 2 when the command could not be run.
// On INT, TERM and HUP it ends the command with all its children and waits for them, so that no test
// outlives its report.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// killAfter is how long tests that were told to end may take to stop their servers and children.
const killAfter = 10 * time.Second

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("testreport", flag.ContinueOnError)
	flags.SetOutput(stderr)
	counts := flags.String("counts", "", "write the numbers of passed, failed and skipped tests to `FILE`")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: testreport [-counts FILE] go test -json …")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return 2
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	r := newReport(stdout)
	err := execute(ctx, flags.Args(), stderr, r.read)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintf(stderr, "testreport: %v\n", err)
		return 2
	}
	total := r.finish(err != nil)
	if *counts != "" {
		text := fmt.Sprintf("%d %d %d\n", total.passed, total.failed, total.skipped)
		if err := os.WriteFile(*counts, []byte(text), 0o644); err != nil {
			fmt.Fprintf(stderr, "testreport: %v\n", err)
			return 2
		}
	}
	if total.failed > 0 || err != nil {
		return 1
	}
	return 0
}

// execute runs the command in a process group of its own, hands its standard output to read, and returns
// what became of it. When ctx ends, the whole group is told to end, and killed if it does not.
func execute(ctx context.Context, args []string, stderr io.Writer, read func(io.Reader) error) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		time.AfterFunc(killAfter, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := read(out)
	return errors.Join(cmd.Wait(), readErr)
}

// event is one line of `go test -json`; go doc test2json tells what its fields mean.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build event, instead of Package
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

type tally struct{ passed, failed, skipped int }

// report gathers events. Output is kept only while a test may still fail.
type report struct {
	w        io.Writer
	output   map[testName]*strings.Builder
	builds   map[string]*strings.Builder
	parents  map[testName]bool // has subtests, so it is not counted by itself
	excused  map[testName]bool // failed because a subtest failed
	packages map[string]*tally
	skips    []string
	total    tally
}

type testName struct{ pkg, test string }

func newReport(w io.Writer) *report {
	return &report{
		w:        w,
		output:   map[testName]*strings.Builder{},
		builds:   map[string]*strings.Builder{},
		parents:  map[testName]bool{},
		excused:  map[testName]bool{},
		packages: map[string]*tally{},
	}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in) // no Scanner: a test may print a line of any length
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil {
				r.take(e)
			} else {
				// go itself says a few things in plain text.
				fmt.Fprintf(r.w, "%s", line)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) take(e event) {
	name := testName{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		add(r.builds, e.ImportPath, e.Output)
	case "build-fail":
		fmt.Fprintf(r.w, "FAIL build of %s\n%s", e.ImportPath, text(r.builds[e.ImportPath]))
		delete(r.builds, e.ImportPath)
	case "run":
		if parent, ok := name.parent(); ok {
			r.parents[parent] = true
		}
	case "output":
		add(r.output, name, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e)
		} else {
			r.endTest(name, e.Action)
		}
	}
}

func add[K comparable](m map[K]*strings.Builder, key K, s string) {
	if m[key] == nil {
		m[key] = &strings.Builder{}
	}
	m[key].WriteString(s)
}

// text is what was written to b, where anything was.
func text(b *strings.Builder) string {
	if b == nil {
		return ""
	}
	return b.String()
}

// parent is the test that started this subtest.
func (n testName) parent() (testName, bool) {
	i := strings.LastIndexByte(n.test, '/')
	if i < 0 {
		return testName{}, false
	}
	return testName{n.pkg, n.test[:i]}, true
}

func (r *report) tally(pkg string) *tally {
	if r.packages[pkg] == nil {
		r.packages[pkg] = &tally{}
	}
	return r.packages[pkg]
}

// endTest counts a test once: one with subtests stands for itself only when it failed and none of them did.
func (r *report) endTest(name testName, action string) {
	t := r.tally(name.pkg)
	parent, hasParent := name.parent()
	switch {
	case action == "fail":
		fmt.Fprintf(r.w, "FAIL %s %s\n%s", name.pkg, name.test, text(r.output[name]))
		if !r.excused[name] {
			t.failed++
		}
		if hasParent {
			r.excused[parent] = true
		}
	case r.parents[name]:
	case action == "skip":
		t.skipped++
		r.skips = append(r.skips, fmt.Sprintf("%s %s: %s", name.pkg, name.test, reason(text(r.output[name]))))
	default:
		t.passed++
	}
	delete(r.output, name)
	delete(r.parents, name)
	delete(r.excused, name)
}

// reason is what a test said last before it was skipped.
func reason(output string) string {
	said := "no reason given"
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = line
		}
	}
	return said
}

func (r *report) endPackage(e event) {
	t := r.tally(e.Package)
	own := testName{e.Package, ""}
	switch e.Action {
	case "pass":
		skipped := ""
		if t.skipped > 0 {
			skipped = fmt.Sprintf(", %d skipped", t.skipped)
		}
		fmt.Fprintf(r.w, "ok   %s: %d passed%s, %.1f s\n", e.Package, t.passed, skipped, e.Elapsed)
	case "fail":
		// A test that a panic, os.Exit or the time limit cut short has no event of its own end.
		for name, out := range r.output {
			if name.pkg == e.Package && name.test != "" {
				fmt.Fprintf(r.w, "FAIL %s %s did not end\n%s", name.pkg, name.test, text(out))
				t.failed++
				delete(r.output, name)
			}
		}
		if t.failed == 0 {
			t.failed++ // did not build, or ended badly outside of any test
		}
		fmt.Fprintf(r.w, "FAIL %s: %d passed, %d failed, %.1f s\n%s", e.Package, t.passed, t.failed, e.Elapsed, text(r.output[own]))
	}
	r.total.passed += t.passed
	r.total.failed += t.failed
	r.total.skipped += t.skipped
	delete(r.output, own)
	delete(r.packages, e.Package)
}

// finish prints why tests were skipped, and adds what no package's end has counted: the command failed
// (bad) and no package says why, or it was ended while packages ran.
func (r *report) finish(bad bool) tally {
	for pkg, t := range r.packages {
		fmt.Fprintf(r.w, "FAIL %s did not end\n", pkg)
		r.total.passed += t.passed
		r.total.failed += t.failed + 1
		r.total.skipped += t.skipped
	}
	if bad && r.total.failed == 0 {
		r.total.failed = 1
	}
	for _, s := range r.skips {
		fmt.Fprintf(r.w, "SKIP %s\n", s)
	}
	return r.total
}
