package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// undoLimit is how long the undo may take after the first signal. Jenkins waits 5 s for all the
// processes of a build together and then starts the post-hook beside whoever is left, so a program
// must be gone within 2 s; the rest is for the exit itself.
const undoLimit = 1800 * time.Millisecond

// NotifySignals gives a context that the first HUP, INT or TERM cancels with a *SignalError as its
// cause. What follows that signal is the undo: a second signal does not cut it short, and 1.8 s later
// the process exits with the signal's status whatever it is doing, after one line on stderr that says
// so. A broken pipe on stdout or stderr is from now on an error of the write, so that what was done
// can be undone, and no death by SIGPIPE.
//
// A signal that the caller was started with ignored (nohup, a shell's background job) stays ignored.
// stop ends the watch and the limit; call it when the program's work is done and only the exit is
// left. Signals that come later are swallowed.
func NotifySignals(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	// A handler, unlike signal.Ignore, is not inherited by the programs we start.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)

	done := make(chan struct{})
	go func() {
		var first *SignalError
		select {
		case <-done:
			return
		case s := <-signals:
			first = &SignalError{s.(syscall.Signal)}
		}
		cancel(first)
		limit := time.NewTimer(undoLimit)
		defer limit.Stop()
		select {
		case <-done:
		case <-limit.C:
			fmt.Fprintf(os.Stderr, "%s, and the undo took longer than %s: what was allocated may stay so until its heartbeat or lease ends\n", first, undoLimit)
			os.Exit(ExitCode(first)) //nolint:forbidigo // what main waits for hangs
		}
	}()
	return ctx, sync.OnceFunc(func() {
		// The handlers stay: a signal still on its way here would find the default action, and kill a
		// program whose undo has ended and whose exit status is decided.
		close(done)
		cancel(nil)
	})
}
