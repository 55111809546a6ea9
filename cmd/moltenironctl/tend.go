package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) tendCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "tend",
		Short: "take back what is due; the one command to schedule",
		Long: `Take back what is due in every pool (leases that are over, by the pool's policy, and what clients that died had
asked for) and hand it to those who wait. It says what it did, and nothing when there was nothing to do.
Run it from cron, a systemd timer or a Jenkins job; several at once are fine.`,
		Example: `  moltenironctl tend
  */5 * * * * molteniron moltenironctl tend        # in /etc/cron.d`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				r, err := db.Tend(ctx)
				if err != nil {
					return err
				}
				if text := tended(r); text != "" {
					a.say("%s", text)
				}
				return nil
			})
		},
	}
}

// tended says what Tend did, "" for nothing.
func tended(r pool.TendResult) string {
	var parts []string
	add := func(n int, one, more string) {
		switch {
		case n == 1:
			parts = append(parts, one)
		case n > 1:
			parts = append(parts, fmt.Sprintf(more, n))
		}
	}
	add(r.Expired, "took back a node whose lease was over", "took back %d nodes whose lease was over")
	add(r.Lapsed, "ended a request whose client had died", "ended %d requests whose clients had died")
	add(r.Broken, "marked a node broken", "marked %d nodes broken")
	add(r.Granted, "handed a node to who waited", "handed %d nodes to those who waited")
	return strings.Join(parts, ", ")
}
