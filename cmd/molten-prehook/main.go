// Command molten-prehook checks bare-metal nodes out for a CI build, before its tests, and writes
// the file that the build reads them from.
package main

import (
	"context"
	"io"
	"os"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/cmd/internal/hookcli"
)

const program = "molten-prehook"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is the whole program; its result is the exit status.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := cli.NotifySignals(ctx)
	defer stop()
	return hookcli.Finish(ctx, stderr, program, prepare(ctx, args, getenv, stdout, stderr))
}
