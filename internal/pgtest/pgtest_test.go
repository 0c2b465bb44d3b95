//go:build unix

package pgtest

import (
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			dsn := Database(t)
			mu.Lock()
			defer mu.Unlock()
			seen[dsn] = true
			if !strings.Contains(dsn, "@127.0.0.1:") {
				t.Errorf("the address is %s", dsn)
			}
		})
	}
	wg.Wait()
	if len(seen) != 4 {
		t.Errorf("4 databases have %d addresses", len(seen))
	}
}

func TestWhatIsCommittedOutlivesACrashAndAStop(t *testing.T) {
	s := Serve(t)
	address, err := s.NewDatabase()
	must(t, err)
	name := strings.TrimPrefix(parsed(t, address).Path, "/")
	must(t, s.psql(name, "CREATE TABLE a (b int)"))
	for _, end := range []func(){s.Crash, s.Stop} {
		end()
		if s.psql(name, "SELECT 1") == nil {
			t.Fatal("a server that has ended answers")
		}
		must(t, s.Start())
		must(t, s.psql(name, "SELECT b FROM a"))
		if s.DSN(name) != address {
			t.Errorf("started again at %s, was at %s", s.DSN(name), address)
		}
	}
	if s.Start() == nil {
		t.Error("a server that runs was started")
	}
}

func TestOnlyWhoHasThePasswordConnects(t *testing.T) {
	s := Serve(t)
	must(t, s.psql("postgres", "SELECT 1"))
	s.password += "x"
	if err := s.psql("postgres", "SELECT 1"); err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("with another password: %v", err)
	}
}

func TestClosedLeavesNothing(t *testing.T) {
	s, err := Run()
	must(t, err)
	dir, host := s.dir, parsed(t, s.DSN("postgres")).Host
	s.Close()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", dir, err)
	}
	if conn, err := net.DialTimeout("tcp", host, time.Second); err == nil {
		_ = conn.Close()
		t.Error("a closed server answers")
	}
}

func TestASettingThatPostgreSQLRefusesIsAnErrorInItsWords(t *testing.T) {
	s, err := Run("no_such_setting=1")
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("got %v", err)
	}
}

func parsed(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	must(t, err)
	return u
}
