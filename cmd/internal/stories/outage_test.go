package stories

import (
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// relayKey finds the relay of a story.
type relayKey struct{}

// relay stands between the programs and a server, and can go away and come back at the same address.
type relay struct {
	address, server string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
}

// relayed: from here on the programs reach the database by a way that "down" closes and "up" opens. It must
// come before "pool".
func relayed(ts *testscript.TestScript, neg bool, args []string) {
	u, err := url.Parse(ts.Getenv("MOLTENIRON_DATABASE"))
	ts.Check(err)
	if u.Scheme != "mysql" {
		return // a file is its own way
	}
	r := &relay{address: "127.0.0.1:0", server: u.Host, conns: map[net.Conn]bool{}}
	ts.Check(r.up())
	ts.Defer(r.down)
	ts.Value(relayKey{}).(map[string]*relay)[""] = r
	u.Host = r.address
	ts.Setenv("MOLTENIRON_DATABASE", u.String())
}

// down: the database does not answer any more.
func down(ts *testscript.TestScript, neg bool, args []string) {
	if r := ts.Value(relayKey{}).(map[string]*relay)[""]; r != nil {
		r.down()
		return
	}
	// Moved away, and something that is no file in its place: it is there, and cannot be opened.
	path := sqlitePath(ts)
	away, err := filepath.Glob(path + "*")
	ts.Check(err)
	for _, name := range away {
		ts.Check(os.Rename(name, strings.Replace(name, path, path+"-away", 1)))
	}
	ts.Check(os.Mkdir(path, 0o700))
}

// up: it is there again.
func up(ts *testscript.TestScript, neg bool, args []string) {
	if r := ts.Value(relayKey{}).(map[string]*relay)[""]; r != nil {
		ts.Check(r.up())
		return
	}
	path := sqlitePath(ts)
	ts.Check(os.Remove(path))
	away, err := filepath.Glob(path + "-away*")
	ts.Check(err)
	for _, name := range away {
		ts.Check(os.Rename(name, strings.Replace(name, path+"-away", path, 1)))
	}
}

// mute VARIABLE: the address of a server that takes connections and never says a word. When it has taken
// one there is a file called muted.
func mute(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	var mu sync.Mutex
	var taken []net.Conn
	ts.Defer(func() {
		_ = l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range taken {
			_ = c.Close()
		}
	})
	flag := ts.MkAbs("muted")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			taken = append(taken, c)
			mu.Unlock()
			_ = os.WriteFile(flag, nil, 0o600)
		}
	}()
	ts.Setenv(args[0], l.Addr().String())
}

func sqlitePath(ts *testscript.TestScript) string {
	return strings.TrimPrefix(ts.Getenv("MOLTENIRON_DATABASE"), "sqlite://")
}

func (r *relay) up() error {
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.listener, r.address = l, l.Addr().String()
	r.mu.Unlock()
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", r.server)
			if err != nil {
				_ = client.Close()
				continue
			}
			r.mu.Lock()
			alive := r.listener == l
			r.conns[client], r.conns[server] = alive, alive
			r.mu.Unlock()
			if !alive {
				_, _ = client.Close(), server.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
				go func() {
					_, _ = io.Copy(pair[0], pair[1])
					_, _ = pair[0].Close(), pair[1].Close()
				}()
			}
		}
	}()
	return nil
}

func (r *relay) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener == nil {
		return
	}
	_ = r.listener.Close()
	for c := range r.conns {
		_ = c.Close()
	}
	r.listener = nil
	clear(r.conns)
}
