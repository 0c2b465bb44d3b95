package kbstripe_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// A change of a subscription that makes no invoice shows the one before it, which says nothing of what the change costs.
func TestAnOlderInvoiceIsNotWhatAChangeCosts(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for made, want := range map[string]int64{"1700000000": 60_000_000, "1795435140": 500_000} { // three years and a minute before
		_, c := identify(t, table(t), "/v1/subscriptions/sub_1", "items[0][price]=price_1&expand[0]=latest_invoice")
		b := vendors.Bound{Kind: vendors.AtMost, Lines: []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: 60_000_000}}}
		s, err := c.Operation.Settle(c, b, &vendors.Reply{
			Status: 200, Header: http.Header{"Date": {now.Format(http.TimeFormat)}},
			Body: []byte(`{"id":"sub_1","object":"subscription","status":"active","latest_invoice":{"id":"in_1","object":"invoice","created":` + made +
				`,"amount_due":50,"amount_paid":50,"amount_remaining":0,"currency":"usd","status":"paid","auto_advance":false}}`),
		})
		if err != nil || len(s.Actual) != 1 || s.Actual[0].Amount != want {
			t.Errorf("made at %s: %+v, %v, want %d", made, s, err, want)
		}
	}
}
