package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/keybrake/keybrake-go"
)

// hosts are the vendors by the first part of the path that the agent sends: /stripe/v1/refunds goes to
// https://api.stripe.com/v1/refunds.
var hosts = map[string]string{"stripe": "api.stripe.com", "twilio": "api.twilio.com", "resend": "api.resend.com"}

// newProxy forwards through the brake. The agent's vault key is in the Authorization header, as in any call.
//
// It has a Rewrite, since with a Director ReverseProxy adds X-Forwarded-For. Where the reply broke off, the agent gets
// status 502 from ReverseProxy; its SDK's retry with the same idempotency key then is the same spend.
func newProxy(brake *keybrake.Brake) http.Handler {
	return &httputil.ReverseProxy{Transport: brake.Transport(nil), Rewrite: rewrite}
}

// rewrite sends what came, at the vendor's address. It changes nothing that the brake looks at: what is not in
// canonical form has to be refused there, not mended here.
func rewrite(r *httputil.ProxyRequest) {
	vendor, path, _ := strings.Cut(strings.TrimPrefix(r.In.URL.Path, "/"), "/")
	r.Out.URL = &url.URL{
		Scheme:   "https",
		Host:     hosts[vendor], // none for an unknown vendor: refused as an unknown host
		Path:     "/" + path,
		RawPath:  r.In.URL.RawPath,  // an escape in the path is refused
		RawQuery: r.In.URL.RawQuery, // as it came; ReverseProxy has dropped what it could not parse
	}
	r.Out.Host = r.Out.URL.Host
}
