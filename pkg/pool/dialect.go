package pool

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

// dialect holds what differs between the engines. The SQL text itself is one for all.
type dialect struct {
	name       string
	goose      goose.Dialect
	migrations string            // folder within the embedded files
	begin      string            // the statement that begins a transaction that writes
	lock       string            // suffix of a locking SELECT
	clock      string            // expression of the time after a wait for a lock; NULL: this machine's clock
	tables     string            // query for the names of all tables
	now        string            // the same where nothing is waited for, whatever the session's time zone
	classify   func(error) class // what an error of the engine asks for
}

var sqliteDialect = dialect{
	name: "sqlite", goose: goose.DialectSQLite3, migrations: "migrations/sqlite",
	begin:    "BEGIN IMMEDIATE", // it locks the file
	lock:     "",
	clock:    "NULL", // one machine, so its clock is the database's
	now:      "NULL",
	tables:   "SELECT name FROM sqlite_master WHERE type = 'table'",
	classify: classifySQLite,
}

var mysqlDialect = dialect{
	name: "mysql", goose: goose.DialectMySQL, migrations: "migrations/mysql",
	begin:    "START TRANSACTION",
	lock:     " FOR UPDATE",
	clock:    "SYSDATE(6)", // NOW and UTC_TIMESTAMP give the time before the wait for the lock
	now:      "UTC_TIMESTAMP(6)",
	tables:   "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
	classify: classifyMySQL,
}

// class is what an error asks for.
type class int

const (
	classOther     class = iota // a fault of ours or of the data: report it
	classRetry                  // the transaction is over: repeat it whole
	classHost                   // this host will not do now: another, or wait
	classCrowded                // too many connections: wait for a place at the same host
	classLost                   // the connection is gone; during COMMIT the outcome is unknown
	classDuplicate              // a unique key
	classDenied                 // password or rights
	classAbsent                 // no such database or table
	classReadOnly               // a read-only file
	classFull                   // no space
)

// classifyMySQL goes by numbers: texts and SQLSTATEs differ between MariaDB, MySQL and Galera.
func classifyMySQL(err error) class {
	var my *mysql.MySQLError
	if errors.As(err, &my) {
		switch my.Number {
		case 1213, // deadlock; on Galera a certification conflict, also from COMMIT
			1205, // lock wait time-out
			1020, // record has changed since last read (innodb_snapshot_isolation)
			1180: // error during COMMIT, as when a cluster loses its majority
			return classRetry
		case 1040, 1203, 1226: // too many connections: of the server, of the account
			return classCrowded
		case 1047, // WSREP has not yet prepared node
			errReadOnlyHost, 1792, 1836, // read-only
			1053, 1927, 3169: // server shutdown, connection killed
			return classHost
		case 1062, 1586:
			return classDuplicate
		case 1044, 1045, 1130, 1142, 1143, 1227, 1698, 1524:
			return classDenied
		case 1049, 1146:
			return classAbsent
		case 1021, 1041, 1114, 1030:
			return classFull
		}
		return classOther
	}
	return classifyConnection(err)
}

// errReadOnlyHost is what a server answers to a write while it is read-only, as after a failover.
const errReadOnlyHost = 1290

// readOnlyHost: that a host is read-only is all that is wrong with it.
func readOnlyHost(err error) bool {
	var my *mysql.MySQLError
	return errors.As(err, &my) && (my.Number == errReadOnlyHost || my.Number == 1792 || my.Number == 1836)
}

func classifyConnection(err error) class {
	var netErr net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist): // nobody listens; no such socket
		return classHost
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, mysql.ErrMalformPkt):
		return classLost
	case errors.As(err, &netErr):
		return classLost
	}
	return classOther
}

// classifySQLite goes by the extended result codes; the low byte is the primary one.
func classifySQLite(err error) class {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() {
		case 1555, 2067: // primary key, unique
			return classDuplicate
		}
		switch lite.Code() & 0xff {
		case 5, 6: // busy, locked
			return classRetry
		case 8: // read-only
			return classReadOnly
		case 13: // full
			return classFull
		case 10, 14: // I/O error, cannot open: a folder that went away or lost its rights
			return classHost
		}
		return classOther
	}
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		return classLost
	}
	return classOther
}
