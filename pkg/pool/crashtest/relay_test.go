package crashtest

import (
	"bytes"
	"net"
	"sync/atomic"
)

// relay puts itself between the process and a MySQL server, within the process, and calls lockHeld
// each time the server has answered a locking SELECT: at that moment the process holds the lock. What
// freezes or kills the process then leaves the server with a connection that is open and silent, or
// gone. It gives the address to connect to and lives as long as the process.
func relay(server string, lockHeld func()) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go relayConn(client, server, lockHeld)
		}
	}()
	return l.Addr().String(), nil
}

func relayConn(client net.Conn, server string, lockHeld func()) {
	defer client.Close()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return // the client sees a closed connection
	}
	defer upstream.Close()

	var locking atomic.Bool
	go pass(upstream, client, func(packet []byte) {
		if locking.Swap(false) && !isError(packet) {
			lockHeld()
		}
	})
	pass(client, upstream, func(packet []byte) {
		if bytes.Contains(packet, []byte("FOR UPDATE")) {
			locking.Store(true)
		}
	})
}

// isError recognises the protocol's ERR packet behind the four bytes of its header: the wait for the
// lock timed out.
func isError(packet []byte) bool { return len(packet) > 4 && packet[4] == 0xff }

// pass copies until one side ends, and closes both.
func pass(from, to net.Conn, look func([]byte)) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			look(buf[:n])
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
