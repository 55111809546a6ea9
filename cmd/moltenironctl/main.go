// Command moltenironctl is for the people who look after the pool: it makes the database, adds and
// changes nodes, shows who holds what, and takes back what was lost. It talks straight to the database.
package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
)

const program = "moltenironctl"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program; its result is the exit status.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := cli.NotifySignals(ctx)
	defer stop()
	a := &app{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.command()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var usage *cli.UsageError
	if errors.As(err, &usage) && usage.Help == "" {
		usage.Help = cmd.CommandPath() + " --help"
	}
	return cli.Finish(ctx, stderr, program, err)
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   program,
		Short: "look after a pool of bare-metal machines for CI",
		Long: `moltenironctl looks after a pool of bare-metal machines ("nodes") that CI builds check out and in:
it makes the database, adds and changes nodes, shows who holds what and who waits, and takes back
what was lost. There is no server; every command talks straight to the database.`,
		Example: `  moltenironctl init                          # once: make the database
  moltenironctl import inventory.yaml         # the machines
  moltenironctl status                        # who holds what, until when
  moltenironctl show https://ci.example.org/job/nightly/1041/
  moltenironctl explain https://ci.example.org/job/nightly/1042/     # why does it wait?
  moltenironctl maintenance on node-7 --reason 'new disk'
  moltenironctl tend                          # from cron or a timer: take back what is due`,
		Version:           cli.Version(program),
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              unknownCommand,
		RunE:              missingCommand,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}, // ours refuses what it does not know
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeHelp(cmd.OutOrStdout(), cmd) })
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd.HasSubCommands() { // "moltenironctl bogus --x": the word is wrong, not the flag
			if err := unknownCommand(cmd, cmd.Flags().Args()); err != nil {
				return err
			}
		}
		return cli.FlagError(err)
	})
	f := root.PersistentFlags()
	f.String("config", "", "configuration `FILE` [$MOLTENIRON_CONFIG]")
	f.String("database", "", "`URL` of the database: sqlite:///PATH or mysql://USER@HOST/NAME [$MOLTENIRON_DATABASE]")
	cobra.EnableCommandSorting = false // the order below is the order of help
	add := func(group string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: group, Title: group + ":"})
		for _, c := range commands {
			c.GroupID = group
		}
		root.AddCommand(commands...)
	}
	add("the pool and its nodes", a.initCommand(), a.keygenCommand(), a.importCommand(), a.exportCommand(), a.addCommand(), a.getCommand(), a.setCommand(),
		a.removeCommand(), a.poolCommand())
	add("who has what", a.statusCommand(), a.showCommand(), a.queueCommand(), a.explainCommand(), a.historyCommand(),
		a.reportCommand())
	add("by hand", a.allocateCommand(), a.extendCommand(), a.holdCommand(), a.releaseCommand())
	add("care", a.tendCommand(), a.maintenanceCommand(), a.cleanCommand(), a.readyCommand(), a.recoverCommand())
	root.AddCommand(a.versionCommand(), a.completionCommand())
	root.SetHelpCommand(helpCommand())
	return root
}
