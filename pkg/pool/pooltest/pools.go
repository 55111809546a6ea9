package pooltest

import (
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

var poolCases = []testCase{
	{"init makes the default pool with the default policy", func(w *world) {
		got, err := w.db.Pools(w.ctx)
		w.ok(err)
		w.equal("pools", []pool.PoolInfo{{Name: "default", Policy: pool.DefaultPolicy(), Nodes: map[pool.Status]int{}}}, got)
	}},

	{"every field of a policy is set and read back", func(w *world) {
		w.policy("p")
		want := map[string]string{
			"lease": "1h30m", "max_lease": "2h", "on_expiry": "ask", "grace": "5m", "ageing": "1m30s", "max_priority": "7", "cleaning": "true",
			"clean_limit": "1h1s", "verify": "true", "pick_up": "2m", "max_hold": "48h", "max_broken_pct": "10", "max_hold_pct": "20",
			"max_per_job_pct": "30", "strikes_broken": "3",
		}
		for _, f := range pool.PolicyFields {
			if want[f.Name] == "" {
				w.Fatalf("the field %s is new: give it a value here", f.Name)
			}
			info, err := w.db.SetPool(w.ctx, "p", changes(f.Name+"="+want[f.Name]))
			w.ok(err)
			got, err := info.Policy.Field(f.Name)
			w.ok(err)
			w.equal(f.Name, want[f.Name], got)
		}
		info, err := w.db.Pool(w.ctx, "p")
		w.ok(err)
		for field, text := range want {
			got, err := info.Policy.Field(field)
			w.ok(err)
			w.equal(field+" after all", text, got)
		}
	}},

	{"an impossible policy is refused whole, and every fault told", func(w *world) {
		w.policy("p")
		before, err := w.db.Pool(w.ctx, "p")
		w.ok(err)
		for _, c := range []struct{ change, told string }{
			{"lease=0s", "lease"},
			{"lease=-1s", "-1s"},
			{"lease=1.5s", "1.5s"},
			{"lease=90", "90"},
			{"lease=25h", "max_lease"},
			{"max_lease=1s", "max_lease"},
			{"max_lease=100000h", "ten years"},
			{"on_expiry=shrug", "shrug"},
			{"ageing=0s", "ageing"},
			{"grace=soon", "soon"},
			{"max_priority=-1", "-1"},
			{"max_priority=1000001", "1000001"},
			{"max_broken_pct=101", "101"},
			{"max_hold_pct=x", "x"},
			{"cleaning=maybe", "maybe"},
		} {
			_, err := w.db.SetPool(w.ctx, "p", changes("pick_up=1m", c.change))
			w.refused(err, pool.ErrInvalid, c.told)
		}
		_, err = w.db.SetPool(w.ctx, "p", changes("lease=x", "grace=y"))
		w.equal("faults", 2, len(w.problems(err)))
		_, err = w.db.SetPool(w.ctx, "p", changes("pick_up=1m", "colour=red"))
		w.refused(err, pool.ErrNotFound, "colour")
		_, err = w.db.SetPool(w.ctx, "p", changes("lease=x", "colour=red"))
		w.refused(err, pool.ErrInvalid, "colour", "lease")
		after, err := w.db.Pool(w.ctx, "p")
		w.ok(err)
		w.equal("the pool", before, after)
		bad := pool.DefaultPolicy()
		bad.Ageing = 0
		w.refused(w.db.AddPool(w.ctx, "q", bad), pool.ErrInvalid, "ageing")
		w.refused(w.db.AddPool(w.ctx, "two words", pool.DefaultPolicy()), pool.ErrInvalid, "two words")
	}},

	{"a pool that does not exist is not found, whatever is asked of it", func(w *world) {
		_, err := w.db.Pool(w.ctx, "ghost")
		w.refused(err, pool.ErrNotFound, "ghost")
		_, err = w.db.SetPool(w.ctx, "ghost", changes("lease=1h"))
		w.refused(err, pool.ErrNotFound, "ghost")
		_, err = w.db.Queue(w.ctx, "ghost")
		w.refused(err, pool.ErrNotFound, "ghost")
		w.refused(w.db.PausePool(w.ctx, "ghost", "why"), pool.ErrNotFound, "ghost")
		w.refused(w.db.ResumePool(w.ctx, "ghost"), pool.ErrNotFound, "ghost")
		w.refused(w.db.RemovePool(w.ctx, "ghost"), pool.ErrNotFound, "ghost")
		w.refused(w.db.AddNodes(w.ctx, []pool.NodeSpec{w.spec("n", inPool("ghost"))}), pool.ErrNotFound, "ghost")
		w.refused(w.ask(one("build", from("ghost"))), pool.ErrNotFound, "ghost")
	}},

	{"a pool is added once, and removed when nothing is in it", func(w *world) {
		w.policy("p")
		w.refused(w.db.AddPool(w.ctx, "p", pool.DefaultPolicy()), pool.ErrConflict, "p")
		w.addNode("n", inPool("p"))
		w.refused(w.db.RemovePool(w.ctx, "p"), pool.ErrConflict, "1 nodes")
		w.hold(one("build", from("p")))
		w.queue(one("waiter", from("p")))
		w.refused(w.db.RemovePool(w.ctx, "p"), pool.ErrConflict, "2 active allocations")
		w.refused(w.db.RemovePool(w.ctx, "default"), pool.ErrConflict, "default")
		w.clients[0].giveUp()
		w.release("build")
		w.ok(w.db.RemoveNode(w.ctx, "n"))
		w.ok(w.db.RemovePool(w.ctx, "p"))
		// History outlives it, and another one of the name begins anew.
		w.equal("the build's pool", "p", w.last("build").Pool)
		w.equal("events", "pool-removed", last(w.kinds(pool.EventFilter{Pool: "p"})))
		w.policy("p")
		w.addNode("m", inPool("p"))
		w.hold(one("build", from("p")))
	}},

	{"a pool counts its nodes and its queue", func(w *world) {
		w.policy("p", "lease=30s", "cleaning=true")
		for _, n := range []string{"allocated", "dirty", "suspect", "maintained", "ready"} {
			w.addNode(n, inPool("p"))
		}
		w.hold(one("late", from("p"), needs("name=suspect")))
		w.clock.add(time.Minute)
		w.tend()
		_, err := w.db.SetPool(w.ctx, "p", changes("lease=1h"))
		w.ok(err)
		_, err = w.db.MarkReady(w.ctx, "suspect")
		w.ok(err)
		_, err = w.db.SetMaintenance(w.ctx, "maintained", true, "fan")
		w.ok(err)
		w.hold(one("done", from("p"), needs("name=dirty")))
		w.release("done")
		w.hold(one("build", from("p"), needs("name=allocated")))
		w.queue(one("waiter", from("p"), needs("name=allocated")))
		info, err := w.db.Pool(w.ctx, "p")
		w.ok(err)
		w.equal("nodes", map[pool.Status]int{pool.Ready: 2, pool.Allocated: 1, pool.Dirty: 1}, info.Nodes)
		w.equal("maintenance, suspect, waiting", []int{1, 0, 1}, []int{info.Maintenance, info.Suspect, info.Waiting})
	}},

	{"a paused pool grants nothing, says why, and takes back what is due", func(w *world) {
		w.policy("p", "lease=30s")
		w.addNode("n", inPool("p"))
		w.addNode("m", inPool("p"))
		w.hold(one("build", from("p")))
		w.refused(w.db.PausePool(w.ctx, "p", ""), pool.ErrInvalid, "reason")
		w.ok(w.db.PausePool(w.ctx, "p", "the lab moves"))
		w.refused(w.ask(one("hasty", from("p"))), pool.ErrNoNode)
		c := w.queue(one("waiter", from("p")))
		position := c.told[0]
		if want := "pool p is paused: the lab moves"; position.Reason != want {
			w.Errorf("the waiter is told %q, want %q", position.Reason, want)
		}
		info, err := w.db.Pool(w.ctx, "p")
		w.ok(err)
		w.equal("paused", []any{true, "the lab moves"}, []any{info.Paused, info.PausedReason})
		w.clock.add(31 * time.Second)
		w.tend()
		w.equal("the build's end", pool.EndExpired, w.ended("build"))
		w.equal("the queue", []string{"waiter"}, w.waiting("p"))
		w.ok(w.db.ResumePool(w.ctx, "p"))
		w.equal("the waiter's nodes", []string{"m"}, c.granted().NodeNames())
		w.ok(w.db.ResumePool(w.ctx, "p"))
		w.equal("events", []string{"pool-paused", "pool-resumed"}, only(w.kinds(pool.EventFilter{Pool: "p"}), "pool-paused", "pool-resumed"))
	}},

	{"pools are apart: nothing moves a waiting request to another", func(w *world) {
		w.policy("p")
		w.policy("q")
		w.addNode("n", inPool("p"))
		w.hold(one("build", from("p")))
		w.queue(one("waiter", from("p")))
		w.addNode("m", inPool("q"))
		w.equal("queues", [][]string{{"waiter"}, nil}, [][]string{w.waiting("p"), w.waiting("q")})
		w.equal("the queue of all", []string{"waiter"}, w.waiting(""))
		w.refused(w.ask(one("other", from("default"))), pool.ErrImpossible)
	}},
}

func last(list []string) string { return list[len(list)-1] }

// only keeps the words that are named.
func only(list []string, words ...string) []string {
	var kept []string
	for _, l := range list {
		for _, w := range words {
			if l == w {
				kept = append(kept, l)
			}
		}
	}
	return kept
}
