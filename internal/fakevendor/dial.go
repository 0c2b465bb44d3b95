package fakevendor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"
)

// Dial returns a transport that takes every host to addr and trusts the
// authority in caPEM alone. It is for other processes than the server's, which
// get addr and caPEM handed over. No proxy is used and no name is resolved, so
// that a test cannot reach a real vendor; a caPEM that cannot be read trusts
// nothing. Everything else, HTTP/2 included, is as in [http.DefaultTransport].
func Dial(addr string, caPEM []byte) *http.Transport {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPEM)
	var d net.Dialer
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", addr)
		},
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          100,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
}
