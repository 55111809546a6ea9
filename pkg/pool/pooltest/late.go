package pooltest

import (
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// lateCases are about what is done for builds that cannot do it themselves any more.
var lateCases = []testCase{
	{"a build that is gone loses its nodes, which are suspect, to who waits", func(w *world) {
		w.add("a", "b")
		gone := w.hold(many("gone", 2))
		next := w.queue(one("next"))
		ended, err := w.db.EndGone(w.ctx, pool.GoneBuild{Allocation: gone.ID, Owner: "gone", Reason: "Jenkins says that it has finished", Result: "ABORTED"})
		w.ok(err)
		w.equal("that it ended", true, ended)
		last := w.last("gone")
		w.equal("the end", []any{pool.EndRevoked, "Jenkins says that it has finished", "ABORTED"}, []any{last.EndReason, last.EndDetail, last.Result})
		next.granted()
		w.equal("that the nodes are suspect", []bool{true, true}, []bool{w.node("a").Suspect, w.node("b").Suspect})

		_, err = w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "gone"})
		w.refused(err, pool.ErrConflict, "revoked", "Jenkins says", "next")
		before := w.events()
		ended, err = w.db.EndGone(w.ctx, pool.GoneBuild{Allocation: gone.ID, Owner: "gone"})
		w.ok(err)
		w.equal("that it ended again", false, ended)
		w.equal("events", before, w.events())
	}},

	{"the ticket of a client that outlived its build is cancelled, and its client told", func(w *world) {
		w.add("n")
		w.hold(one("holder"))
		c := w.queue(one("gone"))
		ended, err := w.db.EndGone(w.ctx, pool.GoneBuild{Allocation: w.last("gone").ID, Owner: "gone", Reason: "its build has finished"})
		w.ok(err)
		w.equal("that it ended", true, ended)
		w.equal("how", pool.EndCancelled, w.ended("gone"))
		_, err = c.result()
		w.refused(err, pool.ErrConflict, "gone")
		w.release("holder")
		w.equal("the node", pool.Ready, w.node("n").Status)
	}},

	{"a grant of a client that outlived its build is cancelled, and its node is as it was", func(w *world) {
		w.add("n")
		a := w.grant(one("gone"))
		ended, err := w.db.EndGone(w.ctx, pool.GoneBuild{Allocation: a.ID, Owner: "gone"})
		w.ok(err)
		w.equal("that it ended", true, ended)
		w.equal("how", pool.EndCancelled, w.ended("gone"))
		w.equal("the node", []any{pool.Ready, false}, []any{w.node("n").Status, w.node("n").Suspect})
		_, err = w.db.Claim(w.ctx, a.Token)
		w.refused(err, pool.ErrConflict)
	}},

	{"what outlives a build by design is not taken because the build is gone", func(w *world) {
		w.add("a", "b")
		left := func(id int64, owner string) {
			w.Helper()
			before := w.events()
			ended, err := w.db.EndGone(w.ctx, pool.GoneBuild{Allocation: id, Owner: owner})
			w.ok(err)
			w.equal("that it ended", false, ended)
			w.equal("events", before, w.events())
		}
		held := w.hold(one("held"))
		_, err := w.db.Hold(w.ctx, pool.HoldRequest{Token: held.Token, For: time.Hour, Reason: "a look at the disk"})
		w.ok(err)
		left(held.ID, "held")

		granted, err := w.db.Enqueue(w.ctx, one("granted"), time.Hour)
		w.ok(err)
		left(granted.ID, "granted")
		waiting, err := w.db.Enqueue(w.ctx, one("waiting"), time.Hour)
		w.ok(err)
		left(waiting.ID, "waiting")
		w.equal("that it is a ticket without a client", true, w.last("waiting").Detached)

		other := w.last("held")
		left(other.ID, "somebody else") // the ticket was taken up meanwhile
		left(4711, "held")

		w.clock.add(7 * time.Hour) // the hold is over, and the policy has not taken it yet
		ended, err := w.db.EndGone(w.ctx, pool.GoneBuild{Allocation: held.ID, Owner: "held"})
		w.ok(err)
		w.equal("that it ended", true, ended)
	}},

	{"a reason or result that the columns cannot hold is refused", func(w *world) {
		w.add("n")
		a := w.hold(one("gone"))
		_, err := w.db.EndGone(w.ctx, pool.GoneBuild{Allocation: a.ID, Owner: "gone", Reason: strings.Repeat("x", 513)})
		w.refused(err, pool.ErrInvalid, "reason")
		_, err = w.db.EndGone(w.ctx, pool.GoneBuild{Allocation: a.ID, Owner: "gone", Result: "A\nB"})
		w.refused(err, pool.ErrInvalid, "result")
		w.equal("holders", map[string]string{"n": "gone"}, w.holders())
	}},

	{"an extension that asks for it leaves a lease that has enough left", func(w *world) {
		w.policy("default", "lease=1h", "max_lease=90m")
		w.add("n")
		a := w.hold(one("build"))
		extend := func() time.Time {
			w.Helper()
			b, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: time.Hour, Below: 30 * time.Minute})
			w.ok(err)
			return b.ExpiresAt
		}
		before := w.events()
		w.equal("at the claim", a.ExpiresAt, extend())
		w.clock.add(29 * time.Minute)
		w.equal("with more than half of it left", a.ExpiresAt, extend())
		w.equal("events", before, w.events())
		w.clock.add(2 * time.Minute)
		w.equal("with less", a.ClaimedAt.Add(90*time.Minute), extend())
		w.clock.add(30 * time.Minute)
		_, err := w.db.Extend(w.ctx, pool.ExtendRequest{Owner: "build", Lease: time.Hour, Below: 30 * time.Minute})
		w.refused(err, pool.ErrConflict, "all that pool default allows")
	}},

	{"a release that was kept gives back what was meant, with the build's result", func(w *world) {
		w.policy("default", "cleaning=false")
		w.add("a", "b", "c")
		w.hold(one("build"))
		w.hold(one("build", slot("two")))
		w.hold(one("other"))
		asked := w.clock.look()
		w.clock.add(time.Hour)
		released := w.late(pool.KeptRelease{Owner: "build", Asked: asked, Result: "FAILURE", Dirty: true})
		w.equal("what came back", 2, len(released))
		w.equal("holders", map[string]string{"c": "other"}, w.holders())
		w.equal("the node", pool.Dirty, w.node("a").Status)
		w.equal("the end", []any{pool.EndReleased, "FAILURE"}, []any{w.last("build").EndReason, w.last("build").Result})

		before := w.events()
		again := w.late(pool.KeptRelease{Owner: "build", Asked: asked, Result: "SUCCESS"})
		w.equal("what is told the second time", []any{2, true}, []any{len(again), again[0].Again})
		w.equal("events", before, w.events())
	}},

	{"a release that was kept for one slot leaves the others alone", func(w *world) {
		w.add("a", "b")
		w.hold(one("build"))
		two := w.hold(one("build", slot("two")))
		none := ""
		w.equal("what came back", 1, len(w.late(pool.KeptRelease{Owner: "build", Slot: &none, Asked: w.clock.look(), Tokens: []string{pool.TokenKey(two.Token)}})))
		w.equal("holders", map[string]string{"b": "build"}, w.holders())
	}},

	{"a release that was kept never gives back what the owner got since", func(w *world) {
		w.policy("default", "lease=2h")
		w.add("n")
		first := w.hold(one("alice"))
		asked := w.clock.look()
		kept := pool.KeptRelease{Owner: "alice", Asked: asked, Tokens: []string{pool.TokenKey(first.Token)}}
		w.release("alice") // by another way meanwhile
		w.clock.add(time.Minute)
		w.hold(one("alice"))
		before := w.events()
		again := w.late(kept)
		w.equal("what is told", []any{1, first.ID, true}, []any{len(again), again[0].ID, again[0].Again})
		w.equal("what is told by time alone", 1, len(w.late(pool.KeptRelease{Owner: "alice", Asked: asked})))
		kept.Asked = w.clock.look() // whatever a clock may say
		w.equal("what is told by the token alone", 1, len(w.late(kept)))
		w.equal("events", before, w.events())
		w.equal("holders", map[string]string{"n": "alice"}, w.holders())
	}},

	{"a ticket that was taken up since is not what a kept release meant", func(w *world) {
		w.add("a", "b")
		ticket, err := w.db.Enqueue(w.ctx, one("morning"), 5*time.Hour) // queued, and granted, before
		w.ok(err)
		w.hold(one("alice"))
		asked := w.clock.look()
		w.clock.add(time.Minute)
		a, err := w.db.Allocate(w.ctx, one("alice", slot("two")), pool.AllocateOptions{Ticket: ticket.Token})
		w.ok(err)
		_, err = w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("what came back", 1, len(w.late(pool.KeptRelease{Owner: "alice", Asked: asked})))
		w.equal("holders", map[string]string{"a": "alice"}, w.holders())
	}},

	{"a release that was kept is not believed about time when the machine's clock went back", func(w *world) {
		w.add("a", "b")
		known := w.hold(one("build"))
		w.hold(one("build", slot("two")))
		later := w.clock.look().Add(time.Hour)
		w.equal("what came back", 0, len(w.late(pool.KeptRelease{Owner: "build", Asked: later})))
		w.equal("what came back by its token", 1, len(w.late(pool.KeptRelease{Owner: "build", Asked: later, Tokens: []string{pool.TokenKey(known.Token)}})))
		w.equal("holders", map[string]string{"b": "build"}, w.holders())
	}},

	{"a token that was kept gives back nothing of another owner", func(w *world) {
		w.add("n")
		a := w.hold(one("other"))
		w.equal("what came back", 0, len(w.late(pool.KeptRelease{Owner: "build", Asked: w.clock.look(), Tokens: []string{pool.TokenKey(a.Token), "nonsense"}})))
		w.equal("holders", map[string]string{"n": "other"}, w.holders())
	}},

	{"a release that was kept leaves tickets and unclaimed grants to their clients", func(w *world) {
		w.add("n")
		w.grant(one("build"))
		w.queue(one("build", slot("two")))
		w.equal("what came back", 0, len(w.late(pool.KeptRelease{Owner: "build", Asked: w.clock.look().Add(-time.Second)})))
		w.equal("holders", map[string]string{"n": "build"}, w.holders())
	}},

	{"a release that was kept closes its owner as it would have at its time", func(w *world) {
		w.add("n")
		w.equal("what came back", 0, len(w.late(pool.KeptRelease{Owner: "build", Asked: w.clock.look().Add(-14 * time.Minute)})))
		w.refused(w.ask(one("build")), pool.ErrConflict, "closed")
		w.equal("what came back", 0, len(w.late(pool.KeptRelease{Owner: "other", Asked: w.clock.look().Add(-16 * time.Minute)})))
		w.equal("what came back", 0, len(w.late(pool.KeptRelease{Owner: "other", Asked: w.clock.look().Add(time.Minute)})))
		w.hold(one("other"))
	}},

	{"a release that was kept until its lease was handed on changes nothing and says so", func(w *world) {
		w.policy("default", "lease=30s")
		w.add("n")
		a := w.hold(one("build"))
		asked := w.clock.look()
		w.clock.add(time.Minute)
		w.tend()
		w.hold(one("next"))
		before := w.events()
		for _, tokens := range [][]string{nil, {pool.TokenKey(a.Token)}} {
			_, err := w.db.ReleaseKept(w.ctx, pool.KeptRelease{Owner: "build", Asked: asked, Tokens: tokens})
			w.refused(err, pool.ErrConflict, "expired", "next")
		}
		w.equal("events", before, w.events())
		w.equal("holders", map[string]string{"n": "next"}, w.holders())
	}},

	{"a hold that was kept keeps what it meant, for what is left of its time, and nothing that the owner got since", func(w *world) {
		w.add("a", "b")
		meant := w.hold(one("build"))
		w.clock.add(time.Second)
		asked := w.clock.look()
		w.clock.add(10 * time.Minute)
		w.hold(one("build", slot("later")))
		k := pool.KeptRelease{Owner: "build", Asked: asked, Result: "FAILURE", Hold: time.Hour, HoldReason: "the build failed"}
		for _, tokens := range [][]string{nil, {pool.TokenKey(meant.Token)}} { // the second finds it in hold
			k.Tokens = tokens
			held, refused, err := w.db.HoldKept(w.ctx, k)
			w.ok(err)
			w.equal("what is held", []any{1, 0}, []any{len(held), len(refused)})
			w.equal("the hold", []any{meant.ID, pool.Claimed, "the build failed", "FAILURE", []string{"a"}},
				[]any{held[0].ID, held[0].State, held[0].HoldReason, held[0].Result, held[0].NodeNames()})
			w.near("its end", asked.Add(time.Hour), held[0].ExpiresAt)
		}
		k.Except = []int64{meant.ID}
		w.equal("what came back beside it", 0, len(w.late(k)))
		w.equal("holders", map[string]string{"a": "build", "b": "build"}, w.holders())
	}},

	{"a hold that was kept for longer than it was to last, or that the pool does not allow, holds nothing", func(w *world) {
		w.add("n")
		w.hold(one("build"))
		w.clock.add(time.Second)
		k := pool.KeptRelease{Owner: "build", Asked: w.clock.look(), Hold: time.Minute, HoldReason: "the build failed"}
		w.policy("default", "max_hold=0s")
		held, refused, err := w.db.HoldKept(w.ctx, k)
		w.ok(err)
		w.equal("what is held", []any{0, 1}, []any{len(held), len(refused)})
		w.refused(refused[0], pool.ErrConflict, "max_hold")
		w.policy("default", "max_hold=1h")
		w.clock.add(2 * time.Minute)
		held, refused, err = w.db.HoldKept(w.ctx, k)
		w.ok(err)
		w.equal("what is held", []any{0, 0}, []any{len(held), len(refused)})
		w.equal("what came back", 1, len(w.late(k)))
		k.HoldReason = "two\nlines"
		_, _, err = w.db.HoldKept(w.ctx, k)
		w.refused(err, pool.ErrInvalid, "the reason")
	}},

	{"a release that was kept and cannot be right is refused", func(w *world) {
		bad := "two words"
		for told, k := range map[string]pool.KeptRelease{
			"owner is empty": {},
			"two words":      {Owner: "build", Slot: &bad},
			"the result":     {Owner: "build", Result: "SUC\nCESS"},
		} {
			_, err := w.db.ReleaseKept(w.ctx, k)
			w.refused(err, pool.ErrInvalid, told)
		}
	}},

	{"the accounts of all machines that an owner has or had are found", func(w *world) {
		w.add("a", "b", "c", "d")
		w.hold(one("build"))
		w.release("build")
		w.hold(one("other"))
		w.hold(one("build", slot("two")))
		nodes, err := w.db.Nodes(w.ctx, pool.NodeFilter{HadBy: "build", Credentials: true})
		w.ok(err)
		got := map[string]bool{}
		for _, n := range nodes {
			got[n.Name] = strings.HasPrefix(n.BMC.Password.Reveal(), secretMark)
		}
		w.equal("with their passwords", map[string]bool{"a": true, "c": true}, got)
	}},

	{"who tends is told each thing that was done", func(w *world) {
		w.policy("default", "lease=30s", "clean_limit=30s")
		w.add("a", "b")
		w.hold(one("build"))
		_, err := w.db.MarkDirty(w.ctx, "b", "")
		w.ok(err)
		w.queue(one("dead"))
		w.clock.add(2 * time.Minute)
		var told []string
		r, err := w.db.TendTelling(w.ctx, func(e pool.Event) {
			told = append(told, strings.Join([]string{e.Kind, e.Node, e.Owner}, " "))
		})
		w.ok(err)
		w.equal("what was told", []string{"broken b ", "expired a build", "lapsed  dead"}, sorted(told))
		w.equal("counts", pool.TendResult{Pools: 1, Expired: 1, Lapsed: 1, Broken: 1}, r)
	}},
}

// late gives back what a kept release meant.
func (w *world) late(k pool.KeptRelease) []pool.Released {
	w.Helper()
	released, err := w.db.ReleaseKept(w.ctx, k)
	w.ok(err)
	return released
}
