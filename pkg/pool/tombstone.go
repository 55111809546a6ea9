package pool

import (
	"context"
	"time"
)

// tombstoneLife is how long an owner whose post-hook found nothing is granted nothing: longer than a
// pre-hook of an aborted build can be on its way.
const tombstoneLife = 15 * time.Minute

// tombstone is what a post-hook leaves for pre-hooks of its owner that are still on their way. One that
// found nothing closes the owner: its pre-hook is to come. Where it found something, and was to give back all
// that there is, a pre-hook of another slot may be on its way too; but the build may also go on and check
// nodes out again, so only clients that began before are refused.
type tombstone struct {
	ClosedAt stamp `db:"closed_at"`
	LateOnly bool  `db:"late_only"`
}

// tombstoneColumns are what a tombstone scans, of tombstones joined as ts.
const tombstoneColumns = "ts.closed_at, COALESCE(ts.late_only, 0) AS late_only"

// age is how long this client has run, by its own clock; 0 where that is not told.
func (db *DB) age() time.Duration {
	switch {
	case db.began.IsZero():
		return 0
	case db.clock != nil:
		return db.clock().Sub(db.began)
	}
	return time.Since(db.began)
}

// closes reports whether a tombstone refuses this client. Whether it began before is told by two durations,
// its age and how long ago the post-hook was, so that its clock need not be the database's. The age is from
// before the statement that read the database's: one that took long then lets a client pass that is late,
// until the claim, and never refuses one that is not. A clock that went back proves nothing.
func (t *tx) closes(s tombstone, age time.Duration) bool {
	if !s.ClosedAt.After(t.now.Add(-tombstoneLife)) {
		return false
	}
	present := t.present()
	return !s.LateOnly || !t.db.began.IsZero() && !s.ClosedAt.After(present) && present.Add(-age).Before(s.ClosedAt.Time)
}

// closeOwner leaves an owner's tombstone. One that is for late clients only counts from some time ago.
func (db *DB) closeOwner(ctx context.Context, owner, ownerKey string, lateOnly bool, ago time.Duration) error {
	return db.transact(ctx, func(t *tx) error {
		var before struct {
			LastNow stamp `db:"last_now"`
			Clock   stamp `db:"clock"`
			tombstone
		}
		if err := t.Get(&before, `SELECT l.last_now, `+db.dialect.clock+` AS clock, `+tombstoneColumns+`
			FROM pool_locks l LEFT JOIN tombstones ts ON ts.owner_key = ? WHERE l.pool = ?`, ownerKey, DefaultPool); err != nil {
			return err
		}
		t.now = db.machineClock()
		t.see(before.Clock, before.LastNow)
		if err := t.checkRepeated(); err != nil {
			return err
		}
		closed := at(t.now)
		if lateOnly {
			closed = at(t.present().Add(-ago))
		}
		if closed.Before(before.ClosedAt.Time) {
			closed = before.ClosedAt
		}
		if !lateOnly {
			t.event(Event{Kind: eventTombstone, Owner: owner})
		}
		if !before.ClosedAt.IsZero() {
			return t.one(`UPDATE tombstones SET closed_at = ?, late_only = ? WHERE owner_key = ?`, closed, lateOnly, ownerKey)
		}
		// Not an UPDATE that finds nothing and then this: such gaps are locked, so that two owners would deadlock.
		_, err := t.exec(`INSERT INTO tombstones (owner_key, closed_at, late_only) VALUES (?, ?, ?)`, ownerKey, closed, lateOnly)
		if db.classify(err) == classDuplicate {
			return errMoved // another post-hook of the same owner: see its row
		}
		return err
	})
}

// forgetTombstones removes those that count no more.
func (db *DB) forgetTombstones(ctx context.Context) error {
	return db.transact(ctx, func(t *tx) error {
		if err := t.readClock(); err != nil {
			return err
		}
		_, err := t.exec(`DELETE FROM tombstones WHERE closed_at < ?`, at(t.now.Add(-2*tombstoneLife)))
		return err
	})
}
