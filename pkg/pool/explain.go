package pool

import (
	"cmp"
	"context"
	"maps"
	"math"
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
	Impossible bool           // the pool could never meet it: no nodes of it could, or its job's share of them is too small
	Stalled    bool           // it waits for nodes that are broken or in maintenance
	Now        bool           // it can be served at once
	Braked     bool           // its job has its share of the pool, so that no other wish would serve it sooner
	Lacking    []Group        // what the pool needs more to meet it; of a stalled one, what must come back into service
	Steps      []Step         // what each requirement costs
	Suitable   map[Status]int // nodes that suit some group and are not in maintenance, by status
	InMaint    int            // suitable nodes in maintenance
	Outages    []Outage       // suitable nodes that are broken or in maintenance
	SetAside   int            // suitable ready nodes that are set aside for who is before
	Relax      []string       // single requirements without which the nodes in service could meet it, where they cannot
	RelaxNow   []string       // single requirements without which it could be served at once, where it cannot
	Holders    []Holder       // of suitable nodes or, where it is braked, of its job's; the first to end first
	Estimate   Estimate       //
	At         time.Time      // the moment for which this holds
}

// Outage is a node out of service, and why.
type Outage struct {
	Node        string
	Maintenance bool // a person decided it; else it is broken
	Reason      string
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
	Job      string // of a what-if request: the JOB_NAME of its build, "" is none
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
	s, err := db.scene(ctx, pool, 0)
	if err != nil {
		return nil, err
	}
	if s.past, err = db.pastDurations(ctx, pool, s); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(s.queue, func(q *sceneRequest) bool { return r.Owner != "" && q.Owner == r.Owner && q.Slot == r.Slot })
	if r.Owner != "" && i < 0 {
		return nil, fail(ErrNotFound, "owner %q slot %q does not wait any more; see moltenironctl show", r.Owner, r.Slot)
	}
	if r.Owner == "" {
		i = s.insertWhatIf(r)
	}
	e, before := s.explain(i)
	e.Owner, e.Slot = r.Owner, r.Slot
	for _, g := range e.Groups {
		e.Steps = append(e.Steps, s.steps(g)...)
	}
	if len(e.Lacking) > 0 {
		e.Relax = relaxed(e.Groups, s.nodes, (*nodeRow).inService)
	}
	if !e.Now && !e.Braked && !s.pool.Paused {
		e.RelaxNow = relaxed(e.Groups, s.nodes, func(n *nodeRow) bool { return n.free() && !before[n] })
	}
	return e, nil
}

// scene is a pool as it stands at one moment, read without the lock.
type scene struct {
	now   time.Time
	pool  *poolRow
	nodes []*nodeRow // in hand-out order
	queue []*sceneRequest
	past  map[string]durations // of builds, by job; nil until an estimate is wanted
}

type sceneRequest struct {
	queueRow
	RankAt stamp `db:"rank_at"`
	groups []Group
}

// scene reads a pool with the first so many of its queue, or with 0 all.
func (db *DB) scene(ctx context.Context, pool string, first int) (*scene, error) {
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
	if err := db.list(ctx, &s.nodes, `SELECT `+nodeColumns+`, `+holderColumns+`, a.claimed_at, a.job_key, n.dirty_until FROM nodes n
		LEFT JOIN allocations a ON a.id = n.allocation_id WHERE n.pool = ?`+handOutOrder, pool); err != nil {
		return nil, err
	}
	if err := db.retry(ctx, defaultPatience, func(bool) error { return fillAddresses(ctx, db.sql, s.nodes) }); err != nil {
		return nil, err
	}
	if first == 0 {
		first = math.MaxInt32
	}
	if err := db.list(ctx, &s.queue, `SELECT a.id, a.owner, a.slot, a.request, a.lease_s, a.job_key, w.alive_until, w.detached, a.rank_at
		FROM allocations a JOIN waiters w ON w.allocation_id = a.id WHERE a.pool = ? AND a.state = 'waiting' ORDER BY a.rank_at, a.id LIMIT ?`, pool, first); err != nil {
		return nil, err
	}
	for _, q := range s.queue {
		q.groups, _ = decodeGroups(q.Request)
	}
	return s, nil
}

// insertWhatIf puts a request that nobody made where it would queue now.
func (s *scene) insertWhatIf(r ExplainRequest) int {
	priority := max(min(r.Priority, s.pool.MaxPriority), -s.pool.MaxPriority)
	rank := s.now.Add(-time.Duration(priority) * seconds(s.pool.AgeingS))
	q := &sceneRequest{RankAt: at(rank), groups: r.Groups}
	q.LeaseS, q.JobKey, q.AliveUntil = s.pool.LeaseS, jobKey(map[string]string{"JOB_NAME": r.Job}), at(s.now.Add(heartbeat))
	i := slices.IndexFunc(s.queue, func(o *sceneRequest) bool { return o.RankAt.After(rank) })
	if i < 0 {
		i = len(s.queue)
	}
	s.queue = slices.Insert(s.queue, i, q)
	return i
}

func (n *nodeRow) inService() bool { return n.Status != Broken && !n.Maintenance }

func (n *nodeRow) free() bool { return n.Status == Ready && !n.Maintenance }

func suitsAny(n *nodeRow, groups []Group) bool {
	return slices.ContainsFunc(groups, func(g Group) bool { return meetsAll(n, g.Require) })
}

func (s *scene) could(groups []Group, which func(*nodeRow) bool) bool {
	return matchAmong(groups, s.nodes, which).complete()
}

// matchAmong matches a request with those of the nodes that which allows.
func matchAmong(groups []Group, nodes []*nodeRow, which func(*nodeRow) bool) *matching {
	m := newMatching(groups)
	for _, n := range nodes {
		if m.complete() {
			break
		}
		if which(n) {
			m.offer(n)
		}
	}
	return m
}

func everyNode(*nodeRow) bool { return true }

// lacking is what nodes must be added to, group by group, so that the request can be met.
func (m *matching) lacking() []Group {
	var list []Group
	for i, g := range m.groups {
		if g.Count -= len(m.nodes[i]); g.Count > 0 {
			list = append(list, g)
		}
	}
	return list
}

// relaxed lists the single requirements without which those of the nodes that which allows could fill
// the request.
func relaxed(groups []Group, nodes []*nodeRow, which func(*nodeRow) bool) []string {
	var list []string
	for i, g := range groups {
		for j, r := range g.Require {
			less := slices.Clone(groups)
			less[i].Require = slices.Delete(slices.Clone(g.Require), j, j+1)
			if matchAmong(less, nodes, which).complete() {
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

// needs says what the pool would need to meet a request that none of its nodes could ever meet.
func needs(groups []Group, nodes []*nodeRow) string {
	text := "it would need " + DescribeMore(matchAmong(groups, nodes, everyNode).lacking())
	if less := relaxed(groups, nodes, everyNode); len(less) > 0 {
		text += ", or the request without " + strings.Join(less, " or without ")
	}
	return text
}

// explain says what the scene shows of the i-th request; before are the ready nodes that are spoken for
// before it.
func (s *scene) explain(i int) (e *Explanation, before map[*nodeRow]bool) {
	w := s.walk()
	for _, q := range s.queue[:i] {
		w.step(q)
	}
	before = maps.Clone(w.used)
	st := w.step(s.queue[i])
	e = &Explanation{
		Pool: s.pool.Name, Place: i + 1, Groups: s.queue[i].groups, Reason: st.reason, Impossible: st.impossible || st.never, Stalled: st.stalled,
		Now: st.now, Braked: st.braked, Suitable: st.suitable, InMaint: st.inMaint, Outages: st.outages, SetAside: st.setAside, Holders: st.holders, At: s.now,
	}
	switch {
	case st.impossible:
		e.Lacking = matchAmong(e.Groups, s.nodes, everyNode).lacking()
	case e.Stalled:
		e.Lacking = matchAmong(e.Groups, s.nodes, (*nodeRow).inService).lacking()
	}
	e.Estimate = s.estimate(i)
	return e, before
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
