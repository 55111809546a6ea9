package pooltest

import (
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// bigWaits puts a request for all nodes of the default pool into the queue, behind builds that hold all
// but the first: that one is ready, and is set aside.
func (w *world) bigWaits(names ...string) *client {
	w.Helper()
	w.add(names...)
	for _, n := range names[1:] {
		w.hold(one("holds "+n, needs("name="+n), lease(10*time.Hour)))
	}
	return w.queue(many("big", len(names)))
}

var setAsideCases = []testCase{
	{"a big request is not starved by small ones that come later", func(w *world) {
		big := w.bigWaits("a", "b", "c")
		w.refused(w.ask(one("hasty")), pool.ErrNoNode)
		small := w.queue(one("small"))
		w.release("holds b")
		w.refused(w.ask(one("hasty")), pool.ErrNoNode)
		w.equal("holders", map[string]string{"c": "holds c"}, w.holders())
		w.release("holds c")
		w.equal("nodes", []string{"a", "b", "c"}, sorted(big.granted().NodeNames()))
		w.release("big")
		small.granted()
	}},

	{"what a big request does not need goes to who is behind it", func(w *world) {
		w.add("a", "b", "c")
		w.addNode("gpu", having("gpu", "1"))
		w.hold(one("holds gpu", needs("gpu")))
		r := one("big")
		r.Groups = []pool.Group{group("plain", 1, "gpu:absent"), group("accelerated", 1, "gpu")}
		w.queue(r)
		w.equal("nodes", []string{"b", "c"}, w.grant(many("small", 2)).NodeNames())
		w.refused(w.ask(one("smaller")), pool.ErrNoNode)
		w.release("holds gpu")
		w.equal("holders", map[string]string{"a": "big", "b": "small", "c": "small", "gpu": "big"}, w.holders())
	}},

	{"only nodes that suit it are set aside for a request", func(w *world) {
		w.addNode("gpu1", having("gpu", "1"))
		w.addNode("gpu2", having("gpu", "1"))
		w.add("a")
		w.hold(one("holds gpu1", needs("gpu")))
		w.queue(many("big", 2, needs("gpu")))
		w.equal("nodes", []string{"a"}, w.grant(one("small")).NodeNames())
		w.refused(w.ask(one("hasty", needs("gpu"))), pool.ErrNoNode)
	}},

	{"the nodes that would go out first are set aside", func(w *world) {
		w.addNode("dear", costing(5))
		w.add("a", "b")
		w.addNode("gpu", having("gpu", "1"))
		w.hold(one("holds gpu", needs("gpu")))
		r := one("big")
		r.Groups = []pool.Group{group("plain", 1, "gpu:absent"), group("accelerated", 1, "gpu")}
		w.queue(r)
		w.equal("nodes", []string{"b", "dear"}, w.grant(many("small", 2)).NodeNames())
	}},

	{"who is before a big request takes the nodes that are set aside for it", func(w *world) {
		big := w.bigWaits("a", "b")
		w.equal("nodes", []string{"a"}, w.hold(one("urgent", priority(1))).NodeNames())
		w.release("holds b")
		w.release("urgent")
		big.granted()
	}},

	{"big requests are served one after the other, each as a whole", func(w *world) {
		w.add("a", "b", "c")
		for _, n := range []string{"a", "b", "c"} {
			w.hold(one("holds "+n, needs("name="+n)))
		}
		first, second := w.queue(many("first", 2)), w.queue(many("second", 2))
		w.queue(one("small"))
		w.release("holds a")
		w.release("holds c")
		w.equal("the first's nodes", []string{"a", "c"}, sorted(first.claimed().NodeNames()))
		w.release("holds b")
		w.equal("holders", map[string]string{"a": "first", "c": "first"}, w.holders())
		w.release("first")
		w.equal("the second's nodes", []string{"a", "b"}, sorted(second.granted().NodeNames()))
		w.equal("who has c", "small", w.holders()["c"])
	}},

	{"a dirty node counts for a big request: it is in service", func(w *world) {
		w.add("a", "b")
		_, err := w.db.MarkDirty(w.ctx, "b", "")
		w.ok(err)
		big := w.queue(many("big", 2))
		w.refused(w.ask(one("hasty")), pool.ErrNoNode)
		_, err = w.db.MarkReady(w.ctx, "b")
		w.ok(err)
		big.granted()
	}},

	{"for who waits for broken or maintained nodes nothing is set aside, it keeps its place and is told so", func(w *world) {
		w.policy("p", "lease=30s", "on_expiry=quarantine")
		w.addNode("a", inPool("p"))
		w.addNode("b", inPool("p"))
		w.addNode("c", inPool("p"))
		w.breakNode("p", "b")
		_, err := w.db.SetMaintenance(w.ctx, "c", true, "fan")
		w.ok(err)
		_, err = w.db.SetPool(w.ctx, "p", changes("lease=1h"))
		w.ok(err)
		big := w.queue(many("big", 3, from("p")))
		if reason := big.told[0].Reason; !strings.Contains(reason, "broken or in maintenance") || !strings.Contains(reason, "nothing back") {
			w.Errorf("it is told %q", reason)
		}
		w.equal("nodes", []string{"a"}, w.hold(one("small", from("p"))).NodeNames())
		later := w.queue(one("later", from("p")))
		_, err = w.db.SetMaintenance(w.ctx, "c", false, "")
		w.ok(err)
		w.equal("the later one's nodes", []string{"c"}, later.granted().NodeNames())
		_, err = w.db.MarkReady(w.ctx, "b")
		w.ok(err)
		w.equal("holders", map[string]string{"a": "small", "c": "later"}, w.holders()) // b is set aside now
		w.release("small")
		w.release("later")
		big.granted()
	}},

	{"when a big request goes away, who is behind it gets what was set aside", func(w *world) {
		// Each way in which it goes, from the same beginning: a is set aside for big, small waits for it.
		big := w.bigWaits("a", "b")
		next := func(small *client) {
			w.Helper()
			w.equal("who has a", "small", w.holders()["a"])
			w.release("small")
			if _, err := small.result(); err != nil {
				w.equal("small's end", pool.EndCancelled, w.ended("small"))
			}
		}
		small := w.queue(one("small"))
		big.giveUp()
		next(small)

		w.queue(many("big", 2))
		small = w.queue(one("small"))
		w.release("big")
		next(small)

		timed := w.start(many("big", 2), 1, true, w.db)
		small = w.queue(one("small"))
		_, err := timed.result()
		w.refused(err, pool.ErrNoNode)
		next(small)

		w.queue(many("big", 2))
		w.clock.add(30 * time.Second)
		small = w.queue(one("small"))
		w.clock.add(31 * time.Second)
		w.equal("tickets lapsed", 1, w.tend().Lapsed)
		next(small)

		// And where only a client that waits sees it.
		w.queue(many("big", 2))
		w.clock.add(30 * time.Second)
		small = w.live(one("small"))
		w.clock.add(31 * time.Second)
		w.equal("nodes", []string{"a"}, small.granted().NodeNames())
	}},

	{"a request that does not wait leaves nothing set aside behind it", func(w *world) {
		// Its ticket is in the queue for a moment; who runs a pass in that moment sees it.
		w.bigWaits("a", "b").giveUp()
		w.refused(w.ask(many("big", 2)), pool.ErrNoNode)
		w.equal("nodes", []string{"a"}, w.grant(one("small")).NodeNames())
	}},

	{"when a node goes out of service without which a big request cannot be met, who is behind it is served", func(w *world) {
		big := w.bigWaits("a", "b")
		small := w.queue(one("small"))
		_, err := w.db.SetMaintenance(w.ctx, "b", true, "fan")
		w.ok(err)
		w.equal("small's nodes", []string{"a"}, small.granted().NodeNames())
		w.equal("who waits", []string{"big"}, w.waiting("default"))
		w.release("small")
		w.release("holds b")
		_, err = w.db.SetMaintenance(w.ctx, "b", false, "")
		w.ok(err)
		big.granted()
	}},

	{"when a node breaks without which a big request cannot be met, who is behind it is served", func(w *world) {
		w.policy("default", "on_expiry=quarantine", "clean_limit=30s")
		w.add("a", "b")
		w.addNode("x", having("gpu", "1"))
		w.hold(one("late", needs("name=b"), lease(30*time.Second)))
		w.hold(one("other", needs("name=x")))
		w.waits(many("big", 2, needs("gpu:absent")))
		w.waits(one("small", needs("gpu:absent")))
		w.clock.add(31 * time.Second)
		w.release("other") // whose pass sees that a lease is over
		w.equal("b", pool.Broken, w.node("b").Status)
		w.equal("holders", map[string]string{"a": "small"}, w.holders())

		w.release("small")
		_, err := w.db.MarkDirty(w.ctx, "b", "")
		w.ok(err)
		w.waits(one("small", needs("gpu:absent")))
		w.equal("holders", map[string]string{}, w.holders()) // b may be cleaned, so big has its claim again
		w.hold(one("other", needs("name=x")))
		w.clock.add(31 * time.Second)
		w.release("other")
		w.equal("b", pool.Broken, w.node("b").Status)
		w.equal("holders", map[string]string{"a": "small"}, w.holders())
	}},

	{"when a node is removed or moved away, who is behind a big request that needed it is served", func(w *world) {
		w.policy("other")
		w.add("a", "b", "c")
		_, err := w.db.MarkDirty(w.ctx, "b", "")
		w.ok(err)
		_, err = w.db.SetMaintenance(w.ctx, "c", true, "fan")
		w.ok(err)
		big, small := w.queue(many("big", 2)), w.queue(one("small"))
		_, err = w.db.SetNode(w.ctx, "b", changes("pool=other"))
		w.ok(err)
		w.equal("small's nodes", []string{"a"}, small.granted().NodeNames()) // big waits for c now
		w.equal("who waits", []string{"big"}, w.waiting("default"))
		w.release("small")
		_, err = w.db.SetMaintenance(w.ctx, "c", false, "")
		w.ok(err)
		w.equal("big's nodes", []string{"a", "c"}, sorted(big.granted().NodeNames()))
		w.release("big")

		_, err = w.db.MarkDirty(w.ctx, "c", "")
		w.ok(err)
		big, small = w.queue(many("big", 2)), w.queue(one("small"))
		w.ok(w.db.RemoveNode(w.ctx, "c"))
		_, err = big.result()
		w.refused(err, pool.ErrImpossible)
		w.equal("small's nodes", []string{"a"}, small.granted().NodeNames())
	}},
}
