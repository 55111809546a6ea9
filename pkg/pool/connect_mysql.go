package pool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/molteniron/molteniron/pkg/secret"
)

// Limits of a MySQL session. The server's three make it let go of a frozen client's locks; the lock
// wait is shorter, so that who waits for such a client sees 1205 and repeats until the lock is free.
const (
	sessionIdleSeconds = 15
	lockWaitSeconds    = 5
	dialTimeout        = 3 * time.Second
	// ioTimeout bounds one statement's reply from the client's side: longer than a lock wait and than
	// the time a server takes to drop a frozen client.
	ioTimeout = 25 * time.Second
	// hostPenalty is how long a host that failed comes after the others.
	hostPenalty = 30 * time.Second
	// greetingTimeout is what one of several hosts has for letting us in: a frozen one takes connections and never
	// says a word, and each hook is a process that has to find that out anew.
	greetingTimeout = 5 * time.Second
)

// TLSOptions say how a connection to MySQL is protected.
type TLSOptions struct {
	Mode     string // off, preferred ("" too), required, verify-ca, verify-full
	CAFile   string // PEM; empty: the system's
	CertFile string // of the client, with KeyFile
	KeyFile  string
}

func (o TLSOptions) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fail(ErrInvalid, "database_ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fail(ErrInvalid, "database_ca_file %s holds no PEM certificate", o.CAFile)
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fail(ErrInvalid, "client certificate of the database: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	switch o.Mode {
	case "verify-full":
	case "verify-ca":
		roots := c.RootCAs
		c.InsecureSkipVerify = true // the chain is verified below, the name is not
		c.VerifyConnection = func(s tls.ConnectionState) error {
			opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, cert := range s.PeerCertificates[1:] {
				opts.Intermediates.AddCert(cert)
			}
			if _, err := s.PeerCertificates[0].Verify(opts); err != nil {
				return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
			}
			return nil
		}
	case "required", "preferred", "":
		c.InsecureSkipVerify = true // asked for: encryption without a check of the server
	default:
		return nil, fail(ErrInvalid, "database_tls is %q; use off, preferred, required, verify-ca or verify-full", o.Mode)
	}
	return c, nil
}

// host is one server of the URL.
type host struct {
	name     string
	config   *mysql.Config
	failedAt time.Time
}

// mysqlConnector opens connections to the first host that answers, is ready and belongs to the cluster.
// It is a driver.Connector, so that database/sql's pool stays the only pool.
type mysqlConnector struct {
	url    URL
	logger *slog.Logger
	warn   bool // an unencrypted connection deserves a warning

	mu      sync.Mutex
	hosts   []host
	current int  // the host of the newest connection
	checked bool // the facts below are known
	facts   serverFacts
}

// serverFacts are what the first statement of a connection tells.
type serverFacts struct {
	galera        bool
	readOnly      bool
	version       int64  // of the schema, 0 when absent
	cluster       string // the cluster's UUID as init kept it, "" when none
	serverCluster string // the UUID of the cluster that the server belongs to
}

func newMySQLConnector(u URL, o Options) (*mysqlConnector, error) {
	c := &mysqlConnector{url: u, logger: o.Logger, warn: u.remote() && (o.TLS.Mode == "" || o.TLS.Mode == "preferred" || o.TLS.Mode == "off")}
	var tlsConfig *tls.Config
	if o.TLS.Mode != "off" {
		var err error
		if tlsConfig, err = o.TLS.config(); err != nil {
			return nil, err
		}
	}
	password := o.Password
	if password.IsZero() {
		password = u.Password
	}
	names := u.Hosts
	if u.Socket != "" {
		names = []string{u.Socket}
	}
	for _, name := range names {
		cfg := mysqlConfig(u, name, password)
		if tlsConfig != nil && u.Socket == "" {
			cfg.TLS = tlsConfig.Clone()
			if hostname, _, err := net.SplitHostPort(name); err == nil {
				cfg.TLS.ServerName = hostname
			}
			cfg.AllowFallbackToPlaintext = o.TLS.Mode == "" || o.TLS.Mode == "preferred"
		}
		c.hosts = append(c.hosts, host{name: name, config: cfg})
	}
	return c, nil
}

func mysqlConfig(u URL, addr string, password secret.Text) *mysql.Config {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName = u.User, password.Reveal(), u.Database
	cfg.Net, cfg.Addr = "tcp", addr
	if u.Socket != "" {
		cfg.Net = "unix"
	}
	cfg.InterpolateParams = true // one round trip a statement instead of three
	cfg.MultiStatements = true   // the writes of a transaction in one more
	cfg.ParseTime, cfg.Loc = true, time.UTC
	cfg.ClientFoundRows = true // a write of the same value counts, as on SQLite
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
	cfg.Logger = &mysql.NopLogger{} // errors are returned; nothing else may write to stderr
	return cfg
}

// sessionSettings are sent with the first statement of a connection.
var sessionSettings = fmt.Sprintf("SET time_zone = '+00:00', wait_timeout = %d, net_read_timeout = %[1]d, net_write_timeout = %[1]d, innodb_lock_wait_timeout = %d",
	sessionIdleSeconds, lockWaitSeconds)

// Driver implements driver.Connector.
func (c *mysqlConnector) Driver() driver.Driver { return &mysql.MySQLDriver{} }

// Connect implements driver.Connector: hosts in the order given, those that failed lately last. A
// refused password ends the search, and "too many connections" does too: it is waited out at the same
// host, because a write to another would only make conflicts.
func (c *mysqlConnector) Connect(ctx context.Context) (driver.Conn, error) {
	var errs []error
	for _, i := range c.order() {
		conn, err := c.connectHost(ctx, i)
		if err == nil {
			c.mu.Lock()
			c.current, c.hosts[i].failedAt = i, time.Time{}
			c.mu.Unlock()
			return conn, nil
		}
		if len(c.hosts) > 1 {
			err = fmt.Errorf("%s: %w", c.hosts[i].name, err)
		}
		errs = append(errs, err)
		if ctx.Err() != nil || errors.Is(err, ErrInvalid) {
			break
		}
		if cl := classifyMySQL(err); cl != classHost && cl != classLost && cl != classRetry {
			break
		}
		c.failed(i)
	}
	return nil, inLine(errs)
}

// inLine joins errors in one line.
func inLine(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	all := make([]any, len(errs))
	for i, err := range errs {
		all[i] = err
	}
	return fmt.Errorf(strings.Repeat("%w, ", len(errs)-1)+"%w", all...)
}

func (c *mysqlConnector) connectHost(ctx context.Context, i int) (driver.Conn, error) {
	connector, err := mysql.NewConnector(c.hosts[i].config)
	if err != nil {
		return nil, fail(ErrInvalid, "database %s: %w", c.url, err)
	}
	greeting, cancel := ctx, context.CancelFunc(func() {})
	if len(c.hosts) > 1 {
		greeting, cancel = context.WithTimeout(ctx, greetingTimeout)
	}
	conn, err := connector.Connect(greeting)
	cancel()
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("no answer within %s: %w", greetingTimeout, err)
	} else if err != nil {
		return nil, err
	}
	if err := c.prepare(ctx, conn, c.hosts[i].name); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// glancer connects for clients that wait far back in the queue and open a connection for each look. Such a look
// needs no settings of a session, and every statement counts where a thousand look; but of several hosts
// each must be asked what it is.
type glancer struct{ *mysqlConnector }

// Connect implements driver.Connector.
func (g glancer) Connect(ctx context.Context) (driver.Conn, error) {
	g.mu.Lock()
	bare := g.checked && len(g.hosts) == 1 && !g.facts.galera
	g.mu.Unlock()
	if !bare {
		return g.mysqlConnector.Connect(ctx)
	}
	connector, err := mysql.NewConnector(g.hosts[0].config)
	if err != nil {
		return nil, fail(ErrInvalid, "database %s: %w", g.url, err)
	}
	return connector.Connect(ctx)
}

// order lists the hosts as they are to be tried.
func (c *mysqlConnector) order() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var good, late []int
	for i := range c.hosts {
		if c.hosts[i].failedAt.IsZero() || time.Since(c.hosts[i].failedAt) > hostPenalty {
			good = append(good, i)
		} else {
			late = append(late, i)
		}
	}
	return append(good, late...)
}

// cluster reports whether the server belongs to a Galera cluster. Such a one must not be sent several
// statements at once: when another host's transaction ends ours between two of them, MariaDB rolls back,
// goes on with the rest, commits each of those alone, and reports no error (37 of 1500 tries did so).
func (c *mysqlConnector) cluster() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.facts.galera
}

func (c *mysqlConnector) failed(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts[i].failedAt = time.Now()
}

// leave says that the host in use will not do now.
func (c *mysqlConnector) leave() {
	c.mu.Lock()
	i := c.current
	c.mu.Unlock()
	c.failed(i)
}

// prepare asks a fresh connection what it is connected to, in one statement that reads one of our
// tables: SELECT 1 proves nothing on Galera. On one host that is asked once; of several each
// connection is, because another server may answer each time.
func (c *mysqlConnector) prepare(ctx context.Context, conn driver.Conn, name string) error {
	c.mu.Lock()
	facts, known := c.facts, c.checked && len(c.hosts) == 1
	before := c.facts.serverCluster // of the host that was in use before, if there was one
	warn := c.warn && c.logger != nil
	c.mu.Unlock()
	var err error
	if known {
		err = rawExec(ctx, conn, sessionSettings)
	} else {
		facts, err = askServer(ctx, conn, c.url.Database != "")
	}
	if err != nil {
		return err
	}
	if facts.galera {
		// Without it a read may show the past: 1993 of 2000 did.
		if err := rawExec(ctx, conn, "SET SESSION wsrep_sync_wait=7"); err != nil {
			return err
		}
		// So may have the first of all: a schema that was made at another host a moment ago.
		if !known && (facts.version != schemaVersion || facts.cluster == "") {
			if facts, err = askServer(ctx, conn, c.url.Database != ""); err != nil {
				return err
			}
		}
	}
	if known {
		return nil
	}
	if len(c.hosts) > 1 {
		one := c.url
		one.Hosts = []string{name}
		switch {
		case !facts.galera:
			return fail(ErrInvalid, "database %s names several hosts, but %s is no Galera cluster host: separate servers are separate pools; name one of them", c.url, name)
		case before != "" && facts.serverCluster != before:
			return fail(ErrInvalid, "database %s: host %s belongs to cluster %s, the host before it to cluster %s; correct the URL", c.url, name, facts.serverCluster, before)
		case facts.cluster != "" && facts.serverCluster != facts.cluster:
			return fail(ErrInvalid, "database %s: host %s belongs to cluster %s, the pool to cluster %s; correct the URL, or where a backup was restored "+
				"to this cluster type: moltenironctl recover --database %s", c.url, name, facts.serverCluster, facts.cluster, one)
		case facts.readOnly: // as it would answer to the first write
			return &mysql.MySQLError{Number: errReadOnlyHost, Message: "the host is read-only"}
		}
	}
	if warn {
		if row, err := rawRow(ctx, conn, "SHOW SESSION STATUS LIKE 'Ssl_cipher'"); err == nil && len(row) == 2 && row[1] == "" {
			c.logger.Warn("the connection to the database is not encrypted; set database_tls: required", "database", c.url.String())
		}
	}
	c.mu.Lock()
	c.warn, c.checked, c.facts = false, true, facts
	c.mu.Unlock()
	return nil
}

// askServer makes the session's settings and reads the facts; a missing database or table is no error, its version is 0.
func askServer(ctx context.Context, conn driver.Conn, hasDatabase bool) (serverFacts, error) {
	var facts serverFacts
	const schema = "(SELECT MAX(version_id) FROM goose_db_version WHERE is_applied = 1), (SELECT MAX(value) FROM meta WHERE name = 'cluster_uuid')"
	ask := func(what string) (row []string, err error) {
		if hasDatabase {
			row, err = rawRow(ctx, conn, sessionSettings+"; SELECT "+what+", "+schema)
			if err == nil || classifyMySQL(err) != classAbsent {
				return row, err
			}
		}
		row, err = rawRow(ctx, conn, sessionSettings+"; SELECT "+what)
		return append(row, "", ""), err
	}
	row, err := ask("@@wsrep_on, @@read_only")
	var my *mysql.MySQLError
	if errors.As(err, &my) && my.Number == 1193 { // MySQL has no such variable
		row, err = ask("0, @@read_only")
	}
	if err != nil {
		return facts, err
	}
	facts.galera, facts.readOnly = row[0] == "1", row[1] == "1"
	facts.version, _ = strconv.ParseInt(row[2], 10, 64)
	facts.cluster = row[3]
	if facts.galera {
		status, err := rawRow(ctx, conn, "SHOW STATUS LIKE 'wsrep_cluster_state_uuid'")
		if err != nil {
			return facts, err
		}
		if len(status) == 2 {
			facts.serverCluster = status[1]
		}
	}
	return facts, nil
}

// rawRow runs a query without arguments on a driver's connection and gives its first row as text.
func rawRow(ctx context.Context, conn driver.Conn, query string) ([]string, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	values := make([]driver.Value, len(rows.Columns()))
	if err := rows.Next(values); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	text := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil:
		case []byte:
			text[i] = string(v)
		default:
			text[i] = strings.TrimSpace(fmt.Sprint(v))
		}
	}
	return text, nil
}

func rawExec(ctx context.Context, conn driver.Conn, query string) error {
	_, err := conn.(driver.ExecerContext).ExecContext(ctx, query, nil)
	return err
}
