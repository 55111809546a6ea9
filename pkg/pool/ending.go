package pool

import (
	"fmt"
	"slices"
	"time"
)

// ending is one allocation that ends, with what is needed to guard and to tell it.
type ending struct {
	ID      int64
	Owner   string
	Slot    string
	State   State // as read: the write is guarded by it
	Reason  EndReason
	Several bool   // it asks for several nodes: while it waits, some may be set aside for it
	Detail  string // what a person said
	Result  string // of the build
	Dirty   bool   // the nodes need cleaning, whatever the pool's policy
}

// kind is what endings that are written by the same statements have in common.
type endingKind struct {
	state          State
	reason         EndReason
	detail, result string
	dirty          bool
	owner          string // of nodes that are taken back: their reason names it
}

// openNode is an open row of allocation_nodes.
type openNode struct {
	Allocation int64  `db:"allocation_id"`
	Node       int64  `db:"node_id"`
	Name       string `db:"node"`
	Generation int64  `db:"generation"`
}

func readOpen(open *[]openNode, allocations []int64) read {
	return read{open, `SELECT allocation_id, node_id, node, generation FROM allocation_nodes
		WHERE allocation_id IN (?) AND open_node IS NOT NULL ORDER BY allocation_id, position`, []any{allocations}}
}

// openNodes gives the open rows of allocations, from what was read with the lock where that has them.
func (t *tx) openNodes(allocations []int64) (open []openNode, err error) {
	for _, id := range allocations {
		if !slices.Contains(t.opened, id) {
			err = t.lists([]read{readOpen(&open, allocations)})
			return open, err
		}
	}
	for _, o := range t.open {
		if slices.Contains(allocations, o.Allocation) {
			open = append(open, o)
		}
	}
	return open, nil
}

// end ends allocations of a locked pool and frees their nodes; it returns the nodes that became ready,
// for the walk. Every write is guarded by what was read.
func (t *tx) end(p *poolRow, list []ending) (freed []int64, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	kinds := map[endingKind][]ending{}
	for _, e := range list {
		// What was set aside for it is free, or its job may have more, of nodes that were ready all along.
		if e.State == Waiting && e.Several || p.MaxPerJobPct < 100 {
			t.locked[p.Name].anew = true
		}
		k := endingKind{state: e.State, reason: e.Reason, detail: e.Detail, result: e.Result, dirty: e.Dirty}
		if e.Reason.TakenBack() {
			k.owner = e.Owner
		}
		kinds[k] = append(kinds[k], e)
	}
	for k, endings := range kinds {
		ready, err := t.endKind(p, k, endings)
		if err != nil {
			return nil, err
		}
		freed = append(freed, ready...)
	}
	t.touch(p.Name)
	return freed, nil
}

func (t *tx) endKind(p *poolRow, k endingKind, endings []ending) (freed []int64, err error) {
	now := at(t.now)
	ids := make([]int64, len(endings))
	byID := make(map[int64]ending, len(endings))
	for i, e := range endings {
		ids[i], byID[e.ID] = e.ID, e
	}
	var open []openNode
	if k.state != Waiting {
		if open, err = t.openNodes(ids); err != nil {
			return nil, err
		}
	}
	guard, args := "", []any{now, k.reason, k.detail, k.result, ids, k.state}
	if k.reason == EndExpired {
		guard, args = " AND expires_at <= ?", append(args, now) // an extension may have come between
	}
	if err := t.want(len(ids), `UPDATE allocations SET state = 'ended', active_key = NULL, ended_at = ?, end_reason = ?, end_detail = ?,
		result = COALESCE(NULLIF(?, ''), result) WHERE id IN (?) AND state = ?`+guard, args...); err != nil {
		return nil, err
	}
	if k.state != Claimed {
		guard, args := "", []any{ids}
		if k.reason == EndLapsed {
			guard, args = " AND alive_until <= ?", append(args, now) // a heartbeat may have come between
		}
		if err := t.want(len(ids), `DELETE FROM waiters WHERE allocation_id IN (?)`+guard, args...); err != nil {
			return nil, err
		}
	}

	detail := map[string]any{}
	if k.detail != "" {
		detail["reason"] = k.detail
	}
	if k.result != "" {
		detail["result"] = k.result
	}
	told := map[int64]bool{}
	nodes := make([]int64, len(open))
	for i, o := range open {
		nodes[i] = o.Node
		e := byID[o.Allocation]
		told[e.ID] = true
		t.event(Event{
			Kind: string(k.reason), Pool: p.Name, Node: o.Name, Owner: e.Owner, Slot: e.Slot, Allocation: e.ID,
			Generation: o.Generation, Detail: detail,
		})
	}
	for _, e := range endings {
		if !told[e.ID] {
			t.event(Event{Kind: string(k.reason), Pool: p.Name, Owner: e.Owner, Slot: e.Slot, Allocation: e.ID, Detail: detail})
		}
	}
	if len(nodes) == 0 {
		return nil, nil
	}
	if err := t.want(len(nodes), `UPDATE allocation_nodes SET released_at = ?, open_node = NULL WHERE allocation_id IN (?) AND open_node IS NOT NULL`,
		now, ids); err != nil {
		return nil, err
	}
	return t.freeNodes(p, k, open, nodes, ids)
}

// freeNodes gives the nodes of ended allocations their next status:
//   - never claimed, or cancelled: no build had them, so they are as they were;
//   - given back: ready, or dirty where that is asked for, and no longer suspect;
//   - taken back: suspect, or broken where the pool quarantines and its brake allows it.
func (t *tx) freeNodes(p *poolRow, k endingKind, open []openNode, nodes, allocations []int64) (freed []int64, err error) {
	if k.state != Claimed || k.reason == EndCancelled {
		return nodes, t.want(len(nodes), `UPDATE nodes SET status = 'ready', status_since = ?, allocation_id = NULL
			WHERE id IN (?) AND status = 'allocated' AND allocation_id IN (?)`, at(t.now), nodes, allocations)
	}
	quarantined := 0
	if k.reason == EndExpired && p.OnExpiry == ExpiryQuarantine {
		if quarantined, err = t.mayBreak(p, len(nodes)); err != nil {
			return nil, err
		}
	}
	reason := ""
	if k.reason.TakenBack() {
		reason = cut(fmt.Sprintf("%s while held by %s", k.reason, k.owner), maxReason)
	}
	status := Ready
	if p.Cleaning || k.dirty {
		status = Dirty
	}
	for _, o := range open[:quarantined] {
		t.locked[p.Name].anew = true
		t.event(Event{Kind: eventBroken, Pool: p.Name, Node: o.Name, Detail: map[string]any{"reason": reason}})
	}
	if err := t.freeAs(p, Broken, reason, nodes[:quarantined], allocations); err != nil {
		return nil, err
	}
	if err := t.freeAs(p, status, reason, nodes[quarantined:], allocations); err != nil || status != Ready {
		return nil, err
	}
	return nodes[quarantined:], nil
}

// freeAs frees nodes that a build had; with a reason they are suspect.
func (t *tx) freeAs(p *poolRow, status Status, reason string, nodes, allocations []int64) error {
	if len(nodes) == 0 {
		return nil
	}
	now := at(t.now)
	suspectSince, dirtyUntil := stamp{}, stamp{}
	if reason != "" {
		suspectSince = now
	}
	if status == Dirty {
		dirtyUntil = at(t.now.Add(seconds(p.CleanLimitS)))
		t.dueBy(p.Name, dirtyUntil.Time)
	}
	return t.want(len(nodes), `UPDATE nodes SET status = ?, reason = ?, status_since = ?, ready_since = ?, suspect = ?, suspect_since = ?,
		dirty_until = ?, clean_attempts = 0, allocation_id = NULL WHERE id IN (?) AND status = 'allocated' AND allocation_id IN (?)`,
		status, reason, now, now, reason != "", suspectSince, dirtyUntil, nodes, allocations)
}

// mayBreak says how many of want nodes a rule may mark broken: the pool's brake, so that one bad day does
// not empty it.
func (t *tx) mayBreak(p *poolRow, want int) (int, error) {
	if p.MaxBrokenPct >= 100 {
		return want, nil
	}
	var n struct {
		Total  int `db:"total"`
		Broken int `db:"broken"`
	}
	if err := t.Get(&n, `SELECT COUNT(*) AS total, COALESCE(SUM(CASE WHEN status = 'broken' THEN 1 ELSE 0 END), 0) AS broken
		FROM nodes WHERE pool = ?`, p.Name); err != nil {
		return 0, err
	}
	return max(0, min(want, n.Total*p.MaxBrokenPct/100-n.Broken)), nil
}

// dueRow is an allocation whose time is over.
type dueRow struct {
	ID      int64  `db:"id"`
	Owner   string `db:"owner"`
	Slot    string `db:"slot"`
	State   State  `db:"state"`
	Request string `db:"request"`
}

// takeBack ends what is due in a locked pool: leases by the pool's policy, waiters and unclaimed grants
// whose heartbeat stopped; and what took too long to clean is broken. It looks only when next_due has
// come, and then says anew when that is.
func (t *tx) takeBack(p *poolRow) (freed []int64, err error) {
	if due := t.locked[p.Name].NextDue; due.IsZero() || due.After(t.now) {
		return nil, nil
	}
	grace := t.now
	if p.OnExpiry == ExpiryAsk {
		grace = t.now.Add(-seconds(p.GraceS)) // tend asks meanwhile
	}
	var rows []dueRow
	if err := t.list(&rows, `SELECT a.id, a.owner, a.slot, a.state, a.request FROM allocations a WHERE a.pool = ? AND a.state = 'claimed' AND a.expires_at <= ?
		UNION ALL SELECT a.id, a.owner, a.slot, a.state, a.request FROM allocations a JOIN waiters w ON w.allocation_id = a.id
		WHERE a.pool = ? AND a.state IN ('waiting', 'granted') AND w.alive_until <= ?`, p.Name, at(grace), p.Name, at(t.now)); err != nil {
		return nil, err
	}
	endings := make([]ending, len(rows))
	for i, r := range rows {
		endings[i] = ending{ID: r.ID, Owner: r.Owner, Slot: r.Slot, State: r.State, Reason: EndLapsed, Several: asksForSeveral(r.Request)}
		if r.State == Claimed {
			endings[i].Reason = EndExpired
		}
	}
	if freed, err = t.end(p, endings); err != nil {
		return nil, err
	}
	if err := t.giveUpCleaning(p); err != nil {
		return nil, err
	}
	return freed, t.recomputeDue(p)
}

// giveUpCleaning marks nodes broken whose cleaning took longer than the pool allows.
func (t *tx) giveUpCleaning(p *poolRow) error {
	var late []struct {
		ID   int64  `db:"id"`
		Name string `db:"name"`
	}
	if err := t.list(&late, `SELECT id, name FROM nodes WHERE pool = ? AND status = 'dirty' AND dirty_until <= ?`, p.Name, at(t.now)); err != nil || len(late) == 0 {
		return err
	}
	broken, err := t.mayBreak(p, len(late))
	if err != nil {
		return err
	}
	ids := make([]int64, len(late))
	reason := fmt.Sprintf("not cleaned within %s", formatDuration(seconds(p.CleanLimitS)))
	for i, n := range late {
		ids[i] = n.ID
		if i < broken {
			t.event(Event{Kind: eventBroken, Pool: p.Name, Node: n.Name, Detail: map[string]any{"reason": reason}})
		}
	}
	t.touch(p.Name)
	if broken > 0 {
		t.locked[p.Name].anew = true
		if err := t.want(broken, `UPDATE nodes SET status = 'broken', reason = ?, status_since = ?, dirty_until = NULL
			WHERE id IN (?) AND status = 'dirty' AND dirty_until <= ?`, reason, at(t.now), ids[:broken], at(t.now)); err != nil {
			return err
		}
	}
	if broken == len(late) {
		return nil
	}
	// The brake holds: these stay dirty and are looked at again.
	return t.want(len(late)-broken, `UPDATE nodes SET dirty_until = ? WHERE id IN (?) AND status = 'dirty'`,
		at(t.now.Add(seconds(p.CleanLimitS))), ids[broken:])
}

// recomputeDue finds the next moment at which time alone changes something. The lease of a grant counts,
// because a claim keeps it without saying so here.
func (t *tx) recomputeDue(p *poolRow) error {
	var next struct {
		Lease stamp `db:"lease"`
		Alive stamp `db:"alive"`
		Dirty stamp `db:"dirty"`
	}
	if err := t.Get(&next, `SELECT (SELECT MIN(expires_at) FROM allocations WHERE pool = ? AND state IN ('granted', 'claimed') AND (state = 'claimed' OR expires_at > ?)) AS lease,
		(SELECT MIN(w.alive_until) FROM waiters w JOIN allocations a ON a.id = w.allocation_id WHERE a.pool = ?) AS alive,
		(SELECT MIN(dirty_until) FROM nodes WHERE pool = ? AND status = 'dirty') AS dirty`, p.Name, at(t.now), p.Name, p.Name); err != nil {
		return err
	}
	t.locked[p.Name].due = stamp{}
	if !next.Lease.IsZero() && p.OnExpiry == ExpiryAsk {
		next.Lease = at(next.Lease.Add(seconds(p.GraceS)))
	}
	for _, s := range []stamp{next.Lease, next.Alive, next.Dirty} {
		t.dueBy(p.Name, s.Time)
	}
	return nil
}

// pass takes back what is due in a locked pool and hands out what is ready. fresh are nodes that this
// transaction freed; all asks for every ready node to be looked at, because a request or a node is new
// or has changed.
func (t *tx) pass(p *poolRow, fresh []int64, all bool) error {
	freed, err := t.takeBack(p)
	if err != nil {
		return err
	}
	fresh = append(fresh, freed...)
	all = all || t.locked[p.Name].anew
	if !all && len(fresh) == 0 {
		return nil
	}
	if all {
		fresh = nil
	}
	return t.walk(p, t.readyNodes(p.Name), fresh, nil)
}

// cut shortens text for a column.
func cut(s string, limit int) string {
	r := []rune(s)
	if len(r) <= limit {
		return s
	}
	return string(r[:limit-1]) + "…"
}

// heartbeat is how long a client's sign of life counts: a client that died on the way costs its node or
// place for a minute. It beats when less than beatBefore is left, at its next look (slowestPoll at most).
const (
	heartbeat  = 60 * time.Second
	beatBefore = 35 * time.Second
)
