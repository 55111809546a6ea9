package pooltest

import (
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// inventory imports specs and gives the changes.
func (w *world) inventory(o pool.ImportOptions, specs ...pool.NodeSpec) []pool.Change {
	w.Helper()
	got, err := w.db.Import(w.ctx, specs, o)
	w.ok(err)
	return got
}

var inventoryCases = []testCase{
	{"an import adds, changes and prunes, tells the changes by name, and does nothing when repeated", func(w *world) {
		a, b, c, d := w.spec("a"), w.spec("b"), w.spec("c"), w.spec("d")
		w.equal("first", []pool.Change{{Node: "a", Kind: "add"}, {Node: "c", Kind: "add"}, {Node: "d", Kind: "add"}},
			w.inventory(pool.ImportOptions{}, d, c, a))
		c.RAMMB, c.Properties, c.Cost = 4096, map[string]string{"gpu": "A100"}, 2
		c.BMC.Password = secret.New(secretMark + " is another")
		d.BMC.Password = secret.Text{} // keeps the stored one
		want := []pool.Change{
			{Node: "a", Kind: "remove"}, {Node: "b", Kind: "add"},
			{Node: "c", Kind: "change", Fields: []string{"ram_mb", "cost", "gpu", "bmc_password"}},
		}
		before := w.kinds(pool.EventFilter{})
		w.equal("the dry run", want, w.inventory(pool.ImportOptions{Prune: true, DryRun: true}, b, c, d))
		w.equal("nodes after the dry run", []string{"a", "c", "d"}, w.names(pool.NodeFilter{}))
		w.equal("events after the dry run", before, w.kinds(pool.EventFilter{}))
		w.equal("second", want, w.inventory(pool.ImportOptions{Prune: true}, b, c, d))
		w.equal("nodes", []string{"b", "c", "d"}, w.names(pool.NodeFilter{}))
		n, err := w.db.NodeWithCredentials(w.ctx, "c")
		w.ok(err)
		w.equal("the changed password", c.BMC.Password, n.BMC.Password)
		n, err = w.db.NodeWithCredentials(w.ctx, "d")
		w.ok(err)
		w.equal("the kept password", secret.New(secretMark+" of d"), n.BMC.Password)
		before = w.kinds(pool.EventFilter{})
		w.equal("third", []pool.Change(nil), w.inventory(pool.ImportOptions{Prune: true}, b, c, d))
		w.equal("events of what changed nothing", before, w.kinds(pool.EventFilter{}))
	}},

	{"an import keeps what is not its matter: pools that it does not name, status, maintenance, holders", func(w *world) {
		w.policy("other")
		a := w.spec("a")
		w.ok(w.db.AddNodes(w.ctx, []pool.NodeSpec{a, w.spec("elsewhere", inPool("other"))}))
		w.hold(one("build"))
		_, err := w.db.SetMaintenance(w.ctx, "a", true, "fan")
		w.ok(err)
		a.RAMMB = 1024
		w.inventory(pool.ImportOptions{Prune: true}, a)
		n := w.node("a")
		w.equal("the node", []any{pool.Allocated, true, "build", int64(1024)}, []any{n.Status, n.Maintenance, n.Owner, n.RAMMB})
		w.equal("nodes", []string{"a", "elsewhere"}, w.names(pool.NodeFilter{}))
	}},

	{"all faults are told at once and nothing is imported", func(w *world) {
		taken := w.spec("taken")
		w.ok(w.db.AddNodes(w.ctx, []pool.NodeSpec{taken}))
		x := w.spec("x", func(s *pool.NodeSpec) { s.MACs = []string{"nonsense"} })
		y := w.spec("y", func(s *pool.NodeSpec) { s.Arch = "?" })
		_, err := w.db.Import(w.ctx, []pool.NodeSpec{w.spec("good"), x, y}, pool.ImportOptions{})
		w.refused(err, pool.ErrInvalid, "nonsense", "node y", "?")
		w.equal("problems", 2, len(w.problems(err)))
		x = w.spec("x", func(s *pool.NodeSpec) { s.MACs = taken.MACs })
		y = w.spec("y", func(s *pool.NodeSpec) { s.BMC.Address = taken.BMC.Address })
		_, err = w.db.Import(w.ctx, []pool.NodeSpec{w.spec("good"), x, y}, pool.ImportOptions{})
		w.refused(err, pool.ErrConflict, "node x", "node y", "taken")
		w.equal("problems", 2, len(w.problems(err)))
		_, err = w.db.Import(w.ctx, []pool.NodeSpec{w.spec("good"), w.spec("z", inPool("ghost"))}, pool.ImportOptions{})
		w.refused(err, pool.ErrNotFound, "ghost")
		w.equal("nodes", []string{"taken"}, w.names(pool.NodeFilter{}))
	}},

	{"faulty rows, pools that are not there, clashes with nodes that stay and held nodes are told together", func(w *world) {
		w.policy("other")
		w.policy("third")
		taken, known, moved, gone := w.spec("taken", inPool("third")), w.spec("known"), w.spec("moved"), w.spec("gone", inPool("other"))
		w.inventory(pool.ImportOptions{}, taken, known, moved, gone)
		w.hold(one("build", needs("name=moved")))
		w.hold(one("another", from("other")))

		faulty := known // what it has now is another's, if its fault is mended
		faulty.Arch, faulty.MACs = "?", []string{"52:54:00:ff:00:01"}
		heir := w.spec("heir", func(s *pool.NodeSpec) { s.MACs = known.MACs })
		clash := w.spec("clash", func(s *pool.NodeSpec) { s.BMC.Address = taken.BMC.Address })
		after := w.spec("after", inPool("other"), func(s *pool.NodeSpec) { s.MACs = gone.MACs })
		moved.Pool = "other"
		rows := []pool.NodeSpec{faulty, heir, clash, after, moved, w.spec("lost", inPool("ghost")), w.spec("-", inPool("-"))}
		_, err := w.db.Import(w.ctx, rows, pool.ImportOptions{Prune: true})
		w.refused(err, pool.ErrInvalid)
		w.equal("the faults", []string{
			`node known: arch "?": write it as uname -m says, as in x86_64`,
			`node -: name "-": 1 to 63 letters, digits, dots, underscores and hyphens, beginning with a letter or digit`,
			`node -: pool "-": 1 to 63 letters, digits, dots, underscores and hyphens, beginning with a letter or digit`,
			`node lost: no pool "ghost"; make it with: moltenironctl pool add ghost`,
			`node moved is held by "build", so it cannot change its pool; let it drain with: moltenironctl maintenance on moved --reason TEXT`,
			`node gone is held by "another"; let it drain with: moltenironctl maintenance on gone --reason TEXT`,
			`node clash: bmc ` + taken.BMC.Address + ` port 623 is taken by node taken`,
		}, w.problems(err))
		_, err = w.db.Import(w.ctx, []pool.NodeSpec{clash, w.spec("lost", inPool("ghost"))}, pool.ImportOptions{})
		w.refused(err, pool.ErrInvalid, "clash", "ghost")
		w.equal("nodes", []string{"known", "moved", "gone", "taken"}, w.names(pool.NodeFilter{}))
	}},

	{"nodes that swap their addresses in one import swap them", func(w *world) {
		a, b := w.spec("a"), w.spec("b")
		w.inventory(pool.ImportOptions{}, a, b)
		a.BMC.Address, b.BMC.Address, a.MACs, b.MACs = b.BMC.Address, a.BMC.Address, b.MACs, a.MACs
		w.inventory(pool.ImportOptions{}, a, b)
		n := w.node("a")
		w.equal("address and mac of a", []any{a.BMC.Address, a.MACs}, []any{n.BMC.Address, n.MACs})
		w.equal("changes after", []pool.Change(nil), w.inventory(pool.ImportOptions{}, a, b))
	}},

	{"a node that takes the addresses of a pruned one gets them", func(w *world) {
		a, b := w.spec("a"), w.spec("b")
		w.inventory(pool.ImportOptions{}, a)
		b.BMC, b.MACs = a.BMC, a.MACs
		w.inventory(pool.ImportOptions{Prune: true}, b)
		w.equal("nodes", []string{"b"}, w.names(pool.NodeFilter{}))
	}},

	{"an import moves nodes between pools, and serves who waits in both", func(w *world) {
		w.policy("left")
		w.policy("right")
		a, b := w.spec("a", inPool("left"), having("gpu", "1")), w.spec("b", inPool("right"), having("gpu", "2"))
		x, y := w.spec("x", inPool("left"), having("gpu", "2")), w.spec("y", inPool("right"), having("gpu", "1"))
		w.inventory(pool.ImportOptions{}, a, b, x, y)
		w.hold(one("holds x", from("left"), needs("gpu=2")))
		w.hold(one("holds y", from("right"), needs("gpu=1")))
		w.queue(one("in left", from("left"), needs("gpu=2")))
		w.queue(one("in right", from("right"), needs("gpu=1")))
		a.Pool, b.Pool = "right", "left"
		w.inventory(pool.ImportOptions{}, a, b)
		w.equal("holders", map[string]string{"x": "holds x", "y": "holds y", "b": "in left", "a": "in right"}, w.holders())
	}},

	{"a held node is neither moved nor pruned, and nothing else is imported", func(w *world) {
		w.policy("other")
		a, b := w.spec("a"), w.spec("b")
		w.inventory(pool.ImportOptions{}, a)
		w.hold(one("build"))
		moved := a
		moved.Pool = "other"
		_, err := w.db.Import(w.ctx, []pool.NodeSpec{moved, b}, pool.ImportOptions{})
		w.refused(err, pool.ErrConflict, "a", "build")
		_, err = w.db.Import(w.ctx, []pool.NodeSpec{b}, pool.ImportOptions{Prune: true})
		w.refused(err, pool.ErrConflict, "a", "build")
		w.equal("nodes", []string{"a"}, w.names(pool.NodeFilter{}))
	}},

	{"who waits for a kind of node is not ended by an import that replaces it", func(w *world) {
		a, b := w.spec("a", having("gpu", "old")), w.spec("b", having("gpu", "new"))
		w.inventory(pool.ImportOptions{}, a)
		_, err := w.db.MarkDirty(w.ctx, "a", "")
		w.ok(err)
		c := w.queue(one("build", needs("gpu")))
		w.inventory(pool.ImportOptions{Prune: true}, b)
		w.equal("the build's nodes", []string{"b"}, c.granted().NodeNames())
	}},

	{"an import that takes away the last node that could meet a request ends it as impossible", func(w *world) {
		a, b := w.spec("a", having("gpu", "1")), w.spec("b")
		w.inventory(pool.ImportOptions{}, a, b)
		_, err := w.db.MarkDirty(w.ctx, "a", "")
		w.ok(err)
		c := w.queue(one("build", needs("gpu")))
		a.Properties = nil
		w.inventory(pool.ImportOptions{}, a, b)
		_, err = c.result()
		w.refused(err, pool.ErrImpossible, "gpu")
	}},
}
