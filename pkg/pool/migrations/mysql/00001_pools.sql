-- +goose Up
CREATE TABLE IF NOT EXISTS pools (
  name            VARCHAR(63) NOT NULL PRIMARY KEY,
  lease_s         BIGINT NOT NULL, -- given when a request names none
  max_lease_s     BIGINT NOT NULL, -- cap of every lease, extensions included
  on_expiry       VARCHAR(16) NOT NULL,
  grace_s         BIGINT NOT NULL, -- on_expiry = ask: how long tend has to ask
  ageing_s        BIGINT NOT NULL, -- seconds in the queue that one step of priority is worth
  max_priority    INT NOT NULL,
  cleaning        SMALLINT NOT NULL, -- 1: released nodes become dirty
  clean_limit_s   BIGINT NOT NULL, -- dirty for longer is broken
  verify          SMALLINT NOT NULL, -- 1: clients check the BMC before the claim
  pick_up_s       BIGINT NOT NULL, -- how long a granted ticket waits to be taken up
  max_hold_s      BIGINT NOT NULL,
  max_broken_pct  INT NOT NULL, -- brakes, in per cent of the pool's nodes
  max_hold_pct    INT NOT NULL,
  max_per_job_pct INT NOT NULL,
  strikes_broken  INT NOT NULL, -- failures in a row that make a node broken, 0: never
  paused          SMALLINT NOT NULL,
  paused_reason   VARCHAR(512) NOT NULL,
  created_at      DATETIME(6) NOT NULL,
  CONSTRAINT pools_on_expiry CHECK (on_expiry IN ('reclaim', 'ask', 'quarantine')),
  CONSTRAINT pools_lease CHECK (lease_s > 0 AND max_lease_s >= lease_s),
  CONSTRAINT pools_ageing CHECK (ageing_s > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
