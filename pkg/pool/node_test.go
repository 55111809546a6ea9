package pool_test

import (
	"testing"

	"github.com/molteniron/molteniron/pkg/pool"
)

func TestRedfishEndpoint(t *testing.T) {
	tests := []struct {
		address string
		port    int
		want    string
	}{
		{"198.51.100.22", 443, "https://198.51.100.22"},
		{"198.51.100.22", 0, "https://198.51.100.22"},
		{"198.51.100.22", 8443, "https://198.51.100.22:8443"},
		{"2001:db8::1", 443, "https://[2001:db8::1]"},
		{"2001:db8::1", 8443, "https://[2001:db8::1]:8443"},
		{"https://bmc.example.org", 443, "https://bmc.example.org"},
		{"https://[2001:db8::1]/", 8443, "https://[2001:db8::1]:8443"},
		{"http://127.0.0.1", 80, "http://127.0.0.1"},
		{"http://127.0.0.1", 8000, "http://127.0.0.1:8000"},
		{"http://127.0.0.1", 443, "http://127.0.0.1:443"},
	}
	for _, tt := range tests {
		if got := (pool.BMC{Address: tt.address, Port: tt.port}).RedfishEndpoint(); got != tt.want {
			t.Errorf("%s port %d: %s, want %s", tt.address, tt.port, got, tt.want)
		}
	}
}
