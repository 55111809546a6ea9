package jenkins_test

import (
	"os"
	"testing"

	"github.com/molteniron/molteniron/internal/testneeds"
)

func TestMain(m *testing.M) { os.Exit(testneeds.RunWithPrograms(m, "..", 3)) }
