package wiretest

import (
	"sync"
	"testing"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// TestOutageWhileWaiting: who waits in the queue waits for the database too, for longer than its patience with an
// operation, and has its turn when both are back.
func TestOutageWhileWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := options()
	o.Patience = 20 * time.Millisecond
	r := w.newRun(t, o)
	r.hold(r.first())
	queued, granted := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		_, err := r.db.Allocate(w.ctx, r.request(r.owner), pool.AllocateOptions{Wait: patience, Progress: func(pool.Position) {
			once.Do(func() { close(queued) })
		}})
		granted <- err
	}()
	<-queued
	r.line.arm(&fault{step: 1, mode: dropAndCut, all: true})
	for n := 0; n < 8; { // tries to reach it, with longer and longer pauses
		select {
		case err := <-granted:
			t.Fatalf("while the database is away: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
		r.line.mu.Lock()
		n = r.line.packet
		r.line.mu.Unlock()
	}
	r.line.disarm()
	_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: r.first()})
	r.ok(err)
	r.ok(<-granted)
	r.has(pool.Granted, map[string]int{"queued": 1, "granted": 1})
}
