package fakevendor

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxBody is the most that the fake reads of one request.
const maxBody = 64 << 20

var errTooLarge = errors.New("fakevendor: request body too large")

// world is everything that Reset forgets.
type world struct {
	journal journal
	faults  faultQueue
	guard   guard
	stripe  *stripe
	twilio  *twilio
	resend  *resend
}

func newWorld() *world {
	w := &world{}
	w.stripe = newStripe(w)
	w.twilio = newTwilio(w)
	w.resend = newResend(w)
	return w
}

// vendor is one company's API.
type vendor interface {
	// serve answers c, executing it if it is to be executed.
	serve(c *call) reply
	// refuse is an error reply in the vendor's own shape.
	refuse(status int, message string) reply
}

// vendorOf is the vendor that owns host; a host of nobody's gets [nobody].
func (w *world) vendorOf(host string) vendor {
	switch {
	case strings.HasSuffix(host, ".stripe.com"):
		return w.stripe
	case strings.HasSuffix(host, ".twilio.com"):
		return w.twilio
	case host == "api.resend.com":
		return w.resend
	}
	return nobody{}
}

// nobody answers requests whose Host header names no vendor.
type nobody struct{}

func (nobody) serve(*call) reply {
	return nobody{}.refuse(http.StatusMisdirectedRequest, "no such host")
}

func (nobody) refuse(status int, message string) reply {
	return reply{status: status, header: http.Header{"Content-Type": {"text/plain"}}, body: []byte(message + "\n")}
}

// call is one request as the vendors see it.
type call struct {
	index  int // in the log of received requests
	method string
	host   string
	path   string // as on the wire, still escaped
	query  string
	header http.Header
	body   []byte

	factor int64             // what moves is multiplied by it: 1, or 2 for [Overcharge]
	hook   func(reply) reply // runs after the execution, before the vendor counts it as finished
}

// finish is called by a vendor once it has executed c, before it stores the
// reply under an idempotency key.
func (c *call) finish(r reply) reply {
	if c.hook != nil {
		return c.hook(r)
	}
	return r
}

// receive reads the request and puts it into the log. A request whose body
// breaks off is logged too, but there is nothing to execute.
func (w *world) receive(r *http.Request) (*call, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errTooLarge
	}
	c := &call{
		method: r.Method,
		host:   strings.ToLower(strings.TrimSuffix(r.Host, ":443")),
		path:   r.URL.EscapedPath(),
		query:  r.URL.RawQuery,
		header: r.Header.Clone(),
		body:   body,
		factor: 1,
	}
	c.index = w.journal.receive(Received{
		Method: c.method, Host: r.Host, Path: c.path, RawQuery: c.query,
		Header: c.header.Clone(), Body: body, Time: time.Now(),
	})
	return c, err
}

// serve is the way of a request: receive, misbehave or execute, answer.
func (s *Server) serve(rw http.ResponseWriter, r *http.Request) {
	s.busy.Add(1)
	defer s.busy.Done()
	w := s.world.Load()
	c, err := w.receive(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	d := delivery{client: r.Context().Done(), closing: s.ctx.Done()}
	out, ok := w.faults.take(c).answer(d, c, w.vendorOf(c.host))
	if !ok {
		// On HTTP/1.1 this closes the connection, on HTTP/2 it resets the
		// stream, so that other requests on the connection are not disturbed.
		panic(http.ErrAbortHandler)
	}
	w.journal.answered(c.index, out.status)
	out.write(rw)
}

// quoteID is the text that Stripe puts into its "No such" messages.
func quoteID(kind, id string) string { return fmt.Sprintf("No such %s: '%s'", kind, id) }
