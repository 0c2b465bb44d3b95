// Package redistest starts a real redis-server for a test and stops it afterwards.
package redistest

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Start runs a redis-server on a free loopback port, without persistence, with args added to its command line,
// and returns its address. The server ends with the test. Without the binary the test fails rather than skips: a
// ledger that was not tried is not known to hold.
func Start(t testing.TB, args ...string) (addr string) {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redistest: redis-server is not installed; run: apt-get install redis-server")
	}
	for range 5 { // another process may take the port between the look and the start
		if addr, ok := start(t, bin, args); ok {
			return addr
		}
	}
	t.Fatal("redistest: redis-server did not start; see the log above")
	return ""
}

func start(t testing.TB, bin string, args []string) (string, bool) {
	t.Helper()
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	var log strings.Builder
	cmd := exec.Command(bin, append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
		"--dir", dir, "--pidfile", filepath.Join(dir, "redis.pid")}, args...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("redistest: %v", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		select {
		case <-ended:
			t.Logf("redistest: redis-server ended: %s", log.String())
			return "", false
		default:
		}
		if answers(addr) {
			return addr, true
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("redistest: redis-server does not answer after ten seconds")
	return "", false
}

// answers asks for PING; a server that still loads is not ready.
func answers(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	reply := make([]byte, 5)
	n, _ := conn.Read(reply)
	return string(reply[:n]) == "+PONG"
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}
