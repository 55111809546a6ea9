package pool

import (
	"testing"
	"time"
)

func TestSkewWarning(t *testing.T) {
	for skew, want := range map[time.Duration]string{
		0:               "",
		-time.Second:    "",
		2 * time.Second: "the clock of host db2 is 2s from that of db1; leases are counted by the host in use: run NTP on both",
		-time.Hour:      "the clock of host db2 is 1h0m0s from that of db1; leases are counted by the host in use: run NTP on both",
	} {
		if got := skewWarning("db1", "db2", skew); got != want {
			t.Errorf("%s: %q, want %q", skew, got, want)
		}
	}
}
