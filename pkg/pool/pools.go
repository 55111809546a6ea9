package pool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// PolicyFields are the fields of a pool's policy that SetPool knows.
var PolicyFields = []Field{
	{Name: "lease", Kind: KindDuration, Settable: true, Help: "how long a build may keep its nodes when it does not say"},
	{Name: "max_lease", Kind: KindDuration, Settable: true, Help: "cap of every lease, extensions included"},
	{Name: "on_expiry", Kind: KindText, Settable: true, Help: "what an expired lease leads to: reclaim, ask or quarantine"},
	{Name: "grace", Kind: KindDuration, Settable: true, Help: "with ask: how long tend has to ask Jenkins before the nodes are taken back"},
	{Name: "ageing", Kind: KindDuration, Settable: true, Help: "time in the queue that one step of priority is worth; at least 1s"},
	{Name: "max_priority", Kind: KindNumber, Settable: true, Help: "cap of a request's priority, upwards and downwards"},
	{Name: "cleaning", Kind: KindSwitch, Settable: true, Help: "true: nodes that are given back are dirty until somebody says that they are ready"},
	{Name: "clean_limit", Kind: KindDuration, Settable: true, Help: "dirty for longer is broken"},
	{Name: "verify", Kind: KindSwitch, Settable: true, Help: "true: clients check the BMC before they claim a node"},
	{Name: "pick_up", Kind: KindDuration, Settable: true, Help: "how long the nodes of a granted ticket wait to be taken up"},
	{Name: "max_hold", Kind: KindDuration, Settable: true, Help: "cap of a hold for a post-mortem; 0s allows none"},
	{Name: "max_broken_pct", Kind: KindNumber, Settable: true, Help: "highest share of the nodes, in per cent, that rules may mark broken"},
	{Name: "max_hold_pct", Kind: KindNumber, Settable: true, Help: "highest share of the nodes, in per cent, in hold at once"},
	{Name: "max_per_job_pct", Kind: KindNumber, Settable: true, Help: "highest share of the nodes, in per cent, for one job (label JOB_NAME)"},
	{Name: "strikes_broken", Kind: KindNumber, Settable: true, Help: "failures in a row that make a node broken; 0 is never"},
}

// Field gives a policy's field as text; a name that is none is ErrNotFound.
func (p Policy) Field(name string) (string, error) {
	switch name {
	case "lease":
		return formatDuration(p.Lease), nil
	case "max_lease":
		return formatDuration(p.MaxLease), nil
	case "on_expiry":
		return string(p.OnExpiry), nil
	case "grace":
		return formatDuration(p.Grace), nil
	case "ageing":
		return formatDuration(p.Ageing), nil
	case "max_priority":
		return strconv.Itoa(p.MaxPriority), nil
	case "cleaning":
		return strconv.FormatBool(p.Cleaning), nil
	case "clean_limit":
		return formatDuration(p.CleanLimit), nil
	case "verify":
		return strconv.FormatBool(p.Verify), nil
	case "pick_up":
		return formatDuration(p.PickUp), nil
	case "max_hold":
		return formatDuration(p.MaxHold), nil
	case "max_broken_pct":
		return strconv.Itoa(p.MaxBrokenPct), nil
	case "max_hold_pct":
		return strconv.Itoa(p.MaxHoldPct), nil
	case "max_per_job_pct":
		return strconv.Itoa(p.MaxPerJobPct), nil
	case "strikes_broken":
		return strconv.Itoa(p.StrikesBroken), nil
	}
	return "", fail(ErrNotFound, "a pool has no field %q; its fields are %s", name, policyFieldNames())
}

func policyFieldNames() string {
	text := ""
	for i, f := range PolicyFields {
		if i > 0 {
			text += ", "
		}
		text += f.Name
	}
	return text
}

// formatDuration writes whole seconds without the units that are zero: 6h, 1h30m, 1m30s.
func formatDuration(d time.Duration) string {
	text := ""
	for _, u := range []struct {
		size time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / u.size; n > 0 {
			text += fmt.Sprintf("%d%s", n, u.name)
			d %= u.size
		}
	}
	if text == "" {
		return "0s"
	}
	return text
}

// SetAll changes fields of the policy of the named pool; all that is wrong is told at once (*Problems).
func (p *Policy) SetAll(pool string, changes []FieldChange) error {
	var wrong faults
	for _, c := range changes {
		if err := p.Set(c); err != nil {
			class := ErrInvalid
			if errors.Is(err, ErrNotFound) {
				class = ErrNotFound
			}
			_ = wrong.take(&Problems{Class: class, List: []string{fmt.Sprintf("pool %s: %s", pool, err)}}) // it is that
		}
	}
	return wrong.err()
}

// Set changes one field of the policy; the error says what the field takes. A field that is none is ErrNotFound.
func (p *Policy) Set(c FieldChange) error {
	duration := func(to *time.Duration) error {
		d, err := time.ParseDuration(c.Value)
		if err != nil || d < 0 || d%time.Second != 0 {
			return fmt.Errorf("%s %q is no duration in whole seconds, as in 90s, 30m or 6h", c.Field, c.Value)
		}
		*to = d
		return nil
	}
	number := func(to *int) error {
		n, err := strconv.ParseInt(c.Value, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("%s %q is no whole number of 0 or more", c.Field, c.Value)
		}
		*to = int(n)
		return nil
	}
	flip := func(to *bool) error {
		switch c.Value {
		case "true", "on", "yes":
			*to = true
		case "false", "off", "no":
			*to = false
		default:
			return fmt.Errorf("%s %q: use true or false", c.Field, c.Value)
		}
		return nil
	}
	switch c.Field {
	case "lease":
		return duration(&p.Lease)
	case "max_lease":
		return duration(&p.MaxLease)
	case "on_expiry":
		p.OnExpiry = OnExpiry(c.Value)
		return nil
	case "grace":
		return duration(&p.Grace)
	case "ageing":
		return duration(&p.Ageing)
	case "max_priority":
		return number(&p.MaxPriority)
	case "cleaning":
		return flip(&p.Cleaning)
	case "clean_limit":
		return duration(&p.CleanLimit)
	case "verify":
		return flip(&p.Verify)
	case "pick_up":
		return duration(&p.PickUp)
	case "max_hold":
		return duration(&p.MaxHold)
	case "max_broken_pct":
		return number(&p.MaxBrokenPct)
	case "max_hold_pct":
		return number(&p.MaxHoldPct)
	case "max_per_job_pct":
		return number(&p.MaxPerJobPct)
	case "strikes_broken":
		return number(&p.StrikesBroken)
	}
	return fail(ErrNotFound, "a pool has no field %q; its fields are %s", c.Field, policyFieldNames())
}

// maxSpan keeps every moment that a policy leads to within what DATETIME can say.
const maxSpan = 10 * 365 * 24 * time.Hour

// problems lists what is impossible in a policy.
func (p Policy) problems() []string {
	var list []string
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	bad(p.Lease < time.Second, "lease %s is shorter than 1s", p.Lease)
	bad(p.MaxLease < p.Lease, "max_lease %s is shorter than the lease %s", formatDuration(p.MaxLease), formatDuration(p.Lease))
	bad(p.OnExpiry != ExpiryReclaim && p.OnExpiry != ExpiryAsk && p.OnExpiry != ExpiryQuarantine,
		"on_expiry %q: use reclaim, ask or quarantine", p.OnExpiry)
	bad(p.Ageing < time.Second, "ageing %s is shorter than 1s", p.Ageing)
	bad(p.CleanLimit < time.Second, "clean_limit %s is shorter than 1s", p.CleanLimit)
	bad(p.PickUp < time.Second, "pick_up %s is shorter than 1s", p.PickUp)
	bad(p.Grace < 0, "grace %s is negative", p.Grace)
	for _, d := range []time.Duration{p.MaxLease, p.Grace, p.Ageing, p.CleanLimit, p.PickUp, p.MaxHold} {
		bad(d > maxSpan, "%s is longer than ten years", d)
	}
	bad(p.MaxPriority < 0 || p.MaxPriority > 1_000_000, "max_priority %d is not between 0 and 1000000", p.MaxPriority)
	bad(time.Duration(p.MaxPriority) > maxSpan/max(p.Ageing, 1), "max_priority times ageing is longer than ten years")
	for _, pct := range []struct {
		name  string
		value int
	}{{"max_broken_pct", p.MaxBrokenPct}, {"max_hold_pct", p.MaxHoldPct}, {"max_per_job_pct", p.MaxPerJobPct}} {
		bad(pct.value < 0 || pct.value > 100, "%s %d is not between 0 and 100", pct.name, pct.value)
	}
	bad(p.StrikesBroken < 0, "strikes_broken %d is negative", p.StrikesBroken)
	return list
}

func (p Policy) check(name string) error {
	if list := p.problems(); len(list) > 0 {
		for i := range list {
			list[i] = fmt.Sprintf("pool %s: %s", name, list[i])
		}
		return &Problems{Class: ErrInvalid, List: list}
	}
	return nil
}

func (r *poolRow) policy() Policy {
	return Policy{
		Lease: seconds(r.LeaseS), MaxLease: seconds(r.MaxLeaseS), OnExpiry: r.OnExpiry, Grace: seconds(r.GraceS),
		Ageing: seconds(r.AgeingS), MaxPriority: r.MaxPriority, Cleaning: r.Cleaning, CleanLimit: seconds(r.CleanLimitS),
		Verify: r.Verify, PickUp: seconds(r.PickUpS), MaxHold: seconds(r.MaxHoldS), MaxBrokenPct: r.MaxBrokenPct,
		MaxHoldPct: r.MaxHoldPct, MaxPerJobPct: r.MaxPerJobPct, StrikesBroken: r.StrikesBroken,
	}
}

// policyArgs are a policy's values in the order of its columns.
func (p Policy) policyArgs() []any {
	secs := func(d time.Duration) int64 { return int64(d / time.Second) }
	return []any{
		secs(p.Lease), secs(p.MaxLease), p.OnExpiry, secs(p.Grace), secs(p.Ageing), p.MaxPriority, p.Cleaning,
		secs(p.CleanLimit), p.Verify, secs(p.PickUp), secs(p.MaxHold), p.MaxBrokenPct, p.MaxHoldPct, p.MaxPerJobPct, p.StrikesBroken,
	}
}

// AddPool creates a pool. A name that is taken is ErrConflict, an impossible policy ErrInvalid.
func (db *DB) AddPool(ctx context.Context, name string, p Policy) error {
	if err := checkName("pool", name); err != nil {
		return fail(ErrInvalid, "%w", err)
	}
	if err := p.check(name); err != nil {
		return err
	}
	err := db.transact(ctx, func(t *tx) error {
		// Nothing that exists changes, so there is nothing to lock; the default pool's clock serves.
		if err := t.readClock(); err != nil {
			return err
		}
		return t.insertPool(name, p)
	})
	if db.classify(err) == classDuplicate {
		return fail(ErrConflict, "pool %s exists; see moltenironctl pool list", name)
	}
	return err
}

func (t *tx) insertPool(name string, p Policy) error {
	args := append([]any{name}, p.policyArgs()...)
	if _, err := t.exec(`INSERT INTO pools (name, lease_s, max_lease_s, on_expiry, grace_s, ageing_s, max_priority, cleaning, clean_limit_s,
		verify, pick_up_s, max_hold_s, max_broken_pct, max_hold_pct, max_per_job_pct, strikes_broken, paused, paused_reason, created_at)
		VALUES `+values(1, 19), append(args, 0, "", at(t.now))...); err != nil {
		return err
	}
	if _, err := t.exec(`INSERT INTO pool_locks (pool, version, last_now) VALUES (?, 0, ?)`, name, at(t.now)); err != nil {
		return err
	}
	t.event(Event{Kind: eventPoolAdded, Pool: name})
	return nil
}

// poolStory runs fn with the pool locked and its policy read.
func (db *DB) poolStory(ctx context.Context, name string, fn func(t *tx, p *poolRow) error) error {
	return db.transact(ctx, func(t *tx) error {
		pools, err := t.lockWithPolicy([]string{name})
		if err != nil {
			return err
		}
		return fn(t, pools[name])
	})
}

// SetPool changes a pool's policy, all fields or none, and serves who waits.
func (db *DB) SetPool(ctx context.Context, name string, changes []FieldChange) (PoolInfo, error) {
	err := db.poolStory(ctx, name, func(t *tx, row *poolRow) error {
		p := row.policy()
		if err := p.SetAll(name, changes); err != nil {
			return err
		}
		fields := map[string]any{}
		for _, c := range changes {
			fields[c.Field] = c.Value
		}
		if err := p.check(name); err != nil {
			return err
		}
		if err := t.one(`UPDATE pools SET lease_s = ?, max_lease_s = ?, on_expiry = ?, grace_s = ?, ageing_s = ?, max_priority = ?, cleaning = ?,
			clean_limit_s = ?, verify = ?, pick_up_s = ?, max_hold_s = ?, max_broken_pct = ?, max_hold_pct = ?, max_per_job_pct = ?,
			strikes_broken = ? WHERE name = ?`, append(p.policyArgs(), name)...); err != nil {
			return err
		}
		t.event(Event{Kind: eventPoolSet, Pool: name, Detail: fields})
		t.touch(name)
		pools, err := t.poolRows(name)
		if err != nil {
			return err
		}
		t.locked[name].NextDue = at(t.now) // what was due under the old policy may not be, and the reverse
		return t.pass(pools[name], nil, true)
	})
	if err != nil {
		return PoolInfo{}, err
	}
	return db.Pool(ctx, name)
}

// PausePool stops a pool from granting anything until ResumePool; the reason is shown to who waits.
func (db *DB) PausePool(ctx context.Context, name, reason string) error {
	if err := checkPlain("the reason", reason, maxReason); err != nil {
		return fail(ErrInvalid, "pool %s: %w", name, err)
	}
	if reason == "" {
		return fail(ErrInvalid, "pausing pool %s wants a reason; add --reason TEXT", name)
	}
	return db.poolStory(ctx, name, func(t *tx, p *poolRow) error {
		t.touch(name)
		t.event(Event{Kind: eventPoolPaused, Pool: name, Detail: map[string]any{"reason": reason}})
		return t.one(`UPDATE pools SET paused = 1, paused_reason = ? WHERE name = ?`, reason, name)
	})
}

// ResumePool has a paused pool grant again, and serves who waits at once.
func (db *DB) ResumePool(ctx context.Context, name string) error {
	return db.poolStory(ctx, name, func(t *tx, p *poolRow) error {
		if !p.Paused {
			return nil
		}
		t.touch(name)
		t.event(Event{Kind: eventPoolResumed, Pool: name})
		if err := t.one(`UPDATE pools SET paused = 0, paused_reason = '' WHERE name = ?`, name); err != nil {
			return err
		}
		p.Paused = false
		return t.pass(p, nil, true)
	})
}

// RemovePool removes an empty pool. One with nodes or anything active is ErrConflict, and so is the
// default pool.
func (db *DB) RemovePool(ctx context.Context, name string) error {
	if name == DefaultPool {
		return fail(ErrConflict, "the pool %s is always there", DefaultPool)
	}
	return db.poolStory(ctx, name, func(t *tx, p *poolRow) error {
		var n struct {
			Nodes  int `db:"nodes"`
			Active int `db:"active"`
		}
		if err := t.Get(&n, `SELECT (SELECT COUNT(*) FROM nodes WHERE pool = ?) AS nodes,
			(SELECT COUNT(*) FROM allocations WHERE pool = ? AND state IN ('waiting', 'granted', 'claimed')) AS active`, name, name); err != nil {
			return err
		}
		if n.Nodes > 0 || n.Active > 0 {
			return fail(ErrConflict, "pool %s has %d nodes and %d active allocations; move or remove its nodes first (moltenironctl set NODE pool=OTHER)", name, n.Nodes, n.Active)
		}
		t.event(Event{Kind: eventPoolRemoved, Pool: name})
		if err := t.one(`DELETE FROM pools WHERE name = ?`, name); err != nil {
			return err
		}
		delete(t.locked, name)
		return t.one(`DELETE FROM pool_locks WHERE pool = ?`, name)
	})
}

// Pools lists the pools by name, with their numbers.
func (db *DB) Pools(ctx context.Context) ([]PoolInfo, error) {
	var rows []*poolRow
	if err := db.list(ctx, &rows, `SELECT `+poolColumns+` FROM pools p ORDER BY p.name`); err != nil {
		return nil, err
	}
	var counts []struct {
		Pool        string `db:"pool"`
		Status      Status `db:"status"`
		Maintenance bool   `db:"maintenance"`
		Suspect     bool   `db:"suspect"`
		Count       int    `db:"n"`
	}
	// The queue's length comes as rows of status 'waiting', in the same statement and so of the same moment.
	if err := db.list(ctx, &counts, `SELECT pool, status, maintenance, suspect, COUNT(*) AS n FROM nodes GROUP BY pool, status, maintenance, suspect
		UNION ALL SELECT pool, state, 0, 0, COUNT(*) FROM allocations WHERE state = 'waiting' GROUP BY pool, state`); err != nil {
		return nil, err
	}
	pools := make([]PoolInfo, len(rows))
	index := map[string]*PoolInfo{}
	for i, r := range rows {
		pools[i] = PoolInfo{Name: r.Name, Policy: r.policy(), Paused: r.Paused, PausedReason: r.PausedReason, Nodes: map[Status]int{}}
		index[r.Name] = &pools[i]
	}
	for _, c := range counts {
		p := index[c.Pool]
		switch {
		case p == nil: // a pool removed between the two statements
		case c.Status == Status(Waiting):
			p.Waiting = c.Count
		case c.Maintenance:
			p.Maintenance += c.Count
		default:
			p.Nodes[c.Status] += c.Count
			if c.Suspect && c.Status == Ready {
				p.Suspect += c.Count
			}
		}
	}
	return pools, nil
}

// Pool reads one pool.
func (db *DB) Pool(ctx context.Context, name string) (PoolInfo, error) {
	pools, err := db.Pools(ctx)
	if err != nil {
		return PoolInfo{}, err
	}
	for _, p := range pools {
		if p.Name == name {
			return p, nil
		}
	}
	return PoolInfo{}, noSuchPool(name)
}
