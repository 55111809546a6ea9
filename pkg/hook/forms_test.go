package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
	"github.com/molteniron/molteniron/pkg/stage"
)

const (
	mineRC   = "ADMIN_PASSWORD=secret\n"
	mineConf = "[[local|localrc]]\nA=1\n\n[[post-config|x]]\n[DEFAULT]\n"
)

// every makes a run that writes all the forms: some into the env file's folder, some into one of DevStack.
func every(t *testing.T) (p *prepare, a *pool.Allocation, tmp, dev string) {
	t.Helper()
	tmp, dev = t.TempDir(), filepath.Join(t.TempDir(), "dev [1]")
	if err := os.MkdirAll(filepath.Join(dev, "conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{"localrc": mineRC, "conf/local.conf": mineConf} {
		if err := os.WriteFile(filepath.Join(dev, path), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	p = &prepare{Process: environment(map[string]string{"WORKSPACE_TMP": tmp}), owner: "me"}
	p.Log = newLog
	p.Request = Request{
		EnvFile: filepath.Join(tmp, "molteniron.env"), JSONFile: filepath.Join(dev, "n.json"),
		Forms: Forms{
			PropertiesFile: filepath.Join(tmp, "p"), HardwareInfo: filepath.Join(dev, "hardware_info"),
			BaremetalFile: filepath.Join(dev, "b.json"), InventoryFile: filepath.Join(tmp, "i.yaml"),
			Localrc: filepath.Join(dev, "localrc"), LocalConf: filepath.Join(dev, "conf", "local.conf"),
		},
	}
	a = allocation("me", "")
	n := &a.Nodes[0].Node
	n.BMC.Address, n.BMC.Port, n.BMC.Username = "192.0.2.1", 623, "admin"
	n.MACs, n.Arch, n.RAMMB = []string{"52:54:00:00:00:01"}, "x86_64", 1024
	return p, a, tmp, dev
}

// untouched says what differs from the folders as they were before anything was written.
func untouched(t *testing.T, tmp, dev string) {
	t.Helper()
	want := map[string]string{filepath.Join(dev, "localrc"): mineRC, filepath.Join(dev, "conf", "local.conf"): mineConf}
	got := map[string]string{}
	for _, folder := range []string{tmp, dev} {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			got[path] = string(text)
			if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("%s has mode %s (%v)", path, info.Mode(), err)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in the folders (-want +got):\n%s", diff)
	}
}

func TestFormsAreWritten(t *testing.T) {
	p, a, tmp, dev := every(t)
	staged, err := p.stage(a, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := staged.Commit(); err != nil {
		t.Fatal(err)
	}
	files := append(in(t, tmp), in(t, dev)...)
	want := []string{"i.yaml", "i.yaml.files", "molteniron.env", "molteniron.env.files", "p", "p.files",
		"b.json", "b.json.files", "conf", "hardware_info", "hardware_info.files", "localrc", "n.json"}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Fatalf("files (-want +got):\n%s", diff)
	}
	for _, path := range append(p.files(), p.base()+manifestSuffix, p.HardwareInfo+manifestSuffix) {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v), want 0600", path, info.Mode(), err)
		}
		if id, err := identify(path); err != nil || id.Token != a.Token {
			t.Errorf("%s is of %q (%v)", path, id.Owner, err)
		}
	}
	for _, path := range []string{p.Localrc, p.LocalConf} {
		if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\nIRONIC_HW_NODE_RAM=1024\n") != 1 {
			t.Errorf("%s is %q (%v)", path, text, err)
		}
	}
	if text, _ := os.ReadFile(p.PropertiesFile); strings.Contains(string(text), "pass'word") || strings.Contains(string(text), a.Token.Reveal()) {
		t.Errorf("the properties file shows a secret: %s", text)
	}
	if err := remove(func(id identity) bool { return id.Owner == "you" }, p.EnvFile); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, append(in(t, tmp), in(t, dev)...)); diff != "" {
		t.Fatalf("another owner cleared files (-want +got):\n%s", diff)
	}
	if err := remove(func(id identity) bool { return id.Owner == "me" }, p.EnvFile); err != nil {
		t.Error(err)
	}
	untouched(t, tmp, dev)
}

// A pre-hook is killed while it gives the files their names, after each of them. The post-hook of the build, which
// knows no path of theirs, leaves nothing of them behind.
func TestFinishAfterKillAtEachName(t *testing.T) {
	url := newPool(t)
	for k := 0; ; k++ {
		p, a, tmp, dev := every(t)
		p.Open = func(ctx context.Context) (*pool.DB, error) { return pool.Open(ctx, url, pool.Options{}) }
		p.Stderr = &log{}
		staged, err := p.stage(a, nil)
		if err != nil {
			t.Fatal(err)
		}
		paths := staged.Paths()
		if k > len(paths) {
			break
		}
		set := stage.SetOf(matching(tmp, stage.Temporaries)[0])
		for i, path := range paths[:k] {
			temporary := filepath.Join(filepath.Dir(path), fmt.Sprint(strings.TrimSuffix(set, "*"), i+1))
			if err := os.Rename(temporary, path); err != nil {
				t.Fatal(err)
			}
		}
		if err := Finish(t.Context(), p.Process, Return{Owner: "me"}); err != nil {
			t.Errorf("killed after %d names: %v", k, err)
		}
		untouched(t, tmp, dev)
		if t.Failed() {
			t.Fatalf("killed after %d of %d names", k, len(paths))
		}
	}
}

// What Commit has done is undone where the last file cannot get its name, and by the undo of Prepare.
func TestFormsAreUndone(t *testing.T) {
	p, a, tmp, dev := every(t)
	staged, err := p.stage(a, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(p.EnvFile, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := staged.Commit(); err == nil {
		t.Fatal("the env file took the place of a folder")
	}
	if err := os.Remove(p.EnvFile); err != nil {
		t.Fatal(err)
	}
	untouched(t, tmp, dev)

	if staged, err = p.stage(a, nil); err == nil {
		err = staged.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(func(id identity) bool { return id.Token == a.Token }, p.files()...); err != nil {
		t.Error(err)
	}
	untouched(t, tmp, dev)
}

// A form that refuses a value leaves nothing, and is of the class for bad usage.
func TestFormsRefuse(t *testing.T) {
	p, a, tmp, dev := every(t)
	a.Nodes[0].BMC.Password = secret.New("Ze bra")
	_, err := p.stage(a, nil)
	if !errors.Is(err, pool.ErrInvalid) || strings.Contains(err.Error(), "Ze bra") || !strings.Contains(err.Error(), "hardware_info: node node-1: the BMC's password holds a blank") {
		t.Errorf("error %v", err)
	}
	untouched(t, tmp, dev)
}

// A block that cannot be taken out is told of, and all else is cleared.
func TestRemoveTellsOfABrokenBlock(t *testing.T) {
	p, a, tmp, dev := every(t)
	staged, err := p.stage(a, nil)
	if err == nil {
		err = staged.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(p.Localrc)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Localrc, []byte(strings.Replace(string(text), "# END molteniron\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	err = remove(func(id identity) bool { return id.Owner == "me" }, p.EnvFile)
	if err == nil || !strings.Contains(err.Error(), p.Localrc+": line 2: ") {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(p.Localrc, []byte(mineRC), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p.Localrc, 0o640); err != nil {
		t.Fatal(err)
	}
	untouched(t, tmp, dev)
}
