package jenkins_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// patience bounds each wait for an event; it only keeps a broken test from hanging.
const patience = 30 * time.Second

// lab is a pool with nodes, in a folder of its own.
type lab struct {
	*testing.T
	folder      string
	mark        string // in each secret: what shows it leaks
	url         string // of the database
	agentURL    string // where agents have another
	password    string // of its account
	driver, dsn string // for those who do to the database what we do not
	db          *pool.DB
}

func newMark() string { return strings.ToLower(rand.Text()[:9]) }

// newLab makes a pool on SQLite with so many nodes, node-1 and so on.
func newLab(t *testing.T, nodes int) *lab {
	t.Helper()
	folder := t.TempDir()
	l := &lab{T: t, folder: folder, mark: newMark(), url: "sqlite://" + folder + "/pool.db", driver: "sqlite", dsn: "file:" + folder + "/pool.db?_pragma=busy_timeout(5000)"}
	l.ctl("init")
	l.open(nodes)
	return l
}

// newServerLab is the same on the test server; without one the test is skipped.
func newServerLab(t *testing.T, nodes int) *lab {
	t.Helper()
	u := testneeds.Server(t, "MOLTENIRON_TEST_MYSQL")
	mark := newMark()
	name, password := "kit_"+newMark(), "D'b/ "+mark
	admin, err := sql.Open("mysql", fmt.Sprintf("%s@tcp(%s)/", u.User, u.Host))
	if err != nil {
		t.Fatal(err)
	}
	do := func(statement string) {
		if _, err := admin.Exec(statement); err != nil {
			t.Errorf("%s: %v", strings.Fields(statement)[0], err)
		}
	}
	t.Cleanup(func() {
		do("DROP DATABASE IF EXISTS " + name)
		do("DROP USER IF EXISTS " + name)
		_ = admin.Close()
	})
	do("CREATE USER " + name + " IDENTIFIED BY '" + strings.ReplaceAll(password, "'", "''") + "'")
	do("GRANT ALL ON " + name + ".* TO " + name)
	u.User, u.Path = url.User(name), "/"+name
	l := &lab{T: t, folder: t.TempDir(), mark: mark, password: password, url: u.String(), driver: "mysql"}
	l.dsn = fmt.Sprintf("%s:%s@tcp(%s)/%s", name, password, u.Host, name)
	l.ctl("init")
	l.open(nodes)
	return l
}

// open fills the pool and opens it for the test itself.
func (l *lab) open(nodes int) {
	l.Helper()
	var inventory strings.Builder
	inventory.WriteString("nodes:\n")
	for i := 1; i <= nodes; i++ {
		fmt.Fprintf(&inventory, "  - {name: node-%d, arch: x86_64, bmc: {address: 192.0.2.%d, username: admin, password: \"Z'$H %s %d\"}}\n", i, i, l.mark, i)
	}
	l.ctl("import", l.write("nodes.yaml", inventory.String()))
	l.db = l.openAt(nil)
}

// openAt opens the pool with another clock than the database's, or with that.
func (l *lab) openAt(clock func() time.Time) *pool.DB {
	l.Helper()
	db, err := pool.Open(context.Background(), l.url, pool.Options{Actor: "lab", Password: secret.New(l.password), Clock: clock})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = db.Close() })
	return db
}

// lock keeps everybody from changing anything in the pool, until the function it gives is called.
func (l *lab) lock() (unlock func()) {
	l.Helper()
	db, err := sql.Open(l.driver, l.dsn)
	if err != nil {
		l.Fatal(err)
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		l.Fatal(err)
	}
	statements := []string{"BEGIN IMMEDIATE"}
	if l.driver == "mysql" {
		statements = []string{"BEGIN", "SELECT * FROM pool_locks FOR UPDATE"}
	}
	for _, s := range statements {
		if _, err := conn.ExecContext(context.Background(), s); err != nil {
			l.Fatalf("%s: %v", s, err)
		}
	}
	return sync.OnceFunc(func() {
		if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			l.Errorf("unlock: %v", err)
		}
		_ = conn.Close()
		_ = db.Close()
	})
}

func (l *lab) write(name, text string) string {
	l.Helper()
	path := filepath.Join(l.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.Fatal(err)
	}
	return path
}

// environ is that of an agent: where the programs, a test's stand-ins for others, and the database are.
func (l *lab) environ() []string {
	return []string{
		"PATH=" + l.folder + "/bin:" + os.Getenv("PATH"), "DEST=" + l.folder + "/dest", "HOME=" + l.folder, "TMPDIR=" + os.TempDir(), "XDG_CONFIG_HOME=" + l.folder,
		"MOLTENIRON_DATABASE=" + l.url, "MOLTENIRON_CONFIG=", "MOLTENIRON_OUTBOX=" + l.folder + "/outbox/lab",
	}
}

// ctl runs moltenironctl and gives what it printed.
func (l *lab) ctl(args ...string) string {
	l.Helper()
	cmd := exec.Command("moltenironctl", args...)
	cmd.Dir = l.folder
	cmd.Env = append(l.environ(), "MOLTENIRON_DATABASE_PASSWORD="+l.password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.Fatalf("moltenironctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// until waits until what is true.
func (l *lab) until(what string, is func() bool) {
	l.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
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
