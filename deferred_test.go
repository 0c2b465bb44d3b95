package keybrake_test

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
)

// Redis goes away while the call is at the vendor. The caller has its reply, the record says what the call did cost and
// that it is not booked yet, the hold stands; and when Redis is back the books show it, once.
func TestACallWhoseStoreGoesAwayIsBookedLater(t *testing.T) {
	server := redistest.Serve(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, ReadTimeout: 100 * time.Millisecond, DialTimeout: 100 * time.Millisecond, DialerRetries: 1})
	t.Cleanup(func() { _ = rdb.Close() })
	books := redisledger.New(rdb, &redisledger.Options{Journal: filepath.Join(t.TempDir(), "journal")})
	t.Cleanup(func() { _ = books.Close() })
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = books })
	s := w.spend(t, everything())
	away := w.Transport(tripFunc(func(r *http.Request) (*http.Response, error) {
		resp, err := w.fake.Transport().RoundTrip(r)
		if r.Method == http.MethodPost {
			if err := server.Pause(); err != nil {
				t.Error(err)
			}
		}
		return resp, err
	}))
	d := denial(t, away, request(t, "POST", refundsURL, s.key.Token(), formType, "charge=ch_1&amount=2000"))
	if d != nil {
		t.Fatalf("the vendor's reply came back as %v", d)
	}
	r := last(w.sink.Records(), audit.Outcome)
	if r.Outcome != "executed" || r.Flag != "booked later" || len(r.Actual) == 0 || r.Actual[0].Amount != 20_000_000 {
		t.Errorf("on record is %+v", r)
	}
	if n := books.Deferred(); n != 1 {
		t.Errorf("%d outcomes wait, want 1", n)
	}
	if err := server.Continue(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); books.Deferred() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not booked")
		}
	}
	states, err := w.Balance(context.WithoutCancel(t.Context()), s.key.Token())
	if err != nil || states[0].Spent != 20_000_000 || states[0].Held != 0 {
		t.Errorf("%+v, %v", states, err)
	}
}
