package stories

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/molteniron/molteniron/pkg/stage"
)

// abortAnywhere N [enqueue]: N builds whose pre-hooks get a signal, each a little later in their life than
// the one before, from the first instruction to after the last. Whatever the moment, a pre-hook either
// holds its machine and has its file (with enqueue: its ticket), or has left nothing.
func abortAnywhere(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	enqueue := len(args) > 1
	code, life := abort(ts, 1000, enqueue, 0, 0)
	if code != 0 {
		ts.Fatalf("an undisturbed pre-hook: exit status %d", code)
	}
	done, undone := 0, 0
	for i := range n {
		s := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP}[i%3]
		code, took := abort(ts, 1001+i, enqueue, s, life*time.Duration(2*i)/time.Duration(n))
		switch {
		case code == 0:
			done++
		case code == 128+int(s), code == -1: // -1: it was so young that it died of the signal
			undone++
		default:
			ts.Fatalf("%s: exit status %d", s, code)
		}
		if took > 2*time.Second {
			ts.Fatalf("%s: gone after %s", s, took)
		}
	}
	ts.Logf("%d were done, %d undone", done, undone)
	if done == 0 || undone == 0 {
		ts.Fatalf("%d done, %d undone: the signals were not spread over the life of a pre-hook, which took %s", done, undone, life)
	}
}

// abort runs the pre-hook of a build, sends it a signal after a delay and checks what it leaves; then its
// post-hook gives back what it has. It returns the exit status and how long the pre-hook lived after the
// signal; signal 0 is none.
func abort(ts *testscript.TestScript, number int, enqueue bool, s syscall.Signal, delay time.Duration) (int, time.Duration) {
	build(ts, false, []string{strconv.Itoa(number)})
	folder, wrote := ts.Getenv("WORKSPACE_TMP"), 2 // the env file and its manifest
	cmd := command(ts, "molten-prehook", "--pool", "arm")
	if enqueue {
		wrote = 1
		ts.Check(os.MkdirAll(folder, 0o700))
		cmd = command(ts, "molten-prehook", "--pool", "arm", "--enqueue", "--ticket-file", folder+"/ticket")
	}
	ts.Check(cmd.Start())
	if s != 0 {
		time.Sleep(delay) // this moment is what is tested
		_ = cmd.Process.Signal(s)
	}
	sent := time.Now()
	_ = cmd.Wait()
	took := time.Since(sent)
	code := cmd.ProcessState.ExitCode()

	files, _ := os.ReadDir(folder) // it may not have come to make it
	active := activeOf(ts, ts.Getenv("BUILD_URL"))
	switch {
	case code == 0 && (active != 1 || len(files) != wrote):
		ts.Fatalf("%s after %s: exit status 0, %d allocations, files %v", s, delay, active, files)
	case code != 0 && (active != 0 || len(files) != 0):
		ts.Fatalf("%s after %s: exit status %d, %d allocations, files %v", s, delay, code, active, files)
	}
	finish(ts)
	return code, took
}

// both N: N builds whose two hooks run at the same time, as after an abort with a pre-hook that is slow
// to die. Nothing may be left of them.
func both(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	for i := range n {
		build(ts, false, []string{strconv.Itoa(2000 + i)})
		pre, post := command(ts, "molten-prehook", "--pool", "arm"), command(ts, "molten-posthook")
		ts.Check(pre.Start())
		time.Sleep(time.Duration(i%10) * time.Millisecond) // another overlap each time
		ts.Check(post.Start())
		_, _ = pre.Wait(), post.Wait()
		if code := post.ProcessState.ExitCode(); code != 0 {
			ts.Fatalf("the post-hook: exit status %d", code)
		}
		files, _ := os.ReadDir(ts.Getenv("WORKSPACE_TMP"))
		if active := activeOf(ts, ts.Getenv("BUILD_URL")); active != 0 || len(files) != 0 {
			ts.Fatalf("the pre-hook ended with %d; %d allocations and the files %v are left", pre.ProcessState.ExitCode(), active, files)
		}
	}
}

func finish(ts *testscript.TestScript) {
	post := command(ts, "molten-posthook")
	if out, err := post.CombinedOutput(); err != nil {
		ts.Fatalf("the post-hook: %v\n%s", err, out)
	}
}

func command(ts *testscript.TestScript, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = environ(ts)
	return cmd
}

func activeOf(ts *testscript.TestScript, owner string) int {
	var n int
	ts.Check(query(ts, func(ctx context.Context, db *sql.DB) error {
		return db.QueryRowContext(ctx, "SELECT COUNT(*) FROM allocations WHERE owner = ? AND state <> 'ended'", owner).Scan(&n)
	}))
	return n
}

// bothForms N: as both, with the forms for other programs, in a folder that the post-hook is not told of.
func bothForms(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	folder := ts.MkAbs("devstack")
	ts.Check(os.MkdirAll(folder, 0o700))
	ts.Check(os.WriteFile(folder+"/localrc", []byte("A=1\n"), 0o600))
	handed := 0
	for i := range n {
		build(ts, false, []string{strconv.Itoa(3000 + i)})
		pre := command(ts, "molten-prehook", "--pool", "arm", "--localrc", folder+"/localrc",
			"--properties-file", folder+"/p", "--inventory-file", folder+"/i.yaml", "--baremetal-file", folder+"/b.json")
		ts.Check(pre.Start())
		time.Sleep(time.Duration(i%20) * 3 * time.Millisecond) // another overlap each time
		if i%3 == 0 {
			_ = pre.Process.Kill()
			_ = pre.Wait() // it may be making a file yet
		}
		finish(ts)
		if _ = pre.Wait(); pre.ProcessState.ExitCode() == 0 {
			handed++
		}
		finish(ts) // the first may have come before the pre-hook had done anything
		tmp := ts.Getenv("WORKSPACE_TMP")
		files, _ := os.ReadDir(tmp)
		forms, err := os.ReadDir(folder)
		ts.Check(err)
		if i%3 == 0 {
			files, forms = withoutNameless(ts, tmp, files), withoutNameless(ts, folder, forms)
		}
		text, err := os.ReadFile(folder + "/localrc")
		ts.Check(err)
		if len(files) != 0 || len(forms) != 1 || string(text) != "A=1\n" {
			ts.Fatalf("the pre-hook ended with %d; the files %v and %v are left, and localrc is %q", pre.ProcessState.ExitCode(), files, forms, text)
		}
	}
	ts.Logf("%d of %d pre-hooks handed their node over", handed, n)
}

// withoutNameless removes from a folder what a pre-hook that was killed leaves until it is old, because nothing
// says whose it is and it holds nothing of ours: its first file without a word in it yet, and the second name of
// a person's file that it was about to replace, or had replaced.
func withoutNameless(ts *testscript.TestScript, folder string, files []os.DirEntry) []os.DirEntry {
	return slices.DeleteFunc(files, func(f os.DirEntry) bool {
		if stage.SetOf(f.Name()) == "" {
			return false
		}
		path := filepath.Join(folder, f.Name())
		text, err := os.ReadFile(path)
		ts.Check(err)
		return (len(text) == 0 || string(text) == "A=1\n") && os.Remove(path) == nil
	})
}
