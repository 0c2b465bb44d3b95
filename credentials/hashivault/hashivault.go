// Package hashivault is a source of credentials in HashiCorp Vault, or in OpenBao, which speaks the same. It reads the
// key-value engine of both versions, and leases from engines that make a credential for whoever asks; leases are renewed
// while they are used and revoked by Close. It logs in by token, AppRole or Kubernetes, renews its token and logs in
// again when that has ended.
//
// It speaks Vault's HTTP API (developer.hashicorp.com/vault/api-docs, read on 2026-11-23; tested against Vault 1.21.0)
// and needs no SDK. Give it to keybrake.Config.Credentials.
package hashivault

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/internal/store"
)

// Options are the options of a source.
type Options struct {
	Namespace string // of Vault Enterprise or OpenBao, such as "admin/payments"; for the login as well. Default: none

	// RootCAs are the authorities that Vault's certificate is checked with, for one of a private authority. Default: the
	// system's
	RootCAs *x509.CertPool

	// Base sends the requests; it sees Vault's token and the credentials. It has root CAs of its own. Default: a transport
	// that takes no proxy from the environment
	Base http.RoundTripper
}

// A Source is a credentials.Source of Vault's secrets by reference. It is safe for concurrent use. Its token and what it
// has leased are in memory alone, and it prints without them.
type Source struct {
	client  *store.Client
	auth    Auth
	secrets map[string]Secret
	header  http.Header

	turn chan struct{} // held while logging in or renewing the token; a waiter can give up on it

	mu      sync.Mutex
	closed  bool
	session *session          // the latest; nil before the first login
	leases  map[string]*lease // by reference, those in use
	old     []*lease          // those that were replaced or refused, and have not ended
	timer   *time.Timer       // that renews the token
}

// New returns a source of secrets, by the reference that grants name them by, in the Vault at address, such as
// https://vault.example.com:8200. Plain http is for the loopback interface alone, where a Vault Agent may listen. It
// does no I/O; what is wrong with its arguments is the error of every Get. o may be nil.
func New(address string, auth Auth, secrets map[string]Secret, o *Options) *Source {
	o = cmp.Or(o, &Options{})
	s := &Source{
		client:  store.New("vault", address, o.RootCAs, o.Base),
		auth:    auth,
		secrets: maps.Clone(secrets),
		header:  http.Header{"X-Vault-Request": {"true"}}, // a Vault Agent may ask for it, so that no browser can be made to
		turn:    make(chan struct{}, 1),
		leases:  map[string]*lease{},
	}
	if o.Namespace != "" {
		s.header.Set("X-Vault-Namespace", o.Namespace)
	}
	return s
}

// Refs are the references, in order.
func (s *Source) Refs() []string { return slices.Sorted(maps.Keys(s.secrets)) }

// Get reads the secret of ref, or renews its lease. An error is a [*credentials.Fault]. It wraps credentials.ErrUnknown where Vault says that there is
// no such secret, version or field; it names the mount and the status, and holds nothing of Vault's own text.
func (s *Source) Get(ctx context.Context, ref string) (credentials.Credential, error) {
	secret, ok := s.secrets[ref]
	if !ok {
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Err: credentials.ErrUnknown}
	}
	if err := secret.valid(); err != nil {
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Why: err.Error()}
	}
	c, err := s.get(ctx, ref, secret)
	fault := func(why string, is error) error {
		return &credentials.Fault{Ref: ref, Why: "in the mount " + secret.Mount + ": " + why, Err: is}
	}
	switch {
	case store.Status(err) == http.StatusNotFound:
		return credentials.Credential{}, fault("there is no such secret, or its engine is not "+secret.Engine.String(), credentials.ErrUnknown)
	case errors.Is(err, store.ErrField):
		return credentials.Credential{}, fault(err.Error(), credentials.ErrUnknown)
	case store.Status(err) == http.StatusForbidden:
		return credentials.Credential{}, fault("the token may not read it, or has ended: "+err.Error(), err)
	case err != nil:
		return credentials.Credential{}, fault(err.Error(), err)
	}
	return c, nil
}

// get reads with the token that is there and, if that turns out to have ended, once more with a new one.
func (s *Source) get(ctx context.Context, ref string, secret Secret) (credentials.Credential, error) {
	in, err := s.enter(ctx)
	if err != nil {
		return credentials.Credential{}, err
	}
	c, err := s.read(ctx, in, ref, secret)
	if store.Status(err) != http.StatusForbidden || !s.auth.again() || s.alive(ctx, in) {
		return c, err
	}
	s.forget(in)
	if in, err = s.enter(ctx); err != nil {
		return credentials.Credential{}, err
	}
	return s.read(ctx, in, ref, secret)
}

func (s *Source) read(ctx context.Context, in *session, ref string, secret Secret) (credentials.Credential, error) {
	if secret.Engine == Leased {
		return s.lend(ctx, in, ref, secret)
	}
	var a answer
	if err := s.ask(ctx, in.token(), secret.request(), &a); err != nil {
		return credentials.Credential{}, err
	}
	parts, err := secret.parts(a.Data)
	if err != nil {
		return credentials.Credential{}, err
	}
	return credentials.New(parts...), nil
}

// ask sends a request with the token; the empty one is for logging in.
func (s *Source) ask(ctx context.Context, token string, r store.Request, out any) error {
	r.Header = s.header.Clone()
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	return s.client.Do(ctx, r, out)
}

// Close revokes what is leased and, where the source has logged in itself, its token, with which everything ends that
// was leased under it. Every later Get fails. After an error something is still there, until its own end at the latest;
// Close may be called again.
func (s *Source) Close(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return fmt.Errorf("credentials: closing vault: %w", context.Cause(ctx))
	}
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	in := s.session
	for ref := range s.leases {
		s.retire(ref)
	}
	s.mu.Unlock()
	if in == nil {
		return nil
	}
	var err error
	if in.own {
		err = s.giveBack(ctx, in, func(l *lease) bool { return l.session != in })
		err = errors.Join(err, s.leave(ctx, in))
	} else {
		err = s.giveBack(ctx, in, func(*lease) bool { return true })
	}
	if err == nil {
		s.forget(in)
	}
	return err
}

// leave revokes the token, and with it all that was leased under it, known to us or not.
func (s *Source) leave(ctx context.Context, in *session) error {
	err := s.ask(ctx, in.token(), store.Request{Method: http.MethodPost, Path: "/v1/auth/token/revoke-self"}, nil)
	if err != nil && store.Status(err) != http.StatusForbidden { // which is how Vault answers a token that has ended
		return fmt.Errorf("credentials: the token was not revoked: %w", hidden(err))
	}
	return nil
}

var errClosed = errors.New("the source is closed")
