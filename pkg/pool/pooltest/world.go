package pooltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// patience is how long a case waits for what a live client does by itself. Nothing takes that long; a
// machine that runs all tests at once may.
const patience = 20 * time.Second

// secretMark is in every password and nowhere else.
const secretMark = "S3CR3T"

// clock is the time of all handles of a case. Each look moves it by a microsecond, so that no two
// moments are alike and the order of the queue never hangs on ids.
type clock struct {
	mu    sync.Mutex
	now   time.Time
	moved bool // since the audit last had everything tended that became due
}

func (c *clock) look() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Microsecond)
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.moved = c.now.Add(d), true
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.moved = now, true
}

// tended reports whether time has moved since it was last asked.
func (c *clock) tended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	moved := c.moved
	c.moved = false
	return !moved
}

// tb is what a world needs of its test: a *testing.T has it, and so has the *rapid.T of a random walk.
type tb interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	Cleanup(fn func())
}

// world is what a case works with: a database of its own, the clock, and clients. Its methods end the
// case when what they do fails, except those that are named after a failure.
type world struct {
	tb
	ctx   context.Context
	clock *clock
	db    *pool.DB
	urls  []string

	mu      sync.Mutex
	address int
	handles []*pool.DB
	clients []*client
	seen    map[int64]bool // allocations whose grant was audited

	modelled bool // a model watches who is served, and knows more of it than the audit
}

func newWorld(t tb, urls []string) *world {
	ctx, cancel := context.WithCancel(context.Background())
	// A round second in the winter of no daylight saving: errors are easier to read.
	w := &world{tb: t, ctx: ctx, clock: &clock{now: time.Date(2030, 1, 15, 12, 0, 0, 0, time.UTC)}, urls: urls}
	w.seen = map[int64]bool{}
	t.Cleanup(func() {
		if !t.Failed() {
			w.audit()
		}
		for _, c := range w.clients { // all at once: who waits holds nobody up
			c.cancel()
			c.goOn()
		}
		for _, c := range w.clients {
			<-c.done
		}
		if !t.Failed() {
			w.audit()
		}
		for _, db := range w.handles {
			_ = db.Close()
		}
		cancel()
	})
	w.db = w.open()
	return w
}

// open opens one more handle on the database, as another client has it.
func (w *world) open(change ...func(*pool.Options)) *pool.DB {
	w.Helper()
	o := pool.Options{Actor: "pooltest", Clock: w.clock.look}
	for _, f := range change {
		f(&o)
	}
	db, err := pool.Open(w.ctx, w.urls[len(w.handles)%len(w.urls)], o)
	w.ok(err)
	w.handles = append(w.handles, db)
	return db
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("unexpected error: %v", err)
	}
}

// refused checks the class of an error, and that its text tells each of the words.
func (w *world) refused(err error, class error, words ...string) {
	w.Helper()
	if !errors.Is(err, class) {
		w.Fatalf("the error is %v, want one of class %q", err, class)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.Errorf("the error %q does not tell %q", err, word)
		}
	}
	if strings.Contains(err.Error(), secretMark) {
		w.Errorf("the error %q tells a secret", err)
	}
}

// equal compares; the name says what.
func (w *world) equal(what string, want, got any) {
	w.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		w.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// spec is a node of the default pool with addresses of its own.
func (w *world) spec(name string, change ...func(*pool.NodeSpec)) pool.NodeSpec {
	w.mu.Lock()
	w.address++
	n := w.address
	w.mu.Unlock()
	s := pool.NodeSpec{
		Name: name,
		BMC:  pool.BMC{Address: fmt.Sprintf("10.1.%d.%d", n/250, n%250+1), Username: "admin", Password: secret.New(secretMark + " of " + name)},
		MACs: []string{fmt.Sprintf("52:54:00:00:%02x:%02x", n/256, n%256)},
		Arch: "x86_64",
	}
	for _, f := range change {
		f(&s)
	}
	return s
}

// The usual changes of a spec.
func inPool(name string) func(*pool.NodeSpec) { return func(s *pool.NodeSpec) { s.Pool = name } }
func ofArch(arch string) func(*pool.NodeSpec) { return func(s *pool.NodeSpec) { s.Arch = arch } }
func costing(cost int64) func(*pool.NodeSpec) { return func(s *pool.NodeSpec) { s.Cost = cost } }
func having(key, value string) func(*pool.NodeSpec) {
	return func(s *pool.NodeSpec) {
		if s.Properties == nil {
			s.Properties = map[string]string{}
		}
		s.Properties[key] = value
	}
}

// add adds plain nodes to the default pool, one by one: the first has been ready for longest.
func (w *world) add(names ...string) {
	w.Helper()
	for _, name := range names {
		w.addNode(name)
	}
}

func (w *world) addNode(name string, change ...func(*pool.NodeSpec)) {
	w.Helper()
	w.ok(w.db.AddNodes(w.ctx, []pool.NodeSpec{w.spec(name, change...)}))
}

// policy sets fields of a pool's policy, as in "lease=30s", and makes the pool if there is none.
func (w *world) policy(name string, fields ...string) {
	w.Helper()
	if _, err := w.db.Pool(w.ctx, name); errors.Is(err, pool.ErrNotFound) {
		w.ok(w.db.AddPool(w.ctx, name, pool.DefaultPolicy()))
	}
	if len(fields) > 0 {
		_, err := w.db.SetPool(w.ctx, name, changes(fields...))
		w.ok(err)
	}
}

// changes makes field changes of texts such as "ram_mb=5".
func changes(fields ...string) []pool.FieldChange {
	var list []pool.FieldChange
	for _, f := range fields {
		field, value, _ := strings.Cut(f, "=")
		list = append(list, pool.FieldChange{Field: field, Value: value})
	}
	return list
}

// one asks for one node; the options ask for more.
func one(owner string, options ...func(*pool.Request)) pool.Request {
	r := pool.Request{Owner: owner, Groups: []pool.Group{{Count: 1}}, Where: "pooltest"}
	for _, o := range options {
		o(&r)
	}
	return r
}

// many asks for several nodes.
func many(owner string, count int, options ...func(*pool.Request)) pool.Request {
	r := one(owner, options...)
	r.Groups[0].Count = count
	return r
}

// The usual options of a request.
func from(name string) func(*pool.Request) { return func(r *pool.Request) { r.Pool = name } }
func slot(name string) func(*pool.Request) { return func(r *pool.Request) { r.Slot = name } }
func priority(n int) func(*pool.Request)   { return func(r *pool.Request) { r.Priority = n } }
func lease(d time.Duration) func(*pool.Request) {
	return func(r *pool.Request) { r.Lease = d }
}
func needs(exprs ...string) func(*pool.Request) {
	return func(r *pool.Request) { r.Groups[0].Require = requirements(exprs...) }
}

func requirements(exprs ...string) []pool.Requirement {
	var list []pool.Requirement
	for _, e := range exprs {
		r, err := pool.ParseRequirement(e)
		if err != nil {
			panic(err) // a fault of the suite
		}
		list = append(list, r)
	}
	return list
}

func group(name string, count int, exprs ...string) pool.Group {
	return pool.Group{Name: name, Count: count, Require: requirements(exprs...)}
}

// grant has a request granted at once.
func (w *world) grant(r pool.Request) *pool.Allocation {
	w.Helper()
	a, err := w.db.Allocate(w.ctx, r, pool.AllocateOptions{})
	w.ok(err)
	return a
}

// hold has a request granted at once, and claimed.
func (w *world) hold(r pool.Request) *pool.Allocation {
	w.Helper()
	a := w.grant(r)
	claimed, err := w.db.Claim(w.ctx, a.Token)
	w.ok(err)
	claimed.Token, claimed.Nodes = a.Token, a.Nodes
	return claimed
}

// ask has a request refused at once.
func (w *world) ask(r pool.Request) error {
	w.Helper()
	a, err := w.db.Allocate(w.ctx, r, pool.AllocateOptions{})
	if err == nil {
		w.Fatalf("%s got %v, want an error", r.Owner, a.NodeNames())
	}
	return err
}

func (w *world) release(owner string) []pool.Released {
	w.Helper()
	released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Owner: owner})
	w.ok(err)
	return released
}

// client is a client that waits in the queue.
type client struct {
	w      *world
	owner  string
	gate   chan struct{} // held in Progress until it is closed
	once   sync.Once
	first  chan pool.Position
	done   chan struct{}
	cancel context.CancelFunc
	places chan int        // told, while somebody reads them
	told   []pool.Position // read when it is done
	a      *pool.Allocation
	err    error
}

// waitForever is a wait that no case outlasts.
const waitForever = time.Hour

// queue puts a client into the queue and holds it there: it gives no sign of life and looks at nothing
// until it is told to go on. The request must not be one that is served at once. With a ticket it takes
// that up.
func (w *world) queue(r pool.Request, ticket ...secret.Text) *client {
	w.Helper()
	return w.start(r, waitForever, true, w.db, ticket...)
}

// live puts a client into the queue that lives on.
func (w *world) live(r pool.Request) *client {
	w.Helper()
	return w.start(r, waitForever, false, w.db)
}

func (w *world) start(r pool.Request, wait time.Duration, held bool, db *pool.DB, ticket ...secret.Text) *client {
	w.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	c := &client{
		w: w, owner: r.Owner, gate: make(chan struct{}), first: make(chan pool.Position, 1), done: make(chan struct{}), cancel: cancel,
		places: make(chan int, 100),
	}
	if !held {
		c.goOn()
	}
	o := pool.AllocateOptions{Wait: wait, Progress: func(p pool.Position) {
		c.told = append(c.told, p)
		if len(c.told) == 1 {
			c.first <- p
		}
		select {
		case c.places <- p.Place:
		default:
		}
		<-c.gate
	}}
	if len(ticket) > 0 {
		o.Ticket = ticket[0]
	}
	go func() {
		defer close(c.done)
		c.a, c.err = db.Allocate(ctx, r, o)
	}()
	w.clients = append(w.clients, c)
	select {
	case <-c.first:
	case <-c.done:
		w.Fatalf("%s does not wait: %v %v", r.Owner, c.a, c.err)
	case <-time.After(patience):
		w.Fatalf("%s is not in the queue", r.Owner)
	}
	return c
}

func (c *client) goOn() { c.once.Do(func() { close(c.gate) }) }

// result lets the client go on and waits for what it gets.
func (c *client) result() (*pool.Allocation, error) {
	c.w.Helper()
	c.goOn()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.w.Fatalf("%s still waits", c.owner)
	}
	return c.a, c.err
}

// tells lets the client go on and waits until it is told this place.
func (c *client) tells(place int) {
	c.w.Helper()
	c.goOn()
	for limit := time.After(patience); ; {
		select {
		case p := <-c.places:
			if p == place {
				return
			}
		case <-limit:
			c.w.Fatalf("%s is never told that it is at %d", c.owner, place)
		}
	}
}

// granted lets the client go on and has it get its nodes.
func (c *client) granted() *pool.Allocation {
	c.w.Helper()
	a, err := c.result()
	c.w.ok(err)
	return a
}

// claimed is granted, and has the client claim them.
func (c *client) claimed() *pool.Allocation {
	c.w.Helper()
	a := c.granted()
	_, err := c.w.db.Claim(c.w.ctx, a.Token)
	c.w.ok(err)
	return a
}

// giveUp ends the client as a signal does.
func (c *client) giveUp() {
	c.w.Helper()
	c.cancel()
	if _, err := c.result(); !errors.Is(err, context.Canceled) {
		c.w.Fatalf("%s was cancelled and got %v", c.owner, err)
	}
}

// holders tells who has each node, by name; a node that nobody holds is not told.
func (w *world) holders() map[string]string {
	w.Helper()
	nodes, err := w.db.Nodes(w.ctx, pool.NodeFilter{})
	w.ok(err)
	held := map[string]string{}
	for _, n := range nodes {
		if n.Status == pool.Allocated {
			held[n.Name] = n.Owner
		}
	}
	return held
}

// waiting lists the owners in the queue of a pool, in order.
func (w *world) waiting(name string) []string {
	w.Helper()
	list, err := w.db.Queue(w.ctx, name)
	w.ok(err)
	var owners []string
	for i, a := range list {
		if a.Place != i+1 {
			w.Errorf("%s is told the place %d, it is at %d", a.Owner, a.Place, i+1)
		}
		owners = append(owners, a.Owner)
	}
	return owners
}

func (w *world) node(name string) pool.Node {
	w.Helper()
	n, err := w.db.Node(w.ctx, name)
	w.ok(err)
	return n
}

// last is the newest allocation of an owner.
func (w *world) last(owner string) pool.Allocation {
	w.Helper()
	list, err := w.db.Allocations(w.ctx, pool.AllocationFilter{Owner: owner, Limit: 1})
	w.ok(err)
	if len(list) == 0 {
		w.Fatalf("there is no allocation of %s", owner)
	}
	return list[0]
}

// ended is how the newest allocation of an owner ended, "" when it is active.
func (w *world) ended(owner string) pool.EndReason {
	w.Helper()
	return w.last(owner).EndReason
}

// kinds lists the kinds of the events that a filter selects, oldest first.
func (w *world) kinds(f pool.EventFilter) []string {
	w.Helper()
	events, err := w.db.Events(w.ctx, f)
	w.ok(err)
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// tend runs what time has made due in all pools.
func (w *world) tend() pool.TendResult {
	w.Helper()
	r, err := w.db.Tend(w.ctx)
	w.ok(err)
	return r
}

// eventually waits for what live clients bring about.
func (w *world) eventually(what string, reached func() bool) {
	w.Helper()
	for limit := time.Now().Add(patience); !reached(); {
		if time.Now().After(limit) {
			w.Fatalf("it never comes to that: %s", what)
		}
		w.pause(5 * time.Millisecond)
	}
}

// pause lets the clients do something before the next look.
func (w *world) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.ctx.Done():
	}
}

// together runs functions at the same time, each with a handle of its own, and waits for all.
func (w *world) together(n int, fn func(i int, db *pool.DB)) {
	w.Helper()
	handles := make([]*pool.DB, n)
	for i := range handles {
		handles[i] = w.open()
	}
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i, db := range handles {
		all.Go(func() {
			<-begin
			fn(i, db)
		})
	}
	close(begin)
	all.Wait()
	for _, db := range handles[:] {
		_ = db.Close()
	}
}

func sorted[T ~[]string](list T) T {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}
