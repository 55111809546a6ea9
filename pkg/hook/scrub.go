package hook

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/envfile"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/scrub"
	"github.com/molteniron/molteniron/pkg/secret"
)

// scrubTime is the most that scrubbing takes. It comes when the nodes are back, so it keeps nobody waiting
// but the build's own executor, and logs may be as large as a disk reads in minutes.
const scrubTime = 10 * time.Minute

// secrets are what the build was given and nobody else may read.
type secrets struct {
	list []secret.Text
	read bool  // something that knows was read: a file of the build, or the database
	err  error // of those that could not be learned
}

var errNothingKnown = errors.New("the passwords of the build are not known: it has left no env file, and the database could not be asked")

// account adds a password, alone and as HTTP's Basic authentication shows it in a trace of Redfish.
func (s *secrets) account(user string, password secret.Text) {
	if password.IsZero() {
		return
	}
	basic := base64.StdEncoding.EncodeToString([]byte(user + ":" + password.Reveal()))
	s.list = append(s.list, password, secret.New(basic))
}

// files adds what the build's env files hold. They are read before they are removed.
func (s *secrets) files(mine func(identity) bool, paths []string) {
	for _, path := range paths {
		text, err := readOwn(path)
		if err != nil {
			continue // the database knows more
		}
		env, err := envfile.Parse(bytes.NewReader(text))
		if err != nil || !mine(identity{Owner: env.Owner, Slot: env.Slot}) {
			continue
		}
		s.read = true
		s.list = append(s.list, env.Token)
		for name, value := range env.Vars {
			if prefix, ok := strings.CutSuffix(name, "PASSWORD"); ok {
				s.account(env.Vars[prefix+"USERNAME"].Reveal(), value)
			}
		}
	}
}

// database adds the passwords of the machines that the owner has or had, for when its files are gone.
func (s *secrets) database(ctx context.Context, db *pool.DB, owner string) {
	nodes, err := db.Nodes(ctx, pool.NodeFilter{HadBy: owner, Credentials: true})
	s.read, s.err = true, err
	for _, n := range nodes {
		s.account(n.BMC.Username, n.BMC.Password)
	}
}

// scrub blanks the secrets in all files below the folders, and says in which. Its error says that some may
// be left.
func (p Process) scrub(ctx context.Context, folders []string, known *secrets) error {
	c := p.newConsole(func(error) {}) // nobody need hear it
	defer c.close()
	say := func(level slog.Level, format string, args ...any) { _ = c.say(ctx, level, format, args...) }
	s, short, err := scrub.New(known.list)
	if err != nil {
		return left(err)
	}
	if short > 0 {
		say(slog.LevelWarn, "passwords of fewer than 4 characters (%d) are not blanked, because that would spoil the logs; give those machines longer ones", short)
	}
	errs := []error{known.err}
	if !known.read {
		return left(errNothingKnown)
	}
	if s.Empty() {
		say(slog.LevelInfo, "no password is known that could be in the logs")
		return left(errs...)
	}
	ctx, cancel := context.WithTimeout(ctx, scrubTime)
	defer cancel()
	for _, folder := range folders {
		files, places := 0, 0
		report, err := s.Folder(ctx, folder, func(f scrub.File) {
			files++
			places += f.Places
			say(slog.LevelInfo, "%s: passwords blanked in %d places", f.Path, f.Places)
		})
		errs = append(errs, report.Failed...)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			say(slog.LevelInfo, "%s is not there, so it holds no password", folder)
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", folder, err))
			continue
		}
		for _, path := range report.Opaque {
			say(slog.LevelWarn, "%s is compressed in a way that cannot be looked into: it may hold a password", path)
		}
		for _, path := range report.Outside {
			say(slog.LevelWarn, "%s leads out of %s and is not followed: what is there may hold a password", path, folder)
		}
		say(slog.LevelInfo, "%s: passwords blanked in %d places of %d of %d files", folder, places, files, report.Looked)
	}
	return left(errs...)
}

// left makes one error of those for which passwords may be left.
func left(errs ...error) error {
	err := errors.Join(errs...)
	if err == nil {
		return nil
	}
	return fmt.Errorf("passwords may be left in the logs; do not publish them:\n%w", err)
}
