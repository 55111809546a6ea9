package pool

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// Claim makes a granted allocation its build's: from now on the lease counts and no heartbeat. It is
// ErrConflict when the client's heartbeat lapsed, when the owner was closed, or when the allocation ended
// meanwhile: then nothing is the build's, and Cancel tidies up. Claiming again what is claimed is fine.
// The nodes are not read again.
func (db *DB) Claim(ctx context.Context, token secret.Text) (*Allocation, error) {
	var claimed *Allocation
	err := db.transact(ctx, func(t *tx) error {
		var row struct {
			allocationRow
			OwnerKey string `db:"owner_key"`
			LastNow  stamp  `db:"last_now"`
			Clock    stamp  `db:"clock"`
			tombstone
		}
		age := t.db.age()
		err := t.Get(&row, `SELECT `+allocationColumns+`, a.owner_key, l.last_now, `+t.db.dialect.clock+` AS clock, `+tombstoneColumns+`
			FROM allocations a JOIN pool_locks l ON l.pool = a.pool LEFT JOIN waiters w ON w.allocation_id = a.id
			LEFT JOIN tombstones ts ON ts.owner_key = a.owner_key WHERE a.token = ?`, hashKey(token.Reveal()))
		if errors.Is(err, sql.ErrNoRows) {
			return fail(ErrConflict, "there is no allocation of this token: it was taken over by a newer client of the same owner and slot")
		} else if err != nil {
			return err
		}
		t.now = t.db.machineClock()
		t.see(row.Clock, row.LastNow)
		switch {
		case row.State == Claimed: // said before, or a lost reply
			a := row.allocation()
			claimed = &a
			return nil
		case row.State != Granted:
			return fail(ErrConflict, "the allocation of %q cannot be claimed: it is %s %s", row.Owner, row.State, row.EndReason)
		case t.closes(row.tombstone, age):
			return closedError(row.Owner)
		case !row.AliveUntil.After(t.now):
			return fail(ErrConflict, "the allocation of %q cannot be claimed: its client gave no sign of life until %s", row.Owner, formatTime(row.AliveUntil.Time))
		}
		// The lease was promised at the grant, and the files tell its end. Only who took longer than a
		// heartbeat (checks, a ticket picked up late), or than the lease itself, gets a new one.
		expires := row.ExpiresAt
		if t.now.Sub(row.GrantedAt.Time) > heartbeat || !expires.After(t.now) {
			expires = at(t.now.Add(seconds(row.LeaseS)))
			// A pass may have said since to look again no earlier than at the heartbeat's end.
			if _, err := t.exec(`UPDATE pool_locks SET next_due = ? WHERE pool = ? AND (next_due IS NULL OR next_due > ?)`, expires, row.Pool, expires); err != nil {
				return err
			}
		}
		if err := t.one(`UPDATE allocations SET state = 'claimed', claimed_at = ?, expires_at = ? WHERE id = ? AND state = 'granted'`,
			at(t.now), expires, row.ID); err != nil {
			return err
		}
		if err := t.one(`DELETE FROM waiters WHERE allocation_id = ? AND alive_until > ?`, row.ID, at(t.now)); err != nil {
			return err
		}
		t.event(Event{
			Kind: eventClaimed, Pool: row.Pool, Owner: row.Owner, Slot: row.Slot, Allocation: row.ID,
			Detail: map[string]any{"expires_at": formatTime(expires.Time)},
		})
		row.State, row.ClaimedAt, row.ExpiresAt = Claimed, at(t.now), expires
		a := row.allocation()
		claimed = &a
		return nil
	})
	return claimed, err
}

// Beat renews the heartbeat of a granted allocation whose client takes its time before the claim. It is
// ErrConflict when the allocation has none: it was claimed, it ended, or the token is not its any more.
func (db *DB) Beat(ctx context.Context, token secret.Text) error {
	key := hashKey(token.Reveal())
	var row struct {
		LastNow stamp `db:"last_now"`
		Clock   stamp `db:"clock"`
		ID      int64 `db:"id"`
	}
	if err := db.get(ctx, &row, `SELECT a.id, l.last_now, `+db.dialect.clock+` AS clock FROM allocations a JOIN pool_locks l ON l.pool = a.pool
		WHERE a.token = ?`, key); errors.Is(err, sql.ErrNoRows) {
		return fail(ErrConflict, "there is no allocation of this token")
	} else if err != nil {
		return err
	}
	now := db.laterOf(db.machineClock(), row.Clock, row.LastNow)
	lives, err := db.beat(ctx, db.sql, &ticket{id: row.ID, tokenKey: key, aliveFor: heartbeat}, now)
	if err != nil || lives {
		return err
	}
	a, err := db.Allocation(ctx, row.ID)
	if err != nil {
		return err
	}
	return fail(ErrConflict, "the allocation of %q has no heartbeat: it is %s %s", a.Owner, a.State, a.EndReason)
}

// Adopt gives a claimed allocation, with its BMC passwords, to who presents its token for the same owner
// and slot. It is ErrConflict when the token is another's, *TakenBackError when the nodes were taken back.
func (db *DB) Adopt(ctx context.Context, token secret.Text, owner, slot string) (*Allocation, error) {
	list, err := db.loadAllocations(ctx, true, `SELECT `+allocationColumns+` FROM allocations a LEFT JOIN waiters w ON w.allocation_id = a.id
		WHERE a.token = ?`, hashKey(token.Reveal()))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || list[0].Owner != owner || list[0].Slot != slot {
		return nil, fail(ErrConflict, "owner %q slot %q has no allocation of this token", owner, slot)
	}
	a := list[0]
	switch {
	case a.State == Ended && a.EndReason.TakenBack():
		return nil, db.takenBack(ctx, allocationRow{
			ID: a.ID, Owner: owner, Slot: slot, EndReason: a.EndReason, EndDetail: a.EndDetail, EndedAt: at(a.EndedAt),
		})
	case a.State != Claimed:
		return nil, fail(ErrConflict, "the allocation of %q cannot be adopted: it is %s %s", owner, a.State, a.EndReason)
	}
	a.Token = token
	return &a, nil
}

// ExtendRequest says whose lease is extended, by token or by owner and slot, and until when.
type ExtendRequest struct {
	Token secret.Text
	Owner string // with Slot, when there is no token
	Slot  string
	Lease time.Duration // from now on; never shortens, and the pool's max_lease counts from the claim
	// Below leaves a lease as it is that has so much left, or more: for who looks often. 0 always extends.
	Below time.Duration
}

// Extend makes a lease longer. It is *TakenBackError when the nodes were taken back before, ErrNotFound
// when the owner holds nothing, ErrConflict when the pool's max_lease is reached.
func (db *DB) Extend(ctx context.Context, r ExtendRequest) (*Allocation, error) {
	if r.Lease < time.Second || r.Lease > maxSpan || r.Lease%time.Second != 0 {
		return nil, fail(ErrInvalid, "lease %s is not in whole seconds between 1s and ten years", r.Lease)
	}
	row, err := db.claimedRow(ctx, r.Token, r.Owner, r.Slot)
	if err != nil {
		return nil, err
	}
	err = db.transact(ctx, func(t *tx) error { return t.extend(row, r.Lease, r.Below) })
	if errors.Is(err, errLost) { // it ended or changed between the two looks: say what it is now
		return db.Extend(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	return db.Allocation(ctx, row.ID)
}

// errLost: the allocation that was found is not what it was.
var errLost = errors.New("the allocation changed meanwhile")

func (t *tx) extend(row *allocationRow, lease, below time.Duration) error {
	p, err := t.readPool(row.Pool, row.Owner)
	if err != nil {
		return err
	}
	if below > 0 && row.ExpiresAt.Sub(t.now) >= below {
		return nil
	}
	until, limit := t.now.Add(lease), row.ClaimedAt.Add(seconds(p.MaxLeaseS))
	if until.After(limit) {
		until = limit
	}
	if !until.After(row.ExpiresAt.Time) {
		if until.Equal(limit) && t.now.Add(lease).After(row.ExpiresAt.Time) {
			return fail(ErrConflict, "the lease of %q ends at %s, which is all that pool %s allows (max_lease %s)", row.Owner, formatTime(row.ExpiresAt.Time), p.Name, formatDuration(seconds(p.MaxLeaseS)))
		}
		return nil
	}
	// Guarded by the state alone: a lease that somebody else extended further meanwhile is the worst case.
	if n, err := t.exec(`UPDATE allocations SET expires_at = ? WHERE id = ? AND state = 'claimed' AND expires_at <= ?`, at(until), row.ID, at(until)); err != nil {
		return err
	} else if n == 0 {
		return errLost
	}
	t.event(Event{
		Kind: eventExtended, Pool: row.Pool, Owner: row.Owner, Slot: row.Slot, Allocation: row.ID,
		Detail: map[string]any{"expires_at": formatTime(until)},
	})
	return nil
}
