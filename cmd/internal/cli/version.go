package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the build: -ldflags "-X .../cmd/internal/cli.version=… -X ….commit=… -X ….date=…".
var version, commit, date string

// Version is the line that `version` and --version print: program, version, and in brackets commit,
// date, Go and platform. What the build did not set comes from the Go tool's own record.
func Version(program string) string {
	v, c, d := version, commit, date
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		modified := false
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && c == "":
				c = s.Value
			case s.Key == "vcs.time" && d == "":
				d = s.Value
			case s.Key == "vcs.modified" && commit == "":
				modified = s.Value == "true"
			}
		}
		if modified {
			c += "+changes"
		}
	}
	if v == "" {
		v = "(devel)"
	}
	if c == "" {
		c = "unknown commit"
	}
	if d == "" {
		d = "unknown date"
	}
	return fmt.Sprintf("%s %s (%s, %s, %s %s/%s)", program, v, c, d, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
