package pool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// Limits of a request: far above what a build asks for, low enough that a mistake is told.
const (
	maxCount  = 10_000
	maxGroups = 32
	maxLabels = 64
)

// normalize checks a request; the first fault is told (ErrInvalid).
func (r Request) normalize() (Request, error) {
	if r.Pool == "" {
		r.Pool = DefaultPool
	}
	if err := checkOwner(r.Owner, r.Slot); err != nil {
		return r, err
	}
	if err := checkName("pool", r.Pool); err != nil {
		return r, fail(ErrInvalid, "%w", err)
	}
	switch {
	case len(r.Groups) == 0:
		return r, fail(ErrInvalid, "the request asks for no node; a count is 1 or more")
	case len(r.Groups) > maxGroups:
		return r, fail(ErrInvalid, "the request has more than %d groups", maxGroups)
	case r.Lease < 0 || r.Lease > maxSpan:
		return r, fail(ErrInvalid, "lease %s is not between 0 and ten years", r.Lease)
	case r.Lease%time.Second != 0:
		return r, fail(ErrInvalid, "lease %s is not in whole seconds", r.Lease)
	case len(r.Labels) > maxLabels:
		return r, fail(ErrInvalid, "the request has more than %d labels", maxLabels)
	}
	names := map[string]bool{}
	for _, g := range r.Groups {
		switch {
		case g.Count < 1:
			return r, fail(ErrInvalid, "count %d: ask for 1 node or more", g.Count)
		case g.Count > maxCount:
			return r, fail(ErrImpossible, "no pool could meet a request for %d nodes; the most is %d", g.Count, maxCount)
		case names[g.Name]:
			return r, fail(ErrInvalid, "group %q is named twice", g.Name)
		case g.Name != "" && !isGroupName(g.Name):
			return r, fail(ErrInvalid, "group %q: lower-case letters, digits, _ and - only, beginning with a letter", g.Name)
		}
		names[g.Name] = true
		for _, q := range g.Require { // the database keeps its text
			if read, err := ParseRequirement(q.String()); err != nil {
				return r, err
			} else if read.Op != q.Op || !slices.Equal(read.Values, q.Values) {
				return r, fail(ErrInvalid, "requirement %q is not what its text says; make it with ParseRequirement", q)
			}
		}
	}
	r.Where = cut(r.Where, maxText)
	return r, nil
}

func checkOwner(owner, slot string) error {
	if owner == "" {
		return fail(ErrInvalid, "the owner is empty")
	}
	if err := checkPlain("the owner", owner, maxOwner); err != nil {
		return fail(ErrInvalid, "%w", err)
	}
	if slot != "" {
		if err := checkName("slot", slot); err != nil {
			return fail(ErrInvalid, "%w", err)
		}
	}
	return nil
}

// ticket is a client's side of its allocation.
type ticket struct {
	Request
	id       int64
	sent     bool // it may be in the database, whatever became of the try
	token    secret.Text
	tokenKey string
	groups   string // stored form
	queuedAt stamp  // zero: now; else the place that it had before an outage
	detached bool
	aliveFor time.Duration
}

func newTicket(r Request) *ticket {
	token := newID()
	return &ticket{Request: r, token: secret.New(token), tokenKey: hashKey(token), groups: encodeGroups(r.Groups), aliveFor: heartbeat}
}

func activeKey(owner, slot string) string { return hashKey(owner, slot) }

// errOwnerBusy: the owner and slot have an active allocation already.
var errOwnerBusy = errors.New("owner and slot are busy")

// insert puts the ticket into the queue, in a transaction of its own and without the pool's lock.
func (db *DB) insert(ctx context.Context, k *ticket) error {
	place := k.queuedAt
	err := db.transact(ctx, func(t *tx) error {
		k.id = 0 // another try's, of which it is not known whether that was the one
		p, err := t.readPool(k.Pool, k.Owner)
		if err != nil {
			return err
		}
		if p.closed {
			return closedError(k.Owner)
		}
		lease, priority := p.allows(k.Request)
		queued := place
		if queued.IsZero() || queued.After(t.now) {
			queued = at(t.now)
		}
		rank := queued.Add(-time.Duration(priority) * seconds(p.AgeingS))
		alive := t.now.Add(k.aliveFor)
		result, err := t.run(`INSERT INTO allocations (token, owner, owner_key, slot, active_key, pool, request, priority, lease_s,
			job_key, state, queued_at, rank_at, end_reason, end_detail, hold_reason, result, labels) VALUES `+values(1, 18),
			k.tokenKey, k.Owner, hashKey(k.Owner), k.Slot, activeKey(k.Owner, k.Slot), k.Pool, k.groups, priority, lease,
			jobKey(k.Labels), Waiting, queued, at(rank), "", "", "", "", encodeProperties(k.Labels))
		if err != nil {
			return err
		}
		if k.id, err = result.LastInsertId(); err != nil {
			return err
		}
		k.sent = true
		if err := t.one(`INSERT INTO waiters (allocation_id, token, alive_until, detached, location) VALUES (?, ?, ?, ?, ?)`,
			k.id, k.tokenKey, at(alive), k.detached, k.Where); err != nil {
			return err
		}
		k.queuedAt = queued
		t.event(Event{
			Kind: eventQueued, Pool: k.Pool, Owner: k.Owner, Slot: k.Slot, Allocation: k.id,
			Detail: map[string]any{"count": countNodes(k.Groups), "priority": priority, "where": k.Where},
		})
		return nil
	})
	if err == nil && k.id != 0 || err != nil && db.classify(err) != classDuplicate {
		return err
	}
	// It is in by a try whose reply was lost. Or the key that clashed is the owner's, and not the token's.
	var in struct {
		ID       int64 `db:"id"`
		QueuedAt stamp `db:"queued_at"`
	}
	switch err := db.get(ctx, &in, `SELECT id, queued_at FROM allocations WHERE token = ?`, k.tokenKey); {
	case errors.Is(err, sql.ErrNoRows):
		return errOwnerBusy
	case err != nil:
		return err
	}
	k.id, k.queuedAt = in.ID, in.QueuedAt
	return nil
}

// jobKey stands for a job's name in an index.
func jobKey(labels map[string]string) string {
	name := labels["JOB_NAME"]
	if name == "" {
		return noJob
	}
	return hashKey(name)[:16]
}

func closedError(owner string) error {
	return fail(ErrConflict, "owner %q is closed: its post-hook has run already, so nothing is checked out for it", owner)
}

// allows says what a request gets of the lease and the priority that it asks for.
func (r *poolRow) allows(q Request) (leaseS int64, priority int) {
	leaseS = int64(q.Lease / time.Second)
	if leaseS == 0 {
		leaseS = r.LeaseS
	}
	return min(leaseS, r.MaxLeaseS), max(min(q.Priority, r.MaxPriority), -r.MaxPriority)
}

// openPool is a pool's policy with what a ticket has to know before it is written.
type openPool struct {
	poolRow
	LastNow stamp `db:"last_now"`
	Clock   stamp `db:"clock"`
	tombstone
	closed bool // the owner is, to this client
}

// readPool gives a transaction without the lock its time, a pool's policy and whether the owner is closed.
func (t *tx) readPool(name, owner string) (*openPool, error) {
	var p openPool
	age := t.db.age()
	err := t.Get(&p, `SELECT `+poolColumns+`, l.last_now, `+t.db.dialect.clock+` AS clock, `+tombstoneColumns+`
		FROM pools p JOIN pool_locks l ON l.pool = p.name LEFT JOIN tombstones ts ON ts.owner_key = ? WHERE p.name = ?`, hashKey(owner), name)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noSuchPool(name)
	} else if err != nil {
		return nil, err
	}
	t.now = t.db.machineClock()
	t.see(p.Clock, p.LastNow)
	p.closed = t.closes(p.tombstone, age)
	return &p, t.checkRepeated()
}

// enqueue inserts the ticket; where the owner and slot have an active allocation it watches whether its
// client lives: until its heartbeat moves (BusyError) or stops, when the newcomer takes the row over.
func (db *DB) enqueue(ctx context.Context, k *ticket, deadline time.Time) error {
	var seen stamp // the heartbeat as first seen
	for {
		err := db.insert(ctx, k)
		if !errors.Is(err, errOwnerBusy) {
			return err
		}
		var other struct {
			allocationRow
			TokenKey string `db:"token"`
			LastNow  stamp  `db:"last_now"`
			Clock    stamp  `db:"clock"`
		}
		err = db.get(ctx, &other, `SELECT `+allocationColumns+`, a.token, l.last_now, `+db.dialect.clock+` AS clock FROM allocations a
			LEFT JOIN waiters w ON w.allocation_id = a.id LEFT JOIN pool_locks l ON l.pool = a.pool WHERE a.active_key = ?`, activeKey(k.Owner, k.Slot))
		if errors.Is(err, sql.ErrNoRows) {
			continue // it ended meanwhile
		} else if err != nil {
			return err
		}
		now := db.laterOf(db.machineClock(), other.Clock, other.LastNow)
		moved := !seen.IsZero() && other.AliveUntil.After(seen.Time)
		alive := other.AliveUntil.After(now)
		if other.State == Claimed || other.Detached == nil || *other.Detached && alive || moved {
			return db.busy(ctx, &other.allocationRow)
		}
		if !alive {
			switch err := db.takeOver(ctx, k, &other.allocationRow, other.TokenKey); {
			case errors.Is(err, errRaced):
				continue
			default:
				return err
			}
		}
		seen = other.AliveUntil
		// The client beats at least twice in the life of a heartbeat; look more often.
		pause := min(heartbeat/6, other.AliveUntil.Sub(now)+10*time.Millisecond)
		if time.Until(deadline) < pause {
			return db.busy(ctx, &other.allocationRow)
		}
		db.dropIdle()
		if err := sleep(ctx, pause); err != nil {
			return db.ended(ctx, err)
		}
	}
}

func (db *DB) busy(ctx context.Context, other *allocationRow) error {
	e := &BusyError{Owner: other.Owner, Slot: other.Slot, State: other.State, ExpiresAt: other.ExpiresAt.Time}
	if other.State == Waiting {
		return e
	}
	if err := db.list(ctx, &e.Nodes, `SELECT node FROM allocation_nodes WHERE allocation_id = ? AND open_node IS NOT NULL ORDER BY position`, other.ID); err != nil {
		return err
	}
	return e
}

// errRaced: what was to be taken over has moved on; look again. errDiffers: it is not what is asked for now.
var (
	errRaced   = errors.New("the other allocation moved on")
	errDiffers = errors.New("the other allocation is for something else")
)

// takeOver makes the allocation of a client that died the newcomer's: in place and with its place in the
// queue when it asks for the same, else the old one ends and the newcomer's ticket takes its place.
func (db *DB) takeOver(ctx context.Context, k *ticket, other *allocationRow, oldToken string) error {
	err := db.transact(ctx, func(t *tx) error {
		p, err := t.readPool(k.Pool, k.Owner)
		if err != nil {
			return err
		}
		if lease, priority := p.allows(k.Request); other.Request != k.groups || other.Pool != k.Pool || other.LeaseS != lease || other.Priority != priority {
			return errDiffers
		}
		alive := t.now.Add(k.aliveFor)
		if k.detached && other.State == Granted {
			alive = t.now.Add(seconds(p.PickUpS))
		}
		n, err := t.exec(`UPDATE waiters SET token = ?, alive_until = ?, location = ?, detached = ? WHERE allocation_id = ? AND token = ? AND alive_until <= ?`,
			k.tokenKey, at(alive), k.Where, k.detached, other.ID, oldToken, at(t.now))
		if err != nil {
			return err
		}
		if n == 0 {
			return errRaced
		}
		n, err = t.exec(`UPDATE allocations SET token = ?, labels = ?, job_key = ? WHERE id = ? AND token = ? AND state IN ('waiting', 'granted')`,
			k.tokenKey, encodeProperties(k.Labels), jobKey(k.Labels), other.ID, oldToken)
		if err != nil {
			return err
		}
		if n == 0 {
			return errRaced
		}
		k.id, k.queuedAt = other.ID, other.QueuedAt
		t.event(Event{Kind: eventTakenOver, Pool: k.Pool, Owner: k.Owner, Slot: k.Slot, Allocation: k.id, Detail: map[string]any{"where": k.Where}})
		return nil
	})
	if !errors.Is(err, errDiffers) {
		return err
	}
	err = db.poolStory(ctx, other.Pool, func(t *tx, p *poolRow) error {
		// Once more, under the lock: a pass may have ended it, or its client may live after all.
		var dead []allocationRow
		if err := t.list(&dead, `SELECT `+allocationColumns+` FROM allocations a JOIN waiters w ON w.allocation_id = a.id
			WHERE a.id = ? AND a.token = ? AND a.state IN ('waiting', 'granted') AND w.alive_until <= ?`, other.ID, oldToken, at(t.now)); err != nil || len(dead) == 0 {
			return err
		}
		freed, err := t.end(p, []ending{dead[0].ending(EndLapsed)})
		if err != nil {
			return err
		}
		return t.pass(p, freed, false)
	})
	if err != nil {
		return err
	}
	if other.Pool == k.Pool {
		k.queuedAt = other.QueuedAt
	}
	return errRaced
}

// Describe says in words what a request asks for.
func Describe(groups []Group) string { return describe(groups, "node") }

// DescribeMore is Describe for what is asked for beyond what there is, as in Explanation.Lacking.
func DescribeMore(groups []Group) string { return describe(groups, "more node") }

func describe(groups []Group, noun string) string {
	var parts []string
	for _, g := range groups {
		text := fmt.Sprintf("%d %s", g.Count, noun)
		if g.Count != 1 {
			text += "s"
		}
		if g.Name != "" {
			text = g.Name + ": " + text
		}
		if len(g.Require) > 0 {
			exprs := make([]string, len(g.Require))
			for i, r := range g.Require {
				exprs[i] = r.String()
			}
			text += " with " + strings.Join(exprs, " ")
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}
