package redisledger_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
)

// The sizing table of docs/ledger.md is what the server says. go test -v prints what it says now.
func TestTheSizingTableIsWhatTheServerSays(t *testing.T) {
	doc, err := os.ReadFile("../../docs/ledger.md")
	must(t, err)
	rdb := client(t, redistest.Start(t))
	openSize, settledSize := 0, 0
	for _, row := range []struct {
		what string
		make func(l *redisledger.Ledger)
	}{
		{"an issued key", func(l *redisledger.Ledger) {
			must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: "k2" + strings.Repeat("x", 25), Expires: time.Now().Add(time.Hour)}))
		}},
		{"its first budget", func(l *redisledger.Ledger) { must(t, l.Release(ctx, admit(t, l, sized(1)), true)) }},
		{"four budgets", func(l *redisledger.Ledger) { must(t, l.Release(ctx, admit(t, l, sized(4)), true)) }},
		{"a rolling budget in all its slots", func(l *redisledger.Ledger) { rollOn(t, rdb, 61) }},
		{"a shared budget", func(l *redisledger.Ledger) {
			b := team(500_000_000)
			b.Name, b.Window, b.Zone = "team:support", cost.Day, "Europe/Berlin"
			must(t, l.SetBudget(ctx, acme, b))
		}},
		{"an open reservation in one budget", func(l *redisledger.Ledger) { admit(t, l, sized(1)) }},
		{"an open reservation in four budgets", func(l *redisledger.Ledger) { admit(t, l, sized(4)) }},
		{"a settled reservation in one budget", func(l *redisledger.Ledger) {
			r := sized(1)
			_, err := l.Settle(ctx, admit(t, l, r), ledger.Settlement{Phase: ledger.Settled, Actual: r.Lines})
			must(t, err)
		}},
		{"its memo of 1,500 bytes", func(l *redisledger.Ledger) {
			r := sized(1)
			_, err := l.Settle(ctx, admit(t, l, r), ledger.Settlement{Phase: ledger.Settled, Actual: r.Lines, Memo: strings.Repeat("m", 1500)})
			must(t, err)
		}},
		{"an idempotency claim", func(l *redisledger.Ledger) {
			r := sized(1)
			r.Claim = &ledger.Claim{ID: strings.Repeat("c", 64), Fingerprint: strings.Repeat("f", 64), Memory: 23 * time.Hour}
			admit(t, l, r)
		}},
		{"a repeat rule's call", func(l *redisledger.Ledger) {
			r := sized(1)
			r.Repeat = &ledger.Repeat{ID: strings.Repeat("i", 64), Most: 3, Window: time.Hour}
			admit(t, l, r)
		}},
		{"a lease", func(l *redisledger.Ledger) {
			_, err := l.Lease(ctx, acme, sized(1).ID, strings.Repeat("h", 26), time.Minute)
			must(t, err)
		}},
		{"a kept answer of 4,000 bytes", func(l *redisledger.Ledger) {
			must(t, l.Keep(ctx, acme, strings.Repeat("c", 64), make([]byte, 4000), time.Hour))
		}},
		{"a revoke", func(l *redisledger.Ledger) {
			_, err := l.Control(ctx, ledger.Control{Verb: ledger.Revoke, Tenant: acme, Run: "run_of_an_agent_42", Reason: "it refunds the wrong orders"})
			must(t, err)
		}},
	} {
		must(t, rdb.FlushAll(ctx).Err())
		l := redisledger.New(rdb, nil)
		must(t, l.Open(ctx, ledger.Key{Tenant: acme, ID: sized(1).Key, Expires: time.Now().Add(time.Hour)}))
		switch row.what { // what comes on top of an open reservation, or of its budgets
		case "an idempotency claim", "a repeat rule's call", "an open reservation in one budget", "a settled reservation in one budget", "its memo of 1,500 bytes":
			must(t, l.Release(ctx, admit(t, l, sized(1)), true))
		case "an open reservation in four budgets":
			must(t, l.Release(ctx, admit(t, l, sized(4)), true))
		}
		if row.what == "an idempotency claim" || row.what == "a repeat rule's call" {
			admit(t, l, sized(1))
		}
		must(t, forgetReleased(rdb))
		before := stored(t, rdb)
		row.make(l)
		must(t, forgetReleased(rdb))
		got := stored(t, rdb) - before
		if row.what == "an idempotency claim" || row.what == "a repeat rule's call" {
			got -= openSize // the reservation that it came with
		}
		switch row.what {
		case "an open reservation in one budget":
			openSize = got
		case "a settled reservation in one budget":
			settledSize = got
		case "its memo of 1,500 bytes":
			got -= settledSize
		}
		t.Logf("| %s | %d |", row.what, got)
		m := regexp.MustCompile(`\| ` + regexp.QuoteMeta(row.what) + ` \| ([0-9,]+) \|`).FindSubmatch(doc)
		if m == nil {
			t.Errorf("docs/ledger.md does not say how many bytes %s takes", row.what)
			continue
		}
		said, err := strconv.Atoi(strings.ReplaceAll(string(m[1]), ",", ""))
		must(t, err)
		if got < said*7/10 || got > said*13/10 {
			t.Errorf("%s takes %d bytes, docs/ledger.md says %d", row.what, got, said)
		}
	}
}

// sized is a call as the brake makes one, with ids of its length, under n budgets of the key's own.
func sized(n int) ledger.Request {
	id := fmt.Sprintf("%026d", ids.Add(1))
	r := ledger.Request{
		Tenant: acme, ID: "r" + id, Nonce: "n" + id, Key: "k" + strings.Repeat("x", 26), Expires: time.Now().Add(time.Hour),
		Operation: "stripe.refunds.create", Lines: append(usd(20_000_000), cost.Line{Meter: cost.Calls, Amount: 1}), Deadline: time.Minute,
	}
	r.Controls = ledger.Names(r.Key, "refund-bot", "run_of_an_agent_42", []string{"nightly"}, "stripe")
	all := []ledger.Budget{purse(80_000_000_000), purse(500_000_000_000), purse(900_000_000_000), {Name: "lifetime 150 calls", Meter: cost.Calls, Limit: 1e9, Window: cost.Lifetime}}
	for i, name := range []string{"lifetime 80000.00 USD", "daily 500000.00 USD", "monthly 900000.00 USD"} {
		all[i].Name = name
	}
	all[1].Window, all[2].Window = cost.Day, cost.Month
	r.Budgets = all[:n]
	return r
}

// rollOn makes a call in each of n slots of a rolling budget, and forgets the reservations.
func rollOn(t *testing.T, rdb *redis.Client, n int) {
	t.Helper()
	now := time.Now()
	l := redisledger.New(rdb, &redisledger.Options{Now: func() time.Time { return now }})
	for range n {
		r := sized(1)
		r.Expires = now.Add(time.Hour)
		r.Budgets[0].Window, r.Budgets[0].Name = cost.Rolling(24*time.Hour), "rolling 24h 80000.00 USD"
		_, err := l.Settle(ctx, admit(t, l, r), ledger.Settlement{Phase: ledger.Settled, Actual: r.Lines})
		must(t, err)
		must(t, rdb.Del(ctx, "kb:{"+acme+"}:r:"+r.ID).Err())
		now = now.Add(24 * time.Minute)
	}
}

// forgetReleased takes away what is left of reservations that were released, which goes by itself a day later.
func forgetReleased(rdb *redis.Client) error {
	keys, err := rdb.Keys(ctx, "kb:{"+acme+"}:r:*").Result()
	if err != nil {
		return err
	}
	for _, k := range keys {
		if rdb.HGet(ctx, k, "p").Val() == string(ledger.Released) {
			if err := rdb.Del(ctx, k).Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// stored is how many bytes the server's keys take.
func stored(t *testing.T, rdb *redis.Client) (sum int) {
	t.Helper()
	keys, err := rdb.Keys(ctx, "*").Result()
	must(t, err)
	for _, k := range keys {
		n, err := rdb.MemoryUsage(ctx, k, 0).Result()
		must(t, err)
		sum += int(n)
	}
	return sum
}
