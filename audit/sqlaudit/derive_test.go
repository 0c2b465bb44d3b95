package sqlaudit_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

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
