-- +goose Up
CREATE TABLE IF NOT EXISTS allocation_nodes (
  allocation_id BIGINT NOT NULL,
  position      INT NOT NULL,
  node_id       BIGINT NOT NULL, -- no foreign key: history outlives a node
  node          VARCHAR(63) NOT NULL,
  group_name    VARCHAR(63) NOT NULL,
  generation    BIGINT NOT NULL,
  granted_at    DATETIME(6) NOT NULL,
  released_at   DATETIME(6) NULL,
  open_node     BIGINT NULL,     -- node_id while the node is held: one holder a node
 PRIMARY KEY (allocation_id, position),
  CONSTRAINT allocation_nodes_open UNIQUE (open_node),
  CONSTRAINT allocation_nodes_released CHECK ((released_at IS NULL) = (open_node IS NOT NULL)),
  CONSTRAINT allocation_nodes_allocation FOREIGN KEY (allocation_id) REFERENCES allocations (id),
  INDEX allocation_nodes_node (node_id, granted_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
