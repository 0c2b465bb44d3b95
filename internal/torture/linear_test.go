package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/internal/respproxy"
	"github.com/keybrake/keybrake-go/ledger"
)

func TestMain(m *testing.M) {
	setup := os.Getenv(childEnv)
	if setup == "" {
		os.Exit(m.Run())
	}
	if err := runChild(setup); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// seeds are fixed ones and one of today, and twenty times as many in the long form.
func seeds(t *testing.T, n int) []uint64 {
	t.Helper()
	if os.Getenv("KEYBRAKE_LONG") != "" {
		n *= 20
	}
	var out []uint64
	for i := range n - 1 {
		out = append(out, uint64(i+1))
	}
	today := rand.Uint64()
	t.Logf("random seed %d", today)
	return append(out, today)
}

// opened is a ledger that ends with the test.
func opened(t *testing.T, s Setup) ledger.Ledger {
	t.Helper()
	l, end := s.open()
	t.Cleanup(func() { must(t, end()) })
	return l
}

func doer(l ledger.Ledger) Doer {
	return func(op Op) Answer { return op.Do(context.Background(), l) }
}

// linear drives a tenant and fails unless its history can be put in order.
func linear(t *testing.T, d *Drive, wait time.Duration) {
	t.Helper()
	h := newHistory(d.Tenant, wait)
	d.run(h)
	began := time.Now()
	wrong, done := h.check(time.Minute)
	switch {
	case !done:
		t.Errorf("seed %d: no verdict on %d operations within a minute", d.Seed, h.size())
	case wrong != "":
		t.Errorf("seed %d: %s  the whole history: %s", d.Seed, wrong, h.write())
	}
	t.Logf("seed %d: %d operations, checked in %v", d.Seed, h.size(), time.Since(began).Round(time.Millisecond))
}

func TestRedisIsLinearizable(t *testing.T) {
	s := Setup{Redis: redistest.Start(t), Timeout: 10 * time.Second, Wait: 10 * time.Second}
	a, b := doer(opened(t, s)), doer(opened(t, s))
	for i, seed := range seeds(t, 12) {
		tenant := fmt.Sprintf("t%d", i)
		must(t, furnish(t.Context(), opened(t, s), tenant))
		linear(t, &Drive{Seed: seed, Tenant: tenant, Clients: []Doer{a, a, a, b, b, b}, Steps: 60, Final: true}, 0)
	}
}

func TestRedisIsLinearizableOverAFaultyConnection(t *testing.T) {
	const wait = 30 * time.Millisecond
	direct := Setup{Redis: redistest.Start(t), Timeout: 10 * time.Second, Wait: 10 * time.Second}
	proxy, err := respproxy.Start(direct.Redis, nil)
	must(t, err)
	t.Cleanup(func() { must(t, proxy.Close()) })
	far := Setup{Redis: proxy.Addr(), Timeout: 5 * wait, Wait: wait}
	a, b := doer(opened(t, far)), doer(opened(t, far))
	for i, seed := range seeds(t, 12) {
		tenant := fmt.Sprintf("t%d", i)
		must(t, furnish(t.Context(), opened(t, direct), tenant))
		proxy.Plan(respproxy.Random(seed, 8, 3*wait, respproxy.Kinds...))
		linear(t, &Drive{Seed: seed, Tenant: tenant, Clients: []Doer{a, a, b, b}, Steps: 40, Final: true}, wait)
	}
	t.Log(proxy.Counts())
}

func TestTwoLedgersOnOneFileAreLinearizable(t *testing.T) {
	s := Setup{File: filepath.Join(t.TempDir(), "ledger.db"), Timeout: 30 * time.Second}
	a, b := opened(t, s), opened(t, s)
	for i, seed := range seeds(t, 4) {
		tenant := fmt.Sprintf("t%d", i)
		must(t, furnish(t.Context(), a, tenant))
		linear(t, &Drive{Seed: seed, Tenant: tenant, Clients: []Doer{doer(a), doer(a), doer(b), doer(b)}, Steps: 40, Final: true}, 0)
	}
}

// Another process that shares the ledger is killed again and again in the middle of what it does, and started anew.
func TestAProcessThatIsKilledLeavesALinearizableLedger(t *testing.T) {
	for name, s := range map[string]Setup{
		"redis":  {Redis: redistest.Start(t), Timeout: 10 * time.Second, Wait: 10 * time.Second},
		"sqlite": {File: filepath.Join(t.TempDir(), "ledger.db"), Timeout: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			here := opened(t, s)
			for i, seed := range seeds(t, 2) {
				tenant := fmt.Sprintf("t%d", i)
				must(t, furnish(t.Context(), here, tenant))
				m := &mortal{setup: s, seed: seed, every: 25}
				must(t, m.start())
				do := doer(here)
				linear(t, &Drive{Seed: seed, Tenant: tenant, Clients: []Doer{do, do, m.Do, m.Do, m.Do}, Steps: 50}, 0)
				m.end()
				if m.err != nil || m.deaths < 2 {
					t.Errorf("killed %d times: %v", m.deaths, m.err)
				}
			}
		})
	}
}
