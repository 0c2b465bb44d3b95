package keybrake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// refusalsIn is how many refusals are on record. A record that stands there twice under one id counts once.
func refusalsIn(records []audit.Record) (n int64) {
	seen := map[string]bool{}
	for _, r := range records {
		if r.Kind == audit.Denied && !seen[r.ID] {
			seen[r.ID] = true
			n += max(1, r.Count)
		}
	}
	return n
}

// A looper is an agent whose call no rule allows, and that makes it again and again.
type looper struct {
	t     *testing.T
	rt    http.RoundTripper
	token string
	tool  string
}

func (l looper) refuse() {
	l.t.Helper()
	req := request(l.t, "POST", emailsURL, l.token, "application/json", mailTo("ann@acme.com"))
	if l.tool != "" {
		req = req.WithContext(keybrake.WithCall(req.Context(), keybrake.Call{Tool: l.tool}))
	}
	if d := denial(l.t, l.rt, req); codeOf(d) != reason.OperationDenied {
		l.t.Errorf("got %v", d)
	}
}

// loopOver is a looper over a brake with one vendor, made here so that it can be made in a bubble.
func loopOver(t *testing.T, sink audit.Sink) (*keybrake.Brake, looper) {
	t.Helper()
	c := smallConfig(t)
	c.Audit, c.Log = sink, slog.New(slog.DiscardHandler)
	brake, err := keybrake.New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	l := looper{t: t, rt: brake.Transport(nil)}
	return brake, l.as(brake, "run_1")
}

// as is the same agent in another run.
func (l looper) as(brake *keybrake.Brake, run string) looper {
	l.t.Helper()
	key, err := brake.Issue(context.Background(), keybrake.Grant{
		Tenant: "acme", Agent: "refund-bot", Run: run, Credentials: map[string]string{"resend": "resend"}, TTL: time.Hour,
		Policy: policy.Policy{Allow: []policy.Rule{{Operation: "resend.domains.list"}}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.token = key.Token()
	return l
}

// The first refusal is on record at once, and those like it ten seconds later, in one record with their number.
func TestRefusalsThatAreAlikeAreOneRecordWithTheirNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &audittest.Recorder{}
		_, l := loopOver(t, sink)
		began := time.Now().UTC()
		for range 1000 {
			l.refuse()
			time.Sleep(time.Millisecond)
		}
		denied := ofKind(sink.Records(), audit.Denied)
		if len(denied) != 1 || denied[0].Count != 0 || denied[0].CallID == "" || !denied[0].Time.Equal(began) {
			t.Fatalf("after a second there are %d records: %+v", len(denied), denied)
		}
		time.Sleep(10 * time.Second)
		denied = ofKind(sink.Records(), audit.Denied)
		if len(denied) != 2 {
			t.Fatalf("after the span there are %d records", len(denied))
		}
		first, sum := denied[0], denied[1]
		if sum.Count != 999 || !sum.First.Equal(began.Add(time.Millisecond)) || !sum.Last.Equal(began.Add(999*time.Millisecond)) ||
			!sum.Time.Equal(began.Add(10*time.Second)) || sum.ID == first.ID || sum.ID == "" || sum.Version != 1 {
			t.Errorf("the record of the others is %+v", sum)
		}
		if sum.CallID != first.CallID || sum.Tenant != "acme" || sum.Agent != "refund-bot" || sum.Run != "run_1" || sum.Key == "" || sum.Vendor != "resend" ||
			sum.Operation != "resend.emails.send" || sum.Verdict != audit.Deny || sum.Reason != reason.OperationDenied || sum.Detail != first.Detail ||
			sum.Credential != "resend" || len(sum.Reasons) != 1 || sum.Duration != 0 {
			t.Errorf("of\n%+v\nthe record of the others says\n%+v", first, sum)
		}
		time.Sleep(time.Minute)
		if n := len(ofKind(sink.Records(), audit.Denied)); n != 2 {
			t.Errorf("%d records where nothing was refused any more", n)
		}
		l.refuse()
		if denied = ofKind(sink.Records(), audit.Denied); len(denied) != 3 || denied[2].Count != 0 || denied[2].CallID == first.CallID {
			t.Errorf("the first after a pause is not on record by itself: %+v", denied[len(denied)-1])
		}
	})
}

// What a person would tell apart is counted apart: whose it is, what it was, and why it was refused.
func TestRefusalsThatDifferAreCountedApart(t *testing.T) {
	w := newWorld(t, nil)
	p := policy.Policy{
		Allow: []policy.Rule{
			{Operation: "stripe.refunds.create", Params: policy.Params{"reason": policy.OneOf("duplicate").OrAbsent(), "metadata[*]": policy.OneOf("a").OrAbsent()}},
			{Operation: "stripe.payment_intents.create", MaxPerCall: policy.USD("1")},
			{Operation: "stripe.charges.create", MaxPerCall: policy.USD("1")},
		},
		Budgets: []policy.Budget{policy.Lifetime(policy.USD("0.50")), policy.Daily(policy.USD("0.25"))},
	}
	one, same, other := w.issue(t, "run_1", p).Token(), w.issue(t, "run_1", p).Token(), w.issue(t, "run_2", p).Token()
	type call struct{ token, tool, method, url, form string }
	kinds := []struct {
		call
		want reason.Code
	}{
		{call{one, "", "POST", refundsURL, "charge=ch_1&amount=5&reason=fraudulent"}, reason.ParamDenied},
		{call{same, "", "POST", refundsURL, "charge=ch_1&amount=5&reason=fraudulent"}, reason.ParamDenied},
		{call{other, "", "POST", refundsURL, "charge=ch_1&amount=5&reason=fraudulent"}, reason.ParamDenied},
		{call{one, "pay", "POST", refundsURL, "charge=ch_1&amount=5&reason=fraudulent"}, reason.ParamDenied},
		{call{one, "", "POST", refundsURL, "charge=ch_1&amount=5&metadata[x]=b"}, reason.ParamDenied},
		{call{one, "", "POST", chargesURL, "currency=usd&amount=500&source=tok_visa"}, reason.MaxPerCall},
		{call{one, "", "POST", intentsURL, "currency=usd&amount=500"}, reason.MaxPerCall},
		{call{one, "", "POST", intentsURL, "currency=usd&amount=60"}, reason.BudgetExceeded}, // of the run
		{call{one, "", "POST", intentsURL, "currency=usd&amount=30"}, reason.BudgetExceeded}, // of the day
		{call{one, "", "GET", "https://api.stripe.com/v1/nothing", ""}, reason.OperationUnknown},
		{call{one, "", "GET", emailsURL, ""}, reason.OperationDenied},
		{call{one, "", "GET", "https://evil.example/", ""}, reason.HostUnknown},
		{call{"sk", "", "GET", chargesURL, ""}, reason.KeyMalformed},
		{call{"sk", "", "GET", emailsURL, ""}, reason.KeyMalformed},
	}
	const rounds = 3
	for range rounds {
		for _, k := range kinds {
			contentType := ""
			if k.method == "POST" {
				contentType = formType
			}
			req := request(t, k.method, k.url, k.token, contentType, k.form)
			req = req.WithContext(keybrake.WithCall(req.Context(), keybrake.Call{Tool: k.tool, Step: fmt.Sprint(time.Now().UnixNano())}))
			if d := denial(t, w.Transport(nil), req); codeOf(d) != k.want {
				t.Errorf("%s %s %s: %v, want %s", k.method, k.url, k.form, d, k.want)
			}
		}
	}
	if n := len(ofKind(w.sink.Records(), audit.Denied)); n != len(kinds) {
		t.Errorf("%d kinds have %d records at once", len(kinds), n)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sums := ofKind(w.sink.Records(), audit.Denied)[len(kinds):]
	for _, r := range sums {
		if r.Count != rounds-1 {
			t.Errorf("%d of %d are counted: %+v", r.Count, rounds-1, r)
		}
	}
	if len(sums) != len(kinds) {
		t.Errorf("%d kinds have %d counts", len(kinds), len(sums))
	}
}

// What came of an intent is on record for every call: an intent alone would be a call in doubt.
func TestARefusalAfterAnIntentIsNotCountedWithOthers(t *testing.T) {
	w := newWorld(t, nil)
	nowhere := w.Transport(&http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("down") }})
	key := w.issue(t, "run_1", everything())
	for range 5 {
		if d := intent(t, nowhere, key.Token(), 500); codeOf(d) != reason.Unsent {
			t.Fatalf("got %v", d)
		}
	}
	open := map[string]bool{}
	for _, r := range w.sink.Records() {
		switch r.Kind {
		case audit.Intent:
			open[r.CallID] = true
		case audit.Denied:
			if !open[r.CallID] || r.Count != 0 {
				t.Errorf("the refusal of no intent, or of many: %+v", r)
			}
			delete(open, r.CallID)
		}
	}
	if len(open) > 0 {
		t.Errorf("%d intents have no end", len(open))
	}
}

// Whatever the sink does, and whoever closes the brake meanwhile, the sum over the records is the number of refusals.
func TestTheNumberOfRefusalsOnRecordIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &audittest.Recorder{}
		var broken atomic.Bool
		var n atomic.Int64
		sink := sinkFunc(func(ctx context.Context, r audit.Record) error {
			if !broken.Load() || r.Kind != audit.Denied {
				return kept.Write(ctx, r)
			}
			switch n.Add(1) % 5 {
			case 0:
				return errors.New("full")
			case 1: // hangs
				<-ctx.Done()
				return ctx.Err()
			case 2: // has it, and cannot say so
				_ = kept.Write(ctx, r)
				return errors.New("the connection broke")
			case 3:
				time.Sleep(4 * time.Second)
			}
			return kept.Write(ctx, r)
		})
		brake, l := loopOver(t, sink)
		broken.Store(true)
		const agents, each = 12, 400
		var group sync.WaitGroup
		for i := range agents {
			mine := l.as(brake, fmt.Sprint("run_", i%3))
			mine.tool = fmt.Sprint("tool_", i%4)
			group.Go(func() {
				for j := range each {
					mine.refuse()
					time.Sleep(time.Duration(1+(i*7+j*13)%200) * time.Millisecond)
				}
			})
		}
		group.Wait()
		for brake.Close(context.Background()) != nil {
			broken.Store(false)
		}
		if got := refusalsIn(kept.Records()); got != agents*each {
			t.Errorf("%d refusals are on record, want %d", got, agents*each)
		}
		if records := len(ofKind(kept.Records(), audit.Denied)); records > agents*each/4 {
			t.Errorf("they are %d records", records)
		}
	})
}

// A call that ends while the brake is closed, or afterwards, is on record: counted before, by itself after.
func TestARefusalWhileTheBrakeIsClosedIsOnRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &audittest.Recorder{}
		brake, l := loopOver(t, sinkFunc(func(ctx context.Context, r audit.Record) error {
			if r.Kind == audit.Denied {
				time.Sleep(time.Second)
			}
			return sink.Write(ctx, r)
		}))
		const each = 25
		var group sync.WaitGroup
		group.Go(l.refuse) // whose record takes until 1 s
		time.Sleep(200 * time.Millisecond)
		for range each {
			l.refuse()
		}
		if err := brake.Close(context.Background()); err != nil {
			t.Error(err)
		}
		group.Wait()
		if got := refusalsIn(sink.Records()); got != 1+each {
			t.Errorf("%d refusals are on record, want %d", got, 1+each)
		}
		for range each { // at once
			group.Go(l.refuse)
		}
		group.Wait()
		if records := len(ofKind(sink.Records(), audit.Denied)); records != 2+each || brake.Close(context.Background()) != nil {
			t.Errorf("%d records; after Close each refusal is to have its own", records)
		}
		time.Sleep(time.Minute)
		if records := len(ofKind(sink.Records(), audit.Denied)); records != 2+each {
			t.Errorf("%d records a minute later", records)
		}
	})
}

// The same in the processors' own order.
func TestRefusalsOfManyAgentsAreCounted(t *testing.T) {
	for range 10 {
		sink := &audittest.Recorder{}
		brake, l := loopOver(t, sink)
		const agents, each = 8, 25
		var group sync.WaitGroup
		for i := range agents {
			group.Go(func() {
				for j := range each {
					l.refuse()
					if i == 0 && j == each/2 {
						if err := brake.Close(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		group.Wait()
		if got := refusalsIn(sink.Records()); got != agents*each {
			t.Fatalf("%d refusals are on record, want %d", got, agents*each)
		}
	}
}

// A sink that hangs for good holds up the first refusal of its kind until its deadline, and no other; it collects neither
// goroutines nor records. When it comes back, all are counted.
func TestASinkThatHangsHoldsUpOneRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := &audittest.Recorder{}
		back := make(chan struct{})
		var stuck, hangs atomic.Int64
		sink := sinkFunc(func(ctx context.Context, r audit.Record) error {
			if r.Kind == audit.Denied {
				hangs.Add(1)
				stuck.Add(1)
				<-back // whatever becomes of ctx
				stuck.Add(-1)
			}
			return kept.Write(ctx, r)
		})
		brake, l := loopOver(t, sink)
		began := time.Now()
		l.refuse()
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("the first waited %v, not for Config.AuditTimeout", waited)
		}
		began = time.Now()
		const more = 5000
		for range more {
			l.refuse()
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the others waited %v", waited)
		}
		time.Sleep(10 * time.Minute)
		if n := stuck.Load(); n > 64 {
			t.Errorf("%d goroutines are stuck in the sink", n)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := brake.Close(ctx); err == nil {
			t.Error("Close says that all is on record")
		}
		cancel()
		close(back)
		if err := brake.Close(context.Background()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := refusalsIn(kept.Records()); got != 1+more {
			t.Errorf("%d refusals are on record, want %d", got, 1+more)
		}
	})
}

// A sink that was full and is not any more has all refusals with the next span, without anybody's doing.
func TestASinkThatComesBackHasAllRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &audittest.Recorder{}
		_, l := loopOver(t, sink)
		sink.Fail(errors.New("full"))
		for range 100 {
			l.refuse()
			time.Sleep(time.Second)
		}
		sink.Fail(nil)
		time.Sleep(11 * time.Second)
		if denied := ofKind(sink.Records(), audit.Denied); refusalsIn(denied) != 100 || len(denied) != 2 {
			t.Errorf("%d refusals are on record, in %d records", refusalsIn(denied), len(denied))
		}
	})
}

// An agent chooses what its tools and parameters are called. However many names it makes up, its records are few, and
// those of others say as much as ever.
func TestNamesThatAnAgentMakesUpMakeFewRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &audittest.Recorder{}
		brake, l := loopOver(t, sink)
		other := l.as(brake, "run_2")
		const calls = 3000
		for i := range calls {
			l.tool = fmt.Sprint("tool_", i)
			l.refuse()
			if i%100 == 0 {
				other.refuse()
			}
			time.Sleep(time.Millisecond)
		}
		if err := brake.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		denied := ofKind(sink.Records(), audit.Denied)
		mine := slices.DeleteFunc(slices.Clone(denied), func(r audit.Record) bool { return r.Run != "run_1" })
		theirs := slices.DeleteFunc(slices.Clone(denied), func(r audit.Record) bool { return r.Run != "run_2" })
		if len(mine) > 80 || refusalsIn(mine) != calls {
			t.Errorf("%d refusals of many names are %d records of %d", calls, len(mine), refusalsIn(mine))
		}
		if len(theirs) != 2 || theirs[1].Count != calls/100-1 || theirs[1].Operation != "resend.emails.send" || theirs[1].Key == "" {
			t.Errorf("the other run's are %+v", theirs)
		}
		rest := mine[slices.IndexFunc(mine, func(r audit.Record) bool { return r.Count > 1 })]
		if rest.Tenant != "acme" || rest.Agent != "refund-bot" || rest.Reason != reason.OperationDenied || rest.Tool != "" || !strings.Contains(rest.Detail, "too many kinds") {
			t.Errorf("the record of the rest is %+v", rest)
		}
	})
}

// many is a text for each of n numbers.
func many(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// An agent writes names of a mebibyte into its calls, and thousands of names. No record repeats them.
func TestARecordOfARefusalIsShort(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything()).Token()
	long := strings.Repeat("n", 1<<20)
	calls := map[string]*http.Request{
		"a path":            request(t, "GET", "https://api.stripe.com/v1/charges/"+long, key, "", ""),
		"a path of nothing": request(t, "GET", "https://api.stripe.com/v1/"+long, key, "", ""),
		"a parameter":       request(t, "POST", intentsURL, key, formType, "amount=5&currency=usd&"+long+"=1"),
		"a parameter twice": request(t, "POST", intentsURL, key, formType, "amount=5&currency=usd&"+long+"=1&"+long+"=1"),
		"a value":           request(t, "POST", intentsURL, key, formType, "amount="+long+"&currency=usd"),
		"a field of JSON":   request(t, "POST", emailsURL, key, "application/json", `{"from":"a@acme.com","to":"b@acme.com","subject":"s","text":"t","`+long+`":1}`),
		"recipients":        request(t, "POST", emailsURL, key, "application/json", `{"from":"a@acme.com","to":["b@acme.com"`+strings.Repeat(`,"b@acme.com"`, 1<<16)+`],"subject":"s","text":"t"}`),
		"fields of JSON":    request(t, "POST", emailsURL, key, "application/json", `{"from":"a@acme.com","to":"b@acme.com","subject":"s","text":"t"`+many(`,"n%d":1`, 19_000)+`}`),
		"parameters":        request(t, "POST", intentsURL, key, formType, "amount=5&currency=usd"+many("&n%d=1", 990)),
		"a header":          request(t, "GET", chargesURL, key, "", ""),
		"a host":            request(t, "GET", "https://"+strings.Repeat("n", 1<<20)+".example/", key, "", ""),
		"a tool": request(t, "GET", "https://evil.example/", key, "", "").WithContext(keybrake.WithCall(t.Context(), keybrake.Call{
			Tool: long, Step: long,
		})),
	}
	calls["a header"].Header.Set("Stripe-Account", long)
	trial := everything()
	trial.InsecureObserve = true
	calls["parameters that are let through"] = request(t, "POST", chargesURL, w.issue(t, "run_1", trial).Token(), formType, "amount=5&currency=usd&source=tok_visa"+many("&n%d=1", 990))
	for name, req := range calls {
		before := len(w.sink.Records())
		resp, err := w.Transport(nil).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		reply, _ := io.ReadAll(resp.Body)
		if len(reply) > 8<<10 {
			t.Errorf("%s: the refusal has %d bytes", name, len(reply))
		}
		for _, r := range w.sink.Records()[before:] {
			if text, err := json.Marshal(r); err != nil || len(text) > 8<<10 {
				t.Errorf("%s: the record of kind %s has %d bytes, %v", name, r.Kind, len(text), err)
			}
		}
	}
}
