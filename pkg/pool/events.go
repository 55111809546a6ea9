package pool

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// The kinds of events. An event of a node's hand-over names the node and its generation.
const (
	eventQueued      = "queued"
	eventTakenOver   = "taken-over" // a newcomer of the same owner took over a ticket whose client had died
	eventGranted     = "granted"    // one a node
	eventClaimed     = "claimed"
	eventTakenUp     = "taken-up" // a ticket of --enqueue got its client
	eventExtended    = "extended"
	eventHeld        = "held"
	eventTombstone   = "tombstone"
	eventNodeAdded   = "node-added"
	eventNodeSet     = "node-set"
	eventNodeRemoved = "node-removed"
	eventReady       = "ready"
	eventDirty       = "dirty"
	eventBroken      = "broken"
	eventMaintOn     = "maintenance-on"
	eventMaintOff    = "maintenance-off"
	eventPoolAdded   = "pool-added"
	eventPoolSet     = "pool-set"
	eventPoolRemoved = "pool-removed"
	eventPoolPaused  = "pool-paused"
	eventPoolResumed = "pool-resumed"
	eventRecovered   = "recovered"      // one a node, whose generation jumped; and one for the whole
	eventPruned      = "history-pruned" // older events and ended allocations are gone
)

// Event is one row of history.
type Event struct {
	ID         int64
	At         time.Time
	Operation  string // the operation that wrote it, with its other events
	Actor      string // who did it, with what, from where
	Kind       string // what happened: queued, granted, claimed, released, expired, node-added, …
	Pool       string
	Node       string // "" when it is about no node
	Owner      string // "" when it is about no allocation
	Slot       string
	Allocation int64          // 0 when it is about none
	Generation int64          // of the node at a hand-over, else 0
	Detail     map[string]any // what else there is to tell; never a secret
}

// EventFilter selects events; its zero value selects all.
type EventFilter struct {
	Node       string
	Owner      string
	Pool       string
	Allocation int64
	Operation  string
	Since      time.Time // inclusive
	Until      time.Time // exclusive
	Limit      int       // the newest so many; 0 is all
}

type eventRow struct {
	ID         int64  `db:"id"`
	At         stamp  `db:"at"`
	Operation  string `db:"operation"`
	Actor      string `db:"actor"`
	Kind       string `db:"kind"`
	Pool       string `db:"pool"`
	Node       string `db:"node"`
	Owner      string `db:"owner"`
	Slot       string `db:"slot"`
	Allocation int64  `db:"allocation_id"`
	Generation int64  `db:"generation"`
	Detail     string `db:"detail"`
}

func (r eventRow) event() Event {
	e := Event{
		ID: r.ID, At: r.At.Time, Operation: r.Operation, Actor: r.Actor, Kind: r.Kind, Pool: r.Pool, Node: r.Node,
		Owner: r.Owner, Slot: r.Slot, Allocation: r.Allocation, Generation: r.Generation,
	}
	if r.Detail != "{}" {
		_ = json.Unmarshal([]byte(r.Detail), &e.Detail) // a hand-edited row has no detail
	}
	return e
}

// event keeps an event for the end of the transaction.
func (t *tx) event(e Event) {
	row := eventRow{
		Kind: e.Kind, Pool: e.Pool, Node: e.Node, Owner: e.Owner, Slot: e.Slot,
		Allocation: e.Allocation, Generation: e.Generation, Detail: "{}",
	}
	if len(e.Detail) > 0 {
		row.Detail = toJSON(e.Detail)
	}
	t.events = append(t.events, row)
}

// writeEvents inserts the events in as few statements as their number allows.
func (t *tx) writeEvents() error {
	const columns = 12
	for batch := range slices.Chunk(t.events, maxIn) {
		args := make([]any, 0, columns*len(batch))
		for _, e := range batch {
			key := ""
			if e.Owner != "" {
				key = hashKey(e.Owner)
			}
			args = append(args, at(t.now), t.operation, t.db.actor, e.Kind, e.Pool, e.Node, e.Owner, key, e.Slot, e.Allocation, e.Generation, e.Detail)
		}
		if err := t.want(len(batch), `INSERT INTO events (at, operation, actor, kind, pool, node, owner, owner_key, slot, allocation_id,
			generation, detail) VALUES `+values(len(batch), columns), args...); err != nil {
			return err
		}
	}
	t.events = nil
	return nil
}

// Events lists what happened, oldest first; with a limit the newest ones.
func (db *DB) Events(ctx context.Context, f EventFilter) ([]Event, error) {
	where := []string{"1 = 1"}
	var args []any
	add := func(condition string, arg any) {
		where = append(where, condition)
		args = append(args, arg)
	}
	if f.Node != "" {
		add("node = ?", f.Node)
	}
	if f.Owner != "" {
		add("owner_key = ?", hashKey(f.Owner))
	}
	if f.Pool != "" {
		add("pool = ?", f.Pool)
	}
	if f.Allocation != 0 {
		add("allocation_id = ?", f.Allocation)
	}
	if f.Operation != "" {
		add("operation = ?", f.Operation)
	}
	if !f.Since.IsZero() {
		add("at >= ?", at(f.Since))
	}
	if !f.Until.IsZero() {
		add("at < ?", at(f.Until))
	}
	// Ids say the order within a transaction only: on a cluster they are not in the order of time.
	query := `SELECT id, at, operation, actor, kind, pool, node, owner, slot, allocation_id, generation, detail FROM events WHERE ` +
		strings.Join(where, " AND ") + ` ORDER BY at DESC, id DESC`
	if f.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, f.Limit)
	}
	var rows []eventRow
	if err := db.list(ctx, &rows, query, args...); err != nil {
		return nil, err
	}
	events := make([]Event, len(rows))
	for i, r := range rows {
		events[len(rows)-1-i] = r.event()
	}
	return events, nil
}
