package stage_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/stage"
)

func text(s string) func(io.Writer) error { return stage.Bytes([]byte(s)) }

// tree lists what is in a folder: name, mode, and content or target.
func tree(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		name, _ := filepath.Rel(folder, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			found[name] = info.Mode().String()
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			found[name] = "-> " + target
		default:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			found[name] = fmt.Sprintf("%s %s", info.Mode(), content)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func want(t *testing.T, folder string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, tree(t, folder)); diff != "" {
		t.Errorf("in the folder (-want +got):\n%s", diff)
	}
}

func put(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestCommit(t *testing.T) {
	folder := t.TempDir()
	put(t, filepath.Join(folder, "old"), "old", 0o644)
	put(t, filepath.Join(folder, "elsewhere"), "untouched", 0o644)
	if err := os.Symlink("elsewhere", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	s, err := stage.Write([]stage.File{
		{Path: filepath.Join(folder, "new"), Content: text("one")},
		{Path: filepath.Join(folder, "old"), Content: text("two")},
		{Path: filepath.Join(folder, "link"), Content: text("three")},
		{Path: filepath.Join(folder, "shown"), Content: text("four"), Mode: 0o644},
		{Path: filepath.Join(folder, "a@tmp/b/deep"), Content: text("five"), MakeFolder: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, p := range s.Paths() {
		name, _ := filepath.Rel(folder, p)
		names = append(names, name)
	}
	if diff := cmp.Diff([]string{"new", "old", "link", "shown", "a@tmp/b/deep"}, names); diff != "" {
		t.Errorf("Paths (-want +got):\n%s", diff)
	}
	for name, is := range tree(t, folder) {
		if strings.HasPrefix(filepath.Base(name), ".") && !strings.HasPrefix(is, "-rw-------") && !strings.HasSuffix(is, "four") {
			t.Errorf("temporary file %s is %s", name, is)
		}
	}
	if got := tree(t, folder)["old"]; got != "-rw-r--r-- old" {
		t.Errorf("before Commit the old file is %q", got)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	s.Discard() // does nothing now
	want(t, folder, map[string]string{
		"new":          "-rw------- one",
		"old":          "-rw------- two",
		"link":         "-rw------- three",
		"elsewhere":    "-rw-r--r-- untouched",
		"shown":        "-rw-r--r-- four",
		"a@tmp":        "drwx------",
		"a@tmp/b":      "drwx------",
		"a@tmp/b/deep": "-rw------- five",
	})
}

// Who finds one temporary file of a set finds the others, also in other folders.
func TestSetOf(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	var sets [2]string
	for range sets {
		s, err := stage.Write([]stage.File{{Path: filepath.Join(one, "a"), Content: text("x")}, {Path: filepath.Join(two, "b"), Content: text("x")}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Discard()
	}
	names, _ := filepath.Glob(filepath.Join(one, stage.Temporaries))
	for i, name := range names {
		sets[i] = stage.SetOf(name)
		if found, _ := filepath.Glob(filepath.Join(two, sets[i])); len(found) != 1 {
			t.Errorf("%s: there are %q", sets[i], found)
		}
	}
	if len(names) != 2 || sets[0] == sets[1] {
		t.Errorf("the sets of %q are %q", names, sets)
	}
	for _, name := range []string{"a", ".molteniron-", ".molteniron-x", "molteniron-a-1"} {
		if got := stage.SetOf(name); got != "" {
			t.Errorf("%s is of the set %q", name, got)
		}
	}
}

func TestDiscard(t *testing.T) {
	folder := t.TempDir()
	put(t, filepath.Join(folder, "a"), "old", 0o600)
	s, err := stage.Write([]stage.File{{Path: filepath.Join(folder, "a"), Content: text("new")}})
	if err != nil {
		t.Fatal(err)
	}
	s.Discard()
	s.Discard()
	want(t, folder, map[string]string{"a": "-rw------- old"})
}

func TestWriteRefuses(t *testing.T) {
	tests := []struct {
		name  string
		files func(folder string) []stage.File
		is    error
		says  string // with FOLDER for the folder
	}{
		{"a folder", func(d string) []stage.File {
			return []stage.File{{Path: d + "/sub", Content: text("x")}}
		}, syscall.EISDIR, "write FOLDER/sub: is a directory"},
		{"no parent", func(d string) []stage.File {
			return []stage.File{{Path: d + "/gone/a", Content: text("x")}}
		}, fs.ErrNotExist, "write FOLDER/gone/a: no such file or directory"},
		{"a file as parent", func(d string) []stage.File {
			return []stage.File{{Path: d + "/file/a", Content: text("x"), MakeFolder: true}}
		}, syscall.ENOTDIR, "mkdir FOLDER/file: not a directory"},
		{"one name twice", func(d string) []stage.File {
			return []stage.File{{Path: d + "/a", Content: text("x")}, {Path: d + "/sub/../a", Content: text("x")}}
		}, nil, "write FOLDER/a: two outputs name this file; give each its own"},
		{"no name", func(string) []stage.File {
			return []stage.File{{Content: text("x")}}
		}, nil, "a file to write has no name"},
		{"content that fails", func(d string) []stage.File {
			return []stage.File{{Path: d + "/a", Content: text("x")}, {Path: d + "/b", Content: func(w io.Writer) error {
				_, _ = io.WriteString(w, "half")
				return errors.New("the value of A cannot be carried")
			}}}
		}, nil, "write FOLDER/b: the value of A cannot be carried"},
		{"a disk that fills", func(d string) []stage.File {
			return []stage.File{{Path: d + "/a", Content: text("x")}, {Path: d + "/b", Content: func(io.Writer) error {
				return &fs.PathError{Op: "write", Path: d + "/.molteniron-XYZ", Err: syscall.ENOSPC}
			}}}
		}, syscall.ENOSPC, "write FOLDER/b: no space left on device"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.Mkdir(filepath.Join(folder, "sub"), 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(folder, "file"), "", 0o644)
			before := tree(t, folder)
			_, err := stage.Write(tt.files(folder))
			if err == nil {
				t.Fatal("it was written")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("the error %v is not %v", err, tt.is)
			}
			if got := strings.ReplaceAll(err.Error(), folder, "FOLDER"); got != tt.says {
				t.Errorf("the error says %q, want %q", got, tt.says)
			}
			want(t, folder, before)
		})
	}
}

// A rename fails when a folder has taken the name meanwhile; the others must be as they were.
func TestCommitUndoes(t *testing.T) {
	folder := t.TempDir()
	put(t, filepath.Join(folder, "local.conf"), "a person's", 0o644)
	s, err := stage.Write([]stage.File{
		{Path: filepath.Join(folder, "local.conf"), Content: text("edited")},
		{Path: filepath.Join(folder, "env"), Content: text("secret")},
		{Path: filepath.Join(folder, "json"), Content: text("secret")},
		{Path: filepath.Join(folder, "last"), Content: text("secret")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "json"), 0o755); err != nil {
		t.Fatal(err)
	}
	err = s.Commit()
	if err == nil || !strings.Contains(err.Error(), filepath.Join(folder, "json")+": ") || strings.Contains(err.Error(), ".molteniron-") {
		t.Errorf("the error is %v, want the path of json and no temporary name", err)
	}
	want(t, folder, map[string]string{"local.conf": "-rw-r--r-- a person's", "json": "drwxr-xr-x"})
}

func TestCommitIntoRemovedFolder(t *testing.T) {
	folder := t.TempDir()
	s, err := stage.Write([]stage.File{
		{Path: filepath.Join(folder, "env"), Content: text("ours")},
		{Path: filepath.Join(folder, "gone", "json"), Content: text("ours"), MakeFolder: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(folder, "gone")); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Commit into a removed folder: %v", err)
	}
	want(t, folder, map[string]string{})
}

func TestEdit(t *testing.T) {
	folder := t.TempDir()
	put(t, filepath.Join(folder, "old"), "a=1\n", 0o640)
	if err := os.Chmod(filepath.Join(folder, "old"), 0o640); err != nil { // whatever the umask
		t.Fatal(err)
	}
	edit := func(before []byte) ([]byte, error) {
		if before == nil {
			return []byte("new"), nil
		}
		return append(before, "b=2\n"...), nil
	}
	s, err := stage.Write([]stage.File{
		{Path: filepath.Join(folder, "old"), Edit: edit, Mode: 0o666},
		{Path: filepath.Join(folder, "fresh"), Edit: edit},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, folder, map[string]string{"old": "-rw-r----- a=1\nb=2\n", "fresh": "-rw------- new"})
}

func TestEditRefuses(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	put(t, at("file"), "", 0o644)
	put(t, at("huge"), "", 0o644)
	if err := os.Truncate(at("huge"), 17<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", at("link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		"link": "edit FOLDER/link: it is a symbolic link; name the file that it points to",
		"pipe": "edit FOLDER/pipe: it is no regular file",
		"huge": "edit FOLDER/huge: it is larger than 16777216 bytes",
		"file": "edit FOLDER/file: line 3 has no end",
	} {
		_, err := stage.Write([]stage.File{{Path: at(name), Edit: func([]byte) ([]byte, error) {
			return nil, errors.New("line 3 has no end")
		}}})
		if err == nil || strings.ReplaceAll(err.Error(), folder, "FOLDER") != says {
			t.Errorf("got  %v\nwant %s", err, says)
		}
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 4 {
		t.Errorf("something is left: %v", entries)
	}
}

// A tiny file system of its own is the one true full disk; it takes root and a kernel that allows it.
func TestFullDisk(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	big := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
	_, err := stage.Write([]stage.File{
		{Path: filepath.Join(folder, "small"), Content: text("x")},
		{Path: filepath.Join(folder, "big"), Content: stage.Bytes(big)},
	})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want no space left", err)
	}
	want(t, folder, map[string]string{})
}

// Check finds what Write would, and leaves nothing.
func TestCheck(t *testing.T) {
	folder := t.TempDir()
	for _, tt := range []struct {
		path string
		make bool
		want error
	}{
		{"a", false, nil},
		{"missing/a", false, fs.ErrNotExist},
		{"missing/deep/a", true, nil},
		{"file/a", false, syscall.ENOTDIR},
		{"file/deep/a", true, syscall.ENOTDIR},
	} {
		if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, tt.path)
		err := stage.Check(path, tt.make)
		if !errors.Is(err, tt.want) || err != nil && !strings.HasPrefix(err.Error(), "write "+path+": ") {
			t.Errorf("%s: %v, want %v", tt.path, err, tt.want)
		}
		want(t, folder, map[string]string{"file": "-rw------- "})
	}
	// Also for root, who may write wherever the system takes files.
	if err := stage.Check("/proc/a", false); err == nil {
		t.Error("/proc takes a file")
	}
}
