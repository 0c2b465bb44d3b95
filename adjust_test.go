package keybrake_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A refund that failed at the bank comes back days later: the budget has its room again, and the books show both.
func TestAnAdjustmentBooksWhatTheVendorSaysLater(t *testing.T) {
	w := newWorld(t, nil)
	s := w.spend(t, everything())
	if err := s.refund(10000, ""); err != nil {
		t.Fatal(err)
	}
	call := last(w.sink.Records(), audit.Outcome).CallID
	if d, _ := keybrake.DenialFrom(s.refund(100, "")); d == nil || d.Reason != reason.BudgetExceeded {
		t.Fatalf("the budget is not used up: %v", d)
	}
	for range 2 { // a webhook comes twice
		receipt, err := w.Adjust(t.Context(), "acme", call, "re_1 failed", "the bank sent it back", outflowLine(0))
		if err != nil || len(receipt.States) == 0 || receipt.States[0].Spent != 0 {
			t.Fatalf("%+v, %v", receipt, err)
		}
	}
	s.wantExactly(0, 0)
	if r := last(w.sink.Records(), audit.Control); r.Reservation != call || r.Outcome != audit.OutcomeAdjusted || r.Detail != "the bank sent it back" || r.Operation != "stripe.refunds.create" {
		t.Errorf("on record is %+v", r)
	}
	h, err := w.ledger.Find(t.Context(), "acme", call)
	if err != nil || len(h.Adjustments) != 1 || h.Adjustments[0].Reason != "the bank sent it back" {
		t.Errorf("%+v, %v", h.Adjustments, err)
	}
	if err := s.refund(100, ""); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestAnAdjustmentThatCannotBeMeantChangesNothing(t *testing.T) {
	w := newWorld(t, nil)
	s := w.spend(t, everything())
	if err := s.refund(2000, ""); err != nil {
		t.Fatal(err)
	}
	call := last(w.sink.Records(), audit.Outcome).CallID
	full := errors.New("disk full")
	for name, tt := range map[string]struct {
		reservation, id string
		actual          []cost.Line
		want            string
	}{
		"to no cost that is named": {call, "a1", nil, "to which cost?"},
		"of nothing":               {"r_nothing", "a1", []cost.Line{outflowLine(1)}, ledger.ErrNoHold.Error()},
		"in another currency":      {call, "a1", []cost.Line{{Meter: cost.Outflow, Currency: "EUR", Amount: 1}}, "no budget of the reservation counts"},
		"on another meter":         {call, "a1", []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: 1}}, "costs on the meter outflow"},
		"below nothing":            {call, "a1", []cost.Line{outflowLine(-1)}, "range"},
		"without an id":            {call, "", []cost.Line{outflowLine(1)}, "needs an id"},
		"without a record":         {call, "a1", []cost.Line{outflowLine(1)}, "disk full"},
	} {
		if name == "without a record" {
			w.sink.Fail(full)
		}
		_, err := w.Adjust(t.Context(), "acme", tt.reservation, tt.id, "why", tt.actual...)
		w.sink.Fail(nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	s.wantExactly(20_000_000, 0)
}

// Whoever resolves a doubt says why, and that is on record.
func TestAResolutionHasItsReasonOnRecord(t *testing.T) {
	w := newWorld(t, nil)
	_, h := w.doubtful(t)
	if err := w.Resolve(t.Context(), "acme", h.ID, keybrake.ExecutedAsHeld().Because("re_1 is in the dashboard")); err != nil {
		t.Fatal(err)
	}
	if r := last(w.sink.Records(), audit.Control); r.Detail != "resolved by a person: executed as held: re_1 is in the dashboard" {
		t.Errorf("on record is %q", r.Detail)
	}
}
