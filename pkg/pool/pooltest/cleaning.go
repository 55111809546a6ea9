package pooltest

import (
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

var cleaningCases = []testCase{
	{"where the pool cleans, a node that a build had is dirty until it is said to be ready", func(w *world) {
		w.policy("p", "cleaning=true")
		w.addNode("a", inPool("p"))
		w.hold(one("build", from("p")))
		c := w.queue(one("waiter", from("p")))
		w.release("build")
		w.equal("status", pool.Dirty, w.node("a").Status)
		w.equal("holders", map[string]string{}, w.holders())
		n, err := w.db.MarkReady(w.ctx, "a")
		w.ok(err)
		w.equal("owner", "waiter", n.Owner)
		w.equal("nodes", []string{"a"}, c.granted().NodeNames())
		w.equal("events", []string{"node-added", "granted", "released", "ready", "granted"}, w.kinds(pool.EventFilter{Node: "a"}))
	}},

	{"a build may ask for its nodes to be cleaned where the pool does not", func(w *world) {
		w.add("a", "b")
		w.hold(many("build", 2))
		_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build", Dirty: true})
		w.ok(err)
		w.equal("status", []any{pool.Dirty, pool.Dirty}, []any{w.node("a").Status, w.node("b").Status})
		w.refused(w.ask(one("other")), pool.ErrNoNode)
	}},

	{"a node that no build had need not be cleaned", func(w *world) {
		w.policy("p", "cleaning=true")
		w.addNode("a", inPool("p"))
		w.ok(w.db.Cancel(w.ctx, w.grant(one("undone", from("p"))).Token, "aborted"))
		w.equal("status", pool.Ready, w.node("a").Status)
		w.grant(one("early", from("p")))
		_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "early", Dirty: true})
		w.ok(err)
		w.equal("status", pool.Ready, w.node("a").Status)
	}},

	{"a node taken back by time where the pool cleans is dirty and suspect, and clean again trusted", func(w *world) {
		w.policy("p", "cleaning=true", "lease=30s")
		w.addNode("a", inPool("p"))
		w.hold(one("late", from("p")))
		w.clock.add(31 * time.Second)
		w.tend()
		n := w.node("a")
		w.equal("status, suspect, reason", []any{pool.Dirty, true, "expired while held by late"}, []any{n.Status, n.Suspect, n.Reason})
		n, err := w.db.MarkReady(w.ctx, "a")
		w.ok(err)
		w.equal("status, suspect, reason", []any{pool.Ready, false, ""}, []any{n.Status, n.Suspect, n.Reason})
	}},

	{"a person may ask for a free node to be cleaned, and why is shown", func(w *world) {
		w.add("a", "b")
		n, err := w.db.MarkDirty(w.ctx, "a", "smells")
		w.ok(err)
		w.equal("status, reason", []any{pool.Dirty, "smells"}, []any{n.Status, n.Reason})
		w.equal("nodes", []string{"b"}, w.hold(one("build")).NodeNames())
		_, err = w.db.MarkDirty(w.ctx, "b", "")
		w.refused(err, pool.ErrConflict, "build")
		_, err = w.db.MarkReady(w.ctx, "b")
		w.refused(err, pool.ErrConflict, "build", "release")
		_, err = w.db.MarkDirty(w.ctx, "ghost", "")
		w.refused(err, pool.ErrNotFound, "ghost")
		_, err = w.db.MarkReady(w.ctx, "ghost")
		w.refused(err, pool.ErrNotFound, "ghost")
		_, err = w.db.MarkDirty(w.ctx, "a", "two\nlines")
		w.refused(err, pool.ErrInvalid, "a")
	}},

	{"ready for a node that is ready and trusted changes nothing", func(w *world) {
		w.add("a", "b")
		before := w.node("a")
		n, err := w.db.MarkReady(w.ctx, "a")
		w.ok(err)
		w.equal("the node", before, n)
		w.equal("events", []string{"node-added"}, w.kinds(pool.EventFilter{Node: "a"}))
		w.equal("nodes, longest idle first", []string{"a"}, w.grant(one("build")).NodeNames())
	}},

	{"a node that is dirty for longer than the pool allows is broken, with a reason", func(w *world) {
		w.policy("p", "cleaning=true", "clean_limit=10m")
		w.addNode("a", inPool("p"))
		w.hold(one("build", from("p")))
		w.release("build")
		w.clock.add(9 * time.Minute)
		w.equal("broken", 0, w.tend().Broken)
		w.equal("status", pool.Dirty, w.node("a").Status)
		w.clock.add(2 * time.Minute)
		w.equal("broken", 1, w.tend().Broken)
		n := w.node("a")
		w.equal("status, reason", []any{pool.Broken, "not cleaned within 10m"}, []any{n.Status, n.Reason})
		w.equal("the last event", "broken", last(w.kinds(pool.EventFilter{Node: "a"})))
		n, err := w.db.MarkReady(w.ctx, "a")
		w.ok(err)
		w.equal("status, reason", []any{pool.Ready, ""}, []any{n.Status, n.Reason})
	}},

	{"a client that waits sees by itself that a node is not cleaned in time", func(w *world) {
		w.policy("p", "clean_limit=30s")
		w.addNode("a", inPool("p"))
		w.addNode("b", inPool("p"))
		_, err := w.db.MarkDirty(w.ctx, "b", "")
		w.ok(err)
		w.queue(many("big", 2, from("p")))
		w.clock.add(20 * time.Second)
		c := w.live(one("small", from("p")))
		w.clock.add(11 * time.Second)
		// Without b nothing is held back for the big one.
		w.equal("nodes", []string{"a"}, c.granted().NodeNames())
		w.equal("status", pool.Broken, w.node("b").Status)
	}},

	{"asking for it again begins the time for cleaning anew, and a new limit holds from the next time on", func(w *world) {
		w.policy("p", "clean_limit=10m")
		w.addNode("a", inPool("p"))
		_, err := w.db.MarkDirty(w.ctx, "a", "")
		w.ok(err)
		w.clock.add(9 * time.Minute)
		_, err = w.db.MarkDirty(w.ctx, "a", "again")
		w.ok(err)
		w.clock.add(9 * time.Minute)
		w.tend()
		w.equal("status", pool.Dirty, w.node("a").Status)
		_, err = w.db.SetPool(w.ctx, "p", changes("clean_limit=1m"))
		w.ok(err)
		w.equal("status", pool.Dirty, w.node("a").Status)
		w.clock.add(2 * time.Minute)
		w.tend()
		w.equal("status", pool.Broken, w.node("a").Status)
	}},

	{"a dirty node that moves to another pool takes its time with it", func(w *world) {
		w.policy("p", "clean_limit=1m")
		w.policy("q")
		w.addNode("a", inPool("p"))
		w.addNode("b", inPool("q"))
		w.hold(one("holds b", from("q")))
		w.clock.add(2 * time.Minute)
		w.tend() // the next that is due in q is a lease
		_, err := w.db.MarkDirty(w.ctx, "a", "")
		w.ok(err)
		_, err = w.db.SetNode(w.ctx, "a", changes("pool=q"))
		w.ok(err)
		w.clock.add(61 * time.Second)
		w.release("holds b") // any pass of its pool sees it
		w.equal("status", pool.Broken, w.node("a").Status)
	}},
}
