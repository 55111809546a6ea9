package pool

import (
	"context"
	"path/filepath"
	"testing"
)

// TestCancelledBegin ends transactions while they begin: none stays open on a connection that is used again.
func TestCancelledBegin(t *testing.T) {
	t.Parallel()
	db := initialised(t, "sqlite://"+filepath.Join(t.TempDir(), "pool.db"))
	story := func(ctx context.Context) error {
		return db.transact(ctx, func(t *tx) error { return t.lock([]string{DefaultPool}) })
	}
	for range 1000 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_ = story(ctx) // it may have been done, or not
		if err := story(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
