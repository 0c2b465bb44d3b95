// Package cost is money and counts: the currency, the meter, the line, and arithmetic that refuses to
// overflow. It is what policy, vendors, ledger and audit speak with each other in.
//
// Money is an int64 number of micro-units of the currency's major unit: 1.50 USD is 1_500_000, 500 JPY is
// 500_000_000, and a text message at $0.0083 is 8_300, exactly. There are no floating-point numbers here.
// Every amount lies in 0..[Max]; Max is 2^53-1 (about nine billion major units) because a ledger's scripts
// compute in IEEE doubles, which count exactly up to there and not further.
//
// This package imports nothing of Keybrake.
package cost

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Max is the largest amount that a [Line] or a limit may hold: 2^53-1. Anything above it is refused, because
// a ledger that rounds is a ledger that lets calls through.
const Max = 1<<53 - 1

// MicrosPerUnit is the number of micro-units in one major unit of any currency.
const MicrosPerUnit = 1_000_000

// ErrRange says that an amount does not fit 0..Max. Callers deny on it.
var ErrRange = errors.New("cost: amount out of range")

// A Meter is what is counted.
type Meter string

// The meters. Charge, Outflow and Fee are money; a budget on Spend counts all three together.
const (
	Charge  Meter = "charge"  // money taken from customers
	Outflow Meter = "outflow" // money that leaves the account: refunds, payouts, transfers
	Fee     Meter = "fee"     // what the vendor bills for the call itself: a text message, a mail
	Spend   Meter = "spend"   // a budget's word for charge + outflow + fee; no line carries it
	Calls   Meter = "calls"   // calls that were let through
	Units   Meter = "units"   // the vendor's countable units: message segments, mail recipients
)

// Money reports whether m counts money, in which case its lines and budgets carry a currency.
func (m Meter) Money() bool {
	return m == Charge || m == Outflow || m == Fee || m == Spend
}

// Counts reports whether a budget on m counts a line on other.
func (m Meter) Counts(other Meter) bool {
	return m == other || (m == Spend && other.Money())
}

// Valid reports whether m is one of the meters above.
func (m Meter) Valid() bool { return m.Money() || m == Calls || m == Units }

// A Currency is an ISO 4217 code in upper case. The empty Currency belongs to meters that count things.
type Currency string

// Valid reports whether c has the form of an ISO 4217 code: three upper-case ASCII letters.
func (c Currency) Valid() bool {
	if len(c) != 3 {
		return false
	}
	for i := range len(c) {
		if c[i] < 'A' || c[i] > 'Z' {
			return false
		}
	}
	return true
}

// A Line is one amount on one meter. Amount is in micro-units of Currency for the money meters and a plain
// count for the others.
type Line struct {
	Meter    Meter    `json:"meter"`
	Currency Currency `json:"currency,omitempty"`
	Amount   int64    `json:"amount"`
}

// Valid reports what is wrong with l, if anything: a line that is not valid never reaches a ledger.
func (l Line) Valid() error {
	switch {
	case l.Meter == Spend || !l.Meter.Valid():
		return fmt.Errorf("cost: %q is not a meter a line can carry", l.Meter)
	case l.Amount < 0 || l.Amount > Max:
		return ErrRange
	case l.Meter.Money() && !l.Currency.Valid():
		return fmt.Errorf("cost: %q is not a currency code", l.Currency)
	case !l.Meter.Money() && l.Currency != "":
		return fmt.Errorf("cost: a %s line has no currency", l.Meter)
	}
	return nil
}

// String is the line for people: "20.00 USD", "3 units".
func (l Line) String() string { return Format(l.Amount, l.Currency, l.Meter) }

// Format writes an amount of a meter for people: "20.00 USD", "0.0083 USD", "150 calls".
func Format(amount int64, currency Currency, meter Meter) string {
	if currency == "" {
		return strconv.FormatInt(amount, 10) + " " + string(meter)
	}
	return Decimal(amount) + " " + string(currency)
}

// Decimal writes micro-units as a decimal number of major units with two to six fraction digits.
func Decimal(micros int64) string {
	sign, n := "", uint64(micros)
	if micros < 0 {
		sign, n = "-", -n // as uint64, because the least int64 has no positive counterpart
	}
	frac := strings.TrimRight(fmt.Sprintf("%06d", n%MicrosPerUnit), "0")
	for len(frac) < 2 {
		frac += "0"
	}
	return sign + strconv.FormatUint(n/MicrosPerUnit, 10) + "." + frac
}

// ParseDecimal reads a decimal number of major units ("50", "0.0083") as micro-units. It takes ASCII digits
// with at most one point and at most six digits after it: no sign, no exponent, no grouping, no space.
func ParseDecimal(s string) (int64, error) {
	whole, frac, point := strings.Cut(s, ".")
	if !digits(whole) || (point && !digits(frac)) {
		return 0, fmt.Errorf("cost: %q is not a decimal number such as 50 or 0.0083", s)
	}
	if len(frac) > 6 {
		return 0, fmt.Errorf("cost: %q has more than six digits after the point", s)
	}
	n, err := strconv.ParseInt(whole+frac+strings.Repeat("0", 6-len(frac)), 10, 64)
	if err != nil || n > Max {
		return 0, ErrRange
	}
	return n, nil
}

// ParseCount reads a whole number of ASCII digits in 0..Max.
func ParseCount(s string) (int64, error) {
	if !digits(s) {
		return 0, fmt.Errorf("cost: %q is not a whole number", s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > Max {
		return 0, ErrRange
	}
	return n, nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Add returns a+b, or ErrRange when either or the sum is outside 0..Max.
func Add(a, b int64) (int64, error) {
	if a < 0 || b < 0 || a > Max || b > Max-a {
		return 0, ErrRange
	}
	return a + b, nil
}

// Mul returns a*b, or ErrRange when either or the product is outside 0..Max.
func Mul(a, b int64) (int64, error) {
	if a < 0 || b < 0 || a > Max || b > Max || (a != 0 && b > Max/a) {
		return 0, ErrRange
	}
	return a * b, nil
}

// Sum adds the amounts of the lines that a budget on meter and currency counts.
func Sum(lines []Line, meter Meter, currency Currency) (int64, error) {
	var total int64
	var err error
	for _, l := range lines {
		if !meter.Counts(l.Meter) || l.Currency != currency {
			continue
		}
		if total, err = Add(total, l.Amount); err != nil {
			return 0, err
		}
	}
	return total, nil
}
