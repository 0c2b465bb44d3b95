package keybrake_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// FuzzWire sends arbitrary calls through a brake whose base keeps the bytes that it writes. Whatever leaves says, to readers
// that share no code with the brake, what the caller's request said and what was recorded: the same operation of the same
// host with the same parameters, under one credential.
func FuzzWire(f *testing.F) {
	for _, v := range hostileVectors(f) {
		if call, ok := v.plain(); ok {
			f.Add(call.method, call.host, call.path, call.rawPath, call.query, call.opaque, call.hostHeader, call.header, call.body, v.Key == "observed")
		}
	}
	w := &fuzzedWire{}
	f.Cleanup(w.close)
	f.Fuzz(func(t *testing.T, method, host, path, rawPath, query, opaque, hostHeader, header string, body []byte, observed bool) {
		w.renew(t)
		w.check(t, rawCall{method, host, path, rawPath, query, opaque, hostHeader, header, body}, observed)
	})
}

// A rawCall is a request in the parts in which net/http has it. The header is lines of "Name: value".
type rawCall struct {
	method, host, path, rawPath, query, opaque, hostHeader, header string
	body                                                           []byte
}

// plain is the vector as such parts; ok is false for one that needs more than they can say.
func (v vector) plain() (call rawCall, ok bool) {
	if v.Raw != "" || v.Set.NoURL || v.Hex != "" || len(v.Fill) > 0 || len(v.Copies) > 0 {
		return call, false
	}
	u, err := url.Parse(strings.ReplaceAll(v.URL, "{account}", twilioAccount))
	if err != nil {
		return call, false
	}
	call = rawCall{method: v.Method, host: u.Host, path: u.Path, rawPath: u.RawPath, query: u.RawQuery, opaque: u.Opaque, hostHeader: u.Host}
	for _, h := range v.Header {
		call.header += h[0] + ": " + h[1] + "\n"
	}
	if v.Body != nil {
		kind := formType
		if strings.Contains(v.URL, "resend.com") {
			kind = "application/json"
		}
		if v.Type != nil {
			kind = *v.Type
		}
		call.header += "Content-Type: " + kind + "\n"
		call.body = []byte(strings.ReplaceAll(*v.Body, "{account}", twilioAccount))
	}
	return call, !strings.Contains(v.URL, "{token}") && !strings.Contains(call.header, "{token}")
}

func (c rawCall) request(ctx context.Context, token string) *http.Request {
	req := &http.Request{
		Method: c.method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Host: c.hostHeader,
		URL: &url.URL{Scheme: "https", Host: c.host, Path: c.path, RawPath: c.rawPath, RawQuery: c.query, Opaque: c.opaque},
	}
	for line := range strings.Lines(c.header) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		req.Header[name] = append(req.Header[name], value)
	}
	req.Header["Authorization"] = []string{"Bearer " + token}
	if len(c.body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(c.body)), int64(len(c.body))
	}
	return req.WithContext(ctx)
}

// A fuzzedWire is a brake for the three vendors, and what has left it.
type fuzzedWire struct {
	table   *vendors.Table
	rows    []*vendors.Operation
	brake   *keybrake.Brake
	base    *http.Transport
	records *records
	tokens  map[bool]string // by whether the policy is only observed
	calls   int
	conns   []*wireConn
}

func (w *fuzzedWire) close() {
	if w.base != nil {
		w.base.CloseIdleConnections()
	}
}

// renew makes a brake with empty books, now and then, so that what earlier calls left there does not add up.
func (w *fuzzedWire) renew(t *testing.T) {
	t.Helper()
	if w.calls++; w.calls%5000 != 1 {
		return
	}
	w.close()
	all := []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)}
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	w.records, w.tokens = &records{}, map[bool]string{}
	w.base = &http.Transport{DialTLSContext: func(_ context.Context, _, addr string) (net.Conn, error) {
		conn := &wireConn{dialled: addr, whole: make(chan struct{}), closed: make(chan struct{})}
		w.conns = append(w.conns, conn)
		return conn, nil
	}}
	if w.table, err = vendors.NewTable(all); err != nil {
		t.Fatal(err)
	}
	w.rows = w.table.Operations()
	w.brake, err = keybrake.New(t.Context(), keybrake.Config{
		Issuer: issuer, Ledger: memory.New(), Vendors: all, Audit: w.records, Base: w.base,
		Credentials: credentials.Static(map[string]string{"stripe": stripeSecret, "twilio": twilioAccount + ":" + twilioSecret, "resend": resendSecret}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, observed := range []bool{false, true} {
		p := everything()
		p.Budgets = []policy.Budget{policy.Lifetime(policy.USD("1000000000"))}
		p.InsecureObserve = observed
		key, err := w.brake.Issue(t.Context(), grant("fuzz", p))
		if err != nil {
			t.Fatal(err)
		}
		w.tokens[observed] = key.Token()
	}
}

func (w *fuzzedWire) check(t *testing.T, call rawCall, observed bool) {
	t.Helper()
	w.conns = nil
	resp, err := w.brake.Transport(nil).RoundTrip(call.request(t.Context(), w.tokens[observed]))
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	verdict := audit.Record{}
	for _, r := range w.records.take() {
		verdict = r
	}
	forwarded := resp != nil && resp.Header.Get("Keybrake-Denial") == ""
	if len(w.conns) == 0 && forwarded {
		t.Fatal("a reply came of nothing that was sent")
	}
	for i, conn := range w.conns {
		a := w.readable(t, conn, w.tokens[observed])
		if last := i == len(w.conns)-1; last && forwarded {
			w.same(t, call, a, conn, verdict, i > 0)
		} else if row := w.only(t, a); row.Class != vendors.Read && !row.Preview {
			t.Fatalf("%s left beside the call", row.Name)
		}
	}
}

// readable takes what left on a connection apart: one request, framed in one way, to the host that was dialled, under the
// vendor's credential and with no vault key.
func (w *fuzzedWire) readable(t *testing.T, conn *wireConn, token string) arrival {
	t.Helper()
	all, err := requestsOn(bytes.NewBuffer(bytes.Clone(conn.sent)))
	if err != nil || len(all) != 1 {
		t.Fatalf("%d requests on one connection: %v", len(all), err)
	}
	a := all[0]
	if a.header["host"]+":443" != conn.dialled {
		t.Fatalf("%s was dialled for host %q", conn.dialled, a.header["host"])
	}
	if strings.Contains(a.raw, token) {
		t.Fatal("the vault key left")
	}
	secrets := 0
	for _, s := range []string{stripeSecret, resendSecret} {
		secrets += strings.Count(a.raw, s)
	}
	if credential := a.header["authorization"]; credential == "" || secrets != strings.Count(credential, "Bearer ") {
		t.Fatalf("the credential stands %d times beside %q", secrets, credential)
	}
	for name := range a.header {
		if !mayLeave[name] {
			t.Fatalf("header %s left", name)
		}
	}
	return a
}

// mayLeave are the headers that one vendor or another is known to be sent.
var mayLeave = func() map[string]bool {
	m := map[string]bool{}
	for _, v := range []vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)} {
		for _, name := range slices.Concat(v.Headers, v.RedirectHeaders) {
			m[strings.ToLower(name)] = true
		}
	}
	for _, name := range []string{"host", "user-agent", "accept", "accept-encoding", "authorization", "content-type", "content-length", "idempotency-key"} {
		m[name] = true
	}
	return m
}()

// only is the one operation that the request can be, found by reading the catalogue's paths part by part.
func (w *fuzzedWire) only(t *testing.T, a arrival) *vendors.Operation {
	t.Helper()
	path, _, _ := strings.Cut(a.target, "?")
	parts := strings.Split(path, "/")
	var found []*vendors.Operation
	for _, row := range w.rows {
		host := a.header["host"]
		if row.Method != a.method || row.Host != host && !(strings.HasSuffix(host, ".twilio.com") && strings.HasSuffix(row.Host, ".twilio.com")) || !fits(strings.Split(row.Path, "/"), parts) {
			continue
		}
		if row.Host == host {
			found = append(found, row)
		}
		if row.HardDeny != "" {
			t.Fatalf("%s %s left, which is %s and never allowed", a.method, a.target, row.Name)
		}
	}
	if len(found) == 0 {
		if named, c, err := w.table.Identify(&http.Request{Method: a.method, URL: &url.URL{Scheme: "https", Host: a.header["host"], Path: path}}, nil); named != nil && c != nil {
			_ = err
			return c.Operation // a regional host, of which the catalogue has no rows of its own
		}
		t.Fatalf("%s %s of %s left, which is no operation", a.method, a.target, a.header["host"])
	}
	return found[0]
}

func fits(template, parts []string) bool {
	return slices.EqualFunc(template, parts, func(want, got string) bool {
		before, rest, id := strings.Cut(want, "{")
		if !id {
			return want == got
		}
		kind, after, _ := strings.Cut(rest, "}")
		_, prefix, _ := strings.Cut(kind, ":")
		if prefix == "*" {
			prefix = ""
		}
		return strings.HasPrefix(got, before+prefix) && strings.HasSuffix(got, after) && len(got) > len(before+prefix+after)
	})
}

// same says that the wire, the caller and the record speak of one call.
func (w *fuzzedWire) same(t *testing.T, call rawCall, a arrival, conn *wireConn, verdict audit.Record, probed bool) {
	t.Helper()
	row := w.only(t, a)
	if verdict.Operation != row.Name {
		t.Fatalf("%q is on record, and %s left", verdict.Operation, row.Name)
	}
	path, query, _ := strings.Cut(a.target, "?")
	host := strings.TrimSuffix(strings.ToLower(call.host), ":443")
	if a.method != call.method && (call.method != "" || a.method != "GET") || path != call.path || a.header["host"] != host {
		t.Fatalf("%s %s of %s was asked for, %s %s of %s left", call.method, call.path, call.host, a.method, path, a.header["host"])
	}
	if row.Body == vendors.JSON {
		if a.body != string(call.body) || query != "" || call.query != "" {
			t.Fatalf("%q?%s was asked for, %q?%s left", call.body, call.query, a.body, query)
		}
	} else {
		w.sameForm(t, call, a, query, row, probed)
	}
	again, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(conn.sent)))
	if err != nil {
		t.Fatalf("net/http does not read what left: %v", err)
	}
	again.URL.Scheme, again.URL.Host = "https", again.Host
	body, err := io.ReadAll(again.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, first, err := w.table.Identify(call.request(t.Context(), ""), call.body)
	if err != nil {
		t.Fatalf("it left, and the table refuses it: %v", err)
	}
	_, second, err := w.table.Identify(again, body)
	if err != nil {
		t.Fatalf("what left is refused when it is read again: %v", err)
	}
	if first.Operation != second.Operation || first.Host != second.Host || !reflect.DeepEqual(first.IDs, second.IDs) || !reflect.DeepEqual(first.JSON, second.JSON) {
		t.Fatalf("%s with %v left, %s with %v came", first.Operation.Name, first.IDs, second.Operation.Name, second.IDs)
	}
	for _, p := range first.Params {
		if !slices.Contains(second.Params, p) {
			t.Fatalf("%q was asked for, %q came", first.Params, second.Params)
		}
	}
}

// sameForm compares the pairs of query and body, read as browsers' standard has it: leniently. The brake may have added the
// amount that it priced, and nothing else.
func (w *fuzzedWire) sameForm(t *testing.T, call rawCall, a arrival, query string, row *vendors.Operation, probed bool) {
	t.Helper()
	asked := append(lenientForm(call.query), lenientForm(string(call.body))...)
	left := append(lenientForm(query), lenientForm(a.body)...)
	if query != "" && a.body != "" {
		t.Fatalf("parameters left in two places: %q and %q", query, a.body)
	}
	if probed { // the amount is set at the end
		left = slices.DeleteFunc(left, func(p [2]string) bool { return !slices.Contains(asked, p) && strings.Contains(p[0], "amount") })
		slices.SortFunc(asked, byPair)
		slices.SortFunc(left, byPair)
	}
	if !slices.Equal(asked, left) {
		t.Fatalf("%s: %q was asked for, %q left", row.Name, asked, left)
	}
}

func byPair(a, b [2]string) int { return slices.Compare(a[:], b[:]) }

// lenientForm reads a form as the URL Standard of the WHATWG says, which refuses nothing: bad escapes stay, an empty part is
// skipped, a part without "=" is a name.
func lenientForm(s string) (pairs [][2]string) {
	for _, part := range strings.Split(s, "&") {
		if part == "" {
			continue
		}
		name, value := part, ""
		if i := strings.IndexByte(part, '='); i >= 0 {
			name, value = part[:i], part[i+1:]
		}
		pairs = append(pairs, [2]string{percentDecoded(name), percentDecoded(value)})
	}
	return pairs
}

func percentDecoded(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			out = append(out, ' ')
		case c == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			out = append(out, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2])))
			i += 2
		default:
			out = append(out, c)
		}
	}
	if !utf8.Valid(out) {
		return strings.ToValidUTF8(string(out), "\ufffd")
	}
	return string(out)
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// A wireConn keeps what is written to it. It answers one whole request: a read with an object that can be refunded and
// captured, anything else with a refusal of the vendor's, so that the money is free again.
type wireConn struct {
	dialled string
	sent    []byte
	whole   chan struct{} // closed once the request has come whole
	closed  chan struct{}
	reply   *strings.Reader
}

func (c *wireConn) Write(p []byte) (int, error) {
	c.sent = append(c.sent, p...)
	head, body, ok := bytes.Cut(c.sent, []byte("\r\n\r\n"))
	if !ok || c.reply != nil {
		return len(p), nil
	}
	n := 0
	if _, length, announced := strings.Cut(strings.ToLower(string(head)), "\r\ncontent-length: "); announced {
		length, _, _ = strings.Cut(length, "\r\n")
		n, _ = strconv.Atoi(length)
	}
	if len(body) >= n {
		c.reply = strings.NewReader(answer(string(head)))
		close(c.whole)
	}
	return len(p), nil
}

func answer(head string) string {
	status, body := "400 Bad Request", `{"error":{"type":"invalid_request_error","message":"no"},"code":20001,"status":400,"message":"no","name":"validation_error","statusCode":400}`
	if strings.HasPrefix(head, "GET ") {
		status, body = "200 OK", `{"id":"ch_1","object":"charge","amount":500,"amount_captured":500,"amount_refunded":0,"amount_capturable":500,"captured":true,"paid":true,"currency":"usd","status":"requires_capture","livemode":false}`
	}
	return "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

func (c *wireConn) Read(p []byte) (int, error) {
	select {
	case <-c.whole:
		return c.reply.Read(p)
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *wireConn) Close() error {
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return nil
}

func (c *wireConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *wireConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *wireConn) SetDeadline(time.Time) error      { return nil }
func (c *wireConn) SetReadDeadline(time.Time) error  { return nil }
func (c *wireConn) SetWriteDeadline(time.Time) error { return nil }
