package jenkins_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
)

// pipeline is withMoltenIron.groovy on Groovy 2.4, which is Jenkins' own: Debian has the same.
type pipeline struct {
	*lab
	workspace string
	owner     string
	output    bytes.Buffer
	cmd       *exec.Cmd
}

// start begins a pipeline that does body, a script of the shell, within the step.
func (l *lab) start(tool string, number int, settings, body string) *pipeline {
	l.Helper()
	p := &pipeline{lab: l, workspace: filepath.Join(l.folder, fmt.Sprint("ws-", number))}
	p.owner = fmt.Sprintf("https://ci.example.org/job/pipe/%d/", number)
	for _, folder := range []string{p.workspace, p.workspace + "@tmp"} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			l.Fatal(err)
		}
	}
	p.cmd = exec.Command(tool, "testdata/pipeline.groovy", body, settings)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.Env = append(l.environ(), "WORKSPACE="+p.workspace, "WORKSPACE_TMP="+p.workspace+"@tmp", "BUILD_URL="+p.owner,
		"JENKINS_URL=https://ci.example.org/", "LIBRARY=vars/withMoltenIron.groovy", "JAVA_HOME="+javaHome(l.T))
	if err := p.cmd.Start(); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// javaHome is of whatever Java there is: Debian's groovy looks for the default one alone.
func javaHome(t *testing.T) string {
	t.Helper()
	java, err := exec.LookPath("java")
	if err == nil {
		java, err = filepath.EvalSymlinks(java)
	}
	if err != nil {
		t.Fatalf("groovy without java: %v", err)
	}
	return filepath.Dir(filepath.Dir(java))
}

// end waits for the pipeline's end, wants it to have passed or not, and that it left and showed nothing.
func (p *pipeline) end(pass bool) string {
	p.Helper()
	err := p.cmd.Wait()
	text := p.output.String()
	if passed := err == nil && strings.HasSuffix(text, "the pipeline goes on\n"); passed != pass {
		p.Fatalf("the pipeline: %v\n%s", err, text)
	}
	if p.leaks(text) {
		p.Errorf("the log shows a password:\n%s", text)
	}
	files, err := os.ReadDir(p.workspace + "@tmp")
	if err != nil {
		p.Fatal(err)
	}
	if len(files) != 0 {
		p.Errorf("files are left: %v", files)
	}
	return text
}

func TestPipeline(t *testing.T) {
	tool := testneeds.Program(t, "groovy")
	l := newLab(t, 3)

	p := l.start(tool, 1, "[pool: 'default', count: 2, require: ['arch=x86_64', 'mac:absent'], 'json-file': '"+l.folder+"/nodes.json']",
		"#!/bin/sh -e\n. \"$WORKSPACE_TMP/molteniron.env\"\necho \"on $MOLTEN_NODES\"\ntest -s '"+l.folder+"/nodes.json'\n")
	text := p.end(true)
	if !strings.Contains(text, "on node-1 node-2\n") {
		t.Errorf("the body's output is missing:\n%s", text)
	}
	if a := l.of(p.owner); len(a) != 1 || a[0].State != pool.Ended || a[0].Result != "SUCCESS" || len(a[0].Groups[0].Require) != 2 {
		t.Errorf("the allocation: %+v", a)
	}

	// Without a shebang, sh shows its commands; the env file hides itself all the same.
	p = l.start(tool, 2, "[:]", ". \"$WORKSPACE_TMP/molteniron.env\"\nfalse\n")
	if text := p.end(false); !strings.Contains(text, "script returned exit code 1") || !strings.Contains(text, "+ false") {
		t.Errorf("why the body failed is not told:\n%s", text)
	}
	if a := l.of(p.owner); len(a) != 1 || a[0].State != pool.Ended {
		t.Errorf("the allocation: %+v", a)
	}

	// The same, kept for a post-mortem.
	// A parameter that a pipeline does not have is null there, and not asked for.
	p = l.start(tool, 5, "[pool: null, 'hold-on-failure': '1h']", "#!/bin/sh\nfalse\n")
	if text := p.end(false); !strings.Contains(text, "held for a post-mortem") {
		t.Errorf("nothing is held:\n%s", text)
	}
	if a := l.of(p.owner); len(a) != 1 || a[0].State != pool.Claimed || a[0].HoldReason == "" || a[0].Result != "FAILURE" {
		t.Errorf("the allocation: %+v", a)
	}
	l.ctl("release", "--owner", p.owner)

	// Aborted while its body runs: that is what the history tells.
	p = l.start(tool, 6, "[:]", "#!/bin/sh\n: >running\nexec sleep 60\n")
	l.until("the body runs", func() bool {
		_, err := os.Stat(filepath.Join(p.workspace, "running"))
		return err == nil
	})
	if err := os.WriteFile(filepath.Join(p.workspace, "abort"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.end(false)
	if a := l.of(p.owner); len(a) != 1 || a[0].EndReason != pool.EndReleased || a[0].Result != "ABORTED" {
		t.Errorf("the allocation: %+v", a)
	}

	// No node: the body does not run.
	p = l.start(tool, 3, "[require: 'arch=aarch64']", "#!/bin/sh\necho never")
	if text := p.end(false); !strings.Contains(text, "script returned exit code 11") || strings.Contains(text, "never\n") {
		t.Errorf("a request that nobody could meet:\n%s", text)
	}

	// Aborted while it waits: it leaves the queue, and the post-hook runs.
	l.ctl("allocate", "--owner", "holder", "--count", "3")
	p = l.start(tool, 4, "[count: 3]", "#!/bin/sh\necho never")
	l.until("the pipeline waits", func() bool { return l.state(p.owner) == pool.Waiting })
	if err := os.WriteFile(filepath.Join(p.workspace, "abort"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if text := p.end(false); !strings.Contains(text, "terminated") || !strings.Contains(text, "FlowInterruptedException") || strings.Contains(text, "never\n") {
		t.Errorf("an abort:\n%s", text)
	}
	if got := l.state(p.owner); got != pool.Ended {
		t.Errorf("the aborted build is %q in the queue", got)
	}
}

// The example must be Groovy, and the help must be of the step that it names. What a declarative pipeline
// means, only a Jenkins knows.
func TestJenkinsfile(t *testing.T) {
	tool := testneeds.Program(t, "groovy")
	cmd := exec.Command(tool, "-e", `
		new GroovyShell().parse(new File('examples/Jenkinsfile').text.replaceFirst(/@Library\('molteniron'\) _/, ''))
		new GroovyShell().parse(new File('vars/withMoltenIron.groovy'))`)
	cmd.Env = append(os.Environ(), "JAVA_HOME="+javaHome(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, file := range []string{"examples/Jenkinsfile", "vars/withMoltenIron.txt"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if strings.Contains(line, "sh '") && !strings.Contains(line, "sh '''#!/bin/sh -e") || strings.Contains(line, `sh "`) {
				t.Errorf("%s: a step that shows its commands, or that pastes values into a script: %s", file, line)
			}
		}
	}
}
