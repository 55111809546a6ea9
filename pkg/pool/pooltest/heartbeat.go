package pooltest

import (
	"sync/atomic"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// watched opens a handle whose looks at the time can be waited for. A waiting client has one in each
// round, between its look at the queue and its sign of life.
func (w *world) watched() (db *pool.DB, looks func(n int64)) {
	w.Helper()
	var count atomic.Int64
	db = w.open(func(o *pool.Options) {
		o.Clock = func() time.Time {
			now := w.clock.look()
			count.Add(1)
			return now
		}
	})
	return db, func(n int64) {
		w.Helper()
		until := count.Load() + n
		w.eventually("the client looks", func() bool { return count.Load() >= until })
	}
}

var heartbeatCases = []testCase{
	{"a client keeps its place for as long as it lives", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		db, looks := w.watched()
		c := w.start(one("waiter"), waitForever, false, db)
		id := w.last("waiter").ID
		for range 6 {
			w.clock.add(30 * time.Second)
			looks(2) // in the second the sign of life of the first is written
			w.equal("tickets lapsed", 0, w.tend().Lapsed)
		}
		w.equal("the queue", []string{"waiter"}, w.waiting("default"))
		w.release("build")
		w.equal("the allocation", id, c.granted().ID)
	}},

	{"a client that gives no sign of life for a minute leaves the queue", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		w.queue(one("died"))
		queued := w.last("died").QueuedAt
		w.clock.set(queued.Add(59 * time.Second))
		w.equal("tickets lapsed", 0, w.tend().Lapsed)
		w.equal("the queue", []string{"died"}, w.waiting("default"))
		w.clock.set(queued.Add(time.Minute))
		w.equal("tickets lapsed", 1, w.tend().Lapsed)
		w.equal("its end", pool.EndLapsed, w.ended("died"))
		w.equal("the queue", 0, len(w.waiting("default")))
		w.equal("events", []string{"queued", "lapsed"}, w.kinds(pool.EventFilter{Owner: "died"}))
	}},

	{"a node goes past a client that died, in the very pass that frees it", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		w.queue(one("died"))
		w.clock.add(30 * time.Second)
		w.queue(one("next"))
		w.clock.add(31 * time.Second)
		w.release("build")
		w.equal("holders", map[string]string{"a": "next"}, w.holders())
		w.equal("its end", pool.EndLapsed, w.ended("died"))
	}},

	{"a node whose client died before the claim comes back within a minute, as it was", func(w *world) {
		w.policy("p", "cleaning=true")
		w.addNode("a", inPool("p"))
		w.addNode("b", inPool("p"))
		w.grant(one("died", from("p")))
		w.clock.add(59 * time.Second)
		w.tend()
		w.equal("holders", map[string]string{"a": "died"}, w.holders())
		w.clock.add(2 * time.Second)
		w.equal("grants lapsed", 1, w.tend().Lapsed)
		n := w.node("a")
		w.equal("status, suspect, reason", []any{pool.Ready, false, ""}, []any{n.Status, n.Suspect, n.Reason})
		w.equal("its events", []string{"node-added", "granted", "lapsed"}, w.kinds(pool.EventFilter{Node: "a"}))
		w.equal("nodes of the next, longest idle first", []string{"a"}, w.grant(one("next", from("p"))).NodeNames())
	}},

	{"a client that takes its time before the claim keeps its grant by a sign of life", func(w *world) {
		w.add("a")
		a := w.grant(one("build"))
		for range 3 {
			w.clock.add(50 * time.Second)
			w.ok(w.db.Beat(w.ctx, a.Token))
			w.equal("grants lapsed", 0, w.tend().Lapsed)
		}
		_, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
	}},

	{"a sign of life for what has no heartbeat any more is refused", func(w *world) {
		w.add("a", "b")
		w.refused(w.db.Beat(w.ctx, secret.New("nobody's")), pool.ErrConflict, "token")
		a := w.grant(one("died"))
		w.clock.add(61 * time.Second)
		w.tend()
		w.refused(w.db.Beat(w.ctx, a.Token), pool.ErrConflict, "died", "lapsed")
		w.refused(w.db.Beat(w.ctx, w.hold(one("build")).Token), pool.ErrConflict, "build", "claimed")
	}},

	{"a client that lives after an outage queues again with its old place", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		first, second := w.queue(one("first")), w.queue(one("second"))
		queued := []time.Time{w.last("first").QueuedAt, w.last("second").QueuedAt}
		w.clock.add(30 * time.Second)
		w.waits(one("third"))
		w.clock.add(10 * time.Minute)
		w.equal("tickets lapsed", 2, w.tend().Lapsed)
		w.equal("the queue", []string{"third"}, w.waiting("default"))
		second.goOn()
		w.eventually("the second is back", func() bool { return len(w.waiting("default")) == 2 })
		first.goOn()
		w.eventually("the first is back", func() bool { return len(w.waiting("default")) == 3 })
		w.equal("the queue", []string{"first", "second", "third"}, w.waiting("default"))
		w.equal("since when", queued, []time.Time{w.last("first").QueuedAt, w.last("second").QueuedAt})
		w.release("build")
		w.equal("nodes", []string{"a"}, first.granted().NodeNames())
	}},

	{"a client that wakes up first after an outage has not lapsed at all", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		db, looks := w.watched()
		c := w.start(one("waiter"), waitForever, true, db)
		id := w.last("waiter").ID
		w.clock.add(10 * time.Minute)
		c.goOn()
		looks(2) // in the second the sign of life of the first is written
		w.release("build")
		w.equal("the allocation", id, c.granted().ID)
	}},

	{"a client that lapsed while it did not know that it was granted queues again, before who came later", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		c := w.queue(one("slow"))
		w.waits(one("later"))
		w.release("build")
		w.equal("holders", map[string]string{"a": "slow"}, w.holders())
		w.clock.add(61 * time.Second)
		w.tend()
		w.equal("holders", map[string]string{"a": "later"}, w.holders())
		w.waits(one("latest"))
		c.goOn()
		w.eventually("it is back", func() bool { return len(w.waiting("default")) == 2 })
		w.equal("the queue", []string{"slow", "latest"}, w.waiting("default"))
		w.release("later")
		w.equal("nodes", []string{"a"}, c.granted().NodeNames())
	}},

	{"a client whose wait was over in an outage is told that no node was free", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		asleep, ended := w.start(one("asleep"), 1, true, w.db), w.start(one("ended"), 1, true, w.db)
		w.clock.add(10 * time.Minute)
		_, err := asleep.result()
		w.refused(err, pool.ErrNoNode)
		w.tend()
		_, err = ended.result()
		w.refused(err, pool.ErrNoNode)
		w.equal("the queue", 0, len(w.waiting("default")))
	}},

	{"a client that comes back when no node can meet its request any more is told so", func(w *world) {
		w.add("a")
		w.addNode("gpu", having("gpu", "1"))
		w.hold(one("build", needs("gpu")))
		c := w.queue(one("waiter", needs("gpu")))
		w.clock.add(10 * time.Minute)
		w.tend()
		w.release("build")
		w.ok(w.db.RemoveNode(w.ctx, "gpu"))
		_, err := c.result()
		w.refused(err, pool.ErrImpossible)
	}},

	{"a ticket that was taken up after its grant lives by its client's heartbeat", func(w *world) {
		w.policy("p", "pick_up=15m")
		w.addNode("a", inPool("p"))
		ticket, err := w.db.Enqueue(w.ctx, one("ticket", from("p")), time.Hour)
		w.ok(err)
		_, err = w.db.Allocate(w.ctx, one("taker"), pool.AllocateOptions{Ticket: ticket.Token})
		w.ok(err)
		w.clock.add(30 * time.Second)
		c := w.live(one("waiter", from("p")))
		w.clock.add(31 * time.Second) // the waiter itself has time
		w.equal("nodes", []string{"a"}, c.granted().NodeNames())
		w.equal("the taker's end", pool.EndLapsed, w.ended("taker"))
	}},
}
