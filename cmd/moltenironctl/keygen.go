package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/secret"
)

func (a *app) keygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "make a key that seals the BMC passwords in the database",
		Long: `Write a new random key to FILE, with mode 0600, for secret_key_file in the configuration. Passwords that are stored
from then on are sealed with it; those that are there stay as they are until they are set again. Every machine that
runs a pre-hook or moltenironctl needs the same file. A file that exists is never replaced: who loses a key loses
what it sealed, so keep a copy.`,
		Example:     `  moltenironctl keygen /etc/molteniron/key`,
		Args:        words(1, 1, "FILE"),
		Annotations: exitStatuses(),
		RunE: func(_ *cobra.Command, args []string) error {
			key := secret.NewKey()
			switch err := writeNew(args[0], key.Marshal()); {
			case errors.Is(err, fs.ErrExist):
				return cli.Usagef("%s exists, and is not replaced: what it seals would be lost; name another file", args[0])
			case err != nil:
				return err
			}
			a.say("made %s in %s; copy it to every machine that opens the database, and name it there with secret_key_file", key, args[0])
			return nil
		},
	}
}

// writeNew writes and syncs a file of mode 0600 that is not there yet, or leaves none.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}
