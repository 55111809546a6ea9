package wiretest

import (
	"bytes"
	"regexp"
	"sync"
	"testing"

	"github.com/molteniron/molteniron/pkg/pool"
)

// lateCommit has a COMMIT arrive late, as on a cluster whose host dies while it hands the transaction on: its client
// sees the connection end, finds nothing of it at another host, and does all of it again there; only then the first
// one arrives, and the second one's COMMIT is a conflict.
type lateCommit struct {
	n         *line
	second    chan struct{} // closed when the second COMMIT is asked for
	committed chan struct{} // closed when the first one is answered

	mu    sync.Mutex
	tries int // COMMITs seen, up to 2
	first *pair
}

// names are the unique names of a ticket. Another host would let the second try insert them once more, since
// locks are local; one server alone gets others.
var names = regexp.MustCompile(`'[0-9a-f]{64}'`)

func (l *lateCommit) see(p *pair, fromClient bool, packet []byte) (pass bool) {
	commit := fromClient && packet[3] == 0 && packet[4] == comQuery && string(packet[5:]) == "COMMIT"
	l.mu.Lock()
	tries, first := l.tries, l.first
	if commit && tries < 2 {
		l.tries++
	}
	if commit && tries == 0 {
		l.first = p
	}
	l.mu.Unlock()
	switch {
	case commit && tries == 0:
		_ = p.client.SetLinger(0)
		_ = p.client.Close()
		<-l.second
		_, _ = p.server.Write(packet)
		<-l.committed
		return false
	case !fromClient && p == first:
		select {
		case <-l.second:
			close(l.committed)
		default:
		}
		return false
	case fromClient && tries == 1 && bytes.Contains(packet, []byte("INSERT INTO allocations")):
		for _, at := range names.FindAllIndex(packet, -1) {
			packet[at[0]+1] = 'x'
		}
	case commit && tries == 1:
		close(l.second)
		<-l.committed
		_ = l.n.answer(p, &fault{code: 1213, text: "certification conflict"})
		return false
	}
	return true
}

// TestLateCommit: a client whose ticket is in the queue after all has that one, and not the one of its second try.
func TestLateCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.newRun(t, options())
	l := &lateCommit{n: r.line, second: make(chan struct{}), committed: make(chan struct{})}
	r.line.look(l.see)
	a, err := r.db.Allocate(w.ctx, r.request(r.owner), pool.AllocateOptions{})
	r.ok(err)
	if l.tries != 2 {
		t.Fatalf("%d tries were seen", l.tries)
	}
	r.has(pool.Granted, map[string]int{"queued": 1, "granted": 1})
	_, err = w.db.Claim(w.ctx, a.Token)
	r.ok(err)
}
