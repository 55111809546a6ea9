package pooltest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// crowd has n clients with handles of their own ask for something at the same time, and sorts what they
// get: the allocations, and the errors by class. An error of no class that is expected fails the case.
func (w *world) crowd(n int, wait time.Duration, ask func(i int) pool.Request, expected ...error) (granted []*pool.Allocation, refused map[error]int) {
	w.Helper()
	var mu sync.Mutex
	refused = map[error]int{}
	w.together(n, func(i int, db *pool.DB) {
		a, err := db.Allocate(w.ctx, ask(i), pool.AllocateOptions{Wait: wait})
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			granted = append(granted, a)
			return
		}
		for _, class := range expected {
			if errors.Is(err, class) {
				refused[class]++
				return
			}
		}
		w.Errorf("client %d: %v", i, err)
	})
	return granted, refused
}

// build is what a client does all its life: get nodes, claim them, give them back.
func (w *world) build(db *pool.DB, r pool.Request) {
	a, err := db.Allocate(w.ctx, r, pool.AllocateOptions{Wait: waitForever})
	if err == nil {
		_, err = db.Claim(w.ctx, a.Token)
	}
	if err == nil {
		_, err = db.Release(w.ctx, pool.ReleaseRequest{Token: a.Token})
	}
	if err != nil {
		w.Errorf("%s: %v", r.Owner, err)
	}
}

func named(i int) string { return fmt.Sprintf("client %02d", i) }

var crowdCases = []testCase{
	{"a crowd that does not wait gets each node once, and the others are told that none is free", func(w *world) {
		w.add("a", "b", "c", "d")
		granted, refused := w.crowd(12, 0, func(i int) pool.Request { return one(named(i)) }, pool.ErrNoNode)
		w.equal("granted and refused", []int{4, 8}, []int{len(granted), refused[pool.ErrNoNode]})
		nodes := map[string]bool{}
		for _, a := range granted {
			nodes[a.NodeNames()[0]] = true
		}
		w.equal("different nodes", 4, len(nodes))
	}},

	{"a crowd that waits is served to the last", func(w *world) {
		w.add("a", "b", "c")
		w.together(12, func(i int, db *pool.DB) { w.build(db, one(named(i))) })
		w.equal("holders", map[string]string{}, w.holders())
		list, err := w.db.Allocations(w.ctx, pool.AllocationFilter{})
		w.ok(err)
		for _, a := range list {
			w.equal(a.Owner, pool.EndReleased, a.EndReason)
		}
		w.equal("builds", 12, len(list))
	}},

	{"requests of several nodes do not stop each other", func(w *world) {
		w.add("a", "b", "c")
		w.together(8, func(i int, db *pool.DB) { w.build(db, many(named(i), 1+i%3)) })
		w.equal("holders", map[string]string{}, w.holders())
	}},

	{"an owner that asks from many machines at once gets one allocation a slot", func(w *world) {
		w.add("a", "b", "c", "d")
		granted, refused := w.crowd(10, 0, func(i int) pool.Request {
			return one("build", slot([]string{"", "second"}[i%2]))
		}, pool.ErrConflict)
		w.equal("granted and refused", []int{2, 8}, []int{len(granted), refused[pool.ErrConflict]})
		w.equal("slots", true, granted[0].Slot != granted[1].Slot)
	}},

	{"of many that would take over from a client that died one does", func(w *world) {
		w.add("a", "b")
		w.grant(one("build"))
		w.clock.add(61 * time.Second)
		granted, refused := w.crowd(6, 0, func(int) pool.Request { return one("build") }, pool.ErrConflict)
		w.equal("granted and refused", []int{1, 5}, []int{len(granted), refused[pool.ErrConflict]})
		_, err := w.db.Claim(w.ctx, granted[0].Token)
		w.ok(err)
		w.equal("holders", 1, len(w.holders()))
	}},

	{"a client that is cancelled at whatever moment leaves nothing behind", func(w *world) {
		w.add("held", "free")
		w.hold(one("build", needs("name=held")))
		var all sync.WaitGroup
		for i := range 12 {
			// It is cancelled at its n-th look at the clock: before its ticket is in, within its transactions,
			// or while it waits.
			ctx, cancel := context.WithCancel(w.ctx)
			defer cancel()
			var looks atomic.Int64
			db := w.open(func(o *pool.Options) {
				o.Clock = func() time.Time {
					if looks.Add(1) == int64(i/2+1) {
						cancel()
					}
					return w.clock.look()
				}
			})
			all.Go(func() {
				a, err := db.Allocate(ctx, one(named(i), needs([]string{"name=free", "name=held"}[i%2])), pool.AllocateOptions{Wait: waitForever})
				if err == nil { // it was faster
					err = db.Cancel(w.ctx, a.Token, "cancelled")
				}
				if err != nil && !errors.Is(err, context.Canceled) {
					w.Errorf("client %d: %v", i, err)
				}
			})
		}
		all.Wait()
		// What a busy machine kept from being undone in its time lapses by itself.
		w.clock.add(61 * time.Second)
		w.tend()
		w.equal("holders", map[string]string{"held": "build"}, w.holders())
		w.equal("the queue", 0, len(w.waiting("default")))
	}},

	{"a claim and the end of its heartbeat at the same moment agree on who has the node", func(w *world) {
		var grants []*pool.Allocation
		for i := range 8 {
			w.add(fmt.Sprint("n", i))
			grants = append(grants, w.grant(one(named(i))))
		}
		// Time moves with each look, so that some claims come before the end and some after.
		w.clock.set(grants[0].QueuedAt.Add(time.Minute - 10*time.Microsecond))
		held := make([]bool, len(grants))
		w.together(2*len(grants), func(i int, db *pool.DB) {
			if i%2 == 1 {
				if _, err := db.Tend(w.ctx); err != nil {
					w.Errorf("tend: %v", err)
				}
				return
			}
			_, err := db.Claim(w.ctx, grants[i/2].Token)
			if held[i/2] = err == nil; err != nil && !errors.Is(err, pool.ErrConflict) {
				w.Errorf("claim %d: %v", i/2, err)
			}
		})
		w.clock.add(time.Second)
		w.tend()
		for i, a := range grants {
			w.equal(a.Owner, held[i], w.last(a.Owner).State == pool.Claimed)
		}
	}},

	{"of many that add the same machine one does, and the others are told with what it clashes", func(w *world) {
		pools := []string{"default", "p", "q"} // whose locks know nothing of each other
		w.policy("p")
		w.policy("q")
		for shared, share := range map[string]func(s *pool.NodeSpec){
			"the name":    func(s *pool.NodeSpec) { s.Name = "one" },
			"10.9.9.9":    func(s *pool.NodeSpec) { s.BMC.Address = "10.9.9.9" },
			"52:54:00:ff": func(s *pool.NodeSpec) { s.MACs = []string{"52:54:00:ff:ff:ff"} },
			"192.0.2.1":   func(s *pool.NodeSpec) { s.IPs = []string{"192.0.2.1"} },
		} {
			before := len(w.names(pool.NodeFilter{}))
			var added atomic.Int64
			w.together(6, func(i int, db *pool.DB) {
				s := w.spec(fmt.Sprintf("%d.%s", i, strings.NewReplacer(":", ".", " ", ".").Replace(shared)), inPool(pools[i%len(pools)]), share)
				switch err := db.AddNodes(w.ctx, []pool.NodeSpec{s}); {
				case err == nil:
					added.Add(1)
				case !errors.Is(err, pool.ErrConflict) || !strings.Contains(err.Error(), shared):
					w.Errorf("%s, shared by all: %v", shared, err)
				}
			})
			w.equal("added", int64(1), added.Load())
			w.equal("nodes more", 1, len(w.names(pool.NodeFilter{}))-before)
		}
	}},

	{"nodes that cross between pools hold nobody up", func(w *world) {
		w.policy("p")
		w.policy("q")
		for i := range 6 {
			w.addNode(fmt.Sprint("n", i), inPool([]string{"p", "q"}[i%2]))
		}
		w.together(6, func(i int, db *pool.DB) {
			for round := range 4 {
				if _, err := db.SetNode(w.ctx, fmt.Sprint("n", i), changes("pool="+[]string{"p", "q"}[(i+round+1)%2])); err != nil {
					w.Errorf("move n%d: %v", i, err)
				}
			}
		})
		w.equal("nodes in p", []string{"n0", "n2", "n4"}, w.names(pool.NodeFilter{Pool: "p"}))
	}},

	{"whatever many do to a pool at once, no node is lost, held twice, or idle while somebody waits for it", func(w *world) {
		w.policy("default", "lease=1m", "clean_limit=5m")
		w.add("a", "b", "c")
		w.addNode("gpu", having("gpu", "1"))
		seed := rand.Uint64()
		w.Logf("seed %d", seed)
		names := []string{"a", "b", "c", "gpu"}
		w.together(6, func(i int, db *pool.DB) {
			r := rand.New(rand.NewPCG(seed, uint64(i))) //nolint:gosec // which of them is no secret
			for n := range 12 {
				w.act(db, r, fmt.Sprintf("%s round %d", named(i), n), names[r.IntN(len(names))])
			}
		})
		for _, n := range names {
			_, err := w.db.SetMaintenance(w.ctx, n, false, "")
			w.ok(err)
		}
		w.clock.add(10 * time.Minute)
		w.tend()
		w.equal("holders", map[string]string{}, w.holders())
		w.equal("the queue", 0, len(w.waiting("default")))
		for _, n := range names {
			_, err := w.db.MarkReady(w.ctx, n)
			w.ok(err)
		}
		w.equal("nodes", 4, len(w.hold(many("last", 4)).Nodes))
	}},
}

// act does something to the pool, of which conflicts and waits that are over are part.
func (w *world) act(db *pool.DB, r *rand.Rand, owner, node string) {
	var err error
	switch r.IntN(8) {
	case 0, 1, 2:
		request := many(owner, 1+r.IntN(2))
		if r.IntN(3) == 0 {
			request = one(owner, needs("gpu"))
		}
		var a *pool.Allocation
		if a, err = db.Allocate(w.ctx, request, pool.AllocateOptions{Wait: time.Duration(r.IntN(50)) * time.Millisecond}); err != nil {
			break
		}
		if r.IntN(4) > 0 { // else it dies here
			_, err = db.Claim(w.ctx, a.Token)
		}
		if err == nil && r.IntN(4) > 0 {
			_, err = db.Release(w.ctx, pool.ReleaseRequest{Token: a.Token, Dirty: r.IntN(5) == 0})
		}
	case 3:
		_, err = db.SetMaintenance(w.ctx, node, r.IntN(2) == 0, "fan")
	case 4:
		_, err = db.MarkReady(w.ctx, node)
	case 5:
		_, err = db.Revoke(w.ctx, node, "needed")
	case 6:
		_, err = db.Tend(w.ctx)
	case 7:
		w.clock.add(20 * time.Second)
	}
	if err != nil && !errors.Is(err, pool.ErrConflict) && !errors.Is(err, pool.ErrNoNode) {
		w.Errorf("%s: %v", owner, err)
	}
}
