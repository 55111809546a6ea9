package config

import (
	"os"
	"path/filepath"
)

// systemOutbox is the outbox that the accounts of one machine may share.
const systemOutbox = "/var/lib/molteniron/outbox"

// DefaultOutboxes lists the folders for releases that cannot reach the database, for when none is named:
// the system's, where the folder above it has been made, and the user's ($XDG_STATE_HOME/molteniron/outbox,
// or ~/.local/state without that variable). The first that can be written is for new ones; those who
// replay look into all.
func DefaultOutboxes(getenv func(string) string) []string {
	return defaultOutboxes(getenv, systemOutbox)
}

func defaultOutboxes(getenv func(string) string, system string) (folders []string) {
	// It is not made here: a hook would decide who owns what all accounts are to share.
	if info, err := os.Stat(filepath.Dir(system)); err == nil && info.IsDir() {
		folders = append(folders, system)
	}
	if own := xdg(getenv, "XDG_STATE_HOME", ".local/state", "outbox"); own != "" {
		folders = append(folders, own)
	}
	return folders
}
