package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/inventory"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/stage"
)

func (a *app) exportCommand() *cobra.Command {
	var f pool.NodeFilter
	var file string
	format := cli.Choice{Value: string(inventory.YAML), Allowed: []string{string(inventory.YAML), string(inventory.CSV)}}
	cmd := &cobra.Command{
		Use:   "export",
		Short: "write all nodes as an inventory that import reads",
		Long: `Write nodes as an inventory that import reads again. Without --with-credentials it holds no passwords: imported over
the same nodes it leaves theirs as they are.`,
		Example: `  moltenironctl export > inventory.yaml
  moltenironctl export --format csv --pool gpu > gpu.csv
  moltenironctl export --with-credentials --file backup.yaml      # readable by you alone`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(12),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				nodes, err := db.Nodes(ctx, f)
				if err != nil {
					return err
				}
				specs := make([]pool.NodeSpec, len(nodes))
				for i, n := range nodes {
					specs[i] = n.Spec()
				}
				write := func(w io.Writer) error {
					return inventory.Write(w, inventory.Format(format.Value), specs, f.Credentials)
				}
				if file == "" {
					return write(a.stdout)
				}
				staged, err := stage.Write([]stage.File{{Path: file, Content: write}})
				if err != nil {
					return err
				}
				defer staged.Discard()
				if err := staged.Commit(); err != nil {
					return err
				}
				a.say("wrote %s to %s", nodeCount(len(nodes)), file)
				return nil
			})
		},
	}
	fl := cmd.Flags()
	fl.Var(&format, "format", "`FORMAT`: yaml or csv")
	fl.StringVar(&f.Pool, "pool", "", "only nodes of this `POOL`")
	fl.BoolVar(&f.Credentials, "with-credentials", false, "BMC passwords too")
	fl.StringVar(&file, "file", "", "write to `PATH`, readable by its owner alone, instead of stdout")
	a.complete(cmd, "pool", a.poolNames)
	completeWords(cmd, "format", format.Allowed...)
	return cmd
}
