package pool

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
)

// tx is one try of a transaction. Helpers take it and compose; at the first error they leave, because
// on a cluster the server's transaction may be over and further statements would be committed alone.
type tx struct {
	conn      *sqlx.Conn // that the transaction runs on
	begun     bool       // on the server, where it begins with the first statement
	ctx       context.Context
	db        *DB
	operation string
	uncertain bool // an earlier try may have been committed
	now       time.Time
	clock     stamp // the database's, as it was read with now; zero where that is this machine's
	locked    map[string]*poolLock
	events    []eventRow
	granted   map[int64]time.Time // allocations that this transaction granted, with the end of their leases
	asks      int64               // the allocation whose client runs this; 0 is none
	braked    string              // what the pool's brake says of it; "" when it is not that
	writes    []write             // not sent yet
	open      []openNode          // of the allocations opened, read with the lock
	opened    []int64
}

// read is a query of which all rows go into dest, a pointer to a slice of structs.
type read struct {
	dest  any
	query string
	args  []any // a slice is for IN (?)
}

// write is a guarded write that waits to be sent with others.
type write struct {
	query string
	args  []any
	rows  int64 // that it must meet
}

// poolLock is the row of a pool that this transaction has locked.
type poolLock struct {
	Pool    string `db:"pool"`
	Version int64  `db:"version"`
	LastNow stamp  `db:"last_now"`
	NextDue stamp  `db:"next_due"`
	Clock   stamp  `db:"clock"`
	changed bool   // its version must be bumped
	due     stamp  // what next_due becomes
	// anew: nodes that were set aside may be free for others, since who they were set aside for waits no
	// more, or its request can be filled no more. A pass must look at all ready nodes.
	anew bool
}

// commitError marks an error of COMMIT itself: the outcome is unknown when the connection was lost.
type commitError struct{ err error }

func (e *commitError) Error() string { return e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }

// transact runs fn in a transaction and commits, and repeats the whole when the database asks for it.
// fn has no effect outside but on variables of its caller, and sets these only after lock or readClock:
// the two end a try of which a predecessor was committed after all. That leaves the variables as the last try
// set them which came so far, and on a cluster that need not be the one that was committed: where it matters, fn
// forgets them first, and the caller reads them anew.
func (db *DB) transact(ctx context.Context, fn func(*tx) error) error {
	operation := newID()
	return db.retry(ctx, defaultPatience, func(uncertain bool) error {
		return db.try(ctx, operation, uncertain, fn)
	})
}

// transactUnique is transact for what takes names and addresses: it checks first that they are free, and
// tells who has them. Of two that find the same one free, in pools with a lock each, the second meets a
// unique key; it checks again and then sees the first.
func (db *DB) transactUnique(ctx context.Context, fn func(*tx) error) error {
	return db.transact(ctx, func(t *tx) error {
		err := fn(t)
		if err == nil {
			err = t.flush()
		}
		if t.db.classify(err) == classDuplicate {
			return errMoved
		}
		return err
	})
}

func (db *DB) try(ctx context.Context, operation string, uncertain bool, fn func(*tx) error) error {
	conn, err := db.sql.Connx(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() // back to the pool
	t := &tx{conn: conn, ctx: ctx, db: db, operation: operation, uncertain: uncertain, granted: map[int64]time.Time{}}
	defer t.rollback() // SQLite keeps a transaction open even after a failed COMMIT
	if err := fn(t); err != nil {
		return err
	}
	if err := t.finish(); err != nil {
		return err
	}
	return t.commit()
}

// together reports whether statements may be sent several in one, which saves round trips.
func (t *tx) together() bool { return t.db.connector != nil && !t.db.connector.cluster() }

// begin begins the transaction on the server, unless that is done.
func (t *tx) begin() error {
	if t.begun {
		return nil
	}
	_, err := t.conn.ExecContext(t.ctx, t.db.dialect.begin)
	// A context that ends meanwhile makes an error of a beginning that was done.
	t.begun = err == nil || t.ctx.Err() != nil
	return err
}

// commitGrace is how long a COMMIT that was sent is waited for when its caller's time is up: what became of it is
// worth knowing, but a server that says nothing would keep the caller for another 15 s.
const commitGrace = 200 * time.Millisecond

// outlasting gives a context that ends a while after ctx does.
func outlasting(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		_ = sleep(late, d)
		cancel()
	})
	return late, func() { stop(); cancel() }
}

// commit ends the transaction.
func (t *tx) commit() error {
	if !t.begun {
		return nil
	}
	if err := t.ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := outlasting(t.ctx, commitGrace)
	defer cancel()
	if _, err := t.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return &commitError{err}
	}
	t.begun = false
	return nil
}

// rollback undoes what was not committed. A connection that cannot do that is not used again.
func (t *tx) rollback() {
	if !t.begun {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), undoTimeout)
	defer cancel()
	if _, err := t.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		_ = t.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
}

// lock locks the rows of the named pools, in one statement and in order, and reads the time after the
// wait; then it makes the further reads, in the same round trip where that can be. It must be the
// transaction's first statement: a plain read before it would fix a snapshot from before the wait. A pool
// that does not exist is ErrNotFound.
func (t *tx) lock(pools []string, further ...read) error {
	pools = slices.Compact(slices.Sorted(slices.Values(pools)))
	var rows []*poolLock
	reads := append([]read{{&rows, `SELECT pool, version, last_now, next_due, ` + t.db.dialect.clock + ` AS clock
		FROM pool_locks WHERE pool IN (?) ORDER BY pool` + t.db.dialect.lock, []any{pools}}}, further...)
	if err := t.lists(reads); err != nil {
		return err
	}
	t.locked = make(map[string]*poolLock, len(rows))
	t.now = t.db.machineClock()
	for _, row := range rows {
		t.locked[row.Pool] = row
		row.due = row.NextDue
		t.see(row.Clock, row.LastNow)
	}
	for _, pool := range pools {
		if t.locked[pool] == nil {
			return noSuchPool(pool)
		}
	}
	return t.checkRepeated()
}

// readClock gives a transaction that needs no lock and is of no pool its time, from the default pool's
// committed row.
func (t *tx) readClock() error {
	var row poolLock
	err := t.Get(&row, `SELECT pool, version, last_now, next_due, `+t.db.dialect.clock+` AS clock FROM pool_locks WHERE pool = ?`, DefaultPool)
	if errors.Is(err, sql.ErrNoRows) {
		return noSuchPool(DefaultPool)
	} else if err != nil {
		return err
	}
	t.now = t.db.machineClock()
	t.see(row.Clock, row.LastNow)
	return t.checkRepeated()
}

// see moves the transaction's time so that it is the database's and never runs backwards.
func (t *tx) see(clock, last stamp) {
	t.now, t.clock = t.db.laterOf(t.now, clock, last), clock
}

// present is the time by the clock alone, which may have gone back: durations are measured with it.
func (t *tx) present() time.Time { return t.db.laterOf(t.db.machineClock(), t.clock, stamp{}) }

// laterOf is max(clock, last), where clock is the database's unless a test moves time.
func (db *DB) laterOf(machine time.Time, clock, last stamp) time.Time {
	now := machine
	if db.clock == nil && !clock.IsZero() {
		now = clock.Time
	}
	if last.After(now) {
		return last.Time
	}
	return now
}

// machineClock is the time on engines whose clock is this machine's.
func (db *DB) machineClock() time.Time {
	if db.clock != nil {
		return at(db.clock()).Time
	}
	return at(time.Now()).Time
}

// checkRepeated ends the try when an earlier one turns out to be committed.
func (t *tx) checkRepeated() error {
	if !t.uncertain {
		return nil
	}
	var n int
	if err := t.Get(&n, "SELECT COUNT(*) FROM events WHERE operation = ?", t.operation); err != nil {
		return err
	}
	if n > 0 {
		return errRepeated
	}
	return nil
}

// touch says that the transaction changes what a pass of the pool reads.
func (t *tx) touch(pool string) { t.locked[pool].changed = true }

// dueBy has time looked at again no later than when: next_due is a lower bound, never late.
func (t *tx) dueBy(pool string, when time.Time) {
	l := t.locked[pool]
	if !when.IsZero() && (l.due.IsZero() || when.Before(l.due.Time)) {
		l.due = at(when)
	}
}

// finish writes the events and bumps the locked pools that changed, last of all: the bump is what makes
// two hosts of a cluster collide.
func (t *tx) finish() error {
	if err := t.writeEvents(); err != nil {
		return err
	}
	for _, l := range t.locked {
		if !l.changed && l.due.Equal(l.NextDue.Time) {
			continue
		}
		bump := 0
		if l.changed {
			bump = 1
		}
		err := t.one("UPDATE pool_locks SET version = version + ?, last_now = ?, next_due = ? WHERE pool = ?", bump, at(t.now), l.due, l.Pool)
		if err != nil {
			return err
		}
	}
	return t.flush()
}

// Get, list, exec and want run one statement under the transaction's context; IN (?) takes a slice.

// Get reads one row into dest; sql.ErrNoRows when there is none.
func (t *tx) Get(dest any, query string, args ...any) error {
	query, err := t.ready(query)
	if err != nil {
		return err
	}
	return getOne(t.ctx, t.conn, dest, query, args...)
}

// ready prepares for a query that reads: it sends the writes before it, and gives it the beginning of the
// transaction to carry, where it may.
func (t *tx) ready(query string) (string, error) {
	if err := t.flush(); err != nil {
		return "", err
	}
	if t.begun || !t.together() {
		return query, t.begin()
	}
	t.begun = true // or perhaps not, if this fails: then ROLLBACK does no harm
	return t.db.dialect.begin + "; " + query, nil
}

// lists makes several reads, in one round trip where that can be.
func (t *tx) lists(reads []read) error {
	if len(reads) == 1 || !t.together() {
		for _, r := range reads {
			if err := t.list(r.dest, r.query, r.args...); err != nil {
				return err
			}
		}
		return nil
	}
	queries, all := make([]string, len(reads)), []any(nil)
	for i, r := range reads {
		query, args, err := sqlx.In(r.query, r.args...)
		if err != nil {
			return err
		}
		queries[i], all = query, append(all, args...)
	}
	query, err := t.ready(strings.Join(queries, "; "))
	if err != nil {
		return err
	}
	rows, err := t.conn.QueryContext(t.ctx, query, all...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for i, r := range reads {
		if i > 0 && !rows.NextResultSet() {
			return cmp.Or(rows.Err(), io.ErrUnexpectedEOF)
		}
		if err := sqlx.StructScan(rows, r.dest); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) list(dest any, query string, args ...any) error {
	query, args, err := sqlx.In(query, args...)
	if err != nil {
		return err
	}
	if query, err = t.ready(query); err != nil {
		return err
	}
	return t.conn.SelectContext(t.ctx, dest, query, args...)
}

func (t *tx) exec(query string, args ...any) (rows int64, err error) {
	query, args, err = sqlx.In(query, args...)
	if err != nil {
		return 0, err
	}
	result, err := t.run(query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// run sends one statement that writes, after those that wait.
func (t *tx) run(query string, args ...any) (sql.Result, error) {
	if err := t.flush(); err != nil {
		return nil, err
	}
	if err := t.begin(); err != nil {
		return nil, err
	}
	return t.conn.ExecContext(t.ctx, query, args...)
}

// want is a guarded write that must meet exactly n rows, else the transaction is repeated. It is sent
// with the writes around it, before the next statement that reads or at the end: its error comes then.
func (t *tx) want(n int, query string, args ...any) error {
	query, args, err := sqlx.In(query, args...)
	if err != nil {
		return err
	}
	t.writes = append(t.writes, write{query, args, int64(n)})
	return nil
}

// flush sends the writes that wait, on a single MySQL server in one round trip.
func (t *tx) flush() error {
	writes := t.writes
	if len(writes) == 0 {
		return nil
	}
	t.writes = nil
	if err := t.begin(); err != nil {
		return err
	}
	if len(writes) > 1 && t.together() {
		return t.flushTogether(writes)
	}
	for _, w := range writes {
		result, err := t.conn.ExecContext(t.ctx, w.query, w.args...)
		if err != nil {
			return err
		}
		if rows, err := result.RowsAffected(); err != nil {
			return err
		} else if rows != w.rows {
			return errMoved
		}
	}
	return nil
}

// flushTogether sends several statements in one. database/sql would only tell the rows of the last, so
// the driver is asked itself.
func (t *tx) flushTogether(writes []write) error {
	var query strings.Builder
	var args []driver.NamedValue
	return t.conn.Raw(func(raw any) error {
		checker := raw.(driver.NamedValueChecker)
		for i, w := range writes {
			if i > 0 {
				query.WriteByte(';')
			}
			query.WriteString(w.query)
			for _, arg := range w.args {
				v := driver.NamedValue{Ordinal: len(args) + 1, Value: arg}
				if err := checker.CheckNamedValue(&v); err != nil {
					return err
				}
				args = append(args, v)
			}
		}
		result, err := raw.(driver.ExecerContext).ExecContext(t.ctx, query.String(), args)
		if err != nil {
			return err
		}
		for i, rows := range result.(mysql.Result).AllRowsAffected() {
			if rows != writes[i].rows {
				return errMoved
			}
		}
		return nil
	})
}

func (t *tx) one(query string, args ...any) error { return t.want(1, query, args...) }

// values writes n rows of the form (?, ?, …) for a multi-row INSERT.
func values(n, columns int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?, ", columns), ", ") + ")"
	return strings.TrimSuffix(strings.Repeat(row+", ", n), ", ")
}

// hashKey is SHA-256 in hex of the parts, each ended by NUL so that no two lists are alike.
func hashKey(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // only maps and structs of ours come here
		panic(err)
	}
	return string(text)
}
