package kbstripe

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// An entryKind says on which meter a balance transaction counts, and whether its amount is money that came in.
type entryKind struct {
	meter cost.Meter
	in    bool
}

// entryKinds are the types of balance transactions that calls make (docs.stripe.com/reports/balance-transaction-types,
// read November 2026). A payout that is reversed comes in as a payout, as its inverse, and counts as a charge.
var entryKinds = map[string]entryKind{
	"charge": {cost.Charge, true}, "payment": {cost.Charge, true}, "topup": {cost.Charge, true}, "transfer_refund": {cost.Charge, true},
	"refund": {cost.Outflow, false}, "payment_refund": {cost.Outflow, false}, "transfer": {cost.Outflow, false}, "payout": {cost.Outflow, false},
	"application_fee_refund": {cost.Outflow, false}, "climate_order_purchase": {cost.Outflow, false},
	"stripe_fee": {cost.Fee, false}, "stripe_fx_fee": {cost.Fee, false}, "tax_fee": {cost.Fee, false},
}

// usage adds up a day's balance transactions: what was taken and what was paid out, before fees, and the fees.
func usage(d *vendors.Day) (vendors.Usage, error) {
	u := vendors.Usage{Runs: map[string][]cost.Line{}}
	others, after := map[string]int{}, ""
	for _, page := range d.Seen {
		if page.Status != http.StatusOK {
			return vendors.Usage{}, fmt.Errorf("kbstripe: Stripe answered status %d to the list of balance transactions", page.Status)
		}
		o := readReply(page, "list")
		v, _ := vendors.Member(o.tree, "data")
		data, ok := v.([]any)
		more := o.truth("has_more")
		if !ok {
			o.fail("data", "a list")
		}
		before := after
		for _, v := range data {
			entry := readObject(v, "balance_transaction")
			after = entry.text("id")
			if err := addEntry(&u, entry, others); err != nil {
				return vendors.Usage{}, err
			}
		}
		switch {
		case o.err != nil:
			return vendors.Usage{}, o.err
		case !more:
			u.Note = noteOf(others)
			return u, nil
		case after == before:
			return vendors.Usage{}, fmt.Errorf("kbstripe: the list of balance transactions does not go on")
		}
	}
	query := []vendors.Param{
		{Name: "created[gte]", Value: digits(d.Start.Unix())}, {Name: "created[lt]", Value: digits(d.Start.Add(24 * time.Hour).Unix())},
		{Name: "limit", Value: "100"}, {Name: "expand[]", Value: "data.source"},
	}
	if after != "" {
		query = append(query, vendors.Param{Name: "starting_after", Value: after})
	}
	return vendors.Usage{Look: &vendors.Probe{Operation: "stripe.balance_transactions.list", Host: apiHost, Path: "/v1/balance_transactions", Query: query}}, nil
}

// addEntry counts one balance transaction. One that no call makes, or that brings back what an earlier one has taken, is
// left out and told.
func addEntry(u *vendors.Usage, entry *reader, others map[string]int) error {
	name, currency := entry.text("type"), entry.currency()
	amount, fee := entry.signed("amount"), entry.signed("fee")
	if entry.err != nil {
		return entry.err
	}
	kind, known := entryKinds[name]
	if name == "payout" && amount > 0 {
		kind = entryKind{cost.Charge, true}
	}
	run := ""
	if source := entry.part("source"); source.err == nil && source.has("metadata") {
		run = (&reader{tree: source.part("metadata").tree}).maybe(markRun)
	}
	if known && amount != 0 && (amount > 0) == kind.in {
		if err := count(u, run, kind.meter, money{max(amount, -amount), currency}); err != nil {
			return err
		}
	} else if amount != 0 {
		others[name]++
	}
	if fee <= 0 {
		return nil
	}
	return count(u, run, cost.Fee, money{fee, currency})
}

// count adds m to the whole and to its run.
func count(u *vendors.Usage, run string, meter cost.Meter, m money) error {
	lines, err := m.lines(meter)
	if err != nil {
		return fmt.Errorf("kbstripe: a balance transaction's amount: %w", err)
	}
	for _, l := range lines {
		if u.Total, err = plus(u.Total, l); err == nil && run != "" {
			u.Runs[run], err = plus(u.Runs[run], l)
		}
		if err != nil {
			return fmt.Errorf("kbstripe: a day's balance transactions: %w", err)
		}
	}
	return nil
}

// plus adds a line to lines, one for each meter and currency.
func plus(lines []cost.Line, l cost.Line) ([]cost.Line, error) {
	for i := range lines {
		if lines[i].Meter == l.Meter && lines[i].Currency == l.Currency {
			var err error
			lines[i].Amount, err = cost.Add(lines[i].Amount, l.Amount)
			return lines, err
		}
	}
	return append(lines, l), nil
}

// noteOf says what the numbers leave out.
func noteOf(others map[string]int) string {
	note := "before fees, in the currency of the balance; of connected accounts only their part in it"
	if len(others) == 0 {
		return note
	}
	var left []string
	for _, name := range slices.Sorted(maps.Keys(others)) {
		left = append(left, fmt.Sprintf("%d %s", others[name], name))
	}
	return note + "; left out, because no call makes them or they bring back what was counted before: " + strings.Join(left, ", ")
}
