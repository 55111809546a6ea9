package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// view is a page's data with all that is counted and drawn.
type view struct {
	Data
	Period string
	Pools  []poolView
	Events []Event // newest first
}

type poolView struct {
	Pool
	State   stateBar
	Figures []figure
	Charts  []chart
	Nodes   []nodeView
	Jobs    []job
	More    int // jobs that are left out
	Ends    []end
}

// figure is a number with what it says.
type figure struct{ Name, Value string }

type nodeView struct {
	Node
	Builds  int
	Percent int // of the period in use
}

// job is what the builds of one job had together.
type job struct {
	Name      string // "" where builds said none
	Requests  int
	NodeHours string
	Median    string // wait of those that were served
	Longest   string
	TakenBack int

	held  time.Duration
	waits []time.Duration
}

// end is how often requests ended in one way.
type end struct {
	Reason pool.EndReason
	Means  string
	Count  int
}

// maxJobs is how many jobs are listed: those that use the pool most.
const maxJobs = 20

// ends are the ways in which requests end, and what they mean, in the order in which they are shown.
var ends = []end{
	{Reason: pool.EndReleased, Means: "given back by its build"},
	{Reason: pool.EndExpired, Means: "taken back when its lease was over"},
	{Reason: pool.EndRevoked, Means: "taken back by a person, or because its build was over"},
	{Reason: pool.EndTimeout, Means: "not served within its wait"},
	{Reason: pool.EndImpossible, Means: "no node of the pool could ever meet it"},
	{Reason: pool.EndCancelled, Means: "its build gave up, or was aborted, before it had the nodes"},
	{Reason: pool.EndLapsed, Means: "its client died while it waited"},
	{Reason: pool.EndClosed, Means: "its build was over before it was served"},
}

func newView(d Data) view {
	v := view{Data: d, Period: span(d.At.Sub(d.Since)), Events: slices.Clone(d.Events)}
	slices.Reverse(v.Events)
	for _, p := range d.Pools {
		v.Pools = append(v.Pools, newPoolView(p, d.Since, d.At))
	}
	return v
}

// counts are what is counted of a pool's uses within a period.
type counts struct {
	queued, served int
	waits          []time.Duration // of those that were served
	held           time.Duration   // of all nodes together
	heldBy         map[string]time.Duration
	builds         map[string]int // by node
	jobs           map[string]*job
	ends           map[pool.EndReason]int
}

func count(uses []pool.Use, from, to time.Time) counts {
	c := counts{heldBy: map[string]time.Duration{}, builds: map[string]int{}, jobs: map[string]*job{}, ends: map[pool.EndReason]int{}}
	within := func(t time.Time) bool { return !t.IsZero() && !t.Before(from) && !t.After(to) }
	for _, u := range uses {
		j := c.jobs[u.Job]
		if j == nil {
			j = &job{Name: u.Job}
			c.jobs[u.Job] = j
		}
		if within(u.QueuedAt) {
			c.queued++
			j.Requests++
		}
		if within(u.GrantedAt) {
			c.served++
			wait := u.GrantedAt.Sub(u.QueuedAt)
			c.waits, j.waits = append(c.waits, wait), append(j.waits, wait)
		}
		if within(u.EndedAt) {
			c.ends[u.EndReason]++
			if u.EndReason.TakenBack() {
				j.TakenBack++
			}
		}
		for _, n := range u.Nodes {
			d := overlap(n, from, to, to)
			c.held, j.held = c.held+d, j.held+d
			c.heldBy[n.Node] += d
			c.builds[n.Node]++
		}
	}
	return c
}

// overlap is how much of the time between from and to a node was held; at is now.
func overlap(n pool.NodeUse, from, to, at time.Time) time.Duration {
	begin, end := n.From, n.To
	if end.IsZero() {
		end = at
	}
	if begin.Before(from) {
		begin = from
	}
	if end.After(to) {
		end = to
	}
	return max(0, end.Sub(begin))
}

func newPoolView(p Pool, from, to time.Time) poolView {
	c := count(p.Uses, from, to)
	period := to.Sub(from)
	v := poolView{Pool: p, State: newStateBar(p.Nodes)}
	busy := 0
	for _, n := range p.Nodes {
		if n.Owner.Name != "" {
			busy++
		}
		v.Nodes = append(v.Nodes, nodeView{Node: n, Builds: c.builds[n.Name], Percent: percent(c.heldBy[n.Name], period)})
	}
	// Nodes that were removed since have been used too.
	all := max(len(p.Nodes), len(c.heldBy))
	v.Figures = []figure{
		{"in use now", fmt.Sprintf("%d of %s", busy, plural(len(p.Nodes), "node", "nodes"))},
		{"waiting now", plural(len(p.Queue), "request", "requests")},
		{"utilisation", fmt.Sprintf("%d %%", percent(c.held, time.Duration(all)*period))},
		{"requests", fmt.Sprint(c.queued)},
		{"served", fmt.Sprint(c.served)},
	}
	if c.served > 0 {
		v.Figures = append(v.Figures, figure{"median wait", span(quantile(c.waits, 0.5))},
			figure{"9 of 10 waited at most", span(quantile(c.waits, 0.9))}, figure{"longest wait", span(quantile(c.waits, 1))})
	}
	for _, e := range ends {
		if e.Count = c.ends[e.Reason]; e.Count > 0 {
			v.Ends = append(v.Ends, e)
		}
	}
	b := newBuckets(from, to)
	v.Charts = []chart{useChart(p.Uses, b, len(p.Nodes)), waitChart(p.Uses, b)}

	jobs := make([]*job, 0, len(c.jobs))
	for _, j := range c.jobs {
		jobs = append(jobs, j)
	}
	slices.SortFunc(jobs, func(a, b *job) int { return cmp.Or(cmp.Compare(b.held, a.held), cmp.Compare(a.Name, b.Name)) })
	v.More = max(0, len(jobs)-maxJobs)
	for _, j := range jobs[:len(jobs)-v.More] {
		j.NodeHours = fmt.Sprintf("%.1f", j.held.Hours())
		if len(j.waits) > 0 {
			j.Median, j.Longest = span(quantile(j.waits, 0.5)), span(quantile(j.waits, 1))
		}
		v.Jobs = append(v.Jobs, *j)
	}
	return v
}

// quantile is the value that a share of them does not exceed, 0 for none.
func quantile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	i := int(share*float64(len(sorted))+0.9999999) - 1 // the nearest rank
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// percent is how much part is of whole, rounded, 0 when there is nothing.
func percent(part, whole time.Duration) int {
	if whole <= 0 {
		return 0
	}
	return min(100, int(100*part.Seconds()/whole.Seconds()+0.5))
}
