package crowd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
)

const root = "../../../.."

// newServer starts a MariaDB of the test's own, because what it counts is the whole server's.
func newServer(t *testing.T, maxConnections int) string {
	if testing.Short() {
		t.Skip("starts a server")
	}
	for _, program := range []string{"mariadbd", "mariadb"} {
		testneeds.Program(t, program)
	}
	dir := filepath.Join(t.TempDir(), "db")
	mariadb := func(args ...string) string {
		cmd := exec.Command(filepath.Join(root, "scripts", "mariadb"), args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("scripts/mariadb %v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	t.Cleanup(func() { mariadb("stop", dir) })
	return mariadb("start", dir, "--", fmt.Sprintf("--max-connections=%d", maxConnections))
}

// TestCrowd has far more clients wait than the server takes connections, and holds them to their order and to
// the statements that they may cost: none of its limits is one on time.
func TestCrowd(t *testing.T) {
	const clients, connections = 200, 40
	ctx, server := t.Context(), newServer(t, connections)
	preHook := filepath.Join(t.TempDir(), "molten-prehook")
	build := exec.Command("go", "build", "-o", preHook, "./cmd/molten-prehook")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build molten-prehook: %v\n%s", err, out)
	}
	c, err := New(ctx, Config{
		Server: server, Database: "crowd", Clients: clients, Within: time.Second, Nodes: 10,
		Processes: clients / 20, PreHook: preHook, Dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	status := func(name string) int {
		t.Helper()
		n, err := c.Status(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	before := status("Questions")
	took, err := c.Arrive(ctx)
	if err != nil {
		t.Fatal(err)
	}
	asked := status("Questions") - before
	t.Logf("all wait after %s, with %d statements; %d connections were refused", took, asked, status("Connection_errors_max_connections"))
	// A client needs about 20 statements until it waits; those that wait look on meanwhile.
	if limit := 30*clients + lookRate*int(took/time.Second+1); asked > limit {
		t.Errorf("%d clients cost %d statements until they wait, want at most %d", clients, asked, limit)
	}

	order, err := c.Order(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(order) != clients {
		t.Fatalf("%d clients wait, want %d", len(order), clients)
	}
	before = status("Questions")
	start := time.Now()
	time.Sleep(8 * time.Second)
	quiet, seconds := status("Questions")-before-1, time.Since(start).Seconds()
	t.Logf("while nothing moves: %.0f statements a second", float64(quiet)/seconds)
	if float64(quiet) > lookRate*seconds {
		t.Errorf("%d statements in %.1f s while nothing moves, want at most %d a second", quiet, seconds, lookRate)
	}

	for _, owner := range order[:5] {
		got, _, err := c.HandOver(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got != owner {
			t.Errorf("%s was served, %s is first in the queue", got, owner)
		}
	}
	if err := c.Drain(ctx, clients-5); err != nil {
		t.Fatal(err)
	}
	overtaken, err := c.Overtaken(ctx, order)
	if err != nil {
		t.Fatal(err)
	}
	if len(overtaken) > 0 {
		t.Errorf("overtaken were %v", overtaken)
	}
	if _, err := c.Late(ctx, "late"); err != nil {
		t.Fatal(err)
	}
}

// lookRate is what the clients of TestCrowd may cost a second while nothing moves. They look 12.5/place times
// a second, up to place 20 with one statement, behind that with two, since they hold no connection meanwhile
// and say good-bye: 45 + 2 × 29. A heartbeat comes every 40 s or so, and a reminder near the head every minute.
const lookRate = 150

// TestPassCost counts the rows that a server reads for one request, and for one release, with few and with
// many who wait: they must not grow with the queue, or a crowd would cost its square.
func TestPassCost(t *testing.T) {
	server := newServer(t, 151)
	for name, setAside := range map[string]bool{"no node is free": false, "a free node is set aside": true} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			c, err := New(ctx, Config{Server: server, Database: fmt.Sprintf("cost_%t", setAside), Nodes: 6})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}()
			ok := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			n := 0
			enqueue := func(count int) {
				t.Helper()
				n++
				plain, err := pool.ParseRequirement("arch:absent")
				ok(err)
				_, err = c.admin.Enqueue(ctx, pool.Request{
					Owner: fmt.Sprintf("owner-%d", n), Groups: []pool.Group{{Count: count, Require: []pool.Requirement{plain}}},
				}, time.Hour)
				ok(err)
			}
			giveBack := func() {
				t.Helper()
				_, err := c.admin.Release(ctx, pool.ReleaseRequest{Owner: c.holders[0]})
				ok(err)
				c.holders = c.holders[1:]
			}
			reads := func(what func()) int {
				t.Helper()
				before, err := c.Status(ctx, "Rows_read")
				ok(err)
				what()
				after, err := c.Status(ctx, "Rows_read")
				ok(err)
				return after - before
			}

			if setAside {
				// Nobody wants the first, the second is for the head of the queue.
				ok(c.admin.AddNodes(ctx, []pool.NodeSpec{{Name: "other", Arch: "arm64", BMC: pool.BMC{Address: "203.0.113.1"}}}))
				enqueue(6)
				giveBack()
			}
			enqueue(1)
			few := [2]int{reads(func() { enqueue(1) }), reads(giveBack)}
			for range 300 {
				enqueue(1)
			}
			many := [2]int{reads(func() { enqueue(1) }), reads(giveBack)}
			t.Logf("a request and a release read %d rows with few in the queue, %d with 300", few, many)
			// A walk reads the queue in batches, of which the first is 16. A node that comes back to the one who
			// has others set aside may free one of those for anybody, so that release does look at all.
			if many[0] > few[0]+60 || !setAside && many[1] > few[1]+60 {
				t.Errorf("a request and a release read %d rows with few in the queue, %d with 300", few, many)
			}
		})
	}
}
