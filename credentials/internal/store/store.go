// Package store asks secret stores over HTTP, the way in which each of them has to be asked: over TLS, without
// following redirects, with a bound on time and bytes, outside the caller's own tracing, and with errors in which
// nothing of the store's text stands, for that may hold what was asked for.
package store

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	maxAnswer = 1 << 20          // bytes; far more than any secret
	maxTime   = 10 * time.Second // for one answer, whatever the caller allows
)

// A Client asks one store. It is safe for concurrent use.
type Client struct {
	name string // of the kind of store, for errors
	base *url.URL
	err  error // of the address; every Do returns it
	http http.Client
}

// New makes a client of the store at address, such as https://vault.example.com:8200. Plain http is for the loopback
// interface alone, where an agent of the store's may listen. The store's certificate is checked with roots; nil means the
// system's. base sends the requests instead of a transport of the client's own, if it is not nil; roots is its own matter
// then, and giving both is an error.
func New(name, address string, roots *x509.CertPool, base http.RoundTripper) *Client {
	c := &Client{name: name}
	c.base, c.err = parse(address)
	if base != nil && roots != nil {
		c.err = errors.New("RootCAs does not apply to a Base of one's own; set it there")
	}
	if base == nil {
		base = transport(roots)
	}
	c.http = http.Client{
		Transport: base,
		Timeout:   maxTime,
		// A redirect would take the store's token to where somebody else says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// transport takes no proxy from the environment.
func transport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true, // a small answer must not become a large one
	}
}

func parse(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("its address is not of the form https://host:port") // not shown: it may hold a password
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
		u.Path = strings.TrimSuffix(u.Path, "/")
		return u, nil
	}
	return nil, fmt.Errorf("its address has to start with https:// (http:// is for the loopback interface alone), and %s does not", u.Host)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// A Request is one question to the store.
type Request struct {
	Method, Path string // the path below the address, unescaped
	Query        url.Values
	Header       http.Header
	Body         any // sent as JSON, if it is not nil
}

// An Error is an answer of the store that is not a success. It holds nothing of the store's text.
type Error struct {
	Store  string
	Status int
}

func (e *Error) Error() string {
	text := strings.TrimSpace(fmt.Sprintf("%s answered %d %s", e.Store, e.Status, http.StatusText(e.Status)))
	if e.Status/100 == 3 {
		text += ", which is not followed; give the address that it leads to"
	}
	return text
}

// Status is the status of an *Error in err's tree, or 0.
func Status(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// Do sends r and reads the JSON answer into out, which is nil where the answer does not matter.
func (c *Client) Do(ctx context.Context, r Request, out any) error {
	if c.err != nil {
		return fmt.Errorf("%s: %w", c.name, c.err)
	}
	if ctx.Err() != nil {
		return c.broken(ctx, nil)
	}
	ctx, stop := bare(ctx)
	defer stop()
	req, err := c.request(ctx, r)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.broken(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return &Error{Store: c.name, Status: resp.StatusCode}
	case err != nil:
		return c.broken(ctx, err)
	case len(body) > maxAnswer:
		return fmt.Errorf("%s: the answer is longer than %d bytes", c.name, maxAnswer)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s: the answer is not of the documented form", c.name) // err quotes it
	}
	return nil
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	var body io.Reader
	if r.Body != nil {
		data, err := json.Marshal(r.Body)
		if err != nil {
			return nil, fmt.Errorf("%s: the question cannot be written as JSON", c.name)
		}
		body = bytes.NewReader(data)
	}
	u := *c.base
	u.Path += r.Path
	u.RawQuery = r.Query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%s: the path cannot be asked for", c.name)
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// broken says what went wrong on the way, without what net/http quotes of the answer.
func (c *Client) broken(ctx context.Context, err error) error {
	var (
		dial *net.OpError
		cert *tls.CertificateVerificationError
		late net.Error
	)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s did not answer: %w", c.name, context.Cause(ctx))
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("%s cannot be reached: %w", c.name, dial)
	case errors.As(err, &cert):
		return fmt.Errorf("%s: the certificate of %s is not for this host or of no known authority (RootCAs takes a private one)", c.name, c.base.Host)
	case errors.As(err, &late) && late.Timeout():
		return fmt.Errorf("%s did not answer in %v: %w", c.name, maxTime, context.DeadlineExceeded)
	}
	return fmt.Errorf("%s: the connection broke, or the answer was not HTTP", c.name)
}

// bare is ctx without its values: an httptrace among them would be shown the store's token and the answer's headers.
func bare(ctx context.Context) (context.Context, func()) {
	own, cancel := context.WithCancelCause(context.Background())
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return own, func() { stop(); cancel(nil) }
}
