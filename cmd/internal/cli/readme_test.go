package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadmeExits holds the README's table of exit statuses to the one that the programs use.
func TestReadmeExits(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range Exits {
		want = append(want, fmt.Sprintf("| %d | %s |", e.Code, e.Meaning))
	}
	_, table, _ := strings.Cut(string(text), "| code | meaning |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if diff := cmp.Diff(want, strings.Split(table, "\n")); diff != "" {
		t.Errorf("the README's exit table is not the programs' (-want +got):\n%s", diff)
	}
}
