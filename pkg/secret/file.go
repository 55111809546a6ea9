package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxFile bounds what is read from a file that should hold one short secret (a token, a key with its
// comment), so that a wrong path ends in a clear error and not in a full memory. In bytes.
const maxFile = 64 << 10

// ReadFile reads a secret from the file at path, following links; one newline at its end (LF or CR LF)
// is taken off, because editors put it there. The warning is "" unless others can read the file. An
// error names the path and never the contents.
func ReadFile(path string) (t Text, warning string, err error) {
	data, warning, err := readFile(path)
	if err != nil {
		return Text{}, "", err
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return Text{}, "", fmt.Errorf("%s: holds a NUL byte, which is no text", path)
	}
	s := string(data)
	if rest, ok := strings.CutSuffix(s, "\n"); ok {
		s = strings.TrimSuffix(rest, "\r")
	}
	return New(s), warning, nil
}

func readFile(path string) (data []byte, warning string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", plainer(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, "", plainer(path, err)
	}
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, "", plainer(path, err)
	}
	if len(data) > maxFile {
		return nil, "", fmt.Errorf("%s: longer than %d KiB, which is no secret", path, maxFile>>10)
	}
	return data, Exposed(path, info), nil
}

// plainer names the path first and once.
func plainer(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Exposed is the warning for a file that holds a secret and that everybody on the machine can read or
// write; "" when only its user and group can. The group is left alone: a file of root's that the group
// jenkins reads is how hooks get theirs.
func Exposed(path string, info fs.FileInfo) string {
	const others = 0o006
	if !info.Mode().IsRegular() || info.Mode().Perm()&others == 0 {
		return ""
	}
	what := "read"
	if info.Mode().Perm()&0o004 == 0 {
		what = "write"
	}
	return fmt.Sprintf("%s holds a secret and everybody on this machine can %s it; type: chmod o= %s", path, what, shellWord(path))
}

// shellWord quotes a path for a command that a person copies.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-@%:,=") == "" && s[0] != '-' {
		return s
	}
	if strings.HasPrefix(s, "-") {
		s = "./" + s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
