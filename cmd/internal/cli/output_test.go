package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestTable(t *testing.T) {
	table := Table{
		Columns: []Column{{Title: "NAME"}, {Title: "N", Right: true}, {Title: "OWNER", Fit: CutHead}, {Title: "REASON", Fit: CutTail}},
		Rows: [][]Cell{
			{{"n1", Plain}, {"7", Plain}, {"https://ci.example.org/job/nightly/1041/", Plain}, {"", Plain}},
			{{"node-two", Bold}, {"10", Red}, {"", Plain}, {"the BMC\x1b[31m does not answer since Friday", Plain}},
		},
	}
	for _, tt := range []struct {
		name  string
		out   Output
		lines []string
	}{
		{"anything but a terminal: whole, plain", Output{}, []string{
			"NAME       N  OWNER                                     REASON",
			"n1         7  https://ci.example.org/job/nightly/1041/  -",
			"node-two  10  -                                         the BMC�[31m does not answer since Friday",
		}},
		{"wide terminal", Output{Width: 200}, []string{
			"NAME       N  OWNER                                     REASON",
			"n1         7  https://ci.example.org/job/nightly/1041/  -",
			"node-two  10  -                                         the BMC�[31m does not answer since Friday",
		}},
		{"60 columns: the wide ones give", Output{Width: 60}, []string{
			"NAME       N  OWNER                   REASON",
			"n1         7  …org/job/nightly/1041/  -",
			"node-two  10  -                       the BMC�[31m does not…",
		}},
		{"too narrow for what must stay", Output{Width: 20}, []string{
			"NAME       N  OWNER       REASON",
			"n1         7  …tly/1041/  -",
			"node-two  10  -           the BMC�[…",
		}},
		{"colour does not count as width", Output{Width: 200, Color: true}, []string{
			"\x1b[1mNAME\x1b[0m       \x1b[1mN\x1b[0m  \x1b[1mOWNER\x1b[0m                                     \x1b[1mREASON\x1b[0m",
			"n1         7  https://ci.example.org/job/nightly/1041/  -",
			"\x1b[1mnode-two\x1b[0m  \x1b[31m10\x1b[0m  -                                         the BMC�[31m does not answer since Friday",
		}},
	} {
		var b bytes.Buffer
		tt.out.Writer = &b
		if err := tt.out.Table(table); err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if diff := cmp.Diff(tt.lines, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if w := tt.out.Width; w >= 60 && !tt.out.Color {
			for _, l := range got {
				if utf8.RuneCountInString(l) > w {
					t.Errorf("%s: line is wider than %d: %s", tt.name, w, l)
				}
			}
		}
	}
}

func TestTimes(t *testing.T) {
	terminal, file := Output{Width: 80, Now: noon}, Output{Now: noon}
	for _, tt := range []struct {
		at                     time.Time
		age, plain, left, note string
	}{
		{time.Time{}, "-", "-", "-", "never"},
		{noon.Add(-2500 * time.Millisecond), "2s ago", "2026-11-22T11:59:57Z", "over", "seconds"},
		{noon.Add(-59 * time.Minute), "59m ago", "2026-11-22T11:01:00Z", "over", "minutes"},
		{noon.Add(-47 * time.Hour), "47h ago", "2026-11-20T13:00:00Z", "over", "hours"},
		{noon.Add(-50 * time.Hour), "2d ago", "2026-11-20T10:00:00Z", "over", "days"},
		{noon.Add(65 * time.Second), "0s ago", "2026-11-22T12:01:05Z", "1m5s", "a clock ahead of ours"},
		{noon.Add(6 * time.Hour), "0s ago", "2026-11-22T18:00:00Z", "6h", "whole hours"},
		{noon.Add(5*time.Hour + 12*time.Minute), "0s ago", "2026-11-22T17:12:00Z", "5h12m", "hours and minutes"},
		{noon.Add(6*time.Hour - 800*time.Millisecond), "0s ago", "2026-11-22T17:59:59Z", "6h", "a lease of 6 hours that has just begun"},
		{noon.Add(59*time.Minute + 59700*time.Millisecond), "0s ago", "2026-11-22T12:59:59Z", "1h", "nearly an hour"},
		{noon.Add(48*time.Hour - 10*time.Second), "0s ago", "2026-11-24T11:59:50Z", "2d", "nearly two days"},
		{noon.Add(76 * time.Hour), "0s ago", "2026-11-25T16:00:00Z", "3d4h", "days and hours"},
	} {
		if got := terminal.Time(tt.at); got != tt.age {
			t.Errorf("%s: age %q, want %q", tt.note, got, tt.age)
		}
		if got := file.Time(tt.at); got != tt.plain {
			t.Errorf("%s: time %q, want %q", tt.note, got, tt.plain)
		}
		if got := file.Left(tt.at); got != tt.left {
			t.Errorf("%s: left %q, want %q", tt.note, got, tt.left)
		}
	}
}

func TestChoice(t *testing.T) {
	c := Choice{Value: "table", Allowed: []string{"table", "json"}}
	if err := c.Set("xml"); err == nil || err.Error() != "use one of table, json" || c.Value != "table" {
		t.Errorf("after a word that is not allowed: %v, value %q", err, c.Value)
	}
	if err := c.Set("json"); err != nil || c.Value != "json" {
		t.Errorf("after a word that is allowed: %v, value %q", err, c.Value)
	}
}

func TestApplyEnv(t *testing.T) {
	type values struct {
		Owner   string
		Wait    time.Duration
		Require []string
	}
	for _, tt := range []struct {
		name string
		args []string
		env  map[string]string
		want values
		fail string
	}{
		{"nothing set", nil, nil, values{"nobody", time.Hour, nil}, ""},
		{"environment", nil, map[string]string{"MOLTENIRON_OWNER": "me", "MOLTENIRON_WAIT": "5m"}, values{"me", 5 * time.Minute, nil}, ""},
		{"the flag wins", []string{"--owner=you", "--require=a"}, map[string]string{"MOLTENIRON_OWNER": "me", "MOLTENIRON_REQUIRE": "b"},
			values{"you", time.Hour, []string{"a"}}, ""},
		{"empty is unset", nil, map[string]string{"MOLTENIRON_OWNER": ""}, values{"nobody", time.Hour, nil}, ""},
		{"blanks part values", nil, map[string]string{"MOLTENIRON_REQUIRE": " arch=x86_64  ram_mb:min=1024 "},
			values{"nobody", time.Hour, []string{"arch=x86_64", "ram_mb:min=1024"}}, ""},
		{"lines part values with blanks", nil, map[string]string{"MOLTENIRON_REQUIRE": "rack=row 3\narch=x86_64\n"},
			values{"nobody", time.Hour, []string{"rack=row 3", "arch=x86_64"}}, ""},
		{"a value it does not take", nil, map[string]string{"MOLTENIRON_WAIT": "s3cret"}, values{},
			"the environment variable MOLTENIRON_WAIT has a value that --wait does not take, see its help"},
		{"help has none", nil, map[string]string{"MOLTENIRON_HELP": "true"}, values{"nobody", time.Hour, nil}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got values
			f := pflag.NewFlagSet("t", pflag.ContinueOnError)
			f.StringVar(&got.Owner, "owner", "nobody", "who")
			f.DurationVar(&got.Wait, "wait", time.Hour, "how long")
			f.StringArrayVar(&got.Require, "require", nil, "what")
			help := f.Bool("help", false, "help")
			if err := f.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			err := ApplyEnv(f, func(k string) string { return tt.env[k] })
			if tt.fail != "" {
				if !errors.Is(err, ErrUsage) || err.Error() != tt.fail {
					t.Errorf("error %v, want %s", err, tt.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if *help {
				t.Error("--help was set from the environment")
			}
		})
	}
}

func TestDescribeEnv(t *testing.T) {
	f := pflag.NewFlagSet("t", pflag.ContinueOnError)
	f.String("env-file", "", "where to write")
	f.Bool("help", false, "help")
	DescribeEnv(f)
	if got := f.Lookup("env-file").Usage; got != "where to write [$MOLTENIRON_ENV_FILE]" {
		t.Errorf("usage of --env-file: %q", got)
	}
	if got := f.Lookup("help").Usage; got != "help" {
		t.Errorf("usage of --help: %q", got)
	}
}
