// Command bench measures the library and the hooks beside the floors of the same run: what a Go program
// pays for SELECT 1, and for a transaction that updates one row and inserts another. It prints one
// table in Markdown. scripts/bench builds and starts all that it needs.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/molteniron/molteniron/pkg/pool"
)

// What is varied.
var (
	clientCounts = []int{1, 16, 64}
	poolSizes    = []int{100, 10_000}
)

// tripRuns is how many runs of an operation its round trips are counted over.
const tripRuns = 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir := flag.String("dir", "", "work in `DIR`, which must lie on the disk to be measured")
	server := flag.String("mysql", "", "measure the MariaDB or MySQL server at `URL` too")
	bin := flag.String("bin", "bin", "take the hooks from `DIR`")
	floor := flag.String("floor", "", "take the program that asks SELECT 1 from `FILE`")
	clients := flag.Int("crowd", 0, "measure `N` clients that wait, and nothing else")
	each := flag.Duration("for", 2*time.Second, "measure each cell of the table for this long")
	flag.Parse()
	if *dir == "" || *floor == "" || flag.NArg() > 0 {
		return fmt.Errorf("-dir and -floor are needed, and nothing else is taken; run scripts/bench")
	}

	if *clients > 0 {
		figures, err := measureCrowd(ctx, *dir, *server, *bin, *clients)
		if err != nil {
			return err
		}
		return figures.print(os.Stdout, machine(*dir))
	}
	b := &bench{dir: *dir, each: *each, programs: programs{
		floor: *floor, preHook: filepath.Join(*bin, "molten-prehook"), postHook: filepath.Join(*bin, "molten-posthook"),
	}}
	engines := []engine{sqliteEngine(*dir)}
	if *server != "" {
		e, err := mysqlEngine(ctx, *server)
		if err != nil {
			return err
		}
		engines = append(engines, e)
	}
	for _, e := range engines {
		if err := b.measure(ctx, e); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return b.print(os.Stdout, machine(*dir))
}

// engine is a database to be measured.
type engine struct {
	name        string
	driver      string
	dsn         func(name string) string // of a database, for the floors
	url         func(name string) string // of the same, for the pool
	server      string                   // host:port, where round trips can be counted
	createFloor func(ctx context.Context, name string) error
}

func sqliteEngine(dir string) engine {
	path := func(name string) string { return filepath.Join(dir, name+".db") }
	return engine{
		name: "SQLite", driver: "sqlite",
		dsn: func(name string) string { // as the pool opens it, but that it creates the file
			return "file:" + path(name) + "?_txlock=immediate&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)"
		},
		url:         func(name string) string { return "sqlite:" + path(name) },
		createFloor: func(context.Context, string) error { return nil },
	}
}

func mysqlEngine(ctx context.Context, server string) (engine, error) {
	u, err := pool.ParseURL(server)
	if err != nil {
		return engine{}, err
	}
	if len(u.Hosts) != 1 || u.Database != "" {
		return engine{}, fmt.Errorf("-mysql wants one host and no database, as in mysql://root@127.0.0.1:3306/")
	}
	dsn := func(name string) string {
		c := mysql.NewConfig()
		c.User, c.Passwd, c.Net, c.Addr, c.DBName, c.InterpolateParams = u.User, u.Password.Reveal(), "tcp", u.Hosts[0], name, true
		return c.FormatDSN()
	}
	e := engine{
		driver: "mysql", dsn: dsn, server: u.Hosts[0],
		url: func(name string) string { return strings.TrimSuffix(server, "/") + "/" + name },
	}
	e.createFloor = func(ctx context.Context, name string) error {
		db, err := openFloor(ctx, e.driver, dsn(""))
		if err != nil {
			return err
		}
		defer db.Close()
		_, err = db.ExecContext(ctx, "CREATE DATABASE "+name)
		return err
	}
	db, err := openFloor(ctx, e.driver, dsn(""))
	if err != nil {
		return engine{}, err
	}
	defer db.Close()
	var flush, doublewrite string
	if err := db.QueryRowContext(ctx, "SELECT VERSION(), @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite").Scan(&e.name, &flush, &doublewrite); err != nil {
		return engine{}, err
	}
	if flush != "1" || doublewrite == "0" || doublewrite == "OFF" {
		return engine{}, fmt.Errorf("the server is not durable (innodb_flush_log_at_trx_commit=%s, innodb_doublewrite=%s); start it with: scripts/mariadb start --durable", flush, doublewrite)
	}
	version, _, _ := strings.Cut(e.name, "-")
	e.name = "MariaDB " + version
	return e, nil
}

// bench is a run and what it found.
type bench struct {
	dir      string
	each     time.Duration
	programs programs
	rows     []*row
}

// row is a line of the table: one operation in one database, by number of clients.
type row struct {
	engine  string
	what    string
	nodes   int     // 0 where there is no pool
	trips   float64 // round trips of one run, where hasTrips
	counted bool
	samples map[int]sample
}

// The operations, as the table names them.
const (
	whatSelect   = "`SELECT 1`, connection open"
	whatWrite    = "bare transaction"
	whatAllocate = "allocate and claim"
	whatRelease  = "release"
	whatFloor    = "process: `SELECT 1`"
	whatPreHook  = "process: molten-prehook"
	whatPostHook = "process: molten-posthook"
)

func (b *bench) row(engine, what string, nodes int) *row {
	for _, r := range b.rows {
		if r.engine == engine && r.what == what && r.nodes == nodes {
			return r
		}
	}
	r := &row{engine: engine, what: what, nodes: nodes, samples: make(map[int]sample)}
	b.rows = append(b.rows, r)
	return r
}

// poolName is the database that holds a pool of so many nodes.
func poolName(nodes int) string { return fmt.Sprintf("bench_%d", nodes) }

const floorName = "bench_floor"

func (b *bench) measure(ctx context.Context, e engine) error {
	say("%s: filling pools of %v nodes", e.name, poolSizes)
	if err := e.createFloor(ctx, floorName); err != nil {
		return err
	}
	if err := prepareFloor(ctx, e.driver, e.dsn(floorName)); err != nil {
		return err
	}
	for _, nodes := range poolSizes {
		if err := fill(ctx, e.url(poolName(nodes)), nodes); err != nil {
			return err
		}
	}
	// In the table's order, so that rows come as they are first seen.
	for _, n := range clientCounts {
		say("%s: %d clients", e.name, n)
		if err := b.measureFloors(ctx, e, n); err != nil {
			return err
		}
		for _, nodes := range poolSizes {
			if err := b.measureLibrary(ctx, e, nodes, n); err != nil {
				return err
			}
		}
		for _, nodes := range poolSizes {
			if err := b.measureHooks(ctx, e, nodes, n); err != nil {
				return err
			}
		}
	}
	return b.countTrips(ctx, e)
}

func (b *bench) measureFloors(ctx context.Context, e engine, n int) error {
	dbs := make([]*sql.DB, n)
	for i := range dbs {
		db, err := openFloor(ctx, e.driver, e.dsn(floorName))
		if err != nil {
			return err
		}
		defer db.Close()
		dbs[i] = db
	}
	for _, kind := range []struct {
		what string
		make func(*sql.DB) client
	}{
		{whatSelect, func(db *sql.DB) client { return selector{db} }},
		{whatWrite, func(db *sql.DB) client { return writer{db} }},
	} {
		clients := make([]client, n)
		for i := range clients {
			clients[i] = kind.make(dbs[i])
		}
		samples, err := measure(ctx, b.each, 1, clients)
		if err != nil {
			return fmt.Errorf("%s: %w", kind.what, err)
		}
		b.row(e.name, kind.what, 0).samples[n] = samples[0]
	}
	return nil
}

func (b *bench) measureLibrary(ctx context.Context, e engine, nodes, n int) error {
	clients := make([]client, n)
	for i := range clients {
		c, err := openLibrary(ctx, e.url(poolName(nodes)), fmt.Sprintf("%d-%d", n, i))
		if err != nil {
			return err
		}
		defer c.db.Close()
		clients[i] = c
	}
	samples, err := measure(ctx, b.each, libraryOps, clients)
	if err != nil {
		return err
	}
	b.row(e.name, whatAllocate, nodes).samples[n] = samples[opAllocate]
	b.row(e.name, whatRelease, nodes).samples[n] = samples[opRelease]
	return nil
}

func (b *bench) measureHooks(ctx context.Context, e engine, nodes, n int) error {
	clients := make([]client, n)
	for i := range clients {
		clients[i] = b.newHooks(e, e.url(poolName(nodes)), e.dsn(floorName), fmt.Sprintf("hooks-%d-%d-%d", nodes, n, i))
	}
	samples, err := measure(ctx, b.each, hookRuns, clients)
	if err != nil {
		return err
	}
	b.row(e.name, whatFloor, nodes).samples[n] = samples[runFloor]
	b.row(e.name, whatPreHook, nodes).samples[n] = samples[runPreHook]
	b.row(e.name, whatPostHook, nodes).samples[n] = samples[runPostHook]
	return nil
}

func (b *bench) newHooks(e engine, url, dsn, name string) *hooks {
	p := b.programs
	p.driver, p.dsn = e.driver, dsn
	return &hooks{programs: p, name: name, url: url, envFile: filepath.Join(b.dir, "env-"+name)}
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
