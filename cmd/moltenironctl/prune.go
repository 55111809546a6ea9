package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
)

// pruneTold is how often a long run says how far it is.
const pruneTold = 5 * time.Second

func (a *app) pruneCommand() *cobra.Command {
	var keep string
	cmd := &cobra.Command{
		Use:   "prune --keep AGE",
		Short: "remove history that is older than an age",
		Long: `Remove the events and the ended allocations that are older than an age (36h, 90d; a day at least). What is active
stays. It locks no pool and may be stopped at any time. Schedule it, beside: moltenironctl tend.`,
		Example:     `  moltenironctl history prune --keep 90d`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if keep == "" {
				return cli.Usagef("say how much history stays, for example: --keep 90d")
			}
			now := time.Now()
			since, err := parseTime("--keep", keep, now)
			if err != nil {
				return err
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				said := time.Now()
				r, err := db.PruneHistory(ctx, now.Sub(since), func(r pool.PruneResult) {
					if time.Since(said) > pruneTold {
						said = time.Now()
						a.say("so far %d events and %d allocations", r.Events, r.Allocations)
					}
				})
				if r.Events+r.Allocations > 0 || err == nil {
					a.say("removed %d events and %d allocations from before %s", r.Events, r.Allocations, r.Before.UTC().Format(time.RFC3339))
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&keep, "keep", "", "remove what is older than this `AGE`")
	return cmd
}
