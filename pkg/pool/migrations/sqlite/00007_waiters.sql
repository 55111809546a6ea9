-- +goose Up
CREATE TABLE IF NOT EXISTS waiters (
  allocation_id INTEGER NOT NULL PRIMARY KEY,
  token         TEXT NOT NULL, -- whose heartbeat it is
  alive_until   TEXT NOT NULL,
  detached      INTEGER NOT NULL, -- 1: a ticket without a client
  location      TEXT NOT NULL, -- where the client runs
  CONSTRAINT waiters_allocation FOREIGN KEY (allocation_id) REFERENCES allocations (id)
);
