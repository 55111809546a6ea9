-- +goose Up
CREATE TABLE IF NOT EXISTS node_macs (
  node_id  INTEGER NOT NULL,
  position INTEGER NOT NULL,
  mac      TEXT NOT NULL,
 PRIMARY KEY (node_id, position),
  CONSTRAINT node_macs_mac UNIQUE (mac),
  CONSTRAINT node_macs_node FOREIGN KEY (node_id) REFERENCES nodes (id)
);
