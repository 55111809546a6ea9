// Package pooltest is the conformance suite of pkg/pool: what the design promises, case by case, to be
// run on each engine. Run it with an Engine that makes databases of one kind:
//
//	func TestSQLite(t *testing.T) {
//		pooltest.Run(t, func(t testing.TB) []string { … })
//	}
//
// Time is moved by a clock that all handles of a case share, never by sleeping; a client that is to
// stand still is held in its Progress call. When a case ends, whatever it was about, the audit looks at
// the whole database: the invariants of the design, the event trail of each node, that nobody waits who
// could be served, and that no secret is in any event.
package pooltest

import "testing"

// Engine makes a fresh, initialised database for one case, removed again by its Cleanup, and gives the
// URLs that lead to it: the n-th handle of a case is opened with the n-th of them, in turn, so that the
// hosts of a cluster can be used side by side.
type Engine func(t testing.TB) []string

// area is a part of the design with its cases.
type area struct {
	name  string
	cases []testCase
}

// testCase is one sentence of the design, and what proves it.
type testCase struct {
	name string
	run  func(w *world)
}

var areas = []area{
	{"nodes", nodeCases},
	{"inventory", inventoryCases},
	{"pools", poolCases},
	{"requirements", requirementCases},
	{"allocate", allocateCases},
	{"queue", queueCases},
	{"set aside", setAsideCases},
	{"hand-over", handOverCases},
	{"heartbeat", heartbeatCases},
	{"take-over", takeOverCases},
	{"claim", claimCases},
	{"crowds", crowdCases},
	{"maintenance", maintenanceCases},
	{"suspects", suspectCases},
	{"cleaning", cleaningCases},
	{"release", releaseCases},
	{"tombstone", tombstoneCases},
	{"lease", leaseCases},
	{"extend", extendCases},
	{"revoke", revokeCases},
	{"events", eventCases},
	{"late", lateCases},
	{"secrets", secretCases},
	{"tickets", ticketCases},
	{"holds", holdCases},
	{"explain", explainCases},
	{"estimates", estimateCases},
	{"usage", usageCases},
	{"recover", recoverCases},
	{"history", historyCases},
	{"large", largeCases},
	{"brakes", brakeCases},
	{"groups", groupCases},
	{"schema", schemaCases},
	{"random", randomCases},
}

// Run runs all cases on an engine, side by side.
func Run(t *testing.T, engine Engine) {
	for _, a := range areas {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range a.cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(newWorld(t, engine(t)))
				})
			}
		})
	}
}
