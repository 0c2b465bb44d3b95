package sqliteledger_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

// locked holds the write lock of the file, as another process may, until free is called.
func locked(t *testing.T, path string) (free func()) {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(10000)")
	must(t, err)
	db.SetMaxOpenConns(1)
	_, err = db.Exec("BEGIN IMMEDIATE")
	must(t, err)
	free = sync.OnceFunc(func() {
		_, err := db.Exec("ROLLBACK")
		must(t, errors.Join(err, db.Close()))
	})
	t.Cleanup(free)
	return free
}

// waiting is how many goroutines wait for an answer of the writer.
func waiting() int {
	stacks := make([]byte, 4<<20)
	n := 0
	for g := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		state, rest, _ := strings.Cut(g, "\n")
		if strings.Contains(state, "[select") && strings.Contains(rest, "(*file).submit(") {
			n++
		}
	}
	return n
}

// until waits for something that is about to happen.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Errorf("never: %s", what)
			return
		}
	}
}

func TestAVerbThatIsGivenUpBeforeItBeginsLeavesNothing(t *testing.T) {
	path := fresh(t)
	l := opened(t, path, 10)
	for name, try := range map[string]struct {
		l    *sqliteledger.Ledger
		ctx  func() (context.Context, func())
		want error
	}{
		"its context has ended": {l, func() (context.Context, func()) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, context.Canceled},
		"its context is cancelled": {l, func() (context.Context, func()) {
			ctx, cancel := context.WithCancel(ctx)
			go func() {
				until(t, "the verb waits", func() bool { return waiting() > 0 })
				cancel()
			}()
			return ctx, cancel
		}, context.Canceled},
		"its deadline passes": {l, func() (context.Context, func()) { return context.WithTimeout(ctx, 20*time.Millisecond) }, context.DeadlineExceeded},
		"the ledger's timeout passes": {at(t, path, &sqliteledger.Options{Timeout: 20 * time.Millisecond}),
			func() (context.Context, func()) { return ctx, func() {} }, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			free := locked(t, path)
			ctx, cancel := try.ctx()
			defer cancel()
			r := pay(1)
			_, err := try.l.Reserve(ctx, r)
			if !errors.Is(err, try.want) || !strings.Contains(err.Error(), "not carried out") {
				t.Errorf("got %v, want %v and that it was not carried out", err, try.want)
			}
			free()
			admit(t, l, pay(0)) // behind it in the queue
			if _, err := l.Find(context.Background(), acme, r.ID); !errors.Is(err, ledger.ErrNoHold) {
				t.Errorf("it left a reservation: %v", err)
			}
			stands(t, l, 0, 0)
		})
	}
}

func TestReadsDoNotWaitForAWriter(t *testing.T) {
	path := fresh(t)
	l := opened(t, path, 10)
	h := admit(t, l, pay(1))
	defer locked(t, path)()
	stands(t, l, 0, 1)
	if _, err := l.Find(ctx, acme, h.ID); err != nil {
		t.Error(err)
	}
	if _, err := l.InDoubt(ctx, acme); err != nil {
		t.Error(err)
	}
}

// Fifty verbs that wait at the same time are two commits at most: the one that the writer was about to make, and
// one for all that came meanwhile. Each has its own answer, and what one does wrong the others do not feel.
func TestVerbsThatWaitTogetherShareACommit(t *testing.T) {
	path := fresh(t)
	l := opened(t, path, 20)
	free, before := locked(t, path), commits(t, path)
	var wg sync.WaitGroup
	var mu sync.Mutex
	admitted, denied, failed := 0, 0, 0
	for i := range 50 {
		wg.Go(func() {
			r := pay(1)
			if i%5 == 0 {
				r.ID = "\xff"
			}
			_, err := l.Reserve(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			if d := (*ledger.Denied)(nil); err == nil {
				admitted++
			} else if errors.As(err, &d) {
				denied++
			} else {
				failed++
			}
		})
	}
	until(t, "all wait", func() bool { return waiting() == 50 })
	free()
	wg.Wait()
	if admitted != 20 || denied != 20 || failed != 10 {
		t.Errorf("%d admitted, %d denied, %d failed; want 20, 20 and 10", admitted, denied, failed)
	}
	stands(t, l, 0, 20)
	if n := commits(t, path) - before; n < 1 || n > 2 {
		t.Errorf("%d commits, want one or two", n)
	}
}

// commits counts the commits in the log: the frames that name the size of the database.
func commits(t *testing.T, path string) (n int) {
	t.Helper()
	log, err := os.ReadFile(path + "-wal")
	must(t, err)
	for at := 32; at < len(log); at += 24 + 4096 {
		if binary.BigEndian.Uint32(log[at+4:]) != 0 {
			n++
		}
	}
	return n
}

func TestCloseEndsWhatWaitsAndLeavesNothing(t *testing.T) {
	path := fresh(t)
	l := opened(t, path, 10)
	admit(t, l, pay(1))
	free := locked(t, path)
	errs := make(chan error)
	for range 3 {
		go func() {
			_, err := l.Reserve(ctx, pay(1))
			errs <- err
		}()
	}
	until(t, "all wait", func() bool { return waiting() == 3 })
	must(t, l.Close())
	for range 3 {
		if err := <-errs; err == nil || !strings.Contains(err.Error(), "closed; not carried out") {
			t.Errorf("got %v", err)
		}
	}
	stacks := make([]byte, 1<<20)
	if s := string(stacks[:runtime.Stack(stacks, true)]); strings.Contains(s, "(*file).serve") {
		t.Errorf("the writer is still there:\n%s", s)
	}
	free()
	// The connections' own goroutines are told to end, and do so on their own time.
	until(t, "no goroutine of database/sql is left", func() bool {
		return !strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "database/sql")
	})
	for name, err := range map[string]error{
		"Check": l.Check(ctx), "Release": l.Release(ctx, ledger.Hold{Tenant: acme, ID: "x"}, true), "Close": l.Close(),
	} {
		if (err == nil) != (name == "Close") {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if _, err := l.Find(ctx, acme, "r"); err == nil || errors.Is(err, ledger.ErrNoHold) {
		t.Errorf("Find after Close: %v", err)
	}
	stands(t, at(t, path, nil), 0, 1)
	must(t, sqliteledger.New("/nonexistent/never/used.db", nil).Close())
}

func TestFinishedReservationsAndExpiredKeysAreForgottenInTheEndAndOpenOnesNever(t *testing.T) {
	clock := ledgertest.NewClock()
	l := at(t, fresh(t), &sqliteledger.Options{Now: clock.Now})
	for _, k := range []string{"k", "idle"} {
		must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: k, Expires: clock.Now().Add(time.Hour)}))
	}
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "always"}))
	must(t, l.SetBudget(ctx, acme, team(100)))
	request := func(memory time.Duration) ledger.Request {
		r := pay(1)
		r.Expires = clock.Now().Add(time.Hour)
		r.Claim = &ledger.Claim{ID: "c", Fingerprint: "f", Memory: memory}
		return r
	}
	open := admit(t, l, request(0))
	done := admit(t, l, request(0))
	_, err := l.Settle(ctx, done, ledger.Settlement{Phase: ledger.Settled, Actual: usd(1)})
	must(t, err)
	known := func(key string) bool { _, err := l.Balance(ctx, acme, key, nil); return err == nil }
	for _, after := range []struct {
		days  int
		known bool
	}{{30, true}, {2, false}} {
		clock.Add(time.Duration(after.days) * 24 * time.Hour)
		must(t, l.Check(ctx)) // forgetting is done in passing
		if _, err := l.Find(ctx, acme, done.ID); (err == nil) != after.known {
			t.Errorf("after %d days more: %v", after.days, err)
		}
		if _, err := l.Find(ctx, acme, open.ID); err != nil {
			t.Errorf("an open one is gone: %v", err)
		}
		if known("idle") != after.known || !known("k") || !known("always") {
			t.Errorf("after %d days more: idle is known: %t, k, which holds: %t, always: %t", after.days, known("idle"), known("k"), known("always"))
		}
	}
	stands(t, l, 1, 1)
	must(t, l.Release(ctx, open, true))
	stands(t, l, 1, 0)
	clock.Add(2 * time.Minute)
	must(t, l.Check(ctx))
	if known("k") {
		t.Error("a key that has expired long ago and holds nothing is still known")
	}
}
