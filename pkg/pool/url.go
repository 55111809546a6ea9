package pool

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/molteniron/molteniron/pkg/secret"
)

// URL names a database: sqlite:PATH, sqlite:///PATH or mysql://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/DATABASE
// with IPv6 addresses in brackets, or mysql://USER@localhost/DATABASE?socket=PATH. It prints without the
// password.
type URL struct {
	Path     string      // of the SQLite file; empty for MySQL
	User     string      //
	Password secret.Text //
	Hosts    []string    // host:port each, in the order in which they are tried
	Socket   string      // instead of hosts
	Database string      //
}

// defaultMySQLPort is what IANA gave MySQL.
const defaultMySQLPort = "3306"

// ParseURL reads a database URL; errors (ErrInvalid) name the part that is wrong, never the password.
func ParseURL(raw string) (URL, error) {
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok {
		return URL{}, fail(ErrInvalid, "database URL has no scheme; write sqlite:PATH or mysql://USER@HOST/DATABASE")
	}
	switch scheme {
	case "sqlite":
		path := rest
		if strings.HasPrefix(rest, "//") {
			path = rest[len("//"):]
			if !strings.HasPrefix(path, "/") {
				return URL{}, fail(ErrInvalid, "database URL sqlite:%s names a host; write sqlite:///ABSOLUTE/PATH or sqlite:PATH", rest)
			}
			path = "/" + strings.TrimLeft(path, "/") // others write four slashes for an absolute path
		}
		if path == "" || strings.HasSuffix(path, "/") || strings.ContainsRune(path, 0) {
			return URL{}, fail(ErrInvalid, "database URL sqlite: names no file; write sqlite:///PATH/pool.db")
		}
		return URL{Path: path}, nil
	case "mysql", "mariadb":
		return parseMySQLURL(rest)
	default:
		return URL{}, fail(ErrInvalid, "database URL has the unknown scheme %q; use sqlite: or mysql:", scheme)
	}
}

func parseMySQLURL(rest string) (URL, error) {
	bad := func(format string, args ...any) error {
		return fail(ErrInvalid, "database URL mysql:…: "+format+"; write mysql://USER@HOST/DATABASE", args...)
	}
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return URL{}, bad("// is missing")
	}
	var u URL
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(query, "@") { // the rest is part of a password then, and no error may tell it
		return URL{}, bad("there is an @ behind the ?; in a user name or password write ? as %%3F, elsewhere @ as %%40")
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, password, _ := strings.Cut(rest[:i], ":")
		rest = rest[i+1:]
		var err error
		if u.User, err = url.PathUnescape(user); err != nil {
			return URL{}, bad("the user name has a broken %%-escape")
		}
		plain, err := url.PathUnescape(password)
		if err != nil {
			return URL{}, bad("the password has a broken %%-escape")
		}
		u.Password = secret.New(plain)
	}
	hosts, database, _ := strings.Cut(rest, "/")
	var err error
	if u.Database, err = url.PathUnescape(database); err != nil || strings.Contains(u.Database, "/") {
		return URL{}, bad("%q is no database name", database)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return URL{}, bad("what follows ? is not readable")
	}
	for key := range values {
		if key != "socket" {
			return URL{}, bad("unknown option %q; the one option is socket", key)
		}
	}
	u.Socket = values.Get("socket")
	if u.Socket != "" {
		return u, nil
	}
	for host := range strings.SplitSeq(hosts, ",") {
		hostport, err := parseHost(host)
		if err != "" {
			return URL{}, bad("%s", err)
		}
		u.Hosts = append(u.Hosts, hostport)
	}
	return u, nil
}

// parseHost makes HOST, HOST:PORT or [IPV6]:PORT a host:port; the second result says what is wrong.
func parseHost(s string) (hostport, problem string) {
	host, port := s, defaultMySQLPort
	if strings.HasSuffix(s, "]") && strings.HasPrefix(s, "[") {
		host = s[1 : len(s)-1]
	} else if strings.ContainsRune(s, ':') {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", strconv.Quote(s) + " is no host; an IPv6 address stands in brackets"
		}
	}
	if host == "" {
		return "", "a host is empty"
	}
	if _, err := netip.ParseAddr(host); err != nil && (len(host) > maxHost || !hostPattern.MatchString(strings.TrimSuffix(host, "."))) {
		return "", strconv.Quote(host) + " is neither a host name nor an address"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", strconv.Quote(port) + " is no port"
	}
	return net.JoinHostPort(host, port), ""
}

// checkNamed refuses the URL of a server that names no database on it.
func (u URL) checkNamed() error {
	if u.Path == "" && u.Database == "" {
		return fail(ErrInvalid, "database %s names no database; write mysql://USER@HOST/molteniron", u)
	}
	return nil
}

// String writes the URL without its password.
func (u URL) String() string {
	if u.Path != "" {
		if strings.HasPrefix(u.Path, "/") {
			return "sqlite://" + u.Path
		}
		return "sqlite:" + u.Path
	}
	var b strings.Builder
	b.WriteString("mysql://")
	if u.User != "" {
		b.WriteString(escape(u.User))
		b.WriteByte('@')
	}
	if u.Socket != "" {
		b.WriteString("localhost")
	} else {
		b.WriteString(strings.Join(u.Hosts, ","))
	}
	b.WriteByte('/')
	b.WriteString(escape(u.Database))
	if u.Socket != "" {
		b.WriteString("?socket=")
		b.WriteString(url.QueryEscape(u.Socket))
	}
	return b.String()
}

// Place says which database it is, whoever asks and whichever host is asked first: a URL without user and
// password, hosts in the order of their names, a path from the root.
func (u URL) Place() string {
	u.User = ""
	if u.Path != "" {
		if path, err := filepath.Abs(u.Path); err == nil {
			u.Path = path
		}
	}
	u.Hosts = slices.Clone(u.Hosts)
	for i := range u.Hosts {
		u.Hosts[i] = strings.ToLower(u.Hosts[i])
	}
	slices.Sort(u.Hosts)
	return u.String()
}

// escape is PathEscape, and for what parts a user from the rest too.
func escape(s string) string {
	return strings.NewReplacer(":", "%3A", "@", "%40").Replace(url.PathEscape(s))
}

// remote reports whether a connection leaves this machine.
func (u URL) remote() bool {
	for _, hostport := range u.Hosts {
		host, _, _ := net.SplitHostPort(hostport)
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return true
		}
	}
	return false
}
