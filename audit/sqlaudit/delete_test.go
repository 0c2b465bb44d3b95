package sqlaudit_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
)

// totals are what has been spent and refused, whether its records are there or not.
func (w *world) totals(t testing.TB) string {
	t.Helper()
	return w.rows(t, `SELECT day, tenant, agent, run, vendor, credential, operation, meter, currency, sum(calls), sum(actual), sum(held) FROM keybrake_spend
		GROUP BY day, tenant, agent, run, vendor, credential, operation, meter, currency HAVING sum(calls) <> 0`) +
		w.rows(t, "SELECT day, tenant, run, operation, reason, rule, param, sum(refusals) FROM keybrake_denials GROUP BY day, tenant, run, operation, reason, rule, param") +
		w.rows(t, "SELECT * FROM keybrake_budgets") + w.rows(t, "SELECT * FROM keybrake_runs") + w.rows(t, "SELECT * FROM keybrake_labels")
}

func TestDeleteKeepsWhatWasSpentAndWhatVerificationNeeds(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for seed := range uint64(rounds / 2) {
			w.empty(t)
			records := wildStory(seed + 1000).records(30)
			slices.SortFunc(records, func(x, y audit.Record) int { return x.Time.Compare(y.Time) })
			chains := []audit.Sink{audit.Chain(w.Sink, nil), audit.Chain(w.Sink, nil), w.Sink}
			older := map[string]int{}
			cut := theDay.Add(24 * time.Hour)
			for i, r := range records {
				must(t, chains[i%len(chains)].Write(t.Context(), r))
				if r.Time.Before(cut) {
					older["all"]++
				}
			}
			before := w.totals(t)
			n, err := w.Delete(t.Context(), cut)
			must(t, err)
			if int(n) != older["all"] || n == 0 || len(w.all(t)) != len(records)-int(n) {
				t.Errorf("%d of %d records were removed, and %d of %d are left", n, older["all"], len(w.all(t)), len(records))
			}
			if got := w.totals(t); got != before {
				t.Errorf("after it: %s", diff(got, before))
			}
			must(t, w.VerifyDerived(t.Context()))
			must(t, w.Rebuild(t.Context()))
			if got := w.totals(t); got != before {
				t.Errorf("rebuilt: %s", diff(got, before))
			}
			if again, err := w.Delete(t.Context(), cut); again != 0 || err != nil {
				t.Errorf("again: %d, %v", again, err)
			}
			_, err = w.db.Exec("DELETE FROM keybrake_records WHERE writer = ''") // they have no link, and would not verify
			must(t, err)
			verified, err := w.Verify(t.Context(), nil)
			if err != nil || len(verified.Heads) != 2 {
				t.Errorf("%+v: %v", verified, err)
			}
			_, err = w.db.Exec("DELETE FROM keybrake_records WHERE n = (SELECT min(n) FROM keybrake_records)")
			must(t, err)
			var bad *audit.Tampered
			if _, err = w.Verify(t.Context(), nil); !errors.As(err, &bad) {
				t.Errorf("a record behind the cut was removed: %v", err)
			}
		}
	})
}

// What is not at its end outlives its records, and comes to its end as if they were there.
func TestACallThatIsNotAtItsEndOutlivesItsRecords(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		at := func(r audit.Record, kind audit.Kind, outcome string, days int) audit.Record {
			r.ID, r.Kind, r.Outcome, r.Time = fmt.Sprint(r.CallID, kind, days), kind, outcome, theDay.AddDate(0, 0, days)
			if outcome == "" || outcome == "in_doubt" {
				r.Actual = nil
			}
			return r
		}
		doubt, done, retry := executed("", "doubt", 7), executed("", "done", 5), executed("", "retry", 7)
		retry.Attached, retry.Reservation, retry.Reserved = true, "doubt", nil
		w.write(t, at(doubt, audit.Intent, "", 0), at(doubt, audit.Outcome, "in_doubt", 0), at(done, audit.Intent, "", 0), at(done, audit.Outcome, "executed", 0),
			at(retry, audit.Outcome, "not_executed", 1))
		if n, err := w.Delete(t.Context(), theDay.AddDate(0, 0, 2)); n != 5 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		spent := func(want string) {
			t.Helper()
			if got := w.rows(t, "SELECT sum(actual), sum(held) FROM keybrake_spend WHERE meter = 'charge'"); got != want+"\n" {
				t.Errorf("spent and held %s, want %s", got, want)
			}
		}
		calls := func(want string) {
			t.Helper()
			if got := w.rows(t, "SELECT call, state FROM keybrake_calls"); got != want {
				t.Errorf("calls %s, want %s", got, want)
			}
		}
		spent(`["5" "7"]`)
		calls(`["doubt" "in_doubt"]` + "\n" + `["retry" "not_executed"]` + "\n")
		must(t, w.VerifyDerived(t.Context()))
		must(t, w.Rebuild(t.Context()))
		spent(`["5" "7"]`)
		w.write(t, at(doubt, audit.Reconciled, "executed", 50))
		spent(`["12" "0"]`)
		if got := w.rows(t, "SELECT DISTINCT day FROM keybrake_spend WHERE actual = 7"); got != `["2026-11-22"]`+"\n" {
			t.Errorf("it counts on %s", got)
		}
		if n, err := w.Delete(t.Context(), theDay.AddDate(0, 0, 2)); n != 0 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		calls(`["doubt" "executed"]` + "\n" + `["retry" "not_executed"]` + "\n")
		if n, err := w.Delete(t.Context(), theDay.AddDate(0, 0, 51)); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		calls("")
		spent(`["12" "0"]`)
		if got := w.rows(t, "SELECT count(*) FROM keybrake_kept"); got != `["0"]`+"\n" {
			t.Errorf("%s records are kept", got)
		}
		must(t, w.VerifyDerived(t.Context()))
	})
}

func TestDeletesAtOnceCountOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		records := wildStory(5).records(10 * rounds)
		w.write(t, records...)
		before := w.totals(t)
		sums := make(chan int64, 4)
		for range 4 {
			other := sqlaudit.New(w.db, w.dialect, nil)
			go func() {
				n, err := other.Delete(t.Context(), theDay.AddDate(0, 0, 5))
				if err != nil {
					t.Error(err)
				}
				sums <- n
			}()
		}
		var n int64
		for range 4 {
			n += <-sums
		}
		if int(n) != len(records) || w.totals(t) != before {
			t.Errorf("%d of %d: %s", n, len(records), diff(w.totals(t), before))
		}
		must(t, w.VerifyDerived(t.Context()))
	})
}

// After a Delete the tables that only add may say more than the records that are left, and not less.
func TestVerifyDerivedAfterADelete(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		old, young := refusal("old", 2), refusal("young", 3)
		young.Time = theDay.Add(40 * time.Hour)
		w.write(t, append(newStory(9).records(25), old, young)...)
		if n, err := w.Delete(t.Context(), theDay.Add(36*time.Hour)); n == 0 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		for table, tamper := range map[string]string{
			"budgets": "UPDATE keybrake_budgets SET peak = 0", "runs": "UPDATE keybrake_runs SET last = 0", "labels": "DELETE FROM keybrake_labels",
			"spend": "UPDATE keybrake_spend SET actual = actual + 1 WHERE removed = 0", "denials": "UPDATE keybrake_denials SET refusals = refusals + 1 WHERE removed = 0",
		} {
			var bad *sqlaudit.Mismatch
			must(t, w.VerifyDerived(t.Context()))
			w.exec(t, tamper)
			if err := w.VerifyDerived(t.Context()); !errors.As(err, &bad) || bad.Table != "keybrake_"+table {
				t.Errorf("%s: %v", tamper, err)
			}
			must(t, w.Rebuild(t.Context()))
		}
		must(t, w.VerifyDerived(t.Context()))
		for _, kept := range []string{"spend", "denials"} { // of removed records, which Rebuild does not touch
			if got := w.rows(t, "SELECT count(*) FROM keybrake_"+kept+" WHERE removed = 1"); got == `["0"]`+"\n" {
				t.Errorf("nothing is left of removed records in %s", kept)
			}
		}
	})
}
