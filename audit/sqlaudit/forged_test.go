package sqlaudit_test

import (
	"crypto/ed25519"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
)

// undone is a record that says of a call that it was not executed after all.
func undone(call string) audit.Record {
	r := executed("forged", call, 5)
	r.Kind, r.Outcome, r.Actual, r.Time = audit.Reconciled, audit.OutcomeNotExecuted, nil, r.Time.Add(time.Hour)
	return r
}

// linked is r with a link of its own, by another's key.
func linked(t testing.TB, r audit.Record, key ed25519.PrivateKey) audit.Record {
	t.Helper()
	var to audittest.Recorder
	must(t, audit.Chain(&to, key).Write(t.Context(), r))
	return to.Records()[0]
}

// Who can write the database, makes all that is derived anew, and has not the key, is found by Verify wherever he puts
// what counts, or moves what is to count no longer.
func TestVerifyFindsWhatIsForgedBesideTheChains(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	_, forger, err := ed25519.GenerateKey(nil)
	must(t, err)
	records, writers := chained(t, key)
	writer := writers[0]
	keep := func(t *testing.T, w *world, r audit.Record) {
		w.exec(t, `INSERT INTO keybrake_kept (id, tenant, call, reservation, line) VALUES ($1, $2, $3, '', $4)`, r.ID, r.Tenant, r.CallID, lineOf(t, r))
	}
	each(t, func(t *testing.T, w *world) {
		for name, tt := range map[string]struct {
			tamper func(t *testing.T, call string)
			why    string
		}{
			"a record made a repetition": {func(t *testing.T, _ string) {
				w.exec(t, `INSERT INTO keybrake_repeats (id, writer, n, line) SELECT id, writer, n, line FROM keybrake_records WHERE writer = $1 AND n = 5`, writer)
				w.exec(t, `DELETE FROM keybrake_records WHERE writer = $1 AND n = 5`, writer)
			}, "repetition alone"},
			"a number before all others": {func(t *testing.T, call string) {
				r := undone(call)
				r.Chain = &audit.Link{N: math.MinInt64}
				w.write(t, r)
			}, "changed"},
			"kept, though none was removed": {func(t *testing.T, call string) { keep(t, w, undone(call)) }, "no cut"},
			"kept, with another's link, and a cut made up": {func(t *testing.T, call string) {
				r := linked(t, undone(call), forger)
				w.exec(t, `INSERT INTO keybrake_cuts (writer, n, hash, before) VALUES ($1, 1, $2, $3)`, r.Chain.Writer, r.Chain.Hash, int64(math.MaxInt64))
				keep(t, w, r)
			}, "where removed records are kept"},
			"kept, without a link, and a cut made up": {func(t *testing.T, call string) {
				w.exec(t, `INSERT INTO keybrake_cuts (writer, n, hash, before) VALUES ('', 0, '', $1)`, int64(math.MaxInt64))
				keep(t, w, undone(call))
			}, "no cut"},
			"the last of a chain, as if it was removed": {func(t *testing.T, _ string) {
				w.exec(t, `INSERT INTO keybrake_kept (id, tenant, call, reservation, line) SELECT id, tenant, call, reservation, line FROM keybrake_records WHERE writer = $1 AND n = 10`, writer)
				w.exec(t, `DELETE FROM keybrake_records WHERE writer = $1 AND n = 10`, writer)
			}, "no cut"},
			"kept, of another call": {func(t *testing.T, call string) {
				r := records[0]
				w.exec(t, `INSERT INTO keybrake_kept (id, tenant, call, reservation, line) VALUES ($1, $2, $3, '', $4)`, r.ID, r.Tenant, call+"x", lineOf(t, r))
			}, "not what its line says"},
		} {
			t.Run(name, func(t *testing.T) {
				w.empty(t)
				w.write(t, records...)
				must(t, errors.Join(verified(t, w, public), w.VerifyDerived(t.Context())))
				var call string
				must(t, w.db.QueryRow("SELECT call FROM keybrake_records WHERE writer = $1 AND n = 5", writer).Scan(&call))
				tt.tamper(t, call)
				must(t, w.Rebuild(t.Context()))
				must(t, w.VerifyDerived(t.Context()))
				var bad *audit.Tampered
				if err := verified(t, w, public); !errors.As(err, &bad) || !strings.Contains(bad.Why, tt.why) {
					t.Errorf("got %v, want %q", err, tt.why)
				}
			})
		}
	})
}

func verified(t testing.TB, w *world, key ed25519.PublicKey) error {
	t.Helper()
	_, err := w.Verify(t.Context(), &audit.VerifyOptions{Keys: []ed25519.PublicKey{key}})
	return err
}

// What Delete leaves is whole: what it keeps of open calls, and repetitions of what it has removed.
func TestVerifyTakesWhatDeleteHasLeft(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	each(t, func(t *testing.T, w *world) {
		chain := audit.Chain(w.Sink, key)
		open, paid, late := executed("e1", "c1", 5), executed("e2", "c2", 5), executed("e3", "c3", 5)
		open.Outcome, open.Actual, open.Held, late.Time = audit.OutcomeInDoubt, nil, open.Reserved[:1], late.Time.Add(48*time.Hour)
		for _, r := range []audit.Record{open, paid, late, paid} { // the last is behind the cut
			must(t, chain.Write(t.Context(), r))
		}
		if n, err := w.Delete(t.Context(), theDay.Add(24*time.Hour)); n != 2 || err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		if kept, again := w.rows(t, "SELECT id FROM keybrake_kept"), w.rows(t, "SELECT id FROM keybrake_repeats"); kept == "" || again == "" {
			t.Fatalf("kept %q, again %q", kept, again)
		}
		must(t, errors.Join(verified(t, w, public), w.VerifyDerived(t.Context())))
	})
}

// Where nothing was removed, nothing counts as of removed records.
func TestVerifyDerivedFindsWhatIsCountedAsRemoved(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.write(t, executed("e1", "c1", 5))
		w.exec(t, `INSERT INTO keybrake_spend (day, tenant, agent, run, vendor, credential, operation, meter, currency, removed, calls, actual, held)
			VALUES ('2026-01-01', 'acme', '', '', '', '', '', 'charge', 'USD', 1, 1, -5, 0)`)
		var bad *sqlaudit.Mismatch
		if err := w.VerifyDerived(t.Context()); !errors.As(err, &bad) || bad.Table != "keybrake_spend" {
			t.Errorf("got %v", err)
		}
	})
}

// lineOf is the line of r in the database.
func lineOf(t testing.TB, r audit.Record) string {
	t.Helper()
	var b strings.Builder
	must(t, audit.JSON(&b).Write(t.Context(), r))
	return strings.TrimSuffix(b.String(), "\n")
}

// Where From is given, a cut that was made up takes nothing away.
func TestACutThatWasMadeUpDoesNotCountBesideFrom(t *testing.T) {
	records, writers := chained(t, nil)
	each(t, func(t *testing.T, w *world) {
		w.write(t, records...)
		before, err := w.Verify(t.Context(), &audit.VerifyOptions{From: map[string]audit.Head{}})
		must(t, err)
		hash := ""
		for _, r := range records {
			if r.Chain.Writer == writers[0] && r.Chain.N == 5 {
				hash = r.Chain.Hash
			}
		}
		w.exec(t, `INSERT INTO keybrake_cuts (writer, n, hash, before) VALUES ($1, 5, $2, 1)`, writers[0], hash)
		w.exec(t, `DELETE FROM keybrake_records WHERE writer = $1 AND n <= 5`, writers[0])
		if _, err := w.Verify(t.Context(), &audit.VerifyOptions{Until: before.Heads}); err != nil {
			t.Fatalf("the cut in the database does not count at all: %v", err)
		}
		var bad *audit.Tampered
		if _, err := w.Verify(t.Context(), &audit.VerifyOptions{From: map[string]audit.Head{}, Until: before.Heads}); !errors.As(err, &bad) || bad.N != 1 {
			t.Errorf("got %v", err)
		}
	})
}
