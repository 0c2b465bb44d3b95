// Package books says how the ledger keeps a policy's budgets. It is one place, so that who enforces a policy and who only
// tries it count the same.
package books

import (
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
)

// Of are p's budgets as the ledger keeps them. Those of a policy that is only observed are counted apart.
func Of(p policy.Policy) []ledger.Budget {
	out := make([]ledger.Budget, len(p.Budgets))
	for i, b := range p.Budgets {
		out[i] = Budget(b)
		out[i].Observed = p.InsecureObserve
	}
	return out
}

// Budget is b as the ledger keeps it.
func Budget(b policy.Budget) ledger.Budget {
	if b.Scope != "" && b.Limit.IsZero() {
		return ledger.Budget{Name: b.Scope, Shared: true, Limit: ledger.NoLimit}
	}
	name := b.Title()
	if b.Scope != "" {
		name = b.Scope
	}
	return ledger.Budget{
		Name: name, Shared: b.Scope != "", Meter: b.Counts(), Currency: b.Limit.Currency, Limit: b.Limit.Value,
		Window: b.Window, Zone: b.Zone, Operations: b.Only, AlertAt: b.Percents(),
	}
}
