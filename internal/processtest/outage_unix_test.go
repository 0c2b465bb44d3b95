//go:build unix

package processtest_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/reason"
)

// A Redis that hangs may yet carry out what it has not answered; one that refuses to write has not. In both cases
// the calls that come to their reserve are refused, those that the vendor has executed answer their caller, and what
// was held stays counted until Redis is there again: then the processes book it by themselves.
func TestWhatRedisDidNotBookStaysCounted(t *testing.T) {
	for _, outage := range []struct {
		name  string
		begin func(*testing.T, *world) (end func())
	}{
		{"it hangs", func(t *testing.T, w *world) func() {
			server := w.server(t)
			must(t, server.Signal(syscall.SIGSTOP))
			return func() { must(t, server.Signal(syscall.SIGCONT)) }
		}},
		{"it refuses to write", func(t *testing.T, w *world) func() {
			replicas := func(n string) { must(t, w.rdb.ConfigSet(t.Context(), "min-replicas-to-write", n).Err()) }
			replicas("1")
			return func() { replicas("0") }
		}},
	} {
		t.Run(outage.name, func(t *testing.T) {
			w := newWorld(t)
			w.fake.SeedCharge("ch_1", 100_000_000, "usd")
			team := w.share(t, "acme", "team", "100")
			refused, executed := w.issue(t, grant("acme", "run_1", under(team))), w.issue(t, grant("acme", "run_2", under(team)))
			impatient := func(s *Setup) { s.Answer = time.Second }
			before := w.start(t, impatient)
			during := w.start(t, func(s *Setup) { impatient(s); s.StopAt = BeforeSettle })

			calls := all(executed.Token())
			under := during.begin(calls...)
			during.stopped(t, under)
			end := outage.begin(t, w)
			during.goOn(t)
			w.refused(t, before, refused.Token(), reason.LedgerUnavailable)
			for i, r := range under.wait(t) {
				if r.Err != "" {
					t.Errorf("%s: the vendor's reply did not reach its caller: %+v", calls[i].Op, r)
				}
			}
			end()
			for range 2 { // with the second answer Redis has read all that was sent to it meanwhile
				must(t, w.rdb.Ping(t.Context()).Err())
			}

			books := w.books(t, refused.Token())[0]
			if books.Spent+books.Held < w.spent() || w.executed() != len(calls) {
				t.Errorf("the books show %d spent and %d held; the vendors took %d in %d calls", books.Spent, books.Held, w.spent(), w.executed())
			}
			until(t, "what was deferred is booked", func() bool { return len(w.doubts(t, "acme")) == 0 })
			w.settled(t, "acme", refused.Token())
			w.through(t, before, refused.Token())
		})
	}
}
