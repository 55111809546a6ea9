package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/molteniron/molteniron/pkg/secret"
)

// hidden is in every input that may hold a secret and must be in no error, warning or printed Config.
const hidden = "hunter2"

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return m[name] }
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var defaults = Config{Pool: "default", Wait: time.Hour, LogFormat: "text", DatabaseTLS: TLS{Mode: "preferred"}}

// with is the defaults with changes.
func with(change func(*Config)) Config {
	c := defaults
	change(&c)
	return c
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "db.pass"), hidden+"\n")
	for name, c := range map[string]struct {
		file  string
		flags map[string]string
		env   []string
		want  Config
	}{
		"nothing":        {want: defaults},
		"only a comment": {file: "# later\n", want: defaults},
		"everything": {
			file: `
database: mysql://molteniron@db1,db2,[2001:db8::3]:3307/molteniron
database_password_file: db.pass
database_tls: verify-full
database_ca_file: /etc/ssl/ca.pem
database_cert_file: cert.pem
database_key_file: ../key.pem
secret_key_file: /etc/molteniron/key
controller: ci1
pool: gpu
wait: 90m
lease: 8h
verify_bmc: yes
jenkins: {url: "https://ci.example.org/jenkins", user: tender, token_file: jenkins.token}
keep_history: 90d
outbox: ../outbox
log_format: json
`,
			want: Config{
				Database:         "mysql://molteniron@db1,db2,[2001:db8::3]:3307/molteniron",
				DatabasePassword: secret.New(hidden),
				DatabaseTLS:      TLS{"verify-full", "/etc/ssl/ca.pem", filepath.Join(dir, "cert.pem"), filepath.Join(filepath.Dir(dir), "key.pem")},
				SecretKeyFile:    "/etc/molteniron/key", Controller: "ci1", Pool: "gpu", Wait: 90 * time.Minute, Lease: 8 * time.Hour,
				VerifyBMC: true, LogFormat: "json", KeepHistory: 90 * 24 * time.Hour, Outbox: filepath.Join(filepath.Dir(dir), "outbox"),
				Jenkins: []Jenkins{{"https://ci.example.org/jenkins/", "tender", filepath.Join(dir, "jenkins.token")}},
			},
		},
		"several controllers": {
			file: "jenkins:\n- url: http://ci1:8080\n- {url: 'https://ci2/', user: u, token_file: /t}\n",
			want: with(func(c *Config) { c.Jenkins = []Jenkins{{URL: "http://ci1:8080/"}, {"https://ci2/", "u", "/t"}} }),
		},
		"history in hours": {file: "keep_history: 36h\n", want: with(func(c *Config) { c.KeepHistory = 36 * time.Hour })},
		"history for ever": {file: "keep_history: 0\n", want: with(func(c *Config) { c.KeepHistory = 0 })},
		"no wait":          {file: "wait: 0\n", want: with(func(c *Config) { c.Wait = 0 })},
		"precedence": {
			file:  "pool: a\nwait: 1m\nlease: 1m\nverify_bmc: true\n",
			env:   []string{"MOLTENIRON_WAIT", "2m", "MOLTENIRON_LEASE", "2m", "MOLTENIRON_CONTROLLER", "c"},
			flags: map[string]string{"lease": "3m", "verify_bmc": "false"},
			want: with(func(c *Config) {
				c.Pool, c.Wait, c.Lease, c.Controller = "a", 2*time.Minute, 3*time.Minute, "c"
			}),
		},
		"paths of the environment stay as they are": {
			env:  []string{"MOLTENIRON_SECRET_KEY_FILE", "key", "MOLTENIRON_DATABASE", "sqlite:pool.db"},
			want: with(func(c *Config) { c.SecretKeyFile, c.Database = "key", "sqlite:pool.db" }),
		},
		"sqlite beside the file": {
			file: "database: sqlite:sub/pool.db\n",
			want: with(func(c *Config) { c.Database = "sqlite:" + filepath.Join(dir, "sub/pool.db") }),
		},
		"sqlite needs no password": {
			file: "database: sqlite:///var/pool.db\ndatabase_password_file: /nonexistent\n",
			env:  []string{passwordVariable, hidden},
			want: with(func(c *Config) { c.Database = "sqlite:///var/pool.db" }),
		},
		"password in the URL": {
			file: "database: mysql://u:" + hidden + "%40%2f%25@h/db?socket=/run/a@b\n",
			want: with(func(c *Config) {
				c.Database, c.DatabasePassword = "mysql://u@h/db?socket=/run/a@b", secret.New(hidden+"@/%")
			}),
		},
		"a password with an @": {
			file: "database: mysql://u:a@b:" + hidden + "@h/db\n",
			want: with(func(c *Config) { c.Database, c.DatabasePassword = "mysql://u@h/db", secret.New("a@b:"+hidden) }),
		},
		"the file goes before the URL beside it": {
			file: "database: mysql://u:wrong@h/db\ndatabase_password_file: db.pass\n",
			want: with(func(c *Config) { c.Database, c.DatabasePassword = "mysql://u@h/db", secret.New(hidden) }),
		},
		"the URL of the environment goes before the file": {
			file: "database_password_file: db.pass\n",
			env:  []string{"MOLTENIRON_DATABASE", "mariadb://u:new@h/db"},
			want: with(func(c *Config) { c.Database, c.DatabasePassword = "mariadb://u@h/db", secret.New("new") }),
		},
		"the password's variable goes before all": {
			file: "database_password_file: db.pass\n",
			env:  []string{"MOLTENIRON_DATABASE", "mysql://u:other@h/db", passwordVariable, "new"},
			want: with(func(c *Config) { c.Database, c.DatabasePassword = "mysql://u@h/db", secret.New("new") }),
		},
		"a flag set from its variable": {
			env:   []string{"MOLTENIRON_DATABASE", "mysql://u:" + hidden + "@h/db"},
			flags: map[string]string{"database": "mysql://u:" + hidden + "@h/db"},
			want:  with(func(c *Config) { c.Database, c.DatabasePassword = "mysql://u@h/db", secret.New(hidden) }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Flags: c.flags, Getenv: env(c.env...)}
			if c.file != "" {
				o.File = write(t, filepath.Join(dir, "config.yaml"), c.file)
			}
			got, warnings, err := load(o, "/nonexistent")
			if err != nil || len(warnings) > 0 {
				t.Fatalf("%v, %v", warnings, err)
			}
			c.want.File = o.File
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if out := fmt.Sprintf("%+v %#v", got, got); strings.Contains(out, hidden) {
				t.Errorf("printed it shows the password: %s", out)
			}
		})
	}
}

func TestSearch(t *testing.T) {
	dir := t.TempDir()
	mine := write(t, filepath.Join(dir, "home/.config/molteniron/config.yaml"), "pool: mine\n")
	xdgs := write(t, filepath.Join(dir, "xdg/molteniron/config.yaml"), "pool: xdg\n")
	system := write(t, filepath.Join(dir, "etc/config.yaml"), "pool: system\n")
	named := write(t, filepath.Join(dir, "named.yaml"), "pool: named\n")
	flag := write(t, filepath.Join(dir, "flag.yaml"), "pool: flag\n")
	home, xdg := []string{"HOME", filepath.Join(dir, "home")}, []string{"XDG_CONFIG_HOME", filepath.Join(dir, "xdg")}
	join := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	for name, c := range map[string]struct {
		file string
		env  []string
		want string
	}{
		"the flag":          {flag, join(home, xdg, []string{"MOLTENIRON_CONFIG", named}), flag},
		"the variable":      {"", join(home, xdg, []string{"MOLTENIRON_CONFIG", named}), named},
		"XDG_CONFIG_HOME":   {"", join(home, xdg), xdgs},
		"a relative folder": {"", join(home, []string{"XDG_CONFIG_HOME", "xdg"}), mine},
		"home":              {"", home, mine},
		"another home":      {"", []string{"HOME", filepath.Join(dir, "nobody")}, system},
		"home is no folder": {"", []string{"HOME", system}, system},
		"no home":           {"", nil, system},
	} {
		got, warnings, err := load(Options{File: c.file, Getenv: env(c.env...)}, system)
		if err != nil || len(warnings) > 0 || got.File != c.want || got.Pool == "default" {
			t.Errorf("%s: read %q, %v, %v; want %q", name, got.File, warnings, err, c.want)
		}
	}
	if got, _, err := load(Options{}, filepath.Join(dir, "none")); err != nil || got.File != "" {
		t.Errorf("none is fine, and was %q, %v", got.File, err)
	}
	none := filepath.Join(dir, "none.yaml")
	for want, o := range map[string]Options{
		"--config: " + none + ": no such file or directory":          {File: none},
		"MOLTENIRON_CONFIG: " + none + ": no such file or directory": {Getenv: env("MOLTENIRON_CONFIG", none)},
		"--config: " + dir + ": is a directory":                      {File: dir},
	} {
		if _, _, err := load(o, system); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, _, err := load(Options{}, filepath.Join(dir)); err == nil || err.Error() != dir+": is a directory" {
		t.Errorf("a folder in the place of the file: %v", err)
	}
	if os.Geteuid() == 0 {
		t.Skip("root may read everything, so what follows cannot be tested")
	}
	for _, path := range []string{mine, system} {
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, warnings, err := load(Options{Getenv: env(home...)}, named); err != nil || len(warnings) != 1 || !strings.Contains(string(warnings[0]), "passed over") {
		t.Errorf("an unreadable file in the home: %v, %v", warnings, err)
	}
	if _, _, err := load(Options{}, system); err == nil || err.Error() != system+": permission denied" {
		t.Errorf("an unreadable file of the system: %v", err)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	empty := write(t, filepath.Join(dir, "empty"), "\n")
	type options struct {
		file  string
		flags map[string]string
		env   []string
	}
	for want, o := range map[string]options{
		// keys
		file + `:2: "waits" is no key; did you mean wait?`:                                             {file: "pool: a\nwaits: 1h\n"},
		file + `:1: "secret-key-file" is no key; did you mean secret_key_file?`:                        {file: "secret-key-file: a\n"},
		file + `:1: "database_password" is no key; write the password to a file of mode 0600 and name`: {file: "database_password: " + hidden + "\n"},
		file + `:1: "url" is no key; the keys are controller, database, database_ca_file`:              {file: "url: x\n"},
		file + `:3: the key "pool" stands twice in one map`:                                            {file: "pool: a\nwait: 1h\npool: b\n"},
		file + `:1: must be a map of keys, as in pool: default, and is a list`:                         {file: "- pool\n"},
		file + `:2: mapping values are not allowed in this context`:                                    {file: "pool: a\n wait: b\n"},
		file + `:2: pool has no value`:                                                                 {file: "wait: 1h\npool: #x\n"},
		file + `:1: pool must be a single value and is a list`:                                         {file: "pool: [a]\n"},
		// values
		file + `:1: wait "60" has no unit; write 60s, 60m or 60h`:                                  {file: "wait: 60\n"},
		file + `:1: wait "1d" is no duration`:                                                      {file: "wait: 1d\n"},
		file + `:1: wait "-1h" is negative`:                                                        {file: "wait: -1h\n"},
		file + `:1: wait "1500ms" is no whole number of seconds`:                                   {file: "wait: 1500ms\n"},
		file + `:1: lease "0" is too short; leave the key out for the pool's own lease`:            {file: "lease: 0\n"},
		file + `:1: keep_history "90" has no unit; write 90d or 90h`:                               {file: "keep_history: 90\n"},
		file + `:1: keep_history "-1h" is negative`:                                                {file: "keep_history: -1h\n"},
		`--keep-history "1h" is too little; keep 24h or more`:                                      {flags: map[string]string{"keep_history": "1h"}},
		`MOLTENIRON_WAIT "soon" is no duration`:                                                    {env: []string{"MOLTENIRON_WAIT", "soon"}},
		`--wait "soon" is no duration`:                                                             {flags: map[string]string{"wait": "soon"}},
		`--verify-bmc "maybe" is neither true nor false`:                                           {flags: map[string]string{"verify_bmc": "maybe"}},
		`--pool is empty; leave the key out or name one`:                                           {flags: map[string]string{"pool": ""}},
		file + `:1: pool "a " begins or ends with a blank or holds a control character`:            {file: "pool: 'a '\n"},
		file + `:1: secret_key_file is empty`:                                                      {file: "secret_key_file: ''\n"},
		file + `:1: log_format "xml" is none of text, json`:                                        {file: "log_format: xml\n"},
		file + `:1: database_tls "on" is none of off, preferred, required, verify-ca, verify-full`: {file: "database_tls: on\n"},
		`database_cert_file and database_key_file go together`:                                     {file: "database_cert_file: a\n"},
		`database_tls is off and a certificate is named`:                                           {file: "database_tls: off\ndatabase_ca_file: a\n"},
		`the flag of "verbose" belongs to no key of the configuration`:                             {flags: map[string]string{"verbose": "1"}},
		// database
		file + `:1: database is no URL; write sqlite:///PATH/pool.db or mysql://USER@HOST/DATABASE`: {file: "database: db1\n"},
		file + `:1: database has the scheme "postgres"; use sqlite: or mysql:`:                      {file: "database: postgres://u:" + hidden + "@h/d\n"},
		file + `:1: database has a password with a % that is no escape`:                             {file: "database: mysql://u:" + hidden + "%zz@h/d\n"},
		file + `:1: database has a password with a ? in it`:                                         {file: "database: mysql://u:" + hidden + "?@h/d\n"},
		`--database holds a password, and every user of this machine can see a command line`:        {flags: map[string]string{"database": "mysql://u:" + hidden + "@h/d"}},
		file + `:2: database_password_file: ` + dir + `/none: no such file or directory`:            {file: "database: mysql://u@h/d\ndatabase_password_file: none\n"},
		`MOLTENIRON_DATABASE_PASSWORD_FILE: ` + empty + ` is empty`: {env: []string{
			"MOLTENIRON_DATABASE", "mysql://u@h/d", "MOLTENIRON_DATABASE_PASSWORD_FILE", empty}},
		// jenkins
		file + `:1: jenkins must be a map with url, user and token_file, or a list of such maps, and is a single value`: {file: "jenkins: https://ci/\n"},
		file + `:2: jenkins must be a map with url, user and token_file, or a list of such maps, and is a single value`: {file: "jenkins:\n- https://ci/\n"},
		file + `:1: jenkins has no url`:                                                                          {file: "jenkins: {user: a, token_file: b}\n"},
		file + `:1: jenkins needs both user and token_file, or neither`:                                          {file: "jenkins: {url: 'https://ci/', user: a}\n"},
		file + `:3: jenkins names https://ci/ twice`:                                                             {file: "jenkins:\n- url: https://ci\n- url: https://ci/\n"},
		file + `:1: jenkins.url is no http or https URL`:                                                         {file: "jenkins: {url: 'ci.example.org/" + hidden + "'}\n"},
		file + `:1: jenkins.url holds an account; use user and token_file`:                                       {file: "jenkins: {url: 'https://u:" + hidden + "@ci/'}\n"},
		file + `:1: jenkins.url has a ? or # in it`:                                                              {file: "jenkins: {url: 'https://ci/?token=" + hidden + "'}\n"},
		file + `:1: jenkins.user must be a single value and is a map`:                                            {file: "jenkins: {url: 'https://ci/', user: {a: b}}\n"},
		file + `:2: jenkins.token is no key; write the token to a file of mode 0600 and name it with token_file`: {file: "jenkins:\n  token: " + hidden + "\n  url: https://ci/\n"},
		file + `:1: jenkins.tokenfile is no key; did you mean token_file?`:                                       {file: "jenkins: {tokenfile: a}\n"},
	} {
		options := Options{Flags: o.flags, Getenv: env(o.env...)}
		if o.file != "" {
			options.File = write(t, file, o.file)
		}
		_, _, err := load(options, "/nonexistent")
		var e *Error
		if !errors.As(err, &e) || len(e.Problems) != 1 || !strings.HasPrefix(e.Problems[0], want) {
			t.Errorf("%q:\n got %v\nwant %s", o.file, err, want)
		}
		if err != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	file := write(t, filepath.Join(t.TempDir(), "c.yaml"), "wiat: 1h\nlease: x\njenkins: {uri: a, user: ''}\n")
	_, _, err := load(Options{File: file, Getenv: env("MOLTENIRON_LOG_FORMAT", "xml")}, "/nonexistent")
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	want := []string{
		file + `:1: "wiat" is no key; did you mean wait?`, file + ":3: jenkins.uri is no key; did you mean url?",
		file + ":3: jenkins.user is empty", file + `:2: lease "x" is no duration`, `MOLTENIRON_LOG_FORMAT "xml" is none of`,
	}
	if diff := cmp.Diff(want, e.Problems, cmp.Comparer(func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestExposedFiles(t *testing.T) {
	dir := t.TempDir()
	pass := write(t, filepath.Join(dir, "db.pass"), hidden)
	inURL := "database: mysql://u:" + hidden + "@h/d\n"
	byFile := "database: mysql://u@h/d\ndatabase_password_file: db.pass\n"
	for name, c := range map[string]struct {
		text       string
		file, pass os.FileMode
		want       string
	}{
		"private":                 {inURL, 0o640, 0o600, ""},
		"open, and no secret":     {byFile, 0o644, 0o600, ""},
		"open, with a secret":     {inURL, 0o644, 0o600, "config.yaml holds a secret and everybody on this machine can read it"},
		"the password's is open":  {byFile, 0o644, 0o644, "db.pass holds a secret and everybody"},
		"open, an empty password": {"database: mysql://u:@h/d\n", 0o644, 0o600, ""},
	} {
		file := write(t, filepath.Join(dir, "config.yaml"), c.text)
		for path, mode := range map[string]os.FileMode{file: c.file, pass: c.pass} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		_, warnings, err := load(Options{File: file}, "/nonexistent")
		if err != nil || (c.want == "") != (len(warnings) == 0) || len(warnings) > 0 && !strings.Contains(string(warnings[0]), c.want) {
			t.Errorf("%s: %v, %v", name, warnings, err)
		}
		if strings.Contains(fmt.Sprint(warnings), hidden) {
			t.Errorf("%s: the warning shows the secret", name)
		}
	}
}

func TestDefaultDatabase(t *testing.T) {
	dir := t.TempDir()
	system, mine := filepath.Join(dir, "var/lib/pool.db"), filepath.Join(dir, "home/.local/state/molteniron/pool.db")
	state := filepath.Join(dir, "state/molteniron/pool.db")
	blocked := filepath.Join(write(t, filepath.Join(dir, "file"), ""), "pool.db")
	home := env("HOME", filepath.Join(dir, "home"))
	check := func(name, path string, getenv func(string) string, forInit bool, want string) {
		t.Helper()
		got, err := defaultDatabase(getenv, forInit, path)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	none := " (no such file or directory)"
	check("nothing yet", system, home, false, "no database: tried "+system+none+", "+mine+none+
		"; make one with: moltenironctl init, or name one with: export MOLTENIRON_DATABASE=…")
	check("nothing yet, init", system, home, true, "sqlite://"+system)
	check("no place there, init", blocked, home, true, "sqlite://"+mine)
	check("XDG_STATE_HOME", blocked, env("HOME", "/x", "XDG_STATE_HOME", filepath.Join(dir, "state")), true, "sqlite://"+state)
	check("no home", blocked, env(), true, "no place for the database: tried "+blocked+
		" (not a directory); name one with: export MOLTENIRON_DATABASE=sqlite:///PATH/pool.db")
	write(t, mine, "")
	check("the user's", system, home, false, "sqlite://"+mine)
	write(t, system, "")
	check("both", system, home, false, "sqlite://"+system)
	check("both, init", system, home, true, "sqlite://"+system)
	check("a folder", dir, env(), false, "no database: tried "+dir+" (not a file); make one with: moltenironctl init, or name one with: export MOLTENIRON_DATABASE=…")

	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere, so what follows cannot be tested")
	}
	if err := os.Chmod(system, 0o400); err != nil {
		t.Fatal(err)
	}
	check("read-only", system, home, false, "sqlite://"+mine)
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	check("read-only and nothing else", system, home, false, "no database: tried "+system+" (permission denied), "+mine+none+
		"; make one with: moltenironctl init, or name one with: export MOLTENIRON_DATABASE=…")
}

func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"", "pool: a\n", "wait: 0\nlease: 1h30m\n", "database: mysql://u:p@h:1,[::1]/d?socket=/a@b\n", "jenkins: [{url: 'http://a'}]\n",
		"jenkins: {url: 'http://[::1]:80/%2f', user: u, token_file: t}\n", "<<: {pool: a}\n", "verify_bmc: ON\n", "database: sqlite:a\n",
	} {
		f.Add(s)
	}
	file := filepath.Join(f.TempDir(), "c.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		l := &loader{options: Options{Getenv: env()}, config: defaults}
		l.config.File = file
		l.parse([]byte(text))
		for _, k := range keys {
			if k.name != "database_password_file" { // would read what the text names
				l.apply(k)
			}
		}
		for _, p := range l.problems {
			if p == "" || strings.Contains(p, "%!") || !strings.HasPrefix(p, file) {
				t.Fatalf("problem %q", p)
			}
		}
		if len(l.problems) > 0 {
			return
		}
		c := l.config
		if c.Pool == "" || c.Wait < 0 || c.Lease < 0 || c.LogFormat == "" {
			t.Fatalf("%+v", c)
		}
		if password := l.urlPassword.Reveal(); len(password) > 8 && strings.Contains(c.Database, password) {
			t.Fatalf("the password is still in %q", c.Database)
		}
		// What was read is read again from the environment as the same.
		again := &loader{options: Options{Getenv: env("MOLTENIRON_DATABASE", c.Database, "MOLTENIRON_POOL", c.Pool, "MOLTENIRON_WAIT", c.Wait.String())}}
		for _, k := range keys {
			again.apply(k)
		}
		if len(again.problems) > 0 || again.config.Database != c.Database || again.config.Pool != c.Pool || again.config.Wait != c.Wait {
			t.Fatalf("%+v\n%+v\n%q", c, again.config, again.problems)
		}
	})
}

// TestKeysAreDocumented holds the example against the code: each key is named there, in its comment or
// as a line, and the whole file is read without a fault.
func TestKeysAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../examples/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "#"), ":"); ok && !strings.Contains(name, " ") {
			said[name] = true
		}
	}
	want := map[string]bool{jenkinsKey: true}
	for _, k := range keys {
		want[k.name] = true
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("keys in the example (-want +got)\n%s", diff)
	}
	// Every line that a person may uncomment is sound, and all of them together.
	all := strings.Builder{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		all.WriteString(line)
	}
	dir := t.TempDir()
	uncommented := strings.ReplaceAll(all.String(), "/etc/molteniron/db.pass", write(t, filepath.Join(dir, "p"), "x"))
	for name, in := range map[string]string{"as it is": string(text), "uncommented": uncommented} {
		got, warnings, err := load(Options{File: write(t, filepath.Join(dir, "c.yaml"), in)}, "/nonexistent")
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", name, warnings, err)
		}
		if name == "as it is" {
			if diff := cmp.Diff(defaults, got, cmpopts.IgnoreFields(Config{}, "File")); diff != "" {
				t.Errorf("the example changes a default (-want +got)\n%s", diff)
			}
		}
	}
}
