// Package onepassword is a source of credentials in 1Password: through a Connect server in one's own network
// (developer.1password.com/docs/connect/api-reference, version 1.8.1, read on 2026-11-23), or as a service account through
// the program op. It needs no SDK. Give it to keybrake.Config.Credentials.
package onepassword

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/credentials"
)

// An Item says where a credential is in 1Password.
type Item struct {
	Vault string // its name or id
	Item  string // its title or id

	// Fields are the fields that hold the credential's parts, in the order in which the vendor's adapter takes them, by label
	// or id, with the section in front where there is one that has to be told from others: {"credential"}, or
	// {"api/account sid", "api/key sid", "api/secret"}. Each must not be empty.
	Fields []string
}

// valid refuses what a path or a filter would read as something else. An id says anything, so use it where a name does not
// fit.
func (it Item) valid() error {
	if len(it.Fields) == 0 {
		return errors.New("Item.Fields is empty; name the field that holds the credential")
	}
	for _, name := range append([]string{it.Vault, it.Item}, it.Fields...) {
		if name == "" || strings.ContainsAny(name, "\"\\?#%\x00\r\n") || name == "." || name == ".." {
			return errors.New("a name in Item is empty or has one of \" \\ ? # %; use the id instead")
		}
	}
	if strings.Contains(it.Vault+it.Item, "/") {
		return errors.New("Item.Vault or Item.Item has a slash; use the id instead")
	}
	return nil
}

// A Source is a credentials.Source of 1Password's items by reference. It is safe for concurrent use, keeps nothing, and
// prints without its token.
type Source struct {
	items map[string]Item
	read  func(context.Context, Item) ([]string, error)
}

// Refs are the references, in order.
func (s *Source) Refs() []string { return slices.Sorted(maps.Keys(s.items)) }

// Get reads the item of ref. An error is a [*credentials.Fault]. It wraps credentials.ErrUnknown where 1Password says that there is no such vault, item
// or field that the token may see; it holds nothing of 1Password's own text.
func (s *Source) Get(ctx context.Context, ref string) (credentials.Credential, error) {
	it, ok := s.items[ref]
	if !ok {
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Err: credentials.ErrUnknown}
	}
	if err := it.valid(); err != nil {
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Why: "onepassword: " + err.Error()}
	}
	parts, err := s.read(ctx, it)
	switch {
	case errors.Is(err, errMissing):
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Why: err.Error(), Err: credentials.ErrUnknown}
	case err != nil:
		return credentials.Credential{}, &credentials.Fault{Ref: ref, Why: err.Error(), Err: err}
	}
	return credentials.New(parts...), nil
}

// errMissing says that something is not there.
var errMissing = errors.New("onepassword")
