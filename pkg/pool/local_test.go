package pool

import (
	"slices"
	"strings"
	"testing"
)

// mounts are lines of proc_pid_mountinfo(5), with a blank in a mount point, optional fields, and a mount over another.
const mounts = `22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:25 / /srv rw,relatime shared:5 master:2 - nfs4 nas:/srv rw,vers=4.2
31 30 259:3 /x /srv/local rw,relatime - xfs /dev/sdb rw
32 22 0:26 / /mnt/two\040words rw - fuse.sshfs me@host:/ rw
33 22 0:27 / /over rw - ext4 /dev/sdc rw
34 22 0:28 / /over rw - cifs //nas/over rw
a line that is none
`

func TestFileSystemOf(t *testing.T) {
	for path, want := range map[string]string{
		"/":                        "ext4",
		"/var/lib/molteniron":      "ext4",
		"/srv":                     "nfs4",
		"/srv/pool.db":             "nfs4",
		"/srvx/pool.db":            "ext4",
		"/srv/local/pool.db":       "xfs",
		"/mnt/two words/a/pool.db": "fuse.sshfs",
		"/over/pool.db":            "cifs",
	} {
		got := fileSystemOf(strings.NewReader(mounts), path)
		if got != want {
			t.Errorf("%s lies on %q, want %q", path, got, want)
		}
		if far := want != "ext4" && want != "xfs"; slices.Contains(networkFileSystems, got) != far {
			t.Errorf("%s on %q counts as a network file system: %v", path, got, !far)
		}
	}
}
