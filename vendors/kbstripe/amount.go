package kbstripe

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// exponents is Stripe's own table of how many decimals a currency's amounts have; any other currency has two.
// It is neither ISO 4217's nor CLDR's (ISK and UGX have two here, MGA none). Source: docs.stripe.com/currencies,
// read November 2026; the five three-decimal currencies as archived there in 2022, since no longer listed.
var exponents = map[cost.Currency]int{
	"BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "JPY": 0, "KMF": 0, "KRW": 0, "MGA": 0, "PYG": 0, "RWF": 0,
	"VND": 0, "VUV": 0, "XAF": 0, "XOF": 0, "XPF": 0,
	"BHD": 3, "JOD": 3, "KWD": 3, "OMR": 3, "TND": 3,
}

// steps are the currencies whose amounts must be a multiple of something. ISK and UGX are written with two
// decimals that must be 00. UGX also stands, wrongly, on Stripe's list of currencies without decimals: an
// amount that is not a multiple of 100 was most likely written for that list, so it is refused.
var steps = map[cost.Currency]int64{
	"ISK": 100, "UGX": 100,
	"BHD": 10, "JOD": 10, "KWD": 10, "OMR": 10, "TND": 10,
}

// foreign are currencies that ISO 4217 writes with other than two decimals and that Stripe's tables do not
// name. Were Stripe to take them one day, the default of two decimals would be wrong by a factor of up to 100.
var foreign = map[cost.Currency]bool{"CLF": true, "IQD": true, "LYD": true, "UYI": true, "UYW": true}

// A money is an amount as Stripe writes it: whole minor units of a currency.
type money struct {
	minor    int64
	currency cost.Currency
}

var errForeign = errors.New("its number of decimals at Stripe is not established")

// micros converts m to the ledger's unit, exactly or not at all.
func (m money) micros() (int64, error) {
	if !m.currency.Valid() {
		return 0, errors.New("it is not a three-letter code")
	}
	if foreign[m.currency] {
		return 0, errForeign
	}
	decimals, ok := exponents[m.currency]
	if !ok {
		decimals = 2
	}
	scale := int64(cost.MicrosPerUnit)
	for range decimals {
		scale /= 10
	}
	return cost.Mul(m.minor, scale)
}

// lines is m on a meter: one line, or none where m is zero.
func (m money) lines(meter cost.Meter) ([]cost.Line, error) {
	micros, err := m.micros()
	if err != nil || micros == 0 {
		return nil, err
	}
	return []cost.Line{{Meter: meter, Currency: m.currency, Amount: micros}}, nil
}

// bound is an exact bound of m, or the refusal of an amount that Stripe's table does not allow.
func (m money) bound(meter cost.Meter, param string) (vendors.Bound, error) {
	micros, err := m.micros()
	switch {
	case errors.Is(err, cost.ErrRange):
		return vendors.Bound{}, invalid(param, "it is out of range")
	case err != nil:
		return vendors.Bound{}, invalid("currency", err.Error())
	case steps[m.currency] != 0 && m.minor%steps[m.currency] != 0:
		return vendors.Bound{}, invalid(param, fmt.Sprintf("Stripe takes %s in multiples of %d only", m.currency, steps[m.currency]))
	}
	return vendors.Bound{Kind: vendors.Exact, Lines: []cost.Line{{Meter: meter, Currency: m.currency, Amount: micros}}}, nil
}

// sentAmount reads a parameter as whole minor units. Stripe takes ^-?[0-9]+$; here a sign is refused, because a
// negative amount would lower what is held, and so is a leading zero, because some readers take it for octal.
func sentAmount(c *vendors.Call, name string) (minor int64, ok bool, err error) {
	s, ok := c.Get(name)
	if !ok {
		return 0, false, groupless(c, name)
	}
	if s == "" || strings.Trim(s, "0123456789") != "" || (s[0] == '0' && s != "0") {
		return 0, true, invalid(name, "it is not a whole number of the currency's minor unit, in plain digits")
	}
	if minor, err = strconv.ParseInt(s, 10, 64); err != nil || minor > cost.Max {
		return 0, true, invalid(name, "it is out of range")
	}
	return minor, true, nil
}

// needAmount is sentAmount for a parameter that has to be there.
func needAmount(c *vendors.Call, name string) (int64, error) {
	minor, ok, err := sentAmount(c, name)
	if err == nil && !ok {
		err = invalid(name, "it is missing, so the call has no price")
	}
	return minor, err
}

// sentCurrency reads the currency parameter, in lower or upper case.
func sentCurrency(c *vendors.Call) (currency cost.Currency, ok bool, err error) {
	s, ok := c.Get("currency")
	if !ok {
		return "", false, groupless(c, "currency")
	}
	if currency = currencyOf(s); currency == "" {
		return "", true, invalid("currency", "it is not a three-letter code such as usd")
	}
	return currency, true, nil
}

// needMoney reads amount and currency where both have to be sent.
func needMoney(c *vendors.Call) (money, error) {
	minor, err := needAmount(c, "amount")
	if err != nil {
		return money{}, err
	}
	currency, ok, err := sentCurrency(c)
	if err == nil && !ok {
		err = invalid("currency", "it is missing, so the amount has no price")
	}
	return money{minor, currency}, err
}

// currencyOf folds ASCII letters only; the empty Currency says that s is no code.
func currencyOf(s string) cost.Currency {
	b := []byte(s)
	for i, ch := range b {
		if ch >= 'a' && ch <= 'z' {
			b[i] = ch - 'a' + 'A'
		}
	}
	if c := cost.Currency(b); c.Valid() {
		return c
	}
	return ""
}

// groupless refuses a priced parameter that was sent as a group or list ("amount[]=5"): Rack reads it, a look
// at the plain name does not.
func groupless(c *vendors.Call, name string) error {
	if c.Has(name) {
		return invalid(name, "it is a group where a single value belongs")
	}
	return nil
}

// invalid refuses a parameter for its form.
func invalid(param, detail string) *vendors.Refusal {
	return &vendors.Refusal{Code: reason.ParamInvalid, Param: param, Detail: detail}
}
