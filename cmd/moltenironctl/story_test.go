package main

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/jenkins/jenkinstest"
)

// patience bounds each wait of a story; events end it, this only keeps a broken test from hanging.
const patience = 20 * time.Second

// TestMain makes this binary be moltenironctl in the stories: the real main, in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){program: main})
}

// The stories in testdata, each with a database of its own that $MOLTENIRON_DATABASE names.
func TestSQLite(t *testing.T) {
	t.Parallel()
	tell(t, "sqlite", func(e *testscript.Env) string { return "sqlite://" + e.WorkDir + "/pool.db" })
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	u := testneeds.Server(t, "MOLTENIRON_TEST_MYSQL")
	tell(t, "mariadb", func(e *testscript.Env) string {
		name := "ctl_" + strings.ToLower(rand.Text()[:12])
		e.Defer(func() {
			db, err := sql.Open("mysql", fmt.Sprintf("%s@tcp(%s)/", u.User, u.Host))
			if err == nil {
				defer db.Close()
				_, err = db.Exec("DROP DATABASE IF EXISTS " + name)
			}
			if err != nil {
				t.Errorf("drop the story's database: %v", err)
			}
		})
		own := *u
		own.Path = "/" + name
		return own.String()
	})
}

func tell(t *testing.T, engine string, database func(*testscript.Env) string) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // the detector's own second at the end of each process
			e.Values[jenkinsKey{}] = map[string]*jenkinstest.Server{}
			e.Setenv("MOLTENIRON_DATABASE", database(e))
			e.Setenv("MOLTENIRON_OUTBOX", e.WorkDir+"/outbox") // the machine's own is none of a story's business
			return os.Mkdir(e.WorkDir+"/home", 0o700)
		},
		Condition: func(name string) (bool, error) {
			if name != "sqlite" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return engine == name, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":    exits,
			"until":    until,
			"original": original,
			"jenkins":  playJenkins,
		},
	})
}

// exits CODE PROGRAM ARG…: runs it and wants this exit status. What it printed is in stdout and stderr.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode() // -1 when a signal killed it
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// until REGEXP PROGRAM ARG…: runs it again and again until it prints what matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARG…")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		cmd := exec.Command(args[1], args[2:]...)
		cmd.Dir = ts.MkAbs(".")
		for _, name := range []string{"PATH", "HOME", "MOLTENIRON_DATABASE", "MOLTENIRON_OUTBOX"} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		if out, _ := cmd.CombinedOutput(); re.Match(out) {
			ts.Logf("%s", out)
			return
		}
	}
	ts.Fatalf("%s: nothing that matches %s for %s", strings.Join(args[1:], " "), args[0], patience)
}
