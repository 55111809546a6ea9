package pool

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"github.com/molteniron/molteniron/internal/testneeds"
)

// migrationURLs are databases of each engine that do not exist yet.
func migrationURLs(t *testing.T) map[string]func() string {
	t.Helper()
	urls := map[string]func() string{
		"SQLite": func() string { return "sqlite://" + filepath.Join(t.TempDir(), rand.Text()+".db") },
	}
	for engine, variable := range map[string]string{
		"MariaDB": "MOLTENIRON_TEST_MYSQL", "Galera": "MOLTENIRON_TEST_GALERA", "MySQL": "MOLTENIRON_TEST_MYSQL_REAL",
	} {
		server := os.Getenv(variable)
		if server == "" {
			if engine != "MySQL" && testneeds.All() {
				t.Fatalf("%s names no server", variable)
			}
			continue
		}
		urls[engine] = func() string {
			u, err := url.Parse(server)
			if err != nil {
				t.Fatal(err)
			}
			u.Path = "/migrate_" + strings.ToLower(rand.Text()[:12])
			t.Cleanup(func() {
				db, err := newDB(must(ParseURL(u.String())), Options{})
				if err == nil {
					defer db.Close()
					_, err = db.sql.Exec("DROP DATABASE " + u.Path[1:])
				}
				if err != nil {
					t.Errorf("drop the database: %v", err)
				}
			})
			return u.String()
		}
	}
	return urls
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestHalfMigrated has init die in the middle of each migration: its statement is done and its version is
// not noted yet, as where DDL commits by itself. The hooks then refuse the database and name the mend, which
// is to run init again; what it makes is the same schema.
func TestHalfMigrated(t *testing.T) {
	ctx := context.Background()
	for engine, fresh := range migrationURLs(t) {
		t.Run(engine, func(t *testing.T) {
			whole := initialised(t, fresh())
			files := must(fs.Glob(migrations, whole.dialect.migrations+"/*.sql"))
			slices.Sort(files)
			want := whole.columns(t)
			for i, file := range files {
				db := halfMigrated(t, fresh(), int64(i), file)
				if _, err := Open(ctx, db.url.String(), Options{}); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "moltenironctl init") {
					t.Errorf("%s: a hook gets %v", file, err)
				}
				mended := initialised(t, db.url.String())
				if diff := cmp.Diff(want, mended.columns(t)); diff != "" {
					t.Errorf("%s: the schema differs (-want +got):\n%s", file, diff)
				}
			}
		})
	}
}

// initialised runs init and gives the open database.
func initialised(t *testing.T, url string) *DB {
	t.Helper()
	if _, err := Init(t.Context(), url, Options{}); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// halfMigrated makes a database with the migrations before one, and the statement of that one.
func halfMigrated(t *testing.T, raw string, before int64, file string) *DB {
	t.Helper()
	u := must(ParseURL(raw))
	var err error
	if u.Path != "" {
		_, err = createFile(u)
	} else {
		_, err = createDatabase(t.Context(), u, Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	db := must(newDB(u, Options{}))
	t.Cleanup(func() { _ = db.Close() })
	folder := must(fs.Sub(migrations, db.dialect.migrations))
	provider := must(goose.NewProvider(db.dialect.goose, db.sql.DB, folder, goose.WithLogger(goose.NopLogger())))
	if _, err := provider.GetDBVersion(t.Context()); err != nil { // makes its own table
		t.Fatal(err)
	}
	if before > 0 {
		if _, err := provider.UpTo(t.Context(), before); err != nil {
			t.Fatal(err)
		}
	}
	text := must(fs.ReadFile(migrations, file))
	if _, err := db.sql.Exec(strings.TrimPrefix(string(text), "-- +goose Up\n")); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return db
}

// columns lists table.column of the whole schema.
func (db *DB) columns(t *testing.T) []string {
	t.Helper()
	query := `SELECT CONCAT(table_name, '.', column_name) FROM information_schema.columns WHERE table_schema = DATABASE()`
	if db.connector == nil {
		query = `SELECT m.name || '.' || c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'`
	}
	var list []string
	if err := db.sql.Select(&list, query); err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// A database in which another program has tables of our names is left as it is.
func TestInitForeign(t *testing.T) {
	for engine, fresh := range migrationURLs(t) {
		t.Run(engine, func(t *testing.T) {
			url := fresh()
			u := must(ParseURL(url))
			if u.Path != "" {
				must(createFile(u))
			} else {
				must(createDatabase(t.Context(), u, Options{}))
			}
			db := must(newDB(u, Options{}))
			defer db.Close()
			if _, err := db.sql.ExecContext(t.Context(), "CREATE TABLE nodes (hostname VARCHAR(10))"); err != nil {
				t.Fatal(err)
			}
			_, err := Init(t.Context(), url, Options{})
			if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "tables of another program (nodes)") {
				t.Errorf("init: %v", err)
			}
			var tables []string
			if err := db.sql.SelectContext(t.Context(), &tables, db.dialect.tables); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"nodes"}, tables); diff != "" {
				t.Errorf("tables (-want +got):\n%s", diff)
			}
			if _, err := db.sql.ExecContext(t.Context(), "DROP TABLE nodes"); err != nil {
				t.Fatal(err)
			}
			if _, err := Init(t.Context(), url, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
}
