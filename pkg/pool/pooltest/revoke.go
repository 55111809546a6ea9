package pooltest

import (
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var revokeCases = []testCase{
	{"revoking a node takes its whole allocation back, for a reason that is kept", func(w *world) {
		w.add("a", "b", "c")
		held := w.hold(many("build", 2, slot("x")))
		w.hold(one("other"))
		got, err := w.db.Revoke(w.ctx, "b", "the lab needs it")
		w.ok(err)
		w.equal("the allocation", []any{held.ID, "build", "x", pool.Ended, pool.EndRevoked, "the lab needs it", []string{"a", "b"}},
			[]any{got.ID, got.Owner, got.Slot, got.State, got.EndReason, got.EndDetail, got.NodeNames()})
		w.equal("holders", map[string]string{"c": "other"}, w.holders())
		for _, name := range []string{"a", "b"} {
			n := w.node(name)
			w.equal("node "+name, []any{pool.Ready, true, "revoked while held by build"}, []any{n.Status, n.Suspect, n.Reason})
			e := w.lastEvent(pool.EventFilter{Node: name})
			w.equal("the event of "+name, []any{"revoked", "build", "x", "the lab needs it", int64(1)}, []any{e.Kind, e.Owner, e.Slot, e.Detail["reason"], e.Generation})
		}
	}},

	{"a revoked node goes straight to the first in the queue", func(w *world) {
		w.add("n")
		w.hold(one("build"))
		c := w.queue(one("next"))
		_, err := w.db.Revoke(w.ctx, "n", "why")
		w.ok(err)
		w.equal("holders", map[string]string{"n": "next"}, w.holders())
		w.equal("what the next one gets", []string{"n"}, c.granted().NodeNames())
	}},

	{"where the pool asks for cleaning a revoked node is cleaned first", func(w *world) {
		w.policy("default", "cleaning=true", "on_expiry=quarantine")
		w.add("n")
		w.hold(one("build"))
		_, err := w.db.Revoke(w.ctx, "n", "why")
		w.ok(err)
		n := w.node("n")
		w.equal("the node", []any{pool.Dirty, true}, []any{n.Status, n.Suspect})
	}},

	{"a grant that is revoked before its claim leaves the node as it was, and cannot be claimed", func(w *world) {
		w.add("n")
		a := w.grant(one("build"))
		_, err := w.db.Revoke(w.ctx, "n", "the lab needs it")
		w.ok(err)
		n := w.node("n")
		w.equal("the node", []any{pool.Ready, false, ""}, []any{n.Status, n.Suspect, n.Reason})
		_, err = w.db.Claim(w.ctx, a.Token)
		w.refused(err, pool.ErrConflict, "build", "revoked")
	}},

	{"who was revoked can do nothing any more, and is told why and who has the node now", func(w *world) {
		w.add("n")
		a := w.hold(one("build"))
		_, err := w.db.Revoke(w.ctx, "n", "the lab needs it")
		w.ok(err)
		w.hold(one("next"))
		before := w.events()
		_, extend := w.db.Extend(w.ctx, pool.ExtendRequest{Token: a.Token, Lease: time.Hour})
		_, hold := w.db.Hold(w.ctx, pool.HoldRequest{Owner: "build", For: time.Hour, Reason: "look"})
		_, adopt := w.db.Adopt(w.ctx, a.Token, "build", "")
		_, release := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: "build"})
		_, nodes := w.db.NodesOf(w.ctx, "build", false)
		for _, err := range []error{extend, hold, adopt, release, nodes} {
			w.refused(err, pool.ErrConflict, "revoked: the lab needs it", `held by "next"`, "nothing was changed")
		}
		_, err = w.db.SetNodes(w.ctx, []string{"n"}, held("build", "note=mine"))
		w.refused(err, pool.ErrConflict, `held by "next"`)
		password := secret.New("mine")
		w.refused(second(w.db.SetNodes(w.ctx, []string{"n"}, pool.NodeChanges{Password: &password, Owner: "build"})), pool.ErrConflict, `held by "next"`)
		w.equal("events", before, w.events())
		w.equal("holders", map[string]string{"n": "next"}, w.holders())
	}},

	{"an owner that was revoked may check out again", func(w *world) {
		w.add("n")
		w.hold(one("build"))
		_, err := w.db.Revoke(w.ctx, "n", "why")
		w.ok(err)
		w.hold(one("build"))
		w.equal("what comes back", []string{"n"}, returned(w.release("build")))
	}},

	{"revoking wants a reason of one line, and a node that somebody holds", func(w *world) {
		w.add("n", "free")
		w.hold(one("build", needs("name=n")))
		before := w.events()
		for reason, told := range map[string]string{"": "reason", "two\nlines": "reason", strings.Repeat("x", 2000): "reason"} {
			_, err := w.db.Revoke(w.ctx, "n", reason)
			w.refused(err, pool.ErrInvalid, told)
		}
		_, err := w.db.Revoke(w.ctx, "free", "why")
		w.refused(err, pool.ErrConflict, "free", "ready")
		_, err = w.db.Revoke(w.ctx, "ghost", "why")
		w.refused(err, pool.ErrNotFound, "ghost")
		w.equal("events", before, w.events())
		w.equal("holders", map[string]string{"n": "build"}, w.holders())
	}},
}
