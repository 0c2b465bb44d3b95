package gcp

import (
	"context"
	"encoding/json"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const scope = "https://www.googleapis.com/auth/cloud-platform" // Secret Manager has no narrower one

// A bearer is an access token and the project that its use is counted on, "" for the identity's own.
type bearer struct {
	*oauth2.Token
	quota string
}

const errIdentity = refused("Application Default Credentials gave no access token; try: gcloud auth application-default print-access-token")

// token is the last access token while it is good, else a new one. The library takes no context where it asks for one, so
// it is asked in a goroutine: that ends with ctx, but on Google's machines, where the library asks the metadata server in
// its own time.
func (s *Source) token(ctx context.Context) (*bearer, error) {
	if b := s.bearer.Load(); b != nil && b.Valid() {
		return b, nil
	}
	fetched := make(chan *bearer, 1)
	go func() { fetched <- s.fetch(ctx) }()
	select {
	case b := <-fetched:
		if b == nil {
			return nil, errIdentity
		}
		s.bearer.Store(b)
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fetch finds the default credentials anew, so that a file that was exchanged is seen. It is nil after any error: the
// library's hold what the token endpoint said.
func (s *Source) fetch(ctx context.Context) *bearer {
	found, err := google.FindDefaultCredentials(context.WithValue(ctx, oauth2.HTTPClient, s.client(ctx)), scope)
	if err != nil {
		return nil
	}
	token, err := found.TokenSource.Token()
	if err != nil || !token.Valid() {
		return nil
	}
	var file struct {
		Quota string `json:"quota_project_id"`
	}
	_ = json.Unmarshal(found.JSON, &file) // without a file there is none
	return &bearer{token, file.Quota}
}
