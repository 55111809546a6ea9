package pool_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
)

// reached is a database by a line of its own to each host.
type reached struct {
	*testing.T
	server *url.URL // by no line
	hosts  []string
	wires  []*wire
	url    *url.URL // by the lines
}

// reach lays lines to the hosts of a database; the lines' own ends are at the addresses given, 127.0.0.1 if none.
func reach(t *testing.T, database string, ends ...string) *reached {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	server := *u
	r := &reached{T: t, server: &server, hosts: strings.Split(u.Host, ","), url: u}
	var ways []string
	for i, host := range r.hosts {
		end := "127.0.0.1:0"
		if i < len(ends) {
			end = ends[i]
		}
		r.wires = append(r.wires, newWire(t, end, host))
		ways = append(ways, r.wires[i].address())
	}
	u.Host = strings.Join(ways, ",")
	return r
}

func (r *reached) open() *pool.DB {
	r.Helper()
	db, err := pool.Open(r.Context(), r.url.String(), pool.Options{Actor: "reach"})
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = db.Close() })
	return db
}

// at checks which of the hosts is in use, from 0.
func (r *reached) at(want int) {
	r.Helper()
	for i, w := range r.wires {
		if w.used() != (i == want) {
			r.Errorf("host %d is in use: %v; want host %d alone", i, w.used(), want)
		}
	}
}

// write changes something.
func (r *reached) write(db *pool.DB, what string) {
	r.Helper()
	if err := db.PausePool(r.Context(), pool.DefaultPool, what); err != nil {
		r.Errorf("%s: %v", what, err)
	}
}

// clusterDatabase is a case's database on the cluster, by its hosts in their order. No test that runs beside others may
// use it to change what a host is.
func clusterDatabase(t *testing.T) string {
	t.Helper()
	u := testneeds.Server(t, "MOLTENIRON_TEST_GALERA")
	return serverEngine(t, u, u.Host)(t)[0]
}

func TestHostsInOrder(t *testing.T) {
	r := reach(t, clusterDatabase(t))
	db := r.open()
	r.write(db, "the first")
	r.at(0)
	// A host that is gone is left, and a handle that knows of it tries it last.
	r.wires[0].down()
	r.write(db, "the second")
	r.at(1)
	r.wires[1].down()
	r.write(db, "the third")
	r.at(2)
}

// TestHostThatIsSilent: a frozen host takes connections, and says nothing.
func TestHostThatIsSilent(t *testing.T) {
	t.Parallel()
	r := reach(t, clusterDatabase(t))
	defer r.wires[0].hush()()
	begun := time.Now()
	r.open()
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %s to leave a host that says nothing", took)
	}
	if !r.wires[1].used() {
		t.Error("the second host is not in use")
	}
}

// account has the lines used with an account of their own, for root may do what others may not. It gives what runs a
// statement at the first host as root.
func (r *reached) account(limits string) (do func(statement string)) {
	r.Helper()
	root, name := connect(r.T, r.server, r.hosts[0]), r.url.Path[1:]
	do = func(statement string) {
		r.Helper()
		if _, err := root.ExecContext(context.Background(), statement); err != nil {
			r.Fatal(err)
		}
	}
	user := "reach_" + name[len(name)-8:]
	do("CREATE USER " + user + "@'%' " + limits)
	r.Cleanup(func() { do("DROP USER " + user + "@'%'") })
	do("GRANT ALL ON " + name + ".* TO " + user + "@'%'")
	r.url.User = url.User(user)
	for i := range r.hosts { // one may come to know of it a moment later
		for limit := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			db := r.direct(i)
			err := db.Ping()
			_ = db.Close()
			if err == nil {
				break
			} else if time.Now().After(limit) {
				r.Fatalf("host %s does not know the account: %v", r.hosts[i], err)
			}
		}
	}
	return do
}

// direct gives the account a handle to a host by no line.
func (r *reached) direct(i int) *sql.DB {
	r.Helper()
	u := *r.server
	u.User = r.url.User
	return connect(r.T, &u, r.hosts[i])
}

// TestHostThatIsCrowded: who is one too many waits for a place at the same host, because whoever writes at another
// makes conflicts.
func TestHostThatIsCrowded(t *testing.T) {
	t.Parallel()
	r := reach(t, clusterDatabase(t))
	r.account("WITH MAX_USER_CONNECTIONS 1")
	holder, err := r.direct(0).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		db, err := pool.Open(t.Context(), r.url.String(), pool.Options{Patience: time.Millisecond})
		if err == nil {
			defer db.Close()
			_, err = db.Pools(t.Context())
		}
		opened <- err
	}()
	for r.wires[0].taken.Load() < 3 {
		select {
		case err := <-opened:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	_ = holder.Raw(func(any) error { return driver.ErrBadConn }) // back to the server, not to its pool
	if err := <-opened; err != nil {
		t.Error(err)
	}
	if n := r.wires[1].taken.Load() + r.wires[2].taken.Load(); n != 0 {
		t.Errorf("%d connections went to other hosts", n)
	}
}

// TestHostThatIsReadOnly: after a failover a host that was written to may be read-only. It is left, and nobody who
// comes begins with it.
func TestHostThatIsReadOnly(t *testing.T) {
	r := reach(t, clusterDatabase(t))
	do := r.account("")
	db := r.open()
	r.write(db, "it is writable")
	r.at(0)
	do("SET GLOBAL read_only = 1")
	defer do("SET GLOBAL read_only = 0")
	r.write(db, "it is read-only")
	r.at(1)
	_ = db.Close()
	other := r.open()
	r.at(1)
	r.write(other, "by another")
	r.at(1)

	// One server alone is what it is, and says so.
	r.url.Host = r.wires[0].address()
	alone, err := pool.Open(t.Context(), r.url.String(), pool.Options{Patience: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if err := alone.PausePool(t.Context(), pool.DefaultPool, "x"); !errors.Is(err, pool.ErrUnreachable) || !strings.Contains(err.Error(), "is read-only") {
		t.Errorf("a write to a read-only server: %v", err)
	}
}

// TestHostsOfDifferentServers: hosts that are not one cluster would be pools of their own.
func TestHostsOfDifferentServers(t *testing.T) {
	t.Parallel()
	single := testneeds.Server(t, "MOLTENIRON_TEST_MYSQL")
	refused := func(what string, err error, says string) {
		t.Helper()
		if !errors.Is(err, pool.ErrInvalid) || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%s: %v; want it refused because %q", what, err, says)
		}
	}
	// The same server twice, which no cluster is.
	database := serverEngine(t, single, single.Host)(t)[0]
	twice := strings.Replace(database, single.Host, single.Host+","+single.Host, 1)
	_, err := pool.Open(t.Context(), twice, pool.Options{})
	refused("open a server twice", err, "separate pools")
	_, err = pool.Init(t.Context(), twice, pool.Options{})
	refused("init a server twice", err, "separate pools")

	// A cluster, and a server beside it: init looks at all hosts before it writes anything.
	database = clusterDatabase(t)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	mixed := strings.Replace(database, u.Host, u.Host+","+single.Host, 1)
	_, err = pool.Init(t.Context(), strings.Replace(mixed, u.Path, u.Path+"_mixed", 1), pool.Options{})
	refused("init a cluster with a server beside it", err, single.Host+" is no Galera cluster host")
	first, _, _ := strings.Cut(u.Host, ",")
	var n int
	if err := connect(t, u, first).QueryRow("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = ?", u.Path[1:]+"_mixed").Scan(&n); err != nil || n != 0 {
		t.Errorf("a database was made nevertheless (%d): %v", n, err)
	}

	// A pool that was restored to another cluster than it is of.
	if _, err := connect(t, u, first).Exec("UPDATE " + u.Path[1:] + ".meta SET value = 'another' WHERE name = 'cluster_uuid'"); err != nil {
		t.Fatal(err)
	}
	_, err = pool.Open(t.Context(), database, pool.Options{})
	refused("open a pool of another cluster", err, "moltenironctl recover --database mysql://root@"+first+u.Path)
	alone, err := pool.Open(t.Context(), strings.Replace(database, u.Host, first, 1), pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if _, err := alone.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := pool.Open(t.Context(), database, pool.Options{})
	if err != nil {
		t.Fatalf("after recover: %v", err)
	}
	_ = db.Close()

	// One that has come from a single server.
	if _, err := connect(t, u, first).Exec("DELETE FROM " + u.Path[1:] + ".meta WHERE name = 'cluster_uuid'"); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Open(t.Context(), database, pool.Options{}); !errors.Is(err, pool.ErrSchema) || !strings.Contains(err.Error(), "moltenironctl init") {
		t.Errorf("open a pool of no cluster: %v", err)
	}
	if _, err := pool.Init(t.Context(), database, pool.Options{}); err != nil {
		t.Fatal(err)
	}
	if db, err = pool.Open(t.Context(), database, pool.Options{}); err != nil {
		t.Fatalf("after init: %v", err)
	}
	_ = db.Close()
}

// TestWaysToAServer: IPv6, a port for each host, a socket.
func TestWaysToAServer(t *testing.T) {
	t.Parallel()
	u := testneeds.Server(t, "MOLTENIRON_TEST_MYSQL")
	database := serverEngine(t, u, u.Host)(t)[0]
	r := reach(t, database, "[::1]:0")
	if !strings.HasPrefix(r.url.Host, "[::1]:") {
		t.Fatalf("the line is at %s", r.url.Host)
	}
	r.write(r.open(), "by IPv6")
	r.at(0)

	var folder, socket string
	if err := connect(t, u, u.Host).QueryRow("SELECT @@datadir, @@socket").Scan(&folder, &socket); err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(socket) {
		socket = filepath.Join(folder, socket)
	}
	name := database[strings.LastIndex(database, "/"):]
	db, err := pool.Open(t.Context(), "mysql://root@localhost"+name+"?socket="+url.QueryEscape(socket), pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	p, err := db.Pool(t.Context(), pool.DefaultPool)
	if err != nil || p.PausedReason != "by IPv6" {
		t.Errorf("by the socket the pool is %+v: %v", p, err)
	}
}
