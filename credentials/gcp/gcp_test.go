package gcp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/credentials/gcp"
)

const stripe = "projects/acme/secrets/stripe"

// filled is a world with one secret of three versions, whose service account is the default identity.
func filled(t *testing.T) *world {
	w := newWorld(t)
	w.secrets[stripe] = &secret{versions: []version{{data: []byte("sk_1")}, {data: []byte("sk_2")}, {data: []byte("sk_3")}}, aliases: map[string]int{"live": 2}}
	chain(t, w.account())
	return w
}

// holds makes a secret of that value alone.
func (w *world) holds(v version) gcp.Secret {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets["projects/acme/secrets/one"] = &secret{versions: []version{v}}
	return gcp.Secret{Name: "projects/acme/secrets/one"}
}

func (w *world) source(t *testing.T, at gcp.Secret) *gcp.Source {
	return gcp.New(map[string]gcp.Secret{"ref": at}, &gcp.Options{Transport: w.transport(t)})
}

func get(t *testing.T, s credentials.Source, ref string) string {
	t.Helper()
	c, err := s.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(c.Reveal(), "|")
}

// refusal is the error of Get. It comes without a credential and repeats nothing of the service's.
func refusal(t *testing.T, s credentials.Source, unknown bool) string {
	t.Helper()
	c, err := s.Get(t.Context(), "ref")
	if err == nil || c.Reveal() != nil {
		t.Fatalf("got %q and %v", c.Reveal(), err)
	}
	if errors.Is(err, credentials.ErrUnknown) != unknown {
		t.Errorf("is it unknown? %v: %v", !unknown, err)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, "CANARY") || strings.Contains(text, "ya29") {
			t.Errorf("repeats what the service said: %s", text)
		}
	}
	return err.Error()
}

func TestWhatAReferenceNames(t *testing.T) {
	w := filled(t)
	regional := "projects/acme/locations/europe-west3/secrets/resend"
	w.secrets[regional] = &secret{versions: []version{{data: []byte("re_1")}}}
	w.secrets["projects/123456789012/secrets/AC_n-1"] = &secret{versions: []version{{data: []byte("AC1:SK1:s")}}}
	for _, tt := range []struct {
		at   gcp.Secret
		want string
	}{
		{gcp.Secret{Name: stripe}, "sk_3"},
		{gcp.Secret{Name: stripe, Version: "latest"}, "sk_3"},
		{gcp.Secret{Name: stripe, Version: "1"}, "sk_1"},
		{gcp.Secret{Name: stripe, Version: "live"}, "sk_2"},
		{gcp.Secret{Name: regional}, "re_1"},
		{gcp.Secret{Name: "projects/123456789012/secrets/AC_n-1"}, "AC1:SK1:s"},
	} {
		if got := get(t, w.source(t, tt.at), "ref"); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.at, got, tt.want)
		}
	}
	if call := "secretmanager.europe-west3.rep.googleapis.com/v1/" + regional + "/versions/latest:access"; !slices.Contains(w.called(), call) {
		t.Errorf("no call %s among %q", call, w.called())
	}
}

// When a version is added, the next Get gives it; what is pinned stays.
func TestRotation(t *testing.T) {
	w := filled(t)
	s := gcp.New(map[string]gcp.Secret{"latest": {Name: stripe}, "pinned": {Name: stripe, Version: "3"}}, &gcp.Options{Transport: w.transport(t)})
	if a, b := get(t, s, "latest"), get(t, s, "pinned"); a != "sk_3" || b != "sk_3" {
		t.Fatalf("before: %s %s", a, b)
	}
	w.mu.Lock()
	w.secrets[stripe].versions = append(w.secrets[stripe].versions, version{data: []byte("sk_4")})
	w.mu.Unlock()
	if a, b := get(t, s, "latest"), get(t, s, "pinned"); a != "sk_4" || b != "sk_3" {
		t.Errorf("after: %s %s", a, b)
	}
}

func TestUnknown(t *testing.T) {
	w := filled(t)
	w.secrets[stripe].versions[0].state, w.secrets[stripe].versions[2].state = "DESTROYED", "DISABLED"
	const prefix = `credentials: unknown reference "ref": Google Secret Manager: `
	for at, want := range map[gcp.Secret]string{
		{Name: "projects/acme/secrets/none"}: "NOT_FOUND (HTTP 404)",
		{Name: stripe, Version: "9"}:         "NOT_FOUND (HTTP 404)",
		{Name: stripe, Version: "no-alias"}:  "NOT_FOUND (HTTP 404)",
		{Name: stripe, Version: "1"}:         "FAILED_PRECONDITION (HTTP 400)",
		{Name: stripe}:                       "FAILED_PRECONDITION (HTTP 400)",
	} {
		if got := refusal(t, w.source(t, at), true); got != prefix+want {
			t.Errorf("%+v: %s", at, got)
		}
	}
	if got := refusal(t, gcp.New(nil, nil), true); got != `credentials: unknown reference "ref"` {
		t.Errorf("got %s", got)
	}
}

// What has not the form of a name is not sent anywhere; a slip may have put a secret there.
func TestNamesThatAreRefused(t *testing.T) {
	w := filled(t)
	for _, at := range []gcp.Secret{
		{}, {Name: "stripe"}, {Name: "sk_live_" + canary}, {Name: stripe + "/versions/3"}, {Name: "/" + stripe}, {Name: stripe + "?alt=media"}, {Name: "projects/acme/../x/secrets/s"},
		{Name: "projects/acme/locations/evil.example/secrets/s"}, {Name: "projects/acme/locations/eu/x/secrets/s"}, {Name: stripe, Version: "1/../2"}, {Name: stripe, Version: "1:destroy"},
		{Name: stripe + "\n"}, {Name: stripe, Version: canary + "%"},
	} {
		if got := refusal(t, w.source(t, at), false); !strings.HasSuffix(got, "its name has not the form projects/P/secrets/S, with a version apart") {
			t.Errorf("%+v: %s", at, got)
		}
	}
	if calls := w.called(); len(calls) != 0 {
		t.Errorf("called %q", calls)
	}
}

func TestValuesThatAreRefused(t *testing.T) {
	w := filled(t)
	for _, tt := range []struct {
		v       version
		unknown bool
		want    string
	}{
		{version{data: nil}, true, "the value is empty"},
		{version{data: []byte("\r\n")}, true, "the value is empty"},
		{version{data: []byte("\xff\xfe" + canary)}, false, "the value is binary; a credential is text"},
		{version{data: []byte(canary), sum: "1"}, false, "the value's CRC-32C is missing or another's: it was damaged on its way or in store"},
		{version{data: []byte(canary), sum: "-1"}, false, "the value's CRC-32C is missing or another's: it was damaged on its way or in store"},
		{version{data: []byte(strings.Repeat("x", 1<<20))}, false, "the reply is longer than any secret"},
	} {
		if got := refusal(t, w.source(t, w.holds(tt.v)), tt.unknown); !strings.HasSuffix(got, ": "+tt.want) || !strings.Contains(got, `"ref"`) {
			t.Errorf("got %s, want …%s", got, tt.want)
		}
	}
	if got := get(t, w.source(t, w.holds(version{data: []byte(strings.Repeat("x", 64<<10))})), "ref"); len(got) != 64<<10 {
		t.Errorf("the largest secret there is reads as %d bytes", len(got))
	}
}

// Values are often stored from a file.
func TestOneNewlineIsDropped(t *testing.T) {
	w := filled(t)
	for value, want := range map[string]string{"sk\n": "sk", "sk\r\n": "sk", "sk\n\n": "sk\n", " sk ": " sk "} {
		if got := get(t, w.source(t, w.holds(version{data: []byte(value)})), "ref"); got != want {
			t.Errorf("%q reads as %q", value, got)
		}
	}
}

// Whatever is answered in place of a value or a token, its words do not come back, in no error of the chain.
func TestTheServicesWordsStayThere(t *testing.T) {
	page := func(out http.ResponseWriter, _ *http.Request) { http.Error(out, "<h1>"+canary, http.StatusBadGateway) }
	broken := func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, `{"access_token":"`+canary) }
	none := func(out http.ResponseWriter, _ *http.Request) { answer(out, 200, map[string]any{"token_type": canary}) }
	grant := func(out http.ResponseWriter, _ *http.Request) {
		answer(out, 400, map[string]any{"error": canary, "error_description": canary})
	}
	alien := func(out http.ResponseWriter, _ *http.Request) {
		if conn, _, err := out.(http.Hijacker).Hijack(); err == nil {
			fmt.Fprintf(conn, "%s %s\r\n\r\n", canary, canary)
			conn.Close()
		}
	}
	status := func(code int, status string) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) { refuse(out, code, status) }
	}
	const identity = "Application Default Credentials gave no access token; try: gcloud auth application-default print-access-token"
	for _, tt := range []struct {
		host string
		h    http.HandlerFunc
		want string
	}{
		{"oauth2", page, identity}, {"oauth2", broken, identity}, {"oauth2", none, identity}, {"oauth2", grant, identity}, {"oauth2", alien, identity},
		{"secretmanager", page, "an answer without a documented status (HTTP 502)"},
		{"secretmanager", broken, "the reply cannot be read"},
		{"secretmanager", none, "the value's CRC-32C is missing or another's: it was damaged on its way or in store"},
		{"secretmanager", alien, "no answer that can be read"},
		{"secretmanager", status(403, "PERMISSION_DENIED"), "PERMISSION_DENIED (HTTP 403)"},
		{"secretmanager", status(503, "UNAVAILABLE"), "UNAVAILABLE (HTTP 503)"},
		{"secretmanager", status(403, canary), "an answer without a documented status (HTTP 403)"},
	} {
		w := filled(t)
		w.answerInstead(tt.host+".googleapis.com", tt.h)
		if got, want := refusal(t, w.source(t, gcp.Secret{Name: stripe}), false), `credentials: "ref": Google Secret Manager: `+tt.want; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestAStoreOutOfReach(t *testing.T) {
	w := filled(t)
	strange := w.transport(t)
	strange.TLSClientConfig = nil
	refusing := w.transport(t)
	refusing.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:1")
	}
	nameless := w.transport(t)
	nameless.DialContext = func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.DNSError{Err: canary, Name: canary}
	}
	for want, broken := range map[string]http.RoundTripper{
		"its certificate is not accepted": strange, "connection refused": refusing, "its name cannot be resolved": nameless,
	} {
		// The token is got; the store is out of reach.
		s := gcp.New(map[string]gcp.Secret{"ref": {Name: stripe}}, &gcp.Options{Transport: byHost{"oauth2.googleapis.com": w.transport(t), "secretmanager.googleapis.com": broken}})
		if got := refusal(t, s, false); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s", want, got)
		}
	}
}

type byHost map[string]http.RoundTripper

func (b byHost) RoundTrip(r *http.Request) (*http.Response, error) { return b[r.URL.Host].RoundTrip(r) }

// An access token serves until it has expired or is refused; then there is a new one, of the identity that the file
// names by then.
func TestAccessTokens(t *testing.T) {
	w := filled(t)
	s := w.source(t, gcp.Secret{Name: stripe})
	given := func() int { w.mu.Lock(); defer w.mu.Unlock(); return w.tokens }
	get(t, s, "ref")
	if get(t, s, "ref"); given() != 1 {
		t.Errorf("%d tokens for two requests", given())
	}
	w.mu.Lock()
	w.bearers = nil
	w.mu.Unlock()
	if got := refusal(t, s, false); !strings.HasSuffix(got, "UNAUTHENTICATED (HTTP 401)") {
		t.Errorf("got %s", got)
	}
	if get(t, s, "ref"); given() != 2 {
		t.Errorf("%d tokens after a 401", given())
	}
	chain(t, map[string]string{"type": "authorized_user", "client_id": "id", "client_secret": "cs", "refresh_token": "rt", "quota_project_id": "acme-dev"})
	if get(t, s, "ref"); given() != 2 {
		t.Errorf("%d tokens; one that is still good is used", given())
	}
	s.Age()
	w.mu.Lock()
	w.quota = "acme-dev"
	w.mu.Unlock()
	if get(t, s, "ref"); given() != 3 {
		t.Errorf("%d tokens after one had expired", given())
	}
}

// The developer's own identity counts its requests on a project that the file names.
func TestUserCredentials(t *testing.T) {
	w := filled(t)
	w.quota = "acme-dev"
	chain(t, map[string]string{"type": "authorized_user", "client_id": "id", "client_secret": "cs", "refresh_token": "rt", "quota_project_id": "acme-dev"})
	if got := get(t, w.source(t, gcp.Secret{Name: stripe}), "ref"); got != "sk_3" {
		t.Errorf("got %s", got)
	}
}

// Without an identity, or with another's, nothing is given; once there is one, it serves.
func TestIdentity(t *testing.T) {
	w := filled(t)
	s := w.source(t, gcp.Secret{Name: stripe})
	other := w.account()
	other["client_email"] = "other@acme.iam.gserviceaccount.com"
	for _, file := range []any{other, map[string]string{"type": canary}, canary} {
		chain(t, file)
		if got := refusal(t, s, false); !strings.Contains(got, "Application Default Credentials gave no access token") {
			t.Errorf("got %s", got)
		}
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
	refusal(t, s, false)
	chain(t, w.account())
	if got := get(t, s, "ref"); got != "sk_3" {
		t.Errorf("got %s", got)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	w := filled(t)
	for _, host := range []string{"oauth2.googleapis.com", "secretmanager.googleapis.com"} {
		for _, to := range []string{"https://other.googleapis.com", "https://" + host} {
			for _, code := range []int{301, 302, 307, 308} {
				w.answerInstead(host, func(out http.ResponseWriter, r *http.Request) { http.Redirect(out, r, to+"/"+canary, code) })
				refusal(t, w.source(t, gcp.Secret{Name: stripe}), false)
			}
		}
		w.answerInstead(host, nil)
	}
	for _, call := range w.called() {
		if strings.Contains(call, canary) || strings.HasPrefix(call, "other") {
			t.Errorf("the redirect was followed: %s", call)
		}
	}
}

// A credentials file may name any place to get tokens from; in clear it must be this machine or the metadata server.
func TestPlainHTTPStaysNear(t *testing.T) {
	w := filled(t)
	var hosts []string
	tokens := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		hosts = append(hosts, r.Host)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.bearers = append(w.bearers, "near")
		answer(out, 200, map[string]any{"access_token": "near", "expires_in": 3600, "token_type": "Bearer"})
	}))
	defer tokens.Close()
	lead := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, tokens.Listener.Addr().String())
	}}
	defer lead.CloseIdleConnections()
	for host, ok := range map[string]bool{"127.0.0.1": true, "localhost": true, "169.254.169.254": true, "tokens.example": false, "10.0.0.7": false, "localhost.example": false} {
		hosts = nil
		account := w.account()
		account["token_uri"] = "http://" + host + "/token"
		chain(t, account)
		s := gcp.New(map[string]gcp.Secret{"ref": {Name: stripe}}, &gcp.Options{Transport: byHost{host: lead, "secretmanager.googleapis.com": w.transport(t)}})
		if ok {
			if got := get(t, s, "ref"); got != "sk_3" || len(hosts) != 1 {
				t.Errorf("%s: %s, %q", host, got, hosts)
			}
		} else if refusal(t, s, false); len(hosts) != 0 {
			t.Errorf("%s: %q were asked", host, hosts)
		}
	}
}

func TestAStoreThatHangs(t *testing.T) {
	for _, host := range []string{"oauth2.googleapis.com", "secretmanager.googleapis.com"} {
		w := filled(t)
		arrived, done := make(chan struct{}, 2), make(chan struct{})
		w.answerInstead(host, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // the server sees that the client is gone once it has read the request
			arrived <- struct{}{}
			select {
			case <-r.Context().Done(): // the request was given up, not only its caller
			case <-done:
				t.Errorf("%s: the request went on", host)
			}
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { <-arrived; cancel(errors.New("the caller left")) }()
		_, err := w.source(t, gcp.Secret{Name: stripe}).Get(ctx, "ref")
		if err == nil || err.Error() != `credentials: "ref": Google Secret Manager: no answer in time` || !errors.Is(err, context.Cause(ctx)) {
			t.Errorf("got %v", err)
		}
		hasty := gcp.New(map[string]gcp.Secret{"ref": {Name: stripe}}, &gcp.Options{Transport: w.transport(t), Timeout: 50 * time.Millisecond})
		if _, err := hasty.Get(t.Context(), "ref"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		w.server.Close() // waits for the requests
		close(done)
	}
}

// Where the library does not see the end of the context, as with the metadata server, its caller does.
func TestALibraryThatHangs(t *testing.T) {
	w := filled(t)
	arrived, done := make(chan struct{}), make(chan struct{})
	defer close(done)
	deaf := roundTripper(func(*http.Request) (*http.Response, error) {
		close(arrived)
		<-done
		return nil, errors.New("over")
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	s := gcp.New(map[string]gcp.Secret{"ref": {Name: stripe}}, &gcp.Options{Transport: byHost{"oauth2.googleapis.com": deaf, "secretmanager.googleapis.com": w.transport(t)}})
	if _, err := s.Get(ctx, "ref"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A reply that does not end is read no further than any secret is long.
func TestAReplyWithoutEnd(t *testing.T) {
	w := filled(t)
	w.answerInstead("secretmanager.googleapis.com", func(out http.ResponseWriter, r *http.Request) {
		fmt.Fprint(out, strings.Repeat(" ", 2<<20))
		_ = http.NewResponseController(out).Flush()
		<-r.Context().Done()
	})
	if got := refusal(t, w.source(t, gcp.Secret{Name: stripe}), false); !strings.HasSuffix(got, "the reply is longer than any secret") {
		t.Errorf("got %s", got)
	}
}

func TestOfManyGoroutines(t *testing.T) {
	w := filled(t)
	s := gcp.New(map[string]gcp.Secret{"a": {Name: stripe}, "b": {Name: stripe, Version: "1"}}, &gcp.Options{Transport: w.transport(t)})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for ref, want := range map[string]string{"a": "sk_3", "b": "sk_1"} {
				if c, err := s.Get(t.Context(), ref); err != nil || strings.Join(c.Reveal(), "|") != want {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestCheck(t *testing.T) {
	w := filled(t)
	s := gcp.New(map[string]gcp.Secret{"good": {Name: stripe}, "lost": {Name: stripe, Version: "9"}, "gone": {Name: "nowhere"}}, &gcp.Options{Transport: w.transport(t)})
	err := credentials.Check(t.Context(), s)
	want := `credentials: "gone": Google Secret Manager: its name has not the form projects/P/secrets/S, with a version apart
credentials: unknown reference "lost": Google Secret Manager: NOT_FOUND (HTTP 404)`
	if err == nil || err.Error() != want || !errors.Is(err, credentials.ErrUnknown) {
		t.Errorf("got %v", err)
	}
	if err := credentials.Check(t.Context(), w.source(t, gcp.Secret{Name: stripe})); err != nil {
		t.Error(err)
	}
}

// A source keeps no value, and its access token behind a pointer, so it can be printed.
func TestASourcePrintsNoSecret(t *testing.T) {
	w := filled(t)
	s := w.source(t, gcp.Secret{Name: stripe})
	get(t, s, "ref")
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(text, "sk_3") || strings.Contains(text, "ya29") {
		t.Error(text)
	}
}

func TestMain(m *testing.M) {
	// What this machine has is not looked at: a test that sets no identity has none.
	os.Setenv("GOOGLE_APPLICATION_CREDENTIALS", os.DevNull)
	os.Exit(m.Run())
}

// The brake shows what an error of this source says, as of one in words that may be shown.
func TestErrorsReachTheOperator(t *testing.T) {
	w := filled(t)
	_, err := credentials.NewCache(w.source(t, gcp.Secret{Name: stripe, Version: "9"}), time.Hour, nil).Get(t.Context(), "ref")
	if err == nil || !errors.Is(err, credentials.ErrUnknown) || !strings.HasSuffix(err.Error(), "Google Secret Manager: NOT_FOUND (HTTP 404)") {
		t.Errorf("got %v", err)
	}
}
