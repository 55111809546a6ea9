package envfile

import (
	"fmt"
	"unicode/utf8"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/view"
)

// JSON gives the JSON file of an allocation that was granted: one object in the form of
// view.Allocation, the same as `moltenironctl show ALLOCATION -o json` prints, with what that hides:
// the token, and each node's bmc.password. Its keys:
//
//	id, token, owner, slot, pool, state, place, priority, count, groups [{name, count, require}],
//	lease_seconds, queued_at, granted_at, claimed_at, expires_at, ended_at, end_reason, end_detail,
//	hold_reason, result, labels {…}, where,
//	nodes [{name, pool, status, reason, suspect, maintenance, maintenance_reason, owner, slot,
//	  allocation, generation, since, expires_at, hold_reason,
//	  bmc {driver, address, port, system_id, verify, username, password},
//	  mac, macs, arch, cpus, ram_mb, disk_gb, ips, properties {…}, cost, group}]
//
// Package view says what is null when. The only error is a text that is not UTF-8, which JSON cannot
// carry; it names the key, never the value.
func JSON(a *pool.Allocation) ([]byte, error) {
	if err := checkUTF8(a); err != nil {
		return nil, fmt.Errorf("JSON file: %w", err)
	}
	return view.JSON(view.NewAllocation(a, true))
}

// checkUTF8 refuses what encoding/json would silently replace by U+FFFD: a build must not be given a
// password that is almost the right one.
func checkUTF8(a *pool.Allocation) error {
	texts := map[string]string{"owner": a.Owner, "slot": a.Slot, "result": a.Result, "where": a.Where}
	for key, v := range a.Labels {
		texts["labels."+key] = v
	}
	for i, n := range a.Nodes {
		at := fmt.Sprintf("nodes[%d].", i)
		texts[at+"bmc.address"] = n.BMC.Address
		texts[at+"bmc.system_id"] = n.BMC.SystemID
		texts[at+"bmc.username"] = n.BMC.Username
		texts[at+"bmc.password"] = n.BMC.Password.Reveal()
		for key, v := range n.Properties {
			texts[at+"properties."+key] = v
		}
	}
	for key, v := range texts {
		if !utf8.ValidString(v) {
			return fmt.Errorf("the value of %s is not UTF-8, which JSON cannot carry", key)
		}
	}
	return nil
}
