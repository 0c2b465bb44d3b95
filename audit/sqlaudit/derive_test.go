package sqlaudit_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
)

func sortedText(lines []string) string {
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// diff are the lines that one text has and the other has not.
func diff(got, want string) string {
	var text strings.Builder
	for _, side := range []struct{ sign, in, notIn string }{{"+", got, want}, {"-", want, got}} {
		has := strings.Split(side.notIn, "\n")
		for line := range strings.Lines(side.in) {
			if !slices.Contains(has, strings.TrimSuffix(line, "\n")) {
				text.WriteString("\n" + side.sign + line)
			}
		}
	}
	return text.String()
}

// Whatever the order, the batches and the repetitions in which records come, and in whichever database, they say the same.
func TestWhatIsDerivedDoesNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	worlds := []*world{newWorld(t, sqlaudit.SQLite), newWorld(t, sqlaudit.PostgreSQL)}
	for seed := range uint64(rounds) {
		records := wildStory(seed).records(10)
		var want string
		for _, w := range worlds {
			for order := range uint64(2) {
				w.empty(t)
				s := newStory(seed*100 + order)
				list := records
				if order > 0 || want != "" {
					list = s.shuffled(records)
				}
				for _, batch := range s.batches(list) {
					w.write(t, batch...)
				}
				got := w.dump(t)
				if want == "" {
					want = got
				}
				if got != want {
					t.Fatalf("seed %d, order %d in %s: %s", seed, order, w.dialect, diff(got, want))
				}
				if order > 0 {
					continue
				}
				must(t, w.VerifyDerived(t.Context()))
				must(t, w.Rebuild(t.Context()))
				if got := w.dump(t); got != want {
					t.Fatalf("seed %d, order %d in %s, rebuilt: %s", seed, order, w.dialect, diff(got, want))
				}
			}
		}
	}
}

// Writers of several processes that have records of the same calls say the same as one.
func TestWritersAtOnceDeriveTheSame(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		records := wildStory(77).records(5 * rounds)
		alone := newWorld(t, w.dialect)
		alone.write(t, records...)
		var wg sync.WaitGroup
		for i := range 4 {
			s := newStory(uint64(i))
			other := sqlaudit.New(w.db, w.dialect, nil) // as in another process
			wg.Go(func() {
				for _, batch := range s.batches(s.shuffled(records)) {
					if err := other.WriteBatch(t.Context(), batch); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		if got, want := w.dump(t), alone.dump(t); got != want {
			t.Error(diff(got, want))
		}
		must(t, w.VerifyDerived(t.Context()))
	})
}

// What is derived is compared with the records of one moment, and made anew from all of them, while others write.
func TestOthersWriteMeanwhile(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.write(t, newStory(1).records(5)...)
		var wg sync.WaitGroup
		for i := range 3 {
			s := newStory(uint64(i + 100))
			s.n = (i + 1) * 1_000_000
			other := sqlaudit.New(w.db, w.dialect, nil)
			wg.Go(func() {
				for range 2 * rounds {
					for _, batch := range s.batches(s.shuffled(s.records(3))) {
						if err := other.WriteBatch(t.Context(), batch); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		for range rounds {
			if err := w.VerifyDerived(t.Context()); err != nil {
				t.Error(err)
			}
			if err := w.Rebuild(t.Context()); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		must(t, w.VerifyDerived(t.Context()))
	})
}

// Refusals that are counted together are of the day of the first of them.
func TestRefusalsCountOnTheirDay(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		counted := refusal("e1", 7)
		counted.First, counted.Last = theDay.Add(-time.Second), theDay
		w.write(t, counted, refusal("e2", 0))
		want := `["2026-11-21" "7"]` + "\n" + `["2026-11-22" "1"]` + "\n"
		if got := w.rows(t, "SELECT day, refusals FROM keybrake_denials"); got != want {
			t.Error(diff(got, want))
		}
	})
}

// In PostgreSQL a transaction that is under way may have put a record that Rebuild cannot see yet, and count it beside.
func TestRebuildWaitsForWritesThatAreUnderWay(t *testing.T) {
	w := newWorld(t, sqlaudit.PostgreSQL)
	w.write(t, refusal("e1", 3))
	tx, err := w.db.Begin()
	must(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = tx.Exec("LOCK TABLE keybrake_records IN ROW EXCLUSIVE MODE") // as an INSERT does
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- w.Rebuild(t.Context()) }()
	until(t, "waiting", func() bool {
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		default:
		}
		return w.rows(t, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'keybrake_records'::regclass") == `["1"]`+"\n"
	})
	must(t, tx.Rollback())
	must(t, <-done)
	must(t, w.VerifyDerived(t.Context()))
}

// An agent that sends one call again and again does not make each record of it dearer than the one before.
func TestRetriesOfASettledCallCostNoMoreEachTime(t *testing.T) {
	w := newWorld(t, sqlaudit.SQLite)
	w.write(t, executed("e", "c", 5))
	n := 0
	retry := func() audit.Record {
		n++
		r := executed(fmt.Sprint("e", n), fmt.Sprint("r", n), 5)
		r.Reservation, r.Attached, r.Time = "c", true, theDay.Add(time.Duration(n)*time.Second)
		return r
	}
	few := testing.AllocsPerRun(3, func() { w.write(t, retry()) })
	for range 5 {
		var batch []audit.Record
		for range 60 {
			batch = append(batch, retry())
		}
		w.write(t, batch...)
	}
	if many := testing.AllocsPerRun(3, func() { w.write(t, retry()) }); many > 2*few {
		t.Errorf("the first retries cost %v allocations, those after 300 others %v", few, many)
	}
	if got := w.rows(t, "SELECT meter, actual FROM keybrake_spend"); got != fmt.Sprintf("[\"calls\" \"%d\"]\n[\"charge\" \"5\"]\n", n+1) {
		t.Errorf("spent %s", got)
	}
	must(t, w.VerifyDerived(t.Context()))
}

// A call whose own records have not come is whose the later words on it are, and a retry's only where there are none.
func TestACallThatIsKnownFromOthersAlone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		retry, later := executed("e1", "r1", 5), executed("e2", "c1", 5)
		retry.Reservation, retry.Attached, retry.Run = "c1", true, "run_2"
		later.Kind, later.Time = audit.Reconciled, theDay.Add(time.Hour)
		for _, batches := range [][][]audit.Record{{{retry, later}}, {{retry}, {later}}, {{later}, {retry}}} {
			w.empty(t)
			for _, b := range batches {
				w.write(t, b...)
			}
			if got := w.rows(t, "SELECT run, state, counted FROM keybrake_calls WHERE call = 'c1'"); got != `["run_1" "executed" "0"]`+"\n" {
				t.Errorf("it is %s", got)
			}
			must(t, w.VerifyDerived(t.Context()))
		}
	})
}

// A retry's record is read together with those of the retries before it.
func TestARetryThatComesAfterOthersInDoubt(t *testing.T) {
	w := newWorld(t, sqlaudit.SQLite)
	said := func(id, call string, minutes int, outcome string, cost int64) audit.Record {
		r := executed(id, call, cost)
		r.Time, r.Outcome = theDay.Add(time.Duration(minutes)*time.Minute), outcome
		if call != "c1" {
			r.Reservation, r.Attached = "c1", true
		}
		return r
	}
	begun := said("e0", "r2", 4, "", 0)
	begun.Kind = audit.Intent
	w.write(t, begun, said("e1", "r1", 1, "executed", 8), said("e2", "c1", 2, "in_doubt", 20), said("e3", "c1", 9, "in_doubt", 20))
	w.write(t, said("e4", "r2", 5, "executed", 9))
	must(t, w.VerifyDerived(t.Context()))
	if got := w.rows(t, "SELECT actual FROM keybrake_amounts WHERE call = 'c1' AND meter = 'charge'"); got != `["8"]`+"\n" {
		t.Errorf("it has cost %s", got)
	}
}
