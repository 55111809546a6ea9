-- +goose Up
CREATE TABLE IF NOT EXISTS node_ips (
  node_id  INTEGER NOT NULL,
  position INTEGER NOT NULL,
  ip       TEXT NOT NULL,
 PRIMARY KEY (node_id, position),
  CONSTRAINT node_ips_ip UNIQUE (ip),
  CONSTRAINT node_ips_node FOREIGN KEY (node_id) REFERENCES nodes (id)
);
