package envfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/molteniron/molteniron/pkg/pool"
)

// Properties writes the properties file that Jenkins' EnvInject plugin loads: the variables of the env
// file as NAME=value, but for the secret ones. The token, the BMCs' users and passwords are never in
// it, because the plugin shows all variables of a build in its web page and keeps them on disk.
//
// It is no shell file: quotes would be part of the value. A backslash is doubled, as
// java.util.Properties wants it. Refused, with the variable named, is a value that the plugin changes in
// one version or another: one with a control character (a line break among them, of any kind that Unicode has), with a blank at
// either end (trimmed), with a backslash at its beginning (taken for a Windows share) or with a $ (the
// plugin expands twice, and drops a variable in which one is left). Other errors are those of Write.
// Text beyond ASCII is UTF-8, which the plugin reads where the agent's JVM does.
func Properties(w io.Writer, a *pool.Allocation) error {
	set, _, err := variables(a)
	if err != nil {
		return fmt.Errorf("properties file: %w", err)
	}
	var b bytes.Buffer
	for _, v := range set {
		if isSecret(v.name) {
			continue
		}
		value := v.value.Reveal()
		if err := injectable(value); err != nil {
			return fmt.Errorf("properties file: the value of %s %w", v.name, err)
		}
		fmt.Fprintf(&b, "%s=%s\n", v.name, strings.ReplaceAll(value, `\`, `\\`))
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("properties file: %w", err)
	}
	return nil
}

// isSecret reports whether a variable stays out of what others can see: the token, and each BMC's user
// and password. A property that a person calls password is shown, as it is everywhere.
func isSecret(name string) bool {
	return name == "MOLTEN_TOKEN" || !strings.Contains(name, "_PROP_") &&
		(strings.HasSuffix(name, "_PASSWORD") || strings.HasSuffix(name, "_USERNAME"))
}

func injectable(value string) error {
	switch {
	case !utf8.ValidString(value):
		return errors.New("is not UTF-8")
	case strings.ContainsFunc(value, func(c rune) bool { return unicode.In(c, unicode.Cc, unicode.Zl, unicode.Zp) }):
		return errors.New("holds a line break or another control character, which EnvInject cannot carry")
	case strings.Trim(value, " ") != value:
		return errors.New("begins or ends with a blank, which EnvInject would cut off")
	case strings.HasPrefix(value, `\`):
		return errors.New("begins with a backslash, which some versions of EnvInject would double")
	case strings.Contains(value, "$"):
		return errors.New("holds a $, which EnvInject would expand")
	}
	return nil
}
