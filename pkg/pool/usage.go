package pool

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

// UsageFilter selects what Usage tells.
type UsageFilter struct {
	Pool  string // "" is all
	Since time.Time
	Limit int // the newest so many allocations; 0 is all
}

// Usage is what became of a pool's requests, for reports and figures.
type Usage struct {
	At   time.Time // by the database's clock; nothing is told of later
	Uses []Use     // oldest first
	Cut  bool      // there are more than the limit
}

// Use is an allocation as far as it counts in a report. Times are zero while they have not come.
type Use struct {
	ID        int64
	Pool      string
	Owner     string
	Job       string // label JOB_NAME, "" where there is none
	State     State
	QueuedAt  time.Time
	GrantedAt time.Time
	EndedAt   time.Time
	EndReason EndReason
	Result    string // of the build
	Nodes     []NodeUse
}

// NodeUse is a node that an allocation has or had.
type NodeUse struct {
	Node string // its name then
	From time.Time
	To   time.Time // zero while it is held
}

// Usage lists the allocations that were active at any time since f.Since, each with its nodes, in three statements
// whatever their number. It takes no lock: what it tells may be a moment old.
func (db *DB) Usage(ctx context.Context, f UsageFilter) (Usage, error) {
	var clock struct {
		Clock   stamp `db:"clock"`
		LastNow stamp `db:"last_now"`
	}
	if err := db.get(ctx, &clock, `SELECT MAX(last_now) AS last_now, `+db.dialect.clock+` AS clock FROM pool_locks`); err != nil {
		return Usage{}, err
	}
	u := Usage{At: db.laterOf(db.machineClock(), clock.Clock, clock.LastNow)}
	where, args := ` WHERE (a.ended_at IS NULL OR a.ended_at >= ?)`, []any{at(f.Since)}
	if f.Pool != "" {
		where, args = where+` AND a.pool = ?`, append(args, f.Pool)
	}
	query, limited := `SELECT a.id, a.owner, a.pool, a.state, a.queued_at, a.granted_at, a.ended_at, a.end_reason, a.result, a.labels FROM allocations a`+
		where+` ORDER BY a.queued_at DESC, a.id DESC`, args
	if f.Limit > 0 {
		query, limited = query+` LIMIT ?`, append(slices.Clone(args), f.Limit+1)
	}
	var rows []struct {
		ID        int64     `db:"id"`
		Owner     string    `db:"owner"`
		Pool      string    `db:"pool"`
		State     State     `db:"state"`
		QueuedAt  stamp     `db:"queued_at"`
		GrantedAt stamp     `db:"granted_at"`
		EndedAt   stamp     `db:"ended_at"`
		EndReason EndReason `db:"end_reason"`
		Result    string    `db:"result"`
		Labels    string    `db:"labels"`
	}
	if err := db.list(ctx, &rows, query, limited...); err != nil {
		return Usage{}, err
	}
	if f.Limit > 0 && len(rows) > f.Limit {
		rows, u.Cut = rows[:f.Limit], true
		args[0] = rows[f.Limit-1].QueuedAt // none of these ended before the oldest of them queued
	}
	slices.Reverse(rows)
	index := make(map[int64]int, len(rows))
	for _, r := range rows {
		var labels struct {
			Job string `json:"JOB_NAME"`
		}
		_ = json.Unmarshal([]byte(r.Labels), &labels) // a row that was edited by hand has no job
		index[r.ID] = len(u.Uses)
		u.Uses = append(u.Uses, Use{
			ID: r.ID, Pool: r.Pool, Owner: r.Owner, Job: labels.Job, State: r.State, QueuedAt: r.QueuedAt.Time, GrantedAt: r.GrantedAt.Time,
			EndedAt: r.EndedAt.Time, EndReason: r.EndReason, Result: r.Result,
		})
	}
	var nodes []struct {
		Allocation int64  `db:"allocation_id"`
		Node       string `db:"node"`
		GrantedAt  stamp  `db:"granted_at"`
		ReleasedAt stamp  `db:"released_at"`
	}
	if err := db.list(ctx, &nodes, `SELECT an.allocation_id, an.node, an.granted_at, an.released_at FROM allocation_nodes an
		JOIN allocations a ON a.id = an.allocation_id`+where+` ORDER BY an.allocation_id, an.position`, args...); err != nil {
		return Usage{}, err
	}
	for _, n := range nodes {
		if i, told := index[n.Allocation]; told {
			u.Uses[i].Nodes = append(u.Uses[i].Nodes, NodeUse{Node: n.Node, From: n.GrantedAt.Time, To: n.ReleasedAt.Time})
		}
	}
	return u, nil
}
