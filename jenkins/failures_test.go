package jenkins_test

import (
	"context"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/jenkins/internal/executor"
	"github.com/molteniron/molteniron/pkg/pool"
)

const jenkinsURL = "https://ci.example.org/"

// onEach runs a test beside others, on a lab of each database.
func onEach(t *testing.T, nodes int, run func(*testing.T, *lab)) {
	t.Helper()
	t.Parallel()
	testJobs(t) // or skip
	for _, database := range []struct {
		name string
		open func(*testing.T, int) *lab
	}{{"SQLite", newLab}, {"MariaDB", newServerLab}} {
		t.Run(database.name, func(t *testing.T) {
			t.Parallel()
			run(t, database.open(t, nodes))
		})
	}
}

// phase is where a build is when something happens to it.
type phase string

const (
	waiting phase = "the pre-hook waits"
	granted phase = "the pre-hook has its node, and nobody reads what it says"
	tests   phase = "the test runs"
	after   phase = "the post-hook runs, and the database is busy"
)

// reach starts the one build of a scene and waits until it is there. The function ends what keeps it there.
func (s *scene) reach(p phase) (b *executor.Build, calm func()) {
	s.Helper()
	switch p {
	case waiting:
		s.ctl("allocate", "--owner", "holder")
		b = s.jenkins.Build(testJob, nil)
		if !b.Await("waiting for") {
			s.Fatal(b.Raw())
		}
		calm = func() {}
	case granted:
		s.jenkins.Hang()
		b = s.jenkins.Build(testJob, nil)
		s.until("the pre-hook has its node", func() bool { return s.state(b.URL()) == pool.Claimed })
		if !runs(s.agent, "molten-prehook") {
			s.Fatal("the pre-hook has ended before its time")
		}
		calm = func() {
			s.Helper()
			s.until("the pre-hook ends though nobody reads", func() bool { return !runs(s.agent, "molten-prehook") })
			s.jenkins.Resume()
		}
	default:
		open := s.gate(1)
		b = s.jenkins.Build(testJob, nil)
		if !b.Await("\nthe test is running") {
			s.Fatal(b.Raw())
		}
		calm = func() {}
		if p == after {
			calm = s.lock()
			open("pass")
			s.until("the post-hook asks the database", func() bool { return asks(s.agent, "molten-posthook") })
		}
	}
	s.private()
	return b, calm
}

// fault is what happens to it.
type fault struct {
	name string
	do   func(*scene, *executor.Build)
}

var (
	abort   = fault{"a person aborts it", func(_ *scene, b *executor.Build) { b.Abort() }}
	timeOut = fault{"its time is over", func(s *scene, b *executor.Build) {
		if !b.TimeOut() {
			s.Error("the time limit does not count")
		}
	}}
	machine    = fault{"the agent's machine dies", func(s *scene, _ *executor.Build) { s.agent.Lose(true) }}
	connection = fault{"the agent is lost, and its processes go on", func(s *scene, _ *executor.Build) { s.agent.Lose(false) }}
	restart    = fault{"the controller restarts", func(s *scene, _ *executor.Build) { s.jenkins.Restart(false) }}
	powerCut   = fault{"controller and agent lose their power", func(s *scene, _ *executor.Build) { s.jenkins.Restart(true) }}
)

// mend is what brings the node back.
type mend string

const (
	byItself   mend = "the build itself, before its end"
	byPosthook mend = "the post-hook that outlived its build"
	byHook     mend = "the pre-hook that outlived its build"
	byRelease  mend = "the release job, on another agent"
	byLease    mend = "tend, when the lease is over"
	byLapse    mend = "tend, when the client is not heard of any more"
)

// TestFailures is each of these in each phase: whatever happens, the node comes home, the build ends as
// people expect, and nobody sees a secret.
func TestFailures(t *testing.T) {
	if testing.Short() {
		t.Skip("dozens of builds are not short")
	}
	const lost = -1 // nobody waited for the step's end
	for _, c := range []struct {
		phase  phase
		fault  fault
		mend   mend
		result string
		exits  []int // of the steps that ran: pre-hook, test, post-hook
	}{
		{waiting, abort, byItself, "ABORTED", []int{143, 0}},
		{granted, abort, byItself, "ABORTED", []int{143, 0}},
		{tests, abort, byItself, "ABORTED", []int{0, 143, 0}},
		{after, abort, byItself, "FAILURE", []int{0, 0, 0}},

		{waiting, timeOut, byItself, "ABORTED", []int{143, 0}},
		{granted, timeOut, byItself, "ABORTED", []int{143, 0}},
		{tests, timeOut, byItself, "ABORTED", []int{0, 143, 0}},

		{waiting, machine, byRelease, "FAILURE", []int{lost}},
		{granted, machine, byRelease, "FAILURE", []int{lost}},
		{tests, machine, byRelease, "FAILURE", []int{0, lost}},
		{after, machine, byRelease, "FAILURE", []int{0, 0, lost}},
		{waiting, machine, byLapse, "FAILURE", []int{lost}},
		{granted, machine, byLease, "FAILURE", []int{lost}},
		{tests, machine, byLease, "FAILURE", []int{0, lost}},
		{after, machine, byLease, "FAILURE", []int{0, 0, lost}},

		{waiting, connection, byRelease, "FAILURE", []int{lost}},
		{granted, connection, byHook, "FAILURE", []int{lost}},
		{tests, connection, byRelease, "FAILURE", []int{0, lost}},
		{after, connection, byPosthook, "FAILURE", []int{0, 0, lost}},
		{waiting, connection, byHook, "FAILURE", []int{lost}},
		{tests, connection, byLease, "FAILURE", []int{0, lost}},

		{waiting, restart, byHook, "", []int{lost}},
		{granted, restart, byHook, "", []int{lost}},
		{tests, restart, byLease, "", []int{0, lost}},
		{after, restart, byPosthook, "", []int{0, 0, lost}},

		{waiting, powerCut, byLapse, "", []int{lost}},
		{granted, powerCut, byLease, "", []int{lost}},
		{tests, powerCut, byLease, "", []int{0, lost}},
		{after, powerCut, byLease, "", []int{0, 0, lost}},
	} {
		t.Run(string(c.phase)+", "+c.fault.name+", mended by "+string(c.mend), func(t *testing.T) {
			onEach(t, 1, func(t *testing.T, l *lab) {
				s := l.scene(jenkinsURL)
				if c.mend == byRelease {
					s.addJob(releaseJob)
				}
				if c.mend == byLease {
					s.ctl("pool", "set", pool.DefaultPool, "lease=1s", "max_lease=1s")
				}
				b, calm := s.reach(c.phase)
				c.fault.do(s, b)
				calm()
				s.ends(b)
				if got := b.Result(); got != c.result {
					t.Errorf("the build's result is %q, want %q", got, c.result)
				}
				if diff := cmp.Diff(c.exits, exits(b)); diff != "" {
					t.Errorf("exit statuses (-want +got):\n%s", diff)
				}
				s.jenkins.Wait() // the release job, where there is one
				s.comesHome(c.phase, c.mend, b)
				if c.fault.name == abort.name || c.fault.name == timeOut.name {
					s.tidy()
				}
				s.private()
				if t.Failed() {
					t.Logf("the console:\n%s", b.Raw())
				}
			})
		})
	}
}

// comesHome checks that what is to mend does, and that nothing else was needed.
func (s *scene) comesHome(p phase, m mend, b *executor.Build) {
	s.Helper()
	free := func() {
		if p == waiting {
			s.ctl("release", "--owner", "holder")
		}
	}
	gone := func() bool { list := s.of(b.URL()); return len(list) == 1 && list[0].State == pool.Ended }
	switch m {
	case byItself, byRelease:
		if !gone() {
			s.Errorf("at the build's end its allocation is %s", s.state(b.URL()))
		}
		free()
		if !s.home() {
			s.Errorf("not all is home:\n%s%s", s.ctl("status"), s.ctl("queue"))
		}
	case byPosthook:
		s.until("the node is home", s.home)
	case byHook:
		free() // who waited is granted what nobody waits for any more
		s.until("the node is home", s.home)
		s.until("the pre-hook ends", func() bool { return !runs(s.agent, "molten-prehook") })
	case byLapse:
		if gone() {
			s.Error("the ticket ended before its time")
		}
		s.lapse()
		free()
		s.until("the node is home", s.home)
	case byLease:
		s.until("the node is home", func() bool { s.tend(); return s.home() })
		if list := s.of(b.URL()); len(list) != 1 || list[0].EndReason != pool.EndExpired {
			s.Errorf("the allocation: %+v", list)
		}
		nodes, err := s.db.Nodes(context.Background(), pool.NodeFilter{})
		if err != nil || len(nodes) != 1 || !nodes[0].Suspect {
			s.Errorf("a node that was never given back is not suspect: %+v %v", nodes, err)
		}
	}
	if m == byRelease {
		builds := s.jenkins.Builds(releaseJob)
		if len(builds) != 1 || builds[0].Result() != "SUCCESS" {
			s.Fatalf("the release job: %d builds", len(builds))
		}
	}
}

// A controller that restarts has forgotten its build, and says so when it is asked: the node comes back long
// before its lease is over, while that of a build in progress stays.
func TestRestartIsAskedFor(t *testing.T) {
	onEach(t, 2, func(t *testing.T, l *lab) {
		server := httptest.NewUnstartedServer(nil)
		url := "http://" + server.Listener.Addr().String() + "/"
		l.write("molteniron/config.yaml", "jenkins:\n  url: "+url+"\n")
		s := l.scene(url, "--jenkins", "--confirm-after", "100ms")
		server.Config.Handler = s.jenkins
		server.Start()
		t.Cleanup(server.Close)

		forgotten, _ := s.reach(tests)
		s.jenkins.Restart(false)
		s.ends(forgotten)
		open := s.gate(2)
		b := s.jenkins.Build(testJob, nil)
		if !b.Await("\nthe test is running") {
			t.Fatal(b.Raw())
		}
		s.until("the forgotten build's node is back", func() bool { s.tend(); return s.state(forgotten.URL()) == pool.Ended })
		s.tend()
		if got := s.state(b.URL()); got != pool.Claimed {
			t.Errorf("the node of the build in progress: %s", got)
		}
		open("pass")
		s.wants(b, "SUCCESS", 0, 0, 0)
		s.tend()
		if !s.home() {
			t.Errorf("not all is home:\n%s", s.ctl("status"))
		}
		s.private()
	})
}

// The database is away when the build ends: its post-hook keeps the release and fails, so that people see it;
// the next build on the agent makes it.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	testJobs(t) // or skip
	l := newServerLab(t, 1)
	u, err := url.Parse(l.url)
	if err != nil {
		t.Fatal(err)
	}
	relay := newRelay(t, u.Host)
	u.Host = relay.Addr().String()
	l.agentURL = u.String()
	s := l.scene(jenkinsURL)
	open := s.gate(1)
	b := s.jenkins.Build(testJob, nil)
	if !b.Await("\nthe test is running") {
		t.Fatal(b.Raw())
	}
	relay.cut(true)
	open("pass")
	s.wants(b, "FAILURE", 0, 0, 14)
	relay.cut(false)
	if got := s.state(b.URL()); got != pool.Claimed {
		t.Errorf("the allocation is %s", got)
	}
	s.wants(s.jenkins.Build(testJob, nil), "SUCCESS", 0, 0, 0)
	if list := s.of(b.URL()); list[0].State != pool.Ended || list[0].Result != "SUCCESS" {
		t.Errorf("the kept release was not made: %+v", list)
	}
	s.tidy()
	s.private()
}

// relay stands between clients and the server.
type relay struct {
	net.Listener
	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: listener}
	t.Cleanup(func() { _ = listener.Close(); r.cut(true) })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			r.mu.Lock()
			if err != nil || r.isCut {
				_ = client.Close()
			} else {
				r.conns = append(r.conns, client, server)
				go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
				go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
			}
			r.mu.Unlock()
		}
	}()
	return r
}

// cut ends all connections, and lets new ones through or not.
func (r *relay) cut(is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isCut = is
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.conns = nil
}
