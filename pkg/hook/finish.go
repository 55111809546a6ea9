package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/outbox"
	"github.com/molteniron/molteniron/pkg/pool"
)

// finishTime is the most that Finish takes: no time limit of Jenkins covers a post-build step, and one
// that hangs keeps its executor.
const finishTime = 60 * time.Second

// Return is what Finish is asked for. Zero values are the defaults.
type Return struct {
	Owner   string  // "" is the build, by the environment
	Slot    *string // nil is all slots
	EnvFile string  // "" is beside the workspace; it need not exist
	Result  string  // of the build; "" is BUILD_RESULT of the environment
	Dirty   bool    // the nodes need cleaning before their next build

	Scrub []string // folders of logs, in which the passwords that the build was given are blanked

	HoldOnFailure time.Duration // keep the nodes for so long, for a post-mortem, when the result is not SUCCESS; 0 is not at all
}

// Finish gives back all that a build holds and removes the files that Prepare wrote for it. It may be
// called at any time, also twice, before Prepare and beside it: finding nothing is no error. A Prepare that
// began before it and is still on its way gets nothing any more (with r.Slot, only where nothing was found).
// What was taken back before is a *pool.TakenBackError, which names the present holders; the files are removed
// then too.
//
// A release that the database does not take is kept in the outbox (Process.Outbox), when one is there; the
// error says so and has the class that it would have without, and the files are removed. What waits in the
// outbox is made first.
//
// When that is done, whatever became of it, the passwords that the build was given are blanked in the
// folders that r.Scrub names. An error of that has no class, whatever else went wrong: who publishes the logs
// tells by it that a password may be left in them.
//
// It blocks for at most 60 s (and ten minutes more for what it scrubs), and for 1.5 s from the moment when
// ctx ends: a second abort of the build must not keep the nodes. Errors are those of package pool.
func Finish(ctx context.Context, p Process, r Return) error {
	if r.Slot != nil {
		if err := checkSlot(*r.Slot); err != nil {
			return err
		}
	}
	owner, err := p.owner(r.Owner)
	if err != nil {
		return err
	}
	if r.Result == "" {
		r.Result = p.Getenv("BUILD_RESULT")
	}
	r.Result = strings.ToUpper(r.Result)
	if r.HoldOnFailure < 0 || r.HoldOnFailure%time.Second != 0 {
		return invalid("a hold of %s: give whole seconds, as in 90s, 30m or 2h", r.HoldOnFailure)
	}
	mine := func(id identity) bool { return id.Owner == owner && (r.Slot == nil || id.Slot == *r.Slot) }
	if len(r.Scrub) == 0 {
		return p.finish(ctx, owner, r, mine, nil)
	}
	given := new(secrets)
	given.files(mine, p.envFiles(r))
	err = p.finish(ctx, owner, r, mine, given)
	left := p.scrub(ctx, r.Scrub, given)
	if left == nil || err == nil {
		return errors.Join(err, left)
	}
	return fmt.Errorf("%w\n%v", left, err)
}

// finish gives back what the owner has and removes its files. Into given, unless it is nil, it puts the
// passwords that the build had.
func (p Process) finish(ctx context.Context, owner string, r Return, mine func(identity) bool, given *secrets) error {
	asked := time.Now()
	tokens := known(mine, p.envFiles(r))
	work, cancel := lasting(ctx)
	defer cancel()

	done, err := p.release(ctx, work, owner, r, given)
	if err != nil && !errors.Is(err, pool.ErrConflict) {
		err = ended(work, err)
		switch {
		case !done.opened && len(tokens) > 0, errors.Is(err, pool.ErrUnreachable), work.Err() != nil:
		default:
			return err // the files stay: whoever tries again may need them
		}
		kept, err := p.keep(err, outbox.Release{
			Owner: owner, Slot: r.Slot, Tokens: tokens, Asked: asked, Result: r.Result, Dirty: r.Dirty, Hold: r.hold(),
		})
		if !kept {
			return err
		}
		return errors.Join(err, p.tidy(mine, r))
	}
	err = errors.Join(err, p.tidy(mine, r))
	if len(done.released) > 0 || done.held == 0 && !errors.Is(err, pool.ErrConflict) { // which tells more than that nothing was there
		p.tell(work, owner, done.released)
	}
	return err
}

// tidy removes the files that Prepare wrote for the build.
func (p Process) tidy(mine func(identity) bool, r Return) error {
	// The temporary files go first: a pre-hook that has claimed what was just released, and is about to
	// give its files their names, then fails to; one that was quicker has made them what we look for next.
	sweep(mine, p.folders(r)...)
	if left := remove(mine, p.envFiles(r)...); left != nil {
		return fmt.Errorf("not all that was written for the build could be removed, and it may hold passwords: %w", left)
	}
	return nil
}

// abortTime is what the database gets once the build was aborted; the rest of undoTime is for keeping the
// release when that was too little.
const abortTime = undoTime - 300*time.Millisecond

// lasting gives a context that ends after finishTime, or a little after ctx did, with its cause.
func lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	timed, cancelTime := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	work, cancel := context.WithCancelCause(timed)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(abortTime):
			cancel(context.Cause(ctx))
		case <-work.Done():
		}
	})
	return work, func() {
		stop()
		cancel(nil)
		cancelTime()
	}
}

// outcome is how far a release came.
type outcome struct {
	opened   bool // the database answered at first
	held     int  // allocations that are kept for a post-mortem
	released []pool.Released
}

// release gives back what an owner has, but for the allocations that it keeps for a post-mortem. Before
// that it makes what waits in the outbox, which may be this owner's; that ends with ctx, the rest with work.
func (p Process) release(ctx, work context.Context, owner string, r Return, given *secrets) (o outcome, err error) {
	db, err := p.Open(work)
	if err != nil {
		return o, err
	}
	defer db.Close()
	o.opened = true
	if given != nil {
		given.database(work, db, owner)
	}
	c := p.newConsole(func(error) {})
	defer c.close()
	p.replayFor(ctx, replayAfter, db, c)
	held, err := p.holdFailed(work, db, owner, r)
	if err != nil {
		return o, err
	}
	o.held = len(held)
	o.released, err = db.Release(work, pool.ReleaseRequest{
		Owner: owner, Slot: r.Slot, Result: r.Result, Dirty: r.Dirty, Except: held, CloseOwner: true,
	})
	return o, err
}

// envFiles lists where the build's env files may be, by r, else all that lie where Prepare puts them.
func (p Process) envFiles(r Return) []string {
	switch {
	case r.EnvFile != "" && r.EnvFile != "-": // with that, the list of the other files is where it would be
		return []string{r.EnvFile}
	case r.Slot != nil:
		return []string{p.envFile(*r.Slot)}
	}
	entries, _ := os.ReadDir(p.envFolder()) // a folder that is not there holds no file
	var paths []string
	for _, e := range entries {
		// By its manifest too, when the build has removed the env file itself.
		name := strings.TrimSuffix(e.Name(), manifestSuffix)
		if _, ok := slotOf(name); ok {
			paths = append(paths, filepath.Join(p.envFolder(), name))
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// folders lists where Prepare writes files, by r, by itself and by the manifests that are there.
func (p Process) folders(r Return) []string {
	list := []string{p.envFolder()}
	if r.EnvFile != "" && r.EnvFile != "-" && filepath.Dir(r.EnvFile) != list[0] {
		list = append(list, filepath.Dir(r.EnvFile))
	}
	for _, path := range p.envFiles(r) { // of whoever they are: only temporary files of this build's are removed
		if id, err := identify(path + manifestSuffix); err == nil {
			list = append(list, id.folders()...)
		}
	}
	return list
}

// tell says what was given back. Nobody need hear it: an error of the write changes nothing.
func (p Process) tell(ctx context.Context, owner string, released []pool.Released) {
	c := p.newConsole(func(error) {})
	defer c.close()
	say := func(format string, args ...any) { _ = c.say(ctx, slog.LevelInfo, format, args...) }
	if len(released) == 0 {
		say("nothing to give back for %q", owner)
	}
	for _, r := range released {
		a := r.Allocation
		switch {
		case r.Again:
			say("allocation %d was given back before", a.ID)
		case len(a.Nodes) == 0:
			say("allocation %d left the queue", a.ID)
		default:
			say("%s given back (allocation %d)", strings.Join(a.NodeNames(), ", "), a.ID)
		}
	}
}
