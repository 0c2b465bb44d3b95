// Package doppler is a source of credentials in Doppler. It downloads a config's secrets over HTTPS
// (docs.doppler.com/reference/secrets-download, read on 2026-11-23) and needs no SDK. Give it to
// keybrake.Config.Credentials.
//
// Make the token a service token (dp.st.…) with read access: it reads one config and nothing else.
package doppler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/internal/store"
)

const api = "https://api.doppler.com"

// Options are the options of a source.
type Options struct {
	Project, Config string // for a token that is not bound to a config: a service account's, or a person's. Default: the token's own

	// Base sends the requests, such as through a proxy; it sees the token and the credentials. Default: a transport that takes
	// no proxy from the environment
	Base http.RoundTripper
}

// A Source is a credentials.Source of a config's secrets by reference. It is safe for concurrent use, keeps nothing, and
// prints without its token.
type Source struct {
	client  *store.Client
	token   func() string // a func, because a func prints as an address
	secrets map[string][]string
	query   url.Values
}

// New returns a source of secrets: by the reference that grants name them by, the names of the secrets that hold the
// credential's parts, in the order in which the vendor's adapter takes them. It does no I/O; what is wrong with its
// arguments is the error of every Get. o may be nil.
func New(token string, secrets map[string][]string, o *Options) *Source {
	o = cmp.Or(o, &Options{})
	s := &Source{
		client:  store.New("doppler", api, nil, o.Base),
		token:   func() string { return token },
		secrets: maps.Clone(secrets),
		query:   url.Values{"format": {"json"}},
	}
	if o.Project != "" {
		s.query.Set("project", o.Project)
	}
	if o.Config != "" {
		s.query.Set("config", o.Config)
	}
	return s
}

// Refs are the references, in order.
func (s *Source) Refs() []string { return slices.Sorted(maps.Keys(s.secrets)) }

// Get downloads the config and takes the secrets of ref out of it. An error is a [*credentials.Fault]. It wraps credentials.ErrUnknown where there is no
// such config or secret, or where it is empty; it names the status, and holds nothing of Doppler's own text.
func (s *Source) Get(ctx context.Context, ref string) (credentials.Credential, error) {
	names, ok := s.secrets[ref]
	if !ok {
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Err: credentials.ErrUnknown}
	}
	if err := s.valid(names); err != nil {
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Why: err.Error()}
	}
	var config json.RawMessage
	err := s.client.Do(ctx, store.Request{
		Method: http.MethodGet, Path: "/v3/configs/config/secrets/download", Query: s.query,
		Header: http.Header{"Authorization": {"Bearer " + s.token()}},
	}, &config)
	var parts []string
	if err == nil {
		parts, err = store.Strings(config, names)
	}
	switch {
	case errors.Is(err, store.ErrField), store.Status(err) == http.StatusNotFound:
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Why: err.Error(), Err: credentials.ErrUnknown}
	case err != nil:
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Why: err.Error(), Err: err}
	}
	return credentials.New(parts...), nil
}

// valid looks at what was given. The commonest slip is to write a secret where its name belongs, so no name is shown that
// does not look like one.
func (s *Source) valid(names []string) error {
	if s.token() == "" {
		return errors.New("doppler: the token is empty")
	}
	if len(names) == 0 {
		return errors.New("doppler: no secret is named; name the one that holds the credential")
	}
	for _, name := range names {
		if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
			return errors.New("doppler: a secret's name (not shown) is not of the form STRIPE_SECRET_KEY")
		}
	}
	return nil
}
