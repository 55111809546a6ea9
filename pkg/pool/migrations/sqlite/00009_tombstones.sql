-- +goose Up
CREATE TABLE IF NOT EXISTS tombstones (
  owner_key TEXT NOT NULL PRIMARY KEY,
  closed_at TEXT NOT NULL,
  late_only INTEGER NOT NULL -- 1: only clients that began before closed_at are refused
);
