package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// The tenant and the two keys that most laws speak of. Both keys are open from the start.
const (
	acme = "acme"
	key1 = "key1"
	key2 = "key2"
)

// broken is what a law panics with; Check turns it into an error.
type broken string

// A world is a ledger under test and what a law does to it. Its methods end the law when the ledger does
// something else than they say.
type world struct {
	ledger.Ledger
	clock *Clock
	ctx   context.Context
	n     int
}

func newWorld(l ledger.Ledger, c *Clock) *world {
	w := &world{Ledger: l, clock: c, ctx: context.Background()}
	w.open(acme, key1)
	w.open(acme, key2)
	return w
}

func (w *world) fail(format string, args ...any) { panic(broken(fmt.Sprintf(format, args...))) }

func (w *world) must(what string, err error) {
	if err != nil {
		w.fail("%s: %v", what, err)
	}
}

func (w *world) is(what string, err, want error) {
	if !errors.Is(err, want) {
		w.fail("%s: got error %v, want %v", what, err, want)
	}
}

func (w *world) open(tenant, key string) {
	w.must("open "+key, w.Open(w.ctx, ledger.Key{Tenant: tenant, ID: key, Expires: w.clock.Now().Add(100 * 24 * time.Hour)}))
}

// id is a name that the law has not used yet.
func (w *world) id(kind string) string {
	w.n++
	return fmt.Sprintf("%s%d", kind, w.n)
}

func usd(n int64) cost.Line   { return cost.Line{Meter: cost.Charge, Currency: "USD", Amount: n} }
func fee(n int64) cost.Line   { return cost.Line{Meter: cost.Fee, Currency: "USD", Amount: n} }
func eur(n int64) cost.Line   { return cost.Line{Meter: cost.Charge, Currency: "EUR", Amount: n} }
func units(n int64) cost.Line { return cost.Line{Meter: cost.Units, Amount: n} }

var oneCall = cost.Line{Meter: cost.Calls, Amount: 1}

func lines(l ...cost.Line) []cost.Line { return l }

// purse is a lifetime budget of the key's own.
func purse(limit int64) ledger.Budget {
	return ledger.Budget{Name: "purse", Meter: cost.Spend, Currency: "USD", Limit: limit, Window: cost.Lifetime}
}

// tally is a lifetime budget of calls of the key's own.
func tally(limit int64) ledger.Budget {
	return ledger.Budget{Name: "tally", Meter: cost.Calls, Limit: limit, Window: cost.Lifetime}
}

// per is a budget of the key's own in a window.
func per(window cost.Window, zone string, limit int64) ledger.Budget {
	return ledger.Budget{Name: "per-" + string(window), Meter: cost.Spend, Currency: "USD", Limit: limit, Window: window, Zone: zone}
}

// team is a shared budget as SetBudget takes it, and ref how a key names it.
func team(limit int64) ledger.Budget {
	return ledger.Budget{Name: "team", Shared: true, Meter: cost.Spend, Currency: "USD", Limit: limit, Window: cost.Lifetime}
}

func ref(name string) ledger.Budget {
	return ledger.Budget{Name: name, Shared: true, Limit: ledger.NoLimit}
}

// call is a request of key in acme for lines under budgets.
func (w *world) call(key string, l []cost.Line, budgets ...ledger.Budget) ledger.Request {
	return w.callIn(acme, key, l, budgets...)
}

func (w *world) callIn(tenant, key string, l []cost.Line, budgets ...ledger.Budget) ledger.Request {
	return ledger.Request{
		Tenant: tenant, ID: w.id("r"), Nonce: w.id("n"), Key: key, Expires: w.clock.Now().Add(100 * 24 * time.Hour),
		Controls:  append(ledger.Names(key, "agent-"+key, "run-"+key, []string{"label-" + key}, "vendor-"+key), "issuer:issuer-"+key),
		Operation: "acme.things.buy", Lines: l, Budgets: budgets, Deadline: time.Minute,
	}
}

// pay is a request of key1 for n micro-dollars.
func (w *world) pay(n int64, budgets ...ledger.Budget) ledger.Request {
	return w.call(key1, lines(usd(n)), budgets...)
}

func (w *world) admit(r ledger.Request) ledger.Hold {
	h, err := w.Reserve(w.ctx, r)
	w.must("reserve of "+r.ID, err)
	return h
}

// refuse expects a reserve to be denied for a reason.
func (w *world) refuse(r ledger.Request, code reason.Code) *ledger.Denied {
	h, err := w.Reserve(w.ctx, r)
	return w.denied(h, err, code)
}

func (w *world) denied(h ledger.Hold, err error, code reason.Code) *ledger.Denied {
	var d *ledger.Denied
	if !errors.As(err, &d) {
		w.fail("got hold %q and error %v, want a denial %s", h.ID, err, code)
	}
	if d.Code != code {
		w.fail("denied %s (%s), want %s", d.Code, d.Name, code)
	}
	return d
}

// fails expects a reserve to fail with an error that is no verdict.
func (w *world) fails(r ledger.Request) {
	h, err := w.Reserve(w.ctx, r)
	var d *ledger.Denied
	if err == nil || errors.As(err, &d) {
		w.fail("reserve of %s: got hold %v and error %v, want an error that is no denial", r.ID, h, err)
	}
}

// settle books lines as final.
func (w *world) settle(h ledger.Hold, actual ...cost.Line) ledger.Receipt {
	return w.book(h, ledger.Settlement{Phase: ledger.Settled, Actual: actual})
}

func (w *world) book(h ledger.Hold, s ledger.Settlement) ledger.Receipt {
	r, err := w.Settle(w.ctx, h, s)
	w.must("settle of "+h.ID, err)
	return r
}

// pend says that an object of the reply holds lines.
func (w *world) pend(h ledger.Hold, object string, held ...cost.Line) ledger.Receipt {
	return w.book(h, ledger.Settlement{Phase: ledger.Pending, Held: held, Object: object})
}

func (w *world) doubt(h ledger.Hold) ledger.Receipt {
	return w.book(h, ledger.Settlement{Phase: ledger.Doubt})
}

func (w *world) release(h ledger.Hold, unsent bool) {
	w.must("release of "+h.ID, w.Release(w.ctx, h, unsent))
}

func (w *world) phase(id string, want ledger.Phase) ledger.Hold {
	h, err := w.Find(w.ctx, acme, id)
	w.must("find "+id, err)
	if h.Phase != want {
		w.fail("reservation %s is %s, want %s", id, h.Phase, want)
	}
	return h
}

// stands expects amounts in a budget of key1.
func (w *world) stands(b ledger.Budget, spent, held int64) ledger.State {
	return w.standsFor(key1, b, spent, held)
}

func (w *world) standsFor(key string, b ledger.Budget, spent, held int64) ledger.State {
	s := w.state(key, b)
	if s.Spent != spent || s.Held != held {
		w.fail("budget %s of %s has spent %d and holds %d, want %d and %d", b.Name, key, s.Spent, s.Held, spent, held)
	}
	return s
}

func (w *world) state(key string, b ledger.Budget) ledger.State {
	states, err := w.Balance(w.ctx, acme, key, []ledger.Budget{b})
	w.must("balance", err)
	if len(states) != 1 {
		w.fail("balance of one budget has %d states", len(states))
	}
	return states[0]
}

func (w *world) share(b ledger.Budget) ledger.Budget {
	w.must("set budget "+b.Name, w.SetBudget(w.ctx, acme, b))
	return ref(b.Name)
}

func (w *world) control(c ledger.Control) ledger.Report {
	r, err := w.Control(w.ctx, c)
	w.must(fmt.Sprintf("control %+v", c), err)
	return r
}
