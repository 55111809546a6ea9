package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) recoverCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "recover",
		Short: "make a restored backup safe, before anything is checked out of it",
		Long: `Make a database safe that is older than what happened: a backup was restored, or the file was moved here from
another machine. Nobody knows what builds did since. So every pool is paused; each node that was free in the
backup is out of service until somebody has looked at it and said: moltenironctl ready NODE; nodes that were held
stay with their owners until these give them back or their leases end; and ids and generations jump forward, so
that none of them is given out twice. Then, pool by pool: moltenironctl pool resume POOL.`,
		Example: `  moltenironctl recover
  moltenironctl status --status broken      # what is to be looked at
  moltenironctl ready node-1 node-2
  moltenironctl pool resume default`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				r, err := db.Recover(ctx)
				if err != nil {
					return err
				}
				a.say("paused: pool %s", strings.Join(r.Paused, ", pool "))
				if len(r.Nodes) > 0 {
					a.say("out of service until looked at: %s; then: moltenironctl ready NODE…", strings.Join(r.Nodes, ", "))
				}
				if len(r.Held) > 0 {
					a.say("held as in the backup, until their builds give them back or their leases end: %s", strings.Join(r.Held, ", "))
				}
				a.say("then, for each pool: moltenironctl pool resume POOL")
				return nil
			})
		},
	}
}
