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

// durations are how long past builds of one job kept their nodes.
type durations struct {
	p50, p90 time.Duration
	builds   int
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
	all := map[string][]time.Duration{}
	for _, r := range rows {
		if len(all[r.JobKey]) < pastBuilds {
			all[r.JobKey] = append(all[r.JobKey], r.EndedAt.Sub(r.ClaimedAt.Time))
		}
	}
	past := map[string]durations{}
	for key, list := range all {
		if len(list) < leastBuilds {
			continue
		}
		slices.Sort(list)
		past[key] = durations{p50: list[len(list)/2], p90: list[(len(list)-1)*9/10], builds: len(list)}
	}
	return past, nil
}

// estimate plays the queue forward until the i-th request is served: once with the builds' median
// durations, once with their 90th percentile. Where a job has no past the end of the lease stands for
// it, which is an upper bound.
func (s *scene) estimate(i int) Estimate {
	switch groups := s.queue[i].groups; {
	case s.pool.Paused:
		return Estimate{Basis: "unknown: the pool is paused"}
	case !s.could(groups, (*nodeRow).inService):
		return Estimate{Basis: "unknown: nodes must be repaired first"}
	}
	p50, leases50, ok := s.play(i, func(d durations) time.Duration { return d.p50 })
	if !ok {
		return Estimate{Basis: "unknown: too far ahead to tell"}
	}
	p90, leases, _ := s.play(i, func(d durations) time.Duration { return d.p90 })
	leases = max(leases, leases50)
	builds := 0
	for _, d := range s.past {
		builds += d.builds
	}
	basis := "the nodes are free now"
	switch {
	case !p90.After(s.now):
	case leases > 0 && builds > 0:
		basis = fmt.Sprintf("past durations of the same jobs (%d builds), and the ends of %d leases where there are none", builds, leases)
	case leases > 0:
		basis = "the ends of the leases, which is the latest; the jobs have no past here"
	default:
		basis = fmt.Sprintf("past durations of the same jobs (%d builds)", builds)
	}
	return Estimate{Known: true, P50: p50, P90: maxTime(p50, p90), Basis: basis}
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

// play simulates the pool until the target request is granted. leases counts the builds of which only the
// lease is known.
func (s *scene) play(target int, of func(durations) time.Duration) (when time.Time, leases int, ok bool) {
	freeAt := map[*nodeRow]time.Time{}
	for _, n := range s.nodes {
		switch {
		case !n.inService():
		case n.Status == Allocated:
			end := n.ExpiresAt.Time
			if n.JobKey != nil && !n.ClaimedAt.IsZero() {
				if d, known := s.past[*n.JobKey]; known {
					end = n.ClaimedAt.Add(of(d))
				} else {
					leases++
				}
			}
			freeAt[n] = maxTime(end, s.now)
		case n.Status == Dirty:
			freeAt[n] = s.now.Add(seconds(s.pool.CleanLimitS))
		default:
			freeAt[n] = s.now
		}
	}
	if target > playQueue {
		return time.Time{}, 0, false
	}
	waiting := slices.Clone(s.queue[:target+1])
	goal := s.queue[target]
	for now, step := s.now, 0; step < playSteps; step++ {
		used := map[*nodeRow]bool{}
		hopeless := map[string]bool{} // equal requests are matched once
		for _, q := range waiting {
			if hopeless[q.Request] && q != goal {
				continue
			}
			m := newMatching(q.groups)
			for _, n := range s.nodes {
				if m.complete() {
					break
				}
				if free, in := freeAt[n]; in && !free.After(now) && !used[n] {
					m.offer(n)
				}
			}
			hopeless[q.Request] = m.size == 0
			granted := m.complete()
			if granted && q == goal {
				return now, leases, true
			}
			end := now.Add(seconds(q.LeaseS))
			if d, known := s.past[q.JobKey]; known {
				end = now.Add(of(d))
			} else if granted {
				leases++
			}
			if !granted && !s.could(q.groups, (*nodeRow).inService) {
				continue // it holds nothing up
			}
			for _, nodes := range m.nodes {
				for _, n := range nodes {
					used[n] = true
					if granted {
						freeAt[n] = end
					}
				}
			}
			if granted {
				q.served = true
			}
		}
		waiting = slices.DeleteFunc(waiting, func(q *sceneRequest) bool {
			served := q.served
			q.served = false
			return served
		})
		next := time.Time{}
		for _, free := range freeAt {
			if free.After(now) && (next.IsZero() || free.Before(next)) {
				next = free
			}
		}
		if next.IsZero() {
			return time.Time{}, leases, false
		}
		now = next
	}
	return time.Time{}, leases, false
}
