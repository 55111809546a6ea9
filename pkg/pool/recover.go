package pool

import (
	"context"
	"slices"
)

// recoverJump is how far ids and generations move forward after a backup was restored: further than any
// pool comes between two backups, so that what was given out after the backup is never given out again.
const recoverJump = 1_000_000

// recoverReason is what restored pools and nodes say of themselves.
const recoverReason = "restored from a backup"

// RecoverResult tells what Recover did.
type RecoverResult struct {
	Paused []string // pools
	Nodes  []string // that were free in the backup, out of service until somebody has looked at them
	Held   []string // that were held in the backup: their builds may be over
}

// Recover makes a database safe whose content is older than what happened: a backup was restored, or a
// copy was put in its place. Nobody knows what the builds did since. So all pools are paused, each node
// that was free then is broken and suspect until `ready` says that somebody looked at it, held nodes stay
// with their owners until these give them back or their leases end, and ids and generations jump forward
// by a million, so that none that was given out since the backup comes a second time. From now on the pool
// belongs to the cluster, and an SQLite file to the machine, where it is. Running it again does the same again.
func (db *DB) Recover(ctx context.Context) (RecoverResult, error) {
	var result RecoverResult
	var names []string
	if err := db.list(ctx, &names, `SELECT name FROM pools ORDER BY name`); err != nil {
		return result, err
	}
	err := db.transact(ctx, func(t *tx) error {
		pools, err := t.lockWithPolicy(names)
		if err != nil {
			return err
		}
		result = RecoverResult{}
		now := at(t.now)
		for _, name := range names {
			if p := pools[name]; !p.Paused {
				reason := recoverReason + "; look at its nodes, then: moltenironctl pool resume " + name
				if err := t.one(`UPDATE pools SET paused = 1, paused_reason = ? WHERE name = ?`, reason, name); err != nil {
					return err
				}
				t.event(Event{Kind: eventPoolPaused, Pool: name, Detail: map[string]any{"reason": reason}})
			}
			result.Paused = append(result.Paused, name)
			t.touch(name)
		}
		var nodes []*nodeRow
		if err := t.list(&nodes, `SELECT `+nodeColumns+` FROM nodes n ORDER BY n.name`); err != nil {
			return err
		}
		var free, held []int64
		for _, n := range nodes {
			e := Event{Kind: eventRecovered, Pool: n.Pool, Node: n.Name, Generation: n.Generation + recoverJump}
			if n.AllocationID != nil {
				e.Allocation = *n.AllocationID
				held = append(held, n.ID)
				result.Held = append(result.Held, n.Name)
			} else {
				free = append(free, n.ID)
				result.Nodes = append(result.Nodes, n.Name)
			}
			t.event(e)
		}
		for ids := range slices.Chunk(free, maxIn) {
			reason := recoverReason + ": a build may still have it; look, then: moltenironctl ready NODE"
			if err := t.want(len(ids), `UPDATE nodes SET status = 'broken', reason = ?, status_since = ?, suspect = 1, suspect_since = ?,
				dirty_until = NULL, generation = generation + ? WHERE id IN (?) AND allocation_id IS NULL`, reason, now, now, recoverJump, ids); err != nil {
				return err
			}
		}
		for ids := range slices.Chunk(held, maxIn) {
			if err := t.want(len(ids), `UPDATE nodes SET generation = generation + ? WHERE id IN (?) AND allocation_id IS NOT NULL`, recoverJump, ids); err != nil {
				return err
			}
			if err := t.want(len(ids), `UPDATE allocation_nodes SET generation = generation + ? WHERE open_node IN (?)`, recoverJump, ids); err != nil {
				return err
			}
		}
		if err := t.jumpIDs(); err != nil {
			return err
		}
		if db.connector != nil { // it may have been another's
			if err := t.setMeta(metaCluster, db.connector.serverCluster()); err != nil {
				return err
			}
		}
		return t.setMeta(metaMachine, db.machineHere())
	})
	return result, err
}

// jumpIDs moves the counters of the ids that people and files name: a row with an explicit id moves an
// engine's counter, also when it is gone again.
func (t *tx) jumpIDs() error {
	var last struct {
		Allocation int64 `db:"allocation"`
		Event      int64 `db:"event"`
	}
	if err := t.Get(&last, `SELECT (SELECT COALESCE(MAX(id), 0) FROM allocations) AS allocation, (SELECT COALESCE(MAX(id), 0) FROM events) AS event`); err != nil {
		return err
	}
	id, token := last.Allocation+recoverJump, hashKey(newID())
	if err := t.one(`INSERT INTO allocations (id, token, owner, owner_key, slot, active_key, pool, request, priority, lease_s, job_key, state, queued_at,
		rank_at, ended_at, end_reason, end_detail, hold_reason, result, labels) VALUES `+values(1, 20),
		id, token, "", "", "", nil, "", "", 0, 0, noJob, Ended, at(t.now), at(t.now), at(t.now), "", "", "", "", ""); err != nil {
		return err
	}
	if err := t.one(`DELETE FROM allocations WHERE id = ? AND token = ?`, id, token); err != nil {
		return err
	}
	return t.one(`INSERT INTO events (id, at, operation, actor, kind, pool, node, owner, owner_key, slot, allocation_id, generation, detail)
		VALUES `+values(1, 13), last.Event+recoverJump, at(t.now), t.operation, t.db.actor, eventRecovered, "", "", "", "", "", 0, 0,
		toJSON(map[string]any{"jump": recoverJump}))
}
