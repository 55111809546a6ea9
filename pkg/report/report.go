// Package report writes what a pool looks like, and how it was used, as a page for browsers: index.html and
// style.css in one folder.
//
// The page is made for the HTML Publisher of Jenkins, whose Content-Security-Policy lets nothing pass but a style
// sheet and pictures of the page's own folder: so there is no script, no <style> and no style attribute. Its charts are
// SVG within the page, coloured by attributes and, where the style sheet is there, by classes. It reads well without.
//
// No secret is on it: nothing of a BMC is, and what it tells of builds everybody sees who sees their jobs.
package report

import (
	"bytes"
	_ "embed" // the page's template and style sheet
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/stage"
)

// Data is what a page shows.
type Data struct {
	Version string // of the program
	Since   time.Time
	At      time.Time // by the database's clock; figures are of the time from Since to then
	Pools   []Pool
	Events  []Event // oldest first
	Cut     bool    // Since is not as asked for: there was more than can be counted
}

// Pool is one pool as it stands, and what became of its requests.
type Pool struct {
	Name   string
	Paused string // why it grants nothing; "" where it does
	Nodes  []Node
	Queue  []Waiting
	Uses   []pool.Use
}

// Owner is who has or wants nodes; its zero value is nobody.
type Owner struct{ Name, Slot string }

// Link is the address of an owner that is a build's URL, "" for another's.
func (o Owner) Link() string {
	u, err := url.Parse(o.Name)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ""
	}
	return o.Name
}

// Node is a node as people see it.
type Node struct {
	Name      string
	Status    string // as moltenironctl status shows it
	Owner     Owner
	Since     time.Time
	ExpiresAt time.Time // zero when nobody has it
	Reason    string
}

// Waiting is a request in the queue.
type Waiting struct {
	Place    int
	Owner    Owner
	Wants    string
	Why      string
	Priority int
	QueuedAt time.Time
}

// Event is a line of history.
type Event struct {
	At     time.Time
	Kind   string
	Node   string
	Owner  Owner
	Who    string
	Detail string
}

// ErrForeign says that a file of the folder is none that this package wrote.
var ErrForeign = errors.New("not written by a report")

// The files of a report, each with what stands near its beginning and says whose it is.
const (
	pageName  = "index.html"
	styleName = "style.css"
	pageMark  = `<meta name="generator" content="moltenironctl report"/>`
	styleMark = "/* moltenironctl report:"
)

// markWithin is how far a mark is looked for, in bytes.
const markWithin = 1024

//go:embed style.css
var style []byte

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"moment": moment, "date": func(t time.Time) string { return t.UTC().Format(time.RFC3339) }, "span": span, "plural": plural,
}).Parse(pageText))

// Write writes the page into a folder, which it makes if it is missing. Who looks at the folder at any time finds the
// page from before or the new one. ErrForeign when that would replace a file that is no report's.
func Write(folder string, d Data) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, mark := range map[string]string{pageName: pageMark, styleName: styleMark} {
		if err := own(filepath.Join(folder, name), mark); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if err := render(&b, d); err != nil {
		return err
	}
	const everybody = 0o644 // it is shown to all who see Jenkins
	staged, err := stage.Write([]stage.File{
		{Path: filepath.Join(folder, styleName), Content: stage.Bytes(style), Mode: everybody},
		{Path: filepath.Join(folder, pageName), Content: stage.Bytes(b.Bytes()), Mode: everybody},
	})
	if err != nil {
		return err
	}
	return staged.Commit()
}

func render(w io.Writer, d Data) error { return page.Execute(w, newView(d)) }

// own refuses a file that is there and has no mark of ours.
func own(path, mark string) error {
	// O_NONBLOCK: opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, syscall.ELOOP):
		return fmt.Errorf("%s is a symbolic link, %w", path, ErrForeign)
	case err != nil:
		return err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, markWithin))
	if err == nil && !bytes.Contains(head, []byte(mark)) {
		err = fmt.Errorf("%s was %w", path, ErrForeign)
	}
	return err
}

// moment writes a time as people read it.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// span writes a duration by its two largest units: 40s, 12m5s, 5h12m, 3d4h.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(d, 0).Round(time.Second)
	big, small, units := time.Second, time.Second, "ss"
	switch {
	case d >= 2*day:
		big, small, units = day, time.Hour, "dh"
	case d >= time.Hour:
		big, small, units = time.Hour, time.Minute, "hm"
	case d >= time.Minute:
		big, small, units = time.Minute, time.Second, "ms"
	}
	d = d.Round(small)
	text := fmt.Sprintf("%d%c", d/big, units[0])
	if rest := d % big / small; rest > 0 {
		text += fmt.Sprintf("%d%c", rest, units[1])
	}
	return text
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
