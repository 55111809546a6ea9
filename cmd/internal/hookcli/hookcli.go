// Package hookcli is the command line of the two hooks: flags that each have an environment variable,
// and a help that begins with examples.
package hookcli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/molteniron/molteniron/cmd/internal/cli"
)

// Command is what a hook says of itself.
type Command struct {
	Program  string
	About    string // what it does, in a few lines
	Examples string // worked ones, each line indented
	Exits    []int  // its exit statuses, by cli.Exits
	Flags    *pflag.FlagSet
}

// New makes a command without flags of its own.
func New(program string) Command {
	flags := pflag.NewFlagSet(program, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.Usage = func() {} // help is printed by Parse, on stdout
	return Command{Program: program, Flags: flags}
}

// Parse reads the command line, then the environment for what the command line did not say. It
// reports whether there is work to do: --help and --version are answered on stdout. Its errors are
// *cli.UsageError, but for those of writing to stdout.
func (c Command) Parse(args []string, getenv func(string) string, stdout io.Writer) (work bool, err error) {
	help := c.Flags.BoolP("help", "h", false, "show this help")
	version := c.Flags.Bool("version", false, "show the version of this program")
	if err := c.Flags.Parse(args); err != nil {
		return false, c.usage(cli.FlagError(err))
	}
	switch {
	case *help:
		return false, c.help(stdout)
	case *version:
		_, err := fmt.Fprintln(stdout, cli.Version(c.Program))
		return false, err
	case c.Flags.NArg() > 0:
		return false, c.usage(cli.Usagef("%s takes flags only, got %q", c.Program, c.Flags.Arg(0)))
	}
	if err := cli.ApplyEnv(c.Flags, getenv); err != nil {
		return false, c.usage(err)
	}
	return true, nil
}

// Usagef makes a *cli.UsageError that says where the help is.
func (c Command) Usagef(format string, args ...any) error {
	return c.usage(cli.Usagef(format, args...))
}

// usage adds to an error where the help is.
func (c Command) usage(err error) error {
	var u *cli.UsageError
	if errors.As(err, &u) {
		u.Help = c.Program + " --help"
	}
	return err
}

func (c Command) help(w io.Writer) error {
	cli.DescribeEnv(c.Flags)
	_, err := fmt.Fprintf(w, "%s\n\nEXAMPLES\n%s\n\nUSAGE\n  %s [FLAG…]\n\nFLAGS\n%s\nEach flag has the environment variable that is named in brackets. A flag goes before its variable, the variable\n"+
		"before the configuration file, that before the default.\n\nEXIT STATUS\n%s",
		strings.TrimSpace(c.About), strings.TrimRight(c.Examples, "\n"), c.Program, c.Flags.FlagUsagesWrapped(110), cli.ExitHelp(c.Exits...))
	return err
}

// lastWords is how long the end of an aborted hook waits for its last line to be written.
const lastWords = 200 * time.Millisecond

// Finish is cli.Finish for a stderr that may be a full pipe: under a Jenkins that hangs an aborted hook
// must end all the same, without its last line.
func Finish(ctx context.Context, stderr io.Writer, program string, err error) int {
	done := make(chan int, 1)
	go func() { done <- cli.Finish(ctx, stderr, program, err) }()
	select {
	case code := <-done:
		return code
	case <-ctx.Done():
	}
	select {
	case code := <-done:
		return code
	case <-time.After(lastWords):
		return cli.Finish(ctx, io.Discard, program, err)
	}
}
