package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/envfile"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/stage"
)

// hand gives a granted allocation to the build: the files are written and synced under temporary names,
// claim makes the nodes the build's, and the files get their names. Whatever fails or interrupts that
// gives the nodes back.
func (p *prepare) hand(ctx context.Context, a *pool.Allocation, claim func() error) error {
	err := func() error {
		var stdout bytes.Buffer
		staged, err := p.stage(a, &stdout)
		if err != nil {
			return err
		}
		defer staged.Discard()
		if ctx.Err() != nil { // the claim must not race with what ended us
			return context.Cause(ctx)
		}
		if err := claim(); err != nil {
			return ended(ctx, err)
		}
		if err := staged.Commit(); err != nil {
			return err
		}
		if err := p.print(ctx, stdout.Bytes()); err != nil {
			return err
		}
		if err := p.report(ctx, a); err != nil {
			return err
		}
		return context.Cause(ctx)
	}()
	if err != nil {
		return p.undo(ctx, a, err)
	}
	return nil
}

// stage writes the files under temporary names. They say when the lease ends: the grant promises it, and
// the claim can only make it later.
func (p *prepare) stage(a *pool.Allocation, stdout io.Writer) (*stage.Staged, error) {
	var env bytes.Buffer
	if err := envfile.Write(&env, a); err != nil {
		return nil, refused(err)
	}
	list := newManifest(a)
	files, err := p.stageForms(a, &list)
	if err != nil {
		return nil, err
	}
	if p.EnvFile == "-" {
		if _, err := env.WriteTo(stdout); err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return stage.Write(nil)
		}
	} else {
		files = append(files, stage.File{Path: p.EnvFile, Content: stage.Bytes(env.Bytes())})
	}
	// The manifest first: a file that is there is listed, whenever we die.
	files = slices.Insert(files, 0, stage.File{Path: p.base() + manifestSuffix, Content: list.write})
	for i, f := range files {
		files[i].MakeFolder = p.makes(f.Path)
	}
	return stage.Write(files)
}

// print writes the env file to Stdout, whose reader may hang.
func (p *prepare) print(ctx context.Context, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	written := make(chan error, 1)
	go func() {
		_, err := p.Stdout.Write(text)
		written <- err
	}()
	select {
	case err := <-written:
		if err != nil {
			return lost(err)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// report tells what the build holds. Its last line is also the proof that somebody still listens.
func (p *prepare) report(ctx context.Context, a *pool.Allocation) error {
	for _, n := range a.Nodes {
		if !n.Suspect {
			continue
		}
		if err := p.console.say(ctx, slog.LevelWarn, "%s comes from a build that never gave it back: expect it powered on and in any state", n.Name); err != nil {
			return ended(ctx, err)
		}
	}
	where := "on standard output"
	if p.EnvFile != "-" {
		where = "in " + p.EnvFile
	}
	err := p.console.say(ctx, slog.LevelInfo, "%q holds %s until %s (allocation %d), see the variables %s",
		p.owner, strings.Join(a.NodeNames(), ", "), a.ExpiresAt.UTC().Format(time.RFC3339), a.ID, where)
	if err != nil {
		return ended(ctx, err)
	}
	return nil
}

// undo gives back what was granted, in a time of its own, and removes the files that got their names.
// It returns why, with what became of the nodes.
func (p *prepare) undo(ctx context.Context, a *pool.Allocation, why error) error {
	nodes := strings.Join(a.NodeNames(), ", ")
	if p.Adopt != "" { // they were the build's before, and its post-hook gives them back
		return fmt.Errorf("%w; the build keeps %s until %s", why, nodes, a.ExpiresAt.UTC().Format(time.RFC3339))
	}
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	err := p.db.Cancel(fresh, a.Token, why.Error())
	left := remove(func(id identity) bool { return id.Token == a.Token }, p.files()...)
	switch {
	case err != nil:
		// Not wrapped: the exit status tells why we stopped, not how the undo failed.
		why = fmt.Errorf("%w; %s could not be given back (%v): %s; sooner with: molten-posthook --owner %q",
			why, nodes, err, stays(a), a.Owner)
	case errors.Is(why, pool.ErrConflict): // refused at the claim: the pool has settled it, and the text says how
	default:
		why = fmt.Errorf("%w; %s given back", why, nodes)
	}
	if left != nil {
		why = fmt.Errorf("%w; not all that was written could be removed, and it may hold passwords: %v", why, left)
	}
	return why
}

// stays says until when what could not be undone stays as it is.
func stays(a *pool.Allocation) string {
	if a.State == pool.Claimed {
		return "held until " + a.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return "held for about a minute, until the pool finds its client gone"
}
