package flight_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/internal/flight"
)

// A reply is a body with a mind of its own.
type reply struct {
	io.Reader
	onClose func() error
}

func (r *reply) Close() error {
	if r.onClose == nil {
		return nil
	}
	return r.onClose()
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// answering is a base whose reply has that body.
func answering(b io.ReadCloser) base {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Proto: "HTTP/1.1", Header: http.Header{"Request-Id": {"req_1"}}, Body: b}, nil
	}
}

func TestAReplyIsReadUpToTheLimit(t *testing.T) {
	const limit = 1000
	for name, size := range map[string]int{"none": 0, "short": 10, "at the limit": limit, "one above": limit + 1, "far above": 50 * limit} {
		t.Run(name, func(t *testing.T) {
			whole := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
			v := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole) })
			g := flight.New(books(t), v.base, limit)
			l := reserve(t, g).Forward(t.Context(), outgoing("GET", v.host))
			if l.Err != nil || l.Cut != nil || l.Status != 200 {
				t.Fatalf("%v, cut %v", l.Err, l.Cut)
			}
			if (l.Rest != nil) != (size > limit) {
				t.Fatalf("%d bytes: a rest %v", size, l.Rest != nil)
			}
			if l.Rest == nil {
				if !bytes.Equal(l.Body, whole) {
					t.Errorf("read %d bytes of %d", len(l.Body), size)
				}
				return
			}
			if len(l.Body) > limit+1 {
				t.Errorf("%d bytes are kept in memory", len(l.Body))
			}
			rest, err := io.ReadAll(l.Rest)
			if err != nil || !bytes.Equal(append(l.Body, rest...), whole) {
				t.Errorf("read %d and %d bytes of %d, %v", len(l.Body), len(rest), size, err)
			}
			if err := l.Rest.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A body that breaks off is said to be cut: what is missing may be the amount.
func TestATruncatedReplyIsCut(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		v := serve(t, http2, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"amount":5`)
			_ = http.NewResponseController(w).Flush()
			drop(w)
		})
		l := fly(t, v.base, outgoing("POST", v.host))
		if l.Err != nil || l.Status != 200 || l.Cut == nil || l.Rest != nil || string(l.Body) != `{"amount":5` {
			t.Errorf("%s: %v, cut %v, body %q", l.Proto, l.Err, l.Cut, l.Body)
		}
	}
}

func TestABodyThatMisbehaves(t *testing.T) {
	half := func(then func() (int, error)) io.Reader {
		first := true
		return readFunc(func(p []byte) (int, error) {
			if first {
				first = false
				return copy(p, "half"), nil
			}
			return then()
		})
	}
	for name, tt := range map[string]struct {
		body io.ReadCloser
		want string // what was read
	}{
		"panics at once":               {&reply{Reader: readFunc(func([]byte) (int, error) { panic(secret) })}, ""},
		"panics half-way":              {&reply{Reader: half(func() (int, error) { panic(secret) })}, "half"},
		"panics on Close":              {&reply{Reader: strings.NewReader("all"), onClose: func() error { panic(secret) }}, "all"},
		"panics on both":               {&reply{Reader: half(func() (int, error) { panic(secret) }), onClose: func() error { panic(secret) }}, "half"},
		"says that it read too much":   {&reply{Reader: half(func() (int, error) { return 1 << 40, nil })}, "half"},
		"says that it read too little": {&reply{Reader: half(func() (int, error) { return -1, nil })}, "half"},
		"gives nothing, for ever":      {&reply{Reader: half(func() (int, error) { return 0, nil })}, "half"},
		"breaks off":                   {&reply{Reader: half(func() (int, error) { return 0, io.ErrUnexpectedEOF })}, "half"},
		"is nil inside":                {&reply{}, ""},
	} {
		l := fly(t, answering(tt.body), outgoing("POST", "vendor"))
		if l.Err != nil || l.Status != 200 || l.Cut == nil || l.Rest != nil || string(l.Body) != tt.want {
			t.Errorf("%s: %v, cut %v, body %q", name, l.Err, l.Cut, l.Body)
		}
		if l.Cut != nil && strings.Contains(l.Cut.Error(), secret) {
			t.Errorf("%s: the panic's value is passed on: %v", name, l.Cut)
		}
	}
	// Nothing is missing from a body that was read to its end and only then fails to close.
	l := fly(t, answering(&reply{Reader: strings.NewReader("all"), onClose: func() error { return io.ErrClosedPipe }}), outgoing("POST", "vendor"))
	if l.Cut != nil || string(l.Body) != "all" {
		t.Errorf("an error on Close: cut %v, body %q", l.Cut, l.Body)
	}
}

// The rest of a long reply is read by somebody else, who must not be the one to die of it.
func TestARestThatMisbehaves(t *testing.T) {
	reads := 0
	long := &reply{
		Reader: readFunc(func(p []byte) (int, error) {
			if reads++; reads > 1 {
				panic(secret)
			}
			return copy(p, strings.Repeat("x", len(p))), nil
		}),
		onClose: func() error { panic(secret) },
	}
	l := reserve(t, flight.New(books(t), answering(long), 10)).Forward(t.Context(), outgoing("GET", "vendor"))
	if l.Rest == nil || l.Cut != nil {
		t.Fatalf("cut %v, body of %d", l.Cut, len(l.Body))
	}
	n, err := l.Rest.Read(make([]byte, 10))
	if n != 0 || err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("read %d, %v", n, err)
	}
	if err := l.Rest.Close(); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("closed with %v", err)
	}
}

// The connection goes back, or is given up, in every case but one: a rest is its reader's to close.
func TestABodyIsClosedOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		body   io.Reader
		limit  int64
		closed int
	}{
		"whole":    {strings.NewReader("body"), 100, 1},
		"cut":      {readFunc(func([]byte) (int, error) { return 0, errors.New("broken") }), 100, 1},
		"panicked": {readFunc(func([]byte) (int, error) { panic("x") }), 100, 1},
		"too long": {strings.NewReader("body"), 2, 0},
	} {
		closed := 0
		body := &reply{Reader: tt.body, onClose: func() error { closed++; return nil }}
		l := reserve(t, flight.New(books(t), answering(body), tt.limit)).Forward(t.Context(), outgoing("GET", "vendor"))
		if closed != tt.closed {
			t.Errorf("%s: closed %d times, want %d", name, closed, tt.closed)
		}
		if l.Rest != nil {
			if _ = l.Rest.Close(); closed != 1 {
				t.Errorf("%s: the rest's Close does not reach the body", name)
			}
		}
	}
}

func TestAReplyWithoutBodyOrHeaders(t *testing.T) {
	l := fly(t, base(func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 204}, nil }), outgoing("POST", "vendor"))
	if l.Err != nil || l.Cut != nil || l.Rest != nil || l.Status != 204 || len(l.Body) != 0 || l.Header == nil {
		t.Errorf("%+v", l)
	}
}
