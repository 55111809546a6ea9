// Package wiretest proves what pkg/pool promises about lost replies: it breaks the conversation between a
// client and a MySQL server at each single packet of an operation, in each way that a network has, and at
// each statement with the errors that a server may answer. It holds tests only.
package wiretest
