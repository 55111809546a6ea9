package jenkins_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/jenkins/internal/executor"
	"github.com/molteniron/molteniron/pkg/pool"
)

// wants checks a build's result and the exit statuses of its steps.
func (s *scene) wants(b *executor.Build, result string, want ...int) {
	s.Helper()
	s.ends(b)
	if got := b.Result(); got != result {
		s.Errorf("the result of %s %d is %q, want %q", b.JobName, b.Number, got, result)
	}
	if diff := cmp.Diff(want, exits(b)); diff != "" {
		s.Errorf("exit statuses of %s %d (-want +got):\n%s", b.JobName, b.Number, diff)
	}
	if s.Failed() {
		s.Fatalf("the console:\n%s", b.Raw())
	}
}

// A build that nothing happens to, and one whose test fails: they hold what they asked for, it comes back
// with the result, and the release job finds nothing to do.
func TestBuilds(t *testing.T) {
	onEach(t, 3, func(t *testing.T, l *lab) {
		s := l.scene(jenkinsURL)
		s.addJob(releaseJob)
		for i, c := range []struct {
			answer, result string
			exits          []int
		}{{"pass", "SUCCESS", []int{0, 0, 0}}, {"fail", "FAILURE", []int{0, 1, 0}}} {
			open := s.gate(i + 1)
			b := s.jenkins.Build(testJob, map[string]string{"MOLTENIRON_COUNT": "2", "MOLTENIRON_REQUIRE": "arch=x86_64 mac:absent"})
			if !b.Await("\nthe test is running") {
				t.Fatal(b.Raw())
			}
			held := s.of(b.URL())[0]
			if held.State != pool.Claimed || len(held.Nodes) != 2 || len(held.Groups[0].Require) != 2 || held.Labels["JOB_NAME"] != testJob {
				t.Errorf("the build holds %+v", held)
			}
			s.private()
			open(c.answer)
			s.wants(b, c.result, c.exits...)
			s.jenkins.Wait()
			if got := s.of(b.URL()); len(got) != 1 || got[0].Result != c.result || !s.home() {
				t.Errorf("after the build: %+v", got)
			}
			text, err := os.ReadFile(filepath.Join(b.Folder(), "archive/logs/nodes.txt"))
			if err != nil || string(text) != strings.Join(held.NodeNames(), " ")+"\n" {
				t.Errorf("archived: %q %v, held: %v", text, err, held.NodeNames())
			}
			if job := s.jenkins.Builds(releaseJob)[i]; job.Result() != "SUCCESS" || !strings.Contains(job.Raw(), "given back before") {
				t.Errorf("the release job: %s\n%s", job.Result(), job.Raw())
			}
		}
		s.tidy()
		s.private()
	})
}

// The pool has none: the build fails at once, says why, and its post-hook has nothing to do.
func TestNoNode(t *testing.T) {
	onEach(t, 1, func(t *testing.T, l *lab) {
		s := l.scene(jenkinsURL)
		b := s.jenkins.Build(testJob, map[string]string{"MOLTENIRON_REQUIRE": "arch=riscv64"})
		s.wants(b, "FAILURE", 11, 0)
		s.ctl("allocate", "--owner", "holder")
		b = s.jenkins.Build(testJob, map[string]string{"MOLTENIRON_WAIT": "0"})
		s.wants(b, "FAILURE", 10, 0)
		s.private()
	})
}

// Aborted, and again while the post-hook is at it: it has a moment to finish. Where that does not do, it
// says so, and the release job does it.
func TestSecondAbort(t *testing.T) {
	onEach(t, 1, func(t *testing.T, l *lab) {
		s := l.scene(jenkinsURL)
		s.addJob(releaseJob)
		for number, late := range []bool{false, true} {
			s.gate(number + 1)
			b := s.jenkins.Build(testJob, nil)
			if !b.Await("\nthe test is running") {
				t.Fatal(b.Raw())
			}
			unlock := s.lock()
			b.Abort()
			s.until("the post-hook asks the database", func() bool { return asks(s.agent, "molten-posthook") })
			if b.TimeOut() {
				t.Error("a time limit counts in publishers")
			}
			b.Abort()
			want := 0
			if late {
				s.until("the post-hook gives up", func() bool { return !runs(s.agent, "molten-posthook") })
				want = 143
			}
			unlock()
			s.wants(b, "ABORTED", 0, 143, want)
			if late && !strings.Contains(b.Raw(), "molten-posthook: terminated") {
				t.Errorf("the post-hook does not say that it was ended:\n%s", b.Raw())
			}
			s.jenkins.Wait()
			if !s.home() {
				t.Errorf("late %t: not all is home:\n%s", late, s.ctl("status"))
			}
		}
		s.private()
	})
}

// A pre-hook that does not notice its abort in time outlives it: what the post-hook has closed stays closed.
func TestFrozenPrehook(t *testing.T) {
	onEach(t, 1, func(t *testing.T, l *lab) {
		s := l.scene(jenkinsURL)
		b, _ := s.reach(waiting)
		var frozen []int
		for _, pid := range s.agent.Processes() {
			if err := syscall.Kill(pid, syscall.SIGSTOP); err == nil {
				frozen = append(frozen, pid)
			}
		}
		b.Abort()
		s.wants(b, "ABORTED", -1, 0)
		s.ctl("release", "--owner", "holder")
		for _, pid := range frozen {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
		s.until("the pre-hook ends", func() bool { return !runs(s.agent, "molten-prehook") })
		if !s.home() {
			t.Errorf("not all is home:\n%s", s.ctl("status"))
		}
		s.tidy()
		s.private()
	})
}

// A test that removes its workspace keeps the post-hook from running: no step of the shell runs without a
// folder. The release job needs none.
func TestWorkspaceGone(t *testing.T) {
	onEach(t, 1, func(t *testing.T, l *lab) {
		s := l.scene(jenkinsURL)
		s.addJob(releaseJob)
		open := s.gate(1)
		b := s.jenkins.Build(testJob, nil)
		if !b.Await("\nthe test is running") {
			t.Fatal(b.Raw())
		}
		workspaces, _ := filepath.Glob(filepath.Join(s.base, "agents/agent-1/workspace/team/*-metal"))
		if len(workspaces) != 1 || os.RemoveAll(workspaces[0]) != nil {
			t.Fatal(workspaces)
		}
		open("pass")
		s.wants(b, "FAILURE", 0, 0, -1)
		s.jenkins.Wait()
		if !s.home() || !strings.Contains(s.jenkins.Builds(releaseJob)[0].Raw(), "given back (allocation") {
			t.Errorf("not all is home:\n%s", s.ctl("status"))
		}
		s.private()
	})
}

// A failed build keeps its nodes where that was asked for, and the release job leaves them there; a good
// one keeps nothing. Where the post-hook could not hold them, the release job does.
func TestHoldOnFailure(t *testing.T) {
	onEach(t, 1, func(t *testing.T, l *lab) {
		s := l.scene(jenkinsURL)
		s.addJob(releaseJob)
		for number, c := range []struct {
			answer string
			held   bool
		}{{"pass", false}, {"fail", true}, {"lost", true}} {
			open := s.gate(number + 1)
			b := s.jenkins.Build(testJob, map[string]string{"MOLTENIRON_HOLD_ON_FAILURE": "1h"})
			if !b.Await("\nthe test is running") {
				t.Fatal(b.Raw())
			}
			if c.answer == "lost" {
				s.agent.Lose(true)
			} else {
				open(c.answer)
			}
			s.ends(b)
			s.jenkins.Wait()
			if job := s.jenkins.Builds(releaseJob)[number]; job.Result() != "SUCCESS" {
				t.Errorf("%s: the release job: %s\n%s", c.answer, job.Result(), job.Raw())
			}
			if a := s.of(b.URL())[0]; (a.State == pool.Claimed && a.HoldReason != "") != c.held {
				t.Errorf("%s: %s, hold %q\n%s", c.answer, a.State, a.HoldReason, b.Raw())
			}
			if c.held {
				s.ctl("release", "--owner", b.URL())
			}
			if !s.home() {
				t.Errorf("%s: not all is home:\n%s", c.answer, s.ctl("status"))
			}
		}
		s.private()
	})
}

// A controller that does not know its URL, and an agent that is told whose it is.
func TestNoJenkinsURL(t *testing.T) {
	onEach(t, 1, func(t *testing.T, l *lab) {
		s := l.scene("")
		s.addJob(releaseJob)
		b := s.jenkins.Build(testJob, nil)
		s.wants(b, "FAILURE", 2, 2)
		if !strings.Contains(b.Raw(), `set "Jenkins URL" in its system configuration`) {
			t.Errorf("the mend is not told:\n%s", b.Raw())
		}
		s.jenkins.Wait()
		job := s.jenkins.Builds(releaseJob)[0]
		s.wants(job, "FAILURE", 2)
		if !strings.Contains(job.Raw(), `set "Jenkins URL"`) {
			t.Errorf("the mend is not told:\n%s", job.Raw())
		}

		l.write("molteniron/config.yaml", "controller: ci1\n")
		s.gate(2)
		b = s.jenkins.Build(testJob, nil)
		if !b.Await("\nthe test is running") {
			t.Fatal(b.Raw())
		}
		if got := s.state("ci1:" + testJob + "#2"); got != pool.Claimed {
			t.Errorf("the owner's allocation is %q\n%s", got, s.ctl("status"))
		}
		b.Abort()
		s.wants(b, "ABORTED", 0, 143, 0)
		if !s.home() {
			t.Errorf("not all is home:\n%s", s.ctl("status"))
		}
	})
}

// Two controllers have the same job, and both are at its first build: each has a node, and the end of one
// is not the other's.
func TestTwoControllers(t *testing.T) {
	onEach(t, 2, func(t *testing.T, l *lab) {
		sites := []*scene{l.scene("https://ci1.example.org/"), l.scene("https://ci2.example.org/")}
		var builds []*executor.Build
		for _, s := range sites {
			s.gate(1)
			builds = append(builds, s.jenkins.Build(testJob, nil))
		}
		for _, b := range builds {
			if !b.Await("\nthe test is running") {
				t.Fatal(b.Raw())
			}
		}
		builds[0].Abort()
		sites[0].wants(builds[0], "ABORTED", 0, 143, 0)
		if got := l.state(builds[1].URL()); got != pool.Claimed {
			t.Errorf("the other controller's build has its node no more: %s", got)
		}
		builds[1].Abort()
		sites[1].wants(builds[1], "ABORTED", 0, 143, 0)
		if !l.home() {
			t.Errorf("not all is home:\n%s", l.ctl("status"))
		}
	})
}

// Each combination is a build of its own, with nodes of its own; an abort of the whole is one of each.
func TestMatrixBuild(t *testing.T) {
	onEach(t, 2, func(t *testing.T, l *lab) {
		s := l.scene(jenkinsURL)
		s.ctl("set", "node-2", "arch=aarch64")
		const job = "team/nightly-metal-matrix"
		s.gate(1)
		b := s.jenkins.Build(job, nil)
		s.until("both hold a node", func() bool {
			return slices.IndexFunc(b.Children, func(c *executor.Build) bool { return s.state(c.URL()) != pool.Claimed }) < 0
		})
		for i, node := range []string{"node-1", "node-2"} {
			if got := s.of(b.Children[i].URL())[0].NodeNames(); !slices.Equal(got, []string{node}) {
				t.Errorf("%s holds %v", b.Children[i].JobName, got)
			}
			if !b.Children[i].Await("\nthe test is running") {
				t.Fatal(b.Children[i].Raw())
			}
		}
		b.Abort()
		s.ends(b)
		if b.Result() != "ABORTED" || len(exits(b)) != 0 {
			t.Errorf("the parent: %s %v\n%s", b.Result(), exits(b), b.Raw())
		}
		if !s.home() {
			t.Errorf("not all is home:\n%s", s.ctl("status"))
		}

		b = s.jenkins.Build(job, nil)
		s.ends(b)
		for _, child := range b.Children {
			s.wants(child, "SUCCESS", 0, 0, 0)
		}
		if !s.home() {
			t.Errorf("not all is home:\n%s", s.ctl("status"))
		}
		s.tidy()
		s.private()
	})
}

// The agent is lost on which the combinations run: the release jobs give back what each of them has, by its own URL.
func TestMatrixAgentLost(t *testing.T) {
	onEach(t, 2, func(t *testing.T, l *lab) {
		s := l.scene(jenkinsURL)
		s.addJob(releaseJob)
		s.ctl("set", "node-2", "arch=aarch64")
		s.gate(1)
		b := s.jenkins.Build("team/nightly-metal-matrix", nil)
		for _, child := range b.Children {
			if !child.Await("\nthe test is running") {
				t.Fatal(child.Raw())
			}
		}
		s.addAgent("agent-2", "molteniron", 1) // the parent wants one
		s.agent.Lose(true)
		s.ends(b)
		s.jenkins.Wait()
		for _, child := range b.Children {
			s.wants(child, "FAILURE", 0, -1)
			if list := s.of(child.URL()); len(list) != 1 || list[0].EndReason != pool.EndReleased {
				t.Errorf("%s: %+v", child.JobName, list)
			}
		}
		if n := len(s.jenkins.Builds(releaseJob)); n != 2 || !s.home() {
			t.Errorf("%d release jobs; not all is home:\n%s", n, s.ctl("status"))
		}
		s.private()
	})
}

// The report job publishes the page with its style sheet, and nothing of an earlier build's.
func TestReport(t *testing.T) {
	onEach(t, 2, func(t *testing.T, l *lab) {
		s := l.scene(jenkinsURL)
		s.ctl("allocate", "--owner", `<script>"&'`)
		b := s.jenkins.Build("molteniron-report", nil)
		s.wants(b, "SUCCESS", 0)
		published := filepath.Join(b.Folder(), "htmlreports/MoltenIron pool")
		page, err := os.ReadFile(filepath.Join(published, "index.html"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"<h3>Nodes</h3>", "node-1", "&lt;script&gt;&#34;&amp;&#39;", "Nobody waits", "node-added", `<link rel="stylesheet" href="style.css"/>`} {
			if !strings.Contains(string(page), want) {
				t.Errorf("the page does not show %s:\n%s", want, page)
			}
		}
		if _, err := os.Stat(filepath.Join(published, "style.css")); err != nil {
			t.Error(err)
		}
		left, err := filepath.Glob(filepath.Join(s.base, "agents/care-1/workspace/molteniron-report/molteniron-report"))
		if err != nil || len(left) != 1 {
			t.Fatal(left, err)
		}
		if err := os.WriteFile(filepath.Join(left[0], "old.html"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		b = s.jenkins.Build("molteniron-report", nil)
		s.wants(b, "SUCCESS", 0)
		if _, err := os.Stat(filepath.Join(b.Folder(), "htmlreports/MoltenIron pool/old.html")); !os.IsNotExist(err) {
			t.Errorf("what an earlier build left is published: %v", err)
		}
		s.private()
	})
}
