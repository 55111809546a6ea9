package pooltest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// ofJob labels a request as a build of a job.
func ofJob(name string) func(*pool.Request) {
	return func(r *pool.Request) { r.Labels = map[string]string{"JOB_NAME": name} }
}

// whatIf explains a request that nobody made.
func (w *world) whatIf(groups ...pool.Group) *pool.Explanation {
	w.Helper()
	e, err := w.db.Explain(w.ctx, pool.ExplainRequest{Groups: groups})
	w.ok(err)
	return e
}

// why explains what an owner waits for.
func (w *world) why(owner string) *pool.Explanation {
	w.Helper()
	e, err := w.db.Explain(w.ctx, pool.ExplainRequest{Owner: owner})
	w.ok(err)
	return e
}

// ran has a build of a job hold the node of its request for a time, and give it back.
func (w *world) ran(owner, job string, took time.Duration) {
	w.Helper()
	w.hold(one(owner, ofJob(job)))
	w.clock.add(took)
	w.release(owner)
}

// near checks a moment, but for the microseconds by which the clock moves at each look.
func (w *world) near(what string, want, got time.Time) {
	w.Helper()
	if d := got.Sub(want); d < -time.Second || d > time.Second {
		w.Errorf("%s is %v, want about %v", what, got, want)
	}
}

var explainCases = []testCase{
	{"an explanation counts what each requirement leaves, and names those to relax", func(w *world) {
		for i, arch := range []string{"x86_64", "x86_64", "x86_64", "aarch64"} {
			w.addNode(fmt.Sprint("n", i), ofArch(arch), having("rack", fmt.Sprint(i%2)))
		}
		e := w.whatIf(group("", 1, "arch=x86_64", "rack=1", "gpu"))
		w.equal("steps", []pool.Step{
			{Left: 4, Alone: 4, Without: 4},
			{Requirement: "arch=x86_64", Left: 3, Alone: 3, Without: 0},
			{Requirement: "rack=1", Left: 1, Alone: 2, Without: 0},
			{Requirement: "gpu", Left: 0, Alone: 0, Without: 1},
		}, e.Steps)
		w.equal("verdict", []bool{true, false, false}, []bool{e.Impossible, e.Stalled, e.Now})
		w.equal("relax", []string{"gpu"}, e.Relax)
		w.equal("relax at once", []string{"gpu"}, e.RelaxNow)
		w.equal("lacking", []pool.Group{group("", 1, "arch=x86_64", "rack=1", "gpu")}, e.Lacking)
		w.equal("the estimate", false, e.Estimate.Known)
		w.equal("the queue", 0, len(w.waiting("default")))
	}},

	{"what could never be is told with what the pool would need, and so is who asks for it", func(w *world) {
		w.addNode("big", having("size", "big"))
		w.addNode("small")
		groups := []pool.Group{group("a", 2, "size=big"), group("b", 1)}
		e := w.whatIf(groups...)
		w.equal("lacking", []pool.Group{group("a", 1, "size=big")}, e.Lacking)
		r := one("build")
		r.Groups = groups
		w.refused(w.ask(r), pool.ErrImpossible, "it would need a: 1 more node with size=big")
		w.equal("what history tells", "it would need a: 1 more node with size=big", w.last("build").EndDetail)
		// A node's removal makes another one impossible: who waits for it is told the same.
		w.hold(one("holder", needs("size=big")))
		c := w.queue(one("waiter", needs("size=big")))
		w.release("holder")
		w.hold(one("holder", needs("name=small")))
		w.equal("the waiter's node", []string{"big"}, c.granted().NodeNames())
		c = w.queue(many("two", 2))
		w.ok(w.db.Cancel(w.ctx, w.clients[0].a.Token, "enough"))
		w.ok(w.db.RemoveNode(w.ctx, "big"))
		_, err := c.result()
		w.refused(err, pool.ErrImpossible, "it would need 1 more node")
	}},

	{"an estimate rests on past builds of the job that took longer than the holder has by now", func(w *world) {
		w.policy("default", "lease=10h")
		w.add("n")
		for i, minutes := range []int{10, 20, 30, 40} {
			w.ran(fmt.Sprint("past", i), "nightly", time.Duration(minutes)*time.Minute)
		}
		held := w.hold(one("holder", ofJob("nightly")))
		w.waits(one("waiter"))
		e := w.why("waiter").Estimate
		w.near("p50", held.ClaimedAt.Add(20*time.Minute), e.P50)
		w.near("p90", held.ClaimedAt.Add(40*time.Minute), e.P90)
		w.equal("basis", "past durations of the same jobs (4 builds)", e.Basis)
		w.clock.add(25 * time.Minute)
		e = w.why("waiter").Estimate
		w.near("p50 later", held.ClaimedAt.Add(30*time.Minute), e.P50)
		w.near("p90 later", held.ClaimedAt.Add(40*time.Minute), e.P90)
		// Longer than all before: nobody knows more than the lease.
		w.clock.add(20 * time.Minute)
		e = w.why("waiter").Estimate
		w.near("p90 at last", held.ExpiresAt, e.P90)
		w.equal("basis at last", "the ends of the leases, which is the latest unless one is extended; the jobs have no past here", e.Basis)
		w.release("holder")
	}},

	{"an estimate of a hold, and of a job without a past, is the end of the lease", func(w *world) {
		w.policy("default", "lease=2h")
		w.add("n")
		for i := range 3 {
			w.ran(fmt.Sprint("past", i), "nightly", time.Minute)
		}
		held := w.hold(one("holder", ofJob("other")))
		e := w.whatIf(group("", 1)).Estimate
		w.near("p50", held.ExpiresAt, e.P50)
		w.near("p90", held.ExpiresAt, e.P90)
		w.release("holder")
		w.hold(one("failed", ofJob("nightly")))
		kept, err := w.db.Hold(w.ctx, pool.HoldRequest{Owner: "failed", For: 5 * time.Hour, Reason: "look"})
		w.ok(err)
		w.near("p50 of a hold", kept.ExpiresAt, w.whatIf(group("", 1)).Estimate.P50)
	}},

	{"an estimate counts who is before, and is unknown when it is", func(w *world) {
		w.policy("default", "lease=1h")
		w.add("n")
		held := w.hold(one("holder"))
		w.queue(one("first", lease(30*time.Minute)))
		w.queue(one("second"))
		w.near("the second's turn", held.ExpiresAt.Add(30*time.Minute), w.why("second").Estimate.P50)
		w.ok(w.db.PausePool(w.ctx, "default", "the lab moves"))
		e := w.why("first")
		w.equal("paused", []any{false, "unknown: the pool is paused", "pool default is paused: the lab moves"}, []any{e.Estimate.Known, e.Estimate.Basis, e.Reason})
		w.ok(w.db.ResumePool(w.ctx, "default"))
		_, err := w.db.SetMaintenance(w.ctx, "n", true, "fan")
		w.ok(err)
		e = w.why("first")
		w.equal("stalled", []any{false, "unknown: nodes must be repaired first", true}, []any{e.Estimate.Known, e.Estimate.Basis, e.Stalled})
		w.equal("what must come back", []pool.Group{group("", 1)}, e.Lacking)
		_, err = w.db.SetMaintenance(w.ctx, "n", false, "")
		w.ok(err)
	}},

	{"a job's share is told, and counts in estimates", func(w *world) {
		w.policy("default", "max_per_job_pct=50", "lease=1h")
		w.add("a", "b")
		held := w.hold(one("one", ofJob("nightly")))
		w.queue(one("two", ofJob("nightly")))
		e := w.why("two")
		w.equal("the reason", "its job holds 1 of the pool's nodes, and one job gets at most 1 (max_per_job_pct 50)", e.Reason)
		w.near("its turn", held.ExpiresAt, e.Estimate.P50)
		// It holds nobody else up.
		w.equal("another's", true, w.whatIf(group("", 1)).Now)
		// No other wish would be served sooner, whoever asks for the job.
		w.queue(one("three", ofJob("nightly"), needs("name=a")))
		w.equal("what would be served at once", []any{true, 0}, []any{w.why("three").Braked, len(w.why("three").RelaxNow)})
		e, err := w.db.Explain(w.ctx, pool.ExplainRequest{Groups: []pool.Group{group("", 1)}, Job: "nightly"})
		w.ok(err)
		w.equal("a build of it that nobody started", []any{3, false, "its job holds 1 of the pool's nodes, and one job gets at most 1 (max_per_job_pct 50)"},
			[]any{e.Place, e.Now, e.Reason})
		w.release("three")
		w.policy("default", "max_per_job_pct=20")
		e = w.why("two")
		w.equal("never", []any{"one job gets at most 0 of the pool's nodes (max_per_job_pct 20)", false}, []any{e.Reason, e.Estimate.Known})
		w.policy("default", "max_per_job_pct=100")
		w.equal("holders when it may", map[string]string{"a": "one", "b": "two"}, w.holders())
	}},

	{"the queue says of each why it waits", func(w *world) {
		w.add("a", "b", "c")
		held := w.hold(one("holder", needs("name=a")))
		w.queue(many("all", 3))
		w.enqueue(one("ticket"), time.Hour)
		queue, err := w.db.ExplainQueue(w.ctx, "")
		w.ok(err)
		type line struct {
			Owner, Reason string
			Place         int
			Ticket        bool
		}
		var got []line
		for _, q := range queue {
			got = append(got, line{q.Owner, q.Reason, q.Place, !q.LivesUntil.IsZero()})
		}
		first := fmt.Sprintf("; first to end: a, held by %q until %s", "holder", held.ExpiresAt.Format(time.RFC3339))
		w.equal("the queue", []line{
			{"all", "1 suitable held, 2 ready" + first, 1, false},
			{"ticket", "1 suitable held, 2 ready but set aside for who is before" + first, 2, true},
		}, got)
		_, err = w.db.ExplainQueue(w.ctx, "ghost")
		w.refused(err, pool.ErrNotFound, "ghost")
	}},

	{"who gives no sign of life any more holds nothing back, and is told apart until a pass ends it", func(w *world) {
		w.add("a", "b")
		held := w.hold(one("holder"))
		w.enqueue(many("dead", 2), time.Minute)
		w.enqueue(many("alive", 2), 5*time.Hour)
		w.clock.add(time.Minute)
		queue, err := w.db.ExplainQueue(w.ctx, "")
		w.ok(err)
		const dead = "nobody gave a sign of life for it in time: it is about to end"
		w.equal("the queue", []string{dead, "1 suitable held, 1 ready; first to end: a, held by \"holder\" until " + rfc(held.ExpiresAt)},
			[]string{queue[0].Reason, queue[1].Reason})
		e := w.why("dead")
		w.equal("an explanation of it", []any{dead, false, "never: " + dead}, []any{e.Reason, e.Estimate.Known, e.Estimate.Basis})
		w.near("the next one's turn", held.ExpiresAt, w.why("alive").Estimate.P50)
		w.release("alive")
		w.enqueue(many("dead again", 2), time.Minute)
		w.clock.add(time.Minute)
		w.equal("what another would get", true, w.whatIf(group("", 1)).Now)
		w.equal("what it gets", []string{"b"}, w.grant(one("another")).NodeNames())
	}},

	{"what an explanation says of now and never is what a request then meets", func(w *world) {
		r := rand.New(rand.NewPCG(7, 11)) //nolint:gosec // a repeatable test
		w.policy("default", "max_per_job_pct=60")
		for i := range 8 {
			w.addNode(fmt.Sprint("n", i), having("rack", fmt.Sprint(i%3)), having("disk", fmt.Sprint(i%2)))
		}
		exprs := [][]string{nil, {"rack=0"}, {"rack=1", "disk=0"}, {"disk=1"}, {"rack=2", "disk=0"}, {"rack=0,1"}, {"gpu"}}
		var holders []string
		for i := range 60 {
			var groups []pool.Group
			for g := range 1 + r.IntN(2) {
				groups = append(groups, group(fmt.Sprint("g", g), 1+r.IntN(3), exprs[r.IntN(len(exprs))]...))
			}
			job := []string{"", "a", "a", "b"}[r.IntN(4)]
			e, err := w.db.Explain(w.ctx, pool.ExplainRequest{Groups: groups, Job: job})
			w.ok(err)
			request := one(fmt.Sprint("build", i), ofJob(job))
			request.Groups = groups
			if r.IntN(3) == 0 { // it stays in the queue, and has nodes set aside
				_, err := w.db.Enqueue(w.ctx, request, time.Hour)
				w.equal("impossible", e.Impossible, errors.Is(err, pool.ErrImpossible))
			} else {
				_, err := w.db.Allocate(w.ctx, request, pool.AllocateOptions{})
				w.equal(fmt.Sprintf("step %d, %s: now and never", i, pool.Describe(groups)),
					[]bool{e.Now, e.Impossible}, []bool{err == nil, errors.Is(err, pool.ErrImpossible)})
			}
			holders = append(holders, request.Owner)
			for len(holders) > 0 && r.IntN(2) == 0 {
				n := r.IntN(len(holders))
				_, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: holders[n]})
				w.ok(err)
				holders = append(holders[:n], holders[n+1:]...)
			}
		}
		for _, owner := range holders {
			w.release(owner)
		}
	}},
}
