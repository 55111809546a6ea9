package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/molteniron/molteniron/pkg/pool"
)

var update = flag.Bool("update", false, "write the golden page anew; look at it in a browser")

var now = time.Date(2026, 11, 25, 13, 30, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// use is one that waited, then held nodes from its grant on; a held of 0 lasts until now.
func use(id int64, job string, queued, waited, held time.Duration, reason pool.EndReason, nodes ...string) pool.Use {
	u := pool.Use{
		ID: id, Pool: "default", Owner: fmt.Sprintf("https://ci.example.org/job/%s/%d/", job, id), Job: job, State: pool.Claimed,
		QueuedAt: ago(queued), GrantedAt: ago(queued - waited), EndReason: reason,
	}
	n := pool.NodeUse{From: u.GrantedAt}
	if held > 0 {
		u.State, u.EndedAt = pool.Ended, u.GrantedAt.Add(held)
		n.To = u.EndedAt
	}
	for _, name := range nodes {
		n.Node = name
		u.Nodes = append(u.Nodes, n)
	}
	return u
}

func unserved(id int64, job string, queued, waited time.Duration, reason pool.EndReason) pool.Use {
	return pool.Use{ID: id, Pool: "default", Job: job, State: pool.Ended, QueuedAt: ago(queued), EndedAt: ago(queued - waited), EndReason: reason}
}

// sample has one of everything.
func sample() Data {
	const hour = time.Hour
	return Data{
		Version: "moltenironctl 1.2.3", Since: ago(24 * hour), At: now,
		Pools: []Pool{
			{
				Name: "default",
				Nodes: []Node{
					{Name: "bm-01", Status: "allocated", Owner: Owner{"https://ci.example.org/job/nightly/7/", "db"}, Since: ago(hour), ExpiresAt: now.Add(5 * hour)},
					{Name: "bm-02", Status: "hold", Owner: Owner{Name: "alice"}, Since: ago(2 * hour), ExpiresAt: now.Add(hour), Reason: `hold: <b>"kernel" & panic</b>`},
					{Name: "bm-03", Status: "ready", Since: ago(90 * time.Minute)},
					{Name: "bm-04", Status: "maintenance", Since: ago(72 * hour), Reason: "new disk"},
				},
				Queue: []Waiting{{
					Place: 1, Owner: Owner{Name: "javascript:alert(1)"}, Wants: "2 nodes with ram_mb:min=65536", Why: "1 suitable held", Priority: 5, QueuedAt: ago(10 * time.Minute),
				}},
				Uses: []pool.Use{
					use(1, "nightly", 30*hour, hour, 8*hour, pool.EndReleased, "bm-01", "bm-02"), // across the beginning
					use(2, "nightly", 20*hour, 30*time.Minute, 2*hour, pool.EndReleased, "bm-01"),
					use(3, "ironic/tempest", 20*hour, 0, 3*hour, pool.EndExpired, "bm-03"),
					use(4, "", 5*hour, 90*time.Minute, hour, pool.EndRevoked, "bm-02"),
					unserved(5, "ironic/tempest", 4*hour, hour, pool.EndTimeout),
					unserved(6, "ironic/tempest", 4*hour, 0, pool.EndImpossible),
					use(7, "nightly", hour+time.Minute, time.Minute, 0, "", "bm-01"),
					{ID: 8, Pool: "default", State: pool.Waiting, QueuedAt: ago(10 * time.Minute)},
				},
			},
			{Name: "gpu", Paused: "move of the rack"},
		},
		Events: []Event{
			{At: ago(hour), Kind: "granted", Node: "bm-01", Owner: Owner{"https://ci.example.org/job/nightly/7/", "db"}, Who: "ci@agent-1"},
			{At: ago(time.Minute), Kind: "maintenance-on", Node: "bm-04", Who: "bob@desk", Detail: `reason="new disk"`},
		},
	}
}

func rendered(t testing.TB, d Data) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := render(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	got := rendered(t, sample())
	const file = "testdata/index.html"
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the page (-want +got); when it is meant to be so: go test ./pkg/report -update\n%s", diff)
	}
}

// element is one of the page, with its attributes in order.
type element struct {
	Name  string
	Attrs []xml.Attr
}

// elements reads the page, which is well-formed XML as well.
func elements(t testing.TB, page []byte) (list []element) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(page))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, page)
		}
		if start, ok := token.(xml.StartElement); ok {
			list = append(list, element{start.Name.Local, slices.Clone(start.Attr)})
		}
	}
}

// What Jenkins' policy does not let pass is not there, whatever the data hold: a script, a style, anything from elsewhere.
func (e element) check(t testing.TB) {
	t.Helper()
	if slices.Contains([]string{"script", "style", "iframe", "object", "embed", "img", "image", "use", "form", "base", "foreignObject"}, e.Name) {
		t.Errorf("the page has <%s>", e.Name)
	}
	for _, a := range e.Attrs {
		name, value := a.Name.Local, a.Value
		switch {
		case name == "style" || strings.HasPrefix(name, "on") || name == "src" || name == "http-equiv":
			t.Errorf("<%s> has %s=%q", e.Name, name, value)
		case e.Name == "link" && name == "href" && value != "style.css":
			t.Errorf("it links to %s", value)
		case name == "href" && e.Name == "a" && !strings.HasPrefix(value, "#") &&
			!strings.HasPrefix(strings.ToLower(value), "http://") && !strings.HasPrefix(strings.ToLower(value), "https://"):
			t.Errorf("a link leads to %q", value)
		case name == "href" && e.Name != "a" && e.Name != "link":
			t.Errorf("<%s> leads to %q", e.Name, value)
		case strings.Contains(value, "url("):
			t.Errorf("<%s> has %s=%q", e.Name, name, value)
		}
	}
}

func TestPolicy(t *testing.T) {
	list := elements(t, rendered(t, sample()))
	for _, e := range list {
		e.check(t)
	}
	if len(list) < 100 {
		t.Errorf("the page has %d elements only", len(list))
	}
	for _, forbidden := range []string{"url(", "@import", "expression("} {
		if bytes.Contains(style, []byte(forbidden)) {
			t.Errorf("the style sheet has %s", forbidden)
		}
	}
	if !bytes.HasPrefix(style, []byte(styleMark)) || !bytes.Contains(rendered(t, sample())[:markWithin], []byte(pageMark)) {
		t.Error("the files do not say near their beginning whose they are, and would not be replaced")
	}
	for _, k := range slices.Concat(states, []key{inUse, median, longest}) {
		if k.Class == "" || k.Fill == "" {
			t.Errorf("%+v has no colour without the style sheet, or no class for it", k)
		}
	}
}

// An empty pool is a page too, and so is none.
func TestEmpty(t *testing.T) {
	for _, d := range []Data{{}, {Since: now, At: now}, {Since: now.Add(time.Hour), At: now, Pools: []Pool{{Name: "default"}}}} {
		elements(t, rendered(t, d))
	}
	text := string(rendered(t, Data{Since: ago(time.Hour), At: now, Pools: []Pool{{Name: "default"}}}))
	for _, want := range []string{"no nodes yet", "Nobody waits", "no node was in use", "no request was served", "Nothing happened"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// FuzzPage: no text changes what the page is made of.
func FuzzPage(f *testing.F) {
	f.Add(`</td><script>alert(1)</script>`, `"><img src=x onerror=y>`, "https://ci.example.org/job/a/1/")
	f.Add("{{.}}", "--><!--", "javascript:alert(1)")
	f.Add("]]>", "&lt;&#0;", "http://x\" onclick=\"y")
	f.Add(" style=x", "'", "HTTPS://h/%00")
	f.Fuzz(func(t *testing.T, a, b, owner string) {
		for _, s := range []string{a, b, owner} {
			for _, r := range s {
				if r < ' ' || r == 0xfffd || r >= 0xfffe && r <= 0xffff { // no XML, which is for the test alone
					return
				}
			}
		}
		page := func(a, b, owner string) []byte {
			o := Owner{owner, b}
			return rendered(t, Data{
				Version: a, Since: ago(time.Hour), At: now,
				Pools: []Pool{{
					Name: a, Paused: "since " + b, Nodes: []Node{{Name: a, Status: b, Owner: o, Reason: a}}, Queue: []Waiting{{Owner: o, Wants: a, Why: b}},
					Uses: []pool.Use{use(1, a, time.Minute, 0, 0, "", b)},
				}},
				Events: []Event{{Kind: a, Node: b, Owner: o, Who: a, Detail: b}},
			})
		}
		got := elements(t, page(a, b, owner))
		plain := "nobody"
		if (Owner{Name: owner}).Link() != "" {
			plain = "https://ci.example.org/"
		}
		names := func(list []element) (names []string) {
			for _, e := range list {
				for _, attr := range e.Attrs {
					names = append(names, e.Name+" "+attr.Name.Local)
				}
			}
			return names
		}
		for _, e := range got {
			e.check(t)
		}
		if diff := cmp.Diff(names(elements(t, page("a", "b", plain))), names(got)); diff != "" {
			t.Errorf("elements (-of plain texts +got):\n%s", diff)
		}
	})
}

func TestWrite(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "pages", "pool")
	if err := Write(folder, sample()); err != nil {
		t.Fatal(err)
	}
	d := sample()
	d.Version = "another"
	if err := Write(folder, d); err != nil {
		t.Fatalf("it does not replace its own: %v", err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Name()+" "+info.Mode().String())
	}
	if diff := cmp.Diff([]string{"index.html -rw-r--r--", "style.css -rw-r--r--"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if text, err := os.ReadFile(filepath.Join(folder, "index.html")); err != nil || !strings.Contains(string(text), "Written by another") {
		t.Errorf("the page is not the new one: %v", err)
	}
}

// What somebody else wrote is left alone, and nothing is written beside it.
func TestWriteLeavesOthersAlone(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"a file": func(path string) error { return os.WriteFile(path, []byte("mine"), 0o600) },
		"a link": func(path string) error { return os.Symlink("/dev/null", path) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		for _, file := range []string{pageName, styleName} {
			folder := t.TempDir()
			if err := make(filepath.Join(folder, file)); err != nil {
				t.Fatal(err)
			}
			if err := Write(folder, sample()); err == nil {
				t.Errorf("%s %s was replaced", name, file)
			} else if name != "folder" && !errors.Is(err, ErrForeign) {
				t.Errorf("%s %s: %v", name, file, err)
			}
			if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
				t.Errorf("%s %s: beside it is %v %v", name, file, entries, err)
			}
		}
	}
}
