package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/cmd/internal/hookcli"
	"github.com/molteniron/molteniron/pkg/config"
	"github.com/molteniron/molteniron/pkg/hook"
	"github.com/molteniron/molteniron/pkg/pool"
)

const about = `
molten-prehook checks bare-metal machines out for a CI build. It waits in the queue until they are
free, writes a file that the build's shell sources, and leaves. molten-posthook checks them in again.
While it waits it says on stderr, at once, when its place changes and every minute, what it waits for.
When it is stopped, or cannot write its files, nothing stays checked out.`

const examples = `  molten-prehook                                        # one machine of the default pool, in a Jenkins build
  . "${WORKSPACE_TMP:-$WORKSPACE@tmp}/molteniron.env"   # then: $IPMI_ADDRESS, $MOLTEN_NODE, …
  ipmitool -I lanplus -H "$IPMI_ADDRESS" -p "$IPMI_PORT" -U "$IPMI_USERNAME" -E chassis power status

  molten-prehook --require arch=x86_64 --require ram_mb:min=65536 --wait 2h
  molten-prehook --group controller=1 --group compute=2:arch=x86_64+gpu:absent
  molten-prehook --owner "$USER" --count 2 --lease 4h   # by hand; writes ./molteniron.env`

// settings are the flags.
type settings struct {
	request  hook.Request
	count    int
	requires []string
	groups   []string
	config   string
	database string
}

func (s *settings) command() hookcli.Command {
	c := hookcli.New(program)
	c.About, c.Examples, c.Exits = about, examples, []int{0, 1, 2, 10, 11, 12, 13, 14, 15, 129, 130, 143}
	f, r := c.Flags, &s.request
	f.StringVar(&r.Owner, "owner", "", "who the machines are for: `NAME`; by default the build: $BUILD_URL, else controller, $JOB_NAME and $BUILD_NUMBER")
	f.StringVar(&r.Slot, "slot", "", "a `NAME` that tells a second checkout of the same build from the first")
	f.StringVar(&r.Pool, "pool", "", "ask this pool: `NAME` (default: the configuration's, else default)")
	f.IntVar(&s.count, "count", 1, "how many machines, all or none: `N`")
	f.StringArrayVar(&s.requires, "require", nil, "what each machine must meet: `EXPR`, may be repeated; key=v[,v], key:not=v[,v], key:min=N, key:max=N, key, key:absent")
	f.StringArrayVar(&s.groups, "group", nil, "a group of machines alike: `NAME=COUNT[:EXPR+EXPR…]`, may be repeated; instead of --count and --require")
	f.IntVar(&r.Priority, "priority", 0, "higher goes first: `N`; capped by the pool")
	f.DurationVar(&r.Wait, "wait", 0, "how long to queue: `DURATION`, 0 is not at all; never longer than $BUILD_TIMEOUT milliseconds (default: the configuration's, else 1h)")
	f.DurationVar(&r.Lease, "lease", 0, "how long the build may keep them: `DURATION`; never shorter than $BUILD_TIMEOUT and half an hour (default: the configuration's, else the pool's)")
	f.StringVar(&r.EnvFile, "env-file", "", "write the variables to `PATH` (default: ${WORKSPACE_TMP:-$WORKSPACE@tmp}/molteniron.env, outside Jenkins ./molteniron.env; with a slot molteniron-SLOT.env); - is stdout, outside Jenkins only")
	f.StringVar(&r.JSONFile, "json-file", "", "write the same as JSON to `PATH` too")
	f.StringVar(&r.Adopt, "adopt", "", "take over what this build holds already, by the env file `PATH` of that checkout; count, requirements, wait and lease stay as they were")
	f.StringVar(&s.config, "config", "", "configuration `FILE`")
	f.StringVar(&s.database, "database", "", "`URL` of the database: sqlite:///PATH or mysql://USER@HOST/NAME")
	return c
}

// prepare is what the program does.
func prepare(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	var s settings
	command := s.command()
	if work, err := command.Parse(args, getenv, stdout); err != nil || !work {
		return err
	}
	host := cli.Settings{Program: program, Command: program, Getenv: getenv, Stderr: stderr}
	if err := host.LoadConfig(command.Flags, "database", "pool", "wait", "lease"); err != nil {
		return err
	}
	if err := s.resolve(command, host.Config); err != nil {
		return err
	}
	return hook.Prepare(ctx, hook.Process{
		Program: program, Getenv: getenv, Stdout: stdout, Stderr: stderr, Controller: host.Config.Controller,
		Log:  func(w io.Writer) *slog.Logger { return cli.NewLogger(w, program, host.Config.LogFormat) },
		Open: func(ctx context.Context) (*pool.DB, error) { return cli.OpenPool(ctx, host) },
	}, s.request)
}

// resolve makes the request of the flags, the environment and the configuration.
func (s *settings) resolve(command hookcli.Command, c config.Config) error {
	r := &s.request
	r.Pool, r.Wait, r.Lease = c.Pool, c.Wait, c.Lease
	given := command.Flags.Changed
	if len(s.groups) > 0 {
		if given("count") || given("require") {
			return command.Usagef("--group goes with neither --count nor --require: write --group NAME=COUNT:EXPR+EXPR")
		}
		for _, text := range s.groups {
			g, err := pool.ParseGroup(text)
			if err != nil {
				return err
			}
			r.Groups = append(r.Groups, g)
		}
		return nil
	}
	if s.count < 1 {
		return command.Usagef("--count %d: ask for 1 machine or more", s.count)
	}
	g := pool.Group{Count: s.count}
	for _, text := range s.requires {
		requirement, err := pool.ParseRequirement(text)
		if err != nil {
			return err
		}
		g.Require = append(g.Require, requirement)
	}
	r.Groups = []pool.Group{g}
	return nil
}
