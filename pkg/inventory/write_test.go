package inventory

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
	"pgregory.net/rapid"
)

func TestWrite(t *testing.T) {
	specs := []pool.NodeSpec{
		{
			Name: "a", Pool: "default", BMC: pool.BMC{Driver: "ipmi", Address: "192.0.2.1", Port: 623, Username: "ci", Password: secret.New(`x "y", $z`)},
			MACs: []string{"52:54:00:12:34:56", "52:54:00:12:34:57"}, Arch: "x86_64", CPUs: 8, RAMMB: 1024, DiskGB: 10, IPs: []string{"203.0.113.1"},
			Properties: map[string]string{"rack": "a1", "fw": "1.10"}, Cost: 5,
		},
		{Name: "b", BMC: pool.BMC{Address: "h"}},
	}
	for _, c := range []struct {
		format      Format
		credentials bool
		want        string
	}{
		{YAML, true, `nodes:
  - name: a
    pool: default
    bmc:
      driver: ipmi
      address: 192.0.2.1
      port: 623
      username: ci
      password: "x \"y\", $z"
    macs: ["52:54:00:12:34:56", "52:54:00:12:34:57"]
    arch: x86_64
    cpus: 8
    ram_mb: 1024
    disk_gb: 10
    ips: [203.0.113.1]
    properties:
      fw: "1.10"
      rack: a1
    cost: 5
  - name: b
    bmc:
      address: h
`},
		{CSV, true, `name,pool,bmc_driver,bmc_address,bmc_port,bmc_system_id,bmc_verify,bmc_user,bmc_password,mac,arch,cpus,ram_mb,disk_gb,ip,cost,prop:fw,prop:rack
a,default,ipmi,192.0.2.1,623,,,ci,"x ""y"", $z",52:54:00:12:34:56 52:54:00:12:34:57,x86_64,8,1024,10,203.0.113.1,5,1.10,a1
b,,,h,,,,,,,,,,,,,,
`},
		{CSV, false, `name,pool,bmc_driver,bmc_address,bmc_port,bmc_system_id,bmc_verify,bmc_user,mac,arch,cpus,ram_mb,disk_gb,ip,cost,prop:fw,prop:rack
a,default,ipmi,192.0.2.1,623,,,ci,52:54:00:12:34:56 52:54:00:12:34:57,x86_64,8,1024,10,203.0.113.1,5,1.10,a1
b,,,h,,,,,,,,,,,,,
`},
	} {
		var buf bytes.Buffer
		if err := Write(&buf, c.format, specs, c.credentials); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, buf.String()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.format, diff)
		}
	}
	var buf bytes.Buffer
	if err := Write(&buf, YAML, specs, false); err != nil || strings.Contains(buf.String(), "password") {
		t.Errorf("without credentials: %v\n%s", err, buf.String())
	}
	for _, format := range []Format{YAML, CSV} {
		buf.Reset()
		if err := Write(&buf, format, nil, true); err != nil {
			t.Fatal(err)
		}
		if inv, err := Read(&buf, "", ""); err != nil || inv.Format != format || len(inv.Rows) != 0 {
			t.Errorf("an empty %s: %+v, %v", format, inv, err)
		}
	}
	for name, spec := range map[string]pool.NodeSpec{
		"CR LF":        {Name: "a", BMC: pool.BMC{Password: secret.New(hidden + "\r\n")}},
		"outer blanks": {Name: "a", BMC: pool.BMC{Username: " x"}},
		"no UTF-8":     {Name: "a", BMC: pool.BMC{Password: secret.New(hidden + "\xff")}},
		"a big key":    {Name: "a", Properties: map[string]string{"GPU": "x"}},
		"an empty one": {Name: "a", Properties: map[string]string{"gpu": ""}},
		"no name":      {},
	} {
		err := Write(io.Discard, CSV, []pool.NodeSpec{spec}, true)
		if err == nil || strings.Contains(err.Error(), hidden) || !strings.Contains(err.Error(), "as YAML") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Write(io.Discard, YAML, []pool.NodeSpec{{Name: "a", BMC: pool.BMC{Password: secret.New(hidden + "\xff")}}}, true); err == nil {
		t.Error("a text that is no UTF-8 was written")
	}
	if err := Write(io.Discard, Bifrost, nil, true); !errors.Is(err, pool.ErrInvalid) {
		t.Errorf("bifrost was written: %v", err)
	}
}

// drawSpec makes specs that pkg/pool takes, and passwords of every kind but those with CR LF.
func drawSpec(t *rapid.T) pool.NodeSpec {
	plain := rapid.StringMatching(`([!-~äß€😀]([ -~äß€😀]{0,20}[!-~äß€😀])?)?`)
	word := rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,20}`)
	value := plain.Filter(func(s string) bool { return s != "" })
	number := rapid.Int64Range(0, 1<<31-1)
	return pool.NodeSpec{
		Name: word.Draw(t, "name"), Pool: rapid.OneOf(rapid.Just(""), word).Draw(t, "pool"),
		BMC: pool.BMC{
			Driver: rapid.SampledFrom([]string{"", "ipmi", "redfish"}).Draw(t, "driver"), Address: word.Draw(t, "address"),
			Port: rapid.IntRange(0, 65535).Draw(t, "port"), SystemID: plain.Draw(t, "system"), Verify: plain.Draw(t, "verify"),
			Username: plain.Draw(t, "user"),
			Password: secret.New(rapid.OneOf(plain, rapid.String(), rapid.StringMatching("[=+@' \t\n\",;#*&!|>%`\\\\-]{0,5}[a-z ]{0,3}")).
				Filter(func(s string) bool { return !strings.Contains(s, "\r\n") && !strings.Contains(s, "\x00") }).Draw(t, "password")),
		},
		MACs: rapid.SliceOfN(rapid.StringMatching(`([0-9a-f]{2}:){5}[0-9a-f]{2}`), 0, 3).Draw(t, "macs"),
		Arch: rapid.SampledFrom([]string{"", "x86_64", "no"}).Draw(t, "arch"), CPUs: number.Draw(t, "cpus"), RAMMB: number.Draw(t, "ram"),
		DiskGB: number.Draw(t, "disk"), IPs: rapid.SliceOfN(rapid.StringMatching(`[0-9]{1,3}\.[0-9.]{5}|2001:db8::[0-9a-f]{1,4}`), 0, 3).Draw(t, "ips"),
		Properties: rapid.MapOfN(rapid.StringMatching(`[a-z][a-z0-9_]{0,10}`), value, 0, 4).Draw(t, "properties"), Cost: number.Draw(t, "cost"),
	}
}

// What is written is read back as the same, whatever the values are.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		specs := rapid.SliceOfN(rapid.Custom(drawSpec), 0, 5).Draw(t, "specs")
		format := rapid.SampledFrom([]Format{YAML, CSV}).Draw(t, "format")
		credentials := rapid.Bool().Draw(t, "credentials")
		var buf bytes.Buffer
		if err := Write(&buf, format, specs, credentials); err != nil {
			t.Fatal(err)
		}
		text := buf.String()
		inv, err := Read(&buf, "", "")
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		want := make([]pool.NodeSpec, len(specs))
		for i, s := range specs {
			if !credentials {
				s.BMC.Password = secret.Text{}
			}
			want[i] = tidy(s)
		}
		if diff := cmp.Diff(want, inv.Specs(), same); diff != "" || inv.Format != format || len(inv.Warnings) > 0 {
			t.Fatalf("%s, %q (-want +got)\n%s\nwritten as\n%s", inv.Format, inv.Warnings, diff, text)
		}
	})
}
