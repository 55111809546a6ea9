package pooltest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// audit looks at the whole database, of which cases see only what they are about. Where clients live on,
// it may come between two of their statements and looks again.
func (w *world) audit() {
	w.Helper()
	limit := time.Now()
	if slices.ContainsFunc(w.clients, (*client).lives) {
		limit = limit.Add(patience / 4)
	}
	// What time alone has made due waits for somebody's pass; only then must all be served.
	if !w.clock.tended() {
		w.tend()
	}
	for {
		faults := w.faults()
		if len(faults) == 0 {
			return
		}
		if time.Now().After(limit) {
			w.Fatalf("the database is not as it must be:\n%s", strings.Join(faults, "\n"))
		}
		w.pause(50 * time.Millisecond)
	}
}

func (c *client) lives() bool {
	select {
	case <-c.done:
		return false
	case <-c.gate:
		return true
	default:
		return false
	}
}

func (w *world) faults() []string {
	w.Helper()
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }

	pools, err := w.db.Pools(w.ctx)
	w.ok(err)
	nodes, err := w.db.Nodes(w.ctx, pool.NodeFilter{})
	w.ok(err)
	allocations, err := w.db.Allocations(w.ctx, pool.AllocationFilter{})
	w.ok(err)
	events, err := w.db.Events(w.ctx, pool.EventFilter{})
	w.ok(err)

	active := map[string]bool{}
	heldBy := map[string]int64{}
	for _, a := range allocations {
		if a.State == pool.Ended {
			continue
		}
		key := a.Owner + "\x00" + a.Slot
		if active[key] {
			fault("owner %s slot %q has two active allocations", a.Owner, a.Slot)
		}
		active[key] = true
		if a.State != pool.Waiting && len(a.Nodes) != a.Count() {
			fault("%s asked for %d nodes and holds %d: all or none", a.Owner, a.Count(), len(a.Nodes))
		}
		for _, n := range a.Nodes {
			if heldBy[n.Name] != 0 {
				fault("node %s is held twice, by the allocations %d and %d", n.Name, heldBy[n.Name], a.ID)
			}
			heldBy[n.Name] = a.ID
			if n.Generation != n.Node.Generation {
				fault("node %s was granted with generation %d and has %d", n.Name, n.Generation, n.Node.Generation)
			}
		}
	}
	for _, n := range nodes {
		if (n.Status == pool.Allocated) != (n.Allocation != 0) || n.Allocation != heldBy[n.Name] {
			fault("node %s is %s and names the allocation %d, which is held by %d", n.Name, n.Status, n.Allocation, heldBy[n.Name])
		}
		if n.Status == pool.Broken && n.Reason == "" {
			fault("node %s is broken without a reason", n.Name)
		}
	}
	faults = append(faults, trailFaults(events)...)
	if w.modelled {
		return faults
	}
	braked := overShare(pools, nodes, allocations)
	faults = append(faults, w.orderFaults(pools, nodes, allocations, braked)...)
	for _, p := range pools {
		queue, err := w.db.Queue(w.ctx, p.Name)
		w.ok(err)
		faults = append(faults, idleFaults(p, nodes, queue, braked)...)
	}
	return faults
}

// trailFaults reads the history as somebody does who wants to know who had a node when.
func trailFaults(events []pool.Event) []string {
	var faults []string
	fault := func(e pool.Event, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("event %d (%s of %s): ", e.ID, e.Kind, e.Node+e.Owner)+fmt.Sprintf(format, args...))
	}
	type trail struct{ holder, generation int64 }
	trails := map[string]*trail{}
	for i, e := range events {
		if i > 0 && e.At.Before(events[i-1].At) {
			fault(e, "the event is earlier than the one before")
		}
		if e.Operation == "" || e.Actor != "pooltest" && e.Kind != "pool-added" || e.Kind == "" || e.At.IsZero() {
			fault(e, "who, what or when is not told: %+v", e)
		}
		if text, err := json.Marshal(e); err != nil || strings.Contains(string(text), secretMark) {
			fault(e, "it tells a secret, or is no JSON: %s %v", text, err)
		}
		if from, ok := e.Detail["renamed_from"].(string); ok {
			trails[e.Node] = trails[from]
			delete(trails, from)
		}
		if e.Node == "" || e.Allocation == 0 {
			continue
		}
		n := trails[e.Node]
		if n == nil {
			n = &trail{}
			trails[e.Node] = n
		}
		if e.Kind == "recovered" { // who holds it goes on, under a new generation
			n.generation = e.Generation
			continue
		}
		if e.Kind == "granted" {
			if n.holder != 0 {
				fault(e, "the node is granted to %d while %d holds it", e.Allocation, n.holder)
			}
			if e.Generation <= n.generation {
				fault(e, "the generation %d does not grow, it was %d", e.Generation, n.generation)
			}
			n.holder, n.generation = e.Allocation, e.Generation
			continue
		}
		if n.holder != e.Allocation || n.generation != e.Generation {
			fault(e, "the node comes back from the allocation %d generation %d, it was with %d generation %d",
				e.Allocation, e.Generation, n.holder, n.generation)
		}
		n.holder = 0
	}
	return faults
}

// orderFaults says which grants since the last audit were at the cost of somebody who was before.
func (w *world) orderFaults(pools []pool.PoolInfo, nodes []pool.Node, allocations []pool.Allocation, braked map[int64]bool) []string {
	var faults []string
	ageing := map[string]time.Duration{}
	for _, p := range pools {
		ageing[p.Name] = p.Policy.Ageing
	}
	// No case changes the ageing of a pool in which somebody waits.
	rank := func(a pool.Allocation) time.Time { return a.QueuedAt.Add(-time.Duration(a.Priority) * ageing[a.Pool]) }
	for _, a := range allocations {
		if a.GrantedAt.IsZero() || w.seen[a.ID] {
			continue
		}
		w.seen[a.ID] = true
		if a.State == pool.Ended {
			continue // its nodes are known by name only
		}
		for _, b := range allocations {
			if b.State != pool.Waiting || braked[b.ID] || b.Pool != a.Pool || b.QueuedAt.After(a.GrantedAt) || !rank(b).Before(rank(a)) ||
				len(b.Groups) != 1 || !fills(b.Groups, working(nodes, b.Pool)) {
				continue
			}
			for _, n := range a.Nodes {
				if meets(n.Node, b.Groups[0].Require) {
					faults = append(faults, fmt.Sprintf("%s got node %s, for which %s waited before", a.Owner, n.Name, b.Owner))
				}
			}
		}
	}
	return faults
}

// idleFaults says who waits in a pool's queue and could be served. It takes every ready node that suits
// somebody who is before, and whose request could ever be filled, for set aside.
func idleFaults(p pool.PoolInfo, nodes []pool.Node, queue []pool.Allocation, braked map[int64]bool) []string {
	var faults []string
	var ready []pool.Node
	for _, n := range nodes {
		if n.Pool == p.Name && n.Status == pool.Ready && !n.Maintenance {
			ready = append(ready, n)
		}
	}
	for _, a := range queue {
		if p.Paused || len(ready) == 0 {
			break
		}
		if braked[a.ID] {
			continue
		}
		if fills(a.Groups, ready) {
			faults = append(faults, fmt.Sprintf("%s waits in pool %s for %s, and could be served", a.Owner, p.Name, pool.Describe(a.Groups)))
		}
		if fills(a.Groups, working(nodes, p.Name)) {
			ready = slices.DeleteFunc(ready, func(n pool.Node) bool {
				return slices.ContainsFunc(a.Groups, func(g pool.Group) bool { return meets(n, g.Require) })
			})
		}
	}
	return faults
}

// overShare are the waiting allocations that their job's share of the pool may hold back, by id.
func overShare(pools []pool.PoolInfo, nodes []pool.Node, allocations []pool.Allocation) map[int64]bool {
	type job struct{ pool, name string }
	total, held, braked := map[string]int{}, map[job]int{}, map[int64]bool{}
	for _, n := range nodes {
		total[n.Pool]++
	}
	for _, a := range allocations {
		if a.State == pool.Granted || a.State == pool.Claimed {
			held[job{a.Pool, a.Labels["JOB_NAME"]}] += len(a.Nodes)
		}
	}
	// Those of its job that wait too may be before it, and have the rest of the share kept for them.
	for _, a := range allocations {
		if a.State == pool.Waiting {
			held[job{a.Pool, a.Labels["JOB_NAME"]}] += a.Count()
		}
	}
	for _, p := range pools {
		for _, a := range allocations {
			j := job{p.Name, a.Labels["JOB_NAME"]}
			if a.State == pool.Waiting && a.Pool == p.Name && j.name != "" && p.Policy.MaxPerJobPct < 100 &&
				held[j] > total[p.Name]*p.Policy.MaxPerJobPct/100 {
				braked[a.ID] = true
			}
		}
	}
	return braked
}

// working are the nodes of a pool that are in service: ready, allocated or dirty.
func working(nodes []pool.Node, name string) []pool.Node {
	var list []pool.Node
	for _, n := range nodes {
		if n.Pool == name && n.Status != pool.Broken && !n.Maintenance {
			list = append(list, n)
		}
	}
	return list
}

// fills reports whether nodes can meet all groups together, by trying.
func fills(groups []pool.Group, nodes []pool.Node) bool {
	var wanted []pool.Group // one for each node that is asked for
	for _, g := range groups {
		for range g.Count {
			wanted = append(wanted, g)
		}
	}
	if len(wanted) > len(nodes) {
		return false
	}
	given := make([]int, len(nodes)) // the index in wanted, plus one
	var find func(i int, tried []bool) bool
	find = func(i int, tried []bool) bool {
		for j, n := range nodes {
			if tried[j] || !meets(n, wanted[i].Require) {
				continue
			}
			tried[j] = true
			if given[j] == 0 || find(given[j]-1, tried) {
				given[j] = i + 1
				return true
			}
		}
		return false
	}
	for i := range wanted {
		if !find(i, make([]bool, len(nodes))) {
			return false
		}
	}
	return true
}

// meets says what a requirement means, in the words of the command line's manual.
func meets(n pool.Node, requirements []pool.Requirement) bool {
	for _, r := range requirements {
		text, err := n.Field(r.Key)
		set := err == nil && text != ""
		values := []string{text}
		if r.Key == "mac" || r.Key == "ip" {
			values = strings.Fields(text)
		}
		among := slices.ContainsFunc(values, func(v string) bool { return slices.Contains(r.Values, v) })
		number, notNumber := strconv.ParseInt(text, 10, 64)
		ok := set
		switch r.Op {
		case pool.OpAbsent:
			ok = !set
		case pool.OpIs:
			ok = set && among
		case pool.OpNot:
			ok = set && !among
		case pool.OpMin, pool.OpMax:
			limit, _ := strconv.ParseInt(r.Values[0], 10, 64)
			ok = set && notNumber == nil && (r.Op == pool.OpMin && number >= limit || r.Op == pool.OpMax && number <= limit)
		}
		if !ok {
			return false
		}
	}
	return true
}
