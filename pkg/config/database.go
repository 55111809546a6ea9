package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// systemDatabase is the embedded database that the accounts of one machine share.
const systemDatabase = "/var/lib/molteniron/pool.db"

// NoDatabaseError says that no database is named and none of the default places has one.
type NoDatabaseError struct {
	Tried []string // path and reason each
	init  bool
}

// Error implements error: the paths that were tried and what to type.
func (e *NoDatabaseError) Error() string {
	tried := strings.Join(e.Tried, ", ")
	if tried == "" {
		tried = "no path, for HOME is not set"
	}
	if e.init {
		return "no place for the database: tried " + tried + "; name one with: export MOLTENIRON_DATABASE=sqlite:///PATH/pool.db"
	}
	return "no database: tried " + tried + "; make one with: moltenironctl init, or name one with: export MOLTENIRON_DATABASE=…"
}

// DefaultDatabase gives the URL of the embedded database for when none is named: the system's
// (/var/lib/molteniron/pool.db) where it can be used, else the user's ($XDG_STATE_HOME/molteniron/pool.db, or
// ~/.local/state without that variable). With forInit the place need not have one yet, but it must be
// possible to make it there; otherwise the file must be there, to be read and written. It creates
// nothing. The error is a *NoDatabaseError.
func DefaultDatabase(getenv func(string) string, forInit bool) (string, error) {
	return defaultDatabase(getenv, forInit, systemDatabase)
}

func defaultDatabase(getenv func(string) string, forInit bool, system string) (string, error) {
	e := &NoDatabaseError{init: forInit}
	for _, path := range []string{system, xdg(getenv, "XDG_STATE_HOME", ".local/state", "pool.db")} {
		if path == "" {
			continue
		}
		err := usable(path)
		if forInit && errors.Is(err, fs.ErrNotExist) {
			err = creatable(filepath.Dir(path))
		}
		if err == nil {
			return "sqlite://" + path, nil
		}
		e.Tried = append(e.Tried, fmt.Sprintf("%s (%v)", path, bare(err)))
	}
	return "", e
}

// usable asks whether SQLite can work with the file. It opens nothing: to close a database file ends
// the locks that this process may hold on it.
func usable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a file")
	}
	if err := unix.Access(path, unix.R_OK|unix.W_OK); err != nil {
		return err
	}
	return unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK) // for the journal beside it
}

// creatable asks whether a file can be made in the folder, which may still have to be made too.
func creatable(folder string) error {
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(folder) != folder:
		return creatable(filepath.Dir(folder))
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", folder)
	}
	return unix.Access(folder, unix.W_OK|unix.X_OK)
}
