package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// WebhookOptions are those of [Webhook].
type WebhookOptions struct {
	Attempts int           // how often an event is sent before Notify fails. Default: 3
	Wait     time.Duration // before the second attempt; it doubles with each. Default: 1 s
	Timeout  time.Duration // for one attempt. Default: 10 s

	// Base sends the requests. Default: a transport of its own, which uses the proxy of the environment and keeps no
	// connection open. It sees neither the secret nor any credential.
	Base http.RoundTripper

	// InsecureHTTP allows http:// to a host that is not this machine. Then whoever is on the way reads the events; they can
	// still not be forged.
	InsecureHTTP bool
}

// Webhook returns a notifier that posts each event as JSON to address, which is https, or http on this machine's own
// loopback. The request is signed as the Standard Webhooks say (https://github.com/standard-webhooks/standard-webhooks,
// version 1), so that their libraries verify it, and [VerifyWebhook] does:
//
//	webhook-id: the event's ID, the same in every attempt: a receiver that has seen it answers 200 and does nothing
//	webhook-timestamp: when this attempt was made, in Unix seconds
//	webhook-signature: v1,BASE64(HMAC-SHA256(secret, id + "." + timestamp + "." + body))
//
// The secret is "whsec_" and 24 to 64 random bytes in base64, as `openssl rand -base64 32` makes them.
//
// An answer of 2xx is delivery. After 408, 429, 5xx or no answer the event is sent again, a few times; any other answer is
// an error at once, a redirect too, which is never followed. An error names neither the address, in which there may be a
// token, nor the secret. The body of an answer is not read.
func Webhook(address, secret string, o *WebhookOptions) (Notifier, error) {
	if o == nil {
		o = &WebhookOptions{}
	}
	key, err := webhookKey(secret)
	if err != nil {
		return nil, err
	}
	to, err := url.Parse(address)
	switch {
	case err != nil || to.Host == "" || to.User != nil:
		return nil, errors.New("audit: webhook: the address is not of the form https://host/path") // which may hold a token
	case to.Scheme == "http" && (o.InsecureHTTP || loopback(to.Hostname())), to.Scheme == "https":
	default:
		return nil, errors.New("audit: webhook: the address is not https; WebhookOptions.InsecureHTTP allows http")
	}
	if min(o.Attempts, int(o.Wait), int(o.Timeout)) < 0 {
		return nil, errors.New("audit: webhook: an option is negative")
	}
	w := &webhook{
		to: func() string { return address }, sign: key.sign,
		attempts: cmp.Or(o.Attempts, 3), wait: cmp.Or(o.Wait, time.Second), timeout: cmp.Or(o.Timeout, 10*time.Second),
		client: &http.Client{Transport: o.Base, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if o.Base == nil {
		t := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true}
		w.client.Transport = t
	}
	return w, nil
}

// A webhook keeps its address and secret in funcs, which print as addresses.
type webhook struct {
	to            func() string
	sign          func(id, timestamp string, body []byte) []byte
	attempts      int
	wait, timeout time.Duration
	client        *http.Client
}

// The headers of the Standard Webhooks.
const (
	webhookID        = "Webhook-Id"
	webhookTimestamp = "Webhook-Timestamp"
	webhookSignature = "Webhook-Signature"
)

func (w *webhook) Notify(ctx context.Context, e Event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("audit: webhook: %w", err)
	}
	wait := w.wait
	for attempt := 1; ; attempt++ {
		again, err := w.post(ctx, e.ID, body)
		if err == nil || !again || attempt == w.attempts {
			return err
		}
		select {
		case <-time.After(wait):
			wait *= 2
		case <-ctx.Done():
			return err
		}
	}
}

// post sends an event once. again says that another attempt may go better.
func (w *webhook) post(ctx context.Context, id string, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.to(), bytes.NewReader(body))
	if err != nil {
		return false, errors.New("audit: webhook: the address makes no request")
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "keybrake")
	req.Header.Set(webhookID, id)
	req.Header.Set(webhookTimestamp, now)
	req.Header.Set(webhookSignature, "v1,"+base64.StdEncoding.EncodeToString(w.sign(id, now, body)))
	resp, err := w.client.Do(req)
	if err != nil {
		var named *url.Error
		if errors.As(err, &named) {
			err = named.Err // without the address
		}
		return true, fmt.Errorf("audit: webhook: no answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	switch s := resp.StatusCode; {
	case s >= 200 && s < 300:
		return false, nil
	case s >= 300 && s < 400:
		return false, fmt.Errorf("audit: webhook: the answer is %d, a redirect, which is not followed", s)
	default:
		again = s >= 500 || s == http.StatusTooManyRequests || s == http.StatusRequestTimeout
		return again, fmt.Errorf("audit: webhook: the answer is %d", s)
	}
}

// WebhookAge is by how much the time of a webhook may differ from the receiver's.
const WebhookAge = 5 * time.Minute

// MaxWebhook is more than the body of any webhook of [Webhook] is, in bytes: a receiver reads no more than this.
const MaxWebhook = 64 << 10

// ErrWebhook says that a request is not an event that [Webhook] has signed with this secret within the last minutes.
var ErrWebhook = errors.New("audit: not a webhook that was signed with this secret just now")

// VerifyWebhook returns the event of a request that [Webhook] has made, from its headers and its body, byte by byte as it
// came. Any other request is [ErrWebhook]: one that somebody else made or altered, or one of more than [WebhookAge] ago,
// which could be sent again. A request within that time can still come twice: its event has the same ID.
//
//	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, audit.MaxWebhook))
//	event, err := audit.VerifyWebhook(r.Header, body, secret)
func VerifyWebhook(header http.Header, body []byte, secret string) (Event, error) {
	key, err := webhookKey(secret)
	if err != nil {
		return Event{}, err
	}
	id, timestamp := header.Get(webhookID), header.Get(webhookTimestamp)
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" || strings.Contains(id, ".") { // a dot could move the borders of what is signed
		return Event{}, fmt.Errorf("%w: its id or its time is missing", ErrWebhook)
	}
	if age := time.Since(time.Unix(seconds, 0)); age.Abs() > WebhookAge {
		return Event{}, fmt.Errorf("%w: its time is not now", ErrWebhook)
	}
	want := key.sign(id, timestamp, body)
	for _, s := range strings.Fields(header.Get(webhookSignature)) {
		version, text, _ := strings.Cut(s, ",")
		got, err := base64.StdEncoding.Strict().DecodeString(text) // one spelling
		if version != "v1" || err != nil || !hmac.Equal(got, want) {
			continue
		}
		var e Event
		if err := json.Unmarshal(body, &e); err != nil || e.ID != id {
			return Event{}, fmt.Errorf("%w: its body is not the event of its id", ErrWebhook)
		}
		return e, nil
	}
	return Event{}, fmt.Errorf("%w: no signature of it fits", ErrWebhook)
}

// A signingKey signs and verifies.
type signingKey []byte

// webhookKey reads a secret. It says what is wrong without the secret.
func webhookKey(secret string) (signingKey, error) {
	text, named := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.Strict().DecodeString(text) // one spelling
	if !named || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`audit: webhook: the secret is not "whsec_" and 24 to 64 bytes in base64; openssl rand -base64 32 makes such bytes`)
	}
	return key, nil
}

func (k signingKey) sign(id, timestamp string, body []byte) []byte {
	m := hmac.New(sha256.New, k)
	_, _ = fmt.Fprintf(m, "%s.%s.", id, timestamp)
	_, _ = m.Write(body)
	return m.Sum(nil)
}

// loopback reports whether host is this machine.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
