package fakevendor

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Server is one fake of all three vendors. Its methods may be called at any
// time, from any goroutine.
type Server struct {
	addr   string
	ca     []byte
	http   *http.Server
	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	served chan struct{}  // closed when the accept loop has ended
	conns  sync.WaitGroup // one for each open connection
	busy   sync.WaitGroup // one for each request in the handler
	world  atomic.Pointer[world]

	mu         sync.Mutex
	transports []*http.Transport
}

// Start opens a listener on a free loopback port and serves until [Server.Close].
func Start() (*Server, error) {
	caPEM, leaf, err := newAuthority()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{addr: l.Addr().String(), ca: caPEM, served: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.Reset()
	s.http = &http.Server{
		Handler:     http.HandlerFunc(s.serve),
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12},
		ConnState:   s.count,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
		ErrorLog:    log.New(io.Discard, "", 0), // failed handshakes are the client's to report
	}
	go func() {
		defer close(s.served)
		_ = s.http.ServeTLS(l, "", "") // ends with ErrServerClosed, always
	}()
	return s, nil
}

// count keeps conns, so that Close can wait for the last connection.
func (s *Server) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.conns.Done()
	}
}

// Close ends every wait and connection and returns when the last request has
// left the handler. A request that waits before its execution is not executed.
// Close may be called more than once; the logs can still be read afterwards.
func (s *Server) Close() error {
	s.cancel()
	err := s.http.Close()
	<-s.served
	s.conns.Wait()
	s.busy.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.transports {
		t.CloseIdleConnections()
	}
	s.transports = nil
	return err
}

// Transport returns a new transport to this server, as [Dial] makes it.
// Close closes its idle connections.
func (s *Server) Transport() *http.Transport {
	t := Dial(s.addr, s.ca)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transports = append(s.transports, t)
	return t
}

// Addr is the listener's address, host and port.
func (s *Server) Addr() string { return s.addr }

// CA is the authority's certificate as PEM. It is new for each Start.
func (s *Server) CA() []byte { return append([]byte(nil), s.ca...) }

// Reset forgets everything, as if just started: objects, logs, idempotency
// keys, faults and allowed credentials. A request in flight ends in the
// forgotten world and leaves no trace in the new one.
func (s *Server) Reset() { s.world.Store(newWorld()) }

// AllowCredentials makes vendor ("stripe", "twilio" or "resend") accept these
// credentials only; with no values it accepts none. Without this call it
// accepts every well-formed one. Stripe's and Resend's are the key, Twilio's is
// user and password joined by a colon.
func (s *Server) AllowCredentials(vendor string, values ...string) {
	s.world.Load().guard.allow(vendor, values)
}

// ForgetKeys prunes all idempotency keys, as the vendors do after 24 hours: the
// next request with a known key executes again.
func (s *Server) ForgetKeys() {
	w := s.world.Load()
	w.stripe.keys.forget()
	w.resend.keys.forget()
}
