package jenkins_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/molteniron/molteniron/pkg/pool"
)

// stubs stand for what the example calls: a DevStack that reads its settings and traces all of them, as the
// real one does, and a Tempest. What DevStack makes of the files is for package devstack to know.
var stubs = map[string]string{
	"git": `#!/bin/bash -e
for folder; do :; done # the last word
mkdir "$(basename "$folder")"
cat >"$(basename "$folder")/stack.sh" <<'END'
#!/bin/bash -e
[ -z "$BUILD_TIMEOUT" ]
. <(sed '1d; /^enable_\|^disable_/d' local.conf)
mkdir -p "$(dirname "$LOGFILE")"
exec >>"$LOGFILE" 2>&1
set -x
[ "$IRONIC_HW_NODE_RAM" -gt 0 ]
while read -r line; do echo "Processing $line"; done <"$IRONIC_HWINFO_FILE"
END
chmod +x "$(basename "$folder")/stack.sh"
`,
	"rm":   "#!/bin/sh\n[ \"$*\" != '-rf published' ] || [ ! -e \"$DEST/stuck\" ] || exit 1\nexec /bin/rm \"$@\"\n",
	"sudo": "#!/bin/sh\nhardware=$(cat \"$WORKSPACE_TMP/hardware_info\")\necho \"conductor: $hardware\"\n",
	"tox":  "#!/bin/sh\n[ ! -e \"$DEST/stuck\" ] || mkdir \"$WORKSPACE/published\"\n[ ! -e spoil ] || seq 1000 | gzip | head -c 60 >\"$WORKSPACE/logs/cut.gz\"\n",
}

// The example for Ironic's third-party CI: DevStack finds the machine's address, credentials and size, and
// what it traces of them is not in the logs that are archived. Where it may be, no logs are.
func TestDevStackExample(t *testing.T) {
	j := read(t, macros, templates, "examples/devstack.yaml")["ironic-ipmi"]
	onEach(t, 1, func(t *testing.T, l *lab) {
		s := l.scene(jenkinsURL)
		l.ctl("pool", "add", "ironic")
		l.ctl("set", "node-1", "pool=ironic", "ram_mb=4096", "cpus=8", "disk_gb=100", "mac=52:54:00:00:00:01")
		for name, text := range stubs {
			if err := os.Chmod(l.write("bin/"+name, text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		l.write("dest/tempest/tox.ini", "")
		s.jenkins.Credential("molteniron-database", l.password)
		if err := s.jenkins.AddJob("ironic", j); err != nil {
			t.Fatal(err)
		}
		// A password that DevStack's loop can carry.
		l.ctl("set", "node-1", "--bmc-password-file", l.write("password", l.mark))
		s.addAgent("devstack-1", "devstack", 1)

		b := s.jenkins.Build("ironic", nil)
		s.wants(b, "SUCCESS", 0, 0, 0, 0)
		archived := filepath.Join(b.Folder(), "archive/published")
		for name, want := range map[string]string{
			"stack.sh.log": "Processing 192.0.2.1 52:54:00:00:00:01 admin ", "devstack.txt.gz": "conductor: 192.0.2.1 ", "local.conf.txt": "IRONIC_HW_NODE_RAM=4096",
		} {
			text, err := os.ReadFile(filepath.Join(archived, name))
			if err == nil && strings.HasSuffix(name, ".gz") {
				var r *gzip.Reader
				if r, err = gzip.NewReader(bytes.NewReader(text)); err == nil {
					text, err = io.ReadAll(r)
				}
			}
			if err != nil || !strings.Contains(string(text), want) || l.leaks(string(text)) {
				t.Errorf("%s: %v\n%s", name, err, text)
			}
		}
		if a := l.of(b.URL()); len(a) != 1 || a[0].State != pool.Ended || !l.home() {
			t.Errorf("after the build: %+v\n%s", a, l.ctl("status"))
		}
		l.write("dest/tempest/spoil", "")
		b = s.jenkins.Build("ironic", nil)
		s.wants(b, "FAILURE", 0, 0, 0, 1)
		if _, err := os.Stat(filepath.Join(b.Folder(), "archive")); !os.IsNotExist(err) || !l.home() {
			t.Errorf("logs that may show a password are published: %v\n%s", err, b.Raw())
		}
		if err := os.Remove(filepath.Join(l.folder, "dest/tempest/spoil")); err != nil {
			t.Fatal(err)
		}
		// What an earlier build has left and root owns cannot be removed: that keeps no machine from coming back.
		l.write("dest/stuck", "")
		b = s.jenkins.Build("ironic", nil)
		s.wants(b, "FAILURE", 0, 0, 0, 1)
		if _, err := os.Stat(filepath.Join(b.Folder(), "archive")); !os.IsNotExist(err) || !l.home() {
			t.Errorf("logs are published among an earlier build's, or not all is home: %v\n%s", err, b.Raw())
		}
		s.tidy()
		s.private()
	})
}
