// Package jenkins_test renders the Job Builder files with the real tool and looks at the XML that a
// Jenkins would get: the tool drops a misspelt option without a word, so its exit status proves little.
package jenkins_test

import (
	"bytes"
	"encoding/xml"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// job is what we look at of a rendered job.
type job struct {
	Builders struct {
		Shells []string `xml:"hudson.tasks.Shell>command"`
	} `xml:"builders"`
	Publishers struct {
		PostBuildScripts []struct {
			Steps []struct {
				Results []string `xml:"results>string"`
				Role    string   `xml:"role"`
				Shells  []string `xml:"buildSteps>hudson.tasks.Shell>command"`
			} `xml:"config>buildSteps>org.jenkinsci.plugins.postbuildscript.model.PostBuildStep"`
			MarkUnstable string `xml:"config>markBuildUnstable"`
		} `xml:"org.jenkinsci.plugins.postbuildscript.PostBuildScript"`
	} `xml:"publishers"`
}

// render gives the XML of the one job that the files, with more written to a file of its own, make.
func render(t *testing.T, paths ...string) job {
	t.Helper()
	tool, err := exec.LookPath("jenkins-jobs")
	if err != nil {
		if os.Getenv("MOLTENIRON_REQUIRE_SERVERS") == "1" {
			t.Fatal("jenkins-jobs is missing; install it with: apt-get install jenkins-job-builder")
		}
		t.Skip("jenkins-jobs is not installed (Debian: jenkins-job-builder)")
	}
	cmd := exec.Command(tool, "test", strings.Join(paths, ":"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_CACHE_HOME="+t.TempDir())
	if err := cmd.Run(); err != nil {
		t.Fatalf("jenkins-jobs test: %v\n%s", err, stderr.String())
	}
	// The tool writes XML 1.1, which differs in control characters only and which encoding/xml refuses.
	text := strings.Replace(stdout.String(), "version='1.1'", "version='1.0'", 1)
	text = strings.Replace(text, `version="1.1"`, `version="1.0"`, 1)
	var j job
	if err := xml.Unmarshal([]byte(text), &j); err != nil {
		t.Fatalf("read the rendered job: %v\n%s", err, text)
	}
	return j
}

func TestMinimalProject(t *testing.T) {
	j := render(t, "molteniron-macros.yaml", "examples/minimal.yaml")

	if len(j.Builders.Shells) != 2 {
		t.Fatalf("got %d build steps, want 2: %q", len(j.Builders.Shells), j.Builders.Shells)
	}
	want := "#!/bin/sh -e\nexec molten-prehook --pool 'default' --count '1'\n"
	if diff := cmp.Diff(want, j.Builders.Shells[0]); diff != "" {
		t.Errorf("the pre-hook's step (-want +got):\n%s", diff)
	}

	if len(j.Publishers.PostBuildScripts) != 1 || len(j.Publishers.PostBuildScripts[0].Steps) != 1 {
		t.Fatalf("want one PostBuildScript with one step, got %+v", j.Publishers)
	}
	script := j.Publishers.PostBuildScripts[0]
	step := script.Steps[0]
	slices.Sort(step.Results)
	if diff := cmp.Diff([]string{"ABORTED", "FAILURE", "NOT_BUILT", "SUCCESS", "UNSTABLE"}, step.Results); diff != "" {
		t.Errorf("the results after which machines come back (-want +got):\n%s", diff)
	}
	if step.Role != "BOTH" {
		t.Errorf("role is %q, want BOTH", step.Role)
	}
	if diff := cmp.Diff([]string{"#!/bin/sh -e\nexec molten-posthook\n"}, step.Shells); diff != "" {
		t.Errorf("the post-hook's step (-want +got):\n%s", diff)
	}
	if script.MarkUnstable != "false" {
		t.Errorf("markBuildUnstable is %q, want false", script.MarkUnstable)
	}
}

// A parameter must reach the XML, and a script must render as it is written: braces, which Job Builder
// takes for its own, would be doubled or lost.
func TestParameters(t *testing.T) {
	project := t.TempDir() + "/project.yaml"
	err := os.WriteFile(project, []byte(`
- job-template:
    name: '{name}-job'
    builders:
      - molteniron-prehook: {pool: 'gpu-{site}', count: 3}
    publishers:
      - molteniron-posthook: {molteniron_unstable: true}
- project: {name: p, site: east, jobs: ['{name}-job']}
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	j := render(t, "molteniron-macros.yaml", project)
	want := []string{"#!/bin/sh -e\nexec molten-prehook --pool 'gpu-east' --count '3'\n"}
	if diff := cmp.Diff(want, j.Builders.Shells); diff != "" {
		t.Errorf("build steps (-want +got):\n%s", diff)
	}
	if got := j.Publishers.PostBuildScripts[0].MarkUnstable; got != "true" {
		t.Errorf("markBuildUnstable is %q, want true", got)
	}
}

// Every script must name its interpreter on the very first line: else Jenkins adds -xe, and -x shows.
func TestScriptsNameTheirInterpreter(t *testing.T) {
	j := render(t, "molteniron-macros.yaml", "examples/minimal.yaml")
	for _, script := range append(slices.Clone(j.Builders.Shells), j.Publishers.PostBuildScripts[0].Steps[0].Shells...) {
		if !strings.HasPrefix(script, "#!/bin/sh -e\n") {
			t.Errorf("a step begins otherwise than with #!/bin/sh -e:\n%s", script)
		}
		if strings.Contains(script, "{") {
			t.Errorf("a step holds a brace:\n%s", script)
		}
	}
}
