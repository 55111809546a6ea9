package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/pool"
)

func TestExitCode(t *testing.T) {
	text := func(class error) error { return &pool.Error{Class: class, Text: "a text"} }
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"nil", nil, 0},
		{"unknown", errors.New("no idea"), 1},
		{"context", context.DeadlineExceeded, 1},
		{"usage", Usagef("no %s", "such flag"), 2},
		{"invalid", text(pool.ErrInvalid), 2},
		{"no node", text(pool.ErrNoNode), 10},
		{"impossible", text(pool.ErrImpossible), 11},
		{"not found", text(pool.ErrNotFound), 12},
		{"conflict", text(pool.ErrConflict), 13},
		{"busy", &pool.BusyError{Owner: "o"}, 13},
		{"taken back", &pool.TakenBackError{Owner: "o"}, 13},
		{"problems", &pool.Problems{Class: pool.ErrInvalid, List: []string{"a", "b"}}, 2},
		{"clashes", &pool.Problems{Class: pool.ErrConflict, List: []string{"a"}}, 13},
		{"unreachable", text(pool.ErrUnreachable), 14},
		{"schema", text(pool.ErrSchema), 15},
		{"check", fmt.Errorf("n1: %w", ErrCheck), 16},
		{"queued", fmt.Errorf("place 3: %w", pool.ErrQueued), 17},
		{"hup", &SignalError{syscall.SIGHUP}, 129},
		{"int", &SignalError{syscall.SIGINT}, 130},
		{"term", &SignalError{syscall.SIGTERM}, 143},
		{"wrapped", fmt.Errorf("allocate: %w", fmt.Errorf("pool x: %w", text(pool.ErrConflict))), 13},
		{"signal before its symptom", fmt.Errorf("%w: %w", &SignalError{syscall.SIGTERM}, text(pool.ErrUnreachable)), 143},
		{"a failed query is no free node", errors.Join(text(pool.ErrNoNode), text(pool.ErrUnreachable)), 14},
	} {
		if got := ExitCode(tt.err); got != tt.want {
			t.Errorf("%s: ExitCode(%v) = %d, want %d", tt.name, tt.err, got, tt.want)
		}
	}
}

// Every code but 0 and 1 must be reachable through its classes, and the table in order.
func TestExitsWhole(t *testing.T) {
	var codes []int
	for _, row := range Exits {
		codes = append(codes, row.Code)
		for _, class := range row.classes {
			if got := ExitCode(class); got != row.Code {
				t.Errorf("class %v gives %d, its row says %d", class, got, row.Code)
			}
		}
		if row.Code > 1 && len(row.classes) == 0 {
			t.Errorf("nothing leads to exit status %d", row.Code)
		}
		if row.Meaning == "" {
			t.Errorf("exit status %d has no meaning", row.Code)
		}
	}
	if !slices.IsSorted(codes) || len(slices.Compact(codes)) != len(codes) {
		t.Errorf("codes are not in order, or twice: %v", codes)
	}
	if got, want := ExitHelp(0, 12), "    0  done (a post-hook that found nothing to release is done)\n   12  no such node, pool, allocation or field\n"; got != want {
		t.Errorf("ExitHelp(0, 12):\n%s", cmp.Diff(want, got))
	}
}

func TestFinish(t *testing.T) {
	signalled, cancel := context.WithCancelCause(t.Context())
	cancel(&SignalError{syscall.SIGTERM})
	usage := &UsageError{Text: "no flag --x", Help: "molten-prehook --help"}
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		err    error
		code   int
		stderr string
	}{
		{"nothing wrong", t.Context(), nil, 0, ""},
		{"one line", t.Context(), errors.New("no good"), 1, "p: no good\n"},
		{"usage", t.Context(), usage, 2, "p: no flag --x\np: see molten-prehook --help\n"},
		{"several problems", t.Context(), &pool.Problems{Class: pool.ErrInvalid, List: []string{"line 2: a", "line 4: b"}}, 2, "p: line 2: a\np: line 4: b\n"},
		{"signalled", signalled, context.Canceled, 143, "p: terminated\n"},
		{"signalled in a call", signalled, fmt.Errorf("read nodes: %w", context.Canceled), 143, "p: terminated: read nodes: context canceled\n"},
		{"signalled but done", signalled, nil, 0, ""},
		{"told already", signalled, fmt.Errorf("%w, n1 stays held until noon", &SignalError{syscall.SIGTERM}), 143, "p: terminated, n1 stays held until noon\n"},
		{"reader went away", t.Context(), &fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}, 1, ""},
		{"reader went away and it matters", t.Context(), fmt.Errorf("n1 is released again: %w", &fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}), 1,
			"p: n1 is released again: write /dev/stdout: broken pipe\n"},
	} {
		var stderr bytes.Buffer
		if got := Finish(tt.ctx, &stderr, "p", tt.err); got != tt.code {
			t.Errorf("%s: exit status %d, want %d", tt.name, got, tt.code)
		}
		if diff := cmp.Diff(tt.stderr, stderr.String()); diff != "" {
			t.Errorf("%s: stderr (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestVersion(t *testing.T) {
	defer func(v, c, d string) { version, commit, date = v, c, d }(version, commit, date)
	version, commit, date = "1.2.3", "abc", "2026-11-22"
	if got := Version("molten-prehook"); !strings.HasPrefix(got, "molten-prehook 1.2.3 (abc, 2026-11-22, go1.") {
		t.Errorf("version as built: %s", got)
	}
	version, commit, date = "", "", ""
	if got := Version("p"); strings.Contains(got, "(,") || strings.Contains(got, " ,") || strings.Contains(got, "  ") {
		t.Errorf("a part is missing without build flags: %q", got)
	}
}
