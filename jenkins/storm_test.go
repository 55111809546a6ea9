package jenkins_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/molteniron/molteniron/jenkins/internal/executor"
	"github.com/molteniron/molteniron/pkg/pool"
)

// schedules is how many random ones TestStorm runs; MOLTENIRON_SCHEDULES says another number.
const schedules = 20

// stormBuilds and stormNodes are the size of each.
const stormBuilds, stormNodes = 30, 8

// TestStorm runs random schedules of builds, in which people abort, time limits end, agents vanish and
// controllers restart, all at moments that nobody has chosen. In the end all nodes are home, no node was
// anybody's twice, and nobody was served before his turn. A failure names its seed; MOLTENIRON_SEED
// repeats it, as far as processes repeat themselves.
func TestStorm(t *testing.T) {
	testJobs(t) // or skip
	n := schedules
	if testing.Short() {
		n = 1
	}
	if text := os.Getenv("MOLTENIRON_SCHEDULES"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	first := uint64(time.Now().UnixNano())
	if text := os.Getenv("MOLTENIRON_SEED"); text != "" {
		var err error
		if first, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
		n = 1
	}
	var mu sync.Mutex
	total := map[string]int{}
	t.Run("schedules", func(t *testing.T) {
		for i := range n {
			seed := first + uint64(i)
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel()
				open := newLab
				if seed%2 == 1 && os.Getenv("MOLTENIRON_TEST_MYSQL") != "" {
					open = newServerLab
				}
				counts := open(t, stormNodes).storm(rand.New(rand.NewPCG(seed, 0)))
				mu.Lock()
				defer mu.Unlock()
				for what, count := range counts {
					total[what] += count
				}
			})
		}
	})
	t.Logf("%d schedules of %d builds on %d nodes: %v", n, stormBuilds, stormNodes, total)
}

// storm is one schedule. It counts what happened.
func (l *lab) storm(r *rand.Rand) map[string]int {
	l.Helper()
	s := l.scene(jenkinsURL)
	s.addJob(releaseJob)
	if err := os.WriteFile(filepath.Join(s.gates, "slow"), nil, 0o644); err != nil {
		s.Fatal(err)
	}

	// All is decided here, so that a seed is a schedule.
	type event struct {
		at   time.Duration
		what string
		do   func()
	}
	var events []event
	add := func(at time.Duration, what string, do func()) { events = append(events, event{at, what, do}) }
	moment := func(most time.Duration) time.Duration { return time.Duration(r.Int64N(int64(most))) }
	builds := make([]*executor.Build, stormBuilds)
	touched := make([]bool, stormBuilds) // by one of the events
	for i := range builds {
		at, count := moment(time.Second), []string{"1", "1", "1", "1", "2", "2", "3"}[r.IntN(7)]
		add(at, "builds", func() { builds[i] = s.jenkins.Build(testJob, map[string]string{"MOLTENIRON_COUNT": count}) })
		switch r.IntN(10) {
		case 0, 1, 2:
			touched[i] = true
			at += moment(2 * time.Second)
			add(at, "aborts", func() { builds[i].Abort() })
			if r.IntN(3) == 0 {
				add(at+moment(200*time.Millisecond), "second aborts", func() { builds[i].Abort() })
			}
		case 3:
			touched[i] = true
			add(at+moment(2*time.Second), "time limits", func() { builds[i].TimeOut() })
		}
	}
	agents := []*executor.Agent{s.agent, s.addAgent("agent-2", "molteniron", 15), s.addAgent("agent-3", "molteniron", 15)}
	lost := map[*executor.Agent]bool{}
	for i := range r.IntN(3) {
		withMachine := r.IntN(2) == 0
		add(moment(3*time.Second), "lost agents", func() {
			lost[agents[i]] = true
			agents[i].Lose(withMachine)
			agents = append(agents, s.addAgent(fmt.Sprint("agent-", len(agents)+1), "molteniron", 15))
		})
	}
	restarts := r.IntN(8) == 0
	if restarts {
		s.ctl("pool", "set", pool.DefaultPool, "lease=5s", "max_lease=5s") // nobody gives back what it makes forgotten
		add(moment(3*time.Second), "restarts", func() { s.jenkins.Restart(false) })
	}
	slices.SortStableFunc(events, func(a, b event) int { return int(a.at - b.at) })

	counts, began := map[string]int{}, time.Now()
	for _, e := range events {
		time.Sleep(time.Until(began.Add(e.at)))
		e.do()
		counts[e.what]++
	}
	for i, b := range builds {
		s.ends(b)
		switch {
		case b.Result() == "":
			counts["forgotten or cancelled"]++
		case b.Result() != "SUCCESS" && !touched[i] && !restarts && !lost[b.Agent()]:
			s.Errorf("build %d ended with %s, and nothing had happened to it:\n%s", b.Number, b.Result(), b.Raw())
		default:
			counts[strings.ToLower(b.Result())]++
		}
	}
	s.jenkins.Wait()
	s.until("all nodes are home", func() bool {
		if _, err := s.db.Tend(context.Background()); err != nil {
			s.Fatal(err)
		}
		return s.home() || s.abandoned(began.Add(15*time.Second), counts)
	})
	if !s.home() {
		s.lapse()
		if !s.home() {
			s.Errorf("not all is home:\n%s%s", s.ctl("status"), s.ctl("queue"))
		}
	}
	s.audit()
	s.private()
	return counts
}

// abandoned reports, from a moment on, whether what is not home yet waits for a client to be given up that
// died with its agent and whose build a restart made the controller forget.
func (s *scene) abandoned(from time.Time, counts map[string]int) bool {
	s.Helper()
	if counts["restarts"] == 0 || time.Now().Before(from) {
		return false
	}
	list, err := s.db.Allocations(context.Background(), pool.AllocationFilter{States: []pool.State{pool.Waiting, pool.Granted, pool.Claimed}})
	if err != nil {
		s.Fatal(err)
	}
	return !slices.ContainsFunc(list, func(a pool.Allocation) bool { return a.State == pool.Claimed })
}

// audit reads the whole history: no node was with two at once, each came back from who had it, and those
// who came first were served first.
func (s *scene) audit() {
	s.Helper()
	events, err := s.db.Events(context.Background(), pool.EventFilter{})
	if err != nil {
		s.Fatal(err)
	}
	holder, generation := map[string]int64{}, map[string]int64{}
	for _, e := range events {
		switch {
		case e.Node == "" || e.Allocation == 0:
		case e.Kind == "granted":
			if holder[e.Node] != 0 || e.Generation <= generation[e.Node] {
				s.Errorf("event %d: %s is granted to %d (generation %d), and was with %d (%d)",
					e.ID, e.Node, e.Allocation, e.Generation, holder[e.Node], generation[e.Node])
			}
			holder[e.Node], generation[e.Node] = e.Allocation, e.Generation
		default:
			if holder[e.Node] != e.Allocation || generation[e.Node] != e.Generation {
				s.Errorf("event %d (%s): %s comes from %d (%d), and was with %d (%d)",
					e.ID, e.Kind, e.Node, e.Allocation, e.Generation, holder[e.Node], generation[e.Node])
			}
			holder[e.Node] = 0
		}
	}

	list, err := s.db.Allocations(context.Background(), pool.AllocationFilter{})
	if err != nil {
		s.Fatal(err)
	}
	slices.Reverse(list) // oldest first, as they queued
	list = slices.DeleteFunc(list, func(a pool.Allocation) bool { return a.GrantedAt.IsZero() })
	// On a server a ticket is seen a moment after its time; on SQLite nobody is beside it.
	slack := time.Duration(0)
	if s.driver == "mysql" {
		slack = time.Second
	}
	for i, a := range list {
		for _, b := range list[i+1:] {
			if b.GrantedAt.Before(a.GrantedAt) && b.GrantedAt.Sub(a.QueuedAt) > slack {
				s.Errorf("%s (%d nodes) queued %s and was served %s, after %s (%d nodes), which queued %s and was served %s", a.Owner, a.Count(),
					a.QueuedAt, a.GrantedAt, b.Owner, b.Count(), b.QueuedAt, b.GrantedAt)
			}
		}
	}
}
