package hook

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
	"github.com/molteniron/molteniron/pkg/stage"
)

// undoTime is what Prepare takes to give back what it got: Jenkins starts the post-hook 5 s after it
// asked all processes of a build to end, and a hook is to be gone in 2 s.
const undoTime = 1500 * time.Millisecond

// Request is what Prepare is asked for. Zero values are the defaults.
type Request struct {
	Owner    string // "" is the build, by the environment
	Slot     string
	Pool     string
	Groups   []pool.Group
	Priority int
	Wait     time.Duration // in the queue; the build's time limit caps it; 0 is not at all
	Lease    time.Duration // 0 is the pool's; a build with a time limit gets that and half an hour at least
	EnvFile  string        // "" is beside the workspace, "-" is Stdout
	JSONFile string        // "" is none
	Forms                  // further files
	Adopt    string        // env file of the allocation to take over; then nothing is asked of the pool

	Enqueue    bool   // leave a ticket in TicketFile that lives for Wait, instead of waiting; no other file is written
	TicketFile string // where
	Ticket     string // a ticket file: take that ticket up; the request is the ticket's
}

// prepare is one run of Prepare.
type prepare struct {
	Process
	Request
	owner      string
	leastLease time.Duration // what the build's time limit asks for
	adopted    secret.Text   // the token of what is taken over
	taken      secret.Text   // the token of the ticket that is taken up
	console    *console
	db         *pool.DB
}

// Prepare checks nodes out for a build and writes its files; it blocks for at most the wait and what
// the database takes. The files are there, and the lease runs, exactly when it returns nil.
//
// When ctx ends, when Stderr or Stdout can no longer be written, or when a file cannot, what was done
// is undone within 1.5 s; the error then says why, and what could not be undone, with until when that
// stays. A cause of ctx is found in it by errors.Is. Other errors are those of package pool: ErrQueued when
// a ticket is left, or not taken up, that is not granted yet.
func Prepare(ctx context.Context, p Process, r Request) error {
	run := &prepare{Process: p, Request: r}
	if err := run.resolve(); err != nil {
		return err
	}
	if err := run.clearStale(); err != nil {
		return err
	}
	db, err := p.Open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	run.db = db

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	run.console = p.newConsole(func(err error) { cancel(lost(err)) })
	defer run.console.close()
	p.replayFor(ctx, replayBefore, db, run.console)
	switch {
	case r.Adopt != "":
		return run.adopt(ctx)
	case r.Enqueue:
		return run.enqueue(ctx)
	}
	return run.allocate(ctx)
}

// lost is why Prepare stops when nobody can read what it writes: the build is dead.
func lost(err error) error {
	return fmt.Errorf("nobody reads this program's output any more: %w", err)
}

// resolve settles what the environment decides, and refuses what needs no database to be refused.
func (p *prepare) resolve() (err error) {
	if err := checkSlot(p.Slot); err != nil {
		return err
	}
	if p.owner, err = p.Process.owner(p.Request.Owner); err != nil {
		return err
	}
	if err := p.resolveTicket(); err != nil || p.Enqueue { // neither its wait nor its lease is this build's
		return err
	}
	if p.Adopt != "" {
		id, err := identify(p.Adopt)
		switch {
		case err != nil:
			return invalid("--adopt: %w", err)
		case id.Owner != p.owner || id.Token.IsZero():
			return invalid("--adopt %s: the file is from a checkout of %q, not of %q", p.Adopt, id.Owner, p.owner)
		}
		p.adopted = id.Token
	}
	if p.EnvFile == "" {
		p.EnvFile = p.Process.envFile(p.Slot)
	}
	if p.EnvFile == "-" && p.jenkins() {
		return invalid("--env-file -: refused in a Jenkins build, because the passwords would be in its console log; leave --env-file away, the file is then %s",
			p.Process.envFile(p.Slot))
	}
	if err := p.checkForms(); err != nil {
		return err
	}
	if limit := p.limit(); limit > 0 {
		p.Wait = min(p.Wait, limit)
		p.leastLease = (limit + leaseMargin + time.Second - 1).Truncate(time.Second)
	}
	return nil
}

// files lists the files to be written whole, the env file last: who finds it finds the others.
func (p *prepare) files() []string {
	var paths []string
	for _, f := range p.forms() {
		if f.write != nil {
			paths = append(paths, f.path)
		}
	}
	if p.EnvFile != "-" || len(p.forms()) > 0 {
		paths = append(paths, p.base())
	}
	return paths
}

// clearStale makes sure, before anything can fail, that the build will not read another build's file:
// those are removed. A file that no pre-hook wrote is not ours to remove or replace.
func (p *prepare) clearStale() error {
	if p.Enqueue {
		return p.checkTicketFile()
	}
	paths, flags := p.places()
	for _, path := range paths {
		if _, err := identify(path); errors.Is(err, errForeign) {
			return invalid("%w; remove it, or name another file", err)
		}
	}
	others := func(id identity) bool { return id.Owner != p.owner }
	for _, path := range p.files() {
		if err := remove(others, path); err != nil {
			return fmt.Errorf("a file of an earlier build may be in the way: %w; remove it, or name another place", err)
		}
	}
	for _, f := range p.forms() {
		if f.edit == nil {
			continue
		}
		if err := f.checkEdited(); err != nil {
			return err
		}
		paths, flags = append(paths, f.path), append(flags, f.flag)
	}
	return p.checkFolders(paths, flags)
}

// checkFolders makes sure that the files to be written can be, which is better told now than after an hour in
// the queue, and that no dead process's files with passwords lie beside them.
func (p *prepare) checkFolders(paths, flags []string) error {
	seen := map[string]bool{}
	for i, path := range paths {
		folder := filepath.Dir(path)
		if seen[folder] {
			continue
		}
		seen[folder] = true
		if err := p.checkFolder(path, flags[i]); err != nil {
			return err
		}
		sweep(func(identity) bool { return false }, folder)
	}
	return nil
}

func (p *prepare) checkFolder(path, flag string) error {
	err := stage.Check(path, p.makes(path))
	if err == nil {
		return nil
	}
	folder := filepath.Dir(path)
	if _, missing := os.Stat(folder); errors.Is(missing, fs.ErrNotExist) && !p.makes(path) {
		return fmt.Errorf("no folder for %s: %w; make it with: mkdir -p %s", path, missing, folder)
	}
	return fmt.Errorf("%w; nothing was asked for; mend that, or name another place with --%s", err, flag)
}

// clearOwn removes what an earlier allocation of this owner left: the ticket is accepted, so that one
// is over. Who was refused leaves it, because it is another process's, which may be at work.
func (p *prepare) clearOwn() {
	mine := func(id identity) bool { return id.Owner == p.owner }
	_ = remove(mine, p.files()...) // what stays is replaced, or that fails
}

func (p *prepare) allocate(ctx context.Context) error {
	if err := p.stretchLease(ctx); err != nil {
		return err
	}
	accepted := sync.OnceFunc(func() {
		p.clearOwn()
		p.dropTicket()
	})
	a, err := p.db.Allocate(ctx, p.request(), pool.AllocateOptions{
		Wait: p.Wait, Ticket: p.taken,
		Progress: func(at pool.Position) {
			accepted()
			p.console.progress(at)
		},
	})
	if err == nil || errors.Is(err, pool.ErrNoNode) {
		accepted()
	}
	if err != nil {
		return ended(ctx, err)
	}
	return p.hand(ctx, a, func() error {
		a.State = pool.Claimed // it may be, whatever error we get
		claimed, err := p.db.Claim(ctx, a.Token)
		if err == nil {
			a.ExpiresAt = claimed.ExpiresAt
		}
		return err
	})
}

// stretchLease makes the lease outlast the build's time limit.
func (p *prepare) stretchLease(ctx context.Context) error {
	if p.Ticket != "" { // it has its own, which this makes longer
		p.Lease = p.leastLease
		return nil
	}
	if p.leastLease == 0 {
		return nil
	}
	if p.Lease == 0 {
		info, err := p.db.Pool(ctx, p.Pool)
		if err != nil {
			return ended(ctx, err)
		}
		p.Lease = info.Policy.Lease
	}
	p.Lease = max(p.Lease, p.leastLease)
	return nil
}

// ended gives an error under a context that was ended its cause, which a call that was cut off may
// have lost.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	if errors.Is(err, context.Canceled) && err.Error() == context.Canceled.Error() {
		return cause
	}
	return fmt.Errorf("%w: %w", cause, err)
}

// adopt takes over what the build holds already and writes the files anew.
func (p *prepare) adopt(ctx context.Context) error {
	a, err := p.db.Adopt(ctx, p.adopted, p.owner, p.Slot)
	if err != nil {
		return ended(ctx, err)
	}
	return p.hand(ctx, a, func() error { return nil })
}
