package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/cmd/internal/hookcli"
	"github.com/molteniron/molteniron/pkg/hook"
	"github.com/molteniron/molteniron/pkg/pool"
)

const about = `
molten-posthook checks all bare-metal machines, called nodes, that a CI build holds in again, and removes
the files that molten-prehook wrote for it. Run it after every build, whatever became of it: it needs no file,
and does nothing where nothing was checked out. Running it twice, before molten-prehook or beside it is
safe; a molten-prehook of the same build that comes later is refused.

When the database cannot be reached, the release is kept on this machine, and the next hook there or
moltenironctl tend makes it.
With --scrub the logs in a folder lose the passwords that the build was given; that is done when the nodes are
back. Exit status 1 says, whatever else went wrong, that one may be left: nobody should publish them then.
With --hold-on-failure the nodes of a build that did not end with SUCCESS stay with it for a post-mortem. The
build's files go all the same; the last line says until when the nodes stay, how a person gets their BMCs'
accounts, and how to give them back before.`

const examples = `  molten-posthook                                       # all that this Jenkins build holds
  molten-posthook --slot db                             # only what the build checked out with --slot db
  molten-posthook --owner https://ci.example.org/job/nightly/1041/ --result ABORTED
  molten-posthook --hold-on-failure 4h                  # keep what a failed build leaves, to look at it
  molten-posthook --scrub logs                          # blank the passwords in what DevStack traced there
  molten-posthook --owner "$USER"                       # by hand`

// settings are the flags.
type settings struct {
	request  hook.Return
	slot     string
	config   string
	database string
}

func (s *settings) command() hookcli.Command {
	c := hookcli.New(program)
	c.About, c.Examples, c.Exits = about, examples, []int{0, 1, 2, 13, 14, 15, 129, 130, 143}
	f, r := c.Flags, &s.request
	f.StringVar(&r.Owner, "owner", "", "`NAME` that stands for the build (default: $BUILD_URL, else controller, $JOB_NAME and $BUILD_NUMBER)")
	f.StringVar(&s.slot, "slot", "", "`NAME` of the one checkout to give back, '' is the one without a slot (default: all)")
	f.StringVar(&r.EnvFile, "env-file", "", "`PATH` of the file that molten-prehook wrote; it need not exist (default: where molten-prehook puts it)")
	f.StringVar(&r.Result, "result", "", "`RESULT` of the build, kept with the history (default: $BUILD_RESULT, which PostBuildScript sets)")
	f.DurationVar(&r.HoldOnFailure, "hold-on-failure", 0, "`TIME` to keep the nodes for a post-mortem when the result is not SUCCESS, as in 2h; capped by the pool (default: not at all)")
	f.StringArrayVar(&r.Scrub, "scrub", nil, "`FOLDER` of logs in which the passwords that the build was given are blanked before they are published, may be repeated; in plain text and .gz, links are not followed")
	f.BoolVar(&r.Dirty, "dirty", false, "the nodes need cleaning before their next build")
	f.StringVar(&s.config, "config", "", "`FILE` with the configuration")
	f.String("outbox", "", "`FOLDER` where releases wait that could not reach the database (default: the configuration's, else /var/lib/molteniron/outbox or ~/.local/state/molteniron/outbox)")
	f.StringVar(&s.database, "database", "", "`URL` of the database: sqlite:///PATH or mysql://USER@HOST/NAME")
	return c
}

// finish is what the program does.
func finish(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var s settings
	command := s.command()
	if work, err := command.Parse(args, getenv, stdout); err != nil || !work {
		return err
	}
	if command.Flags.Changed("slot") {
		s.request.Slot = &s.slot
	}
	host := cli.Settings{Program: program, Command: program, Getenv: getenv, Stderr: stderr}
	if err := host.LoadConfig(command.Flags, "database", "outbox"); err != nil {
		return err
	}
	return hook.Finish(ctx, hook.Process{
		Program: program, Getenv: getenv, Stdout: stdout, Stderr: stderr, Controller: host.Config.Controller,
		Log:      func(w io.Writer) *slog.Logger { return cli.NewLogger(w, program, host.Config.LogFormat) },
		Open:     func(ctx context.Context) (*pool.DB, error) { return cli.OpenPool(ctx, host) },
		Database: host.DatabaseURL, Outbox: host.Outboxes(),
	}, s.request)
}
