package executor

import (
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Controller is what a Jenkins is: jobs, agents, a queue, and what is kept of builds.
type Controller struct {
	url     string
	folder  string
	cookie  string
	secrets map[string]string

	mu     sync.Mutex // guards what follows, and what builds say of themselves
	change *sync.Cond
	jobs   map[string]*project
	agents []*Agent
	gone   chan struct{} // closed when it restarts
	hung   chan struct{} // closed when it is not hung: nil means it never was
	work   sync.WaitGroup
}

type project struct {
	job    *Job
	builds []*Build
}

// New makes a controller; url ends with a slash, or is "" where nobody told it. What it keeps of builds
// goes into the folder.
func New(url, folder string) *Controller {
	c := &Controller{
		url: url, folder: folder, cookie: rand.Text(), secrets: map[string]string{}, jobs: map[string]*project{}, gone: make(chan struct{}),
	}
	c.change = sync.NewCond(&c.mu)
	return c
}

// Credential adds a secret.
func (c *Controller) Credential(id, text string) { c.secrets[id] = text }

// AddJob adds a job under a name that may have folders: a/b.
func (c *Controller) AddJob(name string, j *Job) error {
	if j.SCM != "" {
		return fmt.Errorf("job %s: %s is not run here", name, j.SCM)
	}
	for _, b := range j.Bindings {
		if _, ok := c.secrets[b.Credential]; !ok {
			return fmt.Errorf("job %s: no credential %s", name, b.Credential)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs[name] = &project{job: j}
	return nil
}

// Build queues a build; parameters that are not the job's own are dropped, as Jenkins does.
func (c *Controller) Build(name string, parameters map[string]string) *Build {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.jobs[name]
	if p == nil {
		return nil // a trigger of a job that is not there does nothing
	}
	given := map[string]string{}
	for _, d := range p.job.Parameters {
		given[d.Name] = d.Default
		if v, ok := parameters[d.Name]; ok {
			given[d.Name] = v
		}
	}
	b := c.newBuild(p.job, name, len(p.builds)+1, given)
	if len(p.job.Axes) > 0 {
		b.combine()
	}
	p.builds = append(p.builds, b)
	c.begin(b)
	return b
}

func (c *Controller) begin(b *Build) {
	c.work.Add(1)
	go func() {
		defer c.work.Done()
		b.run()
	}()
}

// Builds lists a job's builds, oldest first.
func (c *Controller) Builds(name string) []*Build {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jobs[name] == nil {
		return nil
	}
	return slices.Clone(c.jobs[name].builds)
}

// Wait blocks until all builds have ended, those that others queued included.
func (c *Controller) Wait() { c.work.Wait() }

// Restart is what becomes of a controller that crashes, or that an impatient administrator restarts: its
// builds are gone, their agents' connections with them, and no step of theirs ever runs. Processes go on,
// unless the agents lose their power with it.
func (c *Controller) Restart(withAgents bool) {
	c.mu.Lock()
	close(c.gone)
	c.gone = make(chan struct{})
	agents := slices.Clone(c.agents)
	c.change.Broadcast()
	c.mu.Unlock()
	for _, a := range agents {
		if withAgents {
			killAll(a.mark)
		}
		a.hangUp()
	}
}

// Hang stops the reading of what builds print, as a full disk of the controller does; steps that begin
// meanwhile find the pipe full.
func (c *Controller) Hang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hung = make(chan struct{})
}

// Resume ends Hang.
func (c *Controller) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.hung)
	c.hung = nil
}

// Agent is a machine that runs builds.
type Agent struct {
	controller *Controller
	name       string
	labels     []string
	folder     string
	environ    []string
	mark       map[string]string // in the environment of all that it starts

	lost       chan struct{}
	executors  []bool                // which are busy, guarded by the controller's mu
	workspaces map[string]bool       // which are taken, guarded by the controller's mu
	pipes      map[*os.File]struct{} // the reading ends, guarded by the controller's mu
}

// AddAgent connects a machine with so many executors, whose processes get the environment and no more.
func (c *Controller) AddAgent(name, label string, executors int, environ []string) (*Agent, error) {
	a := &Agent{
		controller: c, name: name, labels: strings.Fields(label), folder: filepath.Join(c.folder, "agents", name),
		mark: map[string]string{"TEST_AGENT": rand.Text()}, lost: make(chan struct{}),
		executors: make([]bool, executors), workspaces: map[string]bool{}, pipes: map[*os.File]struct{}{},
	}
	a.environ = append(slices.Clone(environ), "TEST_AGENT="+a.mark["TEST_AGENT"])
	if err := os.MkdirAll(filepath.Join(a.folder, "tmp"), 0o755); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agents = append(c.agents, a)
	c.change.Broadcast()
	return a, nil
}

// Lose disconnects the agent for good. What it runs goes on, with nobody to read what it prints; or dies
// with the machine.
func (a *Agent) Lose(withMachine bool) {
	c := a.controller
	c.mu.Lock()
	c.agents = slices.DeleteFunc(c.agents, func(other *Agent) bool { return other == a })
	select {
	case <-a.lost:
	default:
		close(a.lost)
	}
	c.mu.Unlock()
	if withMachine {
		killAll(a.mark)
	}
	a.hangUp()
}

// Processes lists what runs on the agent.
func (a *Agent) Processes() []int { return carriers(a.mark) }

// Kill ends all processes of the agent, also after it was lost: the test's own broom.
func (a *Agent) Kill() { killAll(a.mark) }

// hangUp closes the reading ends of all pipes.
func (a *Agent) hangUp() {
	a.controller.mu.Lock()
	defer a.controller.mu.Unlock()
	for _, pipe := range slices.Collect(maps.Keys(a.pipes)) {
		_ = pipe.Close()
		delete(a.pipes, pipe)
	}
}

// suits reports whether a label expression, names with && between them, means this agent.
func (a *Agent) suits(label string) bool {
	for name := range strings.SplitSeq(label, "&&") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(a.labels, name) {
			return false
		}
	}
	return true
}

// seat is an executor with a workspace.
type seat struct {
	agent     *Agent
	executor  int
	workspace string
}

// take waits for an executor that suits a build; false when the build was cancelled in the queue or the
// controller restarted meanwhile.
func (c *Controller) take(b *Build) (seat, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if b.cancelled || b.isGone() {
			return seat{}, false
		}
		if b.job.Concurrent || !b.jobBusy() {
			if a := c.idlest(b.label); a != nil {
				s := seat{agent: a, executor: slices.Index(a.executors, false)}
				a.executors[s.executor] = true
				for n := 1; ; n++ {
					s.workspace = filepath.Join(a.folder, "workspace", b.folderName)
					if n > 1 {
						s.workspace += fmt.Sprint("@", n)
					}
					if !a.workspaces[s.workspace] {
						a.workspaces[s.workspace] = true
						return s, true
					}
				}
			}
		}
		c.change.Wait()
	}
}

// idlest is the agent with the most free executors of those that suit a label, nil for none.
func (c *Controller) idlest(label string) *Agent {
	var best *Agent
	most := 0
	for _, a := range c.agents {
		free := 0
		for _, busy := range a.executors {
			if !busy {
				free++
			}
		}
		if free > most && a.suits(label) {
			best, most = a, free
		}
	}
	return best
}

// leave gives an executor back.
func (c *Controller) leave(s seat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.agent.executors[s.executor] = false
	delete(s.agent.workspaces, s.workspace)
	c.change.Broadcast()
}
