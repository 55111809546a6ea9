// Package hook is what a build does with the pool: Prepare checks nodes out before its tests and
// writes the files that the build reads, Finish checks them in again after them. The two programs
// molten-prehook and molten-posthook add flags, signals and exit statuses, and nothing else.
//
// A build can end at any moment: aborted, its agent lost, its controller gone. So whatever Prepare has
// done is undone when it cannot be finished, in a time of its own that is shorter than Jenkins'
// patience (2 s), and Finish needs nothing that Prepare left behind: the owner, which both take from
// the same environment, is enough.
//
// No secret is printed, in no case.
package hook

import (
	"context"
	"io"
	"log/slog"

	"github.com/molteniron/molteniron/pkg/pool"
)

// Process is what surrounds a hook: the environment of the build, the streams, and the way to the
// database.
type Process struct {
	Program string                                  // is named in hints
	Getenv  func(string) string                     // "" for what is not set
	Stdout  io.Writer                               // for the env file alone, when it is "-"
	Stderr  io.Writer                               // progress, one record each
	Log     func(io.Writer) *slog.Logger            // the form of those records
	Open    func(context.Context) (*pool.DB, error) // called at most once, after what needs no database
	// Database is the URL that Open opens.
	Database func() (string, error)
	// Outbox lists the folders for releases that cannot reach the database: the first that can be written
	// is for new ones, and what waits in any is made when the database answers. None is no outbox.
	Outbox []string
	// Controller names this Jenkins in owners when it does not know its own URL; "" when nobody said.
	Controller string
}
