package jenkins_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// patience bounds each wait for an event; it only keeps a broken test from hanging.
const patience = 30 * time.Second

// bmcPassword is in the password of every node: whatever shows it leaks.
const bmcPassword = "Zeb'ra $HOME"

// lab is a pool with nodes, in a folder of its own.
type lab struct {
	*testing.T
	folder string
	url    string // of the database
	db     *pool.DB
}

// newLab makes a pool on SQLite with so many nodes, node-1 and so on.
func newLab(t *testing.T, nodes int) *lab {
	t.Helper()
	folder := t.TempDir()
	return openLab(t, folder, "sqlite://"+folder+"/pool.db", nodes)
}

func openLab(t *testing.T, folder, url string, nodes int) *lab {
	t.Helper()
	l := &lab{T: t, folder: folder, url: url}
	var inventory strings.Builder
	inventory.WriteString("nodes:\n")
	for i := 1; i <= nodes; i++ {
		fmt.Fprintf(&inventory, "  - {name: node-%d, arch: x86_64, bmc: {address: 192.0.2.%d, username: admin, password: \"%s %d\"}}\n", i, i, bmcPassword, i)
	}
	l.write("nodes.yaml", inventory.String())
	l.ctl("init")
	if nodes > 0 {
		l.ctl("import", filepath.Join(folder, "nodes.yaml"))
	}
	db, err := pool.Open(t.Context(), url, pool.Options{Actor: "lab"})
	if err != nil {
		t.Fatal(err)
	}
	l.db = db
	t.Cleanup(func() { _ = db.Close() })
	return l
}

func (l *lab) write(name, text string) string {
	l.Helper()
	path := filepath.Join(l.folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.Fatal(err)
	}
	return path
}

// environ is that of an agent: where the programs and the database are, and no more than it needs.
func (l *lab) environ() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + l.folder, "TMPDIR=" + os.TempDir(), "XDG_CONFIG_HOME=" + l.folder,
		"MOLTENIRON_DATABASE=" + l.url, "MOLTENIRON_CONFIG=",
	}
}

// ctl runs moltenironctl and gives what it printed.
func (l *lab) ctl(args ...string) string {
	l.Helper()
	cmd := exec.Command("moltenironctl", args...)
	cmd.Dir = l.folder
	cmd.Env = l.environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.Fatalf("moltenironctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// until waits until what is true.
func (l *lab) until(what string, is func() bool) {
	l.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	l.Fatalf("never: %s\n%s%s", what, l.ctl("status"), l.ctl("queue"))
}

// of gives the allocations of an owner, the newest first.
func (l *lab) of(owner string) []pool.Allocation {
	l.Helper()
	list, err := l.db.Allocations(context.Background(), pool.AllocationFilter{Owner: owner})
	if err != nil {
		l.Fatal(err)
	}
	return list
}

// state is where the newest allocation of an owner stands, "" for none.
func (l *lab) state(owner string) pool.State {
	l.Helper()
	if list := l.of(owner); len(list) > 0 {
		return list[0].State
	}
	return ""
}
