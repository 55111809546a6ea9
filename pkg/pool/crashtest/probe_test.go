package crashtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// attempt is one short change to a pool, which needs its lock.
type attempt struct {
	from, to time.Time
	err      error
}

// probe is a client that is never touched and sees for how long the pool's lock is not to be had.
type probe struct {
	mu       sync.Mutex
	attempts []attempt
	done     chan struct{}
}

// saw says whether an attempt that began after t ended well or, if that is asked for, with ErrUnreachable.
func (p *probe) saw(t time.Time, unreachable bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range slices.Backward(p.attempts) {
		if a.from.Before(t) {
			break
		}
		if unreachable && errors.Is(a.err, pool.ErrUnreachable) || !unreachable && a.err == nil {
			return true
		}
	}
	return false
}

// probePause lies between two attempts: often enough to meet every fault.
const probePause = 100 * time.Millisecond

// probeNode is the node of a pool that the probe changes; it is in maintenance, so that nobody gets it.
func probeNode(pool string) string { return pool + "-probe" }

func startProbe(ctx context.Context, db *pool.DB, name string) *probe {
	p := &probe{done: make(chan struct{})}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(probePause)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			a := attempt{from: time.Now()}
			_, a.err = db.SetMaintenance(context.WithoutCancel(ctx), probeNode(name), true, fmt.Sprintf("probe %d", i))
			a.to = time.Now()
			p.mu.Lock()
			p.attempts = append(p.attempts, a)
			p.mu.Unlock()
		}
	}()
	return p
}

// checkProbe holds what the probe of a pool saw to the engine's promise. frozen are the spells for which a
// client was frozen with the lock of the last pool (of the file, on SQLite); that somebody got it nevertheless,
// or was told that nobody can, was awaited in each of them.
func checkProbe(t *testing.T, e engine, name string, attempts []attempt, frozen []spell) {
	var longest time.Duration
	unreachable := 0
	for _, a := range attempts {
		took := a.to.Sub(a.from)
		longest = max(longest, took)
		switch {
		case a.err == nil:
		case errors.Is(a.err, pool.ErrUnreachable) && e.oneLock:
			unreachable++
		default:
			t.Errorf("pool %s: an attempt at %s failed after %s: %v", name, a.from.Format(time.TimeOnly), took, a.err)
		}
		if took > e.stall {
			t.Errorf("pool %s: its lock was not to be had for %s at %s; at most %s is allowed", name, took, a.from.Format(time.TimeOnly), e.stall)
		}
	}
	if e.oneLock {
		for _, s := range frozen {
			for _, a := range attempts {
				if a.err == nil && a.from.After(s.from) && a.to.Before(s.to) {
					t.Errorf("pool %s: an attempt succeeded while another process was frozen with the lock: %+v", name, a)
				}
			}
		}
	}
	t.Logf("pool %s: %d attempts of the probe, the longest took %s, %d were told that the database is unreachable",
		name, len(attempts), longest.Round(time.Millisecond), unreachable)
}
