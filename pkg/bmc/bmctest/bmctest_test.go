package bmctest

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ipmitool runs the referee, a client of another code base, against a BMC.
func ipmitool(t *testing.T, b *BMC, user, password string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("ipmitool")
	if err != nil {
		if os.Getenv("MOLTENIRON_REQUIRE_TOOLS") == "1" {
			t.Fatal("ipmitool is missing; install it with: scripts/install-deps test")
		}
		t.Skip("ipmitool is missing; install it with: scripts/install-deps test")
	}
	addr := b.AddrPort()
	cmd := exec.CommandContext(t.Context(), path, append([]string{
		"-I", "lanplus", "-N", "1", "-R", "2", "-H", addr.Addr().String(), "-p", strconv.Itoa(int(addr.Port())), "-U", user, "-E",
	}, args...)...)
	cmd.Env = append(os.Environ(), "IPMITOOL_PASSWORD="+password, "IPMI_PASSWORD="+password)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestPower(t *testing.T) {
	b, err := Start(Config{Username: "admin", Password: "a 'quoted' one"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()

	steps := []struct {
		args []string
		want string
		on   bool
	}{
		{[]string{"chassis", "power", "status"}, "Chassis Power is off", false},
		{[]string{"chassis", "power", "on"}, "Chassis Power Control: Up/On", true},
		{[]string{"chassis", "power", "status"}, "Chassis Power is on", true},
		{[]string{"chassis", "power", "off"}, "Chassis Power Control: Down/Off", false},
		{[]string{"chassis", "power", "cycle"}, "Chassis Power Control: Cycle", true},
	}
	for _, s := range steps {
		got, err := ipmitool(t, b, "admin", "a 'quoted' one", s.args...)
		if err != nil || got != s.want {
			t.Fatalf("ipmitool %v said %q (%v), want %q", s.args, got, err, s.want)
		}
		if b.PowerIsOn() != s.on {
			t.Fatalf("after ipmitool %v: power is on = %v, want %v", s.args, b.PowerIsOn(), s.on)
		}
	}
}

func TestCredentialsAreChecked(t *testing.T) {
	b, err := Start(Config{Username: "admin", Password: "right", On: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, c := range []struct{ user, password string }{{"admin", "wrong"}, {"nobody", "right"}, {"admin", ""}} {
		if out, err := ipmitool(t, b, c.user, c.password, "chassis", "power", "off"); err == nil || !b.PowerIsOn() {
			t.Errorf("user %q with password %q got in: %s", c.user, c.password, out)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	for _, c := range []Config{
		{Username: "", Password: "x"},
		{Username: strings.Repeat("u", 17), Password: "x"},
		{Username: "admin", Password: ""},
		{Username: "admin", Password: strings.Repeat("p", 21)},
	} {
		if b, err := Start(c); err == nil {
			b.Close()
			t.Errorf("Start(%+v) served what IPMI cannot carry", c)
		}
	}
}
