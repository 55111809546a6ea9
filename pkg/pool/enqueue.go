package pool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// Enqueue puts a request into the queue and leaves: nobody waits for it, so that a build need not occupy
// an executor. The ticket lives for wait; once granted it keeps its nodes for the pool's pick_up time.
// Allocate with Options.Ticket takes it up, for the same owner or for another. What it returns is waiting
// or granted already, with the token set. Errors are those of Allocate.
func (db *DB) Enqueue(ctx context.Context, r Request, wait time.Duration) (*Allocation, error) {
	r, err := r.normalize()
	if err != nil {
		return nil, err
	}
	if wait < time.Second || wait > maxSpan {
		return nil, fail(ErrInvalid, "a ticket lives for its wait: %s is not between 1s and ten years", wait)
	}
	k := newTicket(r)
	k.detached, k.aliveFor = true, wait
	own, err := db.enqueueOnce(ctx, k)
	if err != nil {
		if k.id != 0 || k.sent || ctx.Err() != nil {
			if undo := db.undo(ctx, k, err); undo != nil {
				err = errors.Join(err, undo)
			}
		}
		return nil, err
	}
	a := own.allocation()
	a.Token = k.token
	return &a, nil
}

func (db *DB) enqueueOnce(ctx context.Context, k *ticket) (ownState, error) {
	if err := db.enqueue(ctx, k, time.Now()); err != nil {
		return ownState{}, err
	}
	own, err := db.serve(ctx, k, false, true)
	if err == nil && own.State == Ended {
		err = db.endedError(k, own)
	}
	return own, err
}

// detachedRow is a ticket that nobody has taken up.
type detachedRow struct {
	allocationRow
	RankAt stamp `db:"rank_at"`
	groups []Group
}

// detached reads the ticket of a token. One that ended, or was taken up before, is ErrConflict.
func (db *DB) detached(ctx context.Context, token secret.Text) (*detachedRow, error) {
	var found detachedRow
	err := db.get(ctx, &found, `SELECT `+allocationColumns+`, a.rank_at FROM allocations a
		LEFT JOIN waiters w ON w.allocation_id = a.id WHERE a.token = ?`, hashKey(token.Reveal()))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fail(ErrConflict, "there is no such ticket: it was taken up already, or belongs to another database")
	} else if err != nil {
		return nil, err
	}
	switch {
	case found.State == Ended:
		return nil, fail(ErrConflict, "the ticket of %q has ended: %s", found.Owner, endWords(found.EndReason))
	case found.State == Claimed || found.Detached == nil || !*found.Detached:
		return nil, fail(ErrConflict, "the ticket of %q was taken up already", found.Owner)
	}
	if found.groups, err = decodeGroups(found.Request); err != nil {
		return nil, fmt.Errorf("the request of ticket %d is not readable: %w", found.ID, err)
	}
	return &found, nil
}

// Ticket says how a ticket of Enqueue stands that nobody has taken up yet, waiting or granted, and hands
// out what is due: where only tickets wait, no client does. One that ended, or was taken up, is ErrConflict.
func (db *DB) Ticket(ctx context.Context, token secret.Text) (*QueuedRequest, error) {
	found, err := db.detached(ctx, token)
	if err != nil {
		return nil, err
	}
	a := found.allocation()
	k := &ticket{Request: Request{Owner: a.Owner, Slot: a.Slot, Pool: a.Pool, Groups: found.groups, Labels: a.Labels}, id: a.ID, tokenKey: hashKey(token.Reveal())}
	if found.State == Waiting {
		own, err := db.serve(ctx, k, false, false)
		if err == nil && own.State == Ended {
			err = db.endedError(k, own)
		}
		if err != nil {
			return nil, err
		}
		// The pass may have granted it, which gives it another time to live, or ended it, because its time is over.
		if found, err = db.detached(ctx, token); err != nil {
			return nil, err
		}
	}
	q := &QueuedRequest{LivesUntil: found.AliveUntil.Time}
	if found.State == Waiting {
		place, err := db.place(ctx, db.sql, k, found.RankAt)
		if err != nil {
			return nil, err
		}
		p, err := db.position(ctx, k, place)
		if err != nil {
			return nil, err
		}
		q.Allocation, q.Place, q.Reason = a, p.Place, p.Reason+firstToEnd(p.Holders)
		return q, nil
	}
	granted, err := db.Allocation(ctx, found.ID)
	if err != nil {
		return nil, err
	}
	q.Allocation = *granted
	return q, nil
}

// takeUp makes a detached ticket k's: its owner, slot and token are replaced, and from now on it lives by
// the client's heartbeat. It keeps its request, its place and its lease, which a taker may only make longer.
func (db *DB) takeUp(ctx context.Context, k *ticket, token secret.Text) error {
	oldKey := hashKey(token.Reveal())
	found, err := db.detached(ctx, token)
	if err != nil {
		return err
	}
	k.Groups, k.Pool, k.groups, k.Priority = found.groups, found.Pool, found.Request, found.Priority
	err = db.transact(ctx, func(t *tx) error {
		p, err := t.readPool(k.Pool, k.Owner)
		if err != nil {
			return err
		}
		if p.closed {
			return closedError(k.Owner)
		}
		alive := t.now.Add(k.aliveFor)
		n, err := t.exec(`UPDATE waiters SET token = ?, alive_until = ?, location = ?, detached = 0
			WHERE allocation_id = ? AND token = ? AND detached = 1 AND alive_until > ?`, k.tokenKey, at(alive), k.Where, found.ID, oldKey, at(t.now))
		if err != nil {
			return err
		}
		if n == 0 {
			return fail(ErrConflict, "the ticket of %q has ended meanwhile, or was taken up by another", found.Owner)
		}
		// A lease is promised from the grant on, but nobody had these nodes since.
		lease := max(found.LeaseS, min(int64(k.Lease/time.Second), p.MaxLeaseS))
		if err := t.one(`UPDATE allocations SET token = ?, owner = ?, owner_key = ?, slot = ?, active_key = ?, labels = ?, job_key = ?,
			lease_s = ?, expires_at = CASE WHEN state = 'granted' THEN ? ELSE expires_at END
			WHERE id = ? AND token = ? AND state IN ('waiting', 'granted')`,
			k.tokenKey, k.Owner, hashKey(k.Owner), k.Slot, activeKey(k.Owner, k.Slot), encodeProperties(k.Labels), jobKey(k.Labels),
			lease, at(t.now.Add(seconds(lease))), found.ID, oldKey); err != nil {
			return err
		}
		k.id, k.queuedAt, k.Lease = found.ID, found.QueuedAt, seconds(lease)
		t.event(Event{
			Kind: eventTakenUp, Pool: k.Pool, Owner: k.Owner, Slot: k.Slot, Allocation: k.id,
			Detail: map[string]any{"where": k.Where, "from": found.Owner},
		})
		return t.flush() // a clash with the owner's active allocation shows here
	})
	if db.classify(err) == classDuplicate {
		return db.busyOwner(ctx, k)
	}
	before := found.allocation()
	if err != nil || jobKey(before.Labels) == jobKey(k.Labels) {
		return err
	}
	// From now on the nodes count for another job, so the first may have more.
	return db.poolStory(ctx, k.Pool, func(t *tx, p *poolRow) error {
		return t.pass(p, nil, p.MaxPerJobPct < 100)
	})
}

// busyOwner makes the error for an owner and slot that have an active allocation.
func (db *DB) busyOwner(ctx context.Context, k *ticket) error {
	var other allocationRow
	if err := db.get(ctx, &other, `SELECT `+allocationColumns+` FROM allocations a LEFT JOIN waiters w ON w.allocation_id = a.id
		WHERE a.active_key = ?`, activeKey(k.Owner, k.Slot)); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	other.Owner, other.Slot = k.Owner, k.Slot
	return db.busy(ctx, &other)
}

// endWords says in words how an allocation ended.
func endWords(r EndReason) string {
	switch r {
	case EndLapsed:
		return "nobody took it up or gave a sign of life in time"
	case EndTimeout:
		return "its wait was over"
	case EndClosed:
		return "its owner's post-hook had run"
	case EndImpossible:
		return "no node of the pool could ever meet it"
	}
	return "it was " + string(r)
}
