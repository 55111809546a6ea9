package hook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/molteniron/molteniron/pkg/envfile"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
	"github.com/molteniron/molteniron/pkg/stage"
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
	// Of the manifest: the other files, by absolute path, and those in which there is only a block of ours.
	Files  []string
	Edited []edited

	Ticket int64 // of a ticket file, else 0
}

// manifest is an identity in JSON. The JSON file for scripts has the same keys for what it shares.
//
// A file whose form has no place for that (DevStack takes every line of a hardware_info for a node) has a
// manifest of its own beside it, with the SHA-256 of what we wrote: as long as that is in it, it is ours.
type manifest struct {
	Owner  *string  `json:"owner"`
	Slot   string   `json:"slot"`
	Token  *string  `json:"token"`
	SHA256 string   `json:"sha256,omitempty"`
	Files  []string `json:"files,omitempty"`
	Edited []edited `json:"edited,omitempty"`

	Ticket int64 `json:"ticket,omitempty"` // ticketFile has more keys
}

func newManifest(a *pool.Allocation) manifest {
	token := a.Token.Reveal() // proves later whose the files are; the manifest is as private as the env file
	return manifest{Owner: &a.Owner, Slot: a.Slot, Token: &token}
}

func (m manifest) write(w io.Writer) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// sidecar writes the manifest of one file that holds text.
func sidecar(a *pool.Allocation, text []byte) func(io.Writer) error {
	m := newManifest(a)
	m.SHA256 = digest(text)
	return m.write
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// identify reads whose file it is: an env file, a JSON file, a manifest, or a file that has a manifest of its
// own. It reads regular files only and follows no link. A missing file is fs.ErrNotExist, one that Prepare
// did not write errForeign. A file that begins as ours and cannot be read to its end has no owner.
func identify(path string) (identity, error) {
	text, err := readOwn(path)
	if err != nil {
		return identity{}, err
	}
	if len(text) == 0 { // as mktemp makes it: nobody loses anything
		return identity{}, nil
	}
	env, err := envfile.Parse(bytes.NewReader(text))
	switch {
	case err == nil:
		return identity{Owner: env.Owner, Slot: env.Slot, Token: env.Token}, nil
	case !errors.Is(err, envfile.ErrForeign):
		return identity{}, nil
	}
	m, ok := parseManifest(text)
	if !ok {
		beside, err := readOwn(path + manifestSuffix)
		if m, ok = parseManifest(beside); err != nil || !ok || m.SHA256 != digest(text) {
			return identity{}, fmt.Errorf("%s is %w", path, errForeign)
		}
		m.Files, m.Edited = nil, nil
	}
	return identity{Owner: *m.Owner, Slot: m.Slot, Token: secret.New(*m.Token), Files: m.Files, Edited: m.Edited, Ticket: m.Ticket}, nil
}

func parseManifest(text []byte) (m manifest, ok bool) {
	err := json.Unmarshal(text, &m)
	return m, err == nil && m.Owner != nil && m.Token != nil
}

// readOwn reads a file that may be one of Prepare's.
func readOwn(path string) ([]byte, error) {
	// O_NONBLOCK: opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link, %w", path, errForeign)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file, %w", path, errForeign)
	}
	return io.ReadAll(io.LimitReader(f, envfile.MaxSize+1))
}

// remove unlinks the files at the paths that belong to whom mine says, and those that their manifests
// list, and takes our blocks out of what is only in part ours. A path may name an env file or any other file
// of Prepare; what an env file was written with is found by its manifest. It goes on after an error and
// returns the first.
func remove(mine func(identity) bool, paths ...string) error {
	var first error
	note := func(err error) {
		if err != nil && first == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errForeign) {
			first = err
		}
	}
	unlink := func(path string) {
		id, err := identify(path)
		if err == nil && mine(id) {
			err = os.Remove(path)
		}
		note(err)
	}
	both := func(path string) {
		unlink(path)
		unlink(path + manifestSuffix) // last: until then a second run finds the rest
	}
	for _, path := range paths {
		if id, err := identify(path + manifestSuffix); err == nil && mine(id) {
			for _, other := range id.Files {
				both(other)
			}
			for _, e := range id.Edited {
				note(e.undo())
			}
		}
		both(path)
	}
	return first
}

// deadAfter is how old a temporary file is that is nobody's work any more: between writing and renaming lies
// only the claim, whose retries give up well before.
const deadAfter = time.Minute

// sweep removes the temporary files in folders that are mine or dead: a pre-hook that was killed while
// it wrote leaves them, with all the passwords that the files were to hold. Not every file says whose it is;
// those of one set go together, and where a manifest lists files in other folders, there too. What cannot be
// removed stays.
func sweep(mine func(identity) bool, folders ...string) {
	var sets []string
	for _, folder := range folders {
		for _, path := range matching(folder, stage.Temporaries) {
			if id, err := identify(path); err == nil && mine(id) {
				sets = append(sets, stage.SetOf(path))
				folders = append(folders, id.folders()...)
			}
		}
	}
	for _, folder := range folders {
		for _, path := range matching(folder, stage.Temporaries) {
			info, err := os.Lstat(path)
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			if slices.Contains(sets, stage.SetOf(path)) || time.Since(info.ModTime()) > deadAfter {
				_ = os.Remove(path)
			}
		}
	}
}

// folders lists where the files of a manifest are.
func (id identity) folders() []string {
	var list []string
	for _, path := range id.Files {
		list = append(list, filepath.Dir(path))
	}
	for _, e := range id.Edited {
		list = append(list, filepath.Dir(e.Path))
	}
	return list
}

// matching lists the files of a folder whose names fit. It is no filepath.Glob, because a folder may have
// brackets in its name.
func matching(folder, pattern string) []string {
	entries, _ := os.ReadDir(folder) // a folder that is not there holds no file
	var paths []string
	for _, e := range entries {
		if ok, _ := filepath.Match(pattern, e.Name()); ok {
			paths = append(paths, filepath.Join(folder, e.Name()))
		}
	}
	return paths
}
