package view

import (
	"maps"

	"github.com/molteniron/molteniron/pkg/pool"
)

// Event is one row of history in JSON. It never holds a secret.
type Event struct {
	ID         int64          `json:"id"` // for paging; time and id give the order
	At         Time           `json:"at"`
	Operation  string         `json:"operation"` // the same for all events of one operation
	Actor      string         `json:"actor"`     // who did it, with what, from where
	Kind       string         `json:"kind"`      // queued, granted, claimed, released, expired, node-added …
	Pool       string         `json:"pool"`
	Node       string         `json:"node"`       // "" when it is about no node
	Owner      string         `json:"owner"`      // "" when it is about no allocation
	Slot       string         `json:"slot"`       //
	Allocation *int64         `json:"allocation"` // null when it is about none
	Generation *int64         `json:"generation"` // of the node at a hand-over, else null
	Detail     map[string]any `json:"detail"`     // what else there is to tell, by kind
}

// NewEvent makes the JSON form of e.
func NewEvent(e pool.Event) Event {
	detail := map[string]any{}
	maps.Copy(detail, e.Detail)
	return Event{
		ID: e.ID, At: Time{e.At}, Operation: e.Operation, Actor: e.Actor, Kind: e.Kind, Pool: e.Pool, Node: e.Node,
		Owner: e.Owner, Slot: e.Slot, Allocation: number(e.Allocation), Generation: number(e.Generation), Detail: detail,
	}
}

// NewEvents makes the JSON forms of several events, in their order; the result is never nil.
func NewEvents(events []pool.Event) []Event {
	v := make([]Event, len(events))
	for i, e := range events {
		v[i] = NewEvent(e)
	}
	return v
}
