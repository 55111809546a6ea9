package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) initCommand() *cobra.Command {
	var grants bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "create the database, or upgrade its schema",
		Long: `Create the database with its default pool, or upgrade the schema of an older one. It is safe to run
again: a database that is up to date stays as it is. Nothing else creates or upgrades a database.`,
		Example: `  moltenironctl init                                          # the embedded default
  moltenironctl init --database sqlite:///srv/ci/pool.db
  moltenironctl init --database mysql://root@db1/molteniron   # as who may make a database, then the accounts for hooks and people:
  moltenironctl init --database mysql://root@db1/molteniron --grants >grants.sql   # put passwords of your own into it
  mariadb -h db1 -u root -p <grants.sql`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := a.settings(cmd)
			if err != nil {
				return err
			}
			url, err := settings.DatabaseURL()
			if err != nil {
				return err
			}
			if grants {
				text, err := pool.Grants(url)
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(a.stdout, text)
				return err
			}
			o, err := settings.PoolOptions()
			if err != nil {
				return err
			}
			r, err := pool.Init(cmd.Context(), url, o)
			if err != nil {
				return err
			}
			switch {
			case r.Created:
				a.say("created %s with the pool %q; next: moltenironctl add --help, or: moltenironctl import --help", r.URL, pool.DefaultPool)
			case r.From < r.To:
				a.say("upgraded %s from schema %d to %d", r.URL, r.From, r.To)
			default:
				a.say("%s is up to date (schema %d)", r.URL, r.To)
			}
			for _, w := range r.Warnings {
				a.say("warning: %s", w)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&grants, "grants", false, "print the SQL that makes least-privilege accounts for hooks and people, and do nothing")
	return cmd
}
