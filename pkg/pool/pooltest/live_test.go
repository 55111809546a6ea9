package pooltest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/molteniron/molteniron/pkg/pool"
)

// crowd is a pool and the builds that come to it, each with a client of its own that waits as clients do.
// They live in a bubble where time passes at once when everybody waits, and so does the database's.
type crowd struct {
	Nodes  []hardware
	Shapes [][]pool.Group
	Builds []build
	Share  int // per cent of the nodes that one job may hold
}

type build struct {
	Arrives  time.Duration
	Shape    int
	Priority int
	Keeps    time.Duration // from the grant on
	Fate     string        // how it ends
	Job      string        // "" is none
}

// What may become of a build.
const (
	releases  = "releases"
	diesBusy  = "dies with its nodes" // the lease takes them back
	diesEarly = "dies before the claim"
	diesQueue = "dies in the queue"
)

func (c crowd) GoString() string {
	s := script{Nodes: c.Nodes, Shapes: c.Shapes}.GoString()
	for i, b := range c.Builds {
		s += fmt.Sprintf("  build %d: %+v\n", i, b)
	}
	return s
}

// The figures of all crowds.
const (
	crowdAgeing = 5 * time.Second  // that a step of priority is worth
	crowdDeath  = 60 * time.Second // until a dead client is found out: by its heartbeat, or by the lease
	// reaction is how long a live client may take to see what happened. Near the head that is tenths of a second.
	reaction = 3 * time.Second
)

// crowdPolicy says the same to the pool.
var crowdPolicy = []string{"lease=60s", "ageing=5s", "max_priority=3"}

// longest is how long anybody keeps nodes, or a place in the queue without being alive.
func (c crowd) longest() time.Duration {
	longest := time.Duration(0)
	for _, b := range c.Builds {
		longest = max(longest, b.Keeps)
		if b.Fate != releases {
			longest = max(longest, crowdDeath)
		}
	}
	return longest + reaction
}

// top is the highest priority in the crowd.
func (c crowd) top() int {
	top := c.Builds[0].Priority
	for _, b := range c.Builds {
		top = max(top, b.Priority)
	}
	return top
}

var drawBuild = rapid.Custom(func(t *rapid.T) build {
	second := func(most int, label string) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Second
	}
	return build{
		Arrives: second(30, "arrives"), Shape: rapid.IntRange(0, 3).Draw(t, "shape"), Priority: rapid.IntRange(-1, 3).Draw(t, "priority"),
		Keeps: second(10, "keeps"), Job: rapid.SampledFrom([]string{"a", "a", "b", ""}).Draw(t, "job"),
		Fate: rapid.SampledFrom([]string{releases, releases, releases, releases, releases, diesBusy, diesEarly, diesQueue}).Draw(t, "fate"),
	}
})

var drawCrowd = rapid.Custom(func(t *rapid.T) crowd {
	return crowd{
		Nodes:  rapid.SliceOfN(drawHardware, 1, 6).Draw(t, "nodes"),
		Shapes: rapid.SliceOfN(drawGroups, 1, 4).Draw(t, "shapes"),
		Builds: rapid.SliceOfN(drawBuild, 2, 12).Draw(t, "builds"),
		Share:  rapid.SampledFrom([]int{100, 50}).Draw(t, "share"),
	}
})

// live lets a crowd live and gives all that became of it.
func (c crowd) live(t *testing.T, url string) (all []pool.Allocation, err error) {
	synctest.Test(t, func(t *testing.T) {
		all, err = c.inBubble(url)
	})
	return all, err
}

func (c crowd) inBubble(url string) ([]pool.Allocation, error) {
	ctx := context.Background()
	// A bubble begins in the year 2000, and a database's time never runs backwards.
	start, base := time.Now(), time.Date(2030, 1, 15, 12, 0, 0, 0, time.UTC)
	options := pool.Options{Actor: "pooltest", Clock: func() time.Time { return base.Add(time.Since(start)) }}
	admin, err := pool.Open(ctx, url, options)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if _, err := admin.SetPool(ctx, pool.DefaultPool, changes(append(slices.Clone(crowdPolicy), fmt.Sprintf("max_per_job_pct=%d", c.Share))...)); err != nil {
		return nil, err
	}
	var specs []pool.NodeSpec
	for i, h := range c.Nodes {
		s := pool.NodeSpec{Name: fmt.Sprintf("n%d", i), BMC: pool.BMC{Address: fmt.Sprintf("10.2.0.%d", i+1)}, Arch: h.Arch, RAMMB: h.RAM, Cost: h.Cost}
		if h.GPU {
			having("gpu", "yes")(&s)
		}
		specs = append(specs, s)
	}
	if err := admin.AddNodes(ctx, specs); err != nil {
		return nil, err
	}
	failed := make([]error, len(c.Builds))
	var builds sync.WaitGroup
	for i, b := range c.Builds {
		builds.Go(func() {
			time.Sleep(b.Arrives)
			db, err := pool.Open(ctx, url, options)
			if err == nil {
				defer db.Close()
				err = b.run(ctx, db, pool.Request{
					Owner: fmt.Sprintf("build-%d", i), Groups: c.Shapes[b.Shape%len(c.Shapes)], Priority: b.Priority, Labels: map[string]string{"JOB_NAME": b.Job},
				})
			}
			if err != nil {
				failed[i] = fmt.Errorf("build %d: %w", i, err)
			}
		})
	}
	builds.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	return admin.Allocations(ctx, pool.AllocationFilter{})
}

// run is the life of a build. A client that dies closes its connections, so that it can undo nothing.
func (b build) run(ctx context.Context, db *pool.DB, r pool.Request) error {
	if b.Fate == diesQueue {
		death := time.AfterFunc(b.Keeps+time.Second/2, func() { _ = db.Close() })
		defer death.Stop()
	}
	a, err := db.Allocate(ctx, r, pool.AllocateOptions{Wait: 24 * time.Hour})
	switch {
	case errors.Is(err, pool.ErrImpossible):
		return nil
	case err != nil && b.Fate == diesQueue:
		return nil
	case err != nil:
		return err
	}
	if b.Fate == diesEarly {
		return nil
	}
	if _, err := db.Claim(ctx, a.Token); err != nil {
		return err
	}
	if b.Fate == diesBusy {
		return nil
	}
	time.Sleep(b.Keeps)
	_, err = db.Release(ctx, pool.ReleaseRequest{Token: a.Token})
	if b.Fate == diesQueue && err != nil {
		return nil
	}
	return err
}

// starved says who waited for longer than is allowed, and who overtook an equal.
//
// The bound: while somebody waits, the first in the queue has all ready nodes that it could use set aside
// for it, and whoever has the others gives them back, or loses them, within longest. So somebody at the
// head is served at least that often. Ahead of a request can come only who asked before it, or asks with a
// higher priority, up to (highest priority − its own) × ageing after it. Where one job's share is limited each
// turn may take twice as long, because nothing is set aside until the job's builds have given back.
func (c crowd) starved(all []pool.Allocation) []string {
	var faults []string
	for _, a := range all {
		if a.GrantedAt.IsZero() {
			continue
		}
		closed := a.QueuedAt.Add(time.Duration(c.top()-a.Priority) * crowdAgeing)
		ahead := 0
		for _, b := range all {
			if !before(b, a) {
				continue
			}
			gone := b.GrantedAt // from the queue
			if gone.IsZero() {
				gone = b.EndedAt
			}
			if gone.After(closed) {
				ahead++
			}
			equal := pool.Describe(a.Groups) == pool.Describe(b.Groups) && a.Labels["JOB_NAME"] == b.Labels["JOB_NAME"]
			if equal && b.QueuedAt.Before(a.GrantedAt) && gone.After(a.GrantedAt) && b.EndReason != pool.EndLapsed {
				faults = append(faults, fmt.Sprintf("%s was served at %s before its equal %s, which is before it", a.Owner, a.GrantedAt, b.Owner))
			}
		}
		turns := ahead + 1
		if c.Share < 100 {
			turns *= 2
		}
		bound := closed.Add(time.Duration(turns) * c.longest())
		if a.GrantedAt.After(bound) {
			faults = append(faults, fmt.Sprintf("%s came at %s and was served at %s; with %d ahead it must be at %s",
				a.Owner, a.QueuedAt, a.GrantedAt, ahead, bound))
		}
	}
	return faults
}

// before is the order of the queue.
func before(a, b pool.Allocation) bool {
	rank := func(a pool.Allocation) time.Time { return a.QueuedAt.Add(-time.Duration(a.Priority) * crowdAgeing) }
	return cmp.Or(rank(a).Compare(rank(b)), cmp.Compare(a.ID, b.ID)) < 0
}

// TestNobodyStarves lets random crowds wait, some of whose clients die, with nobody to tend the pool. That
// all who can be served are served at all is part of what it shows.
func TestNobodyStarves(t *testing.T) {
	engine := sqliteEngine(t)
	examples(t, 10, func(rt *rapid.T) {
		c := drawCrowd.Draw(rt, "crowd")
		all, err := c.live(t, engine(t)[0])
		if err != nil {
			rt.Fatalf("%v", err)
		}
		if faults := c.starved(all); len(faults) > 0 {
			rt.Fatalf("%s", strings.Join(faults, "\n"))
		}
	})
}

// TestStreams has more builds come than the pool can serve, so that the queue only grows, and among them
// one that would wait for the last of them if nothing were done for it.
func TestStreams(t *testing.T) {
	anyNode := func(count int) []pool.Group { return []pool.Group{{Count: count}} }
	stream := func(n int, every time.Duration, each build, poor build) []build {
		builds := []build{poor}
		for i := range n {
			each.Arrives = time.Duration(i) * every
			builds = append(builds, each)
		}
		return builds
	}
	for name, c := range map[string]crowd{
		"four nodes among requests for one": {
			Nodes: make([]hardware, 4), Shapes: [][]pool.Group{anyNode(1), anyNode(4)}, Share: 100,
			Builds: stream(30, time.Second/2, build{Keeps: 3 * time.Second, Fate: releases},
				build{Arrives: 3 * time.Second, Shape: 1, Keeps: 3 * time.Second, Fate: releases}),
		},
		"a low priority among high ones": {
			Nodes: make([]hardware, 1), Shapes: [][]pool.Group{anyNode(1)}, Share: 100,
			Builds: stream(30, time.Second/2, build{Keeps: time.Second, Priority: 1, Fate: releases},
				build{Arrives: 2 * time.Second, Keeps: time.Second, Fate: releases}),
		},
		"a job's whole share among its requests for one": {
			Nodes: make([]hardware, 5), Shapes: [][]pool.Group{anyNode(1), anyNode(2)}, Share: 40,
			Builds: stream(30, time.Second/2, build{Keeps: 3 * time.Second, Job: "nightly", Fate: releases},
				build{Arrives: 3 * time.Second, Shape: 1, Keeps: 3 * time.Second, Job: "nightly", Fate: releases}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := c.live(t, sqliteEngine(t)(t)[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, fault := range c.starved(all) {
				t.Error(fault)
			}
			last := slices.MaxFunc(all, func(a, b pool.Allocation) int { return a.GrantedAt.Compare(b.GrantedAt) })
			if last.Owner == "build-0" {
				t.Errorf("%s was served last of all, at %s", last.Owner, last.GrantedAt)
			}
		})
	}
}
