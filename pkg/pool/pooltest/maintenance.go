package pooltest

import (
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// maintenance sets the maintenance of a node.
func (w *world) maintenance(name string, on bool, reason string) pool.Node {
	w.Helper()
	n, err := w.db.SetMaintenance(w.ctx, name, on, reason)
	w.ok(err)
	return n
}

var maintenanceCases = []testCase{
	{"a node in maintenance is handed to nobody, and says why", func(w *world) {
		w.add("a", "b")
		n := w.maintenance("a", true, "fan")
		w.equal("status, maintenance, reason", []any{pool.Ready, true, "fan"}, []any{n.Status, n.Maintenance, n.MaintReason})
		w.equal("nodes", []string{"b"}, w.hold(one("build")).NodeNames())
		w.refused(w.ask(one("other")), pool.ErrNoNode)
		c := w.queue(one("waiter", needs("name=a")))
		n = w.maintenance("a", false, "")
		w.equal("maintenance, reason", []any{false, ""}, []any{n.Maintenance, n.MaintReason})
		w.equal("nodes", []string{"a"}, c.granted().NodeNames())
	}},

	{"a held node drains: its build keeps it, and it goes out of service when that ends", func(w *world) {
		w.add("a", "b")
		claimed := w.hold(one("claimed"))
		granted := w.grant(one("granted"))
		n := w.maintenance("a", true, "fan")
		w.equal("status, owner, maintenance", []any{pool.Allocated, "claimed", true}, []any{n.Status, n.Owner, n.Maintenance})
		w.maintenance("b", true, "disk")
		_, err := w.db.Claim(w.ctx, granted.Token)
		w.ok(err)
		_, err = w.db.Extend(w.ctx, pool.ExtendRequest{Token: claimed.Token, Lease: 20 * time.Hour})
		w.ok(err)
		adopted, err := w.db.Adopt(w.ctx, claimed.Token, "claimed", "")
		w.ok(err)
		w.equal("what the build still has", []string{"a"}, adopted.NodeNames())
		c := w.queue(one("waiter"))
		w.release("claimed")
		w.release("granted")
		w.equal("holders", map[string]string{}, w.holders())
		w.equal("status", []any{pool.Ready, pool.Ready}, []any{w.node("a").Status, w.node("b").Status})
		w.maintenance("b", false, "")
		w.equal("nodes", []string{"b"}, c.granted().NodeNames())
	}},

	{"a node that drains is taken back when its lease ends, and handed to nobody", func(w *world) {
		w.add("a")
		w.hold(one("build", lease(30*time.Second)))
		w.maintenance("a", true, "fan")
		w.waits(one("waiter"))
		w.clock.add(31 * time.Second)
		w.tend()
		n := w.node("a")
		w.equal("status, suspect, maintenance", []any{pool.Ready, true, true}, []any{n.Status, n.Suspect, n.Maintenance})
		w.maintenance("a", false, "")
		w.equal("holders", map[string]string{"a": "waiter"}, w.holders())
	}},

	{"maintenance is apart from the status: neither changes the other", func(w *world) {
		w.policy("p", "lease=30s", "on_expiry=quarantine")
		for _, n := range []string{"broken", "dirty"} {
			w.addNode(n, inPool("p"))
		}
		w.breakNode("p", "broken")
		_, err := w.db.MarkDirty(w.ctx, "dirty", "smells")
		w.ok(err)
		c := w.queue(one("waiter", from("p")))
		for name, status := range map[string]pool.Status{"broken": pool.Broken, "dirty": pool.Dirty} {
			before := w.node(name)
			n := w.maintenance(name, true, "fan")
			w.equal("status and reason", []any{status, before.Reason}, []any{n.Status, n.Reason})
			n = w.maintenance(name, false, "")
			w.equal("the node as before", before, n)
			w.maintenance(name, true, "fan")
			n, err := w.db.MarkReady(w.ctx, name)
			w.ok(err)
			w.equal("status, maintenance", []any{pool.Ready, true}, []any{n.Status, n.Maintenance})
		}
		w.equal("holders", map[string]string{}, w.holders())
		w.maintenance("dirty", false, "")
		w.equal("nodes", []string{"dirty"}, c.granted().NodeNames())
	}},

	{"saying it again changes nothing but the reason", func(w *world) {
		w.add("a")
		w.maintenance("a", true, "fan")
		w.maintenance("a", true, "fan")
		n := w.maintenance("a", true, "fan and disk")
		w.equal("reason", "fan and disk", n.MaintReason)
		w.maintenance("a", false, "mended")
		w.maintenance("a", false, "mended")
		w.equal("events", []string{"node-added", "maintenance-on", "maintenance-on", "maintenance-off"}, w.kinds(pool.EventFilter{Node: "a"}))
		events, err := w.db.Events(w.ctx, pool.EventFilter{Node: "a"})
		w.ok(err)
		w.equal("reasons", []any{"fan", "fan and disk", "mended"},
			[]any{events[1].Detail["reason"], events[2].Detail["reason"], events[3].Detail["reason"]})
	}},

	{"maintenance wants a node that exists and a reason that can be shown", func(w *world) {
		w.add("a")
		for _, c := range []struct {
			node, reason string
			class        error
		}{{"ghost", "fan", pool.ErrNotFound}, {"a", "", pool.ErrInvalid}, {"a", "two\nlines", pool.ErrInvalid}} {
			_, err := w.db.SetMaintenance(w.ctx, c.node, true, c.reason)
			w.refused(err, c.class, c.node)
		}
		_, err := w.db.SetMaintenance(w.ctx, "ghost", false, "")
		w.refused(err, pool.ErrNotFound, "ghost")
		w.equal("maintenance", false, w.node("a").Maintenance)
	}},
}
