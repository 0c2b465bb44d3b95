package keybrake_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/internal/token"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
)

// child narrows a key, which has to be possible.
func child(t testing.TB, k keybrake.Key, n keybrake.Narrowing) keybrake.Key {
	t.Helper()
	c, err := k.Narrow(n)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// charging asks for a charge of so many cents.
func charging(t testing.TB, k keybrake.Key, cents int, more string) *http.Request {
	return request(t, "POST", chargesURL, k.Token(), "application/x-www-form-urlencoded", fmt.Sprintf("amount=%d&currency=usd&source=tok_visa%s", cents, more))
}

// refusedFor is the reason of a refusal, empty where the call was executed.
func refusedFor(t testing.TB, rt http.RoundTripper, req *http.Request) reason.Code {
	t.Helper()
	if d := denial(t, rt, req); d != nil {
		return d.Reason
	}
	return ""
}

func TestANarrowedKeyMayDoWhatAllItsKeysMay(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.issue(t, "run_1", policy.Policy{
		Allow: []policy.Rule{
			{Operation: "stripe.charges.*", MaxPerCall: policy.USD("20")},
			{Operation: "stripe.refunds.create"},
			{Operation: "stripe.customers.list"},
		},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))},
	})
	one := child(t, parent, keybrake.Narrowing{Allow: []policy.Rule{
		{Operation: "stripe.charges.create", MaxPerCall: policy.USD("50"), Params: policy.Params{"description": policy.OneOf("tea", "milk")}},
		{Operation: "stripe.customers.*"}, // more than its parent has
	}})
	two := child(t, one, keybrake.Narrowing{Allow: []policy.Rule{{Operation: "stripe.*", MaxPerCall: policy.USD("5"), Params: policy.Params{"description": policy.OneOf("tea")}}}})
	rt := w.Transport(nil)
	for _, tt := range []struct {
		name string
		req  *http.Request
		want reason.Code
	}{
		{"what all allow", charging(t, two, 500, "&description=tea"), ""},
		{"what its parent forbids", charging(t, two, 500, "&description=milk"), reason.ParamDenied},
		{"more than it may", charging(t, two, 501, "&description=tea"), reason.MaxPerCall},
		{"what its parent may", charging(t, one, 2000, "&description=milk"), ""},
		{"what only the issued key may", charging(t, one, 500, ""), reason.ParamDenied},
		{"more than the issued key may", charging(t, one, 2001, "&description=milk"), reason.MaxPerCall},
		{"an operation that it was not given", request(t, "GET", chargesURL, one.Token(), "", ""), reason.OperationDenied},
		{"an operation that its parent was not given", request(t, "GET", chargesURL, two.Token(), "", ""), reason.OperationDenied},
		{"an operation of its own", request(t, "GET", "https://api.stripe.com/v1/customers", one.Token(), "", ""), ""},
		{"an operation of its own that the issued key has not", request(t, "GET", "https://api.stripe.com/v1/customers/cus_1", one.Token(), "", ""), reason.OperationDenied},
		{"the issued key, as before", charging(t, parent, 100, ""), ""},
	} {
		if got := refusedFor(t, rt, tt.req); got != tt.want {
			t.Errorf("%s: refused for %q, want %q", tt.name, got, tt.want)
		}
	}
	if n := len(w.fake.Executions()); n != 3 {
		t.Errorf("the vendor has executed %d calls, want 3", n)
	}
}

func TestANarrowedKeySpendsFromItsBudgetsAndFromAllAbove(t *testing.T) {
	w := newWorld(t, nil)
	if err := w.SetBudget(t.Context(), "acme", policy.Daily(policy.USD("30")).Shared("team:support")); err != nil {
		t.Fatal(err)
	}
	p := everything()
	p.Budgets = []policy.Budget{policy.Lifetime(policy.USD("20")), policy.Scoped("team:support")}
	parent := w.issue(t, "run_1", p)
	a := child(t, parent, keybrake.Narrowing{Budgets: []policy.Budget{policy.Lifetime(policy.USD("12")), policy.Lifetime(policy.Calls(3))}})
	b := child(t, parent, keybrake.Narrowing{Budgets: []policy.Budget{policy.Lifetime(policy.USD("20"))}}) // of the name that its parent's has
	deep := child(t, a, keybrake.Narrowing{Budgets: []policy.Budget{policy.Lifetime(policy.USD("6"))}})
	rt := w.Transport(nil)
	for i, tt := range []struct {
		key    keybrake.Key
		cents  int
		budget string // that refuses
	}{
		{deep, 600, ""},
		{deep, 1, "lifetime 6.00 USD"},
		{a, 601, "lifetime 12.00 USD"},
		{a, 600, ""},
		{parent, 100, ""},
		{b, 701, "lifetime 20.00 USD"}, // what its parent has left
		{b, 700, ""},
		{parent, 1, "lifetime 20.00 USD"},
	} {
		d := denial(t, rt, charging(t, tt.key, tt.cents, ""))
		switch {
		case tt.budget == "" && d != nil:
			t.Errorf("%d: refused: %v", i, d)
		case tt.budget != "" && (d == nil || d.Reason != reason.BudgetExceeded || d.Budget != tt.budget):
			t.Errorf("%d: got %v, want the budget %s to refuse", i, d, tt.budget)
		}
	}
	states, err := w.Balance(t.Context(), deep.Token())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range states {
		got = append(got, fmt.Sprintf("%s/%d: %d", s.Name, strings.Count(s.Of, "."), s.Spent))
	}
	want := []string{
		"lifetime 20.00 USD/0: 20000000", "team:support/0: 20000000",
		"lifetime 12.00 USD/1: 12000000", "lifetime 3 calls/1: 2", "lifetime 6.00 USD/2: 6000000",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the balance is %q, want %q", got, want)
	}
}

// Whatever the children do at once, none passes its own limit and all together not their parent's.
func TestChildrenTogetherStayWithinTheirParent(t *testing.T) {
	w := newWorld(t, nil)
	p := everything()
	p.Budgets = []policy.Budget{policy.Lifetime(policy.USD("50"))}
	parent := w.issue(t, "run_1", p)
	rt := w.Transport(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	executed := map[string]int{}
	for range 8 {
		c := child(t, parent, keybrake.Narrowing{Budgets: []policy.Budget{policy.Lifetime(policy.USD("10"))}})
		for range 15 {
			req := charging(t, c, 100, "")
			wg.Go(func() {
				resp, err := rt.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					t.Error(err)
				}
				if resp.StatusCode == http.StatusOK {
					mu.Lock()
					defer mu.Unlock()
					executed[c.ID]++
				}
			})
		}
	}
	wg.Wait()
	total := 0
	for id, n := range executed {
		total += n
		if n > 10 {
			t.Errorf("%s has made %d charges of a dollar within 10", id, n)
		}
	}
	if total != 50 || len(w.fake.Executions()) != 50 {
		t.Errorf("%d charges were let through and %d executed, want 50", total, len(w.fake.Executions()))
	}
}

func TestStoppingANarrowedKey(t *testing.T) {
	for name, tt := range map[string]struct {
		stop func(a, aa keybrake.Key) keybrake.Selector
		want string // which are stopped
	}{
		"the issued key":          {func(a, _ keybrake.Key) keybrake.Selector { return keybrake.ByKey("acme", ledger.Issued(a.ID)) }, "parent a aa b"},
		"a child":                 {func(a, _ keybrake.Key) keybrake.Selector { return keybrake.ByKey("acme", a.ID) }, "a aa"},
		"a grandchild":            {func(_, aa keybrake.Key) keybrake.Selector { return keybrake.ByKey("acme", aa.ID) }, "aa"},
		"a child's label":         {func(_, _ keybrake.Key) keybrake.Selector { return keybrake.ByLabel("acme", "sub-agent") }, "a aa"},
		"the issued key's label":  {func(_, _ keybrake.Key) keybrake.Selector { return keybrake.ByLabel("acme", "top") }, "parent a aa b"},
		"the run":                 {func(_, _ keybrake.Key) keybrake.Selector { return keybrake.ByRun("acme", "run_1") }, "parent a aa b"},
		"a label of nobody's":     {func(_, _ keybrake.Key) keybrake.Selector { return keybrake.ByLabel("acme", "sub") }, ""},
		"a key of the same start": {func(a, _ keybrake.Key) keybrake.Selector { return keybrake.ByKey("acme", a.ID[:len(a.ID)-1]) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			g := grant("run_1", everything())
			g.Labels = []string{"top"}
			parent, err := w.Issue(t.Context(), g)
			if err != nil {
				t.Fatal(err)
			}
			a := child(t, parent, keybrake.Narrowing{Labels: []string{"sub-agent"}})
			aa := child(t, a, keybrake.Narrowing{TTL: time.Minute})
			b := child(t, parent, keybrake.Narrowing{Allow: []policy.Rule{{Operation: "stripe.*"}}})
			rt := w.Transport(nil)
			for _, verb := range []struct {
				do   func() (keybrake.Report, error)
				code reason.Code
			}{
				{func() (keybrake.Report, error) { return w.Pause(t.Context(), tt.stop(a, aa)) }, reason.KeyPaused},
				{func() (keybrake.Report, error) { return w.Resume(t.Context(), tt.stop(a, aa)) }, ""},
				{func() (keybrake.Report, error) { return w.Revoke(t.Context(), tt.stop(a, aa)) }, reason.KeyRevoked},
			} {
				if _, err := verb.do(); err != nil {
					t.Fatal(err)
				}
				var stopped []string
				for _, k := range []struct {
					name string
					key  keybrake.Key
				}{{"parent", parent}, {"a", a}, {"aa", aa}, {"b", b}} {
					switch got := refusedFor(t, rt, request(t, "GET", chargesURL, k.key.Token(), "", "")); {
					case got == "":
					case got == verb.code:
						stopped = append(stopped, k.name)
					default:
						t.Errorf("%s: refused for %s", k.name, got)
					}
				}
				if want := tt.want; verb.code != "" && strings.Join(stopped, " ") != want || verb.code == "" && len(stopped) > 0 {
					t.Errorf("%s stops %q, want %q", verb.code, stopped, want)
				}
			}
		})
	}
}

func TestANarrowedKeyEndsNoLaterThanItsParent(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.issue(t, "run_1", everything())
	for name, tt := range map[string]struct {
		exp  int64
		want reason.Code
	}{
		"earlier":       {parent.Expires.Unix() - 1, ""},
		"with it":       {parent.Expires.Unix(), ""},
		"unset":         {0, ""},
		"long ago":      {time.Now().Unix() - 10, reason.KeyExpired},
		"later":         {parent.Expires.Unix() + 1, reason.KeyMalformed},
		"before time":   {-1, reason.KeyMalformed},
		"at the end of": {1 << 62, reason.KeyMalformed},
	} {
		block := fmt.Sprintf(`{"id":"aaaaaaaa","exp":%d,"all":true,"policy":{"allow":[]}}`, tt.exp)
		if tt.exp == 0 {
			block = `{"id":"aaaaaaaa","all":true,"policy":{"allow":[]}}`
		}
		text, err := token.Narrow(parent.Token(), []byte(block))
		if err != nil {
			t.Fatal(err)
		}
		if got := refusedFor(t, w.Transport(nil), request(t, "GET", chargesURL, text, "", "")); got != tt.want {
			t.Errorf("an end %s: refused for %q, want %q", name, got, tt.want)
		}
	}
	c := child(t, parent, keybrake.Narrowing{TTL: time.Minute})
	if c.Expires.After(time.Now().Add(time.Minute)) || c.Expires.Before(time.Now().Add(time.Minute-5*time.Second)) {
		t.Errorf("a child of a minute ends at %v", c.Expires)
	}
	if cc := child(t, c, keybrake.Narrowing{Labels: []string{"x"}}); !cc.Expires.Equal(c.Expires) {
		t.Errorf("its child ends at %v, it at %v", cc.Expires, c.Expires)
	}
	if got, err := c.Narrow(keybrake.Narrowing{TTL: 2 * time.Minute}); err == nil || got.Token() != "" {
		t.Errorf("a key of a minute gives one of two: %v", err)
	}
}

// A sub-agent's key ends while its parent's goes on.
func TestANarrowedKeyExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := vendorOf(func(*http.Request) *http.Response {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"object":"list","data":[]}`))}
		})
		issuer, err := keybrake.NewIssuer()
		if err != nil {
			t.Fatal(err)
		}
		b, err := keybrake.New(t.Context(), keybrake.Config{
			Issuer: issuer, Ledger: memory.New(), Vendors: []vendors.Vendor{kbstripe.New(nil)}, Audit: audit.InsecureDiscard(), Base: base,
			Credentials: credentials.Static(map[string]string{"stripe": stripeSecret}),
		})
		if err != nil {
			t.Fatal(err)
		}
		g := grant("run_1", policy.Policy{Allow: []policy.Rule{{Operation: "stripe.*", ReadOnly: true}}})
		g.Credentials = map[string]string{"stripe": "stripe"}
		parent, err := b.Issue(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		c := child(t, parent, keybrake.Narrowing{TTL: time.Minute})
		for _, want := range []reason.Code{"", reason.KeyExpired} {
			if got := refusedFor(t, b.Transport(nil), request(t, "GET", chargesURL, c.Token(), "", "")); got != want {
				t.Errorf("the child is refused for %q, want %q", got, want)
			}
			if got := refusedFor(t, b.Transport(nil), request(t, "GET", chargesURL, parent.Token(), "", "")); got != "" {
				t.Errorf("the parent is refused for %q", got)
			}
			time.Sleep(time.Minute)
		}
	})
}

// vendorOf is a base transport that answers without a network.
type vendorOf func(*http.Request) *http.Response

func (f vendorOf) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return f(r), nil
}

// What Narrow never writes, a holder can write with the seed that stands in his token. None of it gives more than his key.
func TestNoBlockWidensAKey(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.issue(t, "run_1", policy.Policy{
		Allow:   []policy.Rule{{Operation: "stripe.charges.*"}, {Operation: "stripe.invoices.pay", Ceiling: policy.USD("90")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("1"))},
	})
	const rules = `"policy":{"allow":[{"operation":"stripe.*"}]}`
	for name, block := range map[string]string{
		"another tenant":       `{"id":"aaaaaaaa","tenant":"globex",` + rules + `}`,
		"another run":          `{"id":"aaaaaaaa","run":"run_2",` + rules + `}`,
		"another agent":        `{"id":"aaaaaaaa","agent":"other",` + rules + `}`,
		"other credentials":    `{"id":"aaaaaaaa","credentials":{"twilio":"twilio"},` + rules + `}`,
		"a start of its own":   `{"id":"aaaaaaaa","nbf":0,` + rules + `}`,
		"another peer":         `{"id":"aaaaaaaa","peer":"uid:0",` + rules + `}`,
		"an unknown claim":     `{"id":"aaaaaaaa","root":true,` + rules + `}`,
		"a claim twice":        `{"id":"aaaaaaaa","id":"aaaaaaab",` + rules + `}`,
		"a claim spelt anew":   `{"ID":"aaaaaaaa",` + rules + `}`,
		"a space":              `{"id":"aaaaaaaa", ` + rules + `}`,
		"more behind":          `{"id":"aaaaaaaa",` + rules + `}{}`,
		"no id":                `{"id":"",` + rules + `}`,
		"the id of another":    `{"id":"aaaaaaaa.bbbbbbbb",` + rules + `}`,
		"an id that is long":   `{"id":"aaaaaaaaa",` + rules + `}`,
		"an id of other signs": `{"id":"AAAAAAAA",` + rules + `}`,
		"no policy":            `{"id":"aaaaaaaa","policy":null}`,
		"no rules":             `{"id":"aaaaaaaa","policy":{"allow":[]}}`,
		"all and rules":        `{"id":"aaaaaaaa","all":true,` + rules + `}`,
		"a label of no name":   `{"id":"aaaaaaaa","labels":["a b"],` + rules + `}`,
		"a policy of tomorrow": `{"id":"aaaaaaaa","policy":{"allow":[{"operation":"stripe.*"}],"tomorrow":1}}`,
		"only observed":        `{"id":"aaaaaaaa","policy":{"allow":[{"operation":"stripe.*"}],"insecure_observe":true}}`,
		"a repeat rule":        `{"id":"aaaaaaaa","policy":{"allow":[{"operation":"stripe.*"}],"repeat":{"limit":"1 calls","window":"rolling 1h0m0s"}}}`,
		"a cut-off":            `{"id":"aaaaaaaa","policy":{"allow":[{"operation":"stripe.*"}],"cancel_on_revoke":true}}`,
		"a lower ceiling":      `{"id":"aaaaaaaa","policy":{"allow":[{"operation":"stripe.invoices.pay","ceiling":"0.01 USD"}]}}`,
		"a shared budget":      `{"id":"aaaaaaaa","policy":{"allow":[{"operation":"stripe.*"}],"budgets":[{"scope":"team:others"}]}}`,
		"an alert":             `{"id":"aaaaaaaa","policy":{"allow":[{"operation":"stripe.*"}],"budgets":[{"limit":"1 calls","window":"lifetime","alert_at":["50%"]}]}}`,
		"claims that are none": `null`,
		"claims of nothing":    ``,
		"a list":               `[]`,
	} {
		text, err := token.Narrow(parent.Token(), []byte(block))
		if err != nil {
			t.Fatal(err)
		}
		if got := refusedFor(t, w.Transport(nil), request(t, "GET", chargesURL, text, "", "")); got != reason.KeyMalformed {
			t.Errorf("%s: refused for %q, want %q", name, got, reason.KeyMalformed)
		}
		if _, err := keybrake.ParseKey(text); err == nil {
			t.Errorf("%s: ParseKey takes it", name)
		}
	}
	// What reads well and says more than its parent does not give it.
	text, err := token.Narrow(parent.Token(), []byte(`{"id":"aaaaaaaa","policy":{"allow":[{"operation":"stripe.*"},{"operation":"twilio.*"},{"operation":"resend.*"}],"budgets":[{"limit":"1000000.00 USD","window":"lifetime"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		req  *http.Request
		want reason.Code
	}{
		{request(t, "GET", "https://api.stripe.com/v1/customers", text, "", ""), reason.OperationDenied},
		{request(t, "GET", emailsURL, text, "", ""), reason.OperationDenied},
		{request(t, "POST", chargesURL, text, "application/x-www-form-urlencoded", "amount=101&currency=usd&source=tok_visa"), reason.BudgetExceeded},
		{request(t, "POST", chargesURL, text, "application/x-www-form-urlencoded", "amount=100&currency=usd&source=tok_visa"), ""},
	} {
		if got := refusedFor(t, w.Transport(nil), tt.req); got != tt.want {
			t.Errorf("%s %s: refused for %q, want %q", tt.req.Method, tt.req.URL, got, tt.want)
		}
	}
	if n := len(w.fake.Received()); n != 1 {
		t.Errorf("the vendor got %d calls, want 1", n)
	}
}

// The issued policy may be on trial; what a sub-agent was given is not.
func TestWhatNarrowsIsEnforcedUnderAPolicyThatIsOnlyObserved(t *testing.T) {
	w := newWorld(t, nil)
	p := policy.Policy{Allow: []policy.Rule{{Operation: "stripe.refunds.create"}}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("1"))}, InsecureObserve: true}
	parent := w.issue(t, "run_1", p)
	c := child(t, parent, keybrake.Narrowing{
		Allow:   []policy.Rule{{Operation: "stripe.charges.create", MaxPerCall: policy.USD("3")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("5"))},
	})
	rt := w.Transport(nil)
	for _, tt := range []struct {
		name string
		req  *http.Request
		want reason.Code
	}{
		{"more than the observed policy has", charging(t, c, 300, ""), ""},
		{"more than one call of the child", charging(t, c, 301, ""), reason.MaxPerCall},
		{"more than the child's budget", charging(t, c, 201, ""), reason.BudgetExceeded},
		{"what the child's rules do not name", request(t, "GET", chargesURL, c.Token(), "", ""), reason.OperationDenied},
		{"the rest of its budget", charging(t, c, 200, ""), ""},
		{"the parent, observed", charging(t, parent, 900, ""), ""},
	} {
		if got := refusedFor(t, rt, tt.req); got != tt.want {
			t.Errorf("%s: refused for %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Where only a ceiling bounds a call, it is the issued key's that is held, and that the child's limit is compared with.
func TestACeilingIsTheIssuedKeys(t *testing.T) {
	w := newWorld(t, nil)
	p := policy.Policy{
		Allow:   []policy.Rule{{Operation: "twilio.calls.create", Ceiling: policy.USD("4")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("10"))},
	}
	parent := w.issue(t, "run_1", p)
	const callsURL = "https://api.twilio.com/2010-04-01/Accounts/" + twilioAccount + "/Calls.json"
	call := func(k keybrake.Key) *http.Request {
		r := request(t, "POST", callsURL, k.Token(), "application/x-www-form-urlencoded", "To=%2B14155550100&From=%2B14155550101&Url=https%3A%2F%2Facme.com%2Ftwiml")
		r.SetBasicAuth(twilioAccount, k.Token())
		return r
	}
	tight := child(t, parent, keybrake.Narrowing{Allow: []policy.Rule{{Operation: "twilio.calls.create", MaxPerCall: policy.USD("3.99"), Params: policy.Params{"Url": policy.Any()}}}})
	if got := refusedFor(t, w.Transport(nil), call(tight)); got == "" {
		t.Error("a call that is held at 4 USD passes a limit of 3.99")
	}
	if len(w.fake.Received()) != 0 {
		t.Error("the vendor was called")
	}
}

func TestRecordsOfANarrowedKey(t *testing.T) {
	w := newWorld(t, nil)
	g := grant("run_1", everything())
	g.Labels = []string{"top"}
	parent, err := w.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	c := child(t, parent, keybrake.Narrowing{Labels: []string{"sub"}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("5"))}})
	if got := refusedFor(t, w.Transport(nil), charging(t, c, 100, "")); got != "" {
		t.Fatal(got)
	}
	records := w.sink.Records()
	last := records[len(records)-1]
	if last.Kind != audit.Outcome || last.Key != c.ID || ledger.Issued(last.Key) != parent.ID || !slices.Equal(last.Labels, []string{"top", "sub"}) {
		t.Errorf("the record names key %q (its parent is %q) and labels %q", last.Key, parent.ID, last.Labels)
	}
	if len(last.Budgets) != 2 || last.Budgets[0].Of != "" || last.Budgets[1].Of != c.ID {
		t.Errorf("the record's budgets are %+v", last.Budgets)
	}
}

// A parent and its child are one run: with the same idempotency key they make the same spend.
func TestAParentsRetryOfItsChildsCallIsTheSameSpend(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.issue(t, "run_1", everything())
	c := child(t, parent, keybrake.Narrowing{Budgets: []policy.Budget{policy.Lifetime(policy.USD("5"))}})
	for _, k := range []keybrake.Key{c, parent, c} {
		req := charging(t, k, 300, "")
		req.Header.Set("Idempotency-Key", "order-1")
		if got := refusedFor(t, w.Transport(nil), req); got != "" {
			t.Fatal(got)
		}
	}
	states, err := w.Balance(t.Context(), c.Token())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(w.fake.Executions()); n != 1 || states[0].Spent != 3_000_000 || states[1].Spent != 3_000_000 {
		t.Errorf("%d executions; %+v", n, states)
	}
}

// A call that has not arrived is executed by its retry. One of a narrowed key would move money that its own budgets do not
// hold, on what the first attempt holds in those of another key.
func TestANarrowedKeyDoesNotRideOnAnothersAttempt(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.issue(t, "run_1", everything())
	five := keybrake.Narrowing{Budgets: []policy.Budget{policy.Lifetime(policy.USD("5")), policy.Lifetime(policy.Calls(1000))}}
	one, sibling := child(t, parent, five), child(t, parent, five)
	free := child(t, parent, keybrake.Narrowing{Budgets: []policy.Budget{policy.Lifetime(policy.Calls(1000))}})
	deep := child(t, one, keybrake.Narrowing{Labels: []string{"deep"}})
	other := everything()
	other.Budgets = []policy.Budget{policy.Daily(policy.USD("100"))}
	renewed := w.issue(t, "run_1", other)
	send := func(k keybrake.Key, cents int, key string) reason.Code {
		req := charging(t, k, cents, "")
		req.Header.Set("Idempotency-Key", key)
		resp, err := w.Transport(nil).RoundTrip(req)
		if err != nil {
			return reason.InDoubt
		}
		_ = resp.Body.Close()
		return reason.Code(resp.Header.Get("Keybrake-Denial"))
	}
	for name, tt := range map[string]struct {
		first, second keybrake.Key
		cents         int
		want          reason.Code
	}{
		"of its parent":                       {parent, one, 4900, reason.IdempotencyInFlight},
		"of a sibling":                        {sibling, one, 100, reason.IdempotencyInFlight},
		"of its parent, below what it has":    {parent, one, 100, reason.IdempotencyInFlight},
		"of its own":                          {one, one, 100, ""},
		"of its parent with the same budgets": {one, deep, 100, ""},
		"of its child":                        {one, parent, 100, ""},
		"of its parent, with no money to say": {parent, free, 100, ""},
		"of the key that it was renewed from": {parent, renewed, 100, ""},
	} {
		before := len(w.fake.Executions())
		w.fake.Misbehave(fakevendor.Fault{PathContains: "/charges", Kind: fakevendor.DropBefore, Times: 1})
		if got := send(tt.first, tt.cents, name); got != reason.InDoubt || len(w.fake.Executions()) != before {
			t.Fatalf("%s: the first attempt is %q", name, got)
		}
		executed := 0
		if tt.want == "" {
			executed = 1
		}
		if got := send(tt.second, tt.cents, name); got != tt.want || len(w.fake.Executions()) != before+executed {
			t.Errorf("%s: refused for %q, want %q; %d executions", name, got, tt.want, len(w.fake.Executions())-before)
		}
		// Once it is known to have been executed, anybody of the run gets the vendor's answer.
		for _, k := range []keybrake.Key{tt.first, tt.second} {
			if got := send(k, tt.cents, name); got != "" || len(w.fake.Executions()) != before+1 {
				t.Errorf("%s, later: refused for %q; %d executions", name, got, len(w.fake.Executions())-before)
			}
		}
	}
}

func TestNarrowRefusesWhatCannotBeMeant(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.issue(t, "run_1", everything())
	deep := parent
	for i := range 4 {
		deep = child(t, deep, keybrake.Narrowing{Labels: []string{fmt.Sprint("level-", i)}})
	}
	if got := refusedFor(t, w.Transport(nil), request(t, "GET", chargesURL, deep.Token(), "", "")); got != "" {
		t.Errorf("a key that was narrowed four times is refused for %s", got)
	}
	rules := []policy.Rule{{Operation: "stripe.*"}}
	for name, tt := range map[string]struct {
		key  keybrake.Key
		n    keybrake.Narrowing
		says string
	}{
		"nothing":               {parent, keybrake.Narrowing{}, "says nothing"},
		"the zero key":          {keybrake.Key{}, keybrake.Narrowing{Allow: rules}, "zero Key"},
		"a fifth level":         {deep, keybrake.Narrowing{Allow: rules}, "four times"},
		"an empty list":         {parent, keybrake.Narrowing{Allow: []policy.Rule{}}, "leave it nil"},
		"a rule of nothing":     {parent, keybrake.Narrowing{Allow: []policy.Rule{{}}}, "allow[0].operation"},
		"an amount in letters":  {parent, keybrake.Narrowing{Budgets: []policy.Budget{policy.Lifetime(policy.USD("5O"))}}, "budgets[0].limit"},
		"a shared budget":       {parent, keybrake.Narrowing{Budgets: []policy.Budget{policy.Scoped("team:support")}}, "Budgets[0]"},
		"an alert":              {parent, keybrake.Narrowing{Budgets: []policy.Budget{policy.Lifetime(policy.USD("1")).Alert(50)}}, "Budgets[0]"},
		"a ceiling":             {parent, keybrake.Narrowing{Allow: []policy.Rule{{Operation: "stripe.*", Ceiling: policy.USD("1")}}}, "Allow[0]"},
		"seventeen labels":      {parent, keybrake.Narrowing{Labels: strings.Split(strings.Repeat("x ", 16)+"x", " ")}, "there may be 16"},
		"a label of two words":  {parent, keybrake.Narrowing{Labels: []string{"a b"}}, "Labels[0]"},
		"a TTL before now":      {parent, keybrake.Narrowing{TTL: -time.Second}, "at least one second"},
		"a TTL of no second":    {parent, keybrake.Narrowing{TTL: time.Millisecond}, "at least one second"},
		"a TTL beyond parent's": {parent, keybrake.Narrowing{TTL: 2 * time.Hour}, "ends earlier"},
		"a policy of 10 KB":     {parent, keybrake.Narrowing{Allow: []policy.Rule{{Operation: "stripe.*", Params: policy.Params{"reason": policy.OneOf(strings.Repeat("x", 10_000))}}}}, "8 KiB"},
	} {
		got, err := tt.key.Narrow(tt.n)
		if err == nil || !strings.Contains(err.Error(), tt.says) || got.Token() != "" || strings.Contains(err.Error(), parent.Token()) {
			t.Errorf("%s: got %v with %q, want an error that says %q", name, err, got.Token(), tt.says)
		}
	}
}

func TestParseKey(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.issue(t, "run_1", everything())
	got, err := keybrake.ParseKey(" " + parent.Token() + "\n")
	if err != nil || got.ID != parent.ID || !got.Expires.Equal(parent.Expires) || got.Token() != parent.Token() {
		t.Errorf("got %v until %v, %v", got, got.Expires, err)
	}
	for _, bad := range []string{"", "sk_live_123", parent.Token()[1:], parent.Token() + "A"} {
		if got, err := keybrake.ParseKey(bad); err == nil || got.Token() != "" || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v, %v", bad, got, err)
		}
	}
	c := child(t, got, keybrake.Narrowing{Allow: []policy.Rule{{Operation: "stripe.charges.list"}}})
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %s %x", c, c, &c, c)} {
		if strings.Contains(text, c.Token()) || strings.Contains(strings.ToLower(text), strings.ToLower(c.Token()[20:60])) {
			t.Errorf("it prints as %s", text)
		}
	}
}

// A frozen key stops its whole family: what the vendor took more was taken from all its budgets.
func TestAnOverrunOfAChildFreezesItsFamily(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.issue(t, "run_1", everything())
	a := child(t, parent, keybrake.Narrowing{Labels: []string{"a"}})
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/charges", Kind: fakevendor.Overcharge})
	if got := refusedFor(t, w.Transport(nil), charging(t, a, 100, "")); got != "" {
		t.Fatal(got)
	}
	for _, k := range []keybrake.Key{a, parent} {
		if got := refusedFor(t, w.Transport(nil), charging(t, k, 100, "")); got != reason.KeyFrozen {
			t.Errorf("refused for %q", got)
		}
	}
	if _, err := w.Resume(t.Context(), keybrake.ByKey("acme", parent.ID)); err != nil {
		t.Fatal(err)
	}
	if got := refusedFor(t, w.Transport(nil), charging(t, a, 100, "")); got != "" {
		t.Errorf("after the resume: refused for %q", got)
	}
}

// Nobody has to be asked: neither brake nor ledger is there.
func ExampleKey_Narrow() {
	var key keybrake.Key // of Brake.Issue, or of ParseKey
	_, err := key.Narrow(keybrake.Narrowing{
		Allow:   []policy.Rule{{Operation: "stripe.refunds.create", MaxPerCall: policy.USD("10")}},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("25"))},
		TTL:     10 * time.Minute,
	})
	fmt.Println(errors.Unwrap(err))
	// Output: the zero Key has nothing to narrow; use one that was issued, or ParseKey
}

func TestRefusalsOfChildrenAreCountedApart(t *testing.T) {
	w := newWorld(t, nil)
	parent := w.issue(t, "run_1", everything())
	want := map[string]int64{}
	for n, name := range []string{"a", "b"} {
		c := child(t, parent, keybrake.Narrowing{Allow: []policy.Rule{{Operation: "stripe.charges.create"}}, Labels: []string{name}})
		for range n + 2 {
			want[c.ID]++
			if got := refusedFor(t, w.Transport(nil), request(t, "GET", chargesURL, c.Token(), "", "")); got != reason.OperationDenied {
				t.Fatal(got)
			}
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, r := range w.sink.Records() {
		if r.Kind == audit.Denied {
			got[r.Key] += max(1, r.Count)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("on record are %v, want %v", got, want)
	}
}
