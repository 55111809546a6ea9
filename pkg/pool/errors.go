package pool

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The sentinels of this package; test for them with errors.Is. cmd/internal/cli turns each into one
// exit status.
var (
	// ErrInvalid: the input itself is wrong (a field, a requirement, a count, a URL). Exit 2.
	ErrInvalid = errors.New("invalid")
	// ErrNoNode: no node was free within the wait. Exit 10.
	ErrNoNode = errors.New("no node free within the wait")
	// ErrImpossible: the pool could never meet the request, however long one waits. Exit 11.
	ErrImpossible = errors.New("the pool could never meet this request")
	// ErrNotFound: no such node, pool, allocation or field. Exit 12.
	ErrNotFound = errors.New("not found")
	// ErrConflict: not the owner, owner busy or closed, name or address taken, a state that forbids it. Exit 13.
	ErrConflict = errors.New("conflict")
	// ErrQueued: the ticket is queued and not granted yet. Exit 17.
	ErrQueued = errors.New("the ticket is queued and not granted yet")
	// ErrUnreachable: the database does not answer, is read-only, full or locked by another. Exit 14.
	ErrUnreachable = errors.New("database unreachable")
	// ErrSchema: the schema is absent, older or newer than this program. Exit 15.
	ErrSchema = errors.New("schema mismatch")
)

// Error is a failure with its class and a text for people. Its message is the text alone, which says
// what, which, and the next command to type; errors.Is finds the class and the cause.
type Error struct {
	Class error  // one of the sentinels
	Text  string // lower case, no full stop, never a secret
	Cause error  // what lies beneath, or nil
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Unwrap implements the multi-error form of errors.Unwrap.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Class}
	}
	return []error{e.Class, e.Cause}
}

// fail makes an Error of a class; a %w in the format becomes its cause.
func fail(class error, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Class: class, Text: err.Error(), Cause: errors.Unwrap(err)}
}

// Problems are several faults of one input (an import, a node), all told at once. It is an ErrInvalid
// or, when every fault is a clash with what exists, an ErrConflict, or, when each is a pool that is not there,
// an ErrNotFound.
type Problems struct {
	Class error
	List  []string // one line each: where, what, the value
}

// Error implements error: all problems, one a line.
func (p *Problems) Error() string { return strings.Join(p.List, "\n") }

// Unwrap implements errors.Unwrap.
func (p *Problems) Unwrap() error { return p.Class }

// faults collects what is wrong with one input, so that all of it is told together.
type faults struct {
	class error
	list  []string
}

// take adds the faults of an error: several, or one clash. Another error comes back.
func (f *faults) take(err error) error {
	var several *Problems
	var one *Error
	var class error
	var list []string
	switch {
	case err == nil:
		return nil
	case errors.As(err, &several):
		class, list = several.Class, several.List
	case errors.As(err, &one) && errors.Is(one, ErrConflict):
		class, list = one.Class, []string{one.Text}
	default:
		return err
	}
	if f.class != nil && !errors.Is(class, f.class) {
		class = ErrInvalid // of several kinds, and all of them the input's
	}
	f.class, f.list = class, append(f.list, list...)
	return nil
}

// err is what was taken, a *Problems, or nil.
func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	return &Problems{Class: f.class, List: f.list}
}

// BusyError says that an owner and slot already have an active allocation (class ErrConflict).
type BusyError struct {
	Owner, Slot string
	State       State    // of the allocation that is in the way
	Nodes       []string // what it holds, by name
	ExpiresAt   time.Time
}

// Error implements error.
func (e *BusyError) Error() string {
	slot := ""
	if e.Slot != "" {
		slot = fmt.Sprintf(" slot %q", e.Slot)
	}
	if len(e.Nodes) == 0 {
		return fmt.Sprintf("owner %q%s is already waiting in the queue from another process; use --slot NAME for a second checkout", e.Owner, slot)
	}
	until := ""
	if !e.ExpiresAt.IsZero() {
		until = " until " + e.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("owner %q%s already holds %s%s; use --slot NAME for a second checkout, or --adopt ENV_FILE to take over what it holds",
		e.Owner, slot, strings.Join(e.Nodes, ", "), until)
}

// Unwrap implements errors.Unwrap.
func (e *BusyError) Unwrap() error { return ErrConflict }

// Holder says who has a node now.
type Holder struct {
	Node       string
	Status     Status
	Owner      string // empty when nobody holds it
	Slot       string
	Generation int64
	ExpiresAt  time.Time // zero when nobody holds it
}

// TakenBackError says that an allocation had been taken back before its owner released (or extended,
// or set) it: nothing was changed (class ErrConflict).
type TakenBackError struct {
	Owner, Slot string
	Reason      EndReason // expired or revoked
	Detail      string    // the reason a person gave, or empty
	EndedAt     time.Time
	Holders     []Holder // the present state of each node it had
}

// Error implements error.
func (e *TakenBackError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the allocation of %q", e.Owner)
	if e.Slot != "" {
		fmt.Fprintf(&b, " slot %q", e.Slot)
	}
	fmt.Fprintf(&b, " was taken back at %s (%s", e.EndedAt.UTC().Format(time.RFC3339), e.Reason)
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	b.WriteString("), nothing was changed;")
	for i, h := range e.Holders {
		if i > 0 {
			b.WriteString(",")
		}
		switch {
		case h.Owner != "":
			fmt.Fprintf(&b, " node %s is now held by %q until %s", h.Node, h.Owner, h.ExpiresAt.UTC().Format(time.RFC3339))
		case h.Status == "":
			fmt.Fprintf(&b, " node %s was removed", h.Node)
		default:
			fmt.Fprintf(&b, " node %s is now %s", h.Node, h.Status)
		}
	}
	return b.String()
}

// Unwrap implements errors.Unwrap.
func (e *TakenBackError) Unwrap() error { return ErrConflict }
