package main

import (
	"context"
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

// historyLimit is how many events history shows unless told: what a person reads, not the whole past.
const historyLimit = 100

func (a *app) historyCommand() *cobra.Command {
	var f pool.EventFilter
	var since, until string
	format := cli.Choice{Value: "table", Allowed: []string{"table", "json", "csv"}}
	cmd := &cobra.Command{
		Use:   "history",
		Short: "show what happened: who did what, when, to which node",
		Long: `Show what happened, oldest first: who did what, when, to which node. A time is an age (90m, 36h, 7d), a day
(2026-11-22) or a moment (2026-11-22T14:30:00Z); days begin at midnight UTC.`,
		Example: `  moltenironctl history --node node-1
  moltenironctl history --owner https://ci.example.org/job/nightly/1041/
  moltenironctl history --pool gpu --since 2026-11-20 --until 2026-11-21
  moltenironctl history --since 7d --limit 0 -o csv`,
		Args:        words(0, 0, ""),
		Annotations: databaseExits(12),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			now := time.Now()
			if f.Since, err = parseTime("--since", since, now); err != nil {
				return err
			}
			if f.Until, err = parseTime("--until", until, now); err != nil {
				return err
			}
			if f.Limit < 0 {
				return cli.Usagef("--limit %d: give 0 for all, or how many", f.Limit)
			}
			return a.withDB(cmd, func(ctx context.Context, db *pool.DB) error {
				events, err := db.Events(ctx, f)
				if err == nil && len(events) == 0 {
					err = everKnown(ctx, db, f)
				}
				if err != nil {
					return err
				}
				out := a.output()
				switch {
				case format.Value == "json":
					return out.Data("json", view.NewEvents(events))
				case format.Value == "csv":
					return eventsCSV(out, events)
				case len(events) == 0:
					_, err := fmt.Fprintln(out, "nothing happened")
					return err
				}
				return out.Table(eventTable(out, events, ""))
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Node, "node", "", "only of this `NODE`")
	fl.StringVar(&f.Owner, "owner", "", "only of this `OWNER`")
	fl.StringVar(&f.Pool, "pool", "", "only of this `POOL`")
	fl.StringVar(&since, "since", "", "only from this `TIME` on")
	fl.StringVar(&until, "until", "", "only before this `TIME`")
	fl.IntVar(&f.Limit, "limit", historyLimit, "the newest `N`; 0 is all")
	fl.VarP(&format, "output", "o", "`FORMAT`: table, json or csv")
	a.complete(cmd, "node", a.nodeNames)
	a.complete(cmd, "pool", a.poolNames)
	completeWords(cmd, "output", format.Allowed...)
	cmd.AddCommand(a.pruneCommand())
	return cmd
}

// everKnown refuses a node and a pool that there never was; history outlives both.
func everKnown(ctx context.Context, db *pool.DB, f pool.EventFilter) error {
	for _, ask := range []struct {
		name  string
		ever  pool.EventFilter
		exist func() error
	}{
		{f.Node, pool.EventFilter{Node: f.Node, Limit: 1}, func() error { _, err := db.Node(ctx, f.Node); return err }},
		{f.Pool, pool.EventFilter{Pool: f.Pool, Limit: 1}, func() error { _, err := db.Pool(ctx, f.Pool); return err }},
	} {
		if ask.name == "" {
			continue
		}
		if events, err := db.Events(ctx, ask.ever); err != nil || len(events) > 0 {
			return err
		}
		if err := ask.exist(); err != nil {
			return err
		}
	}
	return nil
}

// parseTime reads an age, a day or a moment; "" is the zero time.
func parseTime(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100_000 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, cli.Usagef("%s %q: write an age such as 36h or 7d, a day such as 2026-11-22, or a moment such as 2026-11-22T14:30:00Z", flag, s)
}

// eventColors mark what a reader of a history looks for.
var eventColors = map[string]cli.Color{
	"granted": cli.Blue, "claimed": cli.Blue, "released": cli.Green, "ready": cli.Green, "expired": cli.Red, "revoked": cli.Red,
	"broken": cli.Red, "lapsed": cli.Yellow, "cancelled": cli.Yellow, "dirty": cli.Yellow,
}

// eventTable leaves a column out that would say the same in each line: "" or the title of one.
func eventTable(out cli.Output, events []pool.Event, hide string) cli.Table {
	t := cli.Table{Columns: []cli.Column{
		{Title: "TIME"}, {Title: "EVENT"}, {Title: "NODE"}, {Title: "OWNER", Fit: cli.CutHead}, {Title: "BY", Fit: cli.CutTail}, {Title: "DETAIL", Fit: cli.CutTail},
	}}
	for _, e := range events {
		t.Rows = append(t.Rows, []cli.Cell{
			{Text: out.Time(e.At)}, {Text: e.Kind, Color: eventColors[e.Kind]}, {Text: e.Node}, {Text: withSlot(e.Owner, e.Slot)}, {Text: eventWho(e)}, {Text: eventDetail(e)},
		})
	}
	if i := slices.IndexFunc(t.Columns, func(c cli.Column) bool { return c.Title == hide }); i >= 0 {
		t.Columns = slices.Delete(t.Columns, i, i+1)
		for r := range t.Rows {
			t.Rows[r] = slices.Delete(t.Rows[r], i, i+1)
		}
	}
	return t
}

// eventWho is the person or agent of an event without the program, which the event's kind tells as well.
func eventWho(e pool.Event) string {
	if _, who, ok := strings.Cut(e.Actor, " by "); ok {
		return who
	}
	return e.Actor
}

// eventDetail is what the other columns do not tell.
func eventDetail(e pool.Event) string {
	var parts []string
	if e.Node == "" && e.Owner == "" && e.Pool != "" {
		parts = append(parts, "pool="+e.Pool)
	}
	for _, key := range slices.Sorted(maps.Keys(e.Detail)) {
		switch v := e.Detail[key].(type) {
		case string:
			if strings.ContainsAny(v, " \"") {
				v = strconv.Quote(v)
			}
			parts = append(parts, key+"="+v)
		case []any:
			words := make([]string, len(v))
			for i := range v {
				words[i] = fmt.Sprint(v[i])
			}
			parts = append(parts, key+"="+strings.Join(words, ","))
		default:
			parts = append(parts, fmt.Sprintf("%s=%v", key, v))
		}
	}
	return strings.Join(parts, " ")
}

func eventsCSV(out cli.Output, events []pool.Event) error {
	rows := make([][]string, len(events))
	for i, e := range events {
		rows[i] = []string{
			strconv.FormatInt(e.ID, 10), e.At.UTC().Format(time.RFC3339Nano), e.Operation, e.Actor, e.Kind, e.Pool, e.Node, e.Owner, e.Slot,
			known(e.Allocation), known(e.Generation), eventDetail(e),
		}
	}
	return out.CSV([]string{"id", "at", "operation", "actor", "kind", "pool", "node", "owner", "slot", "allocation", "generation", "detail"}, rows)
}
