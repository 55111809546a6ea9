-- +goose Up
CREATE TABLE IF NOT EXISTS nodes (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  uid           TEXT NOT NULL, -- never changes: what a sealed password is bound to
  name          TEXT NOT NULL,
  pool          TEXT NOT NULL,
  bmc_driver    TEXT NOT NULL,
  bmc_address   TEXT NOT NULL,
  bmc_port      INTEGER NOT NULL,
  bmc_system_id TEXT NOT NULL DEFAULT '',
  bmc_verify    TEXT NOT NULL,
  bmc_user      TEXT NOT NULL,
  bmc_password  TEXT NOT NULL,
  arch          TEXT NOT NULL, -- '' and 0 are unknown
  cpus          INTEGER NOT NULL,
  ram_mb        INTEGER NOT NULL,
  disk_gb       INTEGER NOT NULL,
  properties    TEXT NOT NULL,
  cost          INTEGER NOT NULL,
  status        TEXT NOT NULL,
  reason        TEXT NOT NULL,
  status_since  TEXT NOT NULL,
  maintenance   INTEGER NOT NULL, -- what a person decided, apart from the machine's status
  maint_reason  TEXT NOT NULL,
  ready_since   TEXT NOT NULL,
  suspect       INTEGER NOT NULL,
  suspect_since TEXT NULL,
  dirty_until   TEXT NULL,
  clean_attempts INTEGER NOT NULL,
  strikes       INTEGER NOT NULL,
  checked_at    TEXT NULL,
  check_result  TEXT NOT NULL,
  generation    INTEGER NOT NULL, -- grows at each hand-over
  allocation_id INTEGER NULL,
  created_at    TEXT NOT NULL,
  CONSTRAINT nodes_uid UNIQUE (uid),
  CONSTRAINT nodes_name UNIQUE (name),
  CONSTRAINT nodes_bmc UNIQUE (bmc_address, bmc_port, bmc_system_id),
  CONSTRAINT nodes_status CHECK (status IN ('ready', 'allocated', 'dirty', 'broken')),
  CONSTRAINT nodes_holder CHECK ((status = 'allocated') = (allocation_id IS NOT NULL)),
  CONSTRAINT nodes_port CHECK (bmc_port BETWEEN 1 AND 65535),
  CONSTRAINT nodes_pool FOREIGN KEY (pool) REFERENCES pools (name),
  CONSTRAINT nodes_allocation FOREIGN KEY (allocation_id) REFERENCES allocations (id)
);

CREATE INDEX IF NOT EXISTS nodes_hand_out ON nodes (pool, status, suspect, cost, ready_since, id);
