package envfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// ErrForeign says that a file is not an env file of MoltenIron at all: nobody may remove it or write
// over it because of what it says.
var ErrForeign = errors.New("not an env file of molten-prehook")

// File is what an env file says.
type File struct {
	Owner      string
	Slot       string
	Allocation int64
	Token      secret.Text
	Pool       string
	ExpiresAt  time.Time // zero when the file does not say
	Nodes      []string  // names
	// Vars are all variables that the file sets, by name. They are exported and of a type that hides
	// itself, so that printing a File shows no secret.
	Vars map[string]secret.Text
}

// ReadFile reads the env file at path. It follows no symbolic link at its end and reads regular files
// only, so that nobody can make a hook wait or read elsewhere. A missing file is fs.ErrNotExist, one
// of somebody else ErrForeign; every error names the path, and none shows a value.
func ReadFile(path string) (File, error) {
	// O_NONBLOCK: opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return File{}, fmt.Errorf("env file %s: %w: it is a symbolic link", path, ErrForeign)
	}
	if err != nil {
		return File{}, fmt.Errorf("env file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return File{}, fmt.Errorf("env file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return File{}, fmt.Errorf("env file %s: %w: it is no regular file", path, ErrForeign)
	}
	file, err := Parse(f)
	if err != nil {
		return File{}, fmt.Errorf("env file %s: %w", path, err)
	}
	return file, nil
}

// Parse reads back what Write writes, and only that; it executes nothing and reads at most MaxSize
// bytes. Content without the first line of the form is ErrForeign, anything else that is wrong names
// the line. No error shows a value.
func Parse(r io.Reader) (File, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return File{}, err
	}
	if !bytes.HasPrefix(text, []byte(mark)) {
		return File{}, ErrForeign
	}
	if len(text) > MaxSize {
		return File{}, fmt.Errorf("larger than %d bytes", MaxSize)
	}
	p := parser{rest: string(text), line: 1, vars: map[string]secret.Text{}}
	if err := p.file(); err != nil {
		return File{}, fmt.Errorf("line %d: %w", p.line, err)
	}
	return p.meaning()
}

type parser struct {
	rest string
	line int // of rest's first byte, from 1
	vars map[string]secret.Text
}

func (p *parser) file() error {
	p.take(mark)
	if !p.take(guard) {
		return errors.New("the guard against set -x is missing or was changed")
	}
	for p.take("unset -v ") {
		if _, err := p.name(); err != nil {
			return err
		}
		if !p.take("\n") {
			return errors.New("more than one name after unset -v")
		}
	}
	for !p.take(end) {
		if p.rest == "" || strings.HasPrefix(end, p.rest) {
			return errors.New("the file ends too early; it was cut off")
		}
		if err := p.assignment(); err != nil {
			return err
		}
	}
	if p.rest != "" {
		return errors.New("text after the end")
	}
	return nil
}

// take skips the literal if it comes next.
func (p *parser) take(literal string) bool {
	rest, ok := strings.CutPrefix(p.rest, literal)
	if ok {
		p.rest = rest
		p.line += strings.Count(literal, "\n")
	}
	return ok
}

// name reads a variable's name; it leaves what follows it.
func (p *parser) name() (string, error) {
	i := 0
	for i < len(p.rest) {
		c := p.rest[i]
		if (c < 'A' || c > 'Z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			break
		}
		i++
	}
	if i == 0 {
		return "", errors.New("here should be the name of a variable")
	}
	name := p.rest[:i]
	p.rest = p.rest[i:]
	return name, nil
}

func (p *parser) assignment() error {
	name, err := p.name()
	if err != nil {
		return err
	}
	if !p.take("='") {
		return fmt.Errorf("%s is not followed by a value in single quotes", name)
	}
	var value strings.Builder
	for {
		text, rest, closed := strings.Cut(p.rest, "'")
		if !closed {
			return fmt.Errorf("the value of %s has no end; the file was cut off", name)
		}
		if strings.IndexByte(text, 0) >= 0 {
			return fmt.Errorf("the value of %s holds a NUL byte", name)
		}
		value.WriteString(text)
		p.rest = rest
		p.line += strings.Count(text, "\n")
		if !p.take(`\''`) {
			break
		}
		value.WriteByte('\'')
	}
	if !p.take("\nexport " + name + "\n") {
		return fmt.Errorf("the value of %s is not followed by a line that exports it", name)
	}
	if _, again := p.vars[name]; again {
		return fmt.Errorf("%s is set a second time", name)
	}
	p.vars[name] = secret.New(value.String())
	return nil
}

// meaning takes the fields of File from the variables.
func (p *parser) meaning() (File, error) {
	f := File{Vars: p.vars, Token: p.vars["MOLTEN_TOKEN"]}
	for name, field := range map[string]*string{"MOLTEN_OWNER": &f.Owner, "MOLTEN_SLOT": &f.Slot, "MOLTEN_POOL": &f.Pool} {
		v, ok := p.vars[name]
		if !ok {
			return File{}, fmt.Errorf("it does not set %s", name)
		}
		*field = v.Reveal()
	}
	if f.Token.IsZero() {
		return File{}, errors.New("it does not set MOLTEN_TOKEN")
	}
	var err error
	if f.Allocation, err = strconv.ParseInt(p.vars["MOLTEN_ALLOCATION"].Reveal(), 10, 64); err != nil {
		return File{}, errors.New("MOLTEN_ALLOCATION is no number")
	}
	if v := p.vars["MOLTEN_EXPIRES_AT"].Reveal(); v != "" {
		if f.ExpiresAt, err = time.Parse(time.RFC3339, v); err != nil {
			return File{}, errors.New("MOLTEN_EXPIRES_AT is no RFC 3339 time")
		}
	}
	f.Nodes = strings.Fields(p.vars["MOLTEN_NODES"].Reveal())
	return f, nil
}
