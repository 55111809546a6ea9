package pool_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// TestTLS logs in to a server that has TLS with a certificate of its own making, in each mode, with an
// account that must use it and with one that need not.
func TestTLS(t *testing.T) {
	t.Parallel()
	u := testneeds.Server(t, "MOLTENIRON_TEST_MYSQL_REAL")
	root := serverEngine(t, u, u.Host)(t)[0]
	name := root[strings.LastIndex(root, "/")+1:]
	server := connect(t, u, u.Host)
	users := map[string]string{"": "any_" + name[len(name)-8:], " REQUIRE SSL": "tls_" + name[len(name)-8:]}
	for require, user := range users {
		t.Cleanup(func() {
			if _, err := server.Exec(fmt.Sprintf("DROP USER IF EXISTS '%s'@'%%'", user)); err != nil {
				t.Error(err)
			}
		})
		for _, query := range []string{
			fmt.Sprintf("CREATE USER '%s'@'%%' IDENTIFIED BY 'p w'%s", user, require),
			fmt.Sprintf("GRANT ALL ON %s.* TO '%s'@'%%'", name, user),
		} {
			if _, err := server.Exec(query); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
	}
	var data string
	if err := server.QueryRow("SELECT @@datadir").Scan(&data); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(data, "ca.pem")
	for _, tt := range []struct {
		mode, ca, require string
		refused           string // what the error says; "" when there is none
	}{
		{"", "", "", ""}, {"", "", " REQUIRE SSL", ""},
		{"off", "", "", ""}, {"off", "", " REQUIRE SSL", "refuses the account"},
		{"preferred", "", "", ""}, {"preferred", "", " REQUIRE SSL", ""},
		{"required", "", "", ""}, {"required", "", " REQUIRE SSL", ""},
		{"verify-ca", "", "", "database_ca_file"}, {"verify-ca", ca, " REQUIRE SSL", ""},
		{"verify-full", "", "", "database_ca_file"}, {"verify-full", ca, "", "IP SANs"}, // a certificate for another name
	} {
		url := fmt.Sprintf("mysql://%s@%s/%s", users[tt.require], u.Host, name)
		db, err := pool.Open(t.Context(), url, pool.Options{Password: secret.New("p w"), TLS: pool.TLSOptions{Mode: tt.mode, CAFile: tt.ca}})
		if err == nil {
			_ = db.Close()
		}
		switch {
		case tt.refused == "" && err != nil:
			t.Errorf("mode %q with CA file %q, account%s: %v", tt.mode, tt.ca, tt.require, err)
		case tt.refused != "" && (!errors.Is(err, pool.ErrInvalid) || !strings.Contains(err.Error(), tt.refused)):
			t.Errorf("mode %q with CA file %q, account%s: %v, want it to be refused with %q", tt.mode, tt.ca, tt.require, err, tt.refused)
		}
	}
}

// TestNoTLS asks for TLS where there is none.
func TestNoTLS(t *testing.T) {
	t.Parallel()
	u := testneeds.Server(t, "MOLTENIRON_TEST_MYSQL")
	var tls string
	if err := connect(t, u, u.Host).QueryRow("SELECT @@have_ssl").Scan(&tls); err != nil {
		t.Fatal(err)
	}
	if tls == "YES" {
		t.Skipf("the server at %s has TLS, as MariaDB has from 11.4 on", u.Host)
	}
	_, err := pool.Open(t.Context(), u.String()+"nowhere", pool.Options{TLS: pool.TLSOptions{Mode: "required"}})
	if !errors.Is(err, pool.ErrInvalid) || !strings.Contains(err.Error(), "database_tls") {
		t.Errorf("%v, want it to be refused for database_tls", err)
	}
}
