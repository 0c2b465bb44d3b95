package sqlaudit_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/vendors"
)

// reconciler is one of a brake whose vendor says that it has counted nothing.
func reconciler(t *testing.T) *keybrake.Reconciler {
	t.Helper()
	issuer, err := keybrake.NewIssuer()
	must(t, err)
	b, err := keybrake.New(t.Context(), keybrake.Config{
		Issuer: issuer, Ledger: memory.New(), Audit: audit.InsecureDiscard(),
		Credentials: credentials.Static(map[string]string{"acme": "acme_0123456789", "other": "acme_9876543210"}),
		Vendors: []vendors.Vendor{{
			Name: "acme",
			Place: func(parts []string) (vendors.Placement, error) {
				return vendors.Placement{Header: "Authorization", Value: "Bearer " + parts[0], Secrets: parts}, nil
			},
			Refuse: func(*vendors.Call, vendors.Refusal) vendors.Response { return vendors.Response{Status: 403} },
			Usage: func(*vendors.Day) (vendors.Usage, error) {
				return vendors.Usage{Runs: map[string][]cost.Line{}}, nil
			},
			Operations: []vendors.Operation{{Name: "acme.orders.list", Method: "GET", Host: "api.acme.test", Path: "/orders", Class: vendors.Read}},
		}},
	})
	must(t, err)
	r, err := b.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}})
	must(t, err)
	return r
}

// What calls did cost is in the database what Reconciler.Drift says of the same records, in total and by run.
func TestWhatCallsDidCostIsWhatDriftSays(t *testing.T) {
	t.Parallel()
	r, w := reconciler(t), newWorld(t, sqlaudit.SQLite)
	said := 0
	for seed := range uint64(5 * rounds) {
		w.empty(t)
		records := newStory(seed).records(16)
		w.write(t, records...)
		slices.SortFunc(records, func(x, y audit.Record) int { // Drift takes those of one time as they come
			return cmp.Or(x.Time.Compare(y.Time), strings.Compare(x.ID, y.ID))
		})
		list := func(yield func(audit.Record, error) bool) {
			for _, r := range records {
				if !yield(r, nil) {
					return
				}
			}
		}
		for day := range 3 {
			at := theDay.AddDate(0, 0, day)
			for _, credential := range []string{"acme", "other"} {
				report, err := r.Drift(t.Context(), at, keybrake.DriftAccount{Vendor: "acme", Credential: credential}, list)
				must(t, errors.Join(append(report.Unread, err)...))
				var want strings.Builder
				for _, d := range report.Runs {
					for _, l := range d.Lines {
						if l.Booked != 0 {
							fmt.Fprintf(&want, "%q\n", []string{d.Run, string(l.Meter), string(l.Currency), fmt.Sprint(l.Booked)})
							said++
						}
					}
				}
				got := w.rows(t, `SELECT run, meter, currency, sum(actual) FROM keybrake_spend WHERE day = $1 AND vendor = 'acme' AND credential = $2 AND meter <> 'calls'
					GROUP BY run, meter, currency HAVING sum(actual) <> 0`, at.Format("2006-01-02"), credential)
				if want := sortedText(strings.SplitAfter(want.String(), "\n")); got != want {
					t.Fatalf("seed %d, %s, %s: %s", seed, at, credential, diff(got, want))
				}
			}
		}
	}
	if said < 20*rounds {
		t.Errorf("the records said %d costs, too few to compare", said)
	}
}
