package pooltest

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var releaseCases = []testCase{
	{"a release by token gives back what the token stands for, and no other slot", func(w *world) {
		w.add("a", "b")
		first := w.hold(one("build"))
		w.hold(one("build", slot("x")))
		released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Token: first.Token, Result: "SUCCESS"})
		w.ok(err)
		w.equal("what came back", []string{"a"}, returned(released))
		w.equal("holders", map[string]string{"b": "build"}, w.holders())
		a := w.byID(first.ID)
		w.equal("its end", []any{pool.Ended, pool.EndReleased, "SUCCESS", true}, []any{a.State, a.EndReason, a.Result, a.EndedAt.After(a.ClaimedAt)})
		w.equal("the status of its node", pool.Ready, w.node("a").Status)
	}},

	{"a release by owner gives back all its slots, and with a slot that one only", func(w *world) {
		w.add("a", "b", "c", "d")
		w.hold(one("build"))
		w.hold(one("build", slot("x")))
		w.hold(one("build", slot("y")))
		w.hold(one("other"))
		w.equal("slot x", []string{"b"}, returned(w.releaseSlot("build", "x")))
		w.equal("the empty slot", []string{"a"}, returned(w.releaseSlot("build", "")))
		w.hold(one("build", slot("x")))
		w.equal("all slots", []string{"b", "c"}, sorted(returned(w.release("build"))))
		w.equal("holders", map[string]string{"d": "other"}, w.holders())
	}},

	{"an owner wins over a token that is presented with it", func(w *world) {
		w.add("a", "b")
		other := w.hold(one("other"))
		w.hold(one("build"))
		released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build", Token: other.Token})
		w.ok(err)
		w.equal("what came back", []string{"b"}, returned(released))
		w.equal("holders", map[string]string{"a": "other"}, w.holders())
	}},

	{"what is released is told with its nodes and generations", func(w *world) {
		w.add("a", "b", "c")
		w.hold(one("before", needs("name=c")))
		w.release("before")
		held := w.hold(many("build", 3))
		released := w.release("build")
		w.equal("allocations", 1, len(released))
		r := released[0]
		w.equal("the allocation", []any{held.ID, pool.Ended, pool.EndReleased, false}, []any{r.ID, r.State, r.EndReason, r.Again})
		generations := map[string]int64{}
		for _, n := range r.Nodes {
			generations[n.Name] = n.Generation
		}
		w.equal("generations", map[string]int64{"a": 1, "b": 1, "c": 2}, generations)
	}},

	{"releasing twice is fine, and the second time changes nothing", func(w *world) {
		w.add("n")
		first := w.hold(one("build"))
		w.release("build")
		w.hold(one("next"))
		before := w.events()
		for _, r := range []pool.ReleaseRequest{{Owner: "build"}, {Token: first.Token}, {Owner: "build", Slot: new(string)}} {
			released, err := w.db.Release(w.ctx, r)
			w.ok(err)
			w.equal("what is told", 1, len(released))
			w.equal("that it is told again", []any{true, first.ID}, []any{released[0].Again, released[0].ID})
		}
		w.equal("events", before, w.events())
		w.equal("holders", map[string]string{"n": "next"}, w.holders())
	}},

	{"of an owner and slot that had several allocations the newest is told", func(w *world) {
		w.policy("default", "lease=30s")
		w.add("n")
		w.hold(one("build"))
		w.clock.add(time.Minute)
		w.tend()
		_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build"})
		w.refused(err, pool.ErrConflict, "expired")
		second := w.hold(one("build"))
		w.release("build")
		released := w.release("build") // loud no more: what the build had last it has given back
		w.equal("what is told", []any{1, second.ID, true}, []any{len(released), released[0].ID, released[0].Again})
	}},

	{"who never had anything releases nothing", func(w *world) {
		w.add("n")
		before := w.events()
		w.equal("what comes back", 0, len(w.release("nobody")))
		released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Token: secret.New("no token of ours")})
		w.ok(err)
		w.equal("what comes back", 0, len(released))
		w.equal("events", before, w.events())
		w.hold(one("nobody")) // and is not closed
	}},

	{"a release leaves the allocations that are excepted", func(w *world) {
		w.add("a", "b", "c")
		kept := w.hold(one("build"))
		w.hold(one("build", slot("x")))
		w.hold(one("build", slot("y")))
		released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build", Except: []int64{kept.ID}, CloseOwner: true})
		w.ok(err)
		w.equal("what came back", []string{"b", "c"}, sorted(returned(released)))
		released, err = w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build", Slot: new(string), Except: []int64{kept.ID}, CloseOwner: true})
		w.ok(err)
		w.equal("what came back", 0, len(released))
		w.equal("holders", map[string]string{"a": "build"}, w.holders())
		w.hold(one("build", slot("x"))) // it is not closed
	}},

	{"a release of a slot that has nothing leaves the others alone", func(w *world) {
		w.add("n")
		w.hold(one("build", slot("x")))
		w.equal("what comes back", 0, len(w.releaseSlot("build", "")))
		w.equal("what comes back", 0, len(w.releaseSlot("build", "X"))) // another slot
		w.equal("holders", map[string]string{"n": "build"}, w.holders())
	}},

	{"a release that names nobody, or cannot be right, is refused", func(w *world) {
		w.add("n")
		w.hold(one("build"))
		bad := "two words"
		for told, r := range map[string]pool.ReleaseRequest{
			"names an owner": {},
			"two words":      {Owner: "build", Slot: &bad},
			"owner":          {Owner: strings.Repeat("x", 769)},
			"result":         {Owner: "build", Result: strings.Repeat("x", 65)},
			"the result":     {Owner: "build", Result: "SUC\nCESS"},
		} {
			_, err := w.db.Release(w.ctx, r)
			w.refused(err, pool.ErrInvalid, told)
		}
		w.equal("holders", map[string]string{"n": "build"}, w.holders())
	}},

	{"a release before the claim cancels: the client cannot claim, and the node is as it was", func(w *world) {
		w.policy("default", "cleaning=true")
		w.add("n")
		since := w.node("n").Since
		a := w.grant(one("build"))
		released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build", Dirty: true, Result: "ABORTED"})
		w.ok(err)
		w.equal("what came back", []string{"n"}, returned(released))
		w.equal("its end", pool.EndCancelled, w.ended("build"))
		n := w.node("n")
		w.equal("the node", []any{pool.Ready, false, ""}, []any{n.Status, n.Suspect, n.Reason})
		if !n.Since.After(since) {
			w.Errorf("the node is ready since %v, as before the grant", n.Since)
		}
		_, err = w.db.Claim(w.ctx, a.Token)
		w.refused(err, pool.ErrConflict, "cancelled")
	}},

	{"a release of a ticket ends its client's wait", func(w *world) {
		w.add("n")
		w.hold(one("holder"))
		c := w.queue(one("build"))
		w.release("build")
		w.equal("the queue", 0, len(w.waiting("default")))
		_, err := c.result()
		w.refused(err, pool.ErrConflict, "build", "cancelled")
		w.release("holder")
		w.equal("holders", map[string]string{}, w.holders())
	}},

	{"what was set aside for a request that waits no more, or can be filled no more, is for who is behind", func(w *world) {
		w.policy("elsewhere")
		// A pass that somebody runs for whom there is nothing, not tend, which looks at all nodes anyway.
		pass := func(name string, after time.Duration) {
			w.clock.add(after)
			w.refused(w.ask(one("asker "+name, from(name), needs("first"))), pool.ErrNoNode)
		}
		for what, undo := range map[string]func(name string, big *pool.Allocation){
			"released":  func(name string, _ *pool.Allocation) { w.release("big " + name) },
			"cancelled": func(_ string, big *pool.Allocation) { w.cancel(big.Token) },
			"lapsed":    func(name string, _ *pool.Allocation) { pass(name, time.Minute) },
			"drained":   func(name string, _ *pool.Allocation) { w.maintain(name + "1") },
			"expired": func(name string, _ *pool.Allocation) { // and its node broken, by the policy
				w.policy(name, "on_expiry=quarantine")
				pass(name, 6*time.Hour)
			},
			"removed": func(name string, _ *pool.Allocation) {
				w.release("holder " + name)
				w.ok(w.db.RemoveNode(w.ctx, name+"1"))
			},
			"moved": func(name string, _ *pool.Allocation) {
				w.release("holder " + name)
				_, err := w.db.SetNode(w.ctx, name+"1", changes("pool=elsewhere"))
				w.ok(err)
			},
		} {
			name := what
			w.policy(name)
			w.addNode(name+"1", inPool(name), having("first", "yes"))
			w.hold(one("holder "+name, from(name)))
			w.addNode(name+"2", inPool(name))
			if what == "removed" || what == "moved" { // a node that no build has, and a third that is not there yet
				w.addNode(name+"3", inPool(name), having("third", "yes"))
				w.hold(one("third "+name, from(name), needs("third")))
			}
			wait := 7 * time.Hour
			if what == "lapsed" {
				wait = time.Minute
			}
			count := len(w.names(pool.NodeFilter{Pool: name}))
			big := w.enqueue(many("big "+name, count, from(name)), wait)
			small := w.enqueue(one("small "+name, from(name)), 7*time.Hour)
			w.equal(what+": who waits", []string{"big " + name, "small " + name}, w.waiting(name))
			undo(name, big)
			w.equal(what+": the one behind", pool.Granted, w.byID(small.ID).State)
		}
	}},

	{"what was set aside for a request whose wait is over is for who is behind", func(w *world) {
		w.add("a")
		w.hold(one("holder"))
		w.add("b")
		var small *pool.Allocation
		_, err := w.db.Allocate(w.ctx, many("big", 2), pool.AllocateOptions{Wait: time.Millisecond, Progress: func(pool.Position) {
			if small == nil {
				small = w.enqueue(one("small"), time.Hour)
			}
		}})
		w.refused(err, pool.ErrNoNode)
		w.equal("the one behind", pool.Granted, w.byID(small.ID).State)
	}},

	{"after the lease was taken back a release is loud, names who has the nodes now, and changes nothing", func(w *world) {
		w.policy("default", "lease=30s")
		w.add("a", "b", "c", "d")
		late := w.hold(many("late", 4, slot("x")))
		w.clock.add(30 * time.Second)
		w.tend()
		next := w.hold(one("next", needs("name=b"), slot("y")))
		w.ok(w.db.RemoveNode(w.ctx, "c"))
		_, err := w.db.SetNode(w.ctx, "d", changes("name=e"))
		w.ok(err)
		before := w.events()
		mine := "x"
		for _, r := range []pool.ReleaseRequest{{Owner: "late"}, {Owner: "late", Slot: &mine}, {Token: late.Token, Result: "SUCCESS"}, {Owner: "late", CloseOwner: true}} {
			released, err := w.db.Release(w.ctx, r)
			w.equal("what came back", 0, len(released))
			w.refused(err, pool.ErrConflict, "late", `"x"`, "expired", "nothing was changed", "node a is now ready", `node b is now held by "next"`,
				"node c was removed", rfc(next.ExpiresAt))
			var lost *pool.TakenBackError
			if !errors.As(err, &lost) {
				w.Fatalf("the error is a %T", err)
			}
			w.equal("the error", &pool.TakenBackError{
				Owner: "late", Slot: "x", Reason: pool.EndExpired, EndedAt: w.byID(late.ID).EndedAt,
				Holders: []pool.Holder{
					{Node: "a", Status: pool.Ready, Generation: 1},
					{Node: "b", Status: pool.Allocated, Owner: "next", Slot: "y", Generation: 2, ExpiresAt: next.ExpiresAt},
					{Node: "c"},
					{Node: "e", Status: pool.Ready, Generation: 1},
				},
			}, lost)
		}
		w.equal("events", before, w.events())
		w.equal("holders", map[string]string{"b": "next"}, w.holders())
		w.equal("the result", "", w.byID(late.ID).Result)
	}},

	{"after a revocation a release is loud and tells the reason", func(w *world) {
		w.add("n")
		a := w.hold(one("build"))
		_, err := w.db.Revoke(w.ctx, "n", "the lab needs it")
		w.ok(err)
		before := w.events()
		_, err = w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build"})
		w.refused(err, pool.ErrConflict, "revoked: the lab needs it", "node n is now ready")
		_, err = w.db.Release(w.ctx, pool.ReleaseRequest{Token: a.Token})
		w.refused(err, pool.ErrConflict, "revoked: the lab needs it")
		w.equal("events", before, w.events())
	}},

	{"where one slot was taken back the others are released, and it is loud all the same", func(w *world) {
		w.add("a", "b")
		w.hold(one("build", slot("short"), lease(30*time.Second)))
		w.hold(one("build", slot("long")))
		w.clock.add(30 * time.Second)
		w.tend()
		released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build"})
		w.refused(err, pool.ErrConflict, `"short"`, "expired")
		w.equal("what came back", []string{"b"}, returned(released))
		w.equal("holders", map[string]string{}, w.holders())
	}},

	{"of releases at the same time one gives back, and all are fine", func(w *world) {
		w.add("a", "b")
		w.hold(one("build"))
		w.hold(one("build", slot("x")))
		var mu sync.Mutex
		fresh := 0
		w.together(6, func(_ int, db *pool.DB) {
			released, err := db.Release(w.ctx, pool.ReleaseRequest{Owner: "build"})
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(released) != 2 {
				w.Errorf("a release of the six: %v %v", released, err)
			}
			for _, r := range released {
				if !r.Again {
					fresh++
				}
			}
		})
		w.equal("released once each", 2, fresh)
		w.equal("events of releases", 2, len(only(w.kinds(pool.EventFilter{Owner: "build"}), "released")))
	}},

	{"a client undoes its allocation by token, in whatever state, as often as it likes", func(w *world) {
		w.add("n")
		granted := w.grant(one("granted"))
		w.cancel(granted.Token)
		w.equal("the granted one's end", []any{pool.EndCancelled, "no disk space"}, []any{w.ended("granted"), w.last("granted").EndDetail})
		claimed := w.hold(one("claimed"))
		w.cancel(claimed.Token)
		n := w.node("n")
		w.equal("the node", []any{pool.Ready, false}, []any{n.Status, n.Suspect})
		waiting := w.hold(one("holder"))
		c := w.queue(one("waiting"))
		c.giveUp()
		w.equal("the waiting one's end", pool.EndCancelled, w.ended("waiting"))
		before := w.events()
		w.cancel(granted.Token)
		w.cancel(claimed.Token)
		w.cancel(secret.New("no token of ours"))
		w.equal("events", before, w.events())
		w.cancel(waiting.Token)
		w.equal("holders", map[string]string{}, w.holders())
	}},
}

// returned lists the names of the nodes that came back.
func returned(released []pool.Released) []string {
	var names []string
	for _, r := range released {
		if !r.Again {
			names = append(names, r.NodeNames()...)
		}
	}
	return names
}

func (w *world) releaseSlot(owner, slot string) []pool.Released {
	w.Helper()
	released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: owner, Slot: &slot})
	w.ok(err)
	return released
}

func (w *world) cancel(token secret.Text) {
	w.Helper()
	w.ok(w.db.Cancel(w.ctx, token, "no disk space"))
}

// enqueue leaves a ticket: the request waits, or is granted, with no client behind it.
func (w *world) enqueue(r pool.Request, wait time.Duration) *pool.Allocation {
	w.Helper()
	a, err := w.db.Enqueue(w.ctx, r, wait)
	w.ok(err)
	return a
}

func (w *world) maintain(node string) {
	w.Helper()
	_, err := w.db.SetMaintenance(w.ctx, node, true, "fan")
	w.ok(err)
}

func (w *world) byID(id int64) pool.Allocation {
	w.Helper()
	a, err := w.db.Allocation(w.ctx, id)
	w.ok(err)
	return *a
}

// events counts all events: what did not change did not grow them.
func (w *world) events() int {
	w.Helper()
	events, err := w.db.Events(w.ctx, pool.EventFilter{})
	w.ok(err)
	return len(events)
}

// rfc writes a moment as texts for people do.
func rfc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
