-- +goose Up
CREATE TABLE IF NOT EXISTS pools (
  name            TEXT NOT NULL PRIMARY KEY,
  lease_s         INTEGER NOT NULL, -- given when a request names none
  max_lease_s     INTEGER NOT NULL, -- cap of every lease, extensions included
  on_expiry       TEXT NOT NULL,
  grace_s         INTEGER NOT NULL, -- on_expiry = ask: how long tend has to ask
  ageing_s        INTEGER NOT NULL, -- seconds in the queue that one step of priority is worth
  max_priority    INTEGER NOT NULL,
  cleaning        INTEGER NOT NULL, -- 1: released nodes become dirty
  clean_limit_s   INTEGER NOT NULL, -- dirty for longer is broken
  verify          INTEGER NOT NULL, -- 1: clients check the BMC before the claim
  pick_up_s       INTEGER NOT NULL, -- how long a granted ticket waits to be taken up
  max_hold_s      INTEGER NOT NULL,
  max_broken_pct  INTEGER NOT NULL, -- brakes, in per cent of the pool's nodes
  max_hold_pct    INTEGER NOT NULL,
  max_per_job_pct INTEGER NOT NULL,
  strikes_broken  INTEGER NOT NULL, -- failures in a row that make a node broken, 0: never
  paused          INTEGER NOT NULL,
  paused_reason   TEXT NOT NULL,
  created_at      TEXT NOT NULL,
  CONSTRAINT pools_on_expiry CHECK (on_expiry IN ('reclaim', 'ask', 'quarantine')),
  CONSTRAINT pools_lease CHECK (lease_s > 0 AND max_lease_s >= lease_s),
  CONSTRAINT pools_ageing CHECK (ageing_s > 0)
);
