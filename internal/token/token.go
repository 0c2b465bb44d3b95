// Package token is the outer form of a vault key: who signed it, whether it is damaged, and the claims inside,
// which it does not interpret.
//
//	token  = "kbrake1" mode body check             mode is "live" or "test"
//	body   = base32( version ‖ kid(8) ‖ count ‖ blocks )
//	block  = length(2) ‖ claims ‖ signature(64)
//	check  = base32( CRC-32C(all before) )
//
// The alphabet is [A-Za-z0-9], because twilio-go refuses anything else as a password; the prefix and the check
// are for secret scanners. Version 1 has exactly one block; the count is there so that a later version can
// append blocks that narrow the first.
//
// Verification goes from cheap to dear: length, prefix, check, encoding, version, key id, signature.
package token

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
)

// MaxLen is the longest token in bytes.
const MaxLen = 8 << 10

const (
	// Prefix starts every vault key.
	Prefix   = "kbrake1"
	version  = 1
	kidLen   = 8
	checkLen = 7 // base32 of four bytes
)

// The errors of Verify. Callers tell the holder of a bad token no more than these.
var (
	ErrMalformed = errors.New("token: not a vault key, or damaged")
	ErrUntrusted = errors.New("token: not signed by a trusted issuer")
	ErrTooLong   = errors.New("token: the grant is too large for a vault key of 8 KiB; shorten its policy")
)

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// KeyID names a public key inside tokens.
func KeyID(pub ed25519.PublicKey) [kidLen]byte {
	sum := sha256.Sum256(append([]byte("keybrake kid v1\x00"), pub...))
	return [kidLen]byte(sum[:kidLen])
}

// Sign makes a token of claims.
func Sign(priv ed25519.PrivateKey, live bool, claims []byte) (string, error) {
	if len(claims) > 0xffff {
		return "", ErrTooLong
	}
	kid := KeyID(priv.Public().(ed25519.PublicKey))
	body := append([]byte{version}, kid[:]...)
	body = append(body, 1)
	body = binary.BigEndian.AppendUint16(body, uint16(len(claims)))
	body = append(body, claims...)
	body = append(body, ed25519.Sign(priv, signed(live, kid, claims))...)
	t := Prefix + mode(live) + encoding.EncodeToString(body)
	t += check(t)
	if len(t) > MaxLen {
		return "", ErrTooLong
	}
	return t, nil
}

// Verify returns the claims of a token that one of keys signed. It never panics and allocates in proportion to
// a length that it has checked.
func Verify(t string, keys map[[kidLen]byte]ed25519.PublicKey) (claims []byte, live bool, err error) {
	if len(t) > MaxLen || len(t) < len(Prefix)+4+checkLen || !strings.HasPrefix(t, Prefix) {
		return nil, false, ErrMalformed
	}
	rest, sum := t[len(Prefix):len(t)-checkLen], t[len(t)-checkLen:]
	if check(t[:len(t)-checkLen]) != sum {
		return nil, false, ErrMalformed
	}
	switch rest[:4] {
	case "live":
		live = true
	case "test":
	default:
		return nil, false, ErrMalformed
	}
	body, err := encoding.DecodeString(rest[4:])
	if err != nil || encoding.EncodeToString(body) != rest[4:] {
		return nil, false, ErrMalformed
	}
	claims, err = open(body, live, keys)
	return claims, live, err
}

func open(body []byte, live bool, keys map[[kidLen]byte]ed25519.PublicKey) ([]byte, error) {
	const head = 1 + kidLen + 1 + 2
	if len(body) < head+ed25519.SignatureSize || body[0] != version || body[1+kidLen] != 1 {
		return nil, ErrMalformed
	}
	n := int(binary.BigEndian.Uint16(body[head-2:]))
	if len(body) != head+n+ed25519.SignatureSize {
		return nil, ErrMalformed
	}
	kid := [kidLen]byte(body[1:])
	claims, sig := body[head:head+n], body[head+n:]
	pub := keys[kid]
	if len(pub) != ed25519.PublicKeySize || !ed25519.Verify(pub, signed(live, kid, claims), sig) {
		return nil, ErrUntrusted
	}
	return claims, nil
}

// signed is what the signature covers: every part with its length before it, so that no two sets of parts give
// the same bytes.
func signed(live bool, kid [kidLen]byte, claims []byte) []byte {
	var b []byte
	for _, part := range [][]byte{[]byte("keybrake vault key v1"), []byte(mode(live)), kid[:], claims} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return b
}

func mode(live bool) string {
	if live {
		return "live"
	}
	return "test"
}

func check(s string) string {
	return encoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum([]byte(s), castagnoli)))
}
