package pooltest

import (
	"fmt"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// fill adds n plain nodes to the default pool.
func (w *world) fill(n int) {
	w.Helper()
	specs := make([]pool.NodeSpec, n)
	for i := range specs {
		specs[i] = w.spec(fmt.Sprintf("n%04d", i))
	}
	w.ok(w.db.AddNodes(w.ctx, specs))
}

// What one transaction does may be more than one statement can hold: SQLite allows 32,766 variables.
var largeCases = []testCase{
	{"a request for thousands of nodes is granted, held and given back whole", func(w *world) {
		const n = 4200
		w.fill(n)
		a := w.hold(many("build", n))
		w.equal("nodes", n, len(a.Nodes))
		w.equal("holders", n, len(w.holders()))
		w.refused(w.ask(one("late")), pool.ErrNoNode)
		w.equal("what comes back", n, len(w.release("build")[0].Nodes))
		w.equal("holders after", 0, len(w.holders()))
	}},

	{"hundreds who wait are served at once when their pool grants again, and end at once when nobody comes", func(w *world) {
		const n = 600
		w.policy("default", "pick_up=1m")
		w.fill(n)
		w.ok(w.db.PausePool(w.ctx, "default", "the lab moves"))
		for i := range n {
			w.enqueue(one(fmt.Sprint("gate", i)), time.Hour)
		}
		w.ok(w.db.ResumePool(w.ctx, "default"))
		w.equal("holders", n, len(w.holders()))
		w.equal("the queue", 0, len(w.waiting("default")))
		w.clock.add(2 * time.Minute)
		w.equal("ended", n, w.tend().Lapsed)
		w.equal("holders after", 0, len(w.holders()))
	}},
}
