package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/molteniron/molteniron/cmd/internal/cli"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// app is what all commands share: the surroundings of the process.
type app struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// say writes a line for people; stdout is for data.
func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.stderr, "%s: %s\n", program, cli.Printable(fmt.Sprintf(format, args...)))
}

func (a *app) output() cli.Output { return cli.NewOutput(a.stdout, a.getenv) }

// settings reads the configuration for a command; names are its flags that are keys of it too, beside
// --database.
func (a *app) settings(cmd *cobra.Command, names ...string) (cli.Settings, error) {
	s := cli.Settings{Program: program, Command: cmd.CommandPath(), Getenv: a.getenv, Stderr: a.stderr}
	err := s.LoadConfig(cmd.Flags(), append(names, "database")...)
	return s, err
}

// open opens the database for a command.
func (a *app) open(cmd *cobra.Command) (*pool.DB, error) {
	s, err := a.settings(cmd)
	if err != nil {
		return nil, err
	}
	return cli.OpenPool(cmd.Context(), s)
}

// withDB runs fn with the open database.
func (a *app) withDB(cmd *cobra.Command, fn func(context.Context, *pool.DB) error) error {
	db, err := a.open(cmd)
	if err != nil {
		return err
	}
	defer db.Close()
	return fn(cmd.Context(), db)
}

// find reads the nodes of a filter, by name or by owner; none is an error, which tells an owner who lost
// them who has them now.
func (a *app) find(ctx context.Context, db *pool.DB, f pool.NodeFilter) ([]pool.Node, error) {
	if f.Owner != "" {
		return db.NodesOf(ctx, f.Owner, f.Credentials)
	}
	return db.Nodes(ctx, f)
}

// maxPassword bounds what is read from stdin: the pool takes at most 4096 bytes.
const maxPassword = 1 << 13

// readPassword reads a password from stdin to its end; one newline there is not part of it.
func readPassword(r io.Reader) (secret.Text, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxPassword+1))
	switch {
	case err != nil:
		return secret.Text{}, fmt.Errorf("read the password from stdin: %w", err)
	case len(text) > maxPassword:
		return secret.Text{}, cli.Usagef("what stdin holds is too long for a password")
	case len(text) == 0:
		return secret.Text{}, cli.Usagef("stdin is empty, a password was expected there")
	}
	s, ended := strings.CutSuffix(string(text), "\n")
	if ended {
		s = strings.TrimSuffix(s, "\r")
	}
	return secret.New(s), nil
}
