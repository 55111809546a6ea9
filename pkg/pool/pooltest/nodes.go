package pooltest

import (
	"errors"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var nodeCases = []testCase{
	{"a node comes back as it was said, each value in its one spelling", func(w *world) {
		spec := pool.NodeSpec{
			Name: "Rack-7.node_1",
			BMC: pool.BMC{
				Driver: pool.DriverRedfish, Address: "https://BMC7.Example.org", SystemID: "/redfish/v1/Systems/1",
				Verify: "off", Username: "Verwalter", Password: secret.New(secretMark + " '\"$`\\ü\n"),
			},
			MACs: []string{"52-54-00-AB-CD-EF", "525400abcdf0", "5254.00ab.cdf1"}, Arch: "aarch64", CPUs: 64, RAMMB: 262144, DiskGB: 960,
			IPs: []string{"192.0.2.7", "2001:DB8:0::7"}, Properties: map[string]string{"gpu": "A100, 80 GB", "rack": "7"}, Cost: 5,
		}
		w.ok(w.db.AddNodes(w.ctx, []pool.NodeSpec{spec}))
		got, err := w.db.NodeWithCredentials(w.ctx, "Rack-7.node_1")
		w.ok(err)
		want := pool.Node{
			UID: got.UID, Name: "Rack-7.node_1", Pool: "default",
			BMC: pool.BMC{
				Driver: "redfish", Address: "bmc7.example.org", Port: 443, SystemID: "/redfish/v1/Systems/1",
				Verify: "off", Username: "Verwalter", Password: spec.BMC.Password,
			},
			MACs: []string{"52:54:00:ab:cd:ef", "52:54:00:ab:cd:f0", "52:54:00:ab:cd:f1"}, Arch: "aarch64", CPUs: 64, RAMMB: 262144, DiskGB: 960,
			IPs: []string{"192.0.2.7", "2001:db8::7"}, Properties: map[string]string{"gpu": "A100, 80 GB", "rack": "7"}, Cost: 5,
			Status: pool.Ready, Since: got.Since,
		}
		w.equal("the node", want, got)
		if got.UID == "" || got.Since.IsZero() || got.Since.Location() != time.UTC {
			w.Errorf("uid %q, since %v", got.UID, got.Since)
		}
		w.equal("the node without credentials", secret.Text{}, w.node("Rack-7.node_1").BMC.Password)
	}},

	{"adding is all or none, and tells every fault", func(w *world) {
		bad := w.spec("-bad", func(s *pool.NodeSpec) {
			s.BMC.Address, s.BMC.Port, s.MACs, s.IPs = "10.0.0.300", 70000, []string{"52:54:00"}, []string{"fe80::1%eth0"}
			s.Arch, s.CPUs, s.Properties = "x86 64", -1, map[string]string{"GPU": "1", "arch": "y", "empty": ""}
		})
		twin := w.spec("twin")
		again := w.spec("again", func(s *pool.NodeSpec) { s.BMC.Address, s.MACs = twin.BMC.Address, twin.MACs })
		err := w.db.AddNodes(w.ctx, []pool.NodeSpec{w.spec("good"), bad, twin, again})
		w.refused(err, pool.ErrInvalid, "-bad", "10.0.0.300", "70000", "52:54:00", "fe80::1%eth0", "x86 64", "-1", "GPU", `"arch"`, "empty",
			"bmc "+twin.BMC.Address, "mac "+twin.MACs[0])
		nodes, err := w.db.Nodes(w.ctx, pool.NodeFilter{})
		w.ok(err)
		w.equal("nodes", 0, len(nodes))
		w.equal("events", []string{"pool-added"}, w.kinds(pool.EventFilter{}))
	}},

	{"a taken name, BMC endpoint, MAC or deployment address is refused and named", func(w *world) {
		first := w.spec("first", func(s *pool.NodeSpec) { s.IPs = []string{"192.0.2.1"} })
		w.ok(w.db.AddNodes(w.ctx, []pool.NodeSpec{first}))
		for what, change := range map[string]func(*pool.NodeSpec){
			"the name is taken":        func(s *pool.NodeSpec) { s.Name = "first" },
			"bmc " + first.BMC.Address: func(s *pool.NodeSpec) { s.BMC.Address = first.BMC.Address },
			"mac " + first.MACs[0]:     func(s *pool.NodeSpec) { s.MACs = append(s.MACs, strings.ToUpper(first.MACs[0])) },
			"ip 192.0.2.1":             func(s *pool.NodeSpec) { s.IPs = []string{"192.0.2.1"} },
		} {
			err := w.db.AddNodes(w.ctx, []pool.NodeSpec{w.spec("fine"), w.spec("second", change)})
			w.refused(err, pool.ErrConflict, what, "first")
		}
		// The same address with another port or system is another BMC.
		w.addNode("port", func(s *pool.NodeSpec) { s.BMC.Address, s.BMC.Port = first.BMC.Address, 6230 })
		w.equal("nodes", []string{"first", "port"}, w.names(pool.NodeFilter{}))
	}},

	{"names differ by case, and a name with the case of another is another node", func(w *world) {
		w.add("node", "NODE")
		w.equal("nodes", 2, len(w.names(pool.NodeFilter{})))
		w.equal("the one that is asked for", "NODE", w.node("NODE").Name)
		_, err := w.db.Node(w.ctx, "Node")
		w.refused(err, pool.ErrNotFound, "Node")
	}},

	{"adding nothing is fine", func(w *world) {
		w.ok(w.db.AddNodes(w.ctx, nil))
	}},

	{"nodes are listed by pool and name, and by what a filter says", func(w *world) {
		w.policy("b")
		w.policy("a")
		w.addNode("z", inPool("a"))
		w.addNode("y", inPool("a"))
		w.addNode("x", inPool("b"))
		w.addNode("w", inPool("b"))
		w.hold(one("build", from("b"), needs("name=x")))
		for _, c := range []struct {
			filter pool.NodeFilter
			want   []string
		}{
			{pool.NodeFilter{}, []string{"y", "z", "w", "x"}},
			{pool.NodeFilter{Pool: "a"}, []string{"y", "z"}},
			{pool.NodeFilter{Names: []string{"x", "z"}}, []string{"z", "x"}},
			{pool.NodeFilter{Statuses: []pool.Status{pool.Allocated, pool.Broken}}, []string{"x"}},
			{pool.NodeFilter{Owner: "build"}, []string{"x"}},
			{pool.NodeFilter{Owner: "nobody"}, nil},
			{pool.NodeFilter{Pool: "default"}, nil},
			{pool.NodeFilter{Pool: "a", Statuses: []pool.Status{pool.Allocated}}, nil},
		} {
			w.equal("nodes", c.want, w.names(c.filter))
		}
		_, err := w.db.Nodes(w.ctx, pool.NodeFilter{Names: []string{"x", "ghost"}})
		w.refused(err, pool.ErrNotFound, "ghost")
		_, err = w.db.Nodes(w.ctx, pool.NodeFilter{Pool: "ghost"})
		w.refused(err, pool.ErrNotFound, "ghost")
	}},

	{"set changes fields and properties, all or none", func(w *world) {
		w.add("n", "other")
		got, err := w.db.SetNode(w.ctx, "n", changes("ram_mb=65536", "cpus=8", "disk_gb=100", "arch=ppc64le", "cost=3", "gpu=A100",
			"bmc_address=BMC.example.org", "bmc_port=6230", "bmc_user=Root", "mac=52:54:00:ff:00:01,52-54-00-FF-00-02", "ip=192.0.2.8"))
		w.ok(err)
		want := got
		want.RAMMB, want.CPUs, want.DiskGB, want.Arch, want.Cost, want.Properties = 65536, 8, 100, "ppc64le", 3, map[string]string{"gpu": "A100"}
		want.BMC = pool.BMC{Driver: "ipmi", Address: "bmc.example.org", Port: 6230, Username: "Root"}
		want.MACs, want.IPs = []string{"52:54:00:ff:00:01", "52:54:00:ff:00:02"}, []string{"192.0.2.8"}
		w.equal("the node", want, got)

		for _, c := range []struct{ change, told string }{
			{"RAM=5", "RAM"},
			{"ram_mb=many", "many"},
			{"ram_mb=-1", "-1"},
			{"cpus=1.5", "1.5"},
			{"bmc_port=0x10", "0x10"},
			{"bmc_port=65536", "65536"},
			{"bmc_driver=telnet", "telnet"},
			{"bmc_address=", "bmc_address"},
			{"bmc_system_id=1", "redfish"},
			{"mac=52:54", "52:54"},
			{"ip=192.0.2.300", "192.0.2.300"},
			{"arch=x86-64", "x86-64"},
			{"name=two words", "two words"},
			{"name=", "name"},
			{"pool=", "pool"},
			{"status=ready", "moltenironctl ready"},
			{"owner=me", "moltenironctl allocate"},
			{"generation=7", "generation"},
			{"uid=7", "uid"},
			{"bmc_password=hunter2", "bmc_password"},
			{"note= outer blank", "note"},
		} {
			_, err := w.db.SetNode(w.ctx, "n", changes("rack=7", c.change))
			w.refused(err, pool.ErrInvalid, c.told)
			if strings.Contains(err.Error(), "hunter2") {
				w.Errorf("the error tells the password: %v", err)
			}
		}
		w.equal("the node after refused changes", want, w.node("n"))

		other := w.node("other")
		for _, change := range []string{"name=other", "mac=" + other.MACs[0]} {
			_, err = w.db.SetNode(w.ctx, "n", changes(change))
			w.refused(err, pool.ErrConflict, "other")
		}
		_, err = w.db.SetNode(w.ctx, "n", changes("bmc_address="+other.BMC.Address, "bmc_port=623"))
		w.refused(err, pool.ErrConflict, other.BMC.Address, "other")
		_, err = w.db.SetNode(w.ctx, "ghost", changes("rack=7"))
		w.refused(err, pool.ErrNotFound, "ghost")
		_, err = w.db.SetNode(w.ctx, "n", changes("pool=ghost"))
		w.refused(err, pool.ErrNotFound, "ghost")

		got, err = w.db.SetNode(w.ctx, "n", changes("ram_mb=", "cpus=", "arch=", "gpu=", "mac=", "ip=", "bmc_user=", "rack="))
		w.ok(err)
		want.RAMMB, want.CPUs, want.Arch, want.Properties, want.MACs, want.IPs, want.BMC.Username = 0, 0, "", map[string]string{}, nil, nil, ""
		w.equal("the node with what is optional unset", want, got)
	}},

	{"the fields of a node are what get shows", func(w *world) {
		w.addNode("n", having("gpu", "A100"))
		w.hold(one("build", slot("a")))
		n := w.node("n")
		for field, want := range map[string]string{
			"name": "n", "pool": "default", "bmc_driver": "ipmi", "bmc_port": "623", "arch": "x86_64", "ram_mb": "", "gpu": "A100", "status": "allocated",
			"owner": "build", "slot": "a", "generation": "1", "suspect": "false", "mac": n.MACs[0], "bmc_password": "",
		} {
			got, err := n.Field(field)
			w.ok(err)
			w.equal(field, want, got)
		}
		for _, f := range pool.NodeFields {
			if _, err := n.Field(f.Name); err != nil {
				w.Errorf("field %s: %v", f.Name, err)
			}
		}
		_, err := n.Field("colour")
		w.refused(err, pool.ErrNotFound, "colour", "ram_mb", "gpu")
	}},

	{"a renamed node keeps its uid, holder, password and history", func(w *world) {
		w.add("old")
		uid := w.node("old").UID
		a := w.hold(one("build"))
		_, err := w.db.SetNode(w.ctx, "old", changes("name=new"))
		w.ok(err)
		n, err := w.db.NodeWithCredentials(w.ctx, "new")
		w.ok(err)
		w.equal("uid, owner, password", []string{uid, "build", secretMark + " of old"}, []string{n.UID, n.Owner, n.BMC.Password.Reveal()})
		held, err := w.db.Adopt(w.ctx, a.Token, "build", "")
		w.ok(err)
		w.equal("what the build holds", []string{"new"}, held.NodeNames())
		err = w.ask(one("build"))
		w.refused(err, pool.ErrConflict, "new")
		w.equal("what comes back", []string{"new"}, w.release("build")[0].NodeNames())
		w.equal("its history under the new name", []string{"node-set", "released"}, w.kinds(pool.EventFilter{Node: "new"}))
		w.equal("its history under the old name", []string{"node-added", "granted"}, w.kinds(pool.EventFilter{Node: "old"}))
	}},

	{"a held node cannot be removed, nor change its pool", func(w *world) {
		w.policy("other")
		w.add("n")
		w.hold(one("build"))
		w.refused(w.db.RemoveNode(w.ctx, "n"), pool.ErrConflict, "build", "maintenance on n")
		_, err := w.db.SetNode(w.ctx, "n", changes("pool=other", "rack=7"))
		w.refused(err, pool.ErrConflict, "build")
		w.equal("properties", map[string]string{}, w.node("n").Properties)
		w.release("build")
		n, err := w.db.SetNode(w.ctx, "n", changes("pool=other"))
		w.ok(err)
		w.equal("pool", "other", n.Pool)
	}},

	{"history outlives a removed node", func(w *world) {
		w.add("n", "m")
		w.hold(one("build"))
		w.release("build")
		w.ok(w.db.RemoveNode(w.ctx, "n"))
		w.refused(w.db.RemoveNode(w.ctx, "n"), pool.ErrNotFound, "n")
		w.equal("events", []string{"node-added", "granted", "released", "node-removed"}, w.kinds(pool.EventFilter{Node: "n"}))
		a := w.last("build")
		w.equal("the build's nodes", []string{"n"}, a.NodeNames())
		// Another machine of that name has nothing to do with it, and may have its addresses.
		w.add("n")
		if w.node("n").Generation != 0 {
			w.Errorf("the new node has the old one's generation")
		}
	}},

	{"a build sets fields of a node only while it holds it", func(w *world) {
		w.add("n")
		w.hold(one("first"))
		nodes, err := w.db.SetNodes(w.ctx, []string{"n"}, held("first", "note=mine"))
		w.ok(err)
		w.equal("note", "mine", nodes[0].Properties["note"])
		w.release("first")
		_, err = w.db.SetNodes(w.ctx, []string{"n"}, held("first", "note=still mine"))
		w.refused(err, pool.ErrConflict, "first", "ready")
		w.hold(one("second"))
		_, err = w.db.SetNodes(w.ctx, []string{"n"}, held("first", "note=still mine"))
		w.refused(err, pool.ErrConflict, "second")
		w.equal("note", "mine", w.node("n").Properties["note"])
	}},

	{"several nodes are set all or none, their passwords too", func(w *world) {
		w.policy("other")
		w.addNode("a")
		w.addNode("b", inPool("other"))
		was := w.node("a")
		password := secret.New(secretMark + " anew")
		before := w.kinds(pool.EventFilter{})
		for _, c := range []struct {
			change string
			names  []string
			class  error
			told   string
		}{
			{"mac=52:54:00:ff:00:01", []string{"a", "b"}, pool.ErrConflict, "mac 52:54:00:ff:00:01 is taken by node a"},
			{"note=1", []string{"a", "ghost"}, pool.ErrNotFound, "ghost"},
			{"cpus=many", []string{"a", "b"}, pool.ErrInvalid, "many"},
		} {
			_, err := w.db.SetNodes(w.ctx, c.names, pool.NodeChanges{Fields: changes(c.change), Password: &password})
			w.refused(err, c.class, c.told)
		}
		bad := secret.New(secretMark + "\x00")
		_, err := w.db.SetNodes(w.ctx, []string{"a", "b"}, pool.NodeChanges{Fields: changes("note=1"), Password: &bad})
		w.refused(err, pool.ErrInvalid, "a, b", "NUL")
		w.hold(one("build"))
		_, err = w.db.SetNodes(w.ctx, []string{"a", "b"}, held("build", "note=1"))
		w.refused(err, pool.ErrConflict, "b", "ready")
		w.release("build")
		w.equal("the node after all that", was.Spec(), w.node("a").Spec())
		w.equal("its password", secretMark+" of a", w.password(w.db, "a"))

		nodes, err := w.db.SetNodes(w.ctx, []string{"b", "a"}, pool.NodeChanges{Fields: changes("note=1"), Password: &password})
		w.ok(err)
		w.equal("those that were set", []string{"a 1", "b 1"}, []string{nodes[0].Name + " " + nodes[0].Properties["note"], nodes[1].Name + " " + nodes[1].Properties["note"]})
		w.equal("the passwords", []string{secretMark + " anew", secretMark + " anew"}, []string{w.password(w.db, "a"), w.password(w.db, "b")})
		w.equal("events, four of them of the build", len(before)+4+4, len(w.kinds(pool.EventFilter{})))
	}},
}

// held are changes that an owner makes of what it holds.
func held(owner string, fields ...string) pool.NodeChanges {
	return pool.NodeChanges{Fields: changes(fields...), Owner: owner}
}

// names lists the names of the nodes that a filter selects, in the order that the library gives.
func (w *world) names(f pool.NodeFilter) []string {
	w.Helper()
	nodes, err := w.db.Nodes(w.ctx, f)
	w.ok(err)
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return names
}

// problems lists the lines of an error that tells several faults.
func (w *world) problems(err error) []string {
	w.Helper()
	var p *pool.Problems
	if !errors.As(err, &p) {
		w.Fatalf("the error %v tells no list of faults", err)
	}
	return p.List
}
