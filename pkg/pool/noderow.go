package pool

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/molteniron/molteniron/pkg/secret"
)

// nodeColumns are what a nodeRow scans, of nodes as n; the password is not among them.
const nodeColumns = `n.id, n.uid, n.name, n.pool, n.bmc_driver, n.bmc_address, n.bmc_port, n.bmc_system_id, n.bmc_verify, n.bmc_user,
	n.arch, n.cpus, n.ram_mb, n.disk_gb, n.properties, n.cost, n.status, n.reason, n.status_since, n.maintenance, n.maint_reason,
	n.suspect, n.generation, n.allocation_id`

// holderColumns are what a nodeRow scans of the allocation that holds the node, joined as a.
const holderColumns = "a.owner, a.slot, a.expires_at, a.hold_reason"

// nodeRow is a row of nodes, with what a list joins to it.
type nodeRow struct {
	ID           int64   `db:"id"`
	UID          string  `db:"uid"`
	Name         string  `db:"name"`
	Pool         string  `db:"pool"`
	BMCDriver    string  `db:"bmc_driver"`
	BMCAddress   string  `db:"bmc_address"`
	BMCPort      int     `db:"bmc_port"`
	BMCSystemID  string  `db:"bmc_system_id"`
	BMCVerify    string  `db:"bmc_verify"`
	BMCUser      string  `db:"bmc_user"`
	BMCPassword  *string `db:"bmc_password"`
	Arch         string  `db:"arch"`
	CPUs         int64   `db:"cpus"`
	RAMMB        int64   `db:"ram_mb"`
	DiskGB       int64   `db:"disk_gb"`
	Properties   string  `db:"properties"`
	Cost         int64   `db:"cost"`
	Status       Status  `db:"status"`
	Reason       string  `db:"reason"`
	StatusSince  stamp   `db:"status_since"`
	Maintenance  bool    `db:"maintenance"`
	MaintReason  string  `db:"maint_reason"`
	Suspect      bool    `db:"suspect"`
	Generation   int64   `db:"generation"`
	AllocationID *int64  `db:"allocation_id"`

	// Joined from allocations or allocation_nodes where a query does so.
	Owner         *string `db:"owner"`
	Slot          *string `db:"slot"`
	ExpiresAt     stamp   `db:"expires_at"`
	HoldReason    *string `db:"hold_reason"`
	ClaimedAt     stamp   `db:"claimed_at"`
	JobKey        *string `db:"job_key"`
	DirtyUntil    stamp   `db:"dirty_until"`
	InAllocation  int64   `db:"in_allocation"`
	Group         string  `db:"group_name"`
	GrantedGen    int64   `db:"granted_generation"`
	macs, ips     []string
	properties    map[string]string
	propertiesSet bool
}

// props decodes the properties once.
func (r *nodeRow) props() map[string]string {
	if !r.propertiesSet {
		r.propertiesSet = true
		// The database checked that it is JSON of ours; a hand-edited row simply has no properties.
		_ = json.Unmarshal([]byte(r.Properties), &r.properties)
	}
	return r.properties
}

// lookup answers a requirement: the values of a key, none when unset.
func (r *nodeRow) lookup(key string) []string {
	text := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	number := func(n int64) []string {
		if n == 0 {
			return nil
		}
		return []string{strconv.FormatInt(n, 10)}
	}
	switch key {
	case "name":
		return text(r.Name)
	case "bmc_driver":
		return text(r.BMCDriver)
	case "arch":
		return text(r.Arch)
	case "cpus":
		return number(r.CPUs)
	case "ram_mb":
		return number(r.RAMMB)
	case "disk_gb":
		return number(r.DiskGB)
	case "cost":
		return []string{strconv.FormatInt(r.Cost, 10)}
	case "mac":
		return r.macs
	case "ip":
		return r.ips
	}
	return text(r.props()[key])
}

// node makes the exported form; a password is opened with the key.
func (r *nodeRow) node(key *secret.Key) (Node, error) {
	n := Node{
		UID: r.UID, Name: r.Name, Pool: r.Pool,
		BMC: BMC{
			Driver: r.BMCDriver, Address: r.BMCAddress, Port: r.BMCPort,
			SystemID: r.BMCSystemID, Verify: r.BMCVerify, Username: r.BMCUser,
		},
		MACs: r.macs, Arch: r.Arch, CPUs: r.CPUs, RAMMB: r.RAMMB, DiskGB: r.DiskGB, IPs: r.ips,
		Properties: r.props(), Cost: r.Cost,
		Status: r.Status, Reason: r.Reason, Since: r.StatusSince.Time, Generation: r.Generation,
		Suspect: r.Suspect, Maintenance: r.Maintenance, MaintReason: r.MaintReason, ExpiresAt: r.ExpiresAt.Time,
	}
	if r.AllocationID != nil {
		n.Allocation = *r.AllocationID
	}
	if r.Owner != nil {
		n.Owner = *r.Owner
	}
	if r.Slot != nil {
		n.Slot = *r.Slot
	}
	if r.HoldReason != nil {
		n.HoldReason = *r.HoldReason
	}
	if r.BMCPassword != nil {
		var err error
		if n.BMC.Password, err = secret.Load(key, *r.BMCPassword, r.UID); err != nil {
			return n, fail(ErrInvalid, "the BMC password of node %s cannot be opened: %w", r.Name, err)
		}
	}
	return n, nil
}

// fillAddresses reads the MAC and deployment addresses of rows, in one query.
func fillAddresses(ctx context.Context, q sqlx.QueryerContext, rows []*nodeRow) error {
	if len(rows) == 0 {
		return nil
	}
	byID := make(map[int64]*nodeRow, len(rows))
	ids := make([]int64, len(rows))
	for i, r := range rows {
		byID[r.ID], ids[i] = r, r.ID
		r.macs, r.ips = nil, nil
	}
	var found []struct {
		Node     int64  `db:"node_id"`
		Kind     int    `db:"kind"`
		Position int    `db:"position"`
		Value    string `db:"value"`
	}
	query, args := `SELECT node_id, 0 AS kind, position, mac AS value FROM node_macs
		UNION ALL SELECT node_id, 1, position, ip FROM node_ips ORDER BY node_id, kind, position`, []any(nil)
	if len(ids) <= maxIn {
		var err error
		if query, args, err = sqlx.In(`SELECT node_id, 0 AS kind, position, mac AS value FROM node_macs WHERE node_id IN (?)
			UNION ALL SELECT node_id, 1, position, ip FROM node_ips WHERE node_id IN (?) ORDER BY node_id, kind, position`, ids, ids); err != nil {
			return err
		}
	}
	if err := sqlx.SelectContext(ctx, q, &found, query, args...); err != nil {
		return err
	}
	for _, f := range found {
		if r := byID[f.Node]; r != nil && f.Kind == 0 {
			r.macs = append(r.macs, f.Value)
		} else if r != nil {
			r.ips = append(r.ips, f.Value)
		}
	}
	return nil
}

// maxIn is how many values an IN list gets before the whole table is the better read. SQLite allows
// 32,766 variables a statement.
const maxIn = 2000

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
