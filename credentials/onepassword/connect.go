package onepassword

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/keybrake/keybrake-go/credentials/internal/store"
)

// ConnectOptions are the options of [Connect].
type ConnectOptions struct {
	// RootCAs are the authorities that the server's certificate is checked with, for one of a private authority. Default: the
	// system's
	RootCAs *x509.CertPool

	// Base sends the requests; it sees the token and the credentials. It has root CAs of its own. Default: a transport that
	// takes no proxy from the environment
	Base http.RoundTripper
}

// Connect returns a source of items, by the reference that grants name them by, at a Connect server, such as
// https://connect.internal:8443. Plain http is for the loopback interface alone, such as to a sidecar. The token needs read
// access to the vaults. It does no I/O; what is wrong with its arguments is the error of every Get. o may be nil.
func Connect(address, token string, items map[string]Item, o *ConnectOptions) *Source {
	o = cmp.Or(o, &ConnectOptions{})
	c := &connect{client: store.New("onepassword", address, o.RootCAs, o.Base), token: func() string { return token }}
	return &Source{items: maps.Clone(items), read: c.read}
}

type connect struct {
	client *store.Client
	token  func() string // a func, because a func prints as an address
}

func (c *connect) read(ctx context.Context, it Item) ([]string, error) {
	vault, err := c.id(ctx, "/v1/vaults", "name", it.Vault)
	if err != nil {
		return nil, fmt.Errorf("the vault: %w", err)
	}
	item, err := c.id(ctx, "/v1/vaults/"+vault+"/items", "title", it.Item)
	if err != nil {
		return nil, fmt.Errorf("the item: %w", err)
	}
	var whole wholeItem
	if err := c.ask(ctx, "/v1/vaults/"+vault+"/items/"+item, nil, &whole); err != nil {
		return nil, fmt.Errorf("the item: %w", err)
	}
	if whole.State != "" { // ARCHIVED or DELETED
		return nil, fmt.Errorf("%w: the item is archived or deleted", errMissing)
	}
	var parts []string
	for _, name := range it.Fields {
		value, err := whole.field(name)
		if err != nil {
			return nil, err
		}
		parts = append(parts, value)
	}
	return parts, nil
}

// id looks a name up. 1Password allows one name for several, of which none can be meant.
func (c *connect) id(ctx context.Context, path, by, name string) (string, error) {
	if isID(name) {
		return name, nil
	}
	var found []map[string]any
	if err := c.ask(ctx, path, url.Values{"filter": {by + ` eq "` + name + `"`}}, &found); err != nil {
		return "", err
	}
	var ids []string
	for _, f := range found {
		if id, ok := f["id"].(string); ok && f[by] == name && isID(id) { // the filter may be looser than we are
			ids = append(ids, id)
		}
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("%w: there is none of that name that the token may see", errMissing)
	case 1:
		return ids[0], nil
	}
	return "", errors.New("onepassword: there are several of that name; use the id")
}

// isID reports whether name has the form of 1Password's ids.
func isID(name string) bool {
	return len(name) == 26 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func (c *connect) ask(ctx context.Context, path string, query url.Values, out any) error {
	if c.token() == "" {
		return errors.New("onepassword: the token is empty")
	}
	err := c.client.Do(ctx, store.Request{
		Method: http.MethodGet, Path: path, Query: query, Header: http.Header{"Authorization": {"Bearer " + c.token()}},
	}, out)
	if store.Status(err) == http.StatusNotFound {
		return fmt.Errorf("%w: %w", errMissing, err)
	}
	return err
}

// A wholeItem is an item with its fields.
type wholeItem struct {
	State  string `json:"state"`
	Fields []struct {
		ID      string `json:"id"`
		Label   string `json:"label"`
		Value   string `json:"value"`
		Section struct {
			ID    string `json:"id"`
			Label string `json:"label"`
		} `json:"section"`
	} `json:"fields"`
}

// field is the value of the one field of that name.
func (w wholeItem) field(name string) (string, error) {
	var found []string
	for _, f := range w.Fields {
		section, label, inSection := strings.Cut(name, "/")
		switch {
		case f.Label == name, f.ID == name,
			inSection && (f.Section.Label == section || f.Section.ID == section) && (f.Label == label || f.ID == label):
			found = append(found, f.Value)
		}
	}
	switch {
	case len(found) > 1:
		return "", fmt.Errorf("onepassword: the item has several fields %q; put the section in front, or use the id", name)
	case len(found) == 0:
		return "", fmt.Errorf("%w: the item has no field %q", errMissing, name)
	case found[0] == "":
		return "", fmt.Errorf("%w: the field %q is empty", errMissing, name)
	}
	return found[0], nil
}
