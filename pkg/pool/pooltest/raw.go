package pooltest

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/molteniron/molteniron/pkg/pool"
)

// raw opens the database beside the library: for what no method of it shows, such as how a password lies
// there, and for what somebody may do to the tables by hand.
func (w *world) raw() *sql.DB {
	w.Helper()
	u, err := pool.ParseURL(w.urls[0])
	w.ok(err)
	driver, source := "sqlite", "file:"+u.Path+"?_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)"
	if u.Path == "" {
		driver, source = "mysql", fmt.Sprintf("%s@tcp(%s)/%s", u.User, u.Hosts[0], u.Database)
		if len(u.Hosts) > 1 { // what the library has just written at another host of the cluster
			source += "?wsrep_sync_wait=7"
		}
	}
	db, err := sql.Open(driver, source)
	w.ok(err)
	w.Cleanup(func() { _ = db.Close() })
	return db
}

// change runs one statement beside the library.
func (w *world) change(db *sql.DB, query string, args ...any) {
	w.Helper()
	_, err := db.ExecContext(w.ctx, query, args...)
	w.ok(err)
}

// text reads one value beside the library.
func (w *world) text(db *sql.DB, query string, args ...any) string {
	w.Helper()
	var text string
	w.ok(db.QueryRowContext(w.ctx, query, args...).Scan(&text))
	return text
}

// ownerKey is how an owner is found: SHA-256 of it and a NUL.
func ownerKey(owner string) string {
	sum := sha256.Sum256([]byte(owner + "\x00"))
	return hex.EncodeToString(sum[:])
}

// rows reads whole rows as text.
func (w *world) rows(db *sql.DB, query string) []string {
	w.Helper()
	rows, err := db.QueryContext(w.ctx, query)
	w.ok(err)
	defer rows.Close()
	columns, err := rows.Columns()
	w.ok(err)
	var list []string
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		w.ok(rows.Scan(into...))
		var row strings.Builder
		for _, v := range values {
			row.WriteString(v.String + "\n")
		}
		list = append(list, row.String())
	}
	w.ok(rows.Err())
	return list
}
