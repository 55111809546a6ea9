package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

func (a *app) addCommand() *cobra.Command {
	var spec pool.NodeSpec
	var properties []string
	var password passwordFlags
	cmd := &cobra.Command{
		Use:   "add NAME --bmc-address ADDRESS [flags]",
		Short: "add a node",
		Example: `  moltenironctl add node-1 --bmc-address 10.0.8.1 --bmc-user admin --bmc-password-file node-1.pass \
      --mac 52:54:00:12:34:56 --arch x86_64 --cpus 32 --ram-mb 65536 --disk-gb 960
  pass show bmc/node-2 | moltenironctl add node-2 --bmc-driver redfish --bmc-address bmc2.example.org \
      --bmc-user root --bmc-password-stdin --pool gpu --property gpu=a100 --cost 10`,
		Args:        words(1, 1, "NAME"),
		Annotations: databaseExits(12, 13),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec.Name = args[0]
			var err error
			if spec.Properties, err = parseProperties(properties); err != nil {
				return err
			}
			if cmd.Flags().Changed("bmc-port") && spec.BMC.Port == 0 { // which would be the driver's own
				return cli.Usagef("--bmc-port 0: give a port between 1 and 65535")
			}
			if spec.BMC.Password, _, err = password.read(a); err != nil {
				return err
			}
			db, err := a.open(cmd)
			if err != nil {
				return err
			}
			defer db.Close()
			if err := db.AddNodes(cmd.Context(), []pool.NodeSpec{spec}); err != nil {
				return err
			}
			n, err := db.Node(cmd.Context(), spec.Name)
			if err != nil {
				return err
			}
			a.say("added node %s to pool %s", n.Name, n.Pool)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&spec.Pool, "pool", "", "`POOL` it belongs to (default \"default\")")
	f.StringVar(&spec.BMC.Driver, "bmc-driver", "", "`DRIVER`, ipmi or redfish (default \"ipmi\")")
	f.StringVar(&spec.BMC.Address, "bmc-address", "", "`ADDRESS` or DNS name of its BMC")
	f.IntVar(&spec.BMC.Port, "bmc-port", 0, "`PORT` of its BMC (default 623 for ipmi, 443 for redfish)")
	f.StringVar(&spec.BMC.SystemID, "bmc-system-id", "", "redfish: which `SYSTEM` of the BMC, when it has several")
	f.StringVar(&spec.BMC.Verify, "bmc-verify", "", "redfish: \"off\", or a `CA-FILE` to verify the certificate with (default: the system's CAs)")
	f.StringVar(&spec.BMC.Username, "bmc-user", "", "`NAME` of the account on its BMC")
	password.add(f)
	f.StringArrayVar(&spec.MACs, "mac", nil, "MAC `ADDRESS`, repeatable, the deployment port's first")
	f.StringVar(&spec.Arch, "arch", "", "`ARCHITECTURE` as uname -m says it, such as x86_64")
	f.Int64Var(&spec.CPUs, "cpus", 0, "`NUMBER` of CPUs")
	f.Int64Var(&spec.RAMMB, "ram-mb", 0, "memory in `MiB`")
	f.Int64Var(&spec.DiskGB, "disk-gb", 0, "disk in `GB`")
	f.StringArrayVar(&spec.IPs, "ip", nil, "deployment IP `ADDRESS`, repeatable")
	f.StringArrayVar(&properties, "property", nil, "`KEY=VALUE` that requirements may ask for, repeatable")
	f.Int64Var(&spec.Cost, "cost", 0, "`COST`: nodes of lower cost go out first")
	a.complete(cmd, "pool", a.poolNames)
	completeWords(cmd, "bmc-driver", pool.DriverIPMI, pool.DriverRedfish)
	return cmd
}

// passwordFlags are the two ways for a BMC password into the program; a flag that takes the password
// itself would show it to everybody on the machine.
type passwordFlags struct {
	file  string
	stdin bool
}

func (p *passwordFlags) add(f *pflag.FlagSet) {
	f.StringVar(&p.file, "bmc-password-file", "", "`FILE` that holds the password of that account; a newline at its end does not count")
	f.BoolVar(&p.stdin, "bmc-password-stdin", false, "read that password from stdin")
}

// read gives the password and whether there was one.
func (p *passwordFlags) read(a *app) (t secret.Text, given bool, err error) {
	switch {
	case p.file != "" && p.stdin:
		return t, false, cli.Usagef("give --bmc-password-file or --bmc-password-stdin, not both")
	case p.file != "":
		t, warning, err := secret.ReadFile(p.file)
		if err != nil {
			return t, false, cli.Usagef("--bmc-password-file: %v", err)
		}
		if warning != "" {
			a.say("warning: %s", warning)
		}
		return t, true, nil
	case p.stdin:
		t, err := readPassword(a.stdin)
		return t, true, err
	}
	return t, false, nil
}

// parseProperties reads KEY=VALUE words. The pool judges keys and values.
func parseProperties(list []string) (map[string]string, error) {
	properties := make(map[string]string, len(list))
	for _, p := range list {
		key, value, ok := strings.Cut(p, "=")
		if !ok {
			return nil, cli.Usagef("--property %q: write KEY=VALUE", p)
		}
		if _, twice := properties[key]; twice {
			return nil, cli.Usagef("--property %s is given twice", key)
		}
		properties[key] = value
	}
	return properties, nil
}
