package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/molteniron/molteniron/pkg/envfile"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// manifestSuffix is added to the env file's name: the manifest lists the files that were written with
// it, so that the post-hook, which gets none of the pre-hook's flags, can remove them.
const manifestSuffix = ".files"

// errForeign says that a file is none of those that Prepare writes.
var errForeign = errors.New("not a file that a pre-hook wrote")

// identity is what every file of Prepare says of itself, and the form of the manifest.
type identity struct {
	Owner string
	Slot  string
	Token secret.Text
	Files []string // of the manifest: the other files, by absolute path

	Ticket int64 // of a ticket file, else 0
}

// manifest is an identity in JSON. The JSON file for scripts has the same keys for what it shares.
type manifest struct {
	Owner *string  `json:"owner"`
	Slot  string   `json:"slot"`
	Token *string  `json:"token"`
	Files []string `json:"files,omitempty"`

	Ticket int64 `json:"ticket,omitempty"` // ticketFile has more keys
}

func writeManifest(a *pool.Allocation, files []string) func(io.Writer) error {
	return func(w io.Writer) error {
		token := a.Token.Reveal() // proves later whose the files are; the manifest is as private as the env file
		text, err := json.MarshalIndent(manifest{Owner: &a.Owner, Slot: a.Slot, Token: &token, Files: files}, "", "  ")
		if err != nil {
			return err
		}
		_, err = w.Write(append(text, '\n'))
		return err
	}
}

// identify reads whose file it is: an env file, a JSON file or a manifest. It reads regular files only
// and follows no link. A missing file is fs.ErrNotExist, one that Prepare did not write errForeign. A
// file that begins as ours and cannot be read to its end has no owner.
func identify(path string) (identity, error) {
	// O_NONBLOCK: opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return identity{}, fmt.Errorf("%s is a symbolic link, %w", path, errForeign)
	}
	if err != nil {
		return identity{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return identity{}, err
	}
	if !info.Mode().IsRegular() {
		return identity{}, fmt.Errorf("%s is no regular file, %w", path, errForeign)
	}
	if info.Size() == 0 { // as mktemp makes it: nobody loses anything
		return identity{}, nil
	}
	text, err := io.ReadAll(io.LimitReader(f, envfile.MaxSize+1))
	if err != nil {
		return identity{}, err
	}
	env, err := envfile.Parse(bytes.NewReader(text))
	switch {
	case err == nil:
		return identity{Owner: env.Owner, Slot: env.Slot, Token: env.Token}, nil
	case !errors.Is(err, envfile.ErrForeign):
		return identity{}, nil
	}
	var m manifest
	if json.Unmarshal(text, &m) != nil || m.Owner == nil || m.Token == nil {
		return identity{}, fmt.Errorf("%s is %w", path, errForeign)
	}
	return identity{Owner: *m.Owner, Slot: m.Slot, Token: secret.New(*m.Token), Files: m.Files, Ticket: m.Ticket}, nil
}

// remove unlinks the files at the paths that belong to whom mine says, and those that their manifests
// list. A path may name an env file or any other file of Prepare; what an env file was written with is
// found by its manifest. It goes on after an error and returns the first.
func remove(mine func(identity) bool, paths ...string) error {
	var first error
	unlink := func(path string) {
		id, err := identify(path)
		if err == nil && mine(id) {
			err = os.Remove(path)
		}
		if err != nil && first == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errForeign) {
			first = err
		}
	}
	for _, path := range paths {
		if id, err := identify(path + manifestSuffix); err == nil && mine(id) {
			for _, other := range id.Files {
				unlink(other)
			}
		}
		unlink(path)
		unlink(path + manifestSuffix) // last: until then a second run finds the rest
	}
	return first
}

// Temporary files are named by package stage. One that is older than deadAfter is nobody's work any
// more: between writing and renaming lies only the claim, whose retries give up well before.
const (
	temporaries = ".molteniron-*"
	deadAfter   = time.Minute
)

// sweep removes the temporary files in a folder that are mine or dead: a pre-hook that was killed while
// it wrote leaves them, with all the passwords that the files were to hold. What cannot be removed stays.
func sweep(folder string, mine func(identity) bool) {
	paths, _ := filepath.Glob(filepath.Join(folder, temporaries)) // this pattern is well-formed
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		id, err := identify(path)
		if time.Since(info.ModTime()) > deadAfter || err == nil && mine(id) {
			_ = os.Remove(path)
		}
	}
}
