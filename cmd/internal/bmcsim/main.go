// Command bmcsim puts simulated BMCs in the place of an inventory's machines, for the demo and for
// trying things out: each node that is spoken to by IPMI gets one on loopback, with the node's own user
// and password. It is not installed.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/molteniron/molteniron/pkg/bmc/bmctest"
	"github.com/molteniron/molteniron/pkg/inventory"
	"github.com/molteniron/molteniron/pkg/pool"
)

func main() {
	// Not SIGINT: whoever starts it in the background keeps its BMCs when Ctrl-C is typed, and ends it last.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bmcsim:", err)
		os.Exit(1)
	}
}

// run reads the inventory IN, serves its BMCs, prints a line "name address port" for each, writes OUT, the
// same inventory with these addresses, and serves until ctx ends. OUT appears when all BMCs listen.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: bmcsim IN OUT, two files of inventories in YAML")
	}
	in, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer in.Close()
	read, err := inventory.Read(in, inventory.YAML, args[0])
	if err != nil {
		return err
	}

	specs := read.Specs()
	for i := range specs {
		b := &specs[i].BMC
		if b.Driver != "" && b.Driver != pool.DriverIPMI {
			continue
		}
		sim, err := bmctest.Start(bmctest.Config{Username: b.Username, Password: b.Password.Reveal(), On: true})
		if err != nil {
			return fmt.Errorf("node %s: %w", specs[i].Name, err)
		}
		defer sim.Close()
		b.Address, b.Port = sim.AddrPort().Addr().String(), int(sim.AddrPort().Port())
		fmt.Fprintln(stdout, specs[i].Name, b.Address, b.Port)
	}

	var out bytes.Buffer
	if err := inventory.Write(&out, inventory.YAML, specs, true); err != nil {
		return err
	}
	part := args[1] + ".part"
	if err := os.WriteFile(part, out.Bytes(), 0o600); err != nil {
		return err
	}
	if err := os.Rename(part, args[1]); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
