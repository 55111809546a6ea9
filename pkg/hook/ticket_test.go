package hook

import (
	"bytes"
	"strings"
	"testing"

	"github.com/molteniron/molteniron/pkg/pool"
	"github.com/molteniron/molteniron/pkg/secret"
)

// Whatever a file holds, reading it as a ticket ends; and a ticket that was written is read as it was.
func FuzzTicketFile(f *testing.F) {
	f.Add([]byte(`{"ticket": 2, "pool": "p", "wants": "1 node", "owner": "o", "slot": "", "token": "T"}`), int64(2), "https://ci/1/", "", "TOKEN")
	f.Add([]byte(`{"ticket": "2", "owner": 1}`), int64(1<<62), "é \" \\ ", "b", "\u2028")
	f.Add([]byte(`[]`), int64(1), "o\n", "s", "")
	f.Fuzz(func(t *testing.T, text []byte, id int64, owner, slot, token string) {
		if m, ok := parseManifest(text); ok && (m.Owner == nil || m.Token == nil) {
			t.Errorf("%q is no ticket and was taken for one", text)
		}
		owner, slot, token = strings.ToValidUTF8(owner, "?"), strings.ToValidUTF8(slot, "?"), strings.ToValidUTF8(token, "?")
		var b bytes.Buffer
		a := &pool.Allocation{ID: id, Owner: owner, Slot: slot, Token: secret.New(token), Groups: []pool.Group{{Count: 1}}}
		if err := writeTicket(a)(&b); err != nil {
			t.Fatal(err)
		}
		m, ok := parseManifest(b.Bytes())
		if !ok || m.Ticket != id || *m.Owner != owner || m.Slot != slot || *m.Token != token {
			t.Errorf("%+v was read of\n%s", m, b.String())
		}
	})
}
