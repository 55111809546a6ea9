package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/molteniron/molteniron/pkg/secret"
)

// FieldChange sets a field or property to a value; the empty value unsets an optional one.
type FieldChange struct{ Field, Value string }

// apply makes the changes in a spec; the error names the field and what it takes.
func (s *NodeSpec) apply(changes []FieldChange) error {
	var problems []string
	for _, c := range changes {
		if err := s.applyOne(c); err != nil {
			problems = append(problems, fmt.Sprintf("node %s: %s", s.Name, err))
		}
	}
	if len(problems) > 0 {
		return &Problems{Class: ErrInvalid, List: problems}
	}
	return nil
}

func (s *NodeSpec) applyOne(c FieldChange) error {
	f, isField := fieldByName(c.Field)
	switch {
	case !isField && !keyPattern.MatchString(c.Field):
		return fmt.Errorf("%q is neither a field nor a property name; fields are %s", c.Field, fieldNames())
	case !isField:
		s.Properties = maps.Clone(s.Properties)
		if c.Value == "" {
			delete(s.Properties, c.Field)
			return nil
		}
		if s.Properties == nil {
			s.Properties = map[string]string{}
		}
		s.Properties[c.Field] = c.Value
		return nil
	case c.Field == "bmc_password":
		return errors.New("bmc_password is set from a file or standard input only; see moltenironctl set --help")
	case !f.Settable:
		return fmt.Errorf("%s cannot be set by hand%s", c.Field, setHint[c.Field])
	}
	number := func(to *int64) error {
		if c.Value == "" {
			*to = 0
			return nil
		}
		n, err := strconv.ParseInt(c.Value, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%s %q is no whole number of 0 or more", c.Field, c.Value)
		}
		*to = n
		return nil
	}
	switch c.Field {
	case "name":
		s.Name = c.Value
	case "pool":
		s.Pool = c.Value
	case "bmc_driver":
		s.BMC.Driver = c.Value
	case "bmc_address":
		s.BMC.Address = c.Value
	case "bmc_port":
		var port int64
		if err := number(&port); err != nil {
			return err
		}
		if c.Value != "" && (port < 1 || port > 65535) {
			return fmt.Errorf("bmc_port %d is not between 1 and 65535", port)
		}
		s.BMC.Port = int(port)
	case "bmc_system_id":
		s.BMC.SystemID = c.Value
	case "bmc_verify":
		s.BMC.Verify = c.Value
	case "bmc_user":
		s.BMC.Username = c.Value
	case "mac":
		s.MACs = strings.Fields(strings.ReplaceAll(c.Value, ",", " "))
	case "ip":
		s.IPs = strings.Fields(strings.ReplaceAll(c.Value, ",", " "))
	case "arch":
		s.Arch = c.Value
	case "cpus":
		return number(&s.CPUs)
	case "ram_mb":
		return number(&s.RAMMB)
	case "disk_gb":
		return number(&s.DiskGB)
	case "cost":
		return number(&s.Cost)
	}
	return nil
}

// setHint says what to type instead for fields that the product itself decides.
var setHint = map[string]string{
	"status":      "; use moltenironctl ready, clean or maintenance",
	"maintenance": "; use moltenironctl maintenance on|off",
	"owner":       "; use moltenironctl allocate or release",
	"suspect":     "; use moltenironctl ready",
	"expires_at":  "; use moltenironctl extend",
	"hold_reason": "; use moltenironctl hold",
}

// NodeChanges are what SetNodes changes of each node.
type NodeChanges struct {
	Fields   []FieldChange
	Password *secret.Text // of the BMC, sealed where a key is configured; nil leaves it as it is
	Owner    string       // who must hold the nodes; "" is whoever
}

// SetNode is SetNodes for fields of one node.
func (db *DB) SetNode(ctx context.Context, name string, changes []FieldChange) (Node, error) {
	nodes, err := db.SetNodes(ctx, []string{name}, NodeChanges{Fields: changes})
	if err != nil {
		return Node{}, err
	}
	return nodes[0], nil
}

// SetNodes changes fields, properties and the password of nodes, all or none, and serves who waits for what
// became true. It returns them as they are then, by pool and name. The pool of a held node cannot change
// (ErrConflict: drain it first). Values that are wrong are ErrInvalid, all of a node told at once; what is taken
// is ErrConflict, and a node that NodeChanges.Owner has no more, which names the present holder.
func (db *DB) SetNodes(ctx context.Context, names []string, c NodeChanges) ([]Node, error) {
	if c.Password != nil {
		if err := checkPassword(*c.Password); err != nil {
			return nil, fail(ErrInvalid, "node %s: %w", strings.Join(names, ", "), err)
		}
	}
	var others []string
	for _, f := range c.Fields {
		if f.Field == "pool" && f.Value != "" {
			others = append(others, f.Value)
		}
	}
	after := map[string]string{} // names, by those before
	err := db.transactNodes(ctx, names, others, func(t *tx, pools map[string]*poolRow, n *nodeRow) (err error) {
		after[n.Name], err = t.setNode(pools, n, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	return db.Nodes(ctx, NodeFilter{Names: slices.Collect(maps.Values(after))})
}

// setNode makes the changes and gives the name that the node has then.
func (t *tx) setNode(pools map[string]*poolRow, n *nodeRow, c NodeChanges) (name string, err error) {
	if err := n.checkHeld(c.Owner); err != nil {
		return "", err
	}
	if c.Password != nil {
		t.event(Event{Kind: eventNodeSet, Pool: n.Pool, Node: n.Name, Detail: map[string]any{"fields": []string{"bmc_password"}}})
		if err := t.storePassword(n, *c.Password); err != nil {
			return "", err
		}
	}
	if len(c.Fields) == 0 {
		return n.Name, nil
	}
	old, err := n.node(nil)
	if err != nil {
		return "", err
	}
	spec := old.Spec()
	var wrong faults
	_ = wrong.take(spec.apply(c.Fields)) // it is that or nil
	if spec.Name == "" || spec.Pool == "" {
		return "", fail(ErrInvalid, "node %s: name and pool cannot be empty", n.Name)
	}
	if spec.BMC.Driver != old.BMC.Driver && spec.BMC.Port == old.BMC.Port {
		spec.BMC.Port = 0 // the new driver's own
	}
	specs, _, err := normalizeAll([]NodeSpec{spec})
	_ = wrong.take(err)
	if err := wrong.err(); err != nil {
		return "", err
	}
	return specs[0].Name, t.changeNode(pools, n, specs[0])
}

// checkHeld refuses an owner, unless it is "", who has the node no more.
func (r *nodeRow) checkHeld(owner string) error {
	if owner != "" && (r.Owner == nil || *r.Owner != owner) {
		return fail(ErrConflict, "node %s is not held by %q; %s", r.Name, owner, r.holder())
	}
	return nil
}

// checkMove refuses another pool for a node that is held.
func (r *nodeRow) checkMove(pool string) error {
	if pool == r.Pool || r.Status != Allocated {
		return nil
	}
	return fail(ErrConflict, "node %s is held by %q, so it cannot change its pool; let it drain with: moltenironctl maintenance on %s --reason TEXT", r.Name, *r.Owner, r.Name)
}

// holder says in words who has a node.
func (r *nodeRow) holder() string {
	if r.Owner == nil {
		return fmt.Sprintf("it is %s", r.Status)
	}
	return fmt.Sprintf("it is held by %q until %s", *r.Owner, formatTime(r.ExpiresAt.Time))
}

// changeNode makes a node what its new spec says (the password apart) and runs the passes that follow.
func (t *tx) changeNode(pools map[string]*poolRow, n *nodeRow, spec NodeSpec) error {
	if err := t.checkTaken([]NodeSpec{spec}, []int64{n.ID}); err != nil {
		return err
	}
	if err := t.writeNode(n, spec, false); err != nil {
		return err
	}
	if err := t.endImpossible(pools[n.Pool]); err != nil {
		return err
	}
	return t.passAll(pools) // the pool that the node left too: what was set aside there may be free
}

// writeNode writes what differs between a node and its new spec, with the event that tells it; whether
// the password was stored beside it is only told.
func (t *tx) writeNode(n *nodeRow, spec NodeSpec, password bool) error {
	old, err := n.node(t.db.key)
	if err != nil {
		return err
	}
	changed := differences(old.Spec(), spec)
	if err := n.checkMove(spec.Pool); err != nil {
		return err
	}
	if len(changed) == 0 && !password {
		return nil
	}
	if err := t.one(`UPDATE nodes SET name = ?, pool = ?, bmc_driver = ?, bmc_address = ?, bmc_port = ?, bmc_system_id = ?, bmc_verify = ?,
		bmc_user = ?, arch = ?, cpus = ?, ram_mb = ?, disk_gb = ?, properties = ?, cost = ? WHERE id = ?`,
		spec.Name, spec.Pool, spec.BMC.Driver, spec.BMC.Address, spec.BMC.Port, spec.BMC.SystemID, spec.BMC.Verify, spec.BMC.Username,
		spec.Arch, spec.CPUs, spec.RAMMB, spec.DiskGB, encodeProperties(spec.Properties), spec.Cost, n.ID); err != nil {
		return err
	}
	var macs, ips []any
	if !slices.Equal(old.MACs, spec.MACs) {
		if _, err := t.exec(`DELETE FROM node_macs WHERE node_id = ?`, n.ID); err != nil {
			return err
		}
		macs = appendList(nil, n.ID, spec.MACs)
	}
	if !slices.Equal(old.IPs, spec.IPs) {
		if _, err := t.exec(`DELETE FROM node_ips WHERE node_id = ?`, n.ID); err != nil {
			return err
		}
		ips = appendList(nil, n.ID, spec.IPs)
	}
	if err := t.insertAddresses(macs, ips); err != nil {
		return err
	}
	if password {
		changed = append(changed, "bmc_password")
	}
	detail := map[string]any{"fields": changed}
	if spec.Name != n.Name {
		detail["renamed_from"] = n.Name
		if n.Status == Allocated { // who holds it is told its present name
			if err := t.one(`UPDATE allocation_nodes SET node = ? WHERE open_node = ?`, spec.Name, n.ID); err != nil {
				return err
			}
		}
	}
	t.event(Event{Kind: eventNodeSet, Pool: spec.Pool, Node: spec.Name, Detail: detail})
	t.touch(n.Pool)
	if spec.Pool != n.Pool && n.Status == Dirty {
		t.locked[spec.Pool].NextDue = at(t.now) // its new pool has to know of the time that it has
	}
	return nil
}

// differences names the fields in which two specs differ, the password apart.
func differences(a, b NodeSpec) []string {
	var names []string
	note := func(name string, differs bool) {
		if differs {
			names = append(names, name)
		}
	}
	note("name", a.Name != b.Name)
	note("pool", a.Pool != b.Pool)
	note("bmc_driver", a.BMC.Driver != b.BMC.Driver)
	note("bmc_address", a.BMC.Address != b.BMC.Address)
	note("bmc_port", a.BMC.Port != b.BMC.Port)
	note("bmc_system_id", a.BMC.SystemID != b.BMC.SystemID)
	note("bmc_verify", a.BMC.Verify != b.BMC.Verify)
	note("bmc_user", a.BMC.Username != b.BMC.Username)
	note("mac", !slices.Equal(a.MACs, b.MACs))
	note("arch", a.Arch != b.Arch)
	note("cpus", a.CPUs != b.CPUs)
	note("ram_mb", a.RAMMB != b.RAMMB)
	note("disk_gb", a.DiskGB != b.DiskGB)
	note("ip", !slices.Equal(a.IPs, b.IPs))
	note("cost", a.Cost != b.Cost)
	keys := slices.Collect(maps.Keys(a.Properties))
	for k := range b.Properties {
		if _, ok := a.Properties[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		note(k, a.Properties[k] != b.Properties[k])
	}
	return names
}

// SetPassword is SetNodes for the password of one node.
func (db *DB) SetPassword(ctx context.Context, name string, password secret.Text) error {
	_, err := db.SetNodes(ctx, []string{name}, NodeChanges{Password: &password})
	return err
}

func (t *tx) storePassword(n *nodeRow, password secret.Text) error {
	stored, err := secret.Store(t.db.key, password, n.UID)
	if err != nil {
		return fail(ErrInvalid, "node %s: %w", n.Name, err)
	}
	t.touch(n.Pool)
	return t.one(`UPDATE nodes SET bmc_password = ? WHERE id = ?`, stored, n.ID)
}

// SetMaintenance takes a node out of service for a reason, or puts it back. A held node drains: its
// build keeps it, and it is handed to nobody after. Saying it again changes nothing but the reason.
func (db *DB) SetMaintenance(ctx context.Context, name string, on bool, reason string) (Node, error) {
	if on && reason == "" {
		return Node{}, fail(ErrInvalid, "maintenance of node %s wants a reason; add --reason TEXT", name)
	}
	if err := checkPlain("the reason", reason, maxReason); err != nil {
		return Node{}, fail(ErrInvalid, "node %s: %w", name, err)
	}
	return db.changeStatus(ctx, name, func(t *tx, p *poolRow, n *nodeRow) error {
		if n.Maintenance == on && (!on || n.MaintReason == reason) {
			return nil
		}
		kind, stored := eventMaintOn, reason
		var detail map[string]any
		if !on {
			kind, stored = eventMaintOff, ""
		}
		if reason != "" {
			detail = map[string]any{"reason": reason}
		}
		t.event(Event{Kind: kind, Pool: n.Pool, Node: n.Name, Detail: detail})
		t.touch(n.Pool)
		if err := t.one(`UPDATE nodes SET maintenance = ?, maint_reason = ? WHERE id = ?`, on, stored, n.ID); err != nil {
			return err
		}
		return t.pass(p, nil, true) // with one node less in service, what was set aside may be free
	})
}

// MarkReady puts a dirty, broken or suspect node back into service and hands it to who waits. A node
// that is held is ErrConflict.
func (db *DB) MarkReady(ctx context.Context, name string) (Node, error) {
	return db.changeStatus(ctx, name, func(t *tx, p *poolRow, n *nodeRow) error {
		if n.Status == Allocated {
			return fail(ErrConflict, "node %s cannot become ready: %s; release it first with: moltenironctl release --node %s --force --reason TEXT", n.Name, n.holder(), n.Name)
		}
		if n.Status == Ready && !n.Suspect {
			return nil
		}
		t.event(Event{Kind: eventReady, Pool: n.Pool, Node: n.Name, Detail: map[string]any{"from": n.Status}})
		t.touch(n.Pool)
		if err := t.one(`UPDATE nodes SET status = 'ready', reason = '', status_since = ?, ready_since = ?, suspect = 0, suspect_since = NULL,
			dirty_until = NULL, clean_attempts = 0, strikes = 0 WHERE id = ? AND status = ?`, at(t.now), at(t.now), n.ID, n.Status); err != nil {
			return err
		}
		return t.pass(p, []int64{n.ID}, false)
	})
}

// MarkDirty asks for a node to be cleaned before anybody gets it. A node that is held is ErrConflict.
func (db *DB) MarkDirty(ctx context.Context, name, reason string) (Node, error) {
	if err := checkPlain("the reason", reason, maxReason); err != nil {
		return Node{}, fail(ErrInvalid, "node %s: %w", name, err)
	}
	return db.changeStatus(ctx, name, func(t *tx, p *poolRow, n *nodeRow) error {
		if n.Status == Allocated {
			return fail(ErrConflict, "node %s cannot be cleaned now: %s", n.Name, n.holder())
		}
		until := at(t.now.Add(seconds(p.CleanLimitS)))
		t.event(Event{Kind: eventDirty, Pool: n.Pool, Node: n.Name, Detail: map[string]any{"reason": reason}})
		t.touch(n.Pool)
		t.dueBy(p.Name, until.Time)
		return t.one(`UPDATE nodes SET status = 'dirty', reason = ?, status_since = ?, dirty_until = ?, clean_attempts = 0 WHERE id = ? AND status = ?`,
			reason, at(t.now), until, n.ID, n.Status)
	})
}

func (db *DB) changeStatus(ctx context.Context, name string, fn func(t *tx, p *poolRow, n *nodeRow) error) (Node, error) {
	err := db.transactNode(ctx, name, func(t *tx, pools map[string]*poolRow, n *nodeRow) error { return fn(t, pools[n.Pool], n) })
	if err != nil {
		return Node{}, err
	}
	return db.Node(ctx, name)
}
