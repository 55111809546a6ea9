package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/pool"
)

// titles are what a chart says of its bars.
func titles(c chart) (list []string) {
	for _, b := range c.Bars {
		list = append(list, b.Title)
	}
	return list
}

func axis(list []tick) string {
	var words []string
	for _, t := range list {
		words = append(words, t.Text)
	}
	return strings.Join(words, " ")
}

// A day in steps of half an hour; what reaches beyond the period counts for the part within.
func TestUseChart(t *testing.T) {
	b := newBuckets(ago(2*time.Hour), now)
	if b.step != 5*time.Minute || b.n != 24 {
		t.Fatalf("2 hours are in %d of %s", b.n, b.step)
	}
	b = newBuckets(ago(24*time.Hour), now)
	uses := []pool.Use{
		{Nodes: []pool.NodeUse{{Node: "a", From: ago(48 * time.Hour), To: ago(23 * time.Hour)}, {Node: "b", From: ago(48 * time.Hour), To: ago(47 * time.Hour)}}},
		{Nodes: []pool.NodeUse{{Node: "b", From: ago(23*time.Hour + 15*time.Minute), To: ago(23 * time.Hour)}}},
		{Nodes: []pool.NodeUse{{Node: "c", From: ago(20 * time.Minute)}}},
	}
	got := useChart(uses, b, 3)
	if diff := cmp.Diff([]string{
		"24 Nov 13:30 to 14:00: 1.0 in use", "24 Nov 14:00 to 14:30: 1.5 in use", "25 Nov 13:00 to 13:30: 0.7 in use",
	}, titles(got)); diff != "" {
		t.Errorf("bars (-want +got):\n%s", diff)
	}
	if axis(got.Ticks) != "0 1 2 3" || axis(got.Times) != "15:00 18:00 21:00 25 Nov 03:00 06:00 09:00 12:00" {
		t.Errorf("axes: %q and %q", axis(got.Ticks), axis(got.Times))
	}
}

func TestWaitChart(t *testing.T) {
	b := newBuckets(ago(30*24*time.Hour), now)
	var uses []pool.Use
	for i, wait := range []time.Duration{time.Minute, 3 * time.Minute, 2 * time.Hour} {
		uses = append(uses, use(int64(i), "", 50*time.Hour+wait, wait, time.Hour, pool.EndReleased, "a"))
	}
	uses = append(uses, unserved(9, "", 50*time.Hour, 9*time.Hour, pool.EndTimeout))
	got := waitChart(uses, b)
	want := "23 Nov 00:00 to 12:00: 3 requests served, median 3m, longest 2h"
	if b.step == 12*time.Hour {
		if diff := cmp.Diff([]string{want, want}, titles(got)); diff != "" {
			t.Errorf("bars (-want +got):\n%s", diff)
		}
	} else {
		t.Errorf("30 days are in steps of %s", b.step)
	}
	if axis(got.Ticks) != "0s 30m 1h 1h30m 2h" {
		t.Errorf("axis: %q", axis(got.Ticks))
	}
}

// Bars stay within the plot and do not overlap, whatever the period.
func TestGeometry(t *testing.T) {
	for _, period := range []time.Duration{0, time.Second, time.Hour, 25 * time.Hour, 7 * 24 * time.Hour, 365 * 24 * time.Hour, 20 * 365 * 24 * time.Hour} {
		b := newBuckets(now.Add(-period), now)
		if b.n < 1 || b.n > maxBars+1 {
			t.Errorf("%s: %d bars", period, b.n)
		}
		c := useChart([]pool.Use{{Nodes: []pool.NodeUse{{Node: "a", From: ago(period * 2)}}}}, b, 2000)
		right := number(plotLeft)
		for i, r := range c.Bars {
			if r.X < right || r.W <= 0 || r.X+r.W > plotRight+0.01 || r.Y < plotTop || r.Y+r.H > plotBottom+0.01 {
				t.Errorf("%s: bar %d is at %+v", period, i, r)
			}
			right = r.X + r.W
		}
		if n := len(c.Ticks); n < 2 || n > 6 {
			t.Errorf("%s: %d marks: %s", period, n, axis(c.Ticks))
		}
		if n := len(c.Times); n > 9 {
			t.Errorf("%s: %d labels: %s", period, n, axis(c.Times))
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 999 * time.Millisecond: "1s", time.Minute: "1m", 61 * time.Second: "1m1s", 59*time.Minute + 59*time.Second: "59m59s",
		time.Hour: "1h", 90 * time.Minute: "1h30m", 47 * time.Hour: "47h", 7 * 24 * time.Hour: "7d", 76 * time.Hour: "3d4h",
	} {
		if got := span(d); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}

func TestFigures(t *testing.T) {
	v := newView(sample()).Pools[0]
	var got []string
	for _, f := range v.Figures {
		got = append(got, f.Name+": "+f.Value)
	}
	if diff := cmp.Diff([]string{
		"in use now: 2 of 4 nodes", "waiting now: 1 request", "utilisation: 14 %", "requests: 7", "served: 4",
		"median wait: 1m", "9 of 10 waited at most: 1h30m", "longest wait: 1h30m",
	}, got); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
	var jobs []string
	for _, j := range v.Jobs {
		jobs = append(jobs, fmt.Sprintf("%s: %d requests, %s hours, %s and %s, %d", j.Name, j.Requests, j.NodeHours, j.Median, j.Longest, j.TakenBack))
	}
	// Of the first use 3 of 8 hours are within the period, on two nodes.
	if diff := cmp.Diff([]string{
		"nightly: 2 requests, 9.0 hours, 1m and 30m, 0", "ironic/tempest: 3 requests, 3.0 hours, 0s and 0s, 1", ": 2 requests, 1.0 hours, 1h30m and 1h30m, 1",
	}, jobs); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	for name, want := range map[string]int{"bm-01": 25, "bm-02": 17, "bm-03": 13, "bm-04": 0} {
		for _, n := range v.Nodes {
			if n.Name == name && n.Percent != want {
				t.Errorf("%s was in use for %d %%, want %d", name, n.Percent, want)
			}
		}
	}
}
