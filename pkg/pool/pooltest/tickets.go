package pooltest

import (
	"errors"
	"sync"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var ticketCases = []testCase{
	{"a ticket waits with nobody behind it, for its wait and no longer", func(w *world) {
		w.add("n")
		w.hold(one("holder"))
		t := w.enqueue(one("gate"), time.Hour)
		w.equal("the ticket", []any{"gate", pool.Waiting, false}, []any{t.Owner, t.State, t.Token.IsZero()})
		w.clock.add(time.Hour - time.Second)
		w.equal("tend before its end", pool.TendResult{Pools: 1}, w.tend())
		w.equal("the queue", []string{"gate"}, w.waiting("default"))
		w.clock.add(time.Second)
		w.equal("tend at its end", pool.TendResult{Pools: 1, Lapsed: 1}, w.tend())
		w.equal("its end", pool.EndLapsed, w.ended("gate"))
		w.equal("the queue", 0, len(w.waiting("default")))
	}},

	{"a ticket may be granted at once, and then keeps its nodes for the pool's pick-up time", func(w *world) {
		w.policy("default", "pick_up=10m")
		w.add("n")
		t := w.enqueue(one("gate"), time.Hour)
		w.equal("its state", pool.Granted, t.State)
		w.clock.add(10*time.Minute - time.Second)
		w.tend()
		w.equal("holders", map[string]string{"n": "gate"}, w.holders())
		c := w.queue(one("next"))
		w.clock.add(time.Second)
		w.tend()
		w.equal("its end", pool.EndLapsed, w.ended("gate"))
		w.equal("what the next one gets", []string{"n"}, c.granted().NodeNames())
		w.equal("whether the node is suspect", false, w.node("n").Suspect)
	}},

	{"the pick-up time counts from the grant, however little of the wait is left", func(w *world) {
		w.policy("default", "pick_up=10m")
		w.add("n")
		w.hold(one("holder"))
		t := w.enqueue(one("gate"), time.Hour)
		w.clock.add(59 * time.Minute)
		w.release("holder")
		w.equal("its state", pool.Granted, w.byID(t.ID).State)
		w.clock.add(10*time.Minute - time.Second)
		w.tend()
		w.equal("holders", map[string]string{"n": "gate"}, w.holders())
		w.clock.add(time.Second)
		w.tend()
		w.equal("holders", map[string]string{}, w.holders())
	}},

	{"who alone waits moves the queue when a ticket is not picked up", func(w *world) {
		w.policy("default", "pick_up=30s")
		w.add("n")
		w.enqueue(one("gate"), time.Hour)
		c := w.live(one("next"))
		w.clock.add(30 * time.Second)
		c.granted()
		w.equal("its end", pool.EndLapsed, w.ended("gate"))
	}},

	{"a ticket that is taken up becomes the new owner's, and keeps its place, priority and request", func(w *world) {
		w.add("n")
		w.hold(one("holder"))
		w.queue(one("before"))
		t := w.enqueue(one("gate", needs("name=n"), priority(-1), lease(time.Hour)), 10*time.Hour)
		w.queue(one("behind", priority(-2)))
		c := w.queue(one("job", slot("x"), takeUp, from("nowhere"), priority(50), func(r *pool.Request) { r.Labels = map[string]string{"JOB_NAME": "j"} }), t.Token)
		w.equal("the queue", []string{"before", "job", "behind"}, w.waiting("default"))
		a := w.byID(t.ID)
		w.equal("the ticket", []any{"job", "x", "default", -1, time.Hour, t.QueuedAt, map[string]string{"JOB_NAME": "j"}, "1 node with name=n"},
			[]any{a.Owner, a.Slot, a.Pool, a.Priority, a.Lease, a.QueuedAt, a.Labels, pool.Describe(a.Groups)})
		e := w.lastEvent(pool.EventFilter{Owner: "job"})
		w.equal("the event", []any{"taken-up", t.ID, "gate"}, []any{e.Kind, e.Allocation, e.Detail["from"]})
		w.release("holder")
		w.clients[0].granted()
		w.release("before")
		got := c.granted()
		w.equal("what it gets", []any{t.ID, "job", []string{"n"}, secretMark + " of n"}, []any{got.ID, got.Owner, got.NodeNames(), got.Nodes[0].BMC.Password.Reveal()})
		_, err := w.db.Claim(w.ctx, t.Token)
		w.refused(err, pool.ErrConflict, "token")
		_, err = w.db.Claim(w.ctx, got.Token)
		w.ok(err)
		w.equal("the gate's part in it", 0, len(w.allocations("gate")))
		w.add("m", "o") // the one for who is behind
		w.hold(one("gate"))
	}},

	{"a ticket that is granted already gives its nodes to who takes it up, at once", func(w *world) {
		w.add("n")
		t := w.enqueue(one("gate", lease(time.Hour)), time.Hour)
		w.clock.add(10 * time.Minute)
		a := w.takeUp(t, "job")
		w.equal("what it gets", []any{t.ID, []string{"n"}, int64(1)}, []any{a.ID, a.NodeNames(), a.Nodes[0].Generation})
		claimed, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("its lease begins with the claim", claimed.ClaimedAt.Add(time.Hour), claimed.ExpiresAt)
		w.equal("holders", map[string]string{"n": "job"}, w.holders())
		w.equal("what comes back", []string{"n"}, returned(w.release("job")))
	}},

	{"the lease of a ticket that was picked up late is seen to end in time", func(w *world) {
		w.add("n", "m")
		t := w.enqueue(one("gate", needs("name=n"), lease(40*time.Second)), time.Hour)
		w.hold(one("brief", needs("name=m"), lease(time.Second)))
		w.clock.add(time.Second)
		w.tend()
		w.clock.add(2 * time.Minute)
		a := w.takeUp(t, "job")
		claimed, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		c := w.live(one("waiter", needs("name=n")))
		w.clock.set(claimed.ExpiresAt)
		c.granted()
	}},

	{"a ticket is taken up once", func(w *world) {
		w.add("n")
		t := w.enqueue(one("gate"), time.Hour)
		w.takeUp(t, "first")
		before := w.events()
		_, err := w.db.Allocate(w.ctx, one("thief"), pool.AllocateOptions{Ticket: t.Token})
		w.refused(err, pool.ErrConflict, "taken up already")
		w.equal("events", before, w.events())
	}},

	{"of clients that take a ticket up at the same time one gets it", func(w *world) {
		w.add("n")
		t := w.enqueue(one("gate"), time.Hour)
		var mu sync.Mutex
		var winners []string
		w.together(6, func(i int, db *pool.DB) {
			owner := string(rune('a' + i))
			_, err := db.Allocate(w.ctx, one(owner), pool.AllocateOptions{Ticket: t.Token})
			if err != nil && !errors.Is(err, pool.ErrConflict) {
				w.Errorf("%s: %v", owner, err)
			}
			if err == nil {
				mu.Lock()
				winners = append(winners, owner)
				mu.Unlock()
			}
		})
		w.equal("how many got it", 1, len(winners))
		w.equal("holders", map[string]string{"n": winners[0]}, w.holders())
		w.equal("events", 1, len(only(w.kinds(pool.EventFilter{Allocation: t.ID}), "taken-up")))
	}},

	{"a ticket that is none, or has ended, is refused with how it ended", func(w *world) {
		w.add("n")
		holder := w.hold(one("holder"))
		refused := func(token secret.Text, told string) {
			w.Helper()
			_, err := w.db.Allocate(w.ctx, one("job"), pool.AllocateOptions{Ticket: token})
			w.refused(err, pool.ErrConflict, told)
		}
		refused(secret.New("no token of ours"), "no such ticket")
		refused(holder.Token, "taken up already")
		late := w.enqueue(one("gate"), time.Minute)
		w.clock.add(time.Minute)
		refused(late.Token, "ended") // though nobody has swept it yet
		w.tend()
		refused(late.Token, "nobody took it up")
		undone := w.enqueue(one("gate"), time.Hour)
		w.cancel(undone.Token)
		refused(undone.Token, "cancelled")
		w.release("holder")
		refused(holder.Token, "released")
		w.hold(one("holder"))
		hopeless := w.enqueue(one("gate", needs("arch=x86_64")), time.Hour)
		_, err := w.db.SetNode(w.ctx, "n", changes("arch=aarch64"))
		w.ok(err)
		refused(hopeless.Token, "no node of the pool")
		w.equal("what is left of the job", 0, len(w.allocations("job")))
	}},

	{"an owner that is busy takes up nothing, and the ticket stays for another", func(w *world) {
		w.add("n", "m")
		t := w.enqueue(one("gate"), time.Hour)
		held := w.hold(one("job"))
		_, err := w.db.Allocate(w.ctx, one("job"), pool.AllocateOptions{Ticket: t.Token})
		w.refused(err, pool.ErrConflict, "job", "m", "--slot")
		var busy *pool.BusyError
		if !errors.As(err, &busy) {
			w.Fatalf("the error is a %T", err)
		}
		w.equal("the error", &pool.BusyError{Owner: "job", State: pool.Claimed, Nodes: []string{"m"}, ExpiresAt: held.ExpiresAt}, busy)
		w.equal("holders", map[string]string{"n": "gate", "m": "job"}, w.holders())
		a, err := w.db.Allocate(w.ctx, one("job", slot("x")), pool.AllocateOptions{Ticket: t.Token})
		w.ok(err)
		w.equal("with another slot", []string{"n"}, a.NodeNames())
	}},

	{"who took a ticket up keeps it alive: when it dies the ticket is gone within a minute", func(w *world) {
		w.add("n")
		w.hold(one("holder"))
		t := w.enqueue(one("gate"), 10*time.Hour)
		c := w.queue(one("job", takeUp), t.Token)
		w.clock.add(time.Minute)
		w.tend()
		w.equal("its end", pool.EndLapsed, w.ended("job"))
		// It lives after all, and queues again with its old time.
		c.goOn()
		w.eventually("it waits again", func() bool { return len(w.waiting("default")) == 1 })
		again := w.last("job")
		w.equal("its old time", t.QueuedAt, again.QueuedAt)
	}},

	{"a ticket that was taken up keeps its priority and lease over an outage", func(w *world) {
		w.add("n")
		w.hold(one("holder"))
		t := w.enqueue(one("gate", priority(7), lease(2*time.Hour)), 10*time.Hour)
		c := w.queue(one("job", takeUp), t.Token)
		w.clock.add(time.Minute)
		w.tend()
		c.goOn()
		w.eventually("it waits again", func() bool { return len(w.waiting("default")) == 1 })
		again := w.last("job")
		w.equal("its priority and lease", []any{7, 2 * time.Hour}, []any{again.Priority, again.Lease})
	}},

	{"who asks for a ticket that is not granted yet, and does not wait, is told its place and leaves it there", func(w *world) {
		w.add("n")
		w.hold(one("holder"))
		w.queue(one("before"))
		t := w.enqueue(one("gate"), time.Hour)
		_, err := w.db.Allocate(w.ctx, one("job", takeUp), pool.AllocateOptions{Ticket: t.Token})
		w.refused(err, pool.ErrQueued, "place 2", "holder", rfc(w.clock.look().Add(time.Hour)))
		w.equal("the queue", []string{"before", "gate"}, w.waiting("default"))
		q, err := w.db.Ticket(w.ctx, t.Token)
		w.ok(err)
		w.equal("the ticket", []any{t.ID, "gate", pool.Waiting, 2}, []any{q.ID, q.Owner, q.State, q.Place})
		w.clients[0].giveUp()
		w.release("holder")
		q, err = w.db.Ticket(w.ctx, t.Token)
		w.ok(err)
		w.equal("the ticket", []any{pool.Granted, []string{"n"}}, []any{q.State, q.NodeNames()})
		w.takeUp(t, "job")
	}},

	{"who asks for a ticket has it granted when only time was in its way", func(w *world) {
		w.add("n")
		w.hold(one("holder", lease(time.Minute)))
		t := w.enqueue(one("gate"), time.Hour)
		w.clock.add(time.Minute)
		q, err := w.db.Ticket(w.ctx, t.Token)
		w.ok(err)
		w.equal("the ticket", []any{pool.Granted, w.byID(t.ID).GrantedAt.Add(15 * time.Minute)}, []any{q.State, q.LivesUntil})
	}},

	{"who takes a ticket up and cannot have it served within its own wait ends it", func(w *world) {
		w.add("n")
		w.hold(one("holder"))
		t := w.enqueue(one("gate"), time.Hour)
		_, err := w.db.Allocate(w.ctx, one("job", takeUp), pool.AllocateOptions{Ticket: t.Token, Wait: time.Millisecond})
		w.refused(err, pool.ErrNoNode, "default")
		w.equal("its end", pool.EndTimeout, w.ended("job"))
	}},

	{"a ticket is undone by its token, or released by its owner", func(w *world) {
		w.add("n")
		granted := w.enqueue(one("gate"), time.Hour)
		w.enqueue(one("waiting"), time.Hour)
		w.equal("what the post-hook gives back", 0, len(returned(w.postHook("waiting"))))
		w.cancel(granted.Token)
		w.equal("ends", []pool.EndReason{pool.EndCancelled, pool.EndCancelled}, []pool.EndReason{w.ended("gate"), w.ended("waiting")})
		w.equal("holders", map[string]string{}, w.holders())
	}},

	{"a ticket that could never be served is refused at once, as is one of a busy owner or for no wait", func(w *world) {
		w.add("n")
		w.hold(one("busy"))
		for _, c := range []struct {
			r     pool.Request
			wait  time.Duration
			class error
			told  string
		}{
			{many("gate", 2), time.Hour, pool.ErrImpossible, "2 nodes"},
			{one("gate", needs("gpu")), time.Hour, pool.ErrImpossible, "gpu"},
			{one("gate", from("ghost")), time.Hour, pool.ErrNotFound, "ghost"},
			{one("busy"), time.Hour, pool.ErrConflict, "n"},
			{one("gate"), 0, pool.ErrInvalid, "wait"},
			{one("gate"), 100000 * time.Hour, pool.ErrInvalid, "wait"},
			{one(""), time.Hour, pool.ErrInvalid, "owner"},
		} {
			_, err := w.db.Enqueue(w.ctx, c.r, c.wait)
			w.refused(err, c.class, c.told)
		}
		w.equal("holders", map[string]string{"n": "busy"}, w.holders())
		for _, a := range w.allocations("gate") {
			w.equal("how it ended", pool.EndImpossible, a.EndReason)
		}
	}},

	{"a gate that asks again while its ticket lives is busy; when it lapsed the new ticket takes its place", func(w *world) {
		w.policy("default", "pick_up=10m")
		w.add("n")
		w.hold(one("holder"))
		first := w.enqueue(one("gate"), time.Hour)
		w.enqueue(one("behind"), 10*time.Hour)
		_, err := w.db.Enqueue(w.ctx, one("gate"), time.Hour)
		w.refused(err, pool.ErrConflict, "gate")
		w.clock.add(time.Hour)
		second := w.enqueue(one("gate"), time.Hour)
		w.equal("the same allocation", []any{first.ID, pool.Waiting}, []any{second.ID, w.byID(first.ID).State})
		w.equal("the queue", []string{"gate", "behind"}, w.waiting("default"))
		w.release("holder")
		// Granted and not picked up; what the next ticket of the gate takes over keeps for a pick-up time, too.
		w.clock.add(10 * time.Minute)
		third := w.enqueue(one("gate"), time.Hour)
		w.equal("the same allocation", []any{first.ID, pool.Granted}, []any{third.ID, third.State})
		w.clock.add(10 * time.Minute)
		w.tend()
		w.equal("holders", map[string]string{"n": "behind"}, w.holders())
	}},
}

// takeUp marks a request that takes a ticket up: what it asks for is the ticket's.
func takeUp(r *pool.Request) { r.Groups = nil }

// takeUp has a ticket that is granted taken up.
func (w *world) takeUp(t *pool.Allocation, owner string) *pool.Allocation {
	w.Helper()
	a, err := w.db.Allocate(w.ctx, one(owner, takeUp), pool.AllocateOptions{Ticket: t.Token})
	w.ok(err)
	return a
}
