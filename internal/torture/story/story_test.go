package story_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/internal/respproxy"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/ledgertest"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/ledger/sqliteledger"
)

var ctx = context.Background()

// How many stories are told of each ledger, and how long they are, unless the command line says so.
func TestMain(m *testing.M) {
	checks, steps := "20", "40"
	if os.Getenv("KEYBRAKE_LONG") != "" {
		checks, steps = "500", "60"
	}
	_ = flag.Set("rapid.checks", checks)
	_ = flag.Set("rapid.steps", steps)
	os.Exit(m.Run())
}

// The reference has to keep the promises, too, which the others are compared with.
func TestMemoryKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := ledgertest.NewClock()
		l := memory.New()
		l.Now = clock.Now
		tell(t, clock, l)
	})
}

func TestRedisEndsAsTheReference(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	defer rdb.Close()
	rapid.Check(t, func(t *rapid.T) {
		if err := rdb.FlushAll(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		clock := ledgertest.NewClock()
		tell(t, clock, redisledger.New(rdb, &redisledger.Options{Now: clock.Now, Timeout: time.Minute}))
	})
}

// A connection that loses requests and replies makes the client send commands again. Nobody may see a difference: every
// answer is the reference's, nothing is counted twice, and nobody takes it for a loss of the store.
func TestRedisEndsAsTheReferenceOverAFaultyConnection(t *testing.T) {
	direct := redis.NewClient(&redis.Options{Addr: redistest.Start(t)})
	defer direct.Close()
	proxy, err := respproxy.Start(direct.Options().Addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	rdb := redis.NewClient(&redis.Options{Addr: proxy.Addr(), MaxRetries: 30, MinRetryBackoff: -1, MaxRetryBackoff: -1})
	defer rdb.Close()
	rapid.Check(t, func(t *rapid.T) {
		proxy.Plan(nil)
		if err := direct.FlushAll(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		proxy.Plan(respproxy.Random(rapid.Uint64().Draw(t, "faults"), 4, 0, respproxy.DropBefore, respproxy.DropAfter, respproxy.ReadOnly, respproxy.Loading))
		clock := ledgertest.NewClock()
		tell(t, clock, redisledger.New(rdb, &redisledger.Options{Now: clock.Now, Timeout: time.Minute}))
	})
	if proxy.Injected() == 0 {
		t.Error("no fault was injected")
	}
}

func TestSQLiteEndsAsTheReference(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "story") // in memory, where there is one: nothing here is about the disk
	if err != nil {
		dir = t.TempDir()
	}
	defer os.RemoveAll(dir)
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		clock := ledgertest.NewClock()
		l := sqliteledger.New(filepath.Join(path, "ledger.db"), &sqliteledger.Options{Now: clock.Now, Timeout: time.Minute})
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			_ = os.RemoveAll(path)
		})
		tell(t, clock, l)
	})
}

// A story tells the reference and the ledger under test the same.
type story struct {
	ledgers [2]ledger.Ledger // the reference, and what is tried
	clock   *ledgertest.Clock
	start   time.Time
	last    time.Time      // of the last reserve that was admitted
	same    ledger.Request // the last one under a claim or a repeat rule
	own     []ledger.Budget
	rows    []ledger.Budget
	opened  []string // tenants
	holds   []told
	kept    [][2]string // tenant and id of every reservation that leaves a record
	late    string      // an id that was released before its reserve
	n       int
	steps   int
	acted   string           // in which tenant the last step was; empty: in all
	again   func(t *rapid.T) // the last step once more
	books   *books
	alerts  map[string]string // that were seen, by id
	stands  map[string]string // alerts by what they are of, to their id
}

// told is an admitted reservation as each ledger has returned it, with the request.
type told struct {
	holds [2]ledger.Hold
	ledger.Request
}

// tell tells a story.
func tell(t *rapid.T, clock *ledgertest.Clock, l ledger.Ledger) {
	reference := memory.New()
	reference.Now = clock.Now
	s := &story{
		ledgers: [2]ledger.Ledger{reference, l}, clock: clock, books: newBooks(), alerts: map[string]string{}, stands: map[string]string{},
	}
	s.start = one(t, "start", starts)
	clock.Set(s.start)
	s.own, s.rows = purses(t), rows(t)
	for _, tenant := range tenants[:2] {
		s.open(t, tenant)
		for _, b := range s.rows {
			s.setBudget(t, tenant, b)
		}
	}
	steps := []func(*rapid.T){
		s.reserve, s.settle, s.turn, s.reserve, s.settle, s.release, s.raise, s.reserve,
		s.settle, s.adjust, s.reserve, s.checkout, s.checkout, s.repeat, s.revise, s.stop,
		s.repeat, s.reserve, s.replay, s.acknowledge, s.ask, s.turn, s.thaw, s.settle, s.releaseEarly,
		s.openAgain, s.repeat, s.turn, s.later, s.carry,
	}
	t.Repeat(map[string]func(*rapid.T){
		"": s.look,
		"step": func(t *rapid.T) {
			s.acted = ""
			steps[rapid.IntRange(0, len(steps)-1).Draw(t, "step")](t)
		},
	})
}

// do tells both ledgers, and compares what they answer.
func (s *story) do(t *rapid.T, what string, verb func(l ledger.Ledger, i int) string) {
	t.Helper()
	s.again = func(t *rapid.T) { s.compare(t, "again: "+what, verb) }
	s.compare(t, what, verb)
}

func (s *story) compare(t *rapid.T, what string, verb func(l ledger.Ledger, i int) string) {
	t.Helper()
	t.Log(what)
	s.asked(t, what, verb)
}

// asked is compare for what is only read and is not worth a line in the story.
func (s *story) asked(t *rapid.T, what string, verb func(l ledger.Ledger, i int) string) {
	t.Helper()
	want := verb(s.ledgers[0], 0)
	if got := verb(s.ledgers[1], 1); got != want {
		t.Fatalf("%s\nreference: %s\nledger:    %s", what, want, got)
	}
}

// row is a shared budget as the ledger under test has it.
func (s *story) row(tenant string) func(name string) (ledger.Budget, bool) {
	return func(name string) (ledger.Budget, bool) {
		b, err := s.ledgers[1].Budget(ctx, tenant, name)
		return b, err == nil
	}
}

// looked are the budgets that are looked at.
func (s *story) looked(tenant string) []ledger.Budget {
	list := slices.Clone(s.own)
	for _, b := range s.rows {
		if tenant != tenants[2] {
			list = append(list, ledger.Budget{Name: b.Name, Shared: true, Limit: ledger.NoLimit}, ledger.Budget{Name: b.Name, Shared: true, Limit: 33, Observed: true})
		}
	}
	return list
}

// look compares the books, and checks what they must be by themselves. Tenants in which nothing was done are looked at
// now and then.
func (s *story) look(t *rapid.T) {
	if s.steps++; s.steps%8 == 0 {
		s.acted = ""
	}
	s.records(t)
	names := [][]string{nil, {"run:run"}, {"key:k2", "label:l:2"}}[s.n%3]
	for _, tenant := range s.opened {
		if s.acted != "" && tenant != s.acted {
			continue
		}
		budgets := s.looked(tenant)
		for _, key := range keys {
			s.asked(t, "balance of "+key, func(l ledger.Ledger, i int) string {
				list, err := l.Balance(ctx, tenant, key, budgets)
				for j, st := range list {
					if err := s.books.adds(counterOf(tenant, key, budgets[j]), st); i == 1 && err != nil {
						t.Fatalf("%s of %s: %v", key, tenant, err)
					}
				}
				return class(err) + states(list)
			})
		}
		for what, ask := range map[string]func(l ledger.Ledger) ([]ledger.Hold, error){
			"in doubt":  func(l ledger.Ledger) ([]ledger.Hold, error) { return l.InDoubt(ctx, tenant) },
			"unsettled": func(l ledger.Ledger) ([]ledger.Hold, error) { return l.Unsettled(ctx, tenant, names...) },
		} {
			s.asked(t, fmt.Sprintf("%s %q in %s", what, names, tenant), func(l ledger.Ledger, _ int) string {
				list, err := ask(l)
				text, wrong := oldestFirst(list)
				if wrong != nil {
					t.Fatalf("%s: %v: %+v", what, wrong, list)
				}
				return class(err) + "\n    " + text
			})
		}
		s.asked(t, "alerts of "+tenant, func(l ledger.Ledger, i int) string {
			list, err := l.Alerts(ctx, tenant)
			text := class(err)
			for _, a := range list {
				text += "\n    " + alert(a)
				if i == 1 {
					s.once(t, tenant, a)
				}
			}
			return text
		})
	}
}

// records compares every reservation, and takes it over into the books.
func (s *story) records(t *rapid.T) {
	for _, k := range s.kept {
		if s.acted != "" && k[0] != s.acted {
			continue
		}
		s.asked(t, "find "+k[1], func(l ledger.Ledger, i int) string {
			h, err := l.Find(ctx, k[0], k[1])
			if err != nil {
				return class(err)
			}
			if i == 1 {
				s.books.refresh(h, nil)
				if err := ends(h); err != nil {
					t.Fatal(err)
				}
			}
			return found(h)
		})
	}
}

// once checks that an alert's id is its own, and that a threshold is told once in a window.
func (s *story) once(t *rapid.T, tenant string, a ledger.Alert) {
	if old, known := s.alerts[tenant+a.ID]; known && old != alert(a) {
		t.Fatalf("two alerts have the id %q: %s and %s", a.ID, old, alert(a))
	}
	s.alerts[tenant+a.ID] = alert(a)
	if a.Kind != ledger.AlertThreshold || a.State.Window.Rolls() > 0 {
		return
	}
	of := fmt.Sprintf("%s %q %q %q %t %d %d", tenant, a.Key, a.State.Of, a.State.Name, a.State.Observed, micros(a.State.Start), a.Percent)
	if old, known := s.stands[of]; known && old != a.ID {
		t.Fatalf("two alerts at %d percent of one window: %s", a.Percent, of)
	}
	s.stands[of] = a.ID
}
