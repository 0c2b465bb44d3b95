package keybrake_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v76"
	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// theDay is one of which hand-made records tell.
var theDay = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

var acme = keybrake.DriftAccount{Vendor: "acme", Credential: "acme"}

func seq(records ...audit.Record) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// said is a record of call, minutes into the day.
func said(minutes int, kind audit.Kind, call, outcome string, actual int64) audit.Record {
	r := audit.Record{
		Version: 1, ID: fmt.Sprintf("e_%s_%s_%d", call, kind, minutes), Time: theDay.Add(time.Duration(minutes) * time.Minute), Kind: kind, CallID: call,
		Tenant: "acme", Run: "run_1", Vendor: "acme", Credential: "acme", Operation: "acme.orders.create", Outcome: outcome,
	}
	if kind == audit.Intent || kind == audit.Outcome {
		r.Reserved = append(lines(usd20), cost.Line{Meter: cost.Calls, Amount: 1})
	}
	if outcome == "executed" || outcome == "adjusted" || outcome == "pending" {
		r.Actual = lines(actual)
	}
	return r
}

func but(r audit.Record, change func(*audit.Record)) audit.Record {
	change(&r)
	return r
}

// counting is a reconciler of a brake whose vendor says u, after one look at its list.
func (o *office) counting(t *testing.T, u vendors.Usage, change func(*keybrake.Config)) *keybrake.Reconciler {
	t.Helper()
	return o.telling(t, func(d *vendors.Day) (vendors.Usage, error) {
		switch {
		case len(d.Seen) == 0:
			return vendors.Usage{Look: &vendors.Probe{Operation: "acme.orders.list", Host: "api.acme.test", Path: "/orders", Query: []vendors.Param{{Name: "day", Value: d.Start.Format(time.RFC3339)}}}}, nil
		case d.Account != "acct" || d.Seen[0].Status != 200 || strings.Contains(string(d.Seen[0].Body), o.secret):
			return vendors.Usage{}, fmt.Errorf("the adapter is asked %+v", d)
		}
		return u, nil
	}, change)
}

func (o *office) telling(t *testing.T, usage func(*vendors.Day) (vendors.Usage, error), change func(*keybrake.Config)) *keybrake.Reconciler {
	t.Helper()
	b := o.another(t, func(c *keybrake.Config) {
		c.Vendors = slices.Clone(c.Vendors)
		c.Vendors[0].Usage = usage
		if change != nil {
			change(c)
		}
	})
	r, err := b.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}, Pace: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func driftLine(booked, vendor int64) keybrake.DriftLine {
	return keybrake.DriftLine{Meter: cost.Charge, Currency: "USD", Booked: booked, Vendor: vendor, Difference: vendor - booked}
}

func TestDriftCountsEachReservationOnceAtItsLatestCost(t *testing.T) {
	intent, done := said(1, audit.Intent, "r1", "", 0), said(2, audit.Outcome, "r1", "executed", usd20)
	doubt := said(2, audit.Outcome, "r1", "in_doubt", 0)
	retry := func(minutes int, outcome string, actual int64) audit.Record {
		return but(said(minutes, audit.Outcome, "r9", outcome, actual), func(r *audit.Record) { r.Reservation, r.Attached, r.Reserved = "r1", true, nil })
	}
	control := func(minutes int, outcome string, actual int64) audit.Record {
		return but(said(minutes, audit.Control, "r1", outcome, actual), func(r *audit.Record) {
			r.Reservation, r.Run, r.Vendor, r.Credential = "r1", "", "", "" // as Resolve and Adjust write it
		})
	}
	for name, tt := range map[string]struct {
		records []audit.Record
		want    int64
	}{
		"executed":                         {[]audit.Record{intent, done}, usd20},
		"a record that came twice":         {[]audit.Record{intent, done, intent, done}, usd20},
		"two calls":                        {[]audit.Record{intent, done, said(3, audit.Outcome, "r2", "executed", 7)}, usd20 + 7},
		"trued up":                         {[]audit.Record{intent, done, said(5000, audit.Reconciled, "r1", "executed", 5)}, 5},
		"trued up, read first":             {[]audit.Record{said(5000, audit.Reconciled, "r1", "executed", 5), done, intent}, 5},
		"not final yet":                    {[]audit.Record{intent, said(2, audit.Outcome, "r1", "pending", 9)}, 9},
		"failed later":                     {[]audit.Record{intent, done, said(99, audit.Reconciled, "r1", "not_executed", 0)}, 0},
		"left to a person":                 {[]audit.Record{intent, said(2, audit.Outcome, "r1", "pending", 9), said(99, audit.Reconciled, "r1", "in_doubt", 0)}, 9},
		"in doubt":                         {[]audit.Record{intent, doubt}, 0},
		"never heard of again":             {[]audit.Record{intent}, 0},
		"found to be executed":             {[]audit.Record{intent, doubt, said(99, audit.Reconciled, "r1", "executed", 3)}, 3},
		"resolved by a person":             {[]audit.Record{intent, doubt, control(99, "executed", 4)}, 4},
		"resolved as not executed":         {[]audit.Record{intent, said(2, audit.Outcome, "r1", "pending", 9), control(99, "not_executed", 0)}, 0},
		"adjusted after it was trued up":   {[]audit.Record{intent, done, said(50, audit.Reconciled, "r1", "executed", 5), control(99, "adjusted", 6)}, 6},
		"a retry is the same spend":        {[]audit.Record{intent, done, retry(4, "executed", usd20)}, usd20},
		"a retry after the adjustment":     {[]audit.Record{intent, done, control(3, "executed", 6), retry(4, "executed", usd20)}, 6},
		"a retry that found the end":       {[]audit.Record{intent, doubt, retry(4, "executed", 8)}, 8},
		"a retry that was refused":         {[]audit.Record{intent, done, retry(4, "not_executed", 0)}, usd20},
		"a retry of an earlier day's call": {[]audit.Record{retry(4, "executed", usd20)}, 0},
		"a retry in doubt":                 {[]audit.Record{intent, done, retry(4, "in_doubt", 0)}, usd20},
		"only observed":                    {[]audit.Record{intent, but(done, func(r *audit.Record) { r.Verdict = audit.Observe })}, usd20},
		"a look that the call needed":      {[]audit.Record{intent, done, but(said(3, audit.Outcome, "r1", "executed", 1), func(r *audit.Record) { r.Probe = true })}, usd20},
		"refused":                          {[]audit.Record{said(1, audit.Denied, "r1", "", 0)}, 0},
		"another credential":               {[]audit.Record{but(done, func(r *audit.Record) { r.Credential = "other" })}, 0},
		"another vendor":                   {[]audit.Record{but(done, func(r *audit.Record) { r.Vendor = "resend" })}, 0},
		"the day before, after midnight":   {[]audit.Record{said(-1, audit.Intent, "r1", "", 0), done}, 0},
		"the last minute":                  {[]audit.Record{said(24*60-1, audit.Intent, "r1", "", 0), said(24*60, audit.Outcome, "r1", "executed", 2)}, 2},
		"the day after":                    {[]audit.Record{said(24*60, audit.Intent, "r1", "", 0), said(24*60, audit.Outcome, "r1", "executed", 2)}, 0},
		"of another tenant, with its id":   {[]audit.Record{intent, done, but(control(9, "executed", 1), func(r *audit.Record) { r.Tenant = "other" })}, usd20},
		"later words on an unknown call":   {[]audit.Record{said(9, audit.Reconciled, "r7", "executed", 5), control(9, "executed", 5)}, 0},
		"something was revoked meanwhile":  {[]audit.Record{intent, done, but(control(9, "", 0), func(r *audit.Record) { r.CallID, r.Reservation = "", "" })}, usd20},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			u := vendors.Usage{Total: lines(usd20 + 1), Note: "as of noon"}
			report, err := o.counting(t, u, nil).Drift(t.Context(), theDay.Add(13*time.Hour), acme, seq(tt.records...))
			if err != nil {
				t.Fatal(err)
			}
			if want := []keybrake.DriftLine{driftLine(tt.want, usd20+1)}; !slices.Equal(report.Total, want) {
				t.Errorf("the total is %+v, want %+v", report.Total, want)
			}
			if tt.want > 0 {
				want := []keybrake.RunDrift{{Run: "run_1", Lines: []keybrake.DriftLine{{Meter: cost.Charge, Currency: "USD", Booked: tt.want, Why: "the vendor's records carry no marks of runs"}}}}
				if !reflect.DeepEqual(report.Runs, want) {
					t.Errorf("the runs are %+v, want %+v", report.Runs, want)
				}
			}
			if !report.Day.Equal(theDay) || report.Account != acme || report.Note != "as of noon" || report.Agrees() {
				t.Errorf("the report is %+v", report)
			}
			if got := o.looked(); !slices.Equal(got, []string{"/orders?day=2026-11-22T00%3A00%3A00Z"}) {
				t.Errorf("the vendor was asked %q", got)
			}
		})
	}
}

func TestDriftOfARunIsByItsMarks(t *testing.T) {
	o := newOffice(t)
	records := []audit.Record{
		said(1, audit.Outcome, "r1", "executed", 10),
		but(said(1, audit.Outcome, "r2", "executed", 4), func(r *audit.Record) { r.Run = "run_2" }),
	}
	u := vendors.Usage{Total: lines(21), Runs: map[string][]cost.Line{"run_1": lines(12), "run_3": lines(5)}}
	report, err := o.counting(t, u, nil).Drift(t.Context(), theDay, acme, seq(records...))
	want := []keybrake.RunDrift{
		{Run: "run_1", Lines: []keybrake.DriftLine{driftLine(10, 12)}},
		{Run: "run_2", Lines: []keybrake.DriftLine{driftLine(4, 0)}},
		{Run: "run_3", Lines: []keybrake.DriftLine{driftLine(0, 5)}},
	}
	if err != nil || !reflect.DeepEqual(report.Runs, want) || !slices.Equal(report.Total, []keybrake.DriftLine{driftLine(14, 21)}) {
		t.Errorf("%+v, %v", report, err)
	}
	// Without stamps no call carries a mark, so that none of it is missing.
	u.Runs = map[string][]cost.Line{}
	report, err = o.counting(t, u, func(c *keybrake.Config) { c.Stamp = false }).Drift(t.Context(), theDay, acme, seq(records...))
	if err != nil || len(report.Runs) != 2 || report.Runs[0].Lines[0].Difference != 0 || report.Runs[0].Lines[0].Why == "" {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestDriftComparesNoUnlikeCurrencies(t *testing.T) {
	euro := func(amount int64) cost.Line {
		return cost.Line{Meter: cost.Charge, Currency: "EUR", Amount: amount}
	}
	fee := cost.Line{Meter: cost.Fee, Currency: "EUR", Amount: 2}
	for name, tt := range map[string]struct {
		vendor []cost.Line
		rates  bool
		want   string
	}{
		"the same":                              {lines(10), false, "charge USD +0; agrees"},
		"the same, with rates":                  {lines(10), true, "charge USD +0; agrees"},
		"another beside it":                     {append(lines(10), euro(3)), false, "charge EUR +3; charge USD +0"},
		"another in its place":                  {[]cost.Line{euro(9)}, false, "charge EUR ?; charge USD ?"},
		"another beside it, which is converted": {append(lines(7), euro(3)), true, "charge EUR ?; charge USD ?"},
		"another on a meter of its own":         {append(lines(10), fee), true, "charge USD +0; fee EUR +2"},
		"nothing":                               {nil, true, "charge USD -10"},
		"a count, which the vendor has too":     {append(lines(10), cost.Line{Meter: cost.Units, Amount: 3}), false, "charge USD +0; units  +1"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			r := o.counting(t, vendors.Usage{Total: tt.vendor}, func(c *keybrake.Config) {
				if tt.rates {
					c.Rates = func() cost.Rates {
						return cost.Rates{To: "USD", Of: map[cost.Currency]string{"EUR": "1.1"}, AsOf: time.Now(), MaxAge: time.Hour}
					}
				}
			})
			report, err := r.Drift(t.Context(), theDay, acme, seq(but(said(1, audit.Outcome, "r1", "executed", 10), func(r *audit.Record) {
				r.Actual = append(r.Actual, cost.Line{Meter: cost.Units, Amount: 2})
			})))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range report.Total {
				text := fmt.Sprintf("%s %s %+d", l.Meter, l.Currency, l.Difference)
				if l.Why != "" {
					text = fmt.Sprintf("%s %s ?", l.Meter, l.Currency)
				}
				got = append(got, text)
			}
			if report.Agrees() {
				got = append(got, "agrees")
			}
			if text := strings.Join(got, "; "); text != tt.want {
				t.Errorf("%s, want %s", text, tt.want)
			}
		})
	}
}

// What stands in the books but not yet at the vendor is named, and what people decide about it is counted.
func TestDriftOfRealRecordsNamesWhatIsOpen(t *testing.T) {
	o := newOffice(t)
	drift := func(vendor int64) keybrake.DriftReport {
		t.Helper()
		report, err := o.counting(t, vendors.Usage{Total: lines(vendor)}, nil).Drift(t.Context(), time.Now(), acme, seq(o.sink.Records()...))
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	o.order(t, "/orders/cu_1") // in doubt
	id := last(o.sink.Records(), audit.Outcome).CallID
	report := drift(usd20)
	want := driftLine(0, usd20)
	want.Open = usd20
	if !slices.Equal(report.Total, []keybrake.DriftLine{want}) || !slices.Equal(report.Open, []string{id}) {
		t.Errorf("in doubt: %+v", report)
	}
	if err := o.Resolve(t.Context(), "acme", id, keybrake.Executed(lines(15_000_000)...)); err != nil {
		t.Fatal(err)
	}
	if report := drift(15_000_000); !report.Agrees() || len(report.Open) != 0 || report.Total[0].Booked != 15_000_000 {
		t.Errorf("resolved: %+v", report)
	}
	for _, a := range []struct {
		id     string
		amount int64
	}{{"a1", 4}, {"a2", 6}, {"a1", 4}} { // what is said again is no later word
		if _, err := o.Adjust(t.Context(), "acme", id, a.id, "the vendor says so", lines(a.amount)...); err != nil {
			t.Fatal(err)
		}
	}
	o.want(t, 6, 0)
	if report := drift(6); !report.Agrees() || report.Total[0].Booked != 6 {
		t.Errorf("adjusted: %+v", report)
	}
	o.order(t, "/orders/cu_2")
	id = last(o.sink.Records(), audit.Outcome).CallID
	n := len(o.sink.Records())
	if _, err := o.Adjust(t.Context(), "acme", id, "a1", "too early", lines(1)...); err == nil || len(o.sink.Records()) != n {
		t.Errorf("what is still open was adjusted: %v, or that is on record", err)
	}
	if err := o.Resolve(t.Context(), "acme", id, keybrake.NotExecuted()); err != nil {
		t.Fatal(err)
	}
	if r := last(o.sink.Records(), audit.Control); r.CallID != id || r.Outcome != "not_executed" {
		t.Errorf("on record is %+v", r)
	}
	if report := drift(6); !report.Agrees() {
		t.Errorf("resolved as not executed: %+v", report)
	}
	o.replies = ok
	o.order(t, "/orders/cu_3") // executed; the vendor has not said the last word
	id = last(o.sink.Records(), audit.Outcome).CallID
	if report := drift(usd20 + 6); !report.Agrees() || report.Total[0].Open != 0 || !slices.Equal(report.Open, []string{id}) {
		t.Errorf("not final: %+v", report)
	}
}

func TestDriftSaysWhichRecordsItCouldNotRead(t *testing.T) {
	o := newOffice(t)
	var file bytes.Buffer
	if err := audit.JSON(&file).Write(t.Context(), said(1, audit.Outcome, "r1", "executed", 10)); err != nil {
		t.Fatal(err)
	}
	file.WriteString(`{"v":1,"id":"e2","ti`)
	report, err := o.counting(t, vendors.Usage{Total: lines(10)}, nil).Drift(t.Context(), theDay, acme, audit.Read(&file))
	if err != nil || report.Total[0] != driftLine(10, 10) || len(report.Unread) != 1 || !strings.Contains(report.Unread[0].Error(), "line 2") || report.Agrees() {
		t.Errorf("%+v, %v", report, err)
	}
}

// A vendor that does not tell has not counted nothing.
func TestDriftThatCannotBeToldIsAnError(t *testing.T) {
	list := func(change func(*vendors.Probe)) func(*vendors.Day) (vendors.Usage, error) {
		return func(*vendors.Day) (vendors.Usage, error) {
			p := &vendors.Probe{Operation: "acme.orders.list", Host: "api.acme.test", Path: "/orders"}
			if change != nil {
				change(p)
			}
			return vendors.Usage{Look: p}, nil
		}
	}
	for name, tt := range map[string]struct {
		account keybrake.DriftAccount
		usage   func(*vendors.Day) (vendors.Usage, error)
		want    string
		looks   int
	}{
		"another vendor":          {keybrake.DriftAccount{Vendor: "other", Credential: "acme"}, nil, `no vendor "other"`, 0},
		"a vendor without usage":  {keybrake.DriftAccount{Vendor: "resend", Credential: "resend"}, nil, "does not tell", 0},
		"no such credential":      {keybrake.DriftAccount{Vendor: "acme", Credential: "other"}, list(nil), `"other"`, 0},
		"a credential of another": {keybrake.DriftAccount{Vendor: "acme", Credential: "resend"}, list(nil), "not a credential", 0},
		"a list without an end":   {acme, list(nil), "40 looks", 40},
		"a write":                 {acme, list(func(p *vendors.Probe) { p.Operation = "acme.orders.delete" }), "not a read", 0},
		"a read that costs":       {acme, list(func(p *vendors.Probe) { p.Operation = "acme.scores.retrieve" }), "not a read", 0},
		"a look without a host":   {acme, list(func(p *vendors.Probe) { p.Host = "" }), "not a read", 0},
		"a look at another host":  {acme, list(func(p *vendors.Probe) { p.Host = "api.resend.com" }), "not a read", 0},
		"a vendor that is down":   {acme, list(func(p *vendors.Probe) { p.Path = "/down" }), "acme.orders.list", 0},
		"a reply that says nothing": {acme, func(*vendors.Day) (vendors.Usage, error) {
			return vendors.Usage{}, errors.New("status 503 of acme_secret_0123456789")
		}, "status 503", 0},
		"an adapter that fails":   {acme, func(*vendors.Day) (vendors.Usage, error) { panic("oh") }, "failed", 0},
		"an amount below nothing": {acme, func(*vendors.Day) (vendors.Usage, error) { return vendors.Usage{Total: lines(-1)}, nil }, "range", 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t)
			o.down = name == "a vendor that is down"
			report, err := o.telling(t, tt.usage, nil).Drift(t.Context(), theDay, tt.account, seq(said(1, audit.Outcome, "r1", "executed", 10)))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), o.secret) || !reflect.ValueOf(report).IsZero() {
				t.Errorf("%+v, %v, want no report and an error with %q", report, err, tt.want)
			}
			if got := o.looked(); len(got) != tt.looks || len(o.writes) != 0 {
				t.Errorf("the vendor was asked %q and told %q", got, o.writes)
			}
		})
	}
}

// driftOf is the drift of today at a vendor of the world, by a brake of the same books, with the vendor's own numbers.
func (w *world) driftOf(t *testing.T, of keybrake.DriftAccount) keybrake.DriftReport {
	t.Helper()
	r, err := w.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}, Pace: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.Drift(t.Context(), time.Now(), of, seq(w.sink.Records()...))
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestDriftAtTwilioIsWhatWentPastTheBrake(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	of := keybrake.DriftAccount{Vendor: "twilio", Credential: "twilio"}
	send := func(over http.RoundTripper, secret string) {
		t.Helper()
		tc := twilioSDK(&http.Client{Transport: over}, twilioAccount, twilioAccount, secret)
		if _, err := tc.Api.CreateMessage((&twilioapi.CreateMessageParams{}).SetTo("+14155550100").SetFrom("+15005550006").SetBody("hi")); err != nil {
			t.Fatal(err)
		}
	}
	send(w.Transport(nil), key.Token())
	id := last(w.sink.Records(), audit.Outcome).CallID
	if report := w.driftOf(t, of); !slices.Equal(report.Open, []string{id}) {
		t.Errorf("a message whose price has not come: %+v", report)
	}
	real := w.fake.Spent()["fee"]["USD"]
	if err := w.Resolve(t.Context(), "acme", id, keybrake.Executed(cost.Line{Meter: cost.Fee, Currency: "USD", Amount: real})); err != nil {
		t.Fatal(err)
	}
	if report := w.driftOf(t, of); !report.Agrees() || len(report.Total) != 1 || report.Total[0].Booked != real || len(report.Open) != 0 || report.Note == "" {
		t.Errorf("all went through the brake: %+v", report)
	}
	send(w.fake.Transport(), twilioSecret)
	past := w.fake.Spent()["fee"]["USD"] - real
	if report := w.driftOf(t, of); past <= 0 || report.Agrees() || len(report.Total) != 1 || report.Total[0].Difference != past {
		t.Errorf("%d went past the brake: %+v", past, report)
	}
}

func TestDriftAtStripeIsWhatWentPastTheBrakeByRun(t *testing.T) {
	w := newWorld(t, func(c *keybrake.Config) { c.Stamp = true })
	w.fake.SeedCharge("ch_1", 500_000, "usd")
	of := keybrake.DriftAccount{Vendor: "stripe", Credential: "stripe"}
	refund := func(over http.RoundTripper, secret string, cents int64, run string) {
		t.Helper()
		p := &stripe.RefundParams{Charge: stripe.String("ch_1"), Amount: stripe.Int64(cents)}
		if run != "" {
			p.AddMetadata("keybrake_run", run)
		}
		if _, err := stripeOver(over, secret).Refunds.New(p); err != nil {
			t.Fatal(err)
		}
	}
	refund(w.Transport(nil), w.issue(t, "run_1", everything()).Token(), 2000, "")
	refund(w.Transport(nil), w.issue(t, "run_2", everything()).Token(), 300, "")
	outflow := func(booked, vendor int64) []keybrake.DriftLine {
		return []keybrake.DriftLine{{Meter: cost.Outflow, Currency: "USD", Booked: booked, Vendor: vendor, Difference: vendor - booked}}
	}
	report := w.driftOf(t, of)
	want := []keybrake.RunDrift{{Run: "run_1", Lines: outflow(usd20, usd20)}, {Run: "run_2", Lines: outflow(3_000_000, 3_000_000)}}
	if !report.Agrees() || !reflect.DeepEqual(report.Runs, want) || !slices.Equal(report.Total, outflow(23_000_000, 23_000_000)) {
		t.Errorf("all went through the brake: %+v", report)
	}
	refund(w.fake.Transport(), stripeSecret, 500, "")
	refund(w.fake.Transport(), stripeSecret, 70, "run_2")
	report = w.driftOf(t, of)
	want[1].Lines = outflow(3_000_000, 3_700_000)
	if report.Agrees() || !slices.Equal(report.Total, outflow(23_000_000, 28_700_000)) || !reflect.DeepEqual(report.Runs, want) {
		t.Errorf("5.70 USD went past the brake, 0.70 of them in run_2's name: %+v", report)
	}
}

func TestDriftReadsNothingOfAVendorThatAnswersWithAnError(t *testing.T) {
	for _, of := range []keybrake.DriftAccount{{Vendor: "stripe", Credential: "stripe"}, {Vendor: "twilio", Credential: "twilio"}} {
		w := newWorld(t, func(c *keybrake.Config) {
			c.Base = roundTripper(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 503, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"data":[],"has_more":false}`)), Request: r}, nil
			})
		})
		r, err := w.Reconciler(keybrake.ReconcilerConfig{Tenants: []string{"acme"}})
		if err != nil {
			t.Fatal(err)
		}
		if report, err := r.Drift(t.Context(), time.Now(), of, seq()); err == nil {
			t.Errorf("%s: %+v", of.Vendor, report)
		}
	}
}
