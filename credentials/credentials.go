// Package credentials is where real vendor credentials come from. A [Source] is one method; a [Credential] is
// opaque and prints as nothing but a placeholder, or an address, whatever verb, encoder or logger is used on it
// or on what holds it.
//
// The environment and files are read here, secret stores by the packages below. A [Cache] stands between a source and
// the calls.
//
// This package imports nothing of Keybrake.
package credentials

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// ErrUnknown says that a source has no credential of that reference.
var ErrUnknown = errors.New("credentials: unknown reference")

// A Source fetches a credential by reference. It is called at construction, when a key is issued, and when the
// brake's short cache has run out; never with a reference that an agent chose. Get is called from many
// goroutines, and returns when ctx ends. Its errors should be [Fault]s, whose text reaches logs; the text of others is
// dropped, so that only their kind does. An error that wraps ErrUnknown says that the reference does not exist; any
// other says that the source could not be asked.
//
// A source may have more methods, which [Cache] calls if they are there:
//
//	Refs() []string                  // the references that it knows of: they are fetched at construction, see Check
//	Check(context.Context) error     // for a source that cannot name them, called at construction instead
//	Drop(ref string)                 // the vendor has refused the credential: do not give the same from memory
//	Close(context.Context) error     // gives back what the source holds at its store; may be called again
type Source interface {
	Get(ctx context.Context, ref string) (Credential, error)
}

// A Credential is a vendor's real secret: one string or several, as the vendor needs (Twilio: account SID and
// token; or account SID, key SID and secret). The zero Credential is empty.
type Credential struct {
	// A func, because fmt prints unexported fields without asking their String method, and a func prints as an
	// address.
	reveal func() []string
	until  time.Time
}

// New makes a Credential of its parts.
func New(parts ...string) Credential {
	parts = slices.Clone(parts)
	return Credential{reveal: func() []string { return parts }}
}

// Until returns c as a credential that ends at t, such as one that a store has leased. It is not used at t or later,
// and the cache asks for the next one before. The zero time, as without Until, means that no end is known.
func (c Credential) Until(t time.Time) Credential {
	c.until = t
	return c
}

// Expires returns when the credential ends; the zero time if no end is known.
func (c Credential) Expires() time.Time { return c.until }

// Reveal returns the parts. The brake calls it to build the outgoing request; nothing else should.
func (c Credential) Reveal() []string {
	if c.reveal == nil {
		return nil
	}
	return slices.Clone(c.reveal())
}

// empty reports whether no part holds anything.
func (c Credential) empty() bool {
	return !slices.ContainsFunc(c.Reveal(), func(part string) bool { return part != "" })
}

const redacted = "[credential]"

// String hides the credential.
func (c Credential) String() string { return redacted }

// GoString hides the credential.
func (c Credential) GoString() string { return redacted }

// Format hides the credential under every verb.
func (c Credential) Format(s fmt.State, _ rune) { fmt.Fprint(s, redacted) }

// MarshalText hides the credential from encoders.
func (c Credential) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the credential from slog.
func (c Credential) LogValue() slog.Value { return slog.StringValue(redacted) }
