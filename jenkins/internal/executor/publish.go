package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// publish runs the post-build actions: those that are part of the build, and then, when people already see
// its end, the others. What fails does not stop the next.
func (b *Build) publish() {
	for late, pass := range []string{"post", "cleanup"} {
		for _, p := range b.job.Publishers {
			if (p.Trigger != nil || p.Cleanup != nil) != (late == 1) || !b.isFor(p) {
				continue
			}
			err := b.perform(p)
			if errors.Is(err, errGone) {
				return
			}
			if err != nil {
				b.say("ERROR: Build step failed with exception in %s: %v", pass, err)
				b.worsen("FAILURE")
			}
		}
		if late == 0 {
			b.controller.mu.Lock()
			b.building = false
			b.controller.mu.Unlock()
		}
	}
	b.say("Finished: %s", b.Result())
}

// isFor reports whether an action is for this build: in a matrix job the combinations do what a job does, and the
// parent only what is made to be done once for all of them. Other jobs are triggered by either.
func (b *Build) isFor(p Publisher) bool {
	switch {
	case len(b.job.Axes) == 0:
		return true
	case p.Trigger != nil:
		return p.Trigger.FromChildren == b.isChild
	}
	return b.isChild || p.PostBuild != nil
}

func (b *Build) perform(p Publisher) error {
	switch {
	case p.PostBuild != nil:
		return b.postBuild(p.PostBuild)
	case p.Archive != nil:
		return b.archive(p.Archive)
	case p.Report != nil:
		return b.report(p.Report)
	case p.Trigger != nil:
		return b.trigger(p.Trigger)
	case b.lost():
		return errNoWorkspace
	}
	return os.RemoveAll(b.seat.workspace)
}

// postBuild is PostBuildScript: its steps run one after the other whatever becomes of them.
func (b *Build) postBuild(p *PostBuild) error {
	matrix := len(b.job.Axes) > 0
	result, passed := b.Result(), true
	for _, step := range p.Steps {
		if !slices.Contains(step.Results, result) || step.Role == "MASTER" { // no agent here is the controller's own
			continue
		}
		if matrix && (b.isChild && step.ExecuteOn == "MATRIX" || !b.isChild && step.ExecuteOn == "AXES") {
			continue
		}
		for _, s := range step.Scripts {
			exit, err := b.shell(s, map[string]string{"BUILD_RESULT": result}, true)
			switch {
			case errors.Is(err, errGone), errors.Is(err, errNoWorkspace):
				return err // the one is ours, the other a programming error in the plugin's eyes
			case err != nil: // it was interrupted, or the agent went away
				b.say("ERROR: [PostBuildScript] - An error occurred during post-build processing: %v", err)
				b.failed(p)
				return nil
			case exit != 0:
				passed = false
			}
		}
	}
	if !passed {
		b.failed(p)
	}
	return nil
}

func (b *Build) failed(p *PostBuild) {
	if p.MarkUnstable {
		b.worsen("UNSTABLE")
	} else {
		b.worsen("FAILURE")
	}
}

// Folder is where the controller keeps what it has of the build.
func (b *Build) Folder() string {
	return filepath.Join(b.controller.folder, "builds", b.folderName, fmt.Sprint(b.Number))
}

// archive copies what matches any of the patterns.
func (b *Build) archive(a *Archive) error {
	if b.lost() {
		return errNoWorkspace
	}
	n := 0
	err := filepath.WalkDir(b.seat.workspace, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(b.seat.workspace, file)
		if err != nil || !slices.ContainsFunc(a.Patterns, func(pattern string) bool {
			return matches(strings.Split(pattern, "/"), strings.Split(name, "/"))
		}) {
			return err
		}
		n++
		return keep(file, filepath.Join(b.Folder(), "archive", name))
	})
	if err == nil && n == 0 && !a.AllowEmpty {
		err = fmt.Errorf("no artifacts found that match %q", a.Patterns)
	}
	return err
}

// matches is Ant's: ** is any number of folders.
func matches(pattern, name []string) bool {
	switch {
	case len(pattern) == 0:
		return len(name) == 0
	case pattern[0] == "**" && matches(pattern[1:], name):
		return true
	case len(name) == 0:
		return false
	case pattern[0] == "**":
		return matches(pattern, name[1:])
	}
	ok, _ := path.Match(pattern[0], name[0])
	return ok && matches(pattern[1:], name[1:])
}

func keep(file, to string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

// report copies a folder, as the HTML Publisher does.
func (b *Build) report(r *Report) error {
	if b.lost() {
		return errNoWorkspace
	}
	from := filepath.Join(b.seat.workspace, r.Dir)
	if _, err := os.Stat(from); err != nil {
		if r.AllowMissing {
			return nil
		}
		return err
	}
	return filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		return keep(file, filepath.Join(b.Folder(), "htmlreports", r.Name, name))
	})
}

// trigger queues the other jobs. It needs no agent. A variable that is not set stays as it is written.
func (b *Build) trigger(t *Trigger) error {
	if t.Condition != "ALWAYS" {
		return fmt.Errorf("condition %s is not known here", t.Condition)
	}
	variables, parameters := b.variables(), map[string]string{}
	for line := range strings.Lines(t.Properties) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if name == "" {
			continue
		}
		parameters[name] = os.Expand(value, func(v string) string {
			if known, ok := variables[v]; ok {
				return known
			}
			return "$" + v
		})
	}
	for _, project := range t.Projects {
		b.controller.Build(project, parameters)
	}
	return nil
}
