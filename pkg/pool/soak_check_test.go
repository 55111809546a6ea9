package pool_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/molteniron/molteniron/pkg/pool"
)

// soakTally are the figures of a soak.
type soakTally struct {
	chapters    int
	took        time.Duration // that the clients worked
	allocations int
	operations  int
	unknown     int
	retries     int64
	pruned      int
	stall       time.Duration // the longest operation that waits for nobody, of a client that was not frozen
	first, last soakSize
}

func (y *soakTally) report(t *testing.T, counts map[string]int) {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		n := counts[name]
		if strings.HasPrefix(name, "clients") {
			n *= soakVictims
		}
		faults = append(faults, fmt.Sprintf("%d %s", n, name))
	}
	t.Logf("%d allocations in %s (%.0f an hour), %d chapters, %d operations; survived: %s", y.allocations, y.took.Round(time.Second),
		float64(y.allocations)/y.took.Hours(), y.chapters, y.operations, strings.Join(faults, ", "))
	t.Logf("%d retries, %d operations of unknown outcome, longest stall %s; %d rows of history pruned; %d clients that lived all the time use %d descriptors, then %d, and %d MiB, then %d",
		y.retries, y.unknown, y.stall.Round(time.Millisecond), y.pruned, soakVeterans, y.first.descriptors, y.last.descriptors, y.first.mib, y.last.mib)
}

// check looks, while the clients pause, at what they saw since the last check and at what the database says of it,
// and leaves all nodes free.
func (s *soak) check() {
	t, ctx := s.t, s.t.Context()
	// Whose client died, or was told nothing, is nobody's.
	s.endGone("client ")
	if _, err := s.db.Tend(ctx); err != nil {
		t.Fatal(err)
	}
	lines, members := s.crew.take()
	s.checkLines(lines, members)
	s.checkTrail()
	nodes, err := s.db.Nodes(ctx, pool.NodeFilter{})
	if err != nil || len(nodes) != soakNodes {
		t.Fatalf("%d nodes: %v", len(nodes), err)
	}
	for _, n := range nodes {
		if n.Status != pool.Ready {
			t.Errorf("node %s is lost: nobody has it, and it is %s", n.Name, n.Status)
		}
	}
	// A client that leaked a connection or an allocation's memory at each failure would have grown by now.
	s.tally.last = s.crew.size()
	if s.tally.chapters++; s.tally.chapters == 1 {
		s.tally.first = s.tally.last
	}
	if a, z := s.tally.first, s.tally.last; z.descriptors > 2*a.descriptors || z.mib > 2*a.mib {
		t.Errorf("the clients grew: %+v, then %+v", a, z)
	}
	s.cut = time.Now()
}

// checkLines checks that what the clients saw is a history of single holders, and that whatever was acknowledged is
// in the database.
func (s *soak) checkLines(lines []soakLine, members []*soakMember) {
	t := s.t
	who := map[string]*soakMember{}
	for _, m := range members {
		who[m.name()] = m
	}
	list, err := s.db.Allocations(t.Context(), pool.AllocationFilter{})
	if err != nil {
		t.Fatal(err)
	}
	state := map[int64]pool.State{}
	for _, a := range list {
		state[a.ID] = a.State
	}
	begin, end := lines[0].Call, int64(0)
	for _, l := range lines {
		begin, end = min(begin, l.Call), max(end, l.Return)
	}
	s.tally.took += time.Duration(end - begin)
	var history []porcupine.Operation
	add := func(l soakLine) {
		for _, node := range l.Nodes {
			history = append(history, porcupine.Operation{
				ClientId: l.Client, Input: linearInput{node: node, what: l.What, id: l.ID, short: l.Short}, Output: l.Out,
				Call: l.Call - begin, Return: l.Return - begin,
			})
		}
	}
	held := map[string]soakLine{} // by client: what it was told that it has
	for _, l := range lines {
		name := soakName(l.Client, l.Life)
		s.tally.operations++
		s.tally.retries += l.Retries
		switch {
		case l.What == "allocate":
			s.tally.allocations++
		case !who[name].frozenIn(l.Call, l.Return): // no operation but allocate waits for anybody
			s.tally.stall = max(s.tally.stall, time.Duration(l.Return-l.Call))
		}
		if l.ID != 0 && l.Out == "done" && (state[l.ID] == "" || l.What == "release" && state[l.ID] != pool.Ended) {
			t.Errorf("%s was told %q of allocation %d, which is %q", name, l.What, l.ID, state[l.ID])
		}
		if l.Out == "unknown" {
			s.tally.unknown++
			t.Logf("%s: %s: %s", name, l.What, l.Error)
			l.Return = end + 1 // it may happen at any time
		}
		switch l.What {
		case "allocate":
			held[name] = l
		case "claim":
			if l.Out != "lost" {
				continue
			}
			// It had ended at some time since it was granted.
			l.What, l.Out, l.Call = "release", "unknown", held[name].Return
		}
		if l.What == "release" {
			delete(held, name)
		}
		add(l)
	}
	for name, l := range held { // it was killed; when what it had was taken back is not known
		if !who[name].killed {
			t.Errorf("%s did not release allocation %d", name, l.ID)
		}
		l.What, l.Out, l.Call, l.Return = "release", "unknown", l.Return, end+1
		add(l)
	}
	checkHistory(t, history)
}

// frozenIn: was it frozen at any moment of that time?
func (m *soakMember) frozenIn(from, to int64) bool {
	return slices.ContainsFunc(m.frozen, func(f soakSpell) bool { return f.from < to && f.to > from })
}

// checkTrail checks that by the events each node was granted to one at a time, came back from who had it, and that
// its generation grew.
func (s *soak) checkTrail() {
	t := s.t
	events, err := s.db.Events(t.Context(), pool.EventFilter{Since: s.cut, Until: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	holder, generation := map[string]int64{}, map[string]int64{}
	for _, e := range events {
		switch {
		case e.Node == "" || e.Allocation == 0:
		case e.Kind == "granted":
			if holder[e.Node] != 0 || e.Generation <= generation[e.Node] {
				t.Errorf("event %d: node %s is granted to %d (generation %d) while %d holds it (%d)",
					e.ID, e.Node, e.Allocation, e.Generation, holder[e.Node], generation[e.Node])
			}
			holder[e.Node], generation[e.Node] = e.Allocation, e.Generation
		default:
			if holder[e.Node] != e.Allocation {
				t.Errorf("event %d (%s): node %s comes back from %d, and %d holds it", e.ID, e.Kind, e.Node, e.Allocation, holder[e.Node])
			}
			holder[e.Node] = 0
		}
	}
	for node, id := range holder {
		if id != 0 {
			t.Errorf("the trail never says that allocation %d gave node %s back", id, node)
		}
	}
}
