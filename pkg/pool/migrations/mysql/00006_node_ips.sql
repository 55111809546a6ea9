-- +goose Up
CREATE TABLE IF NOT EXISTS node_ips (
  node_id  BIGINT NOT NULL,
  position INT NOT NULL,
  ip       VARCHAR(45) NOT NULL,
 PRIMARY KEY (node_id, position),
  CONSTRAINT node_ips_ip UNIQUE (ip),
  CONSTRAINT node_ips_node FOREIGN KEY (node_id) REFERENCES nodes (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
