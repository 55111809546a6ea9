package pool

import (
	"context"
	"fmt"
	"slices"
)

// ImportOptions say how an inventory becomes the pool's.
type ImportOptions struct {
	DryRun bool // tell the changes, make none
	Prune  bool // remove the nodes that the inventory does not name, of the pools that it names
}

// Change is what an import does to one node.
type Change struct {
	Node   string
	Kind   string   // add, change or remove
	Fields []string // that change, by name
}

// Import makes the pool's nodes those of an inventory: new ones are added, known ones (by name) changed
// where they differ, and with Prune the others removed; all or nothing. A spec without a password keeps
// the one that is stored. All faults of all specs, and all clashes with nodes that stay, are told at once
// (*Problems). It returns the changes by name.
func (db *DB) Import(ctx context.Context, specs []NodeSpec, o ImportOptions) ([]Change, error) {
	var wrong faults
	specs, faulty, err := normalizeAll(specs)
	_ = wrong.take(err) // it is that or nil
	pools, err := db.checkPools(ctx, specs)
	if err = wrong.take(err); err != nil {
		return nil, err
	}
	uids := make([]string, len(specs))
	for i := range specs {
		uids[i] = newID()
	}
	// A known node may lie in a pool that the inventory does not name: that pool is locked too.
	names := []string{""} // which is nobody's
	for _, s := range specs {
		if checkName("name", s.Name) == nil {
			names = append(names, s.Name)
		}
	}
	var changes []Change
	for {
		var present []string
		if err := db.list(ctx, &present, `SELECT DISTINCT pool FROM nodes WHERE name IN (?)`, names); err != nil {
			return nil, err
		}
		lock := slices.Concat(pools, present)
		if len(lock) == 0 {
			return nil, wrong.err()
		}
		moved := false
		err = db.transactUnique(ctx, func(t *tx) error {
			moved = false
			policies, err := t.lockWithPolicy(lock)
			if err != nil {
				return err
			}
			var known []*nodeRow
			if err := t.list(&known, `SELECT `+nodeColumns+`, n.bmc_password, a.owner, a.slot, a.expires_at FROM nodes n
				LEFT JOIN allocations a ON a.id = n.allocation_id WHERE n.name IN (?) OR n.pool IN (?)`, names, append(pools, "")); err != nil {
				return err
			}
			for _, n := range known {
				if policies[n.Pool] == nil {
					moved = true
					return nil
				}
			}
			if err := fillAddresses(t.ctx, t.conn, known); err != nil {
				return err
			}
			changes, err = t.importNodes(policies, known, specs, uids, faulty, wrong, o)
			if err != nil {
				return err
			}
			if o.DryRun {
				return errDryRun
			}
			return nil
		})
		if err != nil || !moved {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(changes, func(a, b Change) int {
		if a.Node < b.Node {
			return -1
		}
		return 1
	})
	return changes, nil
}

// checkPools gives the pools of the specs that are there, and tells of every spec whose pool is not; the lock
// would tell of the first pool alone.
func (db *DB) checkPools(ctx context.Context, specs []NodeSpec) (there []string, err error) {
	noName := func(pool string) bool { return checkName("pool", pool) != nil } // which is told already
	wanted := slices.DeleteFunc(poolsOf(specs), noName)
	if len(wanted) == 0 {
		return nil, nil
	}
	if err := db.list(ctx, &there, `SELECT name FROM pools WHERE name IN (?)`, wanted); err != nil {
		return nil, err
	}
	var problems []string
	for _, s := range specs {
		if !slices.Contains(there, s.Pool) && !noName(s.Pool) {
			problems = append(problems, fmt.Sprintf("node %s: no pool %q; make it with: moltenironctl pool add %s", s.Name, s.Pool, s.Pool))
		}
	}
	if len(problems) > 0 {
		return there, &Problems{Class: ErrNotFound, List: problems}
	}
	return there, nil
}

// errDryRun ends a transaction that only looked: it is rolled back, and transact returns nil.
var errDryRun = &Error{Class: errRepeated, Text: "dry run"}

// importNodes makes the changes, unless something is wrong: that which is known already, of the specs that are
// faulty and of others, or what is found here.
func (t *tx) importNodes(pools map[string]*poolRow, known []*nodeRow, specs []NodeSpec, uids []string,
	faulty map[int]bool, wrong faults, o ImportOptions) ([]Change, error) {
	byName := make(map[string]*nodeRow, len(known))
	for _, n := range known {
		byName[n.Name] = n
	}
	var changes []Change
	var fresh []NodeSpec
	var freshUIDs []string
	var changed []NodeSpec
	newPassword := map[string]bool{}
	named := map[string]bool{}
	var leaving []int64 // nodes that are not to have what they have now
	for i, s := range specs {
		named[s.Name] = true
		n := byName[s.Name]
		if faulty[i] {
			if n != nil {
				leaving = append(leaving, n.ID)
			}
			continue
		}
		if n == nil {
			fresh, freshUIDs = append(fresh, s), append(freshUIDs, uids[i])
			changes = append(changes, Change{Node: s.Name, Kind: "add"})
			continue
		}
		if err := wrong.take(n.checkMove(s.Pool)); err != nil {
			return nil, err
		}
		if s.BMC.Password.IsZero() {
			n.BMCPassword = nil // it stays as it is, so there is no need to be able to open it
		}
		old, err := n.node(t.db.key)
		if err != nil {
			return nil, err
		}
		fields := differences(old.Spec(), s)
		if !s.BMC.Password.IsZero() && s.BMC.Password.Reveal() != old.BMC.Password.Reveal() {
			fields = append(fields, "bmc_password")
			newPassword[s.Name] = true
		}
		if len(fields) > 0 {
			changes = append(changes, Change{Node: s.Name, Kind: "change", Fields: fields})
			changed = append(changed, s)
		}
	}
	if o.Prune {
		var gone []*nodeRow
		for _, n := range known {
			if !named[n.Name] {
				gone, leaving = append(gone, n), append(leaving, n.ID)
				changes = append(changes, Change{Node: n.Name, Kind: "remove"})
			}
		}
		if len(gone) > 0 {
			if err := wrong.take(t.removeNodes(gone)); err != nil {
				return nil, err
			}
		}
	}
	for _, s := range changed {
		leaving = append(leaving, byName[s.Name].ID)
	}
	if err := wrong.take(t.checkTaken(slices.Concat(fresh, changed), leaving)); err != nil {
		return nil, err
	}
	if err := wrong.err(); err != nil {
		return nil, err
	}
	if err := t.vacate(changed, byName); err != nil {
		return nil, err
	}
	for _, s := range changed {
		n := byName[s.Name]
		if newPassword[s.Name] {
			if err := t.storePassword(n, s.BMC.Password); err != nil {
				return nil, err
			}
		}
		if err := t.writeNode(n, s, newPassword[s.Name]); err != nil {
			return nil, err
		}
	}
	if len(fresh) > 0 {
		if err := t.insertNodes(fresh, freshUIDs); err != nil {
			return nil, err
		}
	}
	if len(changes) == 0 {
		return nil, nil
	}
	for _, p := range pools {
		if err := t.endImpossible(p); err != nil {
			return nil, err
		}
	}
	return changes, t.passAll(pools)
}

// vacate gives up the addresses that change, before any is taken: nodes may swap theirs.
func (t *tx) vacate(changed []NodeSpec, byName map[string]*nodeRow) error {
	var bmcs, macs, ips []int64
	for _, s := range changed {
		n := byName[s.Name]
		if n.BMCAddress != s.BMC.Address || n.BMCPort != s.BMC.Port || n.BMCSystemID != s.BMC.SystemID {
			bmcs = append(bmcs, n.ID)
		}
		if !slices.Equal(n.macs, s.MACs) {
			macs = append(macs, n.ID)
		}
		if !slices.Equal(n.ips, s.IPs) {
			ips = append(ips, n.ID)
		}
	}
	for _, list := range []struct {
		statement string
		ids       []int64
	}{
		{`UPDATE nodes SET bmc_address = uid WHERE id IN (?)`, bmcs}, // a uid is no address, and no other node's
		{`DELETE FROM node_macs WHERE node_id IN (?)`, macs},
		{`DELETE FROM node_ips WHERE node_id IN (?)`, ips},
	} {
		if len(list.ids) == 0 {
			continue
		}
		if _, err := t.exec(list.statement, list.ids); err != nil {
			return err
		}
	}
	return nil
}
