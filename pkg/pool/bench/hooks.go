package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// The programs of a hooks client, in the order of its samples. The floor runs between the two hooks, so
// that all three see the machine in the same state.
const (
	runFloor = iota
	runPreHook
	runPostHook
	hookRuns
)

// programs is where the built programs are, and what the floor is told.
type programs struct {
	floor, preHook, postHook string
	driver, dsn              string // for the floor
}

// hooks is a build that calls both hooks as Jenkins does, each a process of its own.
type hooks struct {
	programs
	name    string
	url     string
	envFile string
	n       int
}

func (c *hooks) step(ctx context.Context, note lap) error {
	c.n++
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(c.envFile), // no configuration file of the caller's
		"MOLTENIRON_DATABASE=" + c.url, "MOLTENIRON_ENV_FILE=" + c.envFile,
		"JOB_NAME=bench", fmt.Sprintf("BUILD_NUMBER=%d", c.n), fmt.Sprintf("BUILD_URL=https://ci.example.org/job/bench-%s/%d/", c.name, c.n),
	}
	for i, argv := range [hookRuns][]string{runFloor: {c.floor, c.driver, c.dsn}, runPreHook: {c.preHook}, runPostHook: {c.postHook}} {
		took, err := wall(ctx, env, argv)
		if err != nil {
			return err
		}
		note(i, took)
	}
	return nil
}

// wall runs a program and gives the time from its start to its end, as its caller sees it.
func wall(ctx context.Context, env, argv []string) (time.Duration, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Stderr = env, &stderr
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		return took, fmt.Errorf("%s: %w\n%s", filepath.Base(argv[0]), err, stderr.Bytes())
	}
	return took, nil
}
