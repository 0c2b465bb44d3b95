package sqliteledger_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

// count is how many rows a table has, as another program sees it.
func count(t *testing.T, path, table string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	must(t, db.QueryRow("SELECT count(*) FROM "+table).Scan(&n))
	must(t, db.Close())
	return n
}

// clocked returns the ledger at path that reads the time from a clock, with key "k".
func clocked(t *testing.T, path string) (*sqliteledger.Ledger, *ledgertest.Clock) {
	t.Helper()
	clock := ledgertest.NewClock()
	l := at(t, path, &sqliteledger.Options{Now: clock.Now})
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}))
	return l, clock
}

// on is a request for n under one budget of the key's own.
func on(clock *ledgertest.Clock, n int64, b ledger.Budget) ledger.Request {
	r := pay(n)
	r.Expires, r.Budgets = clock.Now().Add(time.Hour), []ledger.Budget{b}
	return r
}

func TestARollingWindowKeepsTheSlotsThatCountAndThoseThatHold(t *testing.T) {
	path := unsynced(t)
	l, clock := clocked(t, path)
	b := purse(100)
	b.Window = cost.Rolling(time.Hour)
	var open []ledger.Hold
	for i := range 200 {
		h := admit(t, l, on(clock, 1, b))
		if i%20 == 0 {
			open = append(open, h)
		} else {
			_, err := l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: usd(1)})
			must(t, err)
		}
		clock.Add(time.Minute)
		if i%20 > 0 {
			continue
		}
		if n := count(t, path, "amounts"); n > 61+len(open) {
			t.Fatalf("after %d minutes with %d open reservations there are %d slots", i, len(open), n)
		}
	}
	for i, h := range open {
		if i%2 == 0 {
			must(t, l.Release(ctx, h, true))
			continue
		}
		_, err := l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: usd(1)})
		must(t, err)
	}
	if n := count(t, path, "amounts"); n > 61 {
		t.Errorf("with nothing open there are %d slots", n)
	}
	clock.Add(2 * time.Hour)
	must(t, l.Release(ctx, admit(t, l, on(clock, 100, b)), true))
	if n := count(t, path, "amounts"); n != 1 {
		t.Errorf("two hours later there are %d slots", n)
	}
}

func TestARepeatRuleRemembersNoMoreThanItHasTo(t *testing.T) {
	path := unsynced(t)
	l, clock := clocked(t, path)
	again := func(id string, window time.Duration, observed bool) {
		r := on(clock, 0, purse(0))
		r.Repeat = &ledger.Repeat{ID: id, Most: 2, Window: window, Observed: observed}
		admit(t, l, r)
	}
	for range 50 {
		again("slow", time.Minute, false)
		clock.Add(31 * time.Second)
	}
	if n := count(t, path, "repeats"); n > 2 {
		t.Errorf("of a call that is made twice a minute, under a rule of a minute, %d are remembered", n)
	}
	again("fast", time.Hour, true)
	query(t, path, `
		WITH RECURSIVE i (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM i WHERE n < 998)
		INSERT INTO repeats SELECT tenant, id, observed, i.n, at, forget FROM repeats, i WHERE id = 'fast'`)
	for range 7 {
		again("fast", time.Hour, true)
	}
	if n := count(t, path, "repeats WHERE id = 'fast'"); n != ledger.MostRepeats {
		t.Errorf("%d are remembered, want %d", n, ledger.MostRepeats)
	}
	clock.Add(2 * time.Hour)
	for n := 0; count(t, path, "repeats") > 0; n++ { // forgetting is done in passing, a little at a time
		if n > 10 {
			t.Fatalf("%d are still remembered after the rule's window", count(t, path, "repeats"))
		}
		must(t, l.Check(ctx))
	}
}

func TestWhatWasAdmittedWhileTheClockWasBackCountsAsTheLatest(t *testing.T) {
	l, clock := clocked(t, unsynced(t))
	for i, by := range []time.Duration{0, -time.Hour, time.Hour} {
		clock.Add(by)
		r := on(clock, 0, purse(0))
		r.Repeat = &ledger.Repeat{ID: "x", Most: 1, Window: time.Minute, Observed: true}
		if h := admit(t, l, r); (len(h.Would) == 1) != (i > 0) {
			t.Errorf("call %d would have been refused for %+v", i, h.Would)
		}
	}
}

func TestTheNewestTenThousandAlertsOfATenantAreKept(t *testing.T) {
	path := unsynced(t)
	l, clock := clocked(t, path)
	query(t, path, `
		WITH RECURSIVE i (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 10010)
		INSERT INTO alerts (n, tenant, id, kind, key, hold, state, percent, excess, memo, at) SELECT n, iif(n > 10, 'acme', 'other'), 'old ' || n, 'threshold', 'k', '', '{}', 50, 0, '', 0 FROM i`)
	b := purse(10)
	b.AlertAt = []int{10, 20, 30}
	admit(t, l, on(clock, 3, b))
	list, err := l.Alerts(ctx, acme)
	must(t, err)
	if len(list) != 10_000 || list[0].ID != "old 14" {
		t.Fatalf("%d alerts are kept, the oldest is %s", len(list), list[0].ID)
	}
	for i, a := range list[len(list)-3:] {
		if a.Percent != 10*(i+1) || a.State.Held != 3 || a.State.Name != "purse" || a.Key != "k" || !a.At.Equal(clock.Now()) {
			t.Errorf("alert %d is %+v", i, a)
		}
	}
	if n := count(t, path, "alerts WHERE tenant = 'other'"); n != 10 {
		t.Errorf("the other tenant has %d left", n)
	}
}

func TestOnlyTheLatestControlsAreKeptForWatchers(t *testing.T) {
	path := unsynced(t)
	l, _ := clocked(t, path)
	for i := range 1010 {
		_, err := l.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: acme, Run: fmt.Sprint(i)})
		must(t, err)
	}
	if n := count(t, path, "commands"); n != 1000 {
		t.Errorf("%d controls are kept", n)
	}
}

func TestLeasesAndTextsGoOnceTheirTimeIsOver(t *testing.T) {
	path := unsynced(t)
	l, clock := clocked(t, path)
	for i := range 600 {
		if got, err := l.Lease(ctx, acme, fmt.Sprint(i%300), "a", time.Minute); err != nil || !got {
			t.Fatalf("lease %d: %t, %v", i, got, err)
		}
		must(t, l.Keep(ctx, acme, fmt.Sprint(i%300), make([]byte, 10), time.Minute))
	}
	must(t, l.Keep(ctx, acme, "longer", make([]byte, ledger.MostKept), time.Hour))
	if n, m := count(t, path, "leases"), count(t, path, "texts"); n != 300 || m != 301 {
		t.Errorf("there are %d leases and %d texts", n, m)
	}
	clock.Add(2 * time.Minute)
	for n := 0; count(t, path, "leases") > 0 || count(t, path, "texts") > 1; n++ { // in passing, a little at a time
		if n > 10 {
			t.Fatalf("%d leases and %d texts are left", count(t, path, "leases"), count(t, path, "texts"))
		}
		must(t, l.Check(ctx))
	}
	if text, err := l.Kept(ctx, acme, "longer"); err != nil || len(text) != ledger.MostKept {
		t.Errorf("the one whose time is not over has %d bytes, error %v", len(text), err)
	}
}

// That the rows that are over are found by an index keeps the sweep cheap however many there are.
func TestSweepingReadsNoMoreThanItForgets(t *testing.T) {
	path := unsynced(t)
	clocked(t, path)
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	for _, table := range []string{"leases", "texts", "repeats"} {
		column := map[bool]string{true: "forget", false: "until"}[table == "repeats"]
		var n, m, o int
		var plan string
		must(t, db.QueryRow("EXPLAIN QUERY PLAN SELECT tenant FROM "+table+" WHERE "+column+" <= 5 ORDER BY "+column+" LIMIT 256").Scan(&n, &m, &o, &plan))
		if !strings.Contains(plan, "INDEX "+table+"_over") {
			t.Errorf("of %s it reads: %s", table, plan)
		}
	}
}

func TestAdjustmentsGoWithTheirReservation(t *testing.T) {
	path := unsynced(t)
	l, clock := clocked(t, path)
	h := admit(t, l, on(clock, 5, purse(10)))
	_, err := l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: usd(5)})
	must(t, err)
	clock.Add(30 * 24 * time.Hour)
	a := ledger.Adjustment{ID: "a", Actual: usd(3)}
	for range 2 { // the second time a month later: it is still known
		_, err = l.Adjust(ctx, acme, h.ID, a)
		must(t, err)
		if n := count(t, path, "adjustments"); n != 1 {
			t.Errorf("there are %d adjustments, want 1", n)
		}
		clock.Add(30 * 24 * time.Hour)
		must(t, l.Check(ctx))
	}
	clock.Add(2 * 24 * time.Hour)
	must(t, l.Check(ctx))
	if n := count(t, path, "adjustments"); n != 0 {
		t.Errorf("%d adjustments are left of a reservation that is forgotten", n)
	}
}

func TestTwoLedgersOfOneFileShareLeasesAndTexts(t *testing.T) {
	path := unsynced(t)
	one, clock := clocked(t, path)
	two := at(t, path, &sqliteledger.Options{Now: clock.Now})
	for i := range 20 {
		given := make(chan bool, 2)
		for n, l := range []*sqliteledger.Ledger{one, two} {
			go func() {
				got, err := l.Lease(ctx, acme, fmt.Sprint("job", i), fmt.Sprint("holder", n), time.Minute)
				if err != nil {
					t.Error(err)
				}
				given <- got
			}()
		}
		if a, b := <-given, <-given; a == b {
			t.Fatalf("both were told %t", a)
		}
	}
	must(t, one.Keep(ctx, acme, "answer", []byte("yes"), time.Minute))
	if text, err := two.Kept(ctx, acme, "answer"); err != nil || string(text) != "yes" {
		t.Errorf("the other has %q, error %v", text, err)
	}
}
