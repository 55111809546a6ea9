package pool

import "time"

// DefaultPool is the pool that init creates and that is meant when none is named.
const DefaultPool = "default"

// OnExpiry says what happens to the nodes of an allocation whose lease is over.
type OnExpiry string

// The policies for an expired lease.
const (
	ExpiryReclaim    OnExpiry = "reclaim"    // taken back at once, suspect
	ExpiryAsk        OnExpiry = "ask"        // left for Grace to tend, which asks Jenkins; then taken back
	ExpiryQuarantine OnExpiry = "quarantine" // taken back and marked broken
)

// Policy is what a pool's administrator decides. Durations are whole seconds.
type Policy struct {
	Lease         time.Duration // given when a request names none
	MaxLease      time.Duration // cap of every lease, extensions included
	OnExpiry      OnExpiry
	Grace         time.Duration // with ExpiryAsk: how long tend has to ask
	Ageing        time.Duration // seconds in the queue that one step of priority is worth; above 0
	MaxPriority   int           // cap of a request's priority
	Cleaning      bool          // released nodes become dirty, not ready
	CleanLimit    time.Duration // dirty for longer than this is broken
	Verify        bool          // clients check the BMC before the claim
	PickUp        time.Duration // how long a granted ticket of --enqueue waits to be taken up
	MaxHold       time.Duration // cap of a hold
	MaxBrokenPct  int           // highest share of nodes that rules may mark broken, 0 to 100
	MaxHoldPct    int           // highest share of nodes in hold
	MaxPerJobPct  int           // highest share of nodes for one job (label JOB_NAME)
	StrikesBroken int           // failures in a row that make a node broken; 0 is never
}

// DefaultPolicy is what a new pool gets: a lease that outlasts a long CI run, and no brakes.
func DefaultPolicy() Policy {
	return Policy{
		Lease: 6 * time.Hour, MaxLease: 24 * time.Hour, OnExpiry: ExpiryReclaim, Grace: 30 * time.Minute,
		Ageing: 10 * time.Minute, MaxPriority: 100, CleanLimit: time.Hour, PickUp: 15 * time.Minute,
		MaxHold: 72 * time.Hour, MaxBrokenPct: 100, MaxHoldPct: 100, MaxPerJobPct: 100,
	}
}

// PoolInfo is a pool with its policy and its numbers.
type PoolInfo struct {
	Name         string
	Policy       Policy
	PausedReason string // "" when the pool is not paused
	Paused       bool
	Nodes        map[Status]int // nodes not in maintenance, by status
	Maintenance  int            // nodes in maintenance
	Suspect      int            // ready nodes that are suspect
	Waiting      int            // allocations in the queue
}
