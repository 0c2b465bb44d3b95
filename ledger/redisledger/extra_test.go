package redisledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/reason"
)

var _ ledger.Watcher = (*redisledger.Ledger)(nil)

// rolls is a rolling budget of the key's own that alerts at half and at all of it.
func rolls(limit int64) ledger.Budget {
	return ledger.Budget{Name: "rolls", Meter: cost.Spend, Currency: "USD", Limit: limit, Window: cost.Rolling(time.Hour), AlertAt: []int{50, 100}}
}

// everything is a call that uses all that a request can ask for.
func everything(n int64) ledger.Request {
	r := pay(n)
	seen := purse(1)
	seen.Observed = true
	r.Budgets = append(r.Budgets, rolls(1000), seen)
	r.Repeat = &ledger.Repeat{ID: "same", Most: ledger.MostRepeats, Window: time.Hour}
	return r
}

func TestARaiseOfAReservationThatIsReadDoesNotRaiseTheLevelToFallBackTo(t *testing.T) {
	l := opened(t, client(t, redistest.Start(t)), 100)
	_, err := l.Settle(ctx, admit(t, l, pay(8)), ledger.Settlement{Phase: ledger.Pending, Held: usd(8), Object: "pi"})
	must(t, err)
	r := pay(8)
	r.Object = "pi"
	h := admit(t, l, r)
	r.Lines = usd(12)
	raised, err := l.Raise(ctx, ledger.Hold{Tenant: acme, ID: h.ID}, r)
	must(t, err)
	stands(t, l, 0, 12)
	must(t, l.Release(ctx, raised, true))
	stands(t, l, 0, 8)
}

// What a reserve does in Redis is counted by Redis itself.
func TestTheCostOfAReserveDoesNotGrowWithWhatIsOpen(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	opened(t, rdb, 1_000_000)
	now := time.Now() // stands still, so that no window moves on in between
	l := made(t, rdb, &redisledger.Options{Now: func() time.Time { return now }, Timeout: 10 * time.Second})
	var last ledger.Hold
	for i := range 5 {
		last = admit(t, l, everything(1))
		doubt := admit(t, l, everything(1))
		_, err := l.Settle(ctx, doubt, ledger.Settlement{Phase: []ledger.Phase{ledger.Doubt, ledger.Pending}[i%2], Held: usd(1)})
		must(t, err)
	}
	commands(t, rdb, l) // loads the scripts
	few := commands(t, rdb, l)
	// Ten thousand more, in flight, in doubt and pending, as copies of one that was admitted.
	must(t, rdb.Eval(ctx, `for i = 1, 10000 do
		local id = 'copy' .. i
		redis.call('COPY', KEYS[1], 'kb:{acme}:r:' .. id)
		redis.call('ZADD', i % 3 == 0 and 'kb:{acme}:pending' or 'kb:{acme}:open', i % 2 == 0 and '0' or '1', id)
		redis.call('HSET', 'kb:{acme}:r:' .. id, 'p', i % 3 == 0 and 'pending' or i % 2 == 0 and 'in_doubt' or 'in_flight', 'd', '1')
	end return 1`, []string{"kb:{acme}:r:" + last.ID}).Err())
	if many := commands(t, rdb, l); few != many {
		t.Errorf("with few open reservations a call takes\n%s\nand with ten thousand\n%s", few, many)
	}
	if open, err := l.Unsettled(ctx, acme); err != nil || len(open) < 10_000 {
		t.Errorf("%d are listed as open, %v", len(open), err)
	}
	if open, err := l.InDoubt(ctx, acme); err != nil || len(open) < 5_000 {
		t.Errorf("%d are listed as in doubt, %v", len(open), err)
	}
}

// commands are what a reserve, a settle, a release and a refusal make Redis do.
func commands(t *testing.T, rdb *redis.Client, l *redisledger.Ledger) string {
	t.Helper()
	must(t, rdb.ConfigResetStat(ctx).Err())
	_, err := l.Settle(ctx, admit(t, l, everything(1)), settled(1))
	must(t, err)
	must(t, l.Release(ctx, admit(t, l, everything(1)), true))
	_, err = l.Reserve(ctx, everything(5000))
	denied(t, err, reason.BudgetExceeded)
	var lines []string
	for line := range strings.Lines(rdb.Info(ctx, "commandstats").Val()) {
		if name, stats, ok := strings.Cut(line, ":"); ok {
			calls, _, _ := strings.Cut(stats, ",")
			lines = append(lines, name+" "+calls)
		}
	}
	if len(lines) < 8 {
		t.Fatalf("only %v was counted", lines)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestARollingBudgetKeepsSixtyOneSlotsAtMost(t *testing.T) {
	rdb, clock := client(t, redistest.Start(t)), ledgertest.NewClock()
	l := made(t, rdb, &redisledger.Options{Now: clock.Now})
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}))
	most := 0
	for i := range 300 {
		r := pay(1)
		r.Expires, r.Budgets = clock.Now().Add(time.Hour), []ledger.Budget{rolls(1000)}
		h := admit(t, l, r)
		if i%2 == 0 { // the other half stays open for ever
			_, err := l.Settle(ctx, h, settled(1))
			must(t, err)
		}
		most = max(most, strings.Count(rdb.HGet(ctx, "kb:{acme}:k:k", "x:rolls").Val(), ";"))
		clock.Add(time.Minute)
	}
	if most != 61 {
		t.Errorf("the row had %d slots", most)
	}
}

func TestAlertsAreBoundedAndOnceForAllProcesses(t *testing.T) {
	addr := redistest.Start(t)
	rdb := client(t, addr)
	one, two := opened(t, rdb, 100), made(t, client(t, addr), nil)
	for i := range 9_999 {
		rdb.ZAdd(ctx, "kb:{acme}:alerts", redis.Z{Score: float64(i + 1), Member: fmt.Sprint("old", i)})
		if i > 9_990 || i == 0 {
			rdb.HSet(ctx, "kb:{acme}:alerttexts", fmt.Sprint("old", i), `{"window":["0","0","0","0","0","0"],"percent":"1","at":"1"}`)
		}
	}
	for _, l := range []*redisledger.Ledger{one, two} {
		r := pay(60)
		r.Budgets = []ledger.Budget{rolls(100)}
		_, err := l.Settle(ctx, admit(t, l, r), settled(0))
		must(t, err)
	}
	r := pay(100)
	r.Budgets = []ledger.Budget{rolls(100)}
	admit(t, two, r)
	if n := rdb.ZCard(ctx, "kb:{acme}:alerts").Val(); n != 10_000 || rdb.HExists(ctx, "kb:{acme}:alerttexts", "old0").Val() {
		t.Fatalf("%d alerts are kept", n)
	}
	must(t, rdb.ZRemRangeByScore(ctx, "kb:{acme}:alerts", "0", "9991").Err())
	alerts, err := one.Alerts(ctx, acme)
	must(t, err)
	var told []string
	for _, a := range alerts[len(alerts)-2:] {
		told = append(told, fmt.Sprint(a.Key, " ", a.Percent, " ", a.State.Name, " ", a.State.Held, " ", a.State.Limit))
	}
	if got := strings.Join(told, ", "); got != "k 50 rolls 60 100, k 100 rolls 100 100" {
		t.Errorf("alerts: %s", got)
	}
	must(t, one.Acknowledge(ctx, acme, alerts[len(alerts)-1].ID, "unknown"))
	left, err := two.Alerts(ctx, acme)
	must(t, err)
	if len(left) != len(alerts)-1 || rdb.HExists(ctx, "kb:{acme}:alerttexts", alerts[len(alerts)-1].ID).Val() {
		t.Errorf("%d of %d alerts are left", len(left), len(alerts))
	}
}

func TestAdjustAndAcknowledgeWorkOutOfMemory(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	r := everything(10)
	r.Budgets = append(r.Budgets[:2], rolls(10))
	h := admit(t, l, r)
	must(t, rdb.ConfigSet(ctx, "maxmemory", "1").Err())
	_, err := l.Settle(ctx, h, settled(4))
	must(t, err)
	receipt, err := l.Adjust(ctx, acme, h.ID, ledger.Adjustment{ID: "late", Actual: usd(12), Reason: "price of a long message"})
	must(t, err)
	if !receipt.Over || receipt.States[2].Spent != 12 {
		t.Errorf("receipt %+v", receipt)
	}
	stands(t, l, 12, 0)
	alerts, err := l.Alerts(ctx, acme)
	must(t, err)
	must(t, l.Acknowledge(ctx, acme, alerts[0].ID))
	if left, err := l.Alerts(ctx, acme); err != nil || len(left) != len(alerts)-1 {
		t.Errorf("%d alerts are left of %d, %v", len(left), len(alerts), err)
	}
}

// hears starts a Watch and returns what it tells, and how to end it.
func hears(t *testing.T, l *redisledger.Ledger, rdb *redis.Client, listeners int64) (heard chan ledger.Control, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(ctx)
	heard, ended := make(chan ledger.Control, 100), make(chan error, 1)
	go func() { ended <- l.Watch(ctx, func(c ledger.Control) { heard <- c }) }()
	subscribed(t, rdb, listeners)
	return heard, func() error { cancel(errors.New("enough")); return <-ended }
}

// subscribed waits until n processes listen.
func subscribed(t *testing.T, rdb *redis.Client, n int64) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); rdb.PubSubNumSub(ctx, "kb:controls").Val()["kb:controls"] != n; {
		if time.Now().After(deadline) {
			t.Fatalf("nobody listens: %v", rdb.PubSubNumSub(ctx, "kb:controls").Val())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestWatchHearsControlsAlsoAfterTheConnectionWasLost(t *testing.T) {
	addr := redistest.Start(t)
	rdb := client(t, addr)
	l, far := opened(t, rdb, 100), made(t, client(t, addr), nil)
	must(t, far.Check(ctx)) // its connections are there before goroutines are counted
	before := runtime.NumGoroutine()
	heard, end := hears(t, far, rdb, 1)
	next := func(want ledger.Control) {
		t.Helper()
		select {
		case got := <-heard:
			if got != want {
				t.Fatalf("heard %+v, want %+v", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("not heard: %+v", want)
		}
	}
	for _, c := range []ledger.Control{
		{Verb: ledger.Pause, Tenant: acme, Run: "r", Reason: "läuft heiß"}, {Verb: ledger.Resume, Tenant: acme, Run: "r"}, {Verb: ledger.Revoke, All: true},
	} {
		_, err := l.Control(ctx, c)
		must(t, err)
		next(c)
	}
	if _, err := l.Control(ctx, ledger.Control{Verb: ledger.Revoke, Tenant: acme, Key: "nobody"}); !errors.Is(err, ledger.ErrNoKey) {
		t.Fatal(err)
	}
	must(t, rdb.Publish(ctx, "kb:controls", "not a control").Err())
	must(t, rdb.Do(ctx, "client", "kill", "type", "pubsub").Err())
	subscribed(t, rdb, 1)
	c := ledger.Control{Verb: ledger.Revoke, Tenant: acme, Agent: "a"}
	_, err := l.Control(ctx, c)
	must(t, err)
	next(c)
	if err := end(); err == nil || err.Error() != "enough" {
		t.Fatalf("Watch ended with %v", err)
	}
	subscribed(t, rdb, 0)
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("goroutines are left:\n%s", buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestAControlDoesNotNeedTheChannel(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	must(t, rdb.Do(ctx, "acl", "setuser", "default", "resetchannels").Err())
	_, err := l.Control(ctx, ledger.Control{Verb: ledger.Revoke, Tenant: acme, Run: "r"})
	must(t, err)
	_, err = l.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyRevoked)
	if err := l.Watch(ctx, func(ledger.Control) {}); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("Watch without permission: %v", err)
	}
}

func TestAnAdjustmentIsKeptAsItWasSaid(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	h := admit(t, l, pay(10))
	_, err := l.Settle(ctx, h, settled(10))
	must(t, err)
	why := "refund failed: \"re_1\"\n\\ <ü> 1 2;"
	_, err = l.Adjust(ctx, acme, h.ID, ledger.Adjustment{ID: "a\nb c", Reason: why})
	must(t, err)
	_, err = l.Adjust(ctx, acme, h.ID, ledger.Adjustment{ID: "2", Actual: usd(3)})
	must(t, err)
	found, err := l.Find(ctx, acme, h.ID)
	must(t, err)
	text, _ := json.Marshal(found.Adjustments)
	if len(found.Adjustments) != 2 || found.Adjustments[0].Reason != why || found.Adjustments[0].ID != "a\nb c" ||
		found.Adjustments[0].Deltas[0] != -10 || found.Adjustments[1].Deltas[1] != 3 || time.Since(found.Adjustments[1].At).Abs() > time.Minute {
		t.Errorf("found %s", text)
	}
	stands(t, l, 3, 0)
}

// A read that counts nothing else leaves a record all the same, or a reserve that the client sends twice would count twice.
func TestAReadSentTwiceIsOneRepetition(t *testing.T) {
	l := opened(t, client(t, redistest.Start(t)), 100)
	read := func() ledger.Request {
		r := pay(0)
		r.Read, r.Lines, r.Repeat = true, nil, &ledger.Repeat{ID: "look", Most: 2, Window: time.Hour}
		return r
	}
	r := read()
	admit(t, l, r)
	admit(t, l, r)
	admit(t, l, read())
	_, err := l.Reserve(ctx, read())
	denied(t, err, reason.RepeatExceeded)
}

func TestWhatBecomesOfAWindowThatIsOverAlertsNobody(t *testing.T) {
	clock := ledgertest.NewClock()
	l := made(t, client(t, redistest.Start(t)), &redisledger.Options{Now: clock.Now})
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}))
	for _, window := range []cost.Window{cost.Day, cost.Rolling(time.Hour)} {
		r := pay(1)
		r.Expires, r.Budgets = clock.Now().Add(1000*time.Hour), []ledger.Budget{rolls(10)}
		r.Budgets[0].Name, r.Budgets[0].Window = string(window), window
		late := admit(t, l, r)
		clock.Add(24 * time.Hour)
		now := r
		now.ID, now.Nonce = r.ID+"'", "n"
		admit(t, l, now)
		_, err := l.Settle(ctx, late, settled(9))
		must(t, err)
		alerts, err := l.Alerts(ctx, acme)
		alerts = slices.DeleteFunc(alerts, func(a ledger.Alert) bool { return a.Kind != ledger.AlertThreshold })
		if err != nil || len(alerts) != 0 {
			t.Errorf("%s: %+v, %v", window, alerts, err)
		}
		_, err = l.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: acme, Key: "k"}) // above what was held: frozen
		must(t, err)
	}
}

func TestARetryIsToldWhatWouldHaveRefusedItself(t *testing.T) {
	l := opened(t, client(t, redistest.Start(t)), 100)
	attempt := func() ledger.Request {
		r := pay(1)
		r.Lines = append(r.Lines, cost.Line{Meter: cost.Calls, Amount: 1})
		r.Budgets = append(r.Budgets, ledger.Budget{Name: "calls", Meter: cost.Calls, Limit: 1, Window: cost.Lifetime, Observed: true})
		r.Claim = &ledger.Claim{ID: "c", Fingerprint: "f", Memory: time.Hour}
		return r
	}
	if h := admit(t, l, attempt()); len(h.Would) != 0 {
		t.Fatalf("the first: %+v", h.Would)
	}
	r := attempt()
	for range 2 { // also when the client sends it twice
		if h := admit(t, l, r); !h.Attached || len(h.Would) != 1 || h.Would[0].Name != "calls" {
			t.Fatalf("the retry: attached %t, %+v", h.Attached, h.Would)
		}
	}
}
