package pool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/molteniron/molteniron/pkg/secret"
)

// NodeFilter selects nodes; its zero value selects all.
type NodeFilter struct {
	Names       []string // a name that does not exist is ErrNotFound
	Pool        string   // one that does not exist is ErrNotFound
	Statuses    []Status
	Owner       string
	HadBy       string // this owner has them or had them
	Credentials bool   // with BMC passwords
}

// list runs one reading statement outside any transaction, repeated while the database does not answer.
func (db *DB) list(ctx context.Context, dest any, query string, args ...any) error {
	query, args, err := sqlx.In(query, args...)
	if err != nil {
		return err
	}
	return db.retry(ctx, defaultPatience, func(bool) error {
		return db.sql.SelectContext(ctx, dest, query, args...)
	})
}

// get is list for one row; ErrNoRows of database/sql when there is none.
func (db *DB) get(ctx context.Context, dest any, query string, args ...any) error {
	return db.getBy(ctx, db.sql, dest, query, args...)
}

func (db *DB) getBy(ctx context.Context, by *sqlx.DB, dest any, query string, args ...any) error {
	missing := false
	err := db.retry(ctx, defaultPatience, func(bool) error {
		err := getOne(ctx, by, dest, query, args...)
		missing = errors.Is(err, sql.ErrNoRows)
		if missing {
			return nil
		}
		return err
	})
	if err == nil && missing {
		return sql.ErrNoRows
	}
	return err
}

// getOne reads one row to the end of the answer. The driver's own way, which looks for that end only when it closes
// the answer, does so without the context: a line that falls silent there would keep its caller for longer than
// that allows.
func getOne(ctx context.Context, by sqlx.QueryerContext, dest any, query string, args ...any) error {
	rows := reflect.New(reflect.SliceOf(reflect.TypeOf(dest).Elem()))
	if err := sqlx.SelectContext(ctx, by, rows.Interface(), query, args...); err != nil {
		return err
	}
	if rows.Elem().Len() == 0 {
		return sql.ErrNoRows
	}
	reflect.ValueOf(dest).Elem().Set(rows.Elem().Index(0))
	return nil
}

// Nodes lists nodes by pool and name, with who holds them.
func (db *DB) Nodes(ctx context.Context, f NodeFilter) ([]Node, error) {
	where, args := []string{"1 = 1"}, []any{}
	if len(f.Names) > 0 {
		where, args = append(where, "n.name IN (?)"), append(args, f.Names)
	}
	if f.Pool != "" {
		where, args = append(where, "n.pool = ?"), append(args, f.Pool)
	}
	if len(f.Statuses) > 0 {
		where, args = append(where, "n.status IN (?)"), append(args, f.Statuses)
	}
	if f.Owner != "" {
		where, args = append(where, "a.owner_key = ?"), append(args, hashKey(f.Owner))
	}
	if f.HadBy != "" {
		where = append(where, "n.id IN (SELECT an.node_id FROM allocation_nodes an JOIN allocations o ON o.id = an.allocation_id WHERE o.owner_key = ?)")
		args = append(args, hashKey(f.HadBy))
	}
	columns := nodeColumns + ", " + holderColumns
	if f.Credentials {
		columns += ", n.bmc_password"
	}
	var rows []*nodeRow
	if err := db.list(ctx, &rows, `SELECT `+columns+` FROM nodes n LEFT JOIN allocations a ON a.id = n.allocation_id
		WHERE `+strings.Join(where, " AND ")+` ORDER BY n.pool, n.name`, args...); err != nil {
		return nil, err
	}
	if err := db.retry(ctx, defaultPatience, func(bool) error { return fillAddresses(ctx, db.sql, rows) }); err != nil {
		return nil, err
	}
	nodes := make([]Node, len(rows))
	for i, r := range rows {
		var err error
		if nodes[i], err = r.node(db.key); err != nil {
			return nil, err
		}
	}
	for _, name := range f.Names {
		if !slices.ContainsFunc(nodes, func(n Node) bool { return n.Name == name }) && len(f.Statuses) == 0 && f.Pool == "" && f.Owner == "" {
			return nil, noSuchNode(name)
		}
	}
	if f.Pool != "" && len(nodes) == 0 {
		if _, err := db.Pool(ctx, f.Pool); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// Node reads one node, without its password.
func (db *DB) Node(ctx context.Context, name string) (Node, error) {
	return db.oneNode(ctx, NodeFilter{Names: []string{name}})
}

// NodeWithCredentials reads one node with its BMC password.
func (db *DB) NodeWithCredentials(ctx context.Context, name string) (Node, error) {
	return db.oneNode(ctx, NodeFilter{Names: []string{name}, Credentials: true})
}

func (db *DB) oneNode(ctx context.Context, f NodeFilter) (Node, error) {
	nodes, err := db.Nodes(ctx, f)
	if err != nil {
		return Node{}, err
	}
	return nodes[0], nil
}

func noSuchNode(name string) error {
	return fail(ErrNotFound, "no node %q; see moltenironctl status", name)
}

func noSuchPool(name string) error {
	return fail(ErrNotFound, "no pool %q; see moltenironctl pool list", name)
}

// AddNodes adds nodes, all or none; new nodes are ready and handed out at once to whoever waits. All
// faults of all specs are told at once (*Problems): ErrInvalid for values that are wrong, ErrConflict for
// a name, BMC endpoint, MAC or deployment address that is taken; an unknown pool is ErrNotFound.
func (db *DB) AddNodes(ctx context.Context, specs []NodeSpec) error {
	specs, _, err := normalizeAll(specs)
	if err != nil || len(specs) == 0 {
		return err
	}
	uids := make([]string, len(specs))
	for i := range specs {
		uids[i] = newID()
	}
	return db.transactUnique(ctx, func(t *tx) error {
		pools, err := t.lockWithPolicy(poolsOf(specs))
		if err != nil {
			return err
		}
		if err := t.checkTaken(specs, nil); err != nil {
			return err
		}
		if err := t.insertNodes(specs, uids); err != nil {
			return err
		}
		return t.passAll(pools)
	})
}

// CheckNodes tells what is wrong with specs in themselves and among each other, as AddNodes and Import do
// (*Problems, ErrInvalid), without a database.
func CheckNodes(specs []NodeSpec) error {
	_, _, err := normalizeAll(specs)
	return err
}

// normalizeAll checks specs on their own and among each other. What is wrong with those that are faulty, by
// place, stays in them as it was said.
func normalizeAll(specs []NodeSpec) (out []NodeSpec, faulty map[int]bool, err error) {
	out, faulty = make([]NodeSpec, len(specs)), map[int]bool{}
	var problems []string
	seen := map[string]string{}
	for i, spec := range specs {
		s, bad := spec.normalize()
		out[i] = s
		for _, key := range s.uniqueKeys() {
			if first, taken := seen[key]; taken {
				bad = append(bad, fmt.Sprintf("%s is given to node %s too", key, first))
			}
			seen[key] = s.Name
		}
		for _, b := range bad {
			problems, faulty[i] = append(problems, fmt.Sprintf("node %s: %s", s.Name, b)), true
		}
	}
	if len(problems) > 0 {
		return out, faulty, &Problems{Class: ErrInvalid, List: problems}
	}
	return out, nil, nil
}

// uniqueKeys are what no two nodes may share, in words.
func (s NodeSpec) uniqueKeys() []string {
	keys := []string{"name " + s.Name, s.endpoint()}
	for _, m := range s.MACs {
		keys = append(keys, "mac "+m)
	}
	for _, ip := range s.IPs {
		keys = append(keys, "ip "+ip)
	}
	return keys
}

func (s NodeSpec) endpoint() string {
	e := fmt.Sprintf("bmc %s port %d", s.BMC.Address, s.BMC.Port)
	if s.BMC.SystemID != "" {
		e += " system " + s.BMC.SystemID
	}
	return e
}

func poolsOf(specs []NodeSpec) []string {
	var pools []string
	for _, s := range specs {
		if !slices.Contains(pools, s.Pool) {
			pools = append(pools, s.Pool)
		}
	}
	return pools
}

// lockWithPolicy locks pools and reads their policies, and what else is to be read.
func (t *tx) lockWithPolicy(names []string, further ...read) (map[string]*poolRow, error) {
	var rows []*poolRow
	if err := t.lock(names, append([]read{readPolicies(&rows, names)}, further...)...); err != nil {
		return nil, err
	}
	return policies(rows, names)
}

// passAll runs a full pass of each pool: nodes are new or have changed.
func (t *tx) passAll(pools map[string]*poolRow) error {
	for _, p := range pools {
		t.touch(p.Name)
		if err := t.pass(p, nil, true); err != nil {
			return err
		}
	}
	return nil
}

// checkTaken tells every clash of specs with the nodes that exist, except with the nodes of the given
// ids. The unique keys of the schema refuse them too; this says which and with whom.
func (t *tx) checkTaken(specs []NodeSpec, except []int64) error {
	if len(specs) == 0 {
		return nil
	}
	var names, addresses, macs, ips []string
	for _, s := range specs {
		names = append(names, s.Name)
		addresses = append(addresses, s.BMC.Address)
		macs = append(macs, s.MACs...)
		ips = append(ips, s.IPs...)
	}
	taken := map[string]string{}
	var rows []*nodeRow
	if err := t.list(&rows, `SELECT `+nodeColumns+` FROM nodes n WHERE n.name IN (?) OR n.bmc_address IN (?)`, names, addresses); err != nil {
		return err
	}
	for _, r := range rows {
		if slices.Contains(except, r.ID) {
			continue
		}
		s := NodeSpec{Name: r.Name, BMC: BMC{Address: r.BMCAddress, Port: r.BMCPort, SystemID: r.BMCSystemID}}
		for _, key := range s.uniqueKeys() {
			taken[key] = r.Name
		}
	}
	for _, list := range []struct {
		what, query string
		values      []string
	}{
		{"mac ", `SELECT m.mac AS value, n.name, n.id FROM node_macs m JOIN nodes n ON n.id = m.node_id WHERE m.mac IN (?)`, macs},
		{"ip ", `SELECT i.ip AS value, n.name, n.id FROM node_ips i JOIN nodes n ON n.id = i.node_id WHERE i.ip IN (?)`, ips},
	} {
		if len(list.values) == 0 {
			continue
		}
		var found []struct {
			Value string `db:"value"`
			Name  string `db:"name"`
			ID    int64  `db:"id"`
		}
		if err := t.list(&found, list.query, list.values); err != nil {
			return err
		}
		for _, f := range found {
			if !slices.Contains(except, f.ID) {
				taken[list.what+f.Value] = f.Name
			}
		}
	}
	var problems []string
	for _, s := range specs {
		for _, key := range s.uniqueKeys() {
			switch holder, ok := taken[key]; {
			case !ok:
			case key == "name "+s.Name:
				problems = append(problems, fmt.Sprintf("node %s: the name is taken; see moltenironctl show %s", s.Name, s.Name))
			default:
				problems = append(problems, fmt.Sprintf("node %s: %s is taken by node %s", s.Name, key, holder))
			}
		}
	}
	if len(problems) > 0 {
		return &Problems{Class: ErrConflict, List: problems}
	}
	return nil
}

// insertBatch bounds the variables of one INSERT (SQLite allows 32,766).
const insertBatch = 1000

func (t *tx) insertNodes(specs []NodeSpec, uids []string) error {
	const columns = 29
	now := at(t.now)
	ids := make(map[string]int64, len(specs))
	for start := 0; start < len(specs); start += insertBatch {
		end := min(start+insertBatch, len(specs))
		var args []any
		for i := start; i < end; i++ {
			s := specs[i]
			password, err := secret.Store(t.db.key, s.BMC.Password, uids[i])
			if err != nil {
				return fail(ErrInvalid, "node %s: %w", s.Name, err)
			}
			args = append(args, uids[i], s.Name, s.Pool, s.BMC.Driver, s.BMC.Address, s.BMC.Port, s.BMC.SystemID, s.BMC.Verify,
				s.BMC.Username, password, s.Arch, s.CPUs, s.RAMMB, s.DiskGB, encodeProperties(s.Properties), s.Cost,
				Ready, "", now, 0, "", now, 0, 0, 0, "", 0, nil, now)
			t.event(Event{Kind: eventNodeAdded, Pool: s.Pool, Node: s.Name})
		}
		if _, err := t.exec(`INSERT INTO nodes (uid, name, pool, bmc_driver, bmc_address, bmc_port, bmc_system_id, bmc_verify,
			bmc_user, bmc_password, arch, cpus, ram_mb, disk_gb, properties, cost, status, reason, status_since, maintenance, maint_reason,
			ready_since, suspect, clean_attempts, strikes, check_result, generation, allocation_id, created_at) VALUES `+
			values(end-start, columns), args...); err != nil {
			return err
		}
		var rows []struct {
			ID  int64  `db:"id"`
			UID string `db:"uid"`
		}
		if err := t.list(&rows, `SELECT id, uid FROM nodes WHERE uid IN (?)`, uids[start:end]); err != nil {
			return err
		}
		for _, r := range rows {
			ids[r.UID] = r.ID
		}
	}
	var macs, ips []any
	for i, s := range specs {
		macs = appendList(macs, ids[uids[i]], s.MACs)
		ips = appendList(ips, ids[uids[i]], s.IPs)
	}
	return t.insertAddresses(macs, ips)
}

func encodeProperties(p map[string]string) string {
	if len(p) == 0 {
		return "{}"
	}
	return toJSON(p)
}

func appendList(rows []any, node int64, list []string) []any {
	for i, v := range list {
		rows = append(rows, node, i, v)
	}
	return rows
}

func (t *tx) insertAddresses(macs, ips []any) error {
	for _, list := range []struct {
		into string
		rows []any
	}{{"node_macs (node_id, position, mac)", macs}, {"node_ips (node_id, position, ip)", ips}} {
		for batch := range slices.Chunk(list.rows, 3*insertBatch) {
			if _, err := t.exec(`INSERT INTO `+list.into+` VALUES `+values(len(batch)/3, 3), batch...); err != nil {
				return err
			}
		}
	}
	return nil
}

// transactNode is transactNodes for one node.
func (db *DB) transactNode(ctx context.Context, name string, fn func(t *tx, pools map[string]*poolRow, n *nodeRow) error) error {
	return db.transactNodes(ctx, []string{name}, nil, fn)
}

// transactNodes runs fn for each of the named nodes in one transaction, which has locked the pools of them all
// (and others); the node is read under the lock. The pools are looked up before, because the lock must come
// first; when a node moved meanwhile, all is done anew.
func (db *DB) transactNodes(ctx context.Context, names, others []string, fn func(t *tx, pools map[string]*poolRow, n *nodeRow) error) error {
	for {
		var pools []string
		if err := db.list(ctx, &pools, `SELECT DISTINCT pool FROM nodes WHERE name IN (?)`, names); err != nil {
			return err
		}
		if len(pools) == 0 {
			return noSuchNode(names[0])
		}
		err := db.transactUnique(ctx, func(t *tx) error {
			locked, err := t.lockWithPolicy(slices.Concat(pools, others))
			if err != nil {
				return err
			}
			for _, name := range names {
				n, err := t.nodeByName(name)
				if err != nil {
					return err
				}
				if locked[n.Pool] == nil {
					return errElsewhere
				}
				if err := fn(t, locked, n); err != nil {
					return err
				}
			}
			return nil
		})
		if !errors.Is(err, errElsewhere) {
			return err
		}
	}
}

// errElsewhere ends a transaction that finds a node in a pool that it has not locked.
var errElsewhere = &Error{Class: ErrConflict, Text: "a node was moved to another pool meanwhile"}

func (t *tx) nodeByName(name string) (*nodeRow, error) {
	var rows []*nodeRow
	if err := t.list(&rows, `SELECT `+nodeColumns+`, `+holderColumns+` FROM nodes n
		LEFT JOIN allocations a ON a.id = n.allocation_id WHERE n.name = ?`, name); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, noSuchNode(name)
	}
	return rows[0], fillAddresses(t.ctx, t.conn, rows)
}

// RemoveNode removes a node; its history stays. A node that is held is ErrConflict: put it into
// maintenance, so that it drains. Requests that only this node could have met end as impossible.
func (db *DB) RemoveNode(ctx context.Context, name string) error {
	return db.transactNode(ctx, name, func(t *tx, pools map[string]*poolRow, n *nodeRow) error {
		if err := t.removeNodes([]*nodeRow{n}); err != nil {
			return err
		}
		if err := t.endImpossible(pools[n.Pool]); err != nil {
			return err
		}
		return t.passAll(pools) // what was set aside for a request that the node would have filled is free
	})
}

func (t *tx) removeNodes(nodes []*nodeRow) error {
	ids := make([]int64, len(nodes))
	for i, n := range nodes {
		if n.Status == Allocated {
			return fail(ErrConflict, "node %s is held by %q; let it drain with: moltenironctl maintenance on %s --reason TEXT", n.Name, *n.Owner, n.Name)
		}
		ids[i] = n.ID
		t.event(Event{Kind: eventNodeRemoved, Pool: n.Pool, Node: n.Name})
		t.touch(n.Pool)
	}
	for _, table := range []string{"node_macs", "node_ips"} {
		if _, err := t.exec(`DELETE FROM `+table+` WHERE node_id IN (?)`, ids); err != nil {
			return err
		}
	}
	return t.want(len(ids), `DELETE FROM nodes WHERE id IN (?) AND status <> 'allocated'`, ids)
}

// endImpossible ends the waiting requests of a locked pool that no node of it can meet any more, or that
// are for more than is one job's share of those that are left.
func (t *tx) endImpossible(p *poolRow) error {
	var queue []queueRow
	if err := t.list(&queue, `SELECT id, owner, slot, request, job_key FROM allocations WHERE pool = ? AND state = 'waiting'`, p.Name); err != nil || len(queue) == 0 {
		return err
	}
	shares, err := t.jobShares(p)
	if err != nil {
		return err
	}
	all := t.allNodes(p.Name)
	missing := map[string]string{} // what the pool would need, by request; "" when it is possible
	var gone []ending
	for _, q := range queue {
		groups, unreadable := decodeGroups(q.Request)
		detail, known := missing[q.Request]
		if !known {
			if unreadable != nil {
				detail = "it cannot be read"
			} else if could, err := all.couldFill(groups); err != nil {
				return err
			} else if !could {
				if detail, err = t.needs(p.Name, groups); err != nil {
					return err
				}
			}
			missing[q.Request] = detail
		}
		if detail == "" && !shares.ever(q.JobKey, countNodes(groups)) {
			detail = shares.most()
		}
		if detail != "" {
			gone = append(gone, ending{ID: q.ID, Owner: q.Owner, Slot: q.Slot, State: Waiting, Reason: EndImpossible, Detail: detail})
		}
	}
	_, err = t.end(p, gone)
	return err
}
