package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/view"
)

func (a *app) poolCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "pools and their policy",
		Long: `A pool is a named set of nodes with one queue and one policy. Its policy says how long leases are, what happens
when one is over, how the queue is ordered, and whether nodes are cleaned between builds.`,
		Example: `  moltenironctl pool list
  moltenironctl pool add gpu lease=2h max_lease=8h
  moltenironctl pool set gpu on_expiry=quarantine cleaning=true
  moltenironctl pool pause gpu --reason 'moving the rack'`,
		Args:        unknownCommand,
		RunE:        missingCommand,
		Annotations: databaseExits(12, 13),
	}
	cmd.AddCommand(a.poolList(), a.poolAdd(), a.poolSet(), a.poolRemove(), a.poolPause(), a.poolResume())
	return cmd
}

func (a *app) poolList() *cobra.Command {
	format := cli.Choice{Value: "table", Allowed: []string{"table", "wide", "json", "yaml"}}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "show the pools with their policy",
		Example: `  moltenironctl pool list
  moltenironctl pool list -o wide               # the whole policy
  moltenironctl pool list -o json | jq '.[] | {name, waiting}'`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				pools, err := db.Pools(ctx)
				if err != nil {
					return err
				}
				out := a.output()
				if format.Value == "json" || format.Value == "yaml" {
					return out.Data(format.Value, view.NewPools(pools))
				}
				if len(pools) == 0 {
					_, err := fmt.Fprintln(out, "no pools yet, add one with: moltenironctl pool add NAME")
					return err
				}
				if format.Value == "wide" {
					return out.Table(policyTable(pools))
				}
				return out.Table(poolTable(pools))
			})
		},
	}
	cmd.Flags().VarP(&format, "output", "o", "`FORMAT`: table, wide, json or yaml")
	completeWords(cmd, "output", format.Allowed...)
	return cmd
}

// policyTable has a line for each field and a column for each pool: a policy has more fields than a
// terminal has room for, and pools are few.
func policyTable(pools []pool.PoolInfo) cli.Table {
	t := cli.Table{Columns: []cli.Column{{Title: "FIELD"}}}
	for _, p := range pools {
		t.Columns = append(t.Columns, cli.Column{Title: p.Name})
	}
	for _, f := range pool.PolicyFields {
		row := []cli.Cell{{Text: f.Name}}
		for _, p := range pools {
			value, err := p.Policy.Field(f.Name)
			if err != nil {
				panic(err) // as in policyHelp
			}
			row = append(row, cli.Cell{Text: value})
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func poolTable(pools []pool.PoolInfo) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Title: "POOL"}, {Title: "READY", Right: true}, {Title: "NODES", Right: true}, {Title: "WAITING", Right: true},
		{Title: "LEASE"}, {Title: "MAX"}, {Title: "ON EXPIRY"}, {Title: "CLEANING"}, {Title: "STATE", Fit: cli.CutTail},
	}}
	for _, p := range pools {
		total := p.Maintenance
		for _, n := range p.Nodes {
			total += n
		}
		state := cli.Cell{Text: "open", Color: cli.Green}
		if p.Paused {
			state = cli.Cell{Text: "paused: " + p.PausedReason, Color: cli.Yellow}
		}
		t.Rows = append(t.Rows, []cli.Cell{
			{Text: p.Name}, {Text: strconv.Itoa(p.Nodes[pool.Ready])}, {Text: strconv.Itoa(total)}, {Text: strconv.Itoa(p.Waiting)},
			{Text: cli.Precise(p.Policy.Lease)}, {Text: cli.Precise(p.Policy.MaxLease)}, {Text: string(p.Policy.OnExpiry)},
			{Text: strconv.FormatBool(p.Policy.Cleaning)}, state,
		})
	}
	return t
}

// policyHelp lists the fields of a policy with what they mean and what a new pool has.
func policyHelp() string {
	var b strings.Builder
	for _, f := range pool.PolicyFields {
		value, err := pool.DefaultPolicy().Field(f.Name)
		if err != nil {
			panic(err) // the list and the method are of one package: seen by every test
		}
		fmt.Fprintf(&b, "\n  %-16s %s (%s)", f.Name, f.Help, value)
	}
	return b.String()
}

func (a *app) poolAdd() *cobra.Command {
	return &cobra.Command{
		Use:   "add NAME [FIELD=VALUE…]",
		Short: "add a pool",
		Long:  "Add a pool. The fields of its policy, with what they are when nothing else is said:\n" + policyHelp(),
		Example: `  moltenironctl pool add gpu
  moltenironctl pool add gpu lease=2h max_lease=8h cleaning=true`,
		Args:        words(1, -1, "NAME"),
		Annotations: databaseExits(12, 13),
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := parseChanges(args[1:])
			if err != nil {
				return err
			}
			policy := pool.DefaultPolicy()
			if err := policy.SetAll(args[0], changes); err != nil {
				return err
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				if err := db.AddPool(ctx, args[0], policy); err != nil {
					return err
				}
				a.say("added pool %s", args[0])
				return nil
			})
		},
		ValidArgsFunction: policyAssignments,
	}
}

func (a *app) poolSet() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME FIELD=VALUE…",
		Short: "change a pool's policy",
		Long: `Change a pool's policy, all fields that are given or none, and serve at once who may be served under the new one.
Leases that run keep their end, and who waits keeps the place that priority and ageing gave it.
The fields, with what a new pool has:
` + policyHelp(),
		Example: `  moltenironctl pool set gpu lease=2h on_expiry=ask grace=30m
  moltenironctl pool set default max_per_job_pct=50 max_hold_pct=20 max_hold=24h
  moltenironctl pool set default ageing=5m max_priority=20`,
		Args:        words(2, -1, "NAME FIELD=VALUE"),
		Annotations: databaseExits(12, 13),
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := parseChanges(args[1:])
			if err != nil {
				return err
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				if _, err := db.SetPool(ctx, args[0], changes); err != nil {
					return err
				}
				a.say("changed pool %s", args[0])
				return nil
			})
		},
		ValidArgsFunction: a.poolThenPolicy,
	}
}

func (a *app) poolRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "remove a pool that has no nodes and nobody waiting",
		Example:           `  moltenironctl pool remove gpu`,
		Args:              words(1, 1, "NAME"),
		Annotations:       databaseExits(12, 13),
		ValidArgsFunction: a.firstPool,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				if err := db.RemovePool(ctx, args[0]); err != nil {
					return err
				}
				a.say("removed pool %s", args[0])
				return nil
			})
		},
	}
}

func (a *app) poolPause() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:               "pause NAME --reason TEXT",
		Short:             "stop a pool from granting anything",
		Long:              "Stop a pool from granting anything. Builds keep what they hold; who asks waits and is told the reason.",
		Example:           `  moltenironctl pool pause gpu --reason 'moving the rack, back at noon'`,
		Args:              words(1, 1, "NAME"),
		Annotations:       databaseExits(12),
		ValidArgsFunction: a.firstPool,
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return cli.Usagef("say why with --reason TEXT; those who wait are shown it")
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				if err := db.PausePool(ctx, args[0], reason); err != nil {
					return err
				}
				a.say("pool %s is paused", args[0])
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "`TEXT`: why, for people (required)")
	return cmd
}

func (a *app) poolResume() *cobra.Command {
	return &cobra.Command{
		Use:               "resume NAME",
		Short:             "let a paused pool grant again, at once to those who wait",
		Example:           `  moltenironctl pool resume gpu`,
		Args:              words(1, 1, "NAME"),
		Annotations:       databaseExits(12),
		ValidArgsFunction: a.firstPool,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				if err := db.ResumePool(ctx, args[0]); err != nil {
					return err
				}
				a.say("pool %s grants again", args[0])
				return nil
			})
		},
	}
}
