//go:build unix

package pgtest

import (
	"bytes"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take for anything: it is never waited for in full unless something is broken.
const patience = 60 * time.Second

var shared struct {
	sync.Mutex
	server *Server
}

// Main runs the tests of a binary and then ends the server that they have used, if they have.
func Main(m *testing.M) (code int) {
	defer func() {
		shared.Lock()
		defer shared.Unlock()
		if shared.server != nil {
			shared.server.Close()
		}
	}()
	return m.Run()
}

// Database returns the address of a new, empty database of the binary's server, which starts when the first test asks. The
// test binary has to have [Main] for its TestMain. Without PostgreSQL the test fails rather than skips: a sink that was not
// tried is not known to keep.
func Database(t testing.TB) (dsn string) {
	t.Helper()
	s, err := theServer()
	if err == nil {
		dsn, err = s.NewDatabase()
	}
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

func theServer() (*Server, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		s, err := Run()
		if err != nil {
			return nil, err
		}
		shared.server = s
	}
	return shared.server, nil
}

// Serve runs a server that ends with the test, for one that stops and starts it.
func Serve(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := Run(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// A Server is one PostgreSQL on a loopback port and in a directory of its own. Methods may be called from any goroutine.
type Server struct {
	bin, dir string
	port     int
	settings []string
	password string
	as       *syscall.Credential // whom it runs as, where that is another: it refuses to run as root

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
	made  int
}

// Run makes a cluster and starts its server with settings such as "fsync=off", and returns when it answers. Only who has
// its password, which is in the addresses of its databases, can connect to it. Close ends it.
func Run(settings ...string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, settings: settings, password: cryptorand.Text()}
	if err := s.prepare(); err != nil {
		s.Close()
		return nil, err
	}
	for range 20 { // another process may take the port between the look and the start
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.Start(); !errors.Is(err, errTaken) {
			break
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// binaries is where the newest PostgreSQL of this machine is. Debian keeps the server's programs out of the PATH.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(found, func(x, y string) int { return versionIn(y) - versionIn(x) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	return "", errors.New("pgtest: PostgreSQL is not installed; run: apt-get install postgresql")
}

func versionIn(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// prepare makes the directory and the cluster in it.
func (s *Server) prepare() (err error) {
	if s.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	if os.Getuid() == 0 {
		if err := s.giveAway(); err != nil {
			return err
		}
	}
	secret := filepath.Join(s.dir, "password")
	if err := errors.Join(os.WriteFile(secret, []byte(s.password), 0o600), s.own(secret)); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	out, err := s.command("initdb", "-D", s.data(), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "--locale", "C", "-N").CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgtest: initdb: %w: %s", err, out)
	}
	return nil
}

// giveAway makes the directory that of the user postgres, whom the system's package makes.
func (s *Server) giveAway() error {
	u, err := user.Lookup("postgres")
	if err != nil {
		return fmt.Errorf("pgtest: PostgreSQL does not run as root, and there is nobody else: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return s.own(s.dir)
}

func (s *Server) own(path string) error {
	if s.as == nil {
		return nil
	}
	return os.Chown(path, int(s.as.Uid), int(s.as.Gid))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command is one of PostgreSQL's programs, as the user that it runs as. Nothing of this process's environment reaches it.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir, cmd.Env = s.dir, []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH"), "PGPASSWORD=" + s.password}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

// DSN is the address of one of the server's databases, the same after a restart.
func (s *Server) DSN(database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", s.password), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// NewDatabase makes an empty database and returns its address.
func (s *Server) NewDatabase() (dsn string, err error) {
	s.mu.Lock()
	s.made++
	name := fmt.Sprintf("test%d", s.made)
	s.mu.Unlock()
	if err := s.psql("postgres", "CREATE DATABASE "+name); err != nil {
		return "", err
	}
	return s.DSN(name), nil
}

func (s *Server) psql(database, statement string) error {
	out, err := s.command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", s.dir, "-p", strconv.Itoa(s.port), "-U", "postgres", "-d", database, "-c", statement).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgtest: %s: %w: %s", statement, err, bytes.TrimSpace(out))
	}
	return nil
}

// errTaken says that another process has the port.
var errTaken = errors.New("pgtest: the port is taken")

// Start starts a server that was stopped, on the same port and files, and returns when it answers.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return errors.New("pgtest: the server runs")
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	defer func() { _ = log.Close() }()
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port), "-h", "127.0.0.1", "-k", s.dir, "-c", "max_connections=50", "-c", "log_min_messages=log"}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	cmd := s.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	endWithParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("pgtest: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	s.cmd, s.ended = cmd, ended
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			s.cmd = nil
			return s.failed("ended")
		default:
		}
		if s.psql("postgres", "SELECT 1") == nil {
			return nil
		}
	}
	s.stop(syscall.SIGQUIT)
	return s.failed("does not answer")
}

// failed is the error that holds the server's own words.
func (s *Server) failed(how string) error {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	if strings.Contains(string(text), "Address already in use") {
		return errTaken
	}
	return fmt.Errorf("pgtest: PostgreSQL %s: %s", how, text)
}

// Stop ends the server's connections and the server, in order, and returns when it has gone.
func (s *Server) Stop() { s.end(syscall.SIGINT) }

// Crash ends the server at once, as a crash of its machine would: what it starts with again is what was on the disk.
func (s *Server) Crash() { s.end(syscall.SIGQUIT) }

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop(sig)
}

func (s *Server) stop(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.ended:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	s.cmd = nil
}

// Close ends the server and removes its files.
func (s *Server) Close() {
	s.Crash()
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// freePort finds a port below the range from which systems number outgoing connections. In that range a client that dials a
// stopped server again and again would in the end be given the very port, and hold it.
func freePort() (port int, err error) {
	for range 100 {
		port = 10_000 + rand.IntN(22_000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("pgtest: no free port: %w", err)
}
