package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/molteniron/molteniron/pkg/pool"
)

// The sentinels that only programs have; those of the domain are in pkg/pool.
var (
	// ErrUsage: a command line that cannot be understood. Make it with Usagef. Exit 2.
	ErrUsage = errors.New("usage")
	// ErrCheck: the BMC check failed on every node that was tried. Exit 16.
	ErrCheck = errors.New("BMC check failed on every node that was tried")
)

// UsageError is a command line that cannot be understood (class ErrUsage).
type UsageError struct {
	Text string // what is wrong and how to mend it
	Help string // a command that shows more, such as "moltenironctl add --help", or empty
}

// Error implements error.
func (e *UsageError) Error() string { return e.Text }

// Unwrap implements errors.Unwrap.
func (e *UsageError) Unwrap() error { return ErrUsage }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error {
	return &UsageError{Text: fmt.Sprintf(format, args...)}
}

// SignalError is the cause of a context that a signal ended; NotifySignals sets it.
type SignalError struct{ Signal syscall.Signal }

// Error implements error.
func (e *SignalError) Error() string {
	switch e.Signal {
	case syscall.SIGHUP:
		return "hung up"
	case syscall.SIGINT:
		return "interrupted"
	}
	return "terminated"
}

// Is makes errors.Is find the class of the exit table: one signal equals another of the same number.
func (e *SignalError) Is(target error) bool {
	other, ok := target.(*SignalError)
	return ok && other.Signal == e.Signal
}

// Exit is one row of the table of exit statuses.
type Exit struct {
	Code    int
	Meaning string
	classes []error // errors.Is must find one of them; none for done and for any other failure
}

// Exits is the one table of exit statuses, for all programs; help and documentation are compared with
// it. A code is never given another meaning. The order is that of the numbers.
var Exits = []Exit{
	{0, "done (a post-hook that found nothing to release is done)", nil},
	{1, "any other failure", nil},
	{2, "bad usage, bad configuration, bad input file", []error{ErrUsage, pool.ErrInvalid}},
	{10, "no node free within the wait", []error{pool.ErrNoNode}},
	{11, "the pool could never meet this request, however long one waits", []error{pool.ErrImpossible}},
	{12, "no such node, pool, allocation or field", []error{pool.ErrNotFound}},
	{13, "conflict: not the owner, owner busy or closed, name or address taken, node in a state that forbids it", []error{pool.ErrConflict}},
	{14, "database unreachable", []error{pool.ErrUnreachable}},
	{15, "schema older or newer than this program", []error{pool.ErrSchema}},
	{16, "BMC check failed on every node that was tried", []error{ErrCheck}},
	{17, "the ticket is queued and not granted yet (--enqueue)", []error{pool.ErrQueued}},
	{129, "hung up, and undone (what could not be is said on stderr, with until when)", []error{&SignalError{syscall.SIGHUP}}},
	{130, "interrupted, and undone", []error{&SignalError{syscall.SIGINT}}},
	{143, "terminated, and undone", []error{&SignalError{syscall.SIGTERM}}},
}

// byWeight is the order in which classes are looked for in an error that has several: what a person
// did, then what keeps the program from knowing anything, then what the pool said.
var byWeight = []int{129, 130, 143, 15, 14, 17, 16, 13, 12, 11, 10, 2}

// ExitCode gives the exit status for an error: 0 for nil, 1 for one that is not in the table.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	for _, code := range byWeight {
		row := Exits[slices.IndexFunc(Exits, func(e Exit) bool { return e.Code == code })]
		for _, class := range row.classes {
			if errors.Is(err, class) {
				return code
			}
		}
	}
	return 1
}

// ExitHelp is the EXIT STATUS section of every help, without its heading: the rows of the codes given,
// in the table's order, or of all codes.
func ExitHelp(codes ...int) string {
	var b strings.Builder
	for _, row := range Exits {
		if len(codes) == 0 || slices.Contains(codes, row.Code) {
			fmt.Fprintf(&b, "  %3d  %s\n", row.Code, row.Meaning)
		}
	}
	return b.String()
}

// Finish is the end of a program: it prints err on stderr as PrintError does and gives the exit status.
// An error under a context that a signal ended is that signal's, whatever text the cut-off call had.
func Finish(ctx context.Context, stderr io.Writer, program string, err error) int {
	var sig *SignalError
	if err != nil && errors.As(context.Cause(ctx), &sig) && !errors.As(err, new(*SignalError)) {
		if errors.Is(err, context.Canceled) && err.Error() == context.Canceled.Error() {
			err = sig
		} else {
			err = fmt.Errorf("%w: %w", sig, err)
		}
	}
	PrintError(stderr, program, err)
	return ExitCode(err)
}

// PrintError writes err for people: "program: text", the problems of a *pool.Problems one a line, and
// where help is. It writes nothing for nil, and nothing for the plain broken pipe of whoever prints
// into `head`: that reader has what it wanted.
func PrintError(w io.Writer, program string, err error) {
	if err == nil {
		return
	}
	if p, ok := err.(*fs.PathError); ok && errors.Is(p, syscall.EPIPE) { //nolint:errorlint // one that is wrapped says what the broken pipe undid
		return
	}
	for line := range strings.SplitSeq(strings.TrimRight(err.Error(), "\n"), "\n") {
		fmt.Fprintf(w, "%s: %s\n", program, line)
	}
	var usage *UsageError
	if errors.As(err, &usage) && usage.Help != "" {
		fmt.Fprintf(w, "%s: see %s\n", program, usage.Help)
	}
}
