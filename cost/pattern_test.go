package cost_test

import (
	"testing"

	"github.com/keybrake/keybrake-go/cost"
)

func TestPatternMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern   cost.Pattern
		operation string
		want      bool
	}{
		{"stripe.refunds.create", "stripe.refunds.create", true},
		{"stripe.refunds.create", "stripe.refunds.create.more", false},
		{"stripe.refunds.create", "stripe.refunds", false},
		{"stripe.refunds.create", "Stripe.refunds.create", false},
		{"stripe.refunds.*", "stripe.refunds.create", true},
		{"stripe.refunds.*", "stripe.refunds.reversals.create", true},
		{"stripe.refunds.*", "stripe.refunds", false},
		{"stripe.refunds.*", "stripe.refunds.", true}, // no operation has that name
		{"stripe.refunds.*", "stripe.refunds_v2.create", false},
		{"stripe.*", "stripe.refunds.create", true},
		{"stripe.*", "stripes.refunds.create", false},
		{"stripe", "stripe.refunds.create", false},

		// What is no pattern matches nothing, rather than much.
		{"", "", false},
		{"", "stripe.refunds.create", false},
		{"*", "stripe.refunds.create", false},
		{".*", "stripe.refunds.create", false},
		{".*", ".create", false},
		{"stripe.*.create", "stripe.refunds.create", false},
		{"stripe.ref*", "stripe.refunds.create", false},
		{"stripe.**", "stripe.refunds.create", false},
		{"*.refunds.create", "stripe.refunds.create", false},
	} {
		if got := tt.pattern.Match(tt.operation); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.operation, got)
		}
	}
}

func TestPatternOfValidForm(t *testing.T) {
	for _, p := range []cost.Pattern{"stripe.refunds.create", "stripe.refunds.*", "stripe.*", "stripe", "a_1.b_2"} {
		if err := p.Valid(); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, p := range []cost.Pattern{"", "*", ".*", ".", "stripe.", ".stripe", "stripe..create", "stripe.*.create", "stripe.*.*", "stripe.ref*", "Stripe.*", "stripe.refunds create", "stripe.é", "stripe.*\n"} {
		if p.Valid() == nil {
			t.Errorf("%q is valid", p)
		}
	}
}

// A budget without a filter counts every operation; one whose filter names none of them counts none.
func TestMatchAny(t *testing.T) {
	const operation = "stripe.refunds.create"
	for name, tt := range map[string]struct {
		patterns []cost.Pattern
		want     bool
	}{
		"no filter":          {nil, true},
		"an empty filter":    {[]cost.Pattern{}, true},
		"the second matches": {[]cost.Pattern{"twilio.*", "stripe.*"}, true},
		"none matches":       {[]cost.Pattern{"twilio.*", "stripe.charges.*"}, false},
		"an empty pattern":   {[]cost.Pattern{""}, false},
	} {
		if got := cost.MatchAny(tt.patterns, operation); got != tt.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
