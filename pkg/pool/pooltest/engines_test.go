package pooltest

import (
	"crypto/rand"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"pgregory.net/rapid"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
)

// examples checks a property on n examples, or on as many as -rapid.checks asks for. Which they are
// changes from run to run; what rapid prints when one fails repeats it.
func examples(t *testing.T, n int, property func(*rapid.T)) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	if checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set(strconv.Itoa(n)); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = checks.Value.Set(checks.DefValue) }()
	}
	rapid.Check(t, property)
}

// sqliteEngine makes its databases by copying one, since init is most of what a short example takes.
func sqliteEngine(t *testing.T) Engine {
	dir := t.TempDir()
	template := filepath.Join(dir, "template.db")
	if _, err := pool.Init(t.Context(), "sqlite://"+template, pool.Options{Actor: "pooltest"}); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	return func(t testing.TB) []string {
		t.Helper()
		n++
		path := filepath.Join(dir, fmt.Sprintf("pool-%d.db", n))
		if err := os.WriteFile(path, fresh, 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"sqlite://" + path}
	}
}

// servers are the variables that name test servers.
var servers = []struct{ name, variable string }{
	{"MariaDB", "MOLTENIRON_TEST_MYSQL"},
	{"Galera", "MOLTENIRON_TEST_GALERA"},
	{"MySQL", "MOLTENIRON_TEST_MYSQL_REAL"},
}

// serverEngine makes its databases on a server, and drops them when the test ends.
func serverEngine(t *testing.T, variable string) Engine {
	server := testneeds.Server(t, variable)
	u, err := pool.ParseURL(server.String())
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)/", u.User, u.Password.Reveal(), u.Hosts[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return func(t testing.TB) []string {
		t.Helper()
		name := "pooltest_" + strings.ToLower(rand.Text()[:16])
		t.Cleanup(func() {
			if _, err := db.Exec("DROP DATABASE IF EXISTS " + name); err != nil {
				t.Errorf("drop the example's database: %v", err)
			}
		})
		url := server.JoinPath(name).String()
		if _, err := pool.Init(t.Context(), url, pool.Options{Actor: "pooltest"}); err != nil {
			t.Fatal(err)
		}
		return []string{url}
	}
}
