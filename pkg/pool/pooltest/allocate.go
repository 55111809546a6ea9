package pooltest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

var allocateCases = []testCase{
	{"a grant brings the nodes as they are, with passwords and a token, and says until when", func(w *world) {
		w.policy("p", "lease=2h")
		w.addNode("n", inPool("p"), having("gpu", "A100"))
		r := one("build", from("p"), slot("left"), priority(3))
		r.Labels = map[string]string{"JOB_NAME": "nightly", "BUILD_NUMBER": "7"}
		a := w.grant(r)
		n := w.node("n")
		if a.Token.IsZero() || a.ID == 0 || a.QueuedAt.IsZero() || a.GrantedAt.Before(a.QueuedAt) {
			w.Errorf("the token, the id or a time is missing: %+v", a)
		}
		w.equal("the allocation", pool.Allocation{
			ID: a.ID, Owner: "build", Slot: "left", Pool: "p", State: pool.Granted, Priority: 3, Groups: r.Groups, Lease: 2 * time.Hour,
			QueuedAt: a.QueuedAt, GrantedAt: a.GrantedAt, ExpiresAt: a.GrantedAt.Add(2 * time.Hour), Labels: r.Labels, Where: "pooltest",
		}, without(*a))
		got := a.Nodes[0]
		w.equal("the password", secretMark+" of n", got.BMC.Password.Reveal())
		got.BMC.Password = n.BMC.Password
		w.equal("the node", pool.GrantedNode{Node: n, Generation: 1}, got)
		w.equal("status, owner, slot, generation", []any{pool.Allocated, "build", "left", int64(1)}, []any{n.Status, n.Owner, n.Slot, n.Generation})
		w.equal("events", []string{"queued", "granted"}, w.kinds(pool.EventFilter{Owner: "build"}))
	}},

	{"several nodes are granted all or none", func(w *world) {
		w.add("a", "b", "c")
		w.hold(one("other"))
		w.refused(w.ask(many("build", 3)), pool.ErrNoNode)
		w.equal("holders", map[string]string{"a": "other"}, w.holders())
		w.equal("nodes", []string{"b", "c"}, w.grant(many("build", 2)).NodeNames())
	}},

	{"nodes go out cheapest first, then longest idle, and a node that comes back is idle anew", func(w *world) {
		w.addNode("dear", costing(5))
		w.add("first", "second", "third")
		w.hold(one("one", needs("name=first")))
		w.release("one")
		for _, want := range []string{"second", "third", "first", "dear"} {
			w.equal("nodes", []string{want}, w.hold(one("wants "+want)).NodeNames())
		}
		w.release("wants dear")
		w.release("wants first")
		w.release("wants second")
		w.equal("nodes", []string{"first", "second", "dear"}, w.hold(many("three", 3)).NodeNames())
	}},

	{"a grant that no build ever had leaves the node as idle as it was", func(w *world) {
		w.add("a", "b")
		a := w.grant(one("aborted"))
		w.ok(w.db.Cancel(w.ctx, a.Token, "aborted"))
		w.equal("nodes", []string{"a"}, w.grant(one("build")).NodeNames())
		w.equal("the aborted one's end", pool.EndCancelled, w.ended("aborted"))
	}},

	{"a large pool is searched to its end, in order", func(w *world) {
		var specs []pool.NodeSpec
		for i := range 300 { // more than two batches
			specs = append(specs, w.spec(fmt.Sprintf("n%03d", i), having("rank", fmt.Sprint(i))))
		}
		w.ok(w.db.AddNodes(w.ctx, specs))
		w.equal("the last", []string{"n299"}, w.grant(one("last", needs("rank:min=299"))).NodeNames())
		w.equal("the first", []string{"n000"}, w.grant(one("first")).NodeNames())
		a := w.grant(many("most", 200, needs("rank:min=20")))
		w.equal("of most the first and last", []string{"n020", "n219"}, []string{a.NodeNames()[0], last(a.NodeNames())})
		w.refused(w.ask(many("too many", 99)), pool.ErrNoNode)
		w.equal("nodes", 98, len(w.grant(many("rest", 98)).Nodes))
	}},

	{"who does not wait is ended by the transaction that did not grant it", func(w *world) {
		w.add("a")
		w.hold(one("other"))
		err := w.ask(one("build"))
		w.refused(err, pool.ErrNoNode, "pool default", "1 node", "moltenironctl queue")
		w.equal("its end", pool.EndTimeout, w.ended("build"))
		w.equal("who waits", 0, len(w.waiting("default")))
		w.equal("events", []string{"queued", "timeout"}, w.kinds(pool.EventFilter{Owner: "build"}))
		w.release("other")
		w.equal("nodes", []string{"a"}, w.grant(one("build")).NodeNames())
	}},

	{"what no node of the pool could ever meet is refused at once, however long one would wait", func(w *world) {
		w.add("a", "b")
		w.hold(many("other", 2))
		for _, r := range []pool.Request{many("build", 3), one("build", needs("gpu")), one("build", needs("ram_mb:min=1"))} {
			_, err := w.db.Allocate(w.ctx, r, pool.AllocateOptions{Wait: waitForever})
			w.refused(err, pool.ErrImpossible, "pool default", pool.Describe(r.Groups))
			w.equal("its end", pool.EndImpossible, w.ended("build"))
		}
	}},

	{"a request waits for a node that is dirty, broken or in maintenance: it is not impossible", func(w *world) {
		w.policy("p", "lease=30s", "on_expiry=quarantine")
		for _, n := range []string{"dirty", "broken", "maintained"} {
			w.addNode(n, inPool("p"))
		}
		w.breakNode("p", "broken")
		_, err := w.db.MarkDirty(w.ctx, "dirty", "")
		w.ok(err)
		_, err = w.db.SetMaintenance(w.ctx, "maintained", true, "fan")
		w.ok(err)
		for _, n := range []string{"dirty", "broken", "maintained"} {
			w.refused(w.ask(one("build", from("p"), needs("name="+n))), pool.ErrNoNode)
		}
	}},

	{"a request that is wrong in itself is refused before anything is written", func(w *world) {
		w.add("n")
		bad := func(change func(*pool.Request)) pool.Request { return one("build", change) }
		by := func(q pool.Requirement) func(*pool.Request) {
			return func(r *pool.Request) { r.Groups[0].Require = []pool.Requirement{q} }
		}
		groups := func(g ...pool.Group) func(*pool.Request) { return func(r *pool.Request) { r.Groups = g } }
		for told, r := range map[string]pool.Request{
			"the owner is empty": one(""),
			"768":                one(strings.Repeat("x", 769)),
			"the owner":          one(" outer blank"),
			"slot":               bad(slot("two words")),
			"two pools":          bad(from("two pools")),
			"count 0":            many("build", 0),
			"count -1":           many("build", -1),
			"no node":            bad(groups()),
			"named twice":        bad(groups(group("a", 1), group("a", 1))),
			`group "A"`:          bad(groups(group("A", 1))),
			"lease -1s":          bad(lease(-time.Second)),
			"whole seconds":      bad(lease(1500 * time.Millisecond)),
			"ten years":          bad(lease(20 * 365 * 24 * time.Hour)),
			"no whole number":    bad(by(pool.Requirement{Key: "cpus", Op: pool.OpMin, Values: []string{"many"}})),
			"a value is empty":   bad(by(pool.Requirement{Key: "gpu", Op: pool.OpIs})),
			"bmc_password":       bad(by(pool.Requirement{Key: "bmc_password", Op: pool.OpPresent})),
			"ParseRequirement":   bad(by(pool.Requirement{Key: "gpu", Op: pool.OpIs, Values: []string{"one,two"}})),
		} {
			w.refused(w.ask(r), pool.ErrInvalid, told)
		}
		w.refused(w.ask(many("build", 10_001)), pool.ErrImpossible, "10001 nodes; the most is 10000")
		w.equal("events", []string{"pool-added", "node-added"}, w.kinds(pool.EventFilter{}))
	}},

	{"an owner may be long and foreign, and differs by case and by its last character", func(w *world) {
		w.add("a", "b", "c")
		long := strings.Repeat("ü", 767)
		for _, owner := range []string{long + "x", long + "X", long + "y"} {
			w.grant(one(owner))
			w.equal("the owner", owner, w.last(owner).Owner)
		}
		w.equal("what comes back", []string{"b"}, w.release(long + "X")[0].NodeNames())
		w.equal("nodes", []string{"c"}, w.names(pool.NodeFilter{Owner: long + "y"}))
	}},

	{"an owner has at most one active allocation a slot", func(w *world) {
		w.add("a", "b", "c", "d")
		w.grant(one("build"))
		w.hold(many("build", 2, slot("second")))
		err := w.ask(one("build"))
		w.refused(err, pool.ErrConflict, "a", "--slot")
		err = w.ask(one("build", slot("second")))
		w.refused(err, pool.ErrConflict, "b, c", "second", "--slot", "--adopt")
		var busy *pool.BusyError
		if !errors.As(err, &busy) {
			w.Fatalf("%v is no BusyError", err)
		}
		w.equal("the busy allocation", pool.BusyError{
			Owner: "build", Slot: "second", State: pool.Claimed, Nodes: []string{"b", "c"}, ExpiresAt: w.node("b").ExpiresAt,
		}, *busy)
		// The slot of another owner, and the case of the slot, are others.
		w.grant(one("other", slot("second")))
		w.refused(w.ask(one("build", slot("SECOND"))), pool.ErrNoNode)
		w.release("other")
		w.grant(one("build", slot("SECOND")))
	}},

	{"an owner and slot whose allocation ended may ask again", func(w *world) {
		w.add("a")
		for range 3 {
			w.hold(one("build", slot("s")))
			w.release("build")
		}
		list, err := w.db.Allocations(w.ctx, pool.AllocationFilter{Owner: "build"})
		w.ok(err)
		w.equal("allocations", 3, len(list))
		w.equal("the generation", int64(3), w.node("a").Generation)
	}},

	{"a lease is the pool's unless one is asked for, and is capped", func(w *world) {
		w.policy("p", "lease=1h", "max_lease=2h")
		for _, n := range []string{"a", "b", "c"} {
			w.addNode(n, inPool("p"))
		}
		for asked, want := range map[time.Duration]time.Duration{0: time.Hour, 90 * time.Second: 90 * time.Second, 3 * time.Hour: 2 * time.Hour} {
			a := w.grant(one(fmt.Sprint("asks for ", asked), from("p"), lease(asked)))
			w.equal("lease and its end", []any{want, a.GrantedAt.Add(want)}, []any{a.Lease, a.ExpiresAt})
		}
	}},

	{"a priority is capped by the pool, both ways", func(w *world) {
		w.policy("p", "max_priority=5")
		for i, n := range []string{"a", "b", "c"} {
			w.addNode(n, inPool("p"))
			a := w.grant(one("build "+n, from("p"), priority([]int{3, 70, -70}[i])))
			w.equal("priority", []int{3, 5, -5}[i], a.Priority)
		}
	}},

	{"a failed query is never reported as no node free", func(w *world) {
		db := w.open()
		w.ok(db.Close())
		_, err := db.Allocate(w.ctx, one("build"), pool.AllocateOptions{})
		if err == nil || errors.Is(err, pool.ErrNoNode) || errors.Is(err, pool.ErrImpossible) || errors.Is(err, pool.ErrNotFound) {
			w.Errorf("the error is %v", err)
		}
	}},

	{"a client that was cancelled before it began leaves nothing", func(w *world) {
		w.add("a")
		ctx, cancel := context.WithCancelCause(w.ctx)
		why := errors.New("terminated")
		cancel(why)
		_, err := w.db.Allocate(ctx, one("build"), pool.AllocateOptions{Wait: waitForever})
		w.refused(err, why)
		list, err := w.db.Allocations(w.ctx, pool.AllocationFilter{})
		w.ok(err)
		w.equal("allocations", 0, len(list))
	}},
}

// without is an allocation without what differs from run to run: its token and nodes.
func without(a pool.Allocation) pool.Allocation {
	a.Token, a.Nodes = pool.Allocation{}.Token, nil
	return a
}

// breakNode has a pool whose policy is on_expiry=quarantine and lease=30s break a node.
func (w *world) breakNode(pool, name string) {
	w.Helper()
	w.hold(one("breaks "+name, from(pool), needs("name="+name)))
	w.clock.add(31 * time.Second)
	w.tend()
}
