package pool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"
)

// How often a waiting client looks: near the head often enough that a release reaches it at once, far
// from it so rarely that a thousand of them cost the database little: those of places 1, 2, 3 … look
// 12, 6, 4 … times a second, and all but the first 250 look three times a minute. Between slow looks it holds
// no connection, so that a server's limit on them (151 by default) is no limit on who waits.
const (
	pollPerPlace = 80 * time.Millisecond
	slowestPoll  = 20 * time.Second
	holdConn     = 20 * pollPerPlace
)

// How often a waiting client is told how it stands: at once, every progressTick, and when its place changes or
// the pool does, the latter no more often than changeTick, since a busy pool changes all the time. Within
// explainPlaces of the head it has that explained in full, which reads the pool's nodes: in a large pool that
// takes so long that a change is told only after tellShare times as long.
const (
	progressTick  = time.Minute
	changeTick    = 3 * time.Second
	explainPlaces = 20
	tellShare     = 50
)

// pollRow is the one statement of a look.
type pollRow struct {
	allocationRow
	TokenKey     string `db:"token"`
	RankAt       stamp  `db:"rank_at"`
	Version      int64  `db:"version"`
	NextDue      stamp  `db:"next_due"`
	LastNow      stamp  `db:"last_now"`
	Clock        stamp  `db:"clock"`
	Paused       bool   `db:"paused"`
	PausedReason string `db:"paused_reason"`
}

// wait looks at the own row until it no longer waits or the deadline has come, keeps the heartbeat, and
// moves the queue itself when time alone has changed something. A database that goes away is waited for like
// a node: whoever lives when it is back has the old place.
func (db *DB) wait(ctx context.Context, k *ticket, deadline time.Time, o AllocateOptions) (ownState, error) {
	waiting := *db
	waiting.awaits = deadline
	db = &waiting
	var version int64 = -1
	var pace pace
	first := true
	teller := teller{db: db, k: k, progress: o.Progress}
	by := db.sql
	for {
		row, err := db.look(ctx, by, k)
		if err != nil {
			return ownState{}, err
		}
		now := db.laterOf(db.machineClock(), row.Clock, row.LastNow)
		own := ownState{allocationRow: row.allocationRow}
		switch {
		case row.TokenKey != k.tokenKey:
			return own, k.takenOver()
		case own.lapsed() && time.Until(deadline) <= 0:
			own.EndReason = EndTimeout // which it had come to as well
			return own, nil
		case own.lapsed():
			// An outage longer than a heartbeat: the client lives, so it gets its place back.
			again := newTicket(k.Request)
			again.queuedAt = k.queuedAt
			*k = *again
			if err := db.enqueue(ctx, k, deadline); err != nil {
				return own, err
			}
			own, err := db.serve(ctx, k, false, true)
			if err != nil || own.State != Waiting && !own.lapsed() {
				return own, err
			}
			continue
		case own.State != Waiting:
			return own, nil
		}
		// First the sign of life: who wakes up after an outage must not take back its own ticket.
		if row.AliveUntil.Sub(now) < beatBefore {
			if _, err := db.beat(ctx, by, k, now); err != nil {
				return own, err
			}
		}
		if !row.NextDue.IsZero() && !row.NextDue.After(now) {
			own, err := db.serve(ctx, k, false, false)
			if err != nil || own.State != Waiting && !own.lapsed() {
				return own, err
			}
		}
		place := pace.place
		if row.Version != version {
			version = row.Version
			if place, err = db.place(ctx, by, k, row.RankAt); err != nil {
				return own, err
			}
		}
		pace.see(place, time.Now())
		if err := teller.tell(ctx, place, row, now); err != nil {
			return own, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			own, err := db.serve(ctx, k, true, false)
			if err != nil || !own.lapsed() {
				return own, err
			}
		}
		jitter := 0.8 + 0.4*rand.Float64() //nolint:gosec // no secret
		if first {
			jitter, first = rand.Float64(), false //nolint:gosec // no secret; a crowd that came at once spreads its looks
		}
		pause := time.Duration(jitter * float64(pace.pause()))
		pause = min(pause, max(left, 0))
		if pause > holdConn {
			db.dropIdle()
			by = db.glances
		} else if by == db.glances {
			db.dropIdle()
			by = db.sql
		}
		if err := sleep(ctx, pause); err != nil {
			return own, db.ended(ctx, err)
		}
	}
}

func (db *DB) look(ctx context.Context, by *sqlx.DB, k *ticket) (pollRow, error) {
	var row pollRow
	err := db.getBy(ctx, by, &row, `SELECT `+allocationColumns+`, a.token, a.rank_at, l.version, l.next_due, l.last_now, `+db.dialect.now+` AS clock,
		p.paused, p.paused_reason FROM allocations a JOIN pool_locks l ON l.pool = a.pool JOIN pools p ON p.name = a.pool
		LEFT JOIN waiters w ON w.allocation_id = a.id WHERE a.id = ?`, k.id)
	if errors.Is(err, sql.ErrNoRows) {
		return row, fail(ErrNotFound, "the allocation of %q is gone from the database", k.Owner)
	}
	return row, err
}

// beat is the sign of life, in one statement; it is guarded by the token, so that a client whose ticket
// was taken over does not keep it alive.
func (db *DB) beat(ctx context.Context, by *sqlx.DB, k *ticket, now time.Time) (lives bool, err error) {
	err = db.retry(ctx, defaultPatience, func(bool) error {
		result, err := by.ExecContext(ctx, `UPDATE waiters SET alive_until = ? WHERE allocation_id = ? AND token = ?`,
			at(now.Add(k.aliveFor)), k.id, k.tokenKey)
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		lives = rows > 0
		return err
	})
	return lives, err
}

// place counts who is before a ticket, itself included.
func (db *DB) place(ctx context.Context, by *sqlx.DB, k *ticket, rank stamp) (int, error) {
	var n int
	err := db.getBy(ctx, by, &n, `SELECT COUNT(*) FROM allocations WHERE pool = ? AND state = 'waiting' AND (rank_at < ? OR (rank_at = ? AND id <= ?))`,
		k.Pool, rank, rank, k.id)
	return max(n, 1), err
}

// pace is how fast a client moves up in the queue, as it sees itself.
type pace struct {
	place int
	since time.Time     // when it was first seen there
	each  time.Duration // that one place takes; 0 where nothing has moved yet
}

func (p *pace) see(place int, now time.Time) {
	took := now.Sub(p.since)
	switch {
	case p.place == 0 || place > p.place: // just come, or others came before it
		p.place, p.since = place, now
	case place < p.place:
		p.each = took / time.Duration(p.place-place)
		p.place, p.since = place, now
	case p.each > 0:
		p.each = max(p.each, took)
	}
}

// pause is how long it may look away, but for the jitter. Where the queue moves fast it looks when it has
// half of the way left, so that it is awake when it is at the head.
func (p *pace) pause() time.Duration {
	pause := min(time.Duration(p.place)*pollPerPlace, slowestPoll)
	if p.each > 0 {
		pause = min(pause, time.Duration(p.place)*p.each/2)
	}
	return max(pause, pollPerPlace)
}

// teller tells a client how it stands.
type teller struct {
	db       *DB
	k        *ticket
	progress func(Position)
	place    int // as last told
	version  int64
	at       time.Time
	took     time.Duration
	tick     time.Duration // until it is told again
}

func (t *teller) tell(ctx context.Context, place int, row pollRow, now time.Time) (err error) {
	since := time.Since(t.at)
	changed := place != t.place || row.Version != t.version && since >= changeTick
	if t.progress == nil || !t.at.IsZero() && since < t.tick && (!changed || since < tellShare*t.took) {
		return nil
	}
	begun := time.Now()
	var p Position
	if place > explainPlaces {
		p = t.k.farPosition(place, row.Paused, row.PausedReason)
	} else if p, err = t.db.position(ctx, t.k, place); err != nil {
		return err
	}
	p.Waited = now.Sub(row.QueuedAt.Time)
	t.version = row.Version
	t.place, t.at, t.took = place, time.Now(), time.Since(begun)
	t.tick = time.Duration((0.8 + 0.2*rand.Float64()) * float64(progressTick)) //nolint:gosec // jitter is no secret
	t.progress(p)
	return nil
}

// position says how a ticket stands: in full near the head, and what two cheap statements tell far from it.
func (db *DB) position(ctx context.Context, k *ticket, place int) (Position, error) {
	if place > explainPlaces {
		var paused struct {
			Paused bool   `db:"paused"`
			Reason string `db:"paused_reason"`
		}
		if err := db.get(ctx, &paused, `SELECT paused, paused_reason FROM pools WHERE name = ?`, k.Pool); err != nil {
			return Position{}, err
		}
		return k.farPosition(place, paused.Paused, paused.Reason), nil
	}
	p := Position{Place: place, Request: Describe(k.Groups)}
	s, err := db.scene(ctx, k.Pool, explainPlaces)
	if err != nil {
		return p, err
	}
	i := slices.IndexFunc(s.queue, func(q *sceneRequest) bool { return q.ID == k.id })
	if i < 0 && len(s.queue) == explainPlaces { // others have come before it
		return k.farPosition(place, s.pool.Paused, s.pool.PausedReason), nil
	} else if i < 0 {
		p.Reason = "it is being served"
		return p, nil
	}
	if s.past, err = db.pastDurations(ctx, k.Pool, s); err != nil {
		return p, err
	}
	e, _ := s.explain(i)
	p.Place, p.Reason, p.Holders, p.Estimate = e.Place, e.Reason, e.Holders, e.Estimate
	return p, nil
}

// farPosition is what can be told of a ticket far from the head without reading the pool.
func (k *ticket) farPosition(place int, paused bool, why string) Position {
	p := Position{Place: place, Request: Describe(k.Groups), Reason: fmt.Sprintf("%d requests are before it", place-1)}
	if paused {
		p.Reason = fmt.Sprintf("pool %s is paused: %s", k.Pool, why)
	}
	p.Estimate.Basis = "unknown: too far ahead to tell"
	return p
}
