// Package stage writes a set of files so that all of them appear or none does, and so that nobody ever
// reads half of one: each is written and synced under a temporary name in its own folder, and takes its
// own name by rename when everything else is settled.
//
// A hook stages its files before it claims its nodes, because a full disk found after the claim would
// leave nodes with a build that cannot reach them; it commits after the claim.
package stage

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Mode is what a staged file gets unless its File says otherwise: its content is for one user only.
const Mode fs.FileMode = 0o600

// File is one file to be written.
type File struct {
	Path string
	// Content writes what the file is to hold. Its error ends Write, which wraps it with the path.
	Content func(io.Writer) error
	// Edit is given instead of Content for a file that is somebody else's and only in part ours: it makes
	// the new content from what the file holds, nil when there is none yet. The file keeps its mode, and
	// its owner where the system lets it. Here a symbolic link is refused: it would be replaced by a copy
	// of what it points to. So is a file above 16 MiB.
	Edit func(before []byte) ([]byte, error)
	// Mode is the permissions, exactly (the umask is not asked); 0 is the package's Mode.
	Mode fs.FileMode
	// MakeFolder makes the file's folder, and those above it, with mode 0700 where they are missing, as
	// Jenkins' WORKSPACE@tmp may be. They stay when the set is discarded.
	MakeFolder bool
}

// Bytes is a File's Content that writes text.
func Bytes(text []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	}
}

// Staged is a set of files that have been written and synced, and do not have their names yet. Call
// Commit or Discard, or both; Discard after Commit does nothing.
type Staged struct {
	set   string // in the names of all its temporary files
	files []staged
	names int // that were made
}

type staged struct {
	path, temporary string
	info            fs.FileInfo // of the file itself: says after the rename whether it is still ours
}

// Write writes all files under temporary names and syncs them. On an error nothing of it is left (but
// folders that MakeFolder made). A path that is a folder is refused here, before anything depends on
// it; a symbolic link is not followed, Commit will replace it. Two files of one path are refused. The
// errors name the path; a full disk is syscall.ENOSPC.
func Write(files []File) (*Staged, error) {
	s := &Staged{set: rand.Text()}
	for _, f := range files {
		if err := s.write(f); err != nil {
			s.Discard()
			return nil, err
		}
	}
	return s, nil
}

// checkSize is what Check writes, in bytes: about what an env file takes, so that a full disk is noticed.
const checkSize = 4096

// Check finds out whether a file could be written at path now: it makes another beside it and removes that at
// once. With makeFolder a folder that is missing is none, as with File.MakeFolder, if it could be made. The
// error names the path; fs.ErrNotExist is a folder that is missing.
func Check(path string, makeFolder bool) error {
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	_, err = os.Stat(folder)
	for makeFolder && errors.Is(err, fs.ErrNotExist) && filepath.Dir(folder) != folder {
		folder = filepath.Dir(folder)
		_, err = os.Stat(folder)
	}
	if err == nil {
		s := &Staged{set: rand.Text()}
		err = try(s.temporaryName(filepath.Join(folder, filepath.Base(path))))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	return nil
}

// try makes a file and fills it. It has its name for no longer than it takes to remove that.
func try(name string) error {
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, Mode)
	if err != nil {
		return err
	}
	err = os.Remove(name)
	_, full := out.Write(make([]byte, checkSize))
	return errors.Join(err, full, out.Close())
}

func (s *Staged) write(f File) error {
	path, err := filepath.Abs(f.Path) // Commit may be called from another folder
	if err != nil {
		return err
	}
	if f.Path == "" {
		return errors.New("a file to write has no name")
	}
	for _, other := range s.files {
		if other.path == path {
			return fmt.Errorf("write %s: two outputs name this file; give each its own", path)
		}
	}
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return &fs.PathError{Op: "write", Path: path, Err: syscall.EISDIR}
	}
	if f.MakeFolder {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
	}
	mode := f.Mode
	if mode == 0 {
		mode = Mode
	}
	var before fs.FileInfo
	if f.Edit != nil {
		var content []byte
		content, before, err = read(path)
		if err == nil {
			content, err = f.Edit(content)
		}
		if err != nil {
			return fmt.Errorf("edit %s: %w", path, cause(err))
		}
		f.Content = Bytes(content)
	}

	temporary := s.temporaryName(path)
	// O_EXCL does not follow a link that stands there.
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, Mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	if before != nil {
		mode = before.Mode().Perm()
		if owner, ok := before.Sys().(*syscall.Stat_t); ok {
			_ = out.Chown(int(owner.Uid), int(owner.Gid)) // only root can, for others' files
		}
	}
	err = fill(out, f.Content, mode)
	var info fs.FileInfo
	if err == nil {
		info, err = out.Stat()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(temporary)
		return fmt.Errorf("write %s: %w", path, cause(err))
	}
	s.files = append(s.files, staged{path: path, temporary: temporary, info: info})
	return nil
}

// maxEdit bounds what is read of a file to edit: it is a person's configuration, and a slip that names
// a disk image must not fill the memory.
const maxEdit = 16 << 20

// read reads a file that is to be edited; both results are nil when there is none.
func read(path string) ([]byte, fs.FileInfo, error) {
	// O_NONBLOCK: opening a named pipe would wait for its writer.
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case errors.Is(err, syscall.ELOOP):
		return nil, nil, errors.New("it is a symbolic link; name the file that it points to")
	case err != nil:
		return nil, nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("it is no regular file")
	}
	text, err := io.ReadAll(io.LimitReader(in, maxEdit+1))
	if err == nil && len(text) > maxEdit {
		err = fmt.Errorf("it is larger than %d bytes", maxEdit)
	}
	return text, info, err
}

func fill(out *os.File, content func(io.Writer) error, mode fs.FileMode) error {
	if err := content(out); err != nil {
		return err
	}
	if err := out.Chmod(mode); err != nil {
		return err
	}
	return out.Sync()
}

// Temporaries is the pattern of the names of all temporary files, in whatever folder; the leading dot keeps
// them out of `*`. Who was killed leaves them.
const Temporaries = ".molteniron-*"

// SetOf gives the pattern of the names of all temporary files of the set that a temporary file is of, "" for a
// name that is none's.
func SetOf(name string) string {
	if ok, _ := filepath.Match(Temporaries, filepath.Base(name)); !ok {
		return ""
	}
	set, _, ok := strings.Cut(strings.TrimPrefix(filepath.Base(name), ".molteniron-"), "-")
	if !ok {
		return ""
	}
	return ".molteniron-" + set + "-*"
}

// temporaryName makes a name in path's folder, random, so that nobody can wait for it in a folder that others
// may write to.
func (s *Staged) temporaryName(path string) string {
	s.names++
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".molteniron-%s-%d", s.set, s.names))
}

// cause takes off the temporary name, which says nothing to anybody.
func cause(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}

// Paths lists the absolute paths of the set's files, in the order of Write.
func (s *Staged) Paths() []string {
	paths := make([]string, len(s.files))
	for i, f := range s.files {
		paths[i] = f.path
	}
	return paths
}

// Commit gives all files their names and syncs their folders. What stood under a name is replaced, a
// symbolic link itself and not what it points to. On an error everything is as it was before: what was
// renamed is removed again (unless somebody has replaced it meanwhile), what it replaced is put back
// where the file system can (it needs hard links), the temporary files are gone. The error names the
// path.
func (s *Staged) Commit() error {
	done := make([]committed, 0, len(s.files))
	err := func() error {
		for _, f := range s.files {
			c := committed{staged: f}
			c.before = s.keep(f.path)
			done = append(done, c)
			if err := os.Rename(f.temporary, f.path); err != nil {
				return fmt.Errorf("write %s: %w", f.path, cause(err))
			}
		}
		return s.syncFolders()
	}()
	for _, c := range done {
		if err != nil {
			c.undo()
		}
		if c.before != "" {
			_ = os.Remove(c.before)
		}
	}
	s.Discard()
	return err
}

// committed is a file that has its name, or failed to get it.
type committed struct {
	staged
	before string // another name of the file that was replaced, "" when there is none
}

// keep gives the file at path a second name and says which; "" when there is no file, or no way.
func (s *Staged) keep(path string) string {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	name := s.temporaryName(path)
	if os.Link(path, name) != nil {
		return ""
	}
	return name
}

// undo puts the name back to what it was, if it still names the file that was staged.
func (c committed) undo() {
	info, err := os.Lstat(c.path)
	switch {
	case err != nil || !os.SameFile(info, c.info):
	case c.before != "":
		_ = os.Rename(c.before, c.path)
	default:
		_ = os.Remove(c.path)
	}
}

func (s *Staged) syncFolders() error {
	synced := map[string]bool{}
	for _, f := range s.files {
		folder := filepath.Dir(f.path)
		if synced[folder] {
			continue
		}
		synced[folder] = true
		if err := syncFolder(folder); err != nil {
			return fmt.Errorf("write %s: sync its folder: %w", f.path, cause(err))
		}
	}
	return nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil // a file system that keeps no folders to sync (some network and overlay ones)
	}
	return err
}

// Discard removes the temporary files of a set that was not committed. It may be called twice.
func (s *Staged) Discard() {
	for _, f := range s.files {
		_ = os.Remove(f.temporary)
	}
	s.files = nil
}
