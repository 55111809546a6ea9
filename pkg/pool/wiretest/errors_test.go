package wiretest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// TestServerErrors has the server answer one command of each operation, each in turn, with an error
// after which the whole transaction is over. The operation succeeds and has happened once.
func TestServerErrors(t *testing.T) {
	w := newWorld(t)
	faults := []fault{
		{code: 1213, text: "deadlock"},
		{code: 1213, text: "certification conflict", on: "COMMIT"},
		{code: 1205, text: "lock wait time-out"},
		{code: 1020, text: "record has changed since last read"},
		{code: 1180, text: "error during commit", on: "COMMIT"},
		{code: 1047, text: "WSREP has not yet prepared node"},
		{code: 1290, text: "the server is read-only"},
	}
	for _, op := range operations {
		for _, f := range faults {
			t.Run(op.name+"/"+f.text, func(t *testing.T) {
				t.Parallel()
				never := f
				never.step = 1 << 30
				commands := w.counting(t, op, &never)
				if commands == 0 {
					t.Skip("it sends no such command")
				}
				for step := 1; step <= commands; step++ {
					f := f
					f.step = step
					w.spoil(t, op, &f)
				}
			})
		}
	}
}

// TestServerErrorsThatStay has the server give the same error for ever: the operation ends within its
// patience, with the class that makes the exit status and a text that says what to do.
func TestServerErrorsThatStay(t *testing.T) {
	w := newWorld(t)
	cases := []struct {
		fault
		class error
		says  string
	}{
		{fault{code: 1213, text: "deadlock"}, pool.ErrUnreachable, "too many conflicts"},
		{fault{code: 1205, text: "lock wait time-out"}, pool.ErrUnreachable, "too many conflicts"},
		{fault{code: 1020, text: "record has changed"}, pool.ErrUnreachable, "too many conflicts"},
		{fault{code: 1180, text: "error during commit", on: "COMMIT"}, pool.ErrUnreachable, "too many conflicts"},
		{fault{code: 1047, text: "WSREP has not yet prepared node"}, pool.ErrUnreachable, "does not answer: Error 1047 (HY000): WSREP has not yet prepared node; it has lost the others of its cluster"},
		{fault{code: 1290, text: "read-only"}, pool.ErrUnreachable, "is read-only: Error 1290 (HY000): read-only; name the server that takes writes"},
		{fault{code: 1114, text: "the table is full"}, pool.ErrUnreachable, "is full: Error 1114 (HY000): the table is full; make room"},
		{fault{code: 1021, text: "disk full"}, pool.ErrUnreachable, "is full"},
		{fault{code: 1142, text: "command denied"}, pool.ErrInvalid, "does not let this account do that: Error 1142 (HY000): command denied; the hooks' account"},
		{fault{code: 1665, text: "statement logging"}, pool.ErrInvalid, "binlog_format"},
		{fault{code: 1146, text: "no such table"}, pool.ErrSchema, "moltenironctl init"},
	}
	for _, c := range cases {
		t.Run(c.text, func(t *testing.T) {
			t.Parallel()
			o := options()
			o.Patience = 300 * time.Millisecond
			r := w.newRun(t, o)
			held := r.hold(r.first())
			c.fault.step, c.fault.all = 1, true
			r.line.arm(&c.fault)
			_, err := r.db.Release(w.ctx, pool.ReleaseRequest{Token: held.Token})
			r.line.disarm()
			if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error is %v; want %v that says %q", err, c.class, c.says)
			}
			if s := r.status(); s != pool.Allocated {
				t.Errorf("nothing was released, and the node is %s", s)
			}
			_, err = r.db.Release(w.ctx, pool.ReleaseRequest{Token: held.Token})
			r.ok(err)
		})
	}
}

// raw gives a session that is no client of the pool's.
func (w *world) raw(t *testing.T, account string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", fmt.Sprintf("%s@tcp(%s)%s", account, w.server.Host, w.server.Path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestLockWaitTimeout has somebody hold the pool's lock for so long that the server gives up waiting for
// it, and lets go only then.
func TestLockWaitTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newRun(t, options())
	holder, err := w.raw(t, "root").BeginTx(w.ctx, nil)
	r.ok(err)
	defer func() { _ = holder.Rollback() }()
	_, err = holder.Exec("SELECT version FROM pool_locks WHERE pool = ? FOR UPDATE", r.pool)
	r.ok(err)
	granted := make(chan error)
	go func() {
		_, err := r.db.Allocate(w.ctx, r.request(r.owner), pool.AllocateOptions{})
		granted <- err
	}()
	select {
	case code := <-r.line.errors:
		if code != 1205 {
			t.Errorf("the server answered with error %d, want 1205", code)
		}
	case err := <-granted:
		t.Fatalf("it did not wait for the lock: %v", err)
	}
	r.ok(holder.Rollback())
	r.ok(<-granted)
	r.has(pool.Granted, map[string]int{"queued": 1, "granted": 1})
}

// TestTooManyConnections has an account that may have one connection, and somebody who has it: the client
// waits for its place, within its own limit.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := "crowded_" + strings.ReplaceAll(w.server.Path[1:], "wire_", "")
	root := w.raw(t, "root")
	for _, statement := range []string{
		"CREATE USER " + name + "@'%' WITH MAX_USER_CONNECTIONS 1", "GRANT ALL ON " + w.server.Path[1:] + ".* TO " + name + "@'%'",
	} {
		_, err := root.Exec(statement)
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _, _ = root.Exec("DROP USER " + name + "@'%'") })
	holder := w.raw(t, name)
	first, err := holder.Conn(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.PingContext(w.ctx); err != nil {
		t.Fatal(err)
	}

	line := newLine(t, w.server.Host)
	url := fmt.Sprintf("mysql://%s@%s%s", name, line.addr(), w.server.Path)
	ctx, cancel := context.WithTimeout(w.ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := pool.Open(ctx, url, options()); !errors.Is(err, pool.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("within its limit it gets %v", err)
	}
	o := options()
	o.Patience = time.Millisecond // a crowd is waited out all the same
	for len(line.errors) > 0 {
		<-line.errors
	}
	opened := make(chan error)
	go func() {
		db, err := pool.Open(w.ctx, url, o)
		if err == nil {
			_, err = db.Pools(w.ctx)
			_ = db.Close()
		}
		opened <- err
	}()
	select {
	case code := <-line.errors:
		if code != 1226 && code != 1203 {
			t.Errorf("the server answered with error %d", code)
		}
	case err := <-opened:
		t.Fatalf("it was not refused: %v", err)
	}
	_ = first.Close()
	_ = holder.Close()
	if err := <-opened; err != nil {
		t.Error(err)
	}
}
