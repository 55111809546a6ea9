package pool

import (
	"context"
	"path/filepath"
	"testing"
	"time"
)

// TestCancelledBegin ends contexts while a transaction begins: none stays open on a connection that is used again.
// With the race detector, which draws that moment out, a fault shows in each run, without it in few.
func TestCancelledBegin(t *testing.T) {
	t.Parallel()
	db := initialised(t, "sqlite://"+filepath.Join(t.TempDir(), "pool.db"))
	db.sql.SetMaxOpenConns(1)
	begin := func(ctx context.Context) error {
		conn, err := db.sql.Connx(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		defer conn.Close()
		story := &tx{conn: conn, ctx: ctx, db: db}
		defer story.rollback()
		return story.begin()
	}
	for i := range 500 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for end := time.Now().Add(time.Duration(i%20) * time.Microsecond); time.Now().Before(end); { // another moment each time
			}
			cancel()
		}()
		_ = begin(ctx) // it may have begun, or not
		if err := begin(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
