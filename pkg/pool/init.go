package pool

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
)

// InitResult tells what Init did.
type InitResult struct {
	URL     string // without a password
	From    int64  // version of the schema before, 0 when there was none
	To      int64
	Created bool // the database itself is new
	// Warnings are lines for people: what is no fault yet and may become one.
	Warnings []string
}

// Init creates the database, its schema and the default pool, or upgrades an older schema; running it
// again does nothing, and finishes what an earlier run left half done. A schema that is newer than this
// program is ErrSchema. Run it while no older program uses the database.
func Init(ctx context.Context, rawURL string, o Options) (InitResult, error) {
	u, err := ParseURL(rawURL)
	if err != nil {
		return InitResult{}, err
	}
	result := InitResult{URL: u.String(), To: schemaVersion}
	if u.Path != "" {
		if err := checkLocal(u.Path); err != nil {
			return result, err
		}
		result.Created, err = createFile(u)
	} else {
		if err := u.checkNamed(); err != nil {
			return result, err
		}
		// Before anything is written: it must not be written into one of two clusters.
		if result.Warnings, err = checkHosts(ctx, u, o); err != nil {
			return result, err
		}
		result.Created, err = createDatabase(ctx, u, o)
	}
	if err != nil {
		return result, err
	}
	db, err := newDB(u, o)
	if err != nil {
		return result, err
	}
	defer db.Close()
	if result.From, err = db.schema(ctx); err != nil {
		return result, err
	}
	if result.From > schemaVersion {
		return result, db.checkSchema(result.From)
	}
	if result.From == 0 {
		if err := db.checkForeign(ctx); err != nil {
			return result, err
		}
	}
	// Two inits at once, or one beside the other on a cluster, meet as conflicts: each statement can be
	// repeated, so the whole is.
	err = db.retry(ctx, defaultPatience, func(bool) error {
		if err := db.migrate(ctx); err != nil {
			return err
		}
		return db.seed(ctx)
	})
	if err != nil {
		return result, err
	}
	if db.connector == nil {
		other, err := db.OtherMachine(ctx)
		if other != "" {
			result.Warnings = append(result.Warnings, fmt.Sprintf("%s was made on machine %s: a copy is a pool of its own and hands out the same nodes "+
				"once more; if it moved here for good, type: moltenironctl recover", u, other))
		}
		return result, err
	}
	return result, nil
}

// elsewhere is what to do where no database can be made.
const elsewhere = "make its folder writable for this user, or name another place with: --database sqlite:///PATH/pool.db"

// createFile makes the empty SQLite file, readable by its owner only: it holds BMC passwords.
func createFile(u URL) (created bool, err error) {
	if err := os.MkdirAll(filepath.Dir(u.Path), 0o750); err != nil {
		return false, fail(ErrUnreachable, "database %s cannot be created: %w; %s", u, err, elsewhere)
	}
	f, err := os.OpenFile(u.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	} else if err != nil {
		return false, fail(ErrUnreachable, "database %s cannot be created: %w; %s", u, err, elsewhere)
	}
	return true, f.Close()
}

// createDatabase creates the database on the first host when it is not there.
func createDatabase(ctx context.Context, u URL, o Options) (created bool, err error) {
	db, err := newDB(u, o)
	if err != nil {
		return false, err
	}
	defer db.Close()
	_, err = db.schema(ctx)
	var my *mysql.MySQLError
	if err == nil || !errors.As(err, &my) || my.Number != 1049 {
		return false, err
	}
	server := u
	server.Database = ""
	admin, err := newDB(server, o)
	if err != nil {
		return false, err
	}
	defer admin.Close()
	name := "`" + strings.ReplaceAll(u.Database, "`", "``") + "`"
	err = admin.retry(ctx, openPatience, func(bool) error {
		_, err := admin.sql.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS "+name+" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
		return err
	})
	return err == nil, err
}

// checkForeign refuses a database in which another program has tables of our names. Those that we made have a
// version beside them, from the first on.
func (db *DB) checkForeign(ctx context.Context) error {
	var there []string
	if err := db.list(ctx, &there, db.dialect.tables); err != nil {
		return err
	}
	var theirs []string
	for _, g := range hookGrants { // it lists our tables
		if slices.Contains(there, g.table) {
			theirs = append(theirs, g.table)
		}
	}
	if len(theirs) == 0 || slices.Contains(theirs, "goose_db_version") {
		return nil
	}
	return fail(ErrSchema, "database %s has tables of another program (%s) and no MoltenIron schema; name a database of its own", db.url, strings.Join(theirs, ", "))
}

func (db *DB) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, db.dialect.migrations)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(db.dialect.goose, db.sql.DB, files, goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// seed writes the facts that the schema starts with: the default pool, and which cluster this is.
func (db *DB) seed(ctx context.Context) error {
	cluster := ""
	if db.connector != nil {
		cluster = db.connector.serverCluster()
	}
	return db.try(ctx, newID(), false, func(t *tx) error { return t.seed(cluster) })
}

func (t *tx) seed(cluster string) error {
	var facts struct {
		Pools    int `db:"pools"`
		Clusters int `db:"clusters"`
		Machines int `db:"machines"`
	}
	if err := t.Get(&facts, `SELECT (SELECT COUNT(*) FROM pools WHERE name = ?) AS pools,
		(SELECT COUNT(*) FROM meta WHERE name = ?) AS clusters, (SELECT COUNT(*) FROM meta WHERE name = ?) AS machines`,
		DefaultPool, metaCluster, metaMachine); err != nil {
		return err
	}
	t.now = t.db.machineClock()
	if facts.Pools == 0 {
		var clock stamp
		if err := t.Get(&clock, "SELECT "+t.db.dialect.clock); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		t.see(clock, stamp{})
		if err := t.insertPool(DefaultPool, DefaultPolicy()); err != nil && t.db.classify(err) != classDuplicate {
			return err
		}
	}
	for _, fact := range []struct {
		name, value string
		known       int
	}{{metaCluster, cluster, facts.Clusters}, {metaMachine, t.db.machineHere(), facts.Machines}} {
		if fact.known > 0 || fact.value == "" {
			continue
		}
		if _, err := t.exec(`INSERT INTO meta (name, value) VALUES (?, ?)`, fact.name, fact.value); err != nil && t.db.classify(err) != classDuplicate {
			return err
		}
	}
	return nil
}

// serverCluster is the UUID of the Galera cluster that is connected to, "" for a single server.
func (c *mysqlConnector) serverCluster() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.facts.serverCluster
}

// Grants is the SQL that gives two accounts the least rights that they need: molteniron for the hooks,
// molteniron_admin for moltenironctl. The passwords are left to the administrator. For SQLite there is
// nothing to grant: ErrInvalid.
func Grants(rawURL string) (string, error) {
	u, err := ParseURL(rawURL)
	if err != nil {
		return "", err
	}
	if u.Path != "" {
		return "", fail(ErrInvalid, "database %s has no accounts: whoever can write the file can do everything", u)
	}
	database := "`" + strings.ReplaceAll(u.Database, "`", "``") + "`"
	var b strings.Builder
	b.WriteString("-- for an administrator of the server, when moltenironctl init has made the tables (rights go to tables that are\n" +
		"-- there); replace the passwords, and '%' by the hosts that connect\n")
	b.WriteString("CREATE USER IF NOT EXISTS 'molteniron'@'%' IDENTIFIED BY 'CHANGE-ME';\n")
	for _, g := range hookGrants {
		b.WriteString("GRANT " + g.rights + " ON " + database + "." + g.table + " TO 'molteniron'@'%';\n")
	}
	b.WriteString("CREATE USER IF NOT EXISTS 'molteniron_admin'@'%' IDENTIFIED BY 'CHANGE-ME-TOO';\n")
	b.WriteString("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES, DROP ON " + database + ".* TO 'molteniron_admin'@'%';\n")
	return b.String(), nil
}

// hookGrants are what the hooks do with each table; events are append only. Of a node they change what becomes
// of it, not what it is: whoever takes over an agent cannot point a node's name at a BMC of their own.
var hookGrants = []struct{ table, rights string }{
	{"pools", "SELECT"},
	{"pool_locks", "SELECT, UPDATE"},
	{"nodes", "SELECT, UPDATE (status, reason, status_since, ready_since, suspect, suspect_since, dirty_until, clean_attempts, " +
		"strikes, checked_at, check_result, generation, allocation_id)"},
	{"node_macs", "SELECT"},
	{"node_ips", "SELECT"},
	{"allocations", "SELECT, INSERT, UPDATE"},
	{"waiters", "SELECT, INSERT, UPDATE, DELETE"},
	{"allocation_nodes", "SELECT, INSERT, UPDATE"},
	{"tombstones", "SELECT, INSERT, UPDATE, DELETE"},
	{"meta", "SELECT"},
	{"events", "SELECT, INSERT"},
	{"goose_db_version", "SELECT"},
}
