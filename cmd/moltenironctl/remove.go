package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NODE",
		Short: "remove a node that nobody holds",
		Long: `Remove a node with its BMC account; its history stays. A node that a build holds is not removed:
moltenironctl maintenance on NODE drains it first.`,
		Example: `  moltenironctl export --with-credentials > before.yaml
  moltenironctl remove node-7`,
		Args:              words(1, 1, "NODE"),
		Annotations:       databaseExits(12, 13),
		ValidArgsFunction: a.firstNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				if err := db.RemoveNode(ctx, args[0]); err != nil {
					return err
				}
				a.say("removed node %s", args[0])
				return nil
			})
		},
	}
}
