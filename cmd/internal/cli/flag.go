package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// FlagError turns pflag's error about a command line into a UsageError that names the flag and the
// mend. It never repeats what was given to a flag that does not exist: that may be a password.
func FlagError(err error) error {
	var (
		unknown *pflag.NotExistError
		value   *pflag.InvalidValueError
		missing *pflag.ValueRequiredError
		syntax  *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = name[1:]
		}
		if strings.Contains(name, "pass") || name == "-p" || name == "-P" {
			return Usagef("unknown flag %s; no flag takes a password, because everybody on the machine can read command lines: use a file or stdin", name)
		}
		return Usagef("unknown flag %s", name)
	case errors.As(err, &value):
		f := value.GetFlag()
		return Usagef("--%s %q: %s", f.Name, value.GetValue(), valueFault(f, value.Unwrap()))
	case errors.As(err, &missing):
		return Usagef("--%s needs a value", missing.GetFlag().Name)
	case errors.As(err, &syntax):
		return Usagef("cannot read a flag of the form %q", strings.SplitN(syntax.GetSpecifiedFlag(), "=", 2)[0])
	}
	return Usagef("%v", err)
}

// valueFault says what a flag would have taken; strconv's and time's own words help nobody.
func valueFault(f *pflag.Flag, cause error) string {
	switch f.Value.Type() {
	case "int", "int64", "uint", "uint64":
		return "give a whole number"
	case "duration":
		return "give a duration with its unit, as in 90s, 15m or 2h30m"
	case "bool":
		return "give true or false"
	}
	return fmt.Sprint(cause)
}
