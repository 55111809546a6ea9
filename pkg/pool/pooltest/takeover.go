package pooltest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// attempt is a client that asks and gets an answer, in the background.
type attempt struct {
	a   *pool.Allocation
	err error
}

// background has a request asked by another handle, and gives its answer.
func (w *world) background(db *pool.DB, r pool.Request, wait time.Duration) chan attempt {
	answer := make(chan attempt, 1)
	go func() {
		a, err := db.Allocate(w.ctx, r, pool.AllocateOptions{Wait: wait})
		answer <- attempt{a, err}
	}()
	return answer
}

// answer waits for what a client in the background gets.
func (w *world) answer(c chan attempt) (*pool.Allocation, error) {
	w.Helper()
	select {
	case got := <-c:
		return got.a, got.err
	case <-time.After(patience):
		w.Fatalf("no answer")
		return nil, nil
	}
}

var takeOverCases = []testCase{
	{"while the first client lives, its owner and slot are busy for a second", func(w *world) {
		w.add("a")
		w.hold(one("other"))
		first := w.queue(one("build"))
		err := w.ask(one("build"))
		w.refused(err, pool.ErrConflict, "build", "waiting", "--slot")
		w.release("other")
		err = w.ask(one("build"))
		w.refused(err, pool.ErrConflict, "build", "holds a", "--slot")
		w.equal("nodes", []string{"a"}, first.granted().NodeNames())
	}},

	{"a second client watches the first, and is refused as soon as that gives a sign of life", func(w *world) {
		w.add("a")
		w.hold(one("other"))
		first := w.queue(one("build"))
		// Two milliseconds before the first lapses the second looks often.
		w.clock.set(w.last("build").QueuedAt.Add(time.Minute - 2*time.Millisecond))
		db, looks := w.watched()
		second := w.background(db, one("build"), waitForever)
		looks(2) // its own ticket was refused, and it has seen the first's heartbeat
		first.goOn()
		_, err := w.answer(second)
		w.refused(err, pool.ErrConflict, "build", "waiting", "--slot")
		w.release("other")
		w.equal("nodes", []string{"a"}, first.granted().NodeNames())
	}},

	{"a second client takes over in place when the first one's heartbeat lapses", func(w *world) {
		w.add("a")
		w.hold(one("other"))
		first := w.queue(one("build"))
		id := w.last("build").ID
		w.waits(one("behind"))
		w.clock.set(w.last("build").QueuedAt.Add(time.Minute - 2*time.Millisecond))
		db, looks := w.watched()
		r := one("build")
		r.Where, r.Labels = "another machine", map[string]string{"JOB_NAME": "again"}
		second := w.background(db, r, waitForever)
		looks(2)
		w.clock.add(time.Second)
		w.eventually("it is taken over", func() bool { return w.last("build").Where == "another machine" })
		w.equal("the queue", []string{"build", "behind"}, w.waiting("default"))
		w.release("other")
		a, err := w.answer(second)
		w.ok(err)
		w.equal("id, labels, nodes", []any{id, r.Labels, []string{"a"}}, []any{a.ID, a.Labels, a.NodeNames()})
		w.equal("the labels that are kept", r.Labels, w.last("build").Labels)
		_, err = first.result()
		w.refused(err, pool.ErrConflict, "taken over")
		_, err = w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("events", []string{"queued", "taken-over", "granted", "claimed"}, w.kinds(pool.EventFilter{Owner: "build"}))
	}},

	{"a client that was replaced does nothing to its successor's ticket, by whatever way it goes", func(w *world) {
		w.add("a")
		w.hold(one("other"))
		for _, way := range []struct {
			name   string
			wait   time.Duration
			cancel bool
			end    error
		}{{"waits on", waitForever, false, pool.ErrConflict}, {"is timed out", 1, false, pool.ErrConflict}, {"gives up", waitForever, true, context.Canceled}} {
			first := w.start(one(way.name), way.wait, true, w.db)
			w.clock.add(61 * time.Second)
			second := w.queue(one(way.name))
			if way.cancel {
				first.cancel()
			}
			_, err := first.result()
			w.refused(err, way.end)
			w.equal("the queue", []string{way.name}, w.waiting("default"))
			w.release("other")
			w.equal("nodes", []string{"a"}, second.claimed().NodeNames())
			w.release(way.name)
			w.hold(one("other"))
		}
	}},

	{"a grant whose client died is taken over with its nodes, and the dead one's token is worth nothing", func(w *world) {
		w.add("a", "b")
		first := w.grant(many("build", 2))
		w.clock.add(61 * time.Second)
		second := w.grant(many("build", 2))
		w.equal("id and nodes", []any{first.ID, first.NodeNames()}, []any{second.ID, second.NodeNames()})
		if second.Token == first.Token || second.Nodes[0].BMC.Password.IsZero() {
			w.Errorf("the newcomer has the old token, or no passwords")
		}
		_, err := w.db.Claim(w.ctx, first.Token)
		w.refused(err, pool.ErrConflict, "taken over")
		w.refused(w.db.Beat(w.ctx, first.Token), pool.ErrConflict, "token")
		w.ok(w.db.Cancel(w.ctx, first.Token, "undone"))
		released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Token: first.Token})
		w.ok(err)
		w.equal("what the old token releases", 0, len(released))
		claimed, err := w.db.Claim(w.ctx, second.Token)
		w.ok(err)
		w.equal("the lease begins anew", claimed.ClaimedAt.Add(claimed.Lease), claimed.ExpiresAt)
		w.equal("holders", map[string]string{"a": "build", "b": "build"}, w.holders())
	}},

	{"a newcomer that asks for something else ends the dead one's ticket and takes its place", func(w *world) {
		w.add("a", "b")
		w.hold(many("other", 2))
		for _, changed := range []pool.Request{many("count", 2), one("lease", lease(time.Minute)), one("priority", priority(1))} {
			w.queue(one(changed.Owner))
			old := w.last(changed.Owner)
			w.clock.add(30 * time.Second)
			w.waits(one("behind " + changed.Owner))
			w.clock.add(31 * time.Second)
			newcomer := w.queue(changed)
			now := w.last(changed.Owner)
			if now.ID == old.ID {
				w.Errorf("%s: the old ticket goes on", changed.Owner)
			}
			w.equal("count, lease, priority", []any{changed.Groups[0].Count, changed.Lease == time.Minute, changed.Priority},
				[]any{now.Count(), now.Lease == time.Minute, now.Priority})
			w.equal("queued", old.QueuedAt, now.QueuedAt)
			before, err := w.db.Allocation(w.ctx, old.ID)
			w.ok(err)
			w.equal("the old one's end", pool.EndLapsed, before.EndReason)
			w.equal("the queue", []string{changed.Owner, "behind " + changed.Owner}, w.waiting("default"))
			newcomer.giveUp()
			w.release("behind " + changed.Owner)
		}
	}},

	{"a newcomer that asks for something else gets nothing of what the dead one was granted", func(w *world) {
		w.add("a", "b")
		w.grant(one("build", needs("name=a")))
		w.clock.add(61 * time.Second)
		w.equal("nodes", []string{"b"}, w.grant(one("build", needs("name=b"))).NodeNames())
		w.equal("holders", map[string]string{"b": "build"}, w.holders())
	}},

	{"of newcomers and tend at the same time one ends the dead one's ticket, and one newcomer takes its place", func(w *world) {
		w.addNode("a", having("gpu", "1"))
		w.hold(one("holder"))
		w.add("b")
		began := time.Now()
		for range 3 {
			dead := w.enqueue(one("build", needs("gpu")), time.Minute)
			w.clock.add(time.Minute)
			var mu sync.Mutex
			var got []string
			w.together(8, func(i int, db *pool.DB) {
				if i%2 == 0 {
					if _, err := db.Tend(w.ctx); err != nil {
						w.Errorf("tend: %v", err)
					}
					return
				}
				a, err := db.Allocate(w.ctx, one("build"), pool.AllocateOptions{})
				if err != nil && !errors.As(err, new(*pool.BusyError)) {
					w.Errorf("a newcomer: %v", err)
				}
				if err == nil {
					mu.Lock()
					got = append(got, a.NodeNames()...)
					mu.Unlock()
				}
			})
			w.equal("what the newcomers get", []string{"b"}, got)
			w.equal("the dead one's end", pool.EndLapsed, w.byID(dead.ID).EndReason)
			w.release("build")
		}
		if took := time.Since(began); took > patience {
			w.Errorf("it took %v", took)
		}
	}},

	{"a newcomer in another pool ends the dead one's ticket", func(w *world) {
		w.policy("p")
		w.addNode("a", inPool("p"))
		w.add("b")
		w.grant(one("build", from("p")))
		w.clock.add(61 * time.Second)
		w.equal("nodes", []string{"b"}, w.grant(one("build")).NodeNames())
		w.equal("holders", map[string]string{"b": "build"}, w.holders())
	}},

	{"what a build has claimed is taken over by nobody: it is adopted by who presents its token", func(w *world) {
		w.add("a", "b")
		a := w.hold(one("build", slot("s")))
		w.clock.add(time.Hour)
		begun := time.Now()
		_, err := w.db.Allocate(w.ctx, one("build", slot("s")), pool.AllocateOptions{Wait: waitForever})
		w.refused(err, pool.ErrConflict, "holds a", "--slot", "--adopt")
		if time.Since(begun) > patience/2 {
			w.Errorf("it was told only after %s", time.Since(begun))
		}
		adopted, err := w.db.Adopt(w.ctx, a.Token, "build", "s")
		w.ok(err)
		w.equal("id, token, nodes", []any{a.ID, a.Token, []string{"a"}}, []any{adopted.ID, adopted.Token, adopted.NodeNames()})
		w.equal("the password", secretMark+" of a", adopted.Nodes[0].BMC.Password.Reveal())
		for _, c := range []struct {
			token       secret.Text
			owner, slot string
		}{{a.Token, "other", "s"}, {a.Token, "build", ""}, {secret.New("nobody's"), "build", "s"}, {secret.Text{}, "build", "s"}} {
			_, err := w.db.Adopt(w.ctx, c.token, c.owner, c.slot)
			w.refused(err, pool.ErrConflict, c.owner)
		}
		granted := w.grant(one("unclaimed"))
		_, err = w.db.Adopt(w.ctx, granted.Token, "unclaimed", "")
		w.refused(err, pool.ErrConflict, "granted")
		w.release("build")
		_, err = w.db.Adopt(w.ctx, a.Token, "build", "s")
		w.refused(err, pool.ErrConflict, "released")
	}},

	{"adopting what was taken back tells who has it now", func(w *world) {
		w.add("a")
		a := w.hold(one("build", lease(30*time.Second)))
		w.clock.add(31 * time.Second)
		w.hold(one("next"))
		_, err := w.db.Adopt(w.ctx, a.Token, "build", "")
		w.refused(err, pool.ErrConflict, "expired", "next")
		var lost *pool.TakenBackError
		if !errors.As(err, &lost) {
			w.Errorf("%v is no TakenBackError", err)
		}
	}},
}
