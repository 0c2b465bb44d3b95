package memory_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/memory"
)

func TestLaws(t *testing.T) {
	ledgertest.Run(t, func(_ *testing.T, clock *ledgertest.Clock) ledger.Ledger {
		l := memory.New()
		l.Now = clock.Now
		return l
	})
}

func TestWhatIsReturnedIsTheCallers(t *testing.T) {
	ctx, l := context.Background(), memory.New()
	_ = l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k"})
	r := request("r1", time.Now().Add(time.Hour))
	h, err := l.Reserve(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	h.Entries[0].Held, h.States[0].Limit = 0, 0
	again, err := l.Reserve(ctx, r)
	if err != nil || again.Entries[0].Held != 5 || again.States[0].Limit != 10 {
		t.Fatalf("the caller changed the books: %+v, %v", again, err)
	}
}

func TestFinishedReservationsAreForgottenInTheEndAndOpenOnesNever(t *testing.T) {
	ctx, l, clock := context.Background(), memory.New(), ledgertest.NewClock()
	l.Now = clock.Now
	_ = l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k"})
	expires := clock.Now().AddDate(1, 0, 0)
	open, err := l.Reserve(ctx, request("open", expires))
	if err != nil {
		t.Fatal(err)
	}
	done, err := l.Reserve(ctx, request("done", expires))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(ctx, done, true); err != nil {
		t.Fatal(err)
	}
	for _, after := range []struct {
		days  int
		known bool
	}{{30, true}, {2, false}} {
		clock.Add(time.Duration(after.days) * 24 * time.Hour)
		_, _ = l.Reserve(ctx, ledger.Request{Tenant: "acme"}) // forgetting is done in passing
		if _, err := l.Find(ctx, "acme", done.ID); (err == nil) != after.known {
			t.Errorf("after %d days more: %v", after.days, err)
		}
		if _, err := l.Find(ctx, "acme", open.ID); err != nil {
			t.Errorf("an open one is gone: %v", err)
		}
	}
}

func request(id string, expires time.Time) ledger.Request {
	return ledger.Request{
		Tenant: "acme", ID: id, Nonce: "n", Key: "k", Expires: expires, Operation: "a.b",
		Lines:   []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 5}},
		Budgets: []ledger.Budget{{Name: "b", Meter: cost.Fee, Currency: "USD", Limit: 10, Window: cost.Lifetime}},
	}
}

func TestTheNewestTenThousandTextsAreKept(t *testing.T) {
	ctx, l, clock := context.Background(), memory.New(), ledgertest.NewClock()
	l.Now = clock.Now
	keep := func(tenant, name string) {
		t.Helper()
		if err := l.Keep(ctx, tenant, name, []byte(name), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	there := func(tenant, name string, want bool) {
		t.Helper()
		if text, err := l.Kept(ctx, tenant, name); err != nil || (text != nil) != want {
			t.Errorf("under %s of %s there is %q, error %v", name, tenant, text, err)
		}
	}
	keep("acme", "first")
	keep("acme", "second")
	keep("acme", "third")
	keep("acme", "first") // is the newest now
	for i := range 10_000 - 2 {
		keep("other", fmt.Sprint(i))
	}
	there("acme", "second", false)
	there("acme", "third", true)
	there("acme", "first", true)
	keep("other", "one more")
	there("acme", "third", false)
	there("acme", "first", true)
	there("other", "0", true)
	if err := l.Keep(ctx, "acme", "oldest", []byte("oldest"), 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 - 1 {
		keep("other", fmt.Sprint("new", i))
	}
	clock.Add(time.Hour)
	keep("other", "one more")
	there("acme", "oldest", true) // what is over takes nobody's room
}
