package gcp

import (
	"context"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
)

// A Secret is one secret of Secret Manager. Its value is one part of a credential; an adapter splits it where the
// vendor has several (Twilio: ACxxx:SKxxx:secret).
type Secret struct {
	Name    string // projects/P/secrets/S, or projects/P/locations/L/secrets/S for a regional one
	Version string // a number or an alias; empty means latest
}

// Options are the settings of a Source. Each zero field has a good default.
type Options struct {
	// Transport carries the requests for tokens and for secrets; it sees both. Nil means one as http.DefaultTransport.
	Transport http.RoundTripper

	// Timeout bounds one Get with all that it needs. Zero means 10 seconds.
	Timeout time.Duration
}

// A Source is a credentials.Source over Secret Manager. It may be used by many goroutines at once, and keeps no value
// but its own access token: each Get asks the service.
type Source struct {
	refs   map[string]Secret
	opts   Options
	bearer atomic.Pointer[bearer] // the last one; nil until the first success and after a 401
}

// New returns a source of the given references. It does no I/O. Nil options mean the default ones.
func New(refs map[string]Secret, o *Options) *Source {
	s := &Source{refs: maps.Clone(refs)}
	if o != nil {
		s.opts = *o
	}
	if s.opts.Transport == nil {
		s.opts.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	if s.opts.Timeout == 0 {
		s.opts.Timeout = 10 * time.Second
	}
	return s
}

// Get asks the service for the credential of ref.
func (s *Source) Get(ctx context.Context, ref string) (credentials.Credential, error) {
	secret, ok := s.refs[ref]
	if !ok {
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Err: credentials.ErrUnknown}
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	value, err := s.access(ctx, secret)
	if err != nil {
		return credentials.Credential{}, failure(ctx, ref, err)
	}
	return credentials.New(value), nil
}

// Refs are the references, in order: keybrake.New fetches them all.
func (s *Source) Refs() []string { return slices.Sorted(maps.Keys(s.refs)) }

func (s *Source) access(ctx context.Context, secret Secret) (string, error) {
	address, err := secret.address()
	if err != nil {
		return "", err
	}
	b, err := s.token(ctx)
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		return "", errName // cannot happen: its form was checked
	}
	r.Header.Set("Authorization", "Bearer "+b.AccessToken)
	if b.quota != "" {
		r.Header.Set("X-Goog-User-Project", b.quota)
	}
	status, body, err := s.ask(ctx, r)
	if err != nil {
		return "", err
	}
	if status == http.StatusUnauthorized {
		s.bearer.CompareAndSwap(b, nil) // the next Get gets a new one
	}
	return read(status, body)
}

var (
	nameForm    = regexp.MustCompile(`^projects/[A-Za-z0-9_.:-]{1,128}(?:/locations/([a-z0-9-]{1,64}))?/secrets/[A-Za-z0-9_-]{1,255}$`)
	versionForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

const errName = refused("its name has not the form projects/P/secrets/S, with a version apart")

// address is where to ask. What has not the form of a name is not sent: a slip may have put a secret there.
func (s Secret) address() (string, error) {
	version := s.Version
	if version == "" {
		version = "latest"
	}
	part := nameForm.FindStringSubmatch(s.Name)
	if part == nil || !versionForm.MatchString(version) {
		return "", errName
	}
	host := "secretmanager.googleapis.com"
	if part[1] != "" {
		host = "secretmanager." + part[1] + ".rep.googleapis.com"
	}
	return "https://" + host + "/v1/" + s.Name + "/versions/" + version + ":access", nil
}
