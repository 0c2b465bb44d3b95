package hashivault

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"

	"github.com/keybrake/keybrake-go/credentials/internal/store"
)

// An Engine is the kind of secrets engine that a secret is in.
type Engine int

const (
	KV2    Engine = iota // the key-value engine with versions, as a dev server has at secret/
	KV1                  // the key-value engine without
	Leased               // an engine that makes a credential for whoever reads, and takes it back when the lease ends
)

func (e Engine) String() string {
	switch e {
	case KV2:
		return "KV2"
	case KV1:
		return "KV1"
	case Leased:
		return "Leased"
	}
	return "Engine(" + strconv.Itoa(int(e)) + ")"
}

// A Secret says where a credential is in Vault.
type Secret struct {
	Engine  Engine // Default: KV2
	Mount   string // of the engine, such as "secret"
	Path    string // below the mount, without the "data/" of KV2: "payments/stripe"; of Leased, such as "creds/payments"
	Version int    // of KV2. Default: the latest

	// Fields are the fields that hold the credential's parts, in the order in which the vendor's adapter takes them:
	// {"secret_key"}, or {"account_sid", "key_sid", "key_secret"}. Each has to be a string that is not empty.
	Fields []string
}

func (s Secret) valid() error {
	switch {
	case s.Engine < KV2 || s.Engine > Leased:
		return errors.New("Secret.Engine is none of KV2, KV1 and Leased")
	case !clean(s.Mount) || !clean(s.Path):
		return errors.New("Secret.Mount and Path have to be paths like \"secret\" and \"payments/stripe\"")
	case s.Version < 0 || s.Version > 0 && s.Engine != KV2:
		return errors.New("Secret.Version is of KV2 alone, and counts from 1")
	case len(s.Fields) == 0:
		return errors.New("Secret.Fields is empty; name the field that holds the credential")
	}
	return nil
}

// clean reports whether p leads where it says.
func clean(p string) bool { return p != "" && path.Clean("/"+p) == "/"+p }

func (s Secret) request() store.Request {
	r := store.Request{Method: http.MethodGet, Path: "/v1/" + s.Mount + "/" + s.Path}
	if s.Engine == KV2 {
		r.Path = "/v1/" + s.Mount + "/data/" + s.Path
	}
	if s.Version > 0 {
		r.Query = url.Values{"version": {strconv.Itoa(s.Version)}}
	}
	return r
}

// An answer is what Vault says to most questions.
type answer struct {
	LeaseID       string          `json:"lease_id"`
	LeaseDuration int64           `json:"lease_duration"` // seconds
	Renewable     bool            `json:"renewable"`
	Data          json.RawMessage `json:"data"`
	Auth          *grant          `json:"auth"`
}

// parts takes the fields out of what Vault said. An error names fields and never a value.
func (s Secret) parts(data json.RawMessage) ([]string, error) {
	if s.Engine == KV2 {
		var versioned struct {
			Data json.RawMessage `json:"data"`
		}
		if json.Unmarshal(data, &versioned) != nil {
			return nil, errors.New("the answer is not of the form of KV2")
		}
		data = versioned.Data
	}
	return store.Strings(data, s.Fields)
}
