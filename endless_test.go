package keybrake_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/flight"
)

// A rawVendor is a TLS server that reads one request a connection and then writes what its script says, in HTTP/1.1 or
// not in any protocol.
type rawVendor struct {
	cert   tls.Certificate
	addr   string
	mu     sync.Mutex
	script func(w io.Writer) // until w fails or it is done, then the connection is closed
}

func startRawVendor(t *testing.T) *rawVendor {
	t.Helper()
	v := &rawVendor{cert: certificateFor(t, "api.stripe.com")}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{v.cert}, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	v.addr = l.Addr().String()
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { v.serve(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); served.Wait() })
	return v
}

func (v *rawVendor) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // the end of a test that has failed
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, req.Body); err != nil {
		return
	}
	v.mu.Lock()
	script := v.script
	v.mu.Unlock()
	script(conn)
}

// hardenedTo is the brake's own base transport, which finds the vendor at addr.
func hardenedTo(t *testing.T, cert tls.Certificate, addr string) *http.Transport {
	base := flight.Hardened()
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	base.TLSClientConfig.RootCAs = x509.NewCertPool()
	base.TLSClientConfig.RootCAs.AddCert(cert.Leaf)
	t.Cleanup(base.CloseIdleConnections)
	return base
}

// again writes text until the connection is gone, with a pause between.
func again(text string, pause time.Duration) func(io.Writer) {
	return func(w io.Writer) {
		for {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}
}

func after(head string, then func(io.Writer)) func(io.Writer) {
	return func(w io.Writer) {
		if _, err := io.WriteString(w, head); err == nil {
			then(w)
		}
	}
}

// silence says nothing until the connection is gone.
func silence(w io.Writer) { _, _ = io.Copy(io.Discard, w.(net.Conn)) }

// bomb is eight times the longest reply, zipped.
var bomb = func() string {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // a level there is
	_, _ = io.CopyN(z, zeros{}, 8<<20)
	_ = z.Close()
	return b.String()
}()

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A vendor, or what has taken its place, never comes to an end, or is enormous. The call comes to its end in bounded time
// and memory; what was reserved counts, because it may have been executed; nothing is left running.
func TestAReplyThatNeverEndsIsBounded(t *testing.T) {
	const (
		ok      = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
		slow    = 5 * time.Millisecond
		intent  = `{"id":"pi_1","object":"payment_intent","amount":500,"amount_received":0,"currency":"usd","status":"requires_payment_method"}`
	)
	big := strings.Repeat("x", 16<<10)
	whole := fmt.Sprintf("%x\r\n%s\r\n0\r\n", len(intent), intent)
	block := fmt.Sprintf("%x\r\n%s\r\n", len(big), big)
	end := func(io.Writer) {}
	v := startRawVendor(t)
	w := newWorld(t, func(c *keybrake.Config) {
		c.Base, c.CallTimeout, c.MaxReply = hardenedTo(t, v.cert, v.addr), 400*time.Millisecond, 1<<20
	})
	before := runtime.NumGoroutine()
	for name, script := range map[string]func(io.Writer){
		"nothing":                       silence,
		"a head, byte by byte":          after("HTTP/1.1 200 OK\r\nX-Slow: ", again("x", slow)),
		"a head without an end":         after(ok, again("X-Flood: "+big+"\r\n", 0)),
		"a head of a megabyte":          after(ok+strings.Repeat("X-Flood: "+big+"\r\n", 64)+"Content-Length: 2\r\n\r\n{}", end),
		"a line without an end":         after(ok+"X-Flood: ", again(big, 0)),
		"hints without an end":          again("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0),
		"go on, go on":                  again("HTTP/1.1 100 Continue\r\n\r\n", slow),
		"a body, byte by byte":          after(chunked, again("1\r\nx\r\n", slow)),
		"a body without an end":         after(chunked, again(block, 0)),
		"a body of a great length":      after(ok+"Content-Length: 9000000000000000000\r\n\r\n", again(big, 0)),
		"a body of no length":           after(ok+"\r\n", again(big, 0)),
		"a chunk whose size has no end": after(chunked, again("0", 0)),
		"a remark in a chunk":           after(chunked+"1;", again(big, 0)),
		"trailers without an end":       after(chunked+whole, again("X-Trailer: "+big+"\r\n", 0)),
		"trailers, byte by byte":        after(chunked+whole+"X-T: ", again("x", slow)),
		"a bomb":                        after(ok+"Content-Encoding: gzip\r\n\r\n"+bomb, end),
		"a bomb of no end":              after(ok+"Content-Encoding: gzip\r\n\r\n", again(bomb, 0)),
		"an encoding nobody asked for":  after(ok+"Content-Encoding: br\r\nContent-Length: 4\r\n\r\n\x0b\x01\x80\x03", end),
		"another encoding":              after(ok+"Content-Encoding: deflate\r\nContent-Length: 4\r\n\r\nabcd", end),
		"encodings of encodings":        after(ok+"Content-Encoding: gzip, gzip\r\nContent-Length: 4\r\n\r\nabcd", end),
		"the end, too early":            after(ok+"Content-Length: 500\r\n\r\n"+intent, end),
		"no reply at all":               end,
		"another protocol":              after("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", again(big, 0)),
		"a switch of protocols":         after("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", again(big, 0)),
	} {
		t.Run(name, func(t *testing.T) {
			v.mu.Lock()
			v.script = script
			v.mu.Unlock()
			w.staysHeld(t, w.Transport(nil))
		})
	}
	quietAgain(t, before)
}

// The same over HTTP/2, as far as a server of net/http can be made to misbehave.
func TestAReplyInHTTP2ThatNeverEndsIsBounded(t *testing.T) {
	cert := certificateFor(t, "api.stripe.com")
	var handle atomic.Value // http.HandlerFunc: the one before may run still
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle.Load().(http.HandlerFunc)(w, r) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.EnableHTTP2, s.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	write := func(text string, pause time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, text); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				time.Sleep(pause)
			}
		}
	}
	w := newWorld(t, func(c *keybrake.Config) {
		c.Base, c.CallTimeout, c.MaxReply = hardenedTo(t, cert, s.Listener.Addr().String()), 400*time.Millisecond, 1<<20
	})
	before := runtime.NumGoroutine()
	for name, script := range map[string]http.HandlerFunc{
		"nothing":               func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a body, byte by byte":  write("x", 5*time.Millisecond),
		"a body without an end": write(strings.Repeat("x", 16<<10), 0),
		"a head of a megabyte": func(w http.ResponseWriter, _ *http.Request) {
			for i := range 64 {
				w.Header().Set(fmt.Sprint("X-Flood-", i), strings.Repeat("x", 16<<10))
			}
			w.WriteHeader(200)
		},
		"hints without an end": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.WriteHeader(http.StatusEarlyHints)
			}
		},
		"a bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, bomb)
		},
		"no reply at all": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			handle.Store(script)
			w.staysHeld(t, w.Transport(nil))
		})
	}
	w.closeIdle()
	quietAgain(t, before)
}

func (w *world) closeIdle() { w.Transport(nil).CloseIdleConnections() }

// staysHeld makes a payment intent of 5 USD whose reply proves nothing, under a key of its own.
func (w *world) staysHeld(t *testing.T, rt http.RoundTripper) {
	t.Helper()
	key := w.issue(t, "run_1", everything())
	before := heapInUse()
	resp, err := rt.RoundTrip(request(t, "POST", intentsURL, key.Token(), formType, "amount=500&currency=usd"))
	if err == nil {
		reply, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if len(reply) > 1<<20 {
			t.Errorf("the caller gets %d bytes", len(reply))
		}
	}
	if grown := heapInUse() - before; grown > 8<<20 {
		t.Errorf("%d bytes are kept", grown)
	}
	if spent, held, _ := stands(t, w, key); spent != 0 || held != 5_000_000 {
		t.Errorf("spent %d and held %d, want 5 USD held; %v, %v", spent, held, resp, err)
	}
	r := last(w.sink.Records(), audit.Outcome)
	if head := strings.Contains(t.Name(), "head"); r.Key != key.ID || r.Outcome != "in_doubt" || head && r.Status != 0 {
		t.Errorf("the record says %+v", r)
	}
	if text := fmt.Sprintf("%v %+v %s", err, r, w.log); strings.Contains(text, stripeSecret) {
		t.Error("the credential shows")
	}
}

// quietAgain waits until there are no more goroutines than before.
func quietAgain(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before+4; {
		if time.Now().After(deadline) {
			stacks := make([]byte, 64<<10)
			t.Fatalf("%d goroutines, before it were %d:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}
