package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jmoiron/sqlx"
)

// Pauses between two tries: short at first, because a deadlock is over at once, and never so long that
// a server's return goes unnoticed.
const (
	firstPause = 4 * time.Millisecond
	maxPause   = time.Second
)

// leastTries is how often a lost connection is made anew even when the first loss took longer than the
// patience: a machine that is overrun for a moment may need that long to lose one.
const leastTries = 3

// crowdPatience is how long "too many connections" is waited out: a thousand builds that start together
// are served within seconds, so who is told so is only early.
const crowdPatience = 2 * time.Minute

// errRepeated ends a transaction that finds that an earlier try of it was committed after all.
var errRepeated = errors.New("this operation was committed by an earlier try")

// errMoved ends a transaction whose guarded write met a row that had changed: repeat it.
var errMoved = errors.New("a row changed under a guarded write")

// retry runs fn until it succeeds, fails for good, the context ends or patience is over since the first
// failure. A database that is away is tried for longer where somebody waits (db.awaits). fn is told whether an
// earlier try may have been committed. What is returned is an Error for people, except that errors of this
// package pass as they are.
func (db *DB) retry(ctx context.Context, patience time.Duration, fn func(uncertain bool) error) error {
	if db.patience > 0 {
		patience = db.patience
	}
	var begun time.Time // of the trouble
	uncertain, told := false, false
	lost := 0
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := fn(uncertain)
		if err == nil || errors.Is(err, errRepeated) {
			return nil
		}
		if ctx.Err() != nil && !isOurs(err) {
			return db.ended(ctx, err)
		}
		class := db.classify(err)
		away := true
		switch class {
		case classRetry:
			away = false
		case classCrowded:
			patience = max(patience, crowdPatience)
		case classLost, classHost:
			lost++
			uncertain = uncertain || errors.As(err, new(*commitError))
			db.leaveHost()
		default:
			return db.failure(class, err)
		}
		if begun.IsZero() {
			begun = time.Now()
		}
		pause := time.Duration((0.5 + rand.Float64()) * float64(pause)) //nolint:gosec // jitter is no secret
		over := time.Since(begun)+pause > patience && (lost == 0 || lost >= leastTries)
		if over && !(away && time.Now().Add(pause).Before(db.awaits)) {
			return db.failure(class, err)
		}
		db.logger.Debug("trying again", "error", err)
		if !told && pause > maxPause/2 {
			told = true
			db.logger.Warn("the database does not answer as it should; trying on", "database", db.url.String(), "error", err)
		}
		if err := sleep(ctx, pause); err != nil {
			return db.ended(ctx, err)
		}
	}
}

func isOurs(err error) bool {
	var own *Error
	return errors.As(err, &own)
}

func (db *DB) classify(err error) class {
	if errors.Is(err, errMoved) {
		return classRetry
	}
	if isOurs(err) {
		return classOther
	}
	return db.dialect.classify(err)
}

// leaveHost forgets the connections to the present host and has it tried last.
func (db *DB) leaveHost() {
	if db.connector == nil {
		return
	}
	db.connector.leave()
	db.dropIdle()
}

// dropIdle closes the idle connections, for a pause that is longer than they are worth.
func (db *DB) dropIdle() {
	if db.connector != nil {
		for _, by := range []*sqlx.DB{db.sql, db.glances} {
			by.SetMaxIdleConns(-1)
			by.SetMaxIdleConns(idleConns)
		}
	}
}

// idleConns is what database/sql keeps by default, enough for one client.
const idleConns = 2

// ended makes the error of a context that ended; errors.Is finds its cause.
func (db *DB) ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil {
		cause = err
	}
	class := ErrUnreachable
	if errors.Is(cause, context.Canceled) || !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return &Error{Class: class, Text: fmt.Sprintf("database %s did not answer in time%s", db.url, db.mend(err)), Cause: cause}
}

// sleep waits for d or the end of the context, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
