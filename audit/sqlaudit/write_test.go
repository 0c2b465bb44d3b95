package sqlaudit_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/pgtest"
	"github.com/keybrake/keybrake-go/reason"
)

// empty removes all rows, as if the tables had just been made.
func (w *world) empty(t testing.TB) {
	t.Helper()
	for _, table := range append(derived, "records", "repeats", "kept", "cuts", "vendor_figures") {
		_, err := w.db.Exec("DELETE FROM keybrake_" + table)
		must(t, err)
	}
}

// all are the records that stand there.
func (w *world) all(t testing.TB) (list []audit.Record) {
	t.Helper()
	for r, err := range w.Records(context.Background(), sqlaudit.Query{}) {
		must(t, err)
		list = append(list, r)
	}
	return list
}

func TestLaws(t *testing.T) {
	each(t, func(t *testing.T, w *world) { laws(t, w) })
}

func TestLawsWithAnotherDriver(t *testing.T) {
	w := newWorld(t, sqlaudit.PostgreSQL)
	w.open(t, "postgres")
	laws(t, w)
}

func laws(t *testing.T, w *world) {
	audittest.Run(t, func() (audit.Sink, func() []audit.Record) {
		w.empty(t)
		return w.Sink, func() []audit.Record { return w.all(t) }
	})
	must(t, w.VerifyDerived(t.Context()))
	must(t, w.db.Close())
	audittest.RunBroken(t, func() audit.Sink { return w.Sink })
}

func refusal(id string, count int64) audit.Record {
	return audit.Record{
		Version: 1, ID: id, Time: theDay, Kind: audit.Denied, CallID: "c1", Tenant: "acme", Agent: "bot", Run: "run_1", Vendor: "acme",
		Verdict: audit.Deny, Reason: reason.ParamDenied, Reasons: []audit.Why{{Code: reason.ParamDenied, Rule: 3, Param: "amount"}}, Count: count,
	}
}

func executed(id, call string, amount int64) audit.Record {
	return audit.Record{
		Version: 1, ID: id, Time: theDay, Kind: audit.Outcome, CallID: call, Tenant: "acme", Agent: "bot", Run: "run_1", Vendor: "acme", Credential: "acme",
		Operation: "acme.orders.create", Verdict: audit.Allow, Outcome: "executed",
		Reserved: []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: amount}, {Meter: cost.Calls, Amount: 1}},
		Actual:   []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: amount}},
	}
}

func TestARecordThatComesTwiceCountsOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		one, counted, paid := refusal("e1", 0), refusal("e2", 41), executed("e3", "c2", 5)
		w.write(t, one, counted, one, paid, paid)
		w.write(t, counted, paid)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { w.write(t, paid, one) })
		}
		wg.Wait()
		if n := len(w.all(t)); n != 3 {
			t.Errorf("%d records of three", n)
		}
		for query, want := range map[string]string{
			"SELECT reason, rule, param, sum(refusals) FROM keybrake_denials GROUP BY reason, rule, param": `["param_denied" "3" "amount" "42"]` + "\n",
			"SELECT meter, calls, actual, held FROM keybrake_spend":                                        `["calls" "1" "1" "0"]` + "\n" + `["charge" "1" "5" "0"]` + "\n",
			"SELECT state, refusals FROM keybrake_calls WHERE call = 'c1'":                                 `["denied" "42"]` + "\n",
			"SELECT count(*) FROM keybrake_repeats":                                                        `["0"]` + "\n",
		} {
			if got := w.rows(t, query); got != want {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
	})
}

func TestAnIdOfAnotherRecordIsAnError(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.write(t, executed("e1", "c1", 5))
		before := w.dump(t)
		for name, batch := range map[string][]audit.Record{
			"another amount":         {executed("e9", "c9", 1), executed("e1", "c1", 6)},
			"another in the batch":   {executed("e9", "c9", 1), executed("e8", "c1", 6), executed("e8", "c1", 7)},
			"a digit of the time":    {func() audit.Record { r := executed("e1", "c1", 5); r.Time = r.Time.Add(1); return r }()},
			"another cost alone":     {func() audit.Record { r := executed("e1", "c1", 5); r.Actual[0].Amount = 4; return r }()},
			"another detail alone":   {func() audit.Record { r := executed("e1", "c1", 5); r.Detail = "x"; return r }()},
			"another, in between it": {executed("e9", "c9", 1), executed("e1", "c2", 5), executed("e7", "c9", 1)},
		} {
			if err := w.WriteBatch(t.Context(), batch); !errors.Is(err, sqlaudit.ErrConflict) {
				t.Errorf("%s: %v", name, err)
			}
			if n := len(w.all(t)); n != 1 {
				t.Errorf("%s: %d records stand there", name, n)
			}
			if got := w.dump(t); got != before {
				t.Errorf("%s: %s", name, diff(got, before))
			}
		}
	})
}

// blocked holds the database so that a write has to wait, and returns what lets it go.
func (w *world) blocked(t testing.TB) (release func()) {
	t.Helper()
	conn, err := w.db.Conn(context.Background())
	must(t, err)
	begin := []string{"BEGIN IMMEDIATE"}
	if w.dialect == sqlaudit.PostgreSQL {
		begin = []string{"BEGIN", "LOCK TABLE keybrake_records"}
	}
	for _, s := range begin {
		_, err := conn.ExecContext(context.Background(), s)
		must(t, err)
	}
	return sync.OnceFunc(func() {
		_, err := conn.ExecContext(context.Background(), "ROLLBACK")
		must(t, errors.Join(err, conn.Close()))
	})
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not %s", what)
		}
	}
}

// Writes that come while a commit is under way share the next one, and one that the database does not take fails alone.
func TestWritesThatComeTogetherShareACommit(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.write(t, executed("there", "c0", 1))
		full := much()
		w.write(t, full[:10]...)
		release := w.blocked(t)
		defer release()
		const writers = 20
		results := make(chan error, writers+2)
		go func() { results <- w.Write(t.Context(), executed("first", "c1", 1)) }()
		until(t, "begun", func() bool { return w.db.Stats().InUse == 2 && w.Waiting() == 0 })
		for i := range writers {
			go func() { results <- w.Write(t.Context(), executed(fmt.Sprint("e", i), fmt.Sprint("c", i+2), 1)) }()
		}
		until(t, "waiting", func() bool { return w.Waiting() == writers })
		release()
		for range writers + 1 {
			must(t, <-results)
		}
		if w.dialect == sqlaudit.PostgreSQL {
			if got := w.rows(t, "SELECT count(DISTINCT xmin::text), count(*) FROM keybrake_records"); got != `["4" "32"]`+"\n" {
				t.Errorf("%s: transactions and records", got)
			}
		}

		release = w.blocked(t)
		defer release()
		go func() { results <- w.Write(t.Context(), executed("first2", "c1", 1)) }()
		until(t, "begun", func() bool { return w.db.Stats().InUse == 2 && w.Waiting() == 0 })
		bad := make(chan error, 1)
		go func() { bad <- w.Write(t.Context(), executed("there", "c0", 2)) }()
		tooMuch := full[10]
		go func() { results <- negated(w.Write(t.Context(), tooMuch)) }()
		for i := range 5 {
			go func() { results <- w.Write(t.Context(), executed(fmt.Sprint("f", i), fmt.Sprint("d", i), 1)) }()
		}
		until(t, "waiting", func() bool { return w.Waiting() == 7 })
		release()
		for range 7 {
			must(t, <-results)
		}
		if err := <-bad; !errors.Is(err, sqlaudit.ErrConflict) {
			t.Errorf("the one that conflicts: %v", err)
		}
		must(t, w.VerifyDerived(t.Context()))
	})
}

func TestWhoGivesUpWhileItWaitsHasWrittenNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		release := w.blocked(t)
		defer release()
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, 2)
		go func() { results <- w.Write(ctx, executed("e1", "c1", 1)) }() // is being written
		until(t, "begun", func() bool { return w.db.Stats().InUse == 2 && w.Waiting() == 0 })
		go func() { results <- w.Write(ctx, executed("e2", "c2", 1)) }() // waits
		until(t, "waiting", func() bool { return w.Waiting() == 1 })
		cancel()
		for range 2 {
			if err := <-results; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
		release()
		w.write(t, executed("e3", "c3", 1))
		if list := w.all(t); len(list) != 1 || list[0].ID != "e3" {
			t.Errorf("%d records stand there", len(list))
		}
	})
}

// A chain numbers a record anew when it is written again after an error, though the database had it: both links stay.
func TestARecordThatAChainWritesAgain(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, key, err := ed25519.GenerateKey(nil)
		must(t, err)
		lossy := &lossy{Sink: w.Sink}
		chain := audit.Chain(lossy, key)
		must(t, chain.Write(t.Context(), executed("e1", "c1", 5)))
		lossy.lose = true
		if chain.Write(t.Context(), executed("e2", "c2", 7)) == nil {
			t.Fatal("the answer came")
		}
		lossy.lose = false
		must(t, chain.Write(t.Context(), executed("e2", "c2", 7)))
		must(t, chain.Write(t.Context(), executed("e3", "c3", 9)))
		verified, err := w.Verify(t.Context(), &audit.VerifyOptions{Keys: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}})
		if err != nil || verified.Records != 4 {
			t.Errorf("%+v: %v", verified, err)
		}
		if got := w.rows(t, "SELECT calls, actual FROM keybrake_spend WHERE meter = 'charge'"); got != `["3" "21"]`+"\n" {
			t.Errorf("spent %s", got)
		}
		if n := len(w.all(t)); n != 3 {
			t.Errorf("%d records of three", n)
		}
	})
}

// lossy loses the answer to a write.
type lossy struct {
	audit.Sink
	lose bool
}

func (l *lossy) Write(ctx context.Context, r audit.Record) error {
	err := l.Sink.Write(ctx, r)
	if l.lose {
		return errors.Join(err, errors.New("the answer is lost"))
	}
	return err
}

// Names that no brake makes are kept apart, and found as they were.
func TestTextThatNoColumnTakesAsItIs(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var long string // that does not compress
		for i := range 500 {
			sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
			long += hex.EncodeToString(sum[:])
		}
		var want []string
		for i, run := range []string{"a\x00b", long + "1", long + "2", "a\xffb", "'; DROP TABLE keybrake_records; --", "$1 ?1 ?"} {
			r := executed(fmt.Sprint("e", i), run, 1)
			r.Run, r.Agent, r.Tenant, r.Key, r.Vendor, r.Credential, r.Operation, r.Detail, r.Flag = run, run, run, run, run, run, run, run, run
			r.Budgets = []audit.Budget{{Name: run, Of: run, Meter: cost.Calls, Limit: 1}}
			r.Labels, r.Tool, r.VendorRequest = []string{run}, run, run
			d := r
			d.ID, d.Kind, d.Reasons, d.CallID = "d"+r.ID, audit.Denied, []audit.Why{{Param: run, Budget: run}}, ""
			w.write(t, r, d)
			want = append(want, r.ID)
			n := 0
			for got, err := range w.Records(t.Context(), sqlaudit.Query{Tenant: run, Run: run, Call: run}) {
				must(t, err)
				if n++; got.ID != r.ID {
					t.Errorf("of %.20q: %s", run, got.ID)
				}
			}
			if n != 1 {
				t.Errorf("of %.20q: %d records", run, n)
			}
		}
		if got := w.rows(t, "SELECT count(*) FROM keybrake_runs"); got != fmt.Sprintf("[\"%d\"]\n", len(want)) {
			t.Errorf("%s runs of %d", got, len(want))
		}
		must(t, w.VerifyDerived(t.Context()))
	})
}

func TestARecordThatCouldNotBeReadIsNotTaken(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		longest := executed("e1", "c1", 1)
		longest.Detail = strings.Repeat("x", 1<<20-1000)
		w.write(t, longest)
		longest.ID, longest.Detail = "e2", strings.Repeat("x", 1<<20)
		if err := w.Write(t.Context(), longest); err == nil || !strings.Contains(err.Error(), "longer") {
			t.Errorf("too long: %v", err)
		}
		if err := w.Write(t.Context(), executed("", "c1", 1)); err == nil {
			t.Error("without an id it was taken")
		}
		later := executed("e3", "c1", 1)
		later.Version = 2
		if err := w.Write(t.Context(), later); err == nil {
			t.Error("of another version it was taken")
		}
		if n := len(w.all(t)); n != 1 {
			t.Errorf("%d records stand there", n)
		}
	})
}

// negated is an error where there is none.
func negated(err error) error {
	if err == nil {
		return errors.New("it was taken")
	}
	return nil
}

// much are twelve records of a run, of which the first ten can be summed up.
func much() (list []audit.Record) {
	for i := range 12 { // the most that a line can say, 1024 times, is more than an int64 holds
		r := executed(fmt.Sprint("much", i), fmt.Sprint("much", i), cost.Max)
		r.Run, r.Actual = "run_much", slices.Repeat(r.Actual, 100)
		list = append(list, r)
	}
	return list
}

func TestSumsThatNoColumnHoldsAreAnError(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		batch := much()
		w.write(t, batch[:10]...)
		before := w.dump(t)
		if w.WriteBatch(t.Context(), batch[10:]) == nil {
			t.Error("added to what stands there, they were taken")
		}
		if got := w.dump(t); got != before {
			t.Error(diff(got, before))
		}
		w.empty(t)
		if w.WriteBatch(t.Context(), batch) == nil {
			t.Error("in one batch, they were taken")
		}
		tooMuch := executed("e0", "c0", cost.Max)
		tooMuch.Actual = slices.Repeat(tooMuch.Actual, 1025)
		if w.Write(t.Context(), tooMuch) == nil {
			t.Error("in one record, they were taken")
		}
		negative := executed("e0", "c0", -1)
		if w.Write(t.Context(), negative) == nil {
			t.Error("less than nothing was taken")
		}
		w.write(t, batch[:5]...)
	})
}

// What Write has said is committed outlives a crash at once, in PostgreSQL also where the database would let a commit wait.
func TestWhatIsWrittenOutlivesACrash(t *testing.T) {
	t.Parallel()
	s := pgtest.Serve(t, "wal_writer_delay=10s", "synchronous_commit=off")
	dsn, err := s.NewDatabase()
	must(t, err)
	w := &world{dialect: sqlaudit.PostgreSQL, dsn: dsn}
	w.open(t, "pgx")
	must(t, w.Migrate(t.Context()))
	for round := range 2 {
		w.write(t, executed(fmt.Sprint("e", round), fmt.Sprint("c", round), 1))
		s.Crash()
		if w.Write(t.Context(), executed("lost", "c", 1)) == nil {
			t.Fatal("a server that has gone took a record")
		}
		must(t, s.Start())
		if list := w.all(t); len(list) != round+1 {
			t.Fatalf("after crash %d there are %d records", round+1, len(list))
		}
	}
	must(t, w.VerifyDerived(t.Context()))
}

// Writers go on while the server is restarted under them: what was answered with nil is there, and the rest is an error.
func TestARestartUnderLoadLosesNothingThatWasTaken(t *testing.T) {
	t.Parallel()
	s := pgtest.Serve(t)
	dsn, err := s.NewDatabase()
	must(t, err)
	w := &world{dialect: sqlaudit.PostgreSQL, dsn: dsn}
	w.open(t, "pgx")
	must(t, w.Migrate(t.Context()))
	stop := make(chan struct{})
	var mu sync.Mutex
	taken, failed := map[string]bool{}, 0
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("e%d_%d", i, n)
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				err := w.Write(ctx, executed(id, "c"+id, 1))
				cancel()
				mu.Lock()
				if err == nil {
					taken[id] = true
				} else {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	count := func(of func() int) int { mu.Lock(); defer mu.Unlock(); return of() }
	for round := range 2 {
		before := count(func() int { return len(taken) })
		until(t, "written", func() bool { return count(func() int { return len(taken) }) > before+8 })
		if round%2 == 0 {
			s.Stop()
		} else {
			s.Crash()
		}
		before = count(func() int { return failed })
		until(t, "failed", func() bool { return count(func() int { return failed }) > before })
		must(t, s.Start())
	}
	before := count(func() int { return len(taken) })
	until(t, "written again", func() bool { return count(func() int { return len(taken) }) > before+8 })
	close(stop)
	wg.Wait()
	there := map[string]bool{}
	for _, r := range w.all(t) {
		there[r.ID] = true
	}
	for id := range taken {
		if !there[id] {
			t.Errorf("%s was taken and is not there", id)
		}
	}
	must(t, w.VerifyDerived(t.Context()))
}

func TestAFullDiskIsAnErrorEachTime(t *testing.T) {
	w := newWorld(t, sqlaudit.SQLite)
	w.db.SetMaxOpenConns(1)
	_, err := w.db.Exec("PRAGMA max_page_count = 1")
	must(t, err) // as many as there are
	var failed error
	n := 0
	for ; failed == nil && n < 10_000; n++ {
		failed = w.Write(t.Context(), executed(fmt.Sprint("e", n), fmt.Sprint("c", n), 1))
	}
	if failed == nil || w.Write(t.Context(), executed("more", "more", 1)) == nil {
		t.Fatal("a full database takes records")
	}
	if got := len(w.all(t)); got != n-1 {
		t.Errorf("%d records of %d", got, n-1)
	}
	_, err = w.db.Exec("PRAGMA max_page_count = 1000000")
	must(t, err)
	w.write(t, executed("more", "more", 1))
	must(t, w.VerifyDerived(t.Context()))
}

// Where SQLite keeps no write-ahead log, who reads is in the way of a commit, which is tried until there is no time left.
func TestAReaderInTheWayOfACommit(t *testing.T) {
	w := opened(t, filepath.Join(t.TempDir(), "audit.db"), "_pragma=busy_timeout(20)")
	must(t, w.Migrate(t.Context()))
	w.write(t, executed("e1", "c1", 1))
	reader, err := w.db.Conn(t.Context())
	must(t, err)
	defer func() { _ = reader.Close() }()
	read := func(statement string) { _, err := reader.ExecContext(t.Context(), statement); must(t, err) }
	read("BEGIN")
	var n int
	must(t, reader.QueryRowContext(t.Context(), "SELECT count(*) FROM keybrake_records").Scan(&n))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := w.Write(ctx, executed("e2", "c2", 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("while another reads: %v", err) // it was tried until there was no time left
	}
	read("COMMIT")
	w.write(t, executed("e3", "c3", 1))
	read("BEGIN")
	must(t, reader.QueryRowContext(t.Context(), "SELECT count(*) FROM keybrake_records").Scan(&n))
	done := make(chan error, 1)
	go func() { done <- w.Write(t.Context(), executed("e4", "c4", 1)) }()
	until(t, "begun", func() bool { return w.db.Stats().InUse == 2 })
	read("COMMIT")
	must(t, <-done)
	must(t, w.VerifyDerived(t.Context()))
}
