package pool

import (
	"context"
	"fmt"
	"time"
)

// worstSkew is how far the clocks of a cluster's hosts may lie apart unnoticed. Time never runs backwards
// whatever they say, so skew is no danger to a machine; but leases end late by it.
const worstSkew = time.Second

// checkHosts looks at each host of a URL with several, and gives a line for each that does not answer or
// whose clock is not that of the first.
func checkHosts(ctx context.Context, u URL, o Options) []string {
	if len(u.Hosts) < 2 {
		return nil
	}
	var warnings []string
	var first string
	var ahead time.Duration // of the first host's clock
	for _, name := range u.Hosts {
		skew, err := hostSkew(ctx, u, name, o)
		switch {
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("host %s was not looked at: %v", name, err))
		case first == "":
			first, ahead = name, skew
		default:
			if w := skewWarning(first, name, skew-ahead); w != "" {
				warnings = append(warnings, w)
			}
		}
	}
	return warnings
}

func skewWarning(first, name string, skew time.Duration) string {
	if skew.Abs() <= worstSkew {
		return ""
	}
	return fmt.Sprintf("the clock of host %s is %s from that of %s; leases are counted by the host in use: run NTP on both", name, skew.Round(100*time.Millisecond).Abs(), first)
}

// hostSkew is how far a host's clock is ahead of this machine's, which cancels out between hosts.
func hostSkew(ctx context.Context, u URL, name string, o Options) (time.Duration, error) {
	u.Hosts = []string{name}
	db, err := newDB(u, o)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if _, err := db.schema(ctx); err != nil { // connects
		return 0, err
	}
	var clock stamp
	sent := time.Now()
	if err := db.get(ctx, &clock, "SELECT "+db.dialect.clock); err != nil {
		return 0, err
	}
	return clock.Sub(sent.Add(time.Since(sent) / 2)), nil
}
