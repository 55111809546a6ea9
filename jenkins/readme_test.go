package jenkins_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// readme is README.md by its headings: each section's text without those below it.
func readme(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for part := range strings.SplitSeq("\n"+string(text), "\n#") {
		title, body, _ := strings.Cut(part, "\n")
		sections[strings.TrimSpace(strings.TrimLeft(title, "#"))] += body
	}
	return sections
}

// firstColumn gives the names in code in the first column of a section's tables.
func firstColumn(section string) []string {
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|").FindAllStringSubmatch(section, -1) {
		for _, name := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(row[1], -1) {
			names = append(names, name[1])
		}
	}
	slices.Sort(names)
	return names
}

// definition is one entry of a Job Builder file, with what is under its kind.
type definition struct {
	kind string
	name string // id where it has one
	text string // as YAML
	keys map[string]string
}

func definitions(t *testing.T, path string) []definition {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file []map[string]yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var list []definition
	for _, entry := range file {
		for kind, node := range entry {
			body, err := yaml.Marshal(&node)
			if err != nil {
				t.Fatal(err)
			}
			d := definition{kind: kind, text: string(body), keys: map[string]string{}}
			for i := 0; i < len(node.Content); i += 2 {
				d.keys[node.Content[i].Value] = node.Content[i+1].Value
			}
			if d.name = d.keys["id"]; d.name == "" {
				d.name = d.keys["name"]
			}
			list = append(list, d)
		}
	}
	return list
}

// variables gives what stands in braces, {name} or {obj:name}.
func variables(text string) []string {
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`\{(?:obj:)?([a-z_]+)\}`).FindAllStringSubmatch(text, -1) {
		seen[m[1]] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// Every macro, with each of its parameters, and no other.
func TestReadmeMacros(t *testing.T) {
	sections, found := readme(t), map[string]bool{}
	for _, d := range definitions(t, macros) {
		if !strings.HasPrefix(d.name, "molteniron-") {
			t.Errorf("%s %s: the kit's names begin with molteniron-", d.kind, d.name)
		}
		title := fmt.Sprintf("`%s` (%s)", d.name, d.kind)
		found[title] = true
		section, ok := sections[title]
		if !ok {
			t.Errorf("README.md has no section %s", title)
			continue
		}
		want, got := variables(d.text), firstColumn(section)
		if len(want) == 0 {
			t.Errorf("%s has no parameter: called without one, its text would depend on Job Builder's version", d.name)
		}
		if !slices.Equal(want, got) {
			t.Errorf("%s has the parameters %q, README.md tells of %q", title, want, got)
		}
	}
	for title := range sections {
		if macro := regexp.MustCompile("^`.*` \\(.*\\)$").MatchString(title); macro && !found[title] {
			t.Errorf("README.md tells of %s, which is not there", title)
		}
	}
}

// Every template with each variable and its default, and no other; and every group.
func TestReadmeTemplates(t *testing.T) {
	sections, found := readme(t), map[string]bool{}
	all := definitions(t, templates)
	defaults := all[slices.IndexFunc(all, func(d definition) bool { return d.kind == "defaults" })]
	used := map[string]bool{}
	for _, d := range all {
		switch d.kind {
		case "defaults":
		case "job-group":
			row := regexp.MustCompile("(?m)^\\| `" + d.name + "` \\| (.*)\\|").FindStringSubmatch(sections["Groups"])
			for _, line := range strings.Split(d.text, "\n") {
				if job, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok && (row == nil || !strings.Contains(row[1], "`"+job+"`")) {
					t.Errorf("README.md does not tell that group %s has %s", d.name, job)
				}
			}
		case "job-template":
			if d.keys["defaults"] != "molteniron" {
				t.Errorf("template %s does not have the defaults of the kit", d.name)
			}
			title := "`" + d.name + "`"
			found[title] = true
			want, got := variables(d.text), firstColumn(sections[title])
			if !slices.Equal(want, got) {
				t.Errorf("template %s has the variables %q, README.md tells of %q", title, want, got)
			}
			for _, name := range want {
				used[name] = true
				row := regexp.MustCompile("(?m)^\\| `" + name + "` \\| ([^|]*) \\|").FindStringSubmatch(sections[title])
				if row == nil {
					continue // told above
				}
				told, want := row[1], []string{"*required*"}
				if v, ok := defaults.keys[name]; ok && name != "name" { // that one is the defaults' own
					if want = []string{"`" + v + "`"}; v == "" {
						want = []string{"blank", "none"}
					}
				}
				if !slices.Contains(want, told) {
					t.Errorf("template %s: %s has the default %q, README.md says %s", d.name, name, want, told)
				}
			}
		default:
			t.Errorf("%s %s is not of %s", d.kind, d.name, templates)
		}
	}
	for name := range defaults.keys {
		if name != "name" && (!used[name] || !strings.HasPrefix(name, "molteniron_")) {
			t.Errorf("the default of %s is for nothing, or not of the kit's names", name)
		}
	}
	for title := range sections {
		if template := regexp.MustCompile("^`[^`]*`$").MatchString(title); template && !found[title] {
			t.Errorf("README.md tells of template %s, which is not there", title)
		}
	}
}

// Every file, and no other; each script is used by a template.
func TestReadmeFiles(t *testing.T) {
	var want []string
	for _, pattern := range []string{"*.yaml", "shell/*", "vars/*", "examples/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, files...)
	}
	slices.Sort(want)
	if got := firstColumn(readme(t)["Files"]); !slices.Equal(want, got) {
		t.Errorf("the kit's files are %q, README.md tells of %q", want, got)
	}
	text, err := os.ReadFile(templates)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range want {
		if strings.HasPrefix(file, "shell/") && !strings.Contains(string(text), "!include-raw-escape: "+file+"\n") {
			t.Errorf("no template takes %s by !include-raw-escape, which all versions of Job Builder leave as it is", file)
		}
	}
}

// Every kind of thing in a rendered job that a plugin brings has that plugin in the README's table.
func TestReadmePlugins(t *testing.T) {
	section := readme(t)["Plugins"]
	plugins := map[string]string{
		"org.jenkinsci.plugins.postbuildscript.": "PostBuildScript", "hudson.plugins.build__timeout.": "Build Timeout",
		"org.jenkinsci.plugins.credentialsbinding.": "Credentials Binding", "hudson.plugins.timestamper.": "Timestamper",
		"hudson.plugins.parameterizedtrigger.": "Parameterized Trigger", "hudson.matrix.": "Matrix Project", "htmlpublisher.": "HTML Publisher",
	}
	core := regexp.MustCompile(`^(hudson\.(model|tasks|triggers|scm)|jenkins\.model)\.`)
	theirs := regexp.MustCompile(`^(hudson\.plugins\.(git|ws__cleanup)\.|com\.sonyericsson\.)`) // the examples' own choice
	for name, paths := range projects(t) {
		for job, text := range distribution(t).render(t, paths...) {
			for _, class := range regexp.MustCompile(`<([a-z]+\.[A-Za-z_.]+)`).FindAllStringSubmatch(text, -1) {
				if core.MatchString(class[1]) || theirs.MatchString(class[1]) {
					continue
				}
				known := false
				for prefix, plugin := range plugins {
					known = known || strings.HasPrefix(class[1], prefix) && strings.Contains(section, "| "+plugin+" |")
				}
				if !known {
					t.Errorf("%s of %s has %s; README.md names no plugin for it", job, name, class[1])
				}
			}
		}
	}
}
