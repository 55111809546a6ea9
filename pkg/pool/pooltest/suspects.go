package pooltest

import (
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// suspect has a build lose a node of the default pool by the end of its lease.
func (w *world) suspect(names ...string) {
	w.Helper()
	for _, name := range names {
		w.hold(one("loses "+name, needs("name="+name), lease(30*time.Second)))
		w.clock.add(31 * time.Second)
		w.tend()
		if n := w.node(name); !n.Suspect || n.Status != pool.Ready {
			w.Fatalf("%s is %s, suspect %v", name, n.Status, n.Suspect)
		}
	}
}

var suspectCases = []testCase{
	{"a node taken back from a build that never gave it back is suspect, and says from whom", func(w *world) {
		w.add("a", "b", "c")
		for _, owner := range []string{"first", "second", "third"} {
			w.hold(one(owner, lease(30*time.Second)))
		}
		_, err := w.db.Revoke(w.ctx, "c", "needed")
		w.ok(err)
		w.clock.add(31 * time.Second)
		w.equal("nodes taken back", 2, w.tend().Expired) // in one pass, and yet each from its own
		for name, reason := range map[string]string{
			"a": "expired while held by first", "b": "expired while held by second", "c": "revoked while held by third",
		} {
			n := w.node(name)
			w.equal(name, []any{pool.Ready, true, reason}, []any{n.Status, n.Suspect, n.Reason})
		}
	}},

	{"suspects go out last, whatever they cost and however long they were idle", func(w *world) {
		w.add("a", "b")
		w.addNode("dear", costing(9))
		w.addNode("dearer", costing(10))
		w.suspect("dearer", "b")
		for _, want := range []string{"a", "dear", "b", "dearer"} {
			w.equal("nodes", []string{want}, w.hold(one("wants "+want)).NodeNames())
		}
	}},

	{"the next user of a suspect is told", func(w *world) {
		w.add("a")
		w.suspect("a")
		n := w.grant(one("next")).Nodes[0]
		w.equal("suspect, reason", []any{true, "expired while held by loses a"}, []any{n.Suspect, n.Reason})
		w.equal("the node", true, w.node("a").Suspect)
	}},

	{"a normal release by its next user clears it", func(w *world) {
		w.add("a")
		w.suspect("a")
		w.hold(one("next"))
		w.release("next")
		n := w.node("a")
		w.equal("suspect, reason", []any{false, ""}, []any{n.Suspect, n.Reason})
	}},

	{"a next user that never had it, or lost it too, does not clear it", func(w *world) {
		w.add("a")
		w.suspect("a")
		still := func(who string) {
			w.Helper()
			n := w.node("a")
			w.equal("status, suspect, reason", []any{pool.Ready, true, "expired while held by " + who}, []any{n.Status, n.Suspect, n.Reason})
		}
		w.ok(w.db.Cancel(w.ctx, w.grant(one("undone")).Token, "aborted"))
		still("loses a")
		w.ok(w.db.Cancel(w.ctx, w.hold(one("cannot rename")).Token, "rename failed"))
		still("loses a")
		w.grant(one("died"))
		w.clock.add(61 * time.Second)
		w.tend()
		still("loses a")
		w.hold(one("late", lease(30*time.Second)))
		w.clock.add(31 * time.Second)
		w.tend()
		still("late")
	}},

	{"ready clears it, and it goes out in its turn again", func(w *world) {
		w.add("a", "b")
		w.suspect("a")
		n, err := w.db.MarkReady(w.ctx, "a")
		w.ok(err)
		w.equal("suspect, reason", []any{false, ""}, []any{n.Suspect, n.Reason})
		w.equal("events", "ready", last(w.kinds(pool.EventFilter{Node: "a"})))
		w.suspect("b")
		w.equal("nodes", []string{"a", "b"}, w.grant(many("build", 2)).NodeNames())
	}},

	{"who waits gets a suspect rather than nothing", func(w *world) {
		w.add("a")
		w.hold(one("late", lease(30*time.Second)))
		c := w.live(one("waiter"))
		w.clock.add(31 * time.Second)
		n := c.granted().Nodes[0]
		w.equal("node, suspect", []any{"a", true}, []any{n.Name, n.Suspect})
	}},

	{"in a pool that quarantines, a node taken back by time is broken, and one revoked is suspect", func(w *world) {
		w.policy("p", "lease=30s", "on_expiry=quarantine")
		w.addNode("a", inPool("p"))
		w.addNode("b", inPool("p"))
		w.hold(one("late", from("p"), needs("name=a")))
		w.hold(one("revoked", from("p"), needs("name=b")))
		_, err := w.db.Revoke(w.ctx, "b", "needed")
		w.ok(err)
		w.waits(one("waiter", from("p"), needs("name=a")))
		w.clock.add(31 * time.Second)
		w.tend()
		a, b := w.node("a"), w.node("b")
		w.equal("a", []any{pool.Broken, "expired while held by late"}, []any{a.Status, a.Reason})
		w.equal("b", []any{pool.Ready, true}, []any{b.Status, b.Suspect})
		w.equal("holders", map[string]string{}, w.holders())
		a, err = w.db.MarkReady(w.ctx, "a")
		w.ok(err)
		w.equal("a after ready", []any{pool.Allocated, "waiter", false, ""}, []any{a.Status, a.Owner, a.Suspect, a.Reason})
	}},
}
