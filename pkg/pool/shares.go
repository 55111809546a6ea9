package pool

import (
	"fmt"
	"strings"
)

// jobShares is the pool's brake on one job (label JOB_NAME) taking all its nodes. A nil one allows all.
//
// What a job may have beyond what it holds is kept for its requests in their order: small ones that come
// later would take it again and again, and one for several nodes would never be within the share.
type jobShares struct {
	limit int // nodes for one job
	pct   int // of the pool's nodes, by its policy
	held  map[string]int
	kept  map[string]int // for requests that wait
}

// noJob is the job key of requests without the label: they share nothing.
var noJob = strings.Repeat("0", 16)

func newJobShares(p *poolRow, nodes int) *jobShares {
	return &jobShares{limit: nodes * p.MaxPerJobPct / 100, pct: p.MaxPerJobPct, held: map[string]int{}, kept: map[string]int{}}
}

// most says in words what the brake is.
func (s *jobShares) most() string {
	return fmt.Sprintf("one job gets at most %d of the pool's nodes (max_per_job_pct %d)", s.limit, s.pct)
}

// jobShares reads what each job holds, where the pool has the brake on.
func (t *tx) jobShares(p *poolRow) (*jobShares, error) {
	if p.MaxPerJobPct >= 100 {
		return nil, nil
	}
	var total int
	if err := t.Get(&total, `SELECT COUNT(*) FROM nodes WHERE pool = ?`, p.Name); err != nil {
		return nil, err
	}
	var rows []struct {
		JobKey string `db:"job_key"`
		Nodes  int    `db:"n"`
	}
	if err := t.list(&rows, `SELECT a.job_key, COUNT(*) AS n FROM allocations a JOIN allocation_nodes an ON an.allocation_id = a.id
		WHERE a.pool = ? AND a.state IN ('granted', 'claimed') AND an.open_node IS NOT NULL GROUP BY a.job_key`, p.Name); err != nil {
		return nil, err
	}
	s := newJobShares(p, total)
	for _, r := range rows {
		s.held[r.JobKey] = r.Nodes
	}
	return s, nil
}

// why says in words what keeps a job's request within the brake.
func (s *jobShares) why(job string) string {
	kept := ""
	if n := s.kept[job]; n > 0 {
		kept = fmt.Sprintf(", with %d more kept for its requests that came before", n)
	}
	return fmt.Sprintf("its job holds %d of the pool's nodes%s, and one job gets at most %d (max_per_job_pct %d)", s.held[job], kept, s.limit, s.pct)
}

// allow reports whether a job may have n nodes more.
func (s *jobShares) allow(job string, n int) bool {
	return s == nil || job == noJob || s.held[job]+s.kept[job]+n <= s.limit
}

// ever reports whether a job could have n nodes when it holds none.
func (s *jobShares) ever(job string, n int) bool {
	return s == nil || job == noJob || n <= s.limit
}

func (s *jobShares) take(job string, n int) {
	if s != nil {
		s.held[job] += n
	}
}

// keep keeps n nodes of a job's share, or what is left of it, for a request that waits.
func (s *jobShares) keep(job string, n int) {
	if s != nil && s.ever(job, n) {
		s.kept[job] += max(0, min(n, s.limit-s.held[job]-s.kept[job]))
	}
}
