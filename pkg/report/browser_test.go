package report

import (
	"bytes"
	"image/color"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/molteniron/molteniron/internal/testneeds"
)

// policies are what Jenkins sends with every file of a report (hudson.model.DirectoryBrowserSupport): what its newer
// versions do, and those from 1.641 on.
var policies = []string{
	"sandbox allow-same-origin; default-src 'none'; img-src 'self'; style-src 'self';",
	"sandbox; default-src 'none'; img-src 'self'; style-src 'self';",
}

// see shows the index.html of a folder in Chromium, under a policy of Jenkins', and gives what the browser complained
// about and how many pixels it drew of each colour.
func see(t *testing.T, policy, folder string) (complaints []string, pixels map[color.RGBA]int) {
	t.Helper()
	browser := testneeds.Program(t, "chromium")
	files := http.FileServer(http.Dir(folder))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		if r.URL.Path == "/favicon.ico" { // which Chromium asks for by itself
			w.WriteHeader(http.StatusNoContent)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	home := t.TempDir()
	shot := filepath.Join(home, "shot.png")
	cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--user-data-dir="+home,
		"--window-size=1000,1600", "--screenshot="+shot, "--enable-logging=stderr", server.URL+"/")
	cmd.Env = append(os.Environ(), "HOME="+home)
	cmd.WaitDelay = 10 * time.Second // children of its own may keep the pipe
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, ":CONSOLE:") {
			complaints = append(complaints, line)
		}
	}
	text, err := os.ReadFile(shot)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	pixels = map[color.RGBA]int{}
	for y := picture.Bounds().Min.Y; y < picture.Bounds().Max.Y; y++ {
		for x := picture.Bounds().Min.X; x < picture.Bounds().Max.X; x++ {
			r, g, b, _ := picture.At(x, y).RGBA()
			pixels[color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}]++
		}
	}
	return complaints, pixels
}

var (
	card = color.RGBA{0xf5, 0xf6, 0xf7, 255} // of the style sheet alone
	bars = color.RGBA{0x00, 0x72, 0xb2, 255}
)

// Chromium shows all of the page under Jenkins' policy, and complains about nothing.
func TestBrowser(t *testing.T) {
	folder := t.TempDir()
	if err := Write(folder, sample()); err != nil {
		t.Fatal(err)
	}
	for _, policy := range policies {
		complaints, pixels := see(t, policy, folder)
		if len(complaints) != 0 {
			t.Errorf("under %q the browser complains:\n%s", policy, strings.Join(complaints, ""))
		}
		if pixels[card] < 1000 || pixels[bars] < 1000 {
			t.Errorf("under %q there are %d pixels of the style sheet, %d of bars", policy, pixels[card], pixels[bars])
		}
	}

	// Without its style sheet the charts are there all the same.
	if err := os.WriteFile(filepath.Join(folder, styleName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, pixels := see(t, policies[0], folder); pixels[card] != 0 || pixels[bars] < 1000 {
		t.Errorf("without a style sheet there are %d pixels of it, %d of bars", pixels[card], pixels[bars])
	}
}

// A page that does what the policy forbids is complained about, each time: else the test above would prove nothing.
func TestBrowserComplains(t *testing.T) {
	forbidden := []string{
		"<style>p { color: red }</style>", `<link rel="stylesheet" href="https://example.invalid/style.css">`, `<p style="color: red">`,
		"<script>1</script>", `<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">`,
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, pageName), []byte("<!DOCTYPE html><title>x</title>"+strings.Join(forbidden, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	if complaints, _ := see(t, policies[0], folder); len(complaints) != len(forbidden) {
		t.Errorf("%d complaints about %d things:\n%s", len(complaints), len(forbidden), strings.Join(complaints, ""))
	}
}
