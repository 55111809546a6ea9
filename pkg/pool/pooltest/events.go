package pooltest

import (
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var eventCases = []testCase{
	{"every change is told, all that one operation does under one operation id of its own", func(w *world) {
		w.policy("p", "lease=30s", "cleaning=true", "clean_limit=1h", "on_expiry=reclaim")
		seen := map[string]bool{}
		step := func(what string, do func(), want ...string) {
			w.Helper()
			before := w.events()
			do()
			events, err := w.db.Events(w.ctx, pool.EventFilter{})
			w.ok(err)
			var got, operations []string
			for _, e := range events[before:] {
				got = append(got, told(e))
				if len(operations) == 0 || operations[len(operations)-1] != e.Operation {
					operations = append(operations, e.Operation)
				}
			}
			w.equal("events of "+what, want, got)
			for _, o := range operations {
				if seen[o] {
					w.Errorf("the operation id of %s was there before", what)
				}
				seen[o] = true
			}
			if len(operations) > 1 && what != "an allocation that is granted at once" {
				w.Errorf("%s is told as %d operations", what, len(operations))
			}
		}
		ok := func(err error) { w.Helper(); w.ok(err) }
		node := func(_ pool.Node, err error) { w.Helper(); w.ok(err) }

		step("a pool added", func() { ok(w.db.AddPool(w.ctx, "q", pool.DefaultPolicy())) }, "pool-added q")
		step("a policy set", func() { w.policy("q", "lease=1h") }, "pool-set q")
		step("a pool paused", func() { ok(w.db.PausePool(w.ctx, "q", "why")) }, "pool-paused q")
		step("a pool resumed", func() { ok(w.db.ResumePool(w.ctx, "q")) }, "pool-resumed q")
		step("a pool removed", func() { ok(w.db.RemovePool(w.ctx, "q")) }, "pool-removed q")
		step("a node added", func() { w.addNode("n", inPool("p")) }, "node-added p n")
		step("a field set", func() { node(w.db.SetNode(w.ctx, "n", changes("ram_mb=5"))) }, "node-set p n")
		step("a field set to what it is", func() { node(w.db.SetNode(w.ctx, "n", changes("ram_mb=5"))) })
		step("a password set", func() { ok(w.db.SetPassword(w.ctx, "n", secret.New(secretMark))) }, "node-set p n")
		var a *pool.Allocation
		step("an allocation that is granted at once", func() { a = w.grant(one("build", from("p"))) }, "queued p build", "granted p n build")
		step("a claim", func() { _, err := w.db.Claim(w.ctx, a.Token); ok(err) }, "claimed p build")
		step("a claim again", func() { _, err := w.db.Claim(w.ctx, a.Token); ok(err) })
		step("an extension", func() { _, err := w.db.Extend(w.ctx, pool.ExtendRequest{Token: a.Token, Lease: time.Hour}); ok(err) }, "extended p build")
		step("a hold", func() {
			_, err := w.db.Hold(w.ctx, pool.HoldRequest{Token: a.Token, For: 2 * time.Hour, Reason: "look"})
			ok(err)
		}, "held p build")
		step("a ticket", func() { w.enqueue(one("ticket", from("p")), 10*time.Hour) }, "queued p ticket")
		step("maintenance", func() { w.maintain("n") }, "maintenance-on p n")
		step("maintenance with another reason", func() { node(w.db.SetMaintenance(w.ctx, "n", true, "power")) }, "maintenance-on p n")
		step("maintenance with the same reason", func() { node(w.db.SetMaintenance(w.ctx, "n", true, "power")) })
		step("the end of maintenance", func() { node(w.db.SetMaintenance(w.ctx, "n", false, "")) }, "maintenance-off p n")
		step("a release to cleaning", func() { w.release("build") }, "released p n build")
		step("a cleaned node handed on", func() { node(w.db.MarkReady(w.ctx, "n")) }, "ready p n", "granted p n ticket")
		step("a grant cancelled", func() { w.release("ticket") }, "cancelled p n ticket")
		step("a node marked dirty", func() { node(w.db.MarkDirty(w.ctx, "n", "smells")) }, "dirty p n")
		step("a cleaning that takes too long", func() { w.clock.add(2 * time.Hour); w.tend() }, "broken p n")
		step("a broken node made ready", func() { node(w.db.MarkReady(w.ctx, "n")) }, "ready p n")
		w.hold(one("late", from("p")))
		step("a lease that is over", func() { w.clock.add(time.Minute); w.tend() }, "expired p n late")
		step("nothing that is over", func() { w.tend() })
		node(w.db.MarkReady(w.ctx, "n"))
		w.hold(one("revoked", from("p")))
		step("a revocation", func() { _, err := w.db.Revoke(w.ctx, "n", "why"); ok(err) }, "revoked p n revoked")
		step("an owner closed", func() { w.postHook("closed") }, "tombstone closed")
		step("a node renamed", func() { node(w.db.SetNode(w.ctx, "n", changes("name=m"))) }, "node-set p m")
		step("an import", func() {
			_, err := w.db.Import(w.ctx, []pool.NodeSpec{w.spec("new", inPool("p"))}, pool.ImportOptions{Prune: true})
			ok(err)
		}, "node-removed p m", "node-added p new")
		step("an import again", func() {
			spec := w.node("new").Spec()
			_, err := w.db.Import(w.ctx, []pool.NodeSpec{spec}, pool.ImportOptions{Prune: true})
			ok(err)
		})
		step("a dry run", func() {
			_, err := w.db.Import(w.ctx, []pool.NodeSpec{w.spec("third", inPool("p"))}, pool.ImportOptions{Prune: true, DryRun: true})
			ok(err)
		})
		step("a node removed", func() { ok(w.db.RemoveNode(w.ctx, "new")) }, "node-removed p new")
	}},

	{"who is served by an operation is told under that operation's id", func(w *world) {
		w.policy("p")
		w.addNode("a", inPool("p"))
		w.addNode("b", inPool("p"))
		w.hold(many("build", 2, from("p")))
		w.enqueue(one("first", from("p")), time.Hour)
		w.enqueue(one("second", from("p")), time.Hour)
		w.release("build")
		e := w.lastEvent(pool.EventFilter{Owner: "build"})
		w.equal("the operation", []string{"released", "released", "granted", "granted"}, w.kinds(pool.EventFilter{Operation: e.Operation}))
	}},

	{"an event tells when, by whom, of which node, allocation and generation, and what else there is to tell", func(w *world) {
		w.add("n")
		w.hold(one("before"))
		w.release("before")
		start := w.clock.look()
		r := one("build", slot("x"), priority(2), lease(time.Hour))
		r.Groups[0].Name = "compute"
		a := w.hold(r)
		_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Token: a.Token, Result: "FAILURE"})
		w.ok(err)
		got, err := w.db.Events(w.ctx, pool.EventFilter{Allocation: a.ID})
		w.ok(err)
		event := func(kind, node string, generation int64, detail map[string]any) pool.Event {
			return pool.Event{
				Actor: "pooltest", Kind: kind, Pool: "default", Node: node, Owner: "build", Slot: "x", Allocation: a.ID, Generation: generation, Detail: detail,
			}
		}
		want := []pool.Event{
			event("queued", "", 0, map[string]any{"count": 1.0, "priority": 2.0, "where": "pooltest"}),
			event("granted", "n", 2, map[string]any{"group": "compute"}),
			event("claimed", "", 0, map[string]any{"expires_at": rfc(a.ExpiresAt)}),
			event("released", "n", 2, map[string]any{"result": "FAILURE"}),
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(pool.Event{}, "ID", "At", "Operation")); diff != "" {
			w.Fatalf("events (-want +got):\n%s", diff)
		}
		for _, e := range got {
			if e.ID == 0 || e.At.Before(start) || e.At.After(w.clock.look()) || e.At.Location() != time.UTC {
				w.Errorf("event %d is of %v", e.ID, e.At)
			}
		}
		w.equal("the moment of the grant", a.GrantedAt, got[1].At)
	}},

	{"what is refused leaves no event", func(w *world) {
		w.add("n", "m")
		w.hold(one("build", needs("name=n")))
		before := w.events()
		for i, err := range []error{
			w.db.AddNodes(w.ctx, []pool.NodeSpec{w.spec("fine"), w.spec("n")}),
			w.db.AddPool(w.ctx, "default", pool.DefaultPolicy()),
			w.db.RemovePool(w.ctx, "default"),
			w.db.RemoveNode(w.ctx, "n"),
			w.db.PausePool(w.ctx, "default", ""),
			w.ask(one("build")),
			second(w.db.SetNode(w.ctx, "n", changes("note=1", "name=m"))),
			second(w.db.SetPool(w.ctx, "default", changes("lease=1h", "max_lease=1s"))),
			second(w.db.MarkReady(w.ctx, "n")),
			second(w.db.MarkDirty(w.ctx, "n", "why")),
			second(w.db.Revoke(w.ctx, "m", "why")),
			second(w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "nobody", Lease: time.Hour})),
			second(w.db.Claim(w.ctx, secret.New("no token of ours"))),
			second(w.db.Import(w.ctx, []pool.NodeSpec{w.spec("fine")}, pool.ImportOptions{Prune: true})), // n is held
		} {
			if err == nil {
				w.Errorf("the %dth of them is not refused", i+1)
			}
		}
		w.equal("events", before, w.events())
	}},

	{"events are found by node, owner, pool, allocation, operation and time, and the newest of them", func(w *world) {
		w.policy("p")
		w.addNode("n", inPool("p"))
		w.add("m")
		a := w.hold(one("build", from("p")))
		w.hold(one("Build"))
		w.clock.add(time.Hour)
		w.release("build")
		at := w.lastEvent(pool.EventFilter{Owner: "build"}).At
		for _, c := range []struct {
			filter pool.EventFilter
			want   []string
		}{
			{pool.EventFilter{Node: "n"}, []string{"node-added p n", "granted p n build", "released p n build"}},
			{pool.EventFilter{Owner: "build"}, []string{"queued p build", "granted p n build", "claimed p build", "released p n build"}},
			{pool.EventFilter{Allocation: a.ID}, []string{"queued p build", "granted p n build", "claimed p build", "released p n build"}},
			{pool.EventFilter{Owner: "Build", Limit: 2}, []string{"granted default m Build", "claimed default Build"}},
			{pool.EventFilter{Pool: "p", Limit: 1}, []string{"released p n build"}},
			{pool.EventFilter{Since: at}, []string{"released p n build"}},
			{pool.EventFilter{Pool: "p", Until: at, Limit: 1}, []string{"claimed p build"}},
			{pool.EventFilter{Node: "m", Owner: "Build"}, []string{"granted default m Build"}},
			{pool.EventFilter{Node: "ghost"}, nil},
			{pool.EventFilter{Operation: "none"}, nil},
		} {
			events, err := w.db.Events(w.ctx, c.filter)
			w.ok(err)
			var got []string
			for _, e := range events {
				got = append(got, told(e))
			}
			w.equal("events", c.want, got)
		}
	}},

	{"time never runs backwards, whatever the clock does", func(w *world) {
		w.add("n")
		a := w.hold(one("build"))
		w.clock.add(-24 * time.Hour)
		w.release("build")
		b := w.hold(one("next"))
		if ended := w.last("build").EndedAt; ended.Before(a.GrantedAt) || b.QueuedAt.Before(ended) || b.GrantedAt.Before(b.QueuedAt) {
			w.Errorf("one is granted at %v and ends at %v, the next queues at %v and is granted at %v", a.GrantedAt, ended, b.QueuedAt, b.GrantedAt)
		}
		w.equal("the trail", []string{"node-added", "granted", "released", "granted"}, w.kinds(pool.EventFilter{Node: "n"}))
		w.equal("the end of the lease", b.GrantedAt.Add(pool.DefaultPolicy().Lease), b.ExpiresAt)
	}},
}

// told writes an event in a few words: its kind, and the pool, node and owner that it names.
func told(e pool.Event) string {
	text := e.Kind
	for _, s := range []string{e.Pool, e.Node, e.Owner} {
		if s != "" {
			text += " " + s
		}
	}
	return text
}

func second[T any](_ T, err error) error { return err }
