package pool

import (
	"encoding/json"
	"slices"
	"strings"
)

// poolRow is a row of pools: the policy as a transaction reads it.
type poolRow struct {
	Name          string   `db:"name"`
	LeaseS        int64    `db:"pool_lease_s"`
	MaxLeaseS     int64    `db:"max_lease_s"`
	OnExpiry      OnExpiry `db:"on_expiry"`
	GraceS        int64    `db:"grace_s"`
	AgeingS       int64    `db:"ageing_s"`
	MaxPriority   int      `db:"max_priority"`
	Cleaning      bool     `db:"cleaning"`
	CleanLimitS   int64    `db:"clean_limit_s"`
	Verify        bool     `db:"verify"`
	PickUpS       int64    `db:"pick_up_s"`
	MaxHoldS      int64    `db:"max_hold_s"`
	MaxBrokenPct  int      `db:"max_broken_pct"`
	MaxHoldPct    int      `db:"max_hold_pct"`
	MaxPerJobPct  int      `db:"max_per_job_pct"`
	StrikesBroken int      `db:"strikes_broken"`
	Paused        bool     `db:"paused"`
	PausedReason  string   `db:"paused_reason"`
	HasQueue      bool     `db:"has_queue"` // somebody waits; read with the policy to save a round trip
}

const poolColumns = `p.name, p.lease_s AS pool_lease_s, p.max_lease_s, p.on_expiry, p.grace_s, p.ageing_s, p.max_priority, p.cleaning, p.clean_limit_s,
	p.verify, p.pick_up_s, p.max_hold_s, p.max_broken_pct, p.max_hold_pct, p.max_per_job_pct, p.strikes_broken, p.paused, p.paused_reason,
	EXISTS (SELECT 1 FROM allocations q WHERE q.pool = p.name AND q.state = 'waiting') AS has_queue`

func readPolicies(rows *[]*poolRow, names []string) read {
	return read{rows, `SELECT ` + poolColumns + ` FROM pools p WHERE p.name IN (?)`, []any{names}}
}

// poolRows reads the policies of locked pools.
func (t *tx) poolRows(names ...string) (map[string]*poolRow, error) {
	var rows []*poolRow
	if err := t.lists([]read{readPolicies(&rows, names)}); err != nil {
		return nil, err
	}
	return policies(rows, names)
}

// policies finds the rows of pools by their names.
func policies(rows []*poolRow, names []string) (map[string]*poolRow, error) {
	byName := make(map[string]*poolRow, len(rows))
	for _, r := range rows {
		byName[r.Name] = r
	}
	for _, name := range names {
		if byName[name] == nil {
			return nil, noSuchPool(name)
		}
	}
	return byName, nil
}

// storedRequest is the JSON of allocations.request: equal requests have equal text.
type storedRequest struct {
	Groups []storedGroup `json:"groups"`
}

type storedGroup struct {
	Name    string        `json:"name,omitempty"`
	Count   int           `json:"count"`
	Require []Requirement `json:"require,omitempty"`
}

func encodeGroups(groups []Group) string {
	var r storedRequest
	for _, g := range groups {
		r.Groups = append(r.Groups, storedGroup(g))
	}
	return toJSON(r)
}

func decodeGroups(text string) ([]Group, error) {
	var r storedRequest
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, err
	}
	groups := make([]Group, len(r.Groups))
	for i, g := range r.Groups {
		groups[i] = Group(g)
	}
	return groups, nil
}

// asksForSeveral reports whether a stored request is for more than one node.
func asksForSeveral(request string) bool {
	groups, err := decodeGroups(request)
	return err == nil && countNodes(groups) > 1
}

// nodeList gives nodes of a pool one by one, read in growing batches, because a walk seldom looks at many.
// What is given or set aside is used.
type nodeList struct {
	t         *tx
	pool      string
	which     string // condition and order
	rows      []*nodeRow
	used      map[*nodeRow]bool
	all       bool // nothing is left to read
	addresses bool // MAC and deployment addresses are wanted
	filled    int  // rows[:filled] have them
}

// readyNodes are the nodes that can be handed out, in the order in which they are: suspects last, cheap
// ones first, among these the longest idle.
func (t *tx) readyNodes(pool string) *nodeList {
	return &nodeList{t: t, pool: pool, which: readyOnly + handOutOrder, used: map[*nodeRow]bool{}}
}

// workingNodes are the nodes in service: ready, allocated or dirty, and not in maintenance.
func (t *tx) workingNodes(pool string) *nodeList {
	return &nodeList{t: t, pool: pool, which: " AND n.status <> 'broken' AND n.maintenance = 0 ORDER BY n.id"}
}

func (t *tx) allNodes(pool string) *nodeList {
	return &nodeList{t: t, pool: pool, which: " ORDER BY n.id"}
}

const (
	firstBatch = 16 // most requests are for one node
	batchGrow  = 8
	maxBatch   = 2048
)

const readyOnly = " AND n.status = 'ready' AND n.maintenance = 0"

// handOutOrder is the order in which ready nodes go out; it is that of the index nodes_hand_out.
const handOutOrder = " ORDER BY n.suspect, n.cost, n.ready_since, n.id"

// at gives the i-th node, or nil behind the last.
func (r *nodeList) at(i int) (*nodeRow, error) {
	for i >= len(r.rows) && !r.all {
		limit := firstBatch
		if len(r.rows) > 0 {
			limit = min(len(r.rows)*batchGrow, maxBatch)
		}
		var batch []*nodeRow
		if err := r.t.list(&batch, `SELECT `+nodeColumns+` FROM nodes n WHERE n.pool = ?`+r.which+` LIMIT ? OFFSET ?`, r.pool, limit, len(r.rows)); err != nil {
			return nil, err
		}
		r.rows = append(r.rows, batch...)
		r.all = len(batch) < limit
	}
	if r.addresses && r.filled < len(r.rows) {
		if err := fillAddresses(r.t.ctx, r.t.conn, r.rows[r.filled:]); err != nil {
			return nil, err
		}
		r.filled = len(r.rows)
	}
	if i >= len(r.rows) {
		return nil, nil
	}
	return r.rows[i], nil
}

// exhausted reports whether every ready node is given or set aside.
func (r *nodeList) exhausted() bool { return r.all && len(r.used) == len(r.rows) }

// couldFill reports whether all unused nodes together could meet a request.
func (r *nodeList) couldFill(groups []Group) (bool, error) {
	m, _, err := r.match(groups, 0)
	return m.complete(), err
}

// match tries to meet a request with the unused nodes from the from-th on. next is the index after
// the last node that was looked at.
func (r *nodeList) match(groups []Group, from int) (m *matching, next int, err error) {
	r.addresses = r.addresses || needsAddresses(groups)
	m = newMatching(groups)
	for next = from; !m.complete(); next++ {
		n, err := r.at(next)
		if err != nil || n == nil {
			return m, next, err
		}
		if !r.used[n] {
			m.offer(n)
		}
	}
	return m, next, nil
}

// queueRow is a waiting allocation as the walk sees it.
type queueRow struct {
	ID         int64  `db:"id"`
	Owner      string `db:"owner"`
	Slot       string `db:"slot"`
	Request    string `db:"request"`
	LeaseS     int64  `db:"lease_s"`
	JobKey     string `db:"job_key"`
	AliveUntil stamp  `db:"alive_until"`
	Detached   bool   `db:"detached"`
	ClosedAt   stamp  `db:"closed_at"`
}

// verdict is what the walk knows of all equal requests.
type verdict struct {
	groups []Group
	from   int   // nodes before it cannot serve the request
	done   bool  // no unused ready node suits it
	could  *bool // whether the working nodes could ever fill it; nil until that is asked
}

func (v *verdict) couldBeFilled(working *nodeList) (bool, error) {
	if v.could == nil {
		could, err := working.couldFill(v.groups)
		if err != nil {
			return false, err
		}
		v.could = &could
	}
	return *v.could, nil
}

// grant is one allocation that gets its nodes.
type grant struct {
	queueRow
	match *matching
}

// walk hands ready nodes out to the queue of a locked pool, in order, each request all or nothing. A
// request that cannot be met yet has the nodes that suit it set aside, if the pool's working nodes could
// ever fill it, so that later ones do not starve it. With fresh it considers only these nodes, which
// were just freed: whoever waits could not use the others, or they were set aside for a request of
// several nodes. If one of those could use a fresh node, the walk starts again with all. With own it is for
// the sake of this ticket, which has just come: it ends when it is clear what that gets, so that a crowd
// that comes does not go through the whole queue each.
func (t *tx) walk(p *poolRow, ready *nodeList, fresh []int64, own *ticket) error {
	if p.Paused {
		return nil
	}
	if fresh != nil && !p.HasQueue {
		return nil
	}
	if p.MaxPerJobPct < 100 {
		fresh = nil // a job that gives back may now have a node that was ready all along
	}
	if fresh == nil {
		if first, err := ready.at(0); err != nil || first == nil {
			return err // no free node, no walk
		}
	}
	shares, err := t.jobShares(p)
	if err != nil {
		return err
	}
	grants, again, err := t.walkQueue(p, ready, fresh, own, shares)
	if again {
		return t.walk(p, t.readyNodes(p.Name), nil, nil)
	}
	if err != nil || len(grants) == 0 {
		return err
	}
	return t.applyGrants(p, grants)
}

func (t *tx) walkQueue(p *poolRow, ready *nodeList, fresh []int64, own *ticket, shares *jobShares) (grants []grant, again bool, err error) {
	verdicts := map[string]*verdict{}
	working := t.workingNodes(p.Name)
	var lapsed, closed []ending
	settled := false // what own gets is clear
	for offset, batch := 0, firstBatch; ; offset, batch = offset+batch, min(batch*batchGrow, maxBatch) {
		var queue []queueRow
		err := t.list(&queue, `SELECT a.id, a.owner, a.slot, a.request, a.lease_s, a.job_key, w.alive_until, w.detached, ts.closed_at
			FROM allocations a JOIN waiters w ON w.allocation_id = a.id LEFT JOIN tombstones ts ON ts.owner_key = a.owner_key AND ts.late_only = 0
			WHERE a.pool = ? AND a.state = 'waiting' ORDER BY a.rank_at, a.id LIMIT ? OFFSET ?`, p.Name, batch, offset)
		if err != nil {
			return nil, false, err
		}
		if fresh != nil && offset == 0 && len(queue) > 0 {
			if err := t.list(&ready.rows, `SELECT `+nodeColumns+` FROM nodes n WHERE n.id IN (?) AND n.pool = ?`+ready.which,
				fresh, p.Name); err != nil {
				return nil, false, err
			}
			ready.all = true
		}
		for _, q := range queue {
			if ready.exhausted() || settled {
				break
			}
			settled = own != nil && q.ID == own.id // who is behind it was served when it came, or when nodes did
			v := verdicts[q.Request]
			if v == nil {
				v = &verdict{}
				if v.groups, err = decodeGroups(q.Request); err != nil {
					v.done = true // of a newer program, or edited by hand: it cannot be served, and stops nobody
				}
				verdicts[q.Request] = v
			}
			e := ending{ID: q.ID, Owner: q.Owner, Slot: q.Slot, State: Waiting, Reason: EndLapsed, Several: countNodes(v.groups) > 1}
			alive, open := q.AliveUntil.After(t.now), !q.ClosedAt.After(t.now.Add(-tombstoneLife))
			if fresh != nil && e.Several && (!alive || !open) {
				return nil, true, nil // what was set aside for it is free too
			}
			if !alive || !open {
				own, settled = nil, false // what was set aside for it is for anybody
				if !alive {
					lapsed = append(lapsed, e)
				} else {
					e.Reason = EndClosed
					closed = append(closed, e)
				}
				continue
			}
			if v.done && shares == nil {
				continue
			}
			want := countNodes(v.groups)
			allowed := shares.allow(q.JobKey, want)
			if !allowed && q.ID == t.asks {
				t.braked = shares.why(q.JobKey)
			}
			var m *matching
			next := v.from
			if allowed && !v.done {
				if m, next, err = ready.match(v.groups, v.from); err != nil {
					return nil, false, err
				}
				v.done = m.size == 0
			}
			complete := m != nil && m.complete()
			if !complete && (shares != nil || !v.done) {
				could, err := v.couldBeFilled(working)
				if err != nil {
					return nil, false, err
				}
				if could {
					shares.keep(q.JobKey, want)
				} else {
					v.done = true // it waits for broken or maintained nodes: nothing is set aside
				}
			}
			if !allowed || v.done {
				continue
			}
			if fresh != nil && want > 1 {
				return nil, true, nil // some of the others may be set aside for it, and be cheaper
			}
			if complete {
				grants = append(grants, grant{q, m})
				shares.take(q.JobKey, want)
			}
			for _, nodes := range m.nodes {
				for _, n := range nodes {
					ready.used[n] = true
				}
			}
			if len(v.groups) == 1 {
				v.from = next
			}
			if own != nil && !settled {
				left, err := ready.couldFill(own.Groups)
				if err != nil {
					return nil, false, err
				}
				settled = !left
			}
		}
		if len(queue) < batch || ready.exhausted() || settled {
			break
		}
	}
	for _, list := range [][]ending{lapsed, closed} {
		if _, err := t.end(p, list); err != nil {
			return nil, false, err
		}
	}
	return grants, false, nil
}

// grantBatch is how many grants or nodes one statement writes: SQLite allows 32,766 variables, and a CASE is
// gone through from its beginning for each row. Almost every pass has fewer.
const grantBatch = 500

// handOut is a node that goes to an allocation, with its row of allocation_nodes.
type handOut struct {
	node, allocation int64
	row              []any
}

// applyGrants writes what the walk decided, in a number of statements that does not grow with it but for
// batches. Every write is guarded, so that safety does not rest on the lock.
func (t *tx) applyGrants(p *poolRow, grants []grant) error {
	now := at(t.now)
	var detached []int64
	var out []handOut
	for _, g := range grants {
		expires := t.now.Add(seconds(g.LeaseS))
		t.granted[g.ID] = expires
		t.dueBy(p.Name, expires)
		alive := g.AliveUntil.Time
		if g.Detached {
			detached = append(detached, g.ID)
			alive = t.now.Add(seconds(p.PickUpS))
		}
		t.dueBy(p.Name, alive)
		position := 0
		for i, nodes := range g.match.nodes {
			for _, node := range nodes {
				group := g.match.groups[i].Name
				out = append(out, handOut{node.ID, g.ID, []any{g.ID, position, node.ID, node.Name, group, node.Generation + 1, now, node.ID}})
				position++
				e := Event{
					Kind: eventGranted, Pool: p.Name, Node: node.Name, Owner: g.Owner, Slot: g.Slot, Allocation: g.ID,
					Generation: node.Generation + 1,
				}
				if group != "" {
					e.Detail = map[string]any{"group": group}
				}
				t.event(e)
			}
		}
	}
	for batch := range slices.Chunk(grants, grantBatch) {
		ids := make([]int64, len(batch))
		args := []any{now}
		for i, g := range batch {
			ids[i] = g.ID
			args = append(args, g.ID, at(t.granted[g.ID]))
		}
		if err := t.want(len(ids), `UPDATE allocations SET state = 'granted', granted_at = ?, expires_at = CASE id`+
			strings.Repeat(" WHEN ? THEN ?", len(ids))+` END WHERE id IN (?) AND state = 'waiting'`, append(args, ids)...); err != nil {
			return err
		}
	}
	for batch := range slices.Chunk(out, grantBatch) {
		ids := make([]int64, len(batch))
		args := []any{now}
		var rows []any
		for i, h := range batch {
			ids[i] = h.node
			args = append(args, h.node, h.allocation)
			rows = append(rows, h.row...)
		}
		if err := t.want(len(ids), `UPDATE nodes SET status = 'allocated', status_since = ?, generation = generation + 1,
			allocation_id = CASE id`+strings.Repeat(" WHEN ? THEN ?", len(ids))+` END
			WHERE id IN (?) AND status = 'ready' AND maintenance = 0 AND allocation_id IS NULL`, append(args, ids)...); err != nil {
			return err
		}
		if err := t.want(len(ids), `INSERT INTO allocation_nodes (allocation_id, position, node_id, node, group_name, generation, granted_at, open_node)
			VALUES `+values(len(ids), 8), rows...); err != nil {
			return err
		}
	}
	if len(detached) > 0 {
		// Guarded: one that is taken up at this moment lives by its client's heartbeat.
		if err := t.want(len(detached), `UPDATE waiters SET alive_until = ? WHERE allocation_id IN (?) AND detached = 1`,
			at(t.now.Add(seconds(p.PickUpS))), detached); err != nil {
			return err
		}
	}
	t.touch(p.Name)
	return nil
}
