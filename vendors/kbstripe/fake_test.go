package kbstripe_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/vendors"
)

// A shop is a Stripe that keeps state, and a call's way there and back as the brake makes it: bound, mark, send, and
// whatever then has to be looked up.
type shop struct {
	*testing.T
	fake *fakevendor.Server
	tab  *vendors.Table
	http *http.Client
	made int
}

func newShop(t *testing.T) *shop {
	t.Helper()
	fake, err := fakevendor.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	return &shop{T: t, fake: fake, tab: table(t), http: &http.Client{Transport: fake.Transport(), Timeout: 10 * time.Second}}
}

// ask sends one request with the real credential; nil is a connection that broke.
func (s *shop) ask(method, path string, query, form []vendors.Param) *vendors.Reply {
	s.Helper()
	u := &url.URL{Scheme: "https", Host: "api.stripe.com", Path: path, RawQuery: vendors.Encode(query)}
	req, err := http.NewRequest(method, u.String(), strings.NewReader(vendors.Encode(form)))
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sk_test_1")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := s.http.Do(req)
	if err != nil {
		return nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil
	}
	return &vendors.Reply{Status: res.StatusCode, Header: res.Header, Body: body}
}

// call makes one call, and returns it as a case, in doubt if no reply came.
func (s *shop) call(path, form string, marked bool) *vendors.Case {
	s.Helper()
	_, c := identify(s.T, s.tab, path, form)
	b, err := c.Operation.Bound(c, nil)
	if err == nil && b.Probe != nil {
		b, err = c.Operation.Bound(c, s.ask("GET", b.Probe.Path, b.Probe.Query, nil))
	}
	if err != nil {
		s.Fatal(err)
	}
	s.made++
	k := &vendors.Case{Call: c, Sent: time.Now(), Bound: vendors.Bound{Kind: b.Kind, Lines: b.Lines, Object: b.Object}}
	for _, p := range b.Send {
		c.Params = slices.DeleteFunc(c.Params, func(q vendors.Param) bool { return q.Name == p.Name })
		c.Params = append(c.Params, p)
	}
	send := c.Params
	if marked {
		k.Mark = "rsv_" + string(rune('a'+s.made))
		marks, _ := c.Operation.Stamp(c, "run_1", k.Mark)
		send = append(slices.Clone(send), marks...)
	}
	r := s.ask("POST", path, nil, send)
	k.Ended = time.Now()
	k.Now = k.Ended
	if k.Doubt = r == nil; !k.Doubt {
		settled, err := c.Operation.Settle(c, b, r)
		if err != nil {
			s.Fatal(err)
		}
		k.Booked, k.Objects = settled.Actual, settled.Objects
	}
	c.Params = slices.DeleteFunc(c.Params, func(p vendors.Param) bool { return !slices.Contains(c.Operation.Trace, p.Name) })
	return k
}

// find looks a case up until the row has found what it can.
func (s *shop) find(k *vendors.Case) string {
	s.Helper()
	k.Seen = nil
	for range vendors.MostLooks + 1 {
		f, err := k.Call.Operation.Reconcile(k)
		if err != nil {
			s.Fatal(err)
		}
		if f.Look == nil {
			return found(f)
		}
		look(s.T, s.tab, f.Look)
		k.Seen = append(k.Seen, s.ask("GET", f.Look.Path, f.Look.Query, nil))
	}
	s.Fatal("it looks for ever")
	return ""
}

func (s *shop) lose(path string, kind fakevendor.FaultKind) {
	s.fake.Misbehave(fakevendor.Fault{Method: "POST", PathContains: path, Kind: kind})
}

// A call whose reply is lost is found by its mark, among others like it, and one that never arrived is not.
func TestLostReplies(t *testing.T) {
	for _, tt := range []struct{ path, form, want string }{
		{"/v1/refunds", "charge=ch_1&amount=2000", "executed outflow 20.00 USD"},
		{"/v1/charges/ch_1/refunds", "amount=2000", "executed outflow 20.00 USD"},
		{"/v1/charges", "amount=2000&currency=usd&source=tok_visa", "executed charge 20.00 USD on "},
		{"/v1/payment_intents", "amount=2000&currency=usd&confirm=true&payment_method=pm_1", "executed charge 20.00 USD on "},
		{"/v1/payment_intents", "amount=2000&currency=usd&confirm=true&payment_method=pm_declined", "pending held charge 20.00 USD on "},
		{"/v1/transfers", "amount=2000&currency=usd&destination=acct_1", "executed outflow 20.00 USD"},
		{"/v1/payouts", "amount=2000&currency=usd", "pending outflow 20.00 USD again 24h"},
		{"/v1/topups", "amount=2000&currency=usd", "pending charge 20.00 USD again 24h"},
	} {
		s := newShop(t)
		s.fake.SeedCharge("ch_1", 900_000, "usd")
		for range 3 {
			s.call(tt.path, tt.form, true)
		}
		s.lose(tt.path, fakevendor.DropAfter)
		if got := s.find(s.call(tt.path, tt.form, true)); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s %s: executed and lost: %s, want %s", tt.path, tt.form, got, tt.want)
		}
		s.lose(tt.path, fakevendor.DropBefore)
		if got := s.find(s.call(tt.path, tt.form, true)); got != "absent" {
			t.Errorf("%s: never arrived: %s", tt.path, got)
		}
		s.lose(tt.path, fakevendor.DropAfter)
		if got := s.find(s.call(tt.path, tt.form, false)); got != "?" {
			t.Errorf("%s: without a mark: %s", tt.path, got)
		}
		if n := s.fake.Faults(); n != 0 {
			t.Errorf("%s: %d faults did not happen", tt.path, n)
		}
	}
}

// A list of several pages is read to its end.
func TestLostAmongMany(t *testing.T) {
	s := newShop(t)
	s.fake.SeedCharge("ch_1", 900_000, "usd")
	s.lose("/v1/refunds", fakevendor.DropAfter)
	k := s.call("/v1/refunds", "charge=ch_1&amount=100", true)
	for range 250 {
		s.ask("POST", "/v1/refunds", nil, []vendors.Param{{Name: "charge", Value: "ch_1"}, {Name: "amount", Value: "1"}})
	}
	if got := s.find(k); got != "executed outflow 1.00 USD" || len(k.Seen) != 4 {
		t.Errorf("%s after %d looks", got, len(k.Seen))
	}
	k.Mark = "rsv_other"
	if got := s.find(k); got != "absent" || len(k.Seen) != 3 {
		t.Errorf("%s after %d looks", got, len(k.Seen))
	}
}

// What was not final is looked at again until it is.
func TestLaterEnds(t *testing.T) {
	for _, tt := range []struct {
		path, form  string
		ok          bool
		first, then string
	}{
		{"/v1/payment_intents", "amount=2000&currency=usd&confirm=true&payment_method=pm_processing", true, "pending held charge 20.00 USD", "executed charge 20.00 USD"},
		{"/v1/payment_intents", "amount=2000&currency=usd&confirm=true&payment_method=pm_processing", false, "pending held charge 20.00 USD", "pending held charge 20.00 USD"},
		{"/v1/payouts", "amount=2000&currency=usd", true, "pending outflow 20.00 USD again 24h", "pending outflow 20.00 USD again 168h"},
		{"/v1/payouts", "amount=2000&currency=usd", false, "pending outflow 20.00 USD", "executed"},
		{"/v1/topups", "amount=2000&currency=usd", false, "pending charge 20.00 USD", "executed"},
		{"/v1/topups", "amount=2000&currency=usd", true, "pending charge 20.00 USD", "executed charge 20.00 USD"},
		{"/v1/refunds", "charge=ch_async&amount=2000", false, "pending outflow 20.00 USD", "executed"},
		{"/v1/refunds", "charge=ch_async&amount=2000", true, "pending outflow 20.00 USD", "executed outflow 20.00 USD"},
	} {
		s := newShop(t)
		s.fake.SeedCharge("ch_async", 5000, "usd")
		k := s.call(tt.path, tt.form, false)
		if got := s.find(k); !strings.HasPrefix(got, tt.first) {
			t.Errorf("%s: at first %s, want %s", tt.path, got, tt.first)
		}
		if err := s.fake.Conclude(k.Objects[0], tt.ok); err != nil {
			t.Fatal(err)
		}
		got := s.find(k)
		if !strings.HasPrefix(got, tt.then) || tt.then == "executed" && got != tt.then {
			t.Errorf("%s, %t: then %s, want %s", tt.path, tt.ok, got, tt.then)
		}
	}
}

// The day's balance transactions are what the vendor executed, with the runs whose marks they carry.
func TestUsage(t *testing.T) {
	s := newShop(t)
	s.fake.SeedCharge("ch_1", 900_000, "usd")
	for range 120 {
		s.ask("POST", "/v1/refunds", nil, []vendors.Param{{Name: "charge", Value: "ch_1"}, {Name: "amount", Value: "100"}})
	}
	s.call("/v1/refunds", "charge=ch_1&amount=2000", true)
	s.call("/v1/payment_intents", "amount=10000&currency=usd&confirm=true&payment_method=pm_1", true)
	s.call("/v1/payment_intents", "amount=500&currency=jpy&confirm=true&payment_method=pm_1", true)
	po := s.call("/v1/payouts", "amount=3000&currency=usd", true)
	if err := s.fake.Conclude(po.Objects[0], false); err != nil {
		t.Fatal(err)
	}
	v := s.tab.Vendor("api.stripe.com")
	d := &vendors.Day{Start: time.Now().UTC().Truncate(24 * time.Hour)}
	var u vendors.Usage
	for {
		var err error
		if u, err = v.Usage(d); err != nil {
			t.Fatal(err)
		}
		if u.Look == nil {
			break
		}
		look(t, s.tab, u.Look)
		if u.Look.Host != "api.stripe.com" {
			t.Fatalf("the look is at host %q", u.Look.Host)
		}
		d.Seen = append(d.Seen, s.ask("GET", u.Look.Path, u.Look.Query, nil))
	}
	if got := sorted(u.Total); got != "charge 100.00 USD, charge 500.00 JPY, fee 3.20 USD, fee 44.00 JPY, outflow 170.00 USD" || len(d.Seen) != 2 {
		t.Errorf("in all %s, after %d looks", got, len(d.Seen))
	}
	if got := sorted(u.Runs["run_1"]); got != "charge 100.00 USD, charge 500.00 JPY, fee 3.20 USD, fee 44.00 JPY, outflow 50.00 USD" || len(u.Runs) != 1 {
		t.Errorf("of the run %s", got)
	}
	if !strings.Contains(u.Note, "1 payout_failure") {
		t.Errorf("the note is %q", u.Note)
	}
	whole := d.Seen[1]
	for _, r := range []*vendors.Reply{
		{Status: 500, Body: whole.Body}, {Status: 200, Body: whole.Body[:40]}, {Status: 200, Body: []byte(`{"object":"list","data":[]}`)},
		{Status: 200, Body: []byte(`{"object":"list","data":[],"has_more":true}`)},
		{Status: 200, Body: bytes.ReplaceAll(whole.Body, []byte(`"amount":`), []byte(`"amonut":`))},
		{Status: 200, Body: bytes.ReplaceAll(whole.Body, []byte(`"currency":`), []byte(`"c":`))},
	} {
		d.Seen[1] = r
		if u, err := v.Usage(d); err == nil {
			t.Errorf("%d %.60s is read as %v", r.Status, r.Body, u.Total)
		}
	}
}

func sorted(ls []cost.Line) string {
	all := strings.Split(lines(ls), ", ")
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// Each type of balance transaction counts on its meter; one whose sign is the other way brings something back.
func TestUsageByType(t *testing.T) {
	v := table(t).Vendor("api.stripe.com")
	for entry, want := range map[string]string{
		`"type":"charge","amount":5000,"fee":175`:                     "charge 50.00 USD, fee 1.75 USD",
		`"type":"payment","amount":5000,"fee":0`:                      "charge 50.00 USD",
		`"type":"charge","amount":-5000,"fee":0`:                      "",
		`"type":"refund","amount":-5000,"fee":-100`:                   "outflow 50.00 USD",
		`"type":"refund","amount":5000,"fee":0`:                       "",
		`"type":"payout","amount":-5000,"fee":25`:                     "fee 0.25 USD, outflow 50.00 USD",
		`"type":"payout","amount":5000,"fee":0`:                       "charge 50.00 USD",
		`"type":"payout_failure","amount":5000,"fee":0`:               "",
		`"type":"transfer_refund","amount":5000,"fee":0`:              "charge 50.00 USD",
		`"type":"stripe_fee","amount":-5000,"fee":0`:                  "fee 50.00 USD",
		`"type":"issuing_authorization_hold","amount":-5000,"fee":0`:  "",
		`"type":"refund","amount":-5000,"fee":0,"source":"re_1"`:      "outflow 50.00 USD",
		`"type":"refund","amount":-5000,"fee":0,"source":{"id":"x"}`:  "outflow 50.00 USD",
		`"type":"refund","amount":-5000,"fee":0,"source":null,"x":[]`: "outflow 50.00 USD",
	} {
		body := `{"object":"list","has_more":false,"data":[{"id":"txn_1","object":"balance_transaction","currency":"usd",` + entry + `}]}`
		u, err := v.Usage(&vendors.Day{Seen: []*vendors.Reply{readSeen(body)}})
		if got := sorted(u.Total); err != nil || got != want || len(u.Runs) != 0 {
			t.Errorf("%s: %s, want %s (%v)", entry, got, want, err)
		}
	}
}
