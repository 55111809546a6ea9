package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) holdCommand() *cobra.Command {
	var r pool.HoldRequest
	cmd := &cobra.Command{
		Use:   "hold --owner OWNER|--node NODE --for DURATION --reason TEXT",
		Short: "keep an owner's nodes beyond its build, for a post-mortem",
		Long: `Keep what an owner holds, or the owner of a NODE, for DURATION from now, so that somebody can look at it. The
pool says for how long at most (max_hold) and how many of its nodes at once (max_hold_pct). A lease that lasts
longer stays as it is. The build's own post-hook ends the hold, and so does moltenironctl release; to keep what
a failed build leaves without being there, see molten-posthook --hold-on-failure.`,
		Example: `  moltenironctl hold --node node-7 --for 4h --reason 'kernel panic, bob looks at it'
  moltenironctl hold --owner https://ci.example.org/job/nightly/1041/ --for 90m --reason 'see issue 1234'
  moltenironctl release --owner https://ci.example.org/job/nightly/1041/       # ends it`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(12, 13),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if r.Node == "" {
				if r.Owner, err = a.owner(r.Owner); err != nil {
					return err
				}
			} else if r.Owner != "" || cmd.Flags().Changed("slot") {
				return cli.Usagef("--node finds its owner and slot; leave --owner and --slot away")
			}
			switch {
			case r.For <= 0:
				return cli.Usagef("say for how long from now with --for DURATION, as in --for 4h")
			case r.Reason == "":
				return cli.Usagef("say why with --reason TEXT; status shows it to those who wait for the nodes")
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				al, err := db.Hold(ctx, r)
				if err != nil {
					return err
				}
				end := ""
				if al.Slot != "" {
					end = " --slot " + al.Slot
				}
				a.say("%s held by %q until %s; give back with: moltenironctl release --owner %q%s",
					strings.Join(al.NodeNames(), ", "), al.Owner, al.ExpiresAt.UTC().Format(time.RFC3339), al.Owner, end)
				p, err := db.Pool(ctx, al.Pool)
				if err == nil && p.Policy.MaxHold < r.For {
					a.say("that is not for %s, because pool %s allows a hold of %s at most (max_hold)",
						cli.Precise(r.For), p.Name, cli.Precise(p.Policy.MaxHold))
				}
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Owner, "owner", "", "who keeps them: `NAME`; "+ownerHelp)
	f.StringVar(&r.Slot, "slot", "", "the checkout of this `NAME`, when the owner has several")
	f.StringVar(&r.Node, "node", "", "keep what the owner of this `NODE` holds with it")
	f.DurationVar(&r.For, "for", 0, "for how long from now: `DURATION` (required)")
	f.StringVar(&r.Reason, "reason", "", "`TEXT`: why, for people (required)")
	a.complete(cmd, "node", a.nodeNames)
	return cmd
}
