package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/report"
)

// What a report takes at most: uses of a busy pool's month, and the history that a person reads.
const (
	reportUses   = 50_000
	reportEvents = 100
)

// reportLeast is the shortest time that figures are worth something of.
const reportLeast = time.Hour

func (a *app) reportCommand() *cobra.Command {
	var poolName, since string
	cmd := &cobra.Command{
		Use:   "report DIR",
		Short: "write a page with the pool's state, its use and its history",
		Long: `Write index.html and style.css into the folder DIR: who holds which node and until when, who waits and why,
charts of the nodes in use and of the waits, what each job used, and the newest history. The page needs no server
and no script. Jenkins' HTML Publisher shows it as it is, and so does any web server. No secret is on it.
The files that are there are replaced together; a file that no report wrote is left alone, and exit status 2 says so.`,
		Example: `  moltenironctl report molteniron-report              # in a Jenkins job, see jenkins/README.md
  moltenironctl report /srv/www/molteniron --since 30d
  moltenironctl report gpu --pool gpu --since 2026-11-01`,
		Args:        words(1, 1, "DIR"),
		Annotations: databaseExits(12),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			from, err := parseTime("--since", since, now)
			if err != nil {
				return err
			}
			if now.Sub(from) < reportLeast {
				return cli.Usagef("--since %q: a report is of an hour at least", since)
			}
			var d report.Data
			if err := a.withDB(cmd, func(ctx context.Context, db *pool.DB) (err error) {
				d, err = readReport(ctx, db, poolName, from)
				return err
			}); err != nil {
				return err
			}
			if err := report.Write(args[0], d); errors.Is(err, report.ErrForeign) {
				return cli.Usagef("%v, and is not replaced; name another folder", err)
			} else if err != nil {
				return err
			}
			a.say("written: %s", filepath.Join(args[0], "index.html"))
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	cmd.Flags().StringVar(&poolName, "pool", "", "only of this `POOL`")
	cmd.Flags().StringVar(&since, "since", "7d", "count and draw what happened from this `TIME` on: an age, a day or a moment, as of history")
	a.complete(cmd, "pool", a.poolNames)
	return cmd
}

// readReport reads what a report shows, in a few statements for each pool.
func readReport(ctx context.Context, db *pool.DB, name string, since time.Time) (report.Data, error) {
	pools, err := db.Pools(ctx)
	if err != nil {
		return report.Data{}, err
	}
	if name != "" {
		one, err := db.Pool(ctx, name)
		if err != nil {
			return report.Data{}, err
		}
		pools = []pool.PoolInfo{one}
	}
	nodes, err := db.Nodes(ctx, pool.NodeFilter{Pool: name})
	if err != nil {
		return report.Data{}, err
	}
	queue, err := db.ExplainQueue(ctx, name)
	if err != nil {
		return report.Data{}, err
	}
	usage, err := db.Usage(ctx, pool.UsageFilter{Pool: name, Since: since, Limit: reportUses})
	if err != nil {
		return report.Data{}, err
	}
	events, err := db.Events(ctx, pool.EventFilter{Pool: name, Since: since, Limit: reportEvents})
	if err != nil {
		return report.Data{}, err
	}

	d := report.Data{Version: cli.Version(program), Since: since, At: usage.At, Cut: usage.Cut}
	if usage.Cut {
		d.Since = usage.Uses[0].QueuedAt
	}
	index := map[string]int{}
	for i, p := range pools {
		index[p.Name] = i
		d.Pools = append(d.Pools, report.Pool{Name: p.Name})
		if p.Paused {
			d.Pools[i].Paused = p.PausedReason
		}
	}
	of := func(name string, add func(*report.Pool)) {
		if i, ok := index[name]; ok { // else it was removed, or is younger than the list
			add(&d.Pools[i])
		}
	}
	for _, n := range nodes {
		of(n.Pool, func(p *report.Pool) {
			p.Nodes = append(p.Nodes, report.Node{
				Name: n.Name, Status: nodeStatus(n).Text, Owner: report.Owner{Name: n.Owner, Slot: n.Slot}, Since: n.Since, ExpiresAt: n.ExpiresAt, Reason: nodeReason(n),
			})
		})
	}
	for _, q := range queue {
		of(q.Pool, func(p *report.Pool) {
			p.Queue = append(p.Queue, report.Waiting{
				Place: q.Place, Owner: report.Owner{Name: q.Owner, Slot: q.Slot}, Wants: pool.Describe(q.Groups), Why: q.Reason, Priority: q.Priority, QueuedAt: q.QueuedAt,
			})
		})
	}
	for _, u := range usage.Uses {
		of(u.Pool, func(p *report.Pool) { p.Uses = append(p.Uses, u) })
	}
	for _, e := range events {
		d.Events = append(d.Events, report.Event{
			At: e.At, Kind: e.Kind, Node: e.Node, Owner: report.Owner{Name: e.Owner, Slot: e.Slot}, Who: eventWho(e), Detail: eventDetail(e),
		})
	}
	return d, nil
}
