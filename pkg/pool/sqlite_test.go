package pool_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/pool/pooltest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	// Made once and copied: init is most of what a short case takes. Init has closed it, so there is no
	// journal beside it.
	template := filepath.Join(t.TempDir(), "pool.db")
	if _, err := pool.Init(t.Context(), "sqlite://"+template, pool.Options{Actor: "pooltest"}); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	engine := func(t testing.TB) []string {
		path := filepath.Join(t.TempDir(), "pool.db")
		if err := os.WriteFile(path, fresh, 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"sqlite://" + path}
	}
	pooltest.Run(t, engine)
	t.Run("linearizable", func(t *testing.T) { testLinearizable(t, engine) })
}
