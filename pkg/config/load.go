package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/molteniron/molteniron/pkg/internal/document"
	"github.com/molteniron/molteniron/pkg/secret"
	"golang.org/x/sys/unix"
)

// loader is one Load on its way.
type loader struct {
	options  Options
	config   Config
	file     map[string]document.Field // what the file said, by key
	info     fs.FileInfo               // of the file
	warnings []Warning
	problems []string

	passwordFile value
	urlPassword  secret.Text // that the database URL held
	urlPlace     place
}

// fault notes what is wrong with a key of the file.
func (l *loader) fault(line int, key, problem string) {
	l.problems = append(l.problems, fmt.Sprintf("%s:%d: %s %s", l.config.File, line, key, problem))
}

// maxFile bounds what is read, so that a wrong path ends in an error and not in a full memory. In bytes.
const maxFile = 1 << 20

// readFile finds the configuration file and takes it apart.
func (l *loader) readFile(system string) {
	l.config.File = l.options.File
	named := "--config"
	if l.config.File == "" {
		l.config.File, named = l.options.Getenv("MOLTENIRON_CONFIG"), "MOLTENIRON_CONFIG"
	}
	if l.config.File != "" {
		l.parseFile(l.config.File, named)
		return
	}
	if l.config.File = userFile(l.options.Getenv); l.config.File != "" && l.parseUserFile(l.config.File) {
		return
	}
	if l.config.File = system; l.parseFile(system, "") {
		return
	}
	l.config.File = ""
}

// userFile is a person's own configuration; "" when the environment tells no folder. As the XDG rules
// want it, a relative folder does not count.
func userFile(getenv func(string) string) string {
	return xdg(getenv, "XDG_CONFIG_HOME", ".config", "config.yaml")
}

func xdg(getenv func(string) string, variable, folder, name string) string {
	base := getenv(variable)
	if !filepath.IsAbs(base) {
		if base = getenv("HOME"); !filepath.IsAbs(base) {
			return ""
		}
		base = filepath.Join(base, folder)
	}
	return filepath.Join(base, "molteniron", name)
}

// parseFile reports whether there is such a file. named says who asked for it by name: then it must be.
func (l *loader) parseFile(path, named string) bool {
	data, err := l.open(path)
	switch {
	case err == nil:
		l.parse(data)
	case named != "":
		l.problems = append(l.problems, fmt.Sprintf("%s: %s: %v", named, path, err))
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return false
	default:
		l.problems = append(l.problems, fmt.Sprintf("%s: %v", path, err))
	}
	return true
}

// parseUserFile is parseFile for the file in the user's home, which may be somebody else's: sudo keeps HOME.
func (l *loader) parseUserFile(path string) bool {
	if err := unix.Access(path, unix.R_OK); errors.Is(err, fs.ErrPermission) {
		l.warn(fmt.Sprintf("%s is passed over: %v; is HOME=%s right?", path, err, l.options.Getenv("HOME")))
		return false
	}
	return l.parseFile(path, "")
}

func (l *loader) open(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, bare(err)
	}
	defer f.Close()
	if l.info, err = f.Stat(); err != nil {
		return nil, bare(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("longer than %d KiB, which is no configuration", maxFile>>10)
	}
	return data, bare(err)
}

// bare takes the path out of an error: the caller names it first.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func (l *loader) parse(data []byte) {
	tree, err := document.ParseYAML(data)
	var se *document.SyntaxError
	switch {
	case errors.As(err, &se) && se.Line > 0:
		l.problems = append(l.problems, fmt.Sprintf("%s:%d: %s", l.config.File, se.Line, se.Text))
	case err != nil:
		l.problems = append(l.problems, fmt.Sprintf("%s: %v", l.config.File, err))
	case tree.Kind == document.Null:
	case tree.Kind != document.Map:
		l.problems = append(l.problems, fmt.Sprintf("%s:%d: must be a map of keys, as in pool: default, and is %s", l.config.File, tree.Line, tree.Kind))
	default:
		l.takeKeys(tree)
	}
}

func (l *loader) takeKeys(tree *document.Value) {
	known := []string{jenkinsKey}
	for _, k := range keys {
		known = append(known, k.name)
	}
	l.file = map[string]document.Field{}
	for _, f := range tree.Fields {
		switch {
		case !slices.Contains(known, f.Key):
			l.fault(f.Line, fmt.Sprintf("%q", f.Key), unknownKey(f.Key, known))
		case f.Value.Kind == document.Null:
			l.fault(f.Line, f.Key, "has no value; give it one, in quotes if it begins with a sign, or remove the line")
		case f.Key == jenkinsKey:
			l.setJenkins(f.Value)
		case f.Value.Kind != document.Scalar:
			l.fault(f.Line, f.Key, "must be a single value and is "+f.Value.Kind.String())
		default:
			l.file[f.Key] = f
		}
	}
}

// unknownKey names the mend: what to do instead, the key that was probably meant, or all keys.
func unknownKey(key string, known []string) string {
	if mend := mends[key]; mend != "" {
		return "is no key; " + mend
	}
	same := func(s string) string {
		return strings.ToLower(strings.NewReplacer("-", "", "_", "", " ", "").Replace(s))
	}
	for _, k := range known {
		if same(k) == same(key) || len(key) > 2 && near(k, key) {
			return "is no key; did you mean " + k + "?"
		}
	}
	return "is no key; the keys are " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// near reports whether one letter more, less or other, or two exchanged, make the words equal.
func near(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 0:
		return i < len(a) && a[i+1:] == b[i+1:] ||
			i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	case 1:
		return a[i:] == b[i+1:]
	default:
		return false
	}
}

// apply takes the value of the source that goes first. An empty variable counts as unset: Jenkins
// leaves such where a parameter was left blank.
func (l *loader) apply(k key) {
	var v value
	flag, flagged := l.options.Flags[k.name]
	env := l.options.Getenv(environmentName(k.name))
	field, filed := l.file[k.name]
	switch {
	case flagged && (env == "" || flag != env): // a flag may have been set from its variable
		v = value{flag, inFlag, "--" + strings.ReplaceAll(k.name, "_", "-")}
	case env != "":
		v = value{env, inEnvironment, environmentName(k.name)}
	case filed:
		v = value{field.Value.Text, inFile, fmt.Sprintf("%s:%d: %s", l.config.File, field.Line, k.name)}
	default:
		return
	}
	if problem := k.set(l, v); problem != "" {
		l.problems = append(l.problems, v.where+" "+problem)
	}
}

// checkFlags finds flags that no key has: a mistake of the program.
func (l *loader) checkFlags() {
	for _, name := range slices.Sorted(maps.Keys(l.options.Flags)) {
		if !slices.ContainsFunc(keys, func(k key) bool { return k.name == name }) {
			l.problems = append(l.problems, fmt.Sprintf("the flag of %q belongs to no key of the configuration", name))
		}
	}
}

// finish does what needs more than one key: the password, and what goes together.
func (l *loader) finish() {
	tls := &l.config.DatabaseTLS
	if (tls.CertFile == "") != (tls.KeyFile == "") {
		l.problems = append(l.problems, "database_cert_file and database_key_file go together; set both or neither")
	}
	if tls.Mode == "off" && (tls.CAFile != "" || tls.CertFile != "") {
		l.problems = append(l.problems, "database_tls is off and a certificate is named; set it to verify-full, or remove the certificate")
	}
	if l.urlPlace == inFile && !l.urlPassword.IsZero() {
		l.warn(secret.Exposed(l.config.File, l.info))
	}
	l.findPassword()
}

// findPassword takes the password from the first source of: the variable, the file that a variable or
// flag names, the URL in a variable, the file that the configuration names, the URL there.
func (l *loader) findPassword() {
	password := l.options.Getenv(passwordVariable)
	server := strings.HasPrefix(l.config.Database, "mysql:") || strings.HasPrefix(l.config.Database, "mariadb:")
	switch {
	case !server:
	case password != "":
		l.config.DatabasePassword = secret.New(password)
	case l.passwordFile.text != "" && l.passwordFile.place >= l.urlPlace:
		text, warning, err := secret.ReadFile(l.passwordFile.text)
		switch {
		case err != nil:
			l.problems = append(l.problems, fmt.Sprintf("%s: %v", l.passwordFile.where, err))
		case text.IsZero():
			l.problems = append(l.problems, fmt.Sprintf("%s: %s is empty", l.passwordFile.where, l.passwordFile.text))
		}
		l.warn(warning)
		l.config.DatabasePassword = text
	default:
		l.config.DatabasePassword = l.urlPassword
	}
}

func (l *loader) warn(text string) {
	if text != "" {
		l.warnings = append(l.warnings, Warning(text))
	}
}
