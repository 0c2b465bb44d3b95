package keybrake

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
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

// GoString hides the private key.
func (i *Issuer) GoString() string { return "[issuer]" }
