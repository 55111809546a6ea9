package pool

import (
	"context"
	"database/sql"
	"time"
)

var errNoRows = sql.ErrNoRows

// longAgo is a heartbeat that is over for every clock.
var longAgo = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// TendResult counts what a tending run did.
type TendResult struct {
	Pools   int // looked at
	Expired int // nodes taken back because their lease was over
	Lapsed  int // tickets and unclaimed grants whose client had died
	Broken  int // nodes that a rule marked broken: by quarantine, or because their cleaning took too long
	Granted int // nodes handed to who waited
}

// Tend takes back what is due in every pool, each in a transaction of its own, and hands out what became
// free. Waiting clients do the same for their pool; this is for pools where nobody waits.
func (db *DB) Tend(ctx context.Context) (TendResult, error) {
	return db.TendTelling(ctx, func(Event) {})
}

// TendTelling is Tend that tells each event when it has happened.
func (db *DB) TendTelling(ctx context.Context, tell func(Event)) (TendResult, error) {
	var result TendResult
	var names []string
	if err := db.list(ctx, &names, `SELECT name FROM pools ORDER BY name`); err != nil {
		return result, err
	}
	for _, name := range names {
		var counts map[string]int
		var events []Event
		err := db.poolStory(ctx, name, func(t *tx, p *poolRow) error {
			counts, events = map[string]int{}, nil
			t.locked[name].NextDue = at(t.now) // look, whatever next_due says
			if err := t.pass(p, nil, true); err != nil {
				return err
			}
			for _, e := range t.events {
				counts[e.Kind]++
				e.At = at(t.now)
				events = append(events, e.event())
			}
			return nil
		})
		if err != nil {
			return result, err
		}
		for _, e := range events {
			tell(e)
		}
		result.Pools++
		result.Expired += counts[string(EndExpired)]
		result.Lapsed += counts[string(EndLapsed)]
		result.Broken += counts[eventBroken]
		result.Granted += counts[eventGranted]
	}
	return result, db.forgetTombstones(ctx)
}
