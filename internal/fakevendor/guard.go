package fakevendor

import (
	"net/http"
	"strings"
	"sync"
)

// guard knows which credentials are accepted. A vendor that it has no list for
// accepts all.
type guard struct {
	mu      sync.Mutex
	allowed map[string]map[string]bool
}

func (g *guard) allow(vendor string, values []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.allowed == nil {
		g.allowed = map[string]map[string]bool{}
	}
	set := map[string]bool{}
	for _, v := range values {
		set[v] = true
	}
	g.allowed[vendor] = set
}

func (g *guard) accepts(vendor, credential string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	set, listed := g.allowed[vendor]
	return !listed || set[credential]
}

// bearer is the token of the only Authorization field. Two fields are none:
// which of them a vendor would take is nothing to rely on.
func bearer(h http.Header) (string, bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	token, ok := strings.CutPrefix(values[0], "Bearer ")
	return token, ok && token != ""
}

// basic is user and password of the only Authorization field.
func basic(h http.Header) (user, password string, ok bool) {
	if len(h.Values("Authorization")) != 1 {
		return "", "", false
	}
	return (&http.Request{Header: h}).BasicAuth()
}
