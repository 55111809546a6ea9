package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// The size of a chart, and of the room around its bars, in pixels of a page that is not scaled.
const (
	chartWidth, chartHeight = 720, 170
	plotLeft, plotTop       = 52, 10
	plotRight, plotBottom   = chartWidth - 8, chartHeight - 26
	barHeight               = 18 // of the bar that shows the nodes' states
)

// number is a coordinate, in tenths of a pixel.
type number float64

func (n number) String() string {
	return strconv.FormatFloat(math.Round(float64(n)*10)/10, 'f', -1, 64)
}

// rect is a bar. Fill is its colour without a style sheet, Class names it for that; Title is shown to who points at it.
type rect struct {
	X, Y, W, H  number
	Class, Fill string
	Title       string
}

// tick is a mark of an axis.
type tick struct {
	At   number
	Text string
}

// key explains a colour.
type key struct{ Class, Fill, Text string }

// chart is a drawing of bars over the time.
type chart struct {
	Title, About  string
	Width, Height int
	Left, Right   int
	Top, Bottom   int
	LabelX        int // of the vertical axis's texts
	LabelY        int // of the horizontal axis's
	Bars          []rect
	Ticks         []tick // of the vertical axis
	Times         []tick // of the horizontal axis
	Limit         *tick  // a line
	Keys          []key
	Empty         string // what is written where there is no bar
}

// buckets part a period for bars.
type buckets struct {
	from, to time.Time
	step     time.Duration
	first    time.Time // the beginning of the first, which may lie before from
	n        int
}

// maxBars keeps them wide enough to be pointed at.
const maxBars = 60

// Steps of buckets and of the labels of the horizontal axis: what people part days and weeks by.
var (
	steps = []time.Duration{
		time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
		24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 28 * 24 * time.Hour, 91 * 24 * time.Hour, 364 * 24 * time.Hour,
	}
	waitSteps = []time.Duration{
		time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour, 364 * 24 * time.Hour,
	}
)

// stepFor is the least step that is taken at most so often.
func stepFor(steps []time.Duration, whole time.Duration, most int) time.Duration {
	for _, s := range steps {
		if whole <= time.Duration(most)*s {
			return s
		}
	}
	last := steps[len(steps)-1]
	step := last
	for whole > time.Duration(most)*step {
		step += last
	}
	return step
}

func newBuckets(from, to time.Time) buckets {
	from, to = from.UTC(), to.UTC()
	if !to.After(from) {
		to = from.Add(time.Minute)
	}
	b := buckets{from: from, to: to, step: stepFor(steps, to.Sub(from), maxBars)}
	b.first = from.Truncate(b.step)
	b.n = int((to.Sub(b.first) + b.step - 1) / b.step)
	return b
}

// index is the bucket of a moment, -1 for one outside.
func (b buckets) index(t time.Time) int {
	if t.Before(b.from) || t.After(b.to) {
		return -1
	}
	return min(int(t.Sub(b.first)/b.step), b.n-1)
}

// span gives the part of the period that a bucket covers.
func (b buckets) span(i int) (from, to time.Time) {
	from = b.first.Add(time.Duration(i) * b.step)
	to = from.Add(b.step)
	if from.Before(b.from) {
		from = b.from
	}
	if to.After(b.to) {
		to = b.to
	}
	return from, to
}

// x is where a moment is drawn.
func (b buckets) x(t time.Time) number {
	share := float64(t.Sub(b.from)) / float64(b.to.Sub(b.from))
	return number(plotLeft + share*(plotRight-plotLeft))
}

// words names a bucket for people.
func (b buckets) words(i int) string {
	from, to := b.span(i)
	if b.step%(24*time.Hour) == 0 {
		return from.Format("2 Jan") + " to " + to.Format("2 Jan")
	}
	return from.Format("2 Jan 15:04") + " to " + to.Format("15:04")
}

// times marks the horizontal axis.
func (b buckets) times() []tick {
	step := max(b.step, stepFor(steps, b.to.Sub(b.from), 8))
	layout := "15:04"
	switch {
	case step >= 91*24*time.Hour:
		layout = "Jan 2006"
	case step >= 24*time.Hour:
		layout = "2 Jan"
	}
	var list []tick
	for t := b.from.Truncate(step); !t.After(b.to); t = t.Add(step) {
		x := b.x(t)
		if t.Before(b.from) || x > plotRight-20 { // its text would not fit
			continue
		}
		text := t.Format(layout)
		if step < 24*time.Hour && t.Equal(t.Truncate(24*time.Hour)) {
			text = t.Format("2 Jan")
		}
		list = append(list, tick{x, text})
	}
	return list
}

// newChart is a chart without bars, with its axes.
func newChart(title, about string, b buckets) chart {
	return chart{
		Title: title, About: about, Width: chartWidth, Height: chartHeight, Left: plotLeft, Right: plotRight, Top: plotTop, Bottom: plotBottom,
		LabelX: plotLeft - 6, LabelY: plotBottom + 16, Times: b.times(),
	}
}

// scale marks the vertical axis from 0 on by a step, up to what has room for most, and gives the way from a value to
// its place.
func (c *chart) scale(most, step float64, text func(float64) string) (y func(float64) number) {
	top := step * math.Max(1, math.Ceil(most/step-1e-9))
	y = func(v float64) number { return number(plotBottom - v/top*(plotBottom-plotTop)) }
	for v := 0.0; v <= top+step/2; v += step {
		c.Ticks = append(c.Ticks, tick{y(v), text(v)})
	}
	return y
}

// bar adds one from 0 to a value.
func (c *chart) bar(b buckets, i int, value float64, y func(float64) number, k key, title string) {
	from, to := b.span(i)
	left, right := b.x(from), b.x(to)
	gap := min(1, (right-left)/4)
	top := min(y(value), plotBottom-1) // who waited for nothing is seen, too
	c.Bars = append(c.Bars, rect{X: left + gap/2, Y: top, W: right - left - gap, H: plotBottom - top, Class: k.Class, Fill: k.Fill, Title: title})
}

// The colours of charts, told apart also by who does not see red and green as others do.
var (
	inUse   = key{"use", "#0072b2", "in use"}
	longest = key{"longest", "#e69f00", "longest"}
	median  = key{"median", "#7a4b00", "median"}
)

// useChart draws how many nodes were in use.
func useChart(uses []pool.Use, b buckets, nodes int) chart {
	c := newChart("Nodes in use", "on average; the dashed line is how many the pool has now", b)
	held := make([]time.Duration, b.n)
	for _, u := range uses {
		for _, n := range u.Nodes {
			i, last := b.index(n.From), b.n-1
			if n.From.Before(b.from) {
				i = 0
			}
			if !n.To.IsZero() && !n.To.After(b.to) {
				last = b.index(n.To) // -1 when it ended before
			}
			for ; i >= 0 && i <= last; i++ {
				from, to := b.span(i)
				held[i] += overlap(n, from, to, b.to)
			}
		}
	}
	average := func(i int) float64 {
		from, to := b.span(i)
		return held[i].Seconds() / to.Sub(from).Seconds()
	}
	most := float64(nodes)
	for i := range held {
		most = math.Max(most, average(i))
	}
	step := 1.0
	for factor := 0; most/step > 4; factor++ {
		step *= []float64{2, 2.5, 2}[factor%3] // 1, 2, 5, 10, …
	}
	y := c.scale(most, step, func(v float64) string { return fmt.Sprint(int(v)) })
	for i, h := range held {
		if h > 0 {
			c.bar(b, i, average(i), y, inUse, fmt.Sprintf("%s: %.1f in use", b.words(i), average(i)))
		}
	}
	c.Limit = &tick{y(float64(nodes)), plural(nodes, "node", "nodes")}
	c.Keys = []key{inUse}
	if len(c.Bars) == 0 {
		c.Empty = "no node was in use"
	}
	return c
}

// waitChart draws how long those waited that were served.
func waitChart(uses []pool.Use, b buckets) chart {
	c := newChart("Waits", "of the requests that were served then", b)
	waits := make([][]time.Duration, b.n)
	most := time.Second
	for _, u := range uses {
		if i := b.index(u.GrantedAt); i >= 0 && !u.GrantedAt.IsZero() {
			wait := u.GrantedAt.Sub(u.QueuedAt)
			waits[i], most = append(waits[i], wait), max(most, wait)
		}
	}
	y := c.scale(most.Seconds(), stepFor(waitSteps, most, 4).Seconds(), func(v float64) string { return span(time.Duration(v * float64(time.Second))) })
	for i, list := range waits {
		if len(list) == 0 {
			continue
		}
		middle, end := quantile(list, 0.5), quantile(list, 1)
		title := fmt.Sprintf("%s: %s served, median %s, longest %s", b.words(i), plural(len(list), "request", "requests"), span(middle), span(end))
		c.bar(b, i, end.Seconds(), y, longest, title)
		c.bar(b, i, middle.Seconds(), y, median, title)
	}
	c.Keys = []key{median, longest}
	if len(c.Bars) == 0 {
		c.Empty = "no request was served"
	}
	return c
}

// stateBar shows of what status the nodes are.
type stateBar struct {
	Width, Height int
	Bars          []rect
	Keys          []key
}

// states are the words for nodes, in the order of the bar, with their colours.
var states = []key{
	{"allocated", "#0072b2", "allocated"}, {"draining", "#56b4e9", "draining"}, {"hold", "#e69f00", "hold"}, {"ready", "#009e73", "ready"},
	{"dirty", "#b8a800", "dirty"}, {"broken", "#d55e00", "broken"}, {"maintenance", "#cc79a7", "maintenance"},
}

func newStateBar(nodes []Node) stateBar {
	s := stateBar{Width: chartWidth, Height: barHeight}
	n := map[string]int{}
	for _, node := range nodes {
		n[node.Status]++
	}
	var x number
	for _, k := range states {
		if n[k.Class] == 0 {
			continue
		}
		w := number(chartWidth * float64(n[k.Class]) / float64(len(nodes)))
		k.Text = fmt.Sprintf("%d %s", n[k.Class], k.Class)
		s.Bars = append(s.Bars, rect{X: x, W: w, H: barHeight, Class: k.Class, Fill: k.Fill, Title: k.Text})
		s.Keys = append(s.Keys, k)
		x += w
	}
	return s
}
