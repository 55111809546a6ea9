// Package outbox keeps releases that could not reach the database, in a folder of this machine, until
// somebody who can reach it makes them: one small file each, written whole or not at all, and removed when
// the release was made. Who dies in between has it made again, so making one twice must be harmless.
//
// A file holds no secret: not the password of the database, and of an allocation's token only what the
// database knows too. It names what it releases all the same, so it is its user's alone.
package outbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/molteniron/molteniron/pkg/stage"
)

// Release is what is kept.
type Release struct {
	Database string // pool.DB.Place
	Owner    string
	Slot     *string   // nil is every slot
	Tokens   []string  // of the allocations that are known, by pool.TokenKey
	Asked    time.Time // by this machine's clock
	Result   string
	Dirty    bool
	Hold     time.Duration // for so long from Asked on the nodes stay, for a post-mortem; 0 gives them back
}

// file is the form of a file. A form that this program does not know has another version.
type file struct {
	Version  int       `json:"version"`
	Database string    `json:"database"`
	Owner    string    `json:"owner"`
	Slot     *string   `json:"slot"`
	Tokens   []string  `json:"token_sha256"`
	Asked    time.Time `json:"asked_at"`
	Result   string    `json:"result"`
	Dirty    bool      `json:"dirty"`
	Hold     int64     `json:"hold_s,omitempty"` // a program that does not know it sets the file aside, and gives nothing back
}

const version = 1

// maxHold is what a time.Duration holds, in seconds; the pool has its own idea of how long a hold may be.
const maxHold = int64(math.MaxInt64 / time.Second)

// maxFile bounds what is read: an owner has 768 characters, and a build few allocations. In bytes.
const maxFile = 64 << 10

// suffix ends the names of files that wait, asideSuffix those that nobody could understand.
const (
	suffix      = ".json"
	asideSuffix = ".aside"
)

// Keep writes a release into the first of the folders that takes it, and says where; what it returns is
// on the disk. The folder is made if it is missing.
func Keep(folders []string, r Release) (path string, err error) {
	for _, v := range []struct{ name, value string }{{"owner", r.Owner}, {"slot", slotOf(r)}, {"result", r.Result}, {"database's URL", r.Database}} {
		if !utf8.ValidString(v.value) { // JSON would change it
			return "", fmt.Errorf("the %s %q is no UTF-8 text", v.name, v.value)
		}
	}
	text, err := json.MarshalIndent(file{version, r.Database, r.Owner, r.Slot, r.Tokens, r.Asked.UTC(), r.Result, r.Dirty, int64(r.Hold / time.Second)}, "", "  ")
	if err != nil {
		return "", err
	}
	// In the order of their names they are in the order of time. Two of one moment differ, and neither looks
	// like a token.
	name := r.Asked.UTC().Format("20060102T150405.000000000Z") + "-" + strings.ToLower(rand.Text()[:12]) + suffix
	err = errors.New("no folder is known; name one with --outbox")
	for i, folder := range folders {
		path, failed := keep(filepath.Join(folder, name), append(text, '\n'))
		if failed == nil {
			return path, nil
		}
		if i == 0 {
			err = nil
		}
		err = errors.Join(err, failed)
	}
	return "", err
}

func slotOf(r Release) string {
	if r.Slot == nil {
		return ""
	}
	return *r.Slot
}

func keep(path string, text []byte) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	folder := filepath.Dir(path)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return "", err
		}
		// A folder that a power cut takes away takes its files along.
		for made := folder; made != filepath.Dir(made); made = filepath.Dir(made) {
			if err := sync(filepath.Dir(made)); err != nil {
				break // above it lies what was there before, which need not be ours to open
			}
		}
	}
	if err := check(folder); err != nil {
		return "", err
	}
	staged, err := stage.Write([]stage.File{{Path: path, Content: stage.Bytes(text)}})
	if err != nil {
		return "", err
	}
	return path, staged.Commit()
}

func sync(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// check refuses a folder where anybody could have put a release.
func check(folder string) error {
	info, err := os.Stat(folder)
	if err == nil && info.Mode().Perm()&0o002 != 0 {
		err = fmt.Errorf("outbox %s: everybody on this machine can write into it, so nothing in it can be trusted; type: chmod o-w %s", folder, folder)
	}
	return err
}

// The ways in which a release can be left by who was to make it.
var (
	// ErrLater leaves it and all that come after it: the database does not answer.
	ErrLater = errors.New("later")
	// ErrElsewhere leaves it alone: it is for another database.
	ErrElsewhere = errors.New("for another database")
)

// Report says what Replay did not do.
type Report struct {
	Aside     []error  // files that could not be understood, each with its new name
	Unread    []error  // files and folders with which something else is wrong; they stay as they are
	Elsewhere []string // databases of the releases that are for another one
	Left      int      // that wait for later
}

// Replay has each release that waits in the folders made by do, in the order in which they came. do's nil
// says that it was made, or that there is nothing left of it to be made, and removes it; an error that is
// neither ErrLater nor ErrElsewhere says that it cannot be understood, and sets it aside under another name.
// Folders that are not there, and those that somebody else replays at this moment, are passed over. When
// ctx ends, what is left stays. So does what this user may not read: it is another's.
func Replay(ctx context.Context, folders []string, do func(context.Context, Release) error) Report {
	var r Report
	for _, folder := range folders {
		if err := r.replay(ctx, folder, do); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			r.Unread = append(r.Unread, err)
		}
	}
	return r
}

func (r *Report) replay(ctx context.Context, folder string, do func(context.Context, Release) error) error {
	names, err := waiting(folder)
	if err != nil || len(names) == 0 {
		return err
	}
	if err := check(folder); err != nil {
		return err
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close() // and gives the lock back, as our death does
	switch err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil
	case err != nil:
		return fmt.Errorf("outbox %s: lock it: %w", folder, err)
	}
	if names, err = waiting(folder); err != nil { // as it is under the lock
		return err
	}
	for i, name := range names {
		if ctx.Err() != nil {
			r.Left += len(names) - i
			break
		}
		path := filepath.Join(folder, name)
		switch release, err := read(path); {
		case errors.Is(err, errUnclear):
			r.aside(path, err)
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
		case err != nil:
			r.Unread = append(r.Unread, err)
		default:
			err := do(ctx, release)
			switch {
			case errors.Is(err, ErrLater):
				r.Left += len(names) - i
				return nil
			case errors.Is(err, ErrElsewhere):
				r.Elsewhere = append(r.Elsewhere, release.Database)
			case err != nil:
				r.aside(path, err)
			default:
				if err := os.Remove(path); err != nil {
					r.Unread = append(r.Unread, err)
				}
			}
		}
	}
	// What was removed stays removed over a power cut. If not, it is made again, which is harmless.
	_ = d.Sync()
	return nil
}

// aside keeps a file that nobody could understand for a person.
func (r *Report) aside(path string, why error) {
	if err := os.Rename(path, path+asideSuffix); err != nil {
		r.Unread = append(r.Unread, fmt.Errorf("%w; it cannot be understood either: %w", err, why))
		return
	}
	r.Aside = append(r.Aside, fmt.Errorf("%s%s is set aside, because it cannot be understood: %w", path, asideSuffix, why))
}

// errUnclear is the class of errors for what stands in a file.
var errUnclear = errors.New("unclear")

// unclear makes an error of that class.
type unclear struct{ error }

func (unclear) Is(target error) bool { return target == errUnclear }
func (u unclear) Unwrap() error      { return u.error }

// waiting lists the files of a folder in the order of their names.
func waiting(folder string) ([]string, error) {
	d, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, suffix) })
	slices.Sort(names)
	return names, nil
}

// read reads a file. It follows no link and opens nothing that could make it wait.
func read(path string) (Release, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return Release{}, unclear{errors.New("it is a symbolic link")}
	}
	if err != nil {
		return Release{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return Release{}, err
	} else if !info.Mode().IsRegular() {
		return Release{}, unclear{errors.New("it is no regular file")}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Release{}, err
	}
	r, err := parse(text)
	if err != nil {
		return Release{}, unclear{err}
	}
	return r, nil
}

// parse reads what Keep writes, and nothing else: a release that is understood by half would be made by
// half.
func parse(text []byte) (Release, error) {
	if len(text) > maxFile {
		return Release{}, fmt.Errorf("it is larger than %d KiB", maxFile>>10)
	}
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return Release{}, err
	}
	if v.Version != version {
		return Release{}, fmt.Errorf("it has version %d, and this program knows version %d", v.Version, version)
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Release{}, err
	}
	if f.Owner == "" || f.Database == "" || f.Asked.IsZero() {
		return Release{}, errors.New("it does not say owner, database and asked_at")
	}
	if f.Hold < 0 || f.Hold > maxHold {
		return Release{}, fmt.Errorf("a hold of %d seconds", f.Hold)
	}
	return Release{f.Database, f.Owner, f.Slot, f.Tokens, f.Asked, f.Result, f.Dirty, time.Duration(f.Hold) * time.Second}, nil
}
