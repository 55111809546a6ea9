package jenkins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
)

// maxBody bounds what is read of an answer: the tree parameter makes it a line.
const maxBody = 64 << 10

// ask asks for one build.
func (c *Client) ask(ctx context.Context, b Build) Answer {
	r := c.get(ctx, b.controller, b.job+b.number+"/", "building,inProgress,result,number")
	switch {
	case r.err != nil:
		return Answer{State: Unknown, Why: r.err.Error()}
	case r.status == http.StatusOK:
		return r.build(b.number)
	case r.status != http.StatusNotFound:
		return r.unknown()
	}
	// Discarded, or hidden from this account, or a proxy's own page: only who can see the job knows.
	job := c.get(ctx, b.controller, b.job, "name")
	switch {
	case job.err != nil:
		return Answer{State: Unknown, Why: job.err.Error()}
	case job.status != http.StatusOK:
		a := job.unknown()
		if job.status == http.StatusNotFound {
			a.Why = "neither the build nor its job is there for this account (it needs Overall/Read and Job/Read), or the job was renamed"
		}
		return a
	}
	var is struct {
		Name *string `json:"name"`
	}
	if json.Unmarshal(job.body, &is) != nil || is.Name == nil {
		return notJenkins
	}
	return Answer{State: Finished}
}

// response is what came back for one request.
type response struct {
	err    error // nothing came back
	status int
	header http.Header
	body   []byte
	user   string // that was sent
}

// get asks for the api/json of something below a controller.
func (c *Client) get(ctx context.Context, k *controller, path, tree string) response {
	ctx, cancel := context.WithTimeout(ctx, c.requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.URL+path+"api/json?tree="+tree, nil)
	if err != nil {
		return response{err: err}
	}
	if req.URL.Host != k.url.Host || req.URL.Scheme != k.url.Scheme || req.URL.User != nil {
		return response{err: errors.New("the request would go to another host")} // splitBuild saw to it that it does not
	}
	if k.User != "" {
		// Sent at once: Jenkins asks nobody for it, it shows who comes without an account less.
		req.SetBasicAuth(k.User, k.Token.Reveal())
	}
	req.Header.Set("User-Agent", "moltenironctl")
	resp, err := c.http.Do(req)
	var ue *url.Error
	switch {
	case errors.As(err, &ue) && ue.Timeout():
		return response{err: errors.New("no answer in time")}
	case errors.As(err, &ue): // its text would be mostly the address
		return response{err: ue.Err}
	case err != nil:
		return response{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return response{err: fmt.Errorf("the answer broke off: %w", err)}
	}
	r := response{status: resp.StatusCode, header: resp.Header, body: body, user: k.User}
	if r.status == http.StatusOK && r.header.Get("X-Jenkins") == "" {
		r.status = 0 // a page of somebody in between
	}
	return r
}

var notJenkins = Answer{State: Unknown, Why: "what answers is no Jenkins, or something in between that answers in its stead"}

var resultWord = regexp.MustCompile(`^[A-Z_]{1,32}$`)

// build reads the answer about a build.
func (r response) build(number string) Answer {
	var is struct {
		Building   *bool   `json:"building"`
		InProgress *bool   `json:"inProgress"` // since Jenkins 1.538; true longer, in the last publishers too
		Result     string  `json:"result"`
		Number     float64 `json:"number"`
	}
	if json.Unmarshal(r.body, &is) != nil || is.Building == nil && is.InProgress == nil || strconv.FormatFloat(is.Number, 'f', -1, 64) != number {
		return notJenkins
	}
	if is.Building != nil && *is.Building || is.InProgress != nil && *is.InProgress {
		return Answer{State: Running}
	}
	a := Answer{State: Finished}
	if resultWord.MatchString(is.Result) {
		a.Result = is.Result
	}
	return a
}

// unknown says why an answer tells nothing.
func (r response) unknown() Answer {
	a := Answer{State: Unknown}
	switch {
	case r.status == 0:
		return notJenkins
	case r.status == http.StatusUnauthorized:
		a.Misconfigured = true
		a.Why = fmt.Sprintf("401: the account %q is refused; check user and token_file", r.user)
		if r.user == "" {
			a.Why = "401: it wants an account; set user and token_file"
		}
	case r.status == http.StatusForbidden:
		a.Misconfigured = true
		a.Why = fmt.Sprintf("403: the account %q may not read it; it needs Overall/Read and Job/Read", r.user)
		if r.user == "" {
			a.Why = "403: it wants an account; set user and token_file"
		}
	case r.status >= 300 && r.status < 400:
		// For good, as from http to https; a login form or a page of maintenance is for now.
		a.Misconfigured = r.status == http.StatusMovedPermanently || r.status == http.StatusPermanentRedirect
		a.Why = fmt.Sprintf("%d: it sends elsewhere (%s), which is not followed; is jenkins.url what Jenkins has under \"Jenkins URL\"?",
			r.status, place(r.header.Get("Location")))
	case r.status == http.StatusServiceUnavailable:
		a.Why = "503: it is starting, or its proxy does not reach it"
	default:
		a.Why = fmt.Sprintf("it answers with status %d", r.status)
	}
	return a
}

// place shows where a redirect leads, without the query, in which login pages keep much.
func place(location string) string {
	u, err := url.Parse(location)
	if err != nil || location == "" {
		return "nowhere"
	}
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return u.String()
}
