package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) extendCommand() *cobra.Command {
	var r pool.ExtendRequest
	cmd := &cobra.Command{
		Use:   "extend --owner OWNER --lease DURATION",
		Short: "let an owner keep its nodes for longer",
		Long: `Let an owner keep its nodes until DURATION from now. A lease is never made shorter, and never longer than
the pool allows.`,
		Example: `  moltenironctl extend --owner alice --lease 2h
  moltenironctl extend --owner https://ci.example.org/job/nightly/1041/ --slot second --lease 90m`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(12, 13),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if r.Owner, err = a.owner(r.Owner); err != nil {
				return err
			}
			if r.Lease <= 0 {
				return cli.Usagef("say for how long from now with --lease DURATION, as in --lease 2h")
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				al, err := db.Extend(ctx, r)
				if err != nil {
					return err
				}
				a.say("%q keeps %s until %s", al.Owner, strings.Join(al.NodeNames(), ", "), al.ExpiresAt.UTC().Format(time.RFC3339))
				p, err := db.Pool(ctx, al.Pool)
				if err == nil && al.ExpiresAt.Equal(al.ClaimedAt.Add(p.Policy.MaxLease)) {
					a.say("that is all that pool %s allows (max_lease %s from the checkout)", p.Name, cli.Precise(p.Policy.MaxLease))
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Owner, "owner", "", "who keeps them: `NAME`; "+ownerHelp)
	f.StringVar(&r.Slot, "slot", "", "the checkout of this `NAME`, when the owner has several")
	f.DurationVar(&r.Lease, "lease", 0, "for how long from now: `DURATION` (required)")
	return cmd
}
