package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
)

// success is the one result of a build that leaves nothing to look at.
const success = "SUCCESS"

// hold is for how long a post-mortem is wanted, 0 for none.
func (r Return) hold() time.Duration {
	if r.Result == "" || r.Result == success {
		return 0
	}
	return r.HoldOnFailure
}

// holdReason is what everybody reads of a hold that a post-hook asked for.
func holdReason(result string) string { return "the build ended with " + result }

// holdFailed keeps what a failed build has for a post-mortem, says who has it until when, and gives the ids
// of what is kept. What the pool does not allow to be held is left to be given back, and said.
func (p Process) holdFailed(ctx context.Context, db *pool.DB, owner string, r Return) (kept []int64, err error) {
	if r.HoldOnFailure == 0 || r.Result == success {
		return nil, nil
	}
	c := p.newConsole(func(error) {}) // nobody need hear it
	defer c.close()
	if r.Result == "" {
		_ = c.say(ctx, slog.LevelWarn, "nothing is held for a post-mortem, because the build's result is not known: "+
			"say it with --result, or run this where BUILD_RESULT is set, as PostBuildScript does")
		return nil, nil
	}
	list, err := db.Allocations(ctx, pool.AllocationFilter{Owner: owner, Slot: r.Slot, States: []pool.State{pool.Claimed}})
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		held, err := db.Hold(ctx, pool.HoldRequest{
			Owner: owner, Slot: a.Slot, For: r.HoldOnFailure, Reason: holdReason(r.Result), Result: r.Result, Over: true,
		})
		switch {
		case errors.Is(err, pool.ErrConflict) || errors.Is(err, pool.ErrNotFound):
			_ = c.say(ctx, slog.LevelWarn, "%s not held for a post-mortem: %v", strings.Join(a.NodeNames(), ", "), err)
		case err != nil:
			return kept, err
		default:
			kept = append(kept, held.ID)
			_ = c.say(ctx, slog.LevelInfo, "%s", heldWords(held))
		}
	}
	return kept, nil
}

// heldWords says who holds what until when, how a person reaches it, whom the build's files do not wait for, and
// how to end it.
func heldWords(a *pool.Allocation) string {
	text := fmt.Sprintf("%s held for a post-mortem by %q until %s (allocation %d: %s); "+
		"look at it with: moltenironctl get --owner %q name bmc_address bmc_user bmc_password --with-credentials; give back with: moltenironctl release --owner %q",
		strings.Join(a.NodeNames(), ", "), a.Owner, a.ExpiresAt.UTC().Format(time.RFC3339), a.ID, a.HoldReason, a.Owner, a.Owner)
	if a.Slot != "" {
		text += " --slot " + a.Slot
	}
	return text
}
