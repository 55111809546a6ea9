package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) maintenanceCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "maintenance on|off NODE",
		Short: "take a node out of service, or put it back",
		Long: `Take a node out of service, or put it back. A node that a build holds drains: the build keeps it to its end,
and nobody gets it after that.`,
		Example: `  moltenironctl maintenance on node-7 --reason 'new disk'
  moltenironctl maintenance off node-7`,
		Args:        words(2, 2, "on|off NODE"),
		Annotations: databaseExits(12),
		RunE: func(cmd *cobra.Command, args []string) error {
			on := args[0] == "on"
			switch {
			case !on && args[0] != "off":
				return cli.Usagef("%q: write moltenironctl maintenance on NODE, or off NODE", args[0])
			case on && reason == "":
				return cli.Usagef("say why with --reason TEXT; status shows it to those who wait for the node")
			case !on && reason != "":
				return cli.Usagef("--reason is for maintenance on")
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				n, err := db.SetMaintenance(ctx, args[1], on, reason)
				if err != nil {
					return err
				}
				switch {
				case !on:
					a.say("node %s is back in service, %s", n.Name, n.Status)
				case n.Status == pool.Allocated:
					a.say("node %s drains: it goes out of service when %q gives it back", n.Name, n.Owner)
				default:
					a.say("node %s is out of service", n.Name)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT`: why, for people (on: required)")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return []string{"on", "off"}, cobra.ShellCompDirectiveNoFileComp
		}
		return a.firstNode(cmd, args[1:], to)
	}
	return cmd
}
