package executor

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// site is a controller with one agent.
type site struct {
	*testing.T
	*Controller
	agent *Agent
}

func newSite(t *testing.T) *site {
	t.Helper()
	c := New("https://ci.example.org/", t.TempDir())
	c.Credential("text", "Zebra text")
	c.Credential("file", "Zebra file")
	s := &site{T: t, Controller: c}
	s.agent = s.add("agent-1", "linux fast")
	return s
}

func (s *site) add(name, label string) *Agent {
	s.Helper()
	a, err := s.AddAgent(name, label, 4, []string{"PATH=" + os.Getenv("PATH"), "AGENT=" + name})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(a.Kill)
	return a
}

// build starts a build of a job that the test describes.
func (s *site) build(name string, j *Job, parameters map[string]string) *Build {
	s.Helper()
	j.Concurrent = true
	if err := s.AddJob(name, j); err != nil {
		s.Fatal(err)
	}
	return s.Controller.Build(name, parameters)
}

// ends waits for the end and wants the result.
func (s *site) ends(b *Build, result string) {
	s.Helper()
	select {
	case <-b.Done():
	case <-time.After(30 * time.Second):
		s.Fatalf("no end:\n%s", b.Raw())
	}
	if got := b.Result(); got != result {
		s.Fatalf("result %q, want %q:\n%s", got, result, b.Raw())
	}
}

func (s *site) shows(b *Build, wanted ...string) {
	s.Helper()
	for _, text := range wanted {
		if !strings.Contains(b.Raw(), text) {
			s.Errorf("the console does not show %q:\n%s", text, b.Raw())
		}
	}
}

func (s *site) hides(b *Build, text string) {
	s.Helper()
	if strings.Contains(b.Raw(), text) {
		s.Errorf("the console shows %q:\n%s", text, b.Raw())
	}
}

func shells(scripts ...string) []Shell {
	var list []Shell
	for _, s := range scripts {
		list = append(list, Shell{Script: s})
	}
	return list
}

func after(scripts ...string) Publisher {
	return Publisher{PostBuild: &PostBuild{Steps: []PostBuildStep{{Results: results, Role: "BOTH", Scripts: shells(scripts...)}}}}
}

func TestShellStep(t *testing.T) {
	s := newSite(t)
	b := s.build("team/a b", &Job{
		Parameters: []Parameter{{"GIVEN", "default"}, {"LEFT", "default"}}, Timeout: 2 * time.Minute, TimeoutName: "BUILD_TIMEOUT",
		Builders: shells(
			"#!/bin/sh -e\necho plain\n",
			"echo traced; echo error >&2; echo $(pwd)\n",
			"#!/bin/cat\nshown by cat\n",
			"#!/bin/sh\nread line || echo no input\nls -l $0 | cut -c1-10\n",
			"#!/bin/sh\nenv | sort\n"),
	}, map[string]string{"GIVEN": "a $HOME 'b'", "UNKNOWN": "x"})
	s.ends(b, "SUCCESS")
	ws := b.seat.workspace
	s.shows(b, "\nplain\n", "\n+ echo traced\ntraced\n+ echo error\nerror\n", "\n"+ws+"\n", "\nshown by cat\n", "\nno input\n-rw-r--r--\n",
		"\nCI=true\n", "\nBUILD_NUMBER=1\n", "\nBUILD_ID=1\n", "\nJOB_NAME=team/a b\n", "\nBUILD_TAG=jenkins-team-a b-1\n", "\nJOB_BASE_NAME=a b\n",
		"\nBUILD_URL=https://ci.example.org/job/team/job/a%20b/1/\n", "\nWORKSPACE="+ws+"\n", "\nWORKSPACE_TMP="+ws+"@tmp\n", "\nNODE_NAME=agent-1\n",
		"\nEXECUTOR_NUMBER=0\n", "\nBUILD_TIMEOUT=120000\n", "\nGIVEN=a $HOME 'b'\n", "\nLEFT=default\n", "\nHUDSON_COOKIE=", "\nAGENT=agent-1\n")
	s.hides(b, "+ echo plain")
	s.hides(b, "UNKNOWN")
}

func TestBuildersStopAndPublishersRun(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "file")
	b := s.build("a", &Job{
		Bindings: []Binding{{"TEXT", "text", false}, {"FILE", "file", true}},
		Builders: append([]Shell{{Script: "#!/bin/sh\nexit 10", Unstable: 10}},
			shells("#!/bin/sh\necho went on; cat $FILE; echo; echo $FILE >"+file, "#!/bin/sh\necho out >result; exit 3", "#!/bin/sh\necho never")...),
		Publishers: []Publisher{
			after("#!/bin/sh\necho after $BUILD_RESULT; test -e $FILE || echo file gone; echo the $TEXT; exit 1", "#!/bin/sh\necho and again"),
			{Cleanup: &Cleanup{}},
			{Archive: &Archive{Patterns: []string{"logs/**", "res*"}}},
		},
	}, nil)
	s.ends(b, "FAILURE")
	s.shows(b, "went on\nZebra file\n", "after FAILURE\nfile gone\nthe Zebra text\nand again\n")
	s.hides(b, "never")
	if strings.Contains(b.Console(), "Zebra text") || !strings.Contains(b.Console(), "the ****\n") {
		t.Errorf("the console does not mask:\n%s", b.Console())
	}
	exits := []int{}
	for _, step := range b.Steps() {
		exits = append(exits, step.Exit)
	}
	if diff := cmp.Diff([]int{10, 0, 3, 1, 0}, exits); diff != "" {
		t.Errorf("exit statuses (-want +got):\n%s", diff)
	}
	if text, err := os.ReadFile(b.Folder() + "/archive/result"); err != nil || string(text) != "out\n" {
		t.Errorf("the archived file: %q, %v", text, err)
	}
	if _, err := os.Stat(b.seat.workspace); !os.IsNotExist(err) {
		t.Errorf("the workspace is still there: %v", err)
	}
}

func TestResultsOnlyGetWorse(t *testing.T) {
	s := newSite(t)
	soft := after("#!/bin/sh\nexit 1")
	soft.PostBuild.MarkUnstable = true
	s.ends(s.build("soft", &Job{Publishers: []Publisher{soft}}, nil), "UNSTABLE")
	s.ends(s.build("hard", &Job{Publishers: []Publisher{soft, after("#!/bin/sh\nexit 1")}}, nil), "FAILURE")
	s.ends(s.build("was failed", &Job{Builders: shells("#!/bin/sh\nexit 1"), Publishers: []Publisher{soft}}, nil), "FAILURE")
	only := after("#!/bin/sh\nexit 1")
	only.PostBuild.Steps[0].Results = []string{"FAILURE"}
	s.ends(s.build("not asked", &Job{Publishers: []Publisher{only}}, nil), "SUCCESS")
}

// Children are told first, the parent's EXIT trap still runs, and so does a publisher.
func TestAbort(t *testing.T) {
	s := newSite(t)
	b := s.build("a", &Job{
		Builders:   shells("#!/bin/sh\ntrap 'echo parent' TERM\nsh -c 'trap \"echo child; exit 0\" TERM; echo ready; while :; do sleep 0.01; done'\necho waited\n", "#!/bin/sh\necho never"),
		Publishers: []Publisher{after("#!/bin/sh\necho after $BUILD_RESULT")},
	}, nil)
	if !b.Await("ready") {
		t.Fatal(b.Raw())
	}
	b.Abort()
	s.ends(b, "ABORTED")
	s.shows(b, "\nchild\n", "Build was aborted\n", "\nafter ABORTED\n")
	s.hides(b, "never")
}

// Who does not listen survives the abort, after 5 s, and is not there for the build any more; who has a
// session of its own is found by its cookie, who cleared its environment is not.
func TestAbortKillsNobody(t *testing.T) {
	s := newSite(t)
	b := s.build("a", &Job{
		Builders: shells(`#!/bin/sh
setsid sleep 1000 &
echo by cookie $! >pids
setsid env -i sleep 1000 &
sh -c 'trap "" TERM; echo stubborn $$ >>pids; echo ready; while :; do sleep 1; done'
`),
		Publishers: []Publisher{after("#!/bin/sh\necho after")},
	}, nil)
	if !b.Await("ready") {
		t.Fatal(b.Raw())
	}
	began := time.Now()
	b.Abort()
	s.ends(b, "ABORTED")
	if took := time.Since(began); took < softKill || took > 6*softKill {
		t.Errorf("the abort took %s", took)
	}
	text, err := os.ReadFile(filepath.Join(b.seat.workspace, "pids"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		pid, _ := strconv.Atoi(fields[len(fields)-1])
		if want := fields[0] == "stubborn"; alive(pid) != want {
			t.Errorf("%s: alive is not %t", strings.TrimSpace(line), want)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestSecondAbort(t *testing.T) {
	s := newSite(t)
	b := s.build("a", &Job{
		Builders:   shells("#!/bin/sh\necho ready; exec sleep 1000"),
		Publishers: []Publisher{after("#!/bin/sh\necho slow; exec sleep 1000", "#!/bin/sh\necho never"), after("#!/bin/sh\necho still")},
	}, nil)
	b.Await("ready")
	b.Abort()
	b.Await("slow")
	b.Abort()
	s.ends(b, "ABORTED")
	s.shows(b, "An error occurred during post-build processing: interrupted", "\nstill\n")
	s.hides(b, "never")
}

// An abort that comes when only publishers are left makes of the build what its plugin makes of it.
func TestAbortAfterTheBuild(t *testing.T) {
	s := newSite(t)
	b := s.build("a", &Job{
		Timeout: time.Minute, TimeoutName: "BUILD_TIMEOUT",
		Publishers: []Publisher{after("#!/bin/sh\necho slow; exec sleep 1000")},
	}, nil)
	b.Await("slow")
	if b.TimeOut() {
		t.Error("the time limit counts in publishers")
	}
	b.Abort()
	s.ends(b, "FAILURE")
}

func TestTimeOut(t *testing.T) {
	s := newSite(t)
	b := s.build("a", &Job{Timeout: 2 * time.Minute, Builders: shells("#!/bin/sh\necho ready; exec sleep 1000")}, nil)
	b.Await("ready")
	if !b.TimeOut() {
		t.Error("the time limit does not count")
	}
	s.ends(b, "ABORTED")
	s.shows(b, "Build timed out (after 2 minutes)")
}

// What a build leaves behind is ended before publishers run, unless it is another build's by its variables.
func TestRunAways(t *testing.T) {
	s := newSite(t)
	b := s.build("a", &Job{
		Builders:   shells("#!/bin/sh\nsleep 1000 </dev/null >/dev/null 2>&1 &\necho $! >left\nBUILD_ID=mine sleep 1000 </dev/null >/dev/null 2>&1 &\necho $! >free\n"),
		Publishers: []Publisher{after("#!/bin/sh\nfor name in left free; do grep -q '^State:.[^Z]' /proc/$(cat $name)/status && echo $name lives; done; true")},
	}, nil)
	s.ends(b, "SUCCESS")
	s.hides(b, "left lives")
	s.shows(b, "free lives")
}

func TestAgentLost(t *testing.T) {
	for _, withMachine := range []bool{true, false} {
		s := newSite(t)
		other := &Job{Parameters: []Parameter{{"OWNER", ""}, {"OTHER", "x"}}, Builders: shells("#!/bin/sh\necho \"for $OWNER $OTHER on $NODE_NAME\"")}
		if err := s.AddJob("release", other); err != nil {
			t.Fatal(err)
		}
		b := s.build("a", &Job{
			Builders:   shells("#!/bin/sh\necho $$ >pid; echo ready; while :; do sleep 0.01; done"),
			Publishers: []Publisher{{Trigger: &Trigger{Projects: []string{"release", "none such"}, Condition: "ALWAYS", Properties: "OWNER=$BUILD_URL$NOT_SET\n"}}, after("#!/bin/sh\necho never")},
		}, nil)
		b.Await("ready")
		s.add("agent-2", "linux")
		text, err := os.ReadFile(filepath.Join(b.seat.workspace, "pid"))
		if err != nil {
			t.Fatal(err)
		}
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		s.agent.Lose(withMachine)
		s.ends(b, "FAILURE")
		if alive(pid) == withMachine {
			t.Errorf("with the machine %t: the step lives: %t", withMachine, alive(pid))
		}
		s.hides(b, "never")
		s.shows(b, "ERROR: Build step failed with exception in post: no workspace")
		s.Wait()
		builds := s.Builds("release")
		if len(builds) != 1 {
			t.Fatalf("%d builds of the other job", len(builds))
		}
		s.shows(builds[0], "for https://ci.example.org/job/a/1/$NOT_SET x on agent-2\n")
	}
}

func TestRestart(t *testing.T) {
	s := newSite(t)
	b := s.build("a", &Job{
		Builders:   shells("#!/bin/sh\ntrap 'echo gone >ended; exit' PIPE\necho ready; mkfifo fifo; read x <fifo; echo still here"),
		Publishers: []Publisher{after("#!/bin/sh\necho never"), {Trigger: &Trigger{Projects: []string{"a"}, Condition: "ALWAYS"}}},
	}, nil)
	b.Await("ready")
	s.Restart(false)
	s.ends(b, "")
	s.hides(b, "never")
	if n := len(s.agent.Processes()); n == 0 {
		t.Error("the step died with the controller")
	}
	if n := len(s.Builds("a")); n != 1 {
		t.Errorf("%d builds", n)
	}
	s.ends(s.build("b", &Job{Builders: shells("#!/bin/sh\ntrue")}, nil), "SUCCESS")
}

func TestQueue(t *testing.T) {
	s := newSite(t)
	j := &Job{Label: "slow && linux", Builders: shells("#!/bin/sh\necho on $NODE_NAME")}
	b := s.build("a", j, nil)
	cancelled := s.Controller.Build("a", nil)
	cancelled.Abort()
	s.ends(cancelled, "")
	s.add("agent-2", "linux slow")
	s.ends(b, "SUCCESS")
	s.shows(b, "\non agent-2\n")

	single := &Job{Builders: shells("#!/bin/sh\nmkdir lock; sleep 0.05; rmdir lock")}
	if err := s.AddJob("single", single); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.Controller.Build("single", nil)
	}
	s.Wait()
	for _, b := range s.Builds("single") {
		s.ends(b, "SUCCESS")
	}
}

func TestMatrix(t *testing.T) {
	s := newSite(t)
	publisher := after("#!/bin/sh\necho \"after $arch $BUILD_RESULT\"")
	publisher.PostBuild.Steps[0].ExecuteOn = "AXES"
	b := s.build("team/m", &Job{
		Axes:       []Axis{{Name: "arch", Values: []string{"x86_64", "arm"}}, {Name: "label", Values: []string{"linux && fast"}, Label: true}},
		Builders:   shells("#!/bin/sh\necho $JOB_NAME; echo $BUILD_URL; test $arch = arm"),
		Publishers: []Publisher{publisher},
	}, nil)
	s.ends(b, "FAILURE")
	s.hides(b, "after ")
	for i, want := range []string{"x86_64 FAILURE", "arm SUCCESS"} {
		arch, result, _ := strings.Cut(want, " ")
		s.ends(b.Children[i], result)
		s.shows(b.Children[i], "\nteam/m/arch="+arch+",label=linux && fast\n", "\nafter "+arch+" "+result+"\n",
			"\nhttps://ci.example.org/job/team/job/m/arch="+arch+",label=linux%20&&%20fast/1/\n")
	}
	publisher.PostBuild.Steps[0].ExecuteOn = "BOTH"
	b = s.Controller.Build("team/m", nil)
	s.ends(b, "FAILURE")
	s.shows(b, "after  FAILURE\n")
}

// Who triggers other jobs is said: the parent, or each combination in its stead. What is archived are a
// combination's files.
func TestMatrixTriggers(t *testing.T) {
	for _, c := range []struct {
		fromChildren bool
		owners       []string
	}{{false, []string{"/job/m/1/"}}, {true, []string{"/job/m/arch=arm/1/", "/job/m/arch=x86_64/1/"}}} {
		s := newSite(t)
		if err := s.AddJob("release", &Job{Parameters: []Parameter{{"OWNER", ""}}, Builders: shells("#!/bin/sh\necho \"for $OWNER\"")}); err != nil {
			t.Fatal(err)
		}
		b := s.build("m", &Job{
			Axes:     []Axis{{Name: "arch", Values: []string{"x86_64", "arm"}}},
			Builders: shells("#!/bin/sh\necho $arch >file"),
			Publishers: []Publisher{{Archive: &Archive{Patterns: []string{"file"}}}, {Trigger: &Trigger{
				Projects: []string{"release"}, Condition: "ALWAYS", Properties: "OWNER=$BUILD_URL\n", FromChildren: c.fromChildren,
			}}},
		}, nil)
		s.ends(b, "SUCCESS")
		s.Wait()
		var owners []string
		for _, b := range s.Builds("release") {
			_, owner, _ := strings.Cut(b.Raw(), "for https://ci.example.org")
			owner, _, _ = strings.Cut(owner, "\n")
			owners = append(owners, owner)
		}
		slices.Sort(owners)
		if !slices.Equal(owners, c.owners) {
			t.Errorf("from children %t: for %q, want %q", c.fromChildren, owners, c.owners)
		}
	}
}

// Where nobody reads, a step that prints waits.
func TestHang(t *testing.T) {
	s := newSite(t)
	s.Hang()
	b := s.build("a", &Job{Builders: shells("#!/bin/sh\n: >begun; echo one; : >printed")}, nil)
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(s.agent.folder, "workspace/a", name))
		return err == nil
	}
	for end := time.Now().Add(30 * time.Second); !exists("begun"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the step did not begin")
		}
	}
	time.Sleep(20 * time.Millisecond) // for what must not happen
	if exists("printed") {
		t.Error("the step went on")
	}
	s.Resume()
	s.ends(b, "SUCCESS")
	s.shows(b, "workspace/a\none\nFinished: SUCCESS\n")
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"logs/**", "logs/a", true}, {"logs/**", "logs/a/b", true}, {"logs/**", "other/a", false}, {"**", "a/b/c", true},
		{"**/*.xml", "a/b.xml", true}, {"**/*.xml", "b.xml", true}, {"*.xml", "a/b.xml", false}, {"a/*/c", "a/b/c", true},
	} {
		if got := matches(strings.Split(c.pattern, "/"), strings.Split(c.name, "/")); got != c.want {
			t.Errorf("%s and %s: %t", c.pattern, c.name, got)
		}
	}
}

func TestReadJobRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, text := range []string{
		`<flow-definition/>`,
		`<project><builders><hudson.tasks.Maven/></builders></project>`,
		`<project><buildWrappers><EnvInjectBuildWrapper/></buildWrappers></project>`,
		`<project><publishers><hudson.tasks.Mailer/></publishers></project>`,
		`<project><publishers><org.jenkinsci.plugins.postbuildscript.PostBuildScript><config><groovyScripts><x/></groovyScripts></config></org.jenkinsci.plugins.postbuildscript.PostBuildScript></publishers></project>`,
	} {
		if j, err := ReadJob([]byte("<?xml version='1.1' encoding='UTF-8'?>\n" + text)); err == nil {
			t.Errorf("%s was read as %+v", text, j)
		}
	}
}
