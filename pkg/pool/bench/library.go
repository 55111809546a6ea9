package main

import (
	"context"
	"fmt"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// fill creates a database with one pool of so many free nodes.
func fill(ctx context.Context, url string, nodes int) error {
	if _, err := pool.Init(ctx, url, pool.Options{}); err != nil {
		return err
	}
	db, err := pool.Open(ctx, url, pool.Options{Actor: "bench"})
	if err != nil {
		return err
	}
	defer db.Close()
	specs := make([]pool.NodeSpec, nodes)
	for i := range specs {
		specs[i] = pool.NodeSpec{
			Name: fmt.Sprintf("node-%05d", i),
			BMC: pool.BMC{
				Address: fmt.Sprintf("192.0.2.%d", i%250+1), Port: 1024 + i, Username: "admin", Password: secret.New("not a secret"),
			},
			MACs: []string{fmt.Sprintf("02:00:00:%02x:%02x:%02x", i>>16&255, i>>8&255, i&255)},
			Arch: "x86_64", CPUs: 64, RAMMB: 262144, DiskGB: 960,
			IPs:        []string{fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)},
			Properties: map[string]string{"rack": fmt.Sprintf("r%d", i/40), "nic": "10g"},
		}
	}
	const batch = 1000
	for len(specs) > 0 {
		n := min(batch, len(specs))
		if err := db.AddNodes(ctx, specs[:n]); err != nil {
			return err
		}
		specs = specs[n:]
	}
	return nil
}

// The operations of a library client, in the order of its samples.
const (
	opAllocate = iota // one node, with the claim: what a pre-hook needs
	opRelease
	libraryOps
)

// library is a client of pkg/pool with a connection of its own, as a hook has.
type library struct {
	db   *pool.DB
	name string
	n    int
}

func openLibrary(ctx context.Context, url, name string) (*library, error) {
	db, err := pool.Open(ctx, url, pool.Options{Actor: "bench"})
	return &library{db: db, name: name}, err
}

func (c *library) step(ctx context.Context, note lap) error {
	c.n++
	request := pool.Request{
		Owner: fmt.Sprintf("https://ci.example.org/job/bench-%s/%d/", c.name, c.n), Groups: []pool.Group{{Count: 1}},
		Labels: map[string]string{"JOB_NAME": "bench", "BUILD_NUMBER": fmt.Sprint(c.n)}, Where: "bench",
	}
	start := time.Now()
	a, err := c.db.Allocate(ctx, request, pool.AllocateOptions{Wait: time.Minute})
	if err != nil {
		return fmt.Errorf("allocate: %w", err)
	}
	if _, err := c.db.Claim(ctx, a.Token); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	granted := time.Now()
	note(opAllocate, granted.Sub(start)) // now, that its round trips are counted as its own
	released, err := c.db.Release(ctx, pool.ReleaseRequest{Token: a.Token})
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	if len(released) != 1 {
		return fmt.Errorf("release: %d allocations were released, want 1", len(released))
	}
	note(opRelease, time.Since(granted))
	return nil
}
