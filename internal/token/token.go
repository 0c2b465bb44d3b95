// Package token is the outer form of a vault key: who signed it, whether it is damaged, and the claims inside,
// which it does not interpret.
//
//	token  = "kbrake1" mode body check             mode is "live" or "test"
//	body   = base32( version ‖ kid(8) ‖ count ‖ block{count} ‖ seed(32) )
//	block  = length(2) ‖ claims ‖ next public key(32) ‖ signature(64)
//	check  = base32( CRC-32C(all before) )
//
// The first block is signed by the issuer, each further one by the key that the block before it has published. The seed
// at the end is the private half of the key that the last block publishes: whoever has the token can append a block, and
// nobody can take one away, because the seed of the block before is not in it. What a further block says can therefore
// only be less than what those before it say, if its readers take it so; see [Narrow].
//
// The alphabet is [A-Za-z0-9], because twilio-go refuses anything else as a password; the prefix and the check
// are for secret scanners.
//
// Verification goes from cheap to dear: length, prefix, check, encoding, version, lengths, key id, seed, signatures.
package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
)

// MaxLen is the longest token in bytes.
const MaxLen = 8 << 10

// MaxDepth is how often a token can be narrowed.
const MaxDepth = 4

const (
	// Prefix starts every vault key.
	Prefix   = "kbrake1"
	version  = 1
	kidLen   = 8
	headLen  = 1 + kidLen + 1
	seedLen  = ed25519.SeedSize
	pubLen   = ed25519.PublicKeySize
	sigLen   = ed25519.SignatureSize
	checkLen = 7 // base32 of four bytes
)

// The errors. Callers tell the holder of a bad token no more than these.
var (
	ErrMalformed = errors.New("token: not a vault key, or damaged")
	ErrUntrusted = errors.New("token: not signed by a trusted issuer")
	ErrTooLong   = errors.New("token: the grant is too large for a vault key of 8 KiB; shorten its policy")
	ErrTooDeep   = errors.New("token: the vault key was narrowed four times already, which is the most")
)

var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A KeyID names an issuer's public key inside tokens.
type KeyID [kidLen]byte

// IDOf is the name of a public key.
func IDOf(pub ed25519.PublicKey) KeyID {
	sum := sha256.Sum256(append([]byte("keybrake kid v1\x00"), pub...))
	return KeyID(sum[:kidLen])
}

// A Token is what a vault key says.
type Token struct {
	Live   bool
	Issuer KeyID
	Claims [][]byte // of each block: the issuer's, then those that narrow it
}

// Sign makes a token of claims. The same claims give the same token.
func Sign(priv ed25519.PrivateKey, live bool, claims []byte) (string, error) {
	c := chain{live: live, kid: IDOf(priv.Public().(ed25519.PublicKey))}
	if err := c.add(priv, claims); err != nil {
		return "", err
	}
	return c.text()
}

// Narrow appends claims to a token, which it does not verify: that takes the issuer's key, which its holder need not
// have. The same claims give the same token.
func Narrow(t string, claims []byte) (string, error) {
	c, err := parse(t)
	if err != nil {
		return "", err
	}
	if len(c.blocks) > MaxDepth {
		return "", ErrTooDeep
	}
	if err := c.add(ed25519.NewKeyFromSeed(c.seed), claims); err != nil {
		return "", err
	}
	return c.text()
}

// Read returns what a token says, whoever has signed it.
func Read(t string) (Token, error) {
	c, err := parse(t)
	if err != nil {
		return Token{}, err
	}
	return c.token(), nil
}

// Verify returns what a token says that one of keys signed. It never panics and allocates in proportion to a length that
// it has checked.
func Verify(t string, keys map[KeyID]ed25519.PublicKey) (Token, error) {
	c, err := parse(t)
	if err != nil {
		return Token{}, err
	}
	if !c.signedBy(keys[c.kid]) {
		return Token{}, ErrUntrusted
	}
	return c.token(), nil
}

// A chain is a token taken apart.
type chain struct {
	live   bool
	kid    KeyID
	blocks []block
	seed   []byte // of the key that the last block publishes
}

type block struct {
	claims []byte
	next   ed25519.PublicKey
	sig    []byte
}

func (c *chain) token() Token {
	t := Token{Live: c.live, Issuer: c.kid}
	for _, b := range c.blocks {
		t.Claims = append(t.Claims, b.claims)
	}
	return t
}

// add appends a block that priv signs. Its own key follows from priv and from what it says, so that no source of chance
// is needed where a key is narrowed, and nobody learns priv from it.
func (c *chain) add(priv ed25519.PrivateKey, claims []byte) error {
	if len(claims) > 0xffff {
		return ErrTooLong
	}
	seed, err := hkdf.Key(sha256.New, priv.Seed(), nil, "keybrake vault key v1: next key\x00"+string(c.message(claims, nil)), seedLen)
	if err != nil {
		return err
	}
	next := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	sig := ed25519.Sign(priv, c.message(claims, next))
	c.blocks, c.seed = append(c.blocks, block{claims, next, sig}), seed
	return nil
}

// message is what the signature of the next block covers: every part with its length before it, so that no two sets of
// parts give the same bytes. The signature before it ties a block to its chain.
func (c *chain) message(claims []byte, next ed25519.PublicKey) []byte {
	var before []byte
	if n := len(c.blocks); n > 0 {
		before = c.blocks[n-1].sig
	}
	var m []byte
	for _, part := range [][]byte{[]byte("keybrake vault key v1"), []byte(mode(c.live)), c.kid[:], {byte(len(c.blocks))}, before, claims, next} {
		m = binary.BigEndian.AppendUint64(m, uint64(len(part)))
		m = append(m, part...)
	}
	return m
}

// signedBy reports whether pub has signed the first block, each block's key the next, and whether the seed is of the last
// one's key: without it this is a token that lacks its last blocks.
func (c *chain) signedBy(pub ed25519.PublicKey) bool {
	last := c.blocks[len(c.blocks)-1].next
	if len(pub) != pubLen || !bytes.Equal(ed25519.NewKeyFromSeed(c.seed).Public().(ed25519.PublicKey), last) {
		return false
	}
	verified := chain{live: c.live, kid: c.kid}
	for _, b := range c.blocks {
		if !ed25519.Verify(pub, verified.message(b.claims, b.next), b.sig) {
			return false
		}
		verified.blocks, pub = append(verified.blocks, b), b.next
	}
	return true
}

func (c *chain) text() (string, error) {
	body := append([]byte{version}, c.kid[:]...)
	body = append(body, byte(len(c.blocks)))
	for _, b := range c.blocks {
		body = binary.BigEndian.AppendUint16(body, uint16(len(b.claims)))
		body = append(append(append(body, b.claims...), b.next...), b.sig...)
	}
	t := Prefix + mode(c.live) + encoding.EncodeToString(append(body, c.seed...))
	t += check(t)
	if len(t) > MaxLen {
		return "", ErrTooLong
	}
	return t, nil
}

func parse(t string) (*chain, error) {
	if len(t) > MaxLen || len(t) < len(Prefix)+4+checkLen || !strings.HasPrefix(t, Prefix) {
		return nil, ErrMalformed
	}
	rest, sum := t[len(Prefix):len(t)-checkLen], t[len(t)-checkLen:]
	if check(t[:len(t)-checkLen]) != sum {
		return nil, ErrMalformed
	}
	c := &chain{live: rest[:4] == "live"}
	if rest[:4] != mode(c.live) {
		return nil, ErrMalformed
	}
	body, err := encoding.DecodeString(rest[4:])
	if err != nil || encoding.EncodeToString(body) != rest[4:] {
		return nil, ErrMalformed
	}
	if !c.open(body) {
		return nil, ErrMalformed
	}
	return c, nil
}

// open takes a body apart, and reports whether it is one to the last byte.
func (c *chain) open(body []byte) bool {
	if len(body) < headLen || body[0] != version || body[headLen-1] < 1 || body[headLen-1] > 1+MaxDepth {
		return false
	}
	c.kid = KeyID(body[1:])
	count, rest := int(body[headLen-1]), body[headLen:]
	for range count {
		if len(rest) < 2 {
			return false
		}
		n := int(binary.BigEndian.Uint16(rest))
		if rest = rest[2:]; len(rest) < n+pubLen+sigLen {
			return false
		}
		c.blocks = append(c.blocks, block{rest[:n:n], ed25519.PublicKey(rest[n : n+pubLen]), rest[n+pubLen : n+pubLen+sigLen]})
		rest = rest[n+pubLen+sigLen:]
	}
	c.seed = rest
	return len(rest) == seedLen
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
