// Package crashtest breaks clients. It holds no code but a test: real processes allocate and release
// nodes at random while a third of them are killed with SIGKILL and some are frozen with SIGSTOP, also
// while they hold the pool's lock. Afterwards the event trail and what each process saw must agree that
// no node was ever held twice, that generations grew, and that nothing is lost.
package crashtest

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/molteniron/molteniron/pkg/pool"
)

// The size of a run. The lease of a build is two or three seconds, so that many run out within it.
const (
	clients   = 64
	kills     = clients / 3 // a third of the clients
	freezes   = clients / 4
	minLength = 20 * time.Second // less would not outlast one client frozen with the lock
)

// lengthEnv makes a longer run than minLength, as in 10m; seedEnv repeats the choices of a failed run.
const (
	lengthEnv = "MOLTENIRON_CRASHTEST_LENGTH"
	seedEnv   = "MOLTENIRON_CRASHTEST_SEED"
)

// pools are two, so that the one goes on while a frozen client holds the other's lock. The first has
// clients that are killed and frozen anywhere, the second the one that is frozen with the lock.
var pools = []struct {
	name           string
	nodes, clients int
}{
	{"busy", 60, clients - clients/4},
	{"small", 12, clients / 4},
}

func TestMain(m *testing.M) {
	if config := os.Getenv(clientEnv); config != "" {
		os.Exit(runClient(config))
	}
	os.Exit(m.Run())
}

// engine is what the run expects of a database.
type engine struct {
	url string
	// patience of the clients and of the probe.
	patience time.Duration
	// frozenFor is how long a client stays frozen with the lock, calm how long nobody is before that.
	frozenFor, calm time.Duration
	// stall is the longest time for which a pool's lock may be out of reach for the probe.
	stall time.Duration
	// oneLock: there is one lock for all pools, and nobody can break a frozen client's; the others end with
	// ErrUnreachable until it goes on.
	oneLock bool
}

func TestSQLite(t *testing.T) {
	run(t, engine{
		url: "sqlite:" + filepath.Join(t.TempDir(), "pool.db"),
		// Nobody can break the lock of a frozen process, so who waits must give up in time. What they leave
		// behind, unable to undo it, keeps the pools full for a minute: so there is calm first.
		patience: 5 * time.Second, calm: 8 * time.Second, frozenFor: 12 * time.Second, stall: 12*time.Second + slack, oneLock: true,
	})
}

func TestMariaDB(t *testing.T) {
	server := os.Getenv("MOLTENIRON_TEST_MYSQL")
	if server == "" {
		if os.Getenv("MOLTENIRON_REQUIRE_SERVERS") == "1" {
			t.Fatal("MOLTENIRON_TEST_MYSQL names no server; run: scripts/mariadb run --durable -- go test ./pkg/pool/crashtest")
		}
		t.Skip("MOLTENIRON_TEST_MYSQL names no server; run: scripts/mariadb run --durable -- go test ./pkg/pool/crashtest")
	}
	run(t, engine{
		url: newDatabase(t, server),
		// The server drops a session after 15 s without a word, and the longest wait for a lock is 5 s.
		calm: time.Second, frozenFor: 17 * time.Second, stall: 20*time.Second + slack,
	})
}

// slack is what a loaded machine may add to a limit.
const slack = 5 * time.Second

// newDatabase names a fresh database on the server and removes it after the test.
func newDatabase(t *testing.T, server string) string {
	u, err := pool.ParseURL(server)
	if err != nil {
		t.Fatal(err)
	}
	name := "crashtest_" + hex.EncodeToString(strconv.AppendUint(nil, rand.Uint64(), 36))
	t.Cleanup(func() {
		c := mysql.NewConfig()
		c.User, c.Passwd, c.Net, c.Addr = u.User, u.Password.Reveal(), "tcp", u.Hosts[0]
		db, err := sql.Open("mysql", c.FormatDSN())
		if err == nil {
			defer db.Close()
			_, err = db.Exec("DROP DATABASE IF EXISTS " + name)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return strings.TrimSuffix(server, "/") + "/" + name
}

func length(t *testing.T) time.Duration {
	text := os.Getenv(lengthEnv)
	if text == "" {
		return minLength
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < minLength {
		t.Fatalf("%s is %q: a duration of %s or more is wanted", lengthEnv, text, minLength)
	}
	return d
}

func seed(t *testing.T) uint64 {
	text := os.Getenv(seedEnv)
	if text == "" {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q: a whole number is wanted", seedEnv, text)
	}
	return n
}

func run(t *testing.T, e engine) {
	ctx := t.Context()
	duration, seed := length(t), seed(t)
	t.Logf("%s=%d repeats the choices of this run", seedEnv, seed)
	if _, err := pool.Init(ctx, e.url, pool.Options{}); err != nil {
		t.Fatal(err)
	}
	db, err := pool.Open(ctx, e.url, pool.Options{Patience: e.patience, Actor: "probe"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	addPools(t, db)

	c := newCrew(t, e, clientProgram(t), seed)
	defer c.killAll() // whatever happens, no process outlives the test
	for _, p := range pools {
		for range p.clients {
			c.start(p.name)
		}
	}
	c.awaitReady()

	probing, stopProbes := context.WithCancel(ctx)
	defer stopProbes()
	probes := make([]*probe, len(pools))
	for i, p := range pools {
		probes[i] = startProbe(probing, db, p.name)
	}
	frozen := c.torment(duration)
	c.finish()
	stopProbes()

	for i, p := range probes {
		<-p.done
		checkProbe(t, e, pools[i].name, p.attempts, frozen)
	}
	check(t, e, c)
}

// clientProgram gives the program that the clients run: this one, unless it was built with the race
// detector. That makes SQLite, which is Go code too, so slow that 64 clients hardly meet; and it looks
// within a process, where each client is alone.
func clientProgram(t *testing.T) string {
	if !raceDetector {
		return os.Args[0]
	}
	program := filepath.Join(t.TempDir(), "client")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the clients: %v\n%s", err, out)
	}
	return program
}

func addPools(t *testing.T, db *pool.DB) {
	var specs []pool.NodeSpec
	port := 1
	for _, p := range pools {
		if err := db.AddPool(t.Context(), p.name, pool.DefaultPolicy()); err != nil {
			t.Fatal(err)
		}
		for i := range p.nodes + 1 {
			spec := pool.NodeSpec{Name: fmt.Sprintf("%s-%d", p.name, i), Pool: p.name, BMC: pool.BMC{Address: "192.0.2.1", Port: port, Username: "u"}}
			if i == p.nodes {
				spec.Name = probeNode(p.name)
			}
			specs = append(specs, spec)
			port++
		}
	}
	if err := db.AddNodes(t.Context(), specs); err != nil {
		t.Fatal(err)
	}
	for _, p := range pools {
		if _, err := db.SetMaintenance(t.Context(), probeNode(p.name), true, "for the probe"); err != nil {
			t.Fatal(err)
		}
	}
}

// check holds the event trail and the clients' own lines against each other, once all of them are gone.
func check(t *testing.T, e engine, c *crew) {
	ctx := t.Context()
	spans, told := c.readLines()

	// What the dead left comes back when their heartbeats and leases end: two minutes from now.
	later := func() time.Time { return time.Now().Add(2 * time.Minute) }
	db, err := pool.Open(ctx, e.url, pool.Options{Clock: later, Actor: "check"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	before := heldNow(t, db)
	if _, err := db.Tend(ctx); err != nil {
		t.Fatal(err)
	}
	if held := heldNow(t, db); len(held) > 0 {
		t.Errorf("lost: after heartbeats and leases ended these nodes are not ready: %v", held)
	}
	if queue, err := db.Queue(ctx, ""); err != nil || len(queue) > 0 {
		t.Errorf("lost: %d tickets are still in the queue (%v)", len(queue), err)
	}
	for _, p := range pools {
		a, err := db.Allocate(ctx, pool.Request{Owner: "check " + p.name, Pool: p.name, Groups: []pool.Group{{Count: p.nodes}}}, pool.AllocateOptions{})
		if err != nil {
			t.Errorf("pool %s cannot hand out all of its nodes at the end: %v", p.name, err)
			continue
		}
		if err := db.Cancel(ctx, a.Token, "checked"); err != nil {
			t.Error(err)
		}
	}

	events, err := db.Events(ctx, pool.EventFilter{Limit: 10_000_000})
	if err != nil {
		t.Fatal(err)
	}
	problems, trail, open := checkTrail(events)
	problems = append(problems, checkSpans(spans)...)
	for _, g := range open {
		problems = append(problems, fmt.Sprintf("%s: the trail never says that allocation %d gave it back", g.Node, g.Allocation))
	}
	for _, g := range told {
		if !trail[g] {
			problems = append(problems, fmt.Sprintf("%s: a client was told that it has it (allocation %d, generation %d), the trail does not know", g.Node, g.Allocation, g.Generation))
		}
	}
	slices.Sort(problems)
	for i, p := range problems {
		if i == 20 {
			t.Errorf("and %d more", len(problems)-i)
			break
		}
		t.Error(p)
	}
	if len(trail) < clients || len(told) < clients {
		t.Errorf("too little happened: %d grants in the trail, %d seen by clients", len(trail), len(told))
	}
	t.Logf("%d events, %d grants (%d seen whole by clients); %d clients killed, %d frozen; %d nodes came back only after the end",
		len(events), len(trail), len(told), c.killed, c.frozen, len(before))
}

// heldNow lists the nodes that are not ready.
func heldNow(t *testing.T, db *pool.DB) (held []string) {
	nodes, err := db.Nodes(t.Context(), pool.NodeFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if n.Status != pool.Ready {
			held = append(held, fmt.Sprintf("%s (%s, %s)", n.Name, n.Status, n.Owner))
		}
	}
	return held
}
