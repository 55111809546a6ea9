package pool

import (
	"context"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// HoldRequest says whose nodes are kept for a post-mortem, for how long and why.
type HoldRequest struct {
	Token  secret.Text
	Owner  string        // with Slot, when there is no token
	Slot   string        //
	For    time.Duration // from now on; capped by the pool's max_hold
	Reason string        // of the person; shown to everybody
	Result string        // of the build, when a post-hook asks
}

// Hold keeps a claimed allocation beyond its build, for a post-mortem. The pool caps how long (max_hold)
// and how many of its nodes may be in hold at once (max_hold_pct; more is ErrConflict). Release ends it.
// *TakenBackError when the nodes were taken back before, ErrNotFound when the owner holds nothing.
func (db *DB) Hold(ctx context.Context, r HoldRequest) (*Allocation, error) {
	if r.For < time.Second || r.For > maxSeconds || r.For%time.Second != 0 {
		return nil, fail(ErrInvalid, "a hold of %s is not in whole seconds between 1s and ten years", r.For)
	}
	if r.Reason == "" {
		return nil, fail(ErrInvalid, "a hold wants a reason; add --reason TEXT")
	}
	if err := checkPlain("the reason", r.Reason, maxReason); err != nil {
		return nil, fail(ErrInvalid, "%w", err)
	}
	row, err := db.claimedRow(ctx, r.Token, r.Owner, r.Slot)
	if err != nil {
		return nil, err
	}
	err = db.poolStory(ctx, row.Pool, func(t *tx, p *poolRow) error {
		if err := t.checkHoldShare(p, row); err != nil {
			return err
		}
		until := t.now.Add(min(r.For, seconds(p.MaxHoldS)))
		if row.ExpiresAt.After(until) {
			until = row.ExpiresAt.Time
		}
		if err := t.one(`UPDATE allocations SET expires_at = ?, hold_reason = ?, result = ? WHERE id = ? AND state = 'claimed'`,
			at(until), r.Reason, r.Result, row.ID); err != nil {
			return err
		}
		t.event(Event{
			Kind: eventHeld, Pool: row.Pool, Owner: row.Owner, Slot: row.Slot, Allocation: row.ID,
			Detail: map[string]any{"reason": r.Reason, "expires_at": formatTime(until)},
		})
		t.touch(p.Name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return db.Allocation(ctx, row.ID)
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
