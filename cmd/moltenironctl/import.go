package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/inventory"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// maxNamed is how many nodes a message names; a list of thousands says less than their number.
const maxNamed = 20

func (a *app) importCommand() *cobra.Command {
	var o pool.ImportOptions
	var yes bool
	var from originalFlags
	format := cli.Choice{Allowed: formatNames(inventory.Formats)}
	cmd := &cobra.Command{
		Use:   "import FILE | import --from-molteniron URL",
		Short: "add and change nodes from an inventory",
		Long: `Add the nodes of an inventory and change those that are known by name, all or nothing: when a row is bad, all bad
rows are listed and nothing is imported. A node without a password keeps the one it has. FILE may be - for
stdin. Inventories are MoltenIron's own YAML and CSV (see moltenironctl export), TripleO's instackenv.json,
the YAML of "openstack baremetal create", and bifrost's.

With --from-molteniron the nodes are read from the database of the original MoltenIron, which stays as it is. Its pool
"Default" is the default pool here; others must be there. Nodes that are in use there are named.`,
		Example: `  moltenironctl import inventory.yaml --dry-run      # what would change
  moltenironctl import inventory.yaml
  moltenironctl import nodes.csv
  moltenironctl import instackenv.json
  moltenironctl import inventory.yaml --prune --yes  # remove the others of the pools that it names
  moltenironctl import --from-molteniron mysql://root@127.0.0.1/MoltenIron --from-password-file old.pass --dry-run`,
		Args:        words(0, 1, "FILE"),
		Annotations: databaseExits(12, 13),
		RunE: func(cmd *cobra.Command, args []string) error {
			read := func() (*inventory.Inventory, error) { return a.readInventory(args[0], inventory.Format(format.Value)) }
			switch {
			case from.url != "" && len(args) > 0:
				return cli.Usagef("import takes FILE or --from-molteniron URL, not both")
			case from.url != "":
				read = func() (*inventory.Inventory, error) { return a.readOriginal(cmd, from) }
			case from.passwordFile != "":
				return cli.Usagef("--from-password-file is for --from-molteniron")
			case len(args) == 0:
				return cli.Usagef("import needs FILE, or --from-molteniron URL")
			}
			inv, err := read()
			if err != nil {
				return a.judge(cmd, inv, err, o)
			}
			for _, w := range inv.Warnings {
				a.say("warning: %s", w)
			}
			if len(inv.Rows) == 0 {
				return &pool.Error{Class: pool.ErrInvalid, Text: inv.Name + " holds no nodes"}
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				if o.Prune && !o.DryRun && !yes {
					if err := confirmPrune(ctx, db, inv); err != nil {
						return err
					}
				}
				changes, err := db.Import(ctx, inv.Specs(), o)
				if err != nil {
					return inv.Locate(err)
				}
				if o.DryRun {
					if err := a.listChanges(changes); err != nil {
						return err
					}
				}
				a.say("%s", imported(inv, changes, o.DryRun))
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.Var(&format, "format", "`FORMAT`: "+strings.Join(format.Allowed, ", ")+" (default: found out from the content)")
	f.BoolVar(&o.DryRun, "dry-run", false, "show what would change, and change nothing")
	f.BoolVar(&o.Prune, "prune", false, "remove the nodes that FILE does not name, of the pools that it names")
	f.BoolVar(&yes, "yes", false, "with --prune: yes, remove them")
	from.add(f)
	completeWords(cmd, "format", format.Allowed...)
	return cmd
}

// judge adds to the faults of a file those that the pool finds in what could be read of it: clashes with nodes that
// are there, and pools that are not. Without a database the file's own are all.
func (a *app) judge(cmd *cobra.Command, inv *inventory.Inventory, faults error, o pool.ImportOptions) error {
	if inv == nil || len(inv.Rows) == 0 || o.Prune { // which nodes would go cannot be told: a row that could not be read may name one
		return faults
	}
	db, err := a.open(cmd)
	if err != nil {
		return faults
	}
	defer db.Close()
	_, err = db.Import(cmd.Context(), inv.Specs(), pool.ImportOptions{DryRun: true})
	return inv.Together(faults, err)
}

// originalFlags say where the database of the original MoltenIron is.
type originalFlags struct{ url, passwordFile string }

func (o *originalFlags) add(f *pflag.FlagSet) {
	f.StringVar(&o.url, "from-molteniron", "", "`URL` of the original MoltenIron's database to read instead of FILE: mysql://USER@HOST/MoltenIron")
	f.StringVar(&o.passwordFile, "from-password-file", "", "`FILE` that holds the password of that account")
}

// readOriginal reads the nodes of the original MoltenIron as an inventory.
func (a *app) readOriginal(cmd *cobra.Command, from originalFlags) (*inventory.Inventory, error) {
	s, err := a.settings(cmd)
	if err != nil {
		return nil, err
	}
	o, err := s.PoolOptions()
	if err != nil {
		return nil, err
	}
	o.Password = secret.Text{} // that one is of our own database
	if from.passwordFile != "" {
		password, warning, err := secret.ReadFile(from.passwordFile)
		if err != nil {
			return nil, cli.Usagef("--from-password-file: %v", err)
		}
		if warning != "" {
			a.say("warning: %s", warning)
		}
		o.Password = password
	}
	u, err := pool.ParseURL(from.url)
	if err != nil {
		return nil, err
	}
	specs, warnings, err := pool.ReadOriginal(cmd.Context(), from.url, o)
	if err != nil {
		return nil, err
	}
	inv := &inventory.Inventory{Name: u.String(), Warnings: warnings}
	for _, spec := range specs {
		inv.Rows = append(inv.Rows, inventory.Row{Spec: spec})
	}
	return inv, nil
}

func formatNames(formats []inventory.Format) []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	return names
}

func (a *app) readInventory(path string, format inventory.Format) (*inventory.Inventory, error) {
	var r io.Reader = a.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, &pool.Error{Class: pool.ErrInvalid, Text: err.Error(), Cause: err}
		}
		defer f.Close()
		r = f
	}
	inv, err := inventory.Read(r, format, path)
	if err != nil && !errors.Is(err, pool.ErrInvalid) { // a folder, say
		err = &pool.Error{Class: pool.ErrInvalid, Text: err.Error(), Cause: err}
	}
	return inv, err
}

// confirmPrune refuses to remove nodes that nobody has confirmed.
func confirmPrune(ctx context.Context, db *pool.DB, inv *inventory.Inventory) error {
	changes, err := db.Import(ctx, inv.Specs(), pool.ImportOptions{DryRun: true, Prune: true})
	if err != nil {
		return inv.Locate(err)
	}
	var gone []string
	for _, c := range changes {
		if c.Kind == "remove" {
			gone = append(gone, c.Node)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	names := strings.Join(gone, ", ")
	if len(gone) > maxNamed {
		names = fmt.Sprintf("%s and %d more", strings.Join(gone[:maxNamed], ", "), len(gone)-maxNamed)
	}
	return cli.Usagef("--prune would remove %s: %s; add --yes to do it", nodeCount(len(gone)), names)
}

// listChanges prints what an import would do, a line each.
func (a *app) listChanges(changes []pool.Change) error {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%-6s %s", c.Kind, c.Node)
		if len(c.Fields) > 0 {
			fmt.Fprintf(&b, ": %s", strings.Join(c.Fields, ", "))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

// imported sums an import up.
func imported(inv *inventory.Inventory, changes []pool.Change, dry bool) string {
	kinds := map[string]int{}
	for _, c := range changes {
		kinds[c.Kind]++
	}
	same := len(inv.Rows) - kinds["add"] - kinds["change"]
	verb := "imported"
	if dry {
		verb = "would import"
	}
	text := fmt.Sprintf("%s %s: %s new, %d changed, %d as they were", verb, inv.Name, nodeCount(kinds["add"]), kinds["change"], same)
	if n := kinds["remove"]; n > 0 {
		text += fmt.Sprintf(", %d removed", n)
	}
	return text
}

// nodeCount writes a number of nodes.
func nodeCount(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}
