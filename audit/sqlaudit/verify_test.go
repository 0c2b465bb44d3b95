package sqlaudit_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
)

// exec changes the database as somebody would who can write it.
func (w *world) exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	result, err := w.db.Exec(statement, args...)
	must(t, err)
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s changed nothing: %v", statement, err)
	}
}

// chained are ten records of each of two writers, and the names of these in the order of the chains.
func chained(t testing.TB, key ed25519.PrivateKey) (records []audit.Record, writers []string) {
	t.Helper()
	var r audittest.Recorder
	for _, prefix := range []string{"a", "b"} {
		chain := audit.Chain(&r, key)
		for n := range 10 {
			must(t, chain.Write(t.Context(), executed(fmt.Sprint(prefix, n), fmt.Sprint("c", prefix, n), int64(n+1))))
		}
	}
	records = r.Records()
	writers = []string{records[0].Chain.Writer, records[10].Chain.Writer}
	slices.Sort(writers)
	return records, writers
}

// Every way to tamper with records is found, and the first bad record is named.
func TestVerifyNamesTheFirstRecordThatWasTamperedWith(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	_, forger, err := ed25519.GenerateKey(nil)
	must(t, err)
	records, writers := chained(t, key)
	each(t, func(t *testing.T, w *world) {
		for _, tt := range []struct {
			name   string
			tamper func(t *testing.T, first, second string)
			writer int // whose record it is
			n      int64
			why    string
		}{
			{"nothing", func(*testing.T, string, string) {}, 0, 0, ""},
			{"an amount in a line", func(t *testing.T, first, _ string) {
				w.exec(t, `UPDATE keybrake_records SET line = replace(line, '"amount":4', '"amount":9') WHERE writer = $1 AND n = 4`, first)
			}, 0, 4, "changed"},
			{"a blank in a line", func(t *testing.T, first, _ string) {
				w.exec(t, `UPDATE keybrake_records SET line = ' ' || line WHERE writer = $1 AND n = 4`, first)
			}, 0, 4, "line"},
			{"a field in a line", func(t *testing.T, first, _ string) {
				w.exec(t, `UPDATE keybrake_records SET line = replace(line, '{"v":1,', '{"v":1,"paid":"no",') WHERE writer = $1 AND n = 4`, first)
			}, 0, 4, "line"},
			{"a line that is none", func(t *testing.T, _, second string) {
				w.exec(t, `UPDATE keybrake_records SET line = 'x' WHERE writer = $1 AND n = 9`, second)
			}, 1, 9, "cannot be read"},
			{"removed", func(t *testing.T, _, second string) {
				w.exec(t, `DELETE FROM keybrake_records WHERE writer = $1 AND n = 5`, second)
			}, 1, 5, "missing"},
			{"the first removed", func(t *testing.T, first, _ string) {
				w.exec(t, `DELETE FROM keybrake_records WHERE writer = $1 AND n <= 2`, first)
			}, 0, 1, "missing"},
			{"the last removed", func(t *testing.T, first, _ string) {
				w.exec(t, `DELETE FROM keybrake_records WHERE writer = $1 AND n = 10`, first)
			}, 0, 10, "removed"},
			{"numbers swapped", func(t *testing.T, first, _ string) {
				w.exec(t, `UPDATE keybrake_records SET n = 9 - n WHERE writer = $1 AND n IN (4, 5)`, first)
			}, 0, 4, "column n"},
			{"lines swapped", func(t *testing.T, first, _ string) {
				w.exec(t, `UPDATE keybrake_records SET line = (SELECT o.line FROM keybrake_records o WHERE o.writer = keybrake_records.writer AND o.n = 9 - keybrake_records.n)
					WHERE writer = $1 AND n IN (4, 5)`, first)
			}, 0, 4, "column id"},
			{"ids swapped", func(t *testing.T, first, _ string) {
				w.exec(t, `UPDATE keybrake_records SET id = id || 'x' WHERE writer = $1 AND n IN (6, 7)`, first)
				w.exec(t, `UPDATE keybrake_records SET id = CASE id WHEN 'a5x' THEN 'a6' WHEN 'a6x' THEN 'a5' WHEN 'b5x' THEN 'b6' ELSE 'b5' END WHERE writer = $1 AND n IN (6, 7)`, first)
			}, 0, 6, "column id"},
			{"given to the other writer", func(t *testing.T, first, second string) {
				w.exec(t, `UPDATE keybrake_records SET writer = $2 WHERE writer = $1 AND n = 5`, first, second)
			}, 0, 5, "missing"},
			{"given to nobody", func(t *testing.T, first, _ string) {
				w.exec(t, `UPDATE keybrake_records SET writer = '' WHERE writer = $1 AND n = 5`, first)
			}, -1, 5, "column writer"},
			{"inserted without a link", func(t *testing.T, _, _ string) { w.write(t, executed("new", "new", 1)) }, -1, 0, "no link"},
			{"inserted with a link", func(t *testing.T, first, _ string) {
				r := executed("new", "new", 1)
				r.Chain = &audit.Link{Writer: first, N: 5, Hash: "00"}
				w.write(t, r)
			}, 0, 5, "changed"},
			{"a chain of another key", func(t *testing.T, _, _ string) {
				must(t, audit.Chain(w.Sink, forger).Write(t.Context(), executed("new", "new", 1)))
			}, -2, 1, "signed"},
			{"a repetition changed", func(t *testing.T, first, _ string) {
				w.exec(t, `INSERT INTO keybrake_repeats (id, writer, n, line) SELECT id, writer, 12, line FROM keybrake_records WHERE writer = $1 AND n = 5`, first)
			}, 0, 12, "column n"},
			{"a cut made up", func(t *testing.T, first, _ string) {
				w.exec(t, `INSERT INTO keybrake_cuts (writer, n, hash, before) VALUES ($1, 3, 'aa', 1)`, first)
				w.exec(t, `DELETE FROM keybrake_records WHERE writer = $1 AND n <= 3`, first)
			}, 0, 4, "does not follow"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				w.empty(t)
				w.write(t, records...)
				kept, err := w.Verify(t.Context(), &audit.VerifyOptions{Keys: []ed25519.PublicKey{public}})
				must(t, err)
				tt.tamper(t, writers[0], writers[1])
				verified, err := w.Verify(t.Context(), &audit.VerifyOptions{Keys: []ed25519.PublicKey{public}, Until: kept.Heads})
				if tt.why == "" {
					if err != nil || verified.Records != 20 {
						t.Errorf("%+v: %v", verified, err)
					}
					return
				}
				var bad *audit.Tampered
				if !errors.As(err, &bad) {
					t.Fatalf("%+v: %v", verified, err)
				}
				writer := bad.Writer
				if tt.writer >= 0 {
					writer = writers[tt.writer]
				}
				if bad.N != tt.n || bad.Writer != writer || !strings.Contains(bad.Why, tt.why) || tt.writer == -1 && bad.Writer != "" {
					t.Errorf("%v, of %s; want number %d of writer %d, %s", bad, bad.Writer, tt.n, tt.writer, tt.why)
				}
			})
		}
	})
}

// Each column is compared with the line, whoever reads.
func TestAChangedColumnIsFound(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		columns := map[string]string{}
		for _, c := range []string{"kind", "tenant", "agent", "run", "vault_key", "call", "reservation", "vendor", "operation", "class", "verdict", "outcome", "reason", "id"} {
			columns[c] = "x"
		}
		for _, c := range []string{"time", "refusals", "n"} {
			columns[c] = "1795564799123455"
		}
		for column, value := range columns {
			w.empty(t)
			chain := audit.Chain(w.Sink, nil)
			must(t, chain.Write(t.Context(), executed("e1", "c1", 1)))
			must(t, chain.Write(t.Context(), executed("e2", "c2", 1)))
			w.exec(t, fmt.Sprintf("UPDATE keybrake_records SET %s = '%s' WHERE id = 'e2'", column, value))
			var bad *audit.Tampered
			if _, err := w.Verify(t.Context(), nil); !errors.As(err, &bad) || bad.Index != 1 || !strings.Contains(bad.Why, "column "+column) {
				t.Errorf("%s: %v", column, err)
			}
			var err error
			for _, e := range w.Records(t.Context(), sqlaudit.Query{}) {
				err = errors.Join(err, e)
			}
			if !errors.As(err, &bad) {
				t.Errorf("%s: Records says %v", column, err)
			}
		}
	})
}

// Whatever is changed in what is derived is found, and the row is named.
func TestVerifyDerivedFindsWhatTheRecordsDoNotSay(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.write(t, wildStory(3).records(10)...)
		before := w.dump(t)
		must(t, w.VerifyDerived(t.Context()))
		for _, tt := range []struct{ table, tamper string }{
			{"spend", "UPDATE keybrake_spend SET actual = actual - 1 WHERE actual > 0"},
			{"spend", "UPDATE keybrake_spend SET held = held + 1"},
			{"spend", "DELETE FROM keybrake_spend"},
			{"spend", "INSERT INTO keybrake_spend (day, tenant, agent, run, vendor, credential, operation, meter, currency, removed, calls, actual, held) VALUES ('2026-01-01', 'a', '', '', '', '', '', 'fee', 'USD', 0, 1, 1, 0)"},
			{"calls", "UPDATE keybrake_calls SET state = 'executed' WHERE state = 'in_doubt'"},
			{"calls", "DELETE FROM keybrake_calls WHERE counted = 1"},
			{"amounts", "UPDATE keybrake_amounts SET actual = actual + 1"},
			{"denials", "UPDATE keybrake_denials SET refusals = 1 WHERE refusals > 1"},
			{"budgets", "UPDATE keybrake_budgets SET peak = 0"},
			{"runs", "UPDATE keybrake_runs SET last = 0"},
			{"labels", "DELETE FROM keybrake_labels WHERE label = 'eu'"},
		} {
			w.exec(t, tt.tamper)
			var bad *sqlaudit.Mismatch
			if err := w.VerifyDerived(t.Context()); !errors.As(err, &bad) || bad.Table != "keybrake_"+tt.table || bad.Stored == "" && bad.Said == "" {
				t.Errorf("%s: %v", tt.tamper, err)
			}
			must(t, w.Rebuild(t.Context()))
			if got := w.dump(t); got != before {
				t.Errorf("%s: %s", tt.tamper, diff(got, before))
			}
		}
		must(t, w.VerifyDerived(t.Context()))
	})
}

// Many pages are read in their order, and no record is left out or read twice where many are of one time.
func TestRecordsAreReadInPages(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var batch []audit.Record
		for i := range 620 {
			r := executed(fmt.Sprintf("e%04d", i), fmt.Sprint("c", i%7), 1)
			r.Time = theDay.Add(time.Duration(i/200) * time.Second)
			r.Run = []string{"run_1", "run_2"}[i%2]
			batch = append(batch, r)
		}
		w.write(t, batch...)
		count := func(q sqlaudit.Query) (n int) {
			last := ""
			for r, err := range w.Records(t.Context(), q) {
				must(t, err)
				if r.ID <= last {
					t.Fatalf("%s comes after %s", r.ID, last)
				}
				last, n = r.ID, n+1
			}
			return n
		}
		for q, want := range map[sqlaudit.Query]int{
			{}: 620, {Tenant: "acme"}: 620, {Tenant: "other"}: 0, {Tenant: "acme", Run: "run_2"}: 310, {Tenant: "acme", Call: "c3"}: 89,
			{From: theDay.Add(time.Second)}: 420, {Until: theDay.Add(time.Second)}: 200, {From: theDay.Add(time.Second), Until: theDay.Add(2 * time.Second)}: 200,
		} {
			if n := count(q); n != want {
				t.Errorf("%+v: %d records, want %d", q, n, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range w.Records(ctx, sqlaudit.Query{}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("when the context has ended: %v", err)
			}
		}
	})
}
