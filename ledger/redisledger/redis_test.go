package redisledger_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

var (
	_   ledger.Ledger  = (*redisledger.Ledger)(nil)
	_   ledger.Checker = (*redisledger.Ledger)(nil)
	ctx                = context.Background()
)

const acme = "acme"

func usd(n int64) []cost.Line { return []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: n}} }

func team(limit int64) ledger.Budget {
	return ledger.Budget{Name: "team", Shared: true, Meter: cost.Spend, Currency: "USD", Limit: limit, Window: cost.Month}
}

func purse(limit int64) ledger.Budget {
	return ledger.Budget{Name: "purse", Meter: cost.Spend, Currency: "USD", Limit: limit, Window: cost.Lifetime}
}

var ids atomic.Int64

// pay is a request of key "k" for n under a purse of its own and the team's budget.
func pay(n int64) ledger.Request {
	id := ids.Add(1)
	return ledger.Request{
		Tenant: acme, ID: fmt.Sprintf("r%d", id), Nonce: fmt.Sprintf("n%d", id), Key: "k", Expires: time.Now().Add(time.Hour),
		Controls: ledger.Names("k", "a", "r", nil, "v"), Operation: "v.things.buy", Lines: usd(n),
		Budgets: []ledger.Budget{purse(1000), {Name: "team", Shared: true, Limit: ledger.NoLimit}}, Deadline: time.Minute,
	}
}

func settled(n int64) ledger.Settlement {
	return ledger.Settlement{Phase: ledger.Settled, Actual: usd(n)}
}

// opened is a ledger in which key k is open and the team has a budget of limit.
func opened(t testing.TB, rdb redis.UniversalClient, limit int64) *redisledger.Ledger {
	t.Helper()
	l := made(t, rdb, nil)
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k", Expires: time.Now().Add(time.Hour)}))
	must(t, l.SetBudget(ctx, acme, team(limit)))
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func admit(t testing.TB, l ledger.Ledger, r ledger.Request) ledger.Hold {
	t.Helper()
	h, err := l.Reserve(ctx, r)
	must(t, err)
	return h
}

func denied(t testing.TB, err error, code reason.Code) {
	t.Helper()
	var d *ledger.Denied
	if !errors.As(err, &d) || d.Code != code {
		t.Fatalf("got error %v, want a denial %s", err, code)
	}
}

// stands expects amounts in the team's budget.
func stands(t testing.TB, l ledger.Ledger, spent, held int64) {
	t.Helper()
	states, err := l.Balance(ctx, acme, "k", []ledger.Budget{{Name: "team", Shared: true, Limit: ledger.NoLimit}})
	must(t, err)
	if states[0].Spent != spent || states[0].Held != held {
		t.Fatalf("the team has spent %d and holds %d, want %d and %d", states[0].Spent, states[0].Held, spent, held)
	}
}

func TestOutOfMemoryDeniesReservesAndTakesSettlements(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	a, b, c := admit(t, l, pay(10)), admit(t, l, pay(10)), admit(t, l, pay(10))
	must(t, rdb.ConfigSet(ctx, "maxmemory", "1").Err())
	_, err := l.Reserve(ctx, pay(10))
	if d := (*ledger.Denied)(nil); err == nil || errors.As(err, &d) {
		t.Fatalf("reserve: %v, want an error that is no verdict", err)
	}
	_, err = l.Settle(ctx, a, settled(8))
	must(t, err)
	must(t, l.Release(ctx, b, true))
	_, err = l.Settle(ctx, c, ledger.Settlement{Phase: ledger.Doubt})
	must(t, err)
	stands(t, l, 8, 10)
	_, err = l.Control(ctx, ledger.Control{Verb: ledger.Revoke, Tenant: acme, Run: "r"})
	must(t, err)
	must(t, l.SetBudget(ctx, acme, team(1)))
	must(t, rdb.ConfigSet(ctx, "maxmemory", "0").Err())
	_, err = l.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyRevoked)
}

// verb is one verb and what must be true after it, however often it was sent.
type verb struct {
	name  string
	do    func(l *redisledger.Ledger) error
	after func(t *testing.T)
}

// verbs are all that write, in an order in which each builds on the one before; direct sees the store without
// the proxy.
func verbs(direct *redisledger.Ledger) []verb {
	var h, raised ledger.Hold
	first, second, probe := pay(10), pay(20), pay(1)
	var released, repeated ledger.Hold
	var crossed []ledger.Alert
	again := pay(10)
	again.Repeat = &ledger.Repeat{ID: "same", Most: 5, Window: time.Hour}
	again.Budgets = append(again.Budgets, rolls(20), ledger.Budget{
		Name: "watched", Meter: cost.Spend, Currency: "USD", Limit: 5, Window: cost.Lifetime, Observed: true,
	})
	books := func(spent, held int64) func(*testing.T) {
		return func(t *testing.T) { t.Helper(); stands(t, direct, spent, held) }
	}
	return []verb{
		{"open", func(l *redisledger.Ledger) error {
			return l.Open(ctx, ledger.Key{Tenant: acme, ID: "k", Expires: time.Now().Add(time.Hour)})
		}, func(*testing.T) {}},
		{"set budget", func(l *redisledger.Ledger) error { return l.SetBudget(ctx, acme, team(100)) }, books(0, 0)},
		{"reserve", func(l *redisledger.Ledger) (err error) { h, err = l.Reserve(ctx, first); return err }, books(0, 10)},
		{"settle", func(l *redisledger.Ledger) error { _, err := l.Settle(ctx, h, settled(7)); return err }, books(7, 0)},
		{"reserve to release", func(l *redisledger.Ledger) (err error) { released, err = l.Reserve(ctx, second); return err }, books(7, 20)},
		{"release", func(l *redisledger.Ledger) error { return l.Release(ctx, released, true) }, books(7, 0)},
		{"reserve to raise", func(l *redisledger.Ledger) (err error) { raised, err = l.Reserve(ctx, probe); return err }, books(7, 1)},
		{"raise", func(l *redisledger.Ledger) error {
			r := probe
			r.Lines = usd(30)
			got, err := l.Raise(ctx, raised, r)
			raised = got
			return err
		}, books(7, 31)},
		{"pend", func(l *redisledger.Ledger) error {
			_, err := l.Settle(ctx, raised, ledger.Settlement{Phase: ledger.Pending, Held: usd(25), Object: "pi"})
			return err
		}, books(7, 25)},
		{"pause", func(l *redisledger.Ledger) error {
			_, err := l.Control(ctx, ledger.Control{Verb: ledger.Pause, Vendor: "v"})
			return err
		}, func(t *testing.T) { _, err := direct.Reserve(ctx, pay(1)); denied(t, err, reason.KeyPaused) }},
		{"resume", func(l *redisledger.Ledger) error {
			_, err := l.Control(ctx, ledger.Control{Verb: ledger.Resume, Vendor: "v"})
			return err
		}, func(t *testing.T) {
			must(t, direct.Release(ctx, admit(t, direct, pay(1)), true))
			stands(t, direct, 7, 25)
		}},
		{"adjust", func(l *redisledger.Ledger) error {
			_, err := l.Adjust(ctx, acme, h.ID, ledger.Adjustment{ID: "late", Actual: usd(9)})
			return err
		}, func(t *testing.T) {
			stands(t, direct, 9, 25)
			if found, err := direct.Find(ctx, acme, h.ID); err != nil || len(found.Adjustments) != 1 || found.Adjustments[0].Deltas[1] != 2 {
				t.Fatalf("found %+v, %v", found, err)
			}
		}},
		{"reserve under a repeat rule", func(l *redisledger.Ledger) (err error) {
			repeated, err = l.Reserve(ctx, again)
			return err
		}, func(t *testing.T) {
			stands(t, direct, 9, 35)
			if len(repeated.Would) != 1 || repeated.Would[0].Name != "watched" {
				t.Fatalf("what would have been refused: %+v", repeated.Would)
			}
			states, err := direct.Balance(ctx, acme, "k", again.Budgets[2:3])
			must(t, err)
			if states[0].Held != 10 {
				t.Fatalf("the rolling budget holds %d", states[0].Held)
			}
			for _, want := range []bool{true, false} {
				r := pay(1)
				r.Repeat = &ledger.Repeat{ID: "same", Most: 2, Window: time.Hour}
				if _, err := direct.Reserve(ctx, r); (err == nil) != want {
					t.Fatalf("counted more than once, or not at all: %v", err)
				}
			}
		}},
		{"acknowledge", func(l *redisledger.Ledger) error {
			if alerts, err := direct.Alerts(ctx, acme); err == nil && len(alerts) > 0 {
				crossed = alerts
			}
			return l.Acknowledge(ctx, acme, crossed[0].ID)
		}, func(t *testing.T) {
			if left, err := direct.Alerts(ctx, acme); err != nil || len(crossed) != 1 || len(left) != 0 {
				t.Fatalf("alerts %+v, then %+v, %v", crossed, left, err)
			}
		}},
	}
}

func TestALostReplyCountsNothingTwice(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	proxy := newProxy(t, rdb.Options().Addr)
	for drops := int64(1); drops <= 4; drops++ {
		t.Run(fmt.Sprintf("%d lost", drops), func(t *testing.T) {
			flush(t, rdb)
			direct := made(t, rdb, nil)
			far := made(t, client(t, proxy.addr), &redisledger.Options{Timeout: 10 * time.Second})
			for _, v := range verbs(direct) {
				before := proxy.dropped.Load()
				proxy.drops.Store(drops)
				err := v.do(far)
				if drops < 4 {
					must(t, err)
				} else if err == nil {
					// Several scripts a verb: each may have used up its retries' luck.
					t.Logf("%s went through all the same", v.name)
				}
				proxy.drops.Store(0)
				if proxy.dropped.Load() == before {
					t.Fatalf("%s: the proxy dropped nothing", v.name)
				}
				must(t, v.do(far)) // what the caller may do after an error
				v.after(t)
			}
		})
	}
}

// A proxy forwards to a Redis server. While drops is positive it lets scripts through to the server and, when the
// answer comes, closes the connection in its place.
type proxy struct {
	addr    string
	drops   atomic.Int64
	dropped atomic.Int64
	stalled atomic.Bool // answers are kept back
}

func newProxy(t testing.TB, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{addr: l.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", server)
			if err != nil {
				_ = c.Close()
				continue
			}
			mu.Lock()
			open = append(open, c, s)
			mu.Unlock()
			var doomed atomic.Bool
			wg.Go(func() { p.ask(c, s, &doomed) })
			wg.Go(func() { p.answer(s, c, &doomed) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return p
}

func (p *proxy) ask(client, server net.Conn, doomed *atomic.Bool) {
	defer server.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if strings.Contains(string(buf[:n]), "\r\neval") && p.drops.Load() > 0 {
			p.drops.Add(-1)
			doomed.Store(true)
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) answer(server, client net.Conn, doomed *atomic.Bool) {
	defer client.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := server.Read(buf)
		switch {
		case err != nil:
			return
		case doomed.Load():
			p.dropped.Add(1)
			return
		case p.stalled.Load():
			continue
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestAVerbEndsWithItsContextOrTimeout(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	opened(t, rdb, 100)
	proxy := newProxy(t, rdb.Options().Addr)
	slow := client(t, proxy.addr) // with go-redis' defaults, which wait 3 s whatever the context says
	must(t, slow.Ping(ctx).Err())
	proxy.stalled.Store(true)
	r := pay(10)

	l := made(t, slow, &redisledger.Options{Timeout: 50 * time.Millisecond})
	began := time.Now()
	_, err := l.Reserve(ctx, r)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 2*time.Second {
		t.Fatalf("after %s: %v", time.Since(began), err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	began = time.Now()
	_, err = made(t, slow, &redisledger.Options{Timeout: time.Minute}).Reserve(cancelled, pay(10))
	if !errors.Is(err, context.Canceled) || time.Since(began) > 2*time.Second {
		t.Fatalf("after %s: %v", time.Since(began), err)
	}

	// The first reserve was carried out all the same. Its hold stands until it is released by id.
	direct := made(t, rdb, nil)
	must(t, direct.Release(ctx, ledger.Hold{Tenant: acme, ID: r.ID}, true))
	stands(t, direct, 0, 0)
}

func TestScriptsAreLoadedAgainWhenTheServerForgetsThem(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	direct := made(t, rdb, nil)
	for _, v := range verbs(direct) {
		must(t, rdb.ScriptFlush(ctx).Err())
		must(t, v.do(direct))
		v.after(t)
	}
}

func TestAnEmptiedStoreDenies(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	h := admit(t, l, pay(60))
	flush(t, rdb)
	l = made(t, rdb, nil) // a process that began later cannot know what was lost
	_, err := l.Reserve(ctx, pay(60))
	denied(t, err, reason.KeyUnknown)
	if _, err := l.Settle(ctx, h, settled(60)); !errors.Is(err, ledger.ErrNoHold) {
		t.Fatalf("settle: %v", err)
	}
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}))
	must(t, l.SetBudget(ctx, acme, team(50)))
	admit(t, l, pay(10))
	must(t, rdb.Del(ctx, "kb:{acme}:b:team").Err())
	_, err = l.Reserve(ctx, pay(60)) // l remembers the budget; the store does not
	denied(t, err, reason.BudgetMissing)
	denied(t, made(t, rdb, nil).SetBudget(ctx, acme, team(50)), reason.LedgerFrozen) // made anew it would have spent nothing
	must(t, second(l.Rearm(ctx, acme)))
	stands(t, l, 0, 10)
	_, err = l.Reserve(ctx, pay(41))
	denied(t, err, reason.BudgetExceeded)
	admit(t, l, pay(40))
}

func TestTwoProcessesRacingOnOneBudgetAreExact(t *testing.T) {
	addr := redistest.Start(t)
	opened(t, client(t, addr), 300)
	ledgers := []*redisledger.Ledger{}
	for range 2 {
		ledgers = append(ledgers, made(t, client(t, addr), &redisledger.Options{Timeout: 20 * time.Second}))
	}
	var wg sync.WaitGroup
	var admitted, wrong atomic.Int64
	for i := range 128 {
		wg.Go(func() {
			for range 4 {
				_, err := ledgers[i%2].Reserve(ctx, pay(3))
				if d := (*ledger.Denied)(nil); err == nil {
					admitted.Add(1)
				} else if !errors.As(err, &d) {
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if admitted.Load() != 100 || wrong.Load() != 0 {
		t.Fatalf("%d admitted, %d failed; want 100 and 0", admitted.Load(), wrong.Load())
	}
	stands(t, ledgers[0], 0, 300)
}

func TestALimitRevisedElsewhereHoldsAtTheNextCall(t *testing.T) {
	addr := redistest.Start(t)
	here, there := opened(t, client(t, addr), 100), made(t, client(t, addr), nil)
	admit(t, there, pay(10)) // now it remembers the limit of 100
	must(t, here.SetBudget(ctx, acme, team(15)))
	_, err := there.Reserve(ctx, pay(10))
	denied(t, err, reason.BudgetExceeded)
}

func TestADamagedRowDeniesAndChangesNothing(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	key := func(s string) string { return "kb:{acme}:" + s }
	for _, d := range []struct {
		name   string
		damage func(t *testing.T)
	}{
		{"key row of another type", func(t *testing.T) { replace(t, rdb, key("k:k")) }},
		{"budget of another type", func(t *testing.T) { replace(t, rdb, key("b:team")) }},
		{"controls of another type", func(t *testing.T) { replace(t, rdb, key("controls")) }},
		{"list of open ones of another type", func(t *testing.T) { replace(t, rdb, key("open")) }},
		{"list of pending ones of another type", func(t *testing.T) { replace(t, rdb, key("pending")) }},
		{"times of another type", func(t *testing.T) { replaceByHash(t, rdb, key("n:same")) }},
		{"time that is no number", func(t *testing.T) { must(t, rdb.RPush(ctx, key("n:same"), "x").Err()) }},
		{"alerts of another type", func(t *testing.T) { replace(t, rdb, key("alerts")) }},
		{"texts of alerts of another type", func(t *testing.T) { replace(t, rdb, key("alerttexts")) }},
		{"slot that is no number", func(t *testing.T) { must(t, rdb.HSet(ctx, key("k:k"), "x:rolls", "1 2 -3;").Err()) }},
		{"slot that is cut off", func(t *testing.T) { must(t, rdb.HSet(ctx, key("k:k"), "x:rolls", "1000 2 3").Err()) }},
		{"claim of another type", func(t *testing.T) { replace(t, rdb, key("c:claim")) }},
		{"no revision", func(t *testing.T) { must(t, rdb.HDel(ctx, key("b:team"), "rev").Err()) }},
		{"no definition", func(t *testing.T) { must(t, rdb.HSet(ctx, key("b:team"), "spec", "{", "rev", "x").Err()) }},
		{"no limit", func(t *testing.T) { must(t, rdb.HSet(ctx, key("b:team"), "limit", "nan", "rev", "x").Err()) }},
		{"spent is nan", func(t *testing.T) { must(t, rdb.HSet(ctx, key("b:team"), "s:", "nan").Err()) }},
		{"held is negative", func(t *testing.T) { must(t, rdb.HSet(ctx, key("b:team"), "h:", "-5").Err()) }},
		{"spent is missing", func(t *testing.T) { must(t, rdb.HDel(ctx, key("k:k"), "s:purse").Err()) }},
		{"held is in scientific notation", func(t *testing.T) { must(t, rdb.HSet(ctx, key("k:k"), "h:purse", "1e3").Err()) }},
		{"window is no number", func(t *testing.T) { must(t, rdb.HSet(ctx, key("b:team"), "w:", "x").Err()) }},
		{"window of last year and no counters", func(t *testing.T) {
			must(t, rdb.HSet(ctx, key("b:team"), "w:", "5").Err())
			must(t, rdb.HDel(ctx, key("b:team"), "h:").Err())
		}},
		{"control that is no verb", func(t *testing.T) { must(t, rdb.HSet(ctx, key("controls"), "c:run:r", "stop").Err()) }},
	} {
		t.Run(d.name, func(t *testing.T) {
			flush(t, rdb)
			l := opened(t, rdb, 100)
			admit(t, l, pay(10))
			d.damage(t)
			before := dump(t, rdb)
			for range 2 { // also when it is sent again: a record must not be left behind that a replay finds
				r := everything(10)
				r.Claim = &ledger.Claim{ID: "claim", Fingerprint: "f", Memory: time.Hour}
				for range 2 {
					h, err := l.Reserve(ctx, r)
					if err == nil {
						t.Fatalf("admitted: %+v", h)
					}
				}
			}
			if after := dump(t, rdb); before != after {
				t.Fatalf("a refused reserve changed the store\nfrom %s\nto   %s", before, after)
			}
		})
	}
}

func replaceByHash(t *testing.T, rdb *redis.Client, key string) {
	t.Helper()
	must(t, rdb.Del(ctx, key).Err())
	must(t, rdb.HSet(ctx, key, "not what", "it was").Err())
}

func replace(t *testing.T, rdb *redis.Client, key string) {
	t.Helper()
	must(t, rdb.Del(ctx, key).Err())
	must(t, rdb.LPush(ctx, key, "not what it was").Err())
}

// dump is the whole store as text.
func dump(t *testing.T, rdb *redis.Client) string {
	t.Helper()
	keys, err := rdb.Keys(ctx, "*").Result()
	must(t, err)
	slices.Sort(keys)
	var b strings.Builder
	for _, k := range keys {
		switch kind := rdb.Type(ctx, k).Val(); kind {
		case "hash":
			fmt.Fprintln(&b, k, rdb.HGetAll(ctx, k).Val())
		case "zset":
			fmt.Fprintln(&b, k, rdb.ZRangeWithScores(ctx, k, 0, -1).Val())
		case "string":
			fmt.Fprintln(&b, k, rdb.Get(ctx, k).Val())
		default:
			fmt.Fprintln(&b, k, kind)
		}
	}
	return b.String()
}

func TestADeniedCallWritesNothing(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	admit(t, l, pay(90))
	before := dump(t, rdb)
	for range 3 {
		_, err := l.Reserve(ctx, pay(11))
		denied(t, err, reason.BudgetExceeded)
	}
	if after := dump(t, rdb); before != after {
		t.Fatalf("from %s\nto   %s", before, after)
	}
}

func TestAControlThatDoesNotReachATenantNamesIt(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	must(t, l.Open(ctx, ledger.Key{Tenant: "broken", ID: "k"}))
	replace(t, rdb, "kb:{broken}:controls")
	report, err := l.Control(ctx, ledger.Control{Verb: ledger.Revoke, All: true})
	var partial *ledger.PartialError
	if !errors.As(err, &partial) || !slices.Equal(partial.Tenants, []string{"broken"}) || !slices.Equal(report.Tenants, []string{acme}) {
		t.Fatalf("report %v, error %v", report, err)
	}
	_, err = l.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyRevoked)
	must(t, rdb.Del(ctx, "kb:{broken}:controls").Err())
	report, err = l.Control(ctx, ledger.Control{Verb: ledger.Revoke, All: true})
	must(t, err)
	if len(report.Tenants) != 2 {
		t.Fatalf("report %v", report)
	}
}

func TestOpenAndAControlOfAllNeverMissEachOther(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	for round := range 40 {
		flush(t, rdb)
		l := made(t, rdb, &redisledger.Options{Timeout: 10 * time.Second})
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if err := l.Open(ctx, ledger.Key{Tenant: fmt.Sprint("t", i), ID: "k"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if _, err := l.Control(ctx, ledger.Control{Verb: ledger.Revoke, All: true}); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		for i := range 4 {
			r := pay(1)
			r.Tenant = fmt.Sprint("t", i)
			if _, err := l.Reserve(ctx, r); err == nil || !strings.Contains(err.Error(), string(reason.KeyRevoked)) {
				t.Fatalf("round %d: tenant %d: %v", round, i, err)
			}
		}
	}
}

func TestLifeOfKeys(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 1000)
	ttl := func(key string) time.Duration { return rdb.PTTL(ctx, "kb:{acme}:"+key).Val() }
	forever := func(key string) {
		t.Helper()
		if got := ttl(key); got != -1 {
			t.Fatalf("%s lives for %s, want for ever", key, got)
		}
	}
	around := func(key string, want time.Duration) {
		t.Helper()
		if got := ttl(key); got < want-time.Hour || got > want+2*time.Hour {
			t.Fatalf("%s lives for %s, want about %s", key, got, want)
		}
	}
	plain, claimed := pay(10), pay(10)
	claimed.Claim = &ledger.Claim{ID: "c", Fingerprint: "f", Memory: 23 * time.Hour}
	a, b := admit(t, l, plain), admit(t, l, claimed)
	forever("r:" + a.ID)
	forever("r:" + b.ID)
	forever("b:team")
	around("c:c", 23*time.Hour)
	around("k:k", 31*24*time.Hour)
	_, err := l.Settle(ctx, a, settled(1))
	must(t, err)
	must(t, l.Release(ctx, b, true))
	around("r:"+a.ID, 31*24*time.Hour) // for adjustments
	around("r:"+b.ID, 31*24*time.Hour)
	counted := pay(1)
	counted.Lines = []cost.Line{{Meter: cost.Calls, Amount: 1}}
	counted.Budgets = []ledger.Budget{{Name: "calls", Meter: cost.Calls, Limit: 100, Window: cost.Lifetime}}
	_, err = l.Settle(ctx, admit(t, l, counted), ledger.Settlement{Phase: ledger.Settled})
	must(t, err)
	around("r:"+counted.ID, 24*time.Hour)
	gone := admit(t, l, pay(1))
	must(t, l.Release(ctx, gone, true))
	around("r:"+gone.ID, 24*time.Hour)
	_, err = l.Adjust(ctx, acme, gone.ID, ledger.Adjustment{ID: "late", Actual: usd(1)}) // it was executed after all
	must(t, err)
	around("r:"+gone.ID, 31*24*time.Hour)
	long := made(t, rdb, &redisledger.Options{Remember: 100 * 24 * time.Hour})
	paid := admit(t, long, pay(1))
	_, err = long.Settle(ctx, paid, settled(1))
	must(t, err)
	around("r:"+paid.ID, 100*24*time.Hour)
	_, err = l.Settle(ctx, b, ledger.Settlement{Phase: ledger.Pending, Held: usd(1)}) // late
	must(t, err)
	forever("r:" + b.ID)
	_, err = l.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: acme, Key: "k"}) // frozen, since nothing was held any more
	must(t, err)
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k", Expires: time.Now().Add(24 * time.Hour * 10)}))
	around("k:k", 41*24*time.Hour)
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k", Expires: time.Now().Add(time.Hour)}))
	around("k:k", 41*24*time.Hour)
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}))
	forever("k:k")
	read := pay(1)
	read.Read = true
	admit(t, l, read)
	if n := rdb.Exists(ctx, "kb:{acme}:r:"+read.ID).Val(); n != 0 {
		t.Fatal("a read that counts nothing left a record")
	}
}

// hook counts commands.
type hook struct{ n atomic.Int64 }

func (h *hook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error { h.n.Add(1); return next(ctx, cmd) }
}
func (h *hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error { h.n.Add(1); return next(ctx, cmds) }
}

func TestReserveAndSettleAreOneRoundTripEach(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 1000)
	first := admit(t, l, pay(1)) // loads the scripts and the budget
	_, err := l.Settle(ctx, first, settled(1))
	must(t, err)
	_, err = l.Adjust(ctx, acme, first.ID, ledger.Adjustment{ID: "a", Actual: usd(1)})
	must(t, err)
	r := pay(1)
	hold, err := l.Raise(ctx, admit(t, l, r), r)
	must(t, err)
	must(t, l.Release(ctx, hold, true))
	var h hook
	rdb.AddHook(&h)
	trips := func(what string, want int64) {
		t.Helper()
		if n := h.n.Swap(0); n != want {
			t.Errorf("%s takes %d round trips, want %d", what, n, want)
		}
	}
	hold = admit(t, l, pay(1))
	trips("reserve", 1)
	_, err = l.Settle(ctx, hold, settled(1))
	must(t, err)
	trips("settle", 1)
	r = pay(1)
	r.Lines = nil
	hold = admit(t, l, r)
	trips("reserve", 1)
	r.Lines = usd(5)
	hold, err = l.Raise(ctx, hold, r)
	must(t, err)
	trips("raise", 1)
	_, err = l.Settle(ctx, hold, ledger.Settlement{Phase: ledger.Pending, Held: usd(5), Object: "pi"})
	must(t, err)
	trips("settle of an object", 1)
	must(t, l.Release(ctx, admit(t, l, pay(1)), true))
	trips("reserve and release", 2)
	read := pay(1)
	read.Read = true
	admit(t, l, read)
	trips("read", 1)
	_, err = l.Reserve(ctx, pay(5000))
	denied(t, err, reason.BudgetExceeded)
	trips("denial", 1)
	move := pay(5)
	move.Object = "pi"
	admit(t, l, move)
	trips("taking over an object", 3)
	hold = admit(t, l, everything(1))
	trips("a reserve with all there is", 1)
	_, err = l.Settle(ctx, hold, settled(500))
	must(t, err)
	trips("a settle that alerts", 1)
	_, err = l.Adjust(ctx, acme, hold.ID, ledger.Adjustment{ID: "a", Actual: usd(1)})
	must(t, err)
	trips("adjust", 2)
}

func TestErrorsHoldNoValues(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	must(t, rdb.HSet(ctx, "kb:{acme}:b:team", "spec", "sk_live_secret", "rev", "x").Err())
	_, err := l.Reserve(ctx, pay(1))
	if err == nil || strings.Contains(err.Error(), "sk_live") {
		t.Fatalf("error: %v", err)
	}
}

// betweenHook does something once, after a carrier was read and before the script that relies on what was read.
type betweenHook struct {
	hook
	do func()
}

func (h *betweenHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if do := h.do; cmd.Name() == "hgetall" && do != nil {
			h.do = nil
			do()
		}
		return err
	}
}

func TestACarrierThatChangesWhileItIsTakenOverIsLookedAtAgain(t *testing.T) {
	addr := redistest.Start(t)
	other, rdb := client(t, addr), client(t, addr)
	for name, finish := range map[string]func(l *redisledger.Ledger, h ledger.Hold, pi *ledger.Request) (held int64){
		"lower level": func(l *redisledger.Ledger, h ledger.Hold, _ *ledger.Request) int64 {
			_, err := l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Pending, Held: usd(3), Object: "pi"})
			must(t, err)
			return 8
		},
		"settled": func(l *redisledger.Ledger, h ledger.Hold, _ *ledger.Request) int64 {
			_, err := l.Settle(ctx, h, settled(0))
			must(t, err)
			return 8
		},
		"taken over by another": func(l *redisledger.Ledger, _ ledger.Hold, pi *ledger.Request) int64 {
			admit(t, l, *pi)
			return 16
		},
	} {
		t.Run(name, func(t *testing.T) {
			flush(t, other)
			l := opened(t, other, 100)
			created := admit(t, l, pay(8))
			_, err := l.Settle(ctx, created, ledger.Settlement{Phase: ledger.Pending, Held: usd(8), Object: "pi"})
			must(t, err)
			move, rival := pay(8), pay(8)
			move.Object, rival.Object = "pi", "pi"
			want := int64(0)
			rdb.AddHook(&betweenHook{do: func() { want = finish(l, created, &rival) }})
			h := admit(t, made(t, rdb, nil), move)
			if want == 0 {
				t.Fatal("nothing happened in between")
			}
			stands(t, l, 0, want)
			must(t, l.Release(ctx, h, true))
		})
	}
}

func TestACarrierThatChangesWhileAnotherSettlesIsLookedAtAgain(t *testing.T) {
	addr := redistest.Start(t)
	other, rdb := client(t, addr), client(t, addr)
	l := opened(t, other, 100)
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "payer"}))
	created := admit(t, l, pay(8))
	pend := func(n int64) {
		_, err := l.Settle(ctx, created, ledger.Settlement{Phase: ledger.Pending, Held: usd(n), Object: "pi"})
		must(t, err)
	}
	pend(8)
	capture := pay(8)
	capture.Key, capture.Object = "payer", "pi"
	far := made(t, rdb, nil)
	h := admit(t, far, capture)
	stands(t, l, 0, 16)
	rdb.AddHook(&betweenHook{do: func() { pend(3) }})
	_, err := far.Settle(ctx, h, settled(8))
	must(t, err)
	stands(t, l, 8, 0)
}

func TestACounterThatWouldOverflowChangesNothing(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	h := admit(t, l, pay(10))
	must(t, rdb.HSet(ctx, "kb:{acme}:b:team", "s:", "8999999999999999999").Err())
	before := dump(t, rdb)
	if _, err := l.Settle(ctx, h, settled(cost.Max)); err == nil {
		t.Fatal("settled")
	}
	if _, err := l.Reserve(ctx, pay(1)); err == nil {
		t.Fatal("admitted")
	}
	if after := dump(t, rdb); before != after {
		t.Fatalf("from %s\nto   %s", before, after)
	}
}

func TestARecordIsBelievedRatherThanAHold(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "other"}))

	purses := func(spent, held int64) {
		t.Helper()
		for key, want := range map[string][2]int64{"k": {spent, held}, "other": {0, 0}} {
			states, err := l.Balance(ctx, acme, key, []ledger.Budget{purse(1000)})
			must(t, err)
			if got := [2]int64{states[0].Spent, states[0].Held}; got != want {
				t.Fatalf("the purse of %s has spent and holds %v, want %v", key, got, want)
			}
		}
	}
	h := admit(t, l, pay(10))
	h.Key = "other"
	_, err := l.Settle(ctx, h, settled(5))
	must(t, err)
	purses(5, 0)
	h = admit(t, l, pay(10))
	h.Key = "other"
	must(t, l.Release(ctx, h, true))
	purses(5, 0)
	h = admit(t, l, pay(10))
	h.Entries = h.Entries[:1]
	_, err = l.Settle(ctx, h, settled(2))
	must(t, err)
	purses(7, 0)

	r := pay(10)
	h = admit(t, l, r)
	h.Entries, h.States, r.Lines = nil, nil, usd(5)
	raised, err := l.Raise(ctx, h, r)
	must(t, err)
	purses(7, 15)
	stands(t, l, 7, 15)
	_, err = l.Settle(ctx, raised, settled(15))
	must(t, err)
	stands(t, l, 22, 0)
}

func TestNothingIsLeftOfWhatIsOver(t *testing.T) {
	rdb, clock := client(t, redistest.Start(t)), ledgertest.NewClock()
	l := made(t, rdb, &redisledger.Options{Now: clock.Now, Timeout: 20 * time.Second})
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k"}))
	daily := team(100)
	daily.Window = cost.Day
	must(t, l.SetBudget(ctx, acme, daily))
	fields := func() int64 { return rdb.HLen(ctx, "kb:{acme}:b:team").Val() }
	for range 10 {
		r := pay(2)
		r.Expires = clock.Now().Add(time.Hour)
		_, err := l.Settle(ctx, admit(t, l, r), settled(1))
		must(t, err)
		clock.Add(24 * time.Hour)
	}
	if n := fields(); n > 11 {
		t.Errorf("the row has %d fields after ten days on which nothing stayed held", n)
	}
	var late []ledger.Hold
	for i := range 20 {
		r := pay(2)
		r.Expires, r.Object = clock.Now().Add(time.Hour), "pi"
		h := admit(t, l, r)
		if i%2 == 0 {
			_, err := l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Pending, Held: usd(1), Object: fmt.Sprint("o", i)})
			must(t, err)
		}
		late = append(late, h)
		clock.Add(24 * time.Hour)
	}
	many := fields()
	for i, h := range late {
		if i%3 == 0 {
			must(t, l.Release(ctx, h, true))
			continue
		}
		_, err := l.Settle(ctx, h, settled(1))
		must(t, err)
	}
	// spec, limit, rev, past; the newest window with its four fields; the one before with its three
	if few := fields(); few > 11 || many < few+30 {
		t.Errorf("the row has %d fields after the last settle, and had %d", few, many)
	}
	if left := rdb.Keys(ctx, "kb:{acme}:o:*").Val(); len(left) != 0 {
		t.Errorf("objects are still carried: %v", left)
	}
	if n := rdb.ZCard(ctx, "kb:{acme}:open").Val(); n != 0 {
		t.Errorf("%d are still open", n)
	}
	for _, payer := range []string{"k", "k2"} { // the hold passes at the reserve, and at the settle
		must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k2"}))
		r := pay(5)
		r.Expires = clock.Now().Add(time.Hour)
		_, err := l.Settle(ctx, admit(t, l, r), ledger.Settlement{Phase: ledger.Pending, Held: usd(5), Object: "passes"})
		must(t, err)
		r = pay(5)
		r.Key, r.Expires, r.Object = payer, clock.Now().Add(time.Hour), "passes"
		_, err = l.Settle(ctx, admit(t, l, r), settled(5))
		must(t, err)
	}
	if left := rdb.ZRange(ctx, "kb:{acme}:pending", 0, -1).Val(); len(left) != 0 {
		t.Errorf("still pending: %v", left)
	}
}

func TestNamesThatAreNotTextAreRefused(t *testing.T) {
	l := opened(t, client(t, redistest.Start(t)), 100)
	for i := range 3 {
		r := pay(1)
		switch i {
		case 0:
			r.Budgets[0].Name = "purse\xff"
		case 1:
			r.Memo = "\xfe"
		case 2:
			r.ID = "r\xc3"
		}
		if h, err := l.Reserve(ctx, r); err == nil {
			t.Errorf("case %d was admitted: %+v", i, h)
		}
	}
	r := pay(1)
	r.Budgets[0].Name, r.Memo = "Geldbörse <&>\u2028\ufffd\x00\\", "a=1&b=<2>\r\n\x00 "+`\ufffd \\ufffd`
	h := admit(t, l, r)
	found, err := l.Find(ctx, acme, h.ID)
	must(t, err)
	if found.Memo != r.Memo || found.Entries[0].Budget != r.Budgets[0].Name {
		t.Errorf("found %+v", found)
	}
}

// arguments splits what stands between a parenthesis, already open, and the one that closes it.
func arguments(text string) []string {
	args, depth := []string{""}, 0
	for _, c := range text {
		switch {
		case depth == 0 && c == ')':
			return args
		case depth == 0 && c == ',':
			args = append(args, "")
			continue
		case strings.ContainsRune("([{", c):
			depth++
		case strings.ContainsRune(")]}", c):
			depth--
		}
		args[len(args)-1] = strings.TrimLeft(args[len(args)-1]+string(c), " ")
	}
	return args
}

// Calls in the scripts either take no key, or one that is declared: KEYS[…] itself, or a parameter by the name
// of row or record of a function that is in turn given only such.
func TestScriptsTouchDeclaredKeysOnly(t *testing.T) {
	files, err := os.ReadDir("lua")
	must(t, err)
	call := regexp.MustCompile(`redis\.(p?call)\(\s*'([A-Z]+)'\s*(,\s*([^,)\]]+\]?))?`)
	pass := regexp.MustCompile(`\b(cell|stand|sound|shift|forget|enter|place|slots|slot|save|rolled|advance|crossing|lapse|alert|tell|ready)\(`)
	position := map[string][]int{"lapse": {0, 1}, "alert": {4, 5}, "tell": {0, 1}, "ready": {0, 1}} // of keys; of all others the first
	declared := regexp.MustCompile(`^(KEYS\[.+\]|row|record|pending|index|texts)$`)
	seen := 0
	for _, f := range files {
		text, err := os.ReadFile("lua/" + f.Name())
		must(t, err)
		if n := strings.Count(string(text), "\n"); n > 60 {
			t.Errorf("%s has %d lines, want at most 60", f.Name(), n)
		}
		if n := strings.Count(string(text), "redis.call(") + strings.Count(string(text), "redis.pcall("); n != len(call.FindAllString(string(text), -1)) {
			t.Errorf("%s: a redis.call that this test cannot read", f.Name())
		}
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			seen++
			if m[1] != "call" || m[2] != "TIME" && !declared.MatchString(m[4]) {
				t.Errorf("%s: %s", f.Name(), m[0])
			}
		}
		for _, m := range pass.FindAllStringSubmatchIndex(string(text), -1) {
			name, args := string(text[m[2]:m[3]]), arguments(string(text[m[1]:]))
			at := position[name]
			if at == nil {
				at = []int{0}
			}
			for _, i := range at {
				if i >= len(args) || !declared.MatchString(args[i]) {
					t.Errorf("%s: %s(%s)", f.Name(), name, strings.Join(args, ", "))
				}
			}
		}
		if strings.Contains(string(text), "..") && regexp.MustCompile(`\.\. *(now|n|need|level)\b`).Match(text) {
			t.Errorf("%s: a number is joined to a string, which loses digits from 1e14", f.Name())
		}
	}
	if seen < 50 {
		t.Errorf("only %d calls were found", seen)
	}
}

// made is a ledger that is closed with the test: one that has deferred an outcome goes on saying it until then.
func made(t testing.TB, rdb redis.UniversalClient, o *redisledger.Options) *redisledger.Ledger {
	t.Helper()
	l := redisledger.New(rdb, o)
	t.Cleanup(func() { _ = l.Close() })
	return l
}
