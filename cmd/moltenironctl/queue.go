package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/view"
)

func (a *app) queueCommand() *cobra.Command {
	var poolName string
	format := cli.Choice{Value: "table", Allowed: []string{"table", "wide", "json", "yaml"}}
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "show who waits, in the order in which they are served, and why",
		Long: `Show who waits in each pool, in the order in which they are served: what they want, for how long they have
waited, and why they are not served yet. moltenironctl explain OWNER says more about one of them.`,
		Example: `  moltenironctl queue
  moltenironctl queue --pool gpu -o json | jq -r '.[] | [.place, .owner, .reason] | @tsv'
  moltenironctl queue -o wide                   # where their clients run, which are tickets of --enqueue`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(12),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				queue, err := db.ExplainQueue(ctx, poolName)
				if err != nil {
					return err
				}
				out := a.output()
				switch {
				case format.Value == "json" || format.Value == "yaml":
					return out.Data(format.Value, view.NewQueue(queue))
				case len(queue) == 0:
					_, err := fmt.Fprintln(out, "nobody waits")
					return err
				}
				return out.Table(queueTable(out, queue, format.Value == "wide"))
			})
		},
	}
	cmd.Flags().StringVar(&poolName, "pool", "", "only the queue of this `POOL`")
	cmd.Flags().VarP(&format, "output", "o", "`FORMAT`: table, wide, json or yaml")
	a.complete(cmd, "pool", a.poolNames)
	completeWords(cmd, "output", format.Allowed...)
	return cmd
}

func queueTable(out cli.Output, queue []pool.QueuedRequest, wide bool) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Title: "POOL"}, {Title: "PLACE", Right: true}, {Title: "ID", Right: true}, {Title: "OWNER", Fit: cli.CutHead},
		{Title: "WANTS", Fit: cli.CutTail}, {Title: "PRIORITY", Right: true}, {Title: "WAITED", Right: true}, {Title: "WHY", Fit: cli.CutTail},
	}}
	if wide {
		t.Columns = append(t.Columns, cli.Column{Title: "QUEUED"}, cli.Column{Title: "CLIENT"})
		for i := range t.Columns {
			t.Columns[i].Fit = cli.Keep
		}
	}
	for _, q := range queue {
		row := []cli.Cell{
			{Text: q.Pool}, {Text: strconv.Itoa(q.Place)}, {Text: strconv.FormatInt(q.ID, 10)}, {Text: withSlot(q.Owner, q.Slot)},
			{Text: pool.Describe(q.Groups)}, {Text: strconv.Itoa(q.Priority)}, {Text: cli.Precise(max(0, out.Now.Sub(q.QueuedAt)))}, {Text: q.Reason},
		}
		if wide {
			client := q.Where
			if !q.LivesUntil.IsZero() {
				client = "a ticket, lives until " + q.LivesUntil.UTC().Format(time.RFC3339)
			}
			row = append(row, cli.Cell{Text: out.Time(q.QueuedAt)}, cli.Cell{Text: client})
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
