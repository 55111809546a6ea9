package main

import (
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/molteniron/molteniron/pkg/jenkins/jenkinstest"
)

// jenkinsKey finds the controllers of a story, by name.
type jenkinsKey struct{}

// playJenkins plays a controller:
//
//	jenkins start NAME PREFIX       its URL is then $NAME, the account's token in the file NAME.token
//	jenkins build NAME PATH STATE   running, publishing, success, aborted or discarded
//	jenkins allow NAME JOB ACCESS   read, discover or none
//	jenkins fault NAME FAULT [OTHER] of package jenkinstest; "fine" ends it; OTHER is where it leads
//	jenkins stop NAME
//	jenkins unasked NAME            nobody has asked it for anything
func playJenkins(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: jenkins start|build|allow|fault|stop|unasked NAME …")
	}
	all := ts.Value(jenkinsKey{}).(map[string]*jenkinstest.Server)
	name := args[1]
	s := all[name]
	switch strings.Join(args[:1], "") {
	case "start":
		s = jenkinstest.New(args[2])
		ts.Defer(s.Close)
		all[name] = s
		ts.Setenv(name, s.Base)
		return
	case "build":
		states := map[string]jenkinstest.Build{
			"running": jenkinstest.Running, "publishing": jenkinstest.Publishing, "success": jenkinstest.Success, "aborted": jenkinstest.Aborted,
		}
		if b, ok := states[args[3]]; ok {
			s.Set(args[2], b)
			return
		}
		s.Discard(args[2])
	case "allow":
		s.Allow(args[2], map[string]jenkinstest.Access{"read": jenkinstest.Read, "discover": jenkinstest.Discover, "none": jenkinstest.None}[args[3]])
	case "fault":
		fault := jenkinstest.Fault(args[2])
		if fault == "fine" {
			fault = jenkinstest.Fine
		}
		if len(args) > 3 {
			s.Lead(all[args[3]].Base)
		}
		s.Misbehave(fault)
	case "stop":
		s.Close()
	case "unasked":
		if paths, accounts := s.Seen(); len(paths)+accounts > 0 {
			ts.Fatalf("%s was asked for %q, %d times with an account", name, paths, accounts)
		}
	default:
		ts.Fatalf("jenkins: unknown word %q", fmt.Sprint(args[0]))
	}
}
