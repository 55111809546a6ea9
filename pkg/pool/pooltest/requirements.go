package pooltest

import (
	"fmt"

	"github.com/molteniron/molteniron/pkg/pool"
)

var requirementCases = []testCase{
	{"each form of a requirement selects the nodes that it says", func(w *world) {
		w.ok(w.db.AddNodes(w.ctx, []pool.NodeSpec{
			w.spec("small", func(s *pool.NodeSpec) { s.RAMMB, s.CPUs, s.DiskGB = 1024, 2, 100 }),
			w.spec("big", func(s *pool.NodeSpec) {
				s.RAMMB, s.CPUs, s.Cost, s.IPs = 65536, 64, 10, []string{"192.0.2.1", "2001:db8::1"}
				s.Properties = map[string]string{"gpu": "A100", "slots": "8"}
			}),
			w.spec("arm", func(s *pool.NodeSpec) {
				s.Arch, s.RAMMB = "aarch64", 8192
				s.MACs = []string{"52:54:00:ff:ff:01", "52:54:00:ff:ff:02"}
				s.Properties = map[string]string{"gpu": "none", "slots": "many"}
			}),
			w.spec("blank", func(s *pool.NodeSpec) { s.Arch, s.MACs = "", nil }),
			w.spec("fish", func(s *pool.NodeSpec) { s.BMC.Driver = "redfish"; s.Properties = map[string]string{"slots": "-3"} }),
		}))
		for expr, want := range map[string][]string{
			"name=small,arm":            {"arm", "small"},
			"name:not=small":            {"arm", "big", "blank", "fish"},
			"arch=x86_64":               {"big", "fish", "small"},
			"arch=X86_64":               nil,
			"arch:not=x86_64":           {"arm"}, // unset meets nothing but absent
			"arch!=x86_64":              {"arm"},
			"arch":                      {"arm", "big", "fish", "small"},
			"arch:absent":               {"blank"},
			"ram_mb:min=8192":           {"arm", "big"},
			"ram_mb>=8193":              {"big"},
			"ram_mb:max=8192":           {"arm", "small"},
			"ram_mb<=1023":              nil,
			"ram_mb=1024,65536":         {"big", "small"},
			"ram_mb=01024":              {"small"},
			"ram_mb:absent":             {"blank", "fish"},
			"cpus:min=0":                {"big", "small"},
			"disk_gb:max=100":           {"small"},
			"cost:max=0":                {"arm", "blank", "fish", "small"},
			"gpu":                       {"arm", "big"},
			"gpu:absent":                {"blank", "fish", "small"},
			"gpu=A100":                  {"big"},
			"gpu:not=none":              {"big"},
			"gpu=a100":                  nil,
			"slots:min=-5":              {"big", "fish"},
			"slots:max=7":               {"fish"},
			"slots=8,many":              {"arm", "big"},
			"colour":                    nil,
			"mac=52-54-00-FF-FF-02":     {"arm"},
			"mac:absent":                {"blank"},
			"mac:not=52:54:00:ff:ff:01": {"big", "fish", "small"},
			"ip=2001:DB8::0:1":          {"big"},
			"ip:absent":                 {"arm", "blank", "fish", "small"},
			"bmc_driver=redfish":        {"fish"},
		} {
			if want == nil {
				err := w.ask(one("build", needs(expr)))
				w.refused(err, pool.ErrImpossible, "1 node with")
				continue
			}
			a := w.grant(many("build", len(want), needs(expr)))
			w.equal(expr, want, sorted(a.NodeNames()))
			w.release("build")
			err := w.ask(many("build", len(want)+1, needs(expr)))
			w.refused(err, pool.ErrImpossible)
		}
	}},

	{"several requirements must all hold", func(w *world) {
		w.addNode("a", having("gpu", "1"))
		w.addNode("b", having("gpu", "1"), ofArch("aarch64"))
		w.addNode("c", ofArch("aarch64"))
		w.equal("nodes", []string{"b"}, w.grant(one("build", needs("gpu", "arch=aarch64"))).NodeNames())
		w.refused(w.ask(one("other", needs("gpu:absent", "arch=x86_64"))), pool.ErrImpossible)
	}},

	{"groups are matched together, whenever a solution exists", func(w *world) {
		// Given in hand-out order, a and b would go to the first group, and the second would starve.
		w.addNode("a", having("gpu", "1"))
		w.addNode("b", having("gpu", "1"))
		w.add("c", "d")
		r := one("build")
		r.Groups = []pool.Group{group("any", 2), group("accelerated", 2, "gpu")}
		a := w.grant(r)
		groups := map[string][]string{}
		for _, n := range a.Nodes {
			groups[n.Group] = append(groups[n.Group], n.Name)
		}
		w.equal("groups", map[string][]string{"any": {"c", "d"}, "accelerated": {"a", "b"}},
			map[string][]string{"any": sorted(groups["any"]), "accelerated": sorted(groups["accelerated"])})
		w.equal("the count", 4, a.Count())
		for i, n := range a.Nodes {
			if want := []string{"any", "any", "accelerated", "accelerated"}[i]; n.Group != want {
				w.Errorf("node %d is of group %s, want %s", i, n.Group, want)
			}
		}
		w.release("build")
		r.Groups[1].Count = 3
		w.refused(w.ask(r), pool.ErrImpossible)
	}},

	{"groups are all or none", func(w *world) {
		w.addNode("gpu", having("gpu", "1"))
		w.add("a", "b")
		w.hold(one("other", needs("gpu")))
		r := one("build")
		r.Groups = []pool.Group{group("any", 2), group("accelerated", 1, "gpu")}
		w.refused(w.ask(r), pool.ErrNoNode)
		w.equal("holders", map[string]string{"gpu": "other"}, w.holders())
		c := w.queue(r)
		w.release("other")
		w.equal("nodes", 3, len(c.granted().Nodes))
	}},

	{"a requirement is met by what a node is now", func(w *world) {
		w.add("a", "b")
		w.refused(w.ask(one("build", needs("gpu"))), pool.ErrImpossible)
		_, err := w.db.SetNode(w.ctx, "b", changes("gpu=A100"))
		w.ok(err)
		w.equal("nodes", []string{"b"}, w.grant(one("build", needs("gpu"))).NodeNames())
	}},

	{"a request may have many requirements and groups, with long values", func(w *world) {
		long := make([]byte, 4000)
		for i := range long {
			long[i] = 'v'
		}
		r := one("build")
		r.Groups = nil
		for i := range 20 {
			name := fmt.Sprintf("n%02d", i)
			w.addNode(name, having("key", name+string(long)))
			r.Groups = append(r.Groups, group(fmt.Sprintf("g%02d", i), 1, "key="+name+string(long)))
		}
		w.equal("nodes", 20, len(w.grant(r).Nodes))
	}},
}
