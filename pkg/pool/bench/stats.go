package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// sample is what one kind of operation did in one measurement.
type sample struct {
	took    []time.Duration // of each operation, sorted
	elapsed time.Duration   // of the whole measurement
}

func (s sample) median() time.Duration { return s.quantile(0.50) }
func (s sample) p99() time.Duration    { return s.quantile(0.99) }

// quantile is the smallest value that a share q of the operations did not exceed.
func (s sample) quantile(q float64) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	return s.took[min(int(q*float64(len(s.took))), len(s.took)-1)]
}

// rate is in operations a second, over all clients.
func (s sample) rate() float64 {
	if s.elapsed == 0 {
		return 0
	}
	return float64(len(s.took)) / s.elapsed.Seconds()
}

// lap notes one operation by its index in the kinds that the measurement knows.
type lap func(kind int, took time.Duration)

// client is one of the clients of a measurement; step is called again and again, note tells what it did.
type client interface {
	step(ctx context.Context, note lap) error
}

// measure lets the clients work side by side: first one step each, uncounted, so that connections and
// caches are warm, then for d. It gives one sample a kind. The first error ends it.
func measure(ctx context.Context, d time.Duration, kinds int, clients []client) ([]sample, error) {
	if err := together(clients, func(_ int, c client) error {
		return c.step(ctx, func(int, time.Duration) {})
	}); err != nil {
		return nil, err
	}

	laps := make([][][]time.Duration, len(clients)) // client, kind, operation: nobody shares a slice
	start := time.Now()
	err := together(clients, func(i int, c client) error {
		laps[i] = make([][]time.Duration, kinds)
		note := func(kind int, took time.Duration) { laps[i][kind] = append(laps[i][kind], took) }
		for time.Since(start) < d {
			if err := c.step(ctx, note); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	samples := make([]sample, kinds)
	for k := range samples {
		samples[k].elapsed = time.Since(start)
		for i := range laps {
			samples[k].took = append(samples[k].took, laps[i][k]...)
		}
		slices.Sort(samples[k].took)
	}
	return samples, nil
}

func together(clients []client, f func(int, client) error) error {
	errs := make([]error, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() { errs[i] = f(i, c) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("client %d of %d: %w", i+1, len(clients), err)
		}
	}
	return nil
}
