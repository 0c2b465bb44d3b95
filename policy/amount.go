package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
)

// An Amount is money ("80 USD") or a count ("150 calls", "1000 units"). The zero Amount is unset, which is not
// the same as zero: zero is a limit, unset is none. What tells them apart is that an amount of nothing still has
// a currency or a meter, so an Amount written out by hand is a limit too. A literal that does not parse keeps
// its error until the policy is validated, so that a table of literals needs no error handling.
type Amount struct {
	Value    int64         // micro-units of the currency's major unit, or a count
	Currency cost.Currency // empty for counts
	Meter    cost.Meter    // calls or units, for counts

	err error
}

// Money is an amount of decimal major units in a currency: Money("80", "EUR").
func Money(decimal string, currency cost.Currency) Amount {
	v, err := cost.ParseDecimal(decimal)
	if err == nil && !currency.Valid() {
		err = fmt.Errorf("%q is not a currency code such as USD", string(currency))
	}
	return Amount{Value: v, Currency: currency, err: err}
}

// USD is an amount of decimal US dollars: USD("50"), USD("0.25").
func USD(decimal string) Amount { return Money(decimal, "USD") }

// Calls is a number of calls.
func Calls(n int64) Amount { return Amount{Value: n, Meter: cost.Calls} }

// Units is a number of the vendor's countable units: message segments, mail recipients.
func Units(n int64) Amount { return Amount{Value: n, Meter: cost.Units} }

// ParseAmount reads what [Amount.String] writes: "80 USD", "0.25 EUR", "150 calls", "1000 units".
func ParseAmount(s string) (Amount, error) {
	number, unit, ok := strings.Cut(s, " ")
	if !ok {
		return Amount{}, fmt.Errorf("%q is not an amount such as \"80 USD\" or \"150 calls\"", s)
	}
	var a Amount
	if m := cost.Meter(unit); m == cost.Calls || m == cost.Units {
		n, err := cost.ParseCount(number)
		a = Amount{Value: n, Meter: m, err: err}
	} else {
		a = Money(number, cost.Currency(unit))
	}
	return a, a.err
}

// IsZero reports whether a is unset. An amount of nothing, such as USD("0"), is set.
func (a Amount) IsZero() bool {
	return a.Value == 0 && a.Currency == "" && a.Meter == "" && a.err == nil
}

// valid reports what is wrong with a set amount, if anything.
func (a Amount) valid() error {
	switch {
	case a.err != nil:
		return a.err
	case a.Value < 0 || a.Value > cost.Max:
		return cost.ErrRange
	case a.Currency != "" && a.Meter != "":
		return fmt.Errorf("an amount is money or a count, not both %s and %s", a.Currency, a.Meter)
	case a.Currency != "" && !a.Currency.Valid():
		return fmt.Errorf("%q is not a currency code such as USD", string(a.Currency))
	case a.Currency == "" && a.Meter != cost.Calls && a.Meter != cost.Units:
		return errors.New("the amount has no currency; make it with USD, Money, Calls or Units")
	}
	return nil
}

// String is the amount as files write it: "80.00 USD", "150 calls"; empty when unset.
func (a Amount) String() string {
	if a.IsZero() {
		return ""
	}
	return cost.Format(a.Value, a.Currency, a.Meter)
}

// MarshalText writes the amount as a string. An amount that is unset or did not parse is an error.
func (a Amount) MarshalText() ([]byte, error) {
	if err := a.valid(); err != nil {
		return nil, err
	}
	return []byte(a.String()), nil
}

// UnmarshalText reads an amount from a string, the only form that files may use: a bare number has no currency,
// and readers of YAML disagree about what 0100 or 5_000 are.
func (a *Amount) UnmarshalText(text []byte) error {
	parsed, err := ParseAmount(string(text))
	*a = parsed
	return err
}
