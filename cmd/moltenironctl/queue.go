package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/view"
)

func (a *app) queueCommand() *cobra.Command {
	var poolName string
	format := cli.Choice{Value: "table", Allowed: []string{"table", "json", "yaml"}}
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "show who waits, in the order in which they are served",
		Example: `  moltenironctl queue
  moltenironctl queue --pool gpu -o json`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(12),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				list, err := db.Queue(ctx, poolName)
				if err != nil {
					return err
				}
				out := a.output()
				if format.Value != "table" {
					return out.Data(format.Value, view.NewAllocations(list))
				}
				if len(list) == 0 {
					_, err := fmt.Fprintln(out, "nobody waits")
					return err
				}
				return out.Table(queueTable(out, list))
			})
		},
	}
	cmd.Flags().StringVar(&poolName, "pool", "", "only the queue of this `POOL`")
	cmd.Flags().VarP(&format, "output", "o", "`FORMAT`: table, json or yaml")
	a.complete(cmd, "pool", a.poolNames)
	completeWords(cmd, "output", format.Allowed...)
	return cmd
}

func queueTable(out cli.Output, list []pool.Allocation) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Title: "POOL"}, {Title: "PLACE", Right: true}, {Title: "ID", Right: true}, {Title: "OWNER", Fit: cli.CutHead},
		{Title: "WANTS", Fit: cli.CutTail}, {Title: "PRIORITY", Right: true}, {Title: "QUEUED"}, {Title: "CLIENT", Fit: cli.CutTail},
	}}
	for _, al := range list {
		owner := al.Owner
		if al.Slot != "" {
			owner += " (" + al.Slot + ")"
		}
		t.Rows = append(t.Rows, []cli.Cell{
			{Text: al.Pool}, {Text: strconv.Itoa(al.Place)}, {Text: strconv.FormatInt(al.ID, 10)}, {Text: owner},
			{Text: pool.Describe(al.Groups)}, {Text: strconv.Itoa(al.Priority)}, {Text: out.Time(al.QueuedAt)}, {Text: al.Where},
		})
	}
	return t
}
