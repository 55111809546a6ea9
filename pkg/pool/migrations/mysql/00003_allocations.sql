-- +goose Up
CREATE TABLE IF NOT EXISTS allocations (
  id          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  token       CHAR(64) NOT NULL, -- SHA-256 of the token, which only its client knows
  owner       VARCHAR(768) NOT NULL,
  owner_key   CHAR(64) NOT NULL, -- SHA-256(owner): the owner itself is too long for an index
  slot        VARCHAR(63) NOT NULL,
  active_key  CHAR(64) NULL,     -- SHA-256(owner, slot) while active
  pool        VARCHAR(63) NOT NULL, -- as text: history outlives a pool
  request     MEDIUMTEXT NOT NULL,
  priority    INT NOT NULL,
  lease_s     BIGINT NOT NULL,
  job_key     CHAR(16) NOT NULL, -- of the label JOB_NAME, for shares and past durations
  state       VARCHAR(16) NOT NULL,
  queued_at   DATETIME(6) NOT NULL,
  rank_at     DATETIME(6) NOT NULL,   -- queued_at - priority * ageing
  granted_at  DATETIME(6) NULL,
  claimed_at  DATETIME(6) NULL,
  expires_at  DATETIME(6) NULL,
  ended_at    DATETIME(6) NULL,
  end_reason  VARCHAR(16) NOT NULL,
  end_detail  VARCHAR(512) NOT NULL,
  hold_reason VARCHAR(512) NOT NULL,
  result      VARCHAR(64) NOT NULL, -- of the build, as the post-hook told it
  labels      MEDIUMTEXT NOT NULL,
  CONSTRAINT allocations_token UNIQUE (token),
  CONSTRAINT allocations_active UNIQUE (active_key),
  CONSTRAINT allocations_state CHECK (state IN ('waiting', 'granted', 'claimed', 'ended')),
  CONSTRAINT allocations_ended CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
  CONSTRAINT allocations_key CHECK ((state = 'ended') = (active_key IS NULL)),
  CONSTRAINT allocations_lease CHECK (state <> 'claimed' OR expires_at IS NOT NULL),
  INDEX allocations_queue (pool, state, rank_at, id),
  INDEX allocations_owner (owner_key, id),
  INDEX allocations_job (pool, job_key, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
