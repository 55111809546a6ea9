package pool

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
)

// TestUpgrade upgrades a database under builds that hold nodes, are about to, and wait: to the schema of this
// program from the one before, and to the one after it, as this program's successor would. What was live lives on, and
// clients that are at it finish their work; who comes with the wrong program is refused, and told what to do.
func TestUpgrade(t *testing.T) {
	for engine, fresh := range migrationURLs(t) {
		t.Run(engine, func(t *testing.T) {
			ctx := t.Context()
			db := initialised(t, fresh())
			url := db.url.String()
			var specs []NodeSpec
			for i := range 2 {
				specs = append(specs, NodeSpec{Name: fmt.Sprintf("n%d", i), BMC: BMC{Address: fmt.Sprintf("192.0.2.%d", i+1)}})
			}
			if err := db.AddNodes(ctx, specs); err != nil {
				t.Fatal(err)
			}
			one := func(owner string) Request { return Request{Owner: owner, Groups: []Group{{Count: 1}}} }
			claimed := must(db.Allocate(ctx, one("claimed"), AllocateOptions{}))
			must(db.Claim(ctx, claimed.Token))
			granted := must(db.Allocate(ctx, one("granted"), AllocateOptions{}))
			queued, served := make(chan struct{}), make(chan error, 1)
			go func() {
				first := true
				a, err := db.Allocate(ctx, one("waiting"), AllocateOptions{Wait: time.Minute, Progress: func(Position) {
					if first {
						close(queued)
					}
					first = false
				}})
				if err == nil {
					_, err = db.Claim(ctx, a.Token)
				}
				served <- err
			}()
			<-queued
			before := must(db.Allocations(ctx, AllocationFilter{}))
			same := func(what string) {
				t.Helper()
				if diff := cmp.Diff(before, must(db.Allocations(ctx, AllocationFilter{})), cmp.Comparer(time.Time.Equal)); diff != "" {
					t.Errorf("%s changes what is live (-before +after):\n%s", what, diff)
				}
			}

			// From the schema before this program's.
			if _, err := db.sql.Exec("DELETE FROM goose_db_version WHERE version_id = ?", schemaVersion); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(ctx, url, Options{}); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "upgrade it with: moltenironctl init") {
				t.Errorf("before the upgrade a hook gets %v", err)
			}
			if r, err := Init(ctx, url, Options{}); err != nil || r.From != schemaVersion-1 || r.To != schemaVersion {
				t.Fatalf("init: %+v, %v", r, err)
			}
			same("the upgrade")

			// To the one after it.
			next := fstest.MapFS{fmt.Sprintf("%05d_racks.sql", schemaVersion+1): {Data: []byte("-- +goose Up\nALTER TABLE nodes ADD COLUMN rack VARCHAR(63) NOT NULL DEFAULT '';")}}
			ours := must(fs.Sub(migrations, db.dialect.migrations))
			for _, name := range must(fs.Glob(ours, "*.sql")) {
				next[name] = &fstest.MapFile{Data: must(fs.ReadFile(ours, name))}
			}
			provider := must(goose.NewProvider(db.dialect.goose, db.sql.DB, next, goose.WithLogger(goose.NopLogger())))
			must(provider.Up(ctx))
			same("the next upgrade")
			for what, do := range map[string]func() error{
				"a hook": func() error { _, err := Open(ctx, url, Options{}); return err },
				"init":   func() error { _, err := Init(ctx, url, Options{}); return err },
			} {
				if err := do(); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "newer than this program") {
					t.Errorf("after the upgrade %s of the old program gets %v", what, err)
				}
			}

			must(db.Claim(ctx, granted.Token))
			must(db.Release(ctx, ReleaseRequest{Token: claimed.Token}))
			if err := <-served; err != nil {
				t.Errorf("who waited through the upgrades: %v", err)
			}
		})
	}
}
