package view

import "github.com/molteniron/molteniron/pkg/pool"

// Pool is a pool in JSON.
type Pool struct {
	Name         string     `json:"name"`
	Paused       bool       `json:"paused"`
	PausedReason string     `json:"paused_reason"`
	Policy       Policy     `json:"policy"`
	Nodes        NodeCounts `json:"nodes"`       // those not in maintenance, by status
	Maintenance  int        `json:"maintenance"` // nodes in maintenance
	Suspect      int        `json:"suspect"`     // ready nodes that go out last
	Waiting      int        `json:"waiting"`     // allocations in the queue
}

// NodeCounts are the numbers of nodes in each status.
type NodeCounts struct {
	Ready     int `json:"ready"`
	Allocated int `json:"allocated"`
	Dirty     int `json:"dirty"`
	Broken    int `json:"broken"`
}

// Policy is a pool's policy in JSON, under the names that `moltenironctl pool set` takes. Durations are
// texts that it takes too: 6h, 1h30m, 90s.
type Policy struct {
	Lease         string `json:"lease"`
	MaxLease      string `json:"max_lease"`
	OnExpiry      string `json:"on_expiry"` // reclaim, ask or quarantine
	Grace         string `json:"grace"`
	Ageing        string `json:"ageing"`
	MaxPriority   int    `json:"max_priority"`
	Cleaning      bool   `json:"cleaning"`
	CleanLimit    string `json:"clean_limit"`
	Verify        bool   `json:"verify"`
	PickUp        string `json:"pick_up"`
	MaxHold       string `json:"max_hold"`
	MaxBrokenPct  int    `json:"max_broken_pct"`
	MaxHoldPct    int    `json:"max_hold_pct"`
	MaxPerJobPct  int    `json:"max_per_job_pct"`
	StrikesBroken int    `json:"strikes_broken"` // 0 is never
}

// NewPool makes the JSON form of p.
func NewPool(p pool.PoolInfo) Pool {
	text := func(field string) string {
		// The only error is an unknown name, which the test of this package would find.
		s, _ := p.Policy.Field(field)
		return s
	}
	return Pool{
		Name: p.Name, Paused: p.Paused, PausedReason: p.PausedReason,
		Policy: Policy{
			Lease: text("lease"), MaxLease: text("max_lease"), OnExpiry: text("on_expiry"), Grace: text("grace"),
			Ageing: text("ageing"), MaxPriority: p.Policy.MaxPriority, Cleaning: p.Policy.Cleaning,
			CleanLimit: text("clean_limit"), Verify: p.Policy.Verify, PickUp: text("pick_up"), MaxHold: text("max_hold"),
			MaxBrokenPct: p.Policy.MaxBrokenPct, MaxHoldPct: p.Policy.MaxHoldPct, MaxPerJobPct: p.Policy.MaxPerJobPct,
			StrikesBroken: p.Policy.StrikesBroken,
		},
		Nodes:       newNodeCounts(p.Nodes),
		Maintenance: p.Maintenance, Suspect: p.Suspect, Waiting: p.Waiting,
	}
}

func newNodeCounts(n map[pool.Status]int) NodeCounts {
	return NodeCounts{Ready: n[pool.Ready], Allocated: n[pool.Allocated], Dirty: n[pool.Dirty], Broken: n[pool.Broken]}
}

// NewPools makes the JSON forms of several pools, in their order; the result is never nil.
func NewPools(pools []pool.PoolInfo) []Pool {
	v := make([]Pool, len(pools))
	for i, p := range pools {
		v[i] = NewPool(p)
	}
	return v
}
