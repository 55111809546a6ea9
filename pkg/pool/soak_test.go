package pool_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
)

// The size of a soak. A chapter has each fault once; after it all that was seen is checked, so that a soak of many
// hours needs no more memory than one of minutes, and none of its history is too long to be checked.
const (
	soakClients  = 32
	soakNodes    = 50
	soakChapters = 2 // at least
	soakVictims  = 4 // clients that are killed, or frozen, at once
)

// soakEnv sets how long the faults go on (make soak); without it as long as the least number of chapters takes.
// soakClientEnv makes a copy of the test binary a client.
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
		_ = flag.Set("test.parallel", "6")
	}
	os.Exit(m.Run())
}

// TestSoakGalera kills the hosts of a cluster one after the other, the first in the URL included, and has
// them rejoin; in a long run it freezes them too.
func TestSoakGalera(t *testing.T) {
	s := newSoak(t, "galera")
	killed, frozen := 0, 0
	next := func(n *int) string { *n = *n%3 + 1; return fmt.Sprint(*n) }
	s.faults["hosts killed"] = func() {
		n := next(&killed)
		s.script("kill", s.dir, n)
		s.goesOn()
		s.script("rejoin", s.dir, n)
	}
	if s.length > 0 {
		s.faults["hosts frozen"] = func() {
			n := next(&frozen)
			s.script("freeze", s.dir, n)
			s.goesOn()
			s.script("rejoin", s.dir, n)
		}
	}
	s.run()
}

// TestSoakMariaDB kills the one server, as a power cut would, and starts it again; in a long run it freezes it too.
func TestSoakMariaDB(t *testing.T) {
	s := newSoak(t, "mariadb", "--durable")
	s.faults["servers killed"] = func() {
		s.script("kill", s.dir)
		s.script("start", s.dir)
	}
	if s.length > 0 {
		s.faults["servers frozen"] = func() {
			text, err := os.ReadFile(filepath.Join(s.dir, "pid"))
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			s.freeze(20*time.Second, pid)
		}
	}
	s.run()
}

// soak is one run: client processes that allocate, wait, extend and release on a server of its own, by lines of its
// own, while faults of all kinds happen.
type soak struct {
	t       *testing.T
	server  string // which script starts it
	dir     string
	url     string // of the server itself, by no line of ours
	length  time.Duration
	db      *pool.DB
	lines   []*wire // to each host
	crew    *soakCrew
	faults  map[string]func()
	counts  map[string]int // how often each happened
	chapter int
	cut     time.Time // all that the chapters before saw is older
	tally   soakTally
}

func newSoak(t *testing.T, server string, options ...string) *soak {
	s := &soak{t: t, server: server, counts: map[string]int{}}
	if !testneeds.All() && os.Getenv(soakEnv) == "" {
		t.Skip("it takes servers of its own; run: make soak")
	}
	if v := os.Getenv(soakEnv); v != "" {
		var err error
		if s.length, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Parallel() // a short one mostly waits for servers to come back
	}
	dir, err := os.MkdirTemp("", "soak") //nolint:usetesting // a socket's path is short, and others enter the folder
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // a cluster refuses to run as root, and must get at its folder below
		t.Fatal(err)
	}
	s.dir = filepath.Join(dir, server)
	t.Cleanup(func() { s.script("stop", s.dir) })
	s.url = s.script(append([]string{"start", s.dir}, options...)...) + "soak"

	ctx := t.Context()
	if _, err := pool.Init(ctx, s.url, pool.Options{Actor: "soak"}); err != nil {
		t.Fatal(err)
	}
	s.db = s.open(nil)
	var specs []pool.NodeSpec
	for i := range soakNodes {
		specs = append(specs, pool.NodeSpec{Name: fmt.Sprintf("n%02d", i), BMC: pool.BMC{Address: fmt.Sprintf("192.0.2.%d", i+1)}})
	}
	if err := s.db.AddNodes(ctx, specs); err != nil {
		t.Fatal(err)
	}
	u, err := pool.ParseURL(s.url)
	if err != nil {
		t.Fatal(err)
	}
	for i, host := range u.Hosts {
		w := newWire(t, "127.0.0.1:0", host)
		s.lines = append(s.lines, w)
		u.Hosts[i] = w.address()
	}
	s.crew = newSoakCrew(t, u)
	s.faults = map[string]func(){
		"lines cut": func() {
			for _, w := range s.lines {
				w.cut()
			}
		},
		"lines silent": func() {
			for _, w := range s.lines {
				defer w.hush()()
			}
			time.Sleep(2 * time.Second) // that long is what is tested
		},
		"clients killed": s.killClients,
		"clients frozen": s.freezeClients,
	}
	return s
}

// script runs the project's script for the server and gives what it prints.
func (s *soak) script(args ...string) string {
	s.t.Helper()
	cmd := exec.Command(filepath.Join("../../scripts", s.server), args...) //nolint:gosec // our own
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("scripts/%s %s: %v\n%s", s.server, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// open gives a handle that no line of ours spoils.
func (s *soak) open(clock func() time.Time) *pool.DB {
	s.t.Helper()
	db, err := pool.Open(s.t.Context(), s.url, pool.Options{Actor: "soak", Patience: 2 * time.Minute, Clock: clock})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = db.Close() })
	return db
}

// freeze stops processes for a while.
func (s *soak) freeze(long time.Duration, pids ...int) {
	s.t.Helper()
	all := func(signal syscall.Signal) {
		for _, pid := range pids {
			if err := syscall.Kill(pid, signal); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	all(syscall.SIGSTOP)
	time.Sleep(long) // that long is what is tested
	all(syscall.SIGCONT)
}

// freezeClients freezes some, in a long run also for longer than a server keeps their sessions.
func (s *soak) freezeClients() {
	long := 2 * time.Second
	if s.length > 0 {
		long = time.Duration(1+rand.IntN(20)) * time.Second
	}
	var pids []int
	members := s.crew.pick(soakVictims)
	for _, m := range members {
		pids = append(pids, m.cmd.Process.Pid)
	}
	from := time.Now().UnixNano()
	s.freeze(long, pids...)
	for _, m := range members {
		m.frozen = append(m.frozen, soakSpell{from, time.Now().UnixNano()})
	}
}

// killClients kills some and starts others in their place. What the dead had is taken back by who knows that they are
// dead, as tend does that asks Jenkins.
func (s *soak) killClients() {
	for _, m := range s.crew.pick(soakVictims) {
		s.crew.kill(m)
		s.endGone(m.name() + " ")
		s.crew.start(m.id, m.life+1)
	}
}

// endGone ends what the owners have whose names begin so.
func (s *soak) endGone(prefix string) {
	s.t.Helper()
	ctx := s.t.Context()
	list, err := s.db.Allocations(ctx, pool.AllocationFilter{States: []pool.State{pool.Waiting, pool.Granted, pool.Claimed}})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, a := range list {
		if !strings.HasPrefix(a.Owner, prefix) {
			continue
		}
		if _, err := s.db.EndGone(ctx, pool.GoneBuild{Allocation: a.ID, Owner: a.Owner, Reason: "its client is dead"}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// goesOn waits until the clients have done as many operations more as there are clients.
func (s *soak) goesOn() { s.crew.await(s.crew.count() + soakClients) }

func (s *soak) run() {
	for i := range soakClients {
		s.crew.start(i, 0)
	}
	s.goesOn()
	s.cut = time.Now().Add(-24 * time.Hour)
	for begin := time.Now(); s.chapter < soakChapters || time.Since(begin) < s.length; s.chapter++ {
		pruned := s.prune()
		for name, fault := range s.faults { // in a random order
			fault()
			s.counts[name]++
			s.goesOn() // whatever was done: that is how long it stays so
		}
		n := <-pruned
		if s.chapter > 0 && n == 0 {
			s.t.Error("nothing was removed from the history, though a chapter is over")
		}
		s.tally.pruned += n
		s.crew.pause()
		s.check()
		if s.t.Failed() {
			break
		}
		s.crew.resume()
	}
	s.crew.end()
	s.tally.report(s.t, s.counts)
}

// prune removes the history of the chapters before, while all goes on. History of less than a day always stays, so
// its clock is a day ahead.
func (s *soak) prune() chan int {
	cut := s.cut
	db := s.open(func() time.Time { return cut.Add(24 * time.Hour) })
	done := make(chan int, 1)
	go func() {
		defer db.Close()
		r, err := db.PruneHistory(context.Background(), 24*time.Hour, nil)
		if err != nil {
			s.t.Errorf("prune the history: %v", err)
		}
		done <- r.Events + r.Allocations
	}()
	return done
}
