package rules

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/document"
	"github.com/keybrake/keybrake-go/vendors"
)

// An expr is a number, exactly: exactly one of its fields is set. Nothing is rounded before a line is made of it.
type expr struct {
	Number  string  `json:"number"`  // itself, in decimal
	Decimal *source `json:"decimal"` // major units of money, in decimal
	Minor   *minor  `json:"minor"`   // minor units of money
	Int     *source `json:"int"`     // a whole number
	Count   *source `json:"count"`   // how many values there are
	Bytes   *source `json:"bytes"`   // how long they are; of what is not text, as JSON
	Lookup  *lookup `json:"lookup"`  // a table's row
	Sum     []expr  `json:"sum"`
	Product []expr  `json:"product"`
	Max     []expr  `json:"max"`
	First   []expr  `json:"first"` // the first of which nothing is missing
}

type minor struct {
	From   source `json:"from"`
	Digits int    `json:"digits"` // how many digits the currency has after the point
}

type lookup struct {
	Table string `json:"table"`
	Key   source `json:"key"`
}

func (c *checker) expr(path string, e *expr) {
	n := 0
	set := func(is bool) bool {
		if is {
			n++
		}
		return is
	}
	if set(e.Number != "") {
		if _, err := decimal(e.Number); err != nil {
			c.fail(path+".number", "%w", err)
		}
	}
	for at, s := range map[string]*source{"decimal": e.Decimal, "int": e.Int, "count": e.Count, "bytes": e.Bytes} {
		if set(s != nil) {
			c.source(path+"."+at, s)
		}
	}
	if set(e.Minor != nil) {
		c.source(path+".minor.from", &e.Minor.From)
		if e.Minor.Digits < 0 || e.Minor.Digits > 6 {
			c.fail(path+".minor.digits", "a currency has 0 to 6 digits after the point")
		}
	}
	if set(e.Lookup != nil) {
		if c.seen && !c.later {
			c.fail(path+".lookup", "beside a look, write the price as a number: what has no row could not be told from what has when the reply comes")
		}
		if _, ok := c.file.Tables[e.Lookup.Table]; !ok {
			c.fail(path+".lookup.table", "there is no table %q", e.Lookup.Table)
		}
		c.source(path+".lookup.key", &e.Lookup.Key)
	}
	for at, list := range map[string][]expr{"sum": e.Sum, "product": e.Product, "max": e.Max, "first": e.First} {
		if set(list != nil) && len(list) == 0 {
			c.fail(path+"."+at, "it has no parts")
		}
		for i := range list {
			c.expr(document.Element(path+"."+at, i), &list[i])
		}
	}
	if n != 1 {
		c.fail(path, "name exactly one of number, decimal, minor, int, count, bytes, lookup, sum, product, max and first")
	}
}

// decimal reads a number of digits with at most one point, at most 40 characters long.
func decimal(s string) (*big.Rat, error) {
	whole, frac, point := strings.Cut(s, ".")
	const digits = "0123456789"
	if whole == "" || point && frac == "" || strings.Trim(whole, digits) != "" || strings.Trim(frac, digits) != "" || len(s) > 40 {
		return nil, fmt.Errorf("%.50q is not a decimal number such as 50 or 0.0083", s)
	}
	r, _ := new(big.Rat).SetString(s)
	return r, nil
}

// A notPriced says that a table has no row for a call. It names the table and not the row, which is the agent's.
type notPriced struct{ table string }

func (n *notPriced) Error() string {
	return fmt.Sprintf("table %q has no row for this call; add it, or give the rule a ceiling", n.table)
}

// An unread says which part of a call or a reply cannot be read.
type unread struct {
	at  *source
	err error
}

func (u *unread) Error() string { return u.at.name() + ": " + u.err.Error() }
func (u *unread) Unwrap() error { return u.err }

// eval is what e says of in.
func (e *expr) eval(in input, tables Tables) (*big.Rat, error) {
	switch {
	case e.Number != "":
		return decimal(e.Number)
	case e.Decimal != nil:
		return e.Decimal.total(in, func(s string) (*big.Rat, error) {
			n, err := cost.ParseDecimal(s)
			return big.NewRat(n, cost.MicrosPerUnit), err
		})
	case e.Int != nil:
		return e.Int.total(in, whole)
	case e.Minor != nil:
		n, err := e.Minor.From.total(in, whole)
		if err != nil {
			return nil, err
		}
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(e.Minor.Digits)), nil)
		return n.Quo(n, new(big.Rat).SetInt(scale)), nil
	case e.Count != nil:
		values, err := e.Count.values(in)
		if err != nil {
			return nil, &unread{e.Count, err}
		}
		return big.NewRat(int64(len(values)), 1), nil
	case e.Bytes != nil:
		return e.Bytes.bytes(in)
	case e.Lookup != nil:
		return e.Lookup.eval(in, tables)
	case e.First != nil:
		return e.first(in, tables)
	}
	return e.fold(in, tables)
}

func whole(s string) (*big.Rat, error) {
	n, err := cost.ParseCount(s)
	return big.NewRat(n, 1), err
}

// total adds up the values at s.
func (s *source) total(in input, read func(string) (*big.Rat, error)) (*big.Rat, error) {
	values, err := s.values(in)
	if err != nil {
		return nil, &unread{s, err}
	}
	total := new(big.Rat)
	for _, v := range values {
		t, err := text(v)
		if err == nil {
			var n *big.Rat
			if n, err = read(t); err == nil {
				total.Add(total, n)
			}
		}
		if err != nil {
			return nil, &unread{s, errType}
		}
	}
	return total, nil
}

func (s *source) bytes(in input) (*big.Rat, error) {
	values, err := s.values(in)
	if err != nil {
		return nil, &unread{s, err}
	}
	total := int64(0)
	for _, v := range values {
		n, ok := vendors.Size(v)
		if !ok {
			return nil, &unread{s, errors.New("it has a list of more than 20,000 numbers")}
		}
		total += n
	}
	return big.NewRat(total, 1), nil
}

func (l *lookup) eval(in input, tables Tables) (*big.Rat, error) {
	values, err := l.Key.values(in)
	if err != nil {
		return nil, &unread{&l.Key, err}
	}
	if len(values) != 1 {
		return nil, &unread{&l.Key, errType}
	}
	key, err := text(values[0])
	if err != nil {
		return nil, &unread{&l.Key, err}
	}
	row, ok := tables[l.Table][key]
	if !ok {
		return nil, &notPriced{l.Table}
	}
	return decimal(row)
}

func (e *expr) first(in input, tables Tables) (*big.Rat, error) {
	var missing error
	for i := range e.First {
		n, err := e.First[i].eval(in, tables)
		if !errors.Is(err, errMissing) {
			return n, err
		}
		missing = err
	}
	return nil, missing
}

func (e *expr) fold(in input, tables Tables) (*big.Rat, error) {
	parts := e.Sum
	into := (*big.Rat).Add
	switch {
	case e.Product != nil:
		parts, into = e.Product, (*big.Rat).Mul
	case e.Max != nil:
		parts, into = e.Max, greater
	}
	var total *big.Rat
	var none *notPriced
	for i := range parts {
		n, err := parts[i].eval(in, tables)
		switch {
		case errors.As(err, &none):
			continue // what else is wrong is worse: it is refused, and this has a ceiling
		case err != nil:
			return nil, err
		case total == nil:
			total = new(big.Rat).Set(n)
		default:
			into(total, total, n)
		}
	}
	if none != nil {
		return nil, none
	}
	if total == nil {
		return nil, errors.New("there is nothing to add up")
	}
	return total, nil
}

func greater(to, a, b *big.Rat) *big.Rat {
	if a.Cmp(b) < 0 {
		return to.Set(b)
	}
	return to.Set(a)
}

// amount makes an amount of a meter of a number: micro-units of money, else a count, rounded up.
func amount(n *big.Rat, m cost.Meter) (int64, error) {
	if m.Money() {
		n = new(big.Rat).Mul(n, big.NewRat(cost.MicrosPerUnit, 1))
	}
	up, rest := new(big.Int).QuoRem(n.Num(), n.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		up.Add(up, big.NewInt(1))
	}
	if n.Sign() < 0 || !up.IsInt64() || up.Int64() > cost.Max {
		return 0, cost.ErrRange
	}
	return up.Int64(), nil
}
