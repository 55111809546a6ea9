package powertest

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/molteniron/molteniron/pkg/pool"
)

const (
	builders = 4
	nodes    = 6
	cuts     = 5
	// acknowledged is how many words of all builders lie between two cuts at least.
	acknowledged = 40
	imageBytes   = 24 << 20
)

// builderEnv makes a copy of the test binary a builder: its value is the database's URL.
const builderEnv = "MOLTENIRON_POWERTEST_BUILDER"

func TestMain(m *testing.M) {
	if url := os.Getenv(builderEnv); url != "" {
		if err := build(url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// build checks nodes out and in until it is killed, and says what it was told as soon as it knows.
func build(url string) error {
	ctx := context.Background()
	db, err := pool.Open(ctx, url, pool.Options{Actor: "builder"})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		a, err := db.Allocate(ctx, pool.Request{
			Owner: fmt.Sprintf("builder %d build %d", os.Getpid(), i), Groups: []pool.Group{{Count: 1}},
		}, pool.AllocateOptions{Wait: time.Minute})
		if err != nil {
			return err
		}
		if _, err := db.Claim(ctx, a.Token); err != nil {
			return err
		}
		fmt.Println("claimed", a.ID, a.NodeNames()[0])
		if _, err := db.Release(ctx, pool.ReleaseRequest{Token: a.Token}); err != nil {
			return err
		}
		fmt.Println("released", a.ID, a.NodeNames()[0])
	}
}

// builder is one process, with what it has said so far.
type builder struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	said []string
	read sync.WaitGroup
}

func (b *builder) words() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.said...)
}

// TestPowerCut stops all builders in the middle of what they do, copies the image as the disk has it at
// that moment (what only the kernel's memory holds is lost, as when the power goes), and lets them go on.
// Each copy must be a sound database that knows everything that any builder had been told.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, imageBytes); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Skipf("no file system can be made here: %v %s", err, out)
	}
	attach(t, image, mount)
	ctx := t.Context()
	url := "sqlite:" + filepath.Join(mount, "pool.db")
	if _, err := pool.Init(ctx, url, pool.Options{Actor: "powertest"}); err != nil {
		t.Fatal(err)
	}
	db, err := pool.Open(ctx, url, pool.Options{Actor: "powertest"})
	if err != nil {
		t.Fatal(err)
	}
	var specs []pool.NodeSpec
	for i := range nodes {
		specs = append(specs, pool.NodeSpec{Name: fmt.Sprintf("n%d", i), BMC: pool.BMC{Address: fmt.Sprintf("192.0.2.%d", i+1)}})
	}
	if err := db.AddNodes(ctx, specs); err != nil {
		t.Fatal(err)
	}
	_ = db.Close()

	crew := make([]*builder, builders)
	for i := range crew {
		crew[i] = start(t, url)
	}
	total := 0
	for cut := range cuts {
		await(t, crew, total+acknowledged)
		copied := filepath.Join(dir, fmt.Sprintf("cut-%d", cut))
		said := freeze(t, crew, func() { copyImage(t, image, copied) })
		total = 0
		for _, words := range said {
			total += len(words)
		}
		check(t, copied, filepath.Join(dir, fmt.Sprintf("disk-%d", cut)), said)
	}
	t.Logf("%d cuts, %d words of %d builders", cuts, total, builders)
}

// attach mounts an image until the test ends.
func attach(t *testing.T, image, mount string) {
	t.Helper()
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		t.Skipf("no image can be mounted here (it wants root and a loop device): %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("umount %s: %v %s", mount, err, out)
		}
	})
}

func start(t *testing.T, url string) *builder {
	t.Helper()
	b := &builder{cmd: exec.Command(os.Args[0])}
	b.cmd.Env = append(os.Environ(), builderEnv+"="+url)
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	b.cmd.Stderr = os.Stderr
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.read.Go(func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			b.mu.Lock()
			b.said = append(b.said, lines.Text())
			b.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = b.cmd.Process.Kill()
		b.read.Wait()
		_ = b.cmd.Wait()
	})
	return b
}

// await waits until the builders have said so many words together.
func await(t *testing.T, crew []*builder, want int) {
	t.Helper()
	for limit := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Millisecond) {
		n := 0
		for _, b := range crew {
			n += len(b.words())
		}
		if n >= want {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("the builders came to %d words in two minutes, not to %d", n, want)
		}
	}
}

// freeze stops all builders, notes what they had said by then, does what is to be done and has them go on.
func freeze(t *testing.T, crew []*builder, do func()) [][]string {
	t.Helper()
	for _, b := range crew {
		if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range crew {
		for !stopped(b.cmd.Process.Pid) {
			time.Sleep(time.Millisecond)
		}
	}
	// What was said after this moment may not be in the copy, so it is noted before.
	var said [][]string
	for _, b := range crew {
		said = append(said, b.words())
	}
	do()
	for _, b := range crew {
		if err := b.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	return said
}

// stopped reports whether all threads of a process are: a signal reaches the last of them a little later.
func stopped(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, task := range tasks {
		stat, err := os.ReadFile(task)
		// The state follows the command's name, which is in parentheses: proc_pid_stat(5).
		if i := bytes.LastIndexByte(stat, ')'); err == nil && (i < 0 || stat[i+2] != 'T') {
			return false
		}
	}
	return len(tasks) > 0
}

// copyImage copies the image as it is at one moment: the kernel may still write to it, so it is copied
// until two copies are the same.
func copyImage(t *testing.T, from, to string) {
	t.Helper()
	var last []byte
	for range 50 {
		now, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(now, last) {
			if err := os.WriteFile(to, now, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
		last = now
	}
	t.Fatal("the image changes all the time though nobody writes")
}

// check opens a copy as the machine does that comes up again.
func check(t *testing.T, image, mount string, said [][]string) {
	t.Helper()
	attach(t, image, mount)
	path := filepath.Join(mount, "pool.db")
	raw, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	var integrity string
	if err := raw.QueryRow("PRAGMA integrity_check").Scan(&integrity); err != nil || integrity != "ok" {
		t.Fatalf("the database is not sound: %s %v", integrity, err)
	}
	for _, words := range said {
		for _, word := range words {
			what, rest, _ := strings.Cut(word, " ")
			number, node, _ := strings.Cut(rest, " ")
			id, err := strconv.ParseInt(number, 10, 64)
			if err != nil {
				t.Fatalf("a builder said %q", word)
			}
			var state, had string
			err = raw.QueryRow(`SELECT a.state, an.node FROM allocations a JOIN allocation_nodes an ON an.allocation_id = a.id WHERE a.id = ?`, id).Scan(&state, &had)
			if err != nil || had != node || what == "released" && state != "ended" || what == "claimed" && state != "claimed" && state != "ended" {
				t.Fatalf("a builder was told %q, and after the power cut allocation %d is %q with %q: %v", word, id, state, had, err)
			}
		}
	}
	_ = raw.Close()

	// Whoever was at it is gone. When their time is over all nodes are home.
	db, err := pool.Open(t.Context(), "sqlite:"+path, pool.Options{Actor: "powertest", Clock: func() time.Time { return time.Now().Add(48 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := db.Nodes(t.Context(), pool.NodeFilter{})
	if err != nil || len(list) != nodes {
		t.Fatalf("%d nodes: %v", len(list), err)
	}
	for _, n := range list {
		if n.Status != pool.Ready {
			t.Errorf("node %s is %s", n.Name, n.Status)
		}
	}
}
