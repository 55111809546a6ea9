package pooltest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/molteniron/molteniron/pkg/pool"
)

// forecast is a pool of equal nodes, who holds them, and who waits.
type forecast struct {
	Nodes  int
	Share  int // per cent, of one job
	Builds []forecastBuild
}

type forecastBuild struct {
	Count, Priority int
	Minutes         int // that it keeps its nodes
	Job             string
}

var drawForecast = rapid.Custom(func(t *rapid.T) forecast {
	return forecast{
		Nodes: rapid.IntRange(1, 6).Draw(t, "nodes"), Share: rapid.SampledFrom([]int{100, 50}).Draw(t, "share"),
		Builds: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) forecastBuild {
			return forecastBuild{
				Count: rapid.SampledFrom([]int{1, 1, 2, 3}).Draw(t, "count"), Priority: rapid.SampledFrom([]int{0, 0, 1, 5}).Draw(t, "priority"),
				Minutes: rapid.IntRange(1, 60).Draw(t, "minutes"), Job: rapid.SampledFrom([]string{"", "a", "a", "b"}).Draw(t, "job"),
			}
		}), 1, 12).Draw(t, "builds"),
	}
})

// TestEstimatesComeTrue has builds keep their nodes for exactly their leases, of which estimates know, and
// nobody come after the estimates were made. Then all are served when they were told.
func TestEstimatesComeTrue(t *testing.T) {
	engine := sqliteEngine(t)
	examples(t, 25, func(rt *rapid.T) {
		f := drawForecast.Draw(rt, "forecast")
		w := newWorld(rt, engine(t))
		w.modelled = true // what is due is due when the test says so
		w.policy(pool.DefaultPool, "pick_up=10h", fmt.Sprintf("max_per_job_pct=%d", f.Share))
		for i := range f.Nodes {
			w.addNode(fmt.Sprint("n", i))
		}
		var waiting []*pool.Allocation
		var busy []time.Time
		claim := func(a *pool.Allocation) {
			claimed, err := w.db.Claim(w.ctx, a.Token)
			w.ok(err)
			busy = append(busy, claimed.ExpiresAt)
		}
		for i, b := range f.Builds {
			r := many(fmt.Sprint("build ", i), b.Count, priority(b.Priority), lease(time.Duration(b.Minutes)*time.Minute), ofJob(b.Job))
			a, err := w.db.Enqueue(w.ctx, r, 1000*time.Hour)
			switch {
			case errors.Is(err, pool.ErrImpossible):
			case err != nil:
				rt.Fatalf("%v", err)
			case a.State == pool.Granted:
				claim(a)
			default:
				waiting = append(waiting, a)
			}
		}
		told := map[int64]pool.Estimate{}
		for _, a := range waiting {
			told[a.ID] = w.why(a.Owner).Estimate
		}
		for len(waiting) > 0 && len(busy) > 0 {
			next := slices.MinFunc(busy, time.Time.Compare)
			busy = slices.DeleteFunc(busy, next.Equal)
			w.clock.set(next)
			w.tend()
			waiting = slices.DeleteFunc(waiting, func(a *pool.Allocation) bool {
				now := w.byID(a.ID)
				if now.State == pool.Waiting {
					return false
				}
				claim(a)
				w.near("the time at which "+a.Owner+" is served", now.GrantedAt, told[a.ID].P50)
				return true
			})
		}
		for _, a := range waiting {
			w.Errorf("%s is never served, it was told %s", a.Owner, told[a.ID])
		}
	})
}
