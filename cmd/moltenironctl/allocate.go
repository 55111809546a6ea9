package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/cmd/internal/hookcli"
	"github.com/molteniron/molteniron/pkg/hook"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/view"
)

// process is what surrounds a hook that a person runs by hand.
func (a *app) process(cmd *cobra.Command, s cli.Settings) hook.Process {
	return hook.Process{
		Program: cmd.CommandPath(), Getenv: a.getenv, Stdout: a.stdout, Stderr: a.stderr, Controller: s.Config.Controller,
		Log:  func(w io.Writer) *slog.Logger { return cli.NewLogger(w, program, s.Config.LogFormat) },
		Open: func(ctx context.Context) (*pool.DB, error) { return cli.OpenPool(ctx, s) },
	}
}

// ownerHelp says who the owner is when nobody says so. It is never the person: several share a shell
// account, and would then share one owner and give back each other's nodes.
const ownerHelp = "$BUILD_URL in a Jenkins build, else it must be given"

// owner is what --owner said, or the build.
func (a *app) owner(said string) (string, error) {
	if said == "" {
		said = a.getenv("BUILD_URL")
	}
	if said == "" {
		return "", cli.Usagef("say who the owner is with --owner NAME; only a Jenkins build has one by itself, its BUILD_URL")
	}
	return said, nil
}

func (a *app) allocateCommand() *cobra.Command {
	var r hook.Request
	var count int
	var requires, groups []string
	format := cli.Choice{Value: "table", Allowed: []string{"table", "json", "yaml"}}
	cmd := &cobra.Command{
		Use:   "allocate --owner OWNER [flags]",
		Short: "check nodes out by hand",
		Long: `Check nodes out by hand, as molten-prehook does for a build: wait in the queue, write the env file, show the
nodes. Source the file to have their addresses and passwords; moltenironctl release gives them back.
When it is interrupted, or cannot write, nothing stays checked out.`,
		Example: `  moltenironctl allocate --owner alice --require arch=x86_64 --lease 4h
  . ./molteniron.env && ipmitool -I lanplus -H "$IPMI_ADDRESS" -p "$IPMI_PORT" -U "$IPMI_USERNAME" -E power status
  moltenironctl allocate --owner alice --slot second --count 2 --pool gpu --wait 0
  moltenironctl allocate --owner alice --group controller=1:ram_mb:min=65536 --group compute=2
  moltenironctl allocate --owner alice --enqueue --ticket-file ticket --wait 12h   # and go home
  moltenironctl allocate --owner alice --ticket ticket
  moltenironctl release --owner alice`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(10, 11, 12, 13, 17, 129, 130, 143),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.settings(cmd, "pool", "wait", "lease")
			if err != nil {
				return err
			}
			if r.Groups, err = requestGroups(cmd, count, requires, groups); err != nil {
				return err
			}
			if r.EnvFile == "-" && format.Value != "table" {
				return cli.Usagef("--env-file - and -o %s would both write to stdout; choose one", format.Value)
			}
			r.Pool, r.Wait, r.Lease = s.Config.Pool, s.Config.Wait, s.Config.Lease
			if r.Owner, err = a.owner(r.Owner); err != nil {
				return err
			}
			ctx, p := cmd.Context(), a.process(cmd, s)
			if err := hook.Prepare(ctx, p, r); err != nil || r.Enqueue || r.EnvFile == "-" {
				return err
			}
			if err := a.showHeld(ctx, s, r, format.Value); err != nil && r.Adopt != "" {
				return err
			} else if err != nil {
				// Nobody knows what he holds: it would stay so to the end of the lease.
				undone := hook.Finish(ctx, p, hook.Return{Owner: r.Owner, Slot: &r.Slot, EnvFile: r.EnvFile})
				return errors.Join(fmt.Errorf("could not show what was allocated, so it is given back: %w", err), undone)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Owner, "owner", "", "who they are for: `NAME`; "+ownerHelp)
	f.StringVar(&r.Slot, "slot", "", "a `NAME` that tells a second checkout of the same owner from the first")
	f.String("pool", "", "ask this `POOL` (default: the configuration's, else \"default\")")
	f.IntVar(&count, "count", 1, "how many nodes, all or none: `N`")
	f.StringArrayVar(&requires, "require", nil, "what each node must meet: `EXPR`, repeatable; key=v[,v], key:not=v[,v], key:min=N, key:max=N, key, key:absent")
	f.StringArrayVar(&groups, "group", nil, "a group of like nodes: `NAME=COUNT[:EXPR+EXPR…]`, repeatable; instead of --count and --require")
	f.IntVar(&r.Priority, "priority", 0, "higher goes first: `N`; capped by the pool")
	f.Duration("wait", 0, "how long to queue: `DURATION`, 0 is not at all (default: the configuration's, else 1h)")
	f.Duration("lease", 0, "how long they may be kept: `DURATION` (default: the configuration's, else the pool's)")
	f.StringVar(&r.EnvFile, "env-file", "", "write the variables to `PATH` (default: ./molteniron.env, with a slot ./molteniron-SLOT.env); - is stdout")
	f.StringVar(&r.JSONFile, "json-file", "", "write the same as JSON, with passwords, to `PATH` too")
	hookcli.AddForms(f, &r.Forms)
	f.StringVar(&r.Adopt, "adopt", "", "take over what the owner holds already, by the env file at `PATH`, and write the files anew")
	f.BoolVar(&r.Enqueue, "enqueue", false, "do not wait: leave a ticket, which lives for --wait; exit 17 until it is granted; asked again with the same file, say how it stands")
	f.StringVar(&r.TicketFile, "ticket-file", "", "`FILE` for the ticket of --enqueue; who can read it can take the ticket up")
	f.StringVar(&r.Ticket, "ticket", "", "`FILE` of a ticket to take up: its pool, nodes, priority, lease and place stay; with --wait 0 exit 17, and no harm, when it is not granted yet")
	f.VarP(&format, "output", "o", "`FORMAT`: table, json or yaml, without passwords")
	a.complete(cmd, "pool", a.poolNames)
	completeWords(cmd, "output", format.Allowed...)
	return cmd
}

// requestGroups makes the groups of a request from the flags.
func requestGroups(cmd *cobra.Command, count int, requires, groups []string) ([]pool.Group, error) {
	if len(groups) == 0 {
		if count < 1 {
			return nil, cli.Usagef("--count %d: ask for 1 node or more", count)
		}
		g := pool.Group{Count: count}
		for _, expr := range requires {
			r, err := pool.ParseRequirement(expr)
			if err != nil {
				return nil, err
			}
			g.Require = append(g.Require, r)
		}
		return []pool.Group{g}, nil
	}
	if cmd.Flags().Changed("count") || len(requires) > 0 {
		return nil, cli.Usagef("--group has its own count and requirements; leave --count and --require away")
	}
	var list []pool.Group
	for _, text := range groups {
		g, err := pool.ParseGroup(text)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

// showHeld prints what an owner got.
func (a *app) showHeld(ctx context.Context, s cli.Settings, r hook.Request, format string) error {
	db, err := cli.OpenPool(ctx, s)
	if err != nil {
		return err
	}
	defer db.Close()
	list, err := db.Allocations(ctx, pool.AllocationFilter{Owner: r.Owner, Slot: &r.Slot, States: []pool.State{pool.Claimed}})
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return &pool.Error{Class: pool.ErrConflict, Text: fmt.Sprintf("what %q got was taken back at once; see moltenironctl history --owner", r.Owner)}
	}
	out := a.output()
	if format != "table" {
		return out.Data(format, view.NewAllocation(&list[0], false))
	}
	nodes := make([]pool.Node, len(list[0].Nodes))
	for i, n := range list[0].Nodes {
		nodes[i] = n.Node
	}
	return out.Table(nodeTable(out, nodes, false))
}
