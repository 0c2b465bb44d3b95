package stripemock

import (
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
)

// Why the catalogue has rows that Stripe's description of /v1 does not.
const (
	v2    = "the description that stripe-mock carries covers /v1 alone"
	oauth = "connect.stripe.com is another host, which the description does not cover"
	meter = "meter-events.stripe.com is another host, which the description does not cover"
	sdk   = "stripe-go v76.25.0 (API 2023-10-16) still has it; the description of 2026-08-26 no longer has it"
)

// undocumented is why the description does not have a row, or empty where it should.
func undocumented(op *vendors.Operation) string {
	switch {
	case op.Host == "connect.stripe.com":
		return oauth
	case op.Host == "meter-events.stripe.com":
		return meter
	case strings.HasPrefix(op.Path, "/v2/"):
		return v2
	case strings.HasPrefix(op.Path, "/v1/invoices/upcoming"), strings.Contains(op.Path, "/usage_record"):
		return sdk
	}
	return ""
}

func TestEveryRowOfTheCatalogueIsAnOperationOfStripes(t *testing.T) {
	for _, op := range table(t).Operations() {
		found, why := documented(t, op) != nil, undocumented(op)
		switch {
		case found && why != "":
			t.Errorf("%s is said to be unknown to Stripe's description, which has it", op.Name)
		case !found && why == "":
			t.Errorf("%s: Stripe's description has no %s %s", op.Name, op.Method, op.Path)
		}
	}
}
