// Package config reads the configuration that all programs share: a YAML file, the environment and
// what flags said, in the order flag, environment, file, default. It asks for the environment through
// a function, and it opens no database and no connection.
//
// Every fault is told at once, with the file and line, the flag or the variable it stands in, and never
// with a secret value.
package config

import (
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// Config is what was configured, with defaults filled in. It holds no secret in plain: the password is
// taken out of a database URL.
type Config struct {
	File             string      // the file that was read, "" when there is none
	Database         string      // URL without password; "" when none is named: ask DefaultDatabase
	DatabasePassword secret.Text // zero when there is none
	DatabaseTLS      TLS
	SecretKeyFile    string        // seals BMC passwords at rest; "" keeps them plain
	Controller       string        // names this Jenkins in owners, "" when not needed
	Pool             string        // the pool of requests that name none; "default"
	Wait             time.Duration // how long a pre-hook queues, 0 is not at all; 1h
	Lease            time.Duration // how long a build may keep its nodes; 0, the default, is the pool's own lease
	VerifyBMC        bool          // check BMCs at the hand-over
	Jenkins          []Jenkins     // the controllers that tend may ask
	KeepHistory      time.Duration // tend removes what is older; 0, the default, keeps all
	Outbox           string        // folder for releases that cannot reach the database; "" when none is named: ask DefaultOutboxes
	LogFormat        string        // text or json, on stderr
}

// TLS is how connections to a MySQL server are secured.
type TLS struct {
	Mode     string // off, preferred (the default), required, verify-ca or verify-full
	CAFile   string // PEM; "" is the system's
	CertFile string // PEM, the client's certificate; with KeyFile or not at all
	KeyFile  string // PEM
}

// Jenkins is one controller that tend may ask whether a build still runs.
type Jenkins struct {
	URL       string // http or https, ends with /
	User      string // "" asks without an account
	TokenFile string // the user's API token; read it with secret.ReadFile when it is needed
}

// Warning is something that works and should be mended, in the form of an error text.
type Warning string

// Error is one or more faults of the configuration: bad usage, in exit statuses.
type Error struct {
	Problems []string // one line each: where, which key, what is wrong and the mend
}

// Error implements error: all problems, one a line.
func (e *Error) Error() string { return strings.Join(e.Problems, "\n") }

// Options says where the configuration comes from.
type Options struct {
	// File is the one that --config names; "" is $MOLTENIRON_CONFIG or the first that exists of
	// $XDG_CONFIG_HOME/molteniron/config.yaml (~/.config without that variable) and /etc/molteniron/config.yaml.
	File string
	// Flags holds what flags said, by key ("verify_bmc"); keys of flags that were not given are absent.
	Flags map[string]string
	// Getenv gives a variable of the environment, "" when it is not set; os.Getenv does. nil is an empty
	// environment.
	Getenv func(string) string
}

// systemFile is where an administrator puts what holds for a whole machine.
const systemFile = "/etc/molteniron/config.yaml"

// Load reads the configuration. The error is an *Error; warnings come with or without it. It reads
// the file of the database password only when the database is a server, and no other file that the
// configuration names. It blocks for no longer than the file system does.
func Load(o Options) (Config, []Warning, error) {
	return load(o, systemFile)
}

func load(o Options, system string) (Config, []Warning, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	l := &loader{options: o, config: Config{
		Pool: "default", Wait: time.Hour, LogFormat: "text", DatabaseTLS: TLS{Mode: "preferred"},
	}}
	l.readFile(system)
	for _, k := range keys {
		l.apply(k)
	}
	l.checkFlags()
	l.finish()
	if len(l.problems) > 0 {
		return Config{}, l.warnings, &Error{l.problems}
	}
	return l.config, l.warnings, nil
}
