package stories

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"

	"github.com/molteniron/molteniron/internal/testneeds"
)

// patience bounds each wait of a story; events end it, this only keeps a broken test from hanging.
const patience = 20 * time.Second

func TestMain(m *testing.M) { os.Exit(testneeds.RunWithPrograms(m, "../../..", 4)) }

func TestSQLite(t *testing.T) {
	t.Parallel()
	run(t, "testdata", true, func(e *testscript.Env) error {
		return connect(e, "sqlite://"+e.WorkDir+"/pool.db", "sqlite", "file:"+e.WorkDir+"/pool.db?_pragma=busy_timeout(5000)")
	})
}

func TestMariaDB(t *testing.T) {
	t.Parallel()
	onServer(t, "testdata", "MOLTENIRON_TEST_MYSQL")
}

// TestGalera tells what happens on a cluster and nowhere else.
func TestGalera(t *testing.T) {
	t.Parallel()
	onServer(t, "testdata/galera", "MOLTENIRON_TEST_GALERA")
}

// onServer runs the stories of a folder, each with a database of its own on the server that a variable names.
func onServer(t *testing.T, folder, variable string) {
	u := testneeds.Server(t, variable)
	first, _, _ := strings.Cut(u.Host, ",")
	dsn := func(name string) string { return fmt.Sprintf("%s@tcp(%s)/%s", u.User, first, name) }
	run(t, folder, false, func(e *testscript.Env) error {
		name := "stories_" + strings.ToLower(rand.Text()[:12])
		e.Defer(func() {
			db, err := sql.Open("mysql", dsn(""))
			if err == nil {
				defer db.Close()
				_, err = db.Exec("DROP DATABASE IF EXISTS " + name)
			}
			if err != nil {
				t.Errorf("drop the story's database: %v", err)
			}
		})
		u := *u
		u.Path = "/" + name
		return connect(e, u.String(), "mysql", dsn(name))
	})
}

// story is what the commands of one script share.
type story struct {
	driver, dsn string
	running     map[string]*process
}

type storyKey struct{}

func connect(e *testscript.Env, url, driver, dsn string) error {
	s := &story{driver: driver, dsn: dsn, running: map[string]*process{}}
	e.Values[storyKey{}] = s
	e.Values[relayKey{}] = new([]*relay)
	e.Defer(func() {
		for _, p := range s.running {
			_ = p.cmd.Process.Kill()
			<-p.ended
		}
	})
	e.Setenv("MOLTENIRON_DATABASE", url)
	e.Setenv("MOLTENIRON_CONFIG", "")
	e.Setenv("XDG_CONFIG_HOME", e.WorkDir+"/config")
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("MOLTENIRON_OUTBOX", e.WorkDir+"/outbox") // the machine's own is none of a story's business
	return os.WriteFile(e.WorkDir+"/nodes.yaml", []byte(inventory), 0o600)
}

// inventory is what most stories begin with: two machines in one pool, one in another.
const inventory = `nodes:
  - {name: node-1, arch: x86_64, ram_mb: 65536, bmc: {address: 192.0.2.1, username: admin, password: "Zeb'ra one $HOME"}, macs: ["52:54:00:00:00:01"]}
  - {name: node-2, arch: x86_64, ram_mb: 32768, bmc: {address: 192.0.2.2, username: admin, password: "Zebra two"}, macs: ["52:54:00:00:00:02"]}
  - {name: arm-1, pool: arm, arch: aarch64, bmc: {address: 192.0.2.3, username: admin, password: "Zebra three"}, macs: ["52:54:00:00:00:03"]}
`

func run(t *testing.T, folder string, embedded bool, setup func(*testscript.Env) error) {
	testscript.Run(t, testscript.Params{
		Dir:                 folder,
		Setup:               setup,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(name string) (bool, error) {
			switch name {
			case "embedded": // is it SQLite, whose database is a file of this machine?
				return embedded, nil
			case "smalldisk": // may we mount a file system of one page?
				return exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt").Run() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"build":   build,
			"exits":   exits,
			"start":   start,
			"says":    says,
			"signal":  signal,
			"deafen":  deafen,
			"ends":    ends,
			"hidden":  hidden,
			"pool":    makePool,
			"free":    free,
			"sql":     runSQL,
			"await":   await,
			"argv":    argv,
			"both":    both,
			"forms":   bothForms,
			"aborts":  abortAnywhere,
			"mode":    mode,
			"stopped": stopped,
			"relayed": relayed,
			"down":    down,
			"mute":    mute,
			"up":      up,
			"skewed":  skewed,
		},
	})
}

func of(ts *testscript.TestScript) *story { return ts.Value(storyKey{}).(*story) }

// build NUMBER: from here on the environment is that of this Jenkins build. "build none" is none.
func build(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: build NUMBER | build none")
	}
	number, job := args[0], "team/nightly"
	ws := ts.MkAbs("ws-" + number)
	vars := map[string]string{
		"BUILD_NUMBER": number, "BUILD_ID": number, "JOB_NAME": job, "BUILD_TAG": "jenkins-team-nightly-" + number,
		"NODE_NAME": "agent-1", "EXECUTOR_NUMBER": "0", "JENKINS_URL": "https://ci.example.org/",
		"BUILD_URL": "https://ci.example.org/job/team/job/nightly/" + number + "/",
		"WORKSPACE": ws, "WORKSPACE_TMP": ws + "@tmp", "BUILD_RESULT": "",
	}
	if number != "none" {
		ts.Check(os.MkdirAll(ws, 0o755))
	}
	for name, value := range vars {
		if number == "none" {
			value = ""
		}
		ts.Setenv(name, value)
	}
}

// exits CODE PROGRAM ARG…: runs it and wants this exit status. What it printed is in stdout and stderr.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	expectCode(ts, args[1], err, want)
}

func expectCode(ts *testscript.TestScript, what string, err error, want int) {
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%s: %v", what, err)
	}
	if got != want {
		ts.Fatalf("%s: exit status %d, want %d", what, got, want)
	}
}

// process is a program in the background whose stderr the story reads while it runs.
type process struct {
	cmd    *exec.Cmd
	reader *os.File // of its stderr
	mu     sync.Mutex
	text   bytes.Buffer // what it said, guarded by mu
	more   chan struct{}
	ended  chan struct{}
	err    error // of Wait
}

// start NAME PROGRAM ARG…: runs it in the background, its stderr a pipe as under Jenkins. "! start" is
// the same under a Jenkins that hangs: the pipe is full, and nobody reads.
func start(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARG…")
	}
	r, w, err := os.Pipe()
	ts.Check(err)
	if neg {
		fill(ts, w)
	}
	p := &process{reader: r, more: make(chan struct{}, 1), ended: make(chan struct{})}
	p.cmd = command(ts, args[1], args[2:]...)
	p.cmd.Stderr = w
	ts.Check(p.cmd.Start())
	_ = w.Close()
	of(ts).running[args[0]] = p
	go func() {
		defer close(p.ended)
		if neg {
			p.err = p.cmd.Wait()
			return
		}
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			p.mu.Lock()
			p.text.Write(buf[:n])
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
			if err != nil {
				break
			}
		}
		p.err = p.cmd.Wait()
	}()
}

// fill writes into a pipe until it takes no more.
func fill(ts *testscript.TestScript, w *os.File) {
	ts.Check(w.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)))
	for _, size := range []int{4096, 1} {
		for err := error(nil); !errors.Is(err, os.ErrDeadlineExceeded); {
			_, err = w.Write(make([]byte, size))
		}
		ts.Check(w.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)))
	}
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{
		"PATH", "HOME", "TMPDIR", "WORK", "MOLTENIRON_DATABASE", "MOLTENIRON_CONFIG", "MOLTENIRON_OUTBOX", "XDG_CONFIG_HOME", "BUILD_NUMBER", "BUILD_ID",
		"JOB_NAME", "BUILD_TAG", "NODE_NAME", "EXECUTOR_NUMBER", "JENKINS_URL", "BUILD_URL", "TICKET", "WORKSPACE", "WORKSPACE_TMP", "BUILD_RESULT", "BUILD_TIMEOUT",
	} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

func find(ts *testscript.TestScript, name string) *process {
	p := of(ts).running[name]
	if p == nil {
		ts.Fatalf("no process %q is running", name)
	}
	return p
}

// says NAME REGEXP: waits until the process has said it.
func says(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: says NAME REGEXP")
	}
	p, re := find(ts, args[0]), regexp.MustCompile(args[1])
	end := time.After(patience)
	for {
		if re.MatchString(p.said()) {
			return
		}
		select {
		case <-p.more:
		case <-p.ended:
			if !re.MatchString(p.said()) {
				ts.Fatalf("%s ended (%v) and said:\n%s", args[0], p.err, p.said())
			}
			return
		case <-end:
			ts.Fatalf("%s did not say %s, but:\n%s", args[0], args[1], p.said())
		}
	}
}

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
}

// signal NAME SIGNAL: sends it.
func signal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || signals[args[1]] == 0 {
		ts.Fatalf("usage: signal NAME TERM|INT|HUP|KILL|STOP|CONT")
	}
	ts.Check(find(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// argv NAME: puts the process's command line, as everybody on the machine can read it, into the file
// argv-NAME.
func argv(ts *testscript.TestScript, neg bool, args []string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", find(ts, args[0]).cmd.Process.Pid))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("argv-"+args[0]), bytes.ReplaceAll(text, []byte{0}, []byte{'\n'}), 0o600))
}

// stopped NAME: waits until the kernel has stopped the process.
func stopped(ts *testscript.TestScript, neg bool, args []string) {
	p := find(ts, args[0])
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		ts.Check(err)
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && strings.HasPrefix(rest, "T") {
			return
		}
	}
	ts.Fatalf("%s is not stopped", args[0])
}

// deafen NAME: closes the reading end of the process's stderr, as when Jenkins dies.
func deafen(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(find(ts, args[0]).reader.Close())
}

// ends NAME CODE [WITHIN]: waits for its end, and wants this exit status, and within that time if given.
// What it said is in stderr for cmp and in the file stderr-NAME.
func ends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: ends NAME CODE [WITHIN]")
	}
	p := find(ts, args[0])
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	limit := patience
	if len(args) == 3 {
		limit, err = time.ParseDuration(args[2])
		ts.Check(err)
	}
	select {
	case <-p.ended:
	case <-time.After(limit):
		ts.Fatalf("%s did not end within %s; it said:\n%s", args[0], limit, p.said())
	}
	delete(of(ts).running, args[0])
	ts.Logf("%s said:\n%s", args[0], p.said())
	ts.Check(os.WriteFile(ts.MkAbs("stderr-"+args[0]), []byte(p.said()), 0o600))
	expectCode(ts, args[0], p.err, want)
}

// token is what the secret name of an allocation looks like.
var token = regexp.MustCompile(`\b[A-Z2-7]{26}\b`)

// hidden FILE…: no password of the inventory and no token is in any of them; stdout and stderr are the
// last command's.
func hidden(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		text := ts.ReadFile(name)
		if strings.Contains(text, "Zeb") || token.MatchString(text) {
			ts.Fatalf("%s shows a secret:\n%s", name, text)
		}
	}
}

// pool: makes the database and imports the inventory.
func makePool(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Exec("moltenironctl", "init"))
	ts.Check(ts.Exec("moltenironctl", "pool", "add", "arm"))
	ts.Check(ts.Exec("moltenironctl", "import", "nodes.yaml"))
}

// free NODE…: the nodes are ready and nobody's, and nothing of theirs is left open. "! free" is the reverse.
func free(ts *testscript.TestScript, neg bool, args []string) {
	for _, node := range args {
		var status string
		var allocation sql.NullInt64
		err := query(ts, func(ctx context.Context, db *sql.DB) error {
			return db.QueryRowContext(ctx, "SELECT status, allocation_id FROM nodes WHERE name = ?", node).Scan(&status, &allocation)
		})
		ts.Check(err)
		if isFree := status == "ready" && !allocation.Valid; isFree == neg {
			ts.Fatalf("%s is %s, allocation %v", node, status, allocation)
		}
	}
}

// sql STATEMENT: runs it on the story's database.
func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(query(ts, func(ctx context.Context, db *sql.DB) error {
		result, err := db.ExecContext(ctx, strings.Join(args, " "))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err == nil && n == 0 {
			return errors.New("no row was changed")
		}
		return nil
	}))
}

// await QUERY: waits until it counts something.
func await(ts *testscript.TestScript, neg bool, args []string) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var n int
		ts.Check(query(ts, func(ctx context.Context, db *sql.DB) error {
			return db.QueryRowContext(ctx, strings.Join(args, " ")).Scan(&n)
		}))
		if n > 0 {
			return
		}
	}
	ts.Fatalf("never true: %s", strings.Join(args, " "))
}

func query(ts *testscript.TestScript, fn func(context.Context, *sql.DB) error) error {
	db, err := sql.Open(of(ts).driver, of(ts).dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return fn(ctx, db)
}

// mode PERMISSIONS FILE…: the files have exactly these.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", filepath.Base(name), got, args[0])
		}
	}
}
