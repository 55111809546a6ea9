package view

import "github.com/molteniron/molteniron/pkg/pool"

// Group is one group of a request in JSON.
type Group struct {
	Name    string   `json:"name"` // "" for the one group of a simple request
	Count   int      `json:"count"`
	Require []string `json:"require"` // in the form that --require takes
}

// Allocation is an allocation in JSON.
type Allocation struct {
	ID           int64             `json:"id"`
	Token        string            `json:"token,omitempty"` // a secret; only with credentials, and only its client has it
	Owner        string            `json:"owner"`
	Slot         string            `json:"slot"`
	Pool         string            `json:"pool"`
	State        string            `json:"state"` // waiting, granted, claimed or ended
	Place        *int64            `json:"place"` // in the queue, from 1; null when it does not wait
	Priority     int               `json:"priority"`
	Count        int               `json:"count"` // nodes asked for, over all groups
	Groups       []Group           `json:"groups"`
	LeaseSeconds int64             `json:"lease_seconds"` // asked for and capped
	QueuedAt     Time              `json:"queued_at"`
	GrantedAt    Time              `json:"granted_at"`
	ClaimedAt    Time              `json:"claimed_at"` // the lease begins
	ExpiresAt    Time              `json:"expires_at"` // the lease ends
	EndedAt      Time              `json:"ended_at"`
	EndReason    string            `json:"end_reason"` // released, expired, revoked …; "" while it is active
	EndDetail    string            `json:"end_detail"` // the reason that a person gave
	HoldReason   string            `json:"hold_reason"`
	Result       string            `json:"result"` // of the build, as the post-hook told it
	Labels       map[string]string `json:"labels"`
	Where        string            `json:"where"` // where its client runs: host name and process id
	Nodes        []GrantedNode     `json:"nodes"` // in the order of groups
}

// NewAllocation makes the JSON form of a. With credentials the token and the nodes' passwords are
// shown as a has them.
func NewAllocation(a *pool.Allocation, credentials bool) Allocation {
	v := Allocation{
		ID: a.ID, Owner: a.Owner, Slot: a.Slot, Pool: a.Pool, State: string(a.State), Place: number(int64(a.Place)),
		Priority: a.Priority, Count: a.Count(), Groups: newGroups(a.Groups),
		LeaseSeconds: int64(a.Lease.Seconds()),
		QueuedAt:     Time{a.QueuedAt}, GrantedAt: Time{a.GrantedAt}, ClaimedAt: Time{a.ClaimedAt},
		ExpiresAt: Time{a.ExpiresAt}, EndedAt: Time{a.EndedAt},
		EndReason: string(a.EndReason), EndDetail: a.EndDetail, HoldReason: a.HoldReason, Result: a.Result,
		Labels: object(a.Labels), Where: a.Where, Nodes: make([]GrantedNode, len(a.Nodes)),
	}
	if token := reveal(a.Token, credentials); token != nil {
		v.Token = *token
	}
	for i, n := range a.Nodes {
		v.Nodes[i] = GrantedNode{Node: NewNode(n.Node, credentials), Group: n.Group}
		v.Nodes[i].Generation = n.Generation
	}
	return v
}

func newGroups(groups []pool.Group) []Group {
	v := make([]Group, len(groups))
	for i, g := range groups {
		v[i] = Group{Name: g.Name, Count: g.Count, Require: make([]string, len(g.Require))}
		for j, r := range g.Require {
			v[i].Require[j] = r.String()
		}
	}
	return v
}

// NewAllocations makes the JSON forms of several allocations, in their order, without credentials; the
// result is never nil.
func NewAllocations(allocations []pool.Allocation) []Allocation {
	v := make([]Allocation, len(allocations))
	for i := range allocations {
		v[i] = NewAllocation(&allocations[i], false)
	}
	return v
}
