package jenkins

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/jenkins/jenkinstest"
	"github.com/molteniron/molteniron/pkg/secret"
)

func newClient(t testing.TB, controllers ...Controller) *Client {
	t.Helper()
	c, err := New(controllers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve starts a controller and a client that may ask it.
func serve(t *testing.T, prefix string) (*jenkinstest.Server, *Client) {
	t.Helper()
	s := jenkinstest.New(prefix)
	t.Cleanup(s.Close)
	return s, newClient(t, Controller{URL: s.Base, User: jenkinstest.User, Token: secret.New(jenkinstest.Token)})
}

func find(t *testing.T, c *Client, owner string) Build {
	t.Helper()
	b, ok := c.Find(owner)
	if !ok {
		t.Fatalf("%s is not found to be a build", owner)
	}
	return b
}

const soon = time.Microsecond // between two looks

func TestFind(t *testing.T) {
	c := newClient(t,
		Controller{URL: "https://ci.example.org/"},
		Controller{URL: "https://ci.example.org/jenkins/"},
		Controller{URL: "http://lab.example.org:8080/j%20x/"},
		Controller{URL: "https://[2001:db8::7]:8443/"},
	)
	for _, tt := range []struct{ owner, asked string }{
		{"https://ci.example.org/job/a/12/", "https://ci.example.org/job/a/12/"},
		{"https://ci.example.org/job/a/12", "https://ci.example.org/job/a/12/"},
		{"https://CI.Example.ORG:443/job/a/12/", "https://ci.example.org/job/a/12/"},
		{"http://ci.example.org/job/a/12/", "https://ci.example.org/job/a/12/"}, // the request is the controller's own
		{"http://ci.example.org:80/job/a/12/", "https://ci.example.org/job/a/12/"},
		{"https://ci.example.org/job/team/job/a%20b/12/", "https://ci.example.org/job/team/job/a%20b/12/"},
		{"https://ci.example.org/job/a b/12/", "https://ci.example.org/job/a%20b/12/"},
		{"https://ci.example.org/job/r%C3%A9sum%C3%A9/12/", "https://ci.example.org/job/r%C3%A9sum%C3%A9/12/"},
		{"https://ci.example.org/job/repo/job/feature%252Fx/3/", "https://ci.example.org/job/repo/job/feature%252Fx/3/"},
		{"https://ci.example.org/job/m/ARCH=x86_64,label=foo/12/", "https://ci.example.org/job/m/ARCH=x86_64,label=foo/12/"},
		{"https://ci.example.org/jenkins/job/a/12/", "https://ci.example.org/jenkins/job/a/12/"},
		{"http://lab.example.org:8080/j%20x/job/a/12/", "http://lab.example.org:8080/j%20x/job/a/12/"},
		{"https://[2001:DB8::7]:8443/job/a/12/", "https://[2001:db8::7]:8443/job/a/12/"},

		{"https://ci.example.org.evil/job/a/12/", ""},
		{"https://ci.example.org@evil/job/a/12/", ""},
		{"https://ci.example.org:443@evil/job/a/12/", ""},
		{"https://evil@ci.example.org/job/a/12/", ""},
		{"https://@ci.example.org/job/a/12/", ""},
		{`https://ci.example.org\@evil/job/a/12/`, ""},
		{`https://evil\@ci.example.org/job/a/12/`, ""},
		{"https://evil/https://ci.example.org/job/a/12/", ""},
		{"https://evil#@ci.example.org/job/a/12/", ""},
		{"https://ci.example.org:8443/job/a/12/", ""},
		{"http://ci.example.org:443/job/a/12/", ""},
		{"https://ci.example.org./job/a/12/", ""},
		{"//ci.example.org/job/a/12/", ""},
		{"ftp://ci.example.org/job/a/12/", ""},
		{"https:job/a/12/", ""},
		{"https:///job/a/12/", ""},
		{"https://ci.example.org/job/a/12/?x=1", ""},
		{"https://ci.example.org/job/a/12/#x", ""},
		{"https://ci.example.org/job/a/12/?", ""},
		{"https://ci.example.org/job/../12/", ""},
		{"https://ci.example.org/job/%2e%2e/12/", ""},
		{"https://ci.example.org/job/..;/12/", ""},
		{"https://ci.example.org/job/a%2f..%2f/12/", ""},
		{"https://ci.example.org/job/a%5c/12/", ""},
		{"https://ci.example.org/job/a%0d%0aX:1/12/", ""},
		{"https://ci.example.org/job/a%zz/12/", ""},
		{"https://ci.example.org/job//12/", ""},
		{"https://ci.example.org//job/a/12/", ""},
		{"https://ci.example.org/job/a//12/", ""},
		{"https://ci.example.org/job/12/", ""},
		{"https://ci.example.org/12/", ""},
		{"https://ci.example.org/user/a/12/", ""},
		{"https://ci.example.org/job/a/", ""},
		{"https://ci.example.org/job/a/lastBuild/", ""},
		{"https://ci.example.org/job/a/012/", ""},
		{"https://ci.example.org/job/a/-1/", ""},
		{"https://ci.example.org/job/a/12345678901/", ""},
		{"https://ci.example.org/job/a/%31%32/", ""},
		{"http://lab.example.org:8080/job/a/12/", ""},
		{"https://ci.example.org/jenkinsx/job/a/12/", ""},
		{"ci1:team/nightly#12", ""},
		{"alice", ""},
		{"", ""},
	} {
		b, ok := c.Find(tt.owner)
		got := ""
		if ok {
			got = b.controller.URL + b.job + b.number + "/"
		}
		if got != tt.asked {
			t.Errorf("%q is asked for as %q, want %q", tt.owner, got, tt.asked)
		}
	}
}

func TestNew(t *testing.T) {
	for _, bad := range []string{"", "ci.example.org/", "ftp://ci.example.org/", "https:///", "https://a@ci.example.org/", "https://ci.example.org", "https://ci/%zz/"} {
		if _, err := New([]Controller{{URL: bad}}); err == nil {
			t.Errorf("%q is taken for a controller", bad)
		}
	}
}

func TestAsk(t *testing.T) {
	const path = "job/team/job/a%20b/12/"
	for _, tt := range []struct {
		name string
		play func(s *jenkinstest.Server)
		want Answer
		why  string // part of Answer.Why
	}{
		{"running", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Running) }, Answer{State: Running}, ""},
		{"in its last publishers", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Publishing) }, Answer{State: Running}, ""},
		{"finished", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Aborted) }, Answer{State: Finished, Result: "ABORTED"}, ""},
		{"discarded", func(s *jenkinstest.Server) { s.Discard(path) }, Answer{State: Finished}, ""},
		{"a hidden job", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Running); s.Allow(jobPath, jenkinstest.None) },
			Answer{State: Unknown}, "neither the build nor its job"},
		{"a job that can only be discovered", func(s *jenkinstest.Server) {
			s.Set(path, jenkinstest.Running)
			s.Allow(jobPath, jenkinstest.Discover)
		}, Answer{State: Unknown, Misconfigured: true}, "403"},
		{"no such job", func(*jenkinstest.Server) {}, Answer{State: Unknown}, "renamed"},
		{"starting", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Success); s.Misbehave(jenkinstest.Starting) }, Answer{State: Unknown}, "starting"},
		{"a login form", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Success); s.Misbehave(jenkinstest.Login) }, Answer{State: Unknown}, "login"},
		{"moved to https", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Success); s.Misbehave(jenkinstest.MovedTLS) },
			Answer{State: Unknown, Misconfigured: true}, "Jenkins URL"},
		{"a proxy without Jenkins", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Success); s.Misbehave(jenkinstest.BadGateway) }, Answer{State: Unknown}, "502"},
		{"a proxy's own 404", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Running); s.Misbehave(jenkinstest.ProxyPage) },
			Answer{State: Unknown}, "neither the build nor its job"},
		{"another's page", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Running); s.Misbehave(jenkinstest.WebPage) }, Answer{State: Unknown}, "no Jenkins"},
		{"half an answer", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Running); s.Misbehave(jenkinstest.Garbage) }, Answer{State: Unknown}, "no Jenkins"},
		{"another build's answer", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Running); s.Misbehave(jenkinstest.OtherBuild) }, Answer{State: Unknown}, "no Jenkins"},
		{"an answer without end", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Running); s.Misbehave(jenkinstest.Endless) }, Answer{State: Unknown}, "no Jenkins"},
		{"silence", func(s *jenkinstest.Server) { s.Set(path, jenkinstest.Success); s.Misbehave(jenkinstest.Silent) }, Answer{State: Unknown}, "no answer in time"},
		{"a controller that is gone", func(s *jenkinstest.Server) { s.Close() }, Answer{State: Unknown}, "refused"},
		{"a job that goes between build and job", func(s *jenkinstest.Server) {
			s.Discard(path)
			s.Before(func(path string) {
				if path == jobPath {
					s.Misbehave(jenkinstest.ProxyPage)
				}
			})
		}, Answer{State: Unknown}, "neither"},
		{"a job's page that is not Jenkins'", func(s *jenkinstest.Server) {
			s.Discard(path)
			s.Before(func(path string) {
				if path == jobPath {
					s.Misbehave(jenkinstest.WebPage)
				}
			})
		}, Answer{State: Unknown}, "no Jenkins"},
		{"a job that is answered by half", func(s *jenkinstest.Server) {
			s.Discard(path)
			s.Before(func(path string) {
				if path == jobPath {
					s.Misbehave(jenkinstest.Garbage)
				}
			})
		}, Answer{State: Unknown}, "no Jenkins"},
		{"finished, then restarted before the second look", func(s *jenkinstest.Server) {
			s.Set(path, jenkinstest.Success)
			onRequest(s, 2, func() { s.Misbehave(jenkinstest.Starting) })
		}, Answer{State: Unknown}, "starting"},
		{"finished, then running", func(s *jenkinstest.Server) { // a pipeline that came back after a restart
			s.Set(path, jenkinstest.Success)
			onRequest(s, 2, func() { s.Set(path, jenkinstest.Running) })
		}, Answer{State: Running}, ""},
		{"finished, then discarded", func(s *jenkinstest.Server) {
			s.Set(path, jenkinstest.Aborted)
			onRequest(s, 2, func() { s.Discard(path) })
		}, Answer{State: Finished, Result: "ABORTED"}, ""},
		{"starting, then finished", func(s *jenkinstest.Server) { // one look is not two
			s.Set(path, jenkinstest.Success)
			s.Misbehave(jenkinstest.Starting)
			onRequest(s, 2, func() { s.Misbehave(jenkinstest.Fine) })
		}, Answer{State: Unknown}, "starting"},
	} {
		for _, prefix := range []string{"/", "/jenkins/"} {
			t.Run(tt.name+" at "+prefix, func(t *testing.T) {
				t.Parallel()
				s, c := serve(t, prefix)
				if tt.name == "silence" {
					c.requestTime = 50 * time.Millisecond
				}
				b := find(t, c, s.Base+path)
				tt.play(s)
				got := c.Ask(t.Context(), []Build{b}, soon)[0]
				why := got.Why
				got.Why = ""
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
				if !strings.Contains(why, tt.why) || (why == "") != (tt.want.State != Unknown) {
					t.Errorf("why: %q, want it to say %q", why, tt.why)
				}
				if strings.Contains(why, jenkinstest.Token) || strings.Contains(why, "from=secret") {
					t.Errorf("why shows too much: %q", why)
				}
			})
		}
	}
}

const jobPath = "job/team/job/a%20b/"

// onRequest has fn called once, at the beginning of the n-th request.
func onRequest(s *jenkinstest.Server, n int, fn func()) {
	s.Before(func(string) {
		if n--; n == 0 {
			fn()
		}
	})
}

func TestAccount(t *testing.T) {
	s := jenkinstest.New("/")
	defer s.Close()
	s.Set("job/a/12/", jenkinstest.Success)
	for _, tt := range []struct {
		user, token, why string
	}{
		{"", "", "wants an account"},
		{jenkinstest.User, "zebra-of-yesterday", `"tender" is refused; check user and token_file`},
	} {
		c := newClient(t, Controller{URL: s.Base, User: tt.user, Token: secret.New(tt.token)})
		a := c.Ask(t.Context(), []Build{find(t, c, s.Base+"job/a/12/")}, soon)[0]
		if a.State != Unknown || !a.Misconfigured || !strings.Contains(a.Why, tt.why) || strings.Contains(a.Why, "zebra") {
			t.Errorf("answer %+v, want why to say %q", a, tt.why)
		}
	}
}

// Whatever a controller sends, nothing is asked of another host.
func TestRedirectIsNotFollowed(t *testing.T) {
	s, c := serve(t, "/")
	evil := jenkinstest.New("/")
	defer evil.Close()
	evil.Set("job/a/12/", jenkinstest.Success)
	s.Set("job/a/12/", jenkinstest.Running)
	s.Lead(evil.Base)
	s.Misbehave(jenkinstest.Elsewhere)
	if a := c.Ask(t.Context(), []Build{find(t, c, s.Base+"job/a/12/")}, soon)[0]; a.State != Unknown || !strings.Contains(a.Why, evil.URL) {
		t.Errorf("answer %+v", a)
	}
	if paths, accounts := evil.Seen(); len(paths) != 0 || accounts != 0 {
		t.Errorf("the other host was asked for %q, %d times with an account", paths, accounts)
	}
}

// While one controller hangs the others are answered.
func TestSeveralControllers(t *testing.T) {
	slow, fast := jenkinstest.New("/"), jenkinstest.New("/ci/")
	defer slow.Close()
	defer fast.Close()
	slow.Misbehave(jenkinstest.Silent)
	var controllers []Controller
	for _, s := range []*jenkinstest.Server{slow, fast} {
		controllers = append(controllers, Controller{URL: s.Base, User: jenkinstest.User, Token: secret.New(jenkinstest.Token)})
	}
	c := newClient(t, controllers...)
	var asked atomic.Int32
	fast.Before(func(string) { // they are all asked for while the other hangs
		if asked.Add(1) == 20 {
			slow.Misbehave(jenkinstest.BadGateway)
			slow.CloseClientConnections()
		}
	})
	var builds []Build
	for i := range 20 {
		path := fmt.Sprintf("job/a/%d/", i+1)
		fast.Set(path, jenkinstest.Success)
		builds = append(builds, find(t, c, slow.Base+path), find(t, c, fast.Base+path))
	}
	fast.Set("job/a/7/", jenkinstest.Running)
	for i, a := range c.Ask(t.Context(), builds, soon) {
		want := Finished
		switch {
		case i%2 == 0:
			want = Unknown
		case i == 13:
			want = Running
		}
		if a.State != want {
			t.Errorf("build %d of %s: %+v, want %s", i/2+1, builds[i].Controller(), a, want)
		}
	}
}

func TestAskIsBounded(t *testing.T) {
	var asking, most int
	enter, leave := make(chan struct{}), make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		enter <- struct{}{}
		<-leave
	}))
	defer h.Close()
	c := newClient(t, Controller{URL: h.URL + "/"})
	var builds []Build
	for i := range 3 * parallel {
		builds = append(builds, find(t, c, fmt.Sprintf("%s/job/a/%d/", h.URL, i+1)))
	}
	done := make(chan []Answer)
	go func() { done <- c.Ask(t.Context(), builds, soon) }()
	for range parallel {
		<-enter
		asking++
		most = max(most, asking)
	}
	for range builds[parallel:] {
		select {
		case <-enter:
			t.Fatal("more requests at a time than allowed")
		default:
		}
		leave <- struct{}{}
		<-enter
	}
	for range parallel {
		leave <- struct{}{}
	}
	if answers := <-done; len(answers) != len(builds) {
		t.Errorf("%d answers", len(answers))
	}
}

func TestAskEnds(t *testing.T) {
	s, c := serve(t, "/")
	s.Set("job/a/12/", jenkinstest.Success)
	ctx, cancel := context.WithCancel(t.Context())
	s.Before(func(string) { cancel() })
	start := time.Now()
	if a := c.Ask(ctx, []Build{find(t, c, s.Base+"job/a/12/")}, time.Hour)[0]; a.State != Unknown {
		t.Errorf("answer %+v", a)
	}
	if time.Since(start) > time.Minute {
		t.Error("the pause outlasted the context")
	}
	if got := c.Ask(t.Context(), nil, time.Hour); len(got) != 0 {
		t.Errorf("answers without builds: %v", got)
	}
}

// Whatever an owner is, the only thing that it can choose is a path below job/ of the controller.
func FuzzFind(f *testing.F) {
	for _, owner := range []string{
		"https://ci.example.org/jenkins/job/a/12/", "https://ci.example.org.evil/jenkins/job/a/12/", "https://ci.example.org@evil/jenkins/job/a/12/",
		"http://ci.example.org/jenkins/job/a/job/b%20c/ARCH=x,y=z/7/", "https://ci.example.org/jenkins/job/%2e%2e/12/", `https://evil\@ci.example.org/jenkins/job/a/1/`,
	} {
		f.Add(owner)
	}
	const base = "https://ci.example.org/jenkins/"
	var asked []*http.Request
	c := newClient(f, Controller{URL: base, User: "u", Token: secret.New("t")})
	c.http.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r)
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Header: http.Header{"Location": {"https://evil/"}}}, nil
	})
	f.Fuzz(func(t *testing.T, owner string) {
		b, ok := c.Find(owner)
		if !ok {
			return
		}
		asked = nil
		c.ask(t.Context(), b)
		if len(asked) != 2 {
			t.Fatalf("%q: %d requests", owner, len(asked))
		}
		u, err := url.Parse(owner)
		if err != nil || !strings.EqualFold(u.Hostname(), "ci.example.org") {
			t.Fatalf("%q is on another host", owner)
		}
		for _, r := range asked {
			path := r.URL.EscapedPath()
			if r.URL.Scheme != "https" || r.URL.Host != "ci.example.org" || r.Host != "ci.example.org" || r.URL.User != nil || r.Method != http.MethodGet ||
				!strings.HasPrefix(path, "/jenkins/job/") || !strings.HasSuffix(path, "/api/json") {
				t.Fatalf("%q asks for %s", owner, r.URL)
			}
			if slices.Contains(strings.Split(r.URL.Path, "/"), "..") {
				t.Fatalf("%q leaves its folder: %s", owner, r.URL)
			}
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
