package token

import (
	"bytes"
	"crypto/ed25519"
	"testing"
)

// A holder may publish one key in two chains. A block that was made for one of them is none of the other.
func TestABlockBelongsToOneChain(t *testing.T) {
	issuer := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, seedLen))
	own := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, seedLen))
	pub := issuer.Public().(ed25519.PublicKey)
	// chained is the issuer's block and one that publishes own.
	chained := func(claims string) *chain {
		c := &chain{kid: IDOf(pub)}
		if err := c.add(issuer, []byte("grant")); err != nil {
			t.Fatal(err)
		}
		next := own.Public().(ed25519.PublicKey)
		sig := ed25519.Sign(ed25519.NewKeyFromSeed(c.seed), c.message([]byte(claims), next))
		c.blocks, c.seed = append(c.blocks, block{[]byte(claims), next, sig}), own.Seed()
		return c
	}
	one, other := chained("one"), chained("other")
	if err := one.add(own, []byte("less")); err != nil {
		t.Fatal(err)
	}
	if !one.signedBy(pub) || !other.signedBy(pub) {
		t.Fatal("a chain that was made rightly is refused")
	}
	other.blocks, other.seed = append(other.blocks, one.blocks[2]), one.seed
	if other.signedBy(pub) {
		t.Error("a block of one chain is taken in another")
	}
}
