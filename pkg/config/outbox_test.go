package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDefaultOutboxes(t *testing.T) {
	dir := t.TempDir()
	system := filepath.Join(dir, "lib", "outbox")
	for _, tt := range []struct {
		name string
		env  func(string) string
		made bool // the folder above the system's
		want []string
	}{
		{"a user's", env("HOME", "/home/ci"), false, []string{"/home/ci/.local/state/molteniron/outbox"}},
		{"where XDG says", env("HOME", "/home/ci", "XDG_STATE_HOME", "/state"), false, []string{"/state/molteniron/outbox"}},
		{"nowhere", env(), false, nil},
		{"the system's first", env("HOME", "/home/ci"), true, []string{system, "/home/ci/.local/state/molteniron/outbox"}},
		{"the system's alone", env(), true, []string{system}},
	} {
		if tt.made {
			if err := os.MkdirAll(filepath.Dir(system), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(tt.want, defaultOutboxes(tt.env, system)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if _, err := os.Stat(system); err == nil {
		t.Error("it was made")
	}
}
