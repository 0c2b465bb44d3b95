package fakevendor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// hostNames are the names that the leaf certificate stands for. A wildcard
// covers one label, so Twilio's edge and region names need their own.
var hostNames = []string{
	"api.stripe.com", "files.stripe.com", "connect.stripe.com", "meter-events.stripe.com",
	"api.twilio.com", "*.twilio.com", "*.us1.twilio.com", "*.ie1.twilio.com", "*.au1.twilio.com",
	"*.ashburn.us1.twilio.com", "*.dublin.ie1.twilio.com", "*.sydney.au1.twilio.com",
	"api.resend.com",
}

// newAuthority makes a throw-away authority and a leaf for [hostNames]. It
// returns the authority's certificate as PEM; its key is dropped, so that
// nothing else can ever be signed with it.
func newAuthority() (caPEM []byte, leaf tls.Certificate, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, fmt.Errorf("fakevendor: authority key: %w", err)
	}
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Keybrake fake vendor authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, leaf, fmt.Errorf("fakevendor: authority: %w", err)
	}
	leaf, err = newLeaf(ca, caKey)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), leaf, err
}

// newLeaf makes the server's certificate, signed by the authority.
func newLeaf(ca *x509.Certificate, caKey *ecdsa.PrivateKey) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fakevendor: leaf key: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "Keybrake fake vendor"},
		DNSNames:     hostNames,
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("fakevendor: leaf: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
