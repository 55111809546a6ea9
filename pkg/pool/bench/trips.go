package main

import (
	"context"
	"strings"
	"time"
)

// countTrips counts the round trips of one run of each operation, where there is a line to count on.
func (b *bench) countTrips(ctx context.Context, e engine) error {
	if e.server == "" {
		return nil
	}
	relay, err := newCounter(e.server)
	if err != nil {
		return err
	}
	defer relay.close()
	through := func(address string) string { return strings.Replace(address, e.server, relay.addr(), 1) }

	floor, err := openFloor(ctx, e.driver, through(e.dsn(floorName)))
	if err != nil {
		return err
	}
	defer floor.Close()
	if err := b.count(ctx, relay, selector{floor}, b.row(e.name, whatSelect, 0)); err != nil {
		return err
	}
	if err := b.count(ctx, relay, writer{floor}, b.row(e.name, whatWrite, 0)); err != nil {
		return err
	}
	for _, nodes := range poolSizes {
		c, err := openLibrary(ctx, through(e.url(poolName(nodes))), "trips")
		if err != nil {
			return err
		}
		defer c.db.Close()
		if err := b.count(ctx, relay, c, b.row(e.name, whatAllocate, nodes), b.row(e.name, whatRelease, nodes)); err != nil {
			return err
		}
		h := b.newHooks(e, through(e.url(poolName(nodes))), through(e.dsn(floorName)), "trips")
		if err := b.count(ctx, relay, h, b.row(e.name, whatFloor, nodes), b.row(e.name, whatPreHook, nodes), b.row(e.name, whatPostHook, nodes)); err != nil {
			return err
		}
	}
	return nil
}

// count runs a client a few times and divides the round trips among the rows of its kinds. A kind is
// noted when it is done, so what the counter moved since the last note is its own.
func (b *bench) count(ctx context.Context, relay *counter, c client, rows ...*row) error {
	if err := c.step(ctx, func(int, time.Duration) {}); err != nil {
		return err
	}
	for range tripRuns {
		last := relay.trips.Load()
		err := c.step(ctx, func(kind int, _ time.Duration) {
			now := relay.trips.Load()
			rows[kind].trips += float64(now-last) / tripRuns
			last = now
		})
		if err != nil {
			return err
		}
	}
	for _, r := range rows {
		r.counted = true
	}
	return nil
}
