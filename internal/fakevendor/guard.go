package fakevendor

import (
	"net/http"
	"strings"
	"sync"
)

// What a credential may do is told by how it starts, where the real one's form does not tell: at the vendor its owner
// says so when it is made.
const (
	SendingKey    = "re_send_"    // Resend: sending access; any other key has full access
	WideKey       = "rk_test_all" // Stripe: a restricted key with every permission; other restricted ones lack that for webhook endpoints
	MainKey       = "SKa"         // Twilio: a main key
	RestrictedKey = "SKc"         // Twilio: a restricted key, for messages and calls alone; any other key is a standard one
	TestToken     = "test"        // Twilio: the token of an account's test credentials; any other token is the account's own
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
