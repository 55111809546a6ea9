package pool

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Explanation says why a request is served or not, and when it may be.
type Explanation struct {
	Pool       string
	Owner      string // "" for a what-if request
	Slot       string
	Place      int // in the queue; for a what-if request the place it would get
	Groups     []Group
	Reason     string         // in one line: why not yet
	Impossible bool           // no node of the pool could ever meet it
	Stalled    bool           // it waits for nodes that are broken or in maintenance
	Steps      []Step         // what each requirement costs
	Suitable   map[Status]int // nodes that suit some group and are not in maintenance, by status
	InMaint    int            // suitable nodes in maintenance
	SetAside   int            // suitable ready nodes that are set aside for who is before
	Relax      []string       // single requirements without which it could be met by the nodes in service
	Holders    []Holder       // of suitable nodes, the first to end first
	Estimate   Estimate       //
	At         time.Time      // the moment for which this holds
}

// Step is one requirement of a group and how many nodes it leaves.
type Step struct {
	Group       string
	Requirement string // "" is the first line of a group: all nodes of the pool
	Left        int    // nodes that meet it and all before it
	Alone       int    // nodes that meet it alone
	Without     int    // nodes that meet all of the group's requirements but this one
}

// ExplainRequest names a queued owner and slot, or (without an owner) asks what would become of a request.
type ExplainRequest struct {
	Owner    string
	Slot     string
	Pool     string // of a what-if request; "" is the default pool
	Groups   []Group
	Priority int
}

// Explain reads the queue and the nodes of a pool and says how a request stands. It changes nothing, and
// takes no lock: what it tells may be a moment old. An owner that does not wait is ErrNotFound.
func (db *DB) Explain(ctx context.Context, r ExplainRequest) (*Explanation, error) {
	pool := cmp.Or(r.Pool, DefaultPool)
	if r.Owner != "" {
		waiting, err := db.Allocations(ctx, AllocationFilter{Owner: r.Owner, Slot: &r.Slot, States: []State{Waiting}, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(waiting) == 0 {
			return nil, fail(ErrNotFound, "owner %q slot %q does not wait; see moltenironctl queue", r.Owner, r.Slot)
		}
		pool = waiting[0].Pool
	} else if _, err := (Request{Owner: "what-if", Pool: pool, Groups: r.Groups}).normalize(); err != nil {
		return nil, err
	}
	s, err := db.scene(ctx, pool)
	if err != nil {
		return nil, err
	}
	e := &Explanation{Pool: pool, Owner: r.Owner, Slot: r.Slot, Groups: r.Groups, Suitable: map[Status]int{}, At: s.now}
	i := slices.IndexFunc(s.queue, func(q *sceneRequest) bool { return r.Owner != "" && q.Owner == r.Owner && q.Slot == r.Slot })
	if r.Owner != "" && i < 0 {
		return nil, fail(ErrNotFound, "owner %q slot %q does not wait any more; see moltenironctl show", r.Owner, r.Slot)
	}
	if r.Owner == "" {
		i = s.insertWhatIf(r)
	}
	e.Place, e.Groups = i+1, s.queue[i].groups
	s.explain(e, i)
	return e, nil
}

// scene is a pool as it stands at one moment, read without the lock.
type scene struct {
	now   time.Time
	pool  *poolRow
	nodes []*nodeRow // in hand-out order
	queue []*sceneRequest
	past  map[string]durations // of builds, by job
}

type sceneRequest struct {
	queueRow
	RankAt stamp `db:"rank_at"`
	groups []Group
	served bool // within one step of a simulation
}

func (db *DB) scene(ctx context.Context, pool string) (*scene, error) {
	var found []struct {
		poolRow
		LastNow stamp `db:"last_now"`
		Clock   stamp `db:"clock"`
	}
	if err := db.list(ctx, &found, `SELECT `+poolColumns+`, l.last_now, `+db.dialect.clock+` AS clock FROM pools p
		JOIN pool_locks l ON l.pool = p.name WHERE p.name = ?`, pool); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, noSuchPool(pool)
	}
	p := found[0]
	s := &scene{now: db.laterOf(db.machineClock(), p.Clock, p.LastNow), pool: &p.poolRow}
	if err := db.list(ctx, &s.nodes, `SELECT `+nodeColumns+`, a.owner, a.slot, a.expires_at, a.claimed_at, a.job_key FROM nodes n
		LEFT JOIN allocations a ON a.id = n.allocation_id WHERE n.pool = ?`+handOutOrder, pool); err != nil {
		return nil, err
	}
	if err := db.retry(ctx, defaultPatience, func(bool) error { return fillAddresses(ctx, db.sql, s.nodes) }); err != nil {
		return nil, err
	}
	if err := db.list(ctx, &s.queue, `SELECT a.id, a.owner, a.slot, a.request, a.lease_s, a.job_key, w.alive_until, w.detached, a.rank_at
		FROM allocations a JOIN waiters w ON w.allocation_id = a.id WHERE a.pool = ? AND a.state = 'waiting' ORDER BY a.rank_at, a.id`, pool); err != nil {
		return nil, err
	}
	for _, q := range s.queue {
		q.groups, _ = decodeGroups(q.Request)
	}
	var err error
	s.past, err = db.pastDurations(ctx, pool, s)
	return s, err
}

// insertWhatIf puts a request that nobody made where it would queue now.
func (s *scene) insertWhatIf(r ExplainRequest) int {
	priority := max(min(r.Priority, s.pool.MaxPriority), -s.pool.MaxPriority)
	rank := s.now.Add(-time.Duration(priority) * seconds(s.pool.AgeingS))
	q := &sceneRequest{RankAt: at(rank), groups: r.Groups}
	q.LeaseS, q.JobKey, q.AliveUntil = s.pool.LeaseS, noJob, at(s.now.Add(heartbeat))
	i := slices.IndexFunc(s.queue, func(o *sceneRequest) bool { return o.RankAt.After(rank) })
	if i < 0 {
		i = len(s.queue)
	}
	s.queue = slices.Insert(s.queue, i, q)
	return i
}

func (n *nodeRow) inService() bool { return n.Status != Broken && !n.Maintenance }

func suitsAny(n *nodeRow, groups []Group) bool {
	return slices.ContainsFunc(groups, func(g Group) bool { return meetsAll(n, g.Require) })
}

func (s *scene) could(groups []Group, which func(*nodeRow) bool) bool {
	m := newMatching(groups)
	for _, n := range s.nodes {
		if which(n) {
			m.offer(n)
		}
		if m.complete() {
			return true
		}
	}
	return false
}

func everyNode(*nodeRow) bool { return true }

// explain fills in what the scene says of the i-th request.
func (s *scene) explain(e *Explanation, i int) {
	groups := s.queue[i].groups
	e.Impossible = !s.could(groups, everyNode)
	e.Stalled = !e.Impossible && !s.could(groups, (*nodeRow).inService)
	for _, g := range groups {
		e.Steps = append(e.Steps, s.steps(g)...)
	}
	for _, n := range s.nodes {
		if !suitsAny(n, groups) {
			continue
		}
		if n.Maintenance {
			e.InMaint++
			continue
		}
		e.Suitable[n.Status]++
		if n.Status == Allocated && n.Owner != nil {
			e.Holders = append(e.Holders, Holder{
				Node: n.Name, Status: n.Status, Owner: *n.Owner, Slot: *n.Slot, Generation: n.Generation, ExpiresAt: n.ExpiresAt.Time,
			})
		}
	}
	slices.SortStableFunc(e.Holders, func(a, b Holder) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	e.SetAside = s.setAside(groups, i)
	if e.Impossible || e.Stalled {
		e.Relax = s.relax(groups)
	}
	e.Estimate = s.estimate(i)
	e.Reason = s.reason(e)
}

// steps counts what each requirement of a group leaves.
func (s *scene) steps(g Group) []Step {
	count := func(requirements []Requirement) int {
		n := 0
		for _, node := range s.nodes {
			if meetsAll(node, requirements) {
				n++
			}
		}
		return n
	}
	steps := []Step{{Group: g.Name, Left: len(s.nodes), Alone: len(s.nodes), Without: len(s.nodes)}}
	for i, r := range g.Require {
		steps = append(steps, Step{
			Group: g.Name, Requirement: r.String(), Left: count(g.Require[:i+1]), Alone: count(g.Require[i : i+1]),
			Without: count(slices.Delete(slices.Clone(g.Require), i, i+1)),
		})
	}
	return steps
}

// relax lists the single requirements without which the nodes in service could fill the request.
func (s *scene) relax(groups []Group) []string {
	var list []string
	for i, g := range groups {
		for j, r := range g.Require {
			less := slices.Clone(groups)
			less[i].Require = slices.Delete(slices.Clone(g.Require), j, j+1)
			if s.could(less, (*nodeRow).inService) {
				text := r.String()
				if g.Name != "" {
					text = g.Name + ": " + text
				}
				list = append(list, text)
			}
		}
	}
	return list
}

// setAside counts the ready nodes suiting groups that requests before the i-th have a claim on.
func (s *scene) setAside(groups []Group, i int) int {
	used := s.claims(i)
	n := 0
	for node := range used {
		if suitsAny(node, groups) {
			n++
		}
	}
	return n
}

// claims walks the queue as a pass does and gives the ready nodes that are spoken for before the i-th.
func (s *scene) claims(i int) map[*nodeRow]bool {
	used := map[*nodeRow]bool{}
	for _, q := range s.queue[:i] {
		m := newMatching(q.groups)
		for _, n := range s.nodes {
			if m.complete() {
				break
			}
			if n.Status == Ready && !n.Maintenance && !used[n] {
				m.offer(n)
			}
		}
		if m.size == 0 || !m.complete() && !s.could(q.groups, (*nodeRow).inService) {
			continue
		}
		for _, nodes := range m.nodes {
			for _, n := range nodes {
				used[n] = true
			}
		}
	}
	return used
}

// reason says in one line why the request is not served yet.
func (s *scene) reason(e *Explanation) string {
	ready := e.Suitable[Ready] - e.SetAside
	switch {
	case s.pool.Paused:
		return fmt.Sprintf("pool %s is paused: %s", s.pool.Name, s.pool.PausedReason)
	case e.Impossible:
		return fmt.Sprintf("no node of pool %s could ever meet it: it needs %s", s.pool.Name, Describe(e.Groups))
	case e.Stalled:
		return "it waits for nodes that are broken or in maintenance; nothing is held back for it"
	case ready >= countNodes(e.Groups) && !e.Estimate.P50.After(e.At):
		return "it can be served at once"
	}
	parts := []string{fmt.Sprintf("needs %s", Describe(e.Groups))}
	if n := e.Suitable[Allocated]; n > 0 {
		text := fmt.Sprintf("%d suitable held", n)
		if len(e.Holders) > 0 {
			text += fmt.Sprintf(" (first until %s by %s)", formatTime(e.Holders[0].ExpiresAt), e.Holders[0].Owner)
		}
		parts = append(parts, text)
	}
	if n := e.Suitable[Dirty]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d being cleaned", n))
	}
	if n := e.Suitable[Broken] + e.InMaint; n > 0 {
		parts = append(parts, fmt.Sprintf("%d broken or in maintenance", n))
	}
	if e.SetAside > 0 {
		parts = append(parts, fmt.Sprintf("%d ready but set aside for who is before", e.SetAside))
	}
	if ready > 0 {
		parts = append(parts, fmt.Sprintf("%d ready", ready))
	}
	return strings.Join(parts, ", ")
}
