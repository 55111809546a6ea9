package pool

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"
)

// AllocationFilter selects allocations; its zero value selects all.
type AllocationFilter struct {
	ID     int64
	Owner  string
	Slot   *string // nil is every slot
	Pool   string
	States []State
	Node   string // that has or had this node
	Limit  int    // the newest so many; 0 is all
}

const allocationColumns = `a.id, a.owner, a.slot, a.pool, a.request, a.priority, a.lease_s, a.state, a.queued_at, a.granted_at, a.claimed_at,
	a.expires_at, a.ended_at, a.end_reason, a.end_detail, a.hold_reason, a.result, a.labels, w.location, w.alive_until, w.detached`

// allocationRow is a row of allocations with its waiter's.
type allocationRow struct {
	ID         int64     `db:"id"`
	Owner      string    `db:"owner"`
	Slot       string    `db:"slot"`
	Pool       string    `db:"pool"`
	Request    string    `db:"request"`
	Priority   int       `db:"priority"`
	LeaseS     int64     `db:"lease_s"`
	State      State     `db:"state"`
	QueuedAt   stamp     `db:"queued_at"`
	GrantedAt  stamp     `db:"granted_at"`
	ClaimedAt  stamp     `db:"claimed_at"`
	ExpiresAt  stamp     `db:"expires_at"`
	EndedAt    stamp     `db:"ended_at"`
	EndReason  EndReason `db:"end_reason"`
	EndDetail  string    `db:"end_detail"`
	HoldReason string    `db:"hold_reason"`
	Result     string    `db:"result"`
	Labels     string    `db:"labels"`
	Location   *string   `db:"location"`
	AliveUntil stamp     `db:"alive_until"`
	Detached   *bool     `db:"detached"`
}

func (r *allocationRow) allocation() Allocation {
	a := Allocation{
		ID: r.ID, Owner: r.Owner, Slot: r.Slot, Pool: r.Pool, State: r.State, Priority: r.Priority, Lease: seconds(r.LeaseS),
		QueuedAt: r.QueuedAt.Time, GrantedAt: r.GrantedAt.Time, ClaimedAt: r.ClaimedAt.Time, ExpiresAt: r.ExpiresAt.Time,
		EndedAt: r.EndedAt.Time, EndReason: r.EndReason, EndDetail: r.EndDetail, HoldReason: r.HoldReason, Result: r.Result,
	}
	// Rows of ours are readable; one that was edited by hand shows what it can.
	a.Groups, _ = decodeGroups(r.Request)
	_ = json.Unmarshal([]byte(r.Labels), &a.Labels)
	if r.Location != nil {
		a.Where = *r.Location
	}
	a.Detached = r.Detached != nil && *r.Detached
	return a
}

func (r *allocationRow) ending(reason EndReason) ending {
	return ending{ID: r.ID, Owner: r.Owner, Slot: r.Slot, State: r.State, Reason: reason, Several: asksForSeveral(r.Request)}
}

// Allocations lists allocations with the nodes that they have or had, newest first. Nodes of active ones
// come whole (without passwords), those of ended ones by name, group and generation.
func (db *DB) Allocations(ctx context.Context, f AllocationFilter) ([]Allocation, error) {
	where, args := []string{"1 = 1"}, []any{}
	add := func(condition string, arg any) { where, args = append(where, condition), append(args, arg) }
	if f.ID != 0 {
		add("a.id = ?", f.ID)
	}
	if f.Owner != "" {
		add("a.owner_key = ?", hashKey(f.Owner))
	}
	if f.Slot != nil {
		add("a.slot = ?", *f.Slot)
	}
	if f.Pool != "" {
		add("a.pool = ?", f.Pool)
	}
	if len(f.States) > 0 {
		add("a.state IN (?)", f.States)
	}
	if f.Node != "" {
		add("a.id IN (SELECT allocation_id FROM allocation_nodes WHERE node = ?)", f.Node)
	}
	query := `SELECT ` + allocationColumns + ` FROM allocations a LEFT JOIN waiters w ON w.allocation_id = a.id
		WHERE ` + strings.Join(where, " AND ") + ` ORDER BY a.queued_at DESC, a.id DESC`
	if f.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, f.Limit)
	}
	return db.loadAllocations(ctx, false, query, args...)
}

// Allocation reads one allocation by id; ErrNotFound when there is none.
func (db *DB) Allocation(ctx context.Context, id int64) (*Allocation, error) {
	list, err := db.Allocations(ctx, AllocationFilter{ID: id})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fail(ErrNotFound, "no allocation %d; see moltenironctl history", id)
	}
	return &list[0], nil
}

// Queue lists who waits, in the order in which they will be served, of one pool or (with "") of all.
func (db *DB) Queue(ctx context.Context, pool string) ([]Allocation, error) {
	where, args := "", []any{}
	if pool != "" {
		if _, err := db.Pool(ctx, pool); err != nil {
			return nil, err
		}
		where, args = " AND a.pool = ?", []any{pool}
	}
	list, err := db.loadAllocations(ctx, false, `SELECT `+allocationColumns+` FROM allocations a JOIN waiters w ON w.allocation_id = a.id
		WHERE a.state = 'waiting'`+where+` ORDER BY a.pool, a.rank_at, a.id`, args...)
	place := 0
	for i := range list {
		if i == 0 || list[i].Pool != list[i-1].Pool {
			place = 0
		}
		place++
		list[i].Place = place
	}
	return list, err
}

// loadAllocations runs a query for allocationRows and adds the nodes, with their passwords where asked.
func (db *DB) loadAllocations(ctx context.Context, credentials bool, query string, args ...any) ([]Allocation, error) {
	var rows []allocationRow
	if err := db.list(ctx, &rows, query, args...); err != nil {
		return nil, err
	}
	list := make([]Allocation, len(rows))
	byID := make(map[int64]*Allocation, len(rows))
	var active, ended []int64
	for i := range rows {
		list[i] = rows[i].allocation()
		byID[rows[i].ID] = &list[i]
		switch rows[i].State {
		case Granted, Claimed:
			active = append(active, rows[i].ID)
		case Ended:
			ended = append(ended, rows[i].ID)
		}
	}
	for ids := range slices.Chunk(active, maxIn) {
		if err := db.loadHeld(ctx, credentials, byID, ids); err != nil {
			return nil, err
		}
	}
	for ids := range slices.Chunk(ended, maxIn) {
		var had []struct {
			openNode
			Group string `db:"group_name"`
		}
		if err := db.list(ctx, &had, `SELECT allocation_id, node_id, node, generation, group_name FROM allocation_nodes
			WHERE allocation_id IN (?) ORDER BY allocation_id, position`, ids); err != nil {
			return nil, err
		}
		for _, h := range had {
			a := byID[h.Allocation]
			a.Nodes = append(a.Nodes, GrantedNode{Node: Node{Name: h.Name, Pool: a.Pool}, Group: h.Group, Generation: h.Generation})
		}
	}
	return list, nil
}

// loadHeld adds the nodes of active allocations.
func (db *DB) loadHeld(ctx context.Context, credentials bool, byID map[int64]*Allocation, ids []int64) error {
	columns := nodeColumns
	if credentials {
		columns += ", n.bmc_password"
	}
	var rows []*nodeRow
	if err := db.list(ctx, &rows, `SELECT `+columns+`, `+holderColumns+`, an.allocation_id AS in_allocation, an.group_name,
		an.generation AS granted_generation FROM allocation_nodes an JOIN nodes n ON n.id = an.node_id JOIN allocations a ON a.id = an.allocation_id
		WHERE an.allocation_id IN (?) AND an.open_node IS NOT NULL ORDER BY an.allocation_id, an.position`, ids); err != nil {
		return err
	}
	if err := db.retry(ctx, defaultPatience, func(bool) error { return fillAddresses(ctx, db.sql, rows) }); err != nil {
		return err
	}
	for _, r := range rows {
		n, err := r.node(db.key)
		if err != nil {
			return err
		}
		a := byID[r.InAllocation]
		a.Nodes = append(a.Nodes, GrantedNode{Node: n, Group: r.Group, Generation: r.GrantedGen})
	}
	return nil
}

// rowsOf reads the allocations that a client means: by token, or an owner's, active ones first and then
// the newest. A build has few, so the limit is for builds gone mad.
func rowsOf(ctx context.Context, q sqlx.QueryerContext, tokenKey, ownerKey string) ([]allocationRow, error) {
	where, arg := "a.owner_key = ?", ownerKey
	if ownerKey == "" {
		where, arg = "a.token = ?", tokenKey
	}
	var rows []allocationRow
	err := sqlx.SelectContext(ctx, q, &rows, `SELECT `+allocationColumns+` FROM allocations a LEFT JOIN waiters w ON w.allocation_id = a.id
		WHERE `+where+` ORDER BY CASE WHEN a.state = 'ended' THEN 1 ELSE 0 END, a.queued_at DESC, a.id DESC LIMIT 1000`, arg)
	return rows, err
}

// NodesOf lists the nodes that an owner holds, in whatever slot. Who lost them is told so: *TakenBackError
// when they were taken back, with who has them now; ErrNotFound when the owner holds nothing.
func (db *DB) NodesOf(ctx context.Context, owner string, credentials bool) ([]Node, error) {
	nodes, err := db.Nodes(ctx, NodeFilter{Owner: owner, Credentials: credentials})
	if err != nil || len(nodes) > 0 {
		return nodes, err
	}
	var rows []allocationRow
	if err := db.retry(ctx, defaultPatience, func(bool) (err error) {
		rows, err = rowsOf(ctx, db.sql, "", hashKey(owner))
		return err
	}); err != nil {
		return nil, err
	}
	var lost []allocationRow
	seen := map[string]bool{} // slots whose newest allocation was seen
	for _, row := range rows {
		if !seen[row.Slot] && row.EndReason.TakenBack() {
			lost = append(lost, row)
		}
		seen[row.Slot] = true
	}
	if len(lost) > 0 {
		return nil, db.takenBack(ctx, lost...)
	}
	return nil, fail(ErrNotFound, "owner %q holds no node; see moltenironctl status", owner)
}

// takenBack makes the error for an allocation that its owner lost, with who has its nodes now.
func (db *DB) takenBack(ctx context.Context, lost ...allocationRow) error {
	first := lost[0]
	e := &TakenBackError{Owner: first.Owner, Slot: first.Slot, Reason: first.EndReason, Detail: first.EndDetail, EndedAt: first.EndedAt.Time}
	ids := make([]int64, len(lost))
	for i, l := range lost {
		ids[i] = l.ID
	}
	var rows []struct {
		Node       string  `db:"node"`
		Status     *Status `db:"status"`
		Generation *int64  `db:"generation"`
		Owner      *string `db:"owner"`
		Slot       *string `db:"slot"`
		ExpiresAt  stamp   `db:"expires_at"`
	}
	if err := db.list(ctx, &rows, `SELECT COALESCE(n.name, an.node) AS node, n.status, n.generation, a.owner, a.slot, a.expires_at FROM allocation_nodes an
		LEFT JOIN nodes n ON n.id = an.node_id LEFT JOIN allocations a ON a.id = n.allocation_id
		WHERE an.allocation_id IN (?) ORDER BY an.allocation_id, an.position`, ids); err != nil {
		return errors.Join(e, err)
	}
	for _, r := range rows {
		h := Holder{Node: r.Node, ExpiresAt: r.ExpiresAt.Time}
		if r.Status != nil {
			h.Status, h.Generation = *r.Status, *r.Generation
		}
		if r.Owner != nil {
			h.Owner, h.Slot = *r.Owner, *r.Slot
		}
		e.Holders = append(e.Holders, h)
	}
	return e
}
