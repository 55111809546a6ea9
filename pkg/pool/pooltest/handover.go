package pooltest

import (
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// handsOver does something that frees a node, or makes one fit, while one client stands in the queue and
// looks at nothing: the node must be its when the call returns, by the same operation.
func (w *world) handsOver(node string, r pool.Request, free func()) {
	w.Helper()
	c := w.queue(r)
	before, err := w.db.Events(w.ctx, pool.EventFilter{})
	w.ok(err)
	free()
	w.equal("who has "+node, r.Owner, w.holders()[node])
	events, err := w.db.Events(w.ctx, pool.EventFilter{})
	w.ok(err)
	events = events[len(before):]
	operations := map[string]bool{}
	for _, e := range events {
		operations[e.Operation] = true
	}
	if len(operations) != 1 || len(events) < 2 {
		w.Errorf("the node is not freed and granted in one operation: %+v", events)
	}
	w.equal("the last event", "granted", events[len(events)-1].Kind)
	w.equal("nodes", []string{node}, c.claimed().NodeNames())
	w.release(r.Owner)
}

var handOverCases = []testCase{
	{"whatever frees a node hands it to the first in the queue, in the same transaction", func(w *world) {
		w.policy("p", "on_expiry=reclaim", "lease=30s")
		w.addNode("a", inPool("p"))
		r := one("waiter", from("p"))
		hold := func() *pool.Allocation { return w.hold(one("build", from("p"))) }

		hold()
		w.handsOver("a", r, func() { w.release("build") })
		a := hold()
		w.handsOver("a", r, func() {
			_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Token: a.Token})
			w.ok(err)
		})
		a = w.grant(one("build", from("p")))
		w.handsOver("a", r, func() { w.ok(w.db.Cancel(w.ctx, a.Token, "unwritable file")) })
		hold()
		w.handsOver("a", r, func() {
			_, err := w.db.Revoke(w.ctx, "a", "needed")
			w.ok(err)
		})
		hold()
		w.handsOver("a", r, func() {
			w.clock.add(31 * time.Second)
			w.tend()
		})
		w.grant(one("build", from("p")))
		w.clock.add(30 * time.Second)
		w.handsOver("a", r, func() {
			w.clock.add(31 * time.Second)
			w.tend()
		})
	}},

	{"whatever brings a node into service, or makes it fit, hands it to the first in the queue", func(w *world) {
		w.policy("p")
		w.policy("other")
		w.addNode("a", inPool("p"))
		set := func(name string, fields ...string) func() {
			return func() {
				_, err := w.db.SetNode(w.ctx, name, changes(fields...))
				w.ok(err)
			}
		}
		_, err := w.db.MarkDirty(w.ctx, "a", "")
		w.ok(err)
		w.handsOver("a", one("waiter", from("p")), func() {
			_, err := w.db.MarkReady(w.ctx, "a")
			w.ok(err)
		})
		_, err = w.db.SetMaintenance(w.ctx, "a", true, "fan")
		w.ok(err)
		w.handsOver("a", one("waiter", from("p")), func() {
			_, err := w.db.SetMaintenance(w.ctx, "a", false, "")
			w.ok(err)
		})
		w.ok(w.db.PausePool(w.ctx, "p", "the lab moves"))
		w.handsOver("a", one("waiter", from("p")), func() { w.ok(w.db.ResumePool(w.ctx, "p")) })

		w.addNode("b", inPool("p"), having("gpu", "old"))
		w.hold(one("build", from("p"), needs("gpu")))
		w.handsOver("a", one("waiter", from("p"), needs("gpu")), set("a", "gpu=new"))
		w.addNode("c", inPool("other"), having("gpu", "1"))
		w.ok(w.db.RemoveNode(w.ctx, "a"))
		w.handsOver("c", one("waiter", from("p")), set("c", "pool=p"))
		w.handsOver("d", one("waiter", from("p"), needs("name:not=c", "arch=x86_64"), slot("s")), func() { w.addNode("d", inPool("p")) })
		e := w.spec("e", inPool("p"))
		w.handsOver("e", one("waiter", from("p"), needs("name:not=c,d")), func() { w.inventory(pool.ImportOptions{}, e) })
	}},

	{"a node that comes back goes past who cannot use it, and several go to several", func(w *world) {
		w.add("a", "b")
		w.addNode("gpu", having("gpu", "1"))
		w.hold(one("holds gpu", needs("gpu")))
		w.hold(many("holds two", 2))
		w.queue(one("first", needs("gpu")))
		w.queue(one("second"))
		w.queue(one("third"))
		w.queue(one("fourth"))
		w.release("holds two")
		w.equal("holders", map[string]string{"gpu": "holds gpu", "a": "second", "b": "third"}, w.holders())
		w.release("holds gpu")
		w.equal("who has gpu", "first", w.holders()["gpu"])
	}},

	{"a request of several nodes gets those that are ready beside the one that comes back", func(w *world) {
		w.add("a", "b", "c")
		w.hold(one("holds a"))
		w.queue(many("waiter", 3))
		w.release("holds a")
		w.equal("holders", map[string]string{"a": "waiter", "b": "waiter", "c": "waiter"}, w.holders())
	}},

	{"a pool with one waiter needs no daemon: it sees what is due and takes it back", func(w *world) {
		w.policy("p", "lease=5m")
		w.addNode("a", inPool("p"))
		w.hold(one("build", from("p")))
		c := w.live(one("waiter", from("p")))
		w.clock.add(4 * time.Minute)
		w.equal("the build", pool.EndReason(""), w.ended("build"))
		w.clock.add(2 * time.Minute)
		w.equal("nodes", []string{"a"}, c.granted().NodeNames())
		w.equal("the build's end", pool.EndExpired, w.ended("build"))
	}},

	{"a client that dies before the claim costs the next one a minute, without a daemon", func(w *world) {
		w.add("a")
		w.grant(one("died"))
		c := w.live(one("waiter"))
		w.clock.add(61 * time.Second)
		w.equal("nodes", []string{"a"}, c.granted().NodeNames())
		w.equal("its end", pool.EndLapsed, w.ended("died"))
	}},

	{"each grant that is due is seen in its time, whatever came before", func(w *world) {
		// next_due must be a lower bound after every kind of change.
		w.policy("p", "lease=2h")
		for _, n := range []string{"a", "b", "c"} {
			w.addNode(n, inPool("p"))
		}
		w.hold(one("long", from("p"), needs("name=a"), lease(2*time.Hour)))
		b := w.hold(one("extended", from("p"), needs("name=b"), lease(10*time.Minute)))
		w.hold(one("short", from("p"), needs("name=c"), lease(30*time.Minute)))
		_, err := w.db.Extend(w.ctx, pool.ExtendRequest{Token: b.Token, Lease: time.Hour})
		w.ok(err)
		for _, want := range []struct {
			after time.Duration
			node  string
		}{{31 * time.Minute, "c"}, {30 * time.Minute, "b"}, {61 * time.Minute, "a"}} {
			c := w.live(one("waits for "+want.node, from("p")))
			w.clock.add(want.after)
			w.equal("nodes", []string{want.node}, c.claimed().NodeNames())
			_, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "waits for " + want.node, Lease: 20 * time.Hour})
			w.ok(err)
		}
	}},

	{"a hand-over changes the generation, so that who had the node before can touch nothing", func(w *world) {
		w.add("a")
		before := w.hold(one("before", lease(30*time.Second)))
		w.waits(one("after"))
		w.clock.add(31 * time.Second)
		w.tend()
		w.equal("the generation", before.Nodes[0].Generation+1, w.node("a").Generation)
		_, err := w.db.SetNodes(w.ctx, []string{"a"}, held("before", "note=mine"))
		w.refused(err, pool.ErrConflict, "after")
		for _, token := range []secret.Text{before.Token, {}} {
			owner := ""
			if token.IsZero() {
				owner = "before"
			}
			_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Token: token, Owner: owner})
			w.refused(err, pool.ErrConflict, "after")
			_, err = w.db.Extend(w.ctx, pool.ExtendRequest{Token: token, Owner: owner, Lease: time.Hour})
			w.refused(err, pool.ErrConflict, "after")
		}
		w.equal("who has a", "after", w.holders()["a"])
	}},
}
