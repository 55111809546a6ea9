package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) cleanCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "clean NODE",
		Short: "mark a node dirty: it must be cleaned before the next build",
		Long: `Mark a ready or broken node dirty, so that nobody gets it before it has been cleaned. When it is:
moltenironctl ready NODE.`,
		Example: `  moltenironctl clean node-7 --reason 'left-over RAID volumes'
  moltenironctl ready node-7`,
		Args:              words(1, 1, "NODE"),
		Annotations:       databaseExits(12, 13),
		ValidArgsFunction: a.firstNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				n, err := db.MarkDirty(ctx, args[0], reason)
				if err != nil {
					return err
				}
				a.say("node %s is %s", n.Name, n.Status)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT`: why, for people")
	return cmd
}
