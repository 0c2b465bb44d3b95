package redisledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// reserveArgs is ARGV[1] of reserve.lua and raise.lua.
type reserveArgs struct {
	Now      string   `json:"now"` // empty: the server's
	ID       string   `json:"id"`
	Nonce    string   `json:"nonce"`
	Key      string   `json:"key"`
	Expires  string   `json:"expires"`
	Controls []string `json:"controls"` // fields of the controls
	Deadline string   `json:"deadline"` // a span, microseconds
	Phase    string   `json:"phase"`    // after the reserve: in_flight, or settled for what holds nothing
	Probing  bool     `json:"probing"`
	Memo     string   `json:"memo"`
	Fixed    string   `json:"fixed"`
	Layout   string   `json:"layout"`
	Keep     string   `json:"keep"`   // milliseconds
	Doomed   bool     `json:"doomed"` // Go refuses; check the key all the same, since that comes first

	Claim       string `json:"claim"`
	Fingerprint string `json:"fingerprint"`
	Memory      string `json:"memory"` // microseconds
	ClaimKeep   string `json:"claimkeep"`
	First       string `json:"first"`  // who Go thinks has the claim
	Attach      bool   `json:"attach"` // Go thinks that the call joins it

	Rule  *ruleArgs  `json:"rule,omitempty"`
	Revs  []revArgs  `json:"revs"` // of each shared row
	Parts []moveArgs `json:"parts"`
	Marks string     `json:"marks"` // thresholds for alerts

	Object   string `json:"object"`
	Carrier  string `json:"carrier"` // who Go thinks carries it
	Version  string `json:"version"` // in which state
	Absorb   bool   `json:"absorb"`  // its hold passes to this reservation
	Left     string `json:"left"`    // its parts then
	LeftKeep string `json:"leftkeep"`

	Was  string `json:"was"`  // raise: the layout that Go has seen
	From string `json:"from"` // raise: the object that Go has seen
	Ru   string `json:"ru"`   // raise: until when Go thinks that a retry may run
}

// revArgs is the revision of a shared budget's row that Go has seen.
type revArgs struct {
	Row int    `json:"row"` // index in KEYS
	Rev string `json:"rev"`
}

// ruleArgs is a [ledger.Repeat].
type ruleArgs struct {
	Most     string `json:"most"`
	Window   string `json:"window"` // microseconds
	Keep     string `json:"keep"`   // how many times are remembered
	Observed bool   `json:"observed"`
}

// moveArgs is one [ledger.Move].
type moveArgs struct {
	Row      int       `json:"row"` // index in KEYS
	Name     string    `json:"name"`
	Start    string    `json:"start"`
	Stop     string    `json:"stop"`
	Back     string    `json:"back"` // how far before Start amounts count
	Held     string    `json:"held"`
	Booked   string    `json:"booked"`
	Base     string    `json:"base"` // what the carrier adds to it
	Limit    string    `json:"limit"`
	Kept     bool      `json:"kept"`
	Observed bool      `json:"observed"`
	Own      int       `json:"own"` // index of the own part that goes, from 1; 0 for none
	Old      []oldArgs `json:"old"`
}

type oldArgs struct {
	Start  string `json:"start"`
	Back   string `json:"back"`
	Held   string `json:"held"`
	Booked string `json:"booked"`
}

// A plan is what a reserve or a raise proposes to the script, and what it has learnt of the store.
type plan struct {
	ledger.Request
	own    []ledger.Part // raise: the parts that the reservation has
	object string        // raise: the object that it has
	raise  bool
	now    time.Time

	first   string // who has the claim, once the script has said so
	attach  bool
	carrier string
	carried record

	moves  []ledger.Move
	shared []spec
	doom   error
}

// Reserve admits a call and holds its lines. A *[ledger.Denied] is the store's verdict; after any other error the
// call must not be made, though its hold may stand until it is released by id.
func (l *Ledger) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	p := &plan{Request: r, now: l.estimate()}
	for range tries {
		if err := l.propose(ctx, p); err != nil {
			return ledger.Hold{}, err
		}
		keys, args := l.reserveArgs(p)
		got, err := l.run(ctx, reserveScript, keys, args)
		if err != nil {
			return ledger.Hold{}, err
		}
		switch got.status {
		case "ok":
			h, err := l.admitted(p, got)
			if err == nil {
				l.acknowledged(p, h)
			}
			return h, err
		case "replay":
			return l.replayed(ctx, r, got)
		}
		if err := l.again(ctx, p, got); err != nil {
			return ledger.Hold{}, err
		}
	}
	return ledger.Hold{}, errBusy
}

// errBusy says that the store changed under every proposal.
var errBusy = errors.New("redisledger: too many calls at once on the same budget, object or idempotency key")

// propose works out what the call needs, as far as it is known. A reason to refuse that Go finds is kept in the
// plan: the script looks at the key's own state first.
func (l *Ledger) propose(ctx context.Context, p *plan) error {
	p.moves, p.doom = nil, nil
	if p.ruled() {
		if err := p.Repeat.Valid(); err != nil {
			return p.refuse(err)
		}
	}
	budgets, shared, err := l.resolve(ctx, p.Tenant, p.Budgets)
	if p.shared = shared; err != nil {
		return p.refuse(err)
	}
	lines, object := p.Lines, p.Object
	if p.attach || p.Read && !p.raise {
		lines, object = ledger.CallsOnly(lines), ""
	}
	charges, err := ledger.Charges(budgets, p.Operation, lines)
	if err != nil {
		return p.refuse(err)
	}
	p.moves = ledger.Moves(charges, p.own, p.credit(), object != "" && object == p.object)
	for i := range p.moves {
		m := &p.moves[i]
		if m.Kept {
			continue
		}
		if m.Start, m.End, err = ledger.Window(m.Of, p.now); err != nil {
			return p.refuse(err)
		}
	}
	return nil
}

// ruled says that the repeat rule counts the call: a retry that attaches is no repetition, and a raise no call.
func (p *plan) ruled() bool { return p.Repeat != nil && !p.attach && !p.raise }

// refuse keeps a refusal for after the script's own checks. What is no verdict on the call, because the store
// did not answer, ends the verb.
func (p *plan) refuse(err error) error {
	if errors.Is(err, errUnread) {
		return err
	}
	p.doom, p.moves = err, nil
	return nil
}

// credit is what the carrier hands over: only a pending one of the same key does. What one in flight or in doubt
// will cost is open, so both levels are held; another payer's is swapped out at settle.
func (p *plan) credit() []ledger.Part {
	if p.carried.Phase != ledger.Pending || p.carried.Key != p.Key || p.attach {
		return nil
	}
	return p.carried.parts
}

// reserveArgs writes the plan for the script.
func (l *Ledger) reserveArgs(p *plan) ([]string, reserveArgs) {
	t := tenant(p.Tenant)
	a := reserveArgs{
		Now: l.clock(), ID: p.ID, Nonce: p.Nonce, Key: p.Key, Expires: digits(p.Expires.UnixMicro()),
		Controls: make([]string, len(p.Controls)), Deadline: digits(p.Deadline.Microseconds()), Phase: string(ledger.InFlight),
		Probing: p.Probing && !p.attach, Memo: p.Memo, Keep: millis(keepCounted), Doomed: p.doom != nil,
		Memory: "0", First: p.first, Attach: p.attach, Revs: []revArgs{}, Parts: []moveArgs{},
	}
	for i, name := range p.Controls {
		a.Controls[i] = controlField + name
	}
	if p.attach || p.Read && !p.raise {
		a.Phase = string(ledger.Settled)
	}
	keys := newRows(t.record(p.ID), t.key(p.Key), t.controls(), t.open())
	keys.keys = append(keys.keys, t.none(), t.none(), t.none(), t.none(), t.pending(), t.none(), t.alerts(), t.alertTexts())
	l.claimArgs(p, keys, &a)
	l.objectArgs(p, keys, &a)
	ruleArgsOf(p, keys, &a)
	for _, s := range p.shared {
		a.Revs = append(a.Revs, revArgs{keys.index(t.budget(s.Name)), s.rev})
	}
	parts := p.parts()
	for _, m := range p.moves {
		a.Parts = append(a.Parts, move(m, t, p.Key, keys))
	}
	a.Fixed, a.Layout, a.Marks = fix(p.Operation, parts), layout(entries(parts)), marks(parts)
	return keys.keys, a
}

// ruleArgsOf adds the repeat rule. One that is not valid is p's doom.
func ruleArgsOf(p *plan, keys *rows, a *reserveArgs) {
	if !p.ruled() || p.Repeat.Valid() != nil {
		return
	}
	keys.keys[9] = tenant(p.Tenant).repeats(*p.Repeat)
	a.Rule = &ruleArgs{
		Most: digits(p.Repeat.Most), Window: digits(p.Repeat.Window.Microseconds()), Keep: digits(ledger.MostRepeats), Observed: p.Repeat.Observed,
	}
}

func (l *Ledger) claimArgs(p *plan, keys *rows, a *reserveArgs) {
	if p.Claim == nil || p.raise {
		return
	}
	t := tenant(p.Tenant)
	a.Claim, a.Fingerprint, a.Memory = p.Claim.ID, p.Claim.Fingerprint, digits(p.Claim.Memory.Microseconds())
	a.ClaimKeep = digits(max(1, p.Claim.Memory.Milliseconds()))
	keys.keys[4] = t.claim(p.Claim.ID)
	if p.first != "" {
		keys.keys[5] = t.record(p.first)
	}
}

func (l *Ledger) objectArgs(p *plan, keys *rows, a *reserveArgs) {
	if p.Object == "" || p.attach || p.Read && !p.raise {
		return
	}
	t := tenant(p.Tenant)
	a.Object, a.Carrier, a.Version = p.Object, p.carrier, p.carried.version
	keys.keys[6] = t.object(p.Object)
	if p.carrier != "" {
		keys.keys[7] = t.record(p.carrier)
	}
	if p.credit() != nil {
		left := append([]ledger.Part(nil), p.carried.parts...)
		for i := range left {
			left[i].Held = 0
		}
		a.Absorb, a.Left, a.LeftKeep = true, pack(left), millis(l.keep(p.carried))
	}
}

// move writes one move. A limit that no amount can be under, negative ones too, is sent as 0.
func move(m ledger.Move, t tenant, key string, keys *rows) moveArgs {
	row, name := place(t, key, m.Entry, keys)
	a := moveArgs{
		Row: row, Name: name, Start: digits(m.Start), Stop: digits(m.End), Back: back(m.Of), Held: digits(m.Held), Booked: digits(m.Booked),
		Base: digits(m.Base), Limit: digits(min(m.Of.Limit, cost.Max)), Kept: m.Kept, Observed: m.Observed, Own: m.Own + 1, Old: []oldArgs{},
	}
	for _, o := range m.Old {
		a.Old = append(a.Old, oldArgs{digits(o.Start), back(m.Of), digits(o.Held), digits(o.Booked)})
	}
	return a
}

// back is how far before the start of a slot of b amounts count.
func back(b ledger.Budget) string { return digits(ledger.Lookback(b)) }

// place is where an entry is counted: the row's index in keys, and the counter's name in it.
func place(t tenant, key string, e ledger.Entry, keys *rows) (row int, name string) {
	if e.Shared {
		return keys.index(t.budget(e.Budget)), counter(e)
	}
	return keys.index(t.key(key)), counter(e)
}

// again takes what a script has said about the store and prepares the next proposal, or returns the refusal.
func (l *Ledger) again(ctx context.Context, p *plan, got *reply) error {
	switch got.status {
	case "denied":
		d := &ledger.Denied{Code: reason.Code(got.word()), Name: got.word()}
		if err := got.err(); err != nil {
			return err
		}
		return d
	case "doomed":
		return p.doom
	case "short":
		return l.short(p, got)
	case "repeat":
		return repeated(p, got)
	case "spec":
		for _, s := range p.shared {
			l.specs.Delete(tenant(p.Tenant).budget(s.Name))
		}
		return nil
	case "window":
		p.now = got.time()
		l.seen(p.now.UnixMicro())
		return got.err()
	case "claim":
		p.first = got.word()
		p.attach = got.word() == "0" && p.first != ""
		return got.err()
	case "carrier":
		p.carrier = got.word()
		return l.carrier(ctx, p)
	}
	return got.expect()
}

// carrier reads the reservation that carries the object.
func (l *Ledger) carrier(ctx context.Context, p *plan) error {
	p.carried = record{}
	if p.carrier == "" {
		return nil
	}
	var err error
	if p.carried, err = l.read(ctx, p.Tenant, p.carrier); errors.Is(err, ledger.ErrNoHold) {
		return nil
	}
	return err
}

// short is the refusal that names every budget that does not cover the call.
func (l *Ledger) short(p *plan, got *reply) error {
	d := &ledger.Denied{Code: reason.BudgetExceeded}
	l.seen(got.number())
	var err error
	if d.Shortfalls, err = shortfalls(got, len(got.rest)/8, p.parts(), nil); err != nil || len(got.rest) > 0 {
		return errors.Join(err, got.expect("short"))
	}
	return d
}

// repeated is the refusal of the repeat rule.
func repeated(p *plan, got *reply) error {
	short := []ledger.Shortfall{p.Repeat.Short(got.number(), got.time())}
	if err := got.err(); err != nil {
		return err
	}
	return &ledger.Denied{Code: reason.RepeatExceeded, Shortfalls: short}
}

// shortfalls takes n of what charge.lua and repeat.lua write: budgets that do not cover the call, and the rule.
func shortfalls(got *reply, n int, parts []ledger.Part, rule *ledger.Repeat) ([]ledger.Shortfall, error) {
	var list []ledger.Shortfall
	for range n {
		i, w, need := got.number(), got.window(), got.number()
		switch {
		case got.bad || i < 0 || i > int64(len(parts)):
			return nil, fmt.Errorf("redisledger: %w: a shortfall", errReply)
		case i > 0:
			list = append(list, ledger.Shortfall{State: w.state(parts[i-1].Of), Need: need})
		case rule != nil:
			list = append(list, rule.Short(w.spent, time.UnixMicro(w.start)))
		}
	}
	return list, nil
}

// parts are those of the moves.
func (p *plan) parts() []ledger.Part {
	parts := make([]ledger.Part, len(p.moves))
	for i, m := range p.moves {
		parts[i] = m.Part
	}
	return parts
}

// admitted makes the hold of a reserve or a raise that went through.
func (l *Ledger) admitted(p *plan, got *reply) (ledger.Hold, error) {
	now := got.number()
	at := got.windows()
	would, err := shortfalls(got, int(got.number()), p.parts(), p.Repeat)
	if err := errors.Join(got.err(), err); err != nil {
		return ledger.Hold{}, err
	}
	l.seen(now)
	parts, states, err := landed(p.parts(), at)
	if err != nil {
		return ledger.Hold{}, err
	}
	if p.attach {
		first, err := unpack(p.Tenant, p.first, got.fields())
		first.Attached, first.States, first.Would = true, states, would
		return first.Hold, err
	}
	h := ledger.Hold{
		Tenant: p.Tenant, ID: p.ID, Nonce: p.Nonce, Key: p.Key, Operation: p.Operation, Entries: entries(parts), Object: p.Object,
		Phase: ledger.InFlight, Deadline: time.UnixMicro(now + p.Deadline.Microseconds()), Memo: p.Memo, States: states,
		Controls: slices.Clone(p.Controls), Would: would,
	}
	if p.Read {
		h.Phase, h.Object = ledger.Settled, ""
	}
	return h, nil
}

// replayed answers a reserve that was carried out before: the client sent it twice, or the caller asked twice.
func (l *Ledger) replayed(ctx context.Context, r ledger.Request, got *reply) (ledger.Hold, error) {
	rec, err := unpack(r.Tenant, r.ID, got.fields())
	if err != nil {
		return ledger.Hold{}, err
	}
	if rec.Nonce != r.Nonce || rec.Phase == ledger.Released {
		return ledger.Hold{}, fmt.Errorf("redisledger: reservation id %s is taken", r.ID)
	}
	words := &reply{status: "replay", rest: strings.Fields(rec.would)}
	if rec.Would, err = shortfalls(words, len(words.rest)/8, rec.parts, r.Repeat); err != nil {
		return ledger.Hold{}, err
	}
	if rec.States, err = l.states(ctx, rec); err != nil || rec.of == "" {
		return rec.Hold, err
	}
	first, err := l.read(ctx, r.Tenant, rec.of)
	first.Attached, first.States, first.Would = true, rec.States, rec.Would
	return first.Hold, err
}

// Raise adds lines to a hold that is in flight. A *[ledger.Denied] leaves it as it was.
func (l *Ledger) Raise(ctx context.Context, h ledger.Hold, r ledger.Request) (ledger.Hold, error) {
	r.ID = h.ID
	rec, err := l.known(ctx, h)
	if err != nil {
		return h, err
	}
	p := &plan{Request: r, raise: true, now: l.estimate()}
	for range tries {
		p.own, p.object = slices.Clone(rec.parts), rec.Object
		for i := range p.own {
			p.own[i].Base = 0 // the script adds what the record says
		}
		if err := l.propose(ctx, p); err != nil {
			return h, err
		}
		keys, args := l.reserveArgs(p)
		args.Was, args.From = layout(entries(p.own)), rec.Object
		if !rec.RetryUntil.IsZero() {
			args.Ru = digits(rec.RetryUntil.UnixMicro())
		}
		got, err := l.run(ctx, raiseScript, keys, args)
		if err != nil {
			return h, err
		}
		switch got.status {
		case "ok":
			h, err := l.raised(rec, p, got)
			if err == nil {
				l.acknowledged(p, h)
			}
			return h, err
		case "replay":
			return l.replayed(ctx, r, got)
		case "missing":
			return h, ledger.ErrNoHold
		case "busy":
			return h, fmt.Errorf("redisledger: reservation %s is not in flight, is another key's, or moves another object", h.ID)
		case "stale":
			if rec, err = l.read(ctx, h.Tenant, h.ID); err != nil {
				return h, err
			}
			continue
		}
		if err := l.again(ctx, p, got); err != nil {
			return h, err
		}
	}
	return h, errBusy
}

// raised is the hold after a raise.
func (l *Ledger) raised(rec record, p *plan, got *reply) (ledger.Hold, error) {
	h, err := l.admitted(p, got)
	h.Operation, h.Deadline, h.RetryUntil, h.Phase, h.Controls = rec.Operation, rec.Deadline, rec.RetryUntil, ledger.InFlight, rec.Controls
	if h.Object == "" {
		h.Object = rec.Object
	}
	return h, err
}

// known is the record of a hold as its holder has it: complete when the hold came from Reserve, else it is read.
// What is out of date in it the script finds.
func (l *Ledger) known(ctx context.Context, h ledger.Hold) (record, error) {
	if len(h.States) != len(h.Entries) || h.Attached || h.Nonce == "" || h.Deadline.IsZero() {
		return l.read(ctx, h.Tenant, h.ID)
	}
	parts, ok := partsOf(h)
	if !ok {
		return l.read(ctx, h.Tenant, h.ID)
	}
	return record{Hold: h, parts: parts}, nil
}
