package stories

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// relayKey finds the relays of a story, a list with one for each host.
type relayKey struct{}

func relaysOf(ts *testscript.TestScript) *[]*relay { return ts.Value(relayKey{}).(*[]*relay) }

// relay stands between the programs and a server, and can go away and come back at the same address.
type relay struct {
	address, server string

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	ahead    time.Duration // of the server's clock, as the programs see it
}

// relayed: from here on the programs reach the database by a way that "down" closes and "up" opens, each of its hosts
// by one of its own. It must come before "pool".
func relayed(ts *testscript.TestScript, neg bool, args []string) {
	u, err := url.Parse(ts.Getenv("MOLTENIRON_DATABASE"))
	ts.Check(err)
	if u.Scheme != "mysql" {
		return // a file is its own way
	}
	relays := relaysOf(ts)
	var ends []string
	for host := range strings.SplitSeq(u.Host, ",") {
		r := &relay{address: "127.0.0.1:0", server: host, conns: map[net.Conn]bool{}}
		ts.Check(r.up())
		ts.Defer(r.down)
		*relays, ends = append(*relays, r), append(ends, r.address)
	}
	u.Host = strings.Join(ends, ",")
	ts.Setenv("MOLTENIRON_DATABASE", u.String())
}

// named gives the relay of the host that an argument may name, else all.
func named(ts *testscript.TestScript, args []string) []*relay {
	relays := *relaysOf(ts)
	if len(args) == 0 {
		return relays
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > len(relays) {
		ts.Fatalf("there is no host %s", args[0])
	}
	return relays[n-1 : n]
}

// down [N]: the database does not answer any more, or host N of it.
func down(ts *testscript.TestScript, neg bool, args []string) {
	if relays := named(ts, args); len(relays) > 0 {
		for _, r := range relays {
			r.down()
		}
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

// up [N]: it is there again.
func up(ts *testscript.TestScript, neg bool, args []string) {
	if relays := named(ts, args); len(relays) > 0 {
		for _, r := range relays {
			ts.Check(r.up())
		}
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

// skewed D [N]: the server's clock, or that of host N, is ahead of this machine's by D, which may be negative.
func skewed(ts *testscript.TestScript, neg bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	for _, r := range named(ts, args[1:]) {
		r.mu.Lock()
		r.ahead = d
		r.mu.Unlock()
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
			go func() {
				_, _ = io.Copy(client, server)
				_, _ = client.Close(), server.Close()
			}()
			go func() {
				_ = r.ask(server, client)
				_, _ = client.Close(), server.Close()
			}()
		}
	}()
	return nil
}

// ask passes what a client says, packet by packet (three bytes of length, one of sequence), with the server's clock as
// far ahead as it is to be.
func (r *relay) ask(server, client net.Conn) error {
	in := bufio.NewReader(client)
	header := make([]byte, 4)
	for {
		if _, err := io.ReadFull(in, header); err != nil {
			return err
		}
		packet := make([]byte, int(header[0])|int(header[1])<<8|int(header[2])<<16)
		if _, err := io.ReadFull(in, packet); err != nil {
			return err
		}
		r.mu.Lock()
		ahead := r.ahead
		r.mu.Unlock()
		if header[3] == 0 && ahead != 0 { // a command
			for _, clock := range []string{"SYSDATE(6)", "UTC_TIMESTAMP(6)"} {
				packet = bytes.ReplaceAll(packet, []byte(clock), fmt.Appendf(nil, "(%s + INTERVAL %d SECOND)", clock, int(ahead.Seconds())))
			}
			copy(header, []byte{byte(len(packet)), byte(len(packet) >> 8), byte(len(packet) >> 16)})
		}
		if _, err := server.Write(append(header[:4:4], packet...)); err != nil {
			return err
		}
	}
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
