package envfile

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/molteniron/molteniron/pkg/pool"
)

// MaxSize is the most that Write writes and Parse reads, in bytes: several hundred nodes with
// properties of 4 KiB, and no more memory than a hook may take on a small agent.
const MaxSize = 32 << 20

// The fixed lines of the form. Without the guard's first half sh -x prints every password, without the
// v half set -v does; the redirection hides the guard itself in dash, bash and busybox (zsh, ksh93 and
// mksh print that one line, which holds no value).
const (
	mark  = "# molteniron env 1: sourced by a build's shell; holds passwords\n"
	guard = "{ case $- in *[xv]*) MOLTEN_TRACE=$-; set +xv;; *) MOLTEN_TRACE=;; esac; } 2>/dev/null\n"
	end   = "case $MOLTEN_TRACE in *v*) set -v;; esac\n" +
		"case $MOLTEN_TRACE in *x*) unset MOLTEN_TRACE; set -x;; *) unset MOLTEN_TRACE;; esac\n"
)

// Write writes the env file of an allocation that was granted: the token and the nodes' BMC passwords
// are revealed here. It writes nothing when it refuses: an allocation without nodes, a value with a NUL
// byte, a property key that is none, a file above MaxSize. Errors name the variable, never the value.
func Write(w io.Writer, a *pool.Allocation) error {
	set, unset, err := variables(a)
	if err != nil {
		return fmt.Errorf("env file: %w", err)
	}
	var b bytes.Buffer
	b.WriteString(mark)
	b.WriteString(guard)
	for _, name := range unset {
		// -v: without it, bash and ksh would unset a function of that name instead.
		fmt.Fprintf(&b, "unset -v %s\n", name)
	}
	for _, v := range set {
		fmt.Fprintf(&b, "%s=%s\nexport %s\n", v.name, quote(v.value.Reveal()), v.name)
	}
	b.WriteString(end)
	if b.Len() > MaxSize {
		return fmt.Errorf("env file: %d bytes for %d nodes are above the limit of %d; ask for fewer nodes at a time", b.Len(), len(a.Nodes), MaxSize)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("env file: %w", err)
	}
	return nil
}

// quote puts s between single quotes, within which every shell takes every byte as it is.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
