-- +goose Up
CREATE TABLE IF NOT EXISTS node_macs (
  node_id  BIGINT NOT NULL,
  position INT NOT NULL,
  mac      CHAR(17) NOT NULL,
 PRIMARY KEY (node_id, position),
  CONSTRAINT node_macs_mac UNIQUE (mac),
  CONSTRAINT node_macs_node FOREIGN KEY (node_id) REFERENCES nodes (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
