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
// whose clock is not that of the first. Hosts of different clusters are ErrInvalid: whoever is cut off from the
// one would hand out the same nodes at the other.
func checkHosts(ctx context.Context, u URL, o Options) ([]string, error) {
	if len(u.Hosts) < 2 {
		return nil, nil
	}
	var warnings []string
	var first, cluster string
	var ahead time.Duration // of the first host's clock
	for _, name := range u.Hosts {
		facts, skew, err := askHost(ctx, u, name, o)
		switch {
		case ctx.Err() != nil:
			return nil, err
		case err != nil:
			warnings = append(warnings, fmt.Sprintf("host %s was not looked at: %v", name, err))
		case !facts.galera:
			return nil, fail(ErrInvalid, "database %s names several hosts, but %s is no Galera cluster host: separate servers are separate pools; name one of them", u, name)
		case first == "":
			first, cluster, ahead = name, facts.serverCluster, skew
		case facts.serverCluster != cluster:
			return nil, fail(ErrInvalid, "database %s: host %s belongs to cluster %s, host %s to cluster %s; name hosts of one cluster only", u, name, facts.serverCluster, first, cluster)
		default:
			if w := skewWarning(first, name, skew-ahead); w != "" {
				warnings = append(warnings, w)
			}
		}
	}
	return warnings, nil
}

func skewWarning(first, name string, skew time.Duration) string {
	if skew.Abs() <= worstSkew {
		return ""
	}
	return fmt.Sprintf("the clock of host %s is %s from that of %s; leases are counted by the host in use: run NTP on both", name, skew.Round(100*time.Millisecond).Abs(), first)
}

// askHost tells what a host is, and how far its clock is ahead of this machine's, which cancels out between
// hosts. There need be no database yet.
func askHost(ctx context.Context, u URL, name string, o Options) (facts serverFacts, skew time.Duration, err error) {
	u.Hosts, u.Database = []string{name}, ""
	db, err := newDB(u, o)
	if err != nil {
		return facts, 0, err
	}
	defer db.Close()
	if _, err := db.schema(ctx); err != nil { // connects
		return facts, 0, err
	}
	var clock stamp
	sent := time.Now()
	if err := db.get(ctx, &clock, "SELECT "+db.dialect.clock); err != nil {
		return facts, 0, err
	}
	return db.connector.facts, clock.Sub(sent.Add(time.Since(sent) / 2)), nil
}
