package wiretest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// mode is what happens at one packet.
type mode string

const (
	dropAndCut mode = "drop and cut" // the packet is lost with the connection, which is reset
	passAndCut mode = "pass and cut" // the packet arrives, then the connection ends
	halfClose  mode = "half-close"   // the packet arrives, and nothing after it in its direction
	delay      mode = "delay"        // the packet is late
	throttle   mode = "throttle"     // the packet comes in small parts
	stall      mode = "stall"        // the packet and all after it vanish, and the connection stays open
	hold       mode = "hold"         // the packet, and all after it in its direction, come when the line is disarmed
)

const (
	// late is a delay that both sides notice and no time-out does.
	late = 30 * time.Millisecond
	// chunks of a throttled packet come with a pause between them.
	chunk      = 16
	chunkPause = 50 * time.Microsecond
)

// fault is what a line is told to do, once: with a mode at the step-th packet in either direction, with a
// code at the step-th command, whose answer is that error instead.
type fault struct {
	step int
	mode mode
	code uint16
	text string
	on   string // with a code: counts only commands that begin with it, "" all
	all  bool   // from that step on, each time
}

// line is a relay between clients and a MySQL server that reads the protocol's packets (three bytes of
// length, one of sequence) and spoils one.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html
type line struct {
	listener net.Listener
	server   string
	conns    sync.WaitGroup

	mu     sync.Mutex
	fault  *fault
	packet int // seen since arm
	hit    bool
	open   map[net.Conn]bool
	going  chan struct{} // closed when what is held may go on
	looker func(p *pair, fromClient bool, packet []byte) (pass bool)

	errors chan uint16 // the numbers of the server's own errors
}

func newLine(t testing.TB, server string) *line {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &line{listener: l, server: server, open: map[net.Conn]bool{}, errors: make(chan uint16, 100)}
	n.conns.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			n.conns.Go(func() { n.relay(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		n.mu.Lock()
		for c := range n.open {
			_ = c.Close()
		}
		n.mu.Unlock()
		n.conns.Wait()
	})
	return n
}

func (n *line) addr() string { return n.listener.Addr().String() }

// arm begins to count packets; a nil fault only counts.
func (n *line) arm(f *fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault, n.packet, n.hit, n.going = f, 0, false, make(chan struct{})
}

// look has each packet shown to fn before anything else, which may change it, hold it, or keep it.
func (n *line) look(fn func(p *pair, fromClient bool, packet []byte) (pass bool)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looker = fn
}

// disarm ends all faults, and tells how many packets (with a code: commands) there were and whether the
// fault happened.
func (n *line) disarm() (packets int, hit bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fault = nil
	if n.going != nil {
		close(n.going)
		n.going = nil
	}
	return n.packet, n.hit
}

// next counts a packet and says what is to become of it, and until when what is held is.
func (n *line) next(fromClient bool, packet []byte) (*fault, chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.fault
	if f != nil && f.code != 0 {
		// A command is a client's packet with the sequence number 0; the byte after the header says which.
		if !fromClient || packet[3] != 0 || packet[4] != comQuery || !strings.HasPrefix(string(packet[5:]), f.on) {
			return nil, nil
		}
	}
	n.packet++
	if f == nil || n.packet < f.step || n.packet > f.step && !f.all {
		return nil, nil
	}
	n.hit = true
	return f, n.going
}

const comQuery = 3

func (n *line) track(c net.Conn, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if on {
		n.open[c] = true
	} else {
		delete(n.open, c)
	}
}

// pair are the two ends of one connection through the line.
type pair struct {
	client, server *net.TCPConn
	mu             sync.Mutex // of what is written to the client
	swallow        int        // answers of the server that are not for the client
}

func (n *line) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", n.server)
	if err != nil {
		return // the client sees a closed connection
	}
	defer server.Close()
	n.track(client, true)
	n.track(server, true)
	defer n.track(client, false)
	defer n.track(server, false)
	p := &pair{client: client.(*net.TCPConn), server: server.(*net.TCPConn)}
	var both sync.WaitGroup
	both.Go(func() { n.pass(p, true) })
	both.Go(func() { n.pass(p, false) })
	both.Wait()
}

// pass relays one direction, packet by packet.
func (n *line) pass(p *pair, fromClient bool) {
	from, to := p.server, p.client
	if fromClient {
		from, to = p.client, p.server
	}
	defer from.Close()
	defer to.Close()
	for {
		packet, err := readPacket(from)
		if err != nil {
			return
		}
		if !fromClient {
			p.mu.Lock()
			swallow := p.swallow > 0
			if swallow {
				p.swallow--
			}
			p.mu.Unlock()
			if swallow {
				continue
			}
			if packet[4] == 0xff && len(packet) > 6 {
				n.errors <- binary.LittleEndian.Uint16(packet[5:])
			}
		}
		n.mu.Lock()
		looker := n.looker
		n.mu.Unlock()
		if looker != nil && !looker(p, fromClient, packet) {
			continue
		}
		f, going := n.next(fromClient, packet)
		if f != nil && f.code != 0 {
			if n.answer(p, f) != nil {
				return
			}
			continue
		}
		slow := false
		if f != nil && f.mode == hold {
			<-going
		} else if f != nil {
			switch f.mode {
			case dropAndCut:
				_ = from.SetLinger(0)
				_ = to.SetLinger(0)
				return
			case passAndCut:
				_, _ = to.Write(packet)
				return
			case halfClose:
				_, _ = to.Write(packet)
				_ = to.CloseWrite()
				_, _ = io.Copy(io.Discard, from)
				return
			case delay:
				time.Sleep(late)
			case throttle:
				slow = true
			case stall:
				_, _ = io.Copy(io.Discard, from)
				return
			}
		}
		if err := write(to, packet, slow); err != nil {
			return
		}
	}
}

// answer gives the client an error in place of the server's answer. The server rolls back, as one does
// that gives such an error.
func (n *line) answer(p *pair, f *fault) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallow++ // the OK of the rollback
	if _, err := p.server.Write(frame(0, append([]byte{comQuery}, "ROLLBACK"...))); err != nil {
		return err
	}
	text := append([]byte{0xff, byte(f.code), byte(f.code >> 8)}, "#HY000"+f.text...)
	_, err := p.client.Write(frame(1, text))
	return err
}

func frame(sequence byte, payload []byte) []byte {
	header := binary.LittleEndian.AppendUint32(nil, uint32(len(payload))) //nolint:gosec // test payloads are short
	header[3] = sequence
	return append(header, payload...)
}

func readPacket(r io.Reader) ([]byte, error) {
	header := make([]byte, 4)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	length := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	if length == 0 {
		return nil, errors.New("an empty packet: something above 16 MiB, which is nothing of ours")
	}
	packet := append(header, make([]byte, length)...)
	_, err := io.ReadFull(r, packet[4:])
	return packet, err
}

func write(w io.Writer, packet []byte, slow bool) error {
	if !slow {
		_, err := w.Write(packet)
		return err
	}
	for len(packet) > 0 {
		part := packet[:min(chunk, len(packet))]
		if _, err := w.Write(part); err != nil {
			return err
		}
		packet = packet[len(part):]
		time.Sleep(chunkPause)
	}
	return nil
}
