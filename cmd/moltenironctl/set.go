package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) setCommand() *cobra.Command {
	var owner string
	var properties []string
	var password passwordFlags
	cmd := &cobra.Command{
		Use:   "set NODE FIELD=VALUE… | set --owner OWNER FIELD=VALUE…",
		Short: "change fields of a node",
		Long: `Change fields and properties of a node, or of each node that an owner holds, all or nothing. An empty VALUE unsets a field that
may be unset. A new property needs --property, so that a mistyped field does not become one.`,
		Example: `  moltenironctl set node-1 ram_mb=131072 cost=5
  moltenironctl set node-1 name=rack3-07
  moltenironctl set node-1 --property gpu=a100
  moltenironctl set node-1 gpu=                 # unset it again
  moltenironctl set node-1 mac='52:54:00:12:34:56 52:54:00:12:34:57'
  moltenironctl set node-1 --bmc-password-file new.pass`,
		Annotations: databaseExits(12, 13),
		RunE: func(cmd *cobra.Command, args []string) error {
			var f pool.NodeFilter
			if f.Owner = owner; owner == "" {
				if len(args) == 0 || strings.Contains(args[0], "=") {
					return cli.Usagef("moltenironctl set needs NODE, or --owner OWNER")
				}
				f.Names, args = args[:1], args[1:]
			}
			changes, err := parseChanges(args)
			if err != nil {
				return err
			}
			for _, p := range properties {
				key, value, ok := strings.Cut(p, "=")
				if !ok {
					return cli.Usagef("--property %q: write KEY=VALUE", p)
				}
				changes = append(changes, pool.FieldChange{Field: key, Value: value})
			}
			p, newPassword, err := password.read(a)
			if err != nil {
				return err
			}
			if len(changes) == 0 && !newPassword {
				return cli.Usagef("nothing to set; give FIELD=VALUE, as in: moltenironctl set node-1 ram_mb=65536")
			}
			db, err := a.open(cmd)
			if err != nil {
				return err
			}
			defer db.Close()
			nodes, err := a.find(cmd.Context(), db, f)
			if err != nil {
				return err
			}
			for _, n := range nodes {
				if err := checkKnown(n, changes, len(properties)); err != nil {
					return err
				}
			}
			c := pool.NodeChanges{Fields: changes, Owner: owner}
			if newPassword {
				c.Password = &p
			}
			names := make([]string, len(nodes))
			for i, n := range nodes {
				names[i] = n.Name
			}
			if nodes, err = db.SetNodes(cmd.Context(), names, c); err != nil {
				return err
			}
			for _, n := range nodes {
				a.say("changed node %s", n.Name)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&owner, "owner", "", "change the nodes that `OWNER` holds")
	f.StringArrayVar(&properties, "property", nil, "`KEY=VALUE` of a property that the node may not have yet, repeatable")
	password.add(f)
	cmd.ValidArgsFunction = a.nodeThenAssignments
	return cmd
}

// parseChanges reads FIELD=VALUE words. A password among them is refused without being repeated.
func parseChanges(words []string) ([]pool.FieldChange, error) {
	changes := make([]pool.FieldChange, 0, len(words))
	for _, w := range words {
		field, value, ok := strings.Cut(w, "=")
		switch {
		case strings.Contains(field, "pass"):
			return nil, cli.Usagef("%s: a password on the command line can be read by everybody on the machine; use --bmc-password-file FILE or --bmc-password-stdin", field)
		case !ok:
			return nil, cli.Usagef("%q: write FIELD=VALUE", w)
		case slices.ContainsFunc(changes, func(c pool.FieldChange) bool { return c.Field == field }):
			return nil, cli.Usagef("%s is given twice", field)
		}
		changes = append(changes, pool.FieldChange{Field: field, Value: value})
	}
	return changes, nil
}

// checkKnown refuses what is neither a field nor a property that the node has, except the last few
// changes, which --property asked for.
func checkKnown(n pool.Node, changes []pool.FieldChange, asked int) error {
	for _, c := range changes[:len(changes)-asked] {
		if _, err := n.Field(c.Field); err != nil {
			return &pool.Error{
				Class: pool.ErrNotFound, Cause: err,
				Text: err.Error() + "; to give it a new property write --property " + c.Field + "=VALUE",
			}
		}
	}
	return nil
}
