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

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
)

// The size of a round: amounts of work. How long they take is the machine's matter.
const (
	clients = 64
	kills   = clients / 3 // a third of the clients
	freezes = clients / 4
	grants  = 8 * clients                // that clients are told of
	pace    = grants / (kills + freezes) // from fault to fault, so that faults meet clients at work
)

// roundLimit ends a round that comes to no end. On SQLite what a spell of frozen clients leaves behind fills
// the pools for a minute.
const roundLimit = 6 * time.Minute

// lengthEnv makes rounds until that time is over, as in 10m, instead of one; seedEnv repeats the choices of a
// failed run.
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
	url   string
	hosts int // of the url; client N prefers host N modulo hosts, the probe the first
	// patience of the clients and of the probe.
	patience time.Duration
	// stall is the longest time for which a pool's lock may be out of reach for the probe; on SQLite, until it
	// is told so.
	stall time.Duration
	// oneLock: there is one lock for all pools, and nobody can break a frozen client's; the others end with
	// ErrUnreachable until it goes on.
	oneLock bool
}

// slack is what a machine may add to a limit on which much else runs.
const slack = 20 * time.Second

func TestSQLite(t *testing.T) {
	// Nobody can break the lock of a frozen process, so who waits must give up in time.
	const patience = 5 * time.Second
	run(t, engine{url: "sqlite:" + filepath.Join(t.TempDir(), "pool.db"), hosts: 1, patience: patience, stall: patience + slack, oneLock: true})
}

func TestMariaDB(t *testing.T) {
	runOnServer(t, "MOLTENIRON_TEST_MYSQL")
}

func TestMySQL(t *testing.T) {
	runOnServer(t, "MOLTENIRON_TEST_MYSQL_REAL")
}

// TestGalera has clients at all hosts of a cluster, whose locks know nothing of each other.
func TestGalera(t *testing.T) {
	runOnServer(t, "MOLTENIRON_TEST_GALERA")
}

func runOnServer(t *testing.T, variable string) {
	server := testneeds.Server(t, variable).String()
	// The server drops a session after 15 s without a word, and the longest wait for a lock is 5 s. Operations
	// are repeated for longer than that in any case; here for long enough on a busy machine too.
	const stall = 20*time.Second + slack
	run(t, engine{url: newDatabase(t, server), hosts: strings.Count(server, ",") + 1, patience: stall + slack, stall: stall})
}

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

// length is the time for which rounds are made; 0 is one round.
func length(t *testing.T) time.Duration {
	text := os.Getenv(lengthEnv)
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s is %q: a duration is wanted", lengthEnv, text)
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
	for begun := time.Now(); ; {
		c.round(probes)
		if time.Since(begun) >= duration {
			break
		}
	}
	c.finish()
	stopProbes()

	for i, p := range probes {
		<-p.done
		checkProbe(t, e, pools[i].name, p.attempts, c.spells)
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
	if path, lite := strings.CutPrefix(e.url, "sqlite:"); lite {
		raw, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		var integrity string
		if err := raw.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&integrity); err != nil || integrity != "ok" {
			t.Errorf("the database is not sound: %s %v", integrity, err)
		}
	}

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
	t.Logf("%d events, %d nodes granted (%d seen by clients); %d clients killed, %d frozen, %d of them with the lock; %d nodes came back only after the end",
		len(events), len(trail), len(told), c.killed, c.frozen, len(c.spells), len(before))
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
