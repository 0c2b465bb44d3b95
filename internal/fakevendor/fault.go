package fakevendor

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// FaultKind is a way of misbehaving. The words before and after are about the
// execution: what is done before it can no longer cost money.
type FaultKind string

const (
	// Delay waits for Fault.Delay, then all is normal. A client that goes away
	// meanwhile has executed nothing.
	Delay FaultKind = "delay"
	// BlockBefore waits for Fault.Hold, then executes. A client that goes away
	// first has executed nothing, and claimed no idempotency key.
	BlockBefore FaultKind = "block before"
	// BlockAfter executes, then waits for Fault.Hold before it answers. To the
	// vendor the request is in flight until then, and so is its idempotency key.
	// If the client goes away the execution stands.
	BlockAfter FaultKind = "block after"
	// BlockLate waits for Fault.Hold and then executes, even if the client went
	// away long ago: why the absence of an object proves nothing.
	BlockLate FaultKind = "block late"
	// DropBefore breaks the connection without executing. On HTTP/2 only the
	// stream is broken. On a reused HTTP/1.1 connection net/http may send a
	// replayable request again by itself; that is a second request here.
	DropBefore FaultKind = "drop before"
	// DropAfter executes, then breaks the connection without a reply.
	DropAfter FaultKind = "drop after"
	// Status answers Fault.Status (default 500) in the vendor's error shape,
	// or with Fault.Body, and does not execute.
	Status FaultKind = "status"
	// StatusAfter executes and answers as Status does. The answer is the
	// vendor's own: Stripe stores it under the idempotency key and repeats it.
	StatusAfter FaultKind = "status after"
	// HTML answers Fault.Status (default 502) with a page of something in
	// front of the vendor, and does not execute.
	HTML FaultKind = "html"
	// HTMLAfter executes and answers as HTML does. The vendor knows nothing of
	// the page: a replay of the idempotency key gets the true reply.
	HTMLAfter FaultKind = "html after"
	// BadJSON executes and answers status 200 with a page (or Fault.Body).
	BadJSON FaultKind = "bad json"
	// Truncate executes, declares the whole length and breaks off half-way.
	Truncate FaultKind = "truncate"
	// TruncateClean executes and sends half of the JSON as if it were all.
	TruncateClean FaultKind = "truncate clean"
	// Enormous executes and puts Fault.Size MiB (default 64) of padding into
	// the reply, which is still valid JSON.
	Enormous FaultKind = "enormous"
	// Redirect answers Fault.Status (default 307) with Location Fault.Body,
	// and does not execute.
	Redirect FaultKind = "redirect"
	// Echo executes and repeats the Authorization value, its parts, and their
	// base64 and decoded forms in reply headers and in the JSON body.
	Echo FaultKind = "echo"
	// Overcharge executes for twice the money that was asked for; a hold holds
	// twice as much.
	Overcharge FaultKind = "overcharge"
	// AmountLie executes rightly and then writes Fault.Body, as raw JSON, in
	// place of every amount, price and unit count of the reply: -1, 1.5, "500",
	// null, or 1,"amount":2 for a duplicate key.
	AmountLie FaultKind = "amount lie"
)

// Fault is one way in which the next matching requests go wrong. Empty match
// fields match all. Delay is waited first with every kind, and Header is added
// to the reply with every kind that replies.
type Fault struct {
	Host         string // exact
	Method       string
	PathContains string

	Times       int // how many requests; 0 means 1
	Kind        FaultKind
	Status      int
	Body        string
	ContentType string // of Body; default application/json, for pages text/html
	Header      http.Header
	Delay       time.Duration
	Hold        <-chan struct{} // nil holds until the client goes away or Close
	Size        int             // MiB, for Enormous
}

var faultKinds = map[FaultKind]bool{
	Delay: true, BlockBefore: true, BlockAfter: true, BlockLate: true, DropBefore: true, DropAfter: true,
	Status: true, StatusAfter: true, HTML: true, HTMLAfter: true, BadJSON: true, Truncate: true,
	TruncateClean: true, Enormous: true, Redirect: true, Echo: true, Overcharge: true, AmountLie: true,
}

// Misbehave queues f. A request takes the first fault of the queue that matches
// it, and only that. An unknown kind panics: a slip in a test must not pass for
// a vendor that behaves.
func (s *Server) Misbehave(f Fault) {
	if !faultKinds[f.Kind] {
		panic("fakevendor: unknown fault kind " + string(f.Kind))
	}
	f.Times = max(f.Times, 1)
	f.Header = f.Header.Clone()
	q := &s.world.Load().faults
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, &f)
}

// Faults is how many requests the queued faults still wait for. A test that
// expects a fault to have happened checks for 0.
func (s *Server) Faults() int {
	q := &s.world.Load().faults
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, f := range q.waiting {
		n += f.Times
	}
	return n
}

type faultQueue struct {
	mu      sync.Mutex
	waiting []*Fault
}

// take returns the fault for c, the zero Fault if it is to be treated well.
func (q *faultQueue) take(c *call) Fault {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, f := range q.waiting {
		if !f.matches(c) {
			continue
		}
		if f.Times--; f.Times == 0 {
			q.waiting = append(q.waiting[:i:i], q.waiting[i+1:]...)
		}
		return *f
	}
	return Fault{}
}

func (f *Fault) matches(c *call) bool {
	return (f.Host == "" || f.Host == c.host) &&
		(f.Method == "" || f.Method == c.method) &&
		strings.Contains(c.path, f.PathContains)
}
