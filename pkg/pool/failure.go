package pool

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/go-sql-driver/mysql"
)

// failure makes the last error of the database one for people.
func (db *DB) failure(class class, err error) error {
	var own *Error
	var problems *Problems
	switch {
	case errors.As(err, &own), errors.As(err, &problems), errors.Is(err, ErrConflict), errors.Is(err, ErrNotFound):
		return err
	}
	switch class {
	case classRetry:
		if db.connector == nil {
			return fail(ErrUnreachable, "database %s is locked by another process: %w; see which with: fuser -v %s", db.url, err, db.url.Path)
		}
		return fail(ErrUnreachable, "database %s: too many conflicts: %w; try again, and see who holds a lock with: SHOW FULL PROCESSLIST", db.url, err)
	case classCrowded:
		return fail(ErrUnreachable, "database %s has too many connections (raise max_connections): %w", db.url, err)
	case classHost, classLost, classReadOnly, classFull:
		if db.connector == nil {
			trouble, mend := sqliteTrouble(db.url.Path, class)
			return fail(ErrUnreachable, "database %s %s: %w; %s", db.url, trouble, err, mend)
		}
		if readOnlyHost(err) {
			return fail(ErrUnreachable, "database %s is read-only: %w; name the server that takes writes", db.url, err)
		}
		if class == classFull {
			return fail(ErrUnreachable, "database %s is full: %w; make room on its server's disk", db.url, err)
		}
		return fail(ErrUnreachable, "database %s does not answer: %w%s", db.url, err, db.mend(err))
	case classDenied:
		if my := new(mysql.MySQLError); errors.As(err, &my) && my.Number != 1045 && my.Number != 1698 && my.Number != 1130 && my.Number != 1524 {
			return fail(ErrInvalid, "database %s does not let this account do that: %w; the hooks' account and the administrators' (who changes nodes and pools) "+
				"have the rights that moltenironctl init --grants prints", db.url, err)
		}
		return fail(ErrInvalid, "database %s refuses the account: %w; is the password right (database_password_file)? an administrator of the server makes accounts with: "+
			"moltenironctl init, then moltenironctl init --grants", db.url, err)
	case classAbsent:
		return fail(ErrSchema, "database %s is absent or incomplete; create it with moltenironctl init: %w", db.url, err)
	}
	var my *mysql.MySQLError
	switch {
	case errors.As(err, &my) && my.Number == 1665:
		return fail(ErrInvalid, "database %s logs by statement; set binlog_format=ROW or MIXED: %w", db.url, err)
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return fail(ErrInvalid, "the certificate of database %s is not trusted (see database_ca_file and database_tls): %w", db.url, err)
	case errors.Is(err, mysql.ErrNoTLS):
		return fail(ErrInvalid, "database %s has no TLS, which database_tls asks for: %w; give the server a certificate, or set database_tls: preferred", db.url, err)
	}
	return fmt.Errorf("database %s: %w", db.url, err)
}

// mend says, behind what went wrong with a server, what to do or to look at; "" on SQLite.
func (db *DB) mend(err error) string {
	if db.connector == nil {
		return ""
	}
	var my *mysql.MySQLError
	errors.As(err, &my)
	switch {
	case my != nil && my.Number == 1047:
		return "; it has lost the others of its cluster: bring them back, or name them in the URL too"
	case db.url.Socket != "":
		return "; is the server running? see: ls -l " + db.url.Socket
	}
	var unknown *net.DNSError
	if errors.As(err, &unknown) && unknown.IsNotFound {
		return "; is the name right? try: getent hosts " + unknown.Name
	}
	host, port, _ := net.SplitHostPort(db.url.Hosts[0])
	return "; is the server running, and does this machine reach it? try: nc -zv " + host + " " + port
}
