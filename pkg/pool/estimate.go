package pool

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Estimate says when a request will be served, and how much that is worth.
type Estimate struct {
	Known bool
	P50   time.Time // as likely before as after, as far as past builds tell
	P90   time.Time // nine times out of ten before
	Basis string    // what it rests on; for an unknown one why it is
}

// String says it in words, with times in UTC.
func (e Estimate) String() string {
	switch {
	case !e.Known:
		return e.Basis
	case e.P50.Equal(e.P90):
		return fmt.Sprintf("%s, by %s", formatTime(e.P50), e.Basis)
	}
	return fmt.Sprintf("%s, nine times out of ten before %s, by %s", formatTime(e.P50), formatTime(e.P90), e.Basis)
}

// durations are how long past builds of one job kept their nodes, the shortest first.
type durations []time.Duration

// The two moments of an estimate, each as the duration to expect of those that are possible: that which
// half of the builds, and nine of ten, did not exceed.
func median(d durations) time.Duration     { return d[(len(d)-1)/2] }
func ninthOfTen(d durations) time.Duration { return d[(9*len(d)+9)/10-1] }

// beyond are those that are longer than what has passed.
func (d durations) beyond(passed time.Duration) durations {
	i, _ := slices.BinarySearch(d, passed+1)
	return d[i:]
}

// Of past builds the newest pastBuilds of a job count, and fewer than leastBuilds tell nothing.
const (
	pastBuilds  = 50
	leastBuilds = 3
)

// pastDurations reads how long the jobs of a scene kept their nodes before, in one query.
func (db *DB) pastDurations(ctx context.Context, pool string, s *scene) (map[string]durations, error) {
	seen := map[string]bool{noJob: true}
	var keys []string
	note := func(key string) {
		if key != "" && !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	for _, n := range s.nodes {
		if n.JobKey != nil {
			note(*n.JobKey)
		}
	}
	for _, q := range s.queue {
		note(q.JobKey)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	var rows []struct {
		JobKey    string `db:"job_key"`
		ClaimedAt stamp  `db:"claimed_at"`
		EndedAt   stamp  `db:"ended_at"`
	}
	if err := db.list(ctx, &rows, `SELECT job_key, claimed_at, ended_at FROM allocations WHERE pool = ? AND job_key IN (?)
		AND state = 'ended' AND end_reason = 'released' AND hold_reason = '' ORDER BY id DESC LIMIT ?`, pool, keys, pastBuilds*len(keys)); err != nil {
		return nil, err
	}
	past := map[string]durations{}
	for _, r := range rows {
		if len(past[r.JobKey]) < pastBuilds {
			past[r.JobKey] = append(past[r.JobKey], r.EndedAt.Sub(r.ClaimedAt.Time))
		}
	}
	for key, list := range past {
		if len(list) < leastBuilds {
			delete(past, key)
		}
		slices.Sort(list)
	}
	return past, nil
}

// estimate plays the queue forward until the i-th request is served: once with the builds' median
// durations, once with their 90th percentile. Where a job has no past the end of the lease stands for
// it, which is an upper bound.
func (s *scene) estimate(i int) Estimate {
	switch q := s.queue[i]; {
	case s.dead(q):
		return Estimate{Basis: "never: " + deadReason}
	case s.pool.Paused:
		return Estimate{Basis: "unknown: the pool is paused"}
	case !s.could(q.groups, everyNode):
		return Estimate{Basis: "never: the pool could not meet it"}
	case !s.could(q.groups, (*nodeRow).inService):
		return Estimate{Basis: "unknown: nodes must be repaired first"}
	case !s.shares().ever(q.JobKey, countNodes(q.groups)):
		return Estimate{Basis: "never: one job may not have so many nodes"}
	}
	early, ok := s.play(i, median)
	if !ok {
		return Estimate{Basis: "unknown: too far ahead to tell"}
	}
	late, ok := s.play(i, ninthOfTen)
	if !ok {
		late = early
	}
	builds := 0
	for job := range late.jobs {
		builds += len(s.past[job])
	}
	basis := "nodes that are free now"
	switch {
	case !late.when.After(s.now):
	case late.leases > 0 && builds > 0:
		basis = fmt.Sprintf("past durations of the same jobs (%d builds), and the ends of leases (%d) where there are none", builds, late.leases)
	case late.leases > 0 && s.pool.OnExpiry == ExpiryQuarantine:
		basis = "the ends of the leases, unless one is extended, or runs out, which breaks its nodes here; the jobs have no past here"
	case late.leases > 0:
		basis = "the ends of the leases, which is the latest unless one is extended; the jobs have no past here"
	case builds > 0:
		basis = fmt.Sprintf("past durations of the same jobs (%d builds)", builds)
	default:
		basis = "the time that the pool allows for cleaning, which is the latest"
	}
	if late.braked {
		basis += "; while its job has its share of the pool, builds of others may come before it"
	}
	if s.pool.Cleaning && late.when.After(s.now) && late.leases+builds > 0 {
		basis += fmt.Sprintf(", and all of the %s that the pool allows for cleaning", formatDuration(seconds(s.pool.CleanLimitS)))
	}
	return Estimate{Known: true, P50: early.when, P90: maxTime(early.when, late.when), Basis: basis}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// playSteps bounds the simulation: each step is the moment at which some nodes come back.
const playSteps = 2000

// playQueue bounds how many requests before one are played through.
const playQueue = 200

// played is the outcome of a simulation, with what it rests on.
type played struct {
	when   time.Time
	leases int             // builds of which only the lease is known
	jobs   map[string]bool // whose past builds were asked
	braked bool            // its job's share held the target back for a while
}

// play simulates the pool until the target request is granted.
func (s *scene) play(target int, of func(durations) time.Duration) (p played, ok bool) {
	if target > playQueue {
		return p, false
	}
	p.jobs = map[string]bool{}
	busy, job := map[*nodeRow]time.Time{}, map[*nodeRow]string{} // until when builds of which job keep nodes
	freeAt := map[*nodeRow]time.Time{}
	cleaning := time.Duration(0) // after a build
	if s.pool.Cleaning {
		cleaning = seconds(s.pool.CleanLimitS)
	}
	// Who is behind the target gets only what is not set aside for it. But for who waits for its job's share
	// nothing is.
	queue := s.queue[:target+1]
	if s.pool.MaxPerJobPct < 100 {
		queue = s.queue[:min(len(s.queue), playQueue+1)]
	}
	queue = slices.DeleteFunc(slices.Clone(queue), s.dead)
	hopeful := map[string]bool{} // what the nodes in service could ever fill, by request
	var asked []Group
	for _, q := range queue {
		if _, known := hopeful[q.Request]; !known {
			hopeful[q.Request] = s.could(q.groups, (*nodeRow).inService)
			asked = append(asked, q.groups...)
		}
	}
	for _, n := range s.nodes {
		free := s.now
		switch n.Status {
		case Allocated:
			end, past := s.buildEnd(n, of)
			switch {
			case !suitsAny(n, asked): // nothing rests on it
			case past:
				p.jobs[*n.JobKey] = true
			default:
				p.leases++
			}
			busy[n] = maxTime(end, s.now)
			if n.JobKey != nil {
				job[n] = *n.JobKey
			}
			free = busy[n].Add(cleaning)
		case Dirty:
			free = maxTime(n.DirtyUntil.Time, s.now)
		}
		if n.inService() {
			freeAt[n] = free
		}
	}
	waiting := queue
	goal := s.queue[target]
	for now, step := s.now, 0; step < playSteps; step++ {
		used := map[*nodeRow]bool{}
		served := map[*sceneRequest]bool{}
		hopeless := map[string]bool{} // equal requests are matched once
		shares := s.shares()
		if shares != nil {
			shares.held = map[string]int{}
			for n, until := range busy {
				if until.After(now) {
					shares.held[job[n]]++
				}
			}
		}
		for _, q := range waiting {
			want := countNodes(q.groups)
			if hopeless[q.Request] && q != goal || !shares.allow(q.JobKey, want) {
				if hopeful[q.Request] {
					shares.keep(q.JobKey, want)
				}
				p.braked = p.braked || q == goal
				continue
			}
			m := matchAmong(q.groups, s.nodes, func(n *nodeRow) bool {
				free, in := freeAt[n]
				return in && !free.After(now) && !used[n]
			})
			hopeless[q.Request] = m.size == 0
			granted := m.complete()
			if granted && q == goal {
				p.when = now
				return p, true
			}
			if !granted && !hopeful[q.Request] {
				continue // it holds nothing up
			}
			end := now
			if granted {
				served[q] = true
				shares.take(q.JobKey, want)
				end = now.Add(seconds(q.LeaseS))
				if d, known := s.past[q.JobKey]; known {
					p.jobs[q.JobKey] = true
					end = now.Add(min(of(d), seconds(q.LeaseS)))
				} else {
					p.leases++
				}
			} else {
				shares.keep(q.JobKey, want)
			}
			for _, nodes := range m.nodes {
				for _, n := range nodes {
					used[n] = true
					if granted {
						busy[n], freeAt[n], job[n] = end, end.Add(cleaning), q.JobKey
					}
				}
			}
		}
		waiting = slices.DeleteFunc(waiting, func(q *sceneRequest) bool { return served[q] })
		next := time.Time{}
		for _, moments := range []map[*nodeRow]time.Time{freeAt, busy} {
			for _, at := range moments {
				if at.After(now) && (next.IsZero() || at.Before(next)) {
					next = at
				}
			}
		}
		if next.IsZero() {
			return p, false
		}
		now = next
	}
	return p, false
}

// buildEnd is when the build that holds a node may be expected to give it back: as long after its claim
// as those past builds of its job took that took longer than it has by now. Where there are none, and
// for a hold, it is the end of the lease, which is the latest.
func (s *scene) buildEnd(n *nodeRow, of func(durations) time.Duration) (end time.Time, past bool) {
	if n.JobKey != nil && !n.ClaimedAt.IsZero() && (n.HoldReason == nil || *n.HoldReason == "") {
		if possible := s.past[*n.JobKey].beyond(s.now.Sub(n.ClaimedAt.Time)); len(possible) > 0 {
			if end := n.ClaimedAt.Add(of(possible)); end.Before(n.ExpiresAt.Time) {
				return end, true
			}
		}
	}
	if s.pool.OnExpiry == ExpiryAsk {
		return n.ExpiresAt.Add(seconds(s.pool.GraceS)), false
	}
	return n.ExpiresAt.Time, false
}
