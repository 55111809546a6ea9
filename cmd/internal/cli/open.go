package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/molteniron/molteniron/pkg/config"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// Settings are what a program brings along when it wants the pool.
type Settings struct {
	Program string              // begins each line on Stderr
	Command string              // what the program does, for the history: "moltenironctl add"
	Getenv  func(string) string // os.Getenv, but for tests
	Stderr  io.Writer           // warnings
	Config  config.Config       // as LoadConfig gave it
}

// LoadConfig reads the configuration into s.Config and writes its warnings. The file is the flag
// --config of flags; names are those of its flags that are keys of the configuration too, and count
// when they were given. The error is a UsageError of one line for each fault.
func (s *Settings) LoadConfig(flags *pflag.FlagSet, names ...string) error {
	o := config.Options{Flags: map[string]string{}, Getenv: s.Getenv}
	if f := flags.Lookup("config"); f != nil {
		o.File = f.Value.String()
	}
	for _, name := range names {
		if f := flags.Lookup(name); f != nil && f.Changed {
			o.Flags[strings.ReplaceAll(name, "-", "_")] = f.Value.String()
		}
	}
	c, warnings, err := config.Load(o)
	for _, w := range warnings {
		s.Warn(string(w))
	}
	if err != nil {
		return Usagef("%v", err)
	}
	s.Config = c
	return nil
}

// OpenPool opens the database that s.Config names, or else the embedded one where it is by default,
// and checks its schema. It writes warnings: files that others can read, a connection that is not
// encrypted, a database that is tried again. Errors are those of pool.Open; a database that is nowhere
// is pool.ErrSchema, and the text says which places were tried.
func OpenPool(ctx context.Context, s Settings) (*pool.DB, error) {
	url := s.Config.Database
	if url == "" {
		found, err := config.DefaultDatabase(s.Getenv, false)
		if err != nil {
			return nil, &pool.Error{Class: pool.ErrSchema, Text: err.Error(), Cause: err}
		}
		url = found
	}
	o, err := s.PoolOptions()
	if err != nil {
		return nil, err
	}
	return pool.Open(ctx, url, o)
}

// DatabaseURL is where the database is, or where init would make it. A place that cannot be is
// pool.ErrUnreachable.
func (s Settings) DatabaseURL() (string, error) {
	if s.Config.Database != "" {
		return s.Config.Database, nil
	}
	url, err := config.DefaultDatabase(s.Getenv, true)
	if err != nil {
		return "", &pool.Error{Class: pool.ErrUnreachable, Text: err.Error(), Cause: err}
	}
	return url, nil
}

// Outboxes lists the folders for releases that cannot reach the database.
func (s Settings) Outboxes() []string {
	if s.Config.Outbox != "" {
		return []string{s.Config.Outbox}
	}
	return config.DefaultOutboxes(s.Getenv)
}

// began is when this program did, or near to it.
var began = time.Now()

// PoolOptions are the options for opening the database, or making it. A key file that cannot be read is a
// UsageError.
func (s Settings) PoolOptions() (pool.Options, error) {
	c := s.Config
	o := pool.Options{
		Password: c.DatabasePassword,
		TLS:      pool.TLSOptions{Mode: c.DatabaseTLS.Mode, CAFile: c.DatabaseTLS.CAFile, CertFile: c.DatabaseTLS.CertFile, KeyFile: c.DatabaseTLS.KeyFile},
		Actor:    s.Command + " by " + Whoami(s.Getenv),
		Began:    began,
		Logger:   NewLogger(s.Stderr, s.Program, c.LogFormat),
	}
	if c.SecretKeyFile == "" {
		return o, nil
	}
	key, warning, err := secret.LoadKey(c.SecretKeyFile)
	if err != nil {
		return o, Usagef("secret_key_file: %v", err)
	}
	if warning != "" {
		s.Warn(warning)
	}
	o.Key = key
	return o, nil
}

// Warn writes a warning.
func (s Settings) Warn(text string) {
	NewLogger(s.Stderr, s.Program, s.Config.LogFormat).Warn(text)
}

// Whoami is USER@HOST of this process, for the history. It is what the machine says: a help, not a proof.
func Whoami(getenv func(string) string) string {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	for _, variable := range []string{"USER", "LOGNAME"} {
		if name == "" {
			name = getenv(variable)
		}
	}
	if name == "" {
		name = fmt.Sprintf("uid%d", os.Getuid())
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown-host"
	}
	return name + "@" + host
}
