-- +goose Up
CREATE TABLE IF NOT EXISTS allocation_nodes (
  allocation_id INTEGER NOT NULL,
  position      INTEGER NOT NULL,
  node_id       INTEGER NOT NULL, -- no foreign key: history outlives a node
  node          TEXT NOT NULL,
  group_name    TEXT NOT NULL,
  generation    INTEGER NOT NULL,
  granted_at    TEXT NOT NULL,
  released_at   TEXT NULL,
  open_node     INTEGER NULL,     -- node_id while the node is held: one holder a node
 PRIMARY KEY (allocation_id, position),
  CONSTRAINT allocation_nodes_open UNIQUE (open_node),
  CONSTRAINT allocation_nodes_released CHECK ((released_at IS NULL) = (open_node IS NOT NULL)),
  CONSTRAINT allocation_nodes_allocation FOREIGN KEY (allocation_id) REFERENCES allocations (id)
);

CREATE INDEX IF NOT EXISTS allocation_nodes_node ON allocation_nodes (node_id, granted_at);
