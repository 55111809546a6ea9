package wiretest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/pool"
)

// operation is one that a client runs through the line: act is what is spoiled, check what must be then,
// however often the database was asked.
type operation struct {
	name    string
	prepare func(r *run)
	act     func(r *run, ctx context.Context) error
	check   func(r *run)
}

var operations = []operation{
	{
		name: "allocate",
		act: func(r *run, ctx context.Context) (err error) {
			r.held, err = r.db.Allocate(ctx, r.request(r.owner), pool.AllocateOptions{})
			return err
		},
		check: func(r *run) {
			r.has(pool.Granted, map[string]int{"queued": 1, "granted": 1})
			_, err := r.w.db.Claim(r.w.ctx, r.held.Token)
			r.ok(err)
			if got := r.held.NodeNames(); !cmp.Equal(got, []string{r.node}) {
				r.t.Errorf("it got %v", got)
			}
			// The same pre-hook once more: it holds what it holds.
			_, err = r.w.db.Allocate(r.w.ctx, r.request(r.owner), pool.AllocateOptions{})
			var busy *pool.BusyError
			if !errors.As(err, &busy) {
				r.t.Errorf("asking again gives %v", err)
			}
		},
	},
	{
		name:    "wait",
		prepare: func(r *run) { r.hold(r.first()) },
		act: func(r *run, ctx context.Context) (err error) {
			// The node comes back when the ticket is in the queue.
			var once sync.Once
			r.held, err = r.db.Allocate(ctx, r.request(r.owner), pool.AllocateOptions{Wait: patience, Progress: func(pool.Position) {
				once.Do(func() {
					_, err := r.w.db.Release(r.w.ctx, pool.ReleaseRequest{Owner: r.first()}) // no matter how long that takes
					r.ok(err)
				})
			}})
			return err
		},
		check: func(r *run) {
			r.has(pool.Granted, map[string]int{"queued": 1, "granted": 1})
			_, err := r.w.db.Claim(r.w.ctx, r.held.Token)
			r.ok(err)
		},
	},
	{
		name: "claim",
		prepare: func(r *run) {
			a, err := r.w.db.Allocate(r.w.ctx, r.request(r.owner), pool.AllocateOptions{})
			r.ok(err)
			r.held = a
		},
		act: func(r *run, ctx context.Context) error {
			_, err := r.db.Claim(ctx, r.held.Token)
			return err
		},
		check: func(r *run) {
			r.has(pool.Claimed, map[string]int{"queued": 1, "granted": 1, "claimed": 1})
			_, err := r.w.db.Claim(r.w.ctx, r.held.Token)
			r.ok(err)
			r.has(pool.Claimed, map[string]int{"queued": 1, "granted": 1, "claimed": 1})
		},
	},
	{
		name:    "extend",
		prepare: func(r *run) { r.held = r.hold(r.owner) },
		act: func(r *run, ctx context.Context) error {
			a, err := r.db.Extend(ctx, pool.ExtendRequest{Token: r.held.Token, Lease: 20 * time.Hour})
			if err == nil && !a.ExpiresAt.After(r.held.ExpiresAt) {
				return fmt.Errorf("the lease ends at %s as before", a.ExpiresAt)
			}
			return err
		},
		check: func(r *run) {
			r.has(pool.Claimed, map[string]int{"queued": 1, "granted": 1, "claimed": 1, "extended": 1})
		},
	},
	{
		name:    "release",
		prepare: func(r *run) { r.held = r.hold(r.owner) },
		act: func(r *run, ctx context.Context) error {
			released, err := r.db.Release(ctx, pool.ReleaseRequest{Owner: r.owner, CloseOwner: true})
			if err == nil && (len(released) != 1 || released[0].ID != r.held.ID) {
				return fmt.Errorf("released: %v", released)
			}
			return err
		},
		check: func(r *run) {
			r.gaveBack(pool.EndReleased, map[string]int{"queued": 1, "granted": 1, "claimed": 1, "released": 1})
		},
	},
	{
		name: "cancel",
		prepare: func(r *run) {
			a, err := r.w.db.Allocate(r.w.ctx, r.request(r.owner), pool.AllocateOptions{})
			r.ok(err)
			r.held = a
		},
		act: func(r *run, ctx context.Context) error { return r.db.Cancel(ctx, r.held.Token, "undone") },
		check: func(r *run) {
			r.gaveBack(pool.EndCancelled, map[string]int{"queued": 1, "granted": 1, "cancelled": 1})
		},
	},
	{
		name: "post-hook of a build that has nothing",
		act: func(r *run, ctx context.Context) error {
			released, err := r.db.Release(ctx, pool.ReleaseRequest{Owner: r.owner, CloseOwner: true})
			if err == nil && len(released) != 0 {
				return fmt.Errorf("released: %v", released)
			}
			return err
		},
		check: func(r *run) {
			if diff := cmp.Diff(map[string]int{"tombstone": 1}, r.events(r.owner)); diff != "" {
				r.t.Errorf("events (-want +got):\n%s", diff)
			}
			if _, err := r.w.db.Allocate(r.w.ctx, r.request(r.owner), pool.AllocateOptions{}); !errors.Is(err, pool.ErrConflict) {
				r.t.Errorf("its pre-hook that comes late gets %v", err)
			}
		},
	},
}

// has checks that the owner has exactly one allocation, in the state and with the events that it should.
func (r *run) has(state pool.State, events map[string]int) {
	r.t.Helper()
	list := r.allocations(r.owner)
	if len(list) != 1 || list[0].State != state {
		r.t.Errorf("the owner has %d allocations, %+v; want one that is %s", len(list), list, state)
	}
	if diff := cmp.Diff(events, r.events(r.owner)); diff != "" {
		r.t.Errorf("events (-want +got):\n%s", diff)
	}
	if s := r.status(); s != pool.Allocated {
		r.t.Errorf("the node is %s", s)
	}
}

func (r *run) gaveBack(how pool.EndReason, events map[string]int) {
	r.t.Helper()
	list := r.allocations(r.owner)
	if len(list) != 1 || list[0].State != pool.Ended || list[0].EndReason != how {
		r.t.Errorf("the owner has %d allocations, %+v; want one that was %s", len(list), list, how)
	}
	if diff := cmp.Diff(events, r.events(r.owner)); diff != "" {
		r.t.Errorf("events (-want +got):\n%s", diff)
	}
	if s := r.status(); s != pool.Ready {
		r.t.Errorf("the node is %s", s)
	}
	// Once more is nothing: it is said so, and changes nothing.
	released, err := r.w.db.Release(r.w.ctx, pool.ReleaseRequest{Owner: r.owner})
	r.ok(err)
	for _, a := range released {
		if !a.Again {
			r.t.Errorf("it was given back again: %+v", a)
		}
	}
}

// everyStep names the variable that has every packet spoiled in every way; without it each packet is
// lost in two ways, and every ninth, from a random one on, meets the milder faults.
const everyStep = "MOLTENIRON_EVERY_STEP"

// TestLostPackets spoils each packet of each operation, in both directions, once, in each way. One fault
// is nothing that a client notices: the operation succeeds, and has happened once.
func TestLostPackets(t *testing.T) {
	w := newWorld(t)
	total := 0
	for _, op := range operations {
		packets := w.count(t, op)
		t.Logf("%s: %d packets", op.name, packets)
		total += packets
		for _, m := range []mode{dropAndCut, passAndCut, halfClose, delay, throttle} {
			t.Run(op.name+"/"+string(m), func(t *testing.T) {
				t.Parallel()
				every := 1
				if os.Getenv(everyStep) == "" && m != dropAndCut && m != passAndCut {
					every = 9
				}
				for step := 1 + rand.IntN(every); step <= packets; step += every {
					w.spoil(t, op, &fault{step: step, mode: m})
				}
			})
		}
	}
	if total < 100 {
		t.Errorf("only %d packets were seen: the line does not count as it should", total)
	}
}

// count runs the operation over a sound line and counts its packets.
func (w *world) count(t *testing.T, op operation) int {
	t.Helper()
	return w.counting(t, op, nil)
}

// counting counts what the fault would count, of which it says that it never happens.
func (w *world) counting(t *testing.T, op operation, never *fault) int {
	t.Helper()
	r := w.newRun(t, options())
	if op.prepare != nil {
		op.prepare(r)
	}
	r.line.arm(never)
	r.ok(op.act(r, w.ctx))
	n, _ := r.line.disarm()
	op.check(r)
	return n
}

func (w *world) spoil(t *testing.T, op operation, f *fault) {
	t.Helper()
	// A test of its own, so that what a run opens ends with it and a failure names its fault.
	t.Run(fmt.Sprint(f.step), func(t *testing.T) {
		t.Parallel()
		r := w.newRun(t, options())
		if op.prepare != nil {
			op.prepare(r)
		}
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		defer cancel()
		r.line.arm(f)
		err := op.act(r, ctx)
		if _, hit := r.line.disarm(); !hit {
			t.Log("the operation took fewer packets this time: nothing was spoiled")
		}
		if err != nil {
			t.Fatalf("one fault, and it fails: %v", err)
		}
		op.check(r)
	})
}

// ends is how soon after its caller's limit an operation ends: a little time is for undoing what it can, and much
// else runs. It is less than any time-out that the caller did not ask for.
const ends = 12 * time.Second

// TestStalledLine has the line fall silent in the middle of an operation, at a packet of each kind, for good or
// until its caller has given up, so that what was asked arrives when nobody waits for it any more, as with a database
// that answers after half a minute. The caller's own limit ends it, in time and with an error that says so, and nothing
// is lost: what was undone is free, what could not be is free when the heartbeat's time is over.
func TestStalledLine(t *testing.T) {
	w := newWorld(t)
	for _, op := range operations {
		packets := w.count(t, op)
		for i, step := range []int{1, 2, packets / 2, packets - 1, packets, 1, 2, packets / 2, packets - 1, packets} {
			m := stall
			if i >= 5 {
				m = hold
			}
			t.Run(fmt.Sprintf("%s/%s/%d", op.name, m, step), func(t *testing.T) {
				t.Parallel()
				r := w.newRun(t, options())
				if op.prepare != nil {
					op.prepare(r)
				}
				ctx, cancel := context.WithTimeout(w.ctx, 300*time.Millisecond)
				defer cancel()
				r.line.arm(&fault{step: step, mode: m})
				begun := time.Now()
				err := op.act(r, ctx)
				if took := time.Since(begun); took > ends {
					t.Errorf("it ended only after %s", took)
				}
				r.line.disarm()
				if err != nil && (!errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, pool.ErrUnreachable)) {
					t.Fatalf("the error is %v", err)
				}
				r.comesHome()
			})
		}
	}
}

// comesHome checks that after the heartbeat's and the lease's time the node is free again.
func (r *run) comesHome() {
	r.t.Helper()
	for _, a := range append(r.allocations(r.owner), r.allocations(r.first())...) {
		if a.State != pool.Ended && a.State != pool.Claimed && len(r.allocations(a.Owner)) > 1 {
			r.t.Errorf("%s has several allocations: %+v", a.Owner, a)
		}
	}
	later, err := pool.Open(r.w.ctx, r.w.server.String(), pool.Options{
		Actor: "wiretest", TLS: pool.TLSOptions{Mode: "off"}, Clock: func() time.Time { return time.Now().Add(48 * time.Hour) },
	})
	r.ok(err)
	defer later.Close()
	a, err := later.Allocate(r.w.ctx, r.request(r.owner+" later"), pool.AllocateOptions{})
	r.ok(err)
	if got := a.NodeNames(); !cmp.Equal(got, []string{r.node}) {
		r.t.Errorf("later somebody gets %v", got)
	}
}
