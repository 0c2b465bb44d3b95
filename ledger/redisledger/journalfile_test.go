package redisledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
)

func outcome(n int64) *entry {
	return &entry{Number: n, Time: 5, Hold: ledger.Hold{
		Tenant: "acme\n", ID: strings.Repeat("r", int(n)), Key: "k", Phase: ledger.InFlight, Deadline: time.Unix(9, 0).UTC(), RetryUntil: time.Time{},
		Memo: "m\x00", Entries: []ledger.Entry{{Budget: "b", Shared: true, Meter: cost.Charge, Currency: "USD", Start: 3, Held: 1 << 52, Booked: 1}},
	}, Settle: &ledger.Settlement{Phase: ledger.Settled, Actual: []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: 7}}}}
}

// journalText is a file of these lines.
func journalText(t *testing.T, lines ...line) []byte {
	t.Helper()
	var b []byte
	for _, l := range lines {
		text, err := l.encode()
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, text...)
	}
	return b
}

func TestAJournalThatWasCutShortKeepsAllWholeLines(t *testing.T) {
	whole := journalText(t, line{Entry: outcome(1)}, line{Entry: outcome(2)}, line{Done: 1})
	last := journalText(t, line{Entry: outcome(3)})
	path := filepath.Join(t.TempDir(), "journal")
	for n := range len(last) + 1 {
		for _, tail := range []string{"", "\x00\x00\x00", "x\ny\n"} {
			if tail != "" && n%16 != 0 && n < len(last)-1 {
				continue // each costs four fsyncs
			}
			text := append(append(bytes.Clone(whole), last[:n]...), tail...)
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			f, left, err := openJournal(path)
			if err != nil {
				t.Fatalf("%d bytes of the last line and %q: %v", n, tail, err)
			}
			want := []*entry{outcome(2)}
			if n == len(last) {
				want = append(want, outcome(3))
			}
			if !same(left, want...) {
				t.Fatalf("%d bytes of the last line and %q: got %+v", n, tail, left)
			}
			if _, err := f.add(line{Entry: outcome(4)}, true); errors.Join(err, f.close()) != nil {
				t.Fatal(err)
			}
			f, left, err = openJournal(path)
			if err != nil || !same(left, append(want, outcome(4))...) {
				t.Fatalf("%d bytes of the last line and %q, then another: got %+v, %v", n, tail, left, err)
			}
			_ = f.close()
		}
	}
}

func same(got []*entry, want ...*entry) bool {
	for _, e := range got {
		e.bytes = 0
	}
	return reflect.DeepEqual(got, want)
}

func TestADamagedJournalIsRefused(t *testing.T) {
	good := journalText(t, line{Entry: outcome(1)}, line{Entry: outcome(2)})
	for i := range bytes.IndexByte(good, '\n') {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if left, _, err := parse(bad); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Fatalf("byte %d: %+v, %v", i, left, err)
		}
	}
	for _, text := range []string{`{"v":2,"done":1}`, `{"v":1,"done":1,"later":true}`, `[]`} {
		l := journalText(t, line{Done: 1})
		l = append(l, []byte(checksummed(text))...)
		if left, _, err := parse(l); err == nil || !strings.Contains(err.Error(), "version") {
			t.Errorf("%s: %+v, %v", text, left, err)
		}
	}
}

// What is said next of a reservation comes after what waits of it, whoever says it.
func TestOutcomesOfOneReservationKeepTheirOrder(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	defer rdb.Close()
	l, ctx := New(rdb, nil), t.Context()
	if err := l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k"}); err != nil {
		t.Fatal(err)
	}
	usd := func(n int64) []cost.Line { return []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: n}} }
	purse := []ledger.Budget{{Name: "purse", Meter: cost.Spend, Currency: "USD", Limit: 100, Window: cost.Lifetime}}
	h, err := l.Reserve(ctx, ledger.Request{Tenant: "acme", ID: "r", Nonce: "n", Key: "k", Expires: time.Now().Add(time.Hour),
		Operation: "a.b", Lines: usd(10), Budgets: purse, Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.journal.keep(&entry{Hold: h, Settle: &ledger.Settlement{Phase: ledger.Pending, Held: usd(9)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Pending, Held: usd(4)}); err != nil {
		t.Fatal(err)
	}
	states, err := l.Balance(ctx, "acme", "k", purse)
	if err != nil || states[0].Held != 4 || l.Deferred() != 0 {
		t.Fatalf("holds %+v, %d wait, %v", states, l.Deferred(), err)
	}
}

func TestAFullJournalTakesNoMore(t *testing.T) {
	j := &journal{}
	for n := range journalSize {
		if err := j.keep(&entry{Hold: ledger.Hold{ID: string(rune('a' + n%26))}}); err != nil {
			t.Fatal(err)
		}
	}
	first := j.queue[0]
	if err := j.keep(&entry{}); !errors.Is(err, errFull) {
		t.Fatalf("got %v", err)
	}
	j.done(first)
	j.done(first)
	if err := j.keep(&entry{}); err != nil || len(j.queue) != journalSize {
		t.Fatalf("%d wait, %v", len(j.queue), err)
	}
}

func TestAJournalShrinksWhileSomethingWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := &journal{path: path}
	stays := outcome(1)
	if err := j.keep(stays); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("m", 1<<16)
	for range 64 {
		e := &entry{Hold: ledger.Hold{Tenant: "acme", ID: "r", Memo: big}}
		if err := j.keep(e); err != nil {
			t.Fatal(err)
		}
		j.done(e)
	}
	text, err := os.ReadFile(path)
	if err != nil || len(text) > 3<<20 {
		t.Fatalf("the file has %d bytes, %v", len(text), err)
	}
	if left, _, err := parse(text); err != nil || len(left) != 1 || left[0].Hold.ID != stays.Hold.ID {
		t.Fatalf("left %+v, %v", left, err)
	}
	j.done(stays)
	if text, err := os.ReadFile(path); err != nil || len(text) != 0 {
		t.Fatalf("%d bytes are left of nothing, %v", len(text), err)
	}
	_ = j.file.close()
}
