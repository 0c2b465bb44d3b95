package redisledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

// How long a finished reservation is remembered, so that a late or repeated verb finds it. With a claim it is
// longer than any vendor remembers an idempotency key. Those that hold nothing and cannot be settled, reads and
// attempts of a retry, are kept for as long as a client may send their reserve again. An open one has no expiry.
const (
	keepClaimed = 31 * 24 * time.Hour
	keepPlain   = 24 * time.Hour // unless it booked money: then [Options.Remember], if that is longer
	keepCounted = time.Minute
)

// A record is a reservation as it is stored. Its fields in Redis:
//
//	p phase · n nonce · k key · d deadline · o object · m memo · c claim · of the reservation it attached to
//	f operation and budgets, JSON · l layout of e · e parts, see record.lua · v version, raised by every change
//	cs controls, JSON · al thresholds for alerts, see alert.lua · w what was only observed to be refused, see reserve.lua
//	adj adjustments, a line each: when, and JSON · b what was booked in each part before the first of them
//	saw the pending reservation that carried the object · ru until when a retry may run
//	attached how many retries have · raised, probing, void, ov: present or not; ov: it has cost more than was held; void: given back, so that its claim counts no more
type record struct {
	ledger.Hold
	parts          []ledger.Part
	version, claim string
	of             string
	fixed          string
	would          string
}

// fixed is what of a record never changes between charges.
type fixed struct {
	Operation string   `json:"op"`
	Budgets   []budget `json:"b,omitempty"`
}

// budget is a [ledger.Budget] in JSON of a form of its own, so that a change of the Go struct does not change
// what is stored.
type budget struct {
	Name       string         `json:"n,omitempty"`
	Shared     bool           `json:"s,omitempty"`
	Of         string         `json:"of,omitempty"`
	Observed   bool           `json:"ob,omitempty"`
	Meter      cost.Meter     `json:"m"`
	Currency   cost.Currency  `json:"c,omitempty"`
	Limit      int64          `json:"l,omitempty,string"`
	Window     cost.Window    `json:"w"`
	Zone       string         `json:"z,omitempty"`
	Operations []cost.Pattern `json:"o,omitempty"`
	AlertAt    []int          `json:"a,omitempty"`
}

func stored(b ledger.Budget) budget {
	return budget{b.Name, b.Shared, b.Of, b.Observed, b.Meter, b.Currency, b.Limit, b.Window, b.Zone, b.Operations, b.AlertAt}
}

func (b budget) load() ledger.Budget {
	return ledger.Budget{
		Name: b.Name, Shared: b.Shared, Of: b.Of, Observed: b.Observed, Meter: b.Meter, Currency: b.Currency, Limit: b.Limit,
		Window: b.Window, Zone: b.Zone, Operations: b.Operations, AlertAt: b.AlertAt,
	}
}

// fix makes field f.
func fix(operation string, parts []ledger.Part) string {
	f := fixed{Operation: operation}
	for _, p := range parts {
		f.Budgets = append(f.Budgets, stored(p.Of))
	}
	return inner(f)
}

// layout makes field l: the names of the parts in order.
func layout(entries []ledger.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		name := "o" + counter(e)
		switch {
		case e.Shared && e.Observed:
			name = "S" + e.Budget
		case e.Shared:
			name = "s" + e.Budget
		}
		b.WriteString(strconv.Itoa(len(name)) + ":" + name)
	}
	return b.String()
}

// pack makes field e, as record.lua does.
func pack(parts []ledger.Part) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%d %d %d %d %d %d;", p.Start, p.End, p.Held, p.Booked, p.Base, ledger.Lookback(p.Of))
	}
	return b.String()
}

// unpack reads the hash of a reservation. No fields at all are [ledger.ErrNoHold]; fields that do not fit each
// other are an error, so a damaged record is never taken for an empty one.
func unpack(tenant, id string, m map[string]string) (record, error) {
	if len(m) == 0 {
		return record{}, ledger.ErrNoHold
	}
	r := record{version: m["v"], claim: m["c"], of: m["of"], fixed: m["f"], would: m["w"]}
	r.Hold = ledger.Hold{
		Tenant: tenant, ID: id, Nonce: m["n"], Key: m["k"], Object: m["o"], Memo: m["m"], Phase: ledger.Phase(m["p"]),
	}
	if m["f"] == "" { // a tombstone
		return r, nil
	}
	deadline, err := strconv.ParseInt(m["d"], 10, 64)
	if err != nil {
		return record{}, damaged(id)
	}
	r.Deadline = time.UnixMicro(deadline)
	if m["ru"] != "" {
		until, err := strconv.ParseInt(m["ru"], 10, 64)
		if err != nil {
			return record{}, damaged(id)
		}
		r.RetryUntil = time.UnixMicro(until)
	}
	if m["attached"] != "" {
		if r.Retries, err = strconv.Atoi(m["attached"]); err != nil {
			return record{}, damaged(id)
		}
	}
	var f fixed
	if err := json.Unmarshal([]byte(m["f"]), &f); err != nil {
		return record{}, damaged(id)
	}
	r.Operation = f.Operation
	amounts := strings.Split(m["e"], ";")
	if len(amounts) != len(f.Budgets)+1 {
		return record{}, damaged(id)
	}
	for i, b := range f.Budgets {
		p := ledger.Part{Of: b.load(), Entry: ledger.Entry{
			Budget: b.Name, Shared: b.Shared, Of: b.Of, Observed: b.Observed, Meter: b.Meter, Currency: b.Currency,
		}}
		words := &reply{rest: strings.Split(amounts[i], " ")}
		p.Start, p.End, p.Held, p.Booked, p.Base = words.number(), words.number(), words.number(), words.number(), words.number()
		words.number() // the lookback is Of's
		if words.bad || len(words.rest) > 0 || !countable(p.Held) || !countable(p.Booked) {
			return record{}, damaged(id)
		}
		r.parts = append(r.parts, p)
	}
	r.Entries = entries(r.parts)
	if r.Controls, err = controls(m["cs"]); err != nil {
		return record{}, damaged(id)
	}
	if r.Adjustments, err = adjustments(m["adj"]); err != nil {
		return record{}, damaged(id)
	}
	return r, nil
}

// countable says that n is an amount that a ledger can have.
func countable(n int64) bool { return n >= 0 && n <= cost.Max }

// controls reads field cs: names as the fields of the controls row have them.
func controls(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var list []string
	err := json.Unmarshal([]byte(text), &list)
	for i, name := range list {
		list[i] = strings.TrimPrefix(name, controlField)
	}
	return list, err
}

func damaged(id string) error {
	return fmt.Errorf("redisledger: the record of reservation %s is damaged", id)
}

func entries(parts []ledger.Part) []ledger.Entry {
	var list []ledger.Entry
	for _, p := range parts {
		list = append(list, p.Entry)
	}
	return list
}

// keep is how long the record stays when its reservation ends as it stands.
func (l *Ledger) keep(r record) time.Duration {
	keep := keepPlain
	if r.claim != "" {
		keep = keepClaimed
	}
	if slices.ContainsFunc(r.Entries, func(e ledger.Entry) bool { return e.Meter.Money() && e.Booked > 0 }) {
		keep = max(keep, l.retain)
	}
	return keep
}

// millis is a span as PEXPIRE takes it.
func millis(d time.Duration) string { return digits(d.Milliseconds()) }

// read returns the record of a reservation, or [ledger.ErrNoHold].
func (l *Ledger) read(ctx context.Context, t, id string) (record, error) {
	m, err := within(ctx, l.timeout, func(ctx context.Context) (map[string]string, error) {
		return l.rdb.HGetAll(ctx, tenant(t).record(id)).Result()
	})
	if err != nil {
		return record{}, err
	}
	return unpack(t, id, m)
}

// landed gives parts the windows in which the script has put them.
func landed(parts []ledger.Part, at []window) ([]ledger.Part, []ledger.State, error) {
	if len(parts) != len(at) {
		return nil, nil, fmt.Errorf("redisledger: %w: %d windows for %d budgets", errReply, len(at), len(parts))
	}
	states := make([]ledger.State, len(parts))
	for i, w := range at {
		parts[i].Start, parts[i].End = w.start, w.end
		states[i] = w.state(parts[i].Of)
	}
	return parts, states, nil
}

// state is budget b in window w.
func (w window) state(b ledger.Budget) ledger.State {
	return ledger.State{
		Budget: b, Spent: w.spent, Held: w.held, Start: time.UnixMicro(w.from - ledger.Lookback(b)), Reset: ledger.Reset(b, w.first),
	}
}
