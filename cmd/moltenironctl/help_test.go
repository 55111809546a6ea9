package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelp holds every command's help to what people look for in it: what it does, examples, how it is called,
// the exit statuses.
func TestHelp(t *testing.T) {
	root := (&app{}).command()
	sections := regexp.MustCompile(`(?s)^\S.*\n\nEXAMPLES\n .*\n\nUSAGE\n .*\n\nEXIT STATUS\n +0 `)
	var all func(c *cobra.Command)
	all = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		var stdout, stderr bytes.Buffer
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		getenv := func(string) string { return "" }
		if code := run(context.Background(), args, getenv, strings.NewReader(""), &stdout, &stderr); code != 0 || stderr.Len() > 0 {
			t.Errorf("%s --help: exit status %d, stderr %q", c.CommandPath(), code, stderr.String())
		}
		if !sections.MatchString(stdout.String()) {
			t.Errorf("%s --help lacks a section:\n%s", c.CommandPath(), stdout.String())
		}
		for _, sub := range c.Commands() {
			all(sub)
		}
	}
	all(root)
}
