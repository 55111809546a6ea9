// Package crowd has a crowd of clients wait for few nodes on one MySQL or MariaDB server, as when hundreds
// of builds start at once: what the benchmark measures and the test counts.
package crowd

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/molteniron/molteniron/pkg/pool"
)

// Config says what a crowd is made of.
type Config struct {
	Server    string        // URL of the server, without a database
	Database  string        // name of the database to make
	Clients   int           // that wait
	Within    time.Duration // all of them come
	Nodes     int           // of the pool, each held by a build when the first client comes
	Processes int           // of the clients, spread among them, are processes; the others have a handle of their own
	PreHook   string        // the program that these run
	Dir       string        // for what they write
}

// Crowd is a pool with all its nodes held, and the clients that wait for one each.
type Crowd struct {
	config  Config
	url     string
	admin   *pool.DB
	server  *sql.DB
	holders []string // owners that have a node, the longest first
	served  chan served
	clients sync.WaitGroup
	stop    context.CancelFunc
}

// served is what became of a client.
type served struct {
	owner string
	at    time.Time // when it had its node
	err   error
}

// one is a request for one node, whichever.
var one = []pool.Group{{Count: 1}}

// New makes the database and the pool, and has builds hold all nodes.
func New(ctx context.Context, config Config) (*Crowd, error) {
	u, err := pool.ParseURL(config.Server)
	if err != nil {
		return nil, err
	}
	m := mysql.NewConfig()
	m.User, m.Passwd, m.Net, m.Addr = u.User, u.Password.Reveal(), "tcp", u.Hosts[0]
	server, err := sql.Open("mysql", m.FormatDSN())
	if err != nil {
		return nil, err
	}
	server.SetMaxOpenConns(1)
	c := &Crowd{
		config: config, url: strings.TrimSuffix(config.Server, "/") + "/" + config.Database, server: server,
		served: make(chan served, config.Clients), stop: func() {},
	}
	if err := c.fill(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Crowd) fill(ctx context.Context) (err error) {
	if _, err := pool.Init(ctx, c.url, pool.Options{}); err != nil {
		return err
	}
	if c.admin, err = pool.Open(ctx, c.url, pool.Options{Actor: "crowd"}); err != nil {
		return err
	}
	var specs []pool.NodeSpec
	for i := range c.config.Nodes {
		specs = append(specs, pool.NodeSpec{Name: fmt.Sprintf("node-%d", i), BMC: pool.BMC{Address: fmt.Sprintf("192.0.2.%d", i+1)}})
	}
	if err := c.admin.AddNodes(ctx, specs); err != nil {
		return err
	}
	for i := range c.config.Nodes {
		owner := fmt.Sprintf("holder-%d", i)
		if err := c.hold(ctx, pool.Request{Owner: owner, Groups: one}); err != nil {
			return err
		}
		c.holders = append(c.holders, owner)
	}
	return nil
}

func (c *Crowd) hold(ctx context.Context, r pool.Request) error {
	a, err := c.admin.Allocate(ctx, r, pool.AllocateOptions{})
	if err == nil {
		_, err = c.admin.Claim(ctx, a.Token)
	}
	return err
}

// Close ends the clients that still wait and waits for them.
func (c *Crowd) Close() error {
	c.stop()
	c.clients.Wait()
	var err error
	if c.admin != nil {
		err = c.admin.Close()
	}
	return errors.Join(err, c.server.Close())
}

// Questions is how many statements the server has answered so far. Asking is one more.
func (c *Crowd) Questions(ctx context.Context) (int, error) { return c.Status(ctx, "Questions") }

// Status reads one of the server's counters.
func (c *Crowd) Status(ctx context.Context, name string) (n int, err error) {
	return n, c.server.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&name, &n)
}

// Server tells which server it is, and its limit on connections.
func (c *Crowd) Server(ctx context.Context) (version string, maxConnections int, err error) {
	err = c.server.QueryRowContext(ctx, "SELECT VERSION(), @@max_connections").Scan(&version, &maxConnections)
	return version, maxConnections, err
}

// Arrive has all clients come, one by one within the time that is set, and returns when all are in the queue.
func (c *Crowd) Arrive(ctx context.Context) (time.Duration, error) {
	waiting, stop := context.WithCancel(ctx)
	c.stop = stop
	start := time.Now()
	every := 0
	if c.config.Processes > 0 {
		every = c.config.Clients / c.config.Processes
	}
	for i := range c.config.Clients {
		c.clients.Go(func() {
			s := served{owner: fmt.Sprintf("https://ci.example.org/job/crowd/%d/", i+1)}
			if s.err = pause(waiting, time.Duration(i)*c.config.Within/time.Duration(c.config.Clients)); s.err == nil {
				if every > 0 && i%every == 0 {
					s.at, s.err = c.process(waiting, s.owner, i)
				} else {
					s.at, s.err = c.handle(waiting, s.owner)
				}
			}
			if waiting.Err() == nil {
				c.served <- s
			}
		})
	}
	for {
		info, err := c.admin.Pool(ctx, pool.DefaultPool)
		if err != nil || info.Waiting == c.config.Clients {
			return time.Since(start), err
		}
		select {
		case s := <-c.served:
			return 0, fmt.Errorf("%s was not to be served yet: %w", s.owner, s.err)
		default:
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// wait is longer than any crowd takes.
const wait = time.Hour

// handle is a client in this process, with connections of its own.
func (c *Crowd) handle(ctx context.Context, owner string) (time.Time, error) {
	db, err := pool.Open(ctx, c.url, pool.Options{Actor: "crowd"})
	if err != nil {
		return time.Time{}, err
	}
	defer db.Close()
	a, err := db.Allocate(ctx, pool.Request{Owner: owner, Groups: one}, pool.AllocateOptions{Wait: wait, Progress: func(pool.Position) {}})
	if err != nil {
		return time.Time{}, err
	}
	at := time.Now()
	_, err = db.Claim(ctx, a.Token)
	return at, err
}

// process is a client that is a pre-hook; it has its node when it ends.
func (c *Crowd) process(ctx context.Context, owner string, i int) (time.Time, error) {
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, c.config.PreHook)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.config.Dir, // no configuration file of the caller's
		"MOLTENIRON_DATABASE=" + c.url, "MOLTENIRON_OWNER=" + owner, "MOLTENIRON_WAIT=" + wait.String(),
		"MOLTENIRON_ENV_FILE=" + filepath.Join(c.config.Dir, fmt.Sprintf("env-%d", i)),
	}
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return time.Time{}, fmt.Errorf("%w\n%s", err, stderr.String())
	}
	return time.Now(), nil
}

// Order gives the owners who wait, in the order of the queue.
func (c *Crowd) Order(ctx context.Context) ([]string, error) {
	queue, err := c.admin.Queue(ctx, pool.DefaultPool)
	var owners []string
	for _, a := range queue {
		owners = append(owners, a.Owner)
	}
	return owners, err
}

// HandOver has the build that has held a node for longest give it back, and waits until a client has it.
// It tells which client, and how long that took from the call that released to the client's knowing.
func (c *Crowd) HandOver(ctx context.Context) (owner string, took time.Duration, err error) {
	released := time.Now()
	if _, err := c.admin.Release(ctx, pool.ReleaseRequest{Owner: c.holders[0]}); err != nil {
		return "", 0, err
	}
	s, err := c.next(ctx)
	if err != nil {
		return "", 0, err
	}
	c.holders = append(c.holders[1:], s.owner)
	return s.owner, s.at.Sub(released), nil
}

// Drain has every build give its node back as soon as it has it, until no client waits any more.
func (c *Crowd) Drain(ctx context.Context, waiting int) error {
	for ; len(c.holders) > 0; c.holders = c.holders[1:] {
		if _, err := c.admin.Release(ctx, pool.ReleaseRequest{Owner: c.holders[0]}); err != nil {
			return err
		}
	}
	for range waiting {
		s, err := c.next(ctx)
		if err != nil {
			return err
		}
		if _, err := c.admin.Release(ctx, pool.ReleaseRequest{Owner: s.owner}); err != nil {
			return err
		}
	}
	return nil
}

func (c *Crowd) next(ctx context.Context) (served, error) {
	select {
	case s := <-c.served:
		if s.err != nil {
			return s, fmt.Errorf("%s: %w", s.owner, s.err)
		}
		return s, nil
	case <-ctx.Done():
		return served{}, ctx.Err()
	}
}

// Overtaken lists who was granted a node after somebody who was behind in the given order.
func (c *Crowd) Overtaken(ctx context.Context, order []string) ([]string, error) {
	all, err := c.admin.Allocations(ctx, pool.AllocationFilter{Pool: pool.DefaultPool})
	if err != nil {
		return nil, err
	}
	granted := map[string]time.Time{}
	for _, a := range all {
		granted[a.Owner] = a.GrantedAt
	}
	var overtaken []string
	var first time.Time // of all who are behind
	for _, owner := range slices.Backward(order) {
		at := granted[owner]
		if at.IsZero() || !first.IsZero() && at.After(first) {
			overtaken = append(overtaken, owner)
		} else {
			first = at
		}
	}
	return overtaken, nil
}

// Late is how long after the end of a dead build's lease a waiting client has its node, when nobody
// releases anything and nobody tends the pool: in a pool of that name, with one node and one client.
func (c *Crowd) Late(ctx context.Context, name string) (time.Duration, error) {
	if err := c.admin.AddPool(ctx, name, pool.DefaultPolicy()); err != nil {
		return 0, err
	}
	if err := c.admin.AddNodes(ctx, []pool.NodeSpec{{Name: name, Pool: name, BMC: pool.BMC{Address: name + ".example.org"}}}); err != nil {
		return 0, err
	}
	if err := c.hold(ctx, pool.Request{Owner: "dead in " + name, Pool: name, Groups: one, Lease: 2 * time.Second}); err != nil {
		return 0, err
	}
	dead, err := c.admin.Allocations(ctx, pool.AllocationFilter{Owner: "dead in " + name, Limit: 1})
	if err != nil {
		return 0, err
	}
	if _, err := c.admin.Allocate(ctx, pool.Request{Owner: "heir in " + name, Pool: name, Groups: one}, pool.AllocateOptions{Wait: time.Minute}); err != nil {
		return 0, err
	}
	return time.Since(dead[0].ExpiresAt), nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
