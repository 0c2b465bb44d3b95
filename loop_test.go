package keybrake_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// repeating allows the same call three times in ten minutes.
func repeating() policy.Policy {
	p := everything()
	p.Repeat = policy.Times(3, 10*time.Minute)
	return p
}

func TestARepeatRuleStopsALoopWhileThereIsBudget(t *testing.T) {
	w := newWorld(t, nil)
	s := w.spend(t, repeating())
	for i := range 20 {
		err := s.refund(100, fmt.Sprint("loop-", i))
		d, denied := keybrake.DenialFrom(err)
		if i < 3 && err != nil {
			t.Fatalf("refund %d: %v", i, err)
		}
		if i >= 3 && (!denied || d.Reason != reason.RepeatExceeded || d.Limit != 3 || d.Reset.Before(time.Now())) {
			t.Fatalf("refund %d: %v", i, err)
		}
	}
	s.wantTrips(20) // one each: no SDK sends a refusal again
	s.wantBooks(3, 0, 3)
	if err := s.refund(100, "loop-0"); err != nil {
		t.Errorf("a retry of the first attempt: %v", err)
	}
	if err := s.refund(101, ""); err != nil {
		t.Errorf("another amount: %v", err)
	}
	for range 5 {
		if it := s.sc.Charges.List(nil); it.Err() != nil {
			t.Errorf("a read: %v", it.Err())
		}
	}
	renewed := w.spender(t, w.issue(t, runOf(s), repeating()))
	if d, _ := keybrake.DenialFrom(renewed.refund(100, "")); d == nil || d.Reason != reason.RepeatExceeded {
		t.Errorf("another key of the run: %v", d)
	}
	other := w.spender(t, w.issue(t, "another_run", repeating()))
	if err := other.refund(100, ""); err != nil {
		t.Errorf("another run: %v", err)
	}
}

// The same mail in other words is the same mail.
func TestARepeatRuleReadsJSONBeforeItCompares(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", repeating())
	for i := range 6 {
		body := `{"from":"a@example.com","to":["b@example.com"],` + strings.Repeat(" ", i) + `"subject":"s","text":"t"}`
		d := denial(t, w.Transport(nil), request(t, "POST", "https://api.resend.com/emails", key.Token(), "application/json", body))
		if refused := d != nil && d.Reason == reason.RepeatExceeded; refused != (i >= 3) {
			t.Errorf("mail %d: %v", i, d)
		}
	}
	other := `{"from":"a@example.com","to":["b@example.com"],"subject":"another","text":"t"}`
	if d := denial(t, w.Transport(nil), request(t, "POST", "https://api.resend.com/emails", key.Token(), "application/json", other)); d != nil {
		t.Errorf("another mail: %v", d)
	}
}

// runOf is the run of a spender's key.
func runOf(s *spender) string {
	for _, r := range s.sink.Records() {
		if r.Key == s.key.ID && r.Run != "" {
			return r.Run
		}
	}
	s.t.Fatal("no record of the key")
	return ""
}

// observing would let refunds of up to 5 USD through, to 10 USD in all and three of the same.
func observing() policy.Policy {
	return policy.Policy{
		Allow:           []policy.Rule{{Operation: "stripe.refunds.create", MaxPerCall: policy.USD("5")}, {Operation: "twilio.*"}},
		Budgets:         []policy.Budget{policy.Lifetime(policy.USD("10")), policy.Scoped("team")},
		Repeat:          policy.Times(3, 10*time.Minute),
		InsecureObserve: true,
	}
}

func TestAnObservedPolicyRefusesNothingAndRecordsWhatItWouldHave(t *testing.T) {
	w := newWorld(t, nil)
	if err := w.SetBudget(t.Context(), "acme", policy.Daily(policy.USD("20")).Shared("team")); err != nil {
		t.Fatal(err)
	}
	s := w.spend(t, observing())
	reasons := func() (list []string) {
		for _, why := range last(w.sink.Records(), audit.Intent).Reasons {
			list = append(list, string(why.Code)+" "+why.Budget)
		}
		return list
	}
	for _, step := range []struct {
		what  string
		cents int64
		want  []string
	}{
		{"as the policy allows", 400, nil},
		{"above the limit for one call", 600, []string{"max_per_call "}},
		{"above the key's budget", 100, []string{"budget_exceeded lifetime 10.00 USD"}},
		{"above both budgets and the limit", 2000, []string{"max_per_call ", "budget_exceeded lifetime 10.00 USD", "budget_exceeded team"}},
		{"the same, 2", 100, []string{"budget_exceeded lifetime 10.00 USD", "budget_exceeded team"}},
		{"the same, 3", 100, []string{"budget_exceeded lifetime 10.00 USD", "budget_exceeded team"}},
		{"the same, 4", 100, []string{"repeat_exceeded repeat", "budget_exceeded lifetime 10.00 USD", "budget_exceeded team"}},
	} {
		if err := s.refund(step.cents, ""); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		r := last(w.sink.Records(), audit.Intent)
		got := reasons()
		slices.Sort(got)
		slices.Sort(step.want)
		if !slices.Equal(got, step.want) || (r.Verdict == audit.Observe) != (step.want != nil) {
			t.Errorf("%s: the record says %s %q, want %q", step.what, r.Verdict, got, step.want)
		}
	}
	s.wantBooks(34, 0, 34)
	enforced := w.spender(t, w.issue(t, "enforced", policy.Policy{
		Allow: []policy.Rule{{Operation: "stripe.refunds.create"}}, Budgets: []policy.Budget{policy.Scoped("team")},
	}))
	if err := enforced.refund(1900, ""); err != nil {
		t.Errorf("what is observed has used up the team's budget: %v", err)
	}
}

func TestObservingNeverOpensWhatIsNotAPolicysToDecide(t *testing.T) {
	w := newWorld(t, nil)
	if err := w.SetBudget(t.Context(), "acme", policy.Daily(policy.USD("20")).Shared("team")); err != nil {
		t.Fatal(err)
	}
	key := w.issue(t, "run_1", observing())
	rt := w.Transport(nil)
	for name, tt := range map[string]struct {
		method, url, contentType, body string
		want                           reason.Code
	}{
		"an operation that is never allowed": {"POST", "https://api.stripe.com/v1/webhook_endpoints", formType, "url=https%3A%2F%2Fe.org&enabled_events[]=*", reason.OperationHardDenied},
		"an operation of no catalogue":       {"POST", "https://api.stripe.com/v1/nothing", formType, "", reason.OperationUnknown},
		"a path that is not canonical":       {"POST", "https://api.stripe.com/v1/./refunds", formType, "charge=ch_1&amount=5", reason.RequestInvalid},
		"a host of nobody":                   {"GET", "https://example.org/v1/charges", "", "", reason.HostUnknown},
		"a parameter given twice":            {"POST", refundsURL, formType, "charge=ch_1&amount=5&amount=6", reason.ParamDuplicate},
		"a currency that no budget counts":   {"POST", "https://api.stripe.com/v1/payment_intents", formType, "amount=5&currency=eur", reason.CurrencyDenied},
		"a price that is not known":          {"POST", "https://api.twilio.com/2010-04-01/Accounts/" + twilioAccount + "/Messages.json", formType, "To=%2B18005550101&From=%2B14155550100&Body=x", reason.CostUnknown},
	} {
		if d := denial(t, rt, request(t, tt.method, tt.url, key.Token(), tt.contentType, tt.body)); d == nil || d.Reason != tt.want {
			t.Errorf("%s: %v, want %s", name, d, tt.want)
		}
	}
	if _, err := w.Pause(t.Context(), keybrake.ByRun("acme", "run_1")); err != nil {
		t.Fatal(err)
	}
	if d := denial(t, rt, request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_1&amount=5")); d == nil || d.Reason != reason.KeyPaused {
		t.Errorf("paused: %v", d)
	}
	if n := w.executed(); n != 0 {
		t.Errorf("the vendor has executed %d", n)
	}
}

func TestABudgetThatIsNearlyUsedUpRaisesAnAlertOnce(t *testing.T) {
	w := newWorld(t, nil)
	p := everything()
	p.Budgets = []policy.Budget{policy.Rolling(24*time.Hour, policy.USD("10")).Alert(80)}
	s := w.spend(t, p)
	for range 9 {
		if err := s.refund(100, ""); err != nil {
			t.Fatal(err)
		}
	}
	alerts, err := w.ledger.Alerts(t.Context(), "acme")
	if err != nil || len(alerts) != 1 || alerts[0].Percent != 80 || alerts[0].Key != s.key.ID || alerts[0].State.Name != "rolling 24h 10.00 USD" {
		t.Errorf("%+v, %v", alerts, err)
	}
	if d, _ := keybrake.DenialFrom(s.refund(200, "")); d == nil || d.Reason != reason.BudgetExceeded || d.Reset.Before(time.Now().Add(23*time.Hour)) {
		t.Errorf("above a rolling budget: %+v", d)
	}
}

// keeping is a ledger that shows what it keeps, and fails when a test says so.
type keeping struct {
	*memory.Ledger
	kept     [][]byte
	failKeep error
	failKept error
	forged   []byte // is written in place of what was to be kept
}

func (k *keeping) Keep(ctx context.Context, tenant, name string, text []byte, d time.Duration) error {
	k.kept = append(k.kept, text)
	if k.forged != nil {
		text = k.forged
	}
	if k.failKeep != nil {
		return k.failKeep
	}
	return k.Ledger.Keep(ctx, tenant, name, text, d)
}

func (k *keeping) Kept(ctx context.Context, tenant, name string) ([]byte, error) {
	if k.failKept != nil {
		return nil, k.failKept
	}
	return k.Ledger.Kept(ctx, tenant, name)
}

func once() policy.Policy {
	p := everything()
	p.Repeat = policy.Once(10 * time.Minute)
	return p
}

// refundAs makes a refund over plain HTTP and returns the answer.
func refundAs(t *testing.T, w *world, token, form string) (*http.Response, string) {
	t.Helper()
	req := request(t, "POST", refundsURL, token, formType, form)
	req.Header.Set("Idempotency-Key", rand.Text()) // of an SDK that makes one for every call
	resp, err := w.Transport(nil).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestARepeatedCallGetsTheFirstAnswer(t *testing.T) {
	k := &keeping{Ledger: memory.New()}
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = k })
	w.fake.SeedCharge("ch_1", 5000, "usd")
	tok := w.issue(t, "run_1", once()).Token()
	const form = "charge=ch_1&amount=100"
	first, body := refundAs(t, w, tok, form)
	if first.StatusCode != 200 || first.Header.Get("Keybrake-Replayed") != "" {
		t.Fatalf("the first: %s %s", first.Status, body)
	}
	call := w.sink.Records()[len(w.sink.Records())-1].CallID
	for _, same := range []string{form, "amount=100&charge=ch_1"} {
		again, text := refundAs(t, w, tok, same)
		if again.StatusCode != 200 || text != body || again.Header.Get("Keybrake-Replayed") != call || again.Header.Get("Request-Id") != first.Header.Get("Request-Id") {
			t.Errorf("again: %s %q %v, want %q", again.Status, text, again.Header, body)
		}
	}
	records := w.sink.Records()
	if last := records[len(records)-1]; last.Kind != audit.Denied || last.Reason != reason.RepeatExceeded || last.Flag != "answered as "+call+" was" {
		t.Errorf("on record is %+v", last)
	}
	if other, text := refundAs(t, w, w.issue(t, "run_2", once()).Token(), form); text == body || other.Header.Get("Keybrake-Replayed") != "" {
		t.Errorf("another run got the answer of the first: %s", text)
	}
	if n := len(w.fake.Executions()); n != 2 {
		t.Errorf("%d refunds were executed, want one for each run", n)
	}
	for _, text := range k.kept {
		if strings.Contains(string(text), "re_") || strings.Contains(string(text), "refund") {
			t.Errorf("the ledger keeps the answer in the clear: %q", text)
		}
	}
}

func TestARepeatedCallWithoutAnAnswerIsRefused(t *testing.T) {
	for name, change := range map[string]func(*world, *keeping){
		"the ledger did not keep it": func(_ *world, k *keeping) { k.failKeep = errors.New("full") },
		"the ledger does not say it": func(_ *world, k *keeping) { k.failKept = errors.New("gone") },
		"the first is in doubt": func(w *world, _ *keeping) {
			w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Status, Status: 500})
		},
		"the ledger's writer made it": func(_ *world, k *keeping) { k.forged = []byte(`{"status":200,"header":{},"body":"e30="}`) },
	} {
		t.Run(name, func(t *testing.T) {
			k := &keeping{Ledger: memory.New()}
			w := newWorld(t, func(c *keybrake.Config) { c.Ledger = k })
			w.fake.SeedCharge("ch_1", 5000, "usd")
			tok := w.issue(t, "run_1", once()).Token()
			change(w, k)
			refundAs(t, w, tok, "charge=ch_1&amount=100")
			again, text := refundAs(t, w, tok, "charge=ch_1&amount=100")
			if d := denialIn(t, &http.Response{Header: again.Header, StatusCode: again.StatusCode, Body: io.NopCloser(strings.NewReader(text))}); d == nil || d.Reason != reason.RepeatExceeded {
				t.Errorf("again: %s %s", again.Status, text)
			}
			if n := len(w.fake.Received()); n != 2 { // the look and the refund
				t.Errorf("the vendor got %d requests, want those of one refund", n)
			}
		})
	}
}

func TestAnAnswerIsKeptForARuleOnly(t *testing.T) {
	k := &keeping{Ledger: memory.New()}
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = k })
	w.fake.SeedCharge("ch_1", 5000, "usd")
	refundAs(t, w, w.issue(t, "run_1", repeating()).Token(), "charge=ch_1&amount=100")
	if len(k.kept) > 0 {
		t.Errorf("the ledger keeps %d answers that nobody asked for", len(k.kept))
	}
}

func TestALedgerThatKeepsNoAnswersIsNoGroundForARule(t *testing.T) {
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = struct{ ledger.Ledger }{c.Ledger} })
	if _, err := w.Issue(t.Context(), grant("run_1", once())); err == nil || !strings.Contains(err.Error(), "repeat.answer") {
		t.Errorf("issued: %v", err)
	}
}
