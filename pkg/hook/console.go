package hook

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// reminder is how often a wait is told when nothing changes. Jenkins' time limit on a build without
// output counts lines of the log.
const reminder = time.Minute

// maxHolders is how many holders one line names: a log is read by people, and a pool may have thousands.
const maxHolders = 4

// console writes records to a stream that may break or block: Jenkins, which reads the other end, may
// have died or hung. The writing has a goroutine of its own, so that a full pipe never keeps a
// heartbeat or an undo waiting. The first write that fails calls lost, once.
type console struct {
	log  *slog.Logger
	w    *guarded
	lost func(error)

	lines     chan line
	positions chan pool.Position // holds at most the newest
	done      chan struct{}
	close     func() // ends the writing; a write that is under way is left to itself
}

// line is a text to be written; written is told how that went.
type line struct {
	level   slog.Level
	text    string
	written chan<- error
}

// guarded keeps the first error of a stream, which a logger swallows, and writes nothing after it.
type guarded struct {
	io.Writer
	err error
}

func (g *guarded) Write(b []byte) (n int, err error) {
	if g.err == nil {
		n, g.err = g.Writer.Write(b)
	}
	return n, g.err
}

func (p Process) newConsole(lost func(error)) *console {
	c := &console{w: &guarded{Writer: p.Stderr}, lost: lost, lines: make(chan line), positions: make(chan pool.Position, 1), done: make(chan struct{})}
	c.log = p.Log(c.w)
	c.close = sync.OnceFunc(func() { close(c.done) })
	go c.run()
	return c
}

// say writes a line and returns when it is written, when that failed, or when ctx ended.
func (c *console) say(ctx context.Context, level slog.Level, format string, args ...any) error {
	written := make(chan error, 1)
	select {
	case c.lines <- line{level, fmt.Sprintf(format, args...), written}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// progress shows where a request stands. It never blocks: what was not shown yet is replaced.
func (c *console) progress(p pool.Position) {
	for {
		select {
		case c.positions <- p:
			return
		default:
		}
		select {
		case <-c.positions:
		default:
		}
	}
}

func (c *console) run() {
	var (
		last  pool.Position
		since time.Time // when last was true
		again = time.NewTicker(reminder)
	)
	defer again.Stop()
	write := func(level slog.Level, text string) error {
		before := c.w.err
		c.log.Log(context.Background(), level, text)
		if c.w.err != nil && before == nil {
			c.lost(c.w.err)
		}
		return c.w.err
	}
	tell := func() {
		again.Reset(reminder)
		last.Waited += time.Since(since)
		since = time.Now()
		for _, text := range describe(last) {
			_ = write(slog.LevelInfo, text) // lost has been called
		}
	}
	for {
		select {
		case l := <-c.lines:
			l.written <- write(l.level, l.text)
		case p := <-c.positions:
			news := since.IsZero() || p.Place != last.Place || p.Reason != last.Reason
			last, since = p, time.Now()
			if news {
				tell()
			}
		case <-again.C:
			if !since.IsZero() {
				tell()
			}
		case <-c.done:
			return
		}
	}
}

// describe is what there is to say about a request that waits: where it is and why; then who has what it
// waits for, and when it may be served.
func describe(p pool.Position) []string {
	lines := []string{fmt.Sprintf("waiting for %s, place %d in the queue, %s so far: %s", p.Request, p.Place, p.Waited.Round(time.Second), p.Reason)}
	var parts []string
	for i, h := range p.Holders {
		if i == maxHolders {
			parts = append(parts, fmt.Sprintf("and %d more", len(p.Holders)-i))
			break
		}
		parts = append(parts, holder(h))
	}
	if p.Estimate.Basis != "" {
		parts = append(parts, "estimate: "+p.Estimate.String())
	}
	if len(parts) > 0 {
		lines = append(lines, strings.Join(parts, "; "))
	}
	return lines
}

func holder(h pool.Holder) string {
	switch {
	case h.Owner == "":
		return fmt.Sprintf("%s is %s", h.Node, h.Status)
	case h.ExpiresAt.IsZero():
		return fmt.Sprintf("%s is held by %q", h.Node, h.Owner)
	}
	return fmt.Sprintf("%s is held by %q until %s", h.Node, h.Owner, h.ExpiresAt.UTC().Format(time.RFC3339))
}
