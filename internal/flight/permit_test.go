package flight_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// counting is a base that answers everything and counts.
func counting(sent *atomic.Int64) base {
	return func(*http.Request) (*http.Response, error) {
		sent.Add(1)
		return &http.Response{StatusCode: 200}, nil
	}
}

// zero makes a value of a type that has no name here: what is left to code that would forward without a reserve.
func zero[T any](*T) *T { return new(T) }

func TestNothingFliesWithoutAPermit(t *testing.T) {
	var sent atomic.Int64
	g := gate(t, counting(&sent))
	used := reserve(t, g)
	if l := used.Forward(t.Context(), outgoing("POST", "vendor")); l.Err != nil || sent.Swap(0) != 1 {
		t.Fatalf("a permit does not fly: %v", l.Err)
	}
	released := reserve(t, g)
	if err := released.Release(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	tooMuch := request()
	tooMuch.Lines[0].Amount = 1000
	refused, err := g.Reserve(t.Context(), tooMuch)
	if denied := new(ledger.Denied); !errors.As(err, &denied) || denied.Code != reason.BudgetExceeded {
		t.Fatalf("1000 of 100 were admitted: %v", err)
	}
	var none flight.Permit
	for name, tt := range map[string]struct {
		permit flight.Permit
		want   error
	}{
		"no permit":         {none, flight.ErrNoPermit},
		"the zero permit":   {zero(none), flight.ErrNoPermit},
		"a refused reserve": {refused, flight.ErrNoPermit},
		"a used permit":     {used, flight.ErrUsed},
		"a released permit": {released, flight.ErrUsed},
	} {
		for verb, l := range map[string]flight.Landing{
			"forwards": tt.permit.Forward(t.Context(), outgoing("GET", "vendor")),
			"probes":   tt.permit.Probe(t.Context(), outgoing("GET", "vendor")),
		} {
			if !errors.Is(l.Err, tt.want) || !l.Unsent || sent.Load() != 0 {
				t.Errorf("%s %s: %v, unsent %v, %d requests", name, verb, l.Err, l.Unsent, sent.Load())
			}
		}
	}
}

func TestAPermitFliesOnce(t *testing.T) {
	var sent, used atomic.Int64
	p := reserve(t, gate(t, counting(&sent)))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if l := p.Forward(t.Context(), outgoing("POST", "vendor")); errors.Is(l.Err, flight.ErrUsed) {
				used.Add(1)
			}
		})
	}
	wg.Wait()
	if sent.Load() != 1 || used.Load() != 49 {
		t.Errorf("50 tries made %d requests and %d refusals", sent.Load(), used.Load())
	}
}

func TestAProbeIsAReadAndLeavesThePermit(t *testing.T) {
	var sent atomic.Int64
	p := reserve(t, gate(t, counting(&sent)))
	for _, method := range []string{"POST", "DELETE", "HEAD", "get", ""} {
		if l := p.Probe(t.Context(), outgoing(method, "vendor")); l.Err == nil || !l.Unsent || sent.Load() != 0 {
			t.Errorf("a probe by %q: %v, unsent %v", method, l.Err, l.Unsent)
		}
	}
	for range 2 {
		if l := p.Probe(t.Context(), outgoing("GET", "vendor")); l.Err != nil {
			t.Fatal(l.Err)
		}
	}
	if l := p.Forward(t.Context(), outgoing("POST", "vendor")); l.Err != nil || sent.Load() != 3 {
		t.Errorf("after two probes: %v, %d requests", l.Err, sent.Load())
	}
}

// A process that was stopped between reserve and send may come back to a world in which its key is revoked.
func TestAStalePermitDoesNotFly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		l := books(t)
		at := func(g *flight.Gate, age time.Duration) (flight.Permit, flight.Landing) {
			p := reserve(t, g)
			time.Sleep(age)
			return p, p.Forward(t.Context(), outgoing("POST", "vendor"))
		}
		g := flight.New(l, counting(&sent), 1<<20)
		if _, landing := at(g, 30*time.Second); landing.Err != nil || sent.Swap(0) != 1 {
			t.Errorf("after 30 s: %v", landing.Err)
		}
		if _, landing := at(g, 30*time.Second+1); !errors.Is(landing.Err, flight.ErrStale) || !landing.Unsent || sent.Load() != 0 {
			t.Errorf("after more than 30 s: %v, unsent %v, %d requests", landing.Err, landing.Unsent, sent.Load())
		}
		late := flight.New(slow{l, 20 * time.Second}, counting(&sent), 1<<20)
		if _, landing := at(late, 11*time.Second); !errors.Is(landing.Err, flight.ErrStale) {
			t.Errorf("31 s after the ledger was asked: %v", landing.Err)
		}
		p := reserve(t, g)
		time.Sleep(31 * time.Second)
		if landing := p.Probe(t.Context(), outgoing("GET", "vendor")); !errors.Is(landing.Err, flight.ErrStale) || !landing.Unsent || sent.Load() != 0 {
			t.Errorf("a probe after 31 s: %v, %d requests", landing.Err, sent.Load())
		}
	})
}

// A raise asks the ledger again, so the permit is as fresh as its answer; a refused one proves nothing.
func TestARaiseRenewsThePermit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			amount  int64
			raised  bool
			want    error
			holding int64
		}{{5, true, nil, 15}, {1000, false, flight.ErrStale, 10}} {
			var sent atomic.Int64
			g := gate(t, counting(&sent))
			r := request()
			p, err := g.Reserve(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
			r.Lines = []cost.Line{{Meter: cost.Units, Amount: tt.amount}}
			if err := p.Raise(t.Context(), r); (err == nil) != tt.raised {
				t.Fatalf("by %d: %v", tt.amount, err)
			}
			if held := p.Hold().Entries[0].Held; held != tt.holding {
				t.Errorf("by %d: the permit holds %d", tt.amount, held)
			}
			time.Sleep(20 * time.Second)
			if l := p.Forward(t.Context(), outgoing("POST", "vendor")); !errors.Is(l.Err, tt.want) {
				t.Errorf("by %d, 20 s later: %v", tt.amount, l.Err)
			}
		}
	})
}

func TestACallThatIsOverIsNotSent(t *testing.T) {
	var sent atomic.Int64
	p := reserve(t, gate(t, counting(&sent)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if l := p.Forward(ctx, outgoing("POST", "vendor")); !errors.Is(l.Err, context.Canceled) || !l.Unsent || sent.Load() != 0 {
		t.Errorf("%v, unsent %v, %d requests", l.Err, l.Unsent, sent.Load())
	}
}

// Settle and Release book the permit's own hold.
func TestAPermitSettlesAndReleasesItsHold(t *testing.T) {
	l := books(t)
	var sent atomic.Int64
	g := flight.New(l, counting(&sent), 1<<20)
	phase := func(p flight.Permit) ledger.Phase {
		t.Helper()
		h, err := l.Find(t.Context(), "acme", p.Hold().ID)
		if err != nil {
			t.Fatal(err)
		}
		return h.Phase
	}
	settled, released := reserve(t, g), reserve(t, g)
	if phase(settled) != ledger.InFlight {
		t.Errorf("a reserve is %s", phase(settled))
	}
	r, err := settled.Settle(t.Context(), ledger.Settlement{Phase: ledger.Settled, Actual: []cost.Line{{Meter: cost.Units, Amount: 7}}})
	if err != nil || len(r.States) != 1 || r.States[0].Spent != 7 || phase(settled) != ledger.Settled {
		t.Errorf("settled: %+v, %v, %s", r, err, phase(settled))
	}
	if err := released.Release(t.Context(), true); err != nil || phase(released) != ledger.Released {
		t.Errorf("released: %v, %s", err, phase(released))
	}
}
