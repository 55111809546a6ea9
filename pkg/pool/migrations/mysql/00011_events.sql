-- +goose Up
CREATE TABLE IF NOT EXISTS events (
  id            BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  at            DATETIME(6) NOT NULL,
  operation     CHAR(26) NOT NULL, -- by which a repeated transaction recognises itself
  actor         VARCHAR(255) NOT NULL,
  kind          VARCHAR(32) NOT NULL,
  pool          VARCHAR(63) NOT NULL, -- names as text and no foreign key: history outlives all
  node          VARCHAR(63) NOT NULL,
  owner         VARCHAR(768) NOT NULL,
  owner_key     CHAR(64) NOT NULL,
  slot          VARCHAR(63) NOT NULL,
  allocation_id BIGINT NOT NULL,
  generation    BIGINT NOT NULL,
  detail        MEDIUMTEXT NOT NULL,
  INDEX events_operation (operation),
  INDEX events_node (node, id),
  INDEX events_owner (owner_key, id),
  INDEX events_at (at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
