package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"

	"github.com/molteniron/molteniron/pkg/pool/bench/crowd"
)

// What the crowd is measured on.
const (
	crowdNodes  = 10
	crowdQuiet  = 2 * time.Minute // twice a heartbeat, and twice the time between two reminders
	crowdPaced  = 300             // hand-overs with a pause before each
	crowdPause  = 300 * time.Millisecond
	crowdDeaths = 5
)

// crowdFigures are what the measurement found.
type crowdFigures struct {
	server             string
	maxConnections     int
	clients, processes int
	arrived            time.Duration
	asked, refused     int // statements and refused connections while they came
	quiet, busiest     int // statements a second while nothing moves: on average, and in the busiest second
	handOver           sample
	drained            float64 // clients served a second when builds take no time
	overtaken          int
	late               []time.Duration
}

// measureCrowd has clients wait in one pool on a MariaDB with its own limit on connections.
func measureCrowd(ctx context.Context, dir, server, bin string, clients int) (f crowdFigures, err error) {
	f.clients, f.processes = clients, clients/10
	c, err := crowd.New(ctx, crowd.Config{
		Server: server, Database: "bench_crowd", Clients: clients, Within: time.Second, Nodes: crowdNodes,
		Processes: f.processes, PreHook: filepath.Join(bin, "molten-prehook"), Dir: dir,
	})
	if err != nil {
		return f, err
	}
	defer func() {
		if e := c.Close(); err == nil {
			err = e
		}
	}()
	if f.server, f.maxConnections, err = c.Server(ctx); err != nil {
		return f, err
	}

	say("%d clients come, %d of them processes", clients, f.processes)
	before, err := c.Questions(ctx)
	if err != nil {
		return f, err
	}
	if f.arrived, err = c.Arrive(ctx); err != nil {
		return f, err
	}
	if f.asked, err = c.Questions(ctx); err != nil {
		return f, err
	}
	f.asked -= before
	if f.refused, err = c.Status(ctx, "Connection_errors_max_connections"); err != nil {
		return f, err
	}

	say("all wait after %s; counting statements for %s", f.arrived.Round(time.Millisecond), crowdQuiet)
	if err := f.countQuiet(ctx, c); err != nil {
		return f, err
	}

	order, err := c.Order(ctx)
	if err != nil {
		return f, err
	}
	say("handing over")
	paced := min(crowdPaced, len(order))
	for range paced {
		if err := wait(ctx, time.Duration(rand.Int64N(int64(crowdPause)))); err != nil {
			return f, err
		}
		_, took, err := c.HandOver(ctx)
		if err != nil {
			return f, err
		}
		f.handOver.took = append(f.handOver.took, took)
	}
	slices.Sort(f.handOver.took)
	start := time.Now()
	if err := c.Drain(ctx, len(order)-paced); err != nil {
		return f, err
	}
	f.drained = float64(len(order)-paced) / time.Since(start).Seconds()
	overtaken, err := c.Overtaken(ctx, order)
	if err != nil {
		return f, err
	}
	f.overtaken = len(overtaken)
	for i := range crowdDeaths {
		late, err := c.Late(ctx, fmt.Sprintf("late-%d", i))
		if err != nil {
			return f, err
		}
		f.late = append(f.late, late)
	}
	slices.Sort(f.late)
	return f, nil
}

// countQuiet looks at the server's counter once a second, and takes its own looks off.
func (f *crowdFigures) countQuiet(ctx context.Context, c *crowd.Crowd) error {
	first, err := c.Questions(ctx)
	if err != nil {
		return err
	}
	start, last, lastAt := time.Now(), first, time.Now()
	looks := 0
	for time.Since(start) < crowdQuiet {
		if err := wait(ctx, time.Second); err != nil {
			return err
		}
		n, err := c.Questions(ctx)
		if err != nil {
			return err
		}
		looks++
		f.busiest = max(f.busiest, int(float64(n-last-1)/time.Since(lastAt).Seconds()))
		last, lastAt = n, time.Now()
	}
	f.quiet = int(float64(last-first-looks) / time.Since(start).Seconds())
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (f crowdFigures) print(w io.Writer, machine string) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s; %s, max_connections %d\n\n", machine, f.server, f.maxConnections)
	fmt.Fprintf(out, "| %d clients on %d nodes, %d of them processes | aim | measured |\n|---|--:|--:|\n", f.clients, crowdNodes, f.processes)
	line := func(what, aim, format string, args ...any) {
		fmt.Fprintf(out, "| %s | %s | %s |\n", what, aim, fmt.Sprintf(format, args...))
	}
	line("all have come and wait after", "", "%.1f s", f.arrived.Seconds())
	line("statements for each client until it waits", "", "%.0f", float64(f.asked)/float64(f.clients))
	line("connections refused meanwhile, and tried again", "", "%d", f.refused)
	line("clients that failed", "0", "0") // an error ends the measurement
	line("clients that were overtaken", "0", "%d", f.overtaken)
	line("statements a second while nothing moves", "≤ 300", "%d", f.quiet)
	line("the same in the busiest second", "", "%d", f.busiest)
	line(fmt.Sprintf("from a release until the head of the queue knows, %d releases: median", len(f.handOver.took)), "≤ 250 ms", "%s ms", millis(f.handOver.median()))
	line("the same: 99th percentile", "≤ 1000 ms", "%s ms", millis(f.handOver.p99()))
	line("clients served a second when builds take no time", "", "%.0f", f.drained)
	line("a dead build's lease ends, its heir has the node after: median", "", "%s ms", millis(f.late[len(f.late)/2]))
	return out.Flush()
}
