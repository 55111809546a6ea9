package pooltest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// model is a pool as its documentation describes it, without a database and without any of the short
// cuts that keep a pass cheap: after each operation it takes back what is due and walks the whole queue,
// and whether nodes can meet a request it finds out by trying all ways.
type model struct {
	policy pool.Policy
	paused bool
	nodes  []*modelNode
	queue  []*modelRequest // all requests there were, in the order in which they came
	step   int             // counts operations, which is time enough for the order of nodes
	now    time.Time       // right after the operation
}

type modelNode struct {
	pool.Node            // its hardware, which requirements ask for
	number     int       // orders nodes that became ready at once
	readyStep  int       // when it became ready
	dirtyUntil time.Time // while dirty
	holder     *modelRequest
}

type modelRequest struct {
	pool.Request
	token      secret.Text
	state      pool.State
	reason     pool.EndReason
	queuedAt   time.Time
	aliveUntil time.Time // while waiting or granted
	expiresAt  time.Time // once claimed
	nodes      []*modelNode
}

func (r *modelRequest) count() int {
	n := 0
	for _, g := range r.Groups {
		n += g.Count
	}
	return n
}

func (r *modelRequest) job() string { return r.Labels["JOB_NAME"] }

// waiting gives the queue in order: by rank, and requests of equal rank as they came.
func (m *model) waiting() []*modelRequest {
	list := slices.DeleteFunc(slices.Clone(m.queue), func(r *modelRequest) bool { return r.state != pool.Waiting })
	rank := func(r *modelRequest) time.Time {
		return r.queuedAt.Add(-time.Duration(r.Priority) * m.policy.Ageing)
	}
	slices.SortStableFunc(list, func(a, b *modelRequest) int { return rank(a).Compare(rank(b)) })
	return list
}

// inState gives the requests in one of some states, in the order in which they came.
func (m *model) inState(states ...pool.State) []*modelRequest {
	return slices.DeleteFunc(slices.Clone(m.queue), func(r *modelRequest) bool { return !slices.Contains(states, r.state) })
}

// ready gives the nodes that can be handed out, in the order in which they are.
func (m *model) ready() []*modelNode {
	list := slices.DeleteFunc(slices.Clone(m.nodes), func(n *modelNode) bool { return n.Status != pool.Ready || n.Maintenance })
	suspects := map[bool]int{true: 1}
	slices.SortFunc(list, func(a, b *modelNode) int {
		return cmp.Or(cmp.Compare(suspects[a.Suspect], suspects[b.Suspect]), cmp.Compare(a.Cost, b.Cost),
			cmp.Compare(a.readyStep, b.readyStep), cmp.Compare(a.number, b.number))
	})
	return list
}

// couldFill reports whether the nodes that which selects could meet a request, were they all ready.
func (m *model) couldFill(r *modelRequest, which func(*modelNode) bool) bool {
	var nodes []*modelNode
	for _, n := range m.nodes {
		if which(n) {
			nodes = append(nodes, n)
		}
	}
	return len(choose(r.Groups, nodes)) == r.count()
}

func anyNode(*modelNode) bool       { return true }
func workingNode(n *modelNode) bool { return n.Status != pool.Broken && !n.Maintenance }

// possible reports whether the pool could ever meet a request.
func (m *model) possible(r *modelRequest) bool {
	return m.couldFill(r, anyNode) && r.count() <= m.mayHave(r.job())
}

// mayHave is how many nodes of the pool one job may hold.
func (m *model) mayHave(job string) int {
	if m.policy.MaxPerJobPct >= 100 || job == "" {
		return math.MaxInt
	}
	return len(m.nodes) * m.policy.MaxPerJobPct / 100
}

// choose takes nodes for groups, each if it can be matched together with those taken before: as many as
// can be matched at all, and the first among them.
func choose(groups []pool.Group, nodes []*modelNode) []*modelNode {
	var taken []*modelNode
	for _, n := range nodes {
		if more := append(slices.Clone(taken), n); matchable(groups, more) {
			taken = more
		}
	}
	return taken
}

// matchable tries all ways to give each node a place of its own in some group.
func matchable(groups []pool.Group, nodes []*modelNode) bool {
	free := make([]int, len(groups))
	for i, g := range groups {
		free[i] = g.Count
	}
	var try func(left []*modelNode) bool
	try = func(left []*modelNode) bool {
		if len(left) == 0 {
			return true
		}
		for i, g := range groups {
			if free[i] > 0 && meets(left[0].Node, g.Require) {
				free[i]--
				if try(left[1:]) {
					return true
				}
				free[i]++
			}
		}
		return false
	}
	return try(nodes)
}

// walk hands out what is ready, and gives who got something.
func (m *model) walk() {
	if m.paused {
		return
	}
	free := m.ready()
	held := map[string]int{} // by job, with what is kept for those of its requests that were before
	for _, r := range m.inState(pool.Granted, pool.Claimed) {
		held[r.job()] += len(r.nodes)
	}
	for _, r := range m.waiting() {
		most := m.mayHave(r.job())
		var chosen []*modelNode
		allowed := held[r.job()]+r.count() <= most
		if allowed {
			chosen = choose(r.Groups, free)
		}
		switch {
		case allowed && len(chosen) == r.count():
			m.grant(r, chosen)
		case !m.couldFill(r, workingNode) || r.count() > most:
			continue // it waits for what is out of service, and holds nobody up
		}
		held[r.job()] = max(held[r.job()], min(held[r.job()]+r.count(), most))
		free = slices.DeleteFunc(free, func(n *modelNode) bool { return slices.Contains(chosen, n) })
	}
}

func (m *model) grant(r *modelRequest, nodes []*modelNode) {
	r.state, r.nodes, r.aliveUntil = pool.Granted, nodes, m.now.Add(m.policy.PickUp)
	for _, n := range nodes {
		n.Status, n.holder = pool.Allocated, r
	}
}

// end ends a request; what becomes of its nodes hangs on whether a build had them, and on how it ended.
func (m *model) end(r *modelRequest, reason pool.EndReason, dirty bool) {
	claimed := r.state == pool.Claimed
	for _, n := range r.nodes {
		n.holder, n.Status = nil, pool.Ready
		if !claimed {
			continue
		}
		n.readyStep, n.Suspect = m.step, reason.TakenBack()
		switch {
		case reason == pool.EndExpired && m.policy.OnExpiry == pool.ExpiryQuarantine:
			n.Status = pool.Broken
		case m.policy.Cleaning || dirty:
			n.Status, n.dirtyUntil = pool.Dirty, m.now.Add(m.policy.CleanLimit)
		}
	}
	r.state, r.reason, r.nodes = pool.Ended, reason, nil
}

// takeBack ends what is due.
func (m *model) takeBack() {
	for _, r := range m.queue {
		switch r.state {
		case pool.Waiting, pool.Granted:
			if !r.aliveUntil.After(m.now) {
				m.end(r, pool.EndLapsed, false)
			}
		case pool.Claimed:
			if !r.expiresAt.After(m.now) {
				m.end(r, pool.EndExpired, false)
			}
		}
	}
	for _, n := range m.nodes {
		if n.Status == pool.Dirty && !n.dirtyUntil.After(m.now) {
			n.Status = pool.Broken
		}
	}
}

// String shows what the model and a database are compared by: all nodes and requests, and the queue.
func (m *model) String() string {
	var lines []string
	for _, n := range m.nodes {
		holder := ""
		if n.holder != nil {
			holder = n.holder.Owner
		}
		lines = append(lines, nodeLine(n.Node, holder))
	}
	for _, r := range m.queue {
		var names []string
		for _, n := range r.nodes {
			names = append(names, n.Name)
		}
		lines = append(lines, requestLine(r.Owner, r.state, r.reason, names))
	}
	slices.Sort(lines)
	queue := "queue:"
	for _, r := range m.waiting() {
		queue += " " + r.Owner
	}
	return strings.Join(append(lines, queue), "\n")
}

// inWords reads the same from the database.
func (w *world) inWords() string {
	w.Helper()
	var lines []string
	nodes, err := w.db.Nodes(w.ctx, pool.NodeFilter{})
	w.ok(err)
	for _, n := range nodes {
		lines = append(lines, nodeLine(n, n.Owner))
	}
	all, err := w.db.Allocations(w.ctx, pool.AllocationFilter{})
	w.ok(err)
	for _, a := range all {
		var names []string
		if a.State != pool.Ended {
			names = a.NodeNames()
		}
		lines = append(lines, requestLine(a.Owner, a.State, a.EndReason, names))
	}
	slices.Sort(lines)
	return strings.Join(append(lines, strings.Join(append([]string{"queue:"}, w.waiting(pool.DefaultPool)...), " ")), "\n")
}

func nodeLine(n pool.Node, holder string) string {
	line := fmt.Sprintf("node %s: %s", n.Name, n.Status)
	if n.Suspect {
		line += " suspect"
	}
	if n.Maintenance {
		line += " in maintenance"
	}
	return line + " " + holder
}

func requestLine(owner string, state pool.State, reason pool.EndReason, nodes []string) string {
	slices.Sort(nodes)
	return fmt.Sprintf("%s: %s %s %v", owner, state, reason, nodes)
}
