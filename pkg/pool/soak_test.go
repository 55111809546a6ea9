package pool_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/molteniron/molteniron/pkg/pool"
)

// The size of a soak, and how many times servers are killed at least.
const (
	soakClients = 32
	soakNodes   = 50
	soakKills   = 2
)

// soakEnv sets how long the servers are killed and brought back (make soak); without it as long as the least
// number of kills takes. soakClientEnv makes a copy of the test binary a client.
const (
	soakEnv       = "MOLTENIRON_SOAK"
	soakClientEnv = "MOLTENIRON_SOAK_CLIENT"
)

func TestMain(m *testing.M) {
	if config := os.Getenv(soakClientEnv); config != "" {
		if err := soakClient(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// More side by side than there are processors: on a server the cases wait for most of their time.
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = flag.Set("test.parallel", "4")
	}
	os.Exit(m.Run())
}

// TestSoakGalera kills the hosts of a cluster one after the other, the first in the URL included, and has
// them rejoin, while client processes go on: what they saw is a history of single holders, and whatever was
// acknowledged is there.
func TestSoakGalera(t *testing.T) {
	host := 0
	soak(t, "galera", func(dir string) []func() {
		host = host%3 + 1
		n := fmt.Sprint(host)
		return []func(){
			func() { script(t, "galera", "kill", dir, n) },
			func() { script(t, "galera", "rejoin", dir, n) },
		}
	})
}

// TestSoakMariaDB kills the one server, as a power cut would, and starts it again.
func TestSoakMariaDB(t *testing.T) {
	soak(t, "mariadb", func(dir string) []func() {
		return []func(){func() {
			script(t, "mariadb", "kill", dir)
			script(t, "mariadb", "start", dir)
		}}
	}, "--durable")
}

// script runs one of the project's scripts and gives what it prints.
func script(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join("../../scripts", name), args...) //nolint:gosec // our own
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("scripts/%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func soak(t *testing.T, server string, fault func(dir string) []func(), options ...string) {
	if os.Getenv("MOLTENIRON_REQUIRE_SERVERS") != "1" && os.Getenv(soakEnv) == "" {
		t.Skip("it takes servers of its own; run: make soak")
	}
	length := time.Duration(0)
	if v := os.Getenv(soakEnv); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "soak") //nolint:usetesting // a socket's path is short, and others enter the folder
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // a cluster refuses to run as root, and must get at its folder below
		t.Fatal(err)
	}
	dir = filepath.Join(dir, server)
	t.Cleanup(func() { script(t, server, "stop", dir) })
	url := script(t, server, append([]string{"start", dir}, options...)...) + "soak"

	ctx := t.Context()
	if _, err := pool.Init(ctx, url, pool.Options{Actor: "soak"}); err != nil {
		t.Fatal(err)
	}
	db, err := pool.Open(ctx, url, pool.Options{Actor: "soak", Patience: 2 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var specs []pool.NodeSpec
	for i := range soakNodes {
		specs = append(specs, pool.NodeSpec{Name: fmt.Sprintf("n%02d", i), BMC: pool.BMC{Address: fmt.Sprintf("192.0.2.%d", i+1)}})
	}
	if err := db.AddNodes(ctx, specs); err != nil {
		t.Fatal(err)
	}

	crew := startSoakClients(t, url)
	kills := 0
	crew.await(t, soakClients)
	small := crew.size(t)
	for begin := time.Now(); kills < soakKills || time.Since(begin) < length; kills++ {
		for _, do := range fault(dir) {
			before := crew.count()
			do()
			// Work goes on, whatever was done: that is how long it stays so.
			crew.await(t, before+soakClients)
		}
	}
	// A client that leaked a connection or an allocation's memory at each failure would have grown by now.
	big := crew.size(t)
	t.Logf("descriptors of all clients %d, then %d; memory %d MiB, then %d MiB", small.descriptors, big.descriptors, small.mib, big.mib)
	if big.descriptors > 2*small.descriptors || big.mib > 2*small.mib {
		t.Errorf("the clients grew: %+v, then %+v", small, big)
	}
	lines := crew.end(t)
	report(t, ctx, db, url, lines, kills)
}

// soakLine is what a client says of one operation when it has returned. Times are the machine's, in
// nanoseconds: all clients run on it.
type soakLine struct {
	Client       int
	Call, Return int64
	What         string
	ID           int64
	Nodes        []string
	Short        bool
	Out          linearOutput // done, lost or unknown
	Error        string
}

// soakClient allocates, extends and releases until its stdin ends.
func soakClient(config string) error {
	var id int
	var url string
	if _, err := fmt.Sscanf(config, "%d %s", &id, &url); err != nil {
		return err
	}
	ctx := context.Background()
	// Patience outlasts the failure of a host on a busy machine.
	db, err := pool.Open(ctx, url, pool.Options{Actor: fmt.Sprintf("client %d", id), Patience: time.Minute})
	if err != nil {
		return err
	}
	defer db.Close()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
	}()
	r := rand.New(rand.NewPCG(uint64(id), uint64(time.Now().UnixNano()))) //nolint:gosec // no secret
	out := json.NewEncoder(os.Stdout)
	for round := 0; ; round++ {
		select {
		case <-asked:
			return nil
		default:
		}
		c := soakBuild{ctx, db, out, id}
		if err := c.run(r, round); err != nil {
			return err
		}
	}
}

type soakBuild struct {
	ctx context.Context
	db  *pool.DB
	out *json.Encoder
	id  int
}

// say tells what came of an operation; what is neither done nor lost is unknown.
func (c soakBuild) say(what string, called time.Time, a *pool.Allocation, short bool, err error) error {
	l := soakLine{Client: c.id, Call: called.UnixNano(), Return: time.Now().UnixNano(), What: what, Short: short, Out: "done"}
	if a != nil {
		l.ID, l.Nodes = a.ID, a.NodeNames()
	}
	var taken *pool.TakenBackError
	switch {
	case errors.As(err, &taken):
		l.Out = "lost"
	case err != nil:
		l.Out, l.Error = "unknown", err.Error()
	}
	return c.out.Encode(l)
}

func (c soakBuild) run(r *rand.Rand, round int) error {
	request := pool.Request{
		Owner: fmt.Sprintf("client %d round %d", c.id, round), Groups: []pool.Group{{Count: 1 + r.IntN(3)}}, Lease: 24 * time.Hour,
		Labels: map[string]string{"JOB_NAME": fmt.Sprintf("job %d", c.id%5)},
	}
	short := r.IntN(4) == 0
	if short {
		request.Lease = 2 * time.Second
	}
	called := time.Now()
	a, err := c.db.Allocate(c.ctx, request, pool.AllocateOptions{Wait: 30 * time.Second})
	if errors.Is(err, pool.ErrNoNode) {
		return nil
	}
	if err := c.say("allocate", called, a, short, err); a == nil {
		return err // nothing is known of it; if it was granted, its heartbeat lapses
	}
	if _, err := c.db.Claim(c.ctx, a.Token); err != nil {
		if errors.Is(err, pool.ErrConflict) {
			return nil // too late, because the database was away: it has lapsed, or its short lease is over
		}
		_ = c.say("claim", called, a, short, err)
	}
	if r.IntN(4) == 0 {
		called = time.Now()
		_, err := c.db.Extend(c.ctx, pool.ExtendRequest{Token: a.Token, Lease: 23*time.Hour + 30*time.Minute})
		if err := c.say("extend", called, a, false, err); err != nil {
			return err
		}
	}
	called = time.Now()
	_, err = c.db.Release(c.ctx, pool.ReleaseRequest{Token: a.Token})
	return c.say("release", called, a, false, err)
}

// soakCrew are the client processes and what they have said.
type soakCrew struct {
	cmds   []*exec.Cmd
	stdins []interface{ Close() error }
	read   sync.WaitGroup
	mu     sync.Mutex
	lines  []soakLine
}

func startSoakClients(t *testing.T, url string) *soakCrew {
	c := &soakCrew{}
	for i := range soakClients {
		cmd := exec.Command(os.Args[0]) //nolint:gosec // this program
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", soakClientEnv, i, url))
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		c.cmds, c.stdins = append(c.cmds, cmd), append(c.stdins, stdin)
		c.read.Go(func() {
			for in := json.NewDecoder(out); ; {
				var l soakLine
				if in.Decode(&l) != nil {
					return
				}
				c.mu.Lock()
				c.lines = append(c.lines, l)
				c.mu.Unlock()
			}
		})
	}
	return c
}

func (c *soakCrew) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lines)
}

// await waits until the clients have done so many operations in all.
func (c *soakCrew) await(t *testing.T, want int) {
	t.Helper()
	for limit := time.Now().Add(3 * time.Minute); c.count() < want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("within three minutes the clients came to %d operations, not to %d", c.count(), want)
		}
	}
}

// soakSize is what all clients together use.
type soakSize struct{ descriptors, mib int }

func (c *soakCrew) size(t *testing.T) soakSize {
	t.Helper()
	var s soakSize
	for _, cmd := range c.cmds {
		proc := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
		descriptors, err := os.ReadDir(proc + "fd")
		if err != nil {
			t.Fatal(err)
		}
		s.descriptors += len(descriptors)
		statm, err := os.ReadFile(proc + "statm") // in pages: total, resident, …
		if err != nil {
			t.Fatal(err)
		}
		var total, resident int
		if _, err := fmt.Sscan(string(statm), &total, &resident); err != nil {
			t.Fatal(err)
		}
		s.mib += resident * os.Getpagesize() >> 20
	}
	return s
}

func (c *soakCrew) end(t *testing.T) []soakLine {
	t.Helper()
	for _, in := range c.stdins {
		_ = in.Close()
	}
	c.read.Wait()
	for i, cmd := range c.cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	return c.lines
}

// report checks what was seen and prints the figures.
func report(t *testing.T, ctx context.Context, db *pool.DB, url string, lines []soakLine, kills int) {
	var history []porcupine.Operation
	allocated, unknown, stall := 0, 0, time.Duration(0)
	begin, last := int64(math.MaxInt64), int64(0)
	for _, l := range lines {
		begin, last = min(begin, l.Call), max(last, l.Return)
	}
	state := map[int64]pool.State{}
	list, err := db.Allocations(ctx, pool.AllocationFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		state[a.ID] = a.State
	}
	for _, l := range lines {
		if l.What == "allocate" {
			allocated++
		} else {
			stall = max(stall, time.Duration(l.Return-l.Call)) // no operation but allocate waits for anybody
		}
		if l.Out == "unknown" {
			unknown++
			if unknown <= 5 {
				t.Logf("client %d: %s: %s", l.Client, l.What, l.Error)
			}
			l.Return = last + 1 // it may happen at any time
		}
		if l.ID != 0 && l.Out == "done" && (state[l.ID] == "" || l.What == "release" && state[l.ID] != pool.Ended) {
			t.Errorf("client %d was told %q of allocation %d, which is %q", l.Client, l.What, l.ID, state[l.ID])
		}
		for _, node := range l.Nodes {
			history = append(history, porcupine.Operation{
				ClientId: l.Client, Input: linearInput{node: node, what: l.What, id: l.ID, short: l.Short}, Output: l.Out,
				Call: l.Call - begin, Return: l.Return - begin,
			})
		}
	}
	took := time.Duration(last - begin)
	t.Logf("%d allocations in %s (%.0f an hour), %d kills survived, %d operations of unknown outcome, longest stall %s",
		allocated, took.Round(time.Second), float64(allocated)/took.Hours(), kills, unknown, stall.Round(time.Millisecond))
	switch porcupine.CheckOperationsTimeout(linearModel.ToModel(), history, linearLimit) {
	case porcupine.Ok:
	case porcupine.Unknown:
		t.Logf("the history of %d operations could not be checked within %s", len(history), linearLimit)
	default:
		t.Errorf("the history of %d operations is not linearizable", len(history))
	}

	events, err := db.Events(ctx, pool.EventFilter{})
	if err != nil {
		t.Fatal(err)
	}
	holder := map[string]int64{}
	for _, e := range events {
		switch {
		case e.Node == "" || e.Allocation == 0:
		case e.Kind == "granted" && holder[e.Node] != 0:
			t.Errorf("event %d: node %s is granted to %d while %d holds it", e.ID, e.Node, e.Allocation, holder[e.Node])
		case e.Kind == "granted":
			holder[e.Node] = e.Allocation
		case holder[e.Node] != e.Allocation:
			t.Errorf("event %d: node %s comes back from %d, and %d holds it", e.ID, e.Node, e.Allocation, holder[e.Node])
		default:
			holder[e.Node] = 0
		}
	}
	later, err := pool.Open(ctx, url, pool.Options{Actor: "soak", Clock: func() time.Time { return time.Now().Add(72 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	if _, err := later.Tend(ctx); err != nil {
		t.Fatal(err)
	}
	nodes, err := later.Nodes(ctx, pool.NodeFilter{})
	if err != nil || len(nodes) != soakNodes {
		t.Fatalf("%d nodes: %v", len(nodes), err)
	}
	for _, n := range nodes {
		if n.Status != pool.Ready {
			t.Errorf("node %s is %s for ever", n.Name, n.Status)
		}
	}
}
