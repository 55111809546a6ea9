package view

import "github.com/molteniron/molteniron/pkg/pool"

// QueuedRequest is an allocation that waits, in JSON: its keys, and why it waits.
type QueuedRequest struct {
	Allocation
	Reason     string `json:"reason"`      // why it is not served yet
	LivesUntil Time   `json:"lives_until"` // of a ticket that no client waits for, else null
}

// NewQueue makes the JSON forms of a queue, in its order; the result is never nil.
func NewQueue(queue []pool.QueuedRequest) []QueuedRequest {
	v := make([]QueuedRequest, len(queue))
	for i, q := range queue {
		v[i] = QueuedRequest{Allocation: NewAllocation(&q.Allocation, false), Reason: q.Reason, LivesUntil: Time{q.LivesUntil}}
	}
	return v
}

// Explanation says in JSON how a request stands: one that waits, or one that nobody made.
type Explanation struct {
	Pool        string     `json:"pool"`
	Owner       string     `json:"owner"` // "" for a request that nobody made
	Slot        string     `json:"slot"`
	Place       int        `json:"place"` // in the queue, from 1; that it would get, for a request that nobody made
	Groups      []Group    `json:"groups"`
	Reason      string     `json:"reason"`      // why it is not served yet
	Now         bool       `json:"now"`         // it can be served at once
	Impossible  bool       `json:"impossible"`  // the pool could never meet it
	Stalled     bool       `json:"stalled"`     // it waits for nodes that are broken or in maintenance
	Braked      bool       `json:"braked"`      // its job has its share of the pool
	Lacking     []Group    `json:"lacking"`     // impossible: what the pool would need more; stalled: what must come back into service
	Steps       []Step     `json:"steps"`       // what each requirement costs
	Relax       []string   `json:"relax"`       // impossible or stalled: single requirements without which the nodes in service could meet it
	RelaxNow    []string   `json:"relax_now"`   // single requirements without which it could be served at once
	Suitable    NodeCounts `json:"suitable"`    // nodes that suit some group and are not in maintenance
	Maintenance int        `json:"maintenance"` // suitable nodes in maintenance
	Outages     []Outage   `json:"outages"`     // suitable nodes that are broken or in maintenance
	SetAside    int        `json:"set_aside"`   // suitable ready nodes that are set aside for who is before
	Holders     []Holder   `json:"holders"`     // of suitable nodes, braked: of its job's nodes; the first to end first
	Estimate    Estimate   `json:"estimate"`
	At          Time       `json:"at"` // the moment for which this holds
}

// Outage is a node out of service.
type Outage struct {
	Node        string `json:"node"`
	Maintenance bool   `json:"maintenance"` // a person decided it; else it is broken
	Reason      string `json:"reason"`
}

// Step is what one requirement of a group costs.
type Step struct {
	Group       string `json:"group"`
	Requirement string `json:"requirement"` // "" is a group's first: all nodes of the pool
	Left        int    `json:"left"`        // nodes that meet it and all before it
	Alone       int    `json:"alone"`       // nodes that meet it alone
	Without     int    `json:"without"`     // nodes that meet all of the group's requirements but this one
}

// Holder says who has a node.
type Holder struct {
	Node       string `json:"node"`
	Status     string `json:"status"`
	Owner      string `json:"owner"`
	Slot       string `json:"slot"`
	Generation int64  `json:"generation"`
	ExpiresAt  Time   `json:"expires_at"`
}

// Estimate says when a request will be served, and what that is worth.
type Estimate struct {
	Known bool   `json:"known"`
	P50   Time   `json:"p50"`   // as likely before as after; null when unknown
	P90   Time   `json:"p90"`   // nine times out of ten before; null when unknown
	Basis string `json:"basis"` // what it rests on, or why it is unknown
}

// NewExplanation makes the JSON form of e.
func NewExplanation(e *pool.Explanation) Explanation {
	v := Explanation{
		Pool: e.Pool, Owner: e.Owner, Slot: e.Slot, Place: e.Place, Groups: newGroups(e.Groups), Reason: e.Reason, Now: e.Now,
		Impossible: e.Impossible, Stalled: e.Stalled, Braked: e.Braked, Lacking: newGroups(e.Lacking), Steps: make([]Step, len(e.Steps)),
		Relax: list(e.Relax), RelaxNow: list(e.RelaxNow), Suitable: newNodeCounts(e.Suitable), Maintenance: e.InMaint, SetAside: e.SetAside,
		Outages:  make([]Outage, len(e.Outages)),
		Holders:  make([]Holder, len(e.Holders)),
		Estimate: Estimate{Known: e.Estimate.Known, P50: Time{e.Estimate.P50}, P90: Time{e.Estimate.P90}, Basis: e.Estimate.Basis},
		At:       Time{e.At},
	}
	for i, s := range e.Steps {
		v.Steps[i] = Step(s)
	}
	for i, o := range e.Outages {
		v.Outages[i] = Outage(o)
	}
	for i, h := range e.Holders {
		v.Holders[i] = Holder{
			Node: h.Node, Status: string(h.Status), Owner: h.Owner, Slot: h.Slot, Generation: h.Generation, ExpiresAt: Time{h.ExpiresAt},
		}
	}
	return v
}
