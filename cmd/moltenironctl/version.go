package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "version",
		Short:       "print the version of this program",
		Example:     "  moltenironctl version",
		Args:        words(0, 0, ""),
		Annotations: exitStatuses(),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.stdout, cli.Version(program))
			return err
		},
	}
}
