package keybrake_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/internal/fakevendor"
)

// A tap stands between the brake and the fake vendor. It ends the TLS of the one and begins that of the other, and keeps
// every byte that the brake wrote: not what a server made of it.
type tap struct {
	addr string
	cert tls.Certificate
	fake *fakevendor.Server

	mu      sync.Mutex
	dialled []string // hosts and ports that were asked for since take
	conns   []*tapped
	open    map[net.Conn]bool
	done    sync.WaitGroup
}

// tapped is what arrived on one connection.
type tapped struct {
	name  string // by which the brake asked for the certificate
	http2 bool
	raw   bytes.Buffer // not taken yet
}

func startTap(t testing.TB, fake *fakevendor.Server) *tap {
	t.Helper()
	w := &tap{cert: certificateFor(t, "api.stripe.com", "connect.stripe.com", "files.stripe.com", "*.twilio.com", "api.dublin.ie1.twilio.com", "api.resend.com"), fake: fake, open: map[net.Conn]bool{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	w.done.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.done.Go(func() { w.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		for conn := range w.open {
			_ = conn.Close()
		}
		w.open = nil
		w.mu.Unlock()
		w.done.Wait()
	})
	return w
}

func certificateFor(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, form, form, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private, Leaf: leaf}
}

// keep notes a connection that is to be closed at the end; false means that the end has come.
func (w *tap) keep(conn net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		_ = conn.Close()
		return false
	}
	w.open[conn] = true
	return true
}

func (w *tap) serve(from net.Conn) {
	if !w.keep(from) {
		return
	}
	defer from.Close()
	in := tls.Server(from, &tls.Config{Certificates: []tls.Certificate{w.cert}, NextProtos: []string{"h2", "http/1.1"}})
	if in.Handshake() != nil {
		return
	}
	state := in.ConnectionState()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.fake.CA())
	config := &tls.Config{ServerName: state.ServerName, RootCAs: roots}
	if state.NegotiatedProtocol != "" {
		config.NextProtos = []string{state.NegotiatedProtocol}
	}
	out, err := tls.Dial("tcp", w.fake.Addr(), config)
	if err != nil || !w.keep(out.NetConn()) {
		return
	}
	conn := &tapped{name: state.ServerName, http2: state.NegotiatedProtocol == "h2"}
	w.mu.Lock()
	w.conns = append(w.conns, conn)
	w.mu.Unlock()
	w.done.Go(func() {
		_, _ = io.Copy(in, out)
		_ = in.NetConn().Close() // the reply ends as abruptly as the vendor ended it
	})
	_, _ = io.Copy(out, io.TeeReader(in, writerFunc(func(p []byte) (int, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return conn.raw.Write(p)
	})))
	_ = out.Close()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// transport is a base for a brake: it reaches the tap whatever host it wants, in one protocol.
func (w *tap) transport(t testing.TB, http2 bool) *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(w.cert.Leaf)
	base := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			w.mu.Lock()
			w.dialled = append(w.dialled, addr)
			w.mu.Unlock()
			return (&net.Dialer{}).DialContext(ctx, network, w.addr)
		},
		TLSClientConfig: &tls.Config{RootCAs: roots},
		Protocols:       new(http.Protocols),
	}
	base.Protocols.SetHTTP1(!http2)
	base.Protocols.SetHTTP2(http2)
	t.Cleanup(base.CloseIdleConnections)
	return base
}

// An arrival is one request, taken apart by no code of net/http's.
type arrival struct {
	server               string // the name for which the certificate was asked
	method, target, body string
	header               map[string]string // by lower-case name; nil on HTTP/2, where it is compressed
	raw                  string
}

// take is what has arrived since the last take. It is an error when that is not a row of whole requests, each framed in one
// way alone.
func (w *tap) take() (all []arrival, dialled []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	dialled, w.dialled = w.dialled, nil
	for _, conn := range w.conns {
		read := requestsOn
		if conn.http2 {
			read = streamsOn
		}
		requests, err := read(&conn.raw)
		if err != nil {
			return nil, nil, fmt.Errorf("on the wire to %s: %w", conn.name, err)
		}
		for _, r := range requests {
			r.server = conn.name
			all = append(all, r)
		}
	}
	return all, dialled, nil
}

// requestsOn reads HTTP/1.1 as strictly as nobody has to: one way to say where a request ends, no name twice.
func requestsOn(raw *bytes.Buffer) (all []arrival, err error) {
	for raw.Len() > 0 {
		head, rest, ok := bytes.Cut(raw.Bytes(), []byte("\r\n\r\n"))
		if !ok {
			return nil, fmt.Errorf("a head without an end: %q", raw.Bytes())
		}
		lines := strings.Split(string(head), "\r\n")
		words := strings.Split(lines[0], " ")
		if len(words) != 3 || words[2] != "HTTP/1.1" || !strings.HasPrefix(words[1], "/") {
			return nil, fmt.Errorf("the request line %q", lines[0])
		}
		r := arrival{method: words[0], target: words[1], header: map[string]string{}}
		for _, line := range lines {
			if strings.Trim(line, ascii) != "" {
				return nil, fmt.Errorf("a line with something that is not printable: %q", line)
			}
		}
		for _, line := range lines[1:] {
			name, value, ok := strings.Cut(line, ": ")
			lower := strings.ToLower(name)
			if _, twice := r.header[lower]; twice || !ok || name == "" || strings.Trim(lower, "abcdefghijklmnopqrstuvwxyz-0123456789") != "" {
				return nil, fmt.Errorf("the header line %q, again or not in form", line)
			}
			r.header[lower] = value
		}
		n := 0
		if length, ok := r.header["content-length"]; ok {
			if n, err = strconv.Atoi(length); err != nil || n < 0 || n > len(rest) {
				return nil, fmt.Errorf("a length of %q before %d bytes", length, len(rest))
			}
		}
		if _, ok := r.header["transfer-encoding"]; ok {
			return nil, fmt.Errorf("a transfer encoding: %q", head)
		}
		size := len(head) + len("\r\n\r\n") + n
		r.body, r.raw = string(rest[:n]), string(raw.Next(size))
		all = append(all, r)
	}
	return all, nil
}

var ascii = func() string {
	b := make([]byte, 0, 95)
	for c := byte(' '); c <= '~'; c++ {
		b = append(b, c)
	}
	return string(b)
}()

// streamsOn reads the frames of HTTP/2: for each stream one head and a body. The head stays compressed; what it says is in
// what the vendor received.
func streamsOn(raw *bytes.Buffer) (all []arrival, err error) {
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	if bytes.HasPrefix(raw.Bytes(), []byte(preface)) {
		raw.Next(len(preface))
	}
	streams := map[uint32]*arrival{}
	ended := map[uint32]bool{}
	var order []uint32
	for raw.Len() >= 9 {
		b := raw.Bytes()
		size, kind, flags := int(b[0])<<16|int(b[1])<<8|int(b[2]), b[3], b[4]
		id := uint32(b[5])<<24 | uint32(b[6])<<16 | uint32(b[7])<<8 | uint32(b[8])
		if raw.Len() < 9+size {
			break
		}
		frame := string(raw.Next(9 + size))
		switch kind {
		case 0, 1, 9: // DATA, HEADERS, CONTINUATION
			if kind == 1 {
				if streams[id] != nil {
					return nil, fmt.Errorf("stream %d has a second head, or trailers", id)
				}
				streams[id], order = &arrival{}, append(order, id)
			}
			if streams[id] == nil || ended[id] || flags&8 != 0 {
				return nil, fmt.Errorf("a frame of kind %d that is padded, or of no open stream", kind)
			}
			if kind == 0 {
				streams[id].body += frame[9:]
			}
			ended[id] = kind != 9 && flags&1 != 0
			streams[id].raw += frame
		case 3, 4, 6, 7, 8: // RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE
		default:
			return nil, fmt.Errorf("a frame of kind %d", kind)
		}
	}
	for _, id := range order {
		if !ended[id] {
			return nil, fmt.Errorf("stream %d has no end", id)
		}
		all = append(all, *streams[id])
	}
	return all, nil
}
