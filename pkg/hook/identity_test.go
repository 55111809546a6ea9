package hook

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/envfile"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// allocation is one as a pre-hook gets it.
func allocation(owner, slot string) *pool.Allocation {
	return &pool.Allocation{
		ID: 7, Token: secret.New("TOKEN" + owner + slot), Owner: owner, Slot: slot, Pool: "default", State: pool.Granted,
		Groups: []pool.Group{{Count: 1}}, Lease: time.Hour, ExpiresAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Nodes: []pool.GrantedNode{{Node: pool.Node{Name: "node-1", BMC: pool.BMC{Driver: pool.DriverIPMI, Password: secret.New("pass'word")}}}},
	}
}

// write writes what Prepare would for a: env file, manifest and JSON file.
func write(t *testing.T, a *pool.Allocation, env, json string) {
	t.Helper()
	p := &prepare{Process: environment(nil), Request: Request{EnvFile: env, JSONFile: json}}
	staged, err := p.stage(a, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := staged.Commit(); err != nil {
		t.Fatal(err)
	}
}

// in lists a folder.
func in(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestIdentify(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	a := allocation("https://ci/12/", "b")
	write(t, a, at("own.env"), at("own.json"))
	put := func(name, text string) {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(at("own.env"))
	if err != nil {
		t.Fatal(err)
	}
	put("cut.env", string(whole[:len(whole)/2]))
	put("empty", "")
	put("secrets.env", "export KEY=1\n")
	put("package.json", `{"name": "x", "owner": "me"}`)
	put("list.json", `[1]`)
	if err := os.Symlink(at("own.env"), at("link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}

	own := identity{Owner: a.Owner, Slot: "b", Token: a.Token}
	manifest := own
	manifest.Files = []string{at("own.json")}
	for _, tt := range []struct {
		name string
		want identity
		err  error
	}{
		{"own.env", own, nil},
		{"own.json", own, nil},
		{"own.env.files", manifest, nil},
		{"cut.env", identity{}, nil},
		{"empty", identity{}, nil},
		{"secrets.env", identity{}, errForeign},
		{"package.json", identity{}, errForeign},
		{"list.json", identity{}, errForeign},
		{"link", identity{}, errForeign},
		{"pipe", identity{}, errForeign},
		{"", identity{}, errForeign}, // the folder
		{"none", identity{}, fs.ErrNotExist},
	} {
		got, err := identify(at(tt.name))
		if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b secret.Text) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
		}
	}
}

func TestRemove(t *testing.T) {
	mine := func(id identity) bool { return id.Owner == "me" }
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, at func(string) string)
		left    []string
	}{
		{"all that is mine", func(t *testing.T, at func(string) string) {
			write(t, allocation("me", ""), at("a.env"), at("a.json"))
		}, nil},
		{"nothing of another", func(t *testing.T, at func(string) string) {
			write(t, allocation("you", ""), at("a.env"), at("a.json"))
		}, []string{"a.env", "a.env.files", "a.json"}},
		{"the build removed its env file", func(t *testing.T, at func(string) string) {
			write(t, allocation("me", ""), at("a.env"), at("a.json"))
			_ = os.Remove(at("a.env"))
		}, nil},
		{"another wrote over one of them", func(t *testing.T, at func(string) string) {
			write(t, allocation("me", ""), at("a.env"), at("a.json"))
			write(t, allocation("you", ""), at("b.env"), at("a.json"))
		}, []string{"a.json", "b.env", "b.env.files"}},
		{"a listed file that is no longer one of ours", func(t *testing.T, at func(string) string) {
			write(t, allocation("me", ""), at("a.env"), at("a.json"))
			if err := os.WriteFile(at("a.json"), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"a.json"}},
		{"nothing", func(*testing.T, func(string) string) {}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			at := func(name string) string { return filepath.Join(folder, name) }
			tt.prepare(t, at)
			if err := remove(mine, at("a.env")); err != nil {
				t.Errorf("error %v", err)
			}
			if got := in(t, folder); !slices.Equal(got, tt.left) {
				t.Errorf("left %q, want %q", got, tt.left)
			}
		})
	}
}

// The temporary files of a pre-hook that was killed hold passwords, and have names that only package
// stage knows: this test holds our pattern to them.
func TestSweep(t *testing.T) {
	folder := t.TempDir()
	killed := func(owner string) {
		p := &prepare{Process: environment(nil), Request: Request{EnvFile: filepath.Join(folder, "a.env")}}
		if _, err := p.stage(allocation(owner, ""), nil); err != nil {
			t.Fatal(err)
		}
	}
	mine := func(id identity) bool { return id.Owner == "me" }

	killed("me")
	sweep(mine, folder)
	if left := in(t, folder); len(left) != 0 {
		t.Fatalf("my own temporary files are left: %q", left)
	}

	killed("you")
	before := in(t, folder)
	sweep(mine, folder)
	if left := in(t, folder); len(left) != 2 || !slices.Equal(left, before) {
		t.Fatalf("left %q of %q, want both files of another who may be at work", left, before)
	}
	long := time.Now().Add(-2 * deadAfter)
	for _, name := range before {
		if err := os.Chtimes(filepath.Join(folder, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	sweep(mine, folder)
	if left := in(t, folder); len(left) != 0 {
		t.Errorf("dead files are left: %q", left)
	}
}

func TestStage(t *testing.T) {
	folder := t.TempDir()
	env := filepath.Join(folder, "tmp", "molteniron.env")
	p := &prepare{Process: environment(map[string]string{"WORKSPACE_TMP": filepath.Dir(env)}), Request: Request{EnvFile: env, JSONFile: filepath.Join(folder, "a.json")}}
	a := allocation("me", "")
	staged, err := p.stage(a, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := in(t, filepath.Dir(env)); slices.Contains(got, "molteniron.env") {
		t.Errorf("the env file has its name before the claim: %q", got)
	}
	if err := staged.Commit(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{
		filepath.Dir(env):               fs.ModeDir | 0o700,
		env:                             0o600,
		env + ".files":                  0o600,
		filepath.Join(folder, "a.json"): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", path, info.Mode(), want)
		}
	}
	file, err := envfile.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	if !file.ExpiresAt.Equal(a.ExpiresAt) {
		t.Errorf("the lease ends at %s, want %s", file.ExpiresAt, a.ExpiresAt)
	}

	p.EnvFile, p.JSONFile = "-", ""
	var stdout bytes.Buffer
	if _, err := p.stage(a, &stdout); err != nil {
		t.Fatal(err)
	}
	if file, err := envfile.Parse(&stdout); err != nil || file.Owner != "me" {
		t.Errorf("on stdout: owner %q, error %v", file.Owner, err)
	}
}
