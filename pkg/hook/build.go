package hook

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// labels are the variables of Jenkins that are kept with an allocation, for people and reports.
// BUILD_TAG is a label and never the owner: two jobs, or two controllers, can have the same.
var labels = []string{"BUILD_TAG", "JOB_NAME", "BUILD_NUMBER", "NODE_NAME", "EXECUTOR_NUMBER"}

// leaseMargin is what a lease has beyond the build's own time limit: the limit does not cover
// publishers, and archiving the logs of a long run takes its time before the post-hook's turn comes.
const leaseMargin = 30 * time.Minute

// slotPattern is what pool takes for a slot; it is checked here first, because the slot becomes part of
// a file's name before the pool sees it.
var slotPattern = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._-]*)?$`)

const maxSlot = 63 // bytes

// invalid makes an error of the class for bad usage.
func invalid(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &pool.Error{Class: pool.ErrInvalid, Text: err.Error(), Cause: errors.Unwrap(err)}
}

// owner finds who the nodes are for. JOB_NAME and BUILD_NUMBER alone do not do: another controller can
// have the same. Read from both ends, the three parts stay apart whatever the job's name holds.
func (p Process) owner(said string) (string, error) {
	if said != "" {
		return said, nil
	}
	if url := p.Getenv("BUILD_URL"); url != "" {
		return url, nil
	}
	job, number := p.Getenv("JOB_NAME"), p.Getenv("BUILD_NUMBER")
	switch {
	case job == "" || number == "":
		return "", invalid("no owner: outside a Jenkins build say who the nodes are for, as in: %s --owner %s", p.Program, "my-name")
	case p.Controller == "":
		return "", invalid("no owner: BUILD_URL is not set, because this Jenkins does not know its own URL; " +
			"set \"Jenkins URL\" in its system configuration, or write a line such as \"controller: ci1\" into the configuration file of this agent")
	}
	return p.Controller + ":" + job + "#" + number, nil
}

// jenkins reports whether a Jenkins build runs the hook.
func (p Process) jenkins() bool {
	return p.Getenv("JENKINS_URL") != "" || p.Getenv("BUILD_URL") != "" || p.Getenv("BUILD_NUMBER") != ""
}

func (p Process) labels() map[string]string {
	m := make(map[string]string, len(labels))
	for _, name := range labels {
		if v := p.Getenv(name); v != "" {
			m[name] = v
		}
	}
	return m
}

// limit is the time limit of the build, 0 when there is none. The build-timeout plugin gives it in
// milliseconds; what is no such number is somebody else's variable of that name.
func (p Process) limit() time.Duration {
	ms, err := strconv.ParseInt(p.Getenv("BUILD_TIMEOUT"), 10, 64)
	if err != nil || ms <= 0 || ms > int64(10*365*24*time.Hour/time.Millisecond) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// envFolder is where env files are by default: beside the workspace, not in it, so that they are
// neither archived nor browsed. The second form is for Jenkins before 2020, which does not set
// WORKSPACE_TMP. Outside Jenkins it is the current folder.
func (p Process) envFolder() string {
	if folder := p.Getenv("WORKSPACE_TMP"); folder != "" {
		return folder
	}
	if workspace := p.Getenv("WORKSPACE"); workspace != "" {
		return workspace + "@tmp"
	}
	return "."
}

// envFileName is the name of a slot's env file by default.
func envFileName(slot string) string {
	if slot == "" {
		return "molteniron.env"
	}
	return "molteniron-" + slot + ".env"
}

// slotOf is the reverse of envFileName; false when name is no such file's.
func slotOf(name string) (slot string, ok bool) {
	if name == envFileName("") {
		return "", true
	}
	slot, ok = strings.CutPrefix(strings.TrimSuffix(name, ".env"), "molteniron-")
	return slot, ok && envFileName(slot) == name
}

func (p Process) envFile(slot string) string { return filepath.Join(p.envFolder(), envFileName(slot)) }

func checkSlot(slot string) error {
	if len(slot) > maxSlot || !slotPattern.MatchString(slot) {
		return invalid("slot %q: use up to 63 letters, digits, dots, underscores and dashes, beginning with a letter or digit", slot)
	}
	return nil
}
