package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
)

type completer = func(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective)

func (a *app) completionCommand() *cobra.Command {
	write := map[string]func(*cobra.Command) error{
		"bash": func(root *cobra.Command) error { return root.GenBashCompletionV2(a.stdout, true) },
		"zsh":  func(root *cobra.Command) error { return root.GenZshCompletion(a.stdout) },
		"fish": func(root *cobra.Command) error { return root.GenFishCompletion(a.stdout, true) },
	}
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "print the script that makes a shell complete commands, nodes, pools and fields",
		Example: `  source <(moltenironctl completion bash)
  moltenironctl completion bash > /etc/bash_completion.d/moltenironctl
  moltenironctl completion zsh > "${fpath[1]}/_moltenironctl"
  moltenironctl completion fish > ~/.config/fish/completions/moltenironctl.fish`,
		Args:        words(1, 1, "bash, zsh or fish"),
		Annotations: exitStatuses(),
		ValidArgs:   shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			fn := write[args[0]]
			if fn == nil {
				return cli.Usagef("no completion for %q; use one of %s", args[0], strings.Join(shells, ", "))
			}
			return fn(cmd.Root())
		},
	}
}

// names lists what a database knows, for completion: an error is no names, because a shell that is
// asked for a word has no place for a message.
func (a *app) names(cmd *cobra.Command, read func(*pool.DB) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	quiet := *a
	quiet.stderr = io.Discard
	db, err := quiet.open(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer db.Close()
	list, err := read(db)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) nodeNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.names(cmd, func(db *pool.DB) ([]string, error) {
		nodes, err := db.Nodes(cmd.Context(), pool.NodeFilter{})
		list := make([]string, len(nodes))
		for i, n := range nodes {
			list[i] = n.Name
		}
		return list, err
	})
}

func (a *app) poolNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.names(cmd, func(db *pool.DB) ([]string, error) {
		pools, err := db.Pools(cmd.Context())
		list := make([]string, len(pools))
		for i, p := range pools {
			list[i] = p.Name
		}
		return list, err
	})
}

// waitingOwners completes an owner who waits.
func (a *app) waitingOwners(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.names(cmd, func(db *pool.DB) ([]string, error) {
		queue, err := db.Queue(cmd.Context(), "")
		list := make([]string, len(queue))
		for i, al := range queue {
			list[i] = al.Owner
		}
		return list, err
	})
}

// anyNodes completes any number of nodes, none twice.
func (a *app) anyNodes(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	list, directive := a.nodeNames(cmd, args, to)
	return slices.DeleteFunc(list, func(s string) bool { return slices.Contains(args, s) }), directive
}

func (a *app) firstNode(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	return first(a.nodeNames, cmd, args, to)
}

func (a *app) firstPool(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	return first(a.poolNames, cmd, args, to)
}

func first(fn completer, cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return fn(cmd, args, to)
}

// nodeThenFields completes a node, then the names of its fields; of the fields alone with --owner.
func (a *app) nodeThenFields(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 && !cmd.Flags().Changed("owner") {
		return a.nodeNames(cmd, args, to)
	}
	return fieldNames(pool.NodeFields, false), cobra.ShellCompDirectiveNoFileComp
}

// nodeThenAssignments completes a node, then FIELD= for what can be set.
func (a *app) nodeThenAssignments(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 && !cmd.Flags().Changed("owner") {
		return a.nodeNames(cmd, args, to)
	}
	return fieldNames(pool.NodeFields, true), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func (a *app) poolThenPolicy(cmd *cobra.Command, args []string, to string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.poolNames(cmd, args, to)
	}
	return policyAssignments(cmd, args, to)
}

func policyAssignments(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return fieldNames(pool.PolicyFields, true), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// fieldNames lists fields with what they mean, in the form of cobra; with settable as FIELD=.
func fieldNames(fields []pool.Field, settable bool) []string {
	var list []string
	for _, f := range fields {
		switch {
		case !settable:
			list = append(list, fmt.Sprintf("%s\t%s", f.Name, f.Help))
		case f.Settable:
			list = append(list, fmt.Sprintf("%s=\t%s", f.Name, f.Help))
		}
	}
	return list
}

// complete gives a flag's values by fn.
func (a *app) complete(cmd *cobra.Command, flag string, fn completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, fn); err != nil {
		panic(err) // no such flag, or twice: seen by every test
	}
}

// completeWords gives a flag's values from a list.
func completeWords(cmd *cobra.Command, flag string, list ...string) {
	fn := cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, fn); err != nil {
		panic(err) // as above
	}
}
