package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/molteniron/molteniron/pkg/internal/document"
	"github.com/molteniron/molteniron/pkg/secret"
)

// key is one single-valued key of the configuration.
type key struct {
	name string
	set  func(l *loader, v value) (problem string)
}

// value is a key's text and where it was said.
type value struct {
	text  string
	place place
	where string // "config.yaml:3: wait", "--wait", "MOLTENIRON_WAIT"
}

// place ranks the sources; the higher goes first.
type place int

const (
	inDefault place = iota
	inFile
	inEnvironment
	inFlag
)

// keys are all single-valued keys. The environment variable of each is MOLTENIRON_ and its name in
// upper case. The key jenkins, which is a map, stands in the file only.
var keys = []key{
	{"database", (*loader).setDatabase},
	{"database_password_file", func(l *loader, v value) string { l.passwordFile = v; return l.path(v, &l.passwordFile.text) }},
	{"database_tls", func(l *loader, v value) string {
		return oneOf(v, &l.config.DatabaseTLS.Mode, "off", "preferred", "required", "verify-ca", "verify-full")
	}},
	{"database_ca_file", func(l *loader, v value) string { return l.path(v, &l.config.DatabaseTLS.CAFile) }},
	{"database_cert_file", func(l *loader, v value) string { return l.path(v, &l.config.DatabaseTLS.CertFile) }},
	{"database_key_file", func(l *loader, v value) string { return l.path(v, &l.config.DatabaseTLS.KeyFile) }},
	{"secret_key_file", func(l *loader, v value) string { return l.path(v, &l.config.SecretKeyFile) }},
	{"controller", func(l *loader, v value) string { return plain(v, &l.config.Controller) }},
	{"pool", func(l *loader, v value) string { return plain(v, &l.config.Pool) }},
	{"wait", func(l *loader, v value) string { return duration(v, &l.config.Wait, 0) }},
	{"lease", func(l *loader, v value) string { return duration(v, &l.config.Lease, time.Second) }},
	{"verify_bmc", func(l *loader, v value) string { return truth(v, &l.config.VerifyBMC) }},
	{"keep_history", func(l *loader, v value) string { return age(v, &l.config.KeepHistory) }},
	{"outbox", func(l *loader, v value) string { return l.path(v, &l.config.Outbox) }},
	{"log_format", func(l *loader, v value) string { return oneOf(v, &l.config.LogFormat, "text", "json") }},
}

// jenkinsKey is the one that is no single value.
const jenkinsKey = "jenkins"

// passwordVariable goes before every other source of the database password but a flag's URL, which may
// hold none.
const passwordVariable = "MOLTENIRON_DATABASE_PASSWORD"

// mends are what to type instead of keys that people try.
var mends = map[string]string{
	"database_password": "write the password to a file of mode 0600 and name it with database_password_file, or set " + passwordVariable,
	"secret_key":        "write the key to a file with moltenironctl keygen and name it with secret_key_file",
	"token":             "write the token to a file of mode 0600 and name it with token_file",
	"password":          "write the API token to a file of mode 0600 and name it with token_file",
	"<<":                "merge maps are not used here",
}

// environmentName is the variable of a key.
func environmentName(key string) string { return "MOLTENIRON_" + strings.ToUpper(key) }

func plain(v value, to *string) string {
	switch {
	case v.text == "":
		return "is empty; leave the key out or name one"
	case !utf8.ValidString(v.text):
		return "is no UTF-8 text"
	case strings.TrimSpace(v.text) != v.text || strings.ContainsFunc(v.text, unicode.IsControl):
		return fmt.Sprintf("%q begins or ends with a blank or holds a control character", v.text)
	}
	*to = v.text
	return ""
}

// path takes the name of a file; one that the configuration file names is relative to its folder, for
// the programs run in many.
func (l *loader) path(v value, to *string) string {
	switch {
	case v.text == "":
		return "is empty; leave the key out or name a file"
	case strings.ContainsRune(v.text, 0):
		return "holds a NUL character, which no path has"
	}
	*to = l.absolute(v, v.text)
	return ""
}

func (l *loader) absolute(v value, path string) string {
	if v.place == inFile && !filepath.IsAbs(path) {
		return filepath.Join(filepath.Dir(l.config.File), path)
	}
	return path
}

func oneOf(v value, to *string, words ...string) string {
	if !slices.Contains(words, v.text) {
		return fmt.Sprintf("%q is none of %s", v.text, strings.Join(words, ", "))
	}
	*to = v.text
	return ""
}

// truth takes what people write for yes and no, in YAML and in the environment.
func truth(v value, to *bool) string {
	switch strings.ToLower(v.text) {
	case "true", "yes", "on", "1":
		*to = true
	case "false", "no", "off", "0":
		*to = false
	default:
		return fmt.Sprintf("%q is neither true nor false", v.text)
	}
	return ""
}

var bareNumber = regexp.MustCompile(`^[0-9]+$`)

// duration takes 90m, 1h30m, 0: whole seconds, because that is what the database keeps.
func duration(v value, to *time.Duration, least time.Duration) string {
	d, err := time.ParseDuration(v.text)
	switch {
	case err != nil && bareNumber.MatchString(v.text):
		return fmt.Sprintf("%q has no unit; write %ss, %sm or %sh", v.text, v.text, v.text, v.text)
	case err != nil:
		return fmt.Sprintf("%q is no duration; write it as 90s, 30m or 1h30m", v.text)
	case d < 0:
		return fmt.Sprintf("%q is negative", v.text)
	case d%time.Second != 0:
		return fmt.Sprintf("%q is no whole number of seconds", v.text)
	case d < least:
		return fmt.Sprintf("%q is too short; leave the key out for the pool's own lease", v.text)
	}
	*to = d
	return ""
}

// leastHistory is what pkg/pool always keeps.
const leastHistory = 24 * time.Hour

var days = regexp.MustCompile(`^([0-9]{1,5})d$`)

// age takes 90d and whatever duration takes; 0 is for ever.
func age(v value, to *time.Duration) string {
	d := time.Duration(0)
	if m := days.FindStringSubmatch(v.text); m != nil {
		n, _ := strconv.Atoi(m[1]) // five digits
		d = time.Duration(n) * 24 * time.Hour
	} else if bareNumber.MatchString(v.text) && v.text != "0" {
		return fmt.Sprintf("%q has no unit; write %sd or %sh", v.text, v.text, v.text)
	} else if problem := duration(v, &d, 0); problem != "" {
		return problem
	}
	if d != 0 && d < leastHistory {
		return fmt.Sprintf("%q is too little; keep 24h or more, or leave the key out to keep all", v.text)
	}
	*to = d
	return ""
}

// setDatabase takes a URL apart as far as needed: the password leaves it, a relative SQLite path becomes
// one beside the configuration file. The rest is pkg/pool's to judge.
func (l *loader) setDatabase(v value) string {
	scheme, rest, ok := strings.Cut(v.text, ":")
	if !ok {
		return "is no URL; write sqlite:///PATH/pool.db or mysql://USER@HOST/DATABASE"
	}
	l.config.Database = v.text
	switch scheme {
	case "sqlite":
		if !strings.HasPrefix(rest, "/") && rest != "" {
			l.config.Database = "sqlite:" + l.absolute(v, rest)
		}
		return ""
	case "mysql", "mariadb":
	default:
		return fmt.Sprintf("has the scheme %q; use sqlite: or mysql:", scheme)
	}

	target, query, hasQuery := strings.Cut(rest, "?")
	at := strings.LastIndexByte(target, '@')
	if at < 0 {
		if hasQuery && strings.ContainsRune(query, '@') && !strings.HasPrefix(query, "socket=") {
			return "has a password with a ? in it; write %3F for it, or better use database_password_file"
		}
		return ""
	}
	account, host := target[:at], target[at:]
	user, escaped, has := strings.Cut(account, ":")
	if !has {
		return ""
	}
	password, err := url.PathUnescape(escaped)
	if err != nil {
		return "has a password with a % that is no escape; write %25 for it, or better use database_password_file"
	}
	if v.place == inFlag && password != "" {
		return "holds a password, and every user of this machine can see a command line; use " + passwordVariable + " or database_password_file"
	}
	l.config.Database = scheme + ":" + user + host
	if hasQuery {
		l.config.Database += "?" + query
	}
	l.urlPassword, l.urlPlace = secret.New(password), v.place
	return ""
}

// setJenkins takes one map or a list of them.
func (l *loader) setJenkins(v *document.Value) {
	blocks := []*document.Value{v}
	if v.Kind == document.List {
		blocks = v.Items
	}
	for _, block := range blocks {
		if block.Kind != document.Map {
			l.fault(block.Line, jenkinsKey, "must be a map with url, user and token_file, or a list of such maps, and is "+block.Kind.String())
			continue
		}
		var j Jenkins
		sound := true
		for _, f := range block.Fields {
			to := map[string]*string{"url": &j.URL, "user": &j.User, "token_file": &j.TokenFile}[f.Key]
			name := jenkinsKey + "." + f.Key
			var problem string
			switch {
			case to == nil:
				problem = unknownKey(f.Key, []string{"url", "user", "token_file"})
			case f.Value.Kind != document.Scalar:
				problem = "must be a single value and is " + f.Value.Kind.String()
			case f.Key == "token_file":
				problem = l.path(value{f.Value.Text, inFile, ""}, to)
			case f.Key == "url":
				*to, problem = jenkinsURL(f.Value.Text)
			default:
				problem = plain(value{text: f.Value.Text}, to)
			}
			if problem != "" {
				l.fault(f.Line, name, problem)
				sound = false
			}
		}
		switch {
		case !sound:
		case j.URL == "":
			l.fault(block.Line, jenkinsKey, "has no url; write the one that Jenkins has under \"Jenkins URL\"")
		case (j.User == "") != (j.TokenFile == ""):
			l.fault(block.Line, jenkinsKey, "needs both user and token_file, or neither")
		case slices.ContainsFunc(l.config.Jenkins, func(other Jenkins) bool { return other.URL == j.URL }):
			l.fault(block.Line, jenkinsKey, fmt.Sprintf("names %s twice", j.URL))
		default:
			l.config.Jenkins = append(l.config.Jenkins, j)
		}
	}
}

// jenkinsURL checks a controller's URL and gives it the one spelling that ends with a slash. The text
// is not shown before it is known to hold no password.
func jenkinsURL(text string) (string, string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return "", "is no http or https URL; write it as https://ci.example.org/"
	case u.User != nil:
		return "", "holds an account; use user and token_file"
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "", "has a ? or # in it; write it as https://ci.example.org/"
	}
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	return u.String(), ""
}
