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
molten-prehook checks bare-metal machines, called nodes, out for a CI build. It waits in the queue until
they are free, writes a file that the build's shell sources, and leaves. molten-posthook checks them in
again. While it waits it says on stderr, at once, when something changes and every minute, what it waits
for. When it is stopped, or cannot write its files, nothing stays checked out.

It writes the same nodes in the forms that other programs read as well, see docs/forms.md. A form that cannot
carry a value of a node's is refused with the reason and exit status 2, and the node is free again.`

const examples = `  molten-prehook                                        # one node of the default pool, in a Jenkins build
  . "${WORKSPACE_TMP:-$WORKSPACE@tmp}/molteniron.env"   # then: $IPMI_ADDRESS, $MOLTEN_NODE, …
  ipmitool -I lanplus -H "$IPMI_ADDRESS" -p "$IPMI_PORT" -U "$IPMI_USERNAME" -E chassis power status

  molten-prehook --require arch=x86_64 --require ram_mb:min=65536 --wait 2h
  molten-prehook --group controller=1 --group compute=2:arch=x86_64+gpu:absent
  molten-prehook --hardware-info "$WORKSPACE/hardware_info" --local-conf /opt/stack/devstack/local.conf   # for DevStack

  molten-prehook --enqueue --ticket-file "$HOME/nightly.ticket" --count 3 --wait 12h   # occupies no executor
  molten-prehook --ticket "$HOME/nightly.ticket"        # later, in the build that wants the nodes

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
	c.About, c.Examples, c.Exits = about, examples, []int{0, 1, 2, 10, 11, 12, 13, 14, 15, 17, 129, 130, 143}
	f, r := c.Flags, &s.request
	f.StringVar(&r.Owner, "owner", "", "`NAME` that stands for the build (default: $BUILD_URL, else controller, $JOB_NAME and $BUILD_NUMBER)")
	f.StringVar(&r.Slot, "slot", "", "`NAME` that tells a second checkout of the same build from the first")
	f.StringVar(&r.Pool, "pool", "", "`NAME` of the pool to ask (default: the configuration's, else default)")
	f.IntVar(&s.count, "count", 1, "`N` nodes, all or none")
	f.StringArrayVar(&s.requires, "require", nil, "`EXPR` that each node must meet, may be repeated: key=v[,v], key:not=v[,v], key:min=N, key:max=N, key, key:absent")
	f.StringArrayVar(&s.groups, "group", nil, "`GROUP` of nodes alike, may be repeated: NAME=COUNT[:EXPR+EXPR…]; instead of --count and --require")
	f.IntVar(&r.Priority, "priority", 0, "`N` is higher for who goes first; capped by the pool")
	f.DurationVar(&r.Wait, "wait", 0, "`TIME` to queue at most, 0 is not at all; never longer than $BUILD_TIMEOUT milliseconds (default: the configuration's, else 1h)")
	f.DurationVar(&r.Lease, "lease", 0, "`TIME` that the build may keep the nodes; never shorter than $BUILD_TIMEOUT and half an hour (default: the configuration's, else the pool's)")
	f.StringVar(&r.EnvFile, "env-file", "", "`PATH` of the file to source; - is stdout, outside Jenkins only (default: ${WORKSPACE_TMP:-$WORKSPACE@tmp}/molteniron.env, outside Jenkins ./molteniron.env; with a slot molteniron-SLOT.env)")
	f.StringVar(&r.JSONFile, "json-file", "", "`PATH` of a file that says the same in JSON (default: none)")
	hookcli.AddForms(f, &r.Forms)
	f.StringVar(&r.Adopt, "adopt", "", "`PATH` of the env file of what this build holds already: take it over; count, requirements, wait and lease stay as they were")
	f.BoolVar(&r.Enqueue, "enqueue", false, "do not wait: leave a ticket, which lives for --wait; exit 17 until it is granted; asked again with the same file, say how it stands")
	f.StringVar(&r.TicketFile, "ticket-file", "", "`FILE` for the ticket of --enqueue; who can read it can take the ticket up")
	f.StringVar(&r.Ticket, "ticket", "", "`FILE` of a ticket to take up for this build: its pool, nodes, priority, lease and place stay; with --wait 0 exit 17, and no harm, when it is not granted yet")
	f.StringVar(&s.config, "config", "", "`FILE` with the configuration")
	f.String("outbox", "", "`FOLDER` where releases wait that could not reach the database (default: the configuration's, else /var/lib/molteniron/outbox or ~/.local/state/molteniron/outbox)")
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
	if err := host.LoadConfig(command.Flags, "database", "outbox", "pool", "wait", "lease"); err != nil {
		return err
	}
	if err := s.resolve(command, host.Config); err != nil {
		return err
	}
	return hook.Prepare(ctx, hook.Process{
		Program: program, Getenv: getenv, Stdout: stdout, Stderr: stderr, Controller: host.Config.Controller,
		Log:      func(w io.Writer) *slog.Logger { return cli.NewLogger(w, program, host.Config.LogFormat) },
		Open:     func(ctx context.Context) (*pool.DB, error) { return cli.OpenPool(ctx, host) },
		Database: host.DatabaseURL, Outbox: host.Outboxes(),
	}, s.request)
}

// byGroups reports which of the two ways to ask for nodes is meant. The command line goes before the environment, in
// which a job's parameters may say the other; two ways in one place are refused.
func (s *settings) byGroups(command hookcli.Command) (bool, error) {
	line := func(name string) bool { return command.Flags.Changed(name) && !cli.FromEnv(command.Flags, name) }
	env := func(name string) bool { return cli.FromEnv(command.Flags, name) }
	for _, said := range []func(string) bool{line, env} {
		simple := said("count") || said("require")
		switch {
		case said("group") && simple:
			return false, command.Usagef("--group goes with neither --count nor --require: write --group NAME=COUNT:EXPR+EXPR")
		case said("group") || simple:
			return said("group"), nil
		}
	}
	return false, nil
}

// resolve makes the request of the flags, the environment and the configuration.
func (s *settings) resolve(command hookcli.Command, c config.Config) error {
	r := &s.request
	r.Pool, r.Wait, r.Lease = c.Pool, c.Wait, c.Lease
	byGroups, err := s.byGroups(command)
	if err != nil {
		return err
	}
	if byGroups {
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
		return command.Usagef("--count %d: ask for 1 node or more", s.count)
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
