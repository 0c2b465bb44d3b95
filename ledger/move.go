package ledger

import "slices"

// A Part is one budget's part in a reservation, as an implementation keeps it. A reservation has at most one
// part in a budget, so that no cost is ever booked twice on it.
type Part struct {
	Entry
	Of   Budget // as it stood at the reserve, for receipts
	End  int64  // of the window, Unix microseconds; 0 for lifetime
	Base int64  // the level that the object held before the call, to which a refused call returns
}

// A Move is what a reserve or a raise does to one budget: what stands in it for the reservation goes, and Part
// comes in its place.
type Move struct {
	Part
	Kept bool    // not charged by this call: the part stays in its window and is not checked
	Own  int     // the index of the reservation's own part that goes, or -1
	Old  []Entry // all that goes: the reservation's own part and that of the carrier
}

// Standing is how much of what goes counts in the window of the slot that starts at start: the part of the books
// there that the move replaces rather than adds to.
func (m Move) Standing(start int64) int64 {
	var n int64
	for _, e := range m.Old {
		if e.Start >= start-Lookback(m.Of) && e.Start <= start {
			n += e.Held + e.Booked
		}
	}
	return n
}

// Level is what stands for the reservation in the budget afterwards.
func (m Move) Level() int64 { return m.Held + m.Booked }

// Moves works out the parts that a reservation has after it was charged: own are those that it has (none at
// Reserve), carrier those of the pending reservation whose object it takes over. Start and End of a charged part
// are left to the implementation, which knows the window that holds. same says that the reservation has taken
// the object over before, so that the charges are its level and not on top of it.
//
// A level never falls here: a call that asks for less than the object holds may yet not be executed.
func Moves(charges []Charge, own, carrier []Part, same bool) []Move {
	var moves []Move
	for _, c := range charges {
		m := Move{Own: -1, Part: Part{Of: c.Budget, Entry: Entry{
			Budget: c.Budget.Name, Shared: c.Budget.Shared, Of: c.Budget.Of, Observed: c.Budget.Observed,
			Meter: c.Budget.Meter, Currency: c.Budget.Currency,
		}}}
		mine, credit := m.take(own, carrier)
		switch {
		case c.AtOnce:
			m.Booked = mine.Booked + c.Amount
		case same:
			m.Held = max(mine.Held+credit.Held, c.Amount)
		default:
			m.Held = mine.Held + max(credit.Held, c.Amount)
		}
		m.Base = mine.Base + credit.Held
		moves = append(moves, m)
	}
	return keep(moves, own, carrier)
}

// take records in m what own and carrier have in its budget. A carrier's bookings stay its own.
func (m *Move) take(own, carrier []Part) (mine, credit Part) {
	if i := slices.IndexFunc(own, m.in); i >= 0 {
		m.Own, mine = i, own[i]
		m.Old = append(m.Old, mine.Entry)
	}
	if i := slices.IndexFunc(carrier, m.in); i >= 0 && carrier[i].Held > 0 {
		credit = carrier[i]
		credit.Booked = 0
		m.Old = append(m.Old, credit.Entry)
	}
	return mine, credit
}

func (m *Move) in(p Part) bool { return p.counter() == m.counter() }

// keep adds the parts in budgets that the call does not charge. They keep their windows: a call that asks for
// nothing more, such as a cancel, is not refused because today's budget is full. Where both have something in one
// window, they join there; in two windows, what is moved into another has to fit there, so it is checked.
func keep(moves []Move, own, carrier []Part) []Move {
	for _, p := range slices.Concat(own, carrier) {
		m := Move{Part: p, Kept: true, Own: -1}
		if slices.ContainsFunc(moves, func(o Move) bool { return o.in(p) }) {
			continue
		}
		mine, credit := m.take(own, carrier)
		if len(m.Old) == 0 {
			continue
		}
		switch {
		case credit.Held > 0 && mine.Held+mine.Booked == 0:
			m.Start, m.End = credit.Start, credit.End
		case credit.Held > 0 && credit.Start != mine.Start:
			m.Kept = false
		}
		m.Held, m.Booked, m.Base = mine.Held+credit.Held, mine.Booked, mine.Base+credit.Held
		moves = append(moves, m)
	}
	return moves
}
