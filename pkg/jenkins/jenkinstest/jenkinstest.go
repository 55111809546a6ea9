// Package jenkinstest is a Jenkins for tests: it answers api/json of builds and jobs as the real one does,
// and misbehaves as it is told.
package jenkinstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
)

// The account that may read.
const (
	User  = "tender"
	Token = "11zebra-token22"
)

// Build is what the controller knows of a build, by what its api/json tells.
type Build struct {
	Building   bool
	InProgress bool
	Result     string // "" is null
}

// The stages of a build's life.
var (
	Running    = Build{Building: true, InProgress: true}
	Publishing = Build{Building: false, InProgress: true, Result: "FAILURE"} // the last publishers
	Success    = Build{Result: "SUCCESS"}
	Aborted    = Build{Result: "ABORTED"}
)

// Access is how much of a job the account sees.
type Access int

// The ways in which a job is seen.
const (
	Read     Access = iota
	Discover        // 403
	None            // 404, as if it were not there
)

// Fault is how the controller, or what stands before it, misbehaves.
type Fault string

// The faults. Each holds for all that is asked.
const (
	Fine       Fault = ""
	Starting   Fault = "starting"    // 503 with its own page
	Login      Fault = "login"       // 302 to the login form
	MovedTLS   Fault = "moved"       // 301 to https
	Elsewhere  Fault = "elsewhere"   // 302 to another host, see Lead
	BadGateway Fault = "bad-gateway" // 502 of a proxy
	ProxyPage  Fault = "proxy-page"  // a proxy's own 404
	WebPage    Fault = "web-page"    // 200 with HTML, not of Jenkins
	Garbage    Fault = "garbage"     // 200 of Jenkins, cut off
	OtherBuild Fault = "other-build" // 200 of Jenkins, of another build
	Silent     Fault = "silent"      // no answer until the client goes away
	Endless    Fault = "endless"     // an answer that never ends
)

// Server is a controller under a URL that may have a path.
type Server struct {
	*httptest.Server
	Base string // its URL, ends with /

	mu     sync.Mutex
	prefix string
	builds map[string]Build // by path below Base: "job/a/12/"
	jobs   map[string]Access
	fault  Fault
	other  string // where Elsewhere leads
	before func(path string)
	seen   []string
	tokens int
}

// New starts a controller below a path ("/" or "/jenkins/"). Close it.
func New(prefix string) *Server {
	s := &Server{prefix: prefix, builds: map[string]Build{}, jobs: map[string]Access{}}
	s.Server = httptest.NewServer(s)
	s.Base = s.URL + prefix
	return s
}

// Set makes a build known, with its job.
func (s *Server) Set(path string, b Build) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.builds[path] = b
	if job := jobOf(path); s.jobs[job] == 0 {
		s.jobs[job] = Read
	}
}

// Discard forgets a build and keeps its job.
func (s *Server) Discard(path string) {
	s.Set(path, Build{})
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.builds, path)
}

// Allow says how much of a job the account sees.
func (s *Server) Allow(job string, a Access) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs[job] = a
}

// Misbehave sets the fault for all that comes from now on.
func (s *Server) Misbehave(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Lead says where Elsewhere leads: a URL that ends with a slash.
func (s *Server) Lead(other string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.other = other
}

// Before has fn called at the beginning of each request with its path below Base.
func (s *Server) Before(fn func(path string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = fn
}

// Seen lists the paths that were asked for, escaped as they came, and counts the requests that brought
// any account along.
func (s *Server) Seen() (paths []string, accounts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(paths, s.seen...), s.tokens
}

var lastNumber = regexp.MustCompile(`[0-9]+/$`)

func jobOf(path string) string { return lastNumber.ReplaceAllString(path, "") }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	s.mu.Lock()
	s.seen = append(s.seen, path)
	if r.Header.Get("Authorization") != "" {
		s.tokens++
	}
	before := s.before
	s.mu.Unlock()
	path = strings.TrimSuffix(strings.TrimPrefix(path, s.prefix), "api/json")
	if before != nil {
		before(path)
	}
	s.mu.Lock()
	fault, other := s.fault, s.other
	s.mu.Unlock()
	if s.misbehave(w, r, fault, other) {
		return
	}
	w.Header().Set("X-Jenkins", "2.516.3")
	user, token, ok := r.BasicAuth()
	switch {
	case !ok:
		http.Error(w, "Authentication required", http.StatusForbidden)
		return
	case user != User || token != Token:
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	job := jobOf(path)
	access, known := s.jobs[job]
	switch {
	case !known || access == None || !strings.HasPrefix(r.URL.EscapedPath(), s.prefix):
		http.Error(w, "Not Found", http.StatusNotFound)
	case access == Discover:
		http.Error(w, "tender is missing the Job/Read permission", http.StatusForbidden)
	case path == job:
		answer(w, map[string]any{"_class": "hudson.model.FreeStyleProject", "name": job})
	default:
		b, known := s.builds[path]
		if !known {
			http.Error(w, "Not Found", http.StatusNotFound)
			return
		}
		answer(w, b.json(path))
	}
}

func (b Build) json(path string) map[string]any {
	var result any
	if b.Result != "" {
		result = b.Result
	}
	return map[string]any{
		"_class": "hudson.model.FreeStyleBuild", "building": b.Building, "inProgress": b.InProgress, "result": result,
		"number": json.Number(strings.TrimSuffix(strings.TrimPrefix(path, jobOf(path)), "/")),
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	_ = json.NewEncoder(w).Encode(v) // a client that has gone does not read it
}

// misbehave answers in the fault's way; false when there is none.
func (s *Server) misbehave(w http.ResponseWriter, r *http.Request, f Fault, other string) bool {
	switch f {
	case Fine:
		return false
	case Starting:
		w.Header().Set("X-Jenkins", "2.516.3")
		http.Error(w, "<html>Please wait while Jenkins is getting ready to work", http.StatusServiceUnavailable)
	case Login:
		w.Header().Set("X-Jenkins", "2.516.3")
		http.Redirect(w, r, s.prefix+"login?from=secret", http.StatusFound)
	case MovedTLS:
		http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
	case Elsewhere:
		http.Redirect(w, r, other+strings.TrimPrefix(r.URL.EscapedPath(), s.prefix)+"?"+r.URL.RawQuery, http.StatusFound)
	case BadGateway:
		http.Error(w, "bad gateway", http.StatusBadGateway)
	case ProxyPage:
		http.Error(w, "<html>no such site", http.StatusNotFound)
	case WebPage:
		_, _ = fmt.Fprint(w, `{"name": "a page that is not of Jenkins", "building": false, "inProgress": false, "number": 12}`)
	case Garbage:
		w.Header().Set("X-Jenkins", "2.516.3")
		_, _ = fmt.Fprint(w, `{"building":false,"inProgre`)
	case OtherBuild:
		w.Header().Set("X-Jenkins", "2.516.3")
		answer(w, Success.json("job/x/999/"))
	case Silent:
		<-r.Context().Done()
	case Endless:
		w.Header().Set("X-Jenkins", "2.516.3")
		for r.Context().Err() == nil {
			if _, err := fmt.Fprint(w, strings.Repeat(" ", 1<<14)); err != nil {
				return true
			}
		}
	}
	return true
}
