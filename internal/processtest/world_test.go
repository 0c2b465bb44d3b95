package processtest_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
)

// A world is what the processes of a test share, and the process that issues: this one.
type world struct {
	*keybrake.Brake                 // sees the books as they are now
	later           *keybrake.Brake // sees them in an hour, when every call's deadline has passed

	redis  string
	rdb    *redis.Client
	fake   *fakevendor.Server
	issuer *keybrake.Issuer
}

// references are the references that every grant has.
var references = map[string]string{"stripe": "stripe", "twilio": "twilio", "resend": "resend"}

// ahead is more than the deadline of a call in flight and less than the life of a key.
const ahead = time.Hour

func newWorld(t *testing.T) *world {
	t.Helper()
	fake, err := fakevendor.Start()
	must(t, err)
	t.Cleanup(func() { _ = fake.Close() })
	issuer, err := keybrake.NewIssuer()
	must(t, err)
	w := &world{redis: redistest.Start(t), fake: fake, issuer: issuer}
	w.rdb = redis.NewClient(&redis.Options{Addr: w.redis})
	t.Cleanup(func() { _ = w.rdb.Close() })
	w.Brake = w.brake(t, 0)
	w.later = w.brake(t, ahead)
	return w
}

func (w *world) brake(t *testing.T, ahead time.Duration) *keybrake.Brake {
	t.Helper()
	b, err := keybrake.New(t.Context(), keybrake.Config{
		Issuer: w.issuer, Ledger: newLedger(w.redis, time.Minute, ahead), Vendors: tables(), Credentials: secrets(),
		Audit: &audittest.Recorder{}, Base: w.fake.Transport(), LedgerTimeout: time.Minute,
	})
	must(t, err)
	return b
}

// grant is for all three vendors.
func grant(tenant, run string, p policy.Policy) keybrake.Grant {
	return keybrake.Grant{
		Tenant: tenant, Agent: "refund-bot", Run: run,
		Credentials: references, Policy: p, TTL: 12 * time.Hour,
	}
}

// under allows what the tests do, within budgets.
func under(budgets ...policy.Budget) policy.Policy {
	return policy.Policy{
		Allow: []policy.Rule{
			{Operation: "stripe.payment_intents.create"}, {Operation: "stripe.refunds.create"},
			{Operation: "twilio.messages.create"}, {Operation: "resend.emails.send"},
		},
		Budgets: budgets,
	}
}

func (w *world) issue(t *testing.T, g keybrake.Grant) keybrake.Key {
	t.Helper()
	key, err := w.Issue(t.Context(), g)
	must(t, err)
	return key
}

// share makes a shared budget that never resets.
func (w *world) share(t *testing.T, tenant, name, dollars string) policy.Budget {
	t.Helper()
	must(t, w.SetBudget(t.Context(), tenant, policy.Lifetime(policy.USD(dollars)).Shared(name)))
	return policy.Scoped(name)
}

// books are the key's budgets as every process sees them, in its policy's order.
func (w *world) books(t *testing.T, token string) []ledger.State {
	t.Helper()
	states, err := w.Balance(t.Context(), token)
	must(t, err)
	return states
}

// spent is what the vendors really took, in micro-dollars: the truth that the books are compared with.
func (w *world) spent() int64 {
	sum := int64(0)
	for _, currencies := range w.fake.Spent() {
		sum += currencies["USD"]
	}
	return sum
}

// kinds are how the fake calls what the operations do.
var kinds = map[Op]string{Payment: "payment_intent.create", Refund: "refund", Text: "sms", Mail: "email"}

// executed is how often the vendors really did one of ops; without any it is how often money moved.
func (w *world) executed(ops ...Op) int {
	n := 0
	for _, e := range w.fake.Executions() {
		if e.Money && (len(ops) == 0 || slices.ContainsFunc(ops, func(o Op) bool { return kinds[o] == e.Kind })) {
			n++
		}
	}
	return n
}

// balanced fails unless the budget has spent exactly what the vendors took, and holds nothing.
func (w *world) balanced(t *testing.T, s ledger.State) {
	t.Helper()
	if s.Spent != w.spent() || s.Held != 0 {
		t.Errorf("budget %s has spent %d and holds %d; the vendors took %d", s.Name, s.Spent, s.Held, w.spent())
	}
}

// doubts are the tenant's reservations whose deadline has passed in an hour.
func (w *world) doubts(t *testing.T, tenant string) []ledger.Hold {
	t.Helper()
	holds, err := w.later.InDoubt(t.Context(), tenant)
	must(t, err)
	return holds
}

func (w *world) flush(t *testing.T) {
	t.Helper()
	must(t, w.rdb.FlushAll(context.Background()).Err())
}

// until waits for what another process does and has no channel.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("within twenty seconds, not: %s", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
