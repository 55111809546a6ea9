package pool

import (
	"context"
	"errors"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// HoldRequest says whose nodes are kept for a post-mortem, for how long and why.
type HoldRequest struct {
	Token  secret.Text
	Owner  string        // with Slot, when there is no token
	Slot   string        //
	Node   string        // when there is neither: the allocation that holds this node
	For    time.Duration // from now on; capped by the pool's max_hold
	Reason string        // of the person; shown to everybody
	Result string        // of the build, when a post-hook asks
	Over   bool          // the build is over: what is left of its lease counts no more, and a hold that is there stays as it is
}

// Hold keeps a claimed allocation beyond its build, for a post-mortem. The pool caps how long (max_hold)
// and how many of its nodes may be in hold at once (max_hold_pct; more is ErrConflict). A lease that lasts
// longer stays as it is, unless the build is over. Release ends the hold. *TakenBackError when the nodes were
// taken back before, ErrNotFound when the owner holds nothing, ErrConflict when nobody holds the node.
func (db *DB) Hold(ctx context.Context, r HoldRequest) (*Allocation, error) {
	if r.For < time.Second || r.For > maxSpan || r.For%time.Second != 0 {
		return nil, fail(ErrInvalid, "a hold of %s is not in whole seconds between 1s and ten years", r.For)
	}
	if r.Reason == "" {
		return nil, fail(ErrInvalid, "a hold wants a reason; add --reason TEXT")
	}
	if err := checkPlain("the reason", r.Reason, maxReason); err != nil {
		return nil, fail(ErrInvalid, "%w", err)
	}
	if err := checkPlain("the result", r.Result, maxResult); err != nil {
		return nil, fail(ErrInvalid, "%w", err)
	}
	row, err := db.heldRow(ctx, r)
	if err != nil {
		return nil, err
	}
	err = db.poolStory(ctx, row.Pool, func(t *tx, p *poolRow) error { return t.hold(p, row, r) })
	if errors.Is(err, errLost) { // it ended or changed between the two looks: say what it is now
		return db.Hold(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	return db.Allocation(ctx, row.ID)
}

func (db *DB) heldRow(ctx context.Context, r HoldRequest) (*allocationRow, error) {
	if r.Node == "" {
		return db.claimedRow(ctx, r.Token, r.Owner, r.Slot)
	}
	n, err := db.Node(ctx, r.Node)
	if err != nil {
		return nil, err
	}
	var row allocationRow
	err = db.get(ctx, &row, `SELECT `+allocationColumns+` FROM allocations a LEFT JOIN waiters w ON w.allocation_id = a.id
		WHERE a.id = ? AND a.state = 'claimed'`, n.Allocation)
	if errors.Is(err, errNoRows) {
		return nil, fail(ErrConflict, "node %s is held by no build: it is %s; see moltenironctl show %s", n.Name, n.Status, n.Name)
	}
	return &row, err
}

func (t *tx) hold(p *poolRow, row *allocationRow, r HoldRequest) error {
	if r.Over && row.HoldReason != "" {
		return nil
	}
	if p.MaxHoldS == 0 {
		return fail(ErrConflict, "pool %s allows no hold (max_hold 0s)", p.Name)
	}
	if err := t.checkHoldShare(p, row); err != nil {
		return err
	}
	until := t.now.Add(min(r.For, seconds(p.MaxHoldS)))
	if row.ExpiresAt.After(until) && !r.Over {
		until = row.ExpiresAt.Time
	}
	if n, err := t.exec(`UPDATE allocations SET expires_at = ?, hold_reason = ?, result = COALESCE(NULLIF(?, ''), result)
		WHERE id = ? AND state = 'claimed' AND expires_at = ?`, at(until), r.Reason, r.Result, row.ID, row.ExpiresAt); err != nil {
		return err
	} else if n == 0 {
		return errLost
	}
	detail := map[string]any{"reason": r.Reason, "expires_at": formatTime(until)}
	if r.Result != "" {
		detail["result"] = r.Result
	}
	t.event(Event{Kind: eventHeld, Pool: row.Pool, Owner: row.Owner, Slot: row.Slot, Allocation: row.ID, Detail: detail})
	t.touch(p.Name)
	t.dueBy(p.Name, until)
	return nil
}

// checkHoldShare is the pool's brake on holds.
func (t *tx) checkHoldShare(p *poolRow, row *allocationRow) error {
	if p.MaxHoldPct >= 100 || row.HoldReason != "" {
		return nil
	}
	var n struct {
		Total int `db:"total"`
		Held  int `db:"held"`
		Own   int `db:"own"`
	}
	if err := t.Get(&n, `SELECT (SELECT COUNT(*) FROM nodes WHERE pool = ?) AS total,
		(SELECT COUNT(*) FROM allocation_nodes an JOIN allocations a ON a.id = an.allocation_id
			WHERE a.pool = ? AND a.state = 'claimed' AND a.hold_reason <> '' AND an.open_node IS NOT NULL) AS held,
		(SELECT COUNT(*) FROM allocation_nodes WHERE allocation_id = ? AND open_node IS NOT NULL) AS own`, p.Name, p.Name, row.ID); err != nil {
		return err
	}
	if limit := n.Total * p.MaxHoldPct / 100; n.Held+n.Own > limit {
		return fail(ErrConflict, "pool %s allows %d of its %d nodes in hold (max_hold_pct %d), and %d are; release one first, see moltenironctl status --pool %s",
			p.Name, limit, n.Total, p.MaxHoldPct, n.Held, p.Name)
	}
	return nil
}

// claimedRow finds the claimed allocation of a token, or of an owner and slot; the errors are those that
// a late owner must hear.
func (db *DB) claimedRow(ctx context.Context, token secret.Text, owner, slot string) (*allocationRow, error) {
	tokenKey, ownerKey := "", ""
	if !token.IsZero() {
		tokenKey = hashKey(token.Reveal())
	} else if err := checkOwner(owner, slot); err != nil {
		return nil, err
	} else {
		ownerKey = hashKey(owner)
	}
	var rows []allocationRow
	if err := db.retry(ctx, defaultPatience, func(bool) (err error) {
		rows, err = rowsOf(ctx, db.sql, tokenKey, ownerKey)
		return err
	}); err != nil {
		return nil, err
	}
	for i, row := range rows {
		switch {
		case ownerKey != "" && row.Slot != slot:
			continue
		case row.State == Claimed:
			return &rows[i], nil
		case row.State == Ended && row.EndReason.TakenBack():
			return nil, db.takenBack(ctx, row)
		case row.State == Ended:
			return nil, fail(ErrConflict, "the allocation of %q has ended (%s), so it holds nothing", row.Owner, row.EndReason)
		default:
			return nil, fail(ErrConflict, "the allocation of %q is %s, so it holds nothing yet", row.Owner, row.State)
		}
	}
	if ownerKey == "" {
		return nil, fail(ErrNotFound, "there is no allocation of this token; see moltenironctl status")
	}
	return nil, fail(ErrNotFound, "owner %q slot %q holds nothing; see moltenironctl status", owner, slot)
}
