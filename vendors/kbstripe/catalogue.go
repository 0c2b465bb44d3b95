package kbstripe

import (
	_ "embed"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// catalogueText is every operation that Stripe publishes, one a line: all of /v1, and those of /v2 that move money.
// It says what an operation does to money, and which of its parameters redirect it. Rows that stand in Go take
// precedence; rows whose cost is "rule" get it from [rules].
//
//go:embed catalogue.tsv
var catalogueText string

// A rule is the code of a row whose path and parameters stand in the catalogue.
type rule struct {
	bound   func(*vendors.Call, *vendors.Reply) (vendors.Bound, error)
	outcome func(*vendors.Call, *vendors.Reply) vendors.Outcome // nil: Stripe's general one
	settle  func(*vendors.Call, vendors.Bound, *vendors.Reply) (vendors.Settlement, error)
}

// catalogued are the catalogue's rows, read once.
var catalogued = sync.OnceValues(func() ([]vendors.Operation, error) {
	rs := rules()
	var ops []vendors.Operation
	for line := range strings.Lines(catalogueText) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		op, price, err := readRow(strings.TrimRight(line, "\n"))
		if err != nil {
			return nil, err
		}
		if price == "rule" {
			r := rs[op.Name]
			op.Bound, op.Settle = r.bound, r.settle // without a rule the table refuses the row
			if r.outcome != nil {
				op.Outcome = r.outcome
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
})

// readRow reads one line: name, class, method, path, cost, parameters, those that redirect.
func readRow(line string) (op vendors.Operation, price string, err error) {
	f := append(strings.Split(line, "\t"), "", "", "")
	host, path := apiHost, f[3]
	if i := strings.IndexByte(path, '/'); i > 0 {
		host, path = path[:i], path[i:]
	}
	op = vendors.Operation{Name: "stripe." + f[0], Class: vendors.Class(f[1]), Method: f[2], Host: host, Path: path}
	if op.Method != http.MethodGet {
		op.Body, op.Outcome = vendors.Form, outcome()
	}
	if op.Method == http.MethodPost {
		op.KeyMemory, op.KeyMax = keyMemory, keyMax
	}
	if op.Method == http.MethodPost && strings.HasPrefix(path, "/v2/") {
		op.Body = vendors.JSON
	}
	if op.Class.Paid() {
		op.Params = schema(strings.Fields(f[5]), strings.Fields(f[6]))
	}
	op.Preview = op.Name == "stripe.invoices.create_preview"
	why, denied := strings.CutPrefix(f[4], "denied: ")
	switch price = f[4]; {
	case denied:
		op.HardDeny = why
	case price == "nothing":
		op.Bound = boundNothing
	case price == "unknown":
		op.Bound = boundUnknown(op.Class)
	case price != "" && price != "rule" && price != "go" || price == "" && op.Class.Paid():
		return op, "", fmt.Errorf("kbstripe: the catalogue has no cost %q (%s)", price, op.Name)
	}
	return op, price, nil
}

// unpriced says, by class, what is not known of an operation that has no rule, and what to do about it.
var unpriced = map[vendors.Class]string{
	vendors.Charge:  "what it charges stands at Stripe alone and is not read here; give the rule a ceiling for one call",
	vendors.Outflow: "what it moves out stands at Stripe alone and is not read here; give the rule a ceiling for one call",
	vendors.Commit:  "what it lets be charged or spent later has no bound that is read here; give the rule a ceiling for one call",
	vendors.Edit:    "it changes what Stripe charges later with no further call; give the rule a ceiling for one call",
	vendors.Fee:     "Stripe bills it by a price that depends on the account; give its price in Options.Fees, or the rule a ceiling for one call",
}

func boundUnknown(class vendors.Class) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) { return unknown(unpriced[class]), nil }
}

// boundFee is a fee's price from the options. No reply tells it, so it is booked as it is.
func boundFee(price cost.Line) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
		return vendors.Bound{Kind: vendors.AtMost, Lines: []cost.Line{price}}, nil
	}
}

var anyID = regexp.MustCompile(`\{[^}]*\}`)

// site is where an operation stands, whatever its ids begin with.
func site(op *vendors.Operation) string {
	return op.Method + " " + op.Host + anyID.ReplaceAllString(op.Path, "{}")
}

// operations joins the rows that stand in Go with those of the catalogue, and gives fees their prices.
func operations(coded []vendors.Operation, fees map[string]string) ([]vendors.Operation, error) {
	all, err := catalogued()
	if err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for i := range coded {
		taken[site(&coded[i])] = true
	}
	prices, err := readFees(fees)
	if err != nil {
		return nil, err
	}
	for _, op := range all {
		if taken[site(&op)] {
			continue
		}
		if price, ok := prices[op.Name]; ok && op.Class == vendors.Fee {
			op.Bound = boundFee(price)
			delete(prices, op.Name)
		}
		coded = append(coded, op)
	}
	for name := range prices {
		return nil, fmt.Errorf("kbstripe: Options.Fees names %s, which is not an operation of class fee", name)
	}
	return coded, nil
}

// readFees reads prices such as "1.50 USD".
func readFees(fees map[string]string) (map[string]cost.Line, error) {
	prices := map[string]cost.Line{}
	for name, text := range fees {
		amount, currency, _ := strings.Cut(text, " ")
		price, err := cost.ParseDecimal(amount)
		line := cost.Line{Meter: cost.Fee, Currency: cost.Currency(currency), Amount: price}
		if err == nil {
			err = line.Valid()
		}
		if err != nil {
			return nil, fmt.Errorf("kbstripe: the price %q of %s is not one such as \"1.50 USD\": %w", text, name, err)
		}
		prices[name] = line
	}
	return prices, nil
}
