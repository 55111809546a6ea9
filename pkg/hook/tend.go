package hook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/jenkins"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/view"
)

// Care is what Tend is asked for.
type Care struct {
	Jenkins *jenkins.Client // asks whether builds are in progress; nil asks nobody
	Confirm time.Duration   // between the two looks at a build that seems to have finished
	Keep    time.Duration   // history that is older is removed, once a day; 0 keeps all
	Tell    func(view.Deed) // is told what is done, as it is done
}

// tending is one run of Tend.
type tending struct {
	Process
	Care
	db *pool.DB
}

// Tend does what nobody else may be there to do: it makes the releases that wait on this machine, takes
// nodes from builds that Jenkins knows to be over, extends the leases of those that run, and takes back
// what is due; last it removes old history. What fails does not keep the rest from being done. Errors are
// those of package pool, and of controllers that answer nobody until somebody mends their account or URL.
func Tend(ctx context.Context, p Process, c Care) error {
	db, err := p.Open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	t := &tending{Process: p, Care: c, db: db}
	errs := []error{t.makeKept(ctx)}
	if c.Jenkins != nil {
		// Before leases are looked at: one that is extended is not over.
		errs = append(errs, t.askJenkins(ctx))
	}
	if ctx.Err() == nil {
		_, err = db.TendTelling(ctx, t.event)
		errs = append(errs, err)
	}
	if ctx.Err() == nil && c.Keep > 0 {
		errs = append(errs, t.forget(ctx))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

// forget removes the history of whole days: the first run of a day does it, and the others find nothing, so
// that it is told of once. This machine's clock decides how much more than asked is kept, and no more.
func (t *tending) forget(ctx context.Context) error {
	now := time.Now()
	keep := now.Sub(now.Add(-t.Keep).Truncate(24 * time.Hour))
	r, err := t.db.PruneHistory(ctx, keep, nil)
	if r.Events+r.Allocations > 0 {
		t.Tell(view.NewDeed("history-pruned", "", nil, "", "", 0,
			fmt.Sprintf("%d events and %d allocations from before %s removed from the history", r.Events, r.Allocations, moment(r.Before))))
	}
	return err
}

// makeKept makes the releases that wait on this machine.
func (t *tending) makeKept(ctx context.Context) error {
	var trouble error
	report := t.replay(ctx, t.db, func(k kept) {
		for _, d := range k.deeds() {
			t.Tell(d)
		}
	})
	for _, err := range report.Aside {
		t.Tell(view.NewDeed("set-aside", "", nil, "", "", 0, err.Error()))
	}
	elsewhere := map[string]int{}
	for _, database := range report.Elsewhere {
		elsewhere[database]++
	}
	for _, database := range slices.Sorted(maps.Keys(elsewhere)) {
		t.Tell(view.NewDeed("waits", "", nil, "", "", 0, fmt.Sprintf("releases that wait for another database: %d; make them with: moltenironctl tend --database %s",
			elsewhere[database], database)))
	}
	if report.Left > 0 && ctx.Err() == nil {
		trouble = fmt.Errorf("%d releases wait on, because the database did not answer", report.Left)
	}
	return errors.Join(append(report.Unread, trouble)...)
}

// deeds says what became of a release that waited.
func (k kept) deeds() []view.Deed {
	asked := k.Asked.UTC().Format(time.RFC3339)
	var deeds []view.Deed
	for _, a := range k.held {
		d := view.NewDeed("held", a.Pool, a.NodeNames(), a.Owner, a.Slot, a.ID, heldWords(&a))
		d.Result, d.ExpiresAt = a.Result, view.Time{Time: a.ExpiresAt}
		deeds = append(deeds, d)
	}
	for _, err := range k.refused {
		deeds = append(deeds, view.NewDeed("not-held", "", nil, k.Owner, "", 0, fmt.Sprintf("a hold for a post-mortem that %q asked for at %s: %v", k.Owner, asked, err)))
	}
	for _, r := range k.released {
		if r.Again || len(r.Nodes) == 0 {
			continue
		}
		d := view.NewDeed("released", r.Pool, r.NodeNames(), r.Owner, r.Slot, r.ID,
			fmt.Sprintf("%s given back for %q (allocation %d), which could not reach the database at %s", strings.Join(r.NodeNames(), ", "), k.Owner, r.ID, asked))
		d.Result = r.Result
		deeds = append(deeds, d)
	}
	switch {
	case k.lost != nil:
		deeds = append(deeds, view.NewDeed("too-late", "", nil, k.Owner, "", 0, fmt.Sprintf("the release that %q asked for at %s came too late: %v", k.Owner, asked, k.lost)))
	case len(deeds) == 0:
		deeds = append(deeds, view.NewDeed("nothing-left", "", nil, k.Owner, "", 0,
			fmt.Sprintf("the release that %q asked for at %s has nothing to give back any more", k.Owner, asked)))
	}
	return deeds
}

// event tells what the pool did.
func (t *tending) event(e pool.Event) {
	reason, _ := e.Detail["reason"].(string)
	var text string
	switch e.Kind {
	case string(pool.EndExpired):
		text = fmt.Sprintf("%s taken back from %q: its lease is over", e.Node, e.Owner)
	case string(pool.EndLapsed):
		text = fmt.Sprintf("the request of %q ended: its client gave no sign of life", e.Owner)
		if e.Node != "" {
			text = fmt.Sprintf("%s taken back from the client of %q, which gave no sign of life", e.Node, e.Owner)
		}
	case "broken":
		text = fmt.Sprintf("%s is broken: %s", e.Node, reason)
	case "granted":
		text = fmt.Sprintf("%s handed to %q", e.Node, e.Owner)
	default:
		text = strings.TrimSpace(fmt.Sprintf("%s: %s %s", e.Kind, e.Node, e.Owner))
	}
	var nodes []string
	if e.Node != "" {
		nodes = []string{e.Node}
	}
	t.Tell(view.NewDeed(e.Kind, e.Pool, nodes, e.Owner, e.Slot, e.Allocation, text))
}

// A lease that Jenkins' word extends gets this much more, or as much as was asked for at first if that was
// less: long enough to outlast a few runs that do not come, short enough that a controller which goes away
// does not keep nodes for long. It is done when less than half of that is left, so that a build of many
// hours is not extended every few minutes.
const extension = time.Hour

// askJenkins asks the controllers about the builds that hold something or wait.
func (t *tending) askJenkins(ctx context.Context) error {
	list, err := t.db.Allocations(ctx, pool.AllocationFilter{States: []pool.State{pool.Waiting, pool.Granted, pool.Claimed}})
	if err != nil {
		return err
	}
	pools, err := t.db.Pools(ctx)
	if err != nil {
		return err
	}
	longest := map[string]time.Duration{}
	for _, p := range pools {
		longest[p.Name] = p.Policy.MaxLease
	}
	var builds []jenkins.Build
	owners := map[string]int{} // index in builds
	slices.Reverse(list)       // the oldest first
	list = slices.DeleteFunc(list, func(a pool.Allocation) bool {
		if a.Detached { // a ticket outlives the build that left it
			return true
		}
		if _, known := owners[a.Owner]; known {
			return false
		}
		b, ok := t.Jenkins.Find(a.Owner)
		if ok {
			owners[a.Owner] = len(builds)
			builds = append(builds, b)
		}
		return !ok
	})
	answers := t.Jenkins.Ask(ctx, builds, t.Confirm)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var errs []error
	for _, a := range list {
		switch answer := answers[owners[a.Owner]]; answer.State {
		case jenkins.Finished:
			errs = append(errs, t.finished(ctx, a, answer.Result))
		case jenkins.Running:
			errs = append(errs, t.running(ctx, a, longest[a.Pool]))
		}
	}
	return errors.Join(append(errs, t.unknown(builds, answers))...)
}

// finished ends what a build that is over still has.
func (t *tending) finished(ctx context.Context, a pool.Allocation, result string) error {
	reason := "Jenkins says that the build has finished"
	if result != "" {
		reason += " (" + result + ")"
	}
	ended, err := t.db.EndGone(ctx, pool.GoneBuild{Allocation: a.ID, Owner: a.Owner, Reason: reason, Result: result})
	if err != nil || !ended {
		return err
	}
	d := view.NewDeed(string(pool.EndCancelled), a.Pool, nil, a.Owner, a.Slot, a.ID, fmt.Sprintf("the request of %q ended: %s", a.Owner, reason))
	if a.State == pool.Claimed {
		d = view.NewDeed(string(pool.EndRevoked), a.Pool, a.NodeNames(), a.Owner, a.Slot, a.ID,
			fmt.Sprintf("%s taken back from %q: %s", strings.Join(a.NodeNames(), ", "), a.Owner, reason))
	}
	d.Result = result
	t.Tell(d)
	return nil
}

// running extends the lease of a build that is in progress.
func (t *tending) running(ctx context.Context, a pool.Allocation, longest time.Duration) error {
	if a.State != pool.Claimed || a.HoldReason != "" {
		return nil
	}
	step := min(a.Lease, extension)
	deed := func(action, format string, args ...any) view.Deed {
		return view.NewDeed(action, a.Pool, a.NodeNames(), a.Owner, a.Slot, a.ID, fmt.Sprintf(format, args...))
	}
	if end := a.ClaimedAt.Add(longest); !a.ExpiresAt.Before(end) {
		if time.Until(a.ExpiresAt) < step/2 {
			d := deed("capped", "%q still runs, and its lease ends at %s: pool %s allows no more (max_lease)", a.Owner, moment(a.ExpiresAt), a.Pool)
			d.ExpiresAt = view.Time{Time: a.ExpiresAt}
			t.Tell(d)
		}
		return nil
	}
	b, err := t.db.Extend(ctx, pool.ExtendRequest{Owner: a.Owner, Slot: a.Slot, Lease: step, Below: step / 2})
	switch {
	case errors.Is(err, pool.ErrConflict) || errors.Is(err, pool.ErrNotFound): // it ended meanwhile
		return nil
	case err != nil:
		return err
	case b.ID == a.ID && b.ExpiresAt.After(a.ExpiresAt):
		d := deed("extended", "%q still runs: it has %s until %s", a.Owner, strings.Join(a.NodeNames(), ", "), moment(b.ExpiresAt))
		d.ExpiresAt = view.Time{Time: b.ExpiresAt}
		t.Tell(d)
	}
	return nil
}

func moment(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// unknown tells of the builds of which nothing is known, together: a controller that is away would fill
// the log. It is an error when somebody must mend something.
func (t *tending) unknown(builds []jenkins.Build, answers []jenkins.Answer) error {
	type trouble struct {
		controller, why string
		misconfigured   bool
	}
	count := map[trouble]int{}
	var order []trouble
	for i, a := range answers {
		if a.State != jenkins.Unknown {
			continue
		}
		k := trouble{builds[i].Controller(), a.Why, a.Misconfigured}
		if count[k]++; count[k] == 1 {
			order = append(order, k)
		}
	}
	var errs []error
	for _, k := range order {
		text := fmt.Sprintf("%s tells nothing of %d builds, which keep what they have to the end of their lease: %s", k.controller, count[k], k.why)
		if count[k] == 1 {
			text = fmt.Sprintf("%s tells nothing of a build, which keeps what it has to the end of its lease: %s", k.controller, k.why)
		}
		if k.misconfigured {
			errs = append(errs, errors.New(text))
			continue
		}
		t.Tell(view.NewDeed("unknown", "", nil, "", "", 0, text))
	}
	return errors.Join(errs...)
}
