-- +goose Up
CREATE TABLE IF NOT EXISTS allocations (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  token       TEXT NOT NULL, -- SHA-256 of the token, which only its client knows
  owner       TEXT NOT NULL,
  owner_key   TEXT NOT NULL, -- SHA-256(owner): the owner itself is too long for an index
  slot        TEXT NOT NULL,
  active_key  TEXT NULL,     -- SHA-256(owner, slot) while active
  pool        TEXT NOT NULL, -- as text: history outlives a pool
  request     TEXT NOT NULL,
  priority    INTEGER NOT NULL,
  lease_s     INTEGER NOT NULL,
  job_key     TEXT NOT NULL, -- of the label JOB_NAME, for shares and past durations
  state       TEXT NOT NULL,
  queued_at   TEXT NOT NULL,
  rank_at     TEXT NOT NULL,   -- queued_at - priority * ageing
  granted_at  TEXT NULL,
  claimed_at  TEXT NULL,
  expires_at  TEXT NULL,
  ended_at    TEXT NULL,
  end_reason  TEXT NOT NULL,
  end_detail  TEXT NOT NULL,
  hold_reason TEXT NOT NULL,
  result      TEXT NOT NULL, -- of the build, as the post-hook told it
  labels      TEXT NOT NULL,
  CONSTRAINT allocations_token UNIQUE (token),
  CONSTRAINT allocations_active UNIQUE (active_key),
  CONSTRAINT allocations_state CHECK (state IN ('waiting', 'granted', 'claimed', 'ended')),
  CONSTRAINT allocations_ended CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
  CONSTRAINT allocations_key CHECK ((state = 'ended') = (active_key IS NULL)),
  CONSTRAINT allocations_lease CHECK (state <> 'claimed' OR expires_at IS NOT NULL)
);

CREATE INDEX IF NOT EXISTS allocations_queue ON allocations (pool, state, rank_at, id);

CREATE INDEX IF NOT EXISTS allocations_owner ON allocations (owner_key, id);

CREATE INDEX IF NOT EXISTS allocations_job ON allocations (pool, job_key, id);
