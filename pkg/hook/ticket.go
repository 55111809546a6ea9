package hook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/stage"
)

// ticketFile is what a ticket file holds, in JSON. Owner, slot and token are those of a manifest, so that
// identify knows the file; the others are for people who find it.
type ticketFile struct {
	Ticket int64  `json:"ticket"`
	Pool   string `json:"pool"`
	Wants  string `json:"wants"`
	Owner  string `json:"owner"`
	Slot   string `json:"slot"`
	Token  string `json:"token"`
}

func writeTicket(a *pool.Allocation) func(io.Writer) error {
	return func(w io.Writer) error {
		text, err := json.MarshalIndent(ticketFile{
			Ticket: a.ID, Pool: a.Pool, Wants: pool.Describe(a.Groups), Owner: a.Owner, Slot: a.Slot,
			Token: a.Token.Reveal(), // who presents it takes the ticket up; the file is as private as an env file
		}, "", "  ")
		if err != nil {
			return err
		}
		_, err = w.Write(append(text, '\n'))
		return err
	}
}

// resolveTicket refuses what --enqueue and --ticket do not go with, and reads the ticket that is taken up.
func (p *prepare) resolveTicket() error {
	switch {
	case p.Enqueue && (p.Ticket != "" || p.Adopt != ""):
		return invalid("--enqueue makes a new request; leave --ticket and --adopt away")
	case p.Ticket != "" && p.Adopt != "":
		return invalid("--ticket takes up what waits, --adopt what is held already; give one of them")
	case p.Enqueue && p.TicketFile == "":
		return invalid("--enqueue leaves a ticket: say where with --ticket-file FILE")
	case p.TicketFile != "" && !p.Enqueue:
		return invalid("--ticket-file is where --enqueue leaves a ticket; to take one up write --ticket %s", p.TicketFile)
	case p.Ticket == "":
		return nil
	}
	id, err := identify(p.Ticket)
	switch {
	case err != nil:
		return invalid("--ticket: %w", err)
	case id.Ticket == 0:
		return invalid("--ticket %s: that is no ticket file", p.Ticket)
	}
	p.taken = id.Token
	return nil
}

// checkTicketFile makes sure, before anything is asked for, that the ticket file is not somebody else's
// and can be written.
func (p *prepare) checkTicketFile() error {
	id, err := identify(p.TicketFile)
	switch {
	case errors.Is(err, errForeign):
		return invalid("%w; remove it, or name another file", err)
	case err == nil && id.Ticket == 0 && id.Owner != "":
		return invalid("%s has what %q holds and is no ticket file; name another file", p.TicketFile, id.Owner)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return p.checkFolder(p.TicketFile, "ticket-file")
}

// enqueue leaves a ticket in the queue and in the ticket file. Where the file has a ticket of the same
// request that nobody took up yet, that one is told of: so a job that asks again every few minutes has
// one ticket, and learns when it is granted.
func (p *prepare) enqueue(ctx context.Context) error {
	request := p.request()
	if id, err := identify(p.TicketFile); err == nil && id.Ticket != 0 {
		switch q, err := p.db.Ticket(ctx, id.Token); {
		case errors.Is(err, pool.ErrConflict) || errors.Is(err, pool.ErrImpossible): // it is over, or was taken up
		case err != nil:
			return ended(ctx, err)
		case q.Pool != cmp.Or(request.Pool, pool.DefaultPool) || pool.Describe(q.Groups) != pool.Describe(request.Groups):
			err := fmt.Errorf("%s has a ticket for another request, %s of pool %s; take it up, or end it with: moltenironctl release --owner %q",
				p.TicketFile, pool.Describe(q.Groups), q.Pool, q.Owner)
			return &pool.Error{Class: pool.ErrConflict, Text: err.Error()}
		default:
			return p.tellTicket(ctx, q)
		}
	}
	a, err := p.db.Enqueue(ctx, request, p.Wait)
	if err != nil {
		return ended(ctx, err)
	}
	err = p.keepTicket(ctx, a)
	if err == nil || errors.Is(err, pool.ErrQueued) {
		return err
	}
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if undo := p.db.Cancel(fresh, a.Token, err.Error()); undo != nil {
		return fmt.Errorf("%w; ticket %d could not be ended (%v), it lives for %s", err, a.ID, undo, p.Wait)
	}
	_ = remove(func(id identity) bool { return id.Token == a.Token }, p.TicketFile)
	return fmt.Errorf("%w; the ticket is ended", err)
}

// keepTicket writes the ticket file and tells of the ticket.
func (p *prepare) keepTicket(ctx context.Context, a *pool.Allocation) error {
	staged, err := stage.Write([]stage.File{{Path: p.TicketFile, Content: writeTicket(a)}})
	if err != nil {
		return err
	}
	defer staged.Discard()
	if err := staged.Commit(); err != nil {
		return err
	}
	q, err := p.db.Ticket(ctx, a.Token)
	if err != nil {
		return ended(ctx, err)
	}
	return p.tellTicket(ctx, q)
}

// tellTicket says how the ticket stands; one that is not granted yet is an error, pool.ErrQueued.
func (p *prepare) tellTicket(ctx context.Context, q *pool.QueuedRequest) error {
	how := fmt.Sprintf("take it up with: %s --ticket %s", p.Program, p.TicketFile)
	if q.State == pool.Waiting {
		err := q.Queued()
		return &pool.Error{Class: pool.ErrQueued, Text: fmt.Sprintf("%v; %s", err, how), Cause: err}
	}
	return p.console.say(ctx, slog.LevelInfo, "ticket %d has %s, kept for it until %s; %s",
		q.ID, strings.Join(q.NodeNames(), ", "), q.LivesUntil.UTC().Format(time.RFC3339), how)
}

// dropTicket removes the file of the ticket that was taken up: it is of no use to anybody now.
func (p *prepare) dropTicket() {
	if p.Ticket != "" {
		_ = remove(func(id identity) bool { return id.Token == p.taken }, p.Ticket)
	}
}

// request is what is asked of the pool. With a ticket it says only who takes it up.
func (p *prepare) request() pool.Request {
	host, _ := os.Hostname() // "" tells as much
	return pool.Request{
		Owner: p.owner, Slot: p.Slot, Pool: p.Pool, Groups: p.Groups, Priority: p.Priority, Lease: p.Lease,
		Labels: p.labels(), Where: fmt.Sprintf("%s pid %d", host, os.Getpid()),
	}
}
