package jenkins_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The gate job of docs/queue.md is what both Job Builders understand, and says what the page says.
func TestGateOfTheQueuePage(t *testing.T) {
	page, err := os.ReadFile("../docs/queue.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	text, _, found := strings.Cut(rest, "```\n")
	if !found {
		t.Fatal("docs/queue.md has no block of YAML")
	}
	file := filepath.Join(t.TempDir(), "gate.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, b := range []func(*testing.T) builder{distribution, newest} {
		t.Run("", func(t *testing.T) {
			jobs := b(t).render(t, macros, file)
			for job, want := range map[string][]string{
				"nightly-gate": {
					"exec molten-prehook --enqueue --ticket-file &quot;$HOME/tickets/nightly&quot; ", "<unstableReturn>17</unstableReturn>",
					"<rerunIfUnstable>true</rerunIfUnstable>", "<childProjects>nightly</childProjects>", "<name>SUCCESS</name>",
				},
				"nightly": {"exec molten-prehook --ticket &quot;$HOME/tickets/nightly&quot; --wait 0", "exec molten-posthook --hold-on-failure 2h"},
			} {
				for _, w := range want {
					if !strings.Contains(jobs[job], w) {
						t.Errorf("%s lacks %s:\n%s", job, w, jobs[job])
					}
				}
			}
			if strings.Contains(jobs["nightly-gate"], "molten-posthook") {
				t.Error("the gate has a post-hook, which would end its ticket")
			}
		})
	}
}
