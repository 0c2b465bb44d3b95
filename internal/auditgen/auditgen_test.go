package auditgen_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/auditgen"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

func world(seed uint64, records int) (*auditgen.World, []audit.Record) {
	w := auditgen.New(auditgen.Options{Seed: seed, Records: records})
	return w, slices.Collect(w.Records())
}

func TestTheSameOptionsGiveTheSameRecords(t *testing.T) {
	_, a := world(1, 5000)
	_, b := world(1, 5000)
	_, c := world(2, 5000)
	if !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, c) {
		t.Error("the records do not follow from the seed")
	}
	if len(a) < 4000 || len(a) > 6000 {
		t.Errorf("%d records where 5000 were asked for", len(a))
	}
}

// What every record of a brake keeps: its own id, times in order, names of the vendors' catalogues, intents before outcomes,
// and budgets that were not overdrawn.
func TestRecordsAreLikeThoseOfABrake(t *testing.T) {
	table, err := vendors.NewTable([]vendors.Vendor{kbstripe.New(nil), kbtwilio.New(nil), kbresend.New(nil)})
	if err != nil {
		t.Fatal(err)
	}
	w, all := world(3, 20_000)
	ids, intents, kinds := map[string]bool{}, map[string]bool{}, map[string]int{}
	last := w.Start
	for _, r := range all {
		if ids[r.ID] {
			t.Fatalf("two records have the id %s", r.ID)
		}
		ids[r.ID] = true
		if r.Time.Before(last) || !r.Time.Before(w.Until) {
			t.Fatalf("a record of %s comes after %s", r.Time, last)
		}
		last = r.Time
		if row := table.Lookup(r.Operation); r.Class != "" && r.Vendor != "openai" && r.Vendor != "postmark" && (row == nil || string(row.Class) != r.Class) {
			t.Fatalf("%s is no operation of class %s", r.Operation, r.Class)
		}
		switch r.Kind {
		case audit.Intent:
			intents[r.CallID] = true
		case audit.Outcome, audit.Reconciled:
			if !intents[r.CallID] {
				t.Fatalf("an %s without an intent: %+v", r.Kind, r)
			}
		}
		for _, b := range r.Budgets {
			if r.Verdict != audit.Observe && b.Left != b.Limit-b.Spent-b.Held && b.Left != 0 || b.Spent < 0 || b.Held < 0 {
				t.Fatalf("a budget that does not add up: %+v", b)
			}
		}
		kind := string(r.Kind) + " " + r.Outcome
		switch {
		case r.Attached:
			kind = "retry " + kind
		case r.Probe:
			kind = "probe " + kind
		case r.Count > 0:
			kind = "counted " + kind
		}
		kinds[kind]++
	}
	for _, kind := range []string{
		"intent ", "outcome executed", "outcome not_executed", "outcome in_doubt", "outcome pending", "denied ", "counted denied ",
		"control ", "control executed", "control adjusted", "reconciled executed", "reconciled not_executed", "probe intent ", "probe outcome executed",
		"retry intent ", "retry outcome executed",
	} {
		if kinds[kind] == 0 {
			t.Errorf("there is no %q among %v", kind, kinds)
		}
	}
}

func TestThePlantedFactsAreThere(t *testing.T) {
	_, all := world(4, 20_000)
	var looped, storm, near int64
	doubt := map[string]int64{}
	for _, r := range all {
		spend := r.Reservation
		if spend == "" {
			spend = r.CallID
		}
		switch {
		case r.Kind == audit.Intent && !r.Attached && !r.Probe && r.Reserved[0].Meter != cost.Calls:
			doubt[spend] = r.Reserved[0].Amount
		case r.Outcome == "executed", r.Outcome == "not_executed", r.Outcome == "pending":
			delete(doubt, spend)
		}
		if r.Run == auditgen.LoopRun && r.Kind == audit.Outcome {
			looped += r.Actual[0].Amount
		}
		if r.Run == auditgen.StormRun && r.Kind == audit.Denied && r.Reasons[0].Rule == auditgen.StormRule {
			storm += max(1, r.Count)
		}
		for _, b := range r.Budgets {
			if b.Name == auditgen.NearBudget && r.Tenant == auditgen.NearTenant {
				near = max(near, b.Spent+b.Held)
			}
		}
	}
	sum := int64(0)
	for _, amount := range doubt {
		sum += amount
	}
	if looped != auditgen.LoopCost || storm != auditgen.StormCount || near != auditgen.NearSpent {
		t.Errorf("the loop spent %d, the storm has %d refusals, the budget came to %d", looped, storm, near)
	}
	if len(doubt) != auditgen.Doubts || sum != auditgen.DoubtSum {
		t.Errorf("%d calls are in doubt with %d", len(doubt), sum)
	}
}
