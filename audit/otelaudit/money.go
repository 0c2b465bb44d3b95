package otelaudit

import (
	"cmp"
	"slices"
	"sync"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
)

// reservations are what records have said of the money of each. A record says what is so, not what has changed, so that
// one that comes twice moves nothing the second time, and what the vendor says later moves the difference alone.
//
// It knows what this process has seen: all that is open, and of the rest the latest. A later word on any other reservation
// moves nothing, for nobody here knows what it has moved before.
type reservations struct {
	mu    sync.Mutex
	all   map[string]*reservation
	queue []string // in which they are forgotten, those that are open excepted
}

const (
	mostQueued = 1 << 14
	mostKnown  = 1 << 15 // however many are open
)

// A reservation is what is known of one now.
type reservation struct {
	about  texts
	held   []cost.Line // while the call is under way or in doubt
	booked []cost.Line
	doubt  bool
	ended  bool // the call itself is over; what comes now are retries and later words
	final  bool // executed, with nothing held any more
	queued bool
}

// A move is by how much a record moves what is known, of one meter and currency, or in calls that are in doubt.
type move struct {
	meter                 cost.Meter
	currency              cost.Currency
	held, inDoubt, booked int64
	calls                 int64
}

// note takes up what r says, and returns whose reservation it is about and what that moves.
func (o *reservations) note(r audit.Record, names func(audit.Record) texts) (texts, []move) {
	id := cmp.Or(r.Reservation, r.CallID)
	if id == "" || r.Probe || r.Kind == audit.Control && r.Outcome == "" {
		return nil, nil
	}
	key := r.Tenant + " " + id
	o.mu.Lock()
	defer o.mu.Unlock()
	it := o.all[key]
	if it == nil {
		if !begins(r) {
			return nil, nil
		}
		it = &reservation{about: names(r)}
		if !o.keep(key, it) && (r.Kind == audit.Intent || r.Outcome == audit.OutcomeInDoubt) {
			return nil, nil // it would stay open for good, for what becomes of it would not be known to be of it
		}
	}
	was := *it
	it.hear(r)
	o.lineUp(key, it)
	return it.about, moves(was, *it)
}

// begins reports whether r can be the first word on a reservation of which money is to be told. The answer to a retry is
// not: the first attempt was another process's, or is forgotten.
func begins(r audit.Record) bool {
	return !r.Attached && (r.Kind == audit.Intent && len(money(r.Reserved)) > 0 ||
		r.Kind == audit.Outcome && (r.Outcome == audit.OutcomeInDoubt || len(money(r.Actual)) > 0))
}

// keep remembers a reservation, if there is room: only where tens of thousands of calls are open there is none.
func (o *reservations) keep(key string, it *reservation) bool {
	if len(o.all) >= mostKnown {
		return false
	}
	if o.all == nil {
		o.all = map[string]*reservation{}
	}
	o.all[key] = it
	return true
}

// lineUp puts a reservation into the queue, and forgets the first there. One that is open then comes again when there is
// more to say of it.
func (o *reservations) lineUp(key string, it *reservation) {
	if it.queued || o.all[key] != it {
		return
	}
	it.queued = true
	o.queue = append(o.queue, key)
	if len(o.queue) <= mostQueued {
		return
	}
	first := o.queue[0]
	o.queue = o.queue[1:]
	if o.all[first].open() {
		o.all[first].queued = false
	} else {
		delete(o.all, first)
	}
}

func (it *reservation) open() bool { return it.doubt || len(it.held) > 0 }

// hear is what r makes of the reservation. The answer to a retry is about the first attempt's spend: it can tell that
// that was executed, and nothing else.
func (it *reservation) hear(r audit.Record) {
	if own := !r.Attached && r.Kind != audit.Reconciled && r.Kind != audit.Control; own {
		if it.ended {
			return // it comes again, and a later word may have come since
		}
		it.ended = r.Kind != audit.Intent
	}
	switch {
	case r.Kind == audit.Intent:
		if !r.Attached {
			it.held = money(r.Reserved)
		}
	case r.Kind == audit.Denied, r.Outcome == audit.OutcomeNotExecuted:
		if !r.Attached {
			it.held, it.booked, it.doubt, it.final = nil, nil, false, false
		}
	case r.Outcome == audit.OutcomeExecuted, r.Outcome == audit.OutcomePending, r.Outcome == audit.OutcomeAdjusted:
		if r.Attached && it.final {
			return // what the vendor remembers; a later word may have come since
		}
		it.held, it.booked, it.doubt = nil, money(r.Actual), false
		it.final = r.Outcome != audit.OutcomePending && len(money(r.Held)) == 0
	case r.Outcome == audit.OutcomeInDoubt && !r.Attached && !it.final:
		it.doubt = true
		it.held = money(r.Reserved)
		if r.Kind != audit.Outcome {
			it.held = less(money(r.Held), it.booked) // what stays held, as later words say it, is with what is booked
		}
	}
}

// money are the lines of a currency, copied: a sink keeps nothing of a record.
func money(list []cost.Line) (out []cost.Line) {
	for _, l := range list {
		if l.Meter.Money() && l.Amount != 0 {
			out = append(out, l)
		}
	}
	return out
}

// less is all without part, never below nothing.
func less(all, part []cost.Line) (out []cost.Line) {
	for _, l := range all {
		for _, p := range part {
			if p.Meter == l.Meter && p.Currency == l.Currency {
				l.Amount = max(0, l.Amount-p.Amount)
			}
		}
		out = append(out, l)
	}
	return money(out)
}

// moves is by what now differs from was.
func moves(was, now reservation) (out []move) {
	add := func(list []cost.Line, to func(*move) *int64, sign int64) {
		for _, l := range list {
			i := slices.IndexFunc(out, func(m move) bool { return m.meter == l.Meter && m.currency == l.Currency })
			if i < 0 {
				i, out = len(out), append(out, move{meter: l.Meter, currency: l.Currency})
			}
			*to(&out[i]) += sign * l.Amount
		}
	}
	for i, it := range []reservation{was, now} {
		sign := int64(2*i - 1) // less what was, and what is now
		add(it.held, func(m *move) *int64 { return &m.held }, sign)
		add(it.booked, func(m *move) *int64 { return &m.booked }, sign)
		if it.doubt {
			add(it.held, func(m *move) *int64 { return &m.inDoubt }, sign)
		}
	}
	if was.doubt != now.doubt {
		n := int64(1)
		if was.doubt {
			n = -1
		}
		out = append(out, move{calls: n})
	}
	return slices.DeleteFunc(out, func(m move) bool { return m.held == 0 && m.inDoubt == 0 && m.booked == 0 && m.calls == 0 })
}
