package pooltest

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

var secretCases = []testCase{
	{"a password is shown to who asks for it with credentials, and to nobody else", func(w *world) {
		w.add("n")
		a := w.hold(one("build"))
		want := secret.New(secretMark + " of n")
		with, err := w.db.NodeWithCredentials(w.ctx, "n")
		w.ok(err)
		list, err := w.db.Nodes(w.ctx, pool.NodeFilter{Credentials: true})
		w.ok(err)
		adopted, err := w.db.Adopt(w.ctx, a.Token, "build", "")
		w.ok(err)
		for _, got := range []secret.Text{with.BMC.Password, list[0].BMC.Password, a.Nodes[0].BMC.Password, adopted.Nodes[0].BMC.Password} {
			w.equal("the password with credentials", want, got)
		}
		without, err := w.db.Nodes(w.ctx, pool.NodeFilter{})
		w.ok(err)
		found, seen := w.byID(a.ID), w.node("n")
		for _, got := range []secret.Text{without[0].BMC.Password, found.Nodes[0].BMC.Password, found.Token, seen.BMC.Password} {
			w.equal("the password without", secret.Text{}, got)
		}
		text, err := seen.Field("bmc_password")
		w.ok(err)
		w.equal("the field without", "", text)
	}},

	{"no secret is printed, whoever prints what the library gives, and in whatever form", func(w *world) {
		w.add("n", "m")
		a := w.hold(one("build", needs("name=n")))
		n, err := w.db.NodeWithCredentials(w.ctx, "n")
		w.ok(err)
		released, err := w.db.Release(w.ctx, pool.ReleaseRequest{Token: a.Token})
		w.ok(err)
		events, err := w.db.Events(w.ctx, pool.EventFilter{})
		w.ok(err)
		for _, v := range []any{a, *a, a.Nodes, n, n.Spec(), n.BMC, released, events, pool.ReleaseRequest{Token: a.Token}, pool.ExtendRequest{Token: a.Token}} {
			text, err := json.Marshal(v)
			w.ok(err)
			for _, printed := range []string{string(text), fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%s", v)} {
				w.silent(fmt.Sprintf("a %T", v), printed, a.Token)
			}
		}
	}},

	{"no error tells a secret", func(w *world) {
		w.add("n")
		a := w.hold(one("build"))
		bad := secret.New(secretMark + strings.Repeat("x", 5000))
		errs := []error{
			w.db.SetPassword(w.ctx, "n", bad),
			w.db.SetPassword(w.ctx, "n", secret.New(secretMark+"\x00")),
			w.db.SetPassword(w.ctx, "ghost", secret.New(secretMark)),
			w.db.AddNodes(w.ctx, []pool.NodeSpec{w.spec("-"), w.spec("x", func(s *pool.NodeSpec) { s.BMC.Password = bad })}),
			w.db.AddNodes(w.ctx, []pool.NodeSpec{w.spec("n")}),
			second(w.db.Import(w.ctx, []pool.NodeSpec{w.spec("n", func(s *pool.NodeSpec) { s.BMC.Password = bad })}, pool.ImportOptions{})),
			second(w.db.SetNode(w.ctx, "n", changes("bmc_password="+secretMark))),
			second(w.db.Adopt(w.ctx, a.Token, "thief", "")),
			second(w.db.Extend(w.ctx, pool.ExtendRequest{Token: a.Token})),
			second(w.db.Allocate(w.ctx, one("thief"), pool.AllocateOptions{Ticket: a.Token})),
			w.ask(one("build")),
		}
		_, err := w.db.Revoke(w.ctx, "n", "why")
		w.ok(err)
		errs = append(errs, second(w.db.Release(w.ctx, pool.ReleaseRequest{Token: a.Token})), second(w.db.Claim(w.ctx, a.Token)))
		for i, err := range errs {
			if err == nil {
				w.Fatalf("the %dth of them is no error", i+1)
			}
			w.silent("the error", err.Error(), a.Token)
			w.silent("the error in Go's syntax", fmt.Sprintf("%#v", err), a.Token)
		}
	}},

	{"the database holds no token, and with a key no password", func(w *world) {
		db := w.open(withKey(secret.NewKey()))
		w.ok(db.AddNodes(w.ctx, []pool.NodeSpec{w.spec("n"), w.spec("m")}))
		w.ok(db.SetPassword(w.ctx, "m", secret.New(secretMark+" anew")))
		_, err := db.Import(w.ctx, []pool.NodeSpec{w.spec("imported")}, pool.ImportOptions{})
		w.ok(err)
		a, err := db.Allocate(w.ctx, one("build", needs("name=n")), pool.AllocateOptions{})
		w.ok(err)
		w.equal("the password that its client gets", secretMark+" of n", a.Nodes[0].BMC.Password.Reveal())
		_, err = db.Claim(w.ctx, a.Token)
		w.ok(err)
		ticket, err := db.Enqueue(w.ctx, one("ticket", needs("name=n")), waitForever)
		w.ok(err)
		raw := w.raw()
		rows := 0
		for _, table := range []string{"pools", "pool_locks", "allocations", "nodes", "node_macs", "node_ips", "waiters", "allocation_nodes", "tombstones", "meta", "events"} {
			for _, row := range w.rows(raw, "SELECT * FROM "+table) {
				rows++
				w.silent("the table "+table, row, a.Token, ticket.Token)
			}
		}
		if rows < 15 {
			w.Errorf("the tables have %d rows in all", rows)
		}
	}},

	{"without a key passwords are stored as they are, and read whether there is a key or not", func(w *world) {
		w.add("n", "m")
		raw := w.raw()
		w.equal("as stored", secretMark+" of n", w.stored(raw, "n"))
		// A key comes: what is stored plain is read on, and what is stored from now on is sealed.
		keyed := w.open(withKey(secret.NewKey()))
		w.equal("with a key", secretMark+" of n", w.password(keyed, "n"))
		w.ok(keyed.SetPassword(w.ctx, "n", secret.New(secretMark+" anew")))
		if stored := w.stored(raw, "n"); !secret.IsSealed(stored) || strings.Contains(stored, secretMark) {
			w.Errorf("stored with a key: %q", stored)
		}
		w.equal("sealed, with the key", secretMark+" anew", w.password(keyed, "n"))
		w.equal("the other one", secretMark+" of m", w.password(w.db, "m"))
	}},

	{"a plain password that looks like a sealed one comes back as it was", func(w *world) {
		for _, text := range []string{"v1:00000000:AAAA", "plain:plain:", "v2:", "'\"`$\\ü\n\t "} {
			w.addNode("n", func(s *pool.NodeSpec) { s.BMC.Password = secret.New(text) })
			w.equal("the password", text, w.password(w.db, "n"))
			w.ok(w.db.SetPassword(w.ctx, "n", secret.New(text+text)))
			w.equal("the password", text+text, w.password(w.db, "n"))
			w.ok(w.db.SetPassword(w.ctx, "n", secret.Text{}))
			w.equal("no password", "", w.password(w.db, "n"))
			w.ok(w.db.RemoveNode(w.ctx, "n"))
		}
	}},

	{"a sealed password is read with its key only; all else goes on without", func(w *world) {
		key := secret.NewKey()
		keyed, wrong := w.open(withKey(key)), w.open(withKey(secret.NewKey()))
		w.ok(keyed.AddNodes(w.ctx, []pool.NodeSpec{w.spec("n")}))
		w.equal("with the key", secretMark+" of n", w.password(keyed, "n"))
		for db, class := range map[*pool.DB]error{w.db: secret.ErrNoKey, wrong: secret.ErrWrongKey} {
			_, err := db.NodeWithCredentials(w.ctx, "n")
			w.refused(err, pool.ErrInvalid, "n", key.ID())
			if !errors.Is(err, class) {
				w.Errorf("the error is %v, want %v", err, class)
			}
			// A client that cannot read the password gets nothing, and leaves nothing behind.
			_, err = db.Allocate(w.ctx, one("build"), pool.AllocateOptions{})
			w.refused(err, pool.ErrInvalid, key.ID())
			w.equal("its end", pool.EndCancelled, w.ended("build"))
			w.equal("holders", map[string]string{}, w.holders())
		}
		_, err := w.db.SetNode(w.ctx, "n", changes("note=1", "name=renamed"))
		w.ok(err)
		_, err = w.db.Import(w.ctx, []pool.NodeSpec{w.spec("renamed", func(s *pool.NodeSpec) { s.BMC.Password = secret.Text{} })}, pool.ImportOptions{})
		w.ok(err)
		w.equal("with the key, after the rename", secretMark+" of n", w.password(keyed, "renamed"))
	}},

	{"an import with the key changes no password that is the same, and says that one is another", func(w *world) {
		keyed := w.open(withKey(secret.NewKey()))
		spec := w.spec("n")
		w.ok(keyed.AddNodes(w.ctx, []pool.NodeSpec{spec}))
		done, err := keyed.Import(w.ctx, []pool.NodeSpec{spec}, pool.ImportOptions{})
		w.ok(err)
		w.equal("changes by the same", 0, len(done))
		spec.BMC.Password = secret.New(secretMark + " anew")
		done, err = keyed.Import(w.ctx, []pool.NodeSpec{spec}, pool.ImportOptions{})
		w.ok(err)
		w.equal("changes by another", []pool.Change{{Node: "n", Kind: "change", Fields: []string{"bmc_password"}}}, done)
		w.equal("the password", secretMark+" anew", w.password(keyed, "n"))
	}},

	{"a build sets the password of a node while it holds it, and reads the nodes that it holds", func(w *world) {
		w.add("n", "m")
		w.hold(one("build"))
		password := secret.New(secretMark + " anew")
		own := pool.NodeChanges{Password: &password, Owner: "build"}
		w.ok(second(w.db.SetNodes(w.ctx, []string{"n"}, own)))
		nodes, err := w.db.NodesOf(w.ctx, "build", true)
		w.ok(err)
		w.equal("its nodes", []string{"n", secretMark + " anew"}, []string{nodes[0].Name, nodes[0].BMC.Password.Reveal()})
		nodes, err = w.db.NodesOf(w.ctx, "build", false)
		w.ok(err)
		w.equal("without credentials", secret.Text{}, nodes[0].BMC.Password)
		w.refused(second(w.db.SetNodes(w.ctx, []string{"m"}, own)), pool.ErrConflict, "m", "ready")
		w.release("build")
		w.refused(second(w.db.SetNodes(w.ctx, []string{"n"}, own)), pool.ErrConflict, "n", "ready")
		_, err = w.db.NodesOf(w.ctx, "build", true)
		w.refused(err, pool.ErrNotFound, "build")
		w.equal("the password", secretMark+" anew", w.password(w.db, "n"))
	}},

	{"a sealed password belongs to its node: moved to another it is of no use", func(w *world) {
		keyed := w.open(withKey(secret.NewKey()))
		same := func(s *pool.NodeSpec) { s.BMC.Password = secret.New(secretMark) }
		w.ok(keyed.AddNodes(w.ctx, []pool.NodeSpec{w.spec("a", same), w.spec("b", same)}))
		raw := w.raw()
		stored := w.stored(raw, "a")
		if stored == w.stored(raw, "b") {
			w.Errorf("the same password is stored alike for two nodes")
		}
		w.change(raw, "UPDATE nodes SET bmc_password = ? WHERE name = 'b'", stored)
		_, err := keyed.NodeWithCredentials(w.ctx, "b")
		w.refused(err, pool.ErrInvalid, "b", "belongs to another node")
		w.equal("the other one", secretMark, w.password(keyed, "a"))
	}},
}

// withKey opens a handle with a key, where the others of a case have none.
func withKey(key *secret.Key) func(*pool.Options) { return func(o *pool.Options) { o.Key = key } }

// silent checks that a text shows neither a password nor one of the tokens.
func (w *world) silent(what, text string, tokens ...secret.Text) {
	w.Helper()
	if strings.Contains(text, secretMark) {
		w.Errorf("%s shows a password: %s", what, text)
	}
	for _, t := range tokens {
		if t.IsZero() || strings.Contains(text, t.Reveal()) {
			w.Errorf("%s shows a token: %s", what, text)
		}
	}
}

func (w *world) password(db *pool.DB, node string) string {
	w.Helper()
	n, err := db.NodeWithCredentials(w.ctx, node)
	w.ok(err)
	return n.BMC.Password.Reveal()
}

// stored is a node's password as it lies in the database.
func (w *world) stored(db *sql.DB, node string) string {
	w.Helper()
	return w.text(db, "SELECT bmc_password FROM nodes WHERE name = ?", node)
}
