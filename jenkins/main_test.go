package jenkins_test

import (
	"flag"
	"log"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

// testMain builds the programs and puts them into PATH, where builds find them.
func testMain(m *testing.M) int {
	bin, err := os.MkdirTemp("", "kit")
	if err != nil {
		log.Print(err)
		return 1
	}
	defer os.RemoveAll(bin)
	build := exec.Command("go", "build", "-o", bin+"/", "../cmd/molten-prehook", "../cmd/molten-posthook", "../cmd/moltenironctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		log.Printf("build the programs: %v\n%s", err, out)
		return 1
	}
	if err := os.Setenv("PATH", bin+":"+os.Getenv("PATH")); err != nil {
		log.Print(err)
		return 1
	}
	// Builds mostly wait, for each other or for a time that must pass: more of them at once keep both cores busy.
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0))); err != nil {
		log.Print(err)
		return 1
	}
	return m.Run()
}
