package gcp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
)

// maxReply is more than any reply: a value is at most 64 KiB, and base64 makes it a third longer.
const maxReply = 1 << 20

var errPlain = errors.New("plain http to another machine")

// client follows no redirect, so that neither a token nor what one is got with goes where the reply says.
func (s *Source) client(ctx context.Context) *http.Client {
	return &http.Client{
		Transport:     bound{ctx, s.opts.Transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A bound transport ends with ctx whatever the request's own context, since the library has requests without, and
// sends nothing in clear to another machine.
type bound struct {
	ctx  context.Context
	base http.RoundTripper
}

func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !near(r.URL.Hostname()) {
		return nil, errPlain
	}
	return b.base.RoundTrip(r.WithContext(b.ctx))
}

// near is this machine, or a metadata server (169.254.169.254), which speaks no other.
func near(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsLinkLocalUnicast())
}

// ask sends a request and reads all of the reply.
func (s *Source) ask(ctx context.Context, r *http.Request) (status int, body []byte, err error) {
	res, err := s.client(ctx).Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxReply+1))
	if err != nil {
		return 0, nil, err
	}
	if len(body) > maxReply {
		return 0, nil, refused("the reply is longer than any secret")
	}
	return res.StatusCode, body, nil
}
