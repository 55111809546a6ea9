// Package testneeds finds what tests cannot do without: servers, other people's programs, and our own as people
// get them. A test whose need is not met is skipped, and fails where MOLTENIRON_REQUIRE_SERVERS=1 says that all
// must be there.
package testneeds

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
)

// server is a script that starts a server, whose URL the variable names.
type server struct {
	script   string
	optional bool // it cannot be had everywhere
}

var servers = map[string]server{
	"MOLTENIRON_TEST_MYSQL":      {"scripts/mariadb", false},
	"MOLTENIRON_TEST_MYSQL_SI":   {"scripts/mariadb --snapshot-isolation", false},
	"MOLTENIRON_TEST_GALERA":     {"scripts/galera", false},
	"MOLTENIRON_TEST_MYSQL_REAL": {"scripts/mysql", true},
}

// All reports whether everything must be there.
func All() bool { return os.Getenv("MOLTENIRON_REQUIRE_SERVERS") == "1" }

// Server gives the URL of the test server that the environment variable names, with a host list where it is a
// cluster.
func Server(t testing.TB, variable string) *url.URL {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		s := servers[variable]
		missing(t, !s.optional, fmt.Sprintf("%s names no server; start one for a test with: %s run -- go test …", variable, s.script))
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return u
}

// Program gives the path of another's program.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, true, fmt.Sprintf("%v; install it with: scripts/install-deps test", err))
	}
	return path
}

// Missing skips a test for what is missing, or fails it.
func Missing(t testing.TB, why error) {
	t.Helper()
	missing(t, true, why.Error())
}

func missing(t testing.TB, must bool, why string) {
	t.Helper()
	if must && All() {
		t.Fatal(why)
	}
	t.Skip(why)
}

// RunWithPrograms is for a TestMain: it builds our programs as people get them, without a race detector, puts
// them first into PATH, runs the tests and gives their exit status. root is the way to the repository.
//
// Tests of programs mostly wait, for each other's processes or for a time that must pass: so many at once for
// each core keep all of them busy.
func RunWithPrograms(m *testing.M, root string, atOnce int) int {
	failed := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin, err := os.MkdirTemp("", "programs")
	if err != nil {
		return failed(err)
	}
	defer os.RemoveAll(bin)
	build := exec.Command("go", "build", "-o", bin+"/", root+"/cmd/molten-prehook", root+"/cmd/molten-posthook", root+"/cmd/moltenironctl") //nolint:noctx // a TestMain has no context
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return failed(fmt.Errorf("build the programs: %w\n%s", err, out))
	}
	flag.Parse()
	for _, err := range []error{
		os.Setenv("PATH", bin+":"+os.Getenv("PATH")),
		flag.Set("test.parallel", strconv.Itoa(atOnce*runtime.GOMAXPROCS(0))),
	} {
		if err != nil {
			return failed(err)
		}
	}
	return m.Run()
}
