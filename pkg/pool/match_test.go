package pool

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestMatchingBruteForce compares the matching of groups with all ways to choose nodes for them: it holds
// as many as any way can, so it is complete whenever some way is, and of these ways it is the cheapest.
func TestMatchingBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := []string{"a", "b", "c", "d"}
		var nodes []*nodeRow // in hand-out order, so by cost
		for i := range rapid.IntRange(0, 8).Draw(t, "nodes") {
			n := &nodeRow{ID: int64(i), Name: fmt.Sprintf("n%d", i), Cost: rapid.Int64Range(0, 3).Draw(t, "cost"), propertiesSet: true, properties: map[string]string{}}
			for _, word := range rapid.SliceOfDistinct(rapid.SampledFrom(words), rapid.ID).Draw(t, "has") {
				n.properties[word] = "yes"
			}
			nodes = append(nodes, n)
		}
		slices.SortStableFunc(nodes, func(a, b *nodeRow) int { return int(a.Cost - b.Cost) })
		var groups []Group
		for i := range rapid.IntRange(1, 4).Draw(t, "groups") {
			g := Group{Name: fmt.Sprintf("g%d", i), Count: rapid.IntRange(1, 3).Draw(t, "count")}
			for _, word := range rapid.SliceOfNDistinct(rapid.SampledFrom(words), 0, 2, rapid.ID).Draw(t, "wants") {
				op := rapid.SampledFrom([]Op{OpPresent, OpAbsent}).Draw(t, "op")
				g.Require = append(g.Require, Requirement{Key: word, Op: op})
			}
			groups = append(groups, g)
		}

		m := newMatching(groups)
		for _, n := range nodes {
			if m.complete() {
				break
			}
			m.offer(n)
		}
		var cost int64
		held := map[*nodeRow]bool{}
		for i, list := range m.nodes {
			if len(list) > groups[i].Count {
				t.Fatalf("group %d holds %d nodes, it wants %d", i, len(list), groups[i].Count)
			}
			for _, n := range list {
				if held[n] || !meetsAll(n, groups[i].Require) {
					t.Fatalf("node %s in group %d does not suit it, or is in two", n.Name, i)
				}
				held[n] = true
				cost += n.Cost
			}
		}
		if len(held) != m.size {
			t.Fatalf("the matching says that it holds %d nodes, it holds %d", m.size, len(held))
		}
		most, least := tryAll(groups, nodes)
		if m.size != most || cost != least {
			t.Fatalf("the matching holds %d nodes for %d, and %d for %d can be matched", m.size, cost, most, least)
		}
	})
}

// tryAll gives each node every place that it suits, and none, and tells the most nodes that can be matched
// and the least that so many cost.
func tryAll(groups []Group, nodes []*nodeRow) (most int, least int64) {
	free := make([]int, len(groups))
	for i, g := range groups {
		free[i] = g.Count
	}
	var try func(i, size int, cost int64)
	try = func(i, size int, cost int64) {
		if size > most || size == most && cost < least {
			most, least = size, cost
		}
		if i == len(nodes) {
			return
		}
		for g := range groups {
			if free[g] > 0 && meetsAll(nodes[i], groups[g].Require) {
				free[g]--
				try(i+1, size+1, cost+nodes[i].Cost)
				free[g]++
			}
		}
		try(i+1, size, cost)
	}
	try(0, 0, 0)
	return most, least
}
