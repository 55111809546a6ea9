package executor

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Results, the best first. A build's result only ever gets worse.
var results = []string{"SUCCESS", "UNSTABLE", "FAILURE", "NOT_BUILT", "ABORTED"}

// Build is one run of a job. A matrix job's has a child for each combination.
type Build struct {
	Number   int
	JobName  string // with folders, and the combination of a matrix job's child
	Children []*Build

	controller *Controller
	job        *Job
	label      string
	folderName string // of its workspace
	parameters map[string]string
	axes       map[string]string // of a matrix job's child
	isChild    bool
	gone       chan struct{} // closed when the controller has forgotten it
	aborts     chan struct{} // an abort that no step has taken notice of yet
	done       chan struct{}

	// Only the build's own goroutine uses these until done is closed.
	seat     seat
	bound    map[string]string // variables of bindings
	bindings []string          // files of bindings

	// Guarded by the controller's mu.
	running   bool // has an executor
	building  bool // the first of its two ends is not over
	wrapped   bool // wrappers are up: a time limit counts
	cancelled bool // in the queue
	result    string
	steps     []Step
	raw       bytes.Buffer // of the console
}

// Step is what became of a step of the shell.
type Step struct {
	Script string
	Exit   int  // as Java has it: 128 and the signal for one that a signal ended; -1 for one that nobody waited for
	After  bool // it ran after the build, in a publisher
}

var (
	errGone        = errors.New("the controller has forgotten the build")
	errLost        = errors.New("agent was lost")
	errInterrupted = errors.New("interrupted")
	errNoWorkspace = errors.New("no workspace: the agent is gone")
)

func (c *Controller) newBuild(j *Job, name string, number int, parameters map[string]string) *Build {
	return &Build{
		Number: number, JobName: name, controller: c, job: j, label: j.Label, folderName: name, parameters: parameters,
		gone: c.gone, aborts: make(chan struct{}, 1), done: make(chan struct{}), building: true,
	}
}

// URL is the build's, "" where the controller does not know its own.
func (b *Build) URL() string {
	if b.controller.url == "" {
		return ""
	}
	return b.jobURL() + strconv.Itoa(b.Number) + "/"
}

func (b *Build) jobURL() string {
	parts := strings.Split(b.JobName, "/")
	text := b.controller.url
	for i, part := range parts {
		if !b.isChild || i < len(parts)-1 { // a combination is a part of its own
			text += "job/"
		}
		text += rawEncode(part) + "/"
	}
	return text
}

// rawEncode is how Jenkins writes a name into a URL.
func rawEncode(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("!$&'()*+,-.=@_", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Agent is where the build runs or ran, nil where it never did. Ask once it has ended.
func (b *Build) Agent() *Agent { return b.seat.agent }

// Done is closed when the build has ended, or when the controller has forgotten it.
func (b *Build) Done() <-chan struct{} { return b.done }

// Result is the build's so far, "" while there is none and when the build was forgotten.
func (b *Build) Result() string {
	b.controller.mu.Lock()
	defer b.controller.mu.Unlock()
	return b.result
}

// Steps lists what became of its shell steps.
func (b *Build) Steps() []Step {
	b.controller.mu.Lock()
	defer b.controller.mu.Unlock()
	return slices.Clone(b.steps)
}

// Raw is what the build printed, before any masking.
func (b *Build) Raw() string {
	b.controller.mu.Lock()
	defer b.controller.mu.Unlock()
	return b.raw.String()
}

// Console is what people see.
func (b *Build) Console() string {
	text := b.Raw()
	for _, binding := range b.job.Bindings {
		if secret := b.controller.secrets[binding.Credential]; !binding.File && secret != "" {
			text = strings.ReplaceAll(text, secret, "****")
		}
	}
	return text
}

// Await waits until the console shows the pattern, and reports whether it did before the build's end.
func (b *Build) Await(pattern string) bool {
	re := regexp.MustCompile(pattern)
	b.controller.mu.Lock()
	defer b.controller.mu.Unlock()
	for !re.Match(b.raw.Bytes()) {
		if b.ended() {
			return false
		}
		b.controller.change.Wait()
	}
	return true
}

func (b *Build) ended() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

func (b *Build) isGone() bool {
	select {
	case <-b.gone:
		return true
	default:
		return false
	}
}

// jobBusy reports whether another build of the job has an executor. The caller has the lock.
func (b *Build) jobBusy() bool {
	p := b.controller.jobs[b.JobName]
	return p != nil && slices.ContainsFunc(p.builds, func(other *Build) bool { return other != b && other.running })
}

// Abort is a person's button, or an API's stop: it ends the step that runs, whichever that is; in the queue
// it cancels the build. A second one ends a publisher's.
func (b *Build) Abort() {
	c := b.controller
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, child := range b.Children {
		child.interrupt()
	}
	b.interrupt()
	c.change.Broadcast()
}

// interrupt is Abort for who has the lock.
func (b *Build) interrupt() {
	if !b.running {
		b.cancelled = true
		return
	}
	select {
	case b.aborts <- struct{}{}:
	default: // one is not noticed yet
	}
}

// TimeOut is the end of the build's time limit. It reports whether that still counted: once wrappers are
// torn down, no limit guards the publishers.
func (b *Build) TimeOut() bool {
	c := b.controller
	c.mu.Lock()
	defer c.mu.Unlock()
	if !b.wrapped || b.job.Timeout == 0 {
		return false
	}
	b.print("Build timed out (after %d minutes). Marking the build as aborted.", int(b.job.Timeout/time.Minute))
	b.interrupt()
	return true
}

// print adds a line to the console. The caller has the lock.
func (b *Build) print(format string, args ...any) {
	fmt.Fprintf(&b.raw, format+"\n", args...)
	b.controller.change.Broadcast()
}

func (b *Build) say(format string, args ...any) {
	b.controller.mu.Lock()
	defer b.controller.mu.Unlock()
	b.print(format, args...)
}

// worsen makes the result at least as bad.
func (b *Build) worsen(result string) {
	b.controller.mu.Lock()
	defer b.controller.mu.Unlock()
	if b.result == "" || slices.Index(results, result) > slices.Index(results, b.result) {
		b.result = result
	}
}

// run is the build from the queue to its end.
func (b *Build) run() {
	c := b.controller
	defer func() {
		c.mu.Lock()
		if b.isGone() {
			b.result = ""
		}
		b.running, b.building, b.wrapped = false, false, false
		close(b.done)
		c.change.Broadcast()
		c.mu.Unlock()
	}()
	if len(b.job.Axes) > 0 && !b.isChild {
		b.runMatrix()
		return
	}
	s, ok := c.take(b)
	if !ok {
		return
	}
	b.seat = s
	defer c.leave(s)
	c.mu.Lock()
	b.running = true
	c.mu.Unlock()
	b.execute()
}

func (b *Build) execute() {
	b.say("Building on %s in workspace %s", b.seat.agent.name, b.seat.workspace)
	err := os.MkdirAll(b.seat.workspace, 0o755)
	if err == nil {
		err = b.wrap()
	}
	if err == nil {
		err = b.runBuilders()
	}
	switch {
	case errors.Is(err, errGone):
		return
	case err == nil:
		// Run-aways are ended at the normal end only; who changes one of these variables escapes.
		if !b.lost() {
			terminateAll(0, b.characteristic())
		}
		b.worsen("SUCCESS")
	case errors.Is(err, errInterrupted):
		b.say("Build was aborted")
		b.worsen("ABORTED")
	default:
		b.say("ERROR: %v", err)
		b.worsen("FAILURE")
	}
	b.unwrap()
	b.publish()
}

// wrap sets up what surrounds the builders.
func (b *Build) wrap() error {
	b.bound = map[string]string{}
	for _, binding := range b.job.Bindings {
		secret := b.controller.secrets[binding.Credential]
		if !binding.File {
			b.bound[binding.Variable] = secret
			continue
		}
		file := filepath.Join(b.seat.workspace+"@tmp", "secretFiles", rand.Text())
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
			return err
		}
		b.bound[binding.Variable] = file
		b.bindings = append(b.bindings, file)
	}
	b.controller.mu.Lock()
	b.wrapped = true
	b.controller.mu.Unlock()
	return nil
}

// unwrap tears wrappers down: time limits count no more, secret files are gone. Variables stay set.
func (b *Build) unwrap() {
	b.controller.mu.Lock()
	b.wrapped = false
	b.controller.mu.Unlock()
	for _, file := range b.bindings {
		_ = os.Remove(file)
	}
}

func (b *Build) lost() bool {
	select {
	case <-b.seat.agent.lost:
		return true
	default:
		return false
	}
}

func (b *Build) runBuilders() error {
	for _, step := range b.job.Builders {
		exit, err := b.shell(step, nil, false)
		switch {
		case err != nil:
			return err
		case exit != 0 && exit == step.Unstable:
			b.worsen("UNSTABLE")
		case exit != 0:
			b.say("Build step 'Execute shell' marked build as failure")
			b.worsen("FAILURE")
			return nil
		}
	}
	return nil
}

// combine makes the children of a matrix job's build. The caller has the lock.
func (b *Build) combine() {
	for _, axes := range combinations(b.job.Axes) {
		var name, folder []string
		child := b.controller.newBuild(b.job, "", b.Number, b.parameters)
		child.axes, child.isChild, child.label = map[string]string{}, true, ""
		for _, axis := range b.job.Axes {
			value := axes[axis.Name]
			child.axes[axis.Name] = value
			name, folder = append(name, axis.Name+"="+value), append(folder, axis.Name, value)
			if axis.Label {
				child.label = value
			}
		}
		child.JobName, child.folderName = b.JobName+"/"+strings.Join(name, ","), path.Join(append([]string{b.JobName}, folder...)...)
		b.Children = append(b.Children, child)
	}
}

// runMatrix runs a build for each combination and then, in the parent, what is for the parent.
func (b *Build) runMatrix() {
	c := b.controller
	c.mu.Lock()
	b.running = true // by no executor of an agent's
	for _, child := range b.Children {
		c.begin(child)
	}
	c.mu.Unlock()
	b.worsen("SUCCESS")
	for _, child := range b.Children {
		<-child.done
		if result := child.Result(); result != "" {
			b.worsen(result)
		}
	}
	select {
	case <-b.aborts:
		b.worsen("ABORTED")
	default:
	}
	if b.isGone() {
		return
	}
	// The parent's own actions need a workspace too, on an agent of its label.
	if s, ok := c.take(b); ok {
		b.seat = s
		defer c.leave(s)
		if err := os.MkdirAll(s.workspace, 0o755); err != nil {
			b.say("ERROR: %v", err)
		}
		b.publish()
	}
}

func combinations(axes []Axis) []map[string]string {
	list := []map[string]string{{}}
	for _, axis := range axes {
		var longer []map[string]string
		for _, c := range list {
			for _, value := range axis.Values {
				m := map[string]string{axis.Name: value}
				for k, v := range c {
					m[k] = v
				}
				longer = append(longer, m)
			}
		}
		list = longer
	}
	return list
}
