package story_test

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
)

func (s *story) open(t *rapid.T, tenant string) {
	for _, k := range keys[:2] {
		k := ledger.Key{Tenant: tenant, ID: k, Expires: s.start.Add(1000 * time.Hour)}
		s.do(t, fmt.Sprintf("open %+v", k), func(l ledger.Ledger, _ int) string { return class(l.Open(ctx, k)) })
	}
	if !slices.Contains(s.opened, tenant) {
		s.opened = append(s.opened, tenant)
	}
}

// openAgain opens keys that are open, or those of a tenant that is new.
func (s *story) openAgain(t *rapid.T) { s.open(t, one(t, "tenant", tenants)) }

func (s *story) setBudget(t *rapid.T, tenant string, b ledger.Budget) {
	s.do(t, fmt.Sprintf("set budget in %s: %+v", tenant, b), func(l ledger.Ledger, _ int) string { return class(l.SetBudget(ctx, tenant, b)) })
}

// revise revises a shared budget, or tries to change what it counts.
func (s *story) revise(t *rapid.T) {
	if len(s.rows) == 0 {
		return
	}
	b := one(t, "row", s.rows)
	b.Limit, b.AlertAt = upTo(t, "limit", 150), alerts(t)
	if rarely(t, "changed", 5) {
		changed := budget(t, b.Name, 150)
		b.Window, b.Zone, b.Operations = changed.Window, changed.Zone, changed.Operations
	}
	if rarely(t, "not valid", 20) {
		b = one(t, "odd", []ledger.Budget{{}, {Name: "odd", Meter: cost.Spend, Currency: "USD", Limit: -1, Window: cost.Day}, {Name: "odd", Meter: cost.Calls, Window: "fortnight"}})
	}
	s.setBudget(t, s.tenant(t), b)
}

// reserve asks for a new reservation.
func (s *story) reserve(t *rapid.T) { s.admit(t, s.request(t)) }

// admit reserves, and checks that what was admitted fits.
func (s *story) admit(t *rapid.T, r ledger.Request) (ok bool) {
	var holds [2]ledger.Hold
	s.acted = r.Tenant
	s.do(t, fmt.Sprintf("reserve %s", request(r)), func(l ledger.Ledger, i int) string {
		h, err := l.Reserve(ctx, r)
		if ok = err == nil; ok {
			holds[i] = h
		}
		return admitted(h, err)
	})
	sent := r
	s.again = func(t *rapid.T) { s.replayed(t, sent) }
	if !ok {
		return false
	}
	if s.last = s.clock.Now(); r.Claim != nil || r.Repeat != nil {
		s.same = r
	}
	if h := holds[1]; h.Attached || r.Read {
		r.Lines = ledger.CallsOnly(r.Lines)
	}
	s.fits(t, r, holds[1], holds[1].Attached || r.Read)
	if r.Read && !holds[1].Attached {
		return false // nothing more can be told of it
	}
	s.holds = append(s.holds, told{holds, r})
	return true
}

// fits takes what was admitted into the books and checks it.
func (s *story) fits(t *rapid.T, r ledger.Request, h ledger.Hold, apart bool) {
	charged, limits := charges(r, s.row(r.Tenant))
	if apart { // a read or an attempt of a retry: what it counts is in a record of its own, or told by the states alone
		h = s.attempt(r, h)
	}
	if len(h.Entries) > 0 || !apart {
		if k := [2]string{r.Tenant, r.ID}; !r.Read && !slices.Contains(s.kept, k) {
			s.kept = append(s.kept, k)
		}
	}
	before, at := s.books.clone(), map[counter]time.Time{}
	for _, n := range charged {
		if at[n] = s.clock.Now(); s.books.latest[n].After(at[n]) {
			at[n] = s.books.latest[n]
		}
		s.books.latest[n] = at[n]
	}
	s.books.refresh(h, at)
	s.records(t)
	if err := s.books.fits(before, limits, h, s.clock.Now()); err != nil {
		t.Fatal(err)
	}
}

// attempt is the record of a read or of an attempt of a retry.
func (s *story) attempt(r ledger.Request, h ledger.Hold) ledger.Hold {
	own, err := s.ledgers[1].Find(ctx, r.Tenant, r.ID)
	if err != nil { // it has counted nothing
		return ledger.Hold{Tenant: r.Tenant, ID: r.ID, Key: r.Key}
	}
	return own
}

// request is a request as text, with what its pointers point to.
func request(r ledger.Request) string {
	text := fmt.Sprintf("%s %s/%s by %s at %s lines %v object %q deadline %s read %t probing %t memo %q controls %q expires %d",
		r.Tenant, r.ID, r.Nonce, r.Key, r.Operation, r.Lines, r.Object, r.Deadline, r.Read, r.Probing, r.Memo, r.Controls, r.Expires.UnixMicro())
	if r.Claim != nil {
		text += fmt.Sprintf(" claim %+v", *r.Claim)
	}
	if r.Repeat != nil {
		text += fmt.Sprintf(" repeat %+v", *r.Repeat)
	}
	for _, b := range r.Budgets {
		text += fmt.Sprintf("\n    budget %+v", b)
	}
	return text
}

// pick draws a reservation, a late one rather: as it was returned, as it is found now, or bare of all but its name.
func (s *story) pick(t *rapid.T) (told, bool) {
	if len(s.holds) == 0 {
		return told{}, false
	}
	p := s.holds[len(s.holds)-1-rapid.IntRange(0, min(len(s.holds), 7)-1).Draw(t, "which, from the last")]
	switch one(t, "as", []string{"returned", "returned", "found", "bare"}) {
	case "found":
		for i, l := range s.ledgers {
			if h, err := l.Find(ctx, p.Tenant, p.holds[i].ID); err == nil {
				p.holds[i] = h
			}
		}
	case "bare":
		for i, h := range p.holds {
			p.holds[i] = ledger.Hold{Tenant: h.Tenant, ID: h.ID}
		}
	}
	s.acted = p.Tenant
	return p, true
}

// replay sends a reserve again, as a client does that has lost the reply, or takes another's id.
func (s *story) replay(t *rapid.T) {
	p, ok := s.pick(t)
	if !ok || !slices.Contains(s.kept, [2]string{p.Tenant, p.Request.ID}) {
		return
	}
	r := p.Request
	if rarely(t, "another attempt", 3) {
		r.Nonce += "'"
	}
	s.replayed(t, r)
}

// replayed reserves what may have been reserved before. How the budgets stand is told as of then or as of now: the
// contract does not say which.
func (s *story) replayed(t *rapid.T, r ledger.Request) {
	s.compare(t, "reserve again "+request(r), func(l ledger.Ledger, _ int) string {
		h, err := l.Reserve(ctx, r)
		h.States = nil
		return admitted(h, err)
	})
}

// raise adds to a reservation.
func (s *story) raise(t *rapid.T) {
	p, ok := s.pick(t)
	if !ok {
		return
	}
	r := p.Request
	r.Probing, r.Read, r.Lines, r.Memo = false, false, lines(t), one(t, "memo", []string{"", "m", "ü\n"})
	if rarely(t, "other object", 3) {
		r.Object = one(t, "object", []string{objects[0], "", objects[1]})
	}
	if rarely(t, "other budgets", 4) {
		r.Budgets = s.named(t)
	}
	if rarely(t, "other nonce", 12) {
		r.Nonce += "'"
	}
	if rarely(t, "other key", 20) {
		r.Key = one(t, "key", keys)
	}
	if rarely(t, "expires", 15) {
		r.Expires = s.clock.Now()
	}
	before, err := s.ledgers[1].Find(ctx, p.Tenant, p.holds[1].ID)
	s.do(t, fmt.Sprintf("raise %s by %s", p.holds[1].ID, request(r)), func(l ledger.Ledger, i int) string {
		h, err := l.Raise(ctx, p.holds[i], r)
		if err == nil {
			p.holds[i] = h
		}
		h.States = nil
		return admitted(h, err)
	})
	after, err2 := s.ledgers[1].Find(ctx, p.Tenant, p.holds[1].ID)
	if err == nil && err2 == nil && record(before) != record(after) {
		s.fits(t, ledger.Request{Tenant: r.Tenant, ID: after.ID, Key: after.Key, Operation: r.Operation, Lines: r.Lines, Budgets: r.Budgets}, after, false)
		p.Request.Memo = r.Memo
		s.holds = append(s.holds, p)
	}
}

// settle books what became of a call.
func (s *story) settle(t *rapid.T) {
	if p, ok := s.pick(t); ok {
		s.book(t, p, settlement(t))
	}
}

func (s *story) book(t *rapid.T, p told, st ledger.Settlement) {
	tells := s.tells(p.holds[0].Tenant, p.holds[0].ID)
	s.do(t, fmt.Sprintf("settle %s with %+v", p.holds[0].ID, st), func(l ledger.Ledger, i int) string {
		r, err := l.Settle(ctx, p.holds[i], st)
		return receipt(r, err, tells)
	})
	s.again = nil // what it tells of windows that are over, it tells once
}

// tells says of which parts of a reservation a receipt must tell how the budget stands.
func (s *story) tells(tenant, id string) func(i int) bool {
	h, err := s.ledgers[0].Find(ctx, tenant, id)
	if err != nil {
		return func(int) bool { return true }
	}
	budgets := s.looked(tenant)
	states, err := s.ledgers[0].Balance(ctx, tenant, h.Key, budgets)
	return func(i int) bool {
		if i >= len(h.Entries) {
			return true
		}
		e := h.Entries[i]
		for _, st := range states {
			if err == nil && counterOf(tenant, h.Key, st.Budget) == counterOf(tenant, h.Key, ledger.Budget{Name: e.Budget, Shared: e.Shared, Of: e.Of, Observed: e.Observed}) {
				return e.Held > 0 && !s.sentAgain || e.Start >= st.Start.UnixMicro() || st.Window.Rolls() > 0
			}
		}
		return false
	}
}

// checkout reserves for an object and is told that it is not final: what the next call on it takes over.
func (s *story) checkout(t *rapid.T) {
	r := s.request(t)
	r.Object, r.Read = one(t, "object", objects), false
	if !s.admit(t, r) {
		return
	}
	st := ledger.Settlement{Phase: ledger.Pending, Held: r.Lines}
	if rarely(t, "other level", 3) {
		st.Held = lines(t)
	}
	s.book(t, s.holds[len(s.holds)-1], st)
}

// carry calls on an object that is not final, perhaps when the window of its hold is over.
func (s *story) carry(t *rapid.T) {
	before := len(s.holds)
	if s.checkout(t); len(s.holds) == before {
		return
	}
	first := s.holds[len(s.holds)-1].Request
	if rapid.Bool().Draw(t, "later") {
		s.turn(t)
	}
	r := s.request(t)
	r.Tenant, r.Object, r.Key, r.Budgets, r.Read = first.Tenant, first.Object, first.Key, first.Budgets, false
	if rapid.Bool().Draw(t, "same level") {
		r.Lines = first.Lines
	}
	s.admit(t, r)
}

// later reserves when what was reserved last is as old as a rule, a claim or a rolling window remembers it, or just before.
func (s *story) later(t *rapid.T) {
	r, ages := s.request(t), []time.Duration{time.Second}
	if s.last.IsZero() {
		return
	}
	if r.Claim, r.Repeat = s.same.Claim, s.same.Repeat; r.Claim != nil {
		ages = append(ages, r.Claim.Memory)
	}
	if r.Repeat != nil {
		ages = append(ages, r.Repeat.Window)
	}
	for _, b := range slices.Concat(s.own, s.rows) {
		if d := b.Window.Rolls(); d > 0 {
			ages = append(ages, d)
		}
	}
	if now := s.last.Add(one(t, "age", ages) - time.Duration(upTo(t, "less", 1))*time.Microsecond); now.After(s.clock.Now()) {
		s.set(t, now)
	}
	if s.same.ID != "" {
		r.Tenant = s.same.Tenant
	}
	s.admit(t, r)
}

func (s *story) release(t *rapid.T) {
	p, ok := s.pick(t)
	if !ok {
		return
	}
	unsent := rapid.Bool().Draw(t, "unsent")
	s.do(t, fmt.Sprintf("release %s, seen %q, unsent %t", p.holds[0].ID, p.holds[0].Phase, unsent), func(l ledger.Ledger, i int) string {
		return class(l.Release(ctx, p.holds[i], unsent))
	})
}

// releaseEarly releases what is not reserved yet: the caller has given up on an answer.
func (s *story) releaseEarly(t *rapid.T) {
	s.n++
	h := ledger.Hold{Tenant: s.opened[0], ID: fmt.Sprint("r", s.n), Key: keys[0], Phase: ledger.InFlight}
	s.do(t, "release early "+h.ID, func(l ledger.Ledger, _ int) string { return class(l.Release(ctx, h, true)) })
	s.late = h.ID
	s.kept = append(s.kept, [2]string{h.Tenant, h.ID})
	s.holds = append(s.holds, told{[2]ledger.Hold{h, h}, ledger.Request{Tenant: h.Tenant, ID: h.ID, Key: h.Key, Nonce: "early", Expires: s.start.Add(1000 * time.Hour), Operation: operations[0]}})
}

func (s *story) adjust(t *rapid.T) {
	p, ok := s.pick(t)
	if !ok {
		return
	}
	a := ledger.Adjustment{ID: one(t, "adjustment", []string{"a1", "a\n2", "a3"}), Actual: lines(t), Reason: one(t, "reason", []string{"", "später\n"})}
	if rarely(t, "failed", 3) {
		a.Actual = nil
	}
	if rarely(t, "no id", 25) {
		a.ID = ""
	}
	if h, err := s.ledgers[0].Find(ctx, p.Tenant, p.holds[0].ID); err == nil && h.Phase == ledger.Settled && h.Nonce == "" {
		return // settled at nothing without a reserve: there is nothing to correct
	}
	tells := s.tells(p.Tenant, p.holds[0].ID)
	s.do(t, fmt.Sprintf("adjust %s by %+v", p.holds[0].ID, a), func(l ledger.Ledger, i int) string {
		r, err := l.Adjust(ctx, p.Tenant, p.holds[i].ID, a)
		return receipt(r, err, tells)
	})
}

// stop controls whatever there is. Most of it is resumed soon, or the rest of the story would be short; a revoke stays.
func (s *story) stop(t *rapid.T) {
	c := s.control(t)
	s.turned(t, c)
	if c.Tenant == "" && rarely(t, "a new tenant", 2) { // finds what holds for all
		s.open(t, tenants[2])
		r := s.request(t)
		r.Tenant = tenants[2]
		s.admit(t, r)
	}
	if c.Verb != ledger.Resume && !rarely(t, "stays", 3) {
		s.reserve(t)
		c.Verb = ledger.Resume
		s.turned(t, c)
	}
	s.acted = ""
}

// thaw resumes the keys that an overspend has frozen.
func (s *story) thaw(t *rapid.T) {
	for _, tenant := range s.opened {
		for _, k := range keys[:2] {
			s.turned(t, ledger.Control{Tenant: tenant, Key: k, Verb: ledger.Resume})
		}
	}
}

func (s *story) turned(t *rapid.T, c ledger.Control) {
	s.do(t, fmt.Sprintf("control %+v", c), func(l ledger.Ledger, _ int) string {
		r, err := l.Control(ctx, c)
		return fmt.Sprintf("%s %q", class(err), r.Tenants)
	})
}

// acknowledge forgets some alerts, by the ids that each ledger gave them.
func (s *story) acknowledge(t *rapid.T) {
	tenant, every := s.tenant(t), one(t, "every", []int{1, 2, 3})
	s.do(t, fmt.Sprintf("acknowledge in %s each of %d", tenant, every), func(l ledger.Ledger, _ int) string {
		list, err := l.Alerts(ctx, tenant)
		ids := []string{"unknown"}
		for i, a := range list {
			if i%every == 0 {
				ids = append(ids, a.ID)
			}
		}
		return class(err) + class(l.Acknowledge(ctx, tenant, ids...))
	})
}

// repeat carries out the last verb once more.
func (s *story) repeat(t *rapid.T) {
	if s.again != nil {
		s.again(t)
	}
}

// ask asks for what is not there.
func (s *story) ask(t *rapid.T) {
	tenant := s.tenant(t)
	s.do(t, "ask for what is not there", func(l ledger.Ledger, _ int) string {
		_, find := l.Find(ctx, tenant, "unknown")
		_, row := l.Budget(ctx, tenant, "gone")
		_, gone := l.Balance(ctx, tenant, keys[0], []ledger.Budget{{Name: "gone", Shared: true, Limit: ledger.NoLimit}})
		_, nobody := l.Balance(ctx, tenant, keys[2], s.own)
		_, settle := l.Settle(ctx, ledger.Hold{Tenant: tenant, ID: "unknown"}, ledger.Settlement{Phase: ledger.Settled})
		_, raise := l.Raise(ctx, ledger.Hold{Tenant: tenant, ID: "unknown"}, ledger.Request{Tenant: tenant, ID: "unknown"})
		_, adjust := l.Adjust(ctx, tenant, "unknown", ledger.Adjustment{ID: "a"})
		text := class(find) + class(row) + class(gone) + class(nobody) + class(settle) + class(raise) + class(adjust)
		for _, b := range s.rows {
			b, err := l.Budget(ctx, tenant, b.Name)
			text += "\n    " + class(err) + state(ledger.State{Budget: b})
		}
		return text
	})
}

// turn sets the clock: on by a little or a lot, back, or to where a window of some budget ends, or just before. All of a
// story is within a month, after which a ledger may forget what is over.
func (s *story) turn(t *rapid.T) {
	now := s.clock.Now()
	switch one(t, "clock", []string{"on", "to a border", "far", "back"}) {
	case "on":
		now = now.Add(time.Duration(upTo(t, "micros", int64(3*time.Hour/time.Microsecond))) * time.Microsecond)
	case "to a border":
		b := one(t, "of", slices.Concat(s.own, s.rows))
		if _, end, err := ledger.Window(b, now); err == nil && end > 0 {
			now = time.UnixMicro(end + one(t, "and", []int64{0, -1, 1, ledger.Lookback(b)}))
		}
	case "far":
		now = now.Add(time.Duration(upTo(t, "hours", 200)) * time.Hour)
	case "back":
		now = now.Add(-time.Duration(upTo(t, "back", int64(30*time.Hour/time.Microsecond))) * time.Microsecond)
	}
	s.set(t, now)
}

func (s *story) set(t *rapid.T, now time.Time) {
	if now.Before(s.start.Add(-48*time.Hour)) || now.After(s.start.Add(28*24*time.Hour)) {
		return
	}
	t.Logf("clock %s", now.UTC().Format(time.RFC3339Nano))
	s.clock.Set(now.UTC())
	s.again = nil // a read that counts nothing leaves no record: later it is another call
}
