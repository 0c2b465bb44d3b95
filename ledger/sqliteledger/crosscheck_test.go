package sqliteledger_test

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/crosscheck"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

// A row that somebody deletes or edits behind the ledger's back is named by a cross-check with the audit.
func TestACrossCheckFindsEditedRows(t *testing.T) {
	path := unsynced(t)
	l := sqliteledger.New(path, nil)
	t.Cleanup(func() { _ = l.Close() })
	ctx := t.Context()
	if err := l.Open(ctx, ledger.Key{Tenant: "acme", ID: "k", Expires: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	usd := func(n int64) []cost.Line { return []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: n}} }
	var records []audit.Record
	for i := range 450 { // more than two pages
		id := fmt.Sprintf("r%03d", i)
		h, err := l.Reserve(ctx, ledger.Request{
			Tenant: "acme", ID: id, Nonce: "n", Key: "k", Expires: time.Now().Add(time.Hour), Operation: "acme.refunds.create", Lines: usd(10), Deadline: time.Minute,
			Budgets: []ledger.Budget{{Name: "all", Meter: cost.Spend, Currency: "USD", Limit: 1e6, Window: cost.Lifetime}},
		})
		if err == nil {
			_, err = l.Settle(ctx, h, ledger.Settlement{Phase: ledger.Settled, Actual: usd(7)})
		}
		if err != nil {
			t.Fatal(err)
		}
		r := audit.Record{ID: "i" + id, Time: time.Now(), Kind: audit.Intent, CallID: id, Tenant: "acme", Key: "k", Reserved: usd(10)}
		o := r
		o.ID, o.Kind, o.Outcome, o.Actual = "o"+id, audit.Outcome, audit.OutcomeExecuted, usd(7)
		records = append(records, r, o)
	}
	look := func(records []audit.Record) crosscheck.Report {
		t.Helper()
		report, err := crosscheck.Run(ctx, l, "acme", func(yield func(audit.Record, error) bool) {
			for _, r := range records {
				if !yield(r, nil) {
					return
				}
			}
		}, &crosscheck.Options{Until: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	if got := look(records); !got.Clean() || got.Reservations != 450 || got.Totals[0].Booked != 450*7 || got.Totals[0].Told != 450*7 {
		t.Fatalf("nothing was edited: %+v", got)
	}
	if got := look(records[:898]); got.Unrecorded.Count != 1 || got.Unrecorded.First[0].Reservation != "r449" {
		t.Errorf("without the records of the last call: %+v", got)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, edit := range []string{`DELETE FROM holds WHERE id = 'r100'`, `UPDATE holds SET parts = replace(parts, '"spent":7', '"spent":1') WHERE id = 'r200'`} {
		if _, err := db.ExecContext(ctx, edit); err != nil {
			t.Fatal(err)
		}
	}
	got := look(records)
	of := func(l crosscheck.List) (ids []string) {
		for _, f := range l.First {
			ids = append(ids, f.Reservation)
		}
		return ids
	}
	if !slices.Equal(of(got.Missing), []string{"r100"}) || !slices.Equal(of(got.Differing), []string{"r200"}) || got.Unrecorded.Count != 0 {
		t.Errorf("of r100, deleted, and r200, edited: %+v", got)
	}
}
