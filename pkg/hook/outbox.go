package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/molteniron/molteniron/pkg/outbox"
	"github.com/molteniron/molteniron/pkg/pool"
)

// How long a hook makes the releases that earlier ones of its machine had to leave: little, because the
// build waits, and because whoever comes next goes on.
const (
	replayBefore = time.Second     // Prepare
	replayAfter  = 5 * time.Second // Finish
)

// known lists what the files of the build say that it holds, each by its token's key.
func known(mine func(identity) bool, paths []string) (keys []string) {
	seen := map[string]bool{}
	for _, path := range paths {
		for _, p := range []string{path, path + manifestSuffix} { // the build may have removed either
			id, err := identify(p)
			if err != nil || !mine(id) || id.Token.IsZero() {
				continue
			}
			if key := pool.TokenKey(id.Token); !seen[key] {
				seen[key] = true
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// keep leaves a release that the database did not take for whoever reaches it next. It returns why it
// could not be made, with where it is.
func (p Process) keep(why error, k outbox.Release) (kept bool, err error) {
	if len(p.Outbox) == 0 {
		return false, why
	}
	url, err := p.Database()
	var u pool.URL
	if err == nil {
		u, err = pool.ParseURL(url)
	}
	path := ""
	if err == nil {
		k.Database = u.Place()
		path, err = outbox.Keep(p.Outbox, k)
	}
	if err != nil {
		return false, fmt.Errorf("%w; the release could not be kept for later either: %v", why, err)
	}
	what := "the release is kept"
	if k.Hold > 0 {
		what = "the hold for a post-mortem is kept"
	}
	return true, fmt.Errorf("%w; %s in %s, and is made by the next hook on this machine or by: moltenironctl tend", why, what, path)
}

// replay makes the releases that wait for this database, and says through tell what became of each. It
// fails nobody: what cannot be made now waits on.
func (p Process) replay(ctx context.Context, db *pool.DB, tell func(kept)) outbox.Report {
	return outbox.Replay(ctx, p.Outbox, func(ctx context.Context, r outbox.Release) error {
		if r.Database != db.Place() {
			return outbox.ErrElsewhere
		}
		k := kept{Release: r}
		request := pool.KeptRelease{
			Owner: r.Owner, Slot: r.Slot, Tokens: r.Tokens, Asked: r.Asked, Result: r.Result, Dirty: r.Dirty,
			Hold: r.Hold, HoldReason: holdReason(r.Result),
		}
		var err error
		if k.held, k.refused, err = db.HoldKept(ctx, request); err == nil {
			for _, a := range k.held {
				request.Except = append(request.Except, a.ID)
			}
			k.released, err = db.ReleaseKept(ctx, request)
		}
		switch {
		case errors.Is(err, pool.ErrInvalid):
			return err
		case err != nil && !errors.Is(err, pool.ErrConflict):
			return fmt.Errorf("%w: %w", outbox.ErrLater, err)
		}
		k.lost = err
		tell(k)
		return nil
	})
}

// kept is a release that waited, and what became of it.
type kept struct {
	outbox.Release
	held     []pool.Allocation // for a post-mortem
	refused  []error           // why others are not
	released []pool.Released
	lost     error // what had been taken back before, a *pool.TakenBackError
}

// replayFor is replay within a hook: bounded, and with what was found said in the hook's own log.
func (p Process) replayFor(ctx context.Context, limit time.Duration, db *pool.DB, c *console) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	say := func(level slog.Level, format string, args ...any) { _ = c.say(ctx, level, format, args...) } // nobody need hear it
	report := p.replay(ctx, db, func(k kept) {
		level := slog.LevelInfo
		if k.lost != nil {
			level = slog.LevelWarn
		}
		for _, d := range k.deeds() {
			say(level, "%s", d.Text)
		}
	})
	for _, err := range append(report.Aside, report.Unread...) {
		say(slog.LevelWarn, "%v", err)
	}
}
