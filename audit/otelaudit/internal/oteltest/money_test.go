package oteltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	semconv "go.opentelemetry.io/otel/semconv/v1.39.0"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/audit/otelaudit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
)

func usd(amount int64) cost.Line {
	return cost.Line{Meter: cost.Outflow, Currency: "USD", Amount: amount}
}

// Calls are counted by what became of them, refusals one by one whatever their records say together.
func TestCallsAreCountedOnce(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.refund("2000", 200)
	w.refund("1000", 200)
	for range 2 {
		w.refund("400000", 429)
	}
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.StatusAfter})
	_, _ = w.send(t.Context(), w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount=700")
	for range 5 { // of which four are counted together and have no record of their own yet
		_, _ = w.send(t.Context(), w.Transport(nil), "GET", "/v1/nothing", "")
	}
	const of = "keybrake.operation=stripe.refunds.create,"
	want := map[string]int64{
		of + "keybrake.outcome=executed,keybrake.vendor=stripe,keybrake.verdict=allow":                          2,
		of + "keybrake.reason=budget_exceeded,keybrake.vendor=stripe,keybrake.verdict=deny":                     2,
		of + "keybrake.outcome=in_doubt,keybrake.reason=in_doubt,keybrake.vendor=stripe,keybrake.verdict=allow": 1,
		"keybrake.reason=operation_unknown,keybrake.vendor=stripe,keybrake.verdict=deny":                        5,
	}
	if got := points(t, w.metrics()["keybrake.calls"]); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	if err := w.Close(t.Context()); err != nil { // which writes what was counted together
		t.Fatal(err)
	}
	if denied := w.records(audit.Denied); len(denied) != 4 || denied[3].Count != 4 {
		t.Fatalf("refusals were not counted together: %+v", denied)
	}
	w.wantTotal("keybrake.calls", 10)
}

// Money is told as the books have it: while a call is under way, when it is in doubt, and by what is said of it later.
func TestMoneyIsWhatTheBooksHave(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.refund("2000", 200)
	w.wantMoney("a refund", 20_000_000, 0, 0, 0, 0)
	if got, want := points(t, w.metrics()["keybrake.spend"]), "map[keybrake.currency=USD,keybrake.meter=outflow,keybrake.operation=stripe.refunds.create,keybrake.vendor=stripe:20000000]"; fmt.Sprint(got) != want {
		t.Errorf("the spend is %v", got)
	}
	refunded := w.lastRecord(audit.Outcome).CallID

	hold := make(chan struct{})
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.BlockAfter, Hold: hold})
	var done sync.WaitGroup
	done.Go(func() {
		_, _ = w.send(t.Context(), w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount=500")
	})
	eventually(t, "the call is at the vendor", func() bool { return w.fake.Faults() == 0 })
	w.wantMoney("under way", 20_000_000, 0, 5_000_000, 0, 0)
	close(hold)
	done.Wait()
	w.wantMoney("after it", 25_000_000, 0, 0, 0, 0)

	doubt := func(cents string) string {
		w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.StatusAfter})
		if got, err := w.send(t.Context(), w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount="+cents, "Idempotency-Key", "order-"+cents); err == nil && got == 200 {
			t.Fatal("the call is not in doubt")
		}
		return w.lastRecord(audit.Outcome).CallID
	}
	first, second := doubt("100"), doubt("200")
	w.wantMoney("two doubts", 25_000_000, 0, 3_000_000, 3_000_000, 2)
	if err := w.Resolve(t.Context(), "acme", first, keybrake.Executed(usd(700_000))); err != nil {
		t.Fatal(err)
	}
	w.wantMoney("one is found executed at less", 25_700_000, 0, 2_000_000, 2_000_000, 1)
	if err := w.Resolve(t.Context(), "acme", second, keybrake.NotExecuted()); err != nil {
		t.Fatal(err)
	}
	w.wantMoney("the other is found not executed", 25_700_000, 0, 0, 0, 0)

	for range 2 { // a webhook comes twice
		if _, err := w.Adjust(t.Context(), "acme", refunded, "re_1 failed", "the bank sent it back", usd(0)); err != nil {
			t.Fatal(err)
		}
	}
	w.wantMoney("a refund comes back", 25_700_000, 20_000_000, 0, 0, 0)

	third := doubt("300")
	reconciler, err := w.Reconciler(keybrake.ReconcilerConfig{
		Tenants: []string{"acme"}, Pace: time.Nanosecond, Gap: time.Nanosecond, Now: func() time.Time { return time.Now().Add(time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := reconciler.Pass(t.Context()); err != nil || p.Settled != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if r := w.lastRecord(audit.Reconciled); r.CallID != third || r.Outcome != "executed" {
		t.Fatalf("on record is %+v", r)
	}
	w.wantMoney("the vendor's records tell", 28_700_000, 20_000_000, 0, 0, 0)

	// A retry under the same key is the same spend, whose first attempt the vendor remembers.
	if got, err := w.send(t.Context(), w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount=300", "Idempotency-Key", "order-300"); err != nil {
		t.Fatal(got, err)
	}
	if r := w.lastRecord(audit.Outcome); !r.Attached {
		t.Fatalf("the retry is not attached: %+v", r)
	}
	all := w.ours()
	if got := attributesOf(all[len(all)-1]); !got["keybrake.attached"].AsBool() || got[string(semconv.HTTPRequestResendCountKey)].AsInt64() != 1 || got["keybrake.reservation"].AsString() != third {
		t.Errorf("the retry's span has %v", got)
	}
	w.wantMoney("a retry", 28_700_000, 20_000_000, 0, 0, 0)
	balance, err := w.Balance(t.Context(), w.key.Token())
	if err != nil || balance[0].Spent != 8_700_000 || balance[0].Held != 0 {
		t.Errorf("the books have %+v, %v", balance, err)
	}
}

// A price that is not final is told as it is known, and then by what the vendor adds.
func TestAPriceThatComesLater(t *testing.T) {
	w := newWorld(t, nil, nil)
	url := "https://api.twilio.com/2010-04-01/Accounts/" + twilioAccount + "/Messages.json"
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader("From=%2B15005550006&To=%2B14155552671&Body=hello"))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(twilioAccount, w.key.Token())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.Transport(nil).RoundTrip(req)
	if err != nil || resp.StatusCode != 201 {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	was := w.lastRecord(audit.Outcome)
	if was.Outcome != "pending" || len(was.Actual) == 0 {
		t.Fatalf("on record is %+v", was)
	}
	w.wantMoney("not final", was.Actual[0].Amount, 0, 0, 0, 0)
	w.fake.FillPrices()
	reconciler, err := w.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}, Pace: time.Nanosecond, Now: func() time.Time { return time.Now().Add(48 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := reconciler.Pass(t.Context()); err != nil || p.Settled != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	now := w.lastRecord(audit.Reconciled)
	spend, reversed := w.total("keybrake.spend"), w.total("keybrake.reversed")
	if now.Actual[0].Amount == was.Actual[0].Amount || spend-reversed != now.Actual[0].Amount {
		t.Errorf("the price went from %v to %v, and %d less %d is told", was.Actual, now.Actual, spend, reversed)
	}
}

// A record that is given to the sink again moves nothing, and one that comes late does not undo a later word.
func TestARecordCountsOnce(t *testing.T) {
	w := newWorld(t, nil, nil)
	s := w.sink
	write := func(r audit.Record) {
		t.Helper()
		for range 3 {
			if err := s.Write(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := audit.Record{Version: 1, Tenant: "acme", CallID: "c1", Vendor: "stripe", Operation: "stripe.refunds.create", Verdict: audit.Allow}
	with := func(change func(*audit.Record)) audit.Record {
		out := r
		change(&out)
		return out
	}
	intent := with(func(r *audit.Record) { r.Kind, r.Reserved = audit.Intent, []cost.Line{usd(9)} })
	outcome := with(func(r *audit.Record) {
		r.Kind, r.Outcome, r.Reserved = audit.Outcome, "in_doubt", []cost.Line{usd(9)}
	})
	later := with(func(r *audit.Record) { r.Kind, r.Outcome, r.Actual = audit.Reconciled, "executed", []cost.Line{usd(4)} })
	adjusted := with(func(r *audit.Record) {
		r.Kind, r.Outcome, r.Reservation, r.Actual = audit.Control, audit.OutcomeAdjusted, "c1", []cost.Line{usd(1)}
	})
	write(intent)
	write(with(func(r *audit.Record) { r.Kind, r.Outcome, r.Probe = audit.Outcome, "executed", true })) // a look
	w.wantMoney("reserved", 0, 0, 9, 0, 0)
	write(outcome)
	w.wantMoney("in doubt", 0, 0, 9, 9, 1)
	write(later)
	w.wantMoney("found", 4, 0, 0, 0, 0)
	write(adjusted)
	w.wantMoney("adjusted", 4, 3, 0, 0, 0)
	write(outcome)
	write(intent)
	w.wantMoney("late", 4, 3, 0, 0, 0)
	// Of another process's call nobody here knows what it has moved.
	write(with(func(r *audit.Record) {
		r.Kind, r.CallID, r.Outcome, r.Actual = audit.Reconciled, "c2", "executed", []cost.Line{usd(100)}
	}))
	write(with(func(r *audit.Record) {
		r.Kind, r.CallID, r.Reservation, r.Outcome, r.Actual, r.Attached = audit.Outcome, "c4", "c3", "executed", []cost.Line{usd(100)}, true
	}))
	// Two tenants may have one id.
	write(with(func(r *audit.Record) {
		r.Kind, r.Tenant, r.Outcome, r.Actual = audit.Reconciled, "other", "executed", []cost.Line{usd(100)}
	}))
	w.wantMoney("of others", 4, 3, 0, 0, 0)
}

// The answer to a retry can tell that the first attempt's spend was executed, and nothing else.
func TestARetryTellsOfTheFirstAttempt(t *testing.T) {
	intent := audit.Record{Tenant: "acme", CallID: "c1", Kind: audit.Intent, Reserved: []cost.Line{usd(9)}}
	first := func(outcome string, actual ...cost.Line) audit.Record {
		return audit.Record{Tenant: "acme", CallID: "c1", Kind: audit.Outcome, Outcome: outcome, Reserved: intent.Reserved, Actual: actual}
	}
	retry := func(outcome string, actual ...cost.Line) audit.Record {
		return audit.Record{Tenant: "acme", CallID: "c2", Reservation: "c1", Attached: true, Kind: audit.Outcome, Outcome: outcome, Actual: actual}
	}
	adjusted := audit.Record{Tenant: "acme", CallID: "c1", Reservation: "c1", Kind: audit.Control, Outcome: audit.OutcomeAdjusted, Actual: []cost.Line{usd(1)}}
	for name, tt := range map[string]struct {
		records                        []audit.Record
		spend, reversed, held, inDoubt int64
	}{
		"it ends a doubt":                         {[]audit.Record{intent, first("in_doubt"), retry("executed", usd(4))}, 4, 0, 0, 0},
		"it comes before the first has an end":    {[]audit.Record{intent, retry("executed", usd(4)), first("in_doubt")}, 4, 0, 0, 0},
		"what is final stays":                     {[]audit.Record{intent, first("executed", usd(4)), adjusted, retry("executed", usd(4))}, 4, 3, 0, 0},
		"what is pending stays without an answer": {[]audit.Record{intent, first("pending", usd(4)), retry("in_doubt")}, 4, 0, 0, 0},
		"its refusal gives nothing back":          {[]audit.Record{intent, first("in_doubt"), retry("not_executed")}, 0, 0, 9, 9},
	} {
		w := newWorld(t, nil, nil)
		for _, r := range tt.records {
			_ = w.sink.Write(t.Context(), r)
		}
		doubts := int64(0)
		if tt.inDoubt > 0 {
			doubts = 1
		}
		w.wantMoney(name, tt.spend, tt.reversed, tt.held, tt.inDoubt, doubts)
	}
}

// A person is told again every day of a call in doubt; it counts once, at what is held and not booked.
func TestADoubtAboutAPriceCountsWhatIsNotBooked(t *testing.T) {
	w := newWorld(t, nil, nil)
	r := audit.Record{Version: 1, Tenant: "acme", CallID: "c1", Kind: audit.Outcome, Outcome: "pending", Actual: []cost.Line{usd(6)}}
	_ = w.sink.Write(t.Context(), r)
	r.Kind, r.Outcome, r.Actual, r.Held = audit.Reconciled, "in_doubt", nil, []cost.Line{usd(10)}
	for range 3 {
		_ = w.sink.Write(t.Context(), r)
	}
	w.wantMoney("told", 6, 0, 4, 4, 1)
}

// What is remembered is bounded, and what is forgotten leaves no money behind.
func TestManyCallsAreForgottenInOrder(t *testing.T) {
	w := newWorld(t, nil, nil)
	say := func(id string, k audit.Kind, outcome string, held, actual int64) {
		_ = w.sink.Write(t.Context(), audit.Record{
			Tenant: "acme", CallID: id, Kind: k, Outcome: outcome, Reserved: []cost.Line{usd(5)}, Held: []cost.Line{usd(held)}, Actual: []cost.Line{usd(actual)},
		})
	}
	say("doubtful", audit.Intent, "", 0, 0)
	say("doubtful later", audit.Intent, "", 0, 0)
	say("doubtful", audit.Outcome, audit.OutcomeInDoubt, 0, 0)
	say("doubtful later", audit.Outcome, audit.OutcomePending, 5, 0)
	say("doubtful later", audit.Reconciled, audit.OutcomeInDoubt, 5, 0)
	const many = 1<<14 + 100
	for i := range many {
		r := audit.Record{Tenant: "acme", CallID: fmt.Sprint("c", i), Kind: audit.Intent, Reserved: []cost.Line{usd(5)}}
		_ = w.sink.Write(t.Context(), r)
		r.Kind, r.Outcome, r.Actual = audit.Outcome, "executed", []cost.Line{usd(3)}
		_ = w.sink.Write(t.Context(), r)
	}
	w.wantMoney("all", 3*many, 0, 10, 10, 2)
	say("doubtful", audit.Reconciled, audit.OutcomeNotExecuted, 0, 0)
	say("doubtful later", audit.Reconciled, audit.OutcomeNotExecuted, 0, 0)
	w.wantMoney("what was open is remembered", 3*many, 0, 0, 0, 0)
	adjust := func(id string) {
		_ = w.sink.Write(t.Context(), audit.Record{Tenant: "acme", CallID: id, Reservation: id, Kind: audit.Control, Outcome: audit.OutcomeAdjusted, Actual: []cost.Line{usd(2)}})
	}
	adjust("c0")
	w.wantMoney("of one that is forgotten", 3*many, 0, 0, 0, 0)
	adjust(fmt.Sprint("c", many-1))
	w.wantMoney("of one that is not", 3*many, 1, 0, 0, 0)
}

// Where more calls are open than are remembered, what is open is not told in full; what is spent is, and nothing stays behind.
func TestMoreCallsAreOpenThanAreRemembered(t *testing.T) {
	w := newWorld(t, nil, nil)
	const known, many = 1 << 15, 1<<15 + 10
	say := func(i int, k audit.Kind, outcome string, actual ...cost.Line) {
		_ = w.sink.Write(t.Context(), audit.Record{Tenant: "acme", CallID: fmt.Sprint("c", i), Kind: k, Outcome: outcome, Reserved: []cost.Line{usd(5)}, Actual: actual})
	}
	for i := range many {
		say(i, audit.Intent, "")
	}
	w.wantMoney("under way", 0, 0, 5*known, 0, 0)
	say(many-2, audit.Outcome, audit.OutcomeInDoubt)
	for i := range many {
		say(i, audit.Outcome, audit.OutcomeExecuted, usd(3))
	}
	w.wantMoney("over", 3*many, 0, 0, 0, 0)
}

// Names stand on metrics where that is wanted, and as many as is wanted.
func TestNamesAreBounded(t *testing.T) {
	w := newWorld(t, &otelaudit.Options{Tenants: 1, Agents: 2, Budgets: 1}, nil)
	for i, agent := range []string{"a", "b", "c", "d", "a"} {
		ctx := w.sink.Begin(t.Context())
		r := audit.Record{
			Tenant: "acme", Agent: agent, CallID: fmt.Sprint(i), Kind: audit.Outcome, Outcome: "executed", Verdict: audit.Allow, Actual: []cost.Line{usd(1)},
			Budgets: []audit.Budget{
				{Name: "own", Meter: cost.Spend, Currency: "USD", Limit: 100, Spent: 20},
				{Name: "b" + agent, Shared: true, Meter: cost.Spend, Currency: "USD", Limit: 100, Spent: 20, Held: int64(5 + i)},
			},
		}
		_ = w.sink.Write(ctx, r)
		w.sink.End(ctx, r)
	}
	got := w.metrics()
	for name, want := range map[string]string{
		"keybrake.calls": "map[keybrake.agent=_OTHER,keybrake.outcome=executed,keybrake.tenant=acme,keybrake.verdict=allow:2 " +
			"keybrake.agent=a,keybrake.outcome=executed,keybrake.tenant=acme,keybrake.verdict=allow:2 keybrake.agent=b,keybrake.outcome=executed,keybrake.tenant=acme,keybrake.verdict=allow:1]",
		"keybrake.spend": "map[keybrake.agent=_OTHER,keybrake.currency=USD,keybrake.meter=outflow,keybrake.tenant=acme:2 " +
			"keybrake.agent=a,keybrake.currency=USD,keybrake.meter=outflow,keybrake.tenant=acme:2 keybrake.agent=b,keybrake.currency=USD,keybrake.meter=outflow,keybrake.tenant=acme:1]",
	} {
		if p := points(t, got[name]); fmt.Sprint(p) != want {
			t.Errorf("%s is %v", name, p)
		}
	}
	ratio := got["keybrake.budget.used_ratio"].Data.(metricdata.Gauge[float64]).DataPoints
	if len(ratio) != 1 || ratio[0].Value != 0.29 {
		t.Errorf("the budgets are %+v", ratio)
	}
}

// Times are told in seconds, in buckets that tell them apart.
func TestTimesAreToldInSeconds(t *testing.T) {
	w := newWorld(t, nil, nil)
	r := audit.Record{Kind: audit.Outcome, Outcome: "executed", Verdict: audit.Allow, OwnDuration: 300 * time.Microsecond, LedgerDuration: 2 * time.Millisecond, VendorDuration: 20 * time.Second}
	w.sink.End(t.Context(), r)
	w.sink.End(t.Context(), audit.Record{Kind: audit.Denied, Verdict: audit.Deny, OwnDuration: 40 * time.Microsecond}) // asked neither
	for name, want := range map[string]struct {
		sum       float64
		count     uint64
		below, to float64
	}{
		"keybrake.overhead": {.00034, 2, .00025, .0005}, "keybrake.ledger.duration": {.002, 1, .001, .0025}, "keybrake.vendor.duration": {20, 1, 10, 25},
	} {
		m := w.metrics()[name]
		points := m.Data.(metricdata.Histogram[float64]).DataPoints
		sum, count := 0.0, uint64(0)
		for _, p := range points {
			sum, count = sum+p.Sum, count+p.Count
		}
		if m.Unit != "s" || count != want.count || sum < want.sum*.999 || sum > want.sum*1.001 {
			t.Errorf("%s is %d of %v %s", name, count, sum, m.Unit)
		}
		for _, p := range points {
			if v, _ := p.Attributes.Value("keybrake.verdict"); v.AsString() == "deny" {
				continue
			}
			for i, n := range p.BucketCounts {
				if n > 0 && (p.Bounds[i-1] != want.below || p.Bounds[i] != want.to) {
					t.Errorf("%s is between %v and %v", name, p.Bounds[i-1], p.Bounds[i])
				}
			}
		}
	}
}

// The sink's side of what every sink promises: it changes nothing in a record, keeps none of its slices, takes records
// from many goroutines, and returns when the context has ended.
func TestWhatASinkPromises(t *testing.T) {
	w := newWorld(t, nil, nil)
	r := audittest.Full()
	before, _ := json.Marshal(r)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	ctx := w.sink.Begin(ended)
	if err := w.sink.Write(ctx, r); err != nil {
		t.Error(err)
	}
	w.sink.End(ctx, r)
	if after, _ := json.Marshal(r); string(after) != string(before) {
		t.Errorf("the record was changed to\n%s", after)
	}
	w.wantTotal("keybrake.calls", 1) // though the caller has gone

	reserved := []cost.Line{usd(9)}
	_ = w.sink.Write(ended, audit.Record{Tenant: "acme", CallID: "c1", Kind: audit.Intent, Reserved: reserved})
	reserved[0].Amount = 666
	_ = w.sink.Write(ended, audit.Record{Tenant: "acme", CallID: "c1", Kind: audit.Outcome, Outcome: "not_executed"})
	w.wantMoney("after the caller's change", 0, 0, 0, 0, 0)

	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 25 {
				r := audit.Record{Tenant: "acme", CallID: fmt.Sprint(g, " ", i), Kind: audit.Outcome, Outcome: "executed", Actual: []cost.Line{usd(7)}}
				ctx := w.sink.Begin(ended)
				_ = w.sink.Write(ctx, r)
				w.sink.End(ctx, r)
			}
		})
	}
	wg.Wait()
	w.wantMoney("from many goroutines", 8*25*7, 0, 0, 0, 0)
	w.wantTotal("keybrake.calls", 1+8*25)
}

// patience is how long anything may take on a busy machine; it is never waited for in full unless something is broken.
const patience = time.Minute

// eventually waits until it is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

// What is in doubt by the ledger is right in every process, also where another one has ended the doubt.
func TestTheLedgerTellsWhatIsInDoubt(t *testing.T) {
	var shared keybrake.Config
	w := newWorld(t, nil, func(c *keybrake.Config) { shared = *c })
	shared.Audit = newStore()
	another, err := keybrake.New(t.Context(), shared)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = another.Close(context.Background()) })
	var down atomic.Bool
	list := func(ctx context.Context, tenant string) ([]ledger.Hold, error) {
		switch {
		case tenant == "broken" && down.Load():
			panic("list")
		case tenant == "broken":
			return nil, errors.New("the ledger does not answer")
		case tenant == "counted":
			return []ledger.Hold{{Entries: []ledger.Entry{{Meter: cost.Units, Held: 5}}}}, nil // no money
		}
		return w.InDoubt(ctx, tenant)
	}
	stop, err := w.sink.WatchInDoubt(list, "broken", "acme", "quiet", "counted")
	if err != nil {
		t.Fatal(err)
	}
	told := func() (money, calls map[string]int64) {
		t.Helper()
		var all metricdata.ResourceMetrics
		_ = w.reader.Collect(t.Context(), &all) // says that the ledger did not answer for one of them
		gauges := map[string]map[string]int64{}
		for _, s := range all.ScopeMetrics {
			for _, m := range s.Metrics {
				g, ok := m.Data.(metricdata.Gauge[int64])
				if !ok {
					continue
				}
				gauges[m.Name] = map[string]int64{}
				for _, p := range g.DataPoints {
					gauges[m.Name][p.Attributes.Encoded(attribute.DefaultEncoder())] = p.Value
				}
			}
		}
		return gauges["keybrake.ledger.in_doubt"], gauges["keybrake.ledger.in_doubt_calls"]
	}
	want := func(when string, wantMoney, wantCalls map[string]int64) {
		t.Helper()
		if money, calls := told(); !maps.Equal(money, wantMoney) || !maps.Equal(calls, wantCalls) {
			t.Errorf("%s: %v and %v", when, money, calls)
		}
	}
	want("none", nil, map[string]int64{"keybrake.tenant=acme": 0, "keybrake.tenant=counted": 1, "keybrake.tenant=quiet": 0})
	for _, cents := range []string{"100", "250"} {
		w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.StatusAfter})
		_, _ = w.send(t.Context(), w.Transport(nil), "POST", "/v1/refunds", "charge=ch_1&amount="+cents)
	}
	want("two", map[string]int64{"keybrake.currency=USD,keybrake.tenant=acme": 3_500_000}, map[string]int64{"keybrake.tenant=acme": 2, "keybrake.tenant=counted": 1, "keybrake.tenant=quiet": 0})
	if err := another.Resolve(t.Context(), "acme", w.lastRecord(audit.Outcome).CallID, keybrake.NotExecuted()); err != nil {
		t.Fatal(err)
	}
	want("one is ended elsewhere", map[string]int64{"keybrake.currency=USD,keybrake.tenant=acme": 1_000_000}, map[string]int64{"keybrake.tenant=acme": 1, "keybrake.tenant=counted": 1, "keybrake.tenant=quiet": 0})
	down.Store(true)
	want("a list panics", map[string]int64{"keybrake.currency=USD,keybrake.tenant=acme": 1_000_000}, map[string]int64{"keybrake.tenant=acme": 1, "keybrake.tenant=counted": 1, "keybrake.tenant=quiet": 0})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	want("stopped", nil, nil)
	if _, err := w.sink.WatchInDoubt(list); err == nil {
		t.Error("nobody is watched, and that is no error")
	}
}
