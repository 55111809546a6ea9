// Package jenkins_test holds the kit to what it promises: it is rendered by the real Job Builder, in both of
// its generations, and run by Jenkins' rules (package executor) with the real programs.
package jenkins_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/jenkins/internal/executor"
)

const (
	macros    = "molteniron-macros.yaml"
	templates = "molteniron-jobs.yaml"
)

// settings keep Job Builder from asking a Jenkins which plugins it has.
const settings = `[job_builder]
query_plugins_info=False
[jenkins]
url=http://localhost/
user=nobody
password=none
`

// builder is a Job Builder, and newBuilder gives each that is there.
type builder struct {
	name    string
	command []string
	environ []string
}

// distribution is Debian's own Job Builder; a test without it is skipped, and fails where CI must have it.
func distribution(t *testing.T) builder {
	t.Helper()
	return builder{name: "Debian", command: []string{testneeds.Program(t, "jenkins-jobs")}}
}

// newest is Job Builder 6, where scripts/job-builder could fetch it.
func newest(t *testing.T) builder {
	t.Helper()
	tree := os.Getenv("MOLTENIRON_TEST_JJB6")
	if tree == "" {
		t.Skip("MOLTENIRON_TEST_JJB6 names no Job Builder 6; type: MOLTENIRON_TEST_JJB6=$(scripts/job-builder /tmp/jjb6) go test ./jenkins/")
	}
	return builder{
		name: "6", command: []string{"/usr/bin/python3", "-W", "ignore", "-m", "jenkins_jobs"},
		environ: []string{"PYTHONPATH=" + tree, "PYTHONDONTWRITEBYTECODE=1"},
	}
}

// render gives the config.xml of each job that the files make, by the job's name. The tool is run elsewhere,
// as by an operator whose Job Builder files are in a repository of theirs.
func (b builder) render(t *testing.T, paths ...string) map[string]string {
	t.Helper()
	rendered.Lock()
	defer rendered.Unlock()
	key := b.name + ":" + strings.Join(paths, ":")
	if jobs := rendered.jobs[key]; jobs != nil {
		return maps.Clone(jobs)
	}
	temp := t.TempDir()
	ini, out := filepath.Join(temp, "jjb.ini"), filepath.Join(temp, "out")
	if err := os.WriteFile(ini, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	var absolute []string
	for _, path := range paths {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		absolute = append(absolute, path)
	}
	args := slices.Concat(b.command[1:], []string{"--conf", ini, "test", "--config-xml", "-o", out, strings.Join(absolute, ":")})
	cmd := exec.Command(b.command[0], args...)
	cmd.Dir = temp
	cmd.Env = append(append(os.Environ(), "HOME="+temp, "XDG_CACHE_HOME="+temp), b.environ...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stderr, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("Job Builder (%s): %v\n%s", b.name, err, stderr.String())
	}
	jobs := map[string]string{}
	err := filepath.WalkDir(out, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "config.xml" {
			return err
		}
		text, err := os.ReadFile(file)
		if name, relative := filepath.Rel(out, filepath.Dir(file)); relative == nil {
			jobs[name] = string(text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(jobs) == 0 {
		t.Fatalf("Job Builder (%s) made no job of %s:\n%s", b.name, paths, stderr.String())
	}
	rendered.jobs[key] = jobs
	return maps.Clone(jobs)
}

// rendered keeps what was rendered: several tests look at the same jobs.
var rendered = struct {
	sync.Mutex
	jobs map[string]map[string]string
}{jobs: map[string]map[string]string{}}

// read renders the files and reads what a Jenkins would.
func read(t *testing.T, paths ...string) map[string]*executor.Job {
	t.Helper()
	jobs := map[string]*executor.Job{}
	for name, text := range distribution(t).render(t, paths...) {
		j, err := executor.ReadJob([]byte(text))
		if err != nil {
			t.Fatalf("job %s: %v", name, err)
		}
		jobs[name] = j
	}
	return jobs
}

// projects are all example projects, with what they are rendered together with.
func projects(t *testing.T) map[string][]string {
	t.Helper()
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string][]string{}
	for _, file := range files {
		sets[filepath.Base(file)] = []string{macros, templates, file}
	}
	if len(sets) < 3 {
		t.Fatalf("only %d examples: %v", len(sets), files)
	}
	return sets
}

// Job Builder drops what is misspelt without a word, and its versions differ in what they do with braces: all
// examples must come out the same. The one thing that only the newer one writes is a default of Jenkins'.
func TestVersionsAgree(t *testing.T) {
	six, debian := newest(t), distribution(t)
	followSymlinks := regexp.MustCompile(`(?m)^ *<followSymlinks>false</followSymlinks>\n`)
	for name, paths := range projects(t) {
		want, got := debian.render(t, paths...), six.render(t, paths...)
		for _, jobs := range []map[string]string{want, got} {
			for job, text := range jobs {
				jobs[job] = followSymlinks.ReplaceAllString(text, "")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-Debian's Job Builder +Job Builder 6):\n%s", name, diff)
		}
	}
}

// Each template, with the least and with all.
func TestJobs(t *testing.T) {
	want := map[string][]string{
		"minimal.yaml": {"minimal-smoke", "minimal-smoke-matrix", "molteniron-release", "molteniron-report", "molteniron-tend"},
		"full.yaml": {"full-nightly", "full-nightly-matrix", "full-weekly", "full-weekly-matrix",
			"molteniron-release", "molteniron-report", "molteniron-tend"},
		"own.yaml": {"own-main", "own-stable"},
	}
	for name, jobs := range want {
		var got []string
		for job := range read(t, projects(t)[name]...) {
			got = append(got, job)
		}
		slices.Sort(got)
		if diff := cmp.Diff(jobs, got); diff != "" {
			t.Errorf("jobs of %s (-want +got):\n%s", name, diff)
		}
	}
}

// script reads a file of the kit, as it must be found in a job.
func script(t *testing.T, path string) executor.Shell {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return executor.Shell{Script: string(text)}
}

func posthook(options, executeOn string, unstable bool) executor.Publisher {
	return executor.Publisher{PostBuild: &executor.PostBuild{
		Steps: []executor.PostBuildStep{{
			Results: []string{"ABORTED", "FAILURE", "NOT_BUILT", "SUCCESS", "UNSTABLE"}, Role: "BOTH", ExecuteOn: executeOn,
			Scripts: []executor.Shell{{Script: "#!/bin/sh -e\nexec molten-posthook " + options + "\n"}},
		}},
		MarkUnstable: unstable,
	}}
}

var (
	logs    = executor.Publisher{Archive: &executor.Archive{Patterns: []string{"logs/**"}, AllowEmpty: true}}
	release = executor.Publisher{Trigger: &executor.Trigger{
		Projects: []string{"molteniron-release"}, Condition: "ALWAYS",
		Properties: "MOLTENIRON_OWNER=$BUILD_URL\nMOLTENIRON_HOLD_ON_FAILURE=$MOLTENIRON_HOLD_ON_FAILURE\n", FromChildren: true,
	}}
)

// The least of each template, whole: what is checked out, in which order, by which script, after which results.
func TestMinimal(t *testing.T) {
	parameters := []executor.Parameter{
		{Name: "MOLTENIRON_POOL"}, {Name: "MOLTENIRON_COUNT", Default: "1"}, {Name: "MOLTENIRON_REQUIRE"},
		{Name: "MOLTENIRON_PRIORITY", Default: "0"}, {Name: "MOLTENIRON_WAIT"}, {Name: "MOLTENIRON_LEASE"},
		{Name: "MOLTENIRON_HOLD_ON_FAILURE"},
	}
	job := func(change func(*executor.Job)) *executor.Job {
		j := &executor.Job{Label: "molteniron", Timestamps: true, Timeout: 10 * 60e9, TimeoutName: "BUILD_TIMEOUT"}
		change(j)
		return j
	}
	want := map[string]*executor.Job{
		"minimal-smoke": job(func(j *executor.Job) {
			j.Concurrent, j.Timeout, j.Parameters = true, 240*60e9, parameters
			j.Builders = []executor.Shell{{Script: "#!/bin/sh -e\nexec molten-prehook \n"}, script(t, "examples/smoke.sh")}
			j.Publishers = []executor.Publisher{posthook("", "BOTH", false), logs, release}
		}),
		"minimal-smoke-matrix": job(func(j *executor.Job) {
			j.Concurrent, j.Timeout, j.Parameters = true, 240*60e9, parameters
			j.Axes = []executor.Axis{
				{Name: "arch", Values: []string{"x86_64", "aarch64"}},
				{Name: "label", Values: []string{"molteniron"}, Label: true},
			}
			j.Builders = []executor.Shell{{Script: "#!/bin/sh -e\n" +
				"MOLTENIRON_REQUIRE=\"arch=$arch $MOLTENIRON_REQUIRE\"\nexport MOLTENIRON_REQUIRE\nexec molten-prehook \n"}, script(t, "examples/smoke.sh")}
			j.Publishers = []executor.Publisher{posthook("", "AXES", false), logs, release}
		}),
		"molteniron-tend": job(func(j *executor.Job) {
			j.Triggers = []string{"hudson.triggers.TimerTrigger H/5 * * * *"}
			j.Builders = []executor.Shell{{Script: "#!/bin/sh -e\nexec moltenironctl tend \n"}}
		}),
		"molteniron-report": job(func(j *executor.Job) {
			j.Triggers = []string{"hudson.triggers.TimerTrigger H/15 * * * *"}
			j.Builders = []executor.Shell{{Script: "#!/bin/sh -e\nrm -rf molteniron-report\nexec moltenironctl report molteniron-report \n"}}
			j.Publishers = []executor.Publisher{{Report: &executor.Report{
				Name: "MoltenIron pool", Dir: "molteniron-report", Files: []string{"index.html"}, KeepAll: true, LinkToLast: true,
			}}}
		}),
		"molteniron-release": job(func(j *executor.Job) {
			j.Concurrent = true
			j.Parameters = []executor.Parameter{{Name: "MOLTENIRON_OWNER"}, {Name: "MOLTENIRON_HOLD_ON_FAILURE"}, {Name: "MOLTENIRON_DIRTY", Default: "false"}}
			j.Builders = []executor.Shell{script(t, "shell/molteniron-release.sh")}
		}),
	}
	if diff := cmp.Diff(want, read(t, macros, templates, "examples/minimal.yaml"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the jobs (-want +got):\n%s", diff)
	}
}

// Every variable reaches its place: in the example that sets all of them, no default is left.
func TestFull(t *testing.T) {
	jobs := read(t, macros, templates, "examples/full.yaml")
	binding := func(credential string) []executor.Binding {
		return []executor.Binding{{Variable: "MOLTENIRON_DATABASE_PASSWORD", Credential: credential}}
	}
	parameters := []executor.Parameter{
		{Name: "MOLTENIRON_POOL", Default: "gpu"}, {Name: "MOLTENIRON_COUNT", Default: "2"},
		{Name: "MOLTENIRON_REQUIRE", Default: "ram_mb:min=65536 gpu:absent"}, {Name: "MOLTENIRON_PRIORITY", Default: "5"},
		{Name: "MOLTENIRON_WAIT", Default: "2h"}, {Name: "MOLTENIRON_LEASE", Default: "8h"},
		{Name: "MOLTENIRON_HOLD_ON_FAILURE", Default: "4h"},
	}
	for _, suite := range []string{"nightly", "weekly"} {
		test, matrix := jobs["full-"+suite], jobs["full-"+suite+"-matrix"]
		for _, j := range []*executor.Job{test, matrix} {
			if j.Label != "baremetal && linux" || j.Timeout != 300*60e9 || j.SCM != "hudson.plugins.git.GitSCM" ||
				!slices.Equal(j.Triggers, []string{"hudson.triggers.TimerTrigger H 2 * * *"}) {
				t.Errorf("%s: %+v", suite, j)
			}
			if diff := cmp.Diff(parameters, j.Parameters); diff != "" {
				t.Errorf("parameters of %s (-want +got):\n%s", suite, diff)
			}
			if diff := cmp.Diff(binding("molteniron-database"), j.Bindings); diff != "" {
				t.Errorf("bindings of %s (-want +got):\n%s", suite, diff)
			}
			if !strings.HasSuffix(j.Builders[0].Script, "\nexec molten-prehook --json-file \"$WORKSPACE_TMP/nodes.json\"\n") {
				t.Errorf("the pre-hook of %s: %q", suite, j.Builders[0].Script)
			}
		}
		reports := executor.Publisher{Archive: &executor.Archive{Patterns: []string{"logs/**", "reports/*.xml"}, AllowEmpty: true}}
		if diff := cmp.Diff([]executor.Publisher{posthook("--dirty", "BOTH", true), reports, release}, test.Publishers); diff != "" {
			t.Errorf("publishers of %s (-want +got):\n%s", suite, diff)
		}
		if diff := cmp.Diff([]executor.Publisher{posthook("--dirty", "AXES", true), reports, release}, matrix.Publishers); diff != "" {
			t.Errorf("publishers of the matrix %s (-want +got):\n%s", suite, diff)
		}
	}
	for name, want := range map[string]string{
		"molteniron-tend": "hudson.triggers.TimerTrigger H/2 * * * *", "molteniron-report": "hudson.triggers.TimerTrigger H * * * *", "molteniron-release": "",
	} {
		j := jobs[name]
		if j.Label != "built-in" || strings.Join(j.Triggers, " ") != want {
			t.Errorf("%s: on %q at %q", name, j.Label, j.Triggers)
		}
		if diff := cmp.Diff(binding("molteniron-database-care"), j.Bindings); diff != "" {
			t.Errorf("bindings of %s (-want +got):\n%s", name, diff)
		}
	}
	if got := jobs["molteniron-report"].Builders[0].Script; !strings.HasSuffix(got, "\nexec moltenironctl report molteniron-report --since 30d\n") {
		t.Errorf("the report job: %q", got)
	}
	if got := jobs["molteniron-tend"].Builders[0].Script; got != "#!/bin/sh -e\nexec moltenironctl tend --jenkins\n" {
		t.Errorf("the tending job: %q", got)
	}
	if got := jobs["molteniron-release"].Parameters[2]; got != (executor.Parameter{Name: "MOLTENIRON_DIRTY", Default: "true"}) {
		t.Errorf("the release job's parameter: %+v", got)
	}
}

// What is true of all jobs of the kit: interpreters, no secret in a text or file binding, none that needs EnvInject.
func TestEveryJob(t *testing.T) {
	comment := regexp.MustCompile(`(?m)^\s*#.*`)
	secretFlag := regexp.MustCompile(`\s-P\s|(?i:passw(or)?d=['"]?[^$'" ])|--token|://[^/ ]*:[^/ ]*@`)
	for name, paths := range projects(t) {
		for job, text := range distribution(t).render(t, paths...) {
			at := fmt.Sprintf("%s of %s", job, name)
			if strings.Contains(text, "EnvInject") || strings.Contains(text, "envinject") {
				t.Errorf("%s needs EnvInject", at)
			}
			j, err := executor.ReadJob([]byte(text))
			if err != nil {
				t.Errorf("%s: %v", at, err)
				continue
			}
			for _, b := range j.Bindings {
				if b.File {
					t.Errorf("%s binds a secret file, which is gone when the post-hook runs: %+v", at, b)
				}
			}
			scripts, posthooks := slices.Clone(j.Builders), 0
			for i, p := range j.Publishers {
				if p.PostBuild == nil {
					continue
				}
				if posthooks++; i != 0 {
					t.Errorf("%s: the post-hook is post-build action %d", at, i+1)
				}
				for _, step := range p.PostBuild.Steps {
					scripts = append(scripts, step.Scripts...)
				}
			}
			if checksOut := strings.Contains(j.Builders[0].Script, "molten-prehook"); checksOut != (posthooks == 1) {
				t.Errorf("%s has %d post-hooks", at, posthooks)
			}
			for _, s := range scripts {
				if !strings.HasPrefix(s.Script, "#!/bin/sh -e\n") && !strings.HasPrefix(s.Script, "#!/bin/bash -e\n") {
					t.Errorf("%s: a script does not name its interpreter first, so that Jenkins shows its commands:\n%s", at, s.Script)
				}
				if found := secretFlag.FindString(comment.ReplaceAllString(s.Script, "")); found != "" {
					t.Errorf("%s: a script tells a secret by %q:\n%s", at, found, s.Script)
				}
			}
		}
	}
}

// A parameter of a macro must reach the XML also outside our templates, and a script that a project takes from
// a file must come out as it is there, whatever braces it has.
func TestMacrosElsewhere(t *testing.T) {
	folder := t.TempDir()
	odd := "#!/bin/sh -e\nf() { echo \"${1:-{}}\"; }\nf '${not_mine}' {{a}} % \\ \"'\n"
	for name, text := range map[string]string{"odd.sh": odd, "project.yaml": `
- job-template:
    name: '{name}-job'
    builders:
      - molteniron-prehook: {options: '--pool gpu-{site} --require ram_mb:min=1 --env-file "$WORKSPACE/x"'}
      - shell: '{odd}'
    publishers:
      - molteniron-posthook: {options: '', execute_on: both, unstable: true}
      - molteniron-release-elsewhere: {project: 'care/molteniron-release'}
- project: {name: p, site: east, jobs: ['{name}-job'], odd: !include-raw-escape: odd.sh}
`} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []func(*testing.T) builder{distribution, newest} {
		t.Run("", func(t *testing.T) {
			j, err := executor.ReadJob([]byte(b(t).render(t, macros, folder+"/project.yaml")["p-job"]))
			if err != nil {
				t.Fatal(err)
			}
			want := []executor.Shell{{Script: "#!/bin/sh -e\nexec molten-prehook --pool gpu-east --require ram_mb:min=1 --env-file \"$WORKSPACE/x\"\n"}, {Script: odd}}
			if diff := cmp.Diff(want, j.Builders); diff != "" {
				t.Errorf("build steps (-want +got):\n%s", diff)
			}
			if got := j.Publishers[0].PostBuild; !got.MarkUnstable || j.Publishers[1].Trigger.Projects[0] != "care/molteniron-release" {
				t.Errorf("post-build actions: %+v %+v", got, j.Publishers[1].Trigger)
			}
		})
	}
}
