package redisledger_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
)

// FuzzArguments takes arbitrary names and amounts through a real Redis. Either the ledger says an error, and then nothing
// has changed in the store, or it answers and books exactly as the reference does; and no key is outside the tenant's slot.
func FuzzArguments(f *testing.F) {
	add := func(names hostileNames, n hostileAmounts) {
		f.Add(names.tenant, names.other, names.key, names.id, names.nonce, names.operation, names.own, names.of, names.shared,
			names.object, names.claim, names.fingerprint, names.control, names.memo, n.reserve, n.actual, n.adjusted, n.limit, n.deadline, n.kind)
	}
	plain := hostileNames{"acme", "umbra", "k1", "r1", "n1", "v.a.b", "life", "child", "team", "pi_1", "c1", "f1", "run:x", "memo"}
	add(plain, hostileAmounts{10, 7, 3, 100, 60_000_000, 0})
	for i, odd := range []string{"", "}", "{acme}", "{*}", "*", "%", "a:b", "a}:k:k1", "a\nb", "a\r\n*1\r\n$8\r\nFLUSHALL", "\x00", "\xff", "\ufffd", "\u2028", "nan", "inf", "-1", "1e309", "9007199254740993", "?x", "@1:ax", "=x", strings.Repeat("n", 300), `"`, `\`, "\ud7ff", "cjson.null"} {
		names := hostileNames{odd, odd + "2", odd + "3", odd + "4", odd, odd, odd, odd, odd, odd, odd, odd, odd, odd}
		if odd == "" {
			names.other = ""
		}
		add(names, hostileAmounts{10, 7, 3, 100, 60_000_000, byte(i)})
	}
	for i, n := range []int64{0, -1, 1, cost.Max, cost.Max + 1, cost.Max - 1, 1<<53 + 1, 1<<63 - 1, -1 << 63, 1 << 32, 99_999_999_999_999} {
		add(plain, hostileAmounts{n, n, n, n, n, byte(i)})
		add(plain, hostileAmounts{n, 7, 0, cost.Max, 1, byte(i)})
		add(plain, hostileAmounts{1, n, 7, cost.Max, n, byte(i)})
	}
	rdb := client(f, redistest.Start(f))
	f.Fuzz(func(t *testing.T, tenant, other, key, id, nonce, operation, own, of, shared, object, claim, fingerprint, control, memo string, reserve, actual, adjusted, limit, deadline int64, kind byte) {
		flush(t, rdb)
		clock := ledgertest.NewClock()
		model, real := memory.New(), redisledger.New(rdb, &redisledger.Options{Now: clock.Now, Timeout: 20 * time.Second})
		defer real.Close()
		model.Now = clock.Now
		b := &both{T: t, model: model, real: real, names: hostileNames{tenant, other, key, id, nonce, operation, own, of, shared, object, claim, fingerprint, control, memo},
			amounts: hostileAmounts{reserve, actual, adjusted, limit, deadline, kind}, now: clock.Now()}
		b.store = func() map[string]string {
			all := map[string]string{}
			names, err := rdb.Keys(ctx, "*").Result()
			must(t, err)
			for _, name := range names {
				text, err := rdb.Dump(ctx, name).Result()
				must(t, err)
				all[name] = text
			}
			return all
		}
		b.tell()
		b.slots()
	})
}

type hostileNames struct {
	tenant, other, key, id, nonce, operation, own, of, shared, object, claim, fingerprint, control, memo string
}

type hostileAmounts struct {
	reserve, actual, adjusted, limit, deadline int64
	kind                                       byte // which meter, window and options
}

// both are two ledgers that are told the same.
type both struct {
	*testing.T
	model   ledger.Ledger
	real    *redisledger.Ledger
	names   hostileNames
	amounts hostileAmounts
	now     time.Time
	store   func() map[string]string
}

// do tells Redis, then the reference. It reports false after an error of Redis's that is no verdict.
func (b *both) do(what string, tell func(l ledger.Ledger, i int) (any, error)) bool {
	b.Helper()
	before := b.store()
	result, err := tell(b.real, 1)
	got := answer{Err: verdict(err), Result: result}
	if got.Err == "other" {
		after := b.store()
		for _, m := range []map[string]string{before, after} {
			maps.DeleteFunc(m, func(name, _ string) bool { return strings.HasSuffix(name, "}:m") }) // what was seen, not what is booked
		}
		if !maps.Equal(before, after) {
			b.Fatalf("%s: %v, and the store has changed from %q to %q", what, err, before, after)
		}
		return false
	}
	if d := (*ledger.Denied)(nil); errors.As(err, &d) {
		got.Short = needs(d.Shortfalls)
	}
	result, err = tell(b.model, 0)
	want := answer{Err: verdict(err), Result: result}
	if d := (*ledger.Denied)(nil); errors.As(err, &d) {
		want.Short = needs(d.Shortfalls)
	}
	if !reflect.DeepEqual(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)) {
		b.Fatalf("%s\nreference: %q, %v\nredis:     %q", what, fmt.Sprintf("%+v", want), err, fmt.Sprintf("%+v", got))
	}
	return true
}

// verdict is what a caller can tell of an error. An amount out of range is one: it leaves a hold in doubt.
func verdict(err error) string {
	if errors.Is(err, cost.ErrRange) {
		return "out of range"
	}
	return class(err)
}

func (b *both) tell() {
	n, a := b.names, b.amounts
	line := cost.Line{Meter: cost.Charge, Currency: "USD", Amount: a.reserve}
	meter, currency := cost.Spend, cost.Currency("USD")
	if a.kind&1 != 0 {
		line, meter, currency = cost.Line{Meter: cost.Units, Amount: a.reserve}, cost.Units, ""
	}
	with := func(amount int64) []cost.Line {
		l := line
		l.Amount = amount
		return []cost.Line{l}
	}
	window := []cost.Window{cost.Lifetime, cost.Day, cost.Rolling(7 * time.Hour), cost.Month}[a.kind>>1&3]
	own := ledger.Budget{Name: n.own, Of: n.of, Meter: meter, Currency: currency, Limit: a.limit, Window: window, Observed: a.kind&8 != 0}
	shared := ledger.Budget{Name: n.shared, Meter: meter, Currency: currency, Limit: a.limit, Window: window, AlertAt: []int{50}}
	budgets := []ledger.Budget{own, {Name: n.shared, Shared: true, Limit: ledger.NoLimit}}
	for _, like := range []ledger.Budget{{Name: n.own}, {Name: "?" + n.own}, {Name: n.of + n.own}, {Name: n.own, Of: n.of + n.own}} { // and count nothing
		like.Meter, like.Currency, like.Limit, like.Window, like.Operations = meter, currency, cost.Max, window, []cost.Pattern{"nobody.calls.this"}
		if !slices.ContainsFunc(budgets, func(b ledger.Budget) bool { return b.Name == like.Name && b.Of == like.Of && !b.Shared }) {
			budgets = append(budgets, like)
		}
	}
	balance := func(tenant string) bool {
		return b.do("balance of "+tenant, func(l ledger.Ledger, _ int) (any, error) {
			states, err := l.Balance(ctx, tenant, n.key, budgets)
			return told(states), err
		})
	}
	for _, tenant := range []string{n.tenant, n.other} {
		if !b.do("open", func(l ledger.Ledger, _ int) (any, error) {
			return nil, l.Open(ctx, ledger.Key{Tenant: tenant, ID: n.key, Expires: b.now.Add(1000 * time.Hour)})
		}) || !b.do("set budget", func(l ledger.Ledger, _ int) (any, error) { return nil, l.SetBudget(ctx, tenant, shared) }) || !balance(tenant) {
			return
		}
	}
	var holds [2]ledger.Hold
	r := ledger.Request{
		Tenant: n.tenant, ID: n.id, Nonce: n.nonce, Key: n.key, Expires: b.now.Add(time.Hour), Controls: []string{"key:" + n.key, n.control}, Operation: n.operation,
		Lines: append(with(a.reserve), cost.Line{Meter: cost.Calls, Amount: 1}), Budgets: budgets, Deadline: time.Duration(uint64(a.deadline)%(1<<40)) * time.Microsecond, Memo: n.memo,
	}
	if a.kind&16 != 0 {
		r.Object = n.object
	}
	if a.kind&32 != 0 {
		r.Claim = &ledger.Claim{ID: n.claim, Fingerprint: n.fingerprint, Memory: 23 * time.Hour}
	}
	if a.kind&64 != 0 {
		r.Repeat = &ledger.Repeat{ID: n.claim, Most: 2, Window: time.Hour}
	}
	took := b.do(fmt.Sprintf("reserve %+v", r), func(l ledger.Ledger, i int) (any, error) {
		h, err := l.Reserve(ctx, r)
		holds[i] = h
		return []any{plain(h), needs(h.Would)}, err
	})
	if !took || holds[0].ID == "" || !balance(n.tenant) || !balance(n.other) {
		return
	}
	look := func() bool {
		return b.do("look", func(l ledger.Ledger, _ int) (any, error) {
			found, err := l.Find(ctx, n.tenant, n.id)
			if err != nil {
				return nil, err
			}
			open, err := l.Unsettled(ctx, n.tenant, n.control)
			var all []any
			for _, h := range append(open, found) {
				all = append(all, plain(h))
			}
			return all, err
		})
	}
	phase := []ledger.Phase{ledger.Settled, ledger.Doubt}[a.kind>>7]
	ok := look() && b.do("settle", func(l ledger.Ledger, i int) (any, error) {
		rec, err := l.Settle(ctx, holds[i], ledger.Settlement{Phase: phase, Actual: with(a.actual), Memo: n.memo})
		return []any{rec.Over, rec.Strays, current(rec.States)}, err
	}) && balance(n.tenant) && look() && b.do("adjust", func(l ledger.Ledger, _ int) (any, error) {
		rec, err := l.Adjust(ctx, n.tenant, n.id, ledger.Adjustment{ID: n.nonce, Actual: with(a.adjusted), Reason: strings.ToValidUTF8(n.memo, "\ufffd")})
		return []any{rec.Over, rec.Strays, current(rec.States)}, err
	}) && balance(n.tenant) && look()
	if ok {
		_ = balance(n.other)
	}
}

// slots says that every key in the store is one of the two tenants' or global, by the hash tag that decides on which machine
// of a cluster it lies.
func (b *both) slots() {
	tags := map[string]bool{"*": true}
	var found []string
	for name := range b.store() {
		_, rest, ok := strings.Cut(name, "{")
		tag, _, closed := strings.Cut(rest, "}")
		if !ok || !closed || tag == "" || !strings.HasPrefix(name, "kb:{") {
			b.Fatalf("key %q has no hash tag", name)
		}
		if !tags[tag] {
			tags[tag] = true
			found = append(found, tag)
		}
	}
	want := []string{b.names.tenant, b.names.other}
	slices.Sort(want)
	if most := len(slices.Compact(want)); len(found) > most {
		b.Fatalf("%d tenants have keys under the tags %q", most, found)
	}
}
