package hook

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// newPool makes a database with one node and gives its URL.
func newPool(t *testing.T) string {
	t.Helper()
	url := "sqlite://" + filepath.Join(t.TempDir(), "pool.db")
	if _, err := pool.Init(t.Context(), url, pool.Options{}); err != nil {
		t.Fatal(err)
	}
	db := open(t, url)
	err := db.AddNodes(t.Context(), []pool.NodeSpec{{
		Name: "node-1", MACs: []string{"52:54:00:00:00:01"},
		BMC: pool.BMC{Address: "192.0.2.1", Username: "admin", Password: secret.New("Zebra")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func open(t *testing.T, url string) *pool.DB {
	t.Helper()
	db, err := pool.Open(t.Context(), url, pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func status(t *testing.T, url string) pool.Status {
	t.Helper()
	n, err := open(t, url).Node(context.WithoutCancel(t.Context()), "node-1")
	if err != nil {
		t.Fatal(err)
	}
	return n.Status
}

var errTerminated = errors.New("terminated")

// deaf is a stream whose reader has gone.
type deaf struct{}

func (deaf) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

// What happens between the grant and the end of Prepare, each at its exact moment: whatever it is, the
// node is free again, no file is left and the error says why.
func TestHandUndoes(t *testing.T) {
	type moment struct {
		run    *prepare
		cancel context.CancelCauseFunc
		folder string
	}
	for _, tt := range []struct {
		name   string
		before func(m *moment)       // before the files are written
		within func(m *moment) error // in the claim, when it has succeeded
		want   error                 // found in the error by errors.Is
		text   string                // part of the error
		status pool.Status           // of the node
		claims bool                  // the claim is reached
	}{
		{
			name:   "terminated before the claim",
			before: func(m *moment) { m.cancel(errTerminated) },
			want:   errTerminated, text: "node-1 given back", status: pool.Ready,
		},
		{
			name:   "terminated in the claim",
			within: func(m *moment) error { m.cancel(errTerminated); return nil },
			want:   errTerminated, text: "node-1 given back", status: pool.Ready, claims: true,
		},
		{
			name: "its post-hook comes after the claim", // Jenkins runs it beside a pre-hook that is slow to die
			within: func(m *moment) error {
				return Finish(context.Background(), m.run.Process, Return{Owner: "me", EnvFile: m.run.EnvFile})
			},
			want: os.ErrNotExist, text: "a.env", status: pool.Ready, claims: true,
		},
		{
			name:   "the claim fails",
			within: func(*moment) error { return syscall.EIO },
			want:   syscall.EIO, text: "node-1 given back", status: pool.Ready, claims: true,
		},
		{
			name:   "the folder is not there",
			before: func(m *moment) { _ = os.Remove(m.folder) },
			want:   os.ErrNotExist, text: "node-1 given back", status: pool.Ready,
		},
		{
			name:   "the folder goes while it claims",
			within: func(m *moment) error { return os.RemoveAll(m.folder) },
			want:   os.ErrNotExist, text: "node-1 given back", status: pool.Ready, claims: true,
		},
		{
			name: "a folder takes the env file's name",
			within: func(m *moment) error {
				return errors.Join(os.Mkdir(m.run.EnvFile, 0o700), os.Mkdir(m.run.EnvFile+"/x", 0o700))
			},
			want: syscall.EEXIST, text: "node-1 given back", status: pool.Ready, claims: true,
		},
		{
			name:   "nobody reads the last line",
			before: func(m *moment) { m.run.Stderr = deaf{} },
			want:   syscall.EPIPE, text: "node-1 given back", status: pool.Ready, claims: true,
		},
		{
			name:   "nobody reads stdout",
			before: func(m *moment) { m.run.EnvFile, m.run.Stdout = "-", deaf{} },
			want:   syscall.EPIPE, text: "node-1 given back", status: pool.Ready, claims: true,
		},
		{
			name: "the database goes before the undo",
			within: func(m *moment) error {
				m.cancel(errTerminated)
				return m.run.db.Close()
			},
			want: errTerminated, text: "node-1 could not be given back", status: pool.Allocated, claims: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := newPool(t)
			m := &moment{folder: filepath.Join(t.TempDir(), "out")}
			if err := os.Mkdir(m.folder, 0o700); err != nil {
				t.Fatal(err)
			}
			var stderr log // the console may be at a line still
			p := environment(nil)
			p.Stderr, p.Stdout, p.Log = &stderr, &stderr, newLog
			p.Open = func(ctx context.Context) (*pool.DB, error) { return pool.Open(ctx, url, pool.Options{}) }
			m.run = &prepare{
				Process: p, owner: "me", db: open(t, url),
				Request: Request{EnvFile: filepath.Join(m.folder, "a.env"), JSONFile: filepath.Join(m.folder, "a.json")},
			}
			a, err := m.run.db.Allocate(t.Context(), pool.Request{Owner: "me", Groups: []pool.Group{{Count: 1}}}, pool.AllocateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			m.cancel = cancel
			if tt.before != nil {
				tt.before(m)
			}
			m.run.console = m.run.newConsole(func(err error) { cancel(lost(err)) })
			defer m.run.console.close()

			claimed := false
			err = m.run.hand(ctx, a, func() error {
				c, err := m.run.db.Claim(ctx, a.Token)
				if err != nil {
					t.Fatal(err)
				}
				a.State, a.ExpiresAt = c.State, c.ExpiresAt
				claimed = true
				if tt.within == nil {
					return nil
				}
				return tt.within(m)
			})
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %q, want %q with %q", err, tt.want, tt.text)
			}
			if said := stderr.take(); strings.Contains(err.Error()+said, "Zebra") {
				t.Errorf("a password is shown: %q, %q", err, said)
			}
			if tt.status == pool.Allocated && !strings.Contains(err.Error(), "held until "+a.ExpiresAt.UTC().Format(time.RFC3339)) {
				t.Errorf("error %q does not say until when the node is held: %s", err, a.ExpiresAt)
			}
			if claimed != tt.claims {
				t.Errorf("claimed: %v, want %v", claimed, tt.claims)
			}
			if got := status(t, url); got != tt.status {
				t.Errorf("the node is %s, want %s", got, tt.status)
			}
			if left, err := os.ReadDir(m.folder); err == nil {
				for _, e := range left {
					if !e.IsDir() {
						t.Errorf("left behind: %s", e.Name())
					}
				}
			}
		})
	}
}

// Only who finds its own token in a file removes it: somebody else may have put theirs there meanwhile.
func TestUndoLeavesOthersFiles(t *testing.T) {
	url, folder := newPool(t), t.TempDir()
	p := environment(nil)
	p.Stderr, p.Log = deaf{}, newLog
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	run := &prepare{Process: p, owner: "me", db: open(t, url), Request: Request{EnvFile: filepath.Join(folder, "a.env")}}
	run.console = run.newConsole(func(err error) { cancel(lost(err)) })
	defer run.console.close()
	a, err := run.db.Allocate(ctx, pool.Request{Owner: "me", Groups: []pool.Group{{Count: 1}}}, pool.AllocateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	other := allocation("me", "") // the same owner, from another run
	err = run.undo(ctx, a, errTerminated)
	if !errors.Is(err, errTerminated) {
		t.Errorf("error %v", err)
	}
	write(t, other, run.EnvFile, "")
	if err := run.undo(ctx, a, errTerminated); !errors.Is(err, errTerminated) {
		t.Errorf("error %v", err)
	}
	if id, err := identify(run.EnvFile); err != nil || id.Token != other.Token {
		t.Errorf("the other's file: owner %q, error %v", id.Owner, err)
	}
}
