package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// keySize is that of AES-256, in bytes.
const keySize = 32

// keyTag begins the one line of a key file that counts; its number is the version of the form.
const keyTag = "molteniron-key-1"

// Key seals and opens stored secrets. Make one with NewKey, ParseKey or LoadKey. It may be used by
// several goroutines, and it prints as its id.
type Key struct {
	id   string
	raw  Text
	aead cipher.AEAD
}

// NewKey makes a random key.
func NewKey() *Key {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never fails: it ends the program instead
	k, err := keyOf(raw)
	if err != nil {
		panic(err) // the size is right
	}
	return k
}

func keyOf(raw []byte) (*Key, error) {
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	// The nonce is random and 96 bits long: safe for 2^32 values under one key, which no lab has.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return &Key{id: hex.EncodeToString(sum[:4]), raw: New(string(raw)), aead: aead}, nil
}

// ID is the name that the key's sealed values carry: the first 8 hexadecimal digits of its SHA-256.
// It is not secret.
func (k *Key) ID() string { return k.id }

// String implements fmt.Stringer: the id.
func (k *Key) String() string { return "key " + k.id }

// Format implements fmt.Formatter, so that no verb reaches the fields.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// Marshal gives the contents of a key file, which ParseKey reads: lines that begin with # are for
// people, and one line holds the tag with the version, the key's id and the key in base64:
//
//	molteniron-key-1 1a2b3c4d 4uYPq4Fk…=
//
// Write it with mode 0600.
func (k *Key) Marshal() []byte {
	return fmt.Appendf(nil, "# This key seals the BMC passwords in MoltenIron's database. Who has both can read them.\n"+
		"# Keep a copy in a safe place: without it the sealed passwords are lost.\n"+
		"%s %s %s\n", keyTag, k.id, base64.StdEncoding.EncodeToString([]byte(k.raw.Reveal())))
}

// ParseKey reads what Marshal writes. Its errors never show the key.
func ParseKey(data []byte) (*Key, error) {
	var key *Key
	for i, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if key != nil {
			return nil, fmt.Errorf("line %d: a second key; a file holds one", i+1)
		}
		k, err := parseKeyLine(string(line))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		key = k
	}
	if key == nil {
		return nil, errors.New("no key in it; make one with: moltenironctl keygen")
	}
	return key, nil
}

func parseKeyLine(line string) (*Key, error) {
	words := strings.Fields(line)
	switch {
	case words[0] != keyTag && strings.HasPrefix(words[0], "molteniron-key-"):
		return nil, fmt.Errorf("made for a newer program, which writes another form than %s", keyTag)
	case len(words) != 3 || words[0] != keyTag:
		return nil, fmt.Errorf("no key; a key is a line %q, made with: moltenironctl keygen", keyTag+" ID BASE64")
	}
	raw, err := decodeBase64(words[2])
	if err != nil || len(raw) != keySize {
		return nil, fmt.Errorf("the key is damaged: not %d bytes in base64", keySize)
	}
	k, err := keyOf(raw)
	if err != nil {
		return nil, err
	}
	if k.id != words[1] {
		return nil, fmt.Errorf("the key is damaged: its id is %s, the file says %q", k.id, words[1])
	}
	return k, nil
}

// decodeBase64 takes the one spelling that EncodeToString gives: the decoder alone would skip line
// ends and take any last bits, so that two texts would mean one value.
func decodeBase64(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, errors.New("not base64")
	}
	if base64.StdEncoding.EncodeToString(b) != s {
		return nil, errors.New("not canonical base64")
	}
	return b, nil
}

// LoadKey reads the key file at path, following links. The warning is "" unless others can read
// the file. It does not block for longer than the file system does.
func LoadKey(path string) (k *Key, warning string, err error) {
	data, warning, err := readFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("key file: %w", err)
	}
	k, err = ParseKey(data)
	if err != nil {
		return nil, "", fmt.Errorf("key file %s: %w", path, err)
	}
	return k, warning, nil
}
