package keybrake

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/keybrake/keybrake-go/internal/token"
)

// ErrNotIssuer says that this brake has only public keys: it enforces vault keys and cannot make them.
var ErrNotIssuer = errors.New("keybrake: this brake has no Issuer, so it cannot issue keys; set Config.Issuer where keys are issued")

// An Issuer signs vault keys. Keep its private key with whatever issues keys; processes that only enforce need
// its [Issuer.Public] alone.
type Issuer struct {
	private func() ed25519.PrivateKey // a func prints as an address, never as the key
}

// NewIssuer makes an issuer with a fresh key, for a program that issues and enforces in one process. Its keys
// die with the process.
func NewIssuer() (*Issuer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("keybrake: making an issuer: %w", err)
	}
	return IssuerFrom(private)
}

// IssuerFrom makes an issuer of a private key from your secret store.
func IssuerFrom(private ed25519.PrivateKey) (*Issuer, error) {
	if len(private) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("keybrake: an issuer's private key has %d bytes, not %d", ed25519.PrivateKeySize, len(private))
	}
	private = slices.Clone(private) // the caller may wipe his
	switch {
	case !private.Equal(ed25519.NewKeyFromSeed(private.Seed())):
		return nil, errors.New("keybrake: an issuer's private key has the public half of another; make it with ed25519.NewKeyFromSeed of its first 32 bytes")
	case private.Equal(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))):
		return nil, errors.New("keybrake: an issuer's private key is one of zeros, which anybody has; was it read from where it is kept?")
	}
	return &Issuer{func() ed25519.PrivateKey { return private }}, nil
}

// Public is the key that verifies this issuer's vault keys, for Config.Verify of other processes.
func (i *Issuer) Public() ed25519.PublicKey {
	return i.private().Public().(ed25519.PublicKey)
}

// String hides the private key.
func (i *Issuer) String() string { return "[issuer]" }

// A keyset is who signs here and whose vault keys are accepted, with those that were verified lately. It does not change;
// Rotate puts another in its place.
type keyset struct {
	issuer  *Issuer // nil where keys are only enforced
	trusted map[token.KeyID]ed25519.PublicKey

	mu       sync.Mutex
	verified map[[sha256.Size]byte]*claims // by the token's digest
}

// mostVerified bounds what a keyset remembers: a few kilobytes for each key that is in use at once.
const mostVerified = 256

func newKeyset(issuer *Issuer, verify []ed25519.PublicKey) (*keyset, error) {
	if issuer == nil && len(verify) == 0 {
		return nil, errors.New("Config.Issuer and Config.Verify are both unset, so every vault key would be refused; set one")
	}
	if issuer != nil && issuer.private == nil {
		return nil, errors.New("Config.Issuer has no key; make it with NewIssuer or IssuerFrom")
	}
	k := &keyset{issuer: issuer, trusted: map[token.KeyID]ed25519.PublicKey{}, verified: map[[sha256.Size]byte]*claims{}}
	if issuer != nil {
		verify = append(slices.Clone(verify), issuer.Public())
	}
	for i, pub := range verify {
		if err := checkPublic(pub); err != nil {
			return nil, fmt.Errorf("Config.Verify[%d] %w", i, err)
		}
		k.trusted[token.IDOf(pub)] = slices.Clone(pub)
	}
	return k, nil
}

// smallOrder are the points, without the bit of their sign, under which anybody can make a signature: a key of zeros, most
// likely, from a buffer that was never filled.
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}

func checkPublic(pub ed25519.PublicKey) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("has %d bytes, not %d", len(pub), ed25519.PublicKeySize)
	}
	unsigned := slices.Clone(pub)
	unsigned[len(unsigned)-1] &= 0x7f
	if slices.Contains(smallOrder, hex.EncodeToString(unsigned)) {
		return errors.New("is a key under which anybody can sign; was it read from where it is kept?")
	}
	return nil
}

// Rotate puts a new set of signing keys in the place of what Config.Issuer and Config.Verify have said: issuer signs from
// now on (nil: none here), and vault keys are accepted that it or one of verify has signed. On error nothing changes. Calls
// on their way go on.
//
// To change the signing key without refusing a vault key that is in use: let every process accept the new public key
// beside the old one, then issue with the new, then, once the last vault key of the old has expired (Config.MaxTTL later,
// and later still where a grant had a NotBefore), leave the old one out. Change what the programs start with as well. A signing key that is known to others is stopped at once and everywhere with
// Revoke(ctx, ByIssuer(public)).
func (b *Brake) Rotate(issuer *Issuer, verify ...ed25519.PublicKey) error {
	k, err := newKeyset(issuer, verify)
	if err != nil {
		return fmt.Errorf("keybrake: rotate: %w", err)
	}
	b.keys.Store(k)
	return nil
}

// GoString hides the private key.
func (i *Issuer) GoString() string { return "[issuer]" }
