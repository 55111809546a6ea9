package pool_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// soakLine is what a client says of one operation when it has returned. Times are the machine's, in
// nanoseconds: all clients run on it.
type soakLine struct {
	Client       int
	Life         int // how many clients of that number died before it
	Call, Return int64
	What         string // allocate, claim, extend, release; paused
	ID           int64
	Nodes        []string
	Short        bool
	Retries      int64        // transactions and statements that were repeated for it
	Out          linearOutput // done, lost or unknown
	Error        string
}

// soakPaused is what a client says when it was told to pause and has finished what it did.
const soakPaused = "paused"

// soakRetries counts what the pool says of repetitions.
type soakRetries struct {
	slog.Handler
	n *atomic.Int64
}

func (r soakRetries) Enabled(context.Context, slog.Level) bool { return true }

func (r soakRetries) Handle(_ context.Context, record slog.Record) error {
	if record.Level == slog.LevelDebug {
		r.n.Add(1)
	}
	return nil
}

// soakClient allocates, extends and releases until its stdin ends; a line there has it pause, and go on.
func soakClient(config string) error {
	var c soakBuild
	var url string
	if _, err := fmt.Sscanf(config, "%d %d %s", &c.id, &c.life, &url); err != nil {
		return err
	}
	c.ctx, c.retries, c.out = context.Background(), new(atomic.Int64), json.NewEncoder(os.Stdout)
	// Patience outlasts the failure of a host on a busy machine.
	o := pool.Options{Actor: fmt.Sprintf("client %d", c.id), Patience: time.Minute, Logger: slog.New(soakRetries{slog.DiscardHandler, c.retries})}
	for {
		var err error
		if c.db, err = pool.Open(c.ctx, url, o); err == nil {
			break
		} else if !errors.Is(err, pool.ErrUnreachable) {
			return err
		}
	}
	defer c.db.Close()
	orders := make(chan string)
	go func() {
		defer close(orders)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			orders <- in.Text()
		}
	}()
	r := rand.New(rand.NewPCG(uint64(c.id), uint64(time.Now().UnixNano()))) //nolint:gosec // no secret
	for round := 0; ; round++ {
		select {
		case _, ok := <-orders:
			if ok {
				if err := c.out.Encode(soakLine{Client: c.id, Life: c.life, What: soakPaused}); err != nil {
					return err
				}
				_, ok = <-orders
			}
			if !ok {
				return nil
			}
		default:
		}
		if err := c.run(r, round); err != nil {
			return err
		}
	}
}

type soakBuild struct {
	ctx      context.Context
	db       *pool.DB
	out      *json.Encoder
	id, life int
	retries  *atomic.Int64
}

// say tells what came of an operation; what is neither done nor lost is unknown.
func (c soakBuild) say(what string, called time.Time, a *pool.Allocation, short bool, err error) error {
	l := soakLine{
		Client: c.id, Life: c.life, Call: called.UnixNano(), Return: time.Now().UnixNano(), What: what, Short: short, Out: "done",
		Retries: c.retries.Swap(0),
	}
	if a != nil {
		l.ID, l.Nodes = a.ID, a.NodeNames()
	}
	var taken *pool.TakenBackError
	switch {
	case errors.As(err, &taken), what == "claim" && errors.Is(err, pool.ErrConflict):
		l.Out = "lost"
	case err != nil:
		l.Out, l.Error = "unknown", err.Error()
	}
	return c.out.Encode(l)
}

func (c soakBuild) run(r *rand.Rand, round int) error {
	request := pool.Request{
		Owner: fmt.Sprintf("%s round %d", soakName(c.id, c.life), round), Groups: []pool.Group{{Count: 1 + r.IntN(3)}}, Lease: 24 * time.Hour,
		Labels: map[string]string{"JOB_NAME": fmt.Sprintf("job %d", c.id%5)},
	}
	short := r.IntN(4) == 0
	if short {
		request.Lease = 2 * time.Second
	}
	called := time.Now()
	a, err := c.db.Allocate(c.ctx, request, pool.AllocateOptions{Wait: 30 * time.Second})
	if errors.Is(err, pool.ErrNoNode) {
		return nil
	}
	if err := c.say("allocate", called, a, short, err); err != nil || a == nil {
		return err // nothing is known of it; if it was granted, its heartbeat lapses
	}
	called = time.Now()
	_, err = c.db.Claim(c.ctx, a.Token)
	if err := c.say("claim", called, a, short, err); err != nil {
		return err
	}
	if errors.Is(err, pool.ErrConflict) {
		return nil // too late, because the database was away: it has lapsed, or its short lease is over
	}
	if r.IntN(4) == 0 {
		called = time.Now()
		_, err := c.db.Extend(c.ctx, pool.ExtendRequest{Token: a.Token, Lease: 23*time.Hour + 30*time.Minute})
		if err := c.say("extend", called, a, false, err); err != nil {
			return err
		}
	}
	called = time.Now()
	_, err = c.db.Release(c.ctx, pool.ReleaseRequest{Token: a.Token})
	return c.say("release", called, a, false, err)
}

// soakName is what the names of a client's owners begin with.
func soakName(id, life int) string { return fmt.Sprintf("client %d.%d", id, life) }
