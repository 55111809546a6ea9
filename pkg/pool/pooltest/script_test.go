package pooltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/molteniron/molteniron/pkg/pool"
)

// script is a pool and what happens to it, drawn at random before it is played, so that it can be played
// on several engines. It names nodes and requests by numbers, which are taken modulo what there is.
type script struct {
	Policy []string // fields of the pool's policy
	Nodes  []hardware
	Shapes [][]pool.Group // what requests ask for: a few, because equal requests are matched once
	Moves  []move
}

type hardware struct {
	Arch string
	GPU  bool
	RAM  int64
	Cost int64
}

type move struct {
	After    time.Duration // the time that passes before it
	Does     string
	Which    int // request, node or shape
	Priority int
	Wait     time.Duration
	Job      string
	Dirty    bool
	Node     hardware
}

// GoString is what rapid prints of a failed example.
func (s script) GoString() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", strings.Join(s.Policy, " "))
	for i, h := range s.Nodes {
		fmt.Fprintf(&b, "  node %d: %+v\n", i, h)
	}
	for i, g := range s.Shapes {
		fmt.Fprintf(&b, "  shape %d: %s\n", i, pool.Describe(g))
	}
	for i, m := range s.Moves {
		fmt.Fprintf(&b, "  move %d: %+v\n", i, m)
	}
	return b.String()
}

// Durations of scripts are whole seconds and their sums meet limits exactly: then a limit has come.
var drawAfter = rapid.SampledFrom([]time.Duration{0, 0, 0, 0, time.Second, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute})

var drawHardware = rapid.Custom(func(t *rapid.T) hardware {
	return hardware{
		Arch: rapid.SampledFrom([]string{"x86_64", "arm64"}).Draw(t, "arch"), GPU: rapid.Bool().Draw(t, "gpu"),
		RAM: rapid.SampledFrom([]int64{1024, 2048, 4096}).Draw(t, "ram"), Cost: rapid.Int64Range(0, 1).Draw(t, "cost"),
	}
})

var drawGroups = rapid.Custom(func(t *rapid.T) []pool.Group {
	var groups []pool.Group
	exprs := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
		"arch=x86_64", "arch=arm64", "arch:not=arm64", "gpu", "gpu:absent", "ram_mb:min=2048", "ram_mb:max=2048",
	}), 0, 2, rapid.ID)
	for i := range rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "groups") {
		count := rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "count")
		groups = append(groups, group(fmt.Sprintf("g%d", i), count, exprs.Draw(t, "require")...))
	}
	return groups
})

var drawMove = rapid.Custom(func(t *rapid.T) move {
	m := move{
		After: drawAfter.Draw(t, "after"),
		Does: rapid.SampledFrom([]string{
			"enqueue", "enqueue", "enqueue", "enqueue", "claim", "claim", "claim", "release", "release", "release",
			"revoke", "maintenance", "ready", "dirty", "set", "add", "remove", "pause", "tend",
		}).Draw(t, "does"),
		Which: rapid.IntRange(0, 11).Draw(t, "which"),
	}
	switch m.Does {
	case "enqueue":
		m.Priority = rapid.SampledFrom([]int{0, 0, 0, 1, 3, -2}).Draw(t, "priority")
		m.Wait = rapid.SampledFrom([]time.Duration{24 * time.Hour, 24 * time.Hour, 10 * time.Minute}).Draw(t, "wait")
		m.Job = rapid.SampledFrom([]string{"", "a", "a", "b"}).Draw(t, "job")
	case "claim":
		m.Job = rapid.SampledFrom([]string{"", "", "b"}).Draw(t, "job")
	case "release":
		m.Dirty = rapid.SampledFrom([]bool{false, false, true}).Draw(t, "dirty")
	case "add", "set":
		m.Node = drawHardware.Draw(t, "node")
	}
	return m
})

var drawScript = rapid.Custom(func(t *rapid.T) script {
	return script{
		Policy: []string{
			"lease=40m", "pick_up=10m", "clean_limit=10m",
			"on_expiry=" + rapid.SampledFrom([]string{"reclaim", "quarantine"}).Draw(t, "on_expiry"),
			"cleaning=" + rapid.SampledFrom([]string{"false", "false", "true"}).Draw(t, "cleaning"),
			"max_per_job_pct=" + rapid.SampledFrom([]string{"100", "50"}).Draw(t, "max_per_job_pct"),
		},
		Nodes:  rapid.SliceOfN(drawHardware, 1, 7).Draw(t, "nodes"),
		Shapes: rapid.SliceOfN(drawGroups, 1, 4).Draw(t, "shapes"),
		Moves:  rapid.SliceOfN(drawMove, 1, 30).Draw(t, "moves"),
	}
})

// drawBrakes is a script in which the brake on one job is most of what happens: a share is several nodes, and
// builds of few jobs come, are served and go.
var drawBrakes = rapid.Custom(func(t *rapid.T) script {
	shapes := [][]pool.Group{{group("", 1)}, {group("", 2)}, {group("", 3)}, {group("", 1, "gpu")}, {group("", 2, "arch=x86_64")}}
	does := []string{"enqueue", "enqueue", "enqueue", "claim", "release", "release", "maintenance"}
	s := script{
		Policy: []string{"lease=40m", "pick_up=10m", "max_per_job_pct=50"},
		Nodes:  rapid.SliceOfN(drawHardware, 4, 8).Draw(t, "nodes"), Shapes: shapes,
	}
	for range 30 {
		m := move{
			Does: rapid.SampledFrom(does).Draw(t, "does"), Which: rapid.IntRange(0, 11).Draw(t, "which"), Wait: 24 * time.Hour,
			Priority: rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "priority"),
		}
		if m.Does == "enqueue" {
			m.Job = rapid.SampledFrom([]string{"a", "a", "b", ""}).Draw(t, "job")
		}
		s.Moves = append(s.Moves, m)
	}
	return s
})

// player plays a script on a database and on the model, and compares the two after each move.
type player struct {
	*world
	model  *model
	script script
}

// play gives the events in words that do not depend on the engine.
func (s script) play(w *world) []string {
	w.policy(pool.DefaultPool, s.Policy...)
	info, err := w.db.Pool(w.ctx, pool.DefaultPool)
	w.ok(err)
	p := &player{world: w, model: &model{policy: info.Policy}, script: s}
	w.modelled = true
	for _, h := range s.Nodes {
		p.addNode(h)
	}
	for i, m := range s.Moves {
		p.model.step++
		w.clock.add(m.After)
		p.move(m)
		if diff := cmp.Diff(p.model.String(), w.inWords()); diff != "" {
			w.Fatalf("after move %d (%s) the database is not as the model (-model +database):\n%s", i, m.Does, diff)
		}
	}
	return p.history()
}

func (p *player) addNode(h hardware) {
	p.Helper()
	spec := p.spec(fmt.Sprintf("n%d", len(p.script.Nodes)+p.model.step), ofArch(h.Arch), costing(h.Cost), func(s *pool.NodeSpec) { s.RAMMB = h.RAM })
	if p.model.step == 0 {
		spec.Name = fmt.Sprintf("n%d", len(p.model.nodes))
	}
	if h.GPU {
		having("gpu", "yes")(&spec)
	}
	p.ok(p.db.AddNodes(p.ctx, []pool.NodeSpec{spec}))
	p.look()
	n := &modelNode{Node: pool.Node{Name: spec.Name, Arch: h.Arch, RAMMB: h.RAM, Cost: h.Cost, Properties: spec.Properties, Status: pool.Ready}}
	n.number, n.readyStep = len(p.model.nodes)+p.model.step*100, p.model.step
	p.model.nodes = append(p.model.nodes, n)
	p.pass()
}

// look tells the model the time, right after the database did something.
func (p *player) look() { p.model.now = p.clock.look() }

func (p *player) pass() {
	p.model.takeBack()
	p.model.walk()
}

// tendAll has both do what is due.
func (p *player) tendAll() {
	p.Helper()
	p.tend()
	p.look()
	p.pass()
}

func (p *player) move(m move) {
	p.Helper()
	switch m.Does {
	case "enqueue":
		p.enqueue(m)
	case "claim":
		p.tendAll() // a claim moves no queue
		p.claim(m)
	case "release":
		p.giveBack(m)
	case "revoke":
		p.revoke(m)
	case "add":
		p.addNode(m.Node)
	case "pause":
		p.pauseOrResume()
	case "tend":
		p.tendAll()
	default:
		p.changeNode(m)
	}
}

func (p *player) enqueue(m move) {
	p.Helper()
	r := &modelRequest{state: pool.Waiting, Request: pool.Request{
		Owner: fmt.Sprintf("o%d", len(p.model.queue)), Groups: p.script.Shapes[m.Which%len(p.script.Shapes)], Priority: m.Priority,
	}}
	if m.Job != "" {
		r.Labels = map[string]string{"JOB_NAME": m.Job}
	}
	a, err := p.db.Enqueue(p.ctx, r.Request, m.Wait)
	impossible := errors.Is(err, pool.ErrImpossible)
	if !impossible {
		p.ok(err)
		r.token = a.Token
	}
	stored := p.last(r.Owner)
	r.queuedAt, r.aliveUntil = stored.QueuedAt, stored.QueuedAt.Add(m.Wait)
	p.look()
	p.model.queue = append(p.model.queue, r)
	p.pass()
	if r.state == pool.Waiting && !p.model.possible(r) {
		p.model.end(r, pool.EndImpossible, false)
	}
	if impossible != (r.reason == pool.EndImpossible) {
		p.Fatalf("%s wants %s and gets the error %v, in the model it is %s %s", r.Owner, pool.Describe(r.Groups), err, r.state, r.reason)
	}
}

func (p *player) claim(m move) {
	p.Helper()
	granted := p.model.inState(pool.Granted)
	if len(granted) == 0 {
		return
	}
	r := granted[m.Which%len(granted)]
	if m.Job != "" {
		r.Labels = map[string]string{"JOB_NAME": m.Job} // another job takes it up
	}
	a, err := p.db.Allocate(p.ctx, r.Request, pool.AllocateOptions{Ticket: r.token})
	p.ok(err)
	checkGroups(p.world, a)
	claimed, err := p.db.Claim(p.ctx, a.Token)
	p.ok(err)
	r.state, r.token, r.expiresAt = pool.Claimed, a.Token, claimed.ExpiresAt
	p.look()
	p.pass()
}

// checkGroups holds the nodes of an allocation against what each group asks for.
func checkGroups(w *world, a *pool.Allocation) {
	w.Helper()
	for _, g := range a.Groups {
		n := 0
		for _, node := range a.Nodes {
			if node.Group != g.Name {
				continue
			}
			n++
			if !meets(node.Node, g.Require) {
				w.Errorf("%s got node %s in group %s, which wants %v", a.Owner, node.Name, g.Name, g.Require)
			}
		}
		if n != g.Count {
			w.Errorf("%s got %d nodes in group %s, which wants %d", a.Owner, n, g.Name, g.Count)
		}
	}
}

func (p *player) giveBack(m move) {
	p.Helper()
	active := p.model.inState(pool.Waiting, pool.Granted, pool.Claimed)
	if len(active) == 0 {
		return
	}
	r := active[m.Which%len(active)]
	_, err := p.db.Release(p.ctx, pool.ReleaseRequest{Owner: r.Owner, Dirty: m.Dirty})
	p.ok(err)
	p.look()
	reason := pool.EndCancelled
	if r.state == pool.Claimed {
		reason = pool.EndReleased
	}
	p.model.end(r, reason, m.Dirty)
	p.pass()
}

func (p *player) revoke(m move) {
	p.Helper()
	holding := p.model.inState(pool.Granted, pool.Claimed)
	if len(holding) == 0 {
		return
	}
	r := holding[m.Which%len(holding)]
	_, err := p.db.Revoke(p.ctx, r.nodes[0].Name, "it is wanted")
	p.ok(err)
	p.look()
	p.model.end(r, pool.EndRevoked, false)
	p.pass()
}

func (p *player) pauseOrResume() {
	p.Helper()
	p.tendAll() // pausing moves no queue
	if p.model.paused {
		p.ok(p.db.ResumePool(p.ctx, pool.DefaultPool))
	} else {
		p.ok(p.db.PausePool(p.ctx, pool.DefaultPool, "a person says so"))
	}
	p.look()
	p.model.paused = !p.model.paused
	p.pass()
}

func (p *player) changeNode(m move) {
	p.Helper()
	if m.Does == "dirty" {
		p.tendAll() // it moves no queue
	}
	nodes := slices.Clone(p.model.nodes)
	if m.Does != "maintenance" {
		nodes = slices.DeleteFunc(nodes, func(n *modelNode) bool { return n.Status == pool.Allocated })
	}
	if len(nodes) == 0 {
		return
	}
	n := nodes[m.Which%len(nodes)]
	var err error
	switch m.Does {
	case "maintenance":
		_, err = p.db.SetMaintenance(p.ctx, n.Name, !n.Maintenance, "a person works on it")
		n.Maintenance = !n.Maintenance
	case "ready":
		if n.Status == pool.Ready && !n.Suspect {
			return
		}
		_, err = p.db.MarkReady(p.ctx, n.Name)
		n.Status, n.Suspect, n.readyStep = pool.Ready, false, p.model.step
	case "dirty":
		_, err = p.db.MarkDirty(p.ctx, n.Name, "it was lent out")
		n.Status, n.dirtyUntil = pool.Dirty, p.clock.look().Add(p.model.policy.CleanLimit)
	case "set":
		_, err = p.db.SetNode(p.ctx, n.Name, changes("arch="+m.Node.Arch, fmt.Sprint("cost=", m.Node.Cost), fmt.Sprint("ram_mb=", m.Node.RAM)))
		n.Arch, n.Cost, n.RAMMB = m.Node.Arch, m.Node.Cost, m.Node.RAM
	case "remove":
		err = p.db.RemoveNode(p.ctx, n.Name)
		p.model.nodes = slices.DeleteFunc(p.model.nodes, func(o *modelNode) bool { return o == n })
	}
	p.ok(err)
	p.look()
	if m.Does == "set" || m.Does == "remove" {
		for _, r := range p.model.inState(pool.Waiting) {
			if !p.model.possible(r) {
				p.model.end(r, pool.EndImpossible, false)
			}
		}
	}
	p.pass()
}

// history tells the events without times and names of the engine's own. Of what one transaction did at
// once the order means nothing.
func (p *player) history() []string {
	p.Helper()
	events, err := p.db.Events(p.ctx, pool.EventFilter{})
	p.ok(err)
	var lines, together []string
	for i, e := range events {
		together = append(together, fmt.Sprintf("%s %s %s %d", e.Kind, e.Owner, e.Node, e.Generation))
		if i == len(events)-1 || events[i+1].Operation != e.Operation {
			slices.Sort(together)
			lines, together = append(lines, together...), nil
		}
	}
	return lines
}

// TestModel plays random scripts and compares each step with the model: who is served next, with which
// nodes, what is set aside, who is told that it is impossible. So no node idles that the head of the queue
// could use, equals are served in the order in which they came, and a group's solution is found whenever
// there is one.
func TestModel(t *testing.T) {
	engine := sqliteEngine(t)
	examples(t, 40, func(rt *rapid.T) {
		drawScript.Draw(rt, "script").play(newWorld(rt, engine(t)))
	})
	examples(t, 15, func(rt *rapid.T) {
		drawBrakes.Draw(rt, "script").play(newWorld(rt, engine(t)))
	})
}

// TestEnginesAgree plays the same scripts on SQLite and on a server: the model agrees with both, and so do
// their histories.
func TestEnginesAgree(t *testing.T) {
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			other := serverEngine(t, server.variable)
			lite := sqliteEngine(t)
			examples(t, 6, func(rt *rapid.T) {
				s := drawScript.Draw(rt, "script")
				if diff := cmp.Diff(s.play(newWorld(rt, lite(t))), s.play(newWorld(rt, other(t)))); diff != "" {
					rt.Fatalf("the histories differ (-SQLite +%s):\n%s", server.name, diff)
				}
			})
		})
	}
}
