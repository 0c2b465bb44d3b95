package ledgertest_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
)

func init() {
	mutants = append(mutants,
		mutant{"lease", "gives a lease to whoever asks", func(b base) ledger.Ledger { return generous{b} }},
		mutant{"lease", "never ends a lease", func(b base) ledger.Ledger { return timeless{b} }},
		mutant{"lease-again", "only ever lengthens a lease", func(b base) ledger.Ledger { return newLongest(b) }},
		mutant{"lease-up", "lets anyone give a lease up", func(b base) ledger.Ledger { return trespassing{b, map[string]string{}} }},
		mutant{"lease-up", "lets nobody give a lease up", func(b base) ledger.Ledger { return clinging{b} }},
		mutant{"lease-apart", "leases across tenants", func(b base) ledger.Ledger { return worldwide{b} }},
		mutant{"lease-apart", "takes nobody for a holder", func(b base) ledger.Ledger { return nobodys{b} }},
		mutant{"lease-race", "looks who has a lease, then gives it", func(b base) ledger.Ledger { return newSlowLease(b) }},
		mutant{"lease-books", "writes leases into reservations of their name", func(b base) ledger.Ledger { return entangled{b} }},
		mutant{"keep", "keeps text that is UTF-8 alone", func(b base) ledger.Ledger { return textual{b} }},
		mutant{"keep", "never forgets a text", func(b base) ledger.Ledger { return timeless{b} }},
		mutant{"keep", "takes an empty text for none", func(b base) ledger.Ledger { return emptyIsNone{b} }},
		mutant{"keep-newest", "keeps the first text of a name", func(b base) ledger.Ledger { return firstText{b} }},
		mutant{"keep-size", "cuts a text that is too long", func(b base) ledger.Ledger { return cutting{b} }},
		mutant{"keep-size", "drops what was there for a text that it refuses", func(b base) ledger.Ledger { return dropping{b} }},
		mutant{"keep-apart", "keeps texts across tenants", func(b base) ledger.Ledger { return worldwide{b} }},
	)
}

type generous struct{ base }

func (m generous) Lease(context.Context, string, string, string, time.Duration) (bool, error) {
	return true, nil
}

type timeless struct{ base }

func (m timeless) Lease(ctx context.Context, t, name, holder string, d time.Duration) (bool, error) {
	return m.base.Lease(ctx, t, name, holder, 1000*d)
}

func (m timeless) Keep(ctx context.Context, t, name string, text []byte, d time.Duration) error {
	return m.base.Keep(ctx, t, name, text, 1000*d)
}

type longest struct {
	base
	ends map[string]time.Time
}

func newLongest(b base) longest { return longest{b, map[string]time.Time{}} }

func (m longest) Lease(ctx context.Context, t, name, holder string, d time.Duration) (bool, error) {
	if had := m.ends[holder].Sub(m.clock.Now()); d > 0 && had > d {
		d = had
	}
	m.ends[holder] = m.clock.Now().Add(d)
	return m.base.Lease(ctx, t, name, holder, d)
}

type trespassing struct {
	base
	had map[string]string
}

func (m trespassing) Lease(ctx context.Context, t, name, holder string, d time.Duration) (bool, error) {
	if d == 0 && m.had[name] != "" {
		return m.base.Lease(ctx, t, name, m.had[name], 0)
	}
	ok, err := m.base.Lease(ctx, t, name, holder, d)
	if ok {
		m.had[name] = holder
	}
	return ok, err
}

type clinging struct{ base }

func (m clinging) Lease(ctx context.Context, t, name, holder string, d time.Duration) (bool, error) {
	return m.base.Lease(ctx, t, name, holder, max(d, time.Microsecond))
}

type worldwide struct{ base }

func (m worldwide) Lease(ctx context.Context, _, name, holder string, d time.Duration) (bool, error) {
	return m.base.Lease(ctx, "", name, holder, d)
}

func (m worldwide) Keep(ctx context.Context, _, name string, text []byte, d time.Duration) error {
	return m.base.Keep(ctx, "", name, text, d)
}

func (m worldwide) Kept(ctx context.Context, _, name string) ([]byte, error) {
	return m.base.Kept(ctx, "", name)
}

type nobodys struct{ base }

func (m nobodys) Lease(ctx context.Context, t, name, holder string, d time.Duration) (bool, error) {
	return m.base.Lease(ctx, t, name, holder+"!", d)
}

// slowLease has leases of its own, and takes a moment between looking and writing.
type slowLease struct {
	base
	mu  *sync.Mutex
	has map[string]string
}

func newSlowLease(b base) slowLease { return slowLease{b, &sync.Mutex{}, map[string]string{}} }

func (m slowLease) Lease(_ context.Context, _, name, holder string, _ time.Duration) (bool, error) {
	m.mu.Lock()
	has := m.has[name]
	m.mu.Unlock()
	if has != "" {
		return has == holder, nil
	}
	time.Sleep(time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.has[name] = holder
	return true, nil
}

type entangled struct{ base }

func (m entangled) Lease(ctx context.Context, t, name, holder string, d time.Duration) (bool, error) {
	if h, err := m.Find(ctx, t, name); err == nil {
		_, _ = m.Settle(ctx, h, ledger.Settlement{Phase: ledger.Doubt, Memo: holder})
	}
	return m.base.Lease(ctx, t, name, holder, d)
}

type textual struct{ base }

func (m textual) Keep(ctx context.Context, t, name string, text []byte, d time.Duration) error {
	return m.base.Keep(ctx, t, name, bytes.ToValidUTF8(text, []byte("\ufffd")), d)
}

type emptyIsNone struct{ base }

func (m emptyIsNone) Kept(ctx context.Context, t, name string) ([]byte, error) {
	text, err := m.base.Kept(ctx, t, name)
	if len(text) == 0 {
		text = nil
	}
	return text, err
}

type firstText struct{ base }

func (m firstText) Keep(ctx context.Context, t, name string, text []byte, d time.Duration) error {
	if first, err := m.Kept(ctx, t, name); err == nil && first != nil && d > 0 {
		text = first
	}
	return m.base.Keep(ctx, t, name, text, d)
}

type cutting struct{ base }

func (m cutting) Keep(ctx context.Context, t, name string, text []byte, d time.Duration) error {
	return m.base.Keep(ctx, t, name, text[:min(len(text), ledger.MostKept)], d)
}

type dropping struct{ base }

func (m dropping) Keep(ctx context.Context, t, name string, text []byte, d time.Duration) error {
	err := m.base.Keep(ctx, t, name, text, d)
	if err != nil {
		_ = m.base.Keep(ctx, t, name, nil, 0)
	}
	return err
}

// plainLedger has nothing of what the contract leaves open.
type plainLedger struct{ ledger.Ledger }

func TestALedgerNeedsNoLeasesNoTextsAndNoWatch(t *testing.T) {
	err := ledgertest.Test(func(c *ledgertest.Clock) (ledger.Ledger, func(), error) { return plainLedger{reference(c)}, nil, nil })
	if err != nil {
		t.Fatal(err)
	}
}
