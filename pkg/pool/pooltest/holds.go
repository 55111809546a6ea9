package pooltest

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var holdCases = []testCase{
	{"a hold keeps what a build has beyond its lease, with the person's reason and the build's result", func(w *world) {
		w.add("a", "b")
		a := w.hold(many("build", 2, lease(time.Hour)))
		before := w.clock.look()
		got, err := w.db.Hold(w.ctx, pool.HoldRequest{Token: a.Token, For: 10 * time.Hour, Reason: "kernel panic", Result: "FAILURE"})
		w.ok(err)
		if left := got.ExpiresAt.Sub(before); left < 10*time.Hour || left > 10*time.Hour+time.Second {
			w.Errorf("it is held for %v, want 10h from now", left)
		}
		w.equal("the allocation", []any{a.ID, pool.Claimed, "kernel panic", "FAILURE", []string{"a", "b"}},
			[]any{got.ID, got.State, got.HoldReason, got.Result, got.NodeNames()})
		e := w.lastEvent(pool.EventFilter{Owner: "build"})
		w.equal("the event", []any{"held", "kernel panic", rfc(got.ExpiresAt)}, []any{e.Kind, e.Detail["reason"], e.Detail["expires_at"]})
		w.clock.add(9 * time.Hour)
		w.tend()
		w.equal("holders", map[string]string{"a": "build", "b": "build"}, w.holders())
		w.clock.add(time.Hour)
		w.tend()
		w.equal("its end", pool.EndExpired, w.ended("build"))
	}},

	{"a hold ends with a release, by who held it or by hand", func(w *world) {
		w.add("n")
		w.hold(one("build"))
		w.keep("build", time.Hour)
		c := w.queue(one("next"))
		w.equal("what comes back", []string{"n"}, returned(w.release("build")))
		w.equal("whether it is suspect", false, c.granted().Nodes[0].Suspect)
	}},

	{"a hold lasts as long as the pool's max_hold from now, and never shortens a lease", func(w *world) {
		w.policy("default", "max_hold=2h", "lease=10h")
		w.add("n", "m")
		long := w.hold(one("long"))
		w.equal("the long lease", long.ExpiresAt, w.keep("long", time.Hour).ExpiresAt)
		w.hold(one("short", lease(time.Minute)))
		before := w.clock.look()
		if left := w.keep("short", 1000*time.Hour).ExpiresAt.Sub(before); left < 2*time.Hour || left > 2*time.Hour+time.Second {
			w.Errorf("it is held for %v, want 2h", left)
		}
	}},

	{"once the build is over a hold counts from then, whatever is left of the lease, and one that is there stays", func(w *world) {
		w.add("n", "m")
		w.hold(one("build", lease(10*time.Hour)))
		over := func(owner string, d time.Duration, reason string) *pool.Allocation {
			a, err := w.db.Hold(w.ctx, pool.HoldRequest{Owner: owner, For: d, Reason: reason, Result: "FAILURE", Over: true})
			w.ok(err)
			return a
		}
		c := w.live(one("next", needs("name=n")))
		a := over("build", time.Hour, "the build failed")
		w.near("its end", w.clock.look().Add(time.Hour), a.ExpiresAt)
		w.clock.set(a.ExpiresAt)
		c.granted()
		w.hold(one("watched", needs("name=m")))
		held := w.keep("watched", 5*time.Hour)
		before := w.events()
		a = over("watched", time.Hour, "the build failed")
		w.equal("the hold of a person", []any{held.ExpiresAt, "look"}, []any{a.ExpiresAt, a.HoldReason})
		w.equal("events", before, w.events())
	}},

	{"a hold may name a node instead of its holder, and keeps the whole allocation", func(w *world) {
		w.add("a", "b", "free")
		held := w.hold(many("build", 2, slot("x"), lease(time.Minute)))
		a, err := w.db.Hold(w.ctx, pool.HoldRequest{Node: "b", For: time.Hour, Reason: "look"})
		w.ok(err)
		w.equal("what is held", []any{held.ID, []string{"a", "b"}, "look"}, []any{a.ID, a.NodeNames(), a.HoldReason})
		w.grant(one("granted"))
		for node, told := range map[string]string{"free": "allocated", "ghost": "ghost"} {
			_, err := w.db.Hold(w.ctx, pool.HoldRequest{Node: node, For: time.Hour, Reason: "look"})
			if node == "ghost" {
				w.refused(err, pool.ErrNotFound, told)
			} else {
				w.refused(err, pool.ErrConflict, node, told)
			}
		}
	}},

	{"a pool without holds refuses them", func(w *world) {
		w.policy("default", "max_hold=0s")
		w.add("n")
		w.hold(one("build"))
		_, err := w.db.Hold(w.ctx, pool.HoldRequest{Owner: "build", For: time.Hour, Reason: "look"})
		w.refused(err, pool.ErrConflict, "default", "max_hold")
		w.equal("the hold", "", w.last("build").HoldReason)
	}},

	{"a hold beyond the pool's max_lease is not extended by a lease", func(w *world) {
		w.policy("default", "lease=1h", "max_lease=2h")
		w.add("n")
		w.hold(one("build"))
		held := w.keep("build", 10*time.Hour)
		_, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: 20 * time.Hour})
		w.refused(err, pool.ErrConflict, "max_lease 2h", rfc(held.ExpiresAt))
		w.equal("its end", held.ExpiresAt, w.last("build").ExpiresAt)
	}},

	{"a hold wants a reason of one line and a time, and says so", func(w *world) {
		w.add("n")
		w.hold(one("build"))
		before := w.events()
		for told, r := range map[string]pool.HoldRequest{
			"a reason":    {Owner: "build", For: time.Hour},
			"reason":      {Owner: "build", For: time.Hour, Reason: strings.Repeat("x", 2000)},
			"the reason":  {Owner: "build", For: time.Hour, Reason: "two\nlines"},
			"hold of 0s":  {Owner: "build", Reason: "look"},
			"1.5s":        {Owner: "build", Reason: "look", For: 1500 * time.Millisecond},
			"ten years":   {Owner: "build", Reason: "look", For: 100000 * time.Hour},
			"owner":       {For: time.Hour, Reason: "look"},
			"the result":  {Owner: "build", For: time.Hour, Reason: "look", Result: "FAIL\nURE"},
			"result":      {Owner: "build", For: time.Hour, Reason: "look", Result: strings.Repeat("x", 65)},
			"slot":        {Owner: "build", Slot: "a b", For: time.Hour, Reason: "look"},
			"between 1s ": {Owner: "build", Reason: "look", For: -time.Hour},
		} {
			_, err := w.db.Hold(w.ctx, r)
			w.refused(err, pool.ErrInvalid, told)
		}
		w.equal("events", before, w.events())
	}},

	{"who holds nothing keeps nothing, and is told how it stands", func(w *world) {
		w.policy("default", "lease=30s")
		w.add("n")
		hold := func(r pool.HoldRequest) error {
			r.For, r.Reason = time.Hour, "look"
			return second(w.db.Hold(w.ctx, r))
		}
		w.refused(hold(pool.HoldRequest{Owner: "nobody"}), pool.ErrNotFound, "nobody")
		w.refused(hold(pool.HoldRequest{Token: secret.New("no token of ours")}), pool.ErrNotFound, "token")
		a := w.grant(one("build"))
		w.refused(hold(pool.HoldRequest{Owner: "build"}), pool.ErrConflict, "granted")
		w.ok(second(w.db.Claim(w.ctx, a.Token)))
		w.refused(hold(pool.HoldRequest{Owner: "build", Slot: "x"}), pool.ErrNotFound, `"x"`)
		w.clock.add(time.Minute)
		w.tend()
		w.hold(one("next"))
		before := w.events()
		w.refused(hold(pool.HoldRequest{Token: a.Token}), pool.ErrConflict, "expired", `now held by "next"`, "nothing was changed")
		w.equal("events", before, w.events())
		w.release("next")
		w.refused(hold(pool.HoldRequest{Owner: "next"}), pool.ErrConflict, "released")
	}},

	{"a hold again tells the new reason and end", func(w *world) {
		w.add("n")
		w.hold(one("build", lease(time.Minute)))
		w.keep("build", time.Hour)
		got, err := w.db.Hold(w.ctx, pool.HoldRequest{Owner: "build", For: 3 * time.Hour, Reason: "longer"})
		w.ok(err)
		w.equal("the reason", "longer", got.HoldReason)
		w.clock.add(2 * time.Hour)
		w.tend()
		w.equal("holders", map[string]string{"n": "build"}, w.holders())
	}},

	{"of a hold and a release at the same time one comes first, and both agree on which", func(w *world) {
		names := []string{"a", "b", "c", "d", "e", "f"}
		w.add(names...)
		for _, name := range names {
			w.hold(one(name, needs("name="+name)))
		}
		began := time.Now()
		var mu sync.Mutex
		held := map[string]bool{}
		w.together(2*len(names), func(i int, db *pool.DB) {
			name := names[i/2]
			if i%2 == 1 {
				if released, err := db.Release(w.ctx, pool.ReleaseRequest{Owner: name}); err != nil || len(returned(released)) != 1 {
					w.Errorf("releasing %s: %v %v", name, released, err)
				}
				return
			}
			_, err := db.Hold(w.ctx, pool.HoldRequest{Owner: name, For: time.Hour, Reason: "look"})
			if err != nil {
				w.refused(err, pool.ErrConflict, name, "released")
			}
			mu.Lock()
			held[name] = err == nil
			mu.Unlock()
		})
		if took := time.Since(began); took > patience {
			w.Errorf("it took %v", took)
		}
		for _, name := range names {
			w.equal("the end of "+name, pool.EndReleased, w.ended(name))
			w.equal("whether "+name+" was held before", held[name], w.last(name).HoldReason != "")
		}
	}},

	{"of a hold and an extension at the same time the longer counts", func(w *world) {
		names := []string{"a", "b", "c", "d"}
		w.add(names...)
		for _, name := range names {
			w.hold(one(name, lease(time.Minute), needs("name="+name)))
		}
		now := w.clock.look()
		w.together(2*len(names), func(i int, db *pool.DB) {
			var err error
			if i%2 == 0 {
				_, err = db.Hold(w.ctx, pool.HoldRequest{Owner: names[i/2], For: time.Hour, Reason: "look"})
			} else {
				_, err = db.Extend(w.ctx, pool.ExtendRequest{Owner: names[i/2], Lease: 2 * time.Hour})
			}
			if err != nil && !errors.Is(err, pool.ErrConflict) {
				w.Errorf("%s: %v", names[i/2], err)
			}
		})
		for _, name := range names {
			if left := w.last(name).ExpiresAt.Sub(now); left < 2*time.Hour {
				w.Errorf("%s has %v left, want 2h", name, left)
			}
		}
	}},
}

// keep holds what an owner has for a post-mortem.
func (w *world) keep(owner string, d time.Duration) *pool.Allocation {
	w.Helper()
	a, err := w.db.Hold(w.ctx, pool.HoldRequest{Owner: owner, For: d, Reason: "look"})
	w.ok(err)
	return a
}
