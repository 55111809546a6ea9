package scrub

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"
)

// File is a file in which secrets were found and blanked.
type File struct {
	Path   string // from the folder on
	Places int
}

// Report says what became of a folder.
type Report struct {
	Looked  int      // regular files that were searched to their end
	Opaque  []string // files whose compression cannot be looked into
	Outside []string // links that lead out of the folder, and were not followed
	Failed  []error  // files and folders that could not be searched, or not be replaced: they may hold secrets
}

// Folder blanks the secrets in all regular files below a folder, in plain text and in what gzip compressed,
// and tells each file that it changed. A changed file keeps its name, permissions, times and, where the
// system lets it, its owner; it is replaced whole when the new one is on the disk. Links are not followed,
// devices and pipes not opened. What cannot be done is told and does not keep it from the rest. The error
// is the folder's own, or that of ctx.
func (s *Scrubber) Folder(ctx context.Context, folder string, tell func(File)) (Report, error) {
	var r Report
	if s.Empty() {
		return r, nil
	}
	// Whoever exchanges a folder for a link while we are at work leads us nowhere: a Root does not leave it.
	root, err := os.OpenRoot(folder)
	if err != nil {
		return r, err
	}
	defer root.Close()
	failed := func(name string, err error) {
		r.Failed = append(r.Failed, fmt.Errorf("%s: %w", path.Join(folder, name), bare(err)))
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			failed(name, err)
			return nil
		case entry.Type() == fs.ModeSymlink:
			if _, err := root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				r.Outside = append(r.Outside, path.Join(folder, name))
			}
			return nil
		case !entry.Type().IsRegular():
			return nil
		}
		places, err := s.file(ctx, root, name)
		switch {
		case errors.Is(err, errOpaque):
			r.Opaque = append(r.Opaque, path.Join(folder, name))
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist): // gone meanwhile
		case err != nil:
			failed(name, err)
		default:
			r.Looked++
			if places > 0 {
				tell(File{path.Join(folder, name), places})
			}
		}
		return nil
	})
	return r, err
}

// bare takes the path out of an error: the caller names it first, and a temporary name says nothing.
func bare(err error) error {
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

var (
	errOpaque  = errors.New("compressed in a way that cannot be looked into")
	errWritten = errors.New("it is being written to, so it could not be searched to its end")
)

// tries is how often a file that changes under our hands is begun anew.
const tries = 3

// file blanks the secrets in one file.
func (s *Scrubber) file(ctx context.Context, root *os.Root, name string) (places int, err error) {
	for range tries {
		// O_NONBLOCK: opening a pipe that took the file's place would wait for its writer.
		in, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if err != nil {
			return 0, err
		}
		places, err := s.opened(ctx, root, name, in)
		_ = in.Close()
		if !errors.Is(err, errWritten) {
			return places, err
		}
	}
	return 0, errWritten
}

func (s *Scrubber) opened(ctx context.Context, root *os.Root, name string, in *os.File) (places int, err error) {
	before, err := in.Stat()
	if err != nil {
		return 0, err
	}
	if !before.Mode().IsRegular() {
		return 0, nil // it became something else meanwhile
	}
	size := before.Size() // a log that grows faster than it is read would never end
	found, err := s.search(ctx, io.LimitReader(in, size))
	if err == nil {
		err = unchanged(root, name, before)
	}
	if err != nil || !found {
		return 0, err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	temporary := path.Join(path.Dir(name), ".molteniron-"+rand.Text())
	out, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(temporary)
		}
	}()
	places, err = s.rewrite(ctx, out, io.LimitReader(in, size))
	if err == nil {
		if old, ok := before.Sys().(*syscall.Stat_t); ok {
			_ = out.Chown(int(old.Uid), int(old.Gid)) // only root can, for others' files
		}
		err = out.Chmod(before.Mode().Perm())
	}
	if err == nil {
		err = out.Sync()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = root.Chtimes(temporary, time.Time{}, before.ModTime())
	}
	if err != nil {
		return 0, err
	}
	if err := unchanged(root, name, before); err != nil {
		return 0, err
	}
	return places, root.Rename(temporary, name)
}

// unchanged is errWritten when a file is not what it was.
func unchanged(root *os.Root, name string, before fs.FileInfo) error {
	now, err := root.Lstat(name)
	if err == nil && (!os.SameFile(before, now) || now.Size() != before.Size() || !now.ModTime().Equal(before.ModTime())) {
		err = errWritten
	}
	return err
}

// Beginnings of files.
var (
	gzipMagic = []byte("\x1f\x8b\x08")
	opaque    = [][]byte{
		[]byte("\xfd7zXZ\x00"), []byte("\x28\xb5\x2f\xfd"), []byte("PK\x03\x04"), []byte("7z\xbc\xaf\x27\x1c"),
		[]byte("\x04\x22\x4d\x18"),
	}
)

// reader reads a file's content: within its gzip compression, if it has one.
func reader(ctx context.Context, in io.Reader) (content io.Reader, zip *gzip.Reader, err error) {
	r := bufio.NewReaderSize(ending{ctx, in}, 64<<10)
	head, err := r.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	if bytes.HasPrefix(head, gzipMagic) {
		zip, err = gzip.NewReader(r)
		return zip, zip, err
	}
	for _, magic := range opaque {
		if bytes.HasPrefix(head, magic) {
			return nil, nil, errOpaque
		}
	}
	if len(head) == 8 && string(head[:3]) == "BZh" && string(head[4:]) == "1AY&" {
		return nil, nil, errOpaque
	}
	return r, nil, nil
}

func (s *Scrubber) search(ctx context.Context, in io.Reader) (bool, error) {
	content, _, err := reader(ctx, in)
	if err != nil {
		return false, err
	}
	return s.find(content)
}

func (s *Scrubber) rewrite(ctx context.Context, out io.Writer, in io.Reader) (places int, err error) {
	content, zip, err := reader(ctx, in)
	if err != nil {
		return 0, err
	}
	if zip == nil {
		return s.Copy(out, content)
	}
	z := gzip.NewWriter(out)
	z.Header = zip.Header
	if places, err = s.Copy(z, content); err != nil {
		return 0, err
	}
	return places, z.Close()
}

// ending is a reader that ends with its context, between two reads.
type ending struct {
	ctx context.Context
	io.Reader
}

func (e ending) Read(p []byte) (int, error) {
	if e.ctx.Err() != nil {
		return 0, context.Cause(e.ctx)
	}
	return e.Reader.Read(p)
}
