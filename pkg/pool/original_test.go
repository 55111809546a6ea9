package pool

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever lies in a blob, it makes a node or a fault that shows no password; and what a client of the
// original wrote, in quotes once more or not, is read as it was.
func FuzzOriginalBlob(f *testing.F) {
	f.Add(`{"ipmi_user": "user", "ipmi_password": "s3cret", "port_hwaddr": "de:ad:be:ef:00:01", "disk_gb": 32, "cpus": "8", "x": null, "y": true}`, "s3cret")
	f.Add(`"{\"ram_mb\": 2048}"`, `it's "quoted" \ and 🔑`)
	f.Add(`["a list"]`, "")
	f.Add(`{"rack": {"row": 1}}`, " ")
	f.Add("\"\\\"\"", "\x00")
	f.Fuzz(func(t *testing.T, blob, password string) {
		if spec, _, err := originalNode(map[string]string{"name": "n", "blob": blob}); err == nil && spec.Name != "n" {
			t.Errorf("it became %+v", spec)
		} else if err != nil && strings.Contains(blob, "s3cret") && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the fault shows the password: %v", err)
		}
		password = strings.ToValidUTF8(password, "?")
		text, err := json.Marshal(map[string]any{"ipmi_password": password, "ram_mb": 2048, "rack": "B4"})
		if err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(string(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, blob := range []string{string(text), string(again)} {
			spec, notes, err := originalNode(map[string]string{"name": "n", "blob": blob})
			if err != nil || len(notes) > 0 {
				t.Fatalf("%v %q of %s", err, notes, blob)
			}
			if spec.BMC.Password.Reveal() != password || spec.RAMMB != 2048 {
				t.Errorf("%s became %q, %d MiB", blob, spec.BMC.Password.Reveal(), spec.RAMMB)
			}
			if diff := cmp.Diff(map[string]string{"rack": "B4"}, spec.Properties); diff != "" {
				t.Errorf("properties (-want +got):\n%s", diff)
			}
		}
	})
}
