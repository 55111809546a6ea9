// Package pool is the domain of MoltenIron and its only SQL: pools of bare-metal nodes, a queue of
// allocations in front of each, and a history of events, in SQLite, MySQL, MariaDB or a Galera cluster.
//
// There is no server. Every client runs the same short transactions, which lock the pool's one row in
// pool_locks, decide, write and commit; who frees a node or asks for one runs the pass that hands nodes
// out, for everybody who waits. Exported methods are one such story each; what they promise is true
// only when they return nil.
//
// All methods block until they are done or their context ends, repeat a transaction by themselves
// when the database asks for it, and return errors that errors.Is finds in the sentinels of this
// package. A *DB may be used by several goroutines.
package pool
