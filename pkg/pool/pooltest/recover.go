package pooltest

import (
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

var recoverCases = []testCase{
	{"after a restored backup nothing is handed out until a person has looked", func(w *world) {
		w.add("held", "free")
		w.policy("arm")
		w.addNode("dirty", inPool("arm"))
		_, err := w.db.MarkDirty(w.ctx, "dirty", "")
		w.ok(err)
		a := w.hold(one("me", needs("name=held")))

		r, err := w.db.Recover(w.ctx)
		w.ok(err)
		w.equal("result", pool.RecoverResult{Paused: []string{"arm", "default"}, Nodes: []string{"dirty", "free"}, Held: []string{"held"}}, r)
		for _, name := range []string{"free", "dirty"} {
			n := w.node(name)
			if n.Status != pool.Broken || !n.Suspect || n.Reason == "" {
				w.Errorf("node %s is %s, suspect %v, reason %q", name, n.Status, n.Suspect, n.Reason)
			}
		}
		w.refused(w.ask(one("other")), pool.ErrNoNode)

		// Who held a node goes on with it, and gives it back.
		_, err = w.db.Extend(w.ctx, pool.ExtendRequest{Token: a.Token, Lease: 20 * time.Hour})
		w.ok(err)
		_, err = w.db.Release(w.ctx, pool.ReleaseRequest{Token: a.Token})
		w.ok(err)

		_, err = w.db.MarkReady(w.ctx, "free")
		w.ok(err)
		c := w.queue(one("other", needs("name=free")))
		w.ok(w.db.ResumePool(w.ctx, "default"))
		c.granted()
	}},
	{"ids and generations that were given out after the backup are not given out again", func(w *world) {
		w.add("a", "b")
		held := w.hold(one("me"))
		free := "a"
		if held.NodeNames()[0] == "a" {
			free = "b"
		}
		before := w.node(free).Generation
		_, err := w.db.Recover(w.ctx)
		w.ok(err)
		_, err = w.db.MarkReady(w.ctx, free)
		w.ok(err)
		w.ok(w.db.ResumePool(w.ctx, "default"))
		a := w.hold(one("other"))
		if a.ID < held.ID+1_000_000 || a.Nodes[0].Generation < before+1_000_000 {
			w.Errorf("allocation %d after %d, generation %d after %d", a.ID, held.ID, a.Nodes[0].Generation, before)
		}
		events, err := w.db.Events(w.ctx, pool.EventFilter{})
		w.ok(err)
		if first, last := events[0].ID, events[len(events)-1].ID; last < first+1_000_000 {
			w.Errorf("event %d after %d", last, first)
		}
	}},
	{"a file that was copied to another machine is told from this machine's own", func(w *world) {
		raw := w.raw()
		if w.text(raw, `SELECT COUNT(*) FROM meta WHERE name = 'machine'`) == "0" {
			return // a server's database belongs to no machine
		}
		other, err := w.db.OtherMachine(w.ctx)
		w.ok(err)
		w.equal("other machine", "", other)
		w.change(raw, `UPDATE meta SET value = 'ci-7/0123456789ab' WHERE name = 'machine'`)
		other, err = w.db.OtherMachine(w.ctx)
		w.ok(err)
		w.equal("other machine", "ci-7", other)
		_, err = w.db.Recover(w.ctx)
		w.ok(err)
		other, err = w.db.OtherMachine(w.ctx)
		w.ok(err)
		w.equal("other machine after recover", "", other)
	}},
	{"recovering twice is as safe as once", func(w *world) {
		w.add("a")
		_, err := w.db.Recover(w.ctx)
		w.ok(err)
		r, err := w.db.Recover(w.ctx)
		w.ok(err)
		w.equal("result", pool.RecoverResult{Paused: []string{"default"}, Nodes: []string{"a"}}, r)
		w.equal("events of the node", []string{"node-added", "recovered", "recovered"}, w.kinds(pool.EventFilter{Node: "a"}))
	}},
}

var historyCases = []testCase{
	{"what is older goes, what is active or newer stays", func(w *world) {
		w.add("a", "b")
		w.hold(one("old"))
		w.release("old")
		w.policy("default", "lease=2900h", "max_lease=3000h")
		kept := w.hold(one("active"))
		w.clock.add(100 * 24 * time.Hour)
		w.db = w.open() // pooled connections may have outlived the pause
		w.hold(one("new"))
		w.release("new")

		r, err := w.db.PruneHistory(w.ctx, 90*24*time.Hour, nil)
		w.ok(err)
		if r.Allocations != 1 || r.Events < 8 {
			w.Errorf("removed %+v", r)
		}
		for owner, want := range map[string]int{"old": 0, "active": 1, "new": 1} {
			list, err := w.db.Allocations(w.ctx, pool.AllocationFilter{Owner: owner})
			w.ok(err)
			w.equal(owner+"'s allocations", want, len(list))
		}
		w.equal("events of the new one", []string{"queued", "granted", "claimed", "released"}, w.kinds(pool.EventFilter{Owner: "new"}))
		again, err := w.db.PruneHistory(w.ctx, 90*24*time.Hour, nil)
		w.ok(err)
		w.equal("removed again", 0, again.Events+again.Allocations)
		w.equal("events of the active one", []string{"queued", "granted", "claimed"}, w.kinds(pool.EventFilter{Owner: "active"}))
		_, err = w.db.Release(w.ctx, pool.ReleaseRequest{Token: kept.Token})
		w.ok(err)
	}},
	{"a day of history always stays", func(w *world) {
		_, err := w.db.PruneHistory(w.ctx, time.Hour, nil)
		w.refused(err, pool.ErrInvalid, "24h")
	}},
	{"a long history goes in batches, and each is told", func(w *world) {
		w.add("a")
		for range 260 { // four events each
			w.hold(one("builder"))
			w.release("builder")
		}
		w.clock.add(48 * time.Hour)
		told := 0
		r, err := w.db.PruneHistory(w.ctx, 24*time.Hour, func(pool.PruneResult) { told++ })
		w.ok(err)
		if r.Allocations != 260 || r.Events < 1040 || told < 3 {
			w.Errorf("removed %+v, told %d times", r, told)
		}
	}},
}
