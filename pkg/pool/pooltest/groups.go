package pooltest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

var groupCases = []testCase{
	{"each node tells its group: to its client, to who adopts it, in history and in events", func(w *world) {
		w.addNode("big", having("size", "big"))
		w.add("a", "b")
		r := one("build")
		r.Groups = []pool.Group{group("controller", 1, "size=big"), group("compute", 2)}
		a := w.hold(r)
		want := []string{"controller: big", "compute: a", "compute: b"}
		w.equal("what its client gets", want, grouped(a))
		adopted, err := w.db.Adopt(w.ctx, a.Token, "build", "")
		w.ok(err)
		w.equal("what is adopted", want, grouped(adopted))
		active := w.byID(a.ID)
		w.equal("what others see", want, grouped(&active))
		w.release("build")
		ended := w.byID(a.ID)
		w.equal("what history tells", want, grouped(&ended))
		w.equal("what was asked for", "controller: 1 node with size=big, compute: 2 nodes", pool.Describe(ended.Groups))
		for node, g := range map[string]string{"big": "controller", "a": "compute", "b": "compute"} {
			events, err := w.db.Events(w.ctx, pool.EventFilter{Node: node, Allocation: a.ID})
			w.ok(err)
			w.equal("the group in the event of "+node, g, events[0].Detail["group"])
		}
	}},

	{"groups get the first nodes in hand-out order that can serve them together", func(w *world) {
		w.addNode("dear", costing(9), having("gpu", "1"))
		w.addNode("cheap", costing(1), having("gpu", "1"))
		w.addNode("fair", costing(5))
		w.addNode("dearest", costing(10))
		r := one("build")
		r.Groups = []pool.Group{group("any", 1), group("gpu", 1, "gpu")}
		w.equal("the nodes", []string{"any: fair", "gpu: cheap"}, grouped(w.grant(r)))
		r.Owner = "next"
		w.equal("the nodes", []string{"any: dearest", "gpu: dear"}, grouped(w.grant(r)))
	}},

	{"a request of groups has set aside what it can use, and no more than it asks for", func(w *world) {
		w.addNode("gpu", having("gpu", "1"))
		w.hold(one("holder"))
		w.add("a", "b", "c")
		r := one("groups")
		r.Groups = []pool.Group{group("gpu", 1, "gpu"), group("any", 2)}
		c := w.queue(r)
		w.equal("what is left for others", 1, len(w.hold(one("other")).Nodes))
		w.refused(w.ask(one("another")), pool.ErrNoNode)
		w.release("other")
		w.release("holder")
		w.equal("the groups", 3, len(c.granted().Nodes))
	}},

	{"groups that wait for different nodes are served when the last of them comes back", func(w *world) {
		w.addNode("x", having("kind", "x"))
		w.addNode("y", having("kind", "y"))
		w.addNode("xy", having("kind", "x"), having("also", "y"))
		for _, name := range []string{"x", "y", "xy"} {
			w.hold(one("holder of "+name, needs("name="+name)))
		}
		r := one("groups")
		r.Groups = []pool.Group{group("first", 1, "kind=x"), group("second", 1, "also:absent")}
		c := w.queue(r)
		w.release("holder of x") // which suits both; only one of them can have it
		w.equal("the queue", []string{"groups"}, w.waiting("default"))
		w.release("holder of xy") // which suits the first, so that x is for the second
		w.equal("the nodes", []string{"first: xy", "second: x"}, grouped(c.granted()))
	}},

	{"groups that cannot be right are refused", func(w *world) {
		w.add("n")
		var tooMany []pool.Group
		for i := range 33 {
			tooMany = append(tooMany, group(fmt.Sprintf("g%d", i), 1))
		}
		for told, groups := range map[string][]pool.Group{
			"no node":            nil,
			"count 0":            {group("a", 0)},
			"count -1":           {group("a", 1), group("b", -1)},
			`"a" is named twice`: {group("a", 1), group("b", 1), group("a", 1)},
			`"" is named twice`:  {group("", 1), group("", 1)},
			"Upper":              {group("Upper", 1)},
			"two words":          {group("two words", 1)},
			"32 groups":          tooMany,
		} {
			r := one("build")
			r.Groups = groups
			w.refused(w.ask(r), pool.ErrInvalid, told)
			_, err := w.db.Enqueue(w.ctx, r, time.Hour)
			w.refused(err, pool.ErrInvalid, told)
			_, err = w.db.Explain(w.ctx, pool.ExplainRequest{Groups: groups})
			w.refused(err, pool.ErrInvalid, told)
		}
		w.equal("what is left of it", 0, len(w.allocations("build")))
	}},

	{"one group that no node could ever meet makes the whole request impossible, and is named", func(w *world) {
		w.add("a", "b", "c")
		r := one("build")
		r.Groups = []pool.Group{group("any", 1), group("accelerated", 1, "gpu")}
		w.refused(w.ask(r), pool.ErrImpossible, "accelerated: 1 more node with gpu")
		r.Groups = []pool.Group{group("any", 2), group("x86", 2, "arch=x86_64")}
		w.refused(w.ask(r), pool.ErrImpossible, "1 more node")
	}},

	{"groups are granted whenever trying all ways finds one, and each node suits its group", func(w *world) {
		rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same walk each time
		properties := []string{"p", "q", "r"}
		var nodes []pool.Node
		for i := range 6 {
			name := fmt.Sprintf("n%d", i)
			w.addNode(name, func(s *pool.NodeSpec) {
				for _, key := range properties {
					if rng.IntN(2) == 0 {
						having(key, "1")(s)
					}
				}
			})
			nodes = append(nodes, w.node(name))
		}
		granted, refused := 0, 0
		for range 40 {
			r := one("build")
			r.Groups = nil
			var wanted []pool.Group // one for each node
			for i := range 1 + rng.IntN(3) {
				var exprs []string
				for _, key := range properties {
					switch rng.IntN(4) {
					case 0:
						exprs = append(exprs, key)
					case 1:
						exprs = append(exprs, key+":absent")
					}
				}
				g := group(fmt.Sprintf("g%d", i), 1+rng.IntN(2), exprs...)
				r.Groups = append(r.Groups, g)
				for range g.Count {
					wanted = append(wanted, g)
				}
			}
			a, err := w.db.Allocate(w.ctx, r, pool.AllocateOptions{})
			if possible := tryAll(wanted, nodes); possible != (err == nil) || err != nil && !errors.Is(err, pool.ErrImpossible) {
				w.Fatalf("%s: possible %v, got %v", pool.Describe(r.Groups), possible, err)
			}
			if err != nil {
				refused++
				continue
			}
			granted++
			w.equal("the number of nodes", len(wanted), len(a.Nodes))
			for i, n := range a.Nodes {
				if n.Group != wanted[i].Name || !meets(n.Node, wanted[i].Require) {
					w.Fatalf("%s: node %s serves the group %q", pool.Describe(r.Groups), n.Name, n.Group)
				}
			}
			w.release("build")
		}
		if granted < 10 || refused < 10 {
			w.Errorf("%d were granted and %d refused: this shows little", granted, refused)
		}
	}},
}

// grouped lists an allocation's nodes, each with its group.
func grouped(a *pool.Allocation) []string {
	var list []string
	for _, n := range a.Nodes {
		list = append(list, n.Group+": "+n.Name)
	}
	return list
}

// tryAll reports whether nodes can serve the groups, one node each, by trying all ways.
func tryAll(wanted []pool.Group, nodes []pool.Node) bool {
	if len(wanted) == 0 {
		return true
	}
	for i, n := range nodes {
		if meets(n, wanted[0].Require) && tryAll(wanted[1:], append(append([]pool.Node{}, nodes[:i]...), nodes[i+1:]...)) {
			return true
		}
	}
	return false
}
