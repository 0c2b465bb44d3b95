package keybrake

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/keybrake/keybrake-go/internal/token"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// A keyset is who signs here and whose vault keys are accepted, with those that were verified lately. It does not change;
// verify checks a token's form and signature, from cheap to dear, and reads what it says. A token that was verified lately
// is known by its digest: an agent sends the same one with each call.
func (k *keyset) verify(text string) (*claims, error) {
	if len(text) > token.MaxLen {
		return k.newlyVerified(text) // which refuses it before it reads it
	}
	digest := sha256.Sum256([]byte(text))
	k.mu.Lock()
	c := k.verified[digest]
	k.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := k.newlyVerified(text)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.verified) >= mostVerified {
		clear(k.verified)
	}
	k.verified[digest] = c
	return c, nil
}

func (k *keyset) newlyVerified(text string) (*claims, error) {
	t, err := token.Verify(text, k.trusted)
	if errors.Is(err, token.ErrUntrusted) {
		return nil, vendors.Refuse(reason.KeyUntrusted, "no issuer of Config.Issuer or Config.Verify signed this vault key")
	}
	if err != nil {
		return nil, vendors.Refuse(reason.KeyMalformed, "the vault key is damaged; issue a new one")
	}
	c, err := readClaims(t)
	if err != nil {
		// Signed by us and not readable: a newer issuer, whose words could narrow the key. Fails closed.
		return nil, vendors.Refuse(reason.KeyMalformed, "the vault key says something that this version does not know; upgrade here or issue it with this version")
	}
	return c, nil
}

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
// and later still where a grant had a NotBefore), leave the old one out. Change what the programs start with as well. A
// signing key that is known to others is stopped at once and everywhere with Revoke(ctx, ByIssuer(public)).
func (b *Brake) Rotate(issuer *Issuer, verify ...ed25519.PublicKey) error {
	k, err := newKeyset(issuer, verify)
	if err != nil {
		return fmt.Errorf("keybrake: rotate: %w", err)
	}
	b.keys.Store(k)
	return nil
}
