// Package respproxy is a faulty connection to a real Redis: a TCP proxy that reads requests and replies one by one,
// so that a fault hits one command exactly, inside a pipeline too.
//
//	proxy, err := respproxy.Start(server.Addr(), func(c respproxy.Command) respproxy.Fault {
//		if c.Name == "EVALSHA" && c.Seq%10 == 0 {
//			return respproxy.Fault{Kind: respproxy.DropAfter}
//		}
//		return respproxy.Fault{}
//	})
//
// It speaks RESP2 and RESP3. A connection that subscribes or monitors becomes a plain pipe, in which nothing is
// hit any more, because replies no longer answer requests one by one there. So it is with CLIENT REPLY, which no
// client of ours uses: it is refused.
package respproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Proxy stands in front of one server. Its methods may be called from any goroutine.
type Proxy struct {
	listener net.Listener
	closed   chan struct{}
	all      sync.WaitGroup

	mu     sync.Mutex
	server string
	conns  map[*conn]bool

	turn     sync.Mutex // one command is judged at a time, so that a schedule may keep state
	schedule Schedule
	seq      int
	counts   map[Kind]int
}

// Start listens on a free loopback port and forwards to server until Close. A nil schedule hits nothing.
func Start(server string, schedule Schedule) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("respproxy: %w", err)
	}
	p := &Proxy{
		listener: l, closed: make(chan struct{}), server: server, schedule: schedule,
		conns: map[*conn]bool{}, counts: map[Kind]int{},
	}
	p.all.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Plan replaces the schedule. Faults that were decided before take their course.
func (p *Proxy) Plan(s Schedule) {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.schedule = s
}

// Point makes server the one to which new connections go, and closes those that there are, as what stands in front
// of a server and its replicas does after a promotion. A command that waits for its time is lost with them.
func (p *Proxy) Point(server string) {
	p.mu.Lock()
	p.server = server
	p.mu.Unlock()
	p.Sever()
}

// Sever closes all connections.
func (p *Proxy) Sever() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.end()
	}
}

// Counts is how many faults of each kind have hit a command.
func (p *Proxy) Counts() map[Kind]int {
	p.turn.Lock()
	defer p.turn.Unlock()
	out := map[Kind]int{}
	for k, n := range p.counts {
		out[k] = n
	}
	return out
}

// Injected is how many faults have hit a command.
func (p *Proxy) Injected() int {
	sum := 0
	for _, n := range p.Counts() {
		sum += n
	}
	return sum
}

// Pending is how many commands have come and are neither answered by the server nor lost: zero says that nothing
// will be executed late.
func (p *Proxy) Pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := int64(0)
	for c := range p.conns {
		sum += c.pending.Load()
	}
	return int(sum)
}

// Close ends the listener and all connections, with what waits in them, and returns when no goroutine is left.
func (p *Proxy) Close() error {
	close(p.closed)
	err := p.listener.Close()
	p.Sever()
	p.all.Wait()
	return err
}

func (p *Proxy) accept() {
	for number := 1; ; number++ {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.serve(number, client) })
	}
}

// serve joins a client to the server for as long as both want.
func (p *Proxy) serve(number int, client net.Conn) {
	p.mu.Lock()
	addr := p.server
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		_ = client.Close() // to the client, a server that is down
		return
	}
	c := &conn{
		proxy: p, number: number, client: client, server: server, ended: make(chan struct{}), expected: make(chan expected, 1024),
		requests: bufio.NewReader(client), replies: bufio.NewReader(server),
	}
	if !p.enter(c, addr) {
		c.end()
		return
	}
	defer p.leave(c)
	var both sync.WaitGroup
	both.Go(c.ask)
	both.Go(c.answer)
	both.Wait()
}

// enter puts c among those that Sever closes, unless it has come too late for that.
func (p *Proxy) enter(c *conn, addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		return false
	default:
	}
	if p.server != addr {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) leave(c *conn) {
	c.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// judge asks the schedule what becomes of a command.
func (p *Proxy) judge(number int, args [][]byte) Fault {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.seq++
	if p.schedule == nil {
		return Fault{}
	}
	f := p.schedule(Command{Conn: number, Seq: p.seq, Name: name(args), Args: args})
	if f.Kind != "" {
		p.counts[f.Kind]++
	}
	return f
}

// A conn is one client and its connection to the server.
type conn struct {
	proxy             *Proxy
	number            int
	client, server    net.Conn
	requests, replies *bufio.Reader
	expected          chan expected // what the client has still to get, in its order; closed by ask

	pending atomic.Int64 // commands that the server has still to answer

	once  sync.Once
	ended chan struct{}
}

// expected is one reply that the client waits for.
type expected struct {
	own   []byte // the proxy's own reply; nil: the server's
	fault Fault
	raw   bool // from here on all is passed as it comes
}

// end closes both sides and ends every wait.
func (c *conn) end() {
	c.once.Do(func() {
		close(c.ended)
		_ = c.client.Close()
		_ = c.server.Close()
	})
}

// ask reads the client's commands and forwards them. It goes on when the client has gone: what was sent is
// carried out, as by a server.
func (c *conn) ask() {
	defer close(c.expected)
	for {
		raw, args, err := readCommand(c.requests)
		if err != nil {
			return // answer ends the connection once everything has been answered
		}
		if len(args) > 0 && !c.forward(raw, args) { // an empty command has no reply
			return
		}
	}
}

// forward carries out what the schedule says of one command, and reports whether there may be a next one.
func (c *conn) forward(raw []byte, args [][]byte) bool {
	switch {
	case pipes(args):
		if !c.expect(expected{raw: true}) || !c.send(raw) {
			return false
		}
		_, _ = io.Copy(c.server, c.requests)
		c.end()
		return false
	case name(args) == "CLIENT" && len(args) > 1 && strings.EqualFold(string(args[1]), "reply"):
		return c.expect(expected{own: []byte("-ERR respproxy: CLIENT REPLY is not forwarded\r\n")})
	case name(args) == "ASKING": // follows an ASK of ours; a server that is no cluster does not know it
		return c.expect(expected{own: []byte("+OK\r\n")})
	}
	f := c.proxy.judge(c.number, args)
	if text, ok := f.Kind.reply(c.proxy.Addr()); ok {
		return c.expect(expected{own: text})
	}
	if f.Kind == DropBefore {
		c.expect(expected{fault: f})
		return false
	}
	c.pending.Add(1)
	if f.Kind == DelayRequest && !c.wait(f) {
		return false
	}
	// What comes after a dropped reply on the same connection is not carried out: the fault is on one command.
	return c.expect(expected{fault: f}) && c.send(raw) && f.Kind != DropAfter
}

// expect puts e into the client's order, unless the connection has ended.
func (c *conn) expect(e expected) bool {
	select {
	case c.expected <- e:
		return true
	case <-c.ended:
		return false
	}
}

func (c *conn) send(raw []byte) bool {
	_, err := c.server.Write(raw)
	return err == nil
}

// wait lets the fault's time pass, and reports false when the connection was ended by the proxy meanwhile. A
// client that goes away ends nothing here.
func (c *conn) wait(f Fault) bool {
	if f.Until != nil {
		select {
		case <-f.Until:
			return true
		case <-c.ended:
			return false
		}
	}
	t := time.NewTimer(f.Delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ended:
		return false
	}
}

// answer gives the client its replies in order. Where the client has gone, the server's replies are read all the
// same: closing before them might take back what was sent.
func (c *conn) answer() {
	defer c.end()
	for e := range c.expected {
		reply := e.own
		switch {
		case e.raw:
			_, _ = io.Copy(c.client, c.replies)
			return
		case e.fault.Kind == DropBefore:
			return
		case reply == nil:
			var err error
			if reply, err = c.reply(); err != nil {
				return
			}
			c.pending.Add(-1)
			if e.fault.Kind == DropAfter {
				return
			}
		}
		if e.fault.Kind == DelayReply && !c.wait(e.fault) {
			return
		}
		_, _ = c.client.Write(reply)
	}
}

// reply reads the server's next reply. What the server pushes in between goes to the client at once.
func (c *conn) reply() ([]byte, error) {
	for {
		reply, err := readReply(c.replies)
		if err != nil || reply[0] != '>' {
			return reply, err
		}
		_, _ = c.client.Write(reply)
	}
}

// name is a command's, in capitals.
func name(args [][]byte) string { return strings.ToUpper(string(args[0])) }

// pipes reports whether replies no longer answer requests one by one after this command.
func pipes(args [][]byte) bool {
	n := name(args)
	return n == "MONITOR" || n == "SYNC" || n == "PSYNC" || strings.HasSuffix(n, "SUBSCRIBE")
}

var errSyntax = errors.New("respproxy: not RESP")
