package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) getCommand() *cobra.Command {
	var owner string
	var credentials bool
	cmd := &cobra.Command{
		Use:   "get NODE [FIELD…] | get --owner OWNER FIELD…",
		Short: "print field values of a node",
		Long: `Print fields and properties of a node. With FIELDs only their values, one a line in the order given; without,
every known one as FIELD=VALUE. With --owner, of each node that the owner holds.`,
		Example: `  moltenironctl get node-1 mac ram_mb
  moltenironctl get node-1
  moltenironctl get --owner "$BUILD_URL" bmc_address
  moltenironctl get node-1 bmc_password --with-credentials`,
		Annotations: databaseExits(12, 13),
		RunE: func(cmd *cobra.Command, args []string) error {
			f := pool.NodeFilter{Credentials: credentials}
			fields := args
			if owner != "" {
				f.Owner = owner
				if len(fields) == 0 {
					return cli.Usagef("get --owner needs a FIELD, as in: moltenironctl get --owner OWNER name")
				}
			} else {
				if len(args) == 0 {
					return cli.Usagef("moltenironctl get needs NODE, or --owner OWNER")
				}
				f.Names, fields = args[:1], args[1:]
			}
			if err := checkSecretFields(fields, credentials); err != nil {
				return err
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
			var b strings.Builder
			for _, n := range nodes {
				if len(fields) == 0 {
					writeFields(&b, n, credentials)
				}
				for _, name := range fields {
					value, err := n.Field(name)
					if err != nil {
						return err
					}
					fmt.Fprintln(&b, value)
				}
			}
			_, err = fmt.Fprint(a.stdout, b.String())
			return err
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "of the nodes that `OWNER` holds")
	cmd.Flags().BoolVar(&credentials, "with-credentials", false, "show BMC passwords too")
	cmd.ValidArgsFunction = a.nodeThenFields
	return cmd
}

// checkSecretFields refuses secret fields by name where they were not asked for on purpose.
func checkSecretFields(fields []string, credentials bool) error {
	for _, f := range pool.NodeFields {
		if f.Secret && !credentials && slices.Contains(fields, f.Name) {
			return cli.Usagef("%s is shown only with --with-credentials", f.Name)
		}
	}
	return nil
}

// writeFields writes every field and property that has a value.
func writeFields(b *strings.Builder, n pool.Node, credentials bool) {
	names := make([]string, 0, len(pool.NodeFields)+len(n.Properties))
	for _, f := range pool.NodeFields {
		if credentials || !f.Secret {
			names = append(names, f.Name)
		}
	}
	for _, name := range append(names, slices.Sorted(maps.Keys(n.Properties))...) {
		if value, err := n.Field(name); err == nil && value != "" {
			fmt.Fprintf(b, "%s=%s\n", name, value)
		}
	}
}
