package pool_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// soakPatience bounds each wait of a soak for something that the clients do.
const soakPatience = 4 * time.Minute

// soakVeterans are clients that nobody kills, so that what they use would tell of a leak.
const soakVeterans = 8

// soakCrew are the client processes and what they have said since the last check.
type soakCrew struct {
	t       *testing.T
	url     pool.URL // by the lines
	members []*soakMember
	mu      sync.Mutex
	lines   []soakLine
	all     int // said so far, by all
}

// soakMember is a client that lives, or has lived since the last check.
type soakMember struct {
	id, life int
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	paused   chan struct{}
	said     chan struct{} // closed when all that it said was read
	killed   bool
	frozen   []soakSpell
}

// soakSpell is a time in which a client was frozen.
type soakSpell struct{ from, to int64 }

func (m *soakMember) name() string { return soakName(m.id, m.life) }

func newSoakCrew(t *testing.T, u pool.URL) *soakCrew { return &soakCrew{t: t, url: u} }

// start starts a client. Most write at the first host; every eighth at another, so that hosts collide.
func (c *soakCrew) start(id, life int) {
	c.t.Helper()
	u := c.url
	if first := id / 8 % len(u.Hosts); id%8 == 7 {
		u.Hosts = slices.Concat(u.Hosts[first:], u.Hosts[:first])
	}
	m := &soakMember{id: id, life: life, cmd: exec.Command(os.Args[0]), paused: make(chan struct{}, 1), said: make(chan struct{})} //nolint:gosec // this program
	m.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", soakClientEnv, id, life, u))
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	m.cmd.Stderr = os.Stderr
	var err error
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		c.t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = m.cmd.Process.Kill() })
	c.members = append(c.members, m)
	go func() {
		defer close(m.said)
		for in := json.NewDecoder(out); ; {
			var l soakLine
			if in.Decode(&l) != nil {
				return
			}
			if l.What == soakPaused {
				m.paused <- struct{}{}
				continue
			}
			c.mu.Lock()
			c.lines, c.all = append(c.lines, l), c.all+1
			c.mu.Unlock()
		}
	}()
}

func (c *soakCrew) alive() []*soakMember {
	return slices.DeleteFunc(slices.Clone(c.members), func(m *soakMember) bool { return m.killed })
}

// pick chooses clients that may be killed.
func (c *soakCrew) pick(n int) []*soakMember {
	able := slices.DeleteFunc(c.alive(), func(m *soakMember) bool { return m.id < soakVeterans })
	rand.Shuffle(len(able), func(i, k int) { able[i], able[k] = able[k], able[i] })
	return able[:n]
}

// kill kills a client, whatever it does, and reads what it had said.
func (c *soakCrew) kill(m *soakMember) {
	m.killed = true
	_ = m.cmd.Process.Kill()
	<-m.said
	_ = m.cmd.Wait()
}

func (c *soakCrew) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// await waits until the clients have done so many operations in all.
func (c *soakCrew) await(want int) {
	c.t.Helper()
	for limit := time.Now().Add(soakPatience); c.count() < want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			c.t.Fatalf("within %s the clients came to %d operations, not to %d", soakPatience, c.count(), want)
		}
	}
}

// pause has all clients finish what they do and wait.
func (c *soakCrew) pause() {
	c.t.Helper()
	c.tell()
	limit := time.After(soakPatience)
	for _, m := range c.alive() {
		select {
		case <-m.paused:
		case <-m.said:
			c.t.Fatalf("%s has ended", m.name())
		case <-limit:
			c.t.Fatalf("%s did not finish what it did within %s", m.name(), soakPatience)
		}
	}
}

func (c *soakCrew) resume() { c.tell() }

func (c *soakCrew) tell() {
	c.t.Helper()
	for _, m := range c.alive() {
		if _, err := io.WriteString(m.stdin, "\n"); err != nil {
			c.t.Fatalf("%s: %v", m.name(), err)
		}
	}
}

// take gives what was said since the last check, and who said it; the dead are forgotten.
func (c *soakCrew) take() ([]soakLine, []*soakMember) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines, members := c.lines, c.members
	c.lines, c.members = nil, c.alive()
	return lines, members
}

// end has the clients, which have paused, end.
func (c *soakCrew) end() {
	for _, m := range c.alive() {
		_ = m.stdin.Close()
		<-m.said
		if err := m.cmd.Wait(); err != nil {
			c.t.Errorf("%s: %v", m.name(), err)
		}
	}
}

// soakSize is what the veterans use together.
type soakSize struct{ descriptors, mib int }

func (c *soakCrew) size() soakSize {
	c.t.Helper()
	var s soakSize
	for _, m := range c.alive() {
		if m.id >= soakVeterans {
			continue
		}
		proc := fmt.Sprintf("/proc/%d/", m.cmd.Process.Pid)
		descriptors, err := os.ReadDir(proc + "fd")
		if err != nil {
			c.t.Fatal(err)
		}
		s.descriptors += len(descriptors)
		statm, err := os.ReadFile(proc + "statm") // in pages: total, resident, …
		if err != nil {
			c.t.Fatal(err)
		}
		var total, resident int
		if _, err := fmt.Sscan(string(statm), &total, &resident); err != nil {
			c.t.Fatal(err)
		}
		s.mib += resident * os.Getpagesize() >> 20
	}
	return s
}
