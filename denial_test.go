package keybrake_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/keybraketest"
	"github.com/keybrake/keybrake-go/reason"
)

func TestDenialFrom(t *testing.T) {
	given := &keybrake.Denial{Reason: reason.KeyRevoked, Status: 401, Operation: "stripe.refunds.create"}
	const marked = `{"message":"refused stripe.refunds.create: no [kbd_budget_exceeded__bteamZ3asupport__mspend__cUSD__l3500000__k500000000__n20000000__r1795478400__ostripeZ2erefundsZ2ecreate]","status":429}`
	told := &keybrake.Denial{
		Reason: reason.BudgetExceeded, Status: 429, Operation: "stripe.refunds.create", Budget: "team:support", Meter: cost.Spend, Currency: "USD",
		Left: 3_500_000, Limit: 500_000_000, Need: 20_000_000, Reset: time.Unix(1795478400, 0).UTC(),
		Detail: "a budget does not cover this call; wait for its reset or raise it",
	}
	for name, c := range map[string]struct {
		err  error
		want *keybrake.Denial
	}{
		"no error":                           {nil, nil},
		"another error":                      {errors.New("no such charge"), nil},
		"the end of a context":               {context.Canceled, nil},
		"the denial itself":                  {given, given},
		"the denial in an error of net/http": {&url.Error{Op: "Post", URL: "https://api.stripe.com", Err: given}, given},
		"the denial beside another":          {errors.Join(errors.New("cleaning up failed"), fmt.Errorf("tool: %w", given)), given},
		"a marker":                           {errors.New(marked), told},
		"a marker in a wrapped error":        {fmt.Errorf("tool refund_customer: %w (gave up)", errors.New(marked)), told},
		"the last of two markers":            {errors.New("[kbd_key_revoked] then " + marked), told},
		"the detail before the marker": {
			errors.New(`{"message":"refused twilio.messages.create: \"GB\" is not among \u003cUS\u003e [kbd_country_denied__otwilioZ2emessagesZ2ecreate]"}`),
			&keybrake.Denial{Reason: reason.CountryDenied, Status: 403, Operation: "twilio.messages.create", Detail: `"GB" is not among <US>`},
		},
		"the detail of a parameter": {
			errors.New(`[ERROR]: refused resend.emails.send: parameter to: 51 of 50 [kbd_param_invalid__oresendZ2eemailsZ2esend__pto]`),
			&keybrake.Denial{Reason: reason.ParamInvalid, Status: 403, Operation: "resend.emails.send", Param: "to", Detail: "51 of 50"},
		},
		"a marker that was cut":     {errors.New(marked[:100]), nil},
		"a reason of a newer brake": {errors.New("[kbd_moon_phase__ostripeZ2erefundsZ2ecreate__qnew]"), &keybrake.Denial{Reason: "moon_phase", Status: 403, Operation: "stripe.refunds.create"}},
		"a number that is none":     {errors.New("[kbd_budget_exceeded__bteam__lmany__k5x__n99999999999999999999__rsoon]"), &keybrake.Denial{Reason: reason.BudgetExceeded, Status: 429, Budget: "team", Detail: told.Detail}},
	} {
		got, ok := keybrake.DenialFrom(c.err)
		if c.want == nil {
			if ok || got != nil {
				t.Errorf("%s: got %+v", name, got)
			}
		} else if !ok || *got != *c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestTheTextOfADenial(t *testing.T) {
	for want, d := range map[string]keybrake.Denial{
		"refused stripe.refunds.create: budget team:support has 3.50 USD left of 500.00, needs 20.00; resets 2026-11-24T00:00Z": {
			Reason: reason.BudgetExceeded, Operation: "stripe.refunds.create", Budget: "team:support", Meter: cost.Spend, Currency: "USD",
			Left: 3_500_000, Limit: 500_000_000, Need: 20_000_000, Reset: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC),
		},
		"refused twilio.messages.create: budget lifetime 1.00 USD has 0.0083 USD left of 1.00, needs 0.0133": {
			Reason: reason.BudgetExceeded, Operation: "twilio.messages.create", Budget: "lifetime 1.00 USD", Meter: cost.Spend, Currency: "USD",
			Left: 8_300, Limit: 1_000_000, Need: 13_300,
		},
		"refused resend.emails.send: budget daily 150 calls has 0 calls left of 150, needs 1; resets 2026-11-23T23:00Z": {
			Reason: reason.BudgetExceeded, Operation: "resend.emails.send", Budget: "daily 150 calls", Meter: cost.Calls, Limit: 150, Need: 1,
			Reset: time.Date(2026, 11, 24, 0, 0, 0, 0, time.FixedZone("CET", 3600)),
		},
		"refused stripe.refunds.create: parameter amount: it is missing": {Reason: reason.ParamInvalid, Operation: "stripe.refunds.create", Param: "amount", Detail: "it is missing"},
		"refused: the vault key expired at noon":                         {Reason: reason.KeyExpired, Detail: "the vault key expired at noon"},
		"refused: the vault key has expired; issue a new one":            {Reason: reason.KeyExpired},
		"refused: ": {Reason: "moon_phase"},
		"in doubt: stripe.payment_intents.confirm: no reply; it may have been executed": {
			Reason: reason.InDoubt, Operation: "stripe.payment_intents.confirm", Detail: "no reply; it may have been executed", Reservation: "r1",
		},
	} {
		if got := d.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// A denial in the shape of the vendor says as a text what it says as a value: another process learns from the text.
func TestADenialIsTheSameInAnotherProcess(t *testing.T) {
	want := keybrake.Denial{
		Reason: reason.BudgetExceeded, Status: 429, Operation: "stripe.refunds.create", Budget: "team:support", Meter: cost.Spend, Currency: "USD",
		Left: 3_500_000, Limit: 500_000_000, Need: 20_000_000, Reset: time.Now().Add(time.Hour).UTC().Truncate(time.Second),
	}
	for _, agent := range sdkAgents() {
		err := agent.pay(&http.Client{Transport: keybraketest.Deny(t, want)}, "anykey")
		got, ok := keybrake.DenialFrom(errors.New(err.Error()))
		if !ok {
			t.Errorf("%s: no denial in %v", agent.name, err)
			continue
		}
		got.Detail = ""
		if *got != want {
			t.Errorf("%s: got %+v, want %+v", agent.name, got, want)
		}
	}
}

// Vendors' errors name the parameter at fault behind the message, and its name is the agent's.
func TestAParametersNameDoesNotPassForAMarker(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 500000, "usd")
	token := w.issue(t, "run_1", everything()).Token()
	const forged = "x[kbd_key_revoked]"
	for name, call := range map[string]sdkCall{
		stripeGo: makeRefund(func(p *stripe.RefundParams) { p.AddExtra(forged, "1") }),
		twilioGo: func(hc *http.Client, token string) error {
			inner := hc.Transport
			hc.Transport = tripFunc(func(r *http.Request) (*http.Response, error) {
				r.URL.RawQuery = url.Values{forged: {"1"}}.Encode()
				return inner.RoundTrip(r)
			})
			return sendText(nil)(hc, token)
		},
	} {
		d := wantRefused(t, call(w.Client(), token), reason.ParamUnknown)
		if d.Param != forged {
			t.Errorf("%s: the parameter at fault is %q, want %q", name, d.Param, forged)
		}
	}
}
