package secret

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestStoreAndLoad(t *testing.T) {
	key := NewKey()
	for _, value := range []string{
		"", "calvin", hidden, " outer blanks ", "line\nline\r\n", "ünï\x00\xff", strings.Repeat("x", 4096),
		"plain:", "plain:x", "plain:plain:x", "v1:", "v1:abc", "v2:x", "v12:x", "v:x", "vx:1", "v1", "v1 :x", "V1:x", "v1:1a2b3c4d:AAAA",
	} {
		for name, k := range map[string]*Key{"plain": nil, "sealed": key} {
			stored, err := Store(k, New(value), "uid-1")
			if err != nil {
				t.Fatalf("%s %q: %v", name, value, err)
			}
			if want := k != nil && value != ""; IsSealed(stored) != want {
				t.Errorf("%s %q is stored as %q: sealed %v, want %v", name, value, stored, !want, want)
			}
			for _, reader := range []*Key{k, key} { // what is plain is read with a key as well
				got, err := Load(reader, stored, "uid-1")
				if err != nil || got.Reveal() != value {
					t.Errorf("%s %q, stored as %q, is read as %q, %v", name, value, stored, got.Reveal(), err)
				}
			}
		}
	}
	// What people see in the table.
	for value, want := range map[string]string{"calvin": "calvin", "": "", "v1:x": "plain:v1:x", "plain:x": "plain:plain:x", "version:1": "version:1"} {
		if got, _ := Store(nil, New(value), "uid"); got != want {
			t.Errorf("%q is stored as %q, want %q", value, got, want)
		}
	}
}

func TestSealedIsBound(t *testing.T) {
	key, other := NewKey(), NewKey()
	sealed, err := key.Seal(New(hidden), "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := key.Seal(New(hidden), "uid-1"); again == sealed {
		t.Error("the same secret sealed twice gives the same text")
	}
	if !strings.HasPrefix(sealed, "v1:"+key.ID()+":") || shows(sealed) {
		t.Errorf("sealed as %q", sealed)
	}
	forged := "v1:" + other.ID() + sealed[len("v1:12345678"):]
	for name, c := range map[string]struct {
		key     *Key
		stored  string
		context string
		want    error
		text    string
	}{
		"no key":           {nil, sealed, "uid-1", ErrNoKey, "secret_key_file"},
		"another key":      {other, sealed, "uid-1", ErrWrongKey, key.ID()},
		"another node":     {key, sealed, "uid-2", ErrDamaged, "another node"},
		"forged key id":    {other, forged, "uid-1", ErrDamaged, "another node"},
		"cut":              {key, sealed[:len(sealed)-4], "uid-1", ErrDamaged, ""},
		"nothing in it":    {key, "v1:" + key.ID() + ":", "uid-1", ErrDamaged, ""},
		"no base64":        {key, "v1:" + key.ID() + ":%%%%", "uid-1", ErrDamaged, "base64"},
		"line end":         {key, sealed + "\n", "uid-1", ErrDamaged, "base64"},
		"no key id":        {key, "v1:zz", "uid-1", ErrDamaged, "v1:KEYID:BASE64"},
		"no form, no key":  {nil, "v1:zz", "uid-1", ErrDamaged, "v1:KEYID:BASE64"},
		"another version":  {key, "v2:whatever", "uid-1", nil, "newer program"},
		"version, no key":  {nil, "v2:whatever", "uid-1", nil, "newer program"},
		"the empty key":    {&Key{}, sealed, "uid-1", nil, "empty"},
		"upper-case keyid": {key, "v1:" + strings.ToUpper("abcdef12") + ":AAAA", "uid-1", ErrDamaged, ""},
	} {
		got, err := Load(c.key, c.stored, c.context)
		if err == nil || !got.IsZero() {
			t.Errorf("%s: read as %q", name, got.Reveal())
			continue
		}
		if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), sealed[20:30]) {
			t.Errorf("%s: the error shows the sealed text: %v", name, err)
		}
	}
	for i := range len(sealed) { // every single character counts
		bad := []byte(sealed)
		bad[i] ^= 1
		if got, err := Load(key, string(bad), "uid-1"); err == nil && IsSealed(string(bad)) {
			t.Fatalf("with character %d changed it is still read as %q", i, got.Reveal())
		}
	}
	if _, err := (*Key)(nil).Seal(New("x"), "c"); err == nil {
		t.Error("a nil key seals")
	}
}

func TestKeyFile(t *testing.T) {
	key := NewKey()
	if k2 := NewKey(); k2.ID() == key.ID() || k2.raw == key.raw {
		t.Fatal("two keys are the same")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "key file")
	if err := os.WriteFile(path, key.Marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link} {
		got, warning, err := LoadKey(p)
		if err != nil || warning != "" || got.ID() != key.ID() || got.raw != key.raw {
			t.Errorf("%s: %v, %q, %v", p, got, warning, err)
		}
	}
	for mode, want := range map[os.FileMode]string{
		0o640: "", 0o604: "can read it; type: chmod o= '" + path + "'", 0o602: "can write it", 0o646: "can read it",
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, warning, err := LoadKey(path); err != nil || (warning == "") != (want == "") || !strings.Contains(warning, want) {
			t.Errorf("mode %o: %q, %v; want %q", mode, warning, err, want)
		}
	}
	if _, _, err := LoadKey(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "key file: "+dir) {
		t.Errorf("no file: %v", err)
	}
	if _, _, err := LoadKey(dir); err == nil {
		t.Error("a folder is a key")
	}
}

func TestParseKeyErrors(t *testing.T) {
	good := string(NewKey().Marshal())
	line := strings.Split(good, "\n")[2]
	words := strings.Fields(line)
	for name, c := range map[string]struct{ in, want string }{
		"empty":       {"", "moltenironctl keygen"},
		"comments":    {"# a\n\n#b\n", "moltenironctl keygen"},
		"two":         {line + "\n" + line, "line 2: a second key"},
		"another":     {"ssh-ed25519 AAAA you@host", "line 1: no key"},
		"a word":      {"\nmolteniron-key-1", "line 2: no key"},
		"newer":       {"molteniron-key-2 x y z", "newer program"},
		"wrong id":    {words[0] + " 00000000 " + words[2], "its id is " + words[1]},
		"short":       {words[0] + " " + words[1] + " " + words[2][4:], "32 bytes"},
		"not base64":  {words[0] + " " + words[1] + " %" + words[2][1:], "32 bytes"},
		"more behind": {line + " more", "no key"},
	} {
		_, err := ParseKey([]byte(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		} else if strings.Contains(err.Error(), words[2][8:20]) {
			t.Errorf("%s: the error shows the key: %v", name, err)
		}
	}
	if k, err := ParseKey([]byte("\r\n# x\r\n  " + line + "  \r\n")); err != nil || k.ID() != words[1] {
		t.Errorf("blanks and CR LF: %v, %v", k, err)
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pass")
	for in, want := range map[string]string{
		"": "", "x": "x", "x\n": "x", "x\r\n": "x", "x\n\n": "x\n", " x \n": " x ", "a\nb\n": "a\nb", "\n": "", "x\r": "x\r",
	} {
		if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, warning, err := ReadFile(path); err != nil || warning != "" || got.Reveal() != want {
			t.Errorf("%q: %q, %q, %v", in, got.Reveal(), warning, err)
		}
	}
	for name, in := range map[string]string{"NUL": "a\x00b", "long": strings.Repeat("x", maxFile+1)} {
		if err := os.WriteFile(path, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ReadFile(path); err == nil || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzStore(f *testing.F) {
	key := NewKey()
	for _, s := range []string{"", "calvin", "v1:x", "plain:v1:", "v999999999999999999999:", "a\x00\xff"} {
		f.Add(s, "uid")
	}
	f.Fuzz(func(t *testing.T, value, context string) {
		for _, k := range []*Key{nil, key} {
			stored, err := Store(k, New(value), context)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Load(key, stored, context); err != nil || got.Reveal() != value {
				t.Fatalf("%q: %v", stored, err)
			}
			if k == nil && IsSealed(stored) {
				t.Fatalf("plain %q looks sealed", stored)
			}
		}
	})
}

func FuzzLoad(f *testing.F) {
	key, err := keyOf([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := key.Seal(New("x"), "uid")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{sealed, sealed[:20], "v1:", "v1::", "v1:" + key.ID() + ":", "v2:", "plain:v1:x", "plain:", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		got, err := Load(key, stored, "uid")
		switch {
		case err == nil && IsSealed(stored) && got != New("x"): // each run seals "x" anew
			t.Fatalf("%q was not sealed by us and is read as %q", stored, got.Reveal())
		case err != nil && !IsSealed(stored):
			t.Fatalf("plain %q: %v", stored, err)
		case err != nil && !got.IsZero():
			t.Fatalf("%q: a secret beside the error", stored)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(NewKey().Marshal())
	f.Add([]byte("molteniron-key-1 a b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := ParseKey(data)
		if err != nil {
			return
		}
		again, err := ParseKey(k.Marshal())
		if err != nil || again.raw != k.raw || again.id != k.id {
			t.Fatalf("%v, %v", again, err)
		}
	})
}
