package pool

import (
	"time"

	"github.com/molteniron/molteniron/pkg/secret"
)

// State is where an allocation stands; it is active until it ended.
type State string

// The states of an allocation, in their order.
const (
	Waiting State = "waiting" // a ticket in the queue
	Granted State = "granted" // has its nodes, its client has not claimed them yet
	Claimed State = "claimed" // its build has the nodes, the lease runs
	Ended   State = "ended"   // over; EndReason says how
)

// EndReason says how an allocation ended.
type EndReason string

// The ways in which an allocation ends.
const (
	EndReleased   EndReason = "released"   // given back by its owner
	EndCancelled  EndReason = "cancelled"  // its client went away on purpose (signal, time-out, failure before the claim)
	EndTimeout    EndReason = "timeout"    // the wait was over
	EndLapsed     EndReason = "lapsed"     // its client's heartbeat stopped before the claim
	EndExpired    EndReason = "expired"    // the lease was over and the nodes were taken back
	EndRevoked    EndReason = "revoked"    // a person took it back, or who tends and knew its build to be over
	EndImpossible EndReason = "impossible" // no node of the pool could ever meet it
	EndClosed     EndReason = "closed"     // its owner's post-hook had run before it was granted
)

// TakenBack reports whether the owner lost the nodes without giving them back.
func (r EndReason) TakenBack() bool { return r == EndExpired || r == EndRevoked }

// Group asks for Count nodes that meet all of Require.
type Group struct {
	Name    string        // "" for the one group of a simple request, else [a-z][a-z0-9_-]*
	Count   int           // 1 or more
	Require []Requirement // all must hold
}

// Request is what a build asks for.
type Request struct {
	Owner    string            // stands for the build; 1 to 768 characters, no outer blanks
	Slot     string            // "" or a name of 1 to 63 of [A-Za-z0-9._-]
	Pool     string            // "" is the default pool
	Groups   []Group           // matched together, all or none
	Priority int               // higher first; the pool's max_priority caps it
	Lease    time.Duration     // 0 is the pool's lease; its max_lease caps it; whole seconds
	Labels   map[string]string // kept with the allocation, shown, never matched
	Where    string            // where the client runs, for people: host name and process id
}

// GrantedNode is a node within an allocation.
type GrantedNode struct {
	Node
	Group      string
	Generation int64 // as it was granted
}

// Allocation is one request and all that became of it.
type Allocation struct {
	ID         int64
	Token      secret.Text // set only for the client that made or took over the allocation
	Owner      string
	Slot       string
	Pool       string
	State      State
	Place      int // in the queue, from 1; 0 when it does not wait
	Priority   int
	Groups     []Group
	Lease      time.Duration // as asked for and capped
	QueuedAt   time.Time
	GrantedAt  time.Time // zero until then, as are the following
	ClaimedAt  time.Time
	ExpiresAt  time.Time
	EndedAt    time.Time
	EndReason  EndReason
	EndDetail  string // the reason that a person gave
	HoldReason string
	Result     string // of the build, as the post-hook told it
	Labels     map[string]string
	Where      string
	Detached   bool          // a ticket that nobody waits with: of Enqueue, until it is taken up
	Nodes      []GrantedNode // in the order of groups, then as granted
}

// Count is the number of nodes the request asks for, over all groups.
func (a *Allocation) Count() int { return countNodes(a.Groups) }

func countNodes(groups []Group) int {
	n := 0
	for _, g := range groups {
		n += g.Count
	}
	return n
}

// NodeNames lists the names of the allocation's nodes in their order.
func (a *Allocation) NodeNames() []string {
	names := make([]string, len(a.Nodes))
	for i, n := range a.Nodes {
		names[i] = n.Name
	}
	return names
}
