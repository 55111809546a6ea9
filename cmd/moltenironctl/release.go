package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/hook"
	"github.com/molteniron/molteniron/pkg/pool"
)

func (a *app) releaseCommand() *cobra.Command {
	var r hook.Return
	var slot, node, reason string
	var force bool
	cmd := &cobra.Command{
		Use:   "release --owner OWNER [flags] | release --node NODE --force --reason TEXT",
		Short: "give nodes back by hand, or take one from its owner",
		Long: `Give back all that an owner holds, and end its tickets in the queue; or take a node from its owner by force. What
is taken by force is "revoked": the whole allocation ends, the owner's own release fails loudly, and its
nodes are suspect, that is handed out last, until their next user gave them back.`,
		Example: `  moltenironctl release --owner alice
  moltenironctl release --owner alice --slot second
  moltenironctl release --owner https://ci.example.org/job/nightly/1041/ --dirty
  moltenironctl release --node node-7 --force --reason 'the build hangs since Friday'`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(12, 13),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if node != "" || force || reason != "" {
				return a.revoke(cmd, node, force, reason)
			}
			var err error
			if r.Owner, err = a.owner(r.Owner); err != nil {
				return err
			}
			if cmd.Flags().Changed("slot") {
				r.Slot = &slot
			}
			s, err := a.settings(cmd)
			if err != nil {
				return err
			}
			// A post-hook may come before its pre-hook and then closes the owner to it. A person who names an
			// owner that never was has mistyped it.
			if err := a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				list, err := db.Allocations(ctx, pool.AllocationFilter{Owner: r.Owner, Limit: 1})
				if err == nil && len(list) == 0 {
					err = &pool.Error{Class: pool.ErrNotFound, Text: fmt.Sprintf("owner %q never had anything; see moltenironctl status, moltenironctl queue", r.Owner)}
				}
				return err
			}); err != nil {
				return err
			}
			return hook.Finish(cmd.Context(), a.process(cmd, s), r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Owner, "owner", "", "who gives back: `NAME`; "+ownerHelp)
	f.StringVar(&slot, "slot", "", "only the checkout of this `NAME`, '' is the one without a name (default: all)")
	f.StringVar(&r.EnvFile, "env-file", "", "env file of the checkout, removed with what was written beside it: `PATH` (default as for allocate)")
	f.StringVar(&r.Result, "result", "", "how the build ended: `RESULT`, kept with the history")
	f.BoolVar(&r.Dirty, "dirty", false, "the nodes must be cleaned before the next build")
	f.StringVar(&node, "node", "", "take this `NODE` from its owner")
	f.BoolVar(&force, "force", false, "with --node: yes, take it")
	f.StringVar(&reason, "reason", "", "with --node: `TEXT`, why, shown to the owner")
	a.complete(cmd, "node", a.nodeNames)
	return cmd
}

// revoke takes a node from its owner. It wants to be told twice, and why.
func (a *app) revoke(cmd *cobra.Command, node string, force bool, reason string) error {
	for _, name := range []string{"owner", "slot", "env-file", "result", "dirty"} {
		if cmd.Flags().Changed(name) {
			return cli.Usagef("--node takes a node from whoever has it; leave --%s away", name)
		}
	}
	if node == "" {
		return cli.Usagef("--force and --reason are for --node NODE")
	}
	return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
		if !force || reason == "" {
			n, err := db.Node(ctx, node)
			if err != nil {
				return err
			}
			who := "nobody"
			if n.Owner != "" {
				who = fmt.Sprintf("%q", n.Owner)
			}
			return cli.Usagef("node %s is held by %s; to take it write: moltenironctl release --node %s --force --reason TEXT", n.Name, who, n.Name)
		}
		al, err := db.Revoke(ctx, node, reason)
		if err != nil {
			return err
		}
		a.say("took %s from %q (allocation %d)", strings.Join(al.NodeNames(), ", "), al.Owner, al.ID)
		return nil
	})
}
