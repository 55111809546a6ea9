package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) readyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ready NODE…",
		Short: "declare nodes good again: they have been cleaned, repaired or looked at",
		Long: `Declare dirty, broken or suspect nodes good: each goes to the first in the queue whom it suits, or waits for the
next build. Of several, those before one that is refused are done. A node in maintenance stays there until: moltenironctl maintenance off NODE.`,
		Example:           `  moltenironctl ready node-7`,
		Args:              words(1, -1, "NODE"),
		Annotations:       databaseExits(12, 13),
		ValidArgsFunction: a.anyNodes,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				for _, name := range args {
					n, err := db.MarkReady(ctx, name)
					if err != nil {
						return err
					}
					if n.Status == pool.Allocated {
						a.say("node %s is good again, and went to %q", n.Name, n.Owner)
					} else {
						a.say("node %s is %s", n.Name, n.Status)
					}
				}
				return nil
			})
		},
	}
}
