package keybrake_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/reason"
)

func newIssuer(t *testing.T) *keybrake.Issuer {
	t.Helper()
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// The way of a rotation: every process accepts both keys, then the new one signs, then the old one goes. No vault key that is in
// use is refused on the way.
func TestRotatingTheSigningKey(t *testing.T) {
	control := newWorld(t, nil)
	old, fresh := control.issuer, newIssuer(t)
	c := control.config()
	c.Issuer, c.Verify = nil, []ed25519.PublicKey{old.Public()}
	agents, err := keybrake.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]keybrake.Key{"the old key's": control.issue(t, "run_1", everything())}
	check := func(when string, refused ...string) {
		t.Helper()
		for name, k := range keys {
			want := reason.Code("")
			for _, r := range refused {
				if r == name {
					want = reason.KeyUntrusted
				}
			}
			for _, b := range []*keybrake.Brake{control.Brake, agents} {
				if got := refusedFor(t, b.Transport(nil), request(t, "GET", chargesURL, k.Token(), "", "")); got != want {
					t.Errorf("%s: %s vault key is refused for %q, want %q", when, name, got, want)
				}
			}
		}
	}
	rotate := func(b *keybrake.Brake, issuer *keybrake.Issuer, verify ...ed25519.PublicKey) {
		t.Helper()
		if err := b.Rotate(issuer, verify...); err != nil {
			t.Fatal(err)
		}
	}
	check("before")
	rotate(agents, nil, old.Public(), fresh.Public())
	check("with both accepted")
	rotate(control.Brake, fresh, old.Public())
	keys["the new key's"] = control.issue(t, "run_2", everything())
	keys["a narrowed"] = child(t, keys["the old key's"], keybrake.Narrowing{Labels: []string{"x"}})
	check("with the new key signing")
	rotate(agents, nil, fresh.Public())
	rotate(control.Brake, fresh)
	check("with the old key gone", "the old key's", "a narrowed")
	if _, err := agents.Issue(t.Context(), grant("run_3", everything())); !errors.Is(err, keybrake.ErrNotIssuer) {
		t.Errorf("a process that only enforces issues: %v", err)
	}

	for name, err := range map[string]error{
		"nothing":        agents.Rotate(nil),
		"half a key":     agents.Rotate(nil, fresh.Public()[:16]),
		"a key of zeros": agents.Rotate(nil, make(ed25519.PublicKey, 32)),
		"a zero issuer":  agents.Rotate(&keybrake.Issuer{}),
	} {
		if err == nil {
			t.Errorf("%s is taken for a set of keys", name)
		}
	}
	check("after rotations that failed", "the old key's", "a narrowed")
}

// When a signing key is known to others, what it has signed is stopped at once: in every process, whatever each of them still
// accepts, and what is signed with it later as well.
func TestRevokingASigningKey(t *testing.T) {
	w := newWorld(t, nil)
	leaked, other := w.issuer, newIssuer(t)
	c := w.config()
	c.Verify = []ed25519.PublicKey{leaked.Public()}
	c.Issuer = other
	elsewhere, err := keybrake.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	stolen := w.issue(t, "run_1", everything())
	narrowed := child(t, stolen, keybrake.Narrowing{Labels: []string{"x"}})
	g := grant("run_2", everything())
	g.Tenant = "globex"
	abroad, err := w.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	fine, err := elsewhere.Issue(t.Context(), grant("run_3", everything()))
	if err != nil {
		t.Fatal(err)
	}
	report, err := elsewhere.Revoke(t.Context(), keybrake.ByIssuer(leaked.Public()))
	if err != nil || len(report.Tenants) != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	for name, tt := range map[string]struct {
		key  keybrake.Key
		want reason.Code
	}{"a key of it": {stolen, reason.KeyRevoked}, "one narrowed from it": {narrowed, reason.KeyRevoked}, "another tenant's": {abroad, reason.KeyRevoked}, "another issuer's": {fine, ""}} {
		if got := refusedFor(t, elsewhere.Transport(nil), request(t, "GET", chargesURL, tt.key.Token(), "", "")); got != tt.want {
			t.Errorf("%s: refused for %q, want %q", name, got, tt.want)
		}
	}
	if key, err := w.Issue(t.Context(), grant("run_4", everything())); err == nil || !strings.Contains(err.Error(), "revoked") || key.Token() != "" {
		t.Errorf("the revoked key signs a vault key: %v", err)
	}
	if _, err := elsewhere.Revoke(t.Context(), keybrake.ByIssuer(nil)); err == nil {
		t.Error("an issuer of nothing is revoked")
	}
}

// A key that is not what it was taken for is refused where it is given, and what the caller does with his buffer later changes
// nothing.
func TestIssuerFromTakesAKeyThatSigns(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]ed25519.PrivateKey{
		"nothing": nil, "half": private[:32], "zeros": make(ed25519.PrivateKey, 64),
		"a seed of zeros": ed25519.NewKeyFromSeed(make([]byte, 32)), "another's public half": append(bytes.Clone(private[:32]), other[32:]...),
	} {
		if _, err := keybrake.IssuerFrom(bad); err == nil {
			t.Errorf("%s is taken for a private key", name)
		}
	}
	buffer := bytes.Clone(private)
	issuer, err := keybrake.IssuerFrom(buffer)
	if err != nil {
		t.Fatal(err)
	}
	clear(buffer)
	if !issuer.Public().Equal(private.Public()) {
		t.Error("the issuer's key is the caller's buffer")
	}
}

// A key that is on record and was not issued is on record as that, too.
func TestARecordSaysThatAKeyWasNotIssued(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.Revoke(t.Context(), keybrake.ByIssuer(w.issuer.Public())); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Issue(t.Context(), grant("run_1", everything())); err == nil || !strings.Contains(err.Error(), "Rotate") {
		t.Errorf("got %v", err)
	}
	records := w.sink.Records()
	if n := len(records); n < 2 || records[n-1].Key == "" || records[n-1].Key != records[n-2].Key || !strings.Contains(records[n-1].Detail, "not issued") {
		t.Errorf("the records are %+v", records)
	}
}

// Under some public keys anybody can sign. A buffer that was never filled is one of them.
func TestPublicKeysUnderWhichAnybodyCanSignAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	weak := 0
	for _, text := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		point, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, sign := range []byte{0, 0x80} {
			pub := bytes.Clone(point)
			pub[31] |= sign
			if anybodySigns(pub) {
				weak++
			}
			c := w.config()
			c.Verify = []ed25519.PublicKey{pub}
			if _, err := keybrake.New(context.Background(), c); err == nil || !strings.Contains(err.Error(), "Config.Verify[0]") {
				t.Errorf("%x is accepted: %v", pub, err)
			}
		}
	}
	if weak < 8 {
		t.Errorf("only %d of these keys are weak, so the list is wrong", weak)
	}
	if anybodySigns(w.issuer.Public()) {
		t.Error("the test takes a good key for a weak one")
	}
}

// anybodySigns reports whether a signature that needs no private key holds for one message in some.
func anybodySigns(pub ed25519.PublicKey) bool {
	forged := make([]byte, ed25519.SignatureSize)
	forged[0] = 1 // the neutral point, and s of zero
	for i := range 200 {
		if ed25519.Verify(pub, []byte{byte(i)}, forged) {
			return true
		}
	}
	return false
}

func TestAKeyIsBoundToAPeer(t *testing.T) {
	w := newWorld(t, nil)
	shown, other := keybrake.PeerCertificate(&x509.Certificate{Raw: []byte("one")}), keybrake.PeerCertificate(&x509.Certificate{Raw: []byte("another")})
	for _, bound := range []keybrake.Peer{"", shown, keybrake.PeerUID(1000)} {
		g := grant("run_1", everything())
		g.Peer = bound
		key, err := w.Issue(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []keybrake.Key{key, child(t, key, keybrake.Narrowing{Labels: []string{"x"}})} {
			for name, peers := range map[string][]keybrake.Peer{
				"nobody": nil, "the certificate": {shown}, "another certificate": {other}, "the user": {keybrake.PeerUID(1000)},
				"another user": {keybrake.PeerUID(100)}, "both": {shown, keybrake.PeerUID(1000)}, "nothing": {""},
			} {
				req := request(t, "GET", chargesURL, k.Token(), "", "")
				if peers != nil {
					req = req.WithContext(keybrake.WithPeer(t.Context(), peers...))
				}
				want := reason.KeyPeer
				if bound == "" || name == "both" || name == "the certificate" && bound == shown || name == "the user" && bound == keybrake.PeerUID(1000) {
					want = ""
				}
				if got := refusedFor(t, w.Transport(nil), req); got != want {
					t.Errorf("a key of %q sent by %s: refused for %q, want %q", bound, name, got, want)
				}
			}
		}
	}
	for _, bad := range []keybrake.Peer{"uid:", "uid:-1", "uid:root", "certificate:", "CN=agent", shown + "0"} {
		g := grant("run_2", everything())
		g.Peer = bad
		if _, err := w.Issue(t.Context(), g); err == nil || !strings.Contains(err.Error(), "Peer") {
			t.Errorf("a key is bound to %q: %v", bad, err)
		}
	}
}
