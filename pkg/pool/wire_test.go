package pool_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// wire is a line from clients to one host, which can be cut and silenced.
type wire struct {
	listener net.Listener
	host     string
	silence  sync.RWMutex // held for writing, nothing passes
	taken    atomic.Int64 // connections so far

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newWire(t *testing.T, listen, host string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, host: host, conns: map[net.Conn]bool{}}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			w.taken.Add(1)
			go w.relay(client)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); w.cut() })
	return w
}

func (w *wire) address() string { return w.listener.Addr().String() }

func (w *wire) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.host)
	if err != nil {
		return // as if nobody listened
	}
	defer server.Close()
	w.mu.Lock()
	w.conns[client], w.conns[server] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { w.pass(client, server) })
	both.Go(func() { w.pass(server, client) })
	both.Wait()
	w.mu.Lock()
	delete(w.conns, client)
	delete(w.conns, server)
	w.mu.Unlock()
}

func (w *wire) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			w.silence.RLock()
			_, failed := to.Write(buf[:n])
			w.silence.RUnlock()
			if failed != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections, whatever is on its way.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
}

// used reports whether anybody is connected.
func (w *wire) used() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns) > 0
}

// down ends all connections and takes no more.
func (w *wire) down() {
	_ = w.listener.Close()
	w.cut()
}

// hush lets nothing pass until the function that it gives is called.
func (w *wire) hush() func() {
	w.silence.Lock()
	return w.silence.Unlock
}
