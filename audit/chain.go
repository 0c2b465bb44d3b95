package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// A Link ties a record to the one that the same writer has made before it. See [Chain].
type Link struct {
	Writer string `json:"writer"` // one sink of one process
	N      int64  `json:"n"`      // the writer's records count from 1

	// Lost is how many numbers before N the writer's sink did not take, as far as the writer knows. Their records may be
	// there all the same.
	Lost int64 `json:"lost,omitempty"`

	Prev string `json:"prev,omitempty"` // the hash of the record before, or of the last one that was taken; empty for the first
	Hash string `json:"hash"`           // SHA-256 of the record's line without Hash and Signature, in hex
	Sign string `json:"sign,omitempty"` // Ed25519 over Hash, in base64
}

// Chain returns a sink that gives each record a [Link] and writes it to next, one after the other. [Verify] finds what was
// changed, removed, inserted or put in another order afterwards.
//
// With a key every link is signed: whoever writes where the records are kept, and has not the key, can then cut off a
// writer's end and nothing else without being noticed. Without a key he can make all links anew from where he changes
// something; then [Verified].Heads have to be kept elsewhere and compared.
//
// A writer is one such sink: make one per process. A record that next does not take uses up its number, and the next one
// says so.
func Chain(next Sink, key ed25519.PrivateKey) Sink {
	return &chain{next: guarded(next), key: func() ed25519.PrivateKey { return key }, turn: newTurn(), writer: "w" + strings.ToLower(rand.Text())}
}

type chain struct {
	next   *guard
	key    func() ed25519.PrivateKey // a func prints as an address, never as the key
	turn   turn                      // of what follows
	writer string
	n      int64
	lost   int64
	prev   string // of the last record that was taken
}

// Check fails where a link could not be signed, and where next does.
func (c *chain) Check(ctx context.Context) error {
	if key := c.key(); len(key) != 0 && len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("audit: a chain's key has %d bytes, not %d", len(key), ed25519.PrivateKeySize)
	}
	return c.next.Check(ctx)
}

func (c *chain) Write(ctx context.Context, r Record) error {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return late(ctx)
	}
	c.n++
	c.lost++ // until proven otherwise: next may panic
	r.Chain = &Link{Writer: c.writer, N: c.n, Lost: c.lost - 1, Prev: c.prev}
	if err := r.Chain.seal(r, c.key()); err != nil {
		return err
	}
	if err := c.next.Write(ctx, r); err != nil {
		return err
	}
	c.lost, c.prev = 0, r.Chain.Hash
	return nil
}

// seal completes the link of r.
func (l *Link) seal(r Record, key ed25519.PrivateKey) (err error) {
	if l.Hash, err = hashOf(r); err != nil {
		return fmt.Errorf("audit: hashing a record: %w", err)
	}
	if len(key) == ed25519.PrivateKeySize {
		l.Sign = base64.StdEncoding.EncodeToString(ed25519.Sign(key, signed(l.Hash)))
	}
	return nil
}

// hashOf is the hash of a record that has a link: of its line, with what the hash is written into left empty.
func hashOf(r Record) (string, error) {
	bare := *r.Chain
	bare.Hash, bare.Sign = "", ""
	r.Chain = &bare
	line, err := encode(r)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:]), nil
}

// signed is what a signature covers. The label keeps it from being one of anything else that the key may sign.
func signed(hash string) []byte { return []byte("keybrake audit v1\x00" + hash) }
