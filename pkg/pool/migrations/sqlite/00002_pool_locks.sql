-- +goose Up
CREATE TABLE IF NOT EXISTS pool_locks (
  pool     TEXT NOT NULL PRIMARY KEY,
  version  INTEGER NOT NULL, -- grows with every change; on a cluster the collision that keeps two hosts apart
  last_now TEXT NOT NULL,   -- time never runs backwards between transactions
  next_due TEXT NULL        -- the next moment at which time alone may change something
);
