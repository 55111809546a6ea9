package executor

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// builtinVersion is what the controller says it is.
const builtinVersion = "2.541"

// ServeHTTP is the little of Jenkins' REST API that tells of jobs and builds: …/api/json, with what is not
// there as 404. It asks nobody who he is.
func (c *Controller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Jenkins", builtinVersion)
	path, ok := strings.CutSuffix(r.URL.Path, "api/json")
	if !ok {
		http.NotFound(w, r)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, p := range c.jobs {
		job := &Build{controller: c, JobName: name}
		if url := "/" + strings.TrimPrefix(job.jobURL(), c.url); path == unescape(url) {
			answer(w, map[string]any{"name": name})
			return
		}
		for _, b := range p.builds {
			for _, one := range append([]*Build{b}, b.Children...) {
				if url := "/" + strings.TrimPrefix(one.URL(), c.url); path == unescape(url) && !one.isGone() && !one.cancelled {
					var result any
					if !one.building {
						result = one.result
					}
					answer(w, map[string]any{"building": one.building, "inProgress": !one.ended(), "result": result, "number": one.Number, "url": one.URL()})
					return
				}
			}
		}
	}
	http.NotFound(w, r)
}

var escaped = regexp.MustCompile("%[0-9A-F]{2}")

func unescape(path string) string {
	return escaped.ReplaceAllStringFunc(path, func(code string) string {
		n, _ := strconv.ParseUint(code[1:], 16, 8)
		return string([]byte{byte(n)})
	})
}

func answer(w http.ResponseWriter, what map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(what)
}
