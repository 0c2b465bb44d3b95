package redisledger

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// A RearmReport says what was put back.
type RearmReport struct {
	Controls int // revokes and pauses said again
	Keys     int // keys opened again
	Budgets  int // shared budgets set again
	Holds    int // reservations that were missing, with their amounts
	Windows  int // windows that had spent less than this process was told
}

// ensureArgs is ARGV[1] of ensure.lua.
type ensureArgs struct {
	Now      string     `json:"now"`
	ID       string     `json:"id"`
	Key      string     `json:"key"`
	Nonce    string     `json:"nonce"`
	Phase    string     `json:"phase"`
	Deadline string     `json:"deadline"`
	Listed   string     `json:"listed"` // score among the open ones; empty: it is not one of them
	Object   string     `json:"object"`
	Carries  bool       `json:"carries"`
	Controls string     `json:"controls"` // as in the record
	Marks    string     `json:"marks"`
	Fixed    string     `json:"fixed"`
	Layout   string     `json:"layout"`
	Memo     string     `json:"memo"`
	Claim    string     `json:"claim"`
	Keep     string     `json:"keep"` // milliseconds; empty: for ever
	Parts    []moveArgs `json:"parts"`
}

// floorArgs is ARGV[1] of floor.lua.
type floorArgs struct {
	Name  string `json:"name"`
	Start string `json:"start"`
	Stop  string `json:"stop"`
	Back  string `json:"back"`
	Spent string `json:"spent"`
	Held  string `json:"held"`
	Alone string `json:"alone"` // not empty: the row was lost while all else stayed, and is new
}

// rearmArgs is ARGV[1] of rearm.lua.
type rearmArgs struct {
	Epoch string   `json:"epoch"`
	Known string   `json:"known"`
	Rows  []string `json:"rows"` // that were put back and must not go missing again
}

// Rearm lifts the freeze of a tenant whose store has lost writes, after it has put back what this process knows of
// them, as Reassert does, and what evidence says: holds from elsewhere, such as another process' memory, with their
// States. (Their keys and budgets are not opened by it.) An empty tenant is the registry and the controls that bind every tenant, which freeze on their own and then
// refuse to open keys.
//
// What the store still had stays as it is. What then stands above a limit stays above it, and refuses further reserves.
// After an error the tenant is frozen as before, or re-armed: saying it again is safe.
//
// Where several processes share the store, say Reassert in each of them before Rearm in one: until a process has put
// back what it knows, its spend is missing in the books. One that was forgotten puts it back by itself when it next
// speaks to the store: its reservations whole, but what it knows only as a sum no further than to that sum, in which what
// was spent since the re-arm is counted too.
func (l *Ledger) Rearm(ctx context.Context, tenantName string, evidence ...ledger.Hold) (RearmReport, error) {
	report, err := l.Reassert(ctx, tenantName)
	if err != nil {
		return report, err
	}
	for _, h := range evidence {
		k, ok := keptOf(h)
		if !ok || h.Tenant != tenantName {
			return report, errors.New("redisledger: the evidence is not a hold of this tenant with its states")
		}
		if err := l.ensure(ctx, k, &report); err != nil {
			return report, err
		}
	}
	meta := metaFor(tenantName)
	rows, err := l.stillThere(ctx, meta)
	if err != nil {
		return report, err
	}
	args := rearmArgs{Epoch: nonce(), Known: l.watch(meta).known(), Rows: append(rows, l.lasting(tenantName)...)}
	got, err := l.run(ctx, rearmScript, []string{meta}, args)
	if err != nil {
		return report, err
	}
	return report, got.expect("ok")
}

// lasting are the rows that Reassert has put back and that are never gone by right.
func (l *Ledger) lasting(t string) []string {
	k := l.memory.copy(metaFor(t), l.estimate())
	list := []string{}
	if t == "" {
		if len(k.tenants) > 0 {
			list = append(list, registry)
		}
		if len(k.controls) > 0 {
			list = append(list, globalControls)
		}
		return list
	}
	if len(k.controls) > 0 {
		list = append(list, tenant(t).controls())
	}
	for name := range k.budgets {
		list = append(list, tenant(t).budget(name))
	}
	return list
}

// stillThere are the rows that are never gone by right, whoever made them, and are not.
func (l *Ledger) stillThere(ctx context.Context, meta string) ([]string, error) {
	return within(ctx, l.timeout, func(ctx context.Context) ([]string, error) {
		fields, err := l.rdb.HGetAll(ctx, meta).Result()
		list := []string{}
		for field := range fields {
			row, ok := strings.CutPrefix(field, "r:")
			if !ok || err != nil {
				continue
			}
			var n int64
			if n, err = l.rdb.Exists(ctx, row).Result(); n == 1 {
				list = append(list, row)
			}
		}
		return list, err
	})
}

func metaFor(t string) string {
	if t == "" {
		return metaOf(registry)
	}
	return tenant(t).meta()
}

func (w *watch) known() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.epoch
}

// Reassert puts back what this process knows that the store has acknowledged to it, and lifts no freeze: revokes and
// pauses, keys, shared budgets, reservations that are missing, settled ones as settled, and in each window at least
// what it was told was spent there. It asks for no limit. What is there stays, so it may be said again, and by every
// process.
//
// A process knows its last 65536 reservations, of the last 23 hours where they are settled, and as many keys and
// windows, since it began. Of settled ones it does not know the memo, of a rolling window it knows the reservations alone. It does not know the claims of idempotency
// keys: a retry of a call from before the loss is a new spend in the books; nor what repeat rules have counted, nor
// alerts.
func (l *Ledger) Reassert(ctx context.Context, tenantName string) (RearmReport, error) {
	var report RearmReport
	k := l.memory.copy(metaFor(tenantName), l.estimate())
	steps := []func(context.Context, *known, *RearmReport) error{l.ensureControls, l.ensureKeys, l.ensureBudgets, l.ensureHolds, l.ensureFloors}
	for _, step := range steps {
		if err := step(ctx, k, &report); err != nil {
			return report, err
		}
	}
	return report, nil
}

func (l *Ledger) ensureControls(ctx context.Context, k *known, report *RearmReport) error {
	for _, a := range k.controls {
		if a.Verb == string(ledger.Resume) && !a.Global && a.Version == "" {
			continue // another process may have paused since; what a lost resume leaves paused is resumed by hand
		}
		row, key := globalControls, globalControls
		if !a.Global {
			row, key = tenant(k.tenant).controls(), tenant(k.tenant).none()
		}
		if a.Key {
			key = tenant(k.tenant).key(ledger.Issued(a.Name[len("key:"):]))
		}
		if _, err := l.control(ctx, row, key, a); err != nil && !errors.Is(err, errRegistry) {
			return err
		}
		report.Controls++
	}
	return nil
}

// ensureKeys also puts the tenant, or those that are known, into the registry.
func (l *Ledger) ensureKeys(ctx context.Context, k *known, report *RearmReport) error {
	for name := range k.tenants {
		if _, err := l.run(ctx, registerAgain, []string{registry, globalControls}, registerArgs{name}); err != nil {
			return err
		}
	}
	if len(k.keys) == 0 {
		return nil
	}
	got, err := l.run(ctx, registerAgain, []string{registry, globalControls}, registerArgs{k.tenant})
	if err != nil {
		return err
	}
	list := globals(got.fields())
	for id, expires := range k.keys {
		a := openArgs{Now: l.clock(), Expires: digits(expires.UnixMicro()), Retention: digits(keepClaimed.Microseconds()), Globals: list, Frozen: k.frozen[id]}
		if _, err := l.run(ctx, openAgainScript, []string{tenant(k.tenant).key(id), tenant(k.tenant).controls()}, a); err != nil {
			return err
		}
		report.Keys++
	}
	return nil
}

// missingRow is why a tenant is frozen of which one row was lost, see watch.lua.
const missingRow = "a row is missing"

// ensureBudgets sends each revision again, which changes nothing where it is there or was replaced. Where it was lost
// and another has been made since, the lower limit stands.
func (l *Ledger) ensureBudgets(ctx context.Context, k *known, report *RearmReport) error {
	why, err := within(ctx, l.timeout, func(ctx context.Context) (string, error) {
		why, err := l.rdb.HGet(ctx, tenant(k.tenant).meta(), "frozen").Result()
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return why, err
	})
	if err != nil {
		return err
	}
	rowMissing := why == missingRow
	for name, s := range k.budgets {
		there, err := l.load(ctx, k.tenant, []string{name})
		if err != nil {
			return err
		}
		if there[0].rev != "" && !ledger.SameCount(there[0].Budget, s.Budget) {
			continue
		}
		key := tenant(k.tenant).budget(name)
		if _, err := l.run(ctx, budgetAgainScript, []string{key}, budgetArgs{Spec: encode(s.Budget), Limit: digits(s.Limit), Rev: s.rev, Alerts: percents(s.AlertAt), Again: true}); err != nil {
			return err
		}
		if there[0].rev == "" && rowMissing {
			k.alone[key] = "1"
		}
		l.specs.Delete(key)
		report.Budgets++
	}
	return nil
}

func (l *Ledger) ensureHolds(ctx context.Context, k *known, report *RearmReport) error {
	for _, h := range k.holds {
		if err := l.ensure(ctx, h, report); err != nil {
			return err
		}
	}
	return nil
}

// ensure puts one reservation back.
func (l *Ledger) ensure(ctx context.Context, k kept, report *RearmReport) error {
	t := tenant(k.Tenant)
	a := ensureArgs{
		Now: l.clock(), ID: k.ID, Key: k.Key, Nonce: k.Nonce, Phase: string(k.Phase), Deadline: digits(k.Deadline.UnixMicro()),
		Object: k.Object, Fixed: fix(k.Operation, k.parts), Layout: layout(entries(k.parts)), Memo: k.Memo, Claim: k.claim,
		Controls: controlsText(k.Controls), Marks: marks(k.parts), Parts: []moveArgs{},
	}
	switch k.Phase {
	case ledger.InFlight:
		a.Listed = a.Deadline
	case ledger.Doubt:
		a.Listed = "0"
	case ledger.Pending:
		a.Carries = k.Object != ""
	default:
		a.Keep = millis(l.keep(k.record))
	}
	keys := newRows(t.record(k.ID), t.key(k.Key), t.open(), t.pending())
	keys.keys = append(keys.keys, pointer(t, k.Object))
	for _, p := range k.parts {
		a.Parts = append(a.Parts, move(ledger.Move{Part: p}, t, k.Key, keys))
	}
	got, err := l.run(ctx, ensureScript, keys.keys, a)
	if err != nil {
		return err
	}
	if got.status == "ok" {
		report.Holds++
	}
	return got.expect("ok", "there")
}

func (l *Ledger) ensureFloors(ctx context.Context, k *known, report *RearmReport) error {
	for at, f := range k.floors {
		a := floorArgs{
			Name: at.name, Start: digits(f.start), Stop: digits(f.end), Back: digits(f.back), Spent: digits(f.spent), Held: digits(f.held), Alone: k.alone[at.row],
		}
		got, err := l.run(ctx, floorScript, []string{at.row}, a)
		if err != nil {
			return err
		}
		if got.status == "ok" {
			report.Windows++
		}
		if err := got.expect("ok", "there"); err != nil {
			return err
		}
	}
	return nil
}

// afterRearm puts back what this process knows, in the background, when it learns that another has re-armed the
// tenant. After an error it is left: the other processes' books are not less right for it than before.
func (l *Ledger) afterRearm(meta string) {
	if name, ok := l.memory.name(meta); ok {
		l.background(func(ctx context.Context) { _, _ = l.Reassert(ctx, name) })
	}
}

// restore puts a hold back that a settlement has not found in a store that has lost some, if the store has acknowledged
// it to this process; h shows that where it is vouched for. One that the store may have forgotten by right stays
// forgotten: it could be booked twice.
func (l *Ledger) restore(ctx context.Context, h ledger.Hold, vouched bool) error {
	k, ok := l.memory.hold(h.Tenant, h.ID)
	if !ok && vouched {
		k, ok = keptOf(h)
	} else if ok {
		ok = k.current(l.estimate())
	}
	if !ok {
		return ledger.ErrNoHold
	}
	return l.ensure(ctx, k, &RearmReport{})
}

// acknowledged takes what was admitted. A read and a retry hold nothing: of those, what the windows had spent is all
// that is remembered.
func (l *Ledger) acknowledged(p *plan, h ledger.Hold) {
	rec := record{Hold: h}
	if !p.attach && h.Phase == ledger.InFlight && len(h.States) == len(h.Entries) {
		before, _ := l.memory.hold(h.Tenant, h.ID) // a raise: what the object held then is as before
		rec.parts, _ = partsOf(h)
		for i := range rec.parts {
			if i < len(p.moves) {
				rec.parts[i].Base = p.moves[i].Base + base(before.parts, rec.parts[i].Entry)
			}
		}
		rec.claim = before.claim
		if p.Claim != nil {
			rec.claim = p.Claim.ID
		}
	}
	l.memory.admitted(rec, p, l.estimate())
}

// base is what the object held before the call in the budget of e.
func base(parts []ledger.Part, e ledger.Entry) int64 {
	i := slices.IndexFunc(parts, func(p ledger.Part) bool { return layout([]ledger.Entry{p.Entry}) == layout([]ledger.Entry{e}) })
	if i < 0 {
		return 0
	}
	return parts[i].Base
}

// adjusted takes what an adjustment has left.
func (l *Ledger) adjusted(rec record, booked []int64) {
	k, ok := l.memory.hold(rec.Tenant, rec.ID)
	if !ok || len(booked) != len(rec.parts) {
		return
	}
	k.Phase, k.parts = ledger.Settled, slices.Clone(rec.parts)
	for i := range k.parts {
		k.parts[i].Booked, k.parts[i].Held = booked[i], 0
	}
	k.Entries = entries(k.parts)
	l.memory.keep(k.record, nil, l.estimate())
}

// remembers takes what a settlement has booked.
func (l *Ledger) remembers(rec record, a settleArgs, states []ledger.State) {
	if len(states) != len(rec.Entries) {
		return
	}
	rec.States = states
	k, ok := l.memory.hold(rec.Tenant, rec.ID)
	if !ok {
		k.record = rec
	}
	parts, ok := a.after(rec, k.parts)
	if !ok {
		return
	}
	if a.Memo != "" && (k.Phase == ledger.InFlight || k.Phase == ledger.Doubt || a.Phase != string(ledger.Doubt)) {
		k.Memo = a.Memo
	}
	if k.Phase == ledger.InFlight || a.Phase != string(ledger.Doubt) {
		k.Phase = ledger.Phase(a.Phase)
	}
	k.Entries, k.parts, k.Object = rec.Entries, parts, a.Object
	l.memory.keep(k.record, states, l.estimate())
}

// keptOf is what a complete hold says.
func keptOf(h ledger.Hold) (kept, bool) {
	if h.Attached || h.ID == "" || len(h.States) != len(h.Entries) {
		return kept{}, false
	}
	parts, ok := partsOf(h)
	return kept{record: record{Hold: h, parts: parts}}, ok
}

// partsOf are the parts of a hold with its states.
func partsOf(h ledger.Hold) ([]ledger.Part, bool) {
	parts := make([]ledger.Part, len(h.Entries))
	for i, e := range h.Entries {
		p := ledger.Part{Entry: e, Of: h.States[i].Budget}
		var err error
		if _, p.End, err = ledger.Window(p.Of, time.UnixMicro(e.Start)); err != nil {
			return nil, false
		}
		parts[i] = p
	}
	return parts, true
}

// controlsText is field cs of a record.
func controlsText(names []string) string {
	if len(names) == 0 {
		return ""
	}
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = controlField + name
	}
	text, _ := json.Marshal(list) // strings only: cannot fail
	return string(text)
}

// after is what parts are once a settlement has been booked; before are those that are remembered.
func (a settleArgs) after(rec record, before []ledger.Part) ([]ledger.Part, bool) {
	parts, ok := partsOf(rec.Hold)
	if !ok {
		return nil, false
	}
	for i, p := range a.Parts {
		if len(before) == len(parts) {
			parts[i].Base = before[i].Base
		}
		if a.Phase != string(ledger.Doubt) && p.Booked != "" {
			parts[i].Booked, parts[i].Held = amount(p.Booked), amount(p.Held)
		}
	}
	return parts, true
}

// afterRelease is what parts are once a release was carried out. What an object held before the call is kept, whether it is
// still this reservation's or not: too much rather than too little.
func afterRelease(k kept, unsent bool) kept {
	unsent = unsent && k.Phase == ledger.InFlight
	k.parts, k.Phase = slices.Clone(k.parts), ledger.Released
	for i := range k.parts {
		p := &k.parts[i]
		if p.Meter != cost.Calls || unsent {
			p.Booked = 0
		}
		if p.Held = min(p.Held, p.Base); p.Held > 0 && k.Object != "" {
			k.Phase = ledger.Pending
		}
	}
	if k.Phase == ledger.Released {
		for i := range k.parts {
			k.parts[i].Held = 0
		}
	}
	return k
}

// name is whose meta row it is, if anything of it is known.
func (m *memory) name(meta string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k := m.of[meta]; k != nil {
		return k.tenant, true
	}
	return "", false
}

// copy is what is known, for Reassert.
func (m *memory) copy(meta string, now time.Time) *known {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.of[meta]
	if k == nil {
		return &known{}
	}
	c := &known{tenant: k.tenant, controls: slices.Clone(k.controls), keys: map[string]time.Time{}, frozen: maps.Clone(k.frozen), budgets: maps.Clone(k.budgets),
		holds: map[string]kept{}, floors: maps.Clone(k.floors), tenants: maps.Clone(k.tenants), alone: map[string]string{}}
	for id, expires := range k.keys {
		if expires.UnixMicro() <= 0 || now.Before(expires.Add(keepClaimed)) {
			c.keys[id] = expires
		}
	}
	for id, h := range k.holds {
		if h.current(now) {
			c.holds[id] = h
		}
	}
	return c
}
