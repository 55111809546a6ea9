package pool

import (
	"bufio"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// sqliteBusyMillis is how long one BEGIN waits for another writer before it is repeated from outside,
// where the context and the patience are looked at.
const sqliteBusyMillis = "5000"

// sqliteDSN opens read-write and never creates: only Init makes the file. Everything is a pragma of the
// DSN, because each connection of the pool needs it.
func sqliteDSN(path string) string {
	v := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(" + sqliteBusyMillis + ")",
		"journal_mode(WAL)",
		"synchronous(FULL)", // a grant survives a power cut
		"foreign_keys(1)",
	}}
	escaped := (&url.URL{Path: path}).EscapedPath()
	return "file:" + escaped + "?" + v.Encode()
}

// sqliteTrouble says what is wrong with a file that SQLite cannot open or write, and what to do about it. SQLite's
// own words are "unable to open database file" and "disk I/O error", also for a disk that is read-only or full,
// because beside the file it writes two more: so it is looked at from outside.
func sqliteTrouble(path string, class class) (trouble, mend string) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return "is a folder", "name a file in it"
	}
	folder := filepath.Dir(path)
	for _, place := range []string{path, folder} {
		switch err := unix.Access(place, unix.W_OK); {
		case errors.Is(err, unix.EROFS):
			return "is on a file system that is read-only", "mount it for writing, see: findmnt -T " + folder
		case errors.Is(err, unix.EACCES):
			return "cannot be written by this user", "who needs the right to write " + place + ", see: ls -ld " + place
		}
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(folder, &disk); class == classFull || err == nil && disk.Bavail == 0 {
		return "is on a disk that is full", "make room, see: df -h " + folder
	}
	if class == classReadOnly {
		return "is read-only", "see: lsattr -d " + path
	}
	return "does not answer", "see: ls -la " + folder
}

// networkFileSystems do not give SQLite the locks and the shared memory that WAL needs between machines.
var networkFileSystems = []string{
	"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "9p", "lustre", "gpfs", "beegfs", "glusterfs", "ocfs2", "gfs2",
	"orangefs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.s3fs", "fuse.rclone", "fuse.davfs", "davfs",
}

// checkLocal refuses a path on a network file system, by Linux' mount table; where that cannot be read
// nothing is refused.
func checkLocal(path string) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	dir, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	for { // the file may not exist yet, nor its folder
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	if kind := fileSystemOf(f, dir); kind != "" {
		for _, n := range networkFileSystems {
			if kind == n {
				return fail(ErrInvalid, "database sqlite:%s lies on a network file system (%s), where SQLite loses data; use a local folder or a MySQL or MariaDB server", path, kind)
			}
		}
	}
	return nil
}

// fileSystemOf finds the type of the mount that holds path in the form of proc_pid_mountinfo(5):
// the fifth field is the mount point, the type follows the field "-".
func fileSystemOf(mountinfo io.Reader, path string) string {
	kind, longest := "", -1
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 7 {
			continue
		}
		point := unescapeMount(fields[4])
		if point != "/" && path != point && !strings.HasPrefix(path, point+"/") {
			continue
		}
		for i := 6; i < len(fields)-1; i++ {
			if fields[i] == "-" && len(point) >= longest { // a later mount hides an earlier one
				kind, longest = fields[i+1], len(point)
				break
			}
		}
	}
	return kind
}

// unescapeMount undoes the octal escapes of blanks in mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
