package pooltest

import (
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var claimCases = []testCase{
	{"with the claim the lease counts, and no heartbeat", func(w *world) {
		w.add("a")
		a := w.grant(one("build", lease(time.Hour)))
		w.clock.add(20 * time.Second)
		claimed, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("state and end, as promised at the grant", []any{pool.Claimed, a.ExpiresAt}, []any{claimed.State, claimed.ExpiresAt})
		if claimed.ClaimedAt.Sub(a.GrantedAt) < 20*time.Second {
			w.Errorf("claimed at %v, granted at %v", claimed.ClaimedAt, a.GrantedAt)
		}
		n := w.node("a")
		w.equal("the node's end", a.ExpiresAt, n.ExpiresAt)
		w.clock.set(a.ExpiresAt.Add(-time.Second))
		w.tend()
		w.equal("holders", map[string]string{"a": "build"}, w.holders())
		w.clock.set(a.ExpiresAt)
		w.tend()
		w.equal("holders", map[string]string{}, w.holders())
		w.equal("its end", pool.EndExpired, w.ended("build"))
		w.equal("events", []string{"queued", "granted", "claimed", "expired"}, w.kinds(pool.EventFilter{Owner: "build"}))
	}},

	{"a client that took longer than a heartbeat gets a whole lease", func(w *world) {
		w.add("a")
		a := w.grant(one("build", lease(time.Hour)))
		for range 3 {
			w.clock.add(50 * time.Second)
			w.ok(w.db.Beat(w.ctx, a.Token))
		}
		claimed, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("the lease's end", claimed.ClaimedAt.Add(time.Hour), claimed.ExpiresAt)
	}},

	{"claiming again what is claimed changes nothing", func(w *world) {
		w.add("a")
		a := w.hold(one("build"))
		w.clock.add(time.Hour)
		again, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.equal("claimed at, ends", []any{a.ClaimedAt, a.ExpiresAt}, []any{again.ClaimedAt, again.ExpiresAt})
		w.equal("events", []string{"queued", "granted", "claimed"}, w.kinds(pool.EventFilter{Owner: "build"}))
	}},

	{"a claim after the heartbeat stopped is refused, even where nobody took the node back yet", func(w *world) {
		w.add("a")
		a := w.grant(one("build"))
		w.clock.set(a.GrantedAt.Add(61 * time.Second))
		_, err := w.db.Claim(w.ctx, a.Token)
		w.refused(err, pool.ErrConflict, "build", "sign of life")
		w.equal("the state", pool.Granted, w.last("build").State)
		w.tend()
		_, err = w.db.Claim(w.ctx, a.Token)
		w.refused(err, pool.ErrConflict, "build", "lapsed")
	}},

	{"a claim in the last moment of the heartbeat holds", func(w *world) {
		w.add("a")
		a := w.grant(one("build"))
		w.clock.set(a.QueuedAt.Add(time.Minute - 10*time.Microsecond))
		_, err := w.db.Claim(w.ctx, a.Token)
		w.ok(err)
		w.clock.add(time.Minute)
		w.equal("grants lapsed", 0, w.tend().Lapsed)
		w.equal("holders", map[string]string{"a": "build"}, w.holders())
	}},

	{"only a grant can be claimed, and only by its token", func(w *world) {
		w.add("a")
		a := w.grant(one("build"))
		for _, token := range []secret.Text{{}, secret.New("nobody's"), secret.New(a.Token.Reveal() + "x")} {
			_, err := w.db.Claim(w.ctx, token)
			w.refused(err, pool.ErrConflict, "token")
		}
		ticket := w.waits(one("waiter"))
		_, err := w.db.Claim(w.ctx, ticket.Token)
		w.refused(err, pool.ErrConflict, "waiter", "waiting")
		w.equal("the queue", []string{"waiter"}, w.waiting("default"))
		w.ok(w.db.Cancel(w.ctx, a.Token, "aborted"))
		_, err = w.db.Claim(w.ctx, a.Token)
		w.refused(err, pool.ErrConflict, "build", "cancelled")
		w.equal("holders", map[string]string{"a": "waiter"}, w.holders())
	}},

	{"what was revoked before the claim cannot be claimed", func(w *world) {
		w.add("a")
		a := w.grant(one("build"))
		_, err := w.db.Revoke(w.ctx, "a", "needed elsewhere")
		w.ok(err)
		_, err = w.db.Claim(w.ctx, a.Token)
		w.refused(err, pool.ErrConflict, "build", "revoked")
		n := w.node("a")
		w.equal("suspect: no build had it", []any{pool.Ready, false}, []any{n.Status, n.Suspect})
	}},

	{"a client that cannot go on cancels, in whatever state, and twice is fine", func(w *world) {
		w.add("a")
		granted := w.grant(one("granted"))
		w.ok(w.db.Cancel(w.ctx, granted.Token, "disk full"))
		w.ok(w.db.Cancel(w.ctx, granted.Token, "disk full"))
		a := w.last("granted")
		w.equal("end and detail", []any{pool.EndCancelled, "disk full"}, []any{a.EndReason, a.EndDetail})
		claimed := w.hold(one("claimed"))
		w.ok(w.db.Cancel(w.ctx, claimed.Token, "rename failed"))
		w.equal("its end", pool.EndCancelled, w.ended("claimed"))
		w.hold(one("other"))
		waiting := w.waits(one("waiting"))
		w.ok(w.db.Cancel(w.ctx, waiting.Token, "terminated"))
		w.equal("its end", pool.EndCancelled, w.ended("waiting"))
		w.ok(w.db.Cancel(w.ctx, secret.New("nobody's"), "nothing"))
		w.equal("holders", map[string]string{"a": "other"}, w.holders())
		n := w.node("a")
		w.equal("suspect", false, n.Suspect)
	}},

	{"the token is kept as a hash and told to nobody else", func(w *world) {
		w.add("a")
		a := w.hold(one("build"))
		list, err := w.db.Allocations(w.ctx, pool.AllocationFilter{})
		w.ok(err)
		w.equal("the token", secret.Text{}, list[0].Token)
		w.equal("the password", secret.Text{}, list[0].Nodes[0].BMC.Password)
		if len(a.Token.Reveal()) < 20 {
			w.Errorf("the token %q can be guessed", a.Token.Reveal())
		}
	}},
}
