package pool

import (
	"testing"
	"time"
)

// TestPace has clients wait in queues that move at an even pace: they may not look often while nothing moves,
// and must not be found asleep once they have seen that the queue moves fast.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		place int
		want  time.Duration
	}{{1, pollPerPlace}, {2, 2 * pollPerPlace}, {20, holdConn}, {1000, slowestPoll}} {
		var p pace
		for now := time.Unix(0, 0); now.Before(time.Unix(60, 0)); now = now.Add(p.pause()) {
			p.see(c.place, now)
		}
		if p.pause() != c.want {
			t.Errorf("at place %d, where nothing moves, it looks every %s, want %s", c.place, p.pause(), c.want)
		}
	}

	for _, each := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, time.Second, time.Minute} {
		const from = 500
		start := time.Unix(0, 0)
		place := func(now time.Time) int { return from - int(now.Sub(start)/each) }
		var p pace
		looks := 0
		now := start
		for ; place(now) > 0; now = now.Add(p.pause()) {
			p.see(place(now), now)
			looks++
		}
		// It is at the head when only it is left; the very first look-away knows no pace yet.
		late := now.Sub(start) - from*each
		if late > max(2*each, 2*pollPerPlace) && looks > 1 {
			t.Errorf("where a place takes %s, it looks %s after it was served", each, late)
		}
		if most := 40 + int(from*each/pollPerPlace); looks > most {
			t.Errorf("where a place takes %s, it looks %d times, want at most %d", each, looks, most)
		}
	}
}
