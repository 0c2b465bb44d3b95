package keybrake_test

import (
	"flag"
	"fmt"
	"math/rand"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
)

var storySeed = flag.Int64("story", time.Now().UnixNano(), "the seed of the reconciler's random story")

// A plot is a call that a story may make.
type plot struct {
	name  string
	path  string
	meter cost.Meter
	call  func(cents int64, nth int) sdkCall
	alike bool // what is found without its id counts as what was reserved
}

func plots() []plot {
	number := func(nth int) string { return fmt.Sprintf("+1415556%04d", nth) }
	return []plot{
		{"a refund", "/refunds", cost.Outflow, func(cents int64, _ int) sdkCall { return refundOf("ch_1", cents) }, false},
		{"a slow refund", "/refunds", cost.Outflow, func(cents int64, _ int) sdkCall { return refundOf("ch_async", cents) }, false},
		{"a payment", "/payment_intents", cost.Charge, func(cents int64, _ int) sdkCall { return payment("pm_card_visa", cents, false) }, false},
		{"a slow payment", "/payment_intents", cost.Charge, func(cents int64, _ int) sdkCall { return payment("pm_processing", cents, false) }, false},
		{"a transfer", "/transfers", cost.Outflow, func(cents int64, _ int) sdkCall { return transfer(cents) }, false},
		{"a payout", "/payouts", cost.Outflow, func(cents int64, _ int) sdkCall { return payout(cents) }, false},
		{"a top-up", "/topups", cost.Charge, func(cents int64, _ int) sdkCall { return topup(cents) }, false},
		{"a mail", "/emails", cost.Fee, func(int64, int) sdkCall { return mailAll("ann@example.com") }, false},
		{"a mail to three", "/emails", cost.Fee, func(int64, int) sdkCall { return mailAll("a@x.com", "b@x.com", "c@x.com") }, false},
		{"a text", "/Messages", cost.Fee, func(_ int64, nth int) sdkCall { return textTo(number(nth)) }, false},
		{"a text to one of few", "/Messages", cost.Fee, func(_ int64, nth int) sdkCall { return textTo(number(9000 + nth%3)) }, true},
		{"a phone call", "/Calls", cost.Fee, func(_ int64, nth int) sdkCall { return dialTo(number(nth)) }, true}, // found by its number, it counts as long as it might have lasted
	}
}

// mishapKinds are what may happen to a call.
var mishapKinds = []fakevendor.FaultKind{
	fakevendor.DropBefore, fakevendor.DropBefore, fakevendor.DropAfter, fakevendor.DropAfter, fakevendor.Status, fakevendor.StatusAfter,
	fakevendor.HTML, fakevendor.HTMLAfter, fakevendor.BadJSON, fakevendor.Truncate, fakevendor.TruncateClean, fakevendor.Redirect,
}

// blurKinds are what may happen to a look.
var blurKinds = []fakevendor.FaultKind{
	fakevendor.DropBefore, fakevendor.Status, fakevendor.HTML, fakevendor.BadJSON, fakevendor.Truncate, fakevendor.TruncateClean,
}

// A story is calls of many runs at all three vendors, of which many go wrong, and all that may come of them later. At
// every moment the books of each run cover what was executed for it, and in the end they are that.
func TestAStoryEndsWithTheBooksThatTheVendorsHave(t *testing.T) {
	t.Logf("to tell it again: -story %d", *storySeed)
	r := rand.New(rand.NewSource(*storySeed))
	s := newSite(t, false)
	calls := 100
	if os.Getenv("KEYBRAKE_LONG") == "1" {
		calls = 500
	}
	cast := map[*made]plot{}
	all := plots()
	for i := range calls {
		p := all[r.Intn(len(all))]
		cents := []int64{100, 500, 500, 2000}[r.Intn(4)]
		var faults []fakevendor.Fault
		if r.Intn(2) == 0 {
			f := lose(p.path, mishapKinds[r.Intn(len(mishapKinds))])
			if f.Kind == fakevendor.Redirect {
				f.Body = "https://api.stripe.com/v1/customers"
			}
			faults = append(faults, f)
		}
		m := s.call(t, p.call(cents, i), faults...)
		cast[m] = p
		if len(faults) == 0 && m.err != nil {
			t.Fatalf("%s: %v", p.name, m.err)
		}
		if i%40 == 39 {
			s.pass(t)
		}
	}
	if n := s.fake.Faults(); n != 0 {
		t.Fatalf("%d faults did not happen", n)
	}
	for i, r := range s.fake.Received() {
		s.slow[i] = strings.Contains(string(r.Body), "ch_async")
	}
	for range 8 { // half a day each
		for range r.Intn(4) {
			s.fake.Misbehave(fakevendor.Fault{Method: http.MethodGet, Kind: blurKinds[r.Intn(len(blurKinds))]})
		}
		s.moves(r)
		s.later(t, 13*time.Hour)
	}
	s.settles(t)
	for range 10 {
		s.later(t, 50*time.Hour)
	}

	open := s.persons(t, cast)
	for m, p := range cast {
		spent, held := s.books(t, m)
		switch executed := s.executed(m); {
		case held != 0:
			t.Errorf("%s: %d is held in the end", p.name, held)
		case p.alike && spent < executed || !p.alike && spent != executed:
			t.Errorf("%s, %v: spent is %d, the vendor has executed %d", p.name, m.err, spent, executed)
		}
	}
	if left, err := s.ledger.Unsettled(t.Context(), "acme"); err != nil || len(left) > 0 {
		t.Errorf("in the end %d are open: %+v %v", len(left), left, err)
	}
	t.Logf("%d executions, %d left to persons, %d requests", len(s.fake.Executions()), open, len(s.fake.Received()))
}

// moves lets some of what is open at the vendors come to an end.
func (s *site) moves(r *rand.Rand) {
	for _, e := range s.fake.Executions() {
		switch {
		case r.Intn(20) > 0:
		case e.Kind == "payment_intent.create" || e.Kind == "topup":
			_ = s.fake.Conclude(e.Object, true) // what is over already cannot be concluded
		case e.Kind == "call":
			_ = s.fake.HangUp(e.Object, int64(r.Intn(200)))
		case e.Kind == "payout" || e.Kind == "refund" && r.Intn(2) == 0 && s.waits(e.Object):
			_ = s.fake.Conclude(e.Object, r.Intn(3) > 0)
		}
	}
	if r.Intn(4) == 0 {
		s.fake.FillPrices()
	}
}

// settles lets everything come to its end.
func (s *site) settles(t *testing.T) {
	t.Helper()
	for _, e := range s.fake.Executions() {
		if e.Kind == "payment_intent.create" || e.Kind == "topup" || e.Kind == "payout" || e.Kind == "refund" && s.waits(e.Object) {
			_ = s.fake.Conclude(e.Object, true)
		}
	}
	s.fake.FillPrices()
}

// waits reports whether a refund may still fail: it is of the slow kind, and nothing has been concluded about it.
func (s *site) waits(id string) (slow bool) {
	for _, e := range s.fake.Executions() {
		switch {
		case e.Object != id:
		case e.Request < 0:
			return false
		default:
			slow = s.slow[e.Request]
		}
	}
	return slow
}

// persons decide what was left to them, by what the vendors have executed. They were told of it, and until now it holds
// at least what was executed.
func (s *site) persons(t *testing.T, cast map[*made]plot) (n int) {
	t.Helper()
	for m, p := range cast {
		for _, h := range s.doubts(t, m) {
			n++
			if u := s.told[h.ID]; u.Why == "" {
				t.Errorf("%s: in doubt, and nobody was told: %+v", p.name, h)
			}
			spent, held := s.books(t, m)
			executed := s.executed(m)
			if spent != 0 || held < executed || h.Phase != ledger.Doubt {
				t.Errorf("%s: in doubt with %d spent and %d held; the vendor has executed %d", p.name, spent, held, executed)
			}
			resolution := keybrake.NotExecuted()
			if executed > 0 {
				resolution = keybrake.Executed(cost.Line{Meter: p.meter, Currency: "USD", Amount: executed})
			}
			if err := s.Resolve(t.Context(), "acme", h.ID, resolution); err != nil {
				t.Error(err)
			}
		}
	}
	return n
}
