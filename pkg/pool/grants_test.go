package pool_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// TestGrants plays what hooks and administrators do with the accounts that Grants makes, and tries what a
// hook's account must not do.
func TestGrants(t *testing.T) {
	t.Run("MariaDB", func(t *testing.T) {
		testGrants(t, "MOLTENIRON_TEST_MYSQL")
	})
	t.Run("MySQL", func(t *testing.T) {
		testGrants(t, "MOLTENIRON_TEST_MYSQL_REAL")
	})
}

func testGrants(t *testing.T, variable string) {
	t.Parallel()
	u := testneeds.Server(t, variable)
	root := serverEngine(t, u, u.Host)(t)[0]
	_, name, _ := strings.Cut(strings.TrimPrefix(root, "mysql://"), "/")
	server, ctx := connect(t, u, u.Host), t.Context()
	do := func(query string) error {
		_, err := server.ExecContext(ctx, query)
		return err
	}
	text, err := pool.Grants(root)
	if err != nil {
		t.Fatal(err)
	}
	hookUser, adminUser := "hook_"+name[len(name)-8:], "admin_"+name[len(name)-8:] // accounts are the whole server's
	text = strings.NewReplacer("molteniron_admin'", adminUser+"'", "'molteniron'", "'"+hookUser+"'", "CHANGE-ME-TOO", "admin-pw", "CHANGE-ME", "hook-pw").Replace(text)
	t.Cleanup(func() {
		if _, err := server.Exec(fmt.Sprintf("DROP USER '%s'@'%%', '%s'@'%%'", hookUser, adminUser)); err != nil {
			t.Error(err)
		}
	})
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			if err := do(line); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
	account := func(user, password string) (string, pool.Options) {
		return fmt.Sprintf("mysql://%s@%s/%s", user, u.Host, name), pool.Options{Actor: user, Password: secret.New(password)}
	}
	open := func(user, password string) *pool.DB {
		t.Helper()
		url, o := account(user, password)
		db, err := pool.Open(ctx, url, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}

	adminURL, o := account(adminUser, "admin-pw")
	_, err = pool.Init(ctx, adminURL, o)
	must("init", err)
	admin, hook := open(adminUser, "admin-pw"), open(hookUser, "hook-pw")
	must("add", admin.AddNodes(ctx, []pool.NodeSpec{
		{Name: "node-1", BMC: pool.BMC{Address: "192.0.2.1"}, MACs: []string{"52:54:00:00:00:01"}},
		{Name: "node-2", BMC: pool.BMC{Address: "192.0.2.2"}},
	}))

	ask := func(owner string) pool.Request {
		return pool.Request{Owner: owner, Groups: []pool.Group{{Count: 1}}}
	}
	for _, dirty := range []bool{false, true} {
		a, err := hook.Allocate(ctx, ask("build"), pool.AllocateOptions{})
		must("allocate", err)
		_, err = hook.Claim(ctx, a.Token)
		must("claim", err)
		_, err = hook.Extend(ctx, pool.ExtendRequest{Owner: "build", Lease: 7 * time.Hour})
		must("extend", err)
		_, err = hook.Hold(ctx, pool.HoldRequest{Owner: "build", For: time.Hour, Reason: "to look at"})
		must("hold", err)
		_, err = hook.Release(ctx, pool.ReleaseRequest{Owner: "build", Dirty: dirty, CloseOwner: true})
		must("release", err)
	}
	a, err := hook.Allocate(ctx, ask("aborted"), pool.AllocateOptions{})
	must("allocate", err)
	must("cancel", hook.Cancel(ctx, a.Token, "terminated"))
	a, err = hook.Enqueue(ctx, ask("gate"), time.Hour)
	must("enqueue", err)
	_, err = hook.Allocate(ctx, pool.Request{Owner: "later"}, pool.AllocateOptions{Ticket: a.Token})
	must("take a ticket up", err)
	if _, err = hook.Release(ctx, pool.ReleaseRequest{Owner: "nobody", CloseOwner: true}); err != nil {
		t.Fatalf("close an owner: %v", err)
	}
	_, err = hook.Tend(ctx)
	must("tend", err)

	// What is left undone is refused by the server, not by us.
	denied := func(what string, err error) {
		t.Helper()
		var my *mysql.MySQLError
		if !errors.As(err, &my) || my.Number != 1142 && my.Number != 1143 || !errors.Is(err, pool.ErrInvalid) || !strings.Contains(err.Error(), "does not let this account do that") {
			t.Errorf("%s with a hook's account: %v, want it denied", what, err)
		}
	}
	denied("add a node", hook.AddNodes(ctx, []pool.NodeSpec{{Name: "node-3", BMC: pool.BMC{Address: "192.0.2.3"}}}))
	_, err = hook.SetNode(ctx, "node-1", []pool.FieldChange{{Field: "bmc_address", Value: "203.0.113.1"}})
	denied("point a node elsewhere", err)
	_, err = hook.SetPool(ctx, pool.DefaultPool, []pool.FieldChange{{Field: "max_hold", Value: "90h"}})
	denied("change a policy", err)
}
