package pooltest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// tombstoneLife is what the design says: longer than a pre-hook of an aborted build can be on its way.
const tombstoneLife = 15 * time.Minute

var tombstoneCases = []testCase{
	{"a post-hook before its pre-hook closes the owner, whatever the pre-hook asks for", func(w *world) {
		w.policy("other")
		w.add("n", "m")
		w.addNode("o", inPool("other"))
		ticket := w.enqueue(one("gate"), time.Hour)
		w.equal("what comes back", 0, len(w.postHook("build")))
		w.equal("events", []string{"tombstone"}, w.kinds(pool.EventFilter{Owner: "build"}))
		for _, r := range []pool.Request{one("build"), one("build", slot("x")), one("build", from("other"))} {
			w.refused(w.ask(r), pool.ErrConflict, "build", "closed")
		}
		_, err := w.db.Enqueue(w.ctx, one("build"), time.Hour)
		w.refused(err, pool.ErrConflict, "closed")
		_, err = w.db.Allocate(w.ctx, one("build"), pool.AllocateOptions{Ticket: ticket.Token})
		w.refused(err, pool.ErrConflict, "closed")
		w.equal("what is left of it", 0, len(w.allocations("build")))
		w.equal("the ticket", pool.Granted, w.byID(ticket.ID).State)
		w.hold(one("another"))
	}},

	{"an owner is closed for 15 minutes and no longer", func(w *world) {
		w.add("n")
		w.postHook("build")
		w.clock.add(tombstoneLife - time.Second)
		w.refused(w.ask(one("build")), pool.ErrConflict, "closed")
		w.clock.add(time.Second)
		w.hold(one("build"))
	}},

	{"the last post-hook that finds nothing counts", func(w *world) {
		w.add("n")
		w.postHook("build")
		w.clock.add(10 * time.Minute)
		w.postHook("build")
		w.clock.add(14 * time.Minute)
		w.refused(w.ask(one("build")), pool.ErrConflict, "closed")
		w.clock.add(time.Minute)
		w.hold(one("build"))
	}},

	{"a post-hook that finds anything of its owner, however it ended, leaves it open for the next pre-hook", func(w *world) {
		w.add("n")
		for name, before := range map[string]func(owner string){
			"claimed":  func(owner string) { w.hold(one(owner, slot("x"))) },
			"granted":  func(owner string) { w.grant(one(owner)) },
			"waiting":  func(owner string) { w.hold(one("holder")); w.enqueue(one(owner), time.Hour) },
			"released": func(owner string) { w.hold(one(owner)); w.releaseSlot(owner, "") },
			"no node":  func(owner string) { w.hold(one("holder")); w.refused(w.ask(one(owner)), pool.ErrNoNode) },
			"revoked": func(owner string) {
				w.hold(one(owner))
				_, err := w.db.Revoke(w.ctx, "n", "why")
				w.ok(err)
			},
		} {
			owner := "build that " + name
			before(owner)
			_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: owner, CloseOwner: true})
			if name == "revoked" {
				w.refused(err, pool.ErrConflict, "revoked")
			} else {
				w.ok(err)
			}
			w.release("holder")
			w.hold(one(owner))
			w.equal("what comes back", []string{"n"}, returned(w.postHook(owner)))
			w.hold(one(owner))
			w.postHook(owner)
		}
		w.equal("tombstones", 0, len(only(w.kinds(pool.EventFilter{}), "tombstone")))
	}},

	{"a post-hook of one slot closes nobody who has another", func(w *world) {
		w.add("n", "m")
		w.hold(one("build", slot("x")))
		y := "y"
		released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build", Slot: &y, CloseOwner: true})
		w.ok(err)
		w.equal("what comes back", 0, len(released))
		w.hold(one("build", slot("y")))
		w.equal("what comes back", 2, len(w.postHook("build")))
	}},

	{"a post-hook that found something refuses the pre-hooks that began before it, and no later one", func(w *world) {
		w.add("n", "m")
		ticket := w.enqueue(one("gate"), time.Hour)
		late := w.beginning()
		w.hold(one("build"))
		w.equal("what comes back", []string{"m"}, returned(w.postHook("build")))
		next := w.beginning()
		for _, r := range []pool.Request{one("build"), one("build", slot("x"))} {
			_, err := late.Allocate(w.ctx, r, pool.AllocateOptions{Wait: waitForever})
			w.refused(err, pool.ErrConflict, "build", "closed")
		}
		_, err := late.Enqueue(w.ctx, one("build"), time.Hour)
		w.refused(err, pool.ErrConflict, "closed")
		_, err = late.Allocate(w.ctx, one("build"), pool.AllocateOptions{Ticket: ticket.Token})
		w.refused(err, pool.ErrConflict, "closed")
		w.equal("what there was of it", 1, len(w.allocations("build")))
		_, err = late.Allocate(w.ctx, one("another"), pool.AllocateOptions{})
		w.ok(err)
		w.release("another")

		// The build goes on, and has a second pre-hook, and a post-hook for that.
		a, err := next.Allocate(w.ctx, one("build"), pool.AllocateOptions{})
		w.ok(err)
		_, err = next.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("what comes back", []string{"m"}, returned(w.postHook("build")))
		_, err = next.Allocate(w.ctx, one("build", slot("x")), pool.AllocateOptions{})
		w.refused(err, pool.ErrConflict, "closed")
		w.hold(one("build")) // by a program that goes on
		w.postHook("build")
		w.postHook("build") // finds it given back
		_, err = late.Allocate(w.ctx, one("build"), pool.AllocateOptions{})
		w.refused(err, pool.ErrConflict, "closed")
		w.clock.add(tombstoneLife)
		_, err = late.Allocate(w.ctx, one("build"), pool.AllocateOptions{})
		w.ok(err)
		w.equal("events", 0, len(only(w.kinds(pool.EventFilter{}), "tombstone")))
	}},

	{"who has a grant when its build's post-hook comes cannot claim it, also where the post-hook did not see it", func(w *world) {
		w.add("n", "m")
		late := w.beginning()
		a, err := late.Allocate(w.ctx, one("build"), pool.AllocateOptions{})
		w.ok(err)
		w.hold(one("build", slot("x")))
		w.change(w.raw(), "INSERT INTO tombstones (owner_key, closed_at, late_only) VALUES (?, ?, 1)", ownerKey("build"), w.clock.look().Format("2006-01-02 15:04:05.000000"))
		_, err = w.beginning().Claim(w.ctx, a.Token) // who began since is not late
		w.ok(err)
		w.release("build")
		a, err = w.db.Allocate(w.ctx, one("build"), pool.AllocateOptions{})
		w.ok(err)
		_, err = late.Claim(w.ctx, a.Token)
		w.refused(err, pool.ErrConflict, "build", "closed")
	}},

	{"a post-hook of one slot refuses nobody on the way to another", func(w *world) {
		w.add("n", "m")
		late := w.beginning()
		w.hold(one("build", slot("x")))
		x := "x"
		_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build", Slot: &x, CloseOwner: true})
		w.ok(err)
		_, err = late.Allocate(w.ctx, one("build", slot("y")), pool.AllocateOptions{})
		w.ok(err)
	}},

	{"a post-hook that was kept refuses the pre-hooks that began before it was, and no later one", func(w *world) {
		w.add("n")
		late := w.beginning()
		w.hold(one("build"))
		w.clock.add(time.Minute)
		asked := w.clock.look()
		next := w.beginning()
		w.clock.add(time.Minute)
		_, err := w.db.ReleaseKept(w.ctx, pool.KeptRelease{Owner: "build", Asked: asked})
		w.ok(err)
		_, err = late.Allocate(w.ctx, one("build"), pool.AllocateOptions{})
		w.refused(err, pool.ErrConflict, "closed")
		_, err = next.Allocate(w.ctx, one("build"), pool.AllocateOptions{})
		w.ok(err)
	}},

	{"a clock that went back has nobody refused that began after a post-hook", func(w *world) {
		w.add("n")
		w.hold(one("build"))
		w.postHook("build")
		w.clock.set(w.clock.look().Add(-time.Hour))
		_, err := w.beginning().Allocate(w.ctx, one("build"), pool.AllocateOptions{})
		w.ok(err)
		w.postHook("build")
		_, err = w.beginning().Allocate(w.ctx, one("build"), pool.AllocateOptions{})
		w.ok(err)
	}},

	{"a release by hand, or by a token alone, closes nobody", func(w *world) {
		w.add("n")
		w.release("build")
		_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Token: secret.New("no token of ours"), CloseOwner: true})
		w.ok(err)
		w.hold(one("build"))
	}},

	{"a ticket that is in the queue already when its owner is closed gets nothing, and holds nothing up", func(w *world) {
		w.add("a")
		w.hold(one("holder"))
		c := w.queue(one("build"))
		w.queue(one("next"))
		// The post-hook looked before the ticket came; here it died before it looked again.
		w.closeByHand("build")
		w.release("holder")
		w.equal("holders", map[string]string{"a": "next"}, w.holders())
		_, err := c.result()
		w.refused(err, pool.ErrConflict, "build", "closed")
		w.equal("its end", pool.EndClosed, w.ended("build"))
		w.equal("its events", []string{"queued", "closed"}, w.kinds(pool.EventFilter{Owner: "build"}))
	}},

	{"what was set aside for a request of a closed owner is for who is behind", func(w *world) {
		w.add("a", "b", "c")
		w.hold(one("holder"))
		w.hold(one("another"))
		w.enqueue(many("build", 3), time.Hour)
		first := w.enqueue(one("first"), time.Hour)
		second := w.enqueue(one("second"), time.Hour)
		w.closeByHand("build")
		w.release("holder")
		w.equal("states", []pool.State{pool.Granted, pool.Granted}, []pool.State{w.byID(first.ID).State, w.byID(second.ID).State})
		w.equal("its end", pool.EndClosed, w.ended("build"))
	}},

	{"a grant cannot be claimed once its owner is closed, and goes back", func(w *world) {
		w.add("a")
		a := w.grant(one("aborted"))
		w.closeByHand("aborted")
		_, err := w.db.Claim(w.ctx, a.Token)
		w.refused(err, pool.ErrConflict, "aborted", "closed")
		w.cancel(a.Token)
		w.hold(one("next"))
	}},

	{"what is claimed already its owner keeps: the post-hook's second look releases it", func(w *world) {
		w.add("a")
		a := w.hold(one("build"))
		w.closeByHand("build")
		_, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("what comes back", []string{"a"}, returned(w.postHook("build")))
	}},

	{"a pre-hook and its post-hook at the same time leak nothing, and agree on whether the owner is closed", func(w *world) {
		w.add("a", "b", "c", "d")
		const builds = 8
		var mu sync.Mutex
		found := map[string]bool{}
		w.together(2*builds, func(i int, db *pool.DB) {
			owner := fmt.Sprintf("build %d", i/2)
			if i%2 == 0 {
				released, err := db.Release(w.ctx, pool.ReleaseRequest{Owner: owner, CloseOwner: true})
				if err != nil {
					w.Errorf("the post-hook of %s: %v", owner, err)
				}
				mu.Lock()
				found[owner] = len(released) > 0
				mu.Unlock()
				return
			}
			a, err := db.Allocate(w.ctx, one(owner), pool.AllocateOptions{})
			if err == nil {
				_, err = db.Claim(w.ctx, a.Token)
				if err != nil {
					if undo := db.Cancel(w.ctx, a.Token, "cannot claim"); undo != nil {
						w.Errorf("undoing the grant of %s: %v", owner, undo)
					}
				}
			}
			if err != nil && !errors.Is(err, pool.ErrConflict) && !errors.Is(err, pool.ErrNoNode) {
				w.Errorf("the pre-hook of %s: %v", owner, err)
			}
		})
		// A build whose two hooks ran has nothing. Its post-hook may have been first.
		for i := range builds {
			owner := fmt.Sprintf("build %d", i)
			for _, a := range w.allocations(owner) {
				if a.State != pool.Ended {
					w.Errorf("%s is left with an allocation that is %s", owner, a.State)
				}
			}
			a, err := w.db.Allocate(w.ctx, one(owner), pool.AllocateOptions{})
			switch closed := errors.Is(err, pool.ErrConflict); {
			case err != nil && !closed:
				w.Errorf("%s again: %v", owner, err)
			case closed && found[owner]:
				w.Errorf("%s is closed, though its post-hook found something", owner)
			case !closed && !found[owner] && len(w.allocations(owner)) == 1:
				w.Errorf("%s is open, though its post-hook came first", owner)
			case err == nil:
				w.cancel(a.Token)
			}
		}
	}},

	{"tend forgets the tombstones that count no more", func(w *world) {
		w.postHook("old")
		w.clock.add(20 * time.Minute)
		w.postHook("new")
		w.tend()
		db := w.raw()
		w.equal("tombstones", "2", w.text(db, "SELECT COUNT(*) FROM tombstones"))
		w.clock.add(11 * time.Minute)
		w.tend()
		w.equal("tombstones", ownerKey("new"), w.text(db, "SELECT owner_key FROM tombstones"))
	}},
}

// beginning opens a handle as a pre-hook does that begins now.
func (w *world) beginning() *pool.DB {
	w.Helper()
	return w.open(func(o *pool.Options) { o.Began = w.clock.look() })
}

// postHook releases all that an owner has, and closes it when that is nothing.
func (w *world) postHook(owner string) []pool.Released {
	w.Helper()
	released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: owner, CloseOwner: true})
	w.ok(err)
	return released
}

func (w *world) allocations(owner string) []pool.Allocation {
	w.Helper()
	list, err := w.db.Allocations(w.ctx, pool.AllocationFilter{Owner: owner})
	w.ok(err)
	return list
}

// closeByHand leaves the tombstone of a post-hook that came between two steps of its pre-hook.
func (w *world) closeByHand(owner string) {
	w.Helper()
	w.change(w.raw(), "INSERT INTO tombstones (owner_key, closed_at, late_only) VALUES (?, ?, 0)", ownerKey(owner), w.clock.look().Format("2006-01-02 15:04:05.000000"))
}
