// Command molten-posthook checks back in what a CI build holds, after its tests, whatever became of it.
package main

import (
	"context"
	"io"
	"os"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/cmd/internal/hookcli"
)

const program = "molten-posthook"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is the whole program; its result is the exit status.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := cli.NotifySignals(ctx)
	defer stop()
	return hookcli.Finish(ctx, stderr, program, finish(ctx, args, getenv, stdout, stderr))
}
