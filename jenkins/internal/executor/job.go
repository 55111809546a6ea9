package executor

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Job is a freestyle or matrix job, in the order of its config.xml.
type Job struct {
	Axes        []Axis // of a matrix job, nil of a freestyle job
	Label       string // of the agents that it runs on
	Concurrent  bool
	Parameters  []Parameter
	SCM         string   // class of its source, "" for none
	Triggers    []string // classes, and the schedule of those that have one
	Timestamps  bool
	Timeout     time.Duration // 0 for none
	TimeoutName string        // of the variable that tells it, in milliseconds
	Bindings    []Binding
	Builders    []Shell
	Publishers  []Publisher
}

// Axis is one of a matrix job's.
type Axis struct {
	Label  bool // its values are labels of agents
	Name   string
	Values []string
}

// Parameter is one of a job's, with what it is when nobody says.
type Parameter struct{ Name, Default string }

// Binding puts a credential into a variable; File leaves a file and puts its path there.
type Binding struct {
	Variable   string
	Credential string
	File       bool
}

// Shell is a step of the shell.
type Shell struct {
	Script   string
	Unstable int // exit status that makes the build unstable and goes on, 0 for none
}

// Publisher is a post-build action; exactly one of its fields is set.
type Publisher struct {
	PostBuild *PostBuild
	Archive   *Archive
	Report    *Report
	Trigger   *Trigger
	Cleanup   *Cleanup
}

// PostBuild is the PostBuildScript plugin.
type PostBuild struct {
	Steps        []PostBuildStep
	MarkUnstable bool // where a step fails, instead of failed
}

// PostBuildStep runs scripts after some results.
type PostBuildStep struct {
	Results   []string
	Role      string // MASTER, SLAVE or BOTH
	ExecuteOn string // AXES, MATRIX or BOTH; "" is BOTH
	Scripts   []Shell
}

// Archive copies files of the workspace to the controller.
type Archive struct {
	Patterns   []string
	AllowEmpty bool
}

// Report copies a folder of the workspace to the controller, as the HTML Publisher does.
type Report struct {
	Name, Dir    string
	Files        []string
	KeepAll      bool
	AllowMissing bool
	LinkToLast   bool
}

// Trigger queues other jobs.
type Trigger struct {
	Projects   []string
	Condition  string
	Properties string // of java.util.Properties: the parameters

	FromChildren bool // in a matrix job each combination does, instead of the parent
}

// Cleanup removes the workspace.
type Cleanup struct{}

// element is XML as it is.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []*element `xml:",any"`
}

func (e *element) name() string { return e.XMLName.Local }

// find follows names downwards, each the first of its kind; it gives an empty element for none.
func (e *element) find(names ...string) *element {
	for _, name := range names {
		i := slices.IndexFunc(e.Children, func(c *element) bool { return c.name() == name })
		if i < 0 {
			return &element{}
		}
		e = e.Children[i]
	}
	return e
}

func (e *element) text(names ...string) string { return e.find(names...).Text }

func (e *element) texts(names ...string) []string {
	var list []string
	for _, c := range e.find(names...).Children {
		list = append(list, c.Text)
	}
	return list
}

func (e *element) attr(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// ReadJob reads a config.xml. What this package does not know is an error that names it: a job that was
// run without it would prove nothing.
func ReadJob(text []byte) (*Job, error) {
	// Java writes XML 1.1, which differs in control characters only and which encoding/xml refuses.
	head, rest, _ := strings.Cut(string(text), "?>")
	var root element
	if err := xml.Unmarshal([]byte(strings.Replace(head, "1.1", "1.0", 1)+"?>"+rest), &root); err != nil {
		return nil, err
	}
	if root.name() != "project" && root.name() != "matrix-project" {
		return nil, fmt.Errorf("%s is no kind of job that runs here", root.name())
	}
	j := &Job{Label: root.text("assignedNode"), Concurrent: root.text("concurrentBuild") == "true"}
	for _, part := range root.Children {
		read := j.readers()[part.name()]
		if read == nil {
			continue // how builds are kept and shown, which changes nothing of what they do
		}
		if err := read(part); err != nil {
			return nil, err
		}
	}
	return j, nil
}

func (j *Job) readers() map[string]func(*element) error {
	each := func(read func(*element) error) func(*element) error {
		return func(list *element) error {
			for _, e := range list.Children {
				if err := read(e); err != nil {
					return err
				}
			}
			return nil
		}
	}
	return map[string]func(*element) error{
		"axes":          each(j.readAxis),
		"properties":    each(j.readProperty),
		"scm":           j.readSCM,
		"triggers":      each(j.readTrigger),
		"buildWrappers": each(j.readWrapper),
		"builders":      each(j.readBuilder),
		"publishers":    each(j.readPublisher),
	}
}

func (j *Job) readAxis(e *element) error {
	switch e.name() {
	case "hudson.matrix.TextAxis", "hudson.matrix.LabelExpAxis", "hudson.matrix.LabelAxis":
		j.Axes = append(j.Axes, Axis{Label: e.name() != "hudson.matrix.TextAxis", Name: e.text("name"), Values: e.texts("values")})
		return nil
	}
	return fmt.Errorf("axis %s is not known here", e.name())
}

func (j *Job) readProperty(e *element) error {
	switch e.name() {
	case "jenkins.model.BuildDiscarderProperty":
		return nil
	case "hudson.model.ParametersDefinitionProperty":
		for _, p := range e.find("parameterDefinitions").Children {
			switch p.name() {
			case "hudson.model.StringParameterDefinition", "hudson.model.BooleanParameterDefinition":
				j.Parameters = append(j.Parameters, Parameter{Name: p.text("name"), Default: p.text("defaultValue")})
			default:
				return fmt.Errorf("parameter %s is not known here", p.name())
			}
		}
		return nil
	}
	return fmt.Errorf("property %s is not known here", e.name())
}

func (j *Job) readSCM(e *element) error {
	if class := e.attr("class"); class != "hudson.scm.NullSCM" {
		j.SCM = class
	}
	return nil
}

func (j *Job) readTrigger(e *element) error {
	j.Triggers = append(j.Triggers, strings.TrimSpace(e.name()+" "+e.text("spec")))
	return nil
}

func (j *Job) readWrapper(e *element) error {
	switch e.name() {
	case "hudson.plugins.timestamper.TimestamperBuildWrapper":
		j.Timestamps = true
		return nil
	case "hudson.plugins.build__timeout.BuildTimeoutWrapper":
		strategy := e.find("strategy")
		minutes, err := strconv.Atoi(strategy.text("timeoutMinutes"))
		if class := strategy.attr("class"); class != "hudson.plugins.build_timeout.impl.AbsoluteTimeOutStrategy" || err != nil {
			return fmt.Errorf("time limit of %s in %q minutes is not known here", class, strategy.text("timeoutMinutes"))
		}
		for _, o := range e.find("operationList").Children {
			if o.name() != "hudson.plugins.build__timeout.operations.AbortOperation" {
				return fmt.Errorf("%s at the time limit is not known here", o.name())
			}
		}
		j.Timeout, j.TimeoutName = time.Duration(minutes)*time.Minute, e.text("timeoutEnvVar")
		return nil
	case "org.jenkinsci.plugins.credentialsbinding.impl.SecretBuildWrapper":
		for _, b := range e.find("bindings").Children {
			switch b.name() {
			case "org.jenkinsci.plugins.credentialsbinding.impl.StringBinding", "org.jenkinsci.plugins.credentialsbinding.impl.FileBinding":
				j.Bindings = append(j.Bindings, Binding{
					Variable: b.text("variable"), Credential: b.text("credentialsId"), File: strings.HasSuffix(b.name(), "FileBinding"),
				})
			default:
				return fmt.Errorf("binding %s is not known here", b.name())
			}
		}
		return nil
	}
	return fmt.Errorf("wrapper %s is not known here", e.name())
}

func (j *Job) readBuilder(e *element) error {
	step, err := readShell(e)
	j.Builders = append(j.Builders, step)
	return err
}

func readShell(e *element) (Shell, error) {
	if e.name() != "hudson.tasks.Shell" {
		return Shell{}, fmt.Errorf("step %s is not known here", e.name())
	}
	s := Shell{Script: e.text("command")}
	if n := e.text("unstableReturn"); n != "" {
		var err error
		if s.Unstable, err = strconv.Atoi(n); err != nil {
			return Shell{}, fmt.Errorf("unstableReturn: %w", err)
		}
	}
	return s, nil
}

func (j *Job) readPublisher(e *element) error {
	var p Publisher
	switch e.name() {
	case "org.jenkinsci.plugins.postbuildscript.PostBuildScript":
		config := e.find("config")
		p.PostBuild = &PostBuild{MarkUnstable: config.text("markBuildUnstable") == "true"}
		if len(config.find("scriptFiles").Children)+len(config.find("groovyScripts").Children) > 0 {
			return fmt.Errorf("files and Groovy after the build are not known here")
		}
		for _, s := range config.find("buildSteps").Children {
			if s.text("stopOnFailure") == "true" {
				return fmt.Errorf("post-build scripts that stop at the first failure are not known here")
			}
			step := PostBuildStep{Results: s.texts("results"), Role: s.text("role"), ExecuteOn: s.text("executeOn")}
			for _, b := range s.find("buildSteps").Children {
				script, err := readShell(b)
				if err != nil {
					return err
				}
				step.Scripts = append(step.Scripts, script)
			}
			p.PostBuild.Steps = append(p.PostBuild.Steps, step)
		}
	case "hudson.tasks.ArtifactArchiver":
		p.Archive = &Archive{AllowEmpty: e.text("allowEmptyArchive") == "true"}
		for pattern := range strings.SplitSeq(e.text("artifacts"), ",") {
			p.Archive.Patterns = append(p.Archive.Patterns, strings.TrimSpace(pattern))
		}
	case "htmlpublisher.HtmlPublisher":
		t := e.find("reportTargets", "htmlpublisher.HtmlPublisherTarget")
		if n := len(e.find("reportTargets").Children); n != 1 {
			return fmt.Errorf("%d reports of one action are not known here", n)
		}
		p.Report = &Report{
			Name: t.text("reportName"), Dir: t.text("reportDir"), Files: strings.Split(t.text("reportFiles"), ","),
			KeepAll: t.text("keepAll") == "true", AllowMissing: t.text("allowMissing") == "true", LinkToLast: t.text("alwaysLinkToLastBuild") == "true",
		}
	case "hudson.plugins.parameterizedtrigger.BuildTrigger":
		c := e.find("configs", "hudson.plugins.parameterizedtrigger.BuildTriggerConfig")
		if n, m := len(e.find("configs").Children), len(c.find("configs").Children); n != 1 || m != 1 {
			return fmt.Errorf("%d triggers of one action with %d kinds of parameters are not known here", n, m)
		}
		p.Trigger = &Trigger{
			Condition:  c.text("condition"),
			Properties: c.text("configs", "hudson.plugins.parameterizedtrigger.PredefinedBuildParameters", "properties"),

			FromChildren: c.text("triggerFromChildProjects") == "true",
		}
		for project := range strings.SplitSeq(c.text("projects"), ",") {
			p.Trigger.Projects = append(p.Trigger.Projects, strings.TrimSpace(project))
		}
	case "hudson.plugins.ws__cleanup.WsCleanup":
		p.Cleanup = &Cleanup{}
	default:
		return fmt.Errorf("post-build action %s is not known here", e.name())
	}
	j.Publishers = append(j.Publishers, p)
	return nil
}
