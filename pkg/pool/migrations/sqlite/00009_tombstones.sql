-- +goose Up
CREATE TABLE IF NOT EXISTS tombstones (
  owner_key TEXT NOT NULL PRIMARY KEY,
  closed_at TEXT NOT NULL
);
