package pool

import (
	"context"
	"os"
	"strings"
)

// What meta says of where a database belongs.
const (
	metaCluster = "cluster_uuid" // of the Galera cluster
	metaMachine = "machine"      // that made an SQLite file, as machineHere tells it
)

// machineHere names this machine for people, and tells it from others of the same name: the host's name
// and the first digits of a hash of systemd's machine id. It is "" for a server's database, which belongs
// to no machine.
func (db *DB) machineHere() string {
	if db.connector != nil {
		return ""
	}
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	id, _ := os.ReadFile("/etc/machine-id") // absent in many containers, whose names are random
	return name + "/" + hashKey(strings.TrimSpace(string(id)))[:12]
}

// OtherMachine is the name of the machine that an SQLite file was made on when that is not this one, else
// "". Each machine's file is a pool of its own: a copy on another machine hands out the same nodes once
// more. It reads the database.
func (db *DB) OtherMachine(ctx context.Context) (string, error) {
	if db.connector != nil {
		return "", nil
	}
	var made []string
	if err := db.list(ctx, &made, `SELECT value FROM meta WHERE name = ?`, metaMachine); err != nil {
		return "", err
	}
	if len(made) == 0 || made[0] == db.machineHere() {
		return "", nil
	}
	name, _, _ := strings.Cut(made[0], "/")
	return name, nil
}

// setMeta writes a fact; an empty value writes nothing.
func (t *tx) setMeta(name, value string) error {
	if value == "" {
		return nil
	}
	n, err := t.exec(`UPDATE meta SET value = ? WHERE name = ?`, value, name)
	if err == nil && n == 0 {
		_, err = t.exec(`INSERT INTO meta (name, value) VALUES (?, ?)`, name, value)
	}
	return err
}
