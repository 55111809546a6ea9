package pooltest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// Walks are short, so that they stay readable, and several, so that they come to many places.
const (
	walks     = 3
	walkSteps = 80
)

var randomCases = func() []testCase {
	var cases []testCase
	for seed := range uint64(walks) {
		cases = append(cases, testCase{fmt.Sprintf("a random walk leaves all as it must be after each step, with the seed %d", seed), func(w *world) {
			walk(w, seed, walkSteps)
		}})
	}
	return cases
}()

// walker does at random what people, builds and time do, through several handles, and keeps what each
// client was told, to hold the pool to it.
type walker struct {
	*world
	rng     *rand.Rand
	dbs     []*pool.DB
	db      *pool.DB           // of this step
	clients map[string]*holder // by owner
	tickets []*pool.Allocation
	nodes   int
	owners  int
	steps   []string
}

// holder is a client that was granted something and has not given it back.
type holder struct {
	token   secret.Text
	nodes   []string
	claimed bool
	expires time.Time // until then nobody but a person may take it back
}

func walk(w *world, seed uint64, steps int) {
	k := &walker{
		world: w, rng: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // the same walk each time
		dbs: []*pool.DB{w.db, w.open(), w.open()}, clients: map[string]*holder{},
	}
	w.policy("default", "lease=10m", "pick_up=2m", "grace=1m", "clean_limit=5m", "max_hold=20m", "ageing=1m")
	for range 4 {
		k.addOne()
	}
	defer func() {
		if w.Failed() {
			w.Logf("the steps:\n%s", strings.Join(k.steps, "\n"))
		}
	}()
	actions := []struct {
		weight int
		do     func()
	}{
		{10, k.allocate}, {10, k.enqueue}, {12, k.claim}, {12, k.release}, {3, k.cancel}, {4, k.takeUp}, {3, k.extend}, {2, k.hold}, {2, k.revoke},
		{10, k.time}, {3, k.addOne}, {2, k.remove}, {4, k.maintenance}, {5, k.ready}, {2, k.dirty}, {4, k.field}, {4, k.setPolicy}, {2, k.pause}, {2, k.close},
		{3, k.explain},
	}
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	for range steps {
		k.db = k.dbs[k.rng.IntN(len(k.dbs))]
		at := k.rng.IntN(total)
		for _, a := range actions {
			if at -= a.weight; at < 0 {
				a.do()
				break
			}
		}
		k.check()
		w.audit()
	}
}

// step notes what is done, and checks that an error is one of those that may come of it.
func (k *walker) step(err error, allowed []error, format string, args ...any) bool {
	k.Helper()
	text := fmt.Sprintf("%s %s", k.clock.look().Format("15:04:05"), fmt.Sprintf(format, args...))
	if err != nil {
		text += ": " + err.Error()
	}
	k.steps = append(k.steps, text)
	if err == nil {
		return true
	}
	for _, class := range allowed {
		if errors.Is(err, class) {
			return false
		}
	}
	k.Fatalf("%s", text)
	return false
}

// check holds the pool to what clients were told.
func (k *walker) check() {
	k.Helper()
	now := k.clock.look()
	held := k.holders()
	for owner, h := range k.clients {
		if h.claimed && h.expires.After(now) {
			for _, n := range h.nodes {
				if held[n] != owner {
					k.Fatalf("%s was told that it has %s until %v, at %v it is held by %q", owner, n, h.expires, now, held[n])
				}
			}
		}
	}
}

var (
	conflict = []error{pool.ErrConflict}
	unserved = []error{pool.ErrNoNode, pool.ErrImpossible}
	unmarked = []error{pool.ErrConflict, pool.ErrNotFound}
)

func (k *walker) request() pool.Request {
	k.owners++
	r := one(fmt.Sprintf("build%d", k.owners), priority(k.rng.IntN(5)-2))
	if k.rng.IntN(3) > 0 {
		r = one(r.Owner, priority(r.Priority), ofJob(fmt.Sprintf("job%d", k.rng.IntN(2))))
	}
	exprs := [][]string{nil, nil, {"gpu"}, {"gpu:absent"}, {"rack=0"}}
	r.Groups = nil
	for i := range 1 + k.rng.IntN(6)/4 {
		r.Groups = append(r.Groups, group(fmt.Sprintf("g%d", i), 1+k.rng.IntN(5)/3, exprs[k.rng.IntN(len(exprs))]...))
	}
	return r
}

func (k *walker) allocate() {
	r := k.request()
	a, err := k.db.Allocate(k.ctx, r, pool.AllocateOptions{})
	if k.step(err, unserved, "%s asks for %s", r.Owner, pool.Describe(r.Groups)) {
		k.clients[r.Owner] = &holder{token: a.Token, nodes: a.NodeNames()}
	}
}

func (k *walker) enqueue() {
	r := k.request()
	t, err := k.db.Enqueue(k.ctx, r, time.Duration(1+k.rng.IntN(20))*time.Minute)
	if k.step(err, unserved, "%s leaves a ticket for %s", r.Owner, pool.Describe(r.Groups)) {
		k.tickets = append(k.tickets, t)
	}
}

// some picks a client, by owner; "" when there is none.
func (k *walker) some() (string, *holder) {
	var owners []string
	for owner := range k.clients {
		owners = append(owners, owner)
	}
	if len(owners) == 0 {
		return "", nil
	}
	owner := sorted(owners)[k.rng.IntN(len(owners))]
	return owner, k.clients[owner]
}

func (k *walker) claim() {
	owner, h := k.some()
	if h == nil || h.claimed {
		return
	}
	a, err := k.db.Claim(k.ctx, h.token)
	if k.step(err, conflict, "%s claims", owner) {
		h.claimed, h.expires = true, a.ExpiresAt
	} else {
		delete(k.clients, owner)
	}
}

func (k *walker) release() {
	owner, h := k.some()
	if h == nil {
		return
	}
	r := pool.ReleaseRequest{Owner: owner, Dirty: k.rng.IntN(8) == 0}
	if k.rng.IntN(2) == 0 {
		r.Owner, r.Token = "", h.token
	}
	released, err := k.db.Release(k.ctx, r)
	if k.step(err, conflict, "%s releases", owner) && h.claimed && h.expires.After(k.clock.look()) {
		k.equal("what "+owner+" gives back", sorted(h.nodes), sorted(returned(released)))
	}
	delete(k.clients, owner)
}

func (k *walker) cancel() {
	if len(k.tickets) == 0 {
		return
	}
	t := k.ticket()
	k.step(k.db.Cancel(k.ctx, t.Token, "why"), nil, "the ticket of %s is cancelled", t.Owner)
}

// ticket takes one of the tickets away.
func (k *walker) ticket() *pool.Allocation {
	i := k.rng.IntN(len(k.tickets))
	t := k.tickets[i]
	k.tickets = append(k.tickets[:i], k.tickets[i+1:]...)
	return t
}

func (k *walker) takeUp() {
	if len(k.tickets) == 0 {
		return
	}
	t := k.ticket()
	owner := "taker of " + t.Owner
	a, err := k.db.Allocate(k.ctx, one(owner, takeUp), pool.AllocateOptions{Ticket: t.Token})
	if k.step(err, append(conflict, pool.ErrQueued, pool.ErrNoNode), "the ticket of %s is taken up", t.Owner) {
		k.clients[owner] = &holder{token: a.Token, nodes: a.NodeNames()}
	} else if errors.Is(err, pool.ErrQueued) {
		k.tickets = append(k.tickets, t)
	}
}

func (k *walker) extend() {
	owner, h := k.some()
	if h == nil {
		return
	}
	a, err := k.db.Extend(k.ctx, pool.ExtendRequest{Token: h.token, Lease: time.Duration(1+k.rng.IntN(20)) * time.Minute})
	if k.step(err, conflict, "%s extends", owner) {
		h.expires = a.ExpiresAt
	}
}

func (k *walker) hold() {
	owner, h := k.some()
	if h == nil {
		return
	}
	a, err := k.db.Hold(k.ctx, pool.HoldRequest{Owner: owner, For: 15 * time.Minute, Reason: "look"})
	if k.step(err, conflict, "%s is held", owner) {
		h.expires = a.ExpiresAt
	}
}

// name picks a node, there or not.
func (k *walker) name() string { return fmt.Sprintf("n%d", 1+k.rng.IntN(k.nodes)) }

func (k *walker) revoke() {
	name := k.name()
	a, err := k.db.Revoke(k.ctx, name, "why")
	if k.step(err, unmarked, "%s is revoked", name) {
		delete(k.clients, a.Owner)
	}
}

func (k *walker) time() {
	d := time.Duration(1+k.rng.IntN(180)) * time.Second
	k.clock.add(d)
	k.step(nil, nil, "%v pass", d)
	if k.rng.IntN(2) == 0 {
		_, err := k.db.Tend(k.ctx)
		k.step(err, nil, "tend")
	}
}

func (k *walker) addOne() {
	if k.nodes >= 10 {
		return
	}
	k.nodes++
	spec := k.spec(fmt.Sprintf("n%d", k.nodes), costing(int64(k.rng.IntN(3))), having("rack", fmt.Sprint(k.rng.IntN(2))))
	if k.rng.IntN(2) == 0 {
		having("gpu", "1")(&spec)
	}
	k.step(k.world.db.AddNodes(k.ctx, []pool.NodeSpec{spec}), nil, "%s is added", spec.Name)
}

func (k *walker) remove() {
	name := k.name()
	k.step(k.db.RemoveNode(k.ctx, name), unmarked, "%s is removed", name)
}

func (k *walker) maintenance() {
	name, on := k.name(), k.rng.IntN(2) == 0
	_, err := k.db.SetMaintenance(k.ctx, name, on, "fan")
	k.step(err, unmarked, "maintenance of %s is %v", name, on)
}

func (k *walker) ready() {
	name := k.name()
	_, err := k.db.MarkReady(k.ctx, name)
	k.step(err, unmarked, "%s is marked ready", name)
}

func (k *walker) dirty() {
	name := k.name()
	_, err := k.db.MarkDirty(k.ctx, name, "smells")
	k.step(err, unmarked, "%s is marked dirty", name)
}

func (k *walker) field() {
	name, change := k.name(), []string{"gpu=1", "gpu=", "rack=0", "rack=1", "cost=0", "cost=3"}[k.rng.IntN(6)]
	_, err := k.db.SetNode(k.ctx, name, changes(change))
	k.step(err, unmarked, "%s of %s", change, name)
}

func (k *walker) setPolicy() {
	change := []string{
		"on_expiry=reclaim", "on_expiry=ask", "on_expiry=quarantine", "cleaning=true", "cleaning=false", "max_broken_pct=30", "max_broken_pct=100",
		"max_hold_pct=30", "max_hold_pct=100", "max_per_job_pct=50", "max_per_job_pct=100", "max_per_job_pct=100",
	}[k.rng.IntN(12)]
	_, err := k.db.SetPool(k.ctx, "default", changes(change))
	k.step(err, nil, "%s", change)
}

func (k *walker) pause() {
	if k.rng.IntN(3) == 0 {
		k.step(k.db.PausePool(k.ctx, "default", "why"), nil, "the pool is paused")
		return
	}
	k.step(k.db.ResumePool(k.ctx, "default"), nil, "the pool is resumed")
}

// close has a post-hook come before its pre-hook, or after all is over.
func (k *walker) close() {
	k.owners++
	owner := fmt.Sprintf("build%d", k.owners)
	_, err := k.db.Release(k.ctx, pool.ReleaseRequest{Owner: owner, CloseOwner: true})
	k.step(err, nil, "the post-hook of %s comes first", owner)
	_, err = k.db.Allocate(k.ctx, one(owner), pool.AllocateOptions{})
	if k.step(err, conflict, "the pre-hook of %s", owner) {
		k.Fatalf("%s was granted, though it is closed", owner)
	}
}

// explain asks what would become of a request, which then is made.
func (k *walker) explain() {
	r := one(k.request().Owner)
	e, err := k.db.Explain(k.ctx, pool.ExplainRequest{Groups: r.Groups})
	k.step(err, nil, "%s asks what would become of it", r.Owner)
	a, err := k.db.Allocate(k.ctx, r, pool.AllocateOptions{})
	if granted := k.step(err, unserved, "%s asks", r.Owner); granted != e.Now || errors.Is(err, pool.ErrImpossible) != e.Impossible {
		k.Fatalf("%s was told now %v, impossible %v, and got %v", r.Owner, e.Now, e.Impossible, err)
	}
	if err == nil {
		k.clients[r.Owner] = &holder{token: a.Token, nodes: a.NodeNames()}
	}
}
