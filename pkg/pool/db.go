package pool

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/jmoiron/sqlx"
	"modernc.org/sqlite"

	"github.com/molteniron/molteniron/pkg/secret"
)

//go:embed migrations
var migrations embed.FS

// schemaVersion is the number of the newest migration; a test holds it to the files.
const schemaVersion = 11

// Patience: how long an operation goes on repeating, and how long opening a database does. The first
// outlasts the time that a frozen client can keep a pool locked on MySQL (15 s until the server drops
// it, and a lock wait of 5 s); the second outlasts the restart of a server without making a person wait.
const (
	defaultPatience = 30 * time.Second
	openPatience    = 5 * time.Second
)

// Options say how to open a database. The zero value is good for SQLite.
type Options struct {
	Password secret.Text   // of the database account; wins over one in the URL
	TLS      TLSOptions    //
	Key      *secret.Key   // seals BMC passwords at rest; nil stores them plain and cannot read sealed ones
	Actor    string        // kept with each event: who does this, with what, from where
	Logger   *slog.Logger  // warnings, and each repetition at the debug level; nil discards them
	Patience time.Duration // how long a database that does not answer is tried; 0 is 5 s to open, 30 s for an operation; who waits in the queue tries for as long as the wait
	// Began is when a client began that lives for one build: it is granted nothing any more when a post-hook of
	// its owner came since (ReleaseRequest.CloseOwner). Zero is for programs that go on.
	Began time.Time
	// Clock replaces the database's clock, for tests that move time.
	Clock func() time.Time
}

// DB is an open database with its pools. Make it with Open, end it with Close.
type DB struct {
	sql       *sqlx.DB
	glances   *sqlx.DB // for looks that open a connection each; on SQLite the same as sql
	url       URL
	dialect   dialect
	connector *mysqlConnector // nil on SQLite
	key       *secret.Key
	actor     string
	began     time.Time
	logger    *slog.Logger
	patience  time.Duration
	awaits    time.Time // until then a database that is away is tried, whatever the patience: somebody waits
	clock     func() time.Time
}

// Open connects to an existing database and checks its schema; it creates nothing. Errors: ErrInvalid
// for a URL or account that is wrong, ErrSchema when the schema is absent, older or newer than this
// program (the text names the mend), ErrUnreachable when nothing answered for Options.Patience.
func Open(ctx context.Context, url string, o Options) (*DB, error) {
	u, err := ParseURL(url)
	if err == nil {
		err = u.checkNamed()
	}
	if err != nil {
		return nil, err
	}
	db, err := newDB(u, o)
	if err != nil {
		return nil, err
	}
	version, err := db.schema(ctx)
	if err == nil {
		err = db.checkSchema(version)
	}
	if err == nil && len(u.Hosts) > 1 && db.connector.facts.cluster == "" {
		err = fail(ErrSchema, "database %s has not noted which cluster it belongs to, as one that came from a single server; mend it with: moltenironctl init", u)
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

func newDB(u URL, o Options) (*DB, error) {
	db := &DB{url: u, key: o.Key, actor: o.Actor, began: o.Began, logger: o.Logger, patience: o.Patience, clock: o.Clock}
	if db.logger == nil {
		db.logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = db.logger
	if u.Path != "" {
		db.dialect = sqliteDialect
		if err := checkLocal(u.Path); err != nil {
			return nil, err
		}
		raw, err := sql.Open("sqlite", sqliteDSN(u.Path))
		if err != nil {
			return nil, fail(ErrInvalid, "database %s: %w", u, err)
		}
		db.sql = sqlx.NewDb(raw, "sqlite")
		db.glances = db.sql
		return db, nil
	}
	db.dialect = mysqlDialect
	connector, err := newMySQLConnector(u, o)
	if err != nil {
		return nil, err
	}
	db.connector = connector
	db.sql = sqlx.NewDb(sql.OpenDB(connector), "mysql")
	db.glances = sqlx.NewDb(sql.OpenDB(glancer{connector}), "mysql")
	// The server drops a session that is idle for longer, so ours must be gone before.
	db.sql.SetConnMaxIdleTime((sessionIdleSeconds - 5) * time.Second)
	return db, nil
}

// Close closes all connections.
func (db *DB) Close() error { return errors.Join(db.sql.Close(), db.glances.Close()) }

// Place says which database it is, as URL.Place does.
func (db *DB) Place() string { return db.url.Place() }

// URL is the database's URL without a password.
func (db *DB) URL() string { return db.url.String() }

// schema reads the version of the schema, 0 when there is none.
func (db *DB) schema(ctx context.Context) (version int64, err error) {
	if db.connector == nil {
		if _, err := os.Stat(db.url.Path); errors.Is(err, fs.ErrNotExist) {
			return 0, fail(ErrSchema, "database %s does not exist; create it with: %s", db.url, db.initCommand())
		} else if err != nil {
			return 0, fail(ErrUnreachable, "database %s: %w; see: namei -l %s", db.url, err, db.url.Path)
		}
		err = db.retry(ctx, openPatience, func(bool) error {
			return db.sql.GetContext(ctx, &version, "SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied = 1")
		})
		var lite *sqlite.Error
		if errors.As(err, &lite) {
			switch lite.Code() & 0xff {
			case 1: // no such table
				return 0, nil
			case 26:
				return 0, fail(ErrInvalid, "database %s: the file is no SQLite database", db.url)
			}
		}
		return version, err
	}
	err = db.retry(ctx, openPatience, func(bool) error {
		conn, err := db.sql.Conn(ctx)
		if err != nil {
			return err
		}
		return conn.Close() // back to the pool: the first transaction takes it
	})
	return db.connector.facts.version, err
}

// initCommand is what to type to make or upgrade the schema. Of a file it names the file, which a flag of this
// program may have named; the URL of a server may lack what else was said, a password.
func (db *DB) initCommand() string {
	if db.connector == nil {
		return "moltenironctl init --database " + db.url.String()
	}
	return "moltenironctl init"
}

func (db *DB) checkSchema(version int64) error {
	switch {
	case version == 0:
		return fail(ErrSchema, "database %s has no MoltenIron schema; create it with: %s", db.url, db.initCommand())
	case version < schemaVersion:
		return fail(ErrSchema, "the schema of database %s is version %d, older than this program's %d; upgrade it with: %s",
			db.url, version, schemaVersion, db.initCommand())
	case version > schemaVersion:
		return fail(ErrSchema, "the schema of database %s is version %d, newer than this program's %d; install the MoltenIron release that it was made for",
			db.url, version, schemaVersion)
	}
	return nil
}

// newID makes a random name: of an operation, a token, a node. 26 characters of base32, 130 bits.
func newID() string { return rand.Text() }
