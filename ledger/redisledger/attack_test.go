package redisledger_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/reason"
)

// The counter of global controls starts again after the rows of all tenants are lost; tenants ignore what is "older".
func TestAttackGlobalVersion(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 1000)
	for range 3 {
		must(t, second(l.Control(ctx, ledger.Control{Verb: ledger.Pause, All: true})))
		must(t, second(l.Control(ctx, ledger.Control{Verb: ledger.Resume, All: true})))
	}
	must(t, l.Release(ctx, admit(t, l, pay(1)), true))
	must(t, rdb.Del(ctx, "kb:{*}:controls", "kb:{*}:tenants", "kb:{*}:m").Err()) // the master of that slot came back empty
	_, err := l.Control(ctx, ledger.Control{Verb: ledger.Pause, All: true})
	t.Log("control after the loss:", err)
	must(t, second(l.Rearm(ctx, "")))
	report, err := l.Control(ctx, ledger.Control{Verb: ledger.Revoke, All: true})
	must(t, err)
	t.Log("reached", report.Tenants)
	_, err = l.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyRevoked)
}

// A resume of long ago, said again by a re-arm, undoes a pause that another process made afterwards.
func TestAttackOldResumeUndoesPause(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	a := opened(t, rdb, 1000)
	b := made(t, rdb, nil)
	run := func(v ledger.Verb) ledger.Control { return ledger.Control{Verb: v, Tenant: acme, Run: "r"} }
	must(t, second(a.Control(ctx, run(ledger.Pause))))
	must(t, second(a.Control(ctx, run(ledger.Resume))))
	must(t, second(b.Control(ctx, run(ledger.Pause)))) // acknowledged, and nobody has resumed it
	_, err := a.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyPaused)
	flush(t, rdb)
	frozen(t, a)
	must(t, second(b.Reassert(ctx, acme)))
	must(t, second(a.Rearm(ctx, acme)))
	_, err = b.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyPaused)
}

// A re-arm that go-redis sends again after another's.
func TestAttackRearmSentTwice(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	a := opened(t, rdb, 1000)
	b := made(t, rdb, nil)
	flush(t, rdb)
	frozen(t, a)
	slow := client(t, rdb.Options().Addr)
	c := made(t, slow, nil)
	must(t, c.SetBudget(context.Background(), "other", team(1)))
	again := &resend{}
	slow.AddHook(again)
	must(t, second(a.Rearm(ctx, acme)))
	must(t, second(c.Rearm(ctx, acme)))
	pays(t, a, 3) // in the epoch of c
	must(t, second(b.Rearm(ctx, acme)))
	must(t, again.last(ctx, slow)) // the reply to c was lost: its client sends the re-arm again
	h, err := a.Reserve(ctx, pay(1))
	if err != nil {
		t.Fatalf("nothing was lost, and: %v", err)
	}
	must(t, a.Release(ctx, h, true))
}

// resend remembers the last script.
type resend struct {
	args []any
}

func (h *resend) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *resend) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (h *resend) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" || cmd.Name() == "eval" {
			h.args = cmd.Args()
		}
		return next(ctx, cmd)
	}
}
func (h *resend) last(ctx context.Context, rdb *redis.Client) error {
	return rdb.Do(ctx, h.args...).Err()
}

// A key that was frozen because the vendor took more than its bound is open again after a re-arm.
func TestAttackFrozenKeyThaws(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 1000)
	r, err := l.Settle(ctx, admit(t, l, pay(1)), settled(5))
	must(t, err)
	if !r.Over {
		t.Fatal("not over")
	}
	_, err = l.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyFrozen)
	flush(t, rdb)
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	_, err = l.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyFrozen)
}

// A raise that was lost alone is not put back, since the record is there.
func TestAttackLostRaise(t *testing.T) {
	main := redistest.Serve(t)
	rdb := client(t, main.Addr())
	l := opened(t, rdb, 100)
	r := pay(0)
	h := admit(t, l, r)
	must(t, main.Admin().Save(ctx).Err())
	r.Lines = usd(90)
	h, err := l.Raise(ctx, h, r)
	must(t, err)
	stands(t, l, 0, 90)
	must(t, main.Restart())
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	stands(t, l, 0, 90)
	_, err = l.Reserve(ctx, pay(90))
	denied(t, err, reason.BudgetExceeded)
	_ = h
}

// A person saw the doubt; a retry attached after that; then the release comes.
func TestAttackReleaseAfterRetry(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	first := pay(60)
	first.Claim = &ledger.Claim{ID: "c", Fingerprint: "f", Memory: time.Hour}
	h := admit(t, l, first)
	must(t, second(l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Doubt})))
	seen, err := l.Find(ctx, acme, h.ID)
	must(t, err)
	retry := pay(60)
	retry.Claim = first.Claim
	again := admit(t, l, retry)
	if !again.Attached {
		t.Fatal("not attached")
	}
	must(t, l.Release(ctx, seen, false)) // "not executed", said of what was before the retry
	stands(t, l, 0, 60)                  // the retry is at the vendor
}

// A limit lowered after the re-arm is raised by a process that reasserts meanwhile.
type between struct {
	after string
	do    func()
	once  sync.Once
}

func (h *between) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h *between) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if len(cmds) > 0 && cmds[0].Name() == h.after {
			h.once.Do(h.do)
		}
		return err
	}
}

func TestAttackReassertRaisesLimit(t *testing.T) {
	addr := redistest.Start(t)
	rdb := client(t, addr)
	slow := client(t, addr)
	a := opened(t, rdb, 50)
	b := made(t, slow, nil)
	must(t, b.SetBudget(ctx, acme, team(100)))
	must(t, b.Release(ctx, admit(t, b, pay(1)), true))
	flush(t, rdb)
	frozen(t, a)
	must(t, second(a.Rearm(ctx, acme))) // knows 50 or 100
	slow.AddHook(&between{after: "hmget", do: func() { must(t, a.SetBudget(ctx, acme, team(10))) }})
	must(t, second(b.Reassert(ctx, acme)))
	got, err := a.Budget(ctx, acme, "team")
	must(t, err)
	if got.Limit > 10 {
		t.Errorf("the limit was set to 10, and is %d", got.Limit)
	}
}

// Alerts of a shared budget after a re-arm.
func TestAttackAlertsAfterRearm(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	b := team(100)
	b.AlertAt = []int{50}
	must(t, l.SetBudget(ctx, acme, b))
	must(t, l.Release(ctx, admit(t, l, pay(1)), true))
	flush(t, rdb)
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	got, err := l.Budget(ctx, acme, "team")
	must(t, err)
	if len(got.AlertAt) == 0 {
		t.Error("the budget alerts nobody any more")
	}
	pays(t, l, 60)
	alerts, err := l.Alerts(ctx, acme)
	must(t, err)
	if len(alerts) == 0 {
		t.Error("no alert")
	}
}

// A settlement that waits is dropped when the script refuses for a row that a re-arm puts back.
func TestAttackJournalDropsOnMissingRow(t *testing.T) {
	main := redistest.Serve(t)
	rdb := brief(t, main.Addr())
	l := redisledger.New(rdb, &redisledger.Options{Timeout: 300 * time.Millisecond})
	t.Cleanup(func() { _ = l.Close() })
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k", Expires: time.Now().Add(time.Hour)}))
	must(t, l.SetBudget(ctx, acme, team(100)))
	h := admit(t, l, pay(5))
	must(t, main.Admin().Del(ctx, "kb:{acme}:b:team").Err())
	_, err := l.Settle(ctx, h, settled(30))
	t.Log("settle:", err, "waits:", l.Deferred())
	t.Log("set budget:", l.SetBudget(ctx, acme, team(100)))
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	drained(t, l)
	st, err := l.Balance(ctx, acme, "k", []ledger.Budget{{Name: "team", Shared: true, Limit: -1}})
	must(t, err)
	t.Log("spent", st[0].Spent, "held", st[0].Held)
	if st[0].Spent+st[0].Held < 30 {
		t.Errorf("30 were executed and the process knew; the books have %d", st[0].Spent+st[0].Held)
	}
}

// Max number of clients.
func TestAttackMaxClients(t *testing.T) {
	main := redistest.Serve(t)
	l := redisledger.New(brief(t, main.Addr()), &redisledger.Options{Timeout: 300 * time.Millisecond})
	t.Cleanup(func() { _ = l.Close() })
	must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k", Expires: time.Now().Add(time.Hour)}))
	must(t, l.SetBudget(ctx, acme, team(100)))
	h := admit(t, l, pay(5))
	hog := client(t, main.Addr())
	must(t, hog.Ping(ctx).Err())
	l2 := redisledger.New(brief(t, main.Addr()), &redisledger.Options{Timeout: 300 * time.Millisecond})
	t.Cleanup(func() { _ = l2.Close() })
	must(t, hog.ConfigSet(ctx, "maxclients", "1").Err())
	_, err := l2.Settle(ctx, h, settled(5))
	t.Logf("settle: %v; deferred %v", err, errors.Is(err, ledger.ErrDeferred))
	if !errors.Is(err, ledger.ErrDeferred) {
		t.Error("not deferred")
	}
	must(t, hog.ConfigSet(ctx, "maxclients", "100").Err())
}

// What a re-arm forgets of what must not go missing.
func TestAttackRearmForgetsLastingRows(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	b := opened(t, rdb, 100)
	must(t, second(b.Control(ctx, ledger.Control{Verb: ledger.Revoke, Tenant: acme, Run: "r"}))) // acknowledged; then the process ends
	a := made(t, rdb, nil)
	fine := pay(1)
	fine.Controls = ledger.Names("k", "a", "r2", nil, "v")
	must(t, a.Release(ctx, admit(t, a, fine), true))
	must(t, rdb.Del(ctx, "kb:{acme}:b:team").Err())
	t.Log("set budget:", a.SetBudget(ctx, acme, team(100)))
	_, err := a.Reserve(ctx, fine2())
	denied(t, err, reason.LedgerFrozen)
	must(t, second(a.Rearm(ctx, acme)))
	_, err = a.Reserve(ctx, pay(1))
	denied(t, err, reason.KeyRevoked)
	must(t, rdb.Del(ctx, "kb:{acme}:controls").Err())
	_, err = a.Reserve(ctx, pay(1))
	if err == nil {
		t.Error("a revoked run is admitted, and nobody has noticed that the row of revokes is gone")
	}
}

func fine2() ledger.Request {
	r := pay(1)
	r.Controls = ledger.Names("k", "a", "r2", nil, "v")
	return r
}

// Rolling: the docs say that in each window at least what it knew was spent is put back.
func TestAttackRollingSettleLost(t *testing.T) {
	main := redistest.Serve(t)
	rdb := client(t, main.Addr())
	l := opened(t, rdb, 1000)
	own := ledger.Budget{Name: "roll", Meter: cost.Spend, Currency: "USD", Limit: 100, Window: cost.Rolling(24 * time.Hour)}
	r := pay(10)
	r.Budgets = []ledger.Budget{own}
	h := admit(t, l, r)
	must(t, main.Admin().Save(ctx).Err())
	_, err := l.Settle(ctx, h, settled(80)) // over its bound
	must(t, err)
	must(t, second(l.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: acme, Key: "k"})))
	must(t, main.Restart())
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	st, err := l.Balance(ctx, acme, "k", []ledger.Budget{own})
	must(t, err)
	if st[0].Spent+st[0].Held < 80 {
		t.Errorf("80 were spent and this process knew; spent %d held %d", st[0].Spent, st[0].Held)
	}
}

// The same in an ordinary window: the settled hold is in flight again, plus the floor.
func TestAttackLostSettle(t *testing.T) {
	main := redistest.Serve(t)
	rdb := client(t, main.Addr())
	l := opened(t, rdb, 1000)
	h := admit(t, l, pay(10))
	must(t, main.Admin().Save(ctx).Err())
	must(t, second(l.Settle(ctx, h, settled(4))))
	must(t, main.Restart())
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	st, err := l.Balance(ctx, acme, "k", []ledger.Budget{purse(1000)})
	must(t, err)
	got, _ := l.Find(ctx, acme, h.ID)
	t.Log("settled at 4; spent", st[0].Spent, "held", st[0].Held, got.Phase)
	if st[0].Spent+st[0].Held < 4 {
		t.Error("lost")
	}
	_, err = l.Settle(ctx, h, settled(4))
	st, _ = l.Balance(ctx, acme, "k", []ledger.Budget{purse(1000)})
	t.Log("settled again", err, st[0].Spent, st[0].Held)
}

// A retry that has attached is forgotten by the re-arm; the first attempt's refusal then gives the hold back.
func TestAttackRearmForgetsAttached(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	first := pay(60)
	first.Claim = &ledger.Claim{ID: "c", Fingerprint: "f", Memory: time.Hour}
	h := admit(t, l, first)
	retry := pay(60)
	retry.Claim = first.Claim
	if !admit(t, l, retry).Attached {
		t.Fatal("not attached")
	}
	flush(t, rdb)
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	must(t, l.Release(ctx, h, false)) // the vendor refused the first attempt
	stands(t, l, 0, 60)
}

// A release that was answered by a doubt is not remembered as a release.
func TestAttackRearmForgetsDoubtOfARelease(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 100)
	first := pay(60)
	first.Claim = &ledger.Claim{ID: "c", Fingerprint: "f", Memory: time.Hour}
	h := admit(t, l, first)
	retry := pay(60)
	retry.Claim = first.Claim
	admit(t, l, retry)
	must(t, l.Release(ctx, h, false))
	stands(t, l, 0, 60) // a retry has attached: it is in doubt
	flush(t, rdb)
	frozen(t, l)
	must(t, second(l.Rearm(ctx, acme)))
	stands(t, l, 0, 60)
}

// Several processes re-arm at once under traffic; afterwards nobody is frozen.
func TestAttackManyRearms(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	first := opened(t, rdb, 1_000_000)
	list := []*redisledger.Ledger{first}
	for range 5 {
		list = append(list, made(t, rdb, nil))
	}
	big := func() ledger.Request {
		r := pay(1)
		r.Budgets = []ledger.Budget{purse(1_000_000), {Name: "team", Shared: true, Limit: -1}}
		return r
	}
	for round := range 15 {
		for _, l := range list {
			must(t, l.Release(ctx, admit(t, l, big()), true))
		}
		flush(t, rdb)
		frozen(t, first)
		var wg sync.WaitGroup
		for i, l := range list {
			wg.Go(func() {
				for range 20 {
					if h, err := l.Reserve(ctx, big()); err == nil {
						_, _ = l.Settle(ctx, h, settled(1))
					}
				}
			})
			if i%2 == 0 {
				wg.Go(func() { _, _ = l.Rearm(ctx, acme) })
			}
		}
		wg.Wait()
		for i, l := range list {
			h, err := l.Reserve(ctx, big())
			if err != nil {
				t.Fatalf("round %d, process %d: %v", round, i, err)
			}
			must(t, l.Release(ctx, h, true))
		}
	}
}

// The largest numbers.
func TestAttackLargest(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 1)
	own := ledger.Budget{Name: "big", Meter: cost.Spend, Currency: "USD", Limit: cost.Max, Window: cost.Lifetime}
	for _, w := range []cost.Window{cost.Lifetime, cost.Rolling(time.Hour), cost.Day} {
		own.Name, own.Window = "big"+string(w), w
		req := func(n int64) ledger.Request {
			r := pay(n)
			r.Budgets = []ledger.Budget{own}
			return r
		}
		admit(t, l, req(cost.Max-1))
		for _, n := range []int64{2, 3, cost.Max} {
			_, err := l.Reserve(ctx, req(n))
			denied(t, err, reason.BudgetExceeded)
		}
		for _, n := range []int64{-1, cost.Max + 1} {
			if _, err := l.Reserve(ctx, req(n)); err == nil {
				t.Errorf("%d admitted", n)
			}
		}
		admit(t, l, req(1))
		_, err := l.Reserve(ctx, req(1))
		denied(t, err, reason.BudgetExceeded)
	}
}

// Names that could be taken for each other's counters.
func TestAttackNames(t *testing.T) {
	rdb := client(t, redistest.Start(t))
	l := opened(t, rdb, 1)
	names := []ledger.Budget{{Name: "x"}, {Name: "?x"}, {Name: "=?x"}, {Name: "@1:ax"}, {Name: "x", Of: "a"}, {Name: "=x"}, {Name: "==x"},
		{Name: "x", Observed: true}, {Name: "x", Of: "a", Observed: true}, {Name: "?@1:ax"}, {Name: "0:x"}, {Name: "x", Of: "a:x"}, {Name: ":xx", Of: "a"}}
	for i, b := range names {
		b.Meter, b.Currency, b.Limit, b.Window = cost.Spend, "USD", 1000, cost.Day
		names[i] = b
		r := pay(int64(i + 1))
		r.Budgets = []ledger.Budget{b}
		must(t, second(l.Settle(ctx, admit(t, l, r), settled(int64(i+1)))))
	}
	st, err := l.Balance(ctx, acme, "k", names)
	must(t, err)
	for i, s := range st {
		if s.Spent != int64(i+1) {
			t.Errorf("%+v has spent %d, want %d", names[i], s.Spent, i+1)
		}
	}
}

// InDoubt skips holds when others are settled between its pages.
func TestAttackInDoubtSkips(t *testing.T) {
	addr := redistest.Start(t)
	rdb := client(t, addr)
	l := opened(t, rdb, 100000)
	var hs []ledger.Hold
	for range 450 {
		r := pay(1)
		r.Budgets = []ledger.Budget{purse(100000)}
		h := admit(t, l, r)
		must(t, second(l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Doubt})))
		hs = append(hs, h)
	}
	reader := client(t, addr)
	once := sync.Once{}
	h := &between{after: "hgetall"}
	h.do = func() {
		once.Do(func() {
			first := rdb.ZRangeByScore(ctx, "kb:{acme}:open", &redis.ZRangeBy{Min: "-inf", Max: "+inf", Count: 100}).Val()
			for _, id := range first {
				for _, x := range hs {
					if x.ID == id {
						must(t, second(l.Settle(ctx, x, settled(1))))
					}
				}
			}
		})
	}
	reader.AddHook(h)
	got, err := made(t, reader, nil).InDoubt(ctx, acme)
	must(t, err)
	have := map[string]bool{}
	for _, g := range got {
		have[g.ID] = true
	}
	missing := 0
	for _, x := range hs {
		now, _ := l.Find(ctx, acme, x.ID)
		if now.Phase == ledger.Doubt && !have[x.ID] {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d holds were in doubt all the while and are not listed", missing)
	}
}
