package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/view"
)

// How much of the past show tells; history has the rest.
const (
	showEvents      = 10
	showAllocations = 10
)

func (a *app) showCommand() *cobra.Command {
	format := cli.Choice{Value: "text", Allowed: []string{"text", "json", "yaml"}}
	cmd := &cobra.Command{
		Use:   "show NODE|OWNER|ALLOCATION",
		Short: "show all that is known of one node, owner or allocation",
		Long: `Show all that is known of one thing, with its recent history. A word is looked for among the nodes first, then
as the number of an allocation, then as an owner. As JSON or YAML: the node, the allocation, or the array
of the owner's allocations.`,
		Example: `  moltenironctl show node-1
  moltenironctl show 1041
  moltenironctl show https://ci.example.org/job/nightly/1041/
  moltenironctl show 1041 -o json`,
		Args:              words(1, 1, "NODE, OWNER or ALLOCATION"),
		Annotations:       databaseExits(12),
		ValidArgsFunction: a.firstNode,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				return a.show(ctx, db, args[0], format.Value)
			})
		},
	}
	cmd.Flags().VarP(&format, "output", "o", "`FORMAT`: text, json or yaml")
	completeWords(cmd, "output", format.Allowed...)
	return cmd
}

func (a *app) show(ctx context.Context, db *pool.DB, word, format string) error {
	n, err := db.Node(ctx, word)
	if err == nil {
		return a.showNode(ctx, db, n, format)
	}
	if !errors.Is(err, pool.ErrNotFound) {
		return err
	}
	if id, parseErr := strconv.ParseInt(word, 10, 64); parseErr == nil {
		al, err := db.Allocation(ctx, id)
		if err == nil {
			return a.showAllocation(ctx, db, al, format)
		}
		if !errors.Is(err, pool.ErrNotFound) {
			return err
		}
	}
	list, err := db.Allocations(ctx, pool.AllocationFilter{Owner: word, Limit: showAllocations})
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return &pool.Error{Class: pool.ErrNotFound, Text: fmt.Sprintf("no node, allocation or owner %q; see moltenironctl status, moltenironctl history", word)}
	}
	why := make([]string, len(list))
	for i := range list {
		if why[i], err = place(ctx, db, &list[i]); err != nil {
			return err
		}
	}
	out := a.output()
	if format != "text" {
		return out.Data(format, view.NewAllocations(list))
	}
	for i := range list {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if err := writeAllocation(out, &list[i], why[i]); err != nil {
			return err
		}
	}
	return a.recent(ctx, out, db, pool.EventFilter{Owner: word}, "OWNER")
}

func (a *app) showNode(ctx context.Context, db *pool.DB, n pool.Node, format string) error {
	out := a.output()
	if format != "text" {
		return out.Data(format, view.NewNode(n, false))
	}
	status := nodeStatus(n)
	f := fields{
		{"node", n.Name}, {"pool", n.Pool}, {"status", out.Paint(status.Text, status.Color) + ", " + since(out, n.Since)},
		{"reason", cli.Printable(nodeReason(n))}, {"owner", cli.Printable(n.Owner)}, {"slot", n.Slot}, {"allocation", known(n.Allocation)},
	}
	if !n.ExpiresAt.IsZero() {
		f = append(f, field{"lease left", left(out, n.ExpiresAt)})
	}
	f = append(f, field{"generation", strconv.FormatInt(n.Generation, 10)}, field{"bmc", n.BMC.Driver + "://" + endpoint(n.BMC)},
		field{"bmc system", n.BMC.SystemID}, field{"bmc verify", n.BMC.Verify}, field{"mac", strings.Join(n.MACs, " ")}, field{"arch", n.Arch},
		field{"cpus", known(n.CPUs)}, field{"ram_mb", known(n.RAMMB)}, field{"disk_gb", known(n.DiskGB)}, field{"ip", strings.Join(n.IPs, " ")},
		field{"cost", strconv.FormatInt(n.Cost, 10)})
	for _, p := range properties(n) {
		key, value, _ := strings.Cut(p, "=")
		f = append(f, field{"property " + key, cli.Printable(value)})
	}
	if err := f.write(out); err != nil {
		return err
	}
	return a.recent(ctx, out, db, pool.EventFilter{Node: n.Name}, "NODE")
}

// place gives an allocation that waits its place in the queue, and says why it waits.
func place(ctx context.Context, db *pool.DB, al *pool.Allocation) (why string, err error) {
	if al.State != pool.Waiting {
		return "", nil
	}
	e, err := db.Explain(ctx, pool.ExplainRequest{Owner: al.Owner, Slot: al.Slot})
	if errors.Is(err, pool.ErrNotFound) { // served meanwhile
		return "", nil
	} else if err != nil {
		return "", err
	}
	al.Place = e.Place
	return e.Reason, nil
}

func (a *app) showAllocation(ctx context.Context, db *pool.DB, al *pool.Allocation, format string) error {
	why, err := place(ctx, db, al)
	if err != nil {
		return err
	}
	out := a.output()
	if format != "text" {
		return out.Data(format, view.NewAllocation(al, false))
	}
	if err := writeAllocation(out, al, why); err != nil {
		return err
	}
	return a.recent(ctx, out, db, pool.EventFilter{Allocation: al.ID}, "OWNER")
}

func writeAllocation(out cli.Output, al *pool.Allocation, why string) error {
	state := string(al.State)
	if al.EndReason != "" {
		state += ": " + string(al.EndReason)
	}
	if al.EndDetail != "" {
		state += " (" + cli.Printable(al.EndDetail) + ")"
	}
	f := fields{
		{"allocation", strconv.FormatInt(al.ID, 10)}, {"owner", cli.Printable(al.Owner)}, {"slot", al.Slot}, {"pool", al.Pool}, {"state", state},
		{"wants", cli.Printable(pool.Describe(al.Groups))}, {"priority", known(int64(al.Priority))}, {"place", known(int64(al.Place))}, {"why", cli.Printable(why)},
		{"nodes", strings.Join(al.NodeNames(), " ")}, {"queued", since(out, al.QueuedAt)}, {"granted", since(out, al.GrantedAt)},
		{"claimed", since(out, al.ClaimedAt)}, {"ended", since(out, al.EndedAt)}, {"result", cli.Printable(al.Result)}, {"client", cli.Printable(al.Where)},
	}
	if al.State == pool.Claimed {
		f = append(f, field{"lease left", left(out, al.ExpiresAt)})
	}
	if al.HoldReason != "" {
		f = append(f, field{"hold", cli.Printable(al.HoldReason)})
	}
	for _, key := range slices.Sorted(maps.Keys(al.Labels)) {
		f = append(f, field{"label " + key, cli.Printable(al.Labels[key])})
	}
	return f.write(out)
}

// recent writes the last events under a heading, without the column that all have in common.
func (a *app) recent(ctx context.Context, out cli.Output, db *pool.DB, f pool.EventFilter, hide string) error {
	f.Limit = showEvents
	events, err := db.Events(ctx, f)
	if err != nil || len(events) == 0 {
		return err
	}
	if _, err := fmt.Fprintf(out, "\n%s\n", out.Paint("recent history", cli.Bold)); err != nil {
		return err
	}
	return out.Table(eventTable(out, events, hide))
}

// fields are names with values; those without a value are not shown.
type (
	field  struct{ name, value string }
	fields []field
)

func (f fields) write(out cli.Output) error {
	width := 0
	for _, x := range f {
		if x.value != "" {
			width = max(width, len(x.name))
		}
	}
	var b strings.Builder
	for _, x := range f {
		if x.value != "" {
			fmt.Fprintf(&b, "%-*s  %s\n", width+1, x.name+":", x.value)
		}
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}

// since writes a moment with its age, for one who looks at one thing.
func since(out cli.Output, t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case out.Terminal():
		return fmt.Sprintf("%s (%s)", out.Time(t), t.UTC().Format(time.RFC3339))
	}
	return out.Time(t)
}

// left writes what is left of a lease with its end.
func left(out cli.Output, t time.Time) string {
	return fmt.Sprintf("%s (until %s)", out.Left(t), t.UTC().Format(time.RFC3339))
}
