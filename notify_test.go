package keybrake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// A bell is a notifier that keeps what it was told.
type bell struct {
	mu    sync.Mutex
	told  []audit.Event
	fails func(audit.Event) error // nil: never
}

func (b *bell) Notify(_ context.Context, e audit.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, e)
	if b.fails != nil {
		return b.fails(e)
	}
	return nil
}

// events are what was told since the last time that it was asked.
func (b *bell) events() []audit.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.told
	b.told = nil
	return all
}

func alerter(t testing.TB, b *keybrake.Brake, n audit.Notifier, change func(*keybrake.AlerterConfig)) *keybrake.Alerter {
	t.Helper()
	c := keybrake.AlerterConfig{Tenants: []string{"acme"}, Notifier: n}
	if change != nil {
		change(&c)
	}
	a, err := b.Alerter(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// rung makes a pass and returns what it told, as kinds.
func rung(t testing.TB, a *keybrake.Alerter, b *bell) ([]audit.Event, string) {
	t.Helper()
	if _, err := a.Pass(t.Context()); err != nil {
		t.Error(err)
	}
	events := b.events()
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, string(e.Kind))
	}
	return events, strings.Join(kinds, " ")
}

// clocked makes the ledger's clock and what tests give the alerter as the time one that is set forward.
func (w *world) clocked() *shiftedClock {
	c := &shiftedClock{}
	w.ledger.Now = c.now
	return c
}

func by(c *shiftedClock) func(*keybrake.AlerterConfig) {
	return func(a *keybrake.AlerterConfig) { a.Now = c.now }
}

// Every kind of event, each by what raises it, is told once.
func TestEveryEventIsToldOnce(t *testing.T) {
	w := newWorld(t, nil)
	clock := w.clocked()
	var b bell
	a := alerter(t, w.Brake, &b, by(clock))
	once := func(want string) []audit.Event {
		t.Helper()
		events, kinds := rung(t, a, &b)
		if kinds != want {
			t.Fatalf("told %q of %+v, want %q", kinds, events, want)
		}
		if again, kinds := rung(t, a, &b); kinds != "" {
			t.Fatalf("told again: %+v", again)
		}
		for _, e := range events {
			if e.Version != 1 || !strings.HasPrefix(e.ID, "ev_") || e.Tenant != "acme" && e.Kind != audit.SinkTrouble || e.Text == "" || time.Since(e.Time).Abs() > 3*time.Hour || e.Time.Location() != time.UTC {
				t.Errorf("told %+v", e)
			}
		}
		return events
	}
	once("")

	p := everything()
	p.Budgets = []policy.Budget{policy.Daily(policy.USD("100")).Alert(10, 40)}
	s := w.spend(t, p)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Transport(nil).RoundTrip(request(t, "POST", refundsURL, s.key.Token(), formType, "charge=ch_1&amount=5").WithContext(gone)); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	once("") // it was the caller's own will
	if err := s.refund(4500, ""); err != nil {
		t.Fatal(err)
	}
	e := once("budget_threshold budget_threshold")
	if e[1].Percent != 40 || e[1].Key != s.key.ID || e[1].Budget.Name != "daily 100.00 USD" || e[1].Budget.Held+e[1].Budget.Spent != 45_000_000 || e[0].ID == e[1].ID ||
		!strings.HasPrefix(e[1].Text, "budget \"daily 100.00 USD\" has used 40 % of its limit: 55.00 USD left of 100.00 USD; it resets 20") {
		t.Errorf("%+v", e[1])
	}

	for range 3 {
		wantRefused(t, s.refund(9000, ""), reason.BudgetExceeded)
	}
	wantRefused(t, s.refund(9900, ""), reason.BudgetExceeded)
	e = once("first_denial")
	first := ofKind(w.sink.Records(), audit.Denied)[1] // before it was the one that was given up
	if e[0].Run != first.Run || e[0].Agent != "refund-bot" || e[0].Key != s.key.ID || e[0].Operation != "stripe.refunds.create" || e[0].Reason != reason.BudgetExceeded || e[0].CallID != first.CallID || e[0].Budget.Left != 55_000_000 {
		t.Errorf("%+v of %+v", e[0], first)
	}

	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.StatusAfter})
	if s.refund(1000, "lost") == nil {
		t.Fatal("the reply was not lost")
	}
	hold := s.doubts()[0]
	once("")

	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Overcharge})
	if err := s.refund(100, ""); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, s.refund(1, ""), reason.KeyFrozen)
	e = once("overrun key_frozen")
	for i := range e {
		if e[i].Key != s.key.ID || e[i].Run != first.Run || e[i].Agent != "refund-bot" || e[i].Operation != "stripe.refunds.create" || e[i].CallID == "" {
			t.Errorf("%+v", e[i])
		}
	}
	if taken := e[0].Budget.Spent - 45_000_000 - 1_000_000; e[0].Excess.Amount != taken || taken <= 0 || e[0].Excess.Currency != "USD" {
		t.Errorf("%+v", e[0])
	}

	w.sink.Fail(errors.New("disk full: sk_live_canary"))
	if _, err := w.Issue(t.Context(), grant("run_later", everything())); err == nil {
		t.Fatal("a key was issued without its record")
	}
	w.sink.Fail(nil)
	e = once("sink_trouble")
	if e[0].Tenant != "" || strings.Contains(fmt.Sprint(e[0]), "disk full") {
		t.Errorf("%+v", e[0])
	}

	clock.advance(hold.Deadline.Add(time.Hour).Sub(clock.now()) - time.Minute)
	once("")
	clock.advance(2 * time.Minute)
	e = once("in_doubt")
	if e[0].CallID != hold.ID || e[0].Run != first.Run || e[0].Agent != "refund-bot" || e[0].Operation != "stripe.refunds.create" || !e[0].Since.Equal(hold.Deadline.Truncate(0)) || len(e[0].Held) != 1 || e[0].Held[0].Amount != 10_000_000 ||
		!strings.Contains(e[0].Text, "10.00 USD counts") {
		t.Errorf("%+v of %+v", e[0], hold)
	}
	another := alerter(t, w.Brake, &b, by(clock)) // which has not seen the doubt
	if told, kinds := rung(t, another, &b); kinds != "" {
		t.Errorf("another told %+v", told)
	}
}

func TestRecordsThatWaitAreToldOfWhenTheyStay(t *testing.T) {
	w := newWorld(t, nil)
	var b bell
	waiting := 0
	a := alerter(t, w.Brake, &b, func(c *keybrake.AlerterConfig) { c.Waiting = func() int { return waiting } })
	for i, step := range []struct {
		waiting int
		told    string
	}{{0, ""}, {5, ""}, {0, ""}, {7, ""}, {3, "sink_trouble"}, {4, ""}} {
		waiting = step.waiting
		e, kinds := rung(t, a, &b)
		if kinds != step.told || step.told != "" && (e[0].Waiting != 3 || e[0].Text != "3 records wait for the audit sink; the log says why") {
			t.Errorf("step %d: told %+v", i, e)
		}
	}
}

// The key of a retry that overran under another key than its first attempt's is paused, and that is told as well.
func TestBothKeysThatAnOverrunOfARetryStopsAreTold(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 900000, "usd")
	rt := w.Transport(nil)
	old := w.issue(t, "run_f19", everything())
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropBefore})
	postForm(t, rt, old.Token(), "/v1/refunds", "k", "charge", "ch_1", "amount", "1000")
	renewed := w.issue(t, "run_f19", everything())
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Overcharge})
	postForm(t, rt, renewed.Token(), "/v1/refunds", "k", "charge", "ch_1", "amount", "1000")
	var b bell
	events, _ := rung(t, alerter(t, w.Brake, &b, nil), &b)
	var frozen []string
	for _, e := range events {
		if e.Kind == audit.KeyFrozen {
			frozen = append(frozen, e.Key)
		}
	}
	slices.Sort(frozen)
	want := []string{old.ID, renewed.ID}
	slices.Sort(want)
	if !slices.Equal(frozen, want) {
		t.Errorf("told of the keys %q, want %q: %+v", frozen, want, events)
	}
}

// A run that is refused is told of when its first refusal is on record, and no refusal waits for that.
func TestNoRefusalWaitsForItsAlert(t *testing.T) {
	slow := &slowAlerts{Ledger: memory.New(), asked: make(chan ledger.Alert), free: make(chan error)}
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = slow })
	key := w.issue(t, "run_1", everything())
	rt := w.Transport(nil)
	for range 500 {
		d := denial(t, rt, request(t, "POST", "https://api.stripe.com/v1/webhook_endpoints", key.Token(), formType, "url=x"))
		if d == nil || d.Reason != reason.OperationHardDenied {
			t.Fatalf("%+v", d)
		}
	}
	a := <-slow.asked
	if n := len(ofKind(w.sink.Records(), audit.Denied)); n != 1 || a.Hold != ofKind(w.sink.Records(), audit.Denied)[0].CallID {
		t.Errorf("the ledger is given %+v when %d refusals are on record", a, n)
	}
	slow.free <- nil
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-slow.asked:
		t.Errorf("the ledger was asked for %+v, too", a)
	default:
	}
}

// The ledger is not given a run's first refusal while the sink still has its record.
func TestTheRecordOfARefusalComesBeforeItsAlert(t *testing.T) {
	slow := &slowSink{entered: make(chan struct{}), free: make(chan struct{})}
	w := newWorld(t, func(c *keybrake.Config) { c.Audit = slow })
	key := w.issue(t, "run_1", everything())
	refuse := func() {
		d := denial(t, w.Transport(nil), request(t, "POST", "https://api.stripe.com/v1/webhook_endpoints", key.Token(), formType, "url=x"))
		if d == nil || d.Reason != reason.OperationHardDenied {
			t.Errorf("%+v", d)
		}
	}
	var first sync.WaitGroup
	first.Go(refuse)
	<-slow.entered
	refuse()
	underWay := keybrake.Heralding(w.Brake) // if it was, and is no more, it is stored
	if stored, err := w.ledger.Alerts(t.Context(), "acme"); err != nil || underWay || len(stored) > 0 {
		t.Errorf("the alert is on its way (%t) or stored (%d), and the record is not written; %v", underWay, len(stored), err)
	}
	close(slow.free)
	first.Wait()
	var b bell
	if _, kinds := rung(t, alerter(t, w.Brake, &b, nil), &b); kinds != "first_denial" {
		t.Errorf("told %q", kinds)
	}
}

// slowSink writes the record of a refusal when the test lets it.
type slowSink struct {
	audittest.Recorder
	entered, free chan struct{}
}

func (s *slowSink) Write(ctx context.Context, r audit.Record) error {
	if r.Kind == audit.Denied {
		s.entered <- struct{}{}
		<-s.free
	}
	return s.Recorder.Write(ctx, r)
}

// slowAlerts stores an alert when the test lets it.
type slowAlerts struct {
	*memory.Ledger
	asked chan ledger.Alert
	free  chan error
}

func (l *slowAlerts) Alert(ctx context.Context, tenant string, a ledger.Alert) error {
	l.asked <- a
	if err := <-l.free; err != nil {
		return err
	}
	return l.Ledger.Alert(ctx, tenant, a)
}

// Several brakes over one Redis see the same things, several alerters tell them: each event is told once.
func TestAlertersThatShareALedgerTellEachEventOnce(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	t.Cleanup(func() { _ = rdb.Close() })
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = redisledger.New(rdb, nil) })
	brakes := []*keybrake.Brake{w.Brake}
	for range 3 {
		c := w.config()
		c.Ledger = redisledger.New(rdb, nil)
		b, err := keybrake.New(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		brakes = append(brakes, b)
	}
	const runs = 20
	p := everything()
	p.Budgets = []policy.Budget{policy.Lifetime(policy.USD("10")).Alert(50)}
	var b bell
	var all sync.WaitGroup
	w.fake.SeedCharge("ch_1", 90_000_000, "usd")
	for i := range runs {
		key := w.issue(t, fmt.Sprint("run_", i), p)
		for _, brake := range brakes {
			all.Go(func() {
				for range 3 {
					postForm(t, brake.Transport(nil), key.Token(), "/v1/refunds", "", "charge", "ch_1", "amount", "200")
				}
				postForm(t, brake.Transport(nil), key.Token(), "/v1/webhook_endpoints", "", "url", "x")
			})
		}
	}
	stop := make(chan struct{})
	var told sync.WaitGroup
	for _, brake := range brakes {
		a := alerter(t, brake, &b, nil)
		told.Go(func() {
			for last := false; ; {
				if _, err := a.Pass(context.Background()); err != nil {
					t.Error(err)
				}
				if last {
					return
				}
				select {
				case <-stop:
					last = true
				default:
				}
			}
		})
	}
	all.Wait()
	for _, brake := range brakes {
		if err := brake.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	told.Wait()
	ids, kinds := map[string]int{}, map[audit.EventKind]int{}
	for _, e := range b.events() {
		if ids[e.ID]++; ids[e.ID] > 1 {
			t.Errorf("told twice: %+v", e)
		}
		kinds[e.Kind]++
	}
	if kinds[audit.BudgetThreshold] != runs || kinds[audit.FirstDenial] != runs || len(kinds) != 2 {
		t.Errorf("told %v, want %d of both", kinds, runs)
	}
}

// raise stores alerts of no kind that matters.
func raise(t testing.TB, w *world, n int) {
	t.Helper()
	for i := range n {
		if err := w.ledger.Alert(t.Context(), "acme", ledger.Alert{ID: fmt.Sprint("a", i), Kind: "test", Memo: "{}"}); err != nil {
			t.Fatal(err)
		}
	}
}

// An event that was told and could not be taken out, as where its process was killed in between, is told again under the
// same id once its lease has ended, by any alerter.
func TestAnEventThatWasNotTakenOutIsToldAgainUnderItsID(t *testing.T) {
	lossy := &noAcknowledge{Ledger: memory.New()}
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = lossy })
	w.ledger = lossy.Ledger
	clock := w.clocked()
	raise(t, w, 1)
	var b bell
	if d, err := alerter(t, w.Brake, &b, by(clock)).Pass(t.Context()); err == nil || d.Told != 0 || d.Failed != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	first := b.events()
	lossy.works = true
	a := alerter(t, w.Brake, &b, by(clock))
	if e, _ := rung(t, a, &b); len(first) != 1 || len(e) != 0 {
		t.Fatalf("told %+v, then %+v while the first had it", first, e)
	}
	clock.advance(2 * time.Minute)
	if e, _ := rung(t, a, &b); len(e) != 1 || !reflect.DeepEqual(e, first) {
		t.Fatalf("told %+v after %+v", e, first)
	}
	if e, _ := rung(t, a, &b); len(e) != 0 {
		t.Errorf("told %+v", e)
	}
}

// noAcknowledge is a ledger that is not reached to take out what was told.
type noAcknowledge struct {
	*memory.Ledger
	works bool
}

func (l *noAcknowledge) Acknowledge(ctx context.Context, tenant string, ids ...string) error {
	if !l.works {
		return errors.New("no answer")
	}
	return l.Ledger.Acknowledge(ctx, tenant, ids...)
}

// An event that nobody takes keeps none of the others, and is tried again, less and less often, without end.
func TestAnEventThatCannotBeToldKeepsNoOther(t *testing.T) {
	w := newWorld(t, nil)
	clock := w.clocked()
	raise(t, w, 10)
	b := bell{fails: func(e audit.Event) error {
		if e.ID == poison {
			return errors.New("no")
		}
		return nil
	}}
	waiting, err := w.ledger.Alerts(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	poison = keybrake.EventID("acme", waiting[0].ID)
	a := alerter(t, w.Brake, &b, by(clock))
	d, err := a.Pass(t.Context())
	if err == nil || d.Told != 9 || d.Failed != 1 || d.Waiting != 10 {
		t.Fatalf("%+v, %v", d, err)
	}
	b.events()
	tries := 0
	began := clock.now()
	var gaps []time.Duration
	last := began
	for clock.now().Sub(began) < 6*time.Hour {
		clock.advance(10 * time.Second)
		_, _ = a.Pass(t.Context())
		if n := len(b.events()); n > 0 {
			tries += n
			gaps = append(gaps, clock.now().Sub(last))
			last = clock.now()
		}
	}
	if gaps[0] < 30*time.Second || gaps[len(gaps)-1] < 55*time.Minute || gaps[len(gaps)-1] > 70*time.Minute || tries != len(gaps) || tries > 25 {
		t.Errorf("it was tried %d times, after %v", tries, gaps)
	}
	poison = ""
	clock.advance(61 * time.Minute)
	if _, kinds := rung(t, a, &b); kinds != "test" {
		t.Errorf("told %q at last", kinds)
	}
}

var poison string

// Nor do many of them, which end pass after pass: what comes later is told, and so is what failed once itself, in whichever
// tenant it is.
func TestManyEventsThatCannotBeToldKeepNoOther(t *testing.T) {
	w := newWorld(t, nil)
	clock := w.clocked()
	raise(t, w, 60)
	down := true
	b := bell{fails: func(e audit.Event) error {
		if down || e.Kind == "test" {
			return errors.New("no")
		}
		return nil
	}}
	a := alerter(t, w.Brake, &b, func(c *keybrake.AlerterConfig) { c.Now, c.Tenants = clock.now, []string{"acme", "other"} })
	told := map[string]bool{}
	for pass := range 60 { // five hours of passes that fail
		if down = pass < 30; pass == 20 {
			for _, tenant := range []string{"acme", "other"} {
				if err := w.ledger.Alert(t.Context(), tenant, ledger.Alert{ID: "late", Kind: "late", Memo: "{}"}); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, _ = a.Pass(t.Context())
		for _, e := range b.events() {
			told[e.Tenant] = told[e.Tenant] || !down && e.Kind == "late"
		}
		clock.advance(5 * time.Minute)
	}
	if !told["acme"] || !told["other"] {
		t.Errorf("told %v", told)
	}
}

// A receiver that is down gets three events in a pass and not all of them.
func TestAReceiverThatIsDownIsNotFlooded(t *testing.T) {
	w := newWorld(t, nil)
	clock := w.clocked()
	raise(t, w, 50)
	b := bell{fails: func(audit.Event) error { return errors.New("down") }}
	a := alerter(t, w.Brake, &b, by(clock))
	for range 2 {
		if d, err := a.Pass(t.Context()); err == nil || d.Failed != 3 || len(b.events()) != 3 {
			t.Errorf("%+v, %v", d, err)
		}
	}
	b.fails = nil
	if _, err := a.Pass(t.Context()); err != nil || len(b.events()) != 44 {
		t.Errorf("it is up: %v", err)
	}
	clock.advance(time.Minute)
	if _, err := a.Pass(t.Context()); err != nil || len(b.events()) != 6 {
		t.Errorf("what had failed: %v", err)
	}
}

// A notifier that panics or hangs ends nothing, and one that hangs for ever has a few goroutines and no more.
func TestANotifierIsContained(t *testing.T) {
	w := newWorld(t, nil)
	clock := w.clocked()
	raise(t, w, 20)
	panics := alerter(t, w.Brake, notifierFunc(func(context.Context, audit.Event) error { panic(stripeSecret) }), by(clock))
	if d, err := panics.Pass(t.Context()); !errors.Is(err, audit.ErrNotNotified) || d.Failed != 3 || strings.Contains(err.Error(), stripeSecret) {
		t.Errorf("%+v, %v", d, err)
	}
	free := make(chan struct{})
	var n atomic.Int32
	hangs := alerter(t, w.Brake, notifierFunc(func(context.Context, audit.Event) error {
		n.Add(1)
		<-free
		return nil
	}), func(c *keybrake.AlerterConfig) { c.Now, c.Timeout = clock.now, time.Millisecond })
	for range 5 {
		clock.advance(2 * time.Minute)
		if d, err := hangs.Pass(t.Context()); err == nil || d.Told != 0 || d.Failed != 3 {
			t.Errorf("%+v, %v", d, err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); n.Load() < 4 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // the last ones may be about to be called
	}
	if got := n.Load(); got != 4 {
		t.Errorf("it hangs in %d calls", got)
	}
	close(free)
}

type notifierFunc func(context.Context, audit.Event) error

func (n notifierFunc) Notify(ctx context.Context, e audit.Event) error { return n(ctx, e) }

func TestAnAlerterThatCannotBeMeantIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	for what, c := range map[string]keybrake.AlerterConfig{
		"Notifier":                 {Tenants: []string{"acme"}},
		"Tenants":                  {Notifier: &bell{}},
		"is not a name of 1 to 64": {Notifier: &bell{}, Tenants: []string{""}},
		"negative":                 {Notifier: &bell{}, Tenants: []string{"acme"}, InDoubt: -1},
	} {
		if _, err := w.Alerter(c); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	bare := newWorld(t, func(c *keybrake.Config) { c.Ledger = struct{ ledger.Ledger }{memory.New()} })
	if _, err := bare.Alerter(keybrake.AlerterConfig{Notifier: &bell{}, Tenants: []string{"acme"}}); err == nil {
		t.Error("a ledger without leases is taken")
	}
}

func TestAnAlerterRunsUntilItIsStopped(t *testing.T) {
	w := newWorld(t, nil)
	raise(t, w, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	done, heard := errors.New("done"), 0
	a := alerter(t, w.Brake, notifierFunc(func(_ context.Context, e audit.Event) error {
		if heard++; heard == 1 {
			_ = w.ledger.Alert(ctx, "acme", ledger.Alert{ID: "later", Kind: "test", Memo: "{}"})
			return nil
		}
		cancel(done)
		return nil
	}), func(c *keybrake.AlerterConfig) { c.Every = time.Millisecond })
	before := runtime.NumGoroutine()
	if err := a.Run(ctx); !errors.Is(err, done) || heard != 2 {
		t.Errorf("%v after %d events", err, heard)
	}
	if n := runtime.NumGoroutine(); n > before+1 {
		t.Errorf("%d goroutines, before it were %d", n, before)
	}
}

// No credential, no vault key and nothing that an agent wrote is in an event, whatever it refuses or loses.
func TestAnEventHoldsNoSecret(t *testing.T) {
	w := newWorld(t, nil)
	clock := w.clocked()
	p := everything()
	p.Budgets = []policy.Budget{policy.Lifetime(policy.USD("100")).Alert(1)}
	s := w.spend(t, p)
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Echo})
	_ = s.refund(200, "canary-idempotency")
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.StatusAfter})
	_ = s.refund(200, "canary-idempotency-2")
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Overcharge})
	_ = s.refund(200, "")
	for _, body := range []string{"reason=" + stripeSecret, "metadata[x]=canary-parameter", "canary-name=1", "amount=99999999999&charge=canary-charge"} {
		req := request(t, "POST", refundsURL, s.key.Token(), formType, body)
		req.Header.Set("X-Canary", "canary-header")
		resp, err := w.Transport(nil).RoundTrip(req.WithContext(keybrake.WithCall(t.Context(), keybrake.Call{Tool: "canary-tool", Step: "canary-step"})))
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	clock.advance(3 * time.Hour)
	var b bell
	events, kinds := rung(t, alerter(t, w.Brake, &b, by(clock)), &b)
	for _, k := range []string{"budget_threshold", "first_denial", "in_doubt", "overrun", "key_frozen"} {
		if !strings.Contains(kinds, k) {
			t.Errorf("%s is missing in %s", k, kinds)
		}
	}
	for _, e := range events {
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{stripeSecret, s.key.Token(), s.key.Token()[:40], "canary", http.CanonicalHeaderKey("x-canary")} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s holds %q: %s", e.Kind, secret, text)
			}
		}
	}
}
