package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// print writes where the figures come from, the table, and where they stand against the aims.
func (b *bench) print(w io.Writer, machine string) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s\n\n", machine)
	fmt.Fprint(out, "| engine | operation | nodes | round trips |")
	for _, n := range clientCounts {
		fmt.Fprintf(out, " %s: median ms | p99 ms | a second |", plural(n, "client"))
	}
	fmt.Fprintf(out, "\n|---|---|--:|--:|%s\n", strings.Repeat("--:|--:|--:|", len(clientCounts)))
	for _, r := range b.rows {
		nodes, trips := "", ""
		if r.nodes > 0 {
			nodes = fmt.Sprint(r.nodes)
		}
		if r.counted {
			trips = strings.TrimSuffix(fmt.Sprintf("%.1f", r.trips), ".0")
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |", r.engine, r.what, nodes, trips)
		for _, n := range clientCounts {
			s := r.samples[n]
			fmt.Fprintf(out, " %s | %s | %.0f |", millis(s.median()), millis(s.p99()), s.rate())
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out)
	b.printAims(out)
	return out.Flush()
}

// printAims sets the figures in relation to the floors of the same run.
func (b *bench) printAims(out io.Writer) {
	var engines []string
	for _, r := range b.rows {
		if len(engines) == 0 || engines[len(engines)-1] != r.engine {
			engines = append(engines, r.engine)
		}
	}
	small, large, most := poolSizes[0], poolSizes[len(poolSizes)-1], clientCounts[len(clientCounts)-1]
	// ratio of a's to b's value, which f takes from a sample.
	ratio := func(f func(sample) float64, a, b sample) float64 { return f(a) / f(b) }
	median := func(s sample) float64 { return float64(s.median()) }
	rate := sample.rate

	fmt.Fprintf(out, "| compared | aim | %s |\n|---|---|%s\n", strings.Join(engines, " | "), strings.Repeat("--:|", len(engines)))
	line := func(what, aim string, f func(get func(what string, nodes, clients int) sample) float64) {
		fmt.Fprintf(out, "| %s | %s |", what, aim)
		for _, e := range engines {
			fmt.Fprintf(out, " %.2f |", f(func(what string, nodes, clients int) sample { return b.row(e, what, nodes).samples[clients] }))
		}
		fmt.Fprintln(out)
	}
	type get = func(what string, nodes, clients int) sample
	for _, hook := range []string{whatPreHook, whatPostHook} {
		line(hook+" ÷ process: `SELECT 1`, medians, 1 client", "≤ 2", func(g get) float64 {
			return ratio(median, g(hook, small, 1), g(whatFloor, small, 1))
		})
	}
	line(fmt.Sprintf("allocations a second ÷ bare transactions a second, %d clients", most), "≥ 0.4", func(g get) float64 {
		return ratio(rate, g(whatAllocate, small, most), g(whatWrite, 0, most))
	})
	line(fmt.Sprintf("allocations and releases a second ÷ bare transactions a second, %d clients", most), "", func(g get) float64 {
		return 2 * ratio(rate, g(whatAllocate, small, most), g(whatWrite, 0, most))
	})
	for _, what := range []string{whatAllocate, whatRelease, whatPreHook} {
		line(fmt.Sprintf("%s, %d ÷ %d nodes, medians, 1 client", what, large, small), "≤ 1.5", func(g get) float64 {
			return ratio(median, g(what, large, 1), g(what, small, 1))
		})
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// machine describes in a line what the figures were measured on.
func machine(dir string) string {
	cpu := "unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := "unknown kernel"
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(release))
	}
	return fmt.Sprintf("%s, %d cores, Linux %s, %s, %s, %s", cpu, runtime.NumCPU(), kernel, fileSystem(dir), runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}

// fileSystem names the kind of file system that holds dir: on tmpfs a commit costs nothing, and no
// figure means anything.
func fileSystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "unknown file system"
	}
	switch s.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs (commits cost nothing here)"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	}
	return fmt.Sprintf("file system %#x", s.Type)
}
