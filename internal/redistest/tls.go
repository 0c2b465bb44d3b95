package redistest

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
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// RunTLS is [Run] for a server that speaks TLS only, and returns what a client of it needs: a certificate
// authority made for this server, and a certificate of the client's own, without which it is turned away.
func RunTLS(args ...string) (*Server, *tls.Config, error) {
	var conf *tls.Config
	s, err := run(func(s *Server) ([]string, error) {
		var err error
		if conf, err = certify(s.dir); err != nil {
			return nil, err
		}
		file := func(name string) string { return filepath.Join(s.dir, name) }
		own := []string{
			"--port", "0", "--tls-port", strconv.Itoa(s.port), "--tls-ca-cert-file", file("ca.pem"),
			"--tls-cert-file", file("server.pem"), "--tls-key-file", file("server.key"),
		}
		return append(own, args...), nil
	})
	return s, conf, err
}

// certify makes an authority and a certificate for the server in dir, and returns the client's side.
func certify(dir string) (*tls.Config, error) {
	ca, err := sign(x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true}, nil)
	if err != nil {
		return nil, err
	}
	server, err := sign(x509.Certificate{Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca)
	if err != nil {
		return nil, err
	}
	client, err := sign(x509.Certificate{Subject: pkix.Name{CommonName: "client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	for name, block := range map[string]*pem.Block{
		"ca.pem":     {Type: "CERTIFICATE", Bytes: ca.Leaf.Raw},
		"server.pem": {Type: "CERTIFICATE", Bytes: server.Leaf.Raw},
		"server.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, fmt.Errorf("redistest: %w", err)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{*client}, MinVersion: tls.VersionTLS12}, nil
}

// sign makes a certificate that is good for an hour, signed by ca or, without one, by itself.
func sign(c x509.Certificate, ca *tls.Certificate) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	parent, signer := &c, key
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey.(*ecdsa.PrivateKey)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &c, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}, nil
}
