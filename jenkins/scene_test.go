package jenkins_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/molteniron/molteniron/jenkins/internal/executor"
	"github.com/molteniron/molteniron/pkg/pool"
)

// The project that is built: the kit's templates as they are, with a test that the Go test leads by the hand.
// It has no interpreter, so that Jenkins runs it with -x, and it archives the whole workspace: the worst that
// an operator could do.
const (
	testProject = `
- project:
    name: team/nightly
    molteniron_suite: metal
    molteniron_script: !include-raw-escape: test.sh
    molteniron_artifacts: '**'
    molteniron_minutes: 60
    molteniron_care_label: care
    molteniron_tend_options: $TEND_OPTIONS
    molteniron_bindings: &bindings
      - text: {credential-id: database, variable: MOLTENIRON_DATABASE_PASSWORD}
    molteniron_care_bindings: *bindings
    molteniron_axis: arch
    molteniron_values: [x86_64, aarch64]
    jobs: [molteniron-builds, molteniron-care]
`
	testScript = `. "$WORKSPACE_TMP/molteniron.env"
mkdir -p logs
echo "$MOLTEN_NODES" >logs/nodes.txt
[ ! -e "$GATES/slow" ] || sleep "0.$((BUILD_NUMBER * 7 % 10))"
if [ -p "$GATES/$BUILD_NUMBER" ]; then
	echo 'the test is running'
	read -r answer <"$GATES/$BUILD_NUMBER"
	[ "$answer" = pass ]
fi
`
	testJob    = "team/nightly-metal"
	releaseJob = "molteniron-release"
)

// testJobs are the jobs of that project, rendered once.
func testJobs(t *testing.T) map[string]*executor.Job {
	t.Helper()
	debian := distribution(t) // before the lock: it may skip the test
	testJobsOnce.Lock()
	defer testJobsOnce.Unlock()
	if testJobsOnce.texts == nil {
		folder := t.TempDir()
		for name, text := range map[string]string{"project.yaml": testProject, "test.sh": testScript} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		testJobsOnce.texts = debian.render(t, macros, templates, folder+"/project.yaml")
	}
	jobs := map[string]*executor.Job{}
	for name, text := range testJobsOnce.texts {
		j, err := executor.ReadJob([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		jobs[name] = j
	}
	return jobs
}

var testJobsOnce struct {
	sync.Mutex
	texts map[string]string
}

// scene is a lab with a Jenkins that has one agent for tests and one for care, and all the kit's jobs but the
// one for release: without it the build has to do all by itself.
type scene struct {
	*lab
	jenkins *executor.Controller
	agent   *executor.Agent
	care    *executor.Agent
	base    string // what the controller, its agents and the test keep
	gates   string
	watch   func()

	tendOptions string // of the tending job
}

func (l *lab) scene(url string, tendOptions ...string) *scene {
	l.Helper()
	base, err := os.MkdirTemp(l.folder, "jenkins")
	if err != nil {
		l.Fatal(err)
	}
	s := &scene{lab: l, base: base, gates: filepath.Join(base, "gates"), tendOptions: strings.Join(tendOptions, " ")}
	if err := os.Mkdir(s.gates, 0o755); err != nil {
		l.Fatal(err)
	}
	s.jenkins = executor.New(url, base)
	s.jenkins.Credential("database", s.password)
	for name := range testJobs(l.T) {
		if name != releaseJob {
			s.addJob(name)
		}
	}
	s.agent = s.addAgent("agent-1", "molteniron", 15)
	s.care = s.addAgent("care-1", "care", 40)
	s.watch = s.watchCommandLines()
	return s
}

func (s *scene) addJob(name string) {
	s.Helper()
	if err := s.jenkins.AddJob(name, testJobs(s.T)[name]); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) addAgent(name, label string, executors int) *executor.Agent {
	s.Helper()
	environ := s.environ()
	if s.agentURL != "" {
		environ = append(environ, "MOLTENIRON_DATABASE="+s.agentURL)
	}
	a, err := s.jenkins.AddAgent(name, label, executors, append(environ,
		"GATES="+s.gates, "MOLTENIRON_OUTBOX="+filepath.Join(s.base, "outbox", name), "TEND_OPTIONS="+s.tendOptions))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(a.Kill)
	return a
}

// gate makes the test of a build wait until the function is called: pass, or anything else to fail.
func (s *scene) gate(number int) (open func(answer string)) {
	s.Helper()
	path := filepath.Join(s.gates, strconv.Itoa(number))
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		s.Fatal(err)
	}
	return func(answer string) {
		s.Helper()
		var f *os.File
		s.until("the test waits at its gate", func() (is bool) {
			var err error
			f, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			return err == nil
		})
		if _, err := fmt.Fprintln(f, answer); err != nil {
			s.Fatal(err)
		}
		_ = f.Close()
	}
}

// find gives the processes of a program on an agent.
func find(a *executor.Agent, program string) []int {
	return slices.DeleteFunc(a.Processes(), func(pid int) bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		first, _, _ := bytes.Cut(line, []byte{0})
		return err != nil || filepath.Base(string(first)) != program
	})
}

// runs reports whether an agent has a process of a program.
func runs(a *executor.Agent, program string) bool { return len(find(a, program)) > 0 }

// asks reports whether a process of a program has begun to speak to the database. Before that it may die of
// a signal as any process does.
func asks(a *executor.Agent, program string) bool {
	for _, pid := range find(a, program) {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, file := range files {
			if to, err := os.Readlink(file); err == nil && (strings.HasPrefix(to, "socket:") || strings.HasSuffix(to, "/pool.db")) {
				return true
			}
		}
	}
	return false
}

// ends waits for a build's end.
func (s *scene) ends(b *executor.Build) {
	s.Helper()
	select {
	case <-b.Done():
	case <-time.After(2 * patience):
		s.Fatalf("build %d of %s does not end:\n%s", b.Number, b.JobName, b.Raw())
	}
}

// exits are the exit statuses of a build's steps.
func exits(b *executor.Build) []int {
	var list []int
	for _, step := range b.Steps() {
		list = append(list, step.Exit)
	}
	return list
}

// lapse is the passing of the time after which the pool gives up a client that is not heard of, as tend
// finds it then.
func (s *scene) lapse() {
	s.Helper()
	later := s.openAt(func() time.Time { return time.Now().Add(2 * time.Minute) })
	if _, err := later.Tend(context.Background()); err != nil {
		s.Fatal(err)
	}
}

// tend is the kit's job for it, as its schedule starts it.
func (s *scene) tend() {
	s.Helper()
	b := s.jenkins.Build("molteniron-tend", nil)
	s.ends(b)
	if b.Result() != "SUCCESS" {
		s.Fatalf("tend: %s\n%s", b.Result(), b.Raw())
	}
}

// token is what the secret name of an allocation looks like.
var token = regexp.MustCompile(`\b[A-Z2-7]{26}\b`)

func (l *lab) leaks(text string) bool {
	return strings.Contains(text, l.mark) || token.MatchString(text)
}

// watchCommandLines looks at all command lines of the machine until the function it gives is called, which
// tells what was seen.
func (s *scene) watchCommandLines() (tell func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	seen := map[string]bool{}
	look := func() {
		entries, _ := os.ReadDir("/proc")
		for _, e := range entries {
			line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline") // what is no process has none
			if err == nil && bytes.Contains(line, []byte(s.mark)) {
				mu.Lock()
				seen[strings.ReplaceAll(string(line), "\x00", " ")] = true
				mu.Unlock()
			}
		}
	}
	go func() {
		defer close(stopped)
		for {
			look()
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	end := sync.OnceFunc(func() { close(stop); <-stopped })
	s.Cleanup(end)
	return func() {
		s.Helper()
		look()
		mu.Lock()
		defer mu.Unlock()
		for line := range seen {
			s.Errorf("a command line shows a secret: %s", line)
		}
	}
}

// private checks that nobody who looks at Jenkins sees a secret: in consoles, archived files, reports.
func (s *scene) private() {
	s.Helper()
	s.watch()
	for name := range testJobs(s.T) {
		for _, b := range s.jenkins.Builds(name) {
			for _, one := range append([]*executor.Build{b}, b.Children...) {
				if s.leaks(one.Raw()) {
					s.Errorf("the console of %s %d shows a secret:\n%s", one.JobName, one.Number, one.Raw())
				}
			}
		}
	}
	err := filepath.WalkDir(filepath.Join(s.base, "builds"), func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(file)
		if err == nil && s.leaks(string(text)) {
			s.Errorf("what Jenkins keeps shows a secret: %s", file)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		s.Error(err)
	}
}

// tidy checks that a build has left no file with passwords on its agent.
func (s *scene) tidy() {
	s.Helper()
	files, _ := filepath.Glob(filepath.Join(s.base, "agents/*/workspace/*/*@tmp/*"))
	for _, file := range files {
		s.Errorf("left on the agent: %s", file)
	}
}

// home reports whether all nodes are free and nobody waits.
func (l *lab) home() bool {
	l.Helper()
	nodes, err := l.db.Nodes(context.Background(), pool.NodeFilter{})
	if err != nil {
		l.Fatal(err)
	}
	for _, n := range nodes {
		if n.Status != pool.Ready || n.Allocation != 0 {
			return false
		}
	}
	queue, err := l.db.Queue(context.Background(), pool.DefaultPool)
	if err != nil {
		l.Fatal(err)
	}
	return len(queue) == 0
}
