package hook

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/pool"
)

// environment makes a Process whose environment is vars.
func environment(vars map[string]string) Process {
	return Process{Program: "molten-prehook", Getenv: func(name string) string { return vars[name] }}
}

func TestOwner(t *testing.T) {
	const url = "https://ci.example.org/job/nightly/12/"
	for _, tt := range []struct {
		name, said, controller string
		env                    map[string]string
		want                   string
		fault                  string // part of the error
	}{
		{"the flag wins", "me", "ci1", map[string]string{"BUILD_URL": url}, "me", ""},
		{"the build's URL", "", "ci1", map[string]string{"BUILD_URL": url, "JOB_NAME": "nightly", "BUILD_NUMBER": "12"}, url, ""},
		{"a Jenkins without a URL", "", "ci1", map[string]string{"JOB_NAME": "team a/ARCH=x86_64,l=b#c", "BUILD_NUMBER": "12"}, "ci1:team a/ARCH=x86_64,l=b#c#12", ""},
		{"and without a name", "", "", map[string]string{"JOB_NAME": "nightly", "BUILD_NUMBER": "12"}, "", "controller: ci1"},
		{"a job without a number", "", "ci1", map[string]string{"JOB_NAME": "nightly"}, "", "--owner"},
		{"the tag is no owner", "", "ci1", map[string]string{"BUILD_TAG": "jenkins-nightly-12"}, "", "--owner"},
		{"no build", "", "", nil, "", "molten-prehook --owner"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := environment(tt.env)
			p.Controller = tt.controller
			got, err := p.owner(tt.said)
			if got != tt.want {
				t.Errorf("owner %q, want %q", got, tt.want)
			}
			switch {
			case tt.fault == "" && err != nil:
				t.Errorf("error %v", err)
			case tt.fault != "" && (!errors.Is(err, pool.ErrInvalid) || !strings.Contains(err.Error(), tt.fault)):
				t.Errorf("error %v, want bad usage that names %q", err, tt.fault)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"":                    0,
		"7200000":             2 * time.Hour,
		"1":                   time.Millisecond,
		"0":                   0,
		"-5":                  0,
		"120m":                0,
		"99999999999999":      0, // beyond what a duration holds
		"9223372036854775807": 0,
	} {
		if got := environment(map[string]string{"BUILD_TIMEOUT": value}).limit(); got != want {
			t.Errorf("BUILD_TIMEOUT=%s: %s, want %s", value, got, want)
		}
	}
}

func TestEnvFile(t *testing.T) {
	for _, tt := range []struct {
		env        map[string]string
		slot, want string
	}{
		{map[string]string{"WORKSPACE": "/w/job", "WORKSPACE_TMP": "/w/job@tmp"}, "", "/w/job@tmp/molteniron.env"},
		{map[string]string{"WORKSPACE": "/w/job@2"}, "", "/w/job@2@tmp/molteniron.env"},
		{map[string]string{"WORKSPACE": "/w/job"}, "b", "/w/job@tmp/molteniron-b.env"},
		{nil, "", "molteniron.env"},
	} {
		if got := environment(tt.env).envFile(tt.slot); got != tt.want {
			t.Errorf("%v slot %q: %s, want %s", tt.env, tt.slot, got, tt.want)
		}
	}
}

func TestSlotOf(t *testing.T) {
	for _, slot := range []string{"", "a", ".env", "-", "molteniron-", "x.env"} {
		if got, ok := slotOf(envFileName(slot)); got != slot || !ok {
			t.Errorf("slot %q came back as %q, %v", slot, got, ok)
		}
	}
	for _, name := range []string{"molteniron.env.files", "molteniron.json", "molteniron-.env", "other.env", "molteniron-a"} {
		if slot, ok := slotOf(name); ok {
			t.Errorf("%s was taken for the env file of slot %q", name, slot)
		}
	}
}

func TestLabels(t *testing.T) {
	got := environment(map[string]string{
		"BUILD_TAG": "jenkins-a-1", "JOB_NAME": "a", "NODE_NAME": "agent 1", "EXECUTOR_NUMBER": "0", "BUILD_URL": "u", "HOME": "/root",
	}).labels()
	want := map[string]string{"BUILD_TAG": "jenkins-a-1", "JOB_NAME": "a", "NODE_NAME": "agent 1", "EXECUTOR_NUMBER": "0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}
