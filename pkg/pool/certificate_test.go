package pool_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/molteniron/molteniron/internal/testneeds"
	"github.com/molteniron/molteniron/pkg/pool"
)

// TestCertificates checks what a server says of itself.
func TestCertificates(t *testing.T) {
	t.Parallel()
	testneeds.Server(t, "MOLTENIRON_TEST_MYSQL") // says that MariaDB is here
	ca, cert, key := certificate(t)
	with := startServer(t, "--ssl-cert="+cert, "--ssl-key="+key)
	for _, tt := range []struct {
		name string
		host string // of the URL
		tls  pool.TLSOptions
		want string // part of the error, which is of class ErrInvalid; "" is none
	}{
		{"verify-ca", with.Host, pool.TLSOptions{Mode: "verify-ca", CAFile: ca}, ""},
		{"verify-ca, not by the system's", with.Host, pool.TLSOptions{Mode: "verify-ca"}, "x509: "},
		{"verify-full", "localhost:" + with.Port(), pool.TLSOptions{Mode: "verify-full", CAFile: ca}, ""},
		{"verify-full, another name", with.Host, pool.TLSOptions{Mode: "verify-full", CAFile: ca}, "127.0.0.1"},
		{"verify-full, not by the system's", "localhost:" + with.Port(), pool.TLSOptions{Mode: "verify-full"}, "see database_ca_file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := pool.Init(t.Context(), "mysql://root@"+tt.host+"/tls", pool.Options{TLS: tt.tls, Actor: "test"})
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (!errors.Is(err, pool.ErrInvalid) || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v; want one that says %q", err, tt.want)
			}
		})
	}
}

// startServer starts a MariaDB of the test's own.
func startServer(t *testing.T, options ...string) *url.URL {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "db")
	out, err := exec.CommandContext(t.Context(), "../../scripts/mariadb", append([]string{"start", dir, "--"}, options...)...).Output()
	if err != nil {
		t.Fatalf("start a server: %v", err)
	}
	t.Cleanup(func() {
		if err := exec.Command("../../scripts/mariadb", "stop", dir).Run(); err != nil {
			t.Errorf("stop the server: %v", err)
		}
	})
	u, err := url.Parse(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// certificate makes an authority and a server's certificate for the name localhost, and gives their files.
func certificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	template := func(name string, serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		}
	}
	authority := template("an authority", 1)
	authority.IsCA, authority.KeyUsage = true, x509.KeyUsageCertSign
	leaf := template("a server", 2)
	leaf.DNSNames = []string{"localhost"}
	for _, c := range []struct {
		of     *x509.Certificate
		key    *ecdsa.PrivateKey
		result *string
		name   string
	}{{authority, keys[0], &ca, "ca.pem"}, {leaf, keys[1], &cert, "cert.pem"}} {
		der, err := x509.CreateCertificate(rand.Reader, c.of, authority, &c.key.PublicKey, keys[0])
		if err != nil {
			t.Fatal(err)
		}
		*c.result = write(c.name, "CERTIFICATE", der)
	}
	der, err := x509.MarshalPKCS8PrivateKey(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	return ca, cert, write("key.pem", "PRIVATE KEY", der)
}
