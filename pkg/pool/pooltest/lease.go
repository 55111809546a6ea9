package pooltest

import (
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

var leaseCases = []testCase{
	{"a lease is what the request asks for, the pool's else, and never longer than the pool's max_lease", func(w *world) {
		w.policy("default", "lease=1h", "max_lease=2h")
		w.add("a", "b", "c")
		for owner, c := range map[string]struct{ ask, want time.Duration }{
			"nothing said": {0, time.Hour}, "short": {time.Second, time.Second}, "too long": {1000 * time.Hour, 2 * time.Hour},
		} {
			a := w.hold(one(owner, lease(c.ask)))
			w.equal(owner, c.want, a.Lease)
			w.equal(owner+": its end", a.GrantedAt.Add(c.want), a.ExpiresAt)
		}
		for _, bad := range []time.Duration{-time.Second, time.Millisecond, 1500 * time.Millisecond, 100000 * time.Hour} {
			w.refused(w.ask(one("build", lease(bad))), pool.ErrInvalid, "lease")
		}
	}},

	{"the end of a lease is promised at the grant and kept by a claim in time", func(w *world) {
		w.add("n")
		a := w.grant(one("build", lease(time.Hour)))
		w.equal("the promise", a.GrantedAt.Add(time.Hour), a.ExpiresAt)
		w.clock.add(40 * time.Second)
		claimed, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("its end", a.ExpiresAt, claimed.ExpiresAt)
		w.equal("its end as others see it", a.ExpiresAt, w.node("n").ExpiresAt)
		again, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("claiming again changes nothing", []time.Time{claimed.ClaimedAt, claimed.ExpiresAt}, []time.Time{again.ClaimedAt, again.ExpiresAt})
	}},

	{"a client that took longer than a heartbeat before its claim gets a new lease", func(w *world) {
		w.policy("default", "lease=90s")
		w.add("n")
		a := w.grant(one("build"))
		for range 4 {
			w.clock.add(30 * time.Second)
			w.ok(w.db.Beat(w.ctx, a.Token))
		}
		claimed, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("its end", claimed.ClaimedAt.Add(90*time.Second), claimed.ExpiresAt)
		waiter := w.live(one("waiter"))
		w.clock.add(89 * time.Second)
		w.equal("holders before", map[string]string{"n": "build"}, w.holders())
		w.clock.add(time.Second)
		waiter.granted()
	}},

	{"a lease shorter than the way to its claim begins with the claim", func(w *world) {
		w.add("n")
		a := w.grant(one("build", lease(10*time.Second)))
		w.clock.add(20 * time.Second)
		w.tend() // sees no end but the heartbeat's
		claimed, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("its end", claimed.ClaimedAt.Add(10*time.Second), claimed.ExpiresAt)
		c := w.live(one("waiter"))
		w.clock.set(claimed.ExpiresAt)
		c.granted()
	}},

	{"by reclaim an expired lease is taken back at its end, not before, and the node is suspect", func(w *world) {
		w.add("n")
		a := w.hold(one("build", lease(time.Minute)))
		w.clock.set(a.ExpiresAt.Add(-time.Millisecond))
		w.equal("tend before", pool.TendResult{Pools: 1}, w.tend())
		w.equal("holders", map[string]string{"n": "build"}, w.holders())
		w.clock.set(a.ExpiresAt)
		w.equal("tend at the end", pool.TendResult{Pools: 1, Expired: 1}, w.tend())
		n := w.node("n")
		w.equal("the node", []any{pool.Ready, true, "expired while held by build"}, []any{n.Status, n.Suspect, n.Reason})
		w.equal("the end", []any{pool.EndExpired, "", ""}, []any{w.ended("build"), w.last("build").EndDetail, w.last("build").Result})
		w.equal("events", []string{"queued", "granted", "claimed", "expired"}, w.kinds(pool.EventFilter{Owner: "build"}))
	}},

	{"an expired allocation comes back whole, and each node tells whose it was", func(w *world) {
		w.add("a", "b", "c", "d")
		w.hold(many("first", 2, lease(time.Minute)))
		w.hold(many("second", 2, lease(time.Minute)))
		w.clock.add(2 * time.Minute)
		w.equal("tend", pool.TendResult{Pools: 1, Expired: 4}, w.tend())
		for node, owner := range map[string]string{"a": "first", "b": "first", "c": "second", "d": "second"} {
			w.equal("the reason of "+node, "expired while held by "+owner, w.node(node).Reason)
		}
	}},

	{"who alone waits moves the queue when a lease ends", func(w *world) {
		w.add("n")
		w.hold(one("build", lease(30*time.Second)))
		c := w.live(one("waiter"))
		w.clock.add(30 * time.Second)
		w.equal("what the waiter gets", []string{"n"}, c.granted().NodeNames())
		w.equal("the build's end", pool.EndExpired, w.ended("build"))
	}},

	{"who alone waits moves the queue when a client dies before its claim", func(w *world) {
		w.add("n")
		w.grant(one("build"))
		c := w.live(one("waiter"))
		w.clock.add(time.Minute)
		w.equal("what the waiter gets", []string{"n"}, c.granted().NodeNames())
		w.equal("the build's end", pool.EndLapsed, w.ended("build"))
		w.equal("whether the node is suspect", false, w.node("n").Suspect)
	}},

	{"the end of a lease is seen in time, whatever passes came between its grant and its claim", func(w *world) {
		w.add("n", "m")
		a := w.grant(one("build", lease(40*time.Second)))
		w.hold(one("brief", lease(time.Second), needs("name=m")))
		w.clock.add(time.Second)
		w.tend()
		_, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		c := w.live(one("waiter", needs("name=n")))
		w.clock.set(a.ExpiresAt)
		c.granted()
	}},

	{"by ask an expired lease is left for the grace, in which it can be extended or given back", func(w *world) {
		w.policy("default", "on_expiry=ask", "grace=10m", "lease=30s")
		w.add("a", "b", "c")
		w.hold(one("silent", needs("name=a")))
		w.hold(one("slow", needs("name=b")))
		w.hold(one("done", needs("name=c")))
		w.clock.add(9 * time.Minute)
		w.equal("tend within the grace", pool.TendResult{Pools: 1}, w.tend())
		w.equal("what is given back", []string{"c"}, returned(w.release("done")))
		w.equal("whether it is suspect", false, w.node("c").Suspect)
		_, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "slow", Lease: time.Hour})
		w.ok(err)
		w.clock.add(2 * time.Minute)
		w.equal("tend after it", pool.TendResult{Pools: 1, Expired: 1}, w.tend())
		w.equal("holders", map[string]string{"b": "slow"}, w.holders())
		w.equal("whether it is suspect", true, w.node("a").Suspect)
	}},

	{"who alone waits moves the queue when the grace is over", func(w *world) {
		w.policy("default", "on_expiry=ask", "grace=20s", "lease=10s")
		w.add("n")
		a := w.hold(one("build"))
		c := w.live(one("waiter"))
		w.clock.set(a.ExpiresAt)
		w.tend() // looks, and sees when to look again
		w.equal("holders within the grace", map[string]string{"n": "build"}, w.holders())
		w.clock.add(20 * time.Second)
		w.equal("what the waiter gets", []string{"n"}, c.granted().NodeNames())
	}},

	{"by quarantine the nodes of an expired lease are broken until somebody says that they are ready", func(w *world) {
		w.policy("default", "on_expiry=quarantine", "lease=30s")
		w.add("a", "b")
		w.hold(many("build", 2))
		c := w.queue(one("waiter"))
		w.clock.add(30 * time.Second)
		w.equal("tend", 2, w.tend().Expired)
		for _, name := range []string{"a", "b"} {
			n := w.node(name)
			w.equal("node "+name, []any{pool.Broken, "expired while held by build", "", int64(0)}, []any{n.Status, n.Reason, n.Owner, n.Allocation})
			w.equal("its history", []string{"node-added", "granted", "expired", "broken"}, w.kinds(pool.EventFilter{Node: name}))
		}
		w.equal("the queue", []string{"waiter"}, w.waiting("default"))
		_, err := w.db.MarkReady(w.ctx, "a")
		w.ok(err)
		c.granted()
		// A build that gives its node back in time is none of the policy's business.
		w.release("waiter")
		w.equal("the node", pool.Ready, w.node("a").Status)
	}},

	{"where the pool asks for cleaning an expired node is dirty and suspect", func(w *world) {
		w.policy("default", "cleaning=true", "lease=30s")
		w.add("n")
		w.hold(one("build"))
		w.clock.add(30 * time.Second)
		w.tend()
		n := w.node("n")
		w.equal("the node", []any{pool.Dirty, true}, []any{n.Status, n.Suspect})
	}},

	{"a change of the policy counts for the leases that are over already", func(w *world) {
		w.policy("default", "on_expiry=ask", "grace=10h", "lease=30s")
		w.add("n")
		w.hold(one("build"))
		c := w.queue(one("waiter"))
		w.clock.add(40 * time.Second)
		w.tend()
		w.equal("holders by ask", map[string]string{"n": "build"}, w.holders())
		w.policy("default", "on_expiry=reclaim")
		w.equal("what the waiter gets", []string{"n"}, c.granted().NodeNames())
	}},

	{"of a lease's end and its release one comes first, and both agree on which", func(w *world) {
		w.policy("default", "lease=30s")
		names := []string{"a", "b", "c", "d"}
		w.add(names...)
		for _, name := range names {
			w.hold(one(name, needs("name="+name)))
		}
		w.clock.add(30 * time.Second)
		late := make([]bool, len(names))
		w.together(2*len(names), func(i int, db *pool.DB) {
			if i%2 == 1 {
				if _, err := db.Tend(w.ctx); err != nil {
					w.Errorf("tend: %v", err)
				}
				return
			}
			_, err := db.Release(w.ctx, pool.ReleaseRequest{Owner: names[i/2]})
			late[i/2] = err != nil
			if err != nil {
				w.refused(err, pool.ErrConflict, "expired")
			}
		})
		for i, name := range names {
			want := pool.EndReleased
			if late[i] {
				want = pool.EndExpired
			}
			w.equal("the end of "+name, want, w.ended(name))
			w.equal("whether node "+name+" is suspect", late[i], w.node(name).Suspect)
		}
	}},
}
