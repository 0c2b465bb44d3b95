package kbstripe

import (
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// only reports whether a call has no other parameters than those named, headers that redirect aside: each needs a rule
// of its own.
func only(c *vendors.Call, names ...string) bool {
	return !slices.ContainsFunc(c.Params, func(p vendors.Param) bool {
		root, _, _ := strings.Cut(p.Name, "[")
		return !slices.Contains(names, root) && !slices.Contains(redirectHeaders, root)
	})
}

// boundOnly is nothing for a call that changes words alone, and unknown for any other.
func boundOnly(class vendors.Class, words ...string) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
		if only(c, words...) {
			return vendors.Bound{Kind: vendors.Exact}, nil
		}
		return unknown(unpriced[class]), nil
	}
}

// An element is one of a list's, by the names of its fields: "quantity", "price_data[unit_amount]".
type element map[string]string

var inList = regexp.MustCompile(`^([a-z_]+)\[([0-9]{1,4})\]\[([a-z_]+)\](.*)$`)

// elements are those of a list whose elements are numbered. ok is false where they are not, or stand in another form:
// which field then belongs to which element is for Stripe to say.
func elements(c *vendors.Call, list string) (all []element, ok bool) {
	byIndex := map[string]element{}
	for _, p := range c.Params {
		if root, _, _ := strings.Cut(p.Name, "["); root != list {
			continue
		}
		m := inList.FindStringSubmatch(p.Name)
		if m == nil {
			return nil, false
		}
		if byIndex[m[2]] == nil {
			byIndex[m[2]] = element{}
			all = append(all, byIndex[m[2]])
		}
		byIndex[m[2]][m[3]+m[4]] = p.Value
	}
	return all, true
}

var (
	wholeNumber   = regexp.MustCompile(`^(0|[1-9][0-9]{0,15})$`)
	decimalNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,15})(\.[0-9]{1,12})?$`)
)

// times is the unit amount, as a whole or a decimal number of minor units, times the quantity, rounded up once. A
// quantity that is not sent is one. known is false where a field is missing, negative or of another form.
func (e element) times(unit, decimal, quantity string) (minor int64, known bool) {
	price, hasUnit := e[unit]
	if d, ok := e[decimal]; ok {
		if hasUnit {
			return 0, false
		}
		price = d
	} else if !hasUnit || !wholeNumber.MatchString(price) {
		return 0, false
	}
	count, ok := e[quantity]
	if !ok {
		count = "1"
	}
	if !decimalNumber.MatchString(price) || !wholeNumber.MatchString(count) {
		return 0, false
	}
	p, _ := new(big.Rat).SetString(price)
	n, _ := new(big.Rat).SetString(count)
	p.Mul(p, n)
	up := new(big.Int).Add(p.Num(), new(big.Int).Sub(p.Denom(), big.NewInt(1)))
	if up.Quo(up, p.Denom()); !up.IsInt64() || up.Int64() > cost.Max {
		return 0, false
	}
	return up.Int64(), true
}

// sumOf is what the elements cost together, each at the price that it carries itself. known is false where one has a
// price that stands at Stripe, or a field that is not among those whose effect is read here. A quantity that the
// customer can change counts at its maximum.
func sumOf(all []element) (m money, known bool) {
	for _, e := range all {
		for field := range e {
			root, _, _ := strings.Cut(field, "[")
			if root != "metadata" && !strings.HasPrefix(field, "price_data[product_data]") && !slices.Contains(pricedFields, field) {
				return money{}, false
			}
		}
		quantity := "quantity"
		if enabled, ok := e["adjustable_quantity[enabled]"]; ok && enabled != "false" {
			if quantity = "adjustable_quantity[maximum]"; e[quantity] == "" {
				return money{}, false
			}
		}
		currency := currencyOf(e["price_data[currency]"])
		minor, ok := e.times("price_data[unit_amount]", "price_data[unit_amount_decimal]", quantity)
		if !ok || currency == "" || m.currency != "" && m.currency != currency {
			return money{}, false
		}
		sum, err := cost.Add(m.minor, minor)
		if err != nil {
			return money{}, false
		}
		m = money{sum, currency}
	}
	return m, len(all) > 0
}

var pricedFields = []string{
	"quantity", "price_data[currency]", "price_data[unit_amount]", "price_data[unit_amount_decimal]", "price_data[product]",
	"price_data[tax_behavior]", "price_data[recurring][interval]", "price_data[recurring][interval_count]",
	"adjustable_quantity[enabled]", "adjustable_quantity[minimum]", "adjustable_quantity[maximum]",
}

// minorOf converts a line of that currency back to minor units, rounding up; zero for another currency or none.
func minorOf(currency cost.Currency, l cost.Line) int64 {
	unit, err := money{1, currency}.micros()
	if err != nil || unit == 0 || l.Currency != currency {
		return 0
	}
	return (l.Amount + unit - 1) / unit
}
