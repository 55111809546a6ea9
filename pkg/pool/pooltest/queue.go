package pooltest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

var queueCases = []testCase{
	{"who came first is served first", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		owners := []string{"first", "second", "third"}
		for _, o := range owners {
			w.queue(one(o))
		}
		w.equal("the queue", owners, w.waiting("default"))
		w.release("build")
		for i, o := range owners {
			w.equal("holders", map[string]string{"a": o}, w.holders())
			w.equal("who waits", owners[i+1:], append([]string{}, w.waiting("default")...))
			w.release(o)
		}
	}},

	{"a step of priority is worth the pool's ageing, and no more", func(w *world) {
		w.policy("p", "ageing=5m", "max_priority=10")
		w.addNode("a", inPool("p"))
		w.hold(one("build", from("p"), lease(10*time.Hour)))
		w.waits(one("first", from("p")))
		w.clock.add(4 * time.Minute)
		w.waits(one("a step, and passes", from("p"), priority(1)))
		w.waits(one("below, and falls behind", from("p"), priority(-1)))
		w.clock.add(2 * time.Minute)
		w.waits(one("a step, and is late", from("p"), priority(1)))
		w.waits(one("two steps", from("p"), priority(2)))
		w.clock.add(2 * time.Minute)
		w.waits(one("none", from("p")))
		w.equal("the queue", []string{
			"two steps", "a step, and passes", "first", "a step, and is late", "none", "below, and falls behind",
		}, w.waiting("p"))
		w.release("build")
		w.equal("holders", map[string]string{"a": "two steps"}, w.holders())
	}},

	{"nobody starves: newcomers of any priority pass only who has not waited for max_priority times ageing", func(w *world) {
		w.policy("p", "ageing=10m", "max_priority=3")
		w.addNode("a", inPool("p"))
		w.hold(one("build", from("p"), lease(10*time.Hour)))
		w.waits(one("patient", from("p")))
		w.clock.add(29 * time.Minute)
		w.waits(one("just in time", from("p"), priority(1000)))
		w.clock.add(2 * time.Minute)
		w.waits(one("too late", from("p"), priority(1000)))
		w.equal("the queue", []string{"just in time", "patient", "too late"}, w.waiting("p"))
	}},

	{"equal ranks go by id", func(w *world) {
		w.add("a")
		w.hold(one("build", lease(10*time.Hour)))
		first := w.waits(one("first"))
		w.clock.set(first.QueuedAt.Add(10*time.Minute - time.Microsecond)) // the next look is ten minutes later
		second := w.waits(one("second", priority(1)))
		w.equal("the second's time", first.QueuedAt.Add(10*time.Minute), second.QueuedAt)
		w.equal("the queue", []string{"first", "second"}, w.waiting("default"))
	}},

	{"a request of another kind is served past one that waits", func(w *world) {
		w.addNode("gpu", having("gpu", "1"))
		w.add("a")
		w.hold(one("holds gpu", needs("gpu")))
		w.hold(one("holds a"))
		w.queue(one("wants gpu", needs("gpu")))
		w.queue(one("wants any"))
		w.release("holds a")
		w.equal("holders", map[string]string{"gpu": "holds gpu", "a": "wants any"}, w.holders())
		w.release("holds gpu")
		w.equal("who has gpu", "wants gpu", w.holders()["gpu"])
	}},

	{"the queue of one pool is nothing to another's", func(w *world) {
		w.policy("p")
		w.addNode("a", inPool("p"))
		w.add("b")
		w.hold(one("holds a", from("p")))
		w.hold(one("holds b"))
		w.queue(one("in p", from("p")))
		w.queue(one("in default"))
		w.equal("queues", [][]string{{"in p"}, {"in default"}}, [][]string{w.waiting("p"), w.waiting("default")})
		w.release("holds b")
		w.equal("holders", map[string]string{"a": "holds a", "b": "in default"}, w.holders())
	}},

	{"a queue longer than a batch is walked to its end", func(w *world) {
		w.addNode("gpu", having("gpu", "1"))
		w.add("a")
		w.hold(one("holds gpu", needs("gpu"), lease(10*time.Hour)))
		w.hold(one("holds a"))
		for i := range 260 {
			w.waits(one(fmt.Sprintf("wants gpu %03d", i), needs("gpu")))
		}
		w.queue(one("last", needs("gpu:absent")))
		w.release("holds a")
		w.equal("who has a", "last", w.holders()["a"])
		w.release("holds gpu")
		w.equal("who has gpu", "wants gpu 000", w.holders()["gpu"])
	}},

	{"who waits is told at once its place, what it waits for, who holds that and until when", func(w *world) {
		w.add("a", "b")
		w.addNode("gpu", having("gpu", "1"))
		a := w.hold(one("holds a", needs("name=a"), lease(2*time.Hour)))
		b := w.hold(one("holds b", needs("name=b"), lease(time.Hour)))
		w.queue(one("first", needs("gpu:absent")))
		c := w.queue(one("second", needs("gpu:absent")))
		p := c.told[0]
		w.equal("place and request", []any{2, "1 node with gpu:absent"}, []any{p.Place, p.Request})
		w.equal("holders, the first to end first", []pool.Holder{
			{Node: "b", Status: pool.Allocated, Owner: "holds b", Generation: 1, ExpiresAt: b.ExpiresAt},
			{Node: "a", Status: pool.Allocated, Owner: "holds a", Generation: 1, ExpiresAt: a.ExpiresAt},
		}, p.Holders)
		if p.Reason == "" {
			w.Errorf("no reason is told: %+v", p)
		}
	}},

	{"who waits is told when its place changes", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		first := w.queue(one("first"))
		second := w.queue(one("second"))
		c := w.live(one("third"))
		w.equal("the first place", 3, (<-c.places))
		first.giveUp()
		c.tells(2)
		second.giveUp()
		c.tells(1)
		w.release("build")
		c.granted()
	}},

	{"who waits is told when something changes that keeps it waiting, though its place does not", func(w *world) {
		w.add("a", "b")
		w.hold(one("first", needs("name=a")))
		w.hold(one("second", needs("name=b")))
		ctx, cancel := context.WithCancel(w.ctx)
		told, done := make(chan string, 100), make(chan error)
		go func() {
			_, err := w.db.Allocate(ctx, many("big", 2), pool.AllocateOptions{Wait: waitForever, Progress: func(p pool.Position) { told <- p.Reason }})
			done <- err
		}()
		hears := func(reason string) {
			w.Helper()
			for limit := time.After(patience); ; {
				select {
				case r := <-told:
					if r == reason {
						return
					}
				case <-limit:
					w.Fatalf("it is never told: %s", reason)
				}
			}
		}
		hears("2 suitable held")
		w.release("first")
		hears("1 suitable held, 1 ready")
		w.ok(w.db.PausePool(w.ctx, "default", "the lab moves"))
		hears("pool default is paused: the lab moves")
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			w.Errorf("it was cancelled and got %v", err)
		}
	}},

	{"far from the head a place is told that costs little to find", func(w *world) {
		w.add("a")
		w.hold(one("build", lease(10*time.Hour)))
		for i := range 24 {
			w.waits(one(fmt.Sprintf("%02d", i)))
		}
		c := w.queue(one("last"))
		w.equal("place, request, reason", []any{25, "1 node", "24 requests are before it"}, []any{c.told[0].Place, c.told[0].Request, c.told[0].Reason})
		w.ok(w.db.PausePool(w.ctx, "default", "the lab moves"))
		c = w.queue(one("later"))
		w.equal("place, reason", []any{26, "pool default is paused: the lab moves"}, []any{c.told[0].Place, c.told[0].Reason})
	}},

	{"a wait that is over ends the request and leaves nothing", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		c := w.start(one("waiter"), 1, true, w.db)
		w.queue(one("next"))
		_, err := c.result()
		w.refused(err, pool.ErrNoNode, "within the wait")
		w.equal("its end", pool.EndTimeout, w.ended("waiter"))
		w.equal("the queue", []string{"next"}, w.waiting("default"))
		w.release("build")
		w.equal("holders", map[string]string{"a": "next"}, w.holders())
	}},

	{"a node that comes in the last moment of a wait is taken", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		c := w.start(one("waiter"), 1, true, w.db)
		w.release("build")
		w.equal("nodes", []string{"a"}, c.granted().NodeNames())
	}},

	{"who gives up leaves the queue, and the next moves up", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		first := w.queue(one("first"))
		w.queue(one("second"))
		first.giveUp()
		w.equal("its end", pool.EndCancelled, w.ended("first"))
		w.equal("the queue", []string{"second"}, w.waiting("default"))
		w.release("build")
		w.equal("holders", map[string]string{"a": "second"}, w.holders())
	}},

	{"who gives up without knowing that it was granted gives the nodes back", func(w *world) {
		w.policy("p", "cleaning=true")
		w.addNode("a", inPool("p"))
		w.hold(one("build", from("p")))
		first := w.queue(one("first", from("p")))
		w.queue(one("second", from("p")))
		w.release("build")
		_, err := w.db.MarkReady(w.ctx, "a")
		w.ok(err)
		w.equal("holders", map[string]string{"a": "first"}, w.holders())
		first.giveUp()
		w.equal("its end", pool.EndCancelled, w.ended("first"))
		w.equal("holders", map[string]string{"a": "second"}, w.holders())
	}},

	{"the queue tells what each waits for, since when and from where", func(w *world) {
		w.add("a")
		w.hold(one("build"))
		r := many("waiter", 1, slot("s"), priority(2), lease(time.Minute))
		r.Labels = map[string]string{"JOB_NAME": "nightly"}
		w.queue(r)
		list, err := w.db.Queue(w.ctx, "default")
		w.ok(err)
		a := list[0]
		if a.ID == 0 || a.QueuedAt.IsZero() {
			w.Errorf("the id or the time is missing: %+v", a)
		}
		w.equal("the ticket", pool.Allocation{
			ID: a.ID, Owner: "waiter", Slot: "s", Pool: "default", State: pool.Waiting, Place: 1, Priority: 2, Groups: r.Groups, Lease: time.Minute,
			QueuedAt: a.QueuedAt, Labels: r.Labels, Where: "pooltest",
		}, a)
	}},
}

// waits puts a request into the queue that no client stands by: it outlasts whatever a case does to the
// clock.
func (w *world) waits(r pool.Request) *pool.Allocation {
	w.Helper()
	a, err := w.db.Enqueue(w.ctx, r, 100*time.Hour)
	w.ok(err)
	if a.State != pool.Waiting {
		w.Fatalf("%s does not wait, it is %s", r.Owner, a.State)
	}
	return a
}
