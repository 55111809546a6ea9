package pooltest

import (
	"fmt"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

var estimateCases = []testCase{
	{"an explanation counts the suitable nodes by what they are, and names their holders, the first to end first", func(w *world) {
		w.policy("default", "clean_limit=9h")
		for _, name := range []string{"ready", "dirty", "maintained", "short", "long", "cpu"} {
			w.addNode(name, having("gpu", "1"))
		}
		_, err := w.db.SetNode(w.ctx, "cpu", changes("gpu="))
		w.ok(err)
		long := w.hold(one("long build", slot("x"), needs("name=long"), lease(5*time.Hour)))
		short := w.hold(one("short build", needs("name=short"), lease(time.Hour)))
		w.hold(one("nobody's business", needs("name=cpu")))
		w.maintain("maintained")
		_, err = w.db.MarkDirty(w.ctx, "dirty", "smells")
		w.ok(err)
		w.queue(many("build", 3, needs("gpu"), slot("s")))
		e, err := w.db.Explain(w.ctx, pool.ExplainRequest{Owner: "build", Slot: "s"})
		w.ok(err)
		w.equal("who asks", []any{"default", "build", "s", 1, "3 nodes with gpu"}, []any{e.Pool, e.Owner, e.Slot, e.Place, pool.Describe(e.Groups)})
		w.equal("suitable", map[pool.Status]int{pool.Ready: 1, pool.Dirty: 1, pool.Allocated: 2}, e.Suitable)
		w.equal("in maintenance, set aside", []int{1, 0}, []int{e.InMaint, e.SetAside})
		w.equal("out of service", []pool.Outage{{Node: "maintained", Maintenance: true, Reason: "fan"}}, e.Outages)
		w.equal("holders", []pool.Holder{
			{Node: "short", Status: pool.Allocated, Owner: "short build", Generation: 1, ExpiresAt: short.ExpiresAt},
			{Node: "long", Status: pool.Allocated, Owner: "long build", Slot: "x", Generation: 1, ExpiresAt: long.ExpiresAt},
		}, e.Holders)
		w.equal("verdict", []bool{false, false, false}, []bool{e.Impossible, e.Stalled, e.Now})
		w.equal("the reason", "2 suitable held, 1 being cleaned, 1 broken or in maintenance, 1 ready", e.Reason)
		w.near("its turn", long.ExpiresAt, e.Estimate.P50) // with ready and short
		next := w.whatIf(group("", 1, "gpu"))
		w.equal("set aside for who is before", []any{1, false}, []any{next.SetAside, next.Now})
	}},

	{"an explanation tells each group's requirements, and relaxes them one by one", func(w *world) {
		w.addNode("big", having("size", "big"))
		w.addNode("small", ofArch("aarch64"))
		e := w.whatIf(group("controller", 1, "size=big"), group("compute", 1, "size=big", "arch=aarch64"))
		w.equal("steps", []pool.Step{
			{Group: "controller", Left: 2, Alone: 2, Without: 2},
			{Group: "controller", Requirement: "size=big", Left: 1, Alone: 1, Without: 2},
			{Group: "compute", Left: 2, Alone: 2, Without: 2},
			{Group: "compute", Requirement: "size=big", Left: 1, Alone: 1, Without: 1},
			{Group: "compute", Requirement: "arch=aarch64", Left: 0, Alone: 1, Without: 1},
		}, e.Steps)
		w.equal("relax", []string{"compute: size=big"}, e.Relax)
		w.equal("relax at once", []string{"compute: size=big"}, e.RelaxNow)
	}},

	{"a request that nobody made is put where its priority would put it", func(w *world) {
		w.policy("default", "max_priority=5")
		w.add("n")
		w.hold(one("holder"))
		w.queue(one("usual"))
		w.queue(one("urgent", priority(3)))
		for asked, want := range map[int]int{-1: 3, 0: 3, 1: 2, 2: 2, 3: 2, 4: 1, 100: 1} {
			e, err := w.db.Explain(w.ctx, pool.ExplainRequest{Groups: []pool.Group{group("", 1)}, Priority: asked})
			w.ok(err)
			w.equal(fmt.Sprintf("the place with priority %d", asked), want, e.Place)
		}
		w.equal("the queue", []string{"urgent", "usual"}, w.waiting("default"))
	}},

	{"who does not wait, or a pool that is none, cannot be explained", func(w *world) {
		w.add("n")
		w.hold(one("holder"))
		c := w.queue(one("build", slot("x")))
		for told, r := range map[string]pool.ExplainRequest{
			"nobody": {Owner: "nobody"},
			"holder": {Owner: "holder"},
			`""`:     {Owner: "build"},
			"ghost":  {Pool: "ghost", Groups: []pool.Group{group("", 1)}},
		} {
			_, err := w.db.Explain(w.ctx, r)
			w.refused(err, pool.ErrNotFound, told)
		}
		w.release("holder")
		c.granted()
		_, err := w.db.Explain(w.ctx, pool.ExplainRequest{Owner: "build", Slot: "x"})
		w.refused(err, pool.ErrNotFound, "build")
	}},

	{"an explanation changes nothing, even where time has made something due", func(w *world) {
		w.add("n")
		w.hold(one("holder", lease(time.Minute)))
		w.queue(one("build"))
		w.clock.add(2 * time.Minute)
		raw := w.raw()
		state := func() []string {
			return append(w.rows(raw, "SELECT * FROM pool_locks"), append(w.rows(raw, "SELECT * FROM allocations"), w.rows(raw, "SELECT * FROM nodes")...)...)
		}
		before := state()
		w.why("build")
		w.whatIf(group("", 1))
		_, err := w.db.ExplainQueue(w.ctx, "")
		w.ok(err)
		w.equal("the tables", before, state())
	}},

	{"what a waiting client is told is what an explanation says", func(w *world) {
		w.add("n", "m")
		w.hold(many("holder", 2))
		w.queue(many("first", 2))
		c := w.queue(one("second"))
		e, p := w.why("second"), c.told[0]
		w.equal("position", []any{2, "1 node", e.Reason, e.Holders, e.Estimate.Basis}, []any{p.Place, p.Request, p.Reason, p.Holders, p.Estimate.Basis})
		w.near("its turn", e.Estimate.P50, p.Estimate.P50)
	}},

	{"who is far from the head is told its place, and that nobody knows more", func(w *world) {
		w.add("n")
		w.hold(one("holder"))
		for i := range 20 {
			w.enqueue(one(fmt.Sprintf("ticket %d", i)), 10*time.Hour)
		}
		c := w.queue(one("last"))
		w.equal("position", []any{21, "20 requests are before it", false, "unknown: too far ahead to tell"},
			[]any{c.told[0].Place, c.told[0].Reason, c.told[0].Estimate.Known, c.told[0].Estimate.Basis})
		w.equal("the estimate of who asks", true, w.why("last").Estimate.Known)
	}},

	{"an estimate of what is free now is now", func(w *world) {
		w.add("n")
		e := w.whatIf(group("", 1))
		w.equal("now", []any{true, true, "nodes that are free now"}, []any{e.Now, e.Estimate.Known, e.Estimate.Basis})
		w.near("p50", e.At, e.Estimate.P50)
		w.near("p90", e.At, e.Estimate.P90)
	}},

	{"an estimate of what is being cleaned is when cleaning must be over", func(w *world) {
		w.policy("default", "clean_limit=3h")
		w.add("n")
		_, err := w.db.MarkDirty(w.ctx, "n", "smells")
		w.ok(err)
		e := w.whatIf(group("", 1))
		w.near("p50", e.At.Add(3*time.Hour), e.Estimate.P50)
		w.equal("basis", "the time that the pool allows for cleaning, which is the latest", e.Estimate.Basis)
	}},

	{"past builds count from three on; what was taken back, cancelled or held says nothing", func(w *world) {
		w.policy("default", "lease=10h")
		w.add("n")
		w.ran("p1", "nightly", 10*time.Minute)
		w.ran("p2", "nightly", 30*time.Minute)
		w.ran("other", "weekly", time.Minute)
		w.hold(one("expired", ofJob("nightly"), lease(time.Minute)))
		w.clock.add(time.Minute)
		w.tend()
		w.grant(one("cancelled", ofJob("nightly")))
		w.release("cancelled")
		w.hold(one("held", ofJob("nightly")))
		w.keep("held", time.Hour)
		w.release("held")
		held := w.hold(one("holder", ofJob("nightly")))
		e := w.whatIf(group("", 1)).Estimate
		w.near("p50 with two builds", held.ExpiresAt, e.P50)
		w.release("holder") // after no time at all: the third
		held = w.hold(one("holder", ofJob("nightly")))
		e = w.whatIf(group("", 1)).Estimate
		w.near("p50 with three", held.ClaimedAt.Add(10*time.Minute), e.P50)
		w.near("p90 with three", held.ClaimedAt.Add(30*time.Minute), e.P90)
		w.equal("basis", "past durations of the same jobs (3 builds)", e.Basis)
	}},

	{"who is before counts with its job's past, and with its lease where it has none", func(w *world) {
		w.policy("default", "lease=10h")
		w.add("n")
		for i, took := range []time.Duration{10 * time.Minute, 20 * time.Minute, 30 * time.Minute} {
			w.ran(fmt.Sprint("past", i), "nightly", took)
		}
		held := w.hold(one("holder", ofJob("nightly")))
		w.queue(one("first", ofJob("nightly")))
		w.queue(one("second", lease(2*time.Hour)))
		w.queue(one("third"))
		e := w.why("second").Estimate
		w.near("p50 of the second", held.ClaimedAt.Add(40*time.Minute), e.P50)
		w.near("p90 of the second", held.ClaimedAt.Add(60*time.Minute), e.P90)
		e = w.why("third").Estimate
		w.near("p50 of the third", held.ClaimedAt.Add(160*time.Minute), e.P50)
		w.equal("basis of the third", "past durations of the same jobs (3 builds), and the ends of leases (1) where there are none", e.Basis)
	}},

	{"by ask the grace counts in an estimate by leases", func(w *world) {
		w.policy("default", "on_expiry=ask", "grace=1h", "lease=2h")
		w.add("n")
		held := w.hold(one("holder"))
		w.near("p50", held.ExpiresAt.Add(time.Hour), w.whatIf(group("", 1)).Estimate.P50)
	}},

	{"an estimate counts the cleaning that comes after a build, and what is left of it where it began", func(w *world) {
		w.policy("default", "cleaning=true", "clean_limit=2h", "lease=1h", "max_per_job_pct=50")
		w.add("n", "m")
		held := w.hold(one("holder", needs("name=n"), ofJob("nightly")))
		e := w.whatIf(group("", 1, "name=n")).Estimate
		w.near("p50", held.ExpiresAt.Add(2*time.Hour), e.P50)
		w.equal("basis", "the ends of the leases, which is the latest unless one is extended; the jobs have no past here, and all of the 2h that the pool allows for cleaning", e.Basis)
		// The job has its share back before its node is clean.
		again, err := w.db.Explain(w.ctx, pool.ExplainRequest{Groups: []pool.Group{group("", 1)}, Job: "nightly"})
		w.ok(err)
		w.near("the job's next", held.ExpiresAt, again.Estimate.P50)
		w.release("holder")
		clean := w.clock.look().Add(2 * time.Hour)
		w.clock.add(90 * time.Minute)
		e = w.whatIf(group("", 1, "name=n")).Estimate
		w.near("p50 of what is being cleaned", clean, e.P50)
		w.equal("its basis", "the time that the pool allows for cleaning, which is the latest", e.Basis)
	}},

	{"an estimate tells that a lease that runs out breaks its nodes, where the policy is quarantine", func(w *world) {
		w.policy("default", "on_expiry=quarantine", "lease=1h")
		w.add("n")
		held := w.hold(one("holder"))
		e := w.whatIf(group("", 1)).Estimate
		w.near("p50", held.ExpiresAt, e.P50)
		w.equal("basis", "the ends of the leases, unless one is extended, or runs out, which breaks its nodes here; the jobs have no past here", e.Basis)
	}},

	{"an estimate rests on builds that hold what somebody waits for, and tells of no others", func(w *world) {
		w.policy("default", "lease=10h")
		w.add("n")
		for i, minutes := range []int{10, 20, 30} {
			w.ran(fmt.Sprint("past", i), "nightly", time.Duration(minutes)*time.Minute)
		}
		w.hold(one("holder", ofJob("nightly")))
		w.addNode("gpu", having("gpu", "1"))
		w.hold(one("other"))
		w.equal("basis", "past durations of the same jobs (3 builds)", w.whatIf(group("", 1, "gpu:absent")).Estimate.Basis)
	}},

	{"the two moments of an estimate are found apart, each with who is before", func(w *world) {
		w.policy("default", "lease=10h")
		w.add("n", "m")
		for i, minutes := range []int{10, 20, 30} {
			w.ran(fmt.Sprint("nightly", i), "nightly", time.Duration(minutes)*time.Minute)
			w.ran(fmt.Sprint("weekly", i), "weekly", 20*time.Minute)
		}
		w.hold(one("first holder", ofJob("nightly")))
		held := w.hold(one("second holder", ofJob("weekly")))
		w.change(w.raw(), "UPDATE allocations SET claimed_at = ? WHERE state = 'claimed'", held.ClaimedAt.Format("2006-01-02 15:04:05.000000"))
		w.queue(one("first"))
		w.queue(one("second"))
		// As likely as not both nodes are back after 20 minutes, and both are served; nine times out of ten one is by then.
		e := w.why("second").Estimate
		w.near("p50", held.ClaimedAt.Add(20*time.Minute), e.P50)
		w.near("p90", held.ClaimedAt.Add(30*time.Minute), e.P90)
	}},
}
