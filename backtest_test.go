package keybrake_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/backtest"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// A mishap is what becomes of a call at the vendor.
type mishap int

const (
	fine    mishap = iota
	lost           // executed, and the reply does not come
	refused        // not executed, for certain
)

// A fickle transport lets the next write have a mishap.
type fickle struct {
	base http.RoundTripper
	next mishap
}

func (f *fickle) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost || f.next == fine {
		return f.base.RoundTrip(req)
	}
	what := f.next
	f.next = fine
	if what == refused {
		body := `{"error":{"type":"card_error","code":"card_declined","message":"declined"}}`
		_ = req.Body.Close()
		return &http.Response{
			StatusCode: http.StatusPaymentRequired, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req, ContentLength: int64(len(body)),
			Header: http.Header{"Content-Type": {"application/json"}, "Request-Id": {"req_1"}}, Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	}
	resp, err := f.base.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return nil, errors.Join(err, io.ErrUnexpectedEOF)
}

// A deed is one call of a sequence that can be made in two worlds.
type deed struct {
	key    int
	what   string // refund, whole (the amount is known at the vendor alone), message, list
	n      int    // which charge
	cents  int64
	idem   string
	mishap mishap
}

// deeds are made up, retries of earlier ones among them.
func deeds(rnd *rand.Rand, n int) (list []deed) {
	var gone []deed // whose reply was lost
	for i := range n {
		d := deed{
			key: rnd.IntN(3), what: []string{"refund", "refund", "whole", "message", "list"}[rnd.IntN(5)],
			n: i, cents: 100 + rnd.Int64N(900), idem: fmt.Sprint("deed-", i), mishap: []mishap{fine, fine, fine, lost, refused}[rnd.IntN(5)],
		}
		if d.what == "message" || d.what == "list" {
			d.idem, d.mishap = "", fine
		}
		if len(gone) > 0 && rnd.IntN(5) == 0 {
			d = gone[rnd.IntN(len(gone))]
			d.mishap = fine
		} else if d.mishap == lost {
			gone = append(gone, d)
		}
		list = append(list, d)
	}
	return list
}

// A backstage is a world in which deeds are made.
type backstage struct {
	*world
	flaw *fickle
	keys []keybrake.Key
}

// newBackstage has two runs, the second of which has a narrowed key, and a third run.
func newBackstage(t *testing.T, p policy.Policy, team policy.Amount) *backstage {
	return newBackstageOn(t, memory.New(), p, team)
}

func newBackstageOn(t *testing.T, l ledger.Ledger, p policy.Policy, team policy.Amount) *backstage {
	t.Helper()
	s := &backstage{flaw: &fickle{}}
	s.world = newWorld(t, func(c *keybrake.Config) { s.flaw.base, c.Base, c.Ledger = c.Base, s.flaw, l })
	recordingEach(t, s.Brake)
	if err := s.SetBudget(t.Context(), "acme", policy.Lifetime(team).Shared("team")); err != nil {
		t.Fatal(err)
	}
	s.keys = []keybrake.Key{s.issue(t, "run_0", p), s.issue(t, "run_1", p)}
	child, err := s.keys[1].Narrow(keybrake.Narrowing{Labels: []string{"child"}})
	if err != nil {
		t.Fatal(err)
	}
	s.keys = append(s.keys, child)
	return s
}

// do makes d and returns the last record.
func (s *backstage) do(t *testing.T, d deed) audit.Record {
	t.Helper()
	s.act(t, d)
	all := s.sink.Records()
	return all[len(all)-1]
}

func (s *backstage) act(t *testing.T, d deed) {
	t.Helper()
	token, rt := s.keys[d.key].Token(), s.Transport(nil)
	charge := fmt.Sprint("ch_", d.n)
	s.flaw.next = d.mishap
	switch d.what {
	case "refund":
		postForm(t, rt, token, "/v1/refunds", d.idem, "charge", charge, "amount", fmt.Sprint(d.cents))
	case "whole":
		postForm(t, rt, token, "/v1/refunds", d.idem, "charge", charge)
	case "message":
		resp, err := rt.RoundTrip(request(t, "POST", messagesURL, token, formType, "To=%2B14155550101&From=%2B14155550100&Body=x"))
		if err == nil {
			_ = resp.Body.Close()
		}
	case "list":
		resp, err := rt.RoundTrip(request(t, "GET", "https://api.stripe.com/v1/charges", token, "", ""))
		if err == nil {
			_ = resp.Body.Close()
		}
	}
	s.flaw.next = fine
}

// TestABackTestRefusesWhatABrakeWould makes the same calls twice: under a policy that is only observed, with room for
// all, and under the tight one, enforced. What the back-test of the first says is what the second does.
func TestABackTestRefusesWhatABrakeWould(t *testing.T) {
	allow := []policy.Rule{{Operation: "stripe.refunds.create"}, {Operation: "stripe.charges.*", ReadOnly: true}, {Operation: "twilio.messages.create", Ceiling: policy.USD("1")}}
	loose := policy.Policy{Allow: allow, InsecureObserve: true, Budgets: []policy.Budget{policy.Lifetime(policy.USD("1000")), policy.Scoped("team")}}
	denied, kinds := 0, map[string]bool{}
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		tight := policy.Policy{Allow: slices.Clone(allow), Budgets: []policy.Budget{
			policy.Lifetime(policy.USD(fmt.Sprint(20 + rnd.IntN(20)))),
			policy.Rolling(time.Hour, policy.USD(fmt.Sprint(15+rnd.IntN(10)))).For("stripe.refunds.*"),
			policy.Scoped("team"),
			policy.Lifetime(policy.Calls(8 + rnd.Int64N(8))),
		}}
		tight.Allow[0].MaxPerCall = policy.USD("9.50")
		team := policy.USD(fmt.Sprint(30 + rnd.IntN(30)))

		then, now := newBackstage(t, loose, policy.USD("1000")), newBackstage(t, tight, team)
		list := deeds(rnd, 40)
		for i := range list {
			then.fake.SeedCharge(fmt.Sprint("ch_", i), 1000, "usd")
			now.fake.SeedCharge(fmt.Sprint("ch_", i), 1000, "usd")
		}
		calls := make([]string, len(list))
		for i, d := range list {
			calls[i] = then.do(t, d).CallID
		}
		told := map[string]backtest.Judged{}
		report, err := backtest.Replay(seq(then.sink.Records()...), backtest.Plan{
			Policy: tight, Before: []policy.Policy{loose},
			Shared: map[string][]policy.Budget{"acme": {policy.Lifetime(team).Shared("team")}},
			Each:   func(j backtest.Judged) { told[j.Record.CallID] = j },
		})
		if err != nil {
			t.Fatal(err)
		}
		if report.Untold != 0 || report.Before != 0 || report.Calls != int64(len(told)) || len(told) < len(list)/2 {
			t.Errorf("seed %d: %d calls, %d of them untold, %d of before", seed, report.Calls, report.Untold, report.Before)
		}
		for i, d := range list {
			did := now.do(t, d)
			j, is := told[calls[i]]
			if !is {
				t.Fatalf("seed %d: deed %d %+v is not judged", seed, i, d)
			}
			got := string(j.Verdict)
			if j.Verdict == backtest.Denied {
				got = fmt.Sprint(j.Reasons[0].Code, " ", j.Reasons[0].Budget)
			}
			want := "allowed"
			if did.Kind == audit.Denied {
				want = string(did.Reason) + " "
				if did.Reason == reason.BudgetExceeded {
					want += did.Budgets[0].Name
				}
				kinds[want] = true
				denied++
			}
			if got != want {
				t.Fatalf("seed %d: deed %d %+v: the back-test says %q, the brake %q: %s", seed, i, d, got, want, did.Detail)
			}
		}
		// What the books come to is the same, too.
		for _, b := range report.Budgets {
			for _, key := range now.keys {
				states, err := now.Balance(t.Context(), key.Token())
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range states {
					if s.Name == b.Name && s.Spent+s.Held > b.Peak.Amount {
						t.Errorf("seed %d: %s has %d in the end, and the back-test saw %d at most", seed, s.Name, s.Spent+s.Held, b.Peak.Amount)
					}
				}
			}
		}
	}
	if denied < 30 || len(kinds) < 4 {
		t.Errorf("of all calls %d were denied, as %v: too few to tell anything", denied, kinds)
	}
}

// A capture takes over what its payment holds: one spend in the back-test, as at the brake.
func TestABackTestKnowsWhichObjectACallMoves(t *testing.T) {
	loose := policy.Policy{Allow: []policy.Rule{{Operation: "stripe.payment_intents.*"}}, InsecureObserve: true, Budgets: []policy.Budget{policy.Lifetime(policy.USD("1000"))}}
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", loose)
	pay := func(idem string) string {
		code, body := postForm(t, w.Transport(nil), key.Token(), "/v1/payment_intents", idem, "amount", "2000", "currency", "usd",
			"confirm", "true", "payment_method", "pm_card_visa", "capture_method", "manual")
		if code != http.StatusOK {
			t.Fatal(code, body)
		}
		return idOf(body)
	}
	id := pay("one")
	if code, body := postForm(t, w.Transport(nil), key.Token(), "/v1/payment_intents/"+id+"/capture", "two"); code != http.StatusOK {
		t.Fatal(code, body)
	}
	pay("three")
	tight := loose
	tight.Budgets = []policy.Budget{policy.Lifetime(policy.USD("40"))}
	report, err := backtest.Replay(seq(w.sink.Records()...), backtest.Plan{Policy: tight, Before: []policy.Policy{loose}, Try: []backtest.Try{{Budget: "lifetime 40.00 USD", Limit: policy.USD("39")}}})
	if err != nil {
		t.Fatal(err)
	}
	if report.Calls != 3 || report.Denied != 0 || report.Budgets[0].Need.Amount != 40_000_000 || report.Try[0].Denied != 1 {
		t.Errorf("%+v", report)
	}
}
