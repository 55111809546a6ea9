package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 123456789, time.UTC)

func release(owner string, after time.Duration) Release {
	slot := "db"
	return Release{
		Database: "mysql://molteniron@db1/molteniron", Owner: owner, Slot: &slot, Tokens: []string{strings.Repeat("ab", 32)},
		Asked: noon.Add(after), Result: "FAILURE", Dirty: true,
	}
}

func keepIn(t *testing.T, folder string, r Release) string {
	t.Helper()
	path, err := Keep([]string{folder}, r)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func list(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// owners collects what is made.
func owners(made *[]string) func(context.Context, Release) error {
	return func(_ context.Context, r Release) error {
		*made = append(*made, r.Owner)
		return nil
	}
}

func TestKeepAndReplay(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state", "outbox")
	want := []Release{release("first", 0), release("second", time.Nanosecond), release("third", time.Hour)}
	want[1].Slot, want[1].Tokens, want[1].Result, want[1].Dirty = nil, nil, "", false
	want[2].Hold = 90 * time.Minute
	for _, i := range []int{2, 0, 1} {
		path := keepIn(t, folder, want[i])
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("the file: %v %v", info.Mode(), err)
		}
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("the folder: %v %v", info.Mode(), err)
	}
	var got []Release
	r := Replay(t.Context(), []string{folder}, func(_ context.Context, r Release) error {
		got = append(got, r)
		return nil
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("releases (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Report{}, r); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if left := list(t, folder); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// Nothing in the file is worth hiding, but for who reads a build's name.
func TestFileIsReadable(t *testing.T) {
	text, err := os.ReadFile(keepIn(t, t.TempDir(), release("https://ci.example.org/job/a/12/", 0)))
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "version": 1,
  "database": "mysql://molteniron@db1/molteniron",
  "owner": "https://ci.example.org/job/a/12/",
  "slot": "db",
  "token_sha256": [
    "` + strings.Repeat("ab", 32) + `"
  ],
  "asked_at": "2026-11-24T12:00:00.123456789Z",
  "result": "FAILURE",
  "dirty": true
}
`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
}

func TestKeepElsewhere(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := Keep([]string{filepath.Join(blocked, "outbox"), filepath.Join(dir, "second")}, release("a", 0))
	if err != nil || filepath.Dir(path) != filepath.Join(dir, "second") {
		t.Errorf("%s %v", path, err)
	}
	if _, err := Keep([]string{filepath.Join(blocked, "a"), filepath.Join(blocked, "b")}, release("a", 0)); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("error %v", err)
	}
	if _, err := Keep(nil, release("a", 0)); err == nil || !strings.Contains(err.Error(), "--outbox") {
		t.Errorf("error %v", err)
	}
}

// Where anybody can write, anybody could have somebody else's nodes released.
func TestFolderOfEverybody(t *testing.T) {
	folder := t.TempDir()
	keepIn(t, folder, release("a", 0))
	if err := os.Chmod(folder, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if _, err := Keep([]string{folder}, release("b", 0)); err == nil || !strings.Contains(err.Error(), "chmod o-w "+folder) {
		t.Errorf("error %v", err)
	}
	var made []string
	r := Replay(t.Context(), []string{folder}, owners(&made))
	if len(made) != 0 || len(r.Unread) != 1 || len(list(t, folder)) != 1 {
		t.Errorf("made %q, report %+v", made, r)
	}
}

func TestReplayLeaves(t *testing.T) {
	folder := t.TempDir()
	for i, owner := range []string{"one", "other database", "two", "away", "three"} {
		keepIn(t, folder, release(owner, time.Duration(i)))
	}
	var made []string
	do := func(_ context.Context, r Release) error {
		switch r.Owner {
		case "other database":
			return fmt.Errorf("mysql://elsewhere: %w", ErrElsewhere)
		case "away":
			return fmt.Errorf("no answer: %w", ErrLater)
		}
		made = append(made, r.Owner)
		return nil
	}
	r := Replay(t.Context(), []string{filepath.Join(folder, "none"), folder}, do)
	if diff := cmp.Diff([]string{"one", "two"}, made); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Report{Elsewhere: []string{"mysql://molteniron@db1/molteniron"}, Left: 2}, r); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if left := list(t, folder); len(left) != 3 {
		t.Errorf("left: %q", left)
	}
}

func TestReplayEndsWithItsContext(t *testing.T) {
	folder := t.TempDir()
	for i := range 3 {
		keepIn(t, folder, release(fmt.Sprint(i), time.Duration(i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var made []string
	r := Replay(ctx, []string{folder}, func(ctx context.Context, r Release) error {
		cancel()
		return owners(&made)(ctx, r)
	})
	if len(made) != 1 || r.Left != 2 {
		t.Errorf("made %q, report %+v", made, r)
	}
}

// One replays, the other passes over: nothing is made twice, nobody waits.
func TestTwoAtOnce(t *testing.T) {
	folder := t.TempDir()
	keepIn(t, folder, release("a", 0))
	keepIn(t, folder, release("b", 1))
	var made, second []string
	r := Replay(t.Context(), []string{folder}, func(ctx context.Context, r Release) error {
		if len(made) == 0 {
			if other := Replay(ctx, []string{folder}, owners(&second)); other.Left != 0 || len(other.Unread) != 0 {
				t.Errorf("the other's report: %+v", other)
			}
			keepIn(t, folder, release("c", 2)) // who keeps one does not wait either
		}
		return owners(&made)(ctx, r)
	})
	if len(r.Unread) != 0 || !slices.Equal(made, []string{"a", "b"}) || len(second) != 0 {
		t.Errorf("made %q and %q, report %+v", made, second, r)
	}
	Replay(t.Context(), []string{folder}, owners(&second))
	if !slices.Equal(second, []string{"c"}) {
		t.Errorf("then %q", second)
	}
}

// dieIn makes this test's binary a replayer that is killed when it has made a release and not removed it.
const dieIn = "OUTBOX_TEST_DIE_IN"

func TestKilledInTheMiddle(t *testing.T) {
	if folder := os.Getenv(dieIn); folder != "" {
		n := 0
		Replay(t.Context(), []string{folder}, func(_ context.Context, r Release) error {
			if n++; n == 2 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return nil
		})
		return
	}
	folder := t.TempDir()
	for i := range 3 {
		keepIn(t, folder, release(fmt.Sprint(i), time.Duration(i)))
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledInTheMiddle$")
	cmd.Env = append(os.Environ(), dieIn+"="+folder)
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("it was not killed: %v", err)
	}
	var made []string
	Replay(t.Context(), []string{folder}, owners(&made))
	if diff := cmp.Diff([]string{"1", "2"}, made); diff != "" {
		t.Errorf("made by the next (-want +got):\n%s", diff)
	}
	if left := list(t, folder); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

func TestSetAside(t *testing.T) {
	good, err := os.ReadFile(keepIn(t, t.TempDir(), release("a", 0)))
	if err != nil {
		t.Fatal(err)
	}
	with := func(old, text string) string { return strings.Replace(string(good), old, text, 1) }
	for name, text := range map[string]string{
		"empty":            "",
		"garbage":          "\x00\xff",
		"half":             string(good[:len(good)/2]),
		"two":              string(good) + string(good),
		"no object":        "[]",
		"newer":            with(`"version": 1`, `"version": 2, "more": true`),
		"no version":       with(`"version": 1,`, ``),
		"an unknown key":   with(`"version": 1`, `"version": 1, "force": true`),
		"no owner":         with(`"owner": "a"`, `"owner": ""`),
		"no database":      with(`"database": "mysql://molteniron@db1/molteniron",`, ``),
		"no time":          with(`"asked_at": "2026-11-24T12:00:00.123456789Z",`, ``),
		"another time":     with(`2026-11-24T12:00:00.123456789Z`, `yesterday`),
		"another type":     with(`"dirty": true`, `"dirty": "yes"`),
		"too large":        with(`"owner": "a"`, `"owner": "`+strings.Repeat("a", maxFile)+`"`),
		"that cannot be":   string(good),
		"a symbolic link":  "",
		"a folder":         "",
		"a pipe":           "",
		"that is all well": with(`"owner": "a"`, `"owner": "b"`),
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, "x.json")
			switch name {
			case "a symbolic link":
				err = os.Symlink("/etc/hostname", path)
			case "a folder":
				err = os.Mkdir(path, 0o700)
			case "a pipe":
				err = syscall.Mkfifo(path, 0o600)
			default:
				err = os.WriteFile(path, []byte(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			keepIn(t, folder, release("after", time.Hour))
			_ = os.Rename(path, filepath.Join(folder, "0.json")) // before the other
			var made []string
			r := Replay(t.Context(), []string{folder}, func(ctx context.Context, r Release) error {
				if r.Owner == "a" {
					return errors.New("the owner is not one")
				}
				return owners(&made)(ctx, r)
			})
			want, left := []string{"after"}, []string{"0.json.aside"}
			if name == "that is all well" {
				want, left = []string{"b", "after"}, nil
			}
			if diff := cmp.Diff(want, made); diff != "" {
				t.Errorf("made (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(left, list(t, folder)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			if len(r.Aside) != len(left) || len(r.Unread) != 0 {
				t.Errorf("report %+v", r)
			}
		})
	}
}

// What is read is what would be written, or is refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"database":"sqlite:///x","owner":"a","slot":null,"token_sha256":null,"asked_at":"2026-11-24T12:00:00Z","result":"","dirty":false}`))
	f.Add([]byte(`{"version":1,"database":"d","owner":"a","asked_at":"2026-11-24T12:00:00Z","hold_s":9223372036}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"owner":"a","owner":"b"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parse(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(file{version, r.Database, r.Owner, r.Slot, r.Tokens, r.Asked, r.Result, r.Dirty, int64(r.Hold / time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		s, err := parse(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(r, s); diff != "" {
			t.Errorf("read again (-first +second):\n%s", diff)
		}
	})
}

// Whatever an owner and a result hold, they come back.
func FuzzKeep(f *testing.F) {
	f.Add("https://ci.example.org/job/a/12/", "sqlite:///var/lib/molteniron/pool.db", "FAILURE", "", true)
	f.Add("é\u2028\"\\", "mysql://u@h/d?x=1", "\x7f", "s.l-o_t", false)
	f.Add("\xd2", "\xa5", "", "", false)
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, owner, database, result, slot string, dirty bool) {
		if owner == "" || database == "" || len(owner+database+result+slot) > 4096 {
			return
		}
		want := Release{Database: database, Owner: owner, Slot: &slot, Asked: noon, Result: result, Dirty: dirty}
		path, err := Keep([]string{folder}, want)
		text := !slices.ContainsFunc([]string{owner, database, result, slot}, func(s string) bool { return !utf8.ValidString(s) })
		if (err == nil) != text {
			t.Fatalf("kept: %v", err)
		}
		if err != nil {
			return
		}
		defer os.Remove(path)
		got, err := read(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("release (-want +got):\n%s", diff)
		}
	})
}
