package store_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keybrake/keybrake-go/credentials/internal/store"
)

// The secret, and the store's token. Neither may stand in an error.
const (
	secret = "sk_live_T0PsecretT0P"
	token  = "T0P-token"
)

var question = store.Request{
	Method: http.MethodGet, Path: "/v1/secret/a b", Query: url.Values{"version": {"3"}}, Header: http.Header{"X-Token": {token}},
}

// quiet refuses if the error shows what the store said or was sent.
func quiet(t *testing.T, err error) error {
	t.Helper()
	if err == nil {
		t.Fatal("it succeeded")
	}
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "T0P") {
		t.Errorf("the error shows a secret: %s", text)
	}
	return err
}

func pool(s *httptest.Server) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.Certificate())
	return p
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestDo(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, `{"got":%q}`, fmt.Sprint(r.Method, " ", r.URL, " ", r.Header.Get("X-Token"), " ", r.Header.Get("Accept"), " ", r.Header.Get("Content-Type"), " ", string(body)))
	})
	c := store.New("vault", s.URL+"/below/", pool(s), nil)
	var out struct{ Got string }
	if err := c.Do(t.Context(), question, &out); err != nil || out.Got != "GET /below/v1/secret/a%20b?version=3 T0P-token application/json  " {
		t.Errorf("got %q, %v", out.Got, err)
	}
	if err := c.Do(t.Context(), store.Request{Method: "POST", Path: "/x", Body: map[string]int{"a": 1}}, &out); err != nil || out.Got != `POST /below/x  application/json application/json {"a":1}` {
		t.Errorf("got %q, %v", out.Got, err)
	}
	if err := c.Do(t.Context(), question, nil); err != nil {
		t.Error(err)
	}
}

// Whatever the store answers, the error holds nothing of it.
func TestAnswersThatFail(t *testing.T) {
	long := strings.Repeat("T0P ", 1<<19)
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"an error":          {403, `{"errors":["` + secret + `"]}`, "vault answered 403 Forbidden"},
		"an odd status":     {473, secret, "vault answered 473"},
		"a long error":      {500, long, "vault answered 500 Internal Server Error"},
		"not JSON":          {200, secret, "vault: the answer is not of the documented form"},
		"another form":      {200, `{"data":"` + secret + `"}`, "vault: the answer is not of the documented form"},
		"more than it is":   {200, `{"data":{}} ` + secret, "vault: the answer is not of the documented form"},
		"a very long value": {200, `{"data":{"key":"` + long + `"}}`, "vault: the answer is longer than 1048576 bytes"},
		"a redirect":        {302, secret, "vault answered 302 Found, which is not followed; give the address that it leads to"},
	} {
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Secret", secret)
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
		})
		var out struct{ Data map[string]string }
		err := quiet(t, store.New("vault", s.URL, pool(s), nil).Do(t.Context(), question, &out))
		if want := tt.want; err.Error() != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
		if got := store.Status(fmt.Errorf("around: %w", err)); tt.status != 200 && got != tt.status || tt.status == 200 && got != 0 {
			t.Errorf("%s: the status is %d", name, got)
		}
	}
}

// The store's token goes to the store alone.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var asked atomic.Int32
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{elsewhere.URL + "/v1/secret", "/elsewhere"} {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					asked.Add(1)
				}
				http.Redirect(w, r, to, status)
			})
			roots := pool(s)
			roots.AddCert(elsewhere.Certificate())
			_ = quiet(t, store.New("vault", s.URL, roots, nil).Do(t.Context(), question, nil))
		}
	}
	if asked.Load() != 0 {
		t.Errorf("%d redirects were followed", asked.Load())
	}
}

// What is not HTTP is quoted by net/http, and not by us.
func TestWhatIsNotHTTP(t *testing.T) {
	for _, text := range []string{secret + "\r\n", "HTTP/1.1 200 " + secret + "\r\nbad header " + secret + "\r\n\r\n", "HTTP/1.1 2T0P OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: T0P\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"T0P", ""} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, text)
				_ = conn.Close()
			}
		}()
		var out any
		err = quiet(t, store.New("vault", "http://"+l.Addr().String(), nil, nil).Do(t.Context(), question, &out))
		if err.Error() != "vault: the connection broke, or the answer was not HTTP" {
			t.Errorf("%q: %v", text, err)
		}
		_ = l.Close()
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	var dial *net.OpError
	if err := quiet(t, store.New("vault", "https://"+l.Addr().String(), nil, nil).Do(t.Context(), question, nil)); !errors.As(err, &dial) || !strings.HasPrefix(err.Error(), "vault cannot be reached: dial tcp") {
		t.Errorf("got %v", err)
	}
}

// The certificate is checked.
func TestCertificate(t *testing.T) {
	var asked atomic.Int32
	s := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	for name, c := range map[string]*store.Client{
		"of no known authority": store.New("vault", s.URL, nil, nil),
		"for another host":      store.New("vault", strings.Replace(s.URL, "127.0.0.1", "localhost", 1), pool(s), nil),
	} {
		if err := quiet(t, c.Do(t.Context(), question, nil)); !strings.Contains(err.Error(), "certificate") && name == "of no known authority" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked.Load() != 0 {
		t.Error("the token was sent")
	}
}

func TestAddresses(t *testing.T) {
	never := trip(func(*http.Request) (*http.Response, error) {
		t.Error("it was sent")
		return nil, errors.New("no")
	})
	for _, address := range []string{
		"", "vault", "vault:8200", "http://vault:8200", "http://10.0.0.1:8200", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "ftp://127.0.0.1", "//vault",
		"https://", "https://user:T0P@vault", "https://vault?T0P", "https://vault#T0P", "https:vault", "https://vault\x00T0P", "unix:///run/vault.sock",
	} {
		_ = quiet(t, store.New("vault", address, nil, never).Do(t.Context(), question, nil))
	}
	if err := store.New("vault", "https://vault", x509.NewCertPool(), never).Do(t.Context(), question, nil); err == nil {
		t.Error("RootCAs beside a Base is taken")
	}
	sent := 0
	sees := trip(func(r *http.Request) (*http.Response, error) {
		sent++
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}")), Request: r}, nil
	})
	for _, address := range []string{"https://vault", "https://vault:8200/below", "http://127.0.0.1:8200", "http://127.9.9.9", "http://[::1]:8200", "http://localhost:8200"} {
		if err := store.New("vault", address, nil, sees).Do(t.Context(), question, nil); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	if sent != 6 {
		t.Errorf("%d were sent", sent)
	}
}

type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The caller's context ends the question, and its trace does not see it.
func TestContext(t *testing.T) {
	ended := errors.New("ended by the caller")
	var seen atomic.Int32
	ctx, cancel := context.WithCancelCause(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		WroteHeaderField: func(string, []string) { seen.Add(1) }, GetConn: func(string) { seen.Add(1) },
	}))
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel(ended)
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // an answer could arrive while the connection is being closed
	})
	if err := quiet(t, store.New("vault", s.URL, pool(s), nil).Do(ctx, question, nil)); !errors.Is(err, ended) {
		t.Errorf("got %v", err)
	}
	if seen.Load() != 0 {
		t.Error("the caller's trace saw the question")
	}
	if err := quiet(t, store.New("vault", s.URL, pool(s), nil).Do(ctx, question, nil)); !errors.Is(err, ended) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// An answer without an end is not read for long.
func TestEndlessAnswer(t *testing.T) {
	written := make(chan int, 1)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n, page := 0, []byte(strings.Repeat("T0P ", 1<<14))
		for n < 64<<20 {
			m, err := w.Write(page)
			if n += m; err != nil {
				break
			}
		}
		written <- n
	})
	var out any
	_ = quiet(t, store.New("vault", s.URL, pool(s), nil).Do(t.Context(), question, &out))
	if n := <-written; n > 16<<20 {
		t.Errorf("%d bytes were taken", n)
	}
}

func TestStrings(t *testing.T) {
	const object = `{"a":"1","b":"2","empty":"","number":7,"null":null}`
	if parts, err := store.Strings([]byte(object), []string{"b", "a"}); err != nil || strings.Join(parts, " ") != "2 1" {
		t.Errorf("got %q, %v", parts, err)
	}
	for _, name := range []string{"none", "empty", "number", "null", ""} {
		if parts, err := store.Strings([]byte(object), []string{"a", name}); !errors.Is(err, store.ErrField) || parts != nil {
			t.Errorf("%s: %q, %v", name, parts, err)
		}
	}
	for _, other := range []string{``, `null`, `[]`, `"T0P"`, `{"a":T0P}`} {
		if _, err := store.Strings([]byte(other), []string{"a"}); err == nil || strings.Contains(err.Error(), "T0P") {
			t.Errorf("%s: %v", other, err)
		}
	}
}
