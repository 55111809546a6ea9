-- +goose Up
CREATE TABLE IF NOT EXISTS events (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  at            TEXT NOT NULL,
  operation     TEXT NOT NULL, -- by which a repeated transaction recognises itself
  actor         TEXT NOT NULL,
  kind          TEXT NOT NULL,
  pool          TEXT NOT NULL, -- names as text and no foreign key: history outlives all
  node          TEXT NOT NULL,
  owner         TEXT NOT NULL,
  owner_key     TEXT NOT NULL,
  slot          TEXT NOT NULL,
  allocation_id INTEGER NOT NULL,
  generation    INTEGER NOT NULL,
  detail        TEXT NOT NULL
);

CREATE INDEX IF NOT EXISTS events_operation ON events (operation);

CREATE INDEX IF NOT EXISTS events_node ON events (node, id);

CREATE INDEX IF NOT EXISTS events_owner ON events (owner_key, id);

CREATE INDEX IF NOT EXISTS events_at ON events (at);
