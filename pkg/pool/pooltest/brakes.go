package pooltest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

var brakeCases = []testCase{
	{"quarantine breaks no more of a pool than its share, and the rest stay in service as suspects", func(w *world) {
		w.policy("default", "on_expiry=quarantine", "max_broken_pct=50", "lease=1h")
		w.policy("other", "on_expiry=quarantine", "max_broken_pct=0", "lease=1h")
		w.add("a", "b", "c", "d")
		w.addNode("o", inPool("other"))
		w.hold(many("big", 3))
		w.hold(one("elsewhere", from("other")))
		w.clock.add(time.Hour)
		w.tend()
		statuses := func() map[pool.Status]int {
			counts := map[pool.Status]int{}
			for _, name := range []string{"a", "b", "c", "d"} {
				n := w.node(name)
				counts[n.Status]++
				if n.Status == pool.Ready && n.Suspect {
					counts["suspect"]++
				}
			}
			return counts
		}
		w.equal("statuses", map[pool.Status]int{pool.Broken: 2, pool.Ready: 2, "suspect": 1}, statuses())
		w.equal("the other pool's", []any{pool.Ready, true}, []any{w.node("o").Status, w.node("o").Suspect})
		// What is broken already counts, whoever holds a node now.
		w.hold(many("again", 2))
		w.clock.add(time.Hour)
		w.tend()
		w.equal("statuses", map[pool.Status]int{pool.Broken: 2, pool.Ready: 2, "suspect": 2}, statuses())
		w.equal("events", 2, len(only(w.kinds(pool.EventFilter{}), "broken")))
	}},

	{"cleaning that takes too long breaks no more than the share, and the rest are looked at again", func(w *world) {
		w.policy("default", "cleaning=true", "clean_limit=1h", "max_broken_pct=50")
		w.add("a", "b")
		w.hold(many("build", 2))
		w.release("build")
		w.clock.add(time.Hour)
		w.equal("tend", 1, w.tend().Broken)
		broken, dirty := w.names(pool.NodeFilter{Statuses: []pool.Status{pool.Broken}}), w.names(pool.NodeFilter{Statuses: []pool.Status{pool.Dirty}})
		w.equal("broken and dirty", []int{1, 1}, []int{len(broken), len(dirty)})
		w.equal("the reason", "not cleaned within 1h", w.node(broken[0]).Reason)
		_, err := w.db.MarkReady(w.ctx, broken[0])
		w.ok(err)
		w.equal("tend before it is time again", 0, w.tend().Broken)
		w.clock.add(time.Hour)
		w.equal("tend again", 1, w.tend().Broken)
		w.equal("the other one", pool.Broken, w.node(dirty[0]).Status)
	}},

	{"a person may take out of service what no rule may break", func(w *world) {
		w.policy("default", "max_broken_pct=0", "max_hold_pct=0")
		w.add("a", "b")
		w.maintain("a")
		w.maintain("b")
		w.refused(w.ask(one("build")), pool.ErrNoNode)
	}},

	{"holds take no more of a pool than their share, and who asks for more is told why", func(w *world) {
		w.policy("default", "max_hold_pct=50")
		w.policy("other")
		w.add("a", "b", "c", "d", "e") // half of them is 2
		w.addNode("o", inPool("other"))
		w.hold(one("elsewhere", from("other")))
		w.keep("elsewhere", time.Hour)
		w.hold(many("two", 2))
		w.hold(one("one"))
		w.hold(one("more"))
		hold := func(owner string) error {
			return second(w.db.Hold(w.ctx, pool.HoldRequest{Owner: owner, For: time.Hour, Reason: "look"}))
		}
		w.ok(hold("one"))
		before := w.events()
		w.refused(hold("two"), pool.ErrConflict, "default", "2 of its 5 nodes", "max_hold_pct 50", "1 are")
		w.equal("events", before, w.events())
		w.ok(hold("more"))
		w.ok(hold("one")) // it is among them already
		w.refused(hold("two"), pool.ErrConflict, "max_hold_pct")
		w.release("one")
		w.release("more")
		w.ok(hold("two"))
		w.policy("default", "max_hold_pct=0")
		w.ok(hold("two"))
		w.hold(one("none"))
		w.refused(hold("none"), pool.ErrConflict, "0 of its 5 nodes")
	}},

	{"of holds at the same time no more are granted than the share", func(w *world) {
		w.policy("default", "max_hold_pct=50")
		names := []string{"a", "b", "c", "d"}
		w.add(names...)
		for _, name := range names {
			w.hold(one(name, needs("name="+name)))
		}
		var mu sync.Mutex
		held := 0
		w.together(len(names), func(i int, db *pool.DB) {
			_, err := db.Hold(w.ctx, pool.HoldRequest{Owner: names[i], For: time.Hour, Reason: "look"})
			if err != nil && !errors.Is(err, pool.ErrConflict) {
				w.Errorf("holding %s: %v", names[i], err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				held++
			}
		})
		w.equal("holds", 2, held)
	}},

	{"one job gets its share of the nodes and waits for more; others and builds without a job do not", func(w *world) {
		w.policy("default", "max_per_job_pct=40")
		w.add("a", "b", "c", "d", "e") // 40 per cent of them is 2
		w.hold(one("nightly 1", ofJob("nightly")))
		w.grant(one("nightly 2", ofJob("nightly"))) // not claimed, but it counts
		w.refused(w.ask(one("hasty", ofJob("nightly"))), pool.ErrNoNode, "its job holds 2 of the pool's nodes", "at most 2", "max_per_job_pct 40", "moltenironctl pool list")
		c := w.queue(one("nightly 3", ofJob("nightly")))
		w.equal("why it waits", "its job holds 2 of the pool's nodes, and one job gets at most 2 (max_per_job_pct 40)", c.told[0].Reason)
		w.hold(one("other 1", ofJob("other"))) // nothing is held back for it
		w.hold(many("by hand", 2))
		w.release("other 1")
		w.equal("the queue", []string{"nightly 3"}, w.waiting("default"))
		// Its own job makes room: it gets what was ready all along.
		w.release("nightly 1")
		w.equal("what it gets", 1, len(c.granted().Nodes))
	}},

	{"who waits for its job's share holds nobody up, however it is ranked", func(w *world) {
		w.policy("default", "max_per_job_pct=50")
		w.add("a", "b", "c", "d")
		w.hold(many("nightly 1", 2, ofJob("nightly")))
		w.queue(many("nightly 2", 2, ofJob("nightly"), priority(50)))
		w.hold(many("other", 2, ofJob("other")))
		w.equal("the queue", []string{"nightly 2"}, w.waiting("default"))
		w.release("other")
		w.equal("the queue", []string{"nightly 2"}, w.waiting("default"))
		w.release("nightly 1")
		w.equal("the queue", 0, len(w.waiting("default")))
	}},

	{"who waits for its job's share is told which of its job's builds ends first, and of no other job's", func(w *world) {
		w.policy("default", "max_per_job_pct=50")
		w.add("a", "b", "c", "d")
		w.hold(one("other", needs("name=a"), lease(time.Minute)))
		second := w.hold(one("nightly 1", needs("name=b"), lease(3*time.Hour), ofJob("nightly")))
		first := w.hold(one("nightly 2", needs("name=c"), lease(2*time.Hour), ofJob("nightly")))
		c := w.queue(one("nightly 3", needs("name=a,d"), ofJob("nightly")))
		holders := []pool.Holder{
			{Node: "c", Status: pool.Allocated, Owner: "nightly 2", Generation: 1, ExpiresAt: first.ExpiresAt},
			{Node: "b", Status: pool.Allocated, Owner: "nightly 1", Generation: 1, ExpiresAt: second.ExpiresAt},
		}
		w.equal("what it is told", holders, c.told[0].Holders)
		w.equal("what an explanation says", holders, w.why("nightly 3").Holders)
		queue, err := w.db.ExplainQueue(w.ctx, "")
		w.ok(err)
		w.equal("what the queue says", fmt.Sprintf(`its job holds 2 of the pool's nodes, and one job gets at most 2 (max_per_job_pct 50); first to end: c, held by "nightly 2" until %s`,
			rfc(first.ExpiresAt)), queue[0].Reason)
	}},

	{"a job's small requests that come later do not take the share that its big one waits for", func(w *world) {
		w.policy("default", "max_per_job_pct=50")
		w.add("a", "b", "c", "d", "e", "f") // half of them is 3
		w.hold(one("nightly 1", ofJob("nightly")))
		big := w.queue(many("nightly 2", 3, ofJob("nightly")))
		small := w.queue(one("nightly 3", ofJob("nightly")))
		kept := "its job holds 1 of the pool's nodes, with 2 more kept for its requests that came before, and one job gets at most 3 (max_per_job_pct 50)"
		w.equal("why it waits", kept, small.told[0].Reason)
		w.refused(w.ask(one("hasty", ofJob("nightly"))), pool.ErrNoNode, kept)
		w.hold(one("other", ofJob("other"))) // nothing is kept from other jobs
		w.hold(one("by hand"))
		w.release("nightly 1")
		w.equal("what the big one gets", 3, len(big.granted().Nodes))
		w.equal("the queue", []string{"nightly 3"}, w.waiting("default"))
		w.release("nightly 2")
		small.granted()
	}},

	{"a job's share is kept for who is before also while that waits for nodes, but not for broken ones", func(w *world) {
		w.policy("default", "max_per_job_pct=50")
		w.add("a", "b")
		w.addNode("x", having("gpu", "1"))
		w.addNode("y", having("gpu", "1"))
		w.hold(many("by hand", 2, needs("gpu")))
		big := w.queue(many("nightly 1", 2, needs("gpu"), ofJob("nightly")))
		small := w.queue(one("nightly 2", ofJob("nightly")))
		w.equal("why it waits", "its job holds 0 of the pool's nodes, with 2 more kept for its requests that came before, and one job gets at most 2 (max_per_job_pct 50)", small.told[0].Reason)
		w.maintain("x")
		w.equal("what the small one gets", []string{"a"}, small.granted().NodeNames())
		_, err := w.db.SetMaintenance(w.ctx, "x", false, "")
		w.ok(err)
		w.release("by hand")
		w.refused(w.ask(one("nightly 3", ofJob("nightly"))), pool.ErrNoNode, "its job holds 1 of the pool's nodes, with 1 more kept")
		w.release("nightly 2")
		big.granted()
	}},

	{"when who a job's share was kept for goes away, its later requests are served at once", func(w *world) {
		w.policy("default", "max_per_job_pct=50")
		w.add("a")
		w.addNode("x", having("gpu", "1"))
		w.hold(one("by hand", needs("gpu")))
		for _, goes := range []func(first *client){
			func(*client) { w.release("nightly 1") },
			func(first *client) { first.giveUp() },
			func(*client) { w.clock.add(61 * time.Second); w.tend() },
		} {
			first := w.queue(one("nightly 1", needs("gpu"), ofJob("nightly")))
			w.enqueue(one("nightly 2", ofJob("nightly")), time.Hour)
			w.equal("the queue", []string{"nightly 1", "nightly 2"}, w.waiting("default"))
			goes(first)
			w.equal("who has a", "nightly 2", w.holders()["a"])
			w.release("nightly 2")
		}
	}},

	{"who waits for its job's share until its wait is over is told so, and so is history", func(w *world) {
		w.policy("default", "max_per_job_pct=50")
		w.add("a", "b")
		w.hold(one("nightly 1", ofJob("nightly")))
		_, err := w.start(one("nightly 2", ofJob("nightly")), 1, true, w.db).result()
		why := "its job holds 1 of the pool's nodes, and one job gets at most 1 (max_per_job_pct 50)"
		w.refused(err, pool.ErrNoNode, "pool default", "within the wait", why)
		last := w.last("nightly 2")
		w.equal("its end", []any{pool.EndTimeout, why}, []any{last.EndReason, last.EndDetail})
	}},

	{"a share that grows serves who waits for it at once", func(w *world) {
		w.policy("default", "max_per_job_pct=50")
		w.add("a", "b")
		w.hold(one("nightly 1", ofJob("nightly")))
		c := w.queue(one("nightly 2", ofJob("nightly")))
		d := w.queue(one("nightly 3", ofJob("nightly")))
		w.policy("default", "max_per_job_pct=100")
		w.equal("what it gets", []string{"b"}, c.granted().NodeNames())
		w.policy("default", "max_per_job_pct=67")
		w.add("c") // of three it may have two
		w.equal("the queue", []string{"nightly 3"}, w.waiting("default"))
		w.add("d", "e") // of five it may have three
		d.granted()
	}},

	{"of one job's requests at the same time no more are granted than its share", func(w *world) {
		w.policy("default", "max_per_job_pct=50")
		w.add("a", "b", "c", "d")
		var mu sync.Mutex
		granted := 0
		w.together(6, func(i int, db *pool.DB) {
			_, err := db.Allocate(w.ctx, one(fmt.Sprintf("nightly %d", i), ofJob("nightly")), pool.AllocateOptions{})
			if err != nil && !errors.Is(err, pool.ErrNoNode) {
				w.Errorf("the %dth: %v", i, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				granted++
			}
		})
		w.equal("granted", 2, granted)
	}},

	{"what a job's share could never hold is refused at once, and says so", func(w *world) {
		w.policy("default", "max_per_job_pct=50")
		w.add("a", "b", "c", "d")
		r := one("nightly", ofJob("nightly"))
		r.Groups = []pool.Group{group("x", 2), group("y", 1)}
		w.refused(w.ask(r), pool.ErrImpossible, "default", "at most 2", "max_per_job_pct 50")
		_, err := w.db.Enqueue(w.ctx, r, time.Hour)
		w.refused(err, pool.ErrImpossible, "at most 2")
		r.Labels = nil
		w.equal("without a job", 3, len(w.grant(r).Nodes))
	}},

	{"a request that its job's share could hold no more, because a node was removed, ends", func(w *world) {
		w.policy("default", "max_per_job_pct=50")
		w.add("a", "b", "c", "d")
		w.hold(many("holder", 3))
		c := w.queue(many("nightly", 2, ofJob("nightly")))
		d := w.queue(one("another", ofJob("nightly")))
		w.ok(w.db.RemoveNode(w.ctx, "d"))
		_, err := c.result()
		w.refused(err, pool.ErrImpossible, "at most 1", "max_per_job_pct 50")
		w.equal("the queue", []string{"another"}, w.waiting("default"))
		w.release("holder")
		d.granted()
	}},

	{"a priority goes no further than the pool's max_priority, up and down", func(w *world) {
		w.policy("default", "max_priority=3")
		w.add("n")
		w.hold(one("holder"))
		for asked, want := range map[int]int{2: 2, 3: 3, 100: 3, -2: -2, -100: -3} {
			owner := fmt.Sprintf("asks for %d", asked)
			w.enqueue(one(owner, priority(asked)), time.Hour)
			w.equal(owner, want, w.last(owner).Priority)
		}
		w.equal("the first two", []string{"asks for 100", "asks for 3"}, sorted(w.waiting("default")[:2]))
	}},
}
