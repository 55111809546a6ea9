package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this binary be the child that the tests send real signals to.
func TestMain(m *testing.M) {
	if mode := os.Getenv("CLI_TEST_CHILD"); mode != "" {
		os.Exit(child(mode))
	}
	os.Exit(m.Run())
}

// child waits for the end of its context, then undoes something: quickly, once a second signal has
// come, or never.
func child(mode string) int {
	ctx, stop := NotifySignals(context.Background())
	defer stop()
	if mode == "pipe" { // the parent closed its ends: writes must fail, not kill
		if _, err := os.Stderr.WriteString("anybody?\n"); !errors.Is(err, syscall.EPIPE) {
			return 99
		}
		for range 2 {
			if _, err := fmt.Println("data"); !errors.Is(err, syscall.EPIPE) {
				return 98
			}
		}
		return 42
	}
	fmt.Println("ready")
	<-ctx.Done()
	fmt.Println("undoing")
	switch mode {
	case "stdin": // the undo ends when the parent says so
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
			return 97
		}
		fmt.Println("undone")
	case "forever":
		select {}
	}
	return Finish(ctx, os.Stderr, "child", fmt.Errorf("wait: %w", ctx.Err()))
}

func startChild(t *testing.T, mode string, prepare func(*exec.Cmd)) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "CLI_TEST_CHILD="+mode)
	prepare(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func TestNotifySignals(t *testing.T) {
	for _, tt := range []struct {
		signal syscall.Signal
		code   int
		word   string
	}{
		{syscall.SIGHUP, 129, "hung up"},
		{syscall.SIGINT, 130, "interrupted"},
		{syscall.SIGTERM, 143, "terminated"},
	} {
		t.Run(tt.word, func(t *testing.T) {
			var stderr bytes.Buffer
			var lines *bufio.Reader
			cmd := startChild(t, "quick", func(c *exec.Cmd) {
				c.Stderr = &stderr
				lines = reader(t, c)
			})
			expectLine(t, lines, "ready")
			send(t, cmd, tt.signal)
			expectLine(t, lines, "undoing")
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != tt.code {
				t.Errorf("exit status %d, want %d", got, tt.code)
			}
			if want := "child: " + tt.word + ": wait: context canceled\n"; stderr.String() != want {
				t.Errorf("stderr %q, want %q", stderr.String(), want)
			}
		})
	}
}

// A second signal, such as an impatient ^C, must not cut the undo short.
func TestSecondSignal(t *testing.T) {
	var lines *bufio.Reader
	var stdin interface{ Write([]byte) (int, error) }
	cmd := startChild(t, "stdin", func(c *exec.Cmd) {
		lines = reader(t, c)
		w, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdin = w
	})
	expectLine(t, lines, "ready")
	send(t, cmd, syscall.SIGINT)
	expectLine(t, lines, "undoing")
	send(t, cmd, syscall.SIGINT)
	send(t, cmd, syscall.SIGTERM)
	if _, err := stdin.Write([]byte("go on\n")); err != nil {
		t.Fatal(err)
	}
	expectLine(t, lines, "undone")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("exit status %d (%s), want 130", got, cmd.ProcessState)
	}
}

// An undo that hangs must not keep the process: Jenkins gives all processes of a build 5 s together.
func TestUndoLimit(t *testing.T) {
	var stderr bytes.Buffer
	var lines *bufio.Reader
	cmd := startChild(t, "forever", func(c *exec.Cmd) {
		c.Stderr = &stderr
		lines = reader(t, c)
	})
	expectLine(t, lines, "ready")
	start := time.Now()
	send(t, cmd, syscall.SIGTERM)
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 143 {
		t.Errorf("exit status %d, want 143", got)
	}
	if took := time.Since(start); took < undoLimit-100*time.Millisecond || took > undoLimit+time.Second {
		t.Errorf("gone after %s, want %s", took, undoLimit)
	}
	if !strings.Contains(stderr.String(), "the undo took longer") {
		t.Errorf("stderr does not say so: %q", stderr.String())
	}
}

// What was started by nohup stays immune.
func TestIgnoredSignal(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var lines *bufio.Reader
	cmd := startChild(t, "quick", func(c *exec.Cmd) {
		c.Path, c.Args = "/bin/sh", []string{"sh", "-c", `trap "" HUP; exec "$0"`, self}
		lines = reader(t, c)
	})
	expectLine(t, lines, "ready")
	send(t, cmd, syscall.SIGHUP)
	send(t, cmd, syscall.SIGTERM)
	expectLine(t, lines, "undoing")
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 143 {
		t.Errorf("exit status %d, want 143: the ignored HUP must not count", got)
	}
}

func TestBrokenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	cmd := startChild(t, "pipe", func(c *exec.Cmd) { c.Stdout, c.Stderr = w, w })
	_ = w.Close()
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 42 {
		t.Errorf("exit status %d (%s), want 42: a broken pipe must be an error of the write", got, cmd.ProcessState)
	}
}

func reader(t *testing.T, c *exec.Cmd) *bufio.Reader {
	t.Helper()
	r, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(r)
}

func expectLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	got, err := r.ReadString('\n')
	if err != nil || got != want+"\n" {
		t.Fatalf("the child said %q (%v), want %q", got, err, want)
	}
}

func send(t *testing.T, cmd *exec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
