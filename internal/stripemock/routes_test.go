package stripemock

import (
	"testing"
)

// Rows that Stripe's description of /v1 does not hold. All of them are hard-denied.
const (
	v2    = "the description that stripe-mock carries covers /v1 alone"
	oauth = "connect.stripe.com is another host, which the description does not cover"
)

var undocumented = map[string]string{
	"stripe.v2.billing.meter_event_session.create": v2,
	"stripe.v2.core.account_tokens.create":         v2,
	"stripe.v2.core.account_links.create":          v2,
	"stripe.v2.core.event_destinations.create":     v2,
	"stripe.v2.core.event_destinations.update":     v2,
	"stripe.v2.core.event_destinations.delete":     v2,
	"stripe.v2.core.event_destinations.enable":     v2,
	"stripe.v2.core.event_destinations.disable":    v2,
	"stripe.oauth.token":                           oauth,
	"stripe.oauth.deauthorize":                     oauth,
}

func TestEveryRowOfTheCatalogueIsAnOperationOfStripes(t *testing.T) {
	left := len(undocumented)
	for _, op := range table(t).Operations() {
		found, why := documented(t, op) != nil, undocumented[op.Name]
		switch {
		case found && why != "":
			t.Errorf("%s is said to be unknown to Stripe's description, which has it", op.Name)
		case !found && why == "":
			t.Errorf("%s: Stripe's description has no %s %s", op.Name, op.Method, op.Path)
		case !found && op.HardDeny == "":
			t.Errorf("%s can be allowed, and Stripe's description does not have it: %s", op.Name, why)
		}
		if why != "" {
			left--
		}
	}
	if left != 0 {
		t.Errorf("%d names of the table above are not in the catalogue", left)
	}
}
