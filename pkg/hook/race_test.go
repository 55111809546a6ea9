package hook

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// racesEnv sets how many builds TestRaces has raced; without it as many as take a few seconds.
const racesEnv = "MOLTENIRON_HOOK_RACES"

// TestRaces has the pre-hooks of builds (one, or two with slots) begin, reach the pool at random moments, and
// end; and their post-hook, in the three orders that Jenkins knows: after pre-hooks that ended; beside
// pre-hooks that were just asked to end, when a build is aborted; and beside those that hear of nothing, at
// whatever moment. A build that was not aborted checks out once more. When all have ended, a build that is over
// has no node and no file with passwords.
func TestRaces(t *testing.T) {
	races := 400
	if v := os.Getenv(racesEnv); v != "" {
		races, _ = strconv.Atoi(v)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const lanes = 4 // with a database each, so that builds of different lanes never wait for each other
	var all sync.WaitGroup
	for lane := range lanes {
		l := newLane(t, rand.New(rand.NewPCG(seed, uint64(lane)))) //nolint:gosec // reproducible by its seed
		all.Go(func() {
			for i := range races / lanes {
				if t.Failed() {
					return
				}
				l.race(i)
			}
		})
	}
	all.Wait()
}

type lane struct {
	t      *testing.T
	rand   *rand.Rand
	url    string
	db     *pool.DB
	folder string
}

func newLane(t *testing.T, r *rand.Rand) *lane {
	// Commits to memory cost nothing: it is the order that matters here.
	folder, err := os.MkdirTemp("/dev/shm", "races") //nolint:usetesting // t.TempDir is on a disk
	if err != nil {
		folder = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	l := &lane{t: t, rand: r, url: "sqlite://" + filepath.Join(folder, "pool.db"), folder: folder}
	if _, err := pool.Init(t.Context(), l.url, pool.Options{}); err != nil {
		t.Fatal(err)
	}
	l.db = open(t, l.url)
	var specs []pool.NodeSpec
	for i := range 3 {
		specs = append(specs, pool.NodeSpec{Name: fmt.Sprintf("node-%d", i), BMC: pool.BMC{Address: fmt.Sprintf("192.0.2.%d", i+1)}})
	}
	if err := l.db.AddNodes(t.Context(), specs); err != nil {
		t.Fatal(err)
	}
	return l
}

// moment is a random one within the time that a hook takes.
func (l *lane) moment() time.Duration { return time.Duration(l.rand.IntN(8000)) * time.Microsecond }

func (l *lane) race(i int) {
	t := l.t
	url := fmt.Sprintf("https://ci.example.org/job/race/%d/", i+1)
	workspace := filepath.Join(l.folder, fmt.Sprintf("ws-%d", i))
	if err := os.Mkdir(workspace, 0o700); err != nil {
		t.Fatal(err)
	}
	process := func(program string) Process {
		began := time.Now()
		p := environment(map[string]string{"BUILD_URL": url, "BUILD_NUMBER": strconv.Itoa(i + 1), "JOB_NAME": "race", "WORKSPACE": workspace})
		p.Program, p.Log, p.Stdout, p.Stderr = program, newLog, io.Discard, io.Discard
		p.Open = func(ctx context.Context) (*pool.DB, error) {
			return pool.Open(ctx, l.url, pool.Options{Actor: program, Began: began})
		}
		return p
	}
	slots := []string{""}
	kind := l.rand.IntN(3)
	if l.rand.IntN(3) == 0 {
		slots = []string{"a", "b"}
	}
	ctx, abort := context.WithCancelCause(context.Background())
	defer abort(nil)
	var hooks sync.WaitGroup
	for _, slot := range slots {
		begun, reaches, hears := process("molten-prehook"), l.moment(), ctx
		if kind == unheard {
			hears = context.Background()
		}
		hooks.Go(func() {
			<-time.After(reaches)
			// Whether it gets a node is not the question: it may be refused, end early, or have one.
			_ = Prepare(hears, begun, Request{Slot: slot, Groups: []pool.Group{{Count: 1}}, Wait: 2 * time.Second})
		})
	}
	switch kind {
	case finished:
		hooks.Wait()
	case aborted:
		<-time.After(l.moment())
		abort(errTerminated)
		<-time.After(l.moment() / 4)
	case unheard:
		<-time.After(l.moment())
	}
	if err := Finish(context.Background(), process("molten-posthook"), Return{}); err != nil {
		t.Errorf("build %d: the post-hook fails: %v", i, err)
	}
	hooks.Wait()
	if kind == finished { // a build that goes on may check out again
		next := Request{Slot: slots[0], Groups: []pool.Group{{Count: 1}}, Wait: 2 * time.Second}
		if err := Prepare(context.Background(), process("molten-prehook"), next); err != nil {
			t.Errorf("build %d: the next pre-hook fails: %v", i, err)
		}
		if err := Finish(context.Background(), process("molten-posthook"), Return{}); err != nil {
			t.Errorf("build %d: the next post-hook fails: %v", i, err)
		}
	}
	l.over(i, url, workspace)
}

// The ways in which a post-hook follows its pre-hooks.
const (
	finished = iota
	aborted
	unheard
)

// over checks that nothing is left of a build.
func (l *lane) over(i int, url, workspace string) {
	t := l.t
	active, err := l.db.Allocations(context.Background(), pool.AllocationFilter{Owner: url, States: []pool.State{pool.Waiting, pool.Granted, pool.Claimed}})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range active {
		t.Errorf("build %d is over, and its allocation %d is %s with %v", i, a.ID, a.State, a.NodeNames())
	}
	left, err := filepath.Glob(workspace + "@tmp/*")
	if err != nil || len(left) > 0 {
		t.Errorf("build %d is over, and files are left: %v %v", i, left, err)
	}
	nodes, err := l.db.Nodes(context.Background(), pool.NodeFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if n.Status != pool.Ready || n.Suspect {
			t.Errorf("build %d is over, and node %s is %s, suspect %v", i, n.Name, n.Status, n.Suspect)
		}
	}
	_ = os.RemoveAll(workspace)
	_ = os.RemoveAll(workspace + "@tmp")
}
