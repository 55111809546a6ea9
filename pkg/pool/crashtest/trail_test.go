package crashtest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/pool"
)

// grant is one hand-over of a node: who got it, with which generation.
type grant struct {
	Node       string `json:"node"`
	Allocation int64  `json:"allocation"`
	Generation int64  `json:"generation"`
}

// goBack are the kinds of events with which a node leaves its allocation.
var goBack = []string{"released", "expired", "revoked", "lapsed", "cancelled"}

// checkTrail follows every node through the event trail and lists what must never be: a node granted
// while it is held, a generation that does not grow, a return of something else than was granted. It
// also gives all grants, and those that nothing ended.
func checkTrail(events []pool.Event) (problems []string, all map[grant]bool, open []grant) {
	all = make(map[grant]bool)
	held := make(map[string]grant)
	last := make(map[string]int64)
	for _, e := range events {
		g := grant{e.Node, e.Allocation, e.Generation}
		switch {
		case e.Node == "":
		case e.Kind == "granted":
			if h, ok := held[e.Node]; ok {
				problems = append(problems, fmt.Sprintf("%s: held twice: granted to allocation %d (generation %d) while allocation %d (generation %d) holds it",
					e.Node, e.Allocation, e.Generation, h.Allocation, h.Generation))
			}
			if e.Generation <= last[e.Node] {
				problems = append(problems, fmt.Sprintf("%s: generation %d granted after %d", e.Node, e.Generation, last[e.Node]))
			}
			held[e.Node], last[e.Node], all[g] = g, e.Generation, true
		case slices.Contains(goBack, e.Kind):
			if h, ok := held[e.Node]; !ok || h != g {
				problems = append(problems, fmt.Sprintf("%s: %s by allocation %d (generation %d), but the holder is %+v", e.Node, e.Kind, e.Allocation, e.Generation, h))
			}
			delete(held, e.Node)
		}
	}
	for _, g := range held {
		open = append(open, g)
	}
	slices.SortFunc(open, func(a, b grant) int { return int(a.Allocation - b.Allocation) })
	return problems, all, open
}

// span is the time for which a client was right to believe that it holds a node: from the claim's
// return to its call of release or the end of its lease, whichever came first.
type span struct {
	client   int
	grant    grant
	from, to time.Time
}

// checkSpans lists the nodes that two clients were right to believe theirs at one moment.
func checkSpans(spans []span) (problems []string) {
	byNode := make(map[string][]span)
	for _, s := range spans {
		if s.from.Before(s.to) { // else it was frozen until its lease was over
			byNode[s.grant.Node] = append(byNode[s.grant.Node], s)
		}
	}
	for node, list := range byNode {
		slices.SortFunc(list, func(a, b span) int { return a.from.Compare(b.from) })
		for i := 1; i < len(list); i++ {
			a, b := list[i-1], list[i]
			if b.from.Before(a.to) {
				problems = append(problems, fmt.Sprintf("%s: client %d (allocation %d, generation %d) held it until %s, client %d (allocation %d, generation %d) from %s on",
					node, a.client, a.grant.Allocation, a.grant.Generation, a.to.Format(time.StampMicro),
					b.client, b.grant.Allocation, b.grant.Generation, b.from.Format(time.StampMicro)))
			}
		}
	}
	return problems
}

// The checkers must see what they are there to see.

func TestCheckTrail(t *testing.T) {
	event := func(kind, node string, allocation, generation int64) pool.Event {
		return pool.Event{Kind: kind, Node: node, Allocation: allocation, Generation: generation}
	}
	for _, c := range []struct {
		name     string
		events   []pool.Event
		problems int
		open     []grant
	}{
		{"in turn", []pool.Event{
			event("granted", "a", 1, 1), event("granted", "b", 1, 5), event("released", "a", 1, 1), event("granted", "a", 2, 2), event("expired", "a", 2, 2),
		}, 0, []grant{{"b", 1, 5}}},
		{"held twice", []pool.Event{event("granted", "a", 1, 1), event("granted", "a", 2, 2), event("released", "a", 2, 2)}, 1, nil},
		{"generation repeats", []pool.Event{event("granted", "a", 1, 1), event("released", "a", 1, 1), event("granted", "a", 2, 1)}, 1, []grant{{"a", 2, 1}}},
		{"late release", []pool.Event{
			event("granted", "a", 1, 1), event("lapsed", "a", 1, 1), event("granted", "a", 2, 2), event("released", "a", 1, 1),
		}, 1, nil},
		{"released twice", []pool.Event{event("granted", "a", 1, 1), event("revoked", "a", 1, 1), event("released", "a", 1, 1)}, 1, nil},
		{"others' events", []pool.Event{event("added", "a", 0, 0), event("queued", "", 1, 0)}, 0, nil},
	} {
		problems, _, open := checkTrail(c.events)
		if len(problems) != c.problems {
			t.Errorf("%s: %d problems, want %d: %q", c.name, len(problems), c.problems, problems)
		}
		if d := cmp.Diff(c.open, open); d != "" {
			t.Errorf("%s: open grants (-want +got)\n%s", c.name, d)
		}
	}
}

func TestCheckSpans(t *testing.T) {
	second := func(n int) time.Time { return time.Unix(int64(n), 0) }
	for _, c := range []struct {
		name     string
		spans    []span
		problems int
	}{
		{"in turn", []span{{1, grant{"a", 1, 1}, second(1), second(3)}, {2, grant{"a", 2, 2}, second(3), second(4)}}, 0},
		{"other nodes", []span{{1, grant{"a", 1, 1}, second(1), second(3)}, {2, grant{"b", 2, 2}, second(2), second(4)}}, 0},
		{"at once", []span{{2, grant{"a", 2, 2}, second(2), second(4)}, {1, grant{"a", 1, 1}, second(1), second(3)}}, 1},
		{"thawed after its lease", []span{{1, grant{"a", 1, 1}, second(5), second(3)}, {2, grant{"a", 2, 2}, second(4), second(6)}}, 0},
	} {
		if problems := checkSpans(c.spans); len(problems) != c.problems {
			t.Errorf("%s: %d problems, want %d: %q", c.name, len(problems), c.problems, problems)
		}
	}
}
