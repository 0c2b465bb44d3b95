package ledgertest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/reason"
)

// A mutant is a memory ledger that is broken in one way. It overrides the verbs in which it is broken; the rest
// is the reference. The law that it is named for must catch it: being caught by another alone is luck, and the
// next broken ledger of its kind would not be.
type mutant struct {
	law  string
	what string
	make func(b base) ledger.Ledger
}

// base is the reference and its clock. Each mutant embeds it.
type base struct {
	*memory.Ledger
	clock *ledgertest.Clock
}

var mutants = []mutant{
	{"race", "checks, then sets", func(b base) ledger.Ledger { return racy{b} }},
	{"limit", "admits one unit above the limit", func(b base) ledger.Ledger { return overOne{b} }},
	{"spent-counts", "forgets what is spent, counting only what is held", func(b base) ledger.Ledger { return spendless{b} }},
	{"whole", "clips a call to what is left", func(b base) ledger.Ledger { return clipping{b} }},
	{"all-or-nothing", "holds budget by budget and keeps those that fitted", func(b base) ledger.Ledger { return oneByOne{b} }},
	{"every-shortfall", "stops at the first budget that is short", func(b base) ledger.Ledger { return firstShort{b} }},
	{"doubt-holds", "gives back what is in doubt", func(b base) ledger.Ledger { return doubtFree{b} }},
	{"deadline-holds", "gives back what is past its deadline", func(b base) ledger.Ledger { return expiring{b} }},
	{"settle-twice", "books a repeated settle again", func(b base) ledger.Ledger { return twice{b, map[string]bool{}} }},
	{"settle-other", "takes the last settle for the truth", func(b base) ledger.Ledger { return lastWord{b} }},
	{"settle-more", "clips an actual to what was held", func(b base) ledger.Ledger { return settleClip{b} }},
	{"settle-full", "refuses a settle above the limit", func(b base) ledger.Ledger { return strictSettle{b} }},
	{"freeze", "does not freeze", func(b base) ledger.Ledger { return thawing{b} }},
	{"late-settle", "drops a settle that comes after the release", func(b base) ledger.Ledger { return dropLate{b} }},
	{"own-window", "settles in the window of now", func(b base) ledger.Ledger { return currentWindow{b} }},
	{"clock-back", "opens an old window again when the clock goes back", func(b base) ledger.Ledger { return newReopening(b) }},
	{"zone", "counts days in UTC whatever the budget's zone", func(b base) ledger.Ledger { return utc{b} }},
	{"lifetime", "resets a lifetime budget each month", func(b base) ledger.Ledger { return monthly{b} }},
	{"revoke", "does not look at revokes", func(b base) ledger.Ledger { return deaf{b, func(string) bool { return true }} }},
	{"revoke-final", "lets a resume undo a revoke", func(b base) ledger.Ledger { return undoing{b} }},
	{"pause-selectors", "does not look at labels", func(b base) ledger.Ledger {
		return deaf{b, func(n string) bool { return strings.HasPrefix(n, "label:") }}
	}},
	{"pause-wide", "a tenant's pause stops every tenant", func(b base) ledger.Ledger { return wideStop{b} }},
	{"control-later-keys", "controls bind only keys that are open", func(b base) ledger.Ledger { return newForgetful(b, false) }},
	{"control-later-tenants", "global controls bind only tenants that are open", func(b base) ledger.Ledger { return newForgetful(b, true) }},
	{"control-no-key", "takes a control of a key that it does not know", func(b base) ledger.Ledger { return anyKey{b} }},
	{"key-row", "opens a key that it does not know", func(b base) ledger.Ledger { return welcoming{b} }},
	{"expired", "does not look at the expiry", func(b base) ledger.Ledger { return eternal{b} }},
	{"missing-budget", "takes a missing row for an empty one", func(b base) ledger.Ledger { return emptyRow{b} }},
	{"revised", "starts at zero when the limit changes", func(b base) ledger.Ledger { return resetting{b, map[string]string{}} }},
	{"token-lowers", "lets a key raise a shared limit", func(b base) ledger.Ledger { return tokenRaises{b} }},
	{"two-keys", "counts a shared budget for each key", func(b base) ledger.Ledger { return keyEach{b} }},
	{"budget-fixed", "changes what a budget counts", func(b base) ledger.Ledger { return loose{b} }},
	{"replay", "counts a replay twice", func(b base) ledger.Ledger { return recount{b} }},
	{"other-nonce", "answers another attempt as if it were the first", func(b base) ledger.Ledger { return anyNonce{b} }},
	{"fingerprint", "attaches with another body", func(b base) ledger.Ledger { return anyBody{b} }},
	{"attach", "holds again for a retry", func(b base) ledger.Ledger { return claimless{b} }},
	{"attach-forgotten", "attaches however old the claim", func(b base) ledger.Ledger { return longMemory{b} }},
	{"attach-counted", "counts a retry that asks again", func(b base) ledger.Ledger { return countsReplays{b, map[string]int{}} }},
	{"release-attached", "releases what a retry has attached to", func(b base) ledger.Ledger { return freesAttached{b} }},
	{"release-stale", "takes a doubt as resolved by who saw it before a retry", func(b base) ledger.Ledger { return hasty{b} }},
	{"retry-release", "lets a retry's release give back the first attempt's hold", func(b base) ledger.Ledger { return retryFrees{b} }},
	{"release-retried", "gives back what a retry has settled as pending", func(b base) ledger.Ledger { return freesPending{b} }},
	{"release-void", "attaches to a call that was given back and left a level", func(b base) ledger.Ledger {
		return undead{b, map[string]string{}, map[string]string{}}
	}},
	{"retry-until", "does not say that a retry may run", func(b base) ledger.Ledger { return secretive{b} }},
	{"object-order", "lets an older reply end a newer hold", func(b base) ledger.Ledger { return lastReply{b, map[string]ledger.Hold{}} }},
	{"tombstone", "forgets a release that came before its reserve", func(b base) ledger.Ledger { return tombless{b} }},
	{"calls", "gives calls back though bytes have left", func(b base) ledger.Ledger { return callsBack{b} }},
	{"reads", "holds for a read", func(b base) ledger.Ledger { return heldReads{b} }},
	{"largest", "computes in single precision", func(b base) ledger.Ledger { return floats{b} }},
	{"overflow", "takes negative amounts", func(b base) ledger.Ledger { return negative{b} }},
	{"currency", "counts one currency as another", func(b base) ledger.Ledger { return parity{b} }},
	{"uncovered", "admits what no budget counts", func(b base) ledger.Ledger { return unbounded{b} }},
	{"stray", "drops cost that it does not know", func(b base) ledger.Ledger { return strayDrop{b} }},
	{"settle-zero", "takes the zero settlement for a settled nothing", func(b base) ledger.Ledger { return zeroSettles{b} }},
	{"object", "holds again at each step of an object", func(b base) ledger.Ledger { return objectless{b} }},
	{"object-undone", "gives the whole level back when a step was not executed", func(b base) ledger.Ledger { return undoAll{b} }},
	{"raise-once", "raises again", func(b base) ledger.Ledger { return reraise{b} }},
	{"raise-state", "does not look at the key when it raises", func(b base) ledger.Ledger { return blindRaise{b} }},
	{"in-doubt-list", "lists everything that is open", func(b base) ledger.Ledger { return lists{b} }},
}

func TestEveryMutantIsCaughtByItsLaw(t *testing.T) {
	laws := map[string]ledgertest.Law{}
	for _, l := range ledgertest.Laws() {
		if _, twice := laws[l.Name]; twice {
			t.Errorf("two laws are named %s", l.Name)
		}
		laws[l.Name] = l
	}
	for _, m := range mutants {
		t.Run(m.law, func(t *testing.T) {
			law, ok := laws[m.law]
			if !ok {
				t.Fatalf("no law %s, which the mutant that %s is named for", m.law, m.what)
			}
			broken := func(c *ledgertest.Clock) (ledger.Ledger, func(), error) { return m.make(reference(c)), nil, nil }
			if law.Check(broken) != nil {
				return
			}
			for _, l := range ledgertest.Laws() {
				if l.Check(broken) != nil {
					t.Fatalf("law %s does not catch a ledger that %s; %s does, by accident", m.law, m.what, l.Name)
				}
			}
			t.Fatalf("a ledger that %s survives", m.what)
		})
	}
}

func TestTheReferenceKeepsEveryLaw(t *testing.T) {
	err := ledgertest.Test(func(c *ledgertest.Clock) (ledger.Ledger, func(), error) { return reference(c), nil, nil })
	if err != nil {
		t.Fatal(err)
	}
}

func reference(c *ledgertest.Clock) base {
	l := memory.New()
	l.Now = c.Now
	return base{l, c}
}

var ctx = context.Background()

type racy struct{ base }

func (m racy) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if states, err := m.Balance(ctx, r.Tenant, r.Key, r.Budgets); err == nil {
		for _, s := range states {
			if need, _ := cost.Sum(r.Lines, s.Meter, s.Currency); need > s.Left() {
				return m.base.Reserve(ctx, r)
			}
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
		for _, b := range r.Budgets {
			if b.Shared {
				row, _ := m.Budget(ctx, r.Tenant, b.Name)
				limit := row.Limit
				row.Limit = cost.Max
				_ = m.SetBudget(ctx, r.Tenant, row)
				row.Limit = limit
				defer func() { _ = m.SetBudget(ctx, r.Tenant, row) }()
			}
		}
	}
	return m.base.Reserve(ctx, r)
}

type overOne struct{ base }

func (m overOne) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withBudgets(r, func(b *ledger.Budget) { b.Limit++ }))
}

// withBudgets returns r with its own budgets changed.
func withBudgets(r ledger.Request, change func(*ledger.Budget)) ledger.Request {
	r.Budgets = append([]ledger.Budget(nil), r.Budgets...)
	for i := range r.Budgets {
		if !r.Budgets[i].Shared {
			change(&r.Budgets[i])
		}
	}
	return r
}

// withLines returns r with its lines changed.
func withLines(r ledger.Request, change func(*cost.Line)) ledger.Request {
	r.Lines = append([]cost.Line(nil), r.Lines...)
	for i := range r.Lines {
		change(&r.Lines[i])
	}
	return r
}

type spendless struct{ base }

func (m spendless) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if states, err := m.Balance(ctx, r.Tenant, r.Key, r.Budgets); err == nil {
		spent := map[string]int64{}
		for _, s := range states {
			spent[s.Name] = s.Spent
		}
		r = withBudgets(r, func(b *ledger.Budget) { b.Limit += spent[b.Name] })
	}
	return m.base.Reserve(ctx, r)
}

type clipping struct{ base }

func (m clipping) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := m.base.Reserve(ctx, r)
	if d := (*ledger.Denied)(nil); errors.As(err, &d) && len(d.Shortfalls) == 1 {
		return m.base.Reserve(ctx, withLines(r, func(l *cost.Line) { l.Amount = min(l.Amount, d.Shortfalls[0].Left()) }))
	}
	return h, err
}

type oneByOne struct{ base }

func (m oneByOne) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := m.base.Reserve(ctx, r)
	if d := (*ledger.Denied)(nil); errors.As(err, &d) && len(d.Shortfalls) == 1 && len(r.Budgets) > 1 {
		for _, b := range r.Budgets {
			if b.Name != d.Shortfalls[0].Name {
				part := r
				part.ID, part.Budgets = r.ID+b.Name, []ledger.Budget{b}
				_, _ = m.base.Reserve(ctx, part)
			}
		}
	}
	return h, err
}

type firstShort struct{ base }

func (m firstShort) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := m.base.Reserve(ctx, r)
	if d := (*ledger.Denied)(nil); errors.As(err, &d) && len(d.Shortfalls) > 1 {
		d.Shortfalls = d.Shortfalls[:1]
	}
	return h, err
}

type doubtFree struct{ base }

func (m doubtFree) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if s.Phase == ledger.Doubt {
		return ledger.Receipt{}, m.Release(ctx, h, false)
	}
	return m.base.Settle(ctx, h, s)
}

type expiring struct{ base }

func (m expiring) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	late, _ := m.InDoubt(ctx, r.Tenant)
	for _, h := range late {
		_ = m.Release(ctx, h, false)
	}
	return m.base.Reserve(ctx, r)
}

type twice struct {
	base
	done map[string]bool
}

func (m twice) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if m.done[h.ID] {
		m.spend(h, h.ID+"again", s.Actual)
	}
	m.done[h.ID] = true
	return m.base.Settle(ctx, h, s)
}

// spend books lines besides a hold, in the windows of now.
func (b base) spend(h ledger.Hold, id string, lines []cost.Line) {
	var budgets []ledger.Budget
	for _, s := range h.States {
		s.Limit = cost.Max
		budgets = append(budgets, s.Budget)
	}
	extra, err := b.Ledger.Reserve(ctx, ledger.Request{Tenant: h.Tenant, ID: id, Nonce: id, Key: h.Key, Operation: h.Operation, Lines: lines,
		Budgets: budgets, Expires: b.clock.Now().Add(time.Hour)})
	if err == nil {
		_, _ = b.Ledger.Settle(ctx, extra, ledger.Settlement{Phase: ledger.Settled, Actual: lines})
	}
}

type lastWord struct{ base }

func (m lastWord) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	r, err := m.base.Settle(ctx, h, s)
	if errors.Is(err, ledger.ErrSettled) {
		return r, nil
	}
	return r, err
}

type settleClip struct{ base }

func (m settleClip) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	s.Actual = append([]cost.Line(nil), s.Actual...)
	for i := range s.Actual {
		if len(h.Entries) > 0 {
			s.Actual[i].Amount = min(s.Actual[i].Amount, h.Entries[0].Held)
		}
	}
	return m.base.Settle(ctx, h, s)
}

type strictSettle struct{ base }

func (m strictSettle) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	for _, e := range h.Entries {
		if b, err := m.Budget(ctx, h.Tenant, e.Budget); err == nil {
			if n, _ := cost.Sum(s.Actual, b.Meter, b.Currency); n > b.Limit {
				return ledger.Receipt{}, &ledger.Denied{Code: reason.BudgetExceeded}
			}
		}
	}
	return m.base.Settle(ctx, h, s)
}

type thawing struct{ base }

func (m thawing) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	r, err := m.base.Settle(ctx, h, s)
	if r.Over {
		_, _ = m.Control(ctx, ledger.Control{Verb: ledger.Resume, Tenant: h.Tenant, Key: h.Key})
	}
	return r, err
}

type dropLate struct{ base }

func (m dropLate) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if old, err := m.Find(ctx, h.Tenant, h.ID); err == nil && old.Phase == ledger.Released {
		return ledger.Receipt{}, nil
	}
	return m.base.Settle(ctx, h, s)
}

type currentWindow struct{ base }

func (m currentWindow) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	for _, e := range h.States {
		if !e.Reset.IsZero() && !m.clock.Now().Before(e.Reset) {
			m.spend(h, h.ID+"now", s.Actual)
			s.Actual = nil
			break
		}
	}
	return m.base.Settle(ctx, h, s)
}

// reopening is a ledger for each day, so a clock that goes back finds the old day's books.
type reopening struct {
	base
	days map[string]*memory.Ledger
}

func newReopening(b base) ledger.Ledger {
	return reopening{b, map[string]*memory.Ledger{b.clock.Now().Format(time.DateOnly): b.Ledger}}
}

func (m reopening) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	day := m.clock.Now().Format(time.DateOnly)
	if m.days[day] == nil {
		m.days[day] = reference(m.clock).Ledger
		_ = m.days[day].Open(ctx, ledger.Key{Tenant: r.Tenant, ID: r.Key})
	}
	return m.days[day].Reserve(ctx, r)
}

type utc struct{ base }

func (m utc) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withBudgets(r, func(b *ledger.Budget) { b.Zone = "" }))
}

type monthly struct{ base }

func (m monthly) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withBudgets(r, func(b *ledger.Budget) {
		if b.Window == cost.Lifetime {
			b.Window = cost.Month
		}
	}))
}

// deaf does not hear the controls of some names.
type deaf struct {
	base
	to func(name string) bool
}

func (m deaf) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	var heard []string
	for _, n := range r.Controls {
		if !m.to(n) {
			heard = append(heard, n)
		}
	}
	r.Controls = heard
	return m.base.Reserve(ctx, r)
}

type undoing struct{ base }

// Control turns a revoke into a pause, which a resume undoes.
func (m undoing) Control(ctx context.Context, c ledger.Control) (ledger.Report, error) {
	if c.Verb == ledger.Revoke {
		c.Verb = ledger.Pause
	}
	return m.base.Control(ctx, c)
}

func (m undoing) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := m.base.Reserve(ctx, r)
	if d := (*ledger.Denied)(nil); errors.As(err, &d) && d.Code == reason.KeyPaused {
		d.Code = reason.KeyRevoked
	}
	return h, err
}

type wideStop struct{ base }

func (m wideStop) Control(ctx context.Context, c ledger.Control) (ledger.Report, error) {
	if name, _ := c.Name(); name == "tenant" {
		c.Tenant, c.All = "", true
	}
	return m.base.Control(ctx, c)
}

// forgetful does not tell controls to keys that are opened after one: of a tenant's, or of everything.
type forgetful struct {
	base
	global bool
	told   *bool
	late   map[string]bool // tenant and key
}

func newForgetful(b base, global bool) ledger.Ledger {
	return forgetful{b, global, new(bool), map[string]bool{}}
}

func (m forgetful) Control(ctx context.Context, c ledger.Control) (ledger.Report, error) {
	*m.told = *m.told || (c.Tenant == "") == m.global
	return m.base.Control(ctx, c)
}

func (m forgetful) Open(ctx context.Context, k ledger.Key) error {
	m.late[k.Tenant+" "+k.ID] = *m.told
	return m.base.Open(ctx, k)
}

func (m forgetful) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if m.late[r.Tenant+" "+r.Key] {
		r.Controls = nil
	}
	return m.base.Reserve(ctx, r)
}

type anyKey struct{ base }

func (m anyKey) Control(ctx context.Context, c ledger.Control) (ledger.Report, error) {
	r, err := m.base.Control(ctx, c)
	if errors.Is(err, ledger.ErrNoKey) {
		return ledger.Report{Tenants: []string{c.Tenant}}, nil
	}
	return r, err
}

type welcoming struct{ base }

func (m welcoming) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	_ = m.Open(ctx, ledger.Key{Tenant: r.Tenant, ID: r.Key})
	return m.base.Reserve(ctx, r)
}

type eternal struct{ base }

func (m eternal) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	r.Expires = m.clock.Now().Add(time.Hour)
	return m.base.Reserve(ctx, r)
}

type emptyRow struct{ base }

func (m emptyRow) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	for _, b := range r.Budgets {
		if _, err := m.Budget(ctx, r.Tenant, b.Name); b.Shared && errors.Is(err, ledger.ErrNoBudget) {
			_ = m.SetBudget(ctx, r.Tenant, ledger.Budget{Name: b.Name, Meter: cost.Spend, Currency: "USD", Limit: 1 << 40, Window: cost.Lifetime})
		}
	}
	return m.base.Reserve(ctx, r)
}

// resetting makes a new row at each change of a limit.
type resetting struct {
	base
	row map[string]string
}

func (m resetting) SetBudget(ctx context.Context, tenant string, b ledger.Budget) error {
	if old := m.row[b.Name]; old != "" {
		m.row[b.Name], b.Name = old+"'", old+"'"
		return m.base.SetBudget(ctx, tenant, b)
	}
	m.row[b.Name] = b.Name
	return m.base.SetBudget(ctx, tenant, b)
}

func (m resetting) rename(budgets []ledger.Budget) []ledger.Budget {
	out := append([]ledger.Budget(nil), budgets...)
	for i, b := range out {
		if b.Shared && m.row[b.Name] != "" {
			out[i].Name = m.row[b.Name]
		}
	}
	return out
}

func (m resetting) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	r.Budgets = m.rename(r.Budgets)
	return m.base.Reserve(ctx, r)
}

func (m resetting) Balance(ctx context.Context, tenant, key string, budgets []ledger.Budget) ([]ledger.State, error) {
	return m.base.Balance(ctx, tenant, key, m.rename(budgets))
}

type tokenRaises struct{ base }

func (m tokenRaises) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	for _, b := range r.Budgets {
		if row, err := m.Budget(ctx, r.Tenant, b.Name); b.Shared && err == nil && b.Limit > row.Limit {
			row.Limit = b.Limit
			_ = m.SetBudget(ctx, r.Tenant, row)
		}
	}
	return m.base.Reserve(ctx, r)
}

type keyEach struct{ base }

func (m keyEach) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	out := append([]ledger.Budget(nil), r.Budgets...)
	for i, b := range out {
		if row, err := m.Budget(ctx, r.Tenant, b.Name); b.Shared && err == nil {
			row.Shared = false
			out[i] = row
		}
	}
	r.Budgets = out
	return m.base.Reserve(ctx, r)
}

type loose struct{ base }

func (m loose) SetBudget(ctx context.Context, tenant string, b ledger.Budget) error {
	if err := m.base.SetBudget(ctx, tenant, b); !errors.Is(err, ledger.ErrBudgetFixed) {
		return err
	}
	return nil
}

type recount struct{ base }

func (m recount) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if old, err := m.Find(ctx, r.Tenant, r.ID); err == nil && old.Nonce == r.Nonce {
		r.ID += "'"
	}
	return m.base.Reserve(ctx, r)
}

type anyNonce struct{ base }

func (m anyNonce) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if old, err := m.Find(ctx, r.Tenant, r.ID); err == nil {
		r.Nonce = old.Nonce
	}
	return m.base.Reserve(ctx, r)
}

// withClaim returns r with its claim changed.
func withClaim(r ledger.Request, change func(*ledger.Claim)) ledger.Request {
	if r.Claim != nil {
		c := *r.Claim
		change(&c)
		r.Claim = &c
	}
	return r
}

type anyBody struct{ base }

func (m anyBody) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withClaim(r, func(c *ledger.Claim) { c.Fingerprint = "" }))
}

type claimless struct{ base }

func (m claimless) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	r.Claim = nil
	return m.base.Reserve(ctx, r)
}

type longMemory struct{ base }

func (m longMemory) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withClaim(r, func(c *ledger.Claim) { c.Memory *= 1000 }))
}

type freesAttached struct{ base }

func (m freesAttached) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	_ = m.base.Release(ctx, h, unsent)
	return hasty(m).Release(ctx, h, unsent)
}

type countsReplays struct {
	base
	again map[string]int
}

func (m countsReplays) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := m.base.Reserve(ctx, r)
	if err == nil && h.Attached {
		h.Retries += m.again[r.ID]
		m.again[r.ID]++
	}
	return h, err
}

// hasty takes what stands now for what was seen.
type hasty struct{ base }

func (m hasty) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	if now, err := m.Find(ctx, h.Tenant, h.ID); err == nil {
		h.Phase, h.RetryUntil = ledger.Doubt, now.RetryUntil
	}
	return m.base.Release(ctx, h, unsent)
}

type retryFrees struct{ base }

func (m retryFrees) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	if h.Attached {
		h.Attached, h.Phase = false, ledger.Doubt
		_ = m.base.Release(ctx, h, unsent)
	}
	return m.base.Release(ctx, h, unsent)
}

type freesPending struct{ base }

func (m freesPending) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	h.Phase = ledger.Pending
	return m.base.Release(ctx, h, unsent)
}

type undead struct {
	base
	claims map[string]string // reservation → claim
	given  map[string]string // claim → a reservation that was given back
}

func (m undead) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if r.Claim != nil {
		if id := m.given[r.Claim.ID]; id != "" {
			h, err := m.Find(ctx, r.Tenant, id)
			h.Attached = true
			return h, err
		}
		m.claims[r.ID] = r.Claim.ID
	}
	return m.base.Reserve(ctx, r)
}

func (m undead) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	if c := m.claims[h.ID]; c != "" && h.Object != "" {
		m.given[c] = h.ID
	}
	return m.base.Release(ctx, h, unsent)
}

type secretive struct{ base }

func (m secretive) Find(ctx context.Context, tenant, id string) (ledger.Hold, error) {
	h, err := m.base.Find(ctx, tenant, id)
	h.RetryUntil = time.Time{}
	return h, err
}

type lastReply struct {
	base
	pending map[string]ledger.Hold // by object
}

func (m lastReply) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if newer, ok := m.pending[s.Object]; ok && newer.ID != h.ID {
		_, _ = m.base.Settle(ctx, newer, ledger.Settlement{Phase: ledger.Settled})
	}
	if s.Phase == ledger.Pending {
		m.pending[s.Object] = h
	}
	return m.base.Settle(ctx, h, s)
}

type tombless struct{ base }

func (m tombless) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	if _, err := m.Find(ctx, h.Tenant, h.ID); err != nil {
		return nil
	}
	return m.base.Release(ctx, h, unsent)
}

type callsBack struct{ base }

func (m callsBack) Release(ctx context.Context, h ledger.Hold, _ bool) error {
	return m.base.Release(ctx, h, true)
}

type heldReads struct{ base }

func (m heldReads) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	r.Read = false
	return m.base.Reserve(ctx, r)
}

type floats struct{ base }

func (m floats) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withLines(r, func(l *cost.Line) {
		if l.Amount <= cost.Max {
			l.Amount = min(int64(float32(l.Amount)), cost.Max)
		}
	}))
}

type negative struct{ base }

func (m negative) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withLines(r, func(l *cost.Line) { l.Amount = max(l.Amount, 0) }))
}

type parity struct{ base }

func (m parity) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	return m.base.Reserve(ctx, withLines(r, func(l *cost.Line) {
		if l.Currency != "" {
			l.Currency = "USD"
		}
	}))
}

type unbounded struct{ base }

func (m unbounded) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	h, err := m.base.Reserve(ctx, r)
	if d := (*ledger.Denied)(nil); errors.As(err, &d) && d.Code == reason.BudgetMissing && strings.HasPrefix(d.Name, "no budget") {
		r.Lines = ledger.CallsOnly(r.Lines)
		return m.base.Reserve(ctx, r)
	}
	return h, err
}

type strayDrop struct{ base }

func (m strayDrop) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	_, strays, err := ledger.Amounts(h.Entries, s.Actual)
	if err == nil && len(strays) > 0 {
		s.Actual = nil
	}
	return m.base.Settle(ctx, h, s)
}

type zeroSettles struct{ base }

func (m zeroSettles) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if s.Phase == "" {
		s.Phase = ledger.Settled
	}
	return m.base.Settle(ctx, h, s)
}

type objectless struct{ base }

func (m objectless) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	r.Object = ""
	return m.base.Reserve(ctx, r)
}

type undoAll struct{ base }

func (m undoAll) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	if err := m.base.Release(ctx, h, unsent); err != nil || h.Object == "" {
		return err
	}
	_, err := m.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled})
	return err
}

type reraise struct{ base }

func (m reraise) Raise(ctx context.Context, h ledger.Hold, r ledger.Request) (ledger.Hold, error) {
	before, _ := m.Find(ctx, h.Tenant, h.ID)
	raised, err := m.base.Raise(ctx, h, r)
	if err == nil && len(before.Entries) == len(raised.Entries) {
		r.ID, r.Nonce = r.ID+"'", r.Nonce+"'"
		_, err = m.Reserve(ctx, r)
	}
	return raised, err
}

type blindRaise struct{ base }

func (m blindRaise) Raise(ctx context.Context, h ledger.Hold, r ledger.Request) (ledger.Hold, error) {
	r.Controls = nil
	return m.base.Raise(ctx, h, r)
}

type lists struct{ base }

func (m lists) InDoubt(ctx context.Context, tenant string) ([]ledger.Hold, error) {
	now := m.clock.Now()
	m.clock.Add(365 * 24 * time.Hour)
	defer m.clock.Set(now)
	return m.base.InDoubt(ctx, tenant)
}

// docs/ledger.md says how many broken ledgers there are.
func TestThePageOnLedgersCountsTheMutants(t *testing.T) {
	page, err := os.ReadFile("../../docs/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("tried by %d ledgers that are broken on purpose", len(mutants)); !strings.Contains(string(page), want) {
		t.Errorf("it does not say %q", want)
	}
}
