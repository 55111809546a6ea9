package pool_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/pool/pooltest"
)

// Sizes of a history: a checker's work grows fast with the operations of one node.
const (
	linearClients = 8
	linearNodes   = 3
	linearRounds  = 20 // of allocate, perhaps extend, and release, for each client
	linearLeast   = 80 // operations in all: where few are served within their wait there are more rounds
	linearLimit   = 60 * time.Second
)

// What a client asks of a node. Failed allocations have no node and are not in the history.
type linearInput struct {
	node  string
	what  string // allocate, extend, release, revoke
	id    int64  // of the allocation; of a revocation: which one it hit
	short bool   // the lease may end by itself
}

// linearOutput is "done", or "lost": the allocation did not hold the node any more (for a revocation:
// nobody did), or "unknown" where the database gave no answer.
type linearOutput string

// linearState is who holds one node.
type linearState struct {
	id    int64 // 0 is nobody
	short bool
}

// linearModel is a node as its users see it: at most one allocation holds it; who extended or released it
// held it; who is told that it was taken back did not. A short lease may end at any moment.
var linearModel = porcupine.NondeterministicModel{
	Init: func() []any { return []any{linearState{}} },
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byNode := map[string][]porcupine.Operation{}
		for _, op := range history {
			node := op.Input.(linearInput).node
			byNode[node] = append(byNode[node], op)
		}
		var parts [][]porcupine.Operation
		for _, ops := range byNode {
			parts = append(parts, ops)
		}
		return parts
	},
	Step: func(state, input, output any) []any {
		states := []linearState{state.(linearState)}
		if states[0].short {
			states = append(states, linearState{})
		}
		in, done := input.(linearInput), output.(linearOutput) == "done"
		var next []any
		if output.(linearOutput) == "unknown" { // it happened, or it did not
			for _, s := range states {
				next = append(next, s)
				if s.id == in.id && in.what == "release" {
					next = append(next, linearState{})
				} else if s.id == in.id && in.what == "extend" {
					next = append(next, linearState{id: in.id})
				}
			}
			return next
		}
		for _, s := range states {
			switch held := s.id == in.id; {
			case in.what == "allocate" && s.id == 0:
				next = append(next, linearState{in.id, in.short})
			case in.what == "extend" && done && held:
				next = append(next, linearState{id: in.id})
			case (in.what == "release" || in.what == "revoke") && done && held:
				next = append(next, linearState{})
			case in.what == "revoke" && !done && s.id == 0, (in.what == "extend" || in.what == "release") && !done && !held:
				next = append(next, s)
			}
		}
		return next
	},
}

// linearHistory is what all clients saw.
type linearHistory struct {
	mu    sync.Mutex
	begin time.Time
	ops   []porcupine.Operation
}

// add notes what came of an operation that was called at the given time and has just returned.
func (h *linearHistory) add(client int, called time.Time, in linearInput, out linearOutput) {
	returned := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{
		ClientId: client, Input: in, Output: out, Call: called.Sub(h.begin).Nanoseconds(), Return: returned.Sub(h.begin).Nanoseconds(),
	})
}

func (h *linearHistory) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// testLinearizable has clients with handles of their own allocate, extend, release and revoke at the same
// time while leases end, and checks that what they were told is a history of single holders.
func testLinearizable(t *testing.T, engine pooltest.Engine) {
	t.Parallel()
	urls := engine(t)
	base, moved := time.Date(2030, 1, 15, 12, 0, 0, 0, time.UTC), atomic.Int64{}
	clock := func() time.Time { return base.Add(time.Duration(moved.Add(1000))) }
	open := func(i int) *pool.DB {
		db, err := pool.Open(t.Context(), urls[i%len(urls)], pool.Options{Actor: "linear", Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	var specs []pool.NodeSpec
	for i := range linearNodes {
		specs = append(specs, pool.NodeSpec{Name: fmt.Sprintf("n%d", i), BMC: pool.BMC{Address: fmt.Sprintf("192.0.2.%d", i+1)}})
	}
	if err := open(0).AddNodes(t.Context(), specs); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := &linearHistory{begin: time.Now()}
	var clients sync.WaitGroup
	for i := range linearClients {
		c := &linearClient{t: t, i: i, db: open(i), history: h, moved: &moved, rand: rand.New(rand.NewPCG(seed, uint64(i)))} //nolint:gosec // small
		clients.Go(func() {
			for round := 0; round < linearRounds || h.count() < linearLeast; round++ {
				c.round(round)
			}
		})
	}
	clients.Wait()
	checkHistory(t, h.ops)
}

// checkHistory fails the test for a history that is none of single holders, with what was seen of one node that
// had several.
func checkHistory(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	switch porcupine.CheckOperationsTimeout(linearModel.ToModel(), history, linearLimit) {
	case porcupine.Ok:
		return
	case porcupine.Unknown:
		t.Errorf("the history of %d operations could not be checked within %s", len(history), linearLimit)
		return
	}
	t.Errorf("the history of %d operations is not linearizable", len(history))
	for _, part := range linearModel.Partition(history) {
		if porcupine.CheckOperations(linearModel.ToModel(), part) {
			continue
		}
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
		for _, op := range part {
			t.Logf("%s to %s: client %d: %+v: %s", time.Duration(op.Call), time.Duration(op.Return), op.ClientId, op.Input, op.Output)
		}
		return
	}
}

type linearClient struct {
	t       *testing.T
	i       int
	db      *pool.DB
	history *linearHistory
	moved   *atomic.Int64 // the clock
	rand    *rand.Rand
}

func (c *linearClient) round(n int) {
	ctx := c.t.Context()
	owner := fmt.Sprintf("client %d round %d", c.i, n)
	r := pool.Request{Owner: owner, Groups: []pool.Group{{Count: 1 + c.rand.IntN(2)}}}
	short := c.rand.IntN(3) == 0
	if short {
		r.Lease = time.Second
	}
	called := time.Now()
	a, err := c.db.Allocate(ctx, r, pool.AllocateOptions{Wait: time.Duration(c.rand.IntN(300)) * time.Millisecond})
	revoked := errors.Is(err, pool.ErrConflict)
	switch {
	case errors.Is(err, pool.ErrNoNode):
		return
	case revoked: // before it had looked: the revocation tells of it
		list, err := c.db.Allocations(ctx, pool.AllocationFilter{Owner: owner})
		if err != nil || len(list) != 1 || list[0].EndReason != pool.EndRevoked {
			c.t.Errorf("%s: allocate is in conflict with nobody: %v %v", owner, list, err)
			return
		}
		a = &list[0]
	case err != nil:
		c.t.Errorf("%s: allocate: %v", owner, err)
		return
	}
	for _, node := range a.NodeNames() {
		c.history.add(c.i, called, linearInput{node: node, what: "allocate", id: a.ID, short: short}, "done")
	}
	if revoked {
		return
	}
	if c.rand.IntN(4) == 0 {
		c.moved.Add(int64(1200 * time.Millisecond)) // short leases end
	}
	if _, err := c.db.Claim(ctx, a.Token); err != nil && !errors.Is(err, pool.ErrConflict) {
		c.t.Errorf("%s: claim: %v", owner, err)
	}
	switch c.rand.IntN(6) {
	case 0:
		called = time.Now()
		_, err := c.db.Extend(ctx, pool.ExtendRequest{Token: a.Token, Lease: 12 * time.Hour})
		c.told(called, a, "extend", err)
	case 1:
		c.revoke(ctx, a)
	}
	called = time.Now()
	_, err = c.db.Release(ctx, pool.ReleaseRequest{Token: a.Token})
	c.told(called, a, "release", err)
}

// told notes what an owner was told of all its nodes at once. An allocation whose lease was over before it
// was claimed is given back as one that never was: nothing can be read from that.
func (c *linearClient) told(called time.Time, a *pool.Allocation, what string, err error) {
	var taken *pool.TakenBackError
	out := linearOutput("done")
	switch {
	case errors.As(err, &taken):
		out = "lost"
	case errors.Is(err, pool.ErrConflict), errors.Is(err, pool.ErrNotFound):
		return
	case err != nil:
		c.t.Errorf("%s: %s: %v", a.Owner, what, err)
		return
	}
	for _, node := range a.NodeNames() {
		c.history.add(c.i, called, linearInput{node: node, what: what, id: a.ID}, out)
	}
}

// revoke takes a node from whoever has it.
func (c *linearClient) revoke(ctx context.Context, a *pool.Allocation) {
	node := a.NodeNames()[0]
	called := time.Now()
	hit, err := c.db.Revoke(ctx, node, "to see what happens")
	switch {
	case errors.Is(err, pool.ErrConflict):
		c.history.add(c.i, called, linearInput{node: node, what: "revoke"}, "lost")
	case err != nil:
		c.t.Errorf("revoke %s: %v", node, err)
	default:
		for _, n := range hit.Nodes {
			c.history.add(c.i, called, linearInput{node: n.Name, what: "revoke", id: hit.ID}, "done")
		}
	}
}

// TestLinearModel sees that the model refuses what must never be.
func TestLinearModel(t *testing.T) {
	twice := []porcupine.Operation{
		{Input: linearInput{node: "n", what: "allocate", id: 1}, Output: linearOutput("done"), Call: 0, Return: 1},
		{Input: linearInput{node: "n", what: "allocate", id: 2}, Output: linearOutput("done"), Call: 2, Return: 3},
		{Input: linearInput{node: "n", what: "release", id: 1}, Output: linearOutput("done"), Call: 4, Return: 5},
	}
	if porcupine.CheckOperations(linearModel.ToModel(), twice) {
		t.Error("two holders of one node pass for a right history")
	}
	twice[1].Return = 6 // it may have come after the release
	if !porcupine.CheckOperations(linearModel.ToModel(), twice) {
		t.Error("a release beside an allocation does not pass")
	}
}
