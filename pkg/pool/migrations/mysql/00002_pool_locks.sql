-- +goose Up
CREATE TABLE IF NOT EXISTS pool_locks (
  pool     VARCHAR(63) NOT NULL PRIMARY KEY,
  version  BIGINT NOT NULL, -- grows with every change; on a cluster the collision that keeps two hosts apart
  last_now DATETIME(6) NOT NULL,   -- time never runs backwards between transactions
  next_due DATETIME(6) NULL        -- the next moment at which time alone may change something
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
