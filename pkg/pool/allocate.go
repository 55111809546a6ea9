package pool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// AllocateOptions say how long to wait and whom to tell.
type AllocateOptions struct {
	Wait     time.Duration  // in the queue; 0 is not at all
	Progress func(Position) // called while waiting: at once, when something changed, and every minute; may be nil
	Ticket   secret.Text    // of Enqueue: take it up instead of making a new one; the request is the ticket's, but for a longer lease
}

// Position is what a waiting client is told.
type Position struct {
	Place    int           // in the queue, from 1
	Waited   time.Duration //
	Request  string        // what it waits for, in words
	Reason   string        // why it is not served yet
	Holders  []Holder      // of nodes that suit, the first to end first; not all of them far from the head
	Estimate Estimate      // when it may be served; unknown far from the head
}

// undoTimeout bounds the undoing of a ticket after the client's own context ended.
const undoTimeout = 1500 * time.Millisecond

// Allocate asks for nodes and waits for them up to Options.Wait, in the pool's queue. What it returns is
// granted, not claimed: the nodes belong to it as long as its heartbeat lives (60 s unless Beat is
// called), so the caller writes its files and then calls Claim, or gives back with Cancel. The token and
// the BMC passwords are set.
//
// A ticket that is not granted yet is not taken up where there is no wait: it keeps its place, and the error
// is ErrQueued.
//
// Errors: ErrNoNode when the wait was over, ErrImpossible when no node of the pool can ever meet the
// request, *BusyError when the owner and slot have an active allocation, ErrConflict when the owner is
// closed, ErrNotFound for the pool, ErrInvalid for the request. When ctx ends, the ticket is undone
// (within 1.5 s) and errors.Is finds the context's cause.
func (db *DB) Allocate(ctx context.Context, r Request, o AllocateOptions) (*Allocation, error) {
	if !o.Ticket.IsZero() {
		r.Groups = []Group{{Count: 1}} // only to be checked: the ticket has its own
	}
	r, err := r.normalize()
	if err != nil {
		return nil, err
	}
	if !o.Ticket.IsZero() && o.Wait <= 0 {
		q, err := db.Ticket(ctx, o.Ticket)
		if err != nil {
			return nil, err
		}
		if q.State == Waiting {
			return nil, q.Queued()
		}
	}
	deadline := time.Now().Add(o.Wait)
	k := newTicket(r)
	enter := db.enqueue
	if !o.Ticket.IsZero() {
		enter = func(ctx context.Context, k *ticket, _ time.Time) error { return db.takeUp(ctx, k, o.Ticket) }
	}
	a, err := db.allocate(ctx, k, enter, deadline, o)
	if err != nil && (k.id != 0 || ctx.Err() != nil) {
		if undo := db.undo(ctx, k, err); undo != nil {
			err = errors.Join(err, undo)
		}
	}
	return a, err
}

// undo takes a ticket back whose client gives up, with a time-out of its own.
func (db *DB) undo(ctx context.Context, k *ticket, cause error) error {
	if errors.Is(cause, ErrNoNode) || errors.Is(cause, ErrImpossible) {
		return nil // ended by the same transaction that did not grant it
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := db.Cancel(ctx, k.token, "undone by its client"); err != nil {
		return fmt.Errorf("the ticket of %q could not be undone and lapses by itself within %s: %w", k.Owner, heartbeat, err)
	}
	return nil
}

func (db *DB) allocate(ctx context.Context, k *ticket, enter func(context.Context, *ticket, time.Time) error, deadline time.Time, o AllocateOptions) (*Allocation, error) {
	if err := enter(ctx, k, deadline); err != nil {
		return nil, err
	}
	own, err := db.serve(ctx, k, o.Wait <= 0, true)
	if err == nil && (own.State == Waiting || own.lapsed()) {
		own, err = db.wait(ctx, k, deadline, o)
	}
	if err != nil {
		return nil, err
	}
	if own.State != Granted {
		return nil, db.endedError(k, own)
	}
	return db.granted(ctx, k, own)
}

// granted reads the nodes that a granted ticket has got.
func (db *DB) granted(ctx context.Context, k *ticket, own ownState) (*Allocation, error) {
	a := own.allocation()
	a.Token, a.Labels = k.token, k.Labels
	if err := db.loadHeld(ctx, true, map[int64]*Allocation{a.ID: &a}, []int64{a.ID}); err != nil {
		return nil, err
	}
	return &a, nil
}

// ownState is what a client reads of its own allocation.
type ownState struct{ allocationRow }

// lapsed: it was ended because no sign of life was seen, which its client, alive, need not accept.
func (o ownState) lapsed() bool { return o.State == Ended && o.EndReason == EndLapsed }

func (k *ticket) takenOver() error {
	return fail(ErrConflict, "the ticket of %q was taken over by a newer client of the same owner and slot", k.Owner)
}

func (db *DB) endedError(k *ticket, own ownState) error {
	switch own.EndReason {
	case EndTimeout:
		return fail(ErrNoNode, "no node free in pool %s within the wait for %s; see moltenironctl queue --pool %s", k.Pool, Describe(k.Groups), k.Pool)
	case EndImpossible:
		return fail(ErrImpossible, "pool %s could never meet the request for %s: %s; see moltenironctl status --pool %s -o wide",
			k.Pool, Describe(k.Groups), own.EndDetail, k.Pool)
	case EndClosed:
		return closedError(k.Owner)
	}
	text := fmt.Sprintf("the allocation of %q was %s meanwhile", k.Owner, own.EndReason)
	if own.EndDetail != "" {
		text += " (" + own.EndDetail + ")"
	}
	return &Error{Class: ErrConflict, Text: text}
}

// serve takes the pool's lock, looks at the own row first, and if it still waits runs the pass for
// everyone. With last a request that was not granted ends in the same transaction; with first one that
// the pool could never meet does.
func (db *DB) serve(ctx context.Context, k *ticket, last, first bool) (own ownState, err error) {
	err = db.transact(ctx, func(t *tx) error {
		if err := t.lock(k.Pool); err != nil {
			return err
		}
		var row struct {
			poolRow
			allocationRow
		}
		if err := t.Get(&row, `SELECT `+poolColumns+`, `+allocationColumns+` FROM allocations a
			JOIN pools p ON p.name = a.pool LEFT JOIN waiters w ON w.allocation_id = a.id WHERE a.id = ? AND a.token = ?`, k.id, k.tokenKey); errors.Is(err, sql.ErrNoRows) {
			return k.takenOver()
		} else if err != nil {
			return err
		}
		own = ownState{row.allocationRow}
		if own.State == Granted { // before it was taken up, it lived by another time
			t.dueBy(k.Pool, row.AliveUntil.Time)
		}
		if own.State != Waiting {
			return nil
		}
		p := &row.poolRow
		freed, err := t.takeBack(p)
		if err != nil {
			return err
		}
		ready := t.readyNodes(p.Name)
		m, _, err := ready.match(k.Groups, 0)
		if err != nil {
			return err
		}
		// If the ready nodes cannot serve this request even alone, the pass would change nothing: the
		// others were served when they came, or when nodes did.
		if m.complete() || len(freed) > 0 || t.locked[p.Name].anew {
			if err := t.walk(p, ready, nil); err != nil {
				return err
			}
		}
		if expires, ok := t.granted[k.id]; ok {
			own.State, own.GrantedAt, own.ExpiresAt = Granted, at(t.now), at(expires)
			return nil
		}
		reason, detail := EndReason(""), ""
		if first {
			possible := m.complete()
			if !possible {
				if possible, err = t.couldEver(p.Name, k.Groups); err != nil {
					return err
				}
			}
			if !possible {
				if detail, err = t.needs(p.Name, k.Groups); err != nil {
					return err
				}
				reason = EndImpossible
			} else if shares, err := t.jobShares(p); err != nil {
				return err
			} else if !shares.ever(jobKey(k.Labels), countNodes(k.Groups)) {
				reason, detail = EndImpossible, shares.most()
			}
		}
		if last && reason == "" {
			reason = EndTimeout
		}
		if reason == "" {
			t.dueBy(p.Name, row.AliveUntil.Time)
			return nil
		}
		// A tombstone, or an outage, may have ended it within the pass; then it is gone from the queue already.
		var still struct {
			State     State     `db:"state"`
			EndReason EndReason `db:"end_reason"`
		}
		if err := t.Get(&still, `SELECT state, end_reason FROM allocations WHERE id = ?`, k.id); err != nil {
			return err
		}
		if still.State != Waiting {
			own.State, own.EndReason = still.State, still.EndReason
			return nil
		}
		own.State, own.EndReason, own.EndDetail = Ended, reason, detail
		end := row.ending(reason)
		end.Detail = detail
		if _, err = t.end(p, []ending{end}); err != nil || !end.Several {
			return err
		}
		return t.walk(p, t.readyNodes(p.Name), nil) // what was set aside for it is for who is behind
	})
	return own, err
}

// couldEver reports whether the nodes of a pool, in whatever state, could meet a request. It reads no
// more of them than it takes.
func (t *tx) couldEver(pool string, groups []Group) (bool, error) {
	m := newMatching(groups)
	addresses := needsAddresses(groups)
	for offset, limit := 0, max(firstBatch, m.want); ; offset, limit = offset+limit, min(limit*batchGrow, maxBatch) {
		var rows []*nodeRow
		if err := t.list(&rows, `SELECT `+nodeColumns+` FROM nodes n WHERE n.pool = ? ORDER BY n.id LIMIT ? OFFSET ?`, pool, limit, offset); err != nil {
			return false, err
		}
		if addresses {
			if err := fillAddresses(t.ctx, t, rows); err != nil {
				return false, err
			}
		}
		for _, n := range rows {
			if m.offer(n); m.complete() {
				return true, nil
			}
		}
		if len(rows) < limit {
			return false, nil
		}
	}
}

// needs says what a pool would need to meet a request that none of its nodes could ever meet.
func (t *tx) needs(pool string, groups []Group) (string, error) {
	all, err := t.poolNodes(pool, false)
	if err != nil {
		return "", err
	}
	return cut(needs(groups, all.rows), maxReason), nil
}

// How often a waiting client looks: near the head often enough that a release reaches it at once, far
// from it so rarely that a thousand of them cost the database little. Between slow looks it holds no
// connection.
const (
	pollPerPlace = 100 * time.Millisecond
	slowestPoll  = 20 * time.Second
	holdConn     = 2 * time.Second
	progressTick = time.Minute
	// explainPlaces is how near the head a client has its position explained in full: that reads the pool.
	explainPlaces = 20
)

// pollRow is the one statement of a look.
type pollRow struct {
	allocationRow
	TokenKey string `db:"token"`
	RankAt   stamp  `db:"rank_at"`
	Version  int64  `db:"version"`
	NextDue  stamp  `db:"next_due"`
	LastNow  stamp  `db:"last_now"`
	Clock    stamp  `db:"clock"`
}

// wait looks at the own row until it no longer waits or the deadline has come, keeps the heartbeat, and
// moves the queue itself when time alone has changed something.
func (db *DB) wait(ctx context.Context, k *ticket, deadline time.Time, o AllocateOptions) (ownState, error) {
	var version int64 = -1
	place := 1
	var told Position
	var toldAt time.Time
	for {
		row, err := db.look(ctx, k)
		if err != nil {
			return ownState{}, err
		}
		now := db.laterOf(db.machineClock(), row.Clock, row.LastNow)
		own := ownState{row.allocationRow}
		switch {
		case row.TokenKey != k.tokenKey:
			return own, k.takenOver()
		case own.lapsed() && time.Until(deadline) <= 0:
			own.EndReason = EndTimeout // which it had come to as well
			return own, nil
		case own.lapsed():
			// An outage longer than a heartbeat: the client lives, so it gets its place back.
			again := newTicket(k.Request)
			again.queuedAt = k.queuedAt
			*k = *again
			if err := db.enqueue(ctx, k, deadline); err != nil {
				return own, err
			}
			own, err := db.serve(ctx, k, false, true)
			if err != nil || own.State != Waiting && !own.lapsed() {
				return own, err
			}
			continue
		case own.State != Waiting:
			return own, nil
		}
		// First the sign of life: who wakes up after an outage must not take back its own ticket.
		if row.AliveUntil.Sub(now) < beatBefore {
			if _, err := db.beat(ctx, k, now); err != nil {
				return own, err
			}
		}
		if !row.NextDue.IsZero() && !row.NextDue.After(now) {
			own, err := db.serve(ctx, k, false, false)
			if err != nil || own.State != Waiting && !own.lapsed() {
				return own, err
			}
		}
		if row.Version != version {
			version = row.Version
			if place, err = db.place(ctx, k, row.RankAt); err != nil {
				return own, err
			}
		}
		if o.Progress != nil {
			minute := time.Since(toldAt) >= progressTick
			if toldAt.IsZero() || minute || place != told.Place {
				p, err := db.position(ctx, k, place)
				if err != nil {
					return own, err
				}
				p.Waited = now.Sub(row.QueuedAt.Time)
				o.Progress(p)
				told, toldAt = p, time.Now()
			}
		}
		pause := min(time.Duration(place)*pollPerPlace, slowestPoll)
		pause = time.Duration((0.8 + 0.4*rand.Float64()) * float64(pause)) //nolint:gosec // jitter is no secret
		left := time.Until(deadline)
		if left <= 0 {
			own, err := db.serve(ctx, k, true, false)
			if err != nil || !own.lapsed() {
				return own, err
			}
		}
		pause = min(pause, max(left, 0))
		if pause > holdConn {
			db.dropIdle()
		}
		if err := sleep(ctx, pause); err != nil {
			return own, db.ended(ctx, err)
		}
	}
}

func (db *DB) look(ctx context.Context, k *ticket) (pollRow, error) {
	var row pollRow
	err := db.get(ctx, &row, `SELECT `+allocationColumns+`, a.token, a.rank_at, l.version, l.next_due, l.last_now, `+db.dialect.clock+` AS clock
		FROM allocations a JOIN pool_locks l ON l.pool = a.pool LEFT JOIN waiters w ON w.allocation_id = a.id WHERE a.id = ?`, k.id)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fail(ErrNotFound, "the allocation of %q is gone from the database", k.Owner)
	}
	return row, err
}

// beat is the sign of life, in one statement; it is guarded by the token, so that a client whose ticket
// was taken over does not keep it alive.
func (db *DB) beat(ctx context.Context, k *ticket, now time.Time) (lives bool, err error) {
	err = db.retry(ctx, defaultPatience, func(bool) error {
		result, err := db.sql.ExecContext(ctx, `UPDATE waiters SET alive_until = ? WHERE allocation_id = ? AND token = ?`,
			at(now.Add(k.aliveFor)), k.id, k.tokenKey)
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		lives = rows > 0
		return err
	})
	return lives, err
}

// place counts who is before a ticket, itself included.
func (db *DB) place(ctx context.Context, k *ticket, rank stamp) (int, error) {
	var n int
	err := db.get(ctx, &n, `SELECT COUNT(*) FROM allocations WHERE pool = ? AND state = 'waiting' AND (rank_at < ? OR (rank_at = ? AND id <= ?))`,
		k.Pool, rank, rank, k.id)
	return max(n, 1), err
}

// position says how a ticket stands: in full near the head, and what two cheap statements tell far from it.
func (db *DB) position(ctx context.Context, k *ticket, place int) (Position, error) {
	p := Position{Place: place, Request: Describe(k.Groups)}
	if place > explainPlaces {
		var paused struct {
			Paused bool   `db:"paused"`
			Reason string `db:"paused_reason"`
		}
		if err := db.get(ctx, &paused, `SELECT paused, paused_reason FROM pools WHERE name = ?`, k.Pool); err != nil {
			return p, err
		}
		p.Reason = fmt.Sprintf("%d requests are before it", place-1)
		if paused.Paused {
			p.Reason = fmt.Sprintf("pool %s is paused: %s", k.Pool, paused.Reason)
		}
		p.Estimate.Basis = "unknown: too far ahead to tell"
		return p, nil
	}
	s, err := db.scene(ctx, k.Pool)
	if err != nil {
		return p, err
	}
	i := slices.IndexFunc(s.queue, func(q *sceneRequest) bool { return q.ID == k.id })
	if i < 0 {
		p.Reason = "it is being served"
		return p, nil
	}
	if s.past, err = db.pastDurations(ctx, k.Pool, s); err != nil {
		return p, err
	}
	e, _ := s.explain(i)
	p.Place, p.Reason, p.Holders, p.Estimate = e.Place, e.Reason, e.Holders, e.Estimate
	return p, nil
}
