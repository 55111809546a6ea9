package hook

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/pool"
)

// A post-hook that is aborted still gives back what the build holds: the end of its context leaves it
// a moment, and its end by that is told as what it was.
func TestFinishWhenAborted(t *testing.T) {
	url, tmp := newPool(t), t.TempDir()
	p := environment(map[string]string{"BUILD_URL": "https://ci/1/", "WORKSPACE_TMP": tmp})
	var stderr log
	p.Stderr, p.Log = &stderr, newLog
	p.Open = func(ctx context.Context) (*pool.DB, error) { return pool.Open(ctx, url, pool.Options{}) }
	if err := Prepare(t.Context(), p, Request{Groups: []pool.Group{{Count: 1}}}); err != nil {
		t.Fatal(err)
	}
	if got := status(t, url); got != pool.Allocated {
		t.Fatalf("the node is %s", got)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errTerminated)
	if err := Finish(ctx, p, Return{}); err != nil {
		t.Errorf("error %v", err)
	}
	if got := status(t, url); got != pool.Ready {
		t.Errorf("the node is %s, want ready", got)
	}
	if left := in(t, tmp); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestLasting(t *testing.T) {
	t.Run("a database that hangs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			work, cancel := lasting(t.Context())
			defer cancel()
			<-work.Done()
			if took := time.Since(start); took != finishTime || !errors.Is(context.Cause(work), context.DeadlineExceeded) {
				t.Errorf("ended after %s by %v", took, context.Cause(work))
			}
		})
	})
	t.Run("aborted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, abort := context.WithCancelCause(t.Context())
			work, cancel := lasting(ctx)
			defer cancel()
			time.Sleep(10 * time.Second)
			abort(errTerminated)
			start := time.Now()
			<-work.Done()
			if took := time.Since(start); took != abortTime || !errors.Is(context.Cause(work), errTerminated) {
				t.Errorf("ended after %s by %v", took, context.Cause(work))
			}
		})
	})
	t.Run("done", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { // leaves no goroutine
			ctx, abort := context.WithCancelCause(t.Context())
			_, cancel := lasting(ctx)
			abort(errTerminated)
			synctest.Wait()
			cancel()
		})
	})
}

func TestEnvFiles(t *testing.T) {
	tmp := t.TempDir()
	for _, name := range []string{"molteniron.env", "molteniron.env.files", "molteniron-a.env.files", "molteniron-a.env.env", "other.env", ".molteniron-X"} {
		if err := os.WriteFile(filepath.Join(tmp, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := environment(map[string]string{"WORKSPACE_TMP": tmp})
	at := func(names ...string) (paths []string) {
		for _, name := range names {
			paths = append(paths, filepath.Join(tmp, name))
		}
		return paths
	}
	slot := "b"
	for _, tt := range []struct {
		name string
		r    Return
		want []string
	}{
		{"all slots", Return{}, at("molteniron-a.env", "molteniron-a.env.env", "molteniron.env")},
		{"one slot", Return{Slot: &slot}, at("molteniron-b.env")},
		{"a file that was named", Return{EnvFile: "x.env"}, []string{"x.env"}},
		{"stdout", Return{EnvFile: "-", Slot: &slot}, at("molteniron-b.env")}, // its list of other files is there
	} {
		if diff := cmp.Diff(tt.want, p.envFiles(tt.r)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
