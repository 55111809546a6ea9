package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/view"
)

// explainHolders is how many holders, and nodes out of service, explain shows to people: who comes first matters; JSON has all.
const explainHolders = 20

func (a *app) explainCommand() *cobra.Command {
	var r pool.ExplainRequest
	var count int
	var requires, groups []string
	format := cli.Choice{Value: "text", Allowed: []string{"text", "json", "yaml"}}
	cmd := &cobra.Command{
		Use:   "explain OWNER | explain [--require EXPR…] [flags]",
		Short: "say why a request waits, what it would take, and when it may be served",
		Long: `Say how a request stands: that of an OWNER who waits, or one that nobody made, which nothing is asked for.

The table has a line for each requirement: how many nodes of the pool it and those before it leave, how many
meet it alone, and how many would be left without it. Above it: why the request is not served yet, without
which single requirement it could be, and an estimate with what it rests on, "unknown" where nobody can know.
Below it: who holds nodes that suit, and until when; where its job has its share of the pool, which nodes that are.`,
		Example: `  moltenironctl explain https://ci.example.org/job/nightly/1041/
  moltenironctl explain --require arch=x86_64 --require ram_mb:min=65536 --count 3
  moltenironctl explain --pool gpu --priority 5 --job nightly
  moltenironctl explain --group controller=1:ram_mb:min=65536 --group compute=2 -o json | jq .estimate`,
		Args:              words(0, 1, "OWNER"),
		Annotations:       databaseExits(12),
		ValidArgsFunction: a.waitingOwners,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 1 {
				for _, name := range []string{"pool", "count", "require", "group", "priority", "job"} {
					if cmd.Flags().Changed(name) {
						return cli.Usagef("an OWNER's request is known; leave --%s away, or the OWNER", name)
					}
				}
				r.Owner = args[0]
			} else {
				if cmd.Flags().Changed("slot") {
					return cli.Usagef("--slot is one of an OWNER who waits; name the OWNER")
				}
				s, err := a.settings(cmd, "pool")
				if err != nil {
					return err
				}
				r.Pool = s.Config.Pool
				if r.Groups, err = requestGroups(cmd, count, requires, groups); err != nil {
					return err
				}
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				if r.Owner != "" && !cmd.Flags().Changed("slot") {
					if r.Slot, err = waitingSlot(ctx, db, r.Owner); err != nil {
						return err
					}
				}
				e, err := db.Explain(ctx, r)
				if err != nil {
					return err
				}
				if format.Value != "text" {
					return a.output().Data(format.Value, view.NewExplanation(e))
				}
				return writeExplanation(a.output(), e)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.Slot, "slot", "", "of an OWNER who waits in several slots, the one of this `NAME`")
	f.String("pool", "", "ask this `POOL` (default: the configuration's, else \"default\")")
	f.IntVar(&count, "count", 1, "how many nodes, all or none: `N`")
	f.StringArrayVar(&requires, "require", nil, "what each node must meet: `EXPR`, repeatable; see moltenironctl allocate --help")
	f.StringArrayVar(&groups, "group", nil, "a group of like nodes: `NAME=COUNT[:EXPR+EXPR…]`, repeatable; instead of --count and --require")
	f.IntVar(&r.Priority, "priority", 0, "higher goes first: `N`; capped by the pool")
	f.StringVar(&r.Job, "job", "", "as a build of the job `NAME` (its JOB_NAME), of which the pool may limit the share")
	f.VarP(&format, "output", "o", "`FORMAT`: text, json or yaml")
	a.complete(cmd, "pool", a.poolNames)
	completeWords(cmd, "output", format.Allowed...)
	return cmd
}

// waitingSlot finds the one slot in which an owner waits.
func waitingSlot(ctx context.Context, db *pool.DB, owner string) (string, error) {
	list, err := db.Allocations(ctx, pool.AllocationFilter{Owner: owner})
	if err != nil {
		return "", err
	}
	var slots []string
	for _, al := range list {
		if al.State == pool.Waiting {
			slots = append(slots, strconv.Quote(al.Slot))
		}
	}
	switch {
	case len(slots) > 1:
		slices.Sort(slots)
		return "", cli.Usagef("%q waits in several slots; say which with --slot, one of %s", owner, strings.Join(slots, ", "))
	case len(slots) == 1:
		return strconv.Unquote(slots[0])
	case len(list) == 0:
		return "", &pool.Error{Class: pool.ErrNotFound, Text: fmt.Sprintf("owner %q asked for nothing; see moltenironctl queue", owner)}
	}
	al := list[0] // the newest
	text := fmt.Sprintf("owner %q does not wait: its allocation %d is %s %s", owner, al.ID, al.State, al.EndReason)
	if al.State == pool.Claimed || al.State == pool.Granted {
		text = fmt.Sprintf("owner %q does not wait: it holds %s until %s", owner, strings.Join(al.NodeNames(), ", "), al.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return "", &pool.Error{Class: pool.ErrNotFound, Text: strings.TrimSpace(text) + "; see moltenironctl show " + strconv.FormatInt(al.ID, 10)}
}

func writeExplanation(out cli.Output, e *pool.Explanation) error {
	place := fmt.Sprintf("%d in the queue", e.Place)
	if e.Owner == "" {
		place = "it would be " + place
	}
	f := fields{
		{"owner", cli.Printable(e.Owner)}, {"slot", e.Slot}, {"wants", cli.Printable(pool.Describe(e.Groups))}, {"pool", e.Pool}, {"place", place},
		{"why", cli.Printable(e.Reason)}, {"estimate", cli.Printable(e.Estimate.String())}, {"suitable", suitableNodes(e)},
	}
	if len(e.Lacking) > 0 {
		it := field{"pool needs", pool.DescribeMore(e.Lacking)}
		if e.Stalled {
			it = field{"back into service", pool.Describe(e.Lacking)}
		}
		f = append(f, field{it.name, cli.Printable(it.value)})
	}
	if len(e.Outages) > 0 {
		f = append(f, field{"out of service", cli.Printable(outages(e.Outages))})
	}
	if len(e.Relax) > 0 {
		f = append(f, field{"possible", cli.Printable("without " + strings.Join(e.Relax, ", or without "))})
	}
	if len(e.RelaxNow) > 0 {
		f = append(f, field{"at once", cli.Printable("without " + strings.Join(e.RelaxNow, ", or without "))})
	}
	if err := f.write(out); err != nil {
		return err
	}
	fmt.Fprintln(out)
	if err := out.Table(stepTable(e.Steps)); err != nil || len(e.Holders) == 0 {
		return err
	}
	fmt.Fprintln(out)
	if err := out.Table(holderTable(out, e.Holders[:min(len(e.Holders), explainHolders)])); err != nil {
		return err
	}
	if more := len(e.Holders) - explainHolders; more > 0 {
		_, err := fmt.Fprintf(out, "and %d more, see -o json\n", more)
		return err
	}
	return nil
}

// suitableNodes counts the nodes that suit, by what may be expected of them.
func suitableNodes(e *pool.Explanation) string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(e.Suitable[pool.Ready]-e.SetAside, "ready")
	add(e.SetAside, "ready but set aside")
	add(e.Suitable[pool.Allocated], "held")
	add(e.Suitable[pool.Dirty], "being cleaned")
	add(e.Suitable[pool.Broken], "broken")
	add(e.InMaint, "in maintenance")
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// outages names nodes that are out of service, with the reasons, as many as explainHolders.
func outages(list []pool.Outage) string {
	var parts []string
	for i, o := range list {
		if i == explainHolders {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-i))
			break
		}
		why := "broken"
		if o.Maintenance {
			why = "maintenance"
		}
		parts = append(parts, fmt.Sprintf("%s (%s: %s)", o.Node, why, o.Reason))
	}
	return strings.Join(parts, ", ")
}

func stepTable(steps []pool.Step) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Title: "GROUP"}, {Title: "REQUIREMENT", Fit: cli.CutTail}, {Title: "LEFT", Right: true}, {Title: "ALONE", Right: true}, {Title: "WITHOUT", Right: true},
	}}
	for _, s := range steps {
		row := []cli.Cell{{Text: s.Group}, {Text: "any node", Color: cli.Dim}, {Text: strconv.Itoa(s.Left)}, {}, {}}
		if s.Requirement != "" {
			row[1], row[3], row[4] = cli.Cell{Text: s.Requirement}, cli.Cell{Text: strconv.Itoa(s.Alone)}, cli.Cell{Text: strconv.Itoa(s.Without)}
		}
		if s.Left == 0 {
			row[2].Color = cli.Red
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func holderTable(out cli.Output, holders []pool.Holder) cli.Table {
	t := cli.Table{Columns: []cli.Column{{Title: "NODE"}, {Title: "HELD BY", Fit: cli.CutHead}, {Title: "LEFT"}, {Title: "UNTIL"}}}
	for _, h := range holders {
		t.Rows = append(t.Rows, []cli.Cell{{Text: h.Node}, {Text: withSlot(h.Owner, h.Slot)}, {Text: out.Left(h.ExpiresAt)}, {Text: h.ExpiresAt.UTC().Format(time.RFC3339)}})
	}
	return t
}

// withSlot is an owner with the slot that tells its checkouts apart.
func withSlot(owner, slot string) string {
	if slot == "" {
		return owner
	}
	return owner + " (" + slot + ")"
}
