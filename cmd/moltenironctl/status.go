package main

import (
	"context"
	"fmt"
	"io"
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

// watchEvery is how often --watch looks: often enough for a person, and cheap for the database.
const watchEvery = 2 * time.Second

// Words for --status and the table that are no statuses: a person's decision hides what the machine's
// own status says, and the other three are what somebody may have to see to.
const (
	maintenance = "maintenance"
	inHold      = "hold"
	suspect     = "suspect"
	expiring    = "expiring"
)

// statusWords are what --status takes.
var statusWords = []string{
	string(pool.Ready), string(pool.Allocated), string(pool.Dirty), string(pool.Broken), maintenance, inHold, suspect, expiring,
}

// soon is how long before its end a lease is shown as about to expire: a person has the time to extend it.
const soon = 30 * time.Minute

type statusOptions struct {
	names    []string
	pool     string
	statuses []string
	format   cli.Choice
}

func (a *app) statusCommand() *cobra.Command {
	o := statusOptions{format: cli.Choice{Value: "table", Allowed: []string{"table", "wide", "json", "yaml", "csv"}}}
	var watch bool
	cmd := &cobra.Command{
		Use:   "status [NODE…]",
		Short: "show nodes, who holds them and until when",
		Long: `Show nodes, who holds them and until when, and a line about each pool. In a table, a node in maintenance that a
build still holds is "draining", one that is kept for a post-mortem is in "hold". "Suspect" are nodes that were
taken back from a build that never gave them back, and "expiring" those whose lease ends within 30 minutes.`,
		Example: `  moltenironctl status
  moltenironctl status --pool gpu --status broken,maintenance
  moltenironctl status --status expiring,hold,suspect
  moltenironctl status node-1 node-2 -o wide
  moltenironctl status -o json | jq -r '.[] | select(.owner == "") | .name'
  moltenironctl status --watch`,
		Annotations: databaseExits(12),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.names = args
			if watch && o.format.Value != "table" && o.format.Value != "wide" {
				return cli.Usagef("--watch shows tables; leave -o %s away", o.format.Value)
			}
			for _, s := range o.statuses {
				if !slices.Contains(statusWords, s) {
					return cli.Usagef("--status %q: use one of %s", s, strings.Join(statusWords, ", "))
				}
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				if other, err := db.OtherMachine(ctx); err != nil {
					return err
				} else if other != "" {
					a.say("warning: %s was made on machine %s, this is another: its copies hand out the same nodes twice; if it moved here for good, type: moltenironctl recover", db.URL(), other)
				}
				if !watch {
					return a.status(ctx, a.output(), db, o)
				}
				return a.watch(ctx, db, o)
			})
		},
	}
	f := cmd.Flags()
	f.VarP(&o.format, "output", "o", "`FORMAT`: table, wide, json, yaml or csv")
	f.StringVar(&o.pool, "pool", "", "only nodes of this `POOL`")
	f.StringSliceVar(&o.statuses, "status", nil, "only nodes that are one of "+strings.Join(statusWords, ", ")+"; several with commas")
	f.BoolVar(&watch, "watch", false, "show it again every 2 seconds, until interrupted")
	cmd.ValidArgsFunction = a.anyNodes
	a.complete(cmd, "pool", a.poolNames)
	completeWords(cmd, "output", o.format.Allowed...)
	completeWords(cmd, "status", statusWords...)
	return cmd
}

// watch repeats status until the context ends. On a terminal each look replaces the last.
func (a *app) watch(ctx context.Context, db *pool.DB, o statusOptions) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		var b strings.Builder
		out := a.output()
		screen := out
		out.Writer = &b
		if screen.Terminal() {
			b.WriteString("\x1b[H\x1b[2J")
		}
		fmt.Fprintf(&b, "%s  %s\n\n", db.URL(), time.Now().UTC().Format(time.RFC3339))
		if err := a.status(ctx, out, db, o); ctx.Err() != nil { // the way to end it
			return nil
		} else if err != nil {
			return err
		}
		if !screen.Terminal() {
			b.WriteByte('\n')
		}
		if _, err := io.WriteString(screen, b.String()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (a *app) status(ctx context.Context, out cli.Output, db *pool.DB, o statusOptions) error {
	nodes, err := db.Nodes(ctx, pool.NodeFilter{Names: o.names, Pool: o.pool})
	if err != nil {
		return err
	}
	all := nodes
	nodes = nil
	for _, n := range all {
		if len(o.statuses) == 0 || slices.ContainsFunc(o.statuses, func(s string) bool { return matches(n, s, out.Now) }) {
			nodes = append(nodes, n)
		}
	}
	switch o.format.Value {
	case "json", "yaml":
		return out.Data(o.format.Value, view.NewNodes(nodes, false))
	case "csv":
		return nodesCSV(out, nodes)
	}
	pools, err := db.Pools(ctx)
	if err != nil {
		return err
	}
	if o.pool != "" {
		pools = slices.DeleteFunc(pools, func(p pool.PoolInfo) bool { return p.Name != o.pool })
	}
	switch {
	case len(nodes) > 0:
		if err := out.Table(nodeTable(out, nodes, o.format.Value == "wide")); err != nil {
			return err
		}
	case len(o.statuses) > 0:
		words := strings.NewReplacer(maintenance, "in "+maintenance, inHold, "in "+inHold).Replace(strings.Join(o.statuses, " or "))
		_, err = fmt.Fprintf(out, "no node is %s\n", words)
	default:
		_, err = fmt.Fprintln(out, "no nodes yet, add one with: moltenironctl add NAME --bmc-address ADDRESS …")
	}
	if err != nil {
		return err
	}
	if len(o.names) > 0 { // who asks about nodes did not ask about pools
		return nil
	}
	fmt.Fprintln(out)
	for _, p := range pools {
		if _, err := fmt.Fprintln(out, poolSummary(out, p, all)); err != nil {
			return err
		}
	}
	return nil
}

// matches says whether a word of --status is true of a node.
func matches(n pool.Node, word string, now time.Time) bool {
	switch word {
	case maintenance:
		return n.Maintenance
	case inHold:
		return n.HoldReason != ""
	case suspect:
		return n.Suspect
	case expiring:
		return n.Status == pool.Allocated && n.ExpiresAt.Before(now.Add(soon))
	}
	return string(n.Status) == word
}

// nodeStatus is the word of the table for what a person may expect of the node.
func nodeStatus(n pool.Node) cli.Cell {
	switch {
	case n.Maintenance && n.Status == pool.Allocated:
		return cli.Cell{Text: "draining", Color: cli.Purple}
	case n.Maintenance:
		return cli.Cell{Text: maintenance, Color: cli.Purple}
	case n.HoldReason != "":
		return cli.Cell{Text: inHold, Color: cli.Yellow}
	}
	color := map[pool.Status]cli.Color{pool.Ready: cli.Green, pool.Allocated: cli.Blue, pool.Dirty: cli.Yellow, pool.Broken: cli.Red}
	return cli.Cell{Text: string(n.Status), Color: color[n.Status]}
}

// nodeLeft is what is left of the lease, marked when somebody may want to extend it.
func nodeLeft(out cli.Output, n pool.Node) cli.Cell {
	c := cli.Cell{Text: out.Left(n.ExpiresAt)}
	switch {
	case !matches(n, expiring, out.Now):
	case n.ExpiresAt.After(out.Now):
		c.Color = cli.Yellow
	default:
		c.Color = cli.Red
	}
	return c
}

// nodeReason joins what there is to say about the node's state.
func nodeReason(n pool.Node) string {
	var parts []string
	if n.Maintenance && n.MaintReason != "" {
		parts = append(parts, n.MaintReason)
	}
	if n.Maintenance && n.Status == pool.Broken {
		parts = append(parts, "broken")
	}
	if n.HoldReason != "" {
		parts = append(parts, "hold: "+n.HoldReason)
	}
	if n.Suspect {
		parts = append(parts, suspect)
	}
	if n.Reason != "" {
		parts = append(parts, n.Reason)
	}
	return strings.Join(parts, "; ")
}

func nodeTable(out cli.Output, nodes []pool.Node, wide bool) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Title: "NAME"}, {Title: "POOL"}, {Title: "STATUS"}, {Title: "OWNER", Fit: cli.CutHead},
		{Title: "SINCE"}, {Title: "LEFT"}, {Title: "REASON", Fit: cli.CutTail},
	}}
	if wide {
		t.Columns = append(t.Columns, cli.Column{Title: "BMC"}, cli.Column{Title: "MAC"}, cli.Column{Title: "ARCH"},
			cli.Column{Title: "CPUS", Right: true}, cli.Column{Title: "RAM_MB", Right: true}, cli.Column{Title: "DISK_GB", Right: true},
			cli.Column{Title: "IPS"}, cli.Column{Title: "COST", Right: true}, cli.Column{Title: "PROPERTIES"})
	}
	if wide { // who asks for that wants to see all of it
		for i := range t.Columns {
			t.Columns[i].Fit = cli.Keep
		}
	}
	for _, n := range nodes {
		row := []cli.Cell{
			{Text: n.Name}, {Text: n.Pool}, nodeStatus(n), {Text: withSlot(n.Owner, n.Slot)},
			{Text: out.Time(n.Since)}, nodeLeft(out, n), {Text: nodeReason(n)},
		}
		if wide {
			for _, text := range []string{
				fmt.Sprintf("%s://%s", n.BMC.Driver, endpoint(n.BMC)), strings.Join(n.MACs, ","), n.Arch, known(n.CPUs), known(n.RAMMB),
				known(n.DiskGB), strings.Join(n.IPs, ","), strconv.FormatInt(n.Cost, 10), strings.Join(properties(n), " "),
			} {
				row = append(row, cli.Cell{Text: text})
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// nodesCSV has the fields that get and set know as columns, except secret ones.
func nodesCSV(out cli.Output, nodes []pool.Node) error {
	var header []string
	for _, f := range pool.NodeFields {
		if !f.Secret {
			header = append(header, f.Name)
		}
	}
	rows := make([][]string, len(nodes))
	for i, n := range nodes {
		for _, name := range header {
			value, err := n.Field(name)
			if err != nil {
				return err
			}
			rows[i] = append(rows[i], value)
		}
		rows[i] = append(rows[i], strings.Join(properties(n), " "))
	}
	return out.CSV(append(header, "properties"), rows)
}

// poolSummary is a line about a pool; nodes are all of its nodes, and may be those of others too.
func poolSummary(out cli.Output, p pool.PoolInfo, nodes []pool.Node) string {
	var parts []string
	total := p.Maintenance
	for _, s := range pool.Statuses {
		if n := p.Nodes[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
			total += n
		}
	}
	if p.Maintenance > 0 {
		parts = append(parts, fmt.Sprintf("%d in maintenance", p.Maintenance))
	}
	held, ending := 0, 0
	for _, n := range nodes {
		if n.Pool == p.Name && matches(n, inHold, out.Now) {
			held++
		}
		if n.Pool == p.Name && matches(n, expiring, out.Now) {
			ending++
		}
	}
	if held > 0 {
		parts = append(parts, fmt.Sprintf("%d in hold", held))
	}
	if ending > 0 {
		parts = append(parts, out.Paint(fmt.Sprintf("%d expiring within %s", ending, cli.Precise(soon)), cli.Yellow))
	}
	if p.Suspect > 0 {
		parts = append(parts, fmt.Sprintf("%d suspect", p.Suspect))
	}
	if p.Waiting > 0 {
		parts = append(parts, fmt.Sprintf("%d waiting", p.Waiting))
	}
	text := fmt.Sprintf("pool %s: %s", p.Name, nodeCount(total))
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if p.Paused {
		text += out.Paint("; paused: "+cli.Printable(p.PausedReason), cli.Yellow)
	}
	return text
}

func endpoint(b pool.BMC) string {
	address := b.Address
	if i := strings.Index(address, "://"); i >= 0 {
		address = address[i+3:]
	}
	if strings.Contains(address, ":") && !strings.HasPrefix(address, "[") {
		address = "[" + address + "]"
	}
	return fmt.Sprintf("%s:%d", address, b.Port)
}

// known writes a number; 0 stands for one that nobody told.
func known(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func properties(n pool.Node) []string {
	list := make([]string, 0, len(n.Properties))
	for _, key := range slices.Sorted(maps.Keys(n.Properties)) {
		list = append(list, key+"="+n.Properties[key])
	}
	return list
}
