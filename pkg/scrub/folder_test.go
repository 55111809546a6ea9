package scrub

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tree makes files; a path that ends with / is a folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func zipped(t *testing.T, texts ...string) string {
	t.Helper()
	var b bytes.Buffer
	for _, text := range texts { // each a member of its own, as a log that is appended to has
		z := gzip.NewWriter(&b)
		z.Name, z.ModTime = "console.log", time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
		if _, err := io.WriteString(z, text); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func unzipped(t *testing.T, text string) (string, gzip.Header) {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(all), z.Header
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// scrubFolder scrubs and gives what was changed, by name.
func scrubFolder(t *testing.T, dir string, secrets ...string) (map[string]int, Report) {
	t.Helper()
	changed := map[string]int{}
	r, err := newScrubber(t, secrets...).Folder(t.Context(), dir, func(f File) {
		name, _ := filepath.Rel(dir, f.Path)
		changed[name] = f.Places
	})
	if err != nil {
		t.Fatal(err)
	}
	return changed, r
}

func TestFolder(t *testing.T) {
	dir := tree(t, map[string]string{
		"stack.log": "+ P=Zebra\nnext\n", "deep/er/n.txt": "Zebra Zebra", "clean.log": "nothing here\n", "empty": "", "a.log.gz": zipped(t, "x Zebra", "Zebra y"),
		"clean.gz": zipped(t, "nothing"), "named-wrong.gz": "plain Zebra", "named-wrong.log": zipped(t, "Zebra"), "journal.xz": "\xfd7zXZ\x00 Zebra",
		"a.zip": "PK\x03\x04 Zebra", "b.bz2": "BZh91AY&SY Zebra", "BZh.log": "BZhello Zebra",
	})
	before := contents(t, dir)
	changed, r := scrubFolder(t, dir, "Zebra")
	if diff := cmp.Diff(map[string]int{
		"stack.log": 1, "deep/er/n.txt": 2, "a.log.gz": 2, "named-wrong.gz": 1, "named-wrong.log": 1, "BZh.log": 1,
	}, changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	opaque := []string{filepath.Join(dir, "a.zip"), filepath.Join(dir, "b.bz2"), filepath.Join(dir, "journal.xz")}
	if diff := cmp.Diff(Report{Looked: 9, Opaque: opaque}, r); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	after := contents(t, dir)
	text, header := unzipped(t, after["a.log.gz"])
	if text != "x [redacted][redacted] y" || header.Name != "console.log" || header.ModTime.Year() != 2026 {
		t.Errorf("a.log.gz holds %q, header %+v", text, header)
	}
	if text, _ := unzipped(t, after["named-wrong.log"]); text != "[redacted]" {
		t.Errorf("named-wrong.log holds %q", text)
	}
	want := before
	want["stack.log"], want["deep/er/n.txt"], want["named-wrong.gz"] = "+ P=[redacted]\nnext\n", "[redacted] [redacted]", "plain [redacted]"
	want["BZh.log"] = "BZhello [redacted]"
	want["a.log.gz"], want["named-wrong.log"] = after["a.log.gz"], after["named-wrong.log"]
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if changed, _ := scrubFolder(t, dir, "Zebra"); len(changed) != 0 {
		t.Errorf("the second time it changed %v", changed)
	}
}

// A changed file looks like the one that it replaces; one without a secret is not touched.
func TestFileIsTheSame(t *testing.T) {
	dir := tree(t, map[string]string{"a.log": "Zebra", "clean.log": "x"})
	when := time.Date(2020, 2, 3, 4, 5, 6, 789012345, time.UTC)
	stat := func(name string) *syscall.Stat_t {
		t.Helper()
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if !info.ModTime().Equal(when) || info.Mode().Perm() != 0o640 {
			t.Errorf("%s is of %s, mode %v", name, info.ModTime(), info.Mode())
		}
		return info.Sys().(*syscall.Stat_t)
	}
	root := os.Getuid() == 0
	for _, name := range []string{"a.log", "clean.log"} {
		path := filepath.Join(dir, name)
		if root {
			if err := os.Chown(path, 1234, 2345); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(os.Chmod(path, 0o640), os.Chtimes(path, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	clean := stat("clean.log").Ino
	if changed, _ := scrubFolder(t, dir, "Zebra"); len(changed) != 1 {
		t.Fatalf("changed %v", changed)
	}
	if s := stat("a.log"); root && (s.Uid != 1234 || s.Gid != 2345) {
		t.Errorf("a.log is %d:%d's", s.Uid, s.Gid)
	}
	if stat("clean.log").Ino != clean {
		t.Error("a file without a secret was replaced")
	}
}

func TestLinksAndOthers(t *testing.T) {
	outside := tree(t, map[string]string{"secret.log": "Zebra", "more/x.log": "Zebra"})
	dir := tree(t, map[string]string{"a.log": "Zebra"})
	listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := errors.Join(
		os.Symlink(filepath.Join(outside, "secret.log"), filepath.Join(dir, "out.log")),
		os.Symlink(outside, filepath.Join(dir, "out")),
		os.Symlink("../"+filepath.Base(outside), filepath.Join(dir, "out2")),
		os.Symlink("a.log", filepath.Join(dir, "in.log")),
		os.Symlink(".", filepath.Join(dir, "loop")),
		os.Symlink("gone", filepath.Join(dir, "dangling")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
		os.Link(filepath.Join(dir, "a.log"), filepath.Join(dir, "hard.log")),
	); err != nil {
		t.Fatal(err)
	}
	changed, r := scrubFolder(t, dir, "Zebra")
	if diff := cmp.Diff(map[string]int{"a.log": 1, "hard.log": 1}, changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	want := []string{filepath.Join(dir, "out"), filepath.Join(dir, "out.log"), filepath.Join(dir, "out2")}
	if diff := cmp.Diff(Report{Looked: 2, Outside: want}, r); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"secret.log": "Zebra", "more/x.log": "Zebra"}, contents(t, outside)); diff != "" {
		t.Errorf("outside (-want +got):\n%s", diff)
	}
	if target, err := os.Readlink(filepath.Join(dir, "in.log")); target != "a.log" {
		t.Errorf("in.log leads to %q, %v", target, err)
	}
	// The folder itself may be behind a link: it was named.
	link := filepath.Join(t.TempDir(), "logs")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new.log"), []byte("Zebra"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, _ := scrubFolder(t, link, "Zebra"); len(changed) != 1 {
		t.Errorf("through a link it changed %v", changed)
	}
}

// An archive among the logs can still be read: lengths and offsets stay.
func TestArchive(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, text := range []string{"P=Zebra\n", strings.Repeat("x", 1000) + "'it'\\''s Zebra"} {
		if err := w.WriteHeader(&tar.Header{Name: "log", Mode: 0o600, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := tree(t, map[string]string{"logs.tar": b.String(), "logs.tar.gz": zipped(t, b.String())})
	changed, _ := scrubFolder(t, dir, "Zebra", "it's Zebra")
	if diff := cmp.Diff(map[string]int{"logs.tar": 2, "logs.tar.gz": 2}, changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	all := contents(t, dir)
	unzippedTar, _ := unzipped(t, all["logs.tar.gz"])
	for name, text := range map[string]string{"logs.tar": all["logs.tar"], "logs.tar.gz": unzippedTar} {
		r := tar.NewReader(strings.NewReader(text))
		var got []string
		for {
			if _, err := r.Next(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = append(got, strings.TrimLeft(string(text), "x"))
		}
		if diff := cmp.Diff([]string{"P=*****\n", "'*************"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What cannot be scrubbed is said, and does not keep the rest from it.
func TestFailures(t *testing.T) {
	whole := zipped(t, strings.Repeat("Zebra and much that does not compress: 8f3a ", 20))
	dir := tree(t, map[string]string{
		"cut.gz": whole[:len(whole)-9], "trailing.gz": whole + "garbage", "header.gz": "\x1f\x8b\x08", "z.log": "Zebra",
	})
	before := contents(t, dir)
	changed, r := scrubFolder(t, dir, "Zebra")
	if diff := cmp.Diff(map[string]int{"z.log": 1}, changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if len(r.Failed) != 3 || !strings.Contains(errors.Join(r.Failed...).Error(), filepath.Join(dir, "cut.gz")+": unexpected EOF") {
		t.Errorf("failed: %v", r.Failed)
	}
	before["z.log"] = "[redacted]"
	if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
		t.Errorf("files, none of them temporary (-want +got):\n%s", diff)
	}
	for _, missing := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "z.log")} {
		if _, err := newScrubber(t, "Zebra").Folder(t.Context(), missing, func(File) {}); err == nil {
			t.Errorf("%s was scrubbed", missing)
		}
	}
}

// A log that somebody still writes to is not replaced by a copy that misses the end.
func TestBeingWritten(t *testing.T) {
	dir := tree(t, map[string]string{"a.log": "Zebra\n"})
	path := filepath.Join(dir, "a.log")
	s := newScrubber(t, "Zebra")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	writes := 0
	ctx := appending{t.Context(), func() {
		writes++
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := io.WriteString(f, "more\n"); err != nil {
			t.Fatal(err)
		}
	}}
	if _, err := s.file(ctx, root, "a.log"); !errors.Is(err, errWritten) {
		t.Errorf("error %v", err)
	}
	if names := contents(t, dir); len(names) != 1 || !strings.HasPrefix(names["a.log"], "Zebra\n") || strings.Count(names["a.log"], "more\n") != writes {
		t.Errorf("after %d writes: %q", writes, names)
	}
	if changed, _ := scrubFolder(t, dir, "Zebra"); changed["a.log"] != 1 { // when it has come to rest
		t.Errorf("changed %v", changed)
	}
}

// appending writes whenever it is asked whether it is over, which is before each read.
type appending struct {
	context.Context
	write func()
}

func (a appending) Err() error {
	a.write()
	return a.Context.Err()
}

func TestFolderEnds(t *testing.T) {
	dir := tree(t, map[string]string{"a.log": "Zebra", "b.log": "Zebra", "c.log": "Zebra"})
	why := errors.New("aborted")
	ctx, cancel := context.WithCancelCause(t.Context())
	var told []File
	_, err := newScrubber(t, "Zebra").Folder(ctx, dir, func(f File) {
		told = append(told, f)
		cancel(why)
	})
	if !errors.Is(err, why) || len(told) != 1 {
		t.Errorf("told %v, error %v", told, err)
	}
	if left := contents(t, dir); len(left) != 3 || left["c.log"] != "Zebra" {
		t.Errorf("left: %v", left)
	}
}
