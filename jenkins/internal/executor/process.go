package executor

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// softKill is how long an abort waits for all processes of a tree together (Jenkins' SoftKillWaitSeconds).
const softKill = 5 * time.Second

// processes is a look at all processes of the machine: parents by process.
type processes map[int]int

func lookAround() processes {
	all := processes{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if name := e.Name(); name[0] >= '0' && name[0] <= '9' {
			if pid, parent, alive := readStat("/proc/" + name + "/stat"); alive {
				all[pid] = parent
			}
		}
	}
	return all
}

// readStat reads a process's number and parent. A zombie is none: on a Jenkins agent its parent or init
// has collected it at once.
func readStat(file string) (pid, parent int, alive bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, false
	}
	number, rest, _ := strings.Cut(string(text), " ")
	fields := strings.Fields(rest[strings.LastIndexByte(rest, ')')+1:]) // the name before it may hold anything
	if len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
		return 0, 0, false
	}
	pid, _ = strconv.Atoi(number)
	parent, _ = strconv.Atoi(fields[1])
	return pid, parent, true
}

func alive(pid int) bool {
	_, _, is := readStat("/proc/" + strconv.Itoa(pid) + "/stat")
	return is
}

// carries reports whether a process was started with all of these variables. One that cleared its
// environment was not.
func carries(pid int, model map[string]string) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil || len(model) == 0 {
		return false
	}
	environ := bytes.Split(text, []byte{0})
	for name, value := range model {
		if !slices.ContainsFunc(environ, func(v []byte) bool { return string(v) == name+"="+value }) {
			return false
		}
	}
	return true
}

// terminate tells a process and those below it to end, children first, until the time is over for all of
// them. Nobody is killed; who stays, stays.
func (all processes) terminate(pid int, deadline time.Time) {
	for _, child := range slices.Sorted(maps.Keys(all)) {
		if all[child] == pid {
			all.terminate(child, deadline)
		}
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	for pause := 10 * time.Millisecond; alive(pid); pause = min(2*pause, time.Second) {
		time.Sleep(pause) //nolint:forbidigo // Jenkins looks as often
		if time.Now().After(deadline) {
			return
		}
	}
}

// terminateAll tells the process (0 for none) and its children to end, then all that carry the variables,
// each of these with time of its own.
func terminateAll(pid int, model map[string]string) {
	all := lookAround()
	if pid != 0 {
		all.terminate(pid, time.Now().Add(softKill))
	}
	for _, p := range slices.Sorted(maps.Keys(all)) {
		if carries(p, model) {
			all.terminate(p, time.Now().Add(softKill))
		}
	}
}

// carriers are the processes that carry the variables.
func carriers(model map[string]string) []int {
	var list []int
	for pid := range lookAround() {
		if carries(pid, model) {
			list = append(list, pid)
		}
	}
	return list
}

// killAll ends all that carry the variables, as a power cut does.
func killAll(model map[string]string) {
	for list := carriers(model); len(list) > 0; list = carriers(model) { // again: they may fork meanwhile
		for _, pid := range list {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
