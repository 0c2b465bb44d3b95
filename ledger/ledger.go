// Package ledger is the contract of the books: who has spent what, what is held, and who was stopped.
//
// The promise of a ledger is one line: spent + held ≤ limit, in every budget and window, for every reserve
// that it admits, over all processes that share it. The laws below are what makes that line hold; package
// ledgertest states each as a sentence and tries it on every implementation.
//
//   - A reserve is all or nothing over all its budgets. A call that does not fit is refused, never clipped.
//   - Reserve refuses a key that has no row, is revoked, paused, frozen or expired, before anything else.
//   - Nothing is forgotten: a hold stands until it is settled or released, whoever dies in between.
//   - Settle and Release land in the window in which the reserve was made, however much later they come.
//   - Settle never refuses for lack of budget: the money is gone, so it is booked, in full.
//   - What is booked is never edited: what turns out later is an adjustment, an entry of its own.
//   - Every verb is idempotent on the reservation's id: the same verb again changes nothing.
//   - Revoke is final. Pause is not.
//
// Amounts are micro-units of a currency's major unit, or counts (package cost). Times are the ledger's own.
// All methods are safe for concurrent use, in one process and across those that share the store.
//
// An error that is not a [*Denied] means that the ledger could not be asked or did not answer in time. Then
// nothing may be assumed: the verb may have been carried out. Reserve's caller denies the call; should the
// reserve have been carried out after all, its hold stays and counts until it is released by id.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// A Ledger keeps the books. Implementations add no policy of their own.
type Ledger interface {
	// Open makes the row of a key. A key without a row is refused by Reserve, so that an emptied store denies
	// rather than starts at zero. Opening a key twice keeps the row and its counters.
	Open(ctx context.Context, k Key) error

	// SetBudget makes or revises a shared budget. Spent and held amounts stay; a limit below them is legal and
	// refuses further reserves. Changing what an existing budget counts is ErrBudgetFixed. A budget that is not
	// Valid makes no row.
	SetBudget(ctx context.Context, tenant string, b Budget) error

	// Budget returns a shared budget, or ErrNoBudget.
	Budget(ctx context.Context, tenant, name string) (Budget, error)

	// Balance returns the state of each of budgets, as Reserve would see it now, for the given key.
	Balance(ctx context.Context, tenant, key string, budgets []Budget) ([]State, error)

	// Reserve admits a call and holds its lines, in one atomic step, or returns a *Denied. The same request again, with
	// the same nonce, is answered with the hold that it has got; its States may be those of then or of now.
	Reserve(ctx context.Context, r Request) (Hold, error)

	// Raise adds lines to a hold that is in flight, as Reserve would: all or nothing, against the current
	// limits. A *Denied leaves the hold as it was. The returned Hold replaces h. r is of the key, and carries the nonce,
	// that the hold was reserved with.
	Raise(ctx context.Context, h Hold, r Request) (Hold, error)

	// Settle books the outcome of a call. It never refuses for lack of budget. Settling a settled hold with the
	// same amounts changes nothing; with others it is ErrSettled, and the first stands. A settlement that is not
	// Valid changes nothing; one whose amounts are out of range is an error and leaves the hold in doubt. A ledger
	// that keeps what its store does not take answers with ErrDeferred; so does Release.
	Settle(ctx context.Context, h Hold, s Settlement) (Receipt, error)

	// Release gives a hold back. It is called only with proof that the vendor did not execute. unsent says that
	// not even a byte left; then counted calls come back too. A hold that a retry has attached to in the
	// meantime is not given back: it becomes in doubt, and so it stays until it is released with a hold whose Phase
	// is Doubt, that is by someone who has seen the doubt (InDoubt, Find) and resolved it, and with the RetryUntil that it has still: a
	// retry that has attached since may be at the vendor.
	Release(ctx context.Context, h Hold, unsent bool) error

	// Adjust corrects what a settled reservation has cost, when the vendor says so later: a price that comes after
	// hours, a refund that failed and came back. It lands in the window of the reserve, is an entry of its own beside
	// what was booked, and never refuses for lack of budget. The same adjustment again changes nothing; another one
	// under its id is ErrAdjusted. A released reservation whose call was executed after all is adjusted in the same way
	// and is settled from then on. One that is still open is ErrOpen: settle it.
	Adjust(ctx context.Context, tenant, id string, a Adjustment) (Receipt, error)

	// InDoubt lists the holds of a tenant that are in doubt, or in flight past their deadline, oldest first.
	InDoubt(ctx context.Context, tenant string) ([]Hold, error)

	// Unsettled lists the holds of a tenant that are open, in flight, pending or in doubt, oldest first. With names it
	// lists only those that one of them stops, as [Control.Name] gives it: what a revoke leaves to look after.
	Unsettled(ctx context.Context, tenant string, names ...string) ([]Hold, error)

	// Alert stores an alert that the caller has seen, of a kind that is not the ledger's own: its ID, Kind, Key, Hold and
	// Memo. Of an ID that was stored before, less than [AlertMemory] ago, nothing more is stored, acknowledged or not: so
	// several processes may see the same, and it is raised once. One that is not Valid is an error. The empty tenant is
	// legal here, in Alerts and in Acknowledge: it is for what is no tenant's.
	Alert(ctx context.Context, tenant string, a Alert) error

	// Alerts lists the alerts that were not acknowledged yet, oldest first: those that Alert was given, and those of the
	// ledger's own kinds, each stored in the same step as the reserve or the booking that made it. The newest ten
	// thousand of a tenant are kept.
	Alerts(ctx context.Context, tenant string) ([]Alert, error)

	// Acknowledge forgets alerts by id, once they have been delivered. Ids that are not there are no error, so that
	// several processes may deliver: each alert goes out at least once, with an id to know it by.
	Acknowledge(ctx context.Context, tenant string, ids ...string) error

	// Find returns one hold by its reservation id, or ErrNoHold.
	Find(ctx context.Context, tenant, id string) (Hold, error)

	// Control revokes, pauses or resumes. When it returns without error, no Reserve that starts afterwards is
	// admitted against it, in any process. When it returns a *PartialError, the tenants named there were not
	// reached and the others were.
	Control(ctx context.Context, c Control) (Report, error)
}

// A Checker is a Ledger that can tell before the first call that its store is not fit to hold money: one that
// evicts rows, a wrong version, missing permissions. The brake calls Check at construction.
type Checker interface {
	Check(ctx context.Context) error
}

// A Watcher is a Ledger that tells its processes of controls as they are made, so that calls in flight can be
// cancelled. It is a hint and may be lost: the check in Reserve is what stops calls.
type Watcher interface {
	// Watch calls tell for every control that any process makes, in one goroutine, until ctx ends; then it returns
	// the cause. It returns early only with an error that says why it cannot watch.
	Watch(ctx context.Context, tell func(Control)) error
}

// A Leaser is a Ledger that lets one of many processes have a thing for a while, so that several may work through one
// list and each item is handled once.
type Leaser interface {
	// Lease gives name to holder for d from now, by the ledger's clock, and reports true, unless another holder has it
	// still. Again by the same holder it runs from then on for d, longer or shorter; a d of zero gives it up. An empty
	// holder is an error: two who have forgotten their names would be one. On error nothing may be assumed.
	//
	// A lease saves work, it protects no money: what is done under it has to be right when it is done twice, because
	// its holder may be slower than d and a store may lose it.
	Lease(ctx context.Context, tenant, name, holder string, d time.Duration) (bool, error)
}

// A Keeper is a Ledger that keeps texts for a while: the answers that a repeated call gets back.
type Keeper interface {
	// Keep stores text, any bytes and at most [MostKept] of them, under name for d, in place of what was there; with a d
	// of zero nothing is left there. A longer text is an error and changes nothing.
	Keep(ctx context.Context, tenant, name string, text []byte, d time.Duration) error

	// Kept returns what is stored, or nil when there is nothing (any more): the time is over, or the ledger needed the
	// room for newer ones.
	Kept(ctx context.Context, tenant, name string) ([]byte, error)
}

// A Lister is a Ledger that can go through all reservations that it remembers: what an audit is compared with.
type Lister interface {
	// Reservations calls each for the reservations of a tenant that are open, or have settled and booked money, in no
	// order, until each returns an error, which is returned. Those that booked none may come too; attempts of a retry,
	// which hold nothing of their own, do not. It is no snapshot: one that is there all the while comes at least once, one
	// that is made, ends or is forgotten meanwhile may or may not. States, Would and Adjustments are not filled in.
	Reservations(ctx context.Context, tenant string, each func(Hold) error) error
}

// MostKept bounds what a [Keeper] has to take, in bytes.
const MostKept = 64 << 10

// The sentinels that a caller acts on.
var (
	ErrNoBudget    = errors.New("ledger: no such budget")
	ErrBudgetFixed = errors.New("ledger: a budget's meter, currency, window, zone and operations cannot change; make one of another name")
	ErrNoHold      = errors.New("ledger: no such reservation")
	ErrNoKey       = errors.New("ledger: no such key")
	ErrSettled     = errors.New("ledger: already settled with other amounts")
	ErrOpen        = errors.New("ledger: the reservation is still open; settle or release it")
	ErrAdjusted    = errors.New("ledger: an adjustment of that id has other amounts; give a new one an id of its own")

	// ErrDeferred says that the store cannot be reached, and that the ledger has kept the outcome and will book it as
	// soon as the store answers. The hold stands until then, so the books show at least what was spent. The caller need
	// not say it again, though it may.
	ErrDeferred = errors.New("ledger: the store cannot be reached; the outcome is kept and will be booked, the hold stands until then")
)

// A Key is what a ledger knows of a vault key: never the token.
type Key struct {
	Tenant  string
	ID      string
	Expires time.Time // after it the row may be dropped once nothing counts any more
}

// A Budget is a limit on one meter in one window.
type Budget struct {
	Name       string // shared: its row's name; otherwise a name of the key's own
	Shared     bool   // the limit and all else live in the ledger's row; Limit here can only lower it
	Of         string // the narrowed key whose own it is, counted in the row of the key that was issued; empty: that key's
	Meter      cost.Meter
	Currency   cost.Currency // money meters only
	Limit      int64         // micro-units or count
	Window     cost.Window
	Zone       string         // IANA name; empty is UTC. A rolling window has none
	Operations []cost.Pattern // empty: all

	// Observed says that the budget counts for a key that is only observed: in a counter of its own beside the one that
	// is enforced, shared or not, and without ever refusing. A call that it would have refused says so in its hold.
	Observed bool

	// AlertAt are percentages of the limit, 1 to 100. When spent and held together reach one, an [Alert] is stored, once
	// in a window. For a shared budget they are the row's.
	AlertAt []int
}

// Valid reports what is wrong with b, if anything: SetBudget refuses it, since a row that cannot be read as it
// was meant would count something else.
func (b Budget) Valid() error {
	switch {
	case b.Name == "":
		return errors.New("ledger: a budget needs a name")
	case b.Limit < 0 || b.Limit > cost.Max:
		return fmt.Errorf("ledger: budget %s: limit: %w", b.Name, cost.ErrRange)
	case !b.Meter.Valid():
		return fmt.Errorf("ledger: budget %s: %q is not a meter", b.Name, b.Meter)
	case b.Meter.Money() != b.Currency.Valid() || !b.Meter.Money() && b.Currency != "":
		return fmt.Errorf("ledger: budget %s: currency %q does not fit meter %s", b.Name, b.Currency, b.Meter)
	}
	for _, p := range b.Operations {
		if err := p.Valid(); err != nil {
			return fmt.Errorf("ledger: budget %s: %w", b.Name, err)
		}
	}
	if b.Window.Rolls() > 0 && b.Zone != "" {
		return fmt.Errorf("ledger: budget %s: a rolling window has no time zone", b.Name)
	}
	for i, p := range b.AlertAt {
		if p < 1 || p > 100 || slices.Contains(b.AlertAt[:i], p) {
			return fmt.Errorf("ledger: budget %s: an alert at %d percent; write 1 to 100, each once", b.Name, p)
		}
	}
	_, _, err := Window(b, time.Unix(0, 0))
	return err
}

// Counts reports whether b adds up line l of operation, whatever its currency.
func (b Budget) Counts(operation string, l cost.Line) bool {
	return b.Meter.Counts(l.Meter) && cost.MatchAny(b.Operations, operation)
}

// A State is a budget at one moment.
type State struct {
	Budget
	Spent, Held int64
	Start       time.Time // of the window
	Reset       time.Time // its end; of a rolling one, when the oldest amount in it falls out; zero for lifetime
}

// Left is what a call could still reserve. It is not negative: what stands above a limit leaves nothing.
func (s State) Left() int64 { return max(0, s.Limit-s.Spent-s.Held) }

// A Claim ties a reservation to an idempotency key that the vendor honours, so that a retry is the same spend.
type Claim struct {
	ID          string        // digest of tenant, run, vendor, account, mode and the agent's key
	Fingerprint string        // digest of the request; another one under the same ID is refused
	Memory      time.Duration // how long the vendor remembers; an older claim is a new spend
}

// A Repeat refuses the same call again and again: the rule that stops a loop while there is still budget.
type Repeat struct {
	ID       string        // digest of run, operation, canonical parameters and Window: one id has one window
	Most     int64         // this many are admitted in the window; at least 1, at most [MostRepeats]
	Window   time.Duration // rolling, exact
	Observed bool          // counts apart, and refuses nothing
}

// MostRepeats bounds what a [Repeat] has to remember.
const MostRepeats = 1000

// Valid reports what is wrong with r, if anything.
func (r Repeat) Valid() error {
	switch {
	case r.ID == "":
		return errors.New("ledger: a repeat rule needs an id")
	case r.Most < 1 || r.Most > MostRepeats:
		return fmt.Errorf("ledger: a repeat rule admits 1 to %d, not %d", MostRepeats, r.Most)
	case r.Window <= 0 || cost.Rolling(r.Window).Rolls() != r.Window:
		return fmt.Errorf("ledger: a repeat rule's window is whole seconds, one second to 400 days, not %s", r.Window)
	}
	return nil
}

// Short is the refusal of a call that was admitted count times since the window began, the first of them at first.
func (r Repeat) Short(count int64, first time.Time) Shortfall {
	return Shortfall{Need: 1, State: State{
		Budget: Budget{Name: "repeat", Meter: cost.Calls, Limit: r.Most, Window: cost.Rolling(r.Window), Observed: r.Observed},
		Spent:  count, Start: first, Reset: first.Add(r.Window),
	}}
}

// A Request asks for one reservation.
type Request struct {
	Tenant    string
	ID        string // the reservation's id, made by the caller before anything is sent
	Nonce     string // this attempt's; tells a replay by the store's client from a second call
	Key       string
	Expires   time.Time // the key's; checked against the ledger's clock
	Controls  []string  // the names whose revoke or pause stops this call, from [Control.Names]
	Operation string
	Lines     []cost.Line   // calls are booked as spent at once, all others are held
	Budgets   []Budget      // all that the key names
	Claim     *Claim        // nil: no vendor-honoured idempotency key
	Repeat    *Repeat       // nil: no such rule. A retry that attaches to its claim is no repetition
	Object    string        // "" or the object whose hold this call moves; then Lines are the level after it
	Read      bool          // costs nothing: admitted or not, counted, not held, no record stays
	Deadline  time.Duration // how long the call may be in flight before it is in doubt

	// Probing says that the lines come later, by Raise. Until they have, a retry that carries the same claim is
	// refused (reason.IdempotencyInFlight) rather than attached, because there is no hold yet to attach to; once
	// the deadline has passed without a Raise, the claim counts for nothing.
	Probing bool

	// Memo is kept with the hold, at Raise in place of Reserve's, and comes back in it, from Find, InDoubt and Unsettled
	// too, for as long as the reservation is remembered: what a retry must send again to the letter.
	Memo string
}

// A Hold is one admitted reservation. It is plain data, so that another process can settle it.
type Hold struct {
	Tenant, ID, Nonce string
	Key               string
	Operation         string
	Entries           []Entry
	Object            string
	Phase             Phase
	Deadline          time.Time
	Controls          []string // of the [Request]: who made the call, for Unsettled

	// Attached says that a retry found the reservation of an earlier attempt. It holds nothing of its own, and
	// only the proof of an execution may settle it.
	Attached bool

	// Retries is how many retries have attached to the reservation so far: in the answer to a retry, itself included. It is for
	// the record; a ledger that was re-armed may count one too many, and none of the earlier ones.
	Retries int

	// RetryUntil is when the last retry that attached will have ended; zero without one. Until then the call may be
	// at the vendor, whatever is known of its first attempt.
	RetryUntil time.Time

	Memo string // of the [Request], or of the newest [Settlement] that has one

	// Adjustments are what was corrected after the settlement, oldest first. Only Find fills them in.
	Adjustments []Adjustment

	// Would are the budgets that would have refused the call, were they not only observed: at Reserve, or at the Raise
	// that the hold came from. Only these fill it in.
	Would []Shortfall

	// States are the budgets after the reserve, for the record: one for each of Entries, but of the calls alone where
	// Attached. InDoubt and Find need not fill them in.
	States []State
}

// An Entry is a hold's part in one budget.
type Entry struct {
	Budget   string // name
	Shared   bool
	Of       string // of the [Budget]
	Observed bool
	Meter    cost.Meter
	Currency cost.Currency
	Start    int64 // of the window, or of the slot of a rolling one, Unix microseconds
	Held     int64
	Booked   int64
}

// A Phase is the state of a reservation.
type Phase string

// The phases.
const (
	InFlight Phase = "in_flight"
	Pending  Phase = "pending"  // the vendor says: not final
	Doubt    Phase = "in_doubt" // sent, outcome unknown
	Settled  Phase = "settled"
	Released Phase = "released"
)

// A Settlement is what became of a call.
type Settlement struct {
	Phase  Phase       // Settled, Pending or Doubt
	Actual []cost.Line // all that this reservation has cost so far
	Held   []cost.Line // what stays held
	Object string      // the object that carries Held, when the reply names it

	// Memo takes the place of the hold's, where it is not empty: what is needed to look at the call again later. It is
	// no part of what makes two settlements the same: of those, the newest memo stands. A settlement that is ErrSettled
	// leaves the memo as it was, and so does a doubt that comes when more is known already, of a hold that is neither in
	// flight nor in doubt. No memo keeps an outcome from being booked: what is not UTF-8 in it is replaced by U+FFFD.
	Memo string
}

// MemoAfter is what a hold keeps once s was carried out, where before is what it has.
func (s Settlement) MemoAfter(before string) string {
	if s.Memo == "" {
		return before
	}
	return strings.ToValidUTF8(s.Memo, "\uFFFD")
}

// Valid reports what is wrong with s, if anything. The zero Settlement would give all money back, and a settled
// reservation that still holds something would hold it for ever, so neither is carried out.
func (s Settlement) Valid() error {
	switch {
	case s.Phase != Settled && s.Phase != Pending && s.Phase != Doubt:
		return fmt.Errorf("ledger: %q is not the phase of a settlement", s.Phase)
	case s.Phase == Settled && slices.ContainsFunc(s.Held, func(l cost.Line) bool { return l.Amount != 0 }):
		return errors.New("ledger: a settled reservation holds nothing; settle as pending")
	}
	return nil
}

// An Adjustment is what the vendor said later about the cost of a reservation.
type Adjustment struct {
	ID     string      // made by the caller, and the same when it says the same again
	Actual []cost.Line // all that the reservation has cost, as is known now; nothing at all where it failed
	Reason string      // for people; kept
	At     time.Time   // when it was booked, by the ledger's clock; set by the ledger
	Deltas []int64     // by how much it moved what is booked in each of the hold's Entries; set by the ledger
}

// MostAdjustments is how many one reservation can have.
const MostAdjustments = 32

// Valid reports what is wrong with a, if anything.
func (a Adjustment) Valid() error {
	if a.ID == "" {
		return errors.New("ledger: an adjustment needs an id")
	}
	for _, l := range a.Actual {
		if err := l.Valid(); err != nil {
			return fmt.Errorf("ledger: adjustment %s: %w", a.ID, err)
		}
	}
	return nil
}

// Rose reports whether a moved what is booked in some budget up.
func (a Adjustment) Rose() bool {
	return slices.ContainsFunc(a.Deltas, func(d int64) bool { return d > 0 })
}

// A Receipt is what Settle or Adjust did.
type Receipt struct {
	// States are the budgets afterwards, one for each of the hold's Entries, in the windows of the reserve; those of
	// rolling windows as they stand now.
	States []State

	// Over says, of Settle, that the actual was above what was held: it is booked in full, and the key is frozen. Of Adjust,
	// that it rose. It says so again when the same is said again: the first answer may have been lost.
	Over   bool
	Strays []cost.Line // cost that none of the hold's budgets counts: nothing was booked, the hold stays in doubt
}

// A Denied is Reserve's refusal. Nothing was changed in the store.
type Denied struct {
	Code       reason.Code
	Name       string      // the missing budget, or the control that stopped the call
	Shortfalls []Shortfall // every budget that does not cover the call; of a repetition, the rule as a budget of calls
}

// A Shortfall is one budget that does not cover a call.
type Shortfall struct {
	State
	Need int64
}

// Error is the refusal for a log line.
func (d *Denied) Error() string {
	if len(d.Shortfalls) > 0 {
		s := d.Shortfalls[0]
		return fmt.Sprintf("ledger: %s: budget %s has %s left of %s, needs %s", d.Code, s.Name,
			cost.Format(s.Left(), s.Currency, s.Meter), cost.Format(s.Limit, s.Currency, s.Meter), cost.Format(s.Need, s.Currency, s.Meter))
	}
	return fmt.Sprintf("ledger: %s %s", d.Code, d.Name)
}
