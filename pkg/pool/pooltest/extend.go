package pooltest

import (
	"errors"
	"sync"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var extendCases = []testCase{
	{"a lease is extended from now on, by token or by owner and slot, and this is told", func(w *world) {
		w.add("a", "b")
		a := w.hold(one("build", lease(time.Hour)))
		b := w.hold(one("build", slot("x"), lease(time.Hour)))
		w.clock.add(30 * time.Minute)
		for _, c := range []struct {
			held *pool.Allocation
			r    pool.ExtendRequest
		}{
			{a, pool.ExtendRequest{Token: a.Token, Lease: 2 * time.Hour}},
			{b, pool.ExtendRequest{Owner: "build", Slot: "x", Lease: 2 * time.Hour}},
		} {
			before := w.clock.look()
			got, err := w.db.Extend(w.ctx, c.r)
			w.ok(err)
			if left := got.ExpiresAt.Sub(before); left < 2*time.Hour || left > 2*time.Hour+time.Second {
				w.Errorf("slot %q is extended by %v, want 2h from now", c.r.Slot, left)
			}
			w.equal("the allocation", []any{c.held.ID, pool.Claimed, c.held.NodeNames()}, []any{got.ID, got.State, got.NodeNames()})
			w.equal("the node", got.ExpiresAt, w.node(got.Nodes[0].Name).ExpiresAt)
			e := w.lastEvent(pool.EventFilter{Allocation: c.held.ID})
			w.equal("the event", []any{"extended", "build", c.r.Slot, rfc(got.ExpiresAt)}, []any{e.Kind, e.Owner, e.Slot, e.Detail["expires_at"]})
		}
	}},

	{"an extended lease is not taken back at its old end, but at the new one", func(w *world) {
		w.add("n")
		w.hold(one("build", lease(30*time.Second)))
		c := w.live(one("waiter"))
		a, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: 50 * time.Second})
		w.ok(err)
		w.clock.add(30 * time.Second)
		w.tend()
		w.equal("holders at the old end", map[string]string{"n": "build"}, w.holders())
		w.clock.set(a.ExpiresAt)
		c.granted()
	}},

	{"an extension never shortens a lease", func(w *world) {
		w.add("n")
		a := w.hold(one("build", lease(time.Hour)))
		before := w.events()
		got, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: time.Minute})
		w.ok(err)
		w.equal("its end", a.ExpiresAt, got.ExpiresAt)
		w.equal("events", before, w.events())
	}},

	{"an extension goes as far as the pool's max_lease from the claim, and then says that this is all", func(w *world) {
		w.policy("default", "lease=1h", "max_lease=3h")
		w.add("n")
		a := w.hold(one("build"))
		w.clock.add(30 * time.Minute)
		got, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: 10 * time.Hour})
		w.ok(err)
		w.equal("its end", a.ClaimedAt.Add(3*time.Hour), got.ExpiresAt)
		before := w.events()
		w.clock.add(time.Hour)
		_, err = w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: 10 * time.Hour})
		w.refused(err, pool.ErrConflict, "build", "max_lease 3h", rfc(got.ExpiresAt))
		_, err = w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: time.Minute}) // it has that
		w.ok(err)
		w.equal("events", before, w.events())
		// A max_lease that was lowered since shortens nothing.
		w.policy("default", "max_lease=1h")
		w.equal("its end", got.ExpiresAt, w.last("build").ExpiresAt)
		w.policy("default", "max_lease=5h")
		_, err = w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: 10 * time.Hour})
		w.ok(err)
		w.equal("its end by the new policy", a.ClaimedAt.Add(5*time.Hour), w.last("build").ExpiresAt)
	}},

	{"an extension that cannot be right is refused", func(w *world) {
		w.add("n")
		w.hold(one("build"))
		for _, bad := range []time.Duration{0, -time.Hour, time.Millisecond, 1500 * time.Millisecond, 100000 * time.Hour} {
			_, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: bad})
			w.refused(err, pool.ErrInvalid, "lease", bad.String())
		}
		_, err := w.db.Extend(w.ctx, pool.ExtendRequest{Lease: time.Hour})
		w.refused(err, pool.ErrInvalid, "owner")
	}},

	{"who holds nothing extends nothing, and is told how it stands", func(w *world) {
		w.add("n")
		w.grant(one("granted"))
		w.queue(one("waiting"))
		for owner, told := range map[string]string{"granted": "granted", "waiting": "waiting"} {
			_, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: owner, Lease: time.Hour})
			w.refused(err, pool.ErrConflict, owner, told)
		}
		_, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "granted", Slot: "x", Lease: time.Hour})
		w.refused(err, pool.ErrNotFound, "granted", `"x"`)
		_, err = w.db.Extend(w.ctx, pool.ExtendRequest{Token: secret.New("no token of ours"), Lease: time.Hour})
		w.refused(err, pool.ErrNotFound, "token")
		w.clients[0].giveUp()
		w.release("granted")
		done := w.hold(one("done"))
		w.release("done")
		_, err = w.db.Extend(w.ctx, pool.ExtendRequest{Token: done.Token, Lease: time.Hour})
		w.refused(err, pool.ErrConflict, "done", "released")
	}},

	{"a late owner extends nothing, and is told who has the node now", func(w *world) {
		w.add("n")
		late := w.hold(one("late", lease(time.Minute)))
		w.clock.add(time.Minute)
		w.tend()
		next := w.hold(one("next"))
		before := w.events()
		for _, r := range []pool.ExtendRequest{{Owner: "late", Lease: time.Hour}, {Token: late.Token, Lease: time.Hour}} {
			_, err := w.db.Extend(w.ctx, r)
			w.refused(err, pool.ErrConflict, "late", "expired", "nothing was changed", `node n is now held by "next"`)
			var lost *pool.TakenBackError
			if !errors.As(err, &lost) || lost.Holders[0].Owner != "next" {
				w.Errorf("the error does not name the holder: %#v", lost)
			}
		}
		w.equal("events", before, w.events())
		w.equal("the next one's lease", next.ExpiresAt, w.last("next").ExpiresAt)
	}},

	{"of a lease's end and its extension one comes first, and both agree on which", func(w *world) {
		names := []string{"a", "b", "c", "d"}
		w.add(names...)
		for _, name := range names {
			w.hold(one(name, lease(time.Minute), needs("name="+name)))
		}
		w.clock.add(time.Minute)
		var mu sync.Mutex
		extended := map[string]bool{}
		w.together(2*len(names), func(i int, db *pool.DB) {
			if i%2 == 1 {
				if _, err := db.Tend(w.ctx); err != nil {
					w.Errorf("tend: %v", err)
				}
				return
			}
			_, err := db.Extend(w.ctx, pool.ExtendRequest{Owner: names[i/2], Lease: time.Hour})
			if err != nil && !errors.As(err, new(*pool.TakenBackError)) {
				w.Errorf("extending %s: %v", names[i/2], err)
			}
			mu.Lock()
			extended[names[i/2]] = err == nil
			mu.Unlock()
		})
		w.tend()
		for _, name := range names {
			want := pool.EndExpired
			if extended[name] {
				want = ""
			}
			w.equal("the end of "+name, want, w.ended(name))
		}
	}},

	{"of extensions at the same time the longest counts", func(w *world) {
		w.add("n")
		w.hold(one("build", lease(time.Minute)))
		now := w.clock.look()
		w.together(6, func(i int, db *pool.DB) {
			if _, err := db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: time.Duration(i+1) * time.Hour}); err != nil {
				w.Errorf("extending by %dh: %v", i+1, err)
			}
		})
		if left := w.last("build").ExpiresAt.Sub(now); left < 6*time.Hour || left > 6*time.Hour+time.Second {
			w.Errorf("%v are left, want 6h", left)
		}
	}},
}

// lastEvent is the newest event that a filter selects.
func (w *world) lastEvent(f pool.EventFilter) pool.Event {
	w.Helper()
	f.Limit = 1
	events, err := w.db.Events(w.ctx, f)
	w.ok(err)
	if len(events) == 0 {
		w.Fatalf("there is no event for %+v", f)
	}
	return events[0]
}
