package keybrake

import (
	"fmt"
	"slices"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// convert counts lines in the currency of Config.Rates, where there is such a table, and returns the rates that it
// used. A rate that is stale or missing refuses the call: what cannot be counted is not spent.
func (b *Brake) convert(lines []cost.Line) (converted []cost.Line, used []cost.Rate, err error) {
	if b.cfg.Rates == nil || !slices.ContainsFunc(lines, func(l cost.Line) bool { return l.Meter.Money() }) {
		return lines, nil, nil
	}
	table := b.cfg.Rates()
	for _, l := range lines {
		known := slices.ContainsFunc(used, func(r cost.Rate) bool { return r.From == l.Currency })
		if !l.Meter.Money() || l.Currency == table.To || known {
			continue
		}
		rate, err := table.Rate(l.Currency, time.Now())
		if err != nil {
			return nil, nil, vendors.Refuse(reason.CurrencyDenied, "the call costs %s, which cannot be counted: %v", l.Currency, err)
		}
		used = append(used, rate)
	}
	converted, err = convertBy(used, lines)
	if err != nil {
		return nil, nil, vendors.Refuse(reason.CurrencyDenied, "%v", err)
	}
	return converted, used, nil
}

// convertBy counts lines by the rates that a call was reserved at, rounded up once for all of one meter and currency, so
// that what is no more than a bound is none more in the budgets' currency. A line of another currency stays as it is: no
// budget of the call counts it, so it keeps the hold in doubt.
func convertBy(rates []cost.Rate, lines []cost.Line) ([]cost.Line, error) {
	if len(rates) == 0 {
		return lines, nil
	}
	var out []cost.Line
	for _, l := range addLines(nil, lines) {
		for _, r := range rates {
			converted, err := r.Convert(l)
			if err != nil {
				return nil, err
			}
			if converted != l {
				l = converted
				break
			}
		}
		out = addLines(out, []cost.Line{l})
	}
	return out, nil
}

// checkAmounts refuses a rule whose amounts no cost could be compared with, for the same reason.
func (b *Brake) checkAmounts(r policy.Rule) error {
	if b.cfg.Rates == nil {
		return nil
	}
	to := b.cfg.Rates().To
	for name, amount := range map[string]policy.Amount{"max_per_call": r.MaxPerCall, "ceiling": r.Ceiling} {
		if amount.Currency != "" && amount.Currency != to {
			return fmt.Errorf("%s is in %s, and Config.Rates counts all costs in %s; give it in %s", name, amount.Currency, to, to)
		}
	}
	return nil
}

// checkCurrency refuses budgets that could count nothing, since every cost is counted in the one currency of the rates.
func (b *Brake) checkCurrency(budgets []ledger.Budget) error {
	if b.cfg.Rates == nil {
		return nil
	}
	to := b.cfg.Rates().To
	for _, k := range budgets {
		if k.Meter.Money() && k.Currency != to {
			return fmt.Errorf("budget %s is in %s, and Config.Rates counts all costs in %s; give it in %s", k.Name, k.Currency, to, to)
		}
	}
	return nil
}
