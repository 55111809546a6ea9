package crashtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// crew is all client processes of a run, dead ones included.
type crew struct {
	t       *testing.T
	engine  engine
	program string // that each client runs
	logs    string // folder of the clients' files
	seed    uint64
	rand    *rand.Rand
	members []*member

	inLock chan *member // who says that it carries out an order
	gone   chan *member // who has ended

	granted        atomic.Int64 // as clients said
	killed, frozen int
	spells         []spell // of clients frozen with the lock
}

func newCrew(t *testing.T, e engine, program string, seed uint64) *crew {
	return &crew{
		t: t, engine: e, program: program, logs: t.TempDir(), seed: seed, rand: rand.New(rand.NewPCG(seed, 0)),
		inLock: make(chan *member, clients), gone: make(chan *member, 100*clients),
	}
}

// member is one client process.
type member struct {
	id     int
	pool   string
	log    string
	cmd    *exec.Cmd
	orders io.WriteCloser
	stderr bytes.Buffer // complete when exited is closed
	ready  chan struct{}
	exited chan struct{}

	frozenNow  atomic.Bool
	everFrozen bool
	ordered    bool // to freeze or die with the lock
	doomed     bool // killed, or ordered to die
}

// spell is a time for which a client was frozen.
type spell struct{ from, to time.Time }

func (c *crew) start(pool string) *member {
	m := &member{
		id: len(c.members), pool: pool,
		ready: make(chan struct{}), exited: make(chan struct{}),
	}
	m.log = filepath.Join(c.logs, fmt.Sprintf("client-%d.jsonl", m.id))
	config, err := json.Marshal(clientConfig{ID: m.id, URL: c.engine.url, Pool: pool, Log: m.log, Seed: c.seed, Patience: c.engine.patience})
	if err != nil {
		c.t.Fatal(err)
	}
	m.cmd = exec.Command(c.program)
	m.cmd.Env = append(os.Environ(), clientEnv+"="+string(config), "GOMAXPROCS=2")
	m.cmd.Stderr = &m.stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if m.orders, err = m.cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.members = append(c.members, m)
	go func() {
		said := bufio.NewScanner(out)
		for said.Scan() {
			switch said.Text() {
			case sayReady:
				close(m.ready)
			case sayGranted:
				c.granted.Add(1)
			case sayInLock:
				c.inLock <- m
			}
		}
		_ = m.cmd.Wait() // its state says the rest
		close(m.exited)
		c.gone <- m
	}()
	return m
}

func (c *crew) awaitReady() {
	for _, m := range c.members {
		select {
		case <-m.exited:
			c.t.Fatalf("client %d did not start: %s", m.id, m.stderr.String())
		case <-m.ready:
		case <-time.After(time.Minute):
			c.t.Fatalf("client %d is not ready after a minute", m.id)
		}
	}
}

// round lets faults happen while clients work, until there were as many of each kind as there should be and
// all that was ordered has come to pass. There are always as many clients: who dies is replaced. Once, a
// client is frozen with the lock, until the probes saw what is promised for that.
func (c *crew) round(probes []*probe) {
	busy, small := pools[0].name, pools[1].name
	var holder *member  // ordered to freeze with the lock
	var since time.Time // it has been frozen; zero: it is not yet
	thawed := false
	dying := 0 // killed, or ordered to die with the lock, and not gone yet

	start, killed, frozen, granted := time.Now(), c.killed, c.frozen, c.granted.Load()
	faultAt, faultGranted := start, granted // the last one
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; {
		select {
		case m := <-c.inLock:
			if m == holder {
				since = time.Now()
				c.froze(m)
			}
			continue
		case m := <-c.gone:
			if !m.doomed {
				c.t.Fatalf("client %d of pool %s ended with %s:\n%s", m.id, m.pool, m.cmd.ProcessState, m.stderr.String())
			}
			dying--
			c.killed++
			c.start(m.pool)
			continue
		case <-tick.C:
		}
		now, told := time.Now(), c.granted.Load()
		if now.Sub(start) > roundLimit {
			c.t.Fatalf("after %s: %d grants, %d clients killed, %d more to die, %d frozen, ordered to freeze with the lock: %t, frozen with it since %s, thawed: %t",
				roundLimit, told-granted, c.killed-killed, dying, c.frozen-frozen, holder != nil, since, thawed)
		}
		if late := now.Sub(since) > c.engine.stall; !since.IsZero() && (late || c.promiseKept(probes, since)) {
			if late {
				c.t.Errorf("a client was frozen with the lock for more than %s, and the others were not helped", c.engine.stall)
			}
			c.spells = append(c.spells, spell{since, time.Now()})
			c.thaw(holder)
			holder.ordered, holder, since, thawed = false, nil, time.Time{}, true
		}
		toKill, toFreeze := kills-(c.killed-killed+dying), freezes-(c.frozen-frozen)
		enough := toKill <= 0 && toFreeze <= 0 && told-granted >= grants
		switch {
		case enough && thawed:
			if dying == 0 {
				return
			}
		// Where a frozen client stops all others, it comes last: who cannot undo what they did leave pools that
		// are full for a minute.
		case holder == nil && !thawed && (enough || !c.engine.oneLock):
			// At the probe's host, since on a cluster the others would not notice.
			holder = c.pick(small, func(m *member) bool { return m.id%c.engine.hosts == 0 })
			c.order(holder, orderStop)
		case told-faultGranted < pace && now.Sub(faultAt) < 2*time.Second:
		case toFreeze > 0 && (i%2 == 0 || toKill <= 0):
			c.freeze(c.pick(busy, anyone), time.Duration(50+c.rand.IntN(1450))*time.Millisecond)
			faultAt, faultGranted, i = now, told, i+1
		case toKill > 0:
			m := c.pick(pools[c.rand.IntN(len(pools))].name, anyone)
			m.doomed = true
			dying++
			if i%4 == 1 {
				c.order(m, orderDie)
			} else {
				c.signal(m, syscall.SIGKILL)
			}
			faultAt, faultGranted, i = now, told, i+1
		}
	}
}

// promiseKept says whether the probes have seen, in attempts begun since a client was frozen with the lock,
// what they must: on SQLite all of them that the database is unreachable; on a server the one of the
// client's pool that the lock was taken from it.
func (c *crew) promiseKept(probes []*probe, since time.Time) bool {
	if c.engine.oneLock {
		for _, p := range probes {
			if !p.saw(since, true) {
				return false
			}
		}
		return true
	}
	return probes[len(probes)-1].saw(since, false)
}

func anyone(*member) bool { return true }

// pick chooses a client of the pool that suits, lives, is not frozen and has no order.
func (c *crew) pick(pool string, suits func(*member) bool) *member {
	var able []*member
	for _, m := range c.members {
		if m.pool == pool && suits(m) && !m.doomed && !m.frozenNow.Load() && !m.ordered {
			able = append(able, m)
		}
	}
	return able[c.rand.IntN(len(able))]
}

func (c *crew) order(m *member, order string) {
	m.ordered = true
	if _, err := fmt.Fprintln(m.orders, order); err != nil {
		c.t.Fatalf("client %d takes no orders: %v\n%s", m.id, err, m.stderr.String())
	}
}

// freeze stops the client for a while.
func (c *crew) freeze(m *member, d time.Duration) {
	c.froze(m)
	c.signal(m, syscall.SIGSTOP)
	time.AfterFunc(d, func() { c.thaw(m) })
}

func (c *crew) froze(m *member) {
	m.frozenNow.Store(true)
	m.everFrozen = true
	c.frozen++
}

func (c *crew) thaw(m *member) {
	_ = m.cmd.Process.Signal(syscall.SIGCONT) // fails only for one that is gone
	m.frozenNow.Store(false)
}

func (c *crew) signal(m *member, s syscall.Signal) {
	if err := m.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("client %d: %v: %v\n%s", m.id, s, err, m.stderr.String())
	}
}

// finish asks all clients to end and sees that they end well.
func (c *crew) finish() {
	for _, m := range c.members {
		c.thaw(m)
		_ = m.orders.Close()
	}
	for _, m := range c.members {
		select {
		case <-m.exited:
		case <-time.After(time.Minute):
			c.t.Fatalf("client %d of pool %s did not end within a minute", m.id, m.pool)
		}
		if state := m.cmd.ProcessState; !m.doomed && !state.Success() {
			c.t.Errorf("client %d ended with %s:\n%s", m.id, state, m.stderr.String())
		}
	}
}

func (c *crew) killAll() {
	for _, m := range c.members {
		_ = m.cmd.Process.Kill()
		<-m.exited
	}
}

// readLines gives what the clients saw: for which time they were right to believe that they held what,
// and every grant that they were told of. It fails the test for errors that no client may see.
func (c *crew) readLines() (spans []span, told []grant) {
	for _, m := range c.members {
		text, err := os.ReadFile(m.log)
		if errors.Is(err, os.ErrNotExist) {
			continue // killed before its first allocation
		} else if err != nil {
			c.t.Fatal(err)
		}
		held := make(map[string]line) // by owner: when and until when
		end := func(owner string, at time.Time) {
			l, ok := held[owner]
			if !ok {
				return
			}
			delete(held, owner)
			if at.IsZero() || l.ExpiresAt.Before(at) {
				at = l.ExpiresAt
			}
			for _, g := range l.Grants {
				spans = append(spans, span{m.id, g, l.At, at})
			}
		}
		for row := range strings.Lines(string(text)) {
			var l line
			if err := json.Unmarshal([]byte(row), &l); err != nil {
				c.t.Fatalf("client %d wrote %q: %v", m.id, row, err)
			}
			switch l.Kind {
			case lineGranted:
				told = append(told, l.Grants...)
			case lineClaimed:
				held[l.Owner] = l
			case lineExtended:
				from := held[l.Owner]
				from.ExpiresAt = l.ExpiresAt
				held[l.Owner] = from
			case lineReleasing:
				end(l.Owner, l.At)
			case lineError:
				c.checkError(m, l)
			}
		}
		for owner := range held {
			end(owner, time.Time{})
		}
	}
	return spans, told
}

// checkError fails the test for an error that a client of this run may not see.
func (c *crew) checkError(m *member, l line) {
	switch {
	case l.Class == "no node", l.Class == "taken back": // too long a wait; too long a hold
	case l.Class == "unreachable" && (c.engine.oneLock || m.everFrozen):
	case l.Class == "conflict" && m.everFrozen: // thawed after its heartbeat had lapsed
	default:
		c.t.Errorf("client %d (frozen: %v) at %s, owner %s: %s: %s", m.id, m.everFrozen, l.At.Format(time.TimeOnly), l.Owner, l.Class, l.Error)
	}
}
