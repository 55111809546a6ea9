package wiretest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
)

// TestMain lets more tests run side by side than there are processors: they wait for most of their time.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// world is a database on a real server, with a handle that no line spoils.
type world struct {
	ctx    context.Context
	server *url.URL // of the database
	db     *pool.DB
	pools  atomic.Int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	u := testneeds.Server(t, "MOLTENIRON_TEST_MYSQL")
	u.Path = "/wire_" + strings.ToLower(rand.Text()[:12])
	w := &world{ctx: context.Background(), server: u}
	if _, err := pool.Init(w.ctx, u.String(), options()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		raw, err := sql.Open("mysql", fmt.Sprintf("%s@tcp(%s)/", u.User, u.Host))
		if err == nil {
			defer raw.Close()
			_, err = raw.Exec("DROP DATABASE " + u.Path[1:])
		}
		if err != nil {
			t.Errorf("drop the database: %v", err)
		}
	})
	var err error
	if w.db, err = pool.Open(w.ctx, u.String(), options()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

func options() pool.Options {
	return pool.Options{Actor: "wiretest", TLS: pool.TLSOptions{Mode: "off"}}
}

// run is one operation through a line of its own, in a pool of its own with one node.
type run struct {
	t     testing.TB
	w     *world
	line  *line
	db    *pool.DB // through the line
	pool  string
	owner string
	node  string
	held  *pool.Allocation // of the owner, as far as the operation wants one
}

func (w *world) newRun(t testing.TB, o pool.Options) *run {
	t.Helper()
	i := w.pools.Add(1)
	r := &run{t: t, w: w, line: newLine(t, w.server.Host), pool: fmt.Sprintf("pool-%d", i), owner: fmt.Sprintf("build %d", i), node: fmt.Sprintf("node-%d", i)}
	r.ok(w.db.AddPool(w.ctx, r.pool, pool.DefaultPolicy()))
	r.ok(w.db.AddNodes(w.ctx, []pool.NodeSpec{{Name: r.node, Pool: r.pool, BMC: pool.BMC{Address: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)}}}))
	r.db = r.open(o)
	return r
}

// open gives one more handle through the line.
func (r *run) open(o pool.Options) *pool.DB {
	r.t.Helper()
	u := *r.w.server
	u.Host = r.line.addr()
	db, err := pool.Open(r.w.ctx, u.String(), o)
	r.ok(err)
	r.t.Cleanup(func() { _ = db.Close() })
	return db
}

func (r *run) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("unexpected error: %v", err)
	}
}

// first is who holds the node before the owner.
func (r *run) first() string { return r.owner + " first" }

func (r *run) request(owner string) pool.Request {
	return pool.Request{Owner: owner, Pool: r.pool, Groups: []pool.Group{{Count: 1}}}
}

// hold has the owner hold the node, over a sound connection.
func (r *run) hold(owner string) *pool.Allocation {
	r.t.Helper()
	a, err := r.w.db.Allocate(r.w.ctx, r.request(owner), pool.AllocateOptions{})
	r.ok(err)
	_, err = r.w.db.Claim(r.w.ctx, a.Token)
	r.ok(err)
	return a
}

func (r *run) allocations(owner string) []pool.Allocation {
	r.t.Helper()
	list, err := r.w.db.Allocations(r.w.ctx, pool.AllocationFilter{Owner: owner})
	r.ok(err)
	return list
}

// events counts the events of the owner by kind.
func (r *run) events(owner string) map[string]int {
	r.t.Helper()
	events, err := r.w.db.Events(r.w.ctx, pool.EventFilter{Owner: owner})
	r.ok(err)
	n := map[string]int{}
	for _, e := range events {
		n[e.Kind]++
	}
	return n
}

func (r *run) status() pool.Status {
	r.t.Helper()
	n, err := r.w.db.Node(r.w.ctx, r.node)
	r.ok(err)
	return n.Status
}

// patience bounds each operation; one fault costs far less.
const patience = 30 * time.Second
