package cli

import (
	"strings"

	"github.com/spf13/pflag"
)

// EnvName is the environment variable of a flag: --env-file is MOLTENIRON_ENV_FILE.
func EnvName(flag string) string {
	return "MOLTENIRON_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// noEnv are the flags without a variable: they ask for something else than the program's work.
var noEnv = map[string]bool{"help": true, "version": true}

// fromEnv is the annotation of a flag that ApplyEnv has set.
const fromEnv = "environment"

// FromEnv reports whether a flag has its value from the environment.
func FromEnv(flags *pflag.FlagSet, name string) bool {
	f := flags.Lookup(name)
	return f != nil && f.Annotations[fromEnv] != nil
}

// DescribeEnv adds the name of its environment variable to each flag's help text. Call it once, before
// the flags are parsed.
func DescribeEnv(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if !noEnv[f.Name] && !f.Hidden {
			f.Usage += " [$" + EnvName(f.Name) + "]"
		}
	})
}

// ApplyEnv sets each flag that the command line did not set from its environment variable, so that
// flags go before the environment and the environment before all else. An empty variable counts as
// unset: Jenkins leaves such where a parameter was left blank. A flag that may be repeated takes its
// values one a line, or parted by blanks when there is only one line. The error is a UsageError that
// names the variable, never its value. Call it after the flags were parsed.
func ApplyEnv(flags *pflag.FlagSet, getenv func(string) string) error {
	var first error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || noEnv[f.Name] || f.Hidden || first != nil {
			return
		}
		name := EnvName(f.Name)
		value := getenv(name)
		if value == "" {
			return
		}
		values := []string{value}
		if _, many := f.Value.(pflag.SliceValue); many {
			if values = strings.Fields(value); strings.Contains(strings.TrimSpace(value), "\n") {
				values = strings.FieldsFunc(value, func(c rune) bool { return c == '\n' || c == '\r' })
			}
		}
		for _, v := range values {
			if err := flags.Set(f.Name, v); err != nil {
				first = Usagef("the environment variable %s has a value that --%s does not take, see its help", name, f.Name)
				return
			}
		}
		f.Annotations = map[string][]string{fromEnv: {name}}
	})
	return first
}
