package redisledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
)

// brief is a client that gives up soon.
func brief(t testing.TB, addr string) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1, ReadTimeout: time.Second})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// journalled is a ledger that is closed with the test.
func journalled(t testing.TB, rdb *redis.Client, path string) *redisledger.Ledger {
	t.Helper()
	l := redisledger.New(rdb, &redisledger.Options{Journal: path, Timeout: 200 * time.Millisecond})
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// until waits for what happens in the background.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func drained(t testing.TB, l *redisledger.Ledger) {
	t.Helper()
	until(t, "what waits is booked", func() bool { return l.Deferred() == 0 })
}

func deferred(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, ledger.ErrDeferred) {
		t.Errorf("got %v, want an outcome that is deferred", err)
	}
}

func TestWhatCannotBeBookedIsBookedOnceWhenRedisIsBack(t *testing.T) {
	server := redistest.Serve(t, "--appendonly", "yes", "--appendfsync", "always")
	for name, away := range map[string]struct{ go_, back func() error }{
		"killed":  {func() error { server.Kill(); return nil }, server.Restart},
		"stopped": {server.Pause, server.Continue},
	} {
		for _, path := range []string{"", filepath.Join(t.TempDir(), "journal")} {
			t.Run(fmt.Sprintf("%s, path %t", name, path != ""), func(t *testing.T) {
				must(t, server.Admin().FlushAll(ctx).Err())
				opened(t, client(t, server.Addr()), 1000)
				l := journalled(t, brief(t, server.Addr()), path)
				var holds []ledger.Hold
				for range 12 {
					holds = append(holds, admit(t, l, pay(10)))
				}
				must(t, away.go_())
				var wg sync.WaitGroup
				for i, h := range holds[:9] {
					wg.Go(func() {
						switch i % 3 {
						case 0:
							deferred(t, second(l.Settle(ctx, h, settled(7))))
							if i == 0 {
								deferred(t, second(l.Settle(ctx, h, settled(7)))) // said again
							}
						case 1:
							deferred(t, l.Release(ctx, h, true))
						case 2: // both, in this order
							deferred(t, second(l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Pending, Actual: usd(1), Held: usd(8)})))
							deferred(t, second(l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Pending, Actual: usd(2), Held: usd(3)})))
						}
					})
				}
				wg.Wait()
				lost := pay(1)
				if _, err := l.Reserve(ctx, lost); err == nil || errors.Is(err, ledger.ErrDeferred) {
					t.Errorf("reserve: %v", err)
				}
				deferred(t, l.Release(ctx, ledger.Hold{Tenant: acme, ID: lost.ID, Key: "k"}, true))
				if n := l.Deferred(); n != 14 {
					t.Errorf("%d outcomes wait", n)
				}
				must(t, away.back())
				drained(t, l)
				stands(t, l, 3*7+3*2, 3*10+3*3)
				if path != "" {
					if text, err := os.ReadFile(path); err != nil || len(text) > 0 {
						t.Errorf("the journal has %q, error %v", text, err)
					}
				}
			})
		}
	}
}

func TestAVerdictIsNotDeferred(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	opened(t, rdb, 1000)
	l := journalled(t, rdb, filepath.Join(t.TempDir(), "journal"))
	h := admit(t, l, pay(10))
	must(t, second(l.Settle(ctx, h, settled(10))))
	damaged, text := admit(t, l, pay(10)), admit(t, l, pay(10))
	replace(t, rdb, "kb:{acme}:r:"+damaged.ID)
	text.Key = "k\xff"
	broken := admit(t, l, pay(10))
	must(t, rdb.HSet(ctx, "kb:{acme}:r:"+broken.ID, "e", "none").Err())
	for _, err := range []error{
		second(l.Settle(ctx, h, settled(11))),
		second(l.Settle(ctx, ledger.Hold{Tenant: acme, ID: "none"}, settled(1))),
		second(l.Settle(ctx, damaged, settled(1))),
		second(l.Settle(ctx, broken, settled(1))),
		l.Release(ctx, text, true),
		second(l.Settle(ctx, h, ledger.Settlement{})),
	} {
		if err == nil || errors.Is(err, ledger.ErrDeferred) {
			t.Errorf("got %v", err)
		}
	}
	if n := l.Deferred(); n != 0 {
		t.Errorf("%d outcomes wait", n)
	}
}

func TestCloseKeepsTheJournalAndLeavesNothingRunning(t *testing.T) {
	stacks := make([]byte, 1<<20)
	running := func(what string) int { return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), what) }
	drains, all := running("redisledger.(*Ledger).drain"), running("redisledger.(*Ledger)") // of ledgers of other tests
	server := redistest.Serve(t)
	opened(t, client(t, server.Addr()), 1000)
	path := filepath.Join(t.TempDir(), "journal")
	l := journalled(t, brief(t, server.Addr()), path)
	a, b := admit(t, l, pay(10)), admit(t, l, pay(10))
	must(t, server.Pause())
	learnt := settled(7)
	learnt.Memo = "it was charge ch_7"
	deferred(t, second(l.Settle(ctx, a, learnt)))
	must(t, l.Close())
	until(t, "nothing is said again after Close", func() bool { return running("redisledger.(*Ledger).drain") <= drains })
	must(t, l.Close())
	if _, err := l.Settle(ctx, b, settled(7)); err == nil || errors.Is(err, ledger.ErrDeferred) {
		t.Errorf("after Close: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", info, err)
	}
	until(t, "no goroutine of the ledger is left", func() bool {
		return running("redisledger.(*Ledger)") <= all
	})
	must(t, server.Continue())

	next := journalled(t, client(t, server.Addr()), path)
	stands(t, next, 0, 20) // New does no I/O
	must(t, next.Check(ctx))
	drained(t, next)
	stands(t, next, 7, 10)
	if found, err := next.Find(ctx, acme, a.ID); err != nil || found.Memo != learnt.Memo {
		t.Errorf("what the reply told is %q, error %v", found.Memo, err)
	}
	if err := next.Check(ctx); err != nil { // twice
		t.Error(err)
	}
	must(t, next.Close())
	if err := next.Check(ctx); err == nil {
		t.Error("a closed ledger passed")
	}
}

func TestAJournalThatCannotBeWrittenDefersNothing(t *testing.T) {
	server := redistest.Serve(t)
	opened(t, client(t, server.Addr()), 1000)
	path := filepath.Join(t.TempDir(), "no such directory", "journal")
	l := journalled(t, brief(t, server.Addr()), path)
	h := admit(t, l, pay(10))
	if err := l.Check(ctx); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("check: %v", err)
	}
	server.Kill()
	if _, err := l.Settle(ctx, h, settled(7)); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ledger.ErrDeferred) {
		t.Errorf("settle: %v", err)
	}
}

const childEnv = "KEYBRAKE_JOURNAL_CHILD" // address and path

// TestJournalChild is the other process of the test below.
func TestJournalChild(t *testing.T) {
	addr, path, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		t.Skip("it is started by another test")
	}
	l := redisledger.New(brief(t, addr), &redisledger.Options{Journal: path, Timeout: 200 * time.Millisecond})
	must(t, l.Check(ctx))
	in := bufio.NewScanner(os.Stdin)
	var h ledger.Hold
	for in.Scan() {
		switch in.Text() {
		case "reserve":
			r := pay(10)
			r.ID, r.Nonce = fmt.Sprint("child", time.Now().UnixNano()), fmt.Sprint(time.Now().UnixNano())
			h = admit(t, l, r)
		case "settle":
			deferred(t, second(l.Settle(ctx, h, settled(7))))
		}
		fmt.Println("did", in.Text())
	}
}

func TestTheJournalOfAKilledProcessIsBookedOnce(t *testing.T) {
	server := redistest.Serve(t)
	opened(t, client(t, server.Addr()), 1000)
	path := filepath.Join(t.TempDir(), "journal")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestJournalChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+server.Addr()+" "+path)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	answers := bufio.NewScanner(out)
	do := func(what string) {
		t.Helper()
		must(t, second(fmt.Fprintln(in, what)))
		for answers.Scan() {
			if answers.Text() == "did "+what {
				return
			}
		}
		t.Fatalf("the child did not %s", what)
	}
	do("reserve")
	do("reserve")
	if err := journalled(t, client(t, server.Addr()), path).Check(ctx); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("a second process took the journal: %v", err)
	}
	must(t, server.Pause())
	do("settle")
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	must(t, server.Continue())

	text, err := os.ReadFile(path)
	must(t, err)
	for range 3 { // the file is there again, as if the power had gone before it was cleared
		must(t, os.WriteFile(path, text, 0o600))
		l := journalled(t, client(t, server.Addr()), path)
		must(t, l.Check(context.Background()))
		drained(t, l)
		stands(t, l, 7, 10)
		must(t, l.Close())
	}
}
