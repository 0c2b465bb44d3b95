package processtest_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// server is the process of the world's Redis, by the number that it tells itself.
func (w *world) server(t *testing.T) *os.Process {
	t.Helper()
	info, err := w.rdb.Info(t.Context(), "server").Result()
	must(t, err)
	number := regexp.MustCompile(`process_id:(\d+)`).FindStringSubmatch(info)
	if number == nil {
		t.Fatalf("no process_id in %q", info)
	}
	pid, err := strconv.Atoi(number[1])
	must(t, err)
	p, err := os.FindProcess(pid)
	must(t, err)
	return p
}

// all is one call of each operation.
func all(token string) []Call {
	return []Call{
		{Token: token, Op: Payment, Cents: 100}, {Token: token, Op: Refund, Cents: 100, Charge: "ch_1"},
		{Token: token, Op: Text}, {Token: token, Op: Mail},
	}
}

// shapes are the SDKs' own errors, for a refusal that is no 429.
var shapes = map[Op]string{Payment: "*stripe.Error", Refund: "*stripe.Error", Text: "*client.TwilioRestError", Mail: "*errors.errorString"}

// refused fails unless p refuses every operation with code, in the vendor's shape, and no vendor hears of it.
func (w *world) refused(t *testing.T, p *process, token string, code reason.Code) {
	t.Helper()
	heard := len(w.fake.Received())
	calls := all(token)
	entry, _ := reason.Lookup(code)
	for i, r := range p.calls(t, calls...) {
		op := calls[i].Op
		if r.Denial.Reason != code || r.Shape != shapes[op] || r.Status != entry.Status && op != Mail {
			t.Errorf("%s: got %+v, want %s as a %s", op, r, code, shapes[op])
		}
	}
	if n := len(w.fake.Received()); n != heard {
		t.Errorf("the vendors got %d requests", n-heard)
	}
}

// through fails unless p lets every operation through.
func (w *world) through(t *testing.T, p *process, token string) {
	t.Helper()
	for i, r := range p.calls(t, all(token)...) {
		if r.Err != "" {
			t.Errorf("call %d: %+v", i, r)
		}
	}
}

func TestWithoutItsRedisNoProcessForwardsAnything(t *testing.T) {
	w := newWorld(t)
	w.fake.SeedCharge("ch_1", 100_000_000, "usd")
	patient := func(s *Setup) { s.Answer = 10 * time.Second }
	busy, idle := w.start(t, patient), w.start(t, patient)
	key := w.issue(t, grant("acme", "run_1", under(policy.Lifetime(policy.USD("100")))))
	w.through(t, busy, key.Token())
	must(t, w.server(t).Kill())
	w.refused(t, busy, key.Token(), reason.LedgerUnavailable)
	w.refused(t, idle, key.Token(), reason.LedgerUnavailable)
}

func TestARedisThatHasLostEverythingDenies(t *testing.T) {
	w := newWorld(t)
	w.fake.SeedCharge("ch_1", 100_000_000, "usd")
	busy, idle := w.start(t, nil), w.start(t, nil)
	shared := w.share(t, "acme", "team", "100")
	var keys []keybrake.Key
	for i, p := range []policy.Policy{under(policy.Lifetime(policy.USD("100"))), under(shared)} {
		keys = append(keys, w.issue(t, grant("acme", fmt.Sprintf("run_%d", i), p)))
		w.through(t, busy, keys[i].Token())
	}
	w.flush(t)
	for _, key := range keys {
		w.refused(t, busy, key.Token(), reason.LedgerFrozen)
		w.refused(t, idle, key.Token(), reason.LedgerFrozen)
	}
	for _, b := range []policy.Budget{shared, policy.Lifetime(policy.USD("100"))} {
		if _, err := w.Issue(t.Context(), grant("acme", "run_2", under(b))); err == nil {
			t.Error("a key was issued although nobody knows what was spent")
		}
	}
}
