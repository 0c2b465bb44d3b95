// Package redistest runs real redis-servers for tests, in the shapes in which people run them: one node, a
// replica, Sentinel, a cluster, behind TLS. Each is killed, stopped and restarted as a test wants.
//
// Nothing here needs a *testing.T but [Start] and [Serve], so that a program of its own can use it as well.
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long a server may take for anything: it is never waited for in full unless something is broken.
const patience = 20 * time.Second

// Start runs a redis-server that ends with the test and returns its address; see [Run]. Without the binary the
// test fails rather than skips: a ledger that was not tried is not known to hold.
func Start(t testing.TB, args ...string) (addr string) {
	t.Helper()
	return Serve(t, args...).Addr()
}

// Serve is [Run] for a test: the server ends with it.
func Serve(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := Run(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// A Server is one redis-server process on a port and in a directory of its own. Methods may be called from any
// goroutine; those that start and end the process take turns.
type Server struct {
	bin, dir string
	port     int
	bus      int // of a cluster's node, where nodes talk to each other
	args     []string
	admin    *redis.Client // through the Unix socket, which no other process can have taken

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

// Run starts a redis-server on a free loopback port, without persistence, with args added to its command line:
// a later argument replaces an earlier one, so "--appendonly", "yes" keeps what is written. It returns when the
// server answers. Close ends it.
func Run(args ...string) (*Server, error) {
	return run(func(s *Server) ([]string, error) {
		return append([]string{"--port", strconv.Itoa(s.port)}, args...), nil
	})
}

// run starts a server with the arguments that more makes for its port and directory. Another process may take
// the port between the look and the start; then the next is tried.
func run(more func(*Server) ([]string, error)) (*Server, error) {
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redistest: redis-server is not installed; run: apt-get install redis-server")
	}
	for range 20 {
		s := &Server{bin: bin}
		if err = s.prepare(more); err == nil {
			err = s.start()
		}
		if err == nil {
			return s, nil
		}
		s.Close()
		if !errors.Is(err, errTaken) {
			break
		}
	}
	return nil, err
}

// prepare finds the port, makes the directory and writes the command line.
func (s *Server) prepare(more func(*Server) ([]string, error)) error {
	var err error
	if s.port, err = freePort(); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "redis"); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	s.args = []string{
		"--bind", "127.0.0.1", "--dir", s.dir, "--unixsocket", s.socket(), "--save", "", "--appendonly", "no",
		"--repl-diskless-sync-delay", "0", "--enable-debug-command", "local",
	}
	s.admin = redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket(), MaxRetries: -1, DialerRetries: 1})
	args, err := more(s)
	s.args = append(s.args, args...)
	return err
}

// Addr is host:port, the same after a restart.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Admin is a client of the server that stays the server's to close. It goes past TLS, and does not send again
// what had no answer.
func (s *Server) Admin() *redis.Client { return s.admin }

// Dir is where the server keeps its files.
func (s *Server) Dir() string { return s.dir }

func (s *Server) socket() string { return filepath.Join(s.dir, "s") }

// Kill ends the process with SIGKILL and returns when it is gone. One that is gone already stays so.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
}

func (s *Server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.ended
		s.cmd = nil
	}
}

// Restart starts the server again, after a Kill when it still runs, on the same port and files with the same
// arguments, and returns when it answers and has loaded what it kept. It follows no master until it is told
// again.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = s.begin(); !errors.Is(err, errTaken) {
			return err
		}
	}
	return err
}

// Close ends the process and removes its files.
func (s *Server) Close() {
	s.Kill()
	if s.admin != nil {
		_ = s.admin.Close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// signal sends sig to the process if it runs.
func (s *Server) signal(sig os.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return errors.New("redistest: the server does not run")
	}
	return s.cmd.Process.Signal(sig)
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin()
}

// errTaken says that another process has the port.
var errTaken = errors.New("redistest: the port is taken")

// begin starts the process and waits for it. The answer comes through the Unix socket: on the port it might be
// another test's server that answers, while ours is about to end because the port is taken.
func (s *Server) begin() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(s.bin, s.args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	s.cmd, s.ended = cmd, ended
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-ended:
			s.cmd = nil
			return s.failed("ended")
		default:
		}
		if s.answers() {
			return nil
		}
	}
	s.kill()
	return s.failed("does not answer")
}

// failed is the error that holds the server's own words.
func (s *Server) failed(how string) error {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	if bytes.Contains(text, []byte("Address already in use")) {
		return errTaken
	}
	return fmt.Errorf("redistest: redis-server %s: %s", how, text)
}

// answers asks for PING. A server that still loads is not ready; one that wants a password is, as far as it
// tells us.
func (s *Server) answers() bool {
	conn, err := net.DialTimeout("unix", s.socket(), time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	reply := make([]byte, 64)
	n, _ := conn.Read(reply)
	return bytes.HasPrefix(reply[:n], []byte("+PONG")) || bytes.HasPrefix(reply[:n], []byte("-NOAUTH"))
}

// freePort finds a port below the range from which systems number outgoing connections. In that range a client
// that dials a killed server again and again would in the end be given the very port, and hold it.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 10_000 + rand.IntN(22_000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("redistest: no free port: %w", err)
}

// until asks again and again until it is so, or says what was not.
func until(what string, is func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !is(ctx) {
		if ctx.Err() != nil {
			return fmt.Errorf("redistest: %s: not after %v", what, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}
