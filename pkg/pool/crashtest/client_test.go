package crashtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"github.com/molteniron/molteniron/pkg/pool"
)

// clientEnv carries a clientConfig as JSON to a copy of the test binary and makes it a client.
const clientEnv = "MOLTENIRON_CRASHTEST_CLIENT"

// clientConfig is what one client process is told.
type clientConfig struct {
	ID       int
	URL      string
	Pool     string
	Log      string // file to which it appends its lines
	Seed     uint64
	Patience time.Duration
}

// What a client reads on stdin, a word a line, and what it says on stdout. The end of stdin asks it to
// finish what it does and leave.
const (
	orderStop  = "stop-in-lock" // stop yourself (SIGSTOP) while you hold the pool's lock
	orderDie   = "die-in-lock"  // kill yourself (SIGKILL) then
	sayReady   = "ready"
	sayGranted = "granted" // and written to the file
	sayInLock  = "in-lock" // the order is about to be carried out
)

// line is what a client writes to its file the moment it knows; a killed client's file ends where it was.
type line struct {
	At        time.Time `json:"at"`
	Kind      string    `json:"kind"`
	Owner     string    `json:"owner,omitempty"`
	Grants    []grant   `json:"grants,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Class     string    `json:"class,omitempty"`
	Error     string    `json:"error,omitempty"`
}

// The kinds of lines. "…ing" stands before the call, so that a call cut off by a kill is known.
const (
	lineGranted   = "granted"
	lineClaimed   = "claimed"
	lineExtended  = "extended"
	lineReleasing = "releasing"
	lineReleased  = "released"
	lineLeft      = "left" // kept the nodes on purpose: the lease must bring them back
	lineError     = "error"
	lineDone      = "done"
)

// trigger carries out an order at the next moment at which the process holds the pool's lock.
type trigger struct{ order atomic.Pointer[string] }

func (t *trigger) lockHeld() {
	order := t.order.Swap(nil)
	if order == nil {
		return
	}
	fmt.Println(sayInLock)
	signal := unix.SIGSTOP
	if *order == orderDie {
		signal = unix.SIGKILL
	}
	// To this very thread: it stops before it does anything else. A signal for the process may reach
	// another thread, whenever that gets a processor.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), signal)
}

// runClient is the main of a client process; it gives the exit status.
func runClient(config string) int {
	var c clientConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	log, err := os.OpenFile(c.Log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p := &process{config: c, log: log, rand: rand.New(rand.NewPCG(c.Seed, uint64(c.ID)))}
	if err := p.run(context.Background()); err != nil {
		p.write(line{Kind: lineError, Class: classOf(err), Error: err.Error()})
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p.write(line{Kind: lineDone})
	return 0
}

// process is a client at work.
type process struct {
	config  clientConfig
	log     *os.File
	rand    *rand.Rand
	trigger trigger
	finish  atomic.Bool
}

func (p *process) write(l line) {
	l.At = time.Now()
	text, err := json.Marshal(l)
	if err == nil {
		_, err = p.log.Write(append(text, '\n'))
	}
	if err != nil {
		panic(err) // without its lines a client proves nothing
	}
}

func (p *process) run(ctx context.Context) error {
	target := p.config.URL
	if strings.HasPrefix(target, "sqlite:") {
		// SQLite calls it within a writing transaction, just before that commits.
		sqlite.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
			conn.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 { p.trigger.lockHeld(); return 0 })
			return nil
		})
	} else {
		u, err := pool.ParseURL(target)
		if err != nil {
			return err
		}
		for i, host := range u.Hosts {
			if u.Hosts[i], err = relay(host, p.trigger.lockHeld); err != nil {
				return err
			}
		}
		// On a cluster a third of the clients works at each host.
		first := p.config.ID % len(u.Hosts)
		u.Hosts = slices.Concat(u.Hosts[first:], u.Hosts[:first])
		target = u.String()
	}
	go func() {
		orders := bufio.NewScanner(os.Stdin)
		for orders.Scan() {
			order := orders.Text()
			p.trigger.order.Store(&order)
		}
		p.finish.Store(true)
	}()
	options := pool.Options{
		Patience: p.config.Patience, Actor: fmt.Sprintf("client %d", p.config.ID),
		TLS: pool.TLSOptions{Mode: "off"}, // the relay must read what is said
	}
	var db *pool.DB
	for {
		var err error
		db, err = pool.Open(ctx, target, options)
		if err == nil {
			break
		} else if !errors.Is(err, pool.ErrUnreachable) || p.finish.Load() {
			return err
		}
		p.failed("opened", "", err)
	}
	defer db.Close()
	fmt.Println(sayReady)
	for i := 0; !p.finish.Load(); i++ {
		p.build(ctx, db, fmt.Sprintf("client-%d/%d/%d", p.config.ID, os.Getpid(), i))
	}
	return nil
}

// build does what one build does, with the moods that builds have.
func (p *process) build(ctx context.Context, db *pool.DB, owner string) {
	lease := time.Duration(2+p.rand.IntN(2)) * time.Second
	a, err := db.Allocate(ctx, pool.Request{
		Owner: owner, Pool: p.config.Pool, Lease: lease, Priority: p.rand.IntN(3),
		Groups: []pool.Group{{Count: 1 + p.rand.IntN(3)}},
	}, pool.AllocateOptions{Wait: time.Duration(p.rand.IntN(4)) * 500 * time.Millisecond})
	if err != nil {
		p.failed(lineGranted, owner, err)
		return
	}
	grants := grantsOf(a)
	p.write(line{Kind: lineGranted, Owner: owner, Grants: grants})
	fmt.Println(sayGranted)

	if p.rand.IntN(10) == 0 { // a hook that cannot write its file, say
		p.write(line{Kind: lineReleasing, Owner: owner, Grants: grants})
		if err := db.Cancel(ctx, a.Token, "changed its mind"); err != nil {
			p.failed(lineReleased, owner, err)
		}
		return
	}
	claimed, err := db.Claim(ctx, a.Token)
	if err != nil {
		p.failed(lineClaimed, owner, err)
		return
	}
	p.write(line{Kind: lineClaimed, Owner: owner, Grants: grants, ExpiresAt: claimed.ExpiresAt})

	time.Sleep(time.Duration(p.rand.IntN(40)) * time.Millisecond) // the build's own work, not a wait for something
	if p.rand.IntN(8) == 0 {
		extended, err := db.Extend(ctx, pool.ExtendRequest{Token: a.Token, Lease: lease})
		if err != nil {
			p.failed(lineExtended, owner, err)
		} else {
			p.write(line{Kind: lineExtended, Owner: owner, Grants: grants, ExpiresAt: extended.ExpiresAt})
		}
	}
	if p.rand.IntN(25) == 0 {
		p.write(line{Kind: lineLeft, Owner: owner, Grants: grants})
		return
	}
	p.write(line{Kind: lineReleasing, Owner: owner, Grants: grants})
	release := pool.ReleaseRequest{Owner: owner}
	if p.rand.IntN(2) == 0 {
		release = pool.ReleaseRequest{Token: a.Token}
	}
	released, err := db.Release(ctx, release)
	switch {
	case err != nil:
		p.failed(lineReleased, owner, err)
	case len(released) == 0:
		p.write(line{Kind: lineError, Owner: owner, Class: "vanished", Error: "nothing was found to release"})
	default:
		p.write(line{Kind: lineReleased, Owner: owner, Grants: grants})
	}
}

// failed writes what a call came to; lost is the line that would have told of its success.
func (p *process) failed(lost, owner string, err error) {
	p.write(line{Kind: lineError, Owner: owner, Class: classOf(err), Error: lost + ": " + err.Error()})
}

// classOf names the class of an error as the checker goes by it.
func classOf(err error) string {
	var takenBack *pool.TakenBackError
	switch {
	case errors.As(err, &takenBack):
		return "taken back"
	case errors.Is(err, pool.ErrUnreachable):
		return "unreachable"
	case errors.Is(err, pool.ErrNoNode):
		return "no node"
	case errors.Is(err, pool.ErrConflict):
		return "conflict"
	}
	return "other"
}

func grantsOf(a *pool.Allocation) []grant {
	grants := make([]grant, len(a.Nodes))
	for i, n := range a.Nodes {
		grants[i] = grant{n.Name, a.ID, n.Generation}
	}
	return grants
}
