package secret

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// How a secret lies in the database. A sealed one is
//
//	v1:KEYID:BASE64
//
// with the nonce, the ciphertext and the tag of AES-256-GCM in the base64. A plain one is written as it
// is, which is what people who read or fill the table by hand expect, and the way of the original. Only a plain
// value that could be taken for something else (it begins with "v", digits and ":", or with "plain:")
// gets "plain:" before it. So each stored text means exactly one secret, with no guess about its form.
const (
	sealedTag = "v1:"
	plainTag  = "plain:"
)

// purpose is bound into every sealed value together with the version and the context, so that a value
// cannot be moved to another node, or serve anything else one day, unnoticed.
const purpose = "molteniron bmc password"

// Why a stored secret cannot be had; errors.Is finds them in the errors of Load and Open.
var (
	ErrNoKey    = errors.New("the secret is sealed and no key is configured")
	ErrWrongKey = errors.New("the secret is sealed with another key")
	ErrDamaged  = errors.New("the sealed secret is damaged")
)

// IsSealed reports whether a stored text is a sealed one: "v", digits and ":" begin it. Store never
// gives a plain secret that form.
func IsSealed(stored string) bool {
	rest, ok := strings.CutPrefix(stored, "v")
	if !ok {
		return false
	}
	digits, _, ok := strings.Cut(rest, ":")
	return ok && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// Store gives the text to keep in the database: sealed with key and bound to context (the node's uid),
// or plain when key is nil. An empty secret stays an empty text: there is nothing to hide. The error
// comes from a key that was not made by this package.
func Store(key *Key, plain Text, context string) (string, error) {
	switch value := plain.Reveal(); {
	case value == "":
		return "", nil
	case key != nil:
		return key.Seal(plain, context)
	case IsSealed(value) || strings.HasPrefix(value, plainTag):
		return plainTag + value, nil
	default:
		return value, nil
	}
}

// Load reads what Store gave; key may be nil as long as the text is not sealed, and a plain text is
// read whether there is a key or not, so that a database can be sealed while it is in use. Its errors
// are those of Open and ErrNoKey; they show neither the secret nor the text.
func Load(key *Key, stored, context string) (Text, error) {
	if !IsSealed(stored) {
		return New(strings.TrimPrefix(stored, plainTag)), nil
	}
	if key == nil {
		id, _, err := splitSealed(stored)
		if err != nil {
			return Text{}, err
		}
		return Text{}, fmt.Errorf("%w; set secret_key_file to the file of key %s", ErrNoKey, id)
	}
	return key.Open(stored, context)
}

// Seal encrypts a secret and binds it to context, which Open must be given again: a node's uid, which
// stays when the node is renamed. Twice the same secret gives two different texts.
func (k *Key) Seal(plain Text, context string) (string, error) {
	if k == nil || k.aead == nil {
		return "", errors.New("seal: the key is empty")
	}
	sealed := k.aead.Seal(nil, nil, []byte(plain.Reveal()), bound(context))
	return sealedTag + k.id + ":" + base64.StdEncoding.EncodeToString(sealed), nil
}

// Open decrypts what Seal gave for the same context. It fails with ErrWrongKey or ErrDamaged (which
// also means another context); the error shows neither the secret nor the sealed text.
func (k *Key) Open(sealed, context string) (Text, error) {
	if k == nil || k.aead == nil {
		return Text{}, errors.New("open: the key is empty")
	}
	id, box, err := splitSealed(sealed)
	if err != nil {
		return Text{}, err
	}
	if id != k.id {
		return Text{}, fmt.Errorf("%w: it wants key %s, secret_key_file is key %s", ErrWrongKey, id, k.id)
	}
	plain, err := k.aead.Open(nil, nil, box, bound(context))
	if err != nil {
		return Text{}, fmt.Errorf("%w or belongs to another node; set the password again", ErrDamaged)
	}
	return New(string(plain)), nil
}

// bound is the additional data: what the ciphertext must not be separated from. The parts before the
// context are constants, so no other context spells the same.
func bound(context string) []byte { return []byte(purpose + "\n" + sealedTag + "\n" + context) }

func splitSealed(sealed string) (id string, box []byte, err error) {
	if !IsSealed(sealed) {
		return "", nil, fmt.Errorf("%w: it has not the form v1:KEYID:BASE64", ErrDamaged)
	}
	rest, ok := strings.CutPrefix(sealed, sealedTag)
	if !ok {
		return "", nil, errors.New("the secret was sealed by a newer program; upgrade this one")
	}
	id, text, ok := strings.Cut(rest, ":")
	if !ok || len(id) != 8 || strings.Trim(id, "0123456789abcdef") != "" {
		return "", nil, fmt.Errorf("%w: it has not the form v1:KEYID:BASE64", ErrDamaged)
	}
	box, err = decodeBase64(text)
	if err != nil {
		return "", nil, fmt.Errorf("%w: what follows key %s is no base64", ErrDamaged, id)
	}
	return id, box, nil
}
