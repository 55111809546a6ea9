package pooltest

import "strings"

var schemaCases = []testCase{
	{"the database itself refuses what must never be", func(w *world) {
		w.policy("p")
		w.addNode("a")
		w.add("b", "c")
		w.hold(one("build", needs("name=a")))
		w.hold(one("other", needs("name=b")))
		w.ok(second(w.db.Enqueue(w.ctx, many("ticket", 2), waitForever)))
		raw := w.raw()
		for _, c := range []struct{ what, statement string }{
			{"a node that is allocated to nobody", "UPDATE nodes SET allocation_id = NULL WHERE name = 'a'"},
			{"a ready node that names an allocation", "UPDATE nodes SET status = 'ready' WHERE name = 'a'"},
			{"a node of an allocation that is none", "UPDATE nodes SET allocation_id = 4711 WHERE name = 'a'"},
			{"a status that is none", "UPDATE nodes SET status = 'fine' WHERE name = 'c'"},
			{"a node in a pool that is none", "UPDATE nodes SET pool = 'ghost' WHERE name = 'c'"},
			{"a pool that is removed below its nodes", "DELETE FROM pools WHERE name = 'default'"},
			{"two nodes of one name", "UPDATE nodes SET name = 'a' WHERE name = 'c'"},
			{"two nodes with one BMC", "UPDATE nodes SET bmc_address = (SELECT x.bmc_address FROM (SELECT bmc_address FROM nodes WHERE name = 'a') x) WHERE name = 'c'"},
			{"a port that is none", "UPDATE nodes SET bmc_port = 0 WHERE name = 'c'"},
			{"two nodes with one MAC", "UPDATE node_macs SET mac = (SELECT x.mac FROM (SELECT MIN(mac) AS mac FROM node_macs) x)"},
			{"a MAC of a node that is none", "INSERT INTO node_macs (node_id, position, mac) VALUES (4711, 0, '52:54:00:00:00:ff')"},
			{"an owner and slot with two active allocations", "UPDATE allocations SET active_key = (SELECT x.k FROM (SELECT active_key AS k FROM allocations WHERE owner = 'build') x) WHERE owner = 'other'"},
			{"two allocations of one token", "UPDATE allocations SET token = 'same'"},
			{"an active allocation that frees its owner and slot", "UPDATE allocations SET active_key = NULL WHERE owner = 'build'"},
			{"an allocation that ended at no time", "UPDATE allocations SET state = 'ended', active_key = NULL WHERE owner = 'build'"},
			{"an allocation that ended and is active", "UPDATE allocations SET ended_at = queued_at WHERE owner = 'build'"},
			{"a claim without a lease", "UPDATE allocations SET expires_at = NULL WHERE owner = 'build'"},
			{"a state that is none", "UPDATE allocations SET state = 'lost' WHERE owner = 'build'"},
			{"a node that two allocations hold", "UPDATE allocation_nodes SET open_node = 1"},
			{"a node that was given back and is held", "UPDATE allocation_nodes SET released_at = granted_at"},
			{"a node that was given back at no time", "UPDATE allocation_nodes SET open_node = NULL"},
			{"a heartbeat of nothing", "UPDATE waiters SET allocation_id = 4711"},
			{"a policy that no pool can have", "UPDATE pools SET on_expiry = 'shrug' WHERE name = 'p'"},
			{"a lease beyond its cap", "UPDATE pools SET max_lease_s = 1 WHERE name = 'p'"},
			{"ageing that stands still", "UPDATE pools SET ageing_s = 0 WHERE name = 'p'"},
		} {
			if _, err := raw.ExecContext(w.ctx, c.statement); err == nil {
				w.Errorf("the database takes %s", c.what)
			} else if text := strings.ToLower(err.Error()); !strings.Contains(text, "constraint") && !strings.Contains(text, "duplicate") {
				w.Errorf("%s is refused for another reason: %v", c.what, err)
			}
		}
		// All that is as it was: builds go on.
		w.release("build")
		w.release("other")
		w.equal("the ticket's nodes", 2, len(w.last("ticket").Nodes))
	}},

	{"times are kept to the microsecond, and not rounded", func(w *world) {
		w.add("n")
		w.clock.add(999)
		a := w.hold(one("build"))
		w.equal("what is finer", 0, a.GrantedAt.Nanosecond()%1000)
		again := w.byID(a.ID)
		w.equal("the grant and the lease, read again", []any{a.GrantedAt, a.ExpiresAt}, []any{again.GrantedAt, again.ExpiresAt})
	}},
}
