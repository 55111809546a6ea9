package pool

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// This file has what is done for builds that cannot do it themselves any more.

// GoneBuild says that the build of an active allocation is over, and that it did not give back what it has.
type GoneBuild struct {
	Allocation int64
	Owner      string // as it was when that was found out: an allocation that became another's is left alone
	Reason     string // what is known, for people
	Result     string // of the build, "" when nobody knows
}

// EndGone ends the allocation of a build that is gone: nodes that it had claimed are taken back (revoked,
// suspect), a ticket or an unclaimed grant of a client that still runs is cancelled. It reports whether it
// did. It does not when the allocation has ended or became another's meanwhile, when it is a ticket that
// waits to be taken up, which outlives its build by design, and while it is in hold.
func (db *DB) EndGone(ctx context.Context, g GoneBuild) (ended bool, err error) {
	if err := cmp.Or(checkPlain("the reason", g.Reason, maxReason), checkPlain("the result", g.Result, maxResult)); err != nil {
		return false, fail(ErrInvalid, "%w", err)
	}
	list, err := db.Allocations(ctx, AllocationFilter{ID: g.Allocation})
	if err != nil || len(list) == 0 {
		return false, err
	}
	err = db.poolStory(ctx, list[0].Pool, func(t *tx, p *poolRow) error {
		ended = false
		var rows []allocationRow
		if err := t.list(&rows, `SELECT `+allocationColumns+` FROM allocations a LEFT JOIN waiters w ON w.allocation_id = a.id
			WHERE a.id = ? AND a.owner_key = ? AND a.state <> 'ended'`, g.Allocation, hashKey(g.Owner)); err != nil || len(rows) == 0 {
			return err
		}
		row := rows[0]
		if row.Detached != nil && *row.Detached || row.HoldReason != "" && row.ExpiresAt.After(t.now) {
			return nil
		}
		e := row.ending(EndRevoked)
		if row.State != Claimed {
			e.Reason = EndCancelled
		}
		e.Detail, e.Result = g.Reason, g.Result
		freed, err := t.end(p, []ending{e})
		if err != nil {
			return err
		}
		ended = true
		return t.pass(p, freed, false)
	})
	return ended, err
}

// KeptRelease is a release that could not reach the database when its owner asked for it.
type KeptRelease struct {
	Owner string
	Slot  *string // nil is every slot
	// Tokens are allocations that are meant for certain, each by its TokenKey; nothing else of their slots is.
	Tokens []string
	// Asked is when the owner asked, by this machine's clock, which is compared with itself alone. In slots of
	// which no token is known, what the owner had claimed by then is meant; what it claimed after that is
	// another build's, though it has the same name. A time that has not come yet says nothing.
	Asked  time.Time
	Result string
	Dirty  bool
	Except []int64 // allocations that stay as they are, by id

	// For HoldKept alone: for how long from Asked on what is meant stays with its owner, 0 for not at all, and why.
	Hold       time.Duration
	HoldReason string
}

// TokenKey stands for a token where that must not lie: it says which allocation is meant, and nobody can
// release or adopt it with that. It is what the database keeps.
func TokenKey(token secret.Text) string { return hashKey(token.Reveal()) }

// ReleaseKept gives back what was meant when a release was kept, and nothing that the owner got since. It
// is otherwise as Release: repeating it is fine, an empty list says that there was nothing, and what had
// been taken back before is *TakenBackError. An owner that never had anything is closed, if it asked within
// the life of a tombstone. Tickets and grants that were not claimed are left to their heartbeat.
func (db *DB) ReleaseKept(ctx context.Context, k KeptRelease) ([]Released, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	for closed := false; ; {
		m, err := db.meant(ctx, k)
		if err != nil {
			return nil, err
		}
		if m.stranger {
			// As at its time: a pre-hook of the build may still be on its way.
			if m.ago < 0 || m.ago >= tombstoneLife {
				return nil, nil
			}
			return nil, db.closeOwner(ctx, k.Owner, hashKey(k.Owner), false, 0)
		}
		if k.Slot == nil && !closed && m.ago >= 0 && m.ago < tombstoneLife {
			if err := db.closeOwner(ctx, k.Owner, hashKey(k.Owner), true, m.ago); err != nil {
				return nil, err
			}
			closed = true // and look again, as Release does
			continue
		}
		released, moved, err := db.releaseRows(ctx, ReleaseRequest{Owner: k.Owner, Slot: k.Slot, Result: k.Result, Dirty: k.Dirty}, m.rows, false)
		if !moved {
			return released, err
		}
	}
}

// HoldKept keeps what was meant with its owner for a post-mortem, for what is left of the time that was asked
// for, as Hold does at the build's end; what is in hold already stays as it is. It gives what is kept, which
// ReleaseKept is then to leave alone (Except), and why the pool does not let it keep the rest.
func (db *DB) HoldKept(ctx context.Context, k KeptRelease) (held []Allocation, refused []error, err error) {
	if k.Hold == 0 {
		return nil, nil, nil
	}
	if err := k.check(); err != nil {
		return nil, nil, err
	}
	if err := checkPlain("the reason", k.HoldReason, maxReason); err != nil {
		return nil, nil, fail(ErrInvalid, "%w", err)
	}
	m, err := db.meant(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	r := HoldRequest{
		For: min(k.Hold-max(m.ago, 0), maxSpan).Truncate(time.Second), Reason: k.HoldReason, Result: k.Result, Over: true,
	}
	if r.For < time.Second {
		return nil, nil, nil
	}
	for _, row := range m.rows {
		if row.State != Claimed {
			continue
		}
		err := db.poolStory(ctx, row.Pool, func(t *tx, p *poolRow) error { return t.hold(p, &row, r) })
		switch {
		case errors.Is(err, errLost): // it ended or was extended meanwhile
			return db.HoldKept(ctx, k)
		case errors.Is(err, ErrConflict):
			refused = append(refused, err)
			continue
		case err != nil:
			return held, refused, err
		}
		a, err := db.Allocation(ctx, row.ID)
		if err != nil {
			return held, refused, err
		}
		held = append(held, *a)
	}
	return held, refused, nil
}

func (k KeptRelease) check() error {
	slot := ""
	if k.Slot != nil {
		slot = *k.Slot
	}
	if err := checkOwner(k.Owner, slot); err != nil {
		return err
	}
	if err := checkPlain("the result", k.Result, maxResult); err != nil {
		return fail(ErrInvalid, "%w", err)
	}
	return nil
}

// meant is what a kept release is about.
type meant struct {
	rows     []allocationRow
	stranger bool          // the owner never had anything
	ago      time.Duration // since it was asked, by this machine's clock
}

// meant finds what a kept release is about, as it is now.
func (db *DB) meant(ctx context.Context, k KeptRelease) (m meant, err error) {
	ownerKey := hashKey(k.Owner)
	var clock struct {
		Clock   stamp `db:"clock"`
		LastNow stamp `db:"last_now"`
	}
	if err := db.get(ctx, &clock, `SELECT MAX(last_now) AS last_now, `+db.dialect.clock+` AS clock FROM pool_locks`); err != nil {
		return m, err
	}
	// This machine's clock is read after the database's, so that the moment can only come out too early.
	machine := db.machineClock()
	m.ago = machine.Sub(k.Asked)
	asked := db.laterOf(machine, clock.Clock, clock.LastNow).Add(-m.ago)
	var known []int64
	if len(k.Tokens) > 0 {
		if err := db.list(ctx, &known, `SELECT id FROM allocations WHERE owner_key = ? AND token IN (?)`, ownerKey, k.Tokens); err != nil {
			return m, err
		}
	}
	if err := db.retry(ctx, defaultPatience, func(bool) (err error) {
		m.rows, err = rowsOf(ctx, db.sql, "", ownerKey)
		return err
	}); err != nil {
		return m, err
	}
	m.stranger = len(m.rows) == 0
	told := map[string]bool{} // slots of which a token tells what is meant
	for _, row := range m.rows {
		told[row.Slot] = told[row.Slot] || slices.Contains(known, row.ID)
	}
	m.rows = slices.DeleteFunc(m.rows, func(row allocationRow) bool {
		switch {
		case k.Slot != nil && row.Slot != *k.Slot || slices.Contains(k.Except, row.ID):
			return true
		case told[row.Slot]:
			return !slices.Contains(known, row.ID)
		}
		return m.ago < 0 || row.ClaimedAt.IsZero() || row.ClaimedAt.After(asked)
	})
	return m, nil
}
