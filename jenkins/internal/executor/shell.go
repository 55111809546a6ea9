package executor

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// leakTime is how long Jenkins waits for the output's end after the process has ended.
const leakTime = 10 * time.Second

// smallPipe is the least that a pipe of Linux holds.
const smallPipe = 4096

// characteristic are the variables by which run-aways of a build are found.
func (b *Build) characteristic() map[string]string {
	return map[string]string{
		"JENKINS_SERVER_COOKIE": b.controller.cookie, "JOB_NAME": b.JobName, "BUILD_NUMBER": strconv.Itoa(b.Number),
		"BUILD_ID": strconv.Itoa(b.Number), "BUILD_TAG": b.tag(),
	}
}

// tag is unique in hopeful eyes only: jobs a/b and a-b have the same.
func (b *Build) tag() string {
	return "jenkins-" + strings.ReplaceAll(b.JobName, "/", "-") + "-" + strconv.Itoa(b.Number)
}

// variables are those that a step gets beside its agent's.
func (b *Build) variables() map[string]string {
	m := b.characteristic()
	base := path.Base(b.JobName)
	maps.Copy(m, map[string]string{
		"CI": "true", "BUILD_DISPLAY_NAME": "#" + strconv.Itoa(b.Number), "JOB_BASE_NAME": base,
		"EXECUTOR_NUMBER": strconv.Itoa(b.seat.executor), "NODE_NAME": b.seat.agent.name, "NODE_LABELS": strings.Join(b.seat.agent.labels, " "),
		"WORKSPACE": b.seat.workspace, "WORKSPACE_TMP": b.seat.workspace + "@tmp", "JENKINS_HOME": b.controller.folder,
		"HUDSON_SERVER_COOKIE": b.controller.cookie,
	})
	if b.controller.url != "" {
		m["JENKINS_URL"], m["JOB_URL"], m["BUILD_URL"] = b.controller.url, b.jobURL(), b.URL()
	}
	if b.job.Timeout > 0 && b.job.TimeoutName != "" {
		m[b.job.TimeoutName] = strconv.FormatInt(b.job.Timeout.Milliseconds(), 10)
	}
	maps.Copy(m, b.bound)
	maps.Copy(m, b.parameters)
	maps.Copy(m, b.axes)
	return m
}

// shell runs a step and gives its exit status. The errors are those above, or why it could not be started.
func (b *Build) shell(s Shell, more map[string]string, after bool) (exit int, err error) {
	a := b.seat.agent
	if b.lost() {
		return -1, errNoWorkspace
	}
	defer func() {
		b.controller.mu.Lock()
		defer b.controller.mu.Unlock()
		b.steps = append(b.steps, Step{Script: s.Script, Exit: exit, After: after})
	}()
	if _, err := os.Stat(b.seat.workspace); err != nil {
		return -1, fmt.Errorf("process working directory %q doesn't exist", b.seat.workspace)
	}
	file, err := a.script(s.Script)
	if err != nil {
		return -1, err
	}
	defer os.Remove(file)
	args := []string{"/bin/sh", "-xe"}
	if line, ok := strings.CutPrefix(s.Script, "#!"); ok {
		line, _, _ = strings.Cut(line, "\n")
		args = strings.Fields(line)
	}
	cookie := map[string]string{"HUDSON_COOKIE": rand.Text()}
	cmd := exec.Command(args[0], append(args[1:], file)...) //nolint:noctx // an abort tells it to end, as Jenkins does, and kills nobody
	cmd.Dir = b.seat.workspace
	cmd.Env = slices.Clone(a.environ)
	for _, m := range []map[string]string{b.variables(), more, cookie} {
		for name, value := range m {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return -1, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	read := b.readFrom(r, w)
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return -1, err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // what became of it is in ProcessState
	}()
	return b.join(cmd, cookie, exited, read)
}

// join waits for the step's end, or for what comes before it.
func (b *Build) join(cmd *exec.Cmd, cookie map[string]string, exited, read <-chan struct{}) (int, error) {
	select {
	case <-b.gone:
		return -1, errGone
	case <-b.seat.agent.lost:
		b.say("Agent %s was lost", b.seat.agent.name)
		return -1, errLost
	case <-b.aborts:
		terminateAll(cmd.Process.Pid, cookie)
		if alive(cmd.Process.Pid) { // it has survived
			return -1, errInterrupted
		}
		<-exited
		return status(cmd), errInterrupted
	case <-exited:
		// It may have died of what comes with one of these.
		switch {
		case b.isGone():
			return -1, errGone
		case b.lost():
			return -1, errLost
		}
	}
	select {
	case <-read:
	case <-b.gone:
		return -1, errGone
	case <-b.stalled(leakTime):
		b.say("Process leaked file descriptors")
	}
	return status(cmd), nil
}

// stalled gives a channel that gets a value after the time, counted from when the controller does not hang.
func (b *Build) stalled(d time.Duration) <-chan time.Time {
	b.controller.mu.Lock()
	hung := b.controller.hung
	b.controller.mu.Unlock()
	if hung == nil {
		return time.After(d)
	}
	out := make(chan time.Time, 1)
	go func() {
		<-hung
		out <- <-time.After(d)
	}()
	return out
}

func status(cmd *exec.Cmd) int {
	if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

// script leaves a step's text where the agent's user and all others can read it.
func (a *Agent) script(text string) (string, error) {
	f, err := os.CreateTemp(a.folder+"/tmp", "jenkins*.sh")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text)
	return f.Name(), errors.Join(err, f.Chmod(0o644), f.Close())
}

// readFrom copies what a step prints into the console, until the last process that could print has closed
// the pipe, or the agent's connection is lost. The channel is closed then.
func (b *Build) readFrom(r, w *os.File) <-chan struct{} {
	c := b.controller
	c.mu.Lock()
	b.seat.agent.pipes[r] = struct{}{}
	hung, junk := c.hung, 0
	c.mu.Unlock()
	if hung != nil {
		junk = fill(w)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(b.seat.agent.pipes, r)
			_ = r.Close()
		}()
		buffer := make([]byte, 16<<10)
		for {
			c.mu.Lock()
			hung := c.hung
			c.mu.Unlock()
			if hung != nil {
				<-hung
			}
			n, err := r.Read(buffer)
			skip := min(n, junk)
			junk -= skip
			c.mu.Lock()
			if !b.isGone() {
				b.raw.Write(buffer[skip:n])
				c.change.Broadcast()
			}
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return read
}

// fill makes a pipe full, and says of how much.
func fill(w *os.File) int {
	raw, err := w.SyscallConn()
	if err != nil {
		panic(err)
	}
	n := 0
	_ = raw.Control(func(fd uintptr) {
		const setPipeSize = 1031 // F_SETPIPE_SZ, which package syscall does not name
		if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, smallPipe); e != 0 {
			panic(e)
		}
		n, _ = syscall.Write(int(fd), make([]byte, smallPipe))
	})
	return n
}
