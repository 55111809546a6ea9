package pooltest

import (
	"fmt"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// usage tells what was used since a moment, a line for each allocation.
func (w *world) usage(f pool.UsageFilter) (pool.Usage, []string) {
	w.Helper()
	u, err := w.db.Usage(w.ctx, f)
	w.ok(err)
	var lines []string
	for _, a := range u.Uses {
		var nodes []string
		for _, n := range a.Nodes {
			to := "…"
			if !n.To.IsZero() {
				to = n.To.Sub(n.From).Round(time.Second).String()
			}
			nodes = append(nodes, n.Node+" "+to)
		}
		waited := "waits"
		if !a.GrantedAt.IsZero() {
			waited = a.GrantedAt.Sub(a.QueuedAt).Round(time.Second).String()
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s %s [%s]", a.Pool, a.Owner, a.Job, waited, a.State, string(a.EndReason)+a.Result, strings.Join(nodes, ", "))))
	}
	return u, lines
}

var usageCases = []testCase{
	{"usage tells of each request how long it waited, what it had for how long, and how it ended", func(w *world) {
		w.add("a", "b")
		begin := w.clock.look()
		w.hold(many("first", 2, ofJob("nightly")))
		c := w.queue(one("second"))
		w.clock.add(30 * time.Second) // less than a heartbeat
		_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "first", Result: "FAILURE"})
		w.ok(err)
		c.granted()
		w.queue(many("third", 2))
		u, lines := w.usage(pool.UsageFilter{Since: begin})
		w.near("its moment", w.clock.look(), u.At)
		w.equal("whether it is cut", false, u.Cut)
		w.equal("usage", []string{
			"default first nightly 0s ended releasedFAILURE [a 30s, b 30s]", "default second  30s granted  [a …]", "default third  waits waiting  []",
		}, lines)
		u, lines = w.usage(pool.UsageFilter{Since: begin, Limit: 1})
		w.equal("the newest", []any{1, true, true}, []any{len(lines), strings.Contains(lines[0], "third"), u.Cut})
	}},

	{"usage is of what was active since a moment, and of one pool", func(w *world) {
		w.ok(w.db.AddPool(w.ctx, "gpu", pool.DefaultPolicy()))
		w.add("a", "b")
		w.addNode("g", func(s *pool.NodeSpec) { s.Pool = "gpu" })
		w.ran("old", "nightly", time.Hour)
		w.ran("across", "nightly", time.Hour)
		w.hold(one("still"))
		w.hold(one("other", from("gpu")))
		_, lines := w.usage(pool.UsageFilter{Since: w.clock.look().Add(-30 * time.Minute), Pool: pool.DefaultPool})
		w.equal("usage", []string{"default across nightly 0s ended released [b 1h0m0s]", "default still  0s claimed  [a …]"}, lines)
		_, lines = w.usage(pool.UsageFilter{Since: w.clock.look().Add(time.Minute), Pool: "gpu"})
		w.equal("usage", []string{"gpu other  0s claimed  [g …]"}, lines)
	}},
}
