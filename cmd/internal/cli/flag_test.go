package cli

import (
	"errors"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestFlagError(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--bogus=1"}, "unknown flag --bogus"},
		{[]string{"-x"}, "unknown flag -x"},
		{[]string{"--bmc-password=s3cret"}, "unknown flag --bmc-password; no flag takes a password, because everybody on the machine can read command lines: use a file or stdin"},
		{[]string{"-ps3cret"}, "unknown flag -p; no flag takes a password, because everybody on the machine can read command lines: use a file or stdin"},
		{[]string{"--=s3cret"}, `cannot read a flag of the form "--"`},
		{[]string{"--count", "many"}, `--count "many": give a whole number`},
		{[]string{"--wait", "5"}, `--wait "5": give a duration with its unit, as in 90s, 15m or 2h30m`},
		{[]string{"--dirty=perhaps"}, `--dirty "perhaps": give true or false`},
		{[]string{"--output", "xml"}, `--output "xml": use one of table, json`},
		{[]string{"--count"}, "--count needs a value"},
	} {
		f := pflag.NewFlagSet("t", pflag.ContinueOnError)
		f.Int("count", 1, "")
		f.Duration("wait", time.Hour, "")
		f.Bool("dirty", false, "")
		f.Var(&Choice{Value: "table", Allowed: []string{"table", "json"}}, "output", "")
		err := FlagError(f.Parse(tt.args))
		if !errors.Is(err, ErrUsage) || err.Error() != tt.want {
			t.Errorf("%q: %v\nwant %s", tt.args, err, tt.want)
		}
	}
}
