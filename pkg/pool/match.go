package pool

// matching assigns nodes to the groups of a request. Nodes are offered one by one in hand-out order,
// and each is kept if the groups can hold it together with all that were kept before, so that the
// result is complete whenever the nodes offered allow it, and takes the first ones among them. (The
// sets of nodes that can be matched form a transversal matroid, where taking greedily is optimal.)
type matching struct {
	groups []Group
	suits  map[*nodeRow][]bool // by group
	nodes  [][]*nodeRow        // by group
	size   int
	want   int
}

func newMatching(groups []Group) *matching {
	return &matching{groups: groups, suits: map[*nodeRow][]bool{}, nodes: make([][]*nodeRow, len(groups)), want: countNodes(groups)}
}

func (m *matching) complete() bool { return m.size == m.want }

// offer keeps the node if it helps.
func (m *matching) offer(n *nodeRow) {
	suits := make([]bool, len(m.groups))
	any := false
	for i, g := range m.groups {
		suits[i] = meetsAll(n, g.Require)
		any = any || suits[i]
	}
	if !any {
		return
	}
	m.suits[n] = suits
	if m.place(n, make([]bool, len(m.groups))) {
		m.size++
	} else {
		delete(m.suits, n)
	}
}

// place puts n into a group that it suits, moving others along where that makes room.
func (m *matching) place(n *nodeRow, visited []bool) bool {
	for i, ok := range m.suits[n] {
		if ok && len(m.nodes[i]) < m.groups[i].Count {
			m.nodes[i] = append(m.nodes[i], n)
			return true
		}
	}
	for i, ok := range m.suits[n] {
		if !ok || visited[i] {
			continue
		}
		visited[i] = true
		for j, other := range m.nodes[i] {
			if m.place(other, visited) {
				m.nodes[i][j] = n
				return true
			}
		}
	}
	return false
}

func meetsAll(n *nodeRow, requirements []Requirement) bool {
	for _, r := range requirements {
		if !r.met(n.lookup) {
			return false
		}
	}
	return true
}

// needsAddresses reports whether a request asks for a MAC or deployment address, which lie in tables
// of their own.
func needsAddresses(groups []Group) bool {
	for _, g := range groups {
		for _, r := range g.Require {
			if r.Key == "mac" || r.Key == "ip" {
				return true
			}
		}
	}
	return false
}
