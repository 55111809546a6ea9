package main

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// counter is a relay in front of a database server that counts round trips: how often a client spoke
// after the server had. That is what an operation costs on a slow line, however many statements a
// packet carries, logging in included.
type counter struct {
	listener net.Listener
	server   string
	trips    atomic.Int64
	conns    sync.WaitGroup
}

// newCounter listens on a loopback port and relays to server (host:port).
func newCounter(server string) (*counter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counter{listener: l, server: server}
	c.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			c.conns.Go(func() { c.relay(conn) })
		}
	})
	return c, nil
}

func (c *counter) addr() string { return c.listener.Addr().String() }

// close waits for the clients to hang up.
func (c *counter) close() {
	_ = c.listener.Close()
	c.conns.Wait()
}

func (c *counter) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return // the client sees a closed connection, and its operation fails
	}
	defer server.Close()

	var serverSpoke atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(client, spy{server, func([]byte) { serverSpoke.Store(true) }})
		_ = client.Close()
	})
	_, _ = io.Copy(server, spy{client, func(packet []byte) {
		if serverSpoke.Swap(false) && !bytes.Equal(packet, quit) {
			c.trips.Add(1)
		}
	}})
	_ = server.Close()
	wg.Wait()
}

// quit is COM_QUIT of the MySQL protocol, which nobody waits for an answer to.
var quit = []byte{1, 0, 0, 0, 1}

// spy tells of each read that brought something, before the reader passes it on. It hides the
// connection's own ways of copying, which would bypass it.
type spy struct {
	r    io.Reader
	tell func([]byte)
}

func (s spy) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n > 0 {
		s.tell(p[:n])
	}
	return n, err
}
