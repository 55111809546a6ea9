package view

// Deed is one thing that a tending run did, or could not, in JSON.
type Deed struct {
	// Action is an event's kind for what is one: released (a post-hook had asked for it while the database
	// was away), held (the same, for a post-mortem), revoked and cancelled (of a build that Jenkins knows to be
	// over), extended, expired, lapsed, broken, granted, history-pruned. Else it is what was found: not-held,
	// too-late, nothing-left, set-aside, waits (of releases that were kept), capped (a lease that the pool lets
	// nobody extend any further), unknown (builds of which
	// Jenkins told nothing that could be believed).
	Action     string   `json:"action"`
	Pool       string   `json:"pool"`
	Nodes      []string `json:"nodes"`
	Owner      string   `json:"owner"` // "" when it is about several, or about none
	Slot       string   `json:"slot"`
	Allocation *int64   `json:"allocation"`
	ExpiresAt  Time     `json:"expires_at"` // the new end of the lease, when it was extended or held
	Result     string   `json:"result"`     // of the build
	Text       string   `json:"text"`       // the whole in words
}

// NewDeed makes a Deed of what is known; allocation 0 is none.
func NewDeed(action, pool string, nodes []string, owner, slot string, allocation int64, text string) Deed {
	return Deed{
		Action: action, Pool: pool, Nodes: append([]string{}, nodes...), Owner: owner, Slot: slot, Allocation: number(allocation), Text: text,
	}
}
