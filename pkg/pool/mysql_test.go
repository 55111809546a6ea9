package pool_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/pool/pooltest"
)

func TestMariaDB(t *testing.T) {
	t.Parallel()
	u := testneeds.Server(t, "MOLTENIRON_TEST_MYSQL")
	onServer(t, u, u.Host)
}

// TestMariaDBSnapshotIsolation runs on a server that ends a transaction whose snapshot is stale, as
// MariaDB does from 11.8 on.
func TestMariaDBSnapshotIsolation(t *testing.T) {
	t.Parallel()
	u := testneeds.Server(t, "MOLTENIRON_TEST_MYSQL_SI")
	db := connect(t, u, u.Host)
	var on bool
	if err := db.QueryRowContext(t.Context(), "SELECT @@innodb_snapshot_isolation").Scan(&on); err != nil || !on {
		t.Fatalf("innodb_snapshot_isolation is %v (%v) on %s; start the server with: scripts/mariadb start DIR --snapshot-isolation", on, err, u)
	}
	onServer(t, u, u.Host)
}

func TestMySQL(t *testing.T) {
	t.Parallel()
	u := testneeds.Server(t, "MOLTENIRON_TEST_MYSQL_REAL")
	onServer(t, u, u.Host)
}

// TestGalera gives the handles of a case the hosts of the cluster in turn.
func TestGalera(t *testing.T) {
	t.Parallel()
	u := testneeds.Server(t, "MOLTENIRON_TEST_GALERA")
	hosts := strings.Split(u.Host, ",")
	if len(hosts) < 2 {
		t.Fatalf("MOLTENIRON_TEST_GALERA names %d host, a cluster has several", len(hosts))
	}
	var orders []string
	for i := range hosts {
		orders = append(orders, strings.Join(append(append([]string{}, hosts[i:]...), hosts[:i]...), ","))
	}
	onServer(t, u, orders...)
}

// connect opens the server itself, to see what it is and to drop databases.
func connect(t *testing.T, u *url.URL, host string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", fmt.Sprintf("%s@tcp(%s)/", u.User, host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// onServer runs the suite on the server's databases, one of its own for each case; hosts are the lists
// of hosts that a case's handles are opened with.
func onServer(t *testing.T, u *url.URL, hosts ...string) {
	engine := serverEngine(t, u, hosts...)
	pooltest.Run(t, engine)
	t.Run("linearizable", func(t *testing.T) { testLinearizable(t, engine) })
}

// serverEngine gives each case a database of its own. They are used again, emptied, because to create one
// takes longer than most cases; what a fresh one holds is kept in one that no case gets.
func serverEngine(t *testing.T, u *url.URL, hosts ...string) pooltest.Engine {
	first, _, _ := strings.Cut(hosts[0], ",")
	db := connect(t, u, first)
	var mu sync.Mutex
	var all, free []string
	t.Cleanup(func() {
		for _, name := range all {
			if _, err := db.Exec("DROP DATABASE IF EXISTS " + name); err != nil {
				t.Errorf("drop a case's database: %v", err)
			}
		}
	})
	create := func(t testing.TB) string {
		name := "pooltest_" + strings.ToLower(rand.Text()[:16])
		mu.Lock()
		all = append(all, name)
		mu.Unlock()
		if _, err := pool.Init(t.Context(), fmt.Sprintf("mysql://%s@%s/%s", u.User, hosts[0], name), pool.Options{Actor: "pooltest"}); err != nil {
			t.Fatal(err)
		}
		return name
	}
	fresh := create(t)
	take := func() string {
		mu.Lock()
		defer mu.Unlock()
		if len(free) == 0 {
			return ""
		}
		name := free[len(free)-1]
		free = free[:len(free)-1]
		return name
	}
	return func(t testing.TB) []string {
		name := take()
		if name == "" {
			name = create(t)
		} else if err := renew(t.Context(), db, name, fresh); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				return // whatever it left behind is nobody else's
			}
			mu.Lock()
			defer mu.Unlock()
			free = append(free, name)
		})
		var urls []string
		for _, h := range hosts {
			urls = append(urls, fmt.Sprintf("mysql://%s@%s/%s", u.User, h, name))
		}
		return urls
	}
}

// renew makes a database hold what a fresh one does. On a cluster it may meet what the case before it did
// at another host, and is repeated.
func renew(ctx context.Context, db *sql.DB, name, fresh string) error {
	for {
		err := tryRenew(ctx, db, name, fresh)
		var my *mysql.MySQLError
		if !errors.As(err, &my) || my.Number != 1213 {
			return err
		}
	}
}

func tryRenew(ctx context.Context, db *sql.DB, name, fresh string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	rows, err := tx.QueryContext(ctx, "SHOW TABLES FROM "+fresh)
	if err != nil {
		return err
	}
	defer rows.Close()
	statements := []string{"SET SESSION foreign_key_checks = 0"} // the tables come in the order of their names
	for rows.Next() {
		var table string
		if err := rows.Scan(&table); err != nil {
			return err
		}
		statements = append(statements, fmt.Sprintf("DELETE FROM %s.%s", name, table), fmt.Sprintf("INSERT INTO %s.%s SELECT * FROM %s.%s", name, table, fresh, table))
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return tx.Commit()
}
