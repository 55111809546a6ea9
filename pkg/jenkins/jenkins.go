// Package jenkins asks Jenkins controllers whether builds are still in progress, so that the nodes of a
// build that died come home before their lease ends, and those of one that lives are not taken away.
//
// What decides is inProgress of the build's own api/json; a build that Jenkins does not know is over only
// when the same account can see the build's job, because Jenkins answers 404 too where it hides a job.
// Whatever else comes back (a time-out, a proxy's page, a login form) says nothing, and is Unknown.
//
// A build's URL comes from a job that anybody may have written. It only ever chooses a path under a
// configured controller: scheme, host and port of a request, and so where the token goes, are the
// controller's own, and no redirect is followed.
package jenkins

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// Controller is one Jenkins that may be asked.
type Controller struct {
	URL   string      // http or https, ends with /
	User  string      // "" asks without an account
	Token secret.Text // the user's API token
}

// State is what is known of a build.
type State string

// The states of a build.
const (
	Unknown  State = "unknown" // nothing that could be believed was answered
	Running  State = "running" // publishers included
	Finished State = "finished"
)

// Answer is what a controller said of a build.
type Answer struct {
	State  State
	Result string // of a finished build that Jenkins still knows (SUCCESS, ABORTED …), else ""
	Why    string // of Unknown, for people: lower case, no full stop
	// Misconfigured says that the controller will answer like that until somebody mends the account, its
	// rights or the URL.
	Misconfigured bool
}

// Limits. A busy controller answers within a second or two; one that takes longer is given up for now,
// and so are the builds that it keeps waiting, because who tends does so every few minutes.
const (
	requestTime = 10 * time.Second
	lookTime    = time.Minute
	parallel    = 4 // requests at a time to one controller, so that a look is no burden to it
)

// Client asks a set of controllers. It may be used by several goroutines.
type Client struct {
	controllers []controller // longest path first
	http        *http.Client
	requestTime time.Duration
	lookTime    time.Duration
}

type controller struct {
	Controller
	url *url.URL
}

// New makes a client. The error names a controller whose URL is none.
func New(controllers []Controller) (*Client, error) {
	c := &Client{requestTime: requestTime, lookTime: lookTime, http: &http.Client{
		// A transport of its own: no proxy of the environment sees the token, and what the program says
		// to others is not mixed with this.
		Transport: &http.Transport{
			MaxConnsPerHost: parallel, IdleConnTimeout: lookTime, TLSHandshakeTimeout: requestTime,
			MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, k := range controllers {
		u, err := url.Parse(k.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || !strings.HasSuffix(u.Path, "/") {
			return nil, fmt.Errorf("jenkins %q is no http or https URL that ends with a slash", k.URL)
		}
		c.controllers = append(c.controllers, controller{k, u})
	}
	slices.SortStableFunc(c.controllers, func(a, b controller) int { return cmp.Compare(len(b.url.Path), len(a.url.Path)) })
	return c, nil
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Build is a build of a configured controller.
type Build struct {
	controller *controller
	job        string // path below the controller's, escaped as in the owner: "job/team/job/nightly/"
	number     string
}

// Controller is the URL of the build's controller.
func (b Build) Controller() string { return b.controller.URL }

var buildNumber = regexp.MustCompile(`^[1-9][0-9]{0,9}$`)

// Find tells which build an owner is; false when it is no build's URL under a configured controller.
// Between http and https with their own ports it makes no difference: Jenkins writes the URL that its
// administrator gave it, which may be from before the proxy got its certificate.
func (c *Client) Find(owner string) (Build, bool) {
	u, err := url.Parse(owner)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.ContainsAny(owner, `?#\`) {
		return Build{}, false
	}
	for i := range c.controllers {
		k := &c.controllers[i]
		if !sameHost(u, k.url) {
			continue
		}
		rest, ok := strings.CutPrefix(u.EscapedPath(), k.url.EscapedPath())
		if !ok {
			continue
		}
		if job, number, ok := splitBuild(rest); ok {
			return Build{k, job, number}, true
		}
	}
	return Build{}, false
}

func sameHost(a, b *url.URL) bool {
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// port is "" for the scheme's own.
func port(u *url.URL) string {
	p := u.Port()
	if u.Scheme == "https" && p == "443" || u.Scheme == "http" && p == "80" {
		return ""
	}
	return p
}

// splitBuild takes the path of a build apart: job/NAME/, with job/NAME/ again for each folder and
// AXIS=VALUE/ for a matrix, and the number. What no name of Jenkins holds, and what a server in between
// might read as another path, makes it none.
func splitBuild(path string) (job, number string, ok bool) {
	path = strings.TrimSuffix(path, "/")
	end := strings.LastIndexByte(path, '/')
	job, number = path[:end+1], path[end+1:]
	segments := strings.Split(strings.TrimSuffix(job, "/"), "/")
	if len(segments) < 2 || segments[0] != "job" || !buildNumber.MatchString(number) {
		return "", "", false
	}
	for _, s := range segments {
		name, err := url.PathUnescape(s)
		if err != nil || name == "" || name == "." || name == ".." || strings.ContainsAny(name, `/\;?#`) ||
			strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return "", "", false
		}
	}
	return job, number, true
}

// Ask asks whether builds are in progress, a few of each controller side by side, and once more after pause for those that
// seem to have finished: a build is Finished only when it was so twice. It blocks for pause and at most
// two minutes; what was not answered by then is Unknown, as is everything when ctx ends. The answers are
// in the order of builds.
func (c *Client) Ask(ctx context.Context, builds []Build, pause time.Duration) []Answer {
	answers := c.look(ctx, builds)
	var again []Build
	for i, a := range answers {
		if a.State == Finished {
			again = append(again, builds[i])
		}
	}
	if len(again) == 0 {
		return answers
	}
	select {
	case <-time.After(pause):
	case <-ctx.Done():
	}
	second := c.look(ctx, again)
	for i, a := range answers {
		if a.State != Finished {
			continue
		}
		b := second[0]
		second = second[1:]
		if b.State == Finished {
			b.Result = cmp.Or(b.Result, a.Result) // it may have been discarded meanwhile
		}
		answers[i] = b
	}
	return answers
}

// look asks once for each build. Each controller has its own few who ask, so that one that hangs keeps no
// other waiting.
func (c *Client) look(ctx context.Context, builds []Build) []Answer {
	ctx, cancel := context.WithTimeout(ctx, c.lookTime)
	defer cancel()
	answers := make([]Answer, len(builds))
	of := map[*controller][]int{}
	for i, b := range builds {
		of[b.controller] = append(of[b.controller], i)
	}
	var all sync.WaitGroup
	for _, indexes := range of {
		next := make(chan int, len(indexes))
		for _, i := range indexes {
			next <- i
		}
		close(next)
		for range min(parallel, len(indexes)) {
			all.Go(func() {
				for i := range next {
					answers[i] = c.ask(ctx, builds[i])
				}
			})
		}
	}
	all.Wait()
	return answers
}
