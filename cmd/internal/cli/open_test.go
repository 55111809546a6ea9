package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// surroundings gives settings of a machine with nothing but the environment given.
func surroundings(t *testing.T, env map[string]string) (*Settings, *bytes.Buffer) {
	t.Helper()
	home := t.TempDir()
	var stderr bytes.Buffer
	return &Settings{Program: "p", Command: "p do", Stderr: &stderr, Getenv: func(k string) string {
		if k == "HOME" {
			return home
		}
		return env[k]
	}}, &stderr
}

func TestLoadConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("database: sqlite:///srv/file.db\npool: gpu\nwait: 5m\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("datbase: x\nwait: 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		args  []string
		names []string
		env   map[string]string
		want  [3]string // database, pool, wait
		fail  []string
	}{
		{"nothing", nil, []string{"database", "pool", "wait"}, nil, [3]string{"", "default", "1h0m0s"}, nil},
		{"file", []string{"--config", file}, []string{"database", "pool", "wait"}, nil, [3]string{"sqlite:///srv/file.db", "gpu", "5m0s"}, nil},
		{"environment before file", []string{"--config", file}, []string{"database"}, map[string]string{"MOLTENIRON_POOL": "arm"},
			[3]string{"sqlite:///srv/file.db", "arm", "5m0s"}, nil},
		{"flag before environment", []string{"--config", file, "--pool=x86", "--wait=0"}, []string{"pool", "wait"}, map[string]string{"MOLTENIRON_POOL": "arm"},
			[3]string{"sqlite:///srv/file.db", "x86", "0s"}, nil},
		{"a flag that is no key of this command", []string{"--pool=x86"}, []string{"database"}, nil, [3]string{"", "default", "1h0m0s"}, nil},
		{"faults, one a line", []string{"--config", bad}, []string{"database"}, nil, [3]string{}, []string{bad + ":1: .*did you mean database", bad + ":2: wait .*no unit"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := surroundings(t, tt.env)
			f := pflag.NewFlagSet("t", pflag.ContinueOnError)
			f.String("config", "", "")
			f.String("database", "", "")
			f.String("pool", "", "")
			f.Duration("wait", 0, "")
			if err := f.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			err := s.LoadConfig(f, tt.names...)
			if tt.fail != nil {
				if !errors.Is(err, ErrUsage) {
					t.Fatalf("error %v, want a usage error", err)
				}
				lines := strings.Split(err.Error(), "\n")
				if len(lines) != len(tt.fail) {
					t.Fatalf("%d lines, want %d:\n%v", len(lines), len(tt.fail), err)
				}
				for i, re := range tt.fail {
					if !regexp.MustCompile(re).MatchString(lines[i]) {
						t.Errorf("line %d: %s\nwant %s", i, lines[i], re)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := [3]string{s.Config.Database, s.Config.Pool, s.Config.Wait.String()}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOpenPoolNowhere(t *testing.T) {
	s, _ := surroundings(t, nil)
	_, err := OpenPool(t.Context(), *s)
	if !errors.Is(err, pool.ErrSchema) || !strings.Contains(err.Error(), "moltenironctl init") || !strings.Contains(err.Error(), s.Getenv("HOME")) {
		t.Errorf("without any database: %v\nwant the schema class, the places that were tried, and what to type", err)
	}
}

func TestPoolOptions(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	s, stderr := surroundings(t, map[string]string{"USER": "ada"})
	s.Config.SecretKeyFile = key
	if _, err := s.PoolOptions(); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), key) {
		t.Errorf("with a key file that is not there: %v, want a usage error that names it", err)
	}
	if err := os.WriteFile(key, secret.NewKey().Marshal(), 0o644); err != nil { //nolint:gosec // the point of the test
		t.Fatal(err)
	}
	o, err := s.PoolOptions()
	if err != nil {
		t.Fatal(err)
	}
	if o.Key == nil {
		t.Error("the key was not read")
	}
	if got := stderr.String(); !strings.HasPrefix(got, "p: warning: ") || !strings.Contains(got, key) || strings.Count(got, "\n") != 1 {
		t.Errorf("a key that others can read: %q, want one warning that names it", got)
	}
	if !regexp.MustCompile(`^p do by [^@ ]+@[^@ ]+$`).MatchString(o.Actor) {
		t.Errorf("actor %q", o.Actor)
	}
}

func TestLogger(t *testing.T) {
	password := secret.New("s3cret")
	write := func(format string) string {
		var b bytes.Buffer
		l := NewLogger(&b, "p", format)
		l.Debug("nobody asked")
		l.Warn("not\nencrypted", "database", "mysql://db1/x", "password", password)
		l.With("host", "db1").WithGroup("retry").Error("gave up", slog.Int("tries", 3), slog.Any("error", fmt.Errorf("no route")))
		l.Info("done")
		return b.String()
	}
	want := "p: warning: not�encrypted (database mysql://db1/x, password [redacted])\n" +
		"p: error: gave up (host db1, retry.tries 3, retry.error no route)\n" +
		"p: done\n"
	if diff := cmp.Diff(want, write("text")); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	lines := strings.Split(strings.TrimSpace(write("json")), "\n")
	if len(lines) != 3 {
		t.Fatalf("json: %d lines, want 3:\n%s", len(lines), lines)
	}
	var first map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
		t.Fatal(err)
	}
	if first["level"] != "WARN" || first["program"] != "p" || first["password"] != "[redacted]" {
		t.Errorf("json: %s", lines[0])
	}
}
