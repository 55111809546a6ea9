package pool

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/molteniron/molteniron/pkg/secret"
)

// ReleaseRequest says what is given back: by token one allocation, by owner all of its or those of one
// slot.
type ReleaseRequest struct {
	Token  secret.Text
	Owner  string  // wins over Token when both are set
	Slot   *string // nil is every slot
	Result string  // of the build, kept with the allocation
	Dirty  bool    // the nodes need cleaning, whatever the pool's policy
	Except []int64 // allocations of the owner that stay as they are, by id
	// CloseOwner is for post-hooks: a pre-hook of theirs that is still on its way gets nothing. When nothing at all
	// is found no other one does either, for 15 minutes; else, where all slots are given back, those that began before
	// (Options.Began).
	CloseOwner bool
}

// Released is one allocation that was given back, or had been before.
type Released struct {
	Allocation
	Again bool // it had been given back before: nothing was changed
}

// Release gives back what an owner or a token has: nodes that a build had are freed, tickets and
// unclaimed grants cancelled, and the freed nodes go straight to the first in the queue. Nothing to
// release is no error: the list is empty, or names what had been released before. What was taken back
// before (expired, revoked) is *TakenBackError, beside whatever was released.
func (db *DB) Release(ctx context.Context, r ReleaseRequest) ([]Released, error) {
	if err := checkPlain("the result", r.Result, maxResult); err != nil {
		return nil, fail(ErrInvalid, "%w", err)
	}
	tokenKey, ownerKey := hashKey(r.Token.Reveal()), ""
	if r.Owner != "" {
		slot := ""
		if r.Slot != nil {
			slot = *r.Slot
		}
		if err := checkOwner(r.Owner, slot); err != nil {
			return nil, err
		}
		ownerKey = hashKey(r.Owner)
	} else if r.Token.IsZero() {
		return nil, fail(ErrInvalid, "a release names an owner or presents a token")
	}
	for closed := false; ; {
		var rows []allocationRow
		if err := db.retry(ctx, defaultPatience, func(bool) (err error) {
			rows, err = rowsOf(ctx, db.sql, tokenKey, ownerKey)
			return err
		}); err != nil {
			return nil, err
		}
		if found := len(rows) > 0; r.CloseOwner && ownerKey != "" && !closed && (!found || r.Slot == nil) {
			if err := db.closeOwner(ctx, r.Owner, ownerKey, found, 0); err != nil {
				return nil, err
			}
			closed = true // and look again: a pre-hook may have come between
			continue
		}
		rows = slices.DeleteFunc(rows, func(row allocationRow) bool {
			return r.Slot != nil && row.Slot != *r.Slot || slices.Contains(r.Except, row.ID)
		})
		released, moved, err := db.releaseRows(ctx, r, rows, closed)
		if moved {
			continue
		}
		return released, err
	}
}

// releaseRows ends the active ones among rows, and tells what became of the others. moved says that an
// active one ended meanwhile: look again.
func (db *DB) releaseRows(ctx context.Context, r ReleaseRequest, rows []allocationRow, closed bool) (released []Released, moved bool, err error) {
	var ids []int64
	var pools []string
	var lost []allocationRow
	latest := map[string]bool{} // slots whose newest allocation was seen
	var again []Released
	for _, row := range rows {
		if row.State != Ended {
			ids, pools = append(ids, row.ID), append(pools, row.Pool)
			latest[row.Slot] = true
			continue
		}
		if latest[row.Slot] {
			continue
		}
		latest[row.Slot] = true
		if row.EndReason.TakenBack() {
			lost = append(lost, row)
		} else if row.EndReason == EndReleased {
			again = append(again, Released{Allocation: row.allocation(), Again: true})
		}
	}
	if len(ids) > 0 {
		err = db.transact(ctx, func(t *tx) error {
			var present []allocationRow
			t.opened = ids
			policies, err := t.lockWithPolicy(pools, readOpen(&t.open, ids), read{&present, `SELECT ` + allocationColumns + ` FROM allocations a LEFT JOIN waiters w ON w.allocation_id = a.id
				WHERE a.id IN (?) AND a.state <> 'ended'`, []any{ids}})
			if err != nil {
				return err
			}
			released, moved = nil, false // after the lock: a try that was committed after all ended there
			if len(present) < len(ids) {
				moved = true
				return nil
			}
			if released, err = t.releasePresent(r, policies, present); err != nil {
				return err
			}
			switch { // there was something after all
			case closed && r.Slot == nil:
				_, err = t.exec(`UPDATE tombstones SET late_only = 1 WHERE owner_key = ?`, hashKey(r.Owner))
			case closed:
				_, err = t.exec(`DELETE FROM tombstones WHERE owner_key = ?`, hashKey(r.Owner))
			}
			return err
		})
		if err != nil || moved {
			return nil, moved, err
		}
	}
	if len(lost) > 0 {
		return released, false, db.takenBack(ctx, lost...)
	}
	if len(released) == 0 {
		return again, false, nil
	}
	return released, false, nil
}

func (t *tx) releasePresent(r ReleaseRequest, policies map[string]*poolRow, present []allocationRow) ([]Released, error) {
	var released []Released
	endings := map[string][]ending{}
	for _, row := range present {
		e := row.ending(EndReleased)
		e.Result, e.Dirty = r.Result, r.Dirty
		if row.State != Claimed {
			e.Reason, e.Dirty = EndCancelled, false
		}
		endings[row.Pool] = append(endings[row.Pool], e)
		a := row.allocation()
		a.State, a.EndReason, a.EndedAt, a.Result = Ended, e.Reason, t.now, cmp.Or(r.Result, row.Result)
		released = append(released, Released{Allocation: a})
	}
	first := len(t.events)
	for _, p := range policies {
		freed, err := t.end(p, endings[p.Name])
		if err != nil {
			return nil, err
		}
		if err := t.pass(p, freed, false); err != nil {
			return nil, err
		}
	}
	for i := range released { // the events say which nodes came back
		for _, e := range t.events[first:] {
			if e.Allocation == released[i].ID && e.Node != "" && e.Kind == string(released[i].EndReason) {
				released[i].Nodes = append(released[i].Nodes, GrantedNode{Node: Node{Name: e.Node, Pool: e.Pool}, Generation: e.Generation})
			}
		}
	}
	return released, nil
}

// Cancel undoes an allocation by its token, in whatever state, for a client that gives up before its
// build had the nodes: it is neither late nor suspect. Cancelling what has ended, or never was, is fine.
func (db *DB) Cancel(ctx context.Context, token secret.Text, why string) error {
	key := hashKey(token.Reveal())
	// First the one statement that needs no lock: whatever happens next, the grant lapses.
	err := db.retry(ctx, defaultPatience, func(bool) error {
		_, err := db.sql.ExecContext(ctx, `UPDATE waiters SET alive_until = ? WHERE token = ?`, at(longAgo), key)
		return err
	})
	if err != nil {
		return err
	}
	var row struct {
		ID   int64  `db:"id"`
		Pool string `db:"pool"`
	}
	if err := db.get(ctx, &row, `SELECT id, pool FROM allocations WHERE token = ? AND state <> 'ended'`, key); err != nil {
		if errors.Is(err, errNoRows) {
			return nil
		}
		return err
	}
	return db.poolStory(ctx, row.Pool, func(t *tx, p *poolRow) error {
		var rows []allocationRow
		if err := t.list(&rows, `SELECT `+allocationColumns+` FROM allocations a LEFT JOIN waiters w ON w.allocation_id = a.id
			WHERE a.id = ? AND a.token = ? AND a.state <> 'ended'`, row.ID, key); err != nil || len(rows) == 0 {
			return err
		}
		e := rows[0].ending(EndCancelled)
		e.Detail = cut(why, maxReason)
		freed, err := t.end(p, []ending{e})
		if err != nil {
			return err
		}
		return t.pass(p, freed, false)
	})
}

// Revoke takes the allocation that holds a node from its owner, whole, for a reason that the owner is
// told. Its nodes are suspect: the build may still be running. A node that nobody holds is ErrConflict.
func (db *DB) Revoke(ctx context.Context, node, reason string) (*Allocation, error) {
	if reason == "" {
		return nil, fail(ErrInvalid, "revoking node %s wants a reason; add --reason TEXT", node)
	}
	if err := checkPlain("the reason", reason, maxReason); err != nil {
		return nil, fail(ErrInvalid, "node %s: %w", node, err)
	}
	var id int64
	err := db.transactNode(ctx, node, func(t *tx, pools map[string]*poolRow, n *nodeRow) error {
		if n.AllocationID == nil {
			return fail(ErrConflict, "node %s is held by nobody: it is %s", n.Name, n.Status)
		}
		var rows []allocationRow
		if err := t.list(&rows, `SELECT `+allocationColumns+` FROM allocations a LEFT JOIN waiters w ON w.allocation_id = a.id WHERE a.id = ?`, *n.AllocationID); err != nil {
			return err
		}
		id = rows[0].ID
		e := rows[0].ending(EndRevoked)
		e.Detail = reason
		p := pools[n.Pool]
		freed, err := t.end(p, []ending{e})
		if err != nil {
			return err
		}
		return t.pass(p, freed, false)
	})
	if err != nil {
		return nil, err
	}
	return db.Allocation(ctx, id)
}
