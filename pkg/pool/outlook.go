package pool

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// QueuedRequest is an allocation that waits, with why.
type QueuedRequest struct {
	Allocation
	Reason     string    // why it is not served yet
	LivesUntil time.Time // of a ticket that nobody waits for; zero where a client waits
}

// Queued makes the error (ErrQueued) that tells who left a ticket how it stands.
func (q *QueuedRequest) Queued() error {
	return fail(ErrQueued, "ticket %d for %s is queued in pool %s, place %d, not granted yet: %s; it lives until %s",
		q.ID, Describe(q.Groups), q.Pool, q.Place, q.Reason, formatTime(q.LivesUntil))
}

// firstToEnd names the holder of a suitable node who is to give it back first.
func firstToEnd(holders []Holder) string {
	if len(holders) == 0 {
		return ""
	}
	h := holders[0]
	return fmt.Sprintf("; first to end: %s, held by %q until %s", h.Node, h.Owner, formatTime(h.ExpiresAt))
}

// ExplainQueue is Queue with the reason of each request. Like Explain it takes no lock, and what it tells
// may be a moment old.
func (db *DB) ExplainQueue(ctx context.Context, pool string) ([]QueuedRequest, error) {
	list, err := db.Queue(ctx, pool)
	if err != nil {
		return nil, err
	}
	queue := make([]QueuedRequest, len(list))
	stand := map[int64]QueuedRequest{}
	for i, a := range list {
		if i == 0 || a.Pool != list[i-1].Pool {
			s, err := db.scene(ctx, a.Pool, 0)
			if err != nil {
				return nil, err
			}
			w := s.walk()
			for _, q := range s.queue {
				st := w.step(q)
				known := QueuedRequest{Reason: st.reason + firstToEnd(st.holders)}
				if q.Detached {
					known.LivesUntil = q.AliveUntil.Time
				}
				stand[q.ID] = known
			}
		}
		known, waits := stand[a.ID]
		if !waits {
			known.Reason = "it is being served"
		}
		known.Allocation = a
		queue[i] = known
	}
	return queue, nil
}

// sceneWalk goes through the queue of a scene as a pass does, and tells of each request how it stands.
type sceneWalk struct {
	*scene
	used     map[*nodeRow]bool // given or set aside for who came before
	shares   *jobShares
	outlooks map[string]*outlook // equal requests have one
}

// outlook is what a scene says of a request, wherever in the queue it is.
type outlook struct {
	suits      []*nodeRow // in hand-out order
	impossible bool
	stalled    bool
	suitable   map[Status]int
	inMaint    int
	outages    []Outage
	holders    []Holder
	needs      string // what the pool would need, when it is impossible
}

// standing is how a request stands at its place.
type standing struct {
	*outlook
	setAside int
	now      bool     // it can be served at once
	braked   bool     // its job has its share, whatever nodes suit
	never    bool     // it is more than its job's whole share
	holders  []Holder // of what it waits for: nodes that suit or, where its job has its share, the job's
	reason   string
}

func (s *scene) walk() *sceneWalk {
	return &sceneWalk{scene: s, used: map[*nodeRow]bool{}, shares: s.shares(), outlooks: map[string]*outlook{}}
}

// shares is the pool's brake on one job, as the scene stands.
func (s *scene) shares() *jobShares {
	if s.pool.MaxPerJobPct >= 100 {
		return nil
	}
	shares := newJobShares(s.pool, len(s.nodes))
	for _, n := range s.nodes {
		if n.Status == Allocated && n.JobKey != nil {
			shares.held[*n.JobKey]++
		}
	}
	return shares
}

func (s *scene) look(groups []Group) *outlook {
	o := &outlook{suitable: map[Status]int{}}
	o.impossible = !s.could(groups, everyNode)
	o.stalled = !o.impossible && !s.could(groups, (*nodeRow).inService)
	if o.impossible {
		o.needs = needs(groups, s.nodes)
	}
	for _, n := range s.nodes {
		if !suitsAny(n, groups) {
			continue
		}
		o.suits = append(o.suits, n)
		if n.Maintenance {
			o.inMaint++
			o.outages = append(o.outages, Outage{Node: n.Name, Maintenance: true, Reason: n.MaintReason})
			continue
		}
		o.suitable[n.Status]++
		if n.Status == Broken {
			o.outages = append(o.outages, Outage{Node: n.Name, Reason: n.Reason})
		}
	}
	o.holders = holders(o.suits, func(n *nodeRow) bool { return !n.Maintenance })
	return o
}

// holders says who has those of the nodes that which allows, the first to end first.
func holders(nodes []*nodeRow, which func(*nodeRow) bool) []Holder {
	var list []Holder
	for _, n := range nodes {
		if n.Status == Allocated && n.Owner != nil && which(n) {
			list = append(list, Holder{
				Node: n.Name, Status: n.Status, Owner: *n.Owner, Slot: *n.Slot, Generation: n.Generation, ExpiresAt: n.ExpiresAt.Time,
			})
		}
	}
	slices.SortStableFunc(list, func(a, b Holder) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	return list
}

// step tells how the next request of the queue stands, and sets aside what a pass would.
func (w *sceneWalk) step(q *sceneRequest) standing {
	key := q.Request
	if key == "" { // of a request that nobody made
		key = encodeGroups(q.groups)
	}
	o := w.outlooks[key]
	if o == nil {
		o = w.look(q.groups)
		w.outlooks[key] = o
	}
	st := standing{outlook: o, holders: o.holders}
	for _, n := range o.suits {
		if n.free() && w.used[n] {
			st.setAside++
		}
	}
	if w.dead(q) {
		st.holders, st.reason = nil, deadReason
		return st // nothing is set aside for it
	}
	want := countNodes(q.groups)
	allowed := w.shares.allow(q.JobKey, want)
	m := matchAmong(q.groups, o.suits, func(n *nodeRow) bool { return n.free() && !w.used[n] })
	st.now, st.braked = m.complete() && allowed && !w.pool.Paused, !allowed
	st.never = !w.shares.ever(q.JobKey, want)
	if st.braked {
		st.holders = holders(w.nodes, func(n *nodeRow) bool { return n.JobKey != nil && *n.JobKey == q.JobKey })
	}
	st.reason = w.reason(q, st)
	if !o.impossible && !o.stalled {
		w.shares.keep(q.JobKey, want)
	}
	if !allowed || !m.complete() && (o.impossible || o.stalled) {
		return st // nothing is set aside for it
	}
	for _, nodes := range m.nodes {
		for _, n := range nodes {
			w.used[n] = true
		}
	}
	return st
}

// dead reports whether a request's client gave no sign of life in time: the next pass ends it.
func (s *scene) dead(q *sceneRequest) bool { return !q.AliveUntil.After(s.now) }

const deadReason = "nobody gave a sign of life for it in time: it is about to end"

// reason says in one line why a request is not served yet.
func (w *sceneWalk) reason(q *sceneRequest, st standing) string {
	want := countNodes(q.groups)
	switch {
	case w.pool.Paused:
		return fmt.Sprintf("pool %s is paused: %s", w.pool.Name, w.pool.PausedReason)
	case st.impossible:
		return fmt.Sprintf("pool %s could never meet it: %s", w.pool.Name, st.needs)
	case !w.shares.ever(q.JobKey, want):
		return w.shares.most()
	case !w.shares.allow(q.JobKey, want):
		return w.shares.why(q.JobKey)
	case st.now:
		return "it can be served at once"
	}
	var parts []string
	note := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	note(st.suitable[Allocated], "suitable held")
	note(st.suitable[Dirty], "being cleaned")
	note(st.suitable[Broken]+st.inMaint, "broken or in maintenance")
	note(st.setAside, "ready but set aside for who is before")
	note(st.suitable[Ready]-st.setAside, "ready")
	text := strings.Join(parts, ", ")
	if st.stalled {
		text = "it waits for nodes that are broken or in maintenance, and holds nothing back: " + text
	}
	return text
}
