package pool

import (
	"context"
	"errors"
	"fmt"
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
	Holders  []Holder      // of what it waits for, the first to end first; none far from the head
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
	if err != nil && (k.id != 0 || k.sent || ctx.Err() != nil) {
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
type ownState struct {
	allocationRow
	next string // where its wait was over for a reason: the command to type next
}

// lapsed: it was ended because no sign of life was seen, which its client, alive, need not accept.
func (o ownState) lapsed() bool { return o.State == Ended && o.EndReason == EndLapsed }

func (k *ticket) takenOver() error {
	return fail(ErrConflict, "the ticket of %q was taken over by a newer client of the same owner and slot", k.Owner)
}

func (db *DB) endedError(k *ticket, own ownState) error {
	switch own.EndReason {
	case EndTimeout:
		if own.EndDetail != "" {
			return fail(ErrNoNode, "pool %s granted nothing within the wait for %s: %s; %s", k.Pool, Describe(k.Groups), own.EndDetail, own.next)
		}
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
		own = ownState{} // what another try found is worth nothing, if that was not the one that was committed
		var rows []struct {
			poolRow
			allocationRow
			HasReady bool `db:"has_ready"`
		}
		if err := t.lock([]string{k.Pool}, read{&rows, `SELECT ` + poolColumns + `, ` + allocationColumns + `,
			EXISTS (SELECT 1 FROM nodes n WHERE n.pool = p.name` + readyOnly + `) AS has_ready FROM allocations a
			JOIN pools p ON p.name = a.pool LEFT JOIN waiters w ON w.allocation_id = a.id WHERE a.id = ? AND a.token = ?`, []any{k.id, k.tokenKey}}); err != nil {
			return err
		}
		if len(rows) == 0 {
			return k.takenOver()
		}
		row := &rows[0]
		own = ownState{allocationRow: row.allocationRow}
		if own.State == Granted { // before it was taken up, it lived by another time
			t.dueBy(k.Pool, row.AliveUntil.Time)
		}
		if own.State != Waiting {
			return nil
		}
		p := &row.poolRow
		t.asks = k.id
		freed, err := t.takeBack(p)
		if err != nil {
			return err
		}
		// If the ready nodes cannot serve this request even alone, the pass would change nothing: the
		// others were served when they came, or when nodes did.
		ready, suffice := t.readyNodes(p.Name), false
		if forAll := len(freed) > 0 || t.locked[p.Name].anew; forAll || row.HasReady {
			if suffice, err = ready.couldFill(k.Groups); err != nil {
				return err
			}
			if forAll {
				err = t.walk(p, ready, nil, nil)
			} else if suffice {
				err = t.walk(p, ready, nil, k)
			}
			if err != nil {
				return err
			}
		}
		if expires, ok := t.granted[k.id]; ok {
			own.State, own.GrantedAt, own.ExpiresAt = Granted, at(t.now), at(expires)
			return nil
		}
		reason, detail := EndReason(""), ""
		var shares *jobShares
		if first || last {
			if shares, err = t.jobShares(p); err != nil {
				return err
			}
		}
		if first {
			possible := suffice
			if !possible {
				if possible, err = t.allNodes(p.Name).couldFill(k.Groups); err != nil {
					return err
				}
			}
			if !possible {
				if detail, err = t.needs(p.Name, k.Groups); err != nil {
					return err
				}
				reason = EndImpossible
			} else if !shares.ever(jobKey(k.Labels), countNodes(k.Groups)) {
				reason, detail = EndImpossible, shares.most()
			}
		}
		if last && reason == "" {
			reason = EndTimeout
			if detail, own.next, err = t.whyNot(p, k, shares, suffice); err != nil {
				return err
			}
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
		if _, err = t.end(p, []ending{end}); err != nil || !t.locked[p.Name].anew {
			return err
		}
		return t.walk(p, t.readyNodes(p.Name), nil, nil) // what was set aside for it is for who is behind
	})
	if err == nil && own.ID == 0 {
		err = db.get(ctx, &own, `SELECT `+allocationColumns+` FROM allocations a LEFT JOIN waiters w ON w.allocation_id = a.id
			WHERE a.id = ? AND a.token = ?`, k.id, k.tokenKey)
		if errors.Is(err, errNoRows) {
			err = k.takenOver()
		}
	}
	return own, err
}

// whyNot says why a request is not served, where that is not that the nodes that suit are in use, and what
// to type next. suffice tells that the ready nodes could serve it, if it were alone.
func (t *tx) whyNot(p *poolRow, k *ticket, shares *jobShares, suffice bool) (reason, next string, err error) {
	const brake = "ask again when the job has given some back, or see moltenironctl pool list -o wide"
	switch {
	case p.Paused:
		return cut("it is paused: "+p.PausedReason, maxReason), "see moltenironctl pool list", nil
	case t.braked != "":
		return t.braked, brake, nil
	}
	if !shares.allow(jobKey(k.Labels), countNodes(k.Groups)) {
		return shares.why(jobKey(k.Labels)), brake, nil
	}
	if suffice {
		return "the ready nodes that suit are for who is before it in the queue", "see moltenironctl queue --pool " + p.Name, nil
	}
	could, err := t.workingNodes(p.Name).couldFill(k.Groups)
	if err != nil || could {
		return "", "", err
	}
	return "it waits for nodes that are broken or in maintenance", "see moltenironctl status --pool " + p.Name, nil
}

// needs says what a pool would need to meet a request that none of its nodes could ever meet.
func (t *tx) needs(pool string, groups []Group) (string, error) {
	var all []*nodeRow
	if err := t.list(&all, `SELECT `+nodeColumns+` FROM nodes n WHERE n.pool = ?`, pool); err != nil {
		return "", err
	}
	if err := fillAddresses(t.ctx, t.conn, all); err != nil {
		return "", err
	}
	return cut(needs(groups, all), maxReason), nil
}
