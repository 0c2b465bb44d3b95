package cost

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Rates is a table by which costs in other currencies are counted in one. Exchange rates move and vendors take their
// own, so it has an age above which it is of no use, and a haircut on top of every rate.
type Rates struct {
	To      Currency
	Of      map[Currency]string // how much of To one unit is worth, as a decimal: {"EUR": "1.0842"}
	AsOf    time.Time           // when the rates were true
	MaxAge  time.Duration       // how long they may be used from then on; at most [MostRateAge]
	Haircut int                 // basis points, 0 to 5,000, added to every rate: 200 takes 1.0842 for 1.105884
}

// MostRateAge is the longest that rates may be used.
const MostRateAge = 31 * 24 * time.Hour

// Valid reports what is wrong with r, whatever the time, if anything.
func (r Rates) Valid() error {
	switch {
	case !r.To.Valid():
		return fmt.Errorf("cost: rates to %q, which is not a currency", string(r.To))
	case r.AsOf.IsZero():
		return errors.New("cost: rates without AsOf: nobody can tell how old they are")
	case r.MaxAge <= 0 || r.MaxAge > MostRateAge:
		return fmt.Errorf("cost: rates' MaxAge is %v; it has to be above zero and at most %v", r.MaxAge, MostRateAge)
	case r.Haircut < 0 || r.Haircut > 5000:
		return fmt.Errorf("cost: rates' haircut is %d basis points; it is 0 to 5000", r.Haircut)
	}
	for c, value := range r.Of {
		if _, err := parseRate(value, 12, 28); err != nil || !c.Valid() || c == r.To {
			return fmt.Errorf("cost: rate of %q: %q; write how much %s one unit of another currency is worth, such as \"1.0842\"", string(c), value, r.To)
		}
	}
	return nil
}

// Rate returns the rate of c at now, with the haircut in it. A rate that is missing, stale or of a time to come is an
// error: what cannot be counted is not spent.
func (r Rates) Rate(c Currency, now time.Time) (Rate, error) {
	if err := r.Valid(); err != nil {
		return Rate{}, err
	}
	value, ok := r.Of[c]
	switch {
	case !ok:
		return Rate{}, fmt.Errorf("cost: no rate of %s to %s", c, r.To)
	case now.Sub(r.AsOf) > r.MaxAge:
		return Rate{}, fmt.Errorf("cost: the rates are of %s and may be used for %v", r.AsOf.UTC().Format(time.RFC3339), r.MaxAge)
	case r.AsOf.Sub(now) > time.Hour: // clocks differ
		return Rate{}, fmt.Errorf("cost: the rates are of %s, which is yet to come", r.AsOf.UTC().Format(time.RFC3339))
	}
	exact, _ := parseRate(value, 12, 28) // was checked
	exact.Mul(exact, big.NewRat(int64(10_000+r.Haircut), 10_000))
	digits, _ := exact.FloatPrec() // finite: a decimal times ten-thousandths
	return Rate{From: c, To: r.To, Value: exact.FloatString(digits)}, nil
}

// A Rate is one rate as it was used: it is kept with the reservation and used again when the cost is booked.
type Rate struct {
	From  Currency `json:"from"`
	To    Currency `json:"to"`
	Value string   `json:"value"` // how much of To one unit of From counts as: an exact decimal
}

// Convert counts l in r.To, rounded up. A line in another currency than r.From is as it was.
func (r Rate) Convert(l Line) (Line, error) {
	if l.Currency != r.From {
		return l, nil
	}
	exact, err := parseRate(r.Value, 13, 32) // a haircut adds one digit and four
	if err != nil || !r.To.Valid() {
		return l, fmt.Errorf("cost: %q is not a rate of %s", r.Value, r.From)
	}
	exact.Mul(exact, new(big.Rat).SetInt64(l.Amount))
	up := new(big.Int).Sub(new(big.Int).Add(exact.Num(), exact.Denom()), big.NewInt(1))
	up.Div(up, exact.Denom()) // the ceiling, as Div rounds down
	if !up.IsInt64() || up.Int64() > Max {
		return l, fmt.Errorf("cost: %s in %s: %w", l, r.To, ErrRange)
	}
	l.Currency, l.Amount = r.To, up.Int64()
	return l, nil
}

// parseRate reads a positive decimal of at most so many digits before the point and after it.
func parseRate(s string, before, after int) (*big.Rat, error) {
	whole, fraction, point := strings.Cut(s, ".")
	ok := digits(whole) && len(whole) <= before && (!point || digits(fraction)) && len(fraction) <= after
	rate, read := new(big.Rat).SetString(s)
	if !ok || !read || rate.Sign() <= 0 {
		return nil, fmt.Errorf("cost: %q is not a rate", s)
	}
	return rate, nil
}
