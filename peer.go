package keybrake

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"regexp"
	"slices"
	"strconv"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// A Peer is the client at the other end of a connection to a program that forwards for others, such as a proxy. A vault key
// that is bound to one ([Grant].Peer) is of no use to a thief who is another.
type Peer string

// PeerCertificate is the client that has shown this certificate, to a listener that has verified it.
func PeerCertificate(c *x509.Certificate) Peer {
	sum := sha256.Sum256(c.Raw)
	return Peer("certificate:" + hex.EncodeToString(sum[:]))
}

// PeerUID is a client of this machine, by the user id of its process, as the kernel tells for a connection over a Unix
// socket.
func PeerUID(uid int) Peer { return Peer("uid:" + strconv.Itoa(uid)) }

var peerForm = regexp.MustCompile(`^(certificate:[0-9a-f]{64}|uid:[0-9]{1,10})$`)

func (p Peer) check() error {
	if p != "" && !peerForm.MatchString(string(p)) {
		return errors.New("Peer is not one that PeerCertificate or PeerUID makes")
	}
	return nil
}

type peersKey struct{}

// WithPeer says who has sent the requests made with ctx, in place of what was said before. Only a program that takes
// requests from others has something to say, and only what it has verified itself.
func WithPeer(ctx context.Context, peers ...Peer) context.Context {
	return context.WithValue(ctx, peersKey{}, slices.Clone(peers))
}

// sentBy refuses a key that is bound to a client which did not send the call.
func (c *claims) sentBy(ctx context.Context) error {
	peers, _ := ctx.Value(peersKey{}).([]Peer)
	if c.Peer == "" || slices.Contains(peers, c.Peer) {
		return nil
	}
	return vendors.Refuse(reason.KeyPeer, "the vault key is bound to another client (Grant.Peer) than the one that sent this call")
}
