package pool

import (
	"context"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
)

// leastHistory is what PruneHistory always leaves: a post-hook that comes late, a tombstone and somebody
// who asks what happened last night need it.
const leastHistory = 24 * time.Hour

// pruneBatch is how many rows one transaction deletes: few enough that nobody waits behind it.
const pruneBatch = 1000

// PruneResult counts what PruneHistory removed.
type PruneResult struct {
	Before      time.Time
	Events      int
	Allocations int
}

// PruneHistory removes the events and the ended allocations that are older than keep (a day at least, else
// ErrInvalid), in transactions of a thousand rows that lock no pool. What is active stays with its events, however old. It
// is told after each batch, if tell is not nil. When ctx ends, what was removed stays removed.
func (db *DB) PruneHistory(ctx context.Context, keep time.Duration, tell func(PruneResult)) (PruneResult, error) {
	var result PruneResult
	if keep < leastHistory {
		return result, fail(ErrInvalid, "history of %s is too little: keep 24h or more", formatDuration(keep))
	}
	var clock struct {
		LastNow stamp `db:"last_now"`
		Clock   stamp `db:"clock"`
	}
	if err := db.get(ctx, &clock, `SELECT last_now, `+db.dialect.clock+` AS clock FROM pool_locks WHERE pool = ?`, DefaultPool); err != nil {
		return result, err
	}
	result.Before = db.laterOf(db.machineClock(), clock.Clock, clock.LastNow).Add(-keep)
	prune := func(count *int, find string, remove ...string) error {
		for {
			var ids []int64
			if err := db.list(ctx, &ids, find+` ORDER BY id LIMIT ?`, at(result.Before), pruneBatch); err != nil || len(ids) == 0 {
				return err
			}
			for _, query := range remove {
				if err := db.retry(ctx, defaultPatience, func(bool) error { return db.deleteIn(ctx, query, ids) }); err != nil {
					return err
				}
			}
			*count += len(ids)
			if tell != nil {
				tell(result)
			}
		}
	}
	if err := prune(&result.Events, `SELECT id FROM events WHERE at < ? AND allocation_id NOT IN (SELECT id FROM allocations WHERE state <> 'ended')`,
		`DELETE FROM events WHERE id IN (?)`); err != nil {
		return result, err
	}
	err := prune(&result.Allocations, `SELECT id FROM allocations WHERE ended_at < ? AND state = 'ended'`,
		`DELETE FROM allocation_nodes WHERE allocation_id IN (?)`, `DELETE FROM allocations WHERE id IN (?) AND state = 'ended'`)
	if err != nil || result.Events+result.Allocations == 0 {
		return result, err
	}
	return result, db.transact(ctx, func(t *tx) error {
		if err := t.readClock(); err != nil {
			return err
		}
		t.event(Event{Kind: eventPruned, Detail: map[string]any{
			"before": formatTime(result.Before), "events": result.Events, "allocations": result.Allocations,
		}})
		return nil
	})
}

func (db *DB) deleteIn(ctx context.Context, query string, ids []int64) error {
	for part := range slices.Chunk(ids, maxIn) {
		full, args, err := sqlx.In(query, part)
		if err != nil {
			return err
		}
		if _, err := db.sql.ExecContext(ctx, full, args...); err != nil {
			return err
		}
	}
	return nil
}
