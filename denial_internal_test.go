package keybrake

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

var markerForm = regexp.MustCompile(`^\[kbd_[A-Za-z0-9_]+\]$`)

// A denial with every field that a marker has room for, and odd names.
func oddDenials() []*Denial {
	reset := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	return []*Denial{
		{Reason: reason.BudgetExceeded, Operation: "stripe.refunds.create", Budget: "team:support", Meter: cost.Spend, Currency: "USD",
			Left: 3_500_000, Limit: 500_000_000, Need: 20_000_000, Reset: reset},
		{Reason: reason.BudgetExceeded, Operation: "twilio.messages.create", Budget: "lifetime 150 calls", Meter: cost.Calls, Limit: 150, Need: 1},
		{Reason: reason.BudgetExceeded, Budget: "monthly 80.00 EUR of outflow", Meter: cost.Outflow, Currency: "EUR", Left: cost.Max, Limit: cost.Max, Need: cost.Max, Reset: reset},
		{Reason: reason.BudgetExceeded, Budget: "__b_Z_z__", Meter: cost.Units},
		{Reason: reason.BudgetExceeded, Budget: "Zürich ]", Meter: cost.Fee, Currency: "CHF"},
		{Reason: reason.BudgetExceeded, Budget: "Z5aZZ__iZ", Meter: cost.Charge, Currency: "JPY", Left: 1},
		{Reason: reason.ParamUnknown, Operation: "resend.emails.send", Param: "headers[X-Other]"},
		{Reason: reason.ParamUnknown, Operation: "stripe.refunds.create", Param: "x[kbd_key_revoked]"},
		{Reason: reason.InDoubt, Operation: "stripe.payment_intents.confirm", Reservation: newID("r")},
		{Reason: reason.KeyMissing},
	}
}

func TestAMarkerCarriesEveryField(t *testing.T) {
	for _, d := range oddDenials() {
		m := d.marker()
		if len(m) > 200 || !markerForm.MatchString(m) {
			t.Errorf("%q is not a marker", m)
		}
		got, ok := parseMarker("402 {\"message\": \"" + d.Error() + " " + m + "\"}")
		if !ok {
			t.Errorf("%q is not found", m)
			continue
		}
		entry, _ := reason.Lookup(d.Reason)
		want := *d
		want.Status, want.Detail = entry.Status, entry.Sentence
		if *got != want {
			t.Errorf("%q says %+v, want %+v", m, *got, want)
		}
	}
}

// Every reason fits, with its longest operation and with a budget of the longest name.
func TestAMarkerHasRoomForWhatMatters(t *testing.T) {
	for _, e := range reason.All() {
		d := &Denial{Reason: e.Code, Budget: strings.Repeat("n", 64), Meter: cost.Outflow, Currency: "USD", Left: cost.Max, Limit: cost.Max, Need: cost.Max}
		got, ok := parseMarker(d.marker())
		if !ok || got.Budget != d.Budget || got.Left != d.Left || got.Limit != d.Limit || got.Need != d.Need {
			t.Errorf("%q says %+v", d.marker(), got)
		}
		in := &Denial{Reason: e.Code, Reservation: newID("r"), Operation: "stripe.payment_intents.increment_authorization"}
		if got, ok := parseMarker(in.marker()); !ok || got.Reservation != in.Reservation || got.Operation != in.Operation {
			t.Errorf("%q says %+v", in.marker(), got)
		}
	}
}

// A field that has no room is left out, and never cut: half a number would be another number.
func FuzzMarker(f *testing.F) {
	for _, d := range oddDenials() {
		f.Add(string(d.Reason), d.Budget, d.Reservation, d.Operation, d.Param, d.Left, d.Limit, d.Need, d.Reset.Unix())
	}
	f.Add("budget_exceeded", strings.Repeat(":", 64), strings.Repeat("é", 99), "", "\x00\n\x1b[31m", int64(-1), int64(1)<<62, int64(0), int64(1))
	f.Fuzz(func(t *testing.T, code, budget, reservation, operation, param string, left, limit, need, reset int64) {
		if _, ok := reason.Lookup(reason.Code(code)); !ok {
			return
		}
		left, limit, need, reset = left&cost.Max, limit&cost.Max, need&cost.Max, reset&(1<<37-1)
		d := &Denial{Reason: reason.Code(code), Budget: budget, Meter: cost.Spend, Currency: "USD", Reservation: reservation,
			Operation: operation, Param: param, Left: left, Limit: limit, Need: need, Reset: time.Unix(reset, 0).UTC()}
		m := d.marker()
		if len(m) > 200 || !markerForm.MatchString(m) {
			t.Fatalf("%q is not a marker", m)
		}
		got, ok := parseMarker(m)
		if !ok || got.Reason != d.Reason {
			t.Fatalf("%q says %+v", m, got)
		}
		for name, v := range map[string][2]string{
			"budget": {got.Budget, budget}, "reservation": {got.Reservation, reservation},
			"operation": {got.Operation, operation}, "param": {got.Param, param},
		} {
			if v[0] != "" && v[0] != v[1] && printed(v[1]) {
				t.Errorf("%s: %q became %q", name, v[1], v[0])
			}
		}
		for name, v := range map[string][2]int64{"left": {got.Left, left}, "limit": {got.Limit, limit}, "need": {got.Need, need}} {
			if v[0] != 0 && v[0] != v[1] {
				t.Errorf("%s: %d became %d", name, v[1], v[0])
			}
		}
		if !got.Reset.IsZero() && !got.Reset.Equal(d.Reset) {
			t.Errorf("reset: %v became %v", d.Reset, got.Reset)
		}
	})
}

// printed reports whether s is text that a log line can hold.
func printed(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) && !strings.ContainsRune(s, utf8.RuneError)
}

// Whatever an agent or a vendor writes, reading it ends, and gives nothing that would not stay on one line of a log.
func FuzzParseMarker(f *testing.F) {
	for _, d := range oddDenials() {
		f.Add(d.marker())
		f.Add(d.Error() + " " + d.marker() + " and more")
		f.Add(d.marker()[:len(d.marker())/2])
	}
	for _, s := range []string{
		"", "[kbd_", "[kbd_]", "[kbd_a]", "[kbd___]", "[kbd_a__]", "[kbd_a__b]", "[kbd_a__bZ]", "[kbd_a__bZzz]", "[kbd_a__bZ0a]", "[kbd_a__bZ1bZ5b31m]",
		"[kbd_a__r]", "[kbd_a__rx]", "[kbd_a__r99999999999999999999]", "[kbd_a__l-1]", "[kbd_A]", "[kbd_a__m\n]", "[kbd_a__cÜ]", "[kbd_a][kbd_b", "[kbd_a__x1__y2]",
		"[kbd_in_doubt__oZ0a]", "[kbd_a__bZ1bZ5b31m__mspend__cUSD]", "[kbd_a__oZc2Z9b31m]", "[kbd_a__pZff]", "[kbd_a__r0]", "[kbd_a__r9007199254740991]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := parseMarker(s)
		if !ok {
			return
		}
		if d.Reason == "" || d.Status < 400 || d.Left < 0 || d.Limit < 0 || d.Need < 0 {
			t.Errorf("%q says %+v", s, d)
		}
		if text := d.Error(); !printed(text) {
			t.Errorf("%q says %q", s, text)
		}
		if _, err := d.Reset.MarshalJSON(); err != nil {
			t.Errorf("%q says %v", s, err)
		}
		if m := d.marker(); len(m) > 200 || !markerForm.MatchString(m) {
			t.Errorf("%q says %q", s, m)
		}
	})
}

func TestWhatIsNoMarker(t *testing.T) {
	for _, s := range []string{
		"", "[kbd_]", "[kbd___bx]", "[kbd_Budget]", "[kbd_budget1]", "kbd_budget_exceeded",
		"[kbd_budget_exceeded", "[kbd_budget_exceeded__bteam__l35", // cut: half a number would be another number
		"[kbd_budget_exceeded__bteam support]", "[kbd_budget_exceeded__b\u001b]", "[kbd_" + strings.Repeat("a", 201) + "]",
	} {
		if d, ok := parseMarker(s); ok {
			t.Errorf("%q says %+v", s, d)
		}
	}
}
