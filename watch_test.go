package keybrake_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// inFlight starts a refund of 20 USD that the vendor does not answer. The first channel has what came of it.
func (w *world) inFlight(t *testing.T, key keybrake.Key, seen int) <-chan *keybrake.Denial {
	t.Helper()
	w.fake.Misbehave(fakevendor.Fault{Method: "POST", Kind: fakevendor.BlockAfter})
	done := make(chan *keybrake.Denial, 1)
	go func() {
		resp, err := w.Transport(nil).RoundTrip(request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_1&amount=2000"))
		if err != nil {
			done <- &keybrake.Denial{Detail: err.Error()}
			return
		}
		done <- denialIn(t, resp)
	}()
	arrived(t, w.fake, seen)
	return done
}

// Who revokes sees what is on its way, and what it may cost.
func TestARevokeReportsWhatIsInFlight(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 50000, "usd")
	key, other := w.issue(t, "run_1", everything()), w.issue(t, "run_2", everything())
	done := w.inFlight(t, key, 2)
	ended := w.inFlight(t, other, 4)
	report, err := w.Revoke(t.Context(), keybrake.ByRun("acme", "run_1"))
	if err != nil {
		t.Fatal(err)
	}
	want := []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}}
	if len(report.Open) != 1 || report.Open[0].Key != key.ID || report.Open[0].Phase != ledger.InFlight || report.Open[0].Operation != "stripe.refunds.create" ||
		!slices.Equal(report.AtRisk, want) || !slices.Equal(report.Tenants, []string{"acme"}) || len(report.Unlisted) > 0 {
		t.Errorf("the report says %+v", report)
	}
	all, err := w.Pause(t.Context(), keybrake.Everything())
	if err != nil || len(all.Open) != 2 || all.AtRisk[0].Amount != 40_000_000 {
		t.Errorf("the report on everything says %+v, %v", all, err)
	}
	_ = w.fake.Close() // ends both
	<-done
	<-ended
}

// A revoke cuts off a call at the vendor where its policy says so, in another process too. Its money stays held,
// because the vendor has executed it, and other runs notice nothing.
func TestARevokeCutsOffCallsWhosePolicySaysSo(t *testing.T) {
	for name, elsewhere := range map[string]bool{"in the same process": false, "in another process": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.fake.SeedCharge("ch_1", 50000, "usd")
			p := everything()
			p.CancelOnRevoke = true
			key, neighbour, patient := w.issue(t, "run_1", p), w.issue(t, "run_2", p), w.issue(t, "run_1", everything())
			cut, goesOn, waits := w.inFlight(t, key, 2), w.inFlight(t, neighbour, 4), w.inFlight(t, patient, 6)
			revoker := w.Brake
			if elsewhere {
				revoker = w.another(t, func(*keybrake.Config) {})
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- w.Watch(ctx) }()
				defer func() {
					cancel()
					if err := <-ended; !errors.Is(err, context.Canceled) {
						t.Errorf("Watch ended with %v", err)
					}
				}()
			}
			var d *keybrake.Denial
			for d == nil { // a watcher may not have been there yet when the first was told
				if _, err := revoker.Revoke(t.Context(), keybrake.ByRun("acme", "run_1")); err != nil {
					t.Fatal(err)
				}
				select {
				case d = <-cut:
				case <-time.After(10 * time.Millisecond):
				case <-t.Context().Done():
					t.Fatal("the call was not cut off")
				}
			}
			if d.Reason != reason.InDoubt {
				t.Errorf("the call that was cut off came back as %v", d)
			}
			select {
			case d := <-goesOn:
				t.Errorf("the neighbour's call was cut off: %v", d)
			case d := <-waits:
				t.Errorf("a call whose policy does not ask for it was cut off: %v", d)
			default:
			}
			if spent, held, _ := stands(t, w, key); spent != 0 || held != 20_000_000 {
				t.Errorf("spent %d and held %d, want 20 USD held: the vendor has executed it", spent, held)
			}
			if r := last(w.sink.Records(), audit.Outcome); r.Outcome != "in_doubt" || r.Detail != "cut off by a revoke" {
				t.Errorf("the record says %+v", r)
			}
			_ = w.fake.Close()
			<-goesOn
			<-waits
		})
	}
}

// Calls that are over, however they ended, are not kept for a revoke to cut off.
func TestCallsThatAreOverCannotBeCutOff(t *testing.T) {
	w := newWorld(t, nil)
	p := everything()
	p.CancelOnRevoke, p.Budgets = true, []policy.Budget{policy.Lifetime(policy.USD("10"))}
	key := w.issue(t, "run_1", p)
	seen := 0
	watching := w.Transport(tripFunc(func(r *http.Request) (*http.Response, error) {
		seen = max(seen, keybrake.Boarded(w.Brake))
		return w.fake.Transport().RoundTrip(r)
	}))
	for i := range 20 {
		if i == 1 {
			w.fake.Misbehave(fakevendor.Fault{Kind: fakevendor.DropAfter})
		}
		_ = intent(t, watching, key.Token(), 300) // three fit, one of them in doubt; the others are refused
	}
	if n := keybrake.Boarded(w.Brake); n != 0 || seen != 1 {
		t.Errorf("%d calls are kept, %d were while one was at the vendor", n, seen)
	}
}

// A ledger that cannot be watched says so, rather than leaving the caller to wait for nothing.
func TestALedgerThatCannotBeWatchedSaysSo(t *testing.T) {
	w := newWorld(t, watch(&watched{}))
	if err := w.Watch(t.Context()); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
