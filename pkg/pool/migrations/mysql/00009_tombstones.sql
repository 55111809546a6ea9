-- +goose Up
CREATE TABLE IF NOT EXISTS tombstones (
  owner_key CHAR(64) NOT NULL PRIMARY KEY,
  closed_at DATETIME(6) NOT NULL,
  late_only SMALLINT NOT NULL -- 1: only clients that began before closed_at are refused
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
