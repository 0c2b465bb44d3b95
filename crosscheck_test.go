package keybrake_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/crosscheck"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/policy"
)

// bustle makes n calls of all kinds, and what comes after calls: replies that are lost, retries, payments that are captured
// or given up, a sink that fails, doubts that a person resolves, prices that change.
func bustle(t *testing.T, s *backstage, n int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	list := deeds(rnd, n)
	for i := range list {
		s.fake.SeedCharge(fmt.Sprint("ch_", i), 1000, "usd")
	}
	for i, d := range list {
		if i%50 == 7 {
			s.sink.Fail(errors.New("the disk is full"))
		}
		s.act(t, d)
		s.sink.Fail(nil)
		if i%10 == 3 {
			s.pay(t, i)
		}
		if i%100 == 99 {
			s.resolve(t, rnd)
		}
	}
	s.act(t, deed{what: "refund", cents: 1, idem: "the last", mishap: lost})
}

// pay authorises a payment, and captures it, gives it up, or leaves it.
func (s *backstage) pay(t *testing.T, i int) {
	token := s.keys[i%3].Token()
	code, body := postForm(t, s.Transport(nil), token, "/v1/payment_intents", fmt.Sprint("pay-", i), "amount", "500", "currency", "usd",
		"confirm", "true", "payment_method", "pm_card_visa", "capture_method", "manual")
	if code != http.StatusOK || i%3 == 0 {
		return
	}
	what := []string{"capture", "cancel"}[i%2]
	postForm(t, s.Transport(nil), token, "/v1/payment_intents/"+idOf(body)+"/"+what, fmt.Sprint(what, i))
}

// resolve is what people do about what is in doubt, and what the vendor says later about what was not.
func (s *backstage) resolve(t *testing.T, rnd *rand.Rand) {
	holds, err := s.InDoubt(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range holds[:len(holds)/2] {
		_ = s.Resolve(t.Context(), "acme", h.ID, []keybrake.Resolution{keybrake.NotExecuted(), keybrake.ExecutedAsHeld()}[i%2]) // not while a retry may run
	}
	for _, r := range s.sink.Records() {
		if r.Kind == audit.Outcome && r.Outcome == audit.OutcomeExecuted && !r.Attached && r.Operation == "stripe.refunds.create" && rnd.IntN(20) == 0 {
			if _, err := s.Adjust(t.Context(), "acme", r.CallID, fmt.Sprint("a", rnd.IntN(3)), "it came back", cost.Line{Meter: cost.Outflow, Currency: "USD", Amount: rnd.Int64N(3) * 100_000}); err != nil && !errors.Is(err, ledger.ErrAdjusted) {
				t.Fatal(err)
			}
		}
	}
}

func TestACrossCheckNamesWhatAuditAndLedgerDoNotAgreeOn(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { _ = rdb.Close() })
	for name, c := range map[string]struct {
		calls  int
		ledger ledger.Ledger
	}{
		"memory": {1000, memory.New()},
		"redis":  {200, redisledger.New(rdb, &redisledger.Options{Timeout: 10 * time.Second})},
	} {
		t.Run(name, func(t *testing.T) { crossChecks(t, c.ledger, rdb, c.calls) })
	}
}

func crossChecks(t *testing.T, l ledger.Ledger, rdb *redis.Client, calls int) {
	s := newBackstageOn(t, l, policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.*"}, {Operation: "twilio.messages.create", Ceiling: policy.USD("0.02")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("2000")), policy.Scoped("team"), policy.Lifetime(policy.USD("100")).For("twilio.*")},
	}, policy.USD(fmt.Sprint(calls*2)))
	bustle(t, s, calls)
	records := s.sink.Records()
	later := &crosscheck.Options{Until: time.Now().Add(time.Hour)} // no call is in flight
	check := func(records []audit.Record) crosscheck.Report {
		t.Helper()
		report, err := crosscheck.Run(t.Context(), l, "acme", seq(records...), later)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	phases, denied := map[ledger.Phase]int{}, 0
	_ = l.(ledger.Lister).Reservations(t.Context(), "acme", func(h ledger.Hold) error { phases[h.Phase]++; return nil })
	for _, r := range records {
		if r.Kind == audit.Denied {
			denied++
		}
	}
	if phases[ledger.Settled] == 0 || phases[ledger.Pending] == 0 || phases[ledger.Doubt] == 0 || phases[ledger.Released] == 0 || denied < 3 {
		t.Errorf("of too few kinds: %v, %d denied", phases, denied)
	}
	report := check(records)
	if !report.Clean() || report.Reservations < calls/2 || report.Partial {
		t.Fatalf("nothing was tampered with: %+v", report)
	}
	for _, total := range report.Totals {
		if total.Booked != total.Told || total.Booked == 0 && total.Budget == "team" {
			t.Errorf("%+v", total)
		}
	}

	spent := func(r audit.Record) bool {
		return r.Kind == audit.Outcome && r.Outcome == audit.OutcomeExecuted && !r.Attached && r.Operation == "stripe.refunds.create"
	}
	about := func(id string) func(audit.Record) bool {
		return func(r audit.Record) bool { return r.CallID == id || r.Reservation == id }
	}
	of := records[slices.IndexFunc(records, spent)]
	one := func(what string, got crosscheck.List, id string) {
		t.Helper()
		if got.Count != 1 || got.First[0].Reservation != id {
			t.Errorf("%s: %+v, want %s", what, got, id)
		}
	}

	got := check(slices.DeleteFunc(slices.Clone(records), about(of.CallID)))
	one("a call whose records are gone", got.Unrecorded, of.CallID)
	if got.Missing.Count+got.Differing.Count > 0 || !strings.Contains(got.Unrecorded.First[0].Why, "team booked") {
		t.Errorf("a call whose records are gone: %+v", got)
	}
	left := but(of, func(r *audit.Record) { r.Kind, r.Verdict, r.Outcome, r.Actual = audit.Denied, audit.Deny, "", nil })
	one("a call of which a refusal is left", check(append(slices.DeleteFunc(slices.Clone(records), about(of.CallID)), left)).Unrecorded, of.CallID)
	left = but(of, func(r *audit.Record) { r.Kind = audit.Reconciled })
	one("a call of which a later word is left", check(append(slices.DeleteFunc(slices.Clone(records), about(of.CallID)), left)).Unrecorded, of.CallID)
	var open string
	_ = l.(ledger.Lister).Reservations(t.Context(), "acme", func(h ledger.Hold) error {
		if h.Phase == ledger.Doubt {
			open = h.ID
		}
		return nil
	})
	one("one in doubt whose records are gone", check(slices.DeleteFunc(slices.Clone(records), about(open))).Unrecorded, open)

	forged := slices.Clone(records)
	for i, r := range records {
		if r.CallID == of.CallID {
			forged = append(forged, but(r, func(r *audit.Record) { r.ID, r.CallID = fmt.Sprint("forged", i), "r_forged" }))
		}
	}
	got = check(forged)
	one("a call that never was", got.Missing, "r_forged")
	if got.Unrecorded.Count+got.Differing.Count > 0 {
		t.Errorf("a call that never was: %+v", got)
	}

	last := slices.IndexFunc(records, func(r audit.Record) bool {
		return spent(r) && !slices.ContainsFunc(records, func(o audit.Record) bool { return about(r.CallID)(o) && o.Kind == audit.Control })
	})
	changed := slices.Clone(records)
	changed[last].Actual = []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: changed[last].Actual[0].Amount - 10_000}}
	got = check(changed)
	one("an amount that was changed", got.Differing, changed[last].CallID)
	if got.Unrecorded.Count+got.Missing.Count > 0 || got.Differing.First[0].Run != changed[last].Run {
		t.Errorf("an amount that was changed: %+v", got)
	}
	one("an outcome that is gone", check(slices.Delete(slices.Clone(records), last, last+1)).Differing, changed[last].CallID)

	// Of what may be in flight, and of what is older than the records, nothing is said.
	young, err := crosscheck.Run(t.Context(), l, "acme", seq(slices.DeleteFunc(slices.Clone(records), about(of.CallID))...), nil)
	if err != nil || !young.Clean() || young.Reservations != 0 {
		t.Errorf("calls that may be in flight: %+v, %v", young, err)
	}
	old, err := crosscheck.Run(t.Context(), l, "acme", seq(), &crosscheck.Options{From: time.Now().Add(time.Hour), Until: later.Until})
	if err != nil || !old.Clean() {
		t.Errorf("calls of before the records: %+v, %v", old, err)
	}

	if _, is := l.(*redisledger.Ledger); is {
		if n, err := rdb.Del(t.Context(), "kb:{acme}:r:"+of.CallID).Result(); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		one("a reservation whose row is gone", check(records).Missing, of.CallID)
	}
	broken := func(yield func(audit.Record, error) bool) { yield(audit.Record{}, errors.New("line 7")) }
	if _, err := crosscheck.Run(t.Context(), l, "acme", broken, later); err == nil || !strings.Contains(err.Error(), "line 7") {
		t.Errorf("a line that is no record: %v", err)
	}
}
