-- +goose Up
CREATE TABLE IF NOT EXISTS waiters (
  allocation_id BIGINT NOT NULL PRIMARY KEY,
  token         CHAR(64) NOT NULL, -- whose heartbeat it is
  alive_until   DATETIME(6) NOT NULL,
  detached      SMALLINT NOT NULL, -- 1: a ticket without a client
  location      VARCHAR(255) NOT NULL, -- where the client runs
  CONSTRAINT waiters_allocation FOREIGN KEY (allocation_id) REFERENCES allocations (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
