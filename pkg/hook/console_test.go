package hook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/pool"
)

// log is a stream that tests read while it is written.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *log) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.buf.Reset()
	return l.buf.String()
}

// plain writes nothing but the message of a record.
type plain struct{ w io.Writer }

func (plain) Enabled(context.Context, slog.Level) bool { return true }
func (h plain) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h plain) WithGroup(string) slog.Handler          { return h }
func (h plain) Handle(_ context.Context, r slog.Record) error {
	_, err := io.WriteString(h.w, r.Message+"\n")
	return err
}

func newLog(w io.Writer) *slog.Logger { return slog.New(plain{w}) }

func onto(w io.Writer, lost func(error)) *console {
	return Process{Stderr: w, Log: newLog}.newConsole(lost)
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out log
		c := onto(&out, func(err error) { t.Errorf("lost: %v", err) })
		defer c.close()
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, out.take()); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		}
		at := pool.Position{Place: 2, Request: "1 node", Reason: "all held"}

		time.Sleep(5 * time.Minute)
		expect("") // nothing to tell yet

		c.progress(at)
		expect("waiting for 1 node, place 2 in the queue, 0s so far: all held\n")

		for range 50 { // polls that bring nothing new
			time.Sleep(time.Second)
			at.Waited += time.Second
			c.progress(at)
		}
		expect("")

		time.Sleep(10 * time.Second) // a minute after the line
		expect("waiting for 1 node, place 2 in the queue, 1m0s so far: all held\n")

		time.Sleep(30 * time.Second)
		at.Waited = 90 * time.Second
		at.Place = 1
		at.Estimate.Basis = "unknown: the pool is paused"
		at.Holders = []pool.Holder{{Node: "node-1", Status: pool.Allocated, Owner: "b", ExpiresAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}}
		c.progress(at)
		expect("waiting for 1 node, place 1 in the queue, 1m30s so far: all held\nnode-1 is held by \"b\" until 2026-01-02T03:04:05Z; estimate: unknown: the pool is paused\n")

		time.Sleep(3*time.Minute + time.Second) // without a poll, too
		if n := strings.Count(out.take(), "\n"); n != 6 {
			t.Errorf("%d lines in three minutes, want two a minute", n)
		}
	})
}

func TestDescribeManyHolders(t *testing.T) {
	p := pool.Position{Place: 1, Request: "2 nodes", Reason: "held", Holders: []pool.Holder{
		{Node: "n1", Status: pool.Broken}, {Node: "n2", Owner: "a"}, {Node: "n3", Status: pool.Dirty}, {Node: "n4", Owner: "a"}, {Node: "n5"}, {Node: "n6"},
	}}
	p.Estimate = pool.Estimate{
		Known: true, P50: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), P90: time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC), Basis: "past durations of the same jobs (3 builds)",
	}
	want := []string{
		"waiting for 2 nodes, place 1 in the queue, 0s so far: held",
		`n1 is broken; n2 is held by "a"; n3 is dirty; n4 is held by "a"; and 2 more; ` +
			"estimate: 2026-01-02T03:04:05Z, nine times out of ten before 2026-01-02T04:00:00Z, by past durations of the same jobs (3 builds)",
	}
	if diff := cmp.Diff(want, describe(p)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A reader that died must be noticed by whatever is written next, and once.
func TestConsoleLost(t *testing.T) {
	r, w := io.Pipe()
	_ = r.CloseWithError(syscall.EPIPE)
	lost := make(chan error, 2)
	c := onto(w, func(err error) { lost <- err })
	defer c.close()
	c.progress(pool.Position{Place: 1})
	if err := <-lost; !errors.Is(err, syscall.EPIPE) {
		t.Errorf("lost with %v, want a broken pipe", err)
	}
	if err := c.say(t.Context(), slog.LevelInfo, "anybody?"); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("say: %v, want a broken pipe", err)
	}
	select {
	case err := <-lost:
		t.Errorf("lost a second time with %v", err)
	default:
	}
}

// A reader that hangs must keep nobody: neither the polls that bring progress nor the end.
func TestConsoleBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		c := onto(w, func(error) {})
		defer func() {
			c.close()
			_ = r.Close() // lets the writer go
		}()
		for i := range 100 {
			c.progress(pool.Position{Place: i + 1})
		}
		why := errors.New("terminated")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		if err := c.say(ctx, slog.LevelInfo, "the end"); !errors.Is(err, why) {
			t.Errorf("say: %v, want the cause of its context", err)
		}
	})
}
