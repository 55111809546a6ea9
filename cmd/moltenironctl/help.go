package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
)

// exitsKey is the annotation that lists the exit statuses of a command, for its help.
const exitsKey = "exits"

// exitStatuses notes which exit statuses a command has besides 0, 1 and 2.
func exitStatuses(codes ...int) map[string]string {
	words := make([]string, len(codes))
	for i, c := range codes {
		words[i] = strconv.Itoa(c)
	}
	return map[string]string{exitsKey: strings.Join(words, " ")}
}

// database are the exit statuses of every command that opens the database, and those given.
func databaseExits(codes ...int) map[string]string {
	return exitStatuses(append(codes, 14, 15)...)
}

// exitCodes gives the exit statuses of a command; nil stands for all of them.
func exitCodes(cmd *cobra.Command) []int {
	noted, ok := cmd.Annotations[exitsKey]
	if !ok {
		return nil
	}
	codes := []int{0, 1, 2}
	for word := range strings.FieldsSeq(noted) {
		n, _ := strconv.Atoi(word)
		codes = append(codes, n)
	}
	slices.Sort(codes)
	return codes
}

// writeHelp writes the help of a command: what it does, worked examples, then the reference.
func writeHelp(w io.Writer, cmd *cobra.Command) {
	var b strings.Builder
	about := cmd.Long
	if about == "" {
		about = strings.ToUpper(cmd.Short[:1]) + cmd.Short[1:] + "."
	}
	section := func(title, text string) {
		if text = strings.TrimRight(text, " \n"); text != "" {
			fmt.Fprintf(&b, "\n%s\n%s\n", title, text)
		}
	}
	fmt.Fprintln(&b, strings.TrimSpace(about))
	section("EXAMPLES", cmd.Example)
	use := cmd.UseLine()
	if cmd.HasSubCommands() {
		use = cmd.CommandPath() + " COMMAND"
	}
	section("USAGE", "  "+use)
	section("COMMANDS", commandList(cmd))
	section("FLAGS", cmd.LocalFlags().FlagUsagesWrapped(100))
	section("FLAGS OF ALL COMMANDS", cmd.InheritedFlags().FlagUsagesWrapped(100))
	section("EXIT STATUS", cli.ExitHelp(exitCodes(cmd)...))
	_, _ = io.WriteString(w, b.String())
}

// commandList lists the commands of cmd, by group where it has groups.
func commandList(cmd *cobra.Command) string {
	var b strings.Builder
	list := func(group string) {
		for _, c := range cmd.Commands() {
			if c.GroupID == group && (c.IsAvailableCommand() || c.Name() == "help") {
				fmt.Fprintf(&b, "  %-12s %s\n", c.Name(), c.Short)
			}
		}
	}
	for _, g := range cmd.Groups() {
		fmt.Fprintf(&b, "  %s\n", g.Title)
		list(g.ID)
		b.WriteByte('\n')
	}
	list("")
	return b.String()
}

// name is what a command is called in messages, which begin with the program already.
func name(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), program+" ")
}

// unknownCommand refuses words that are no command of cmd.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("no command %q", args[0])
	if cmd.HasParent() {
		text = fmt.Sprintf("%s has no command %q", name(cmd), args[0])
	}
	cmd.SuggestionsMinimumDistance = 2 // letters that differ
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		text += "; did you mean " + strings.Join(s, " or ") + "?"
	}
	return cli.Usagef("%s", text)
}

// missingCommand is what a command that only has commands of its own does.
func missingCommand(cmd *cobra.Command, _ []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return cli.Usagef("which command? one of %s", strings.Join(names, ", "))
}

// words checks the number of arguments; what names them as the usage line does. most < 0 is no limit.
func words(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return cli.Usagef("%s needs %s", name(cmd), what)
		case most == 0 && len(args) > 0:
			return cli.Usagef("%s takes no arguments, got %d", name(cmd), len(args))
		case most >= 0 && len(args) > most:
			return cli.Usagef("%s takes %s only, got %d arguments", name(cmd), what, len(args))
		}
		return nil
	}
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:         "help [COMMAND…]",
		Short:       "explain a command",
		Example:     "  moltenironctl help import\n  moltenironctl help pool set",
		Annotations: exitStatuses(),
		Args:        cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(about, append(rest, args...))
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}
