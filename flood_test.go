package keybrake_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/redistest"
	"github.com/keybrake/keybrake-go/ledger/redisledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A refusedCall is one that needs no ledger to be refused.
type refusedCall struct {
	want              reason.Code
	method, url       string
	authorization     string // default: the narrow key
	header            [2]string
	contentType, body string
}

// refusedHere are calls of every reason for which the brake refuses without asking anybody.
func refusedHere(w *world, t testing.TB) []refusedCall {
	t.Helper()
	key := func(g keybrake.Grant) string {
		k, err := w.Issue(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + k.Token()
	}
	other := newWorld(t, nil)
	stripeAlone := fiveDollars()
	stripeAlone.Credentials = map[string]string{"stripe": "stripe"}
	own := key(narrow())
	text := "To=%2B14155550100&From=%2B14155550101&Body=hi"
	mail := func(to string) string { return `{"from":"bot@acme.com","to":["` + to + `"],"subject":"s","text":"t"}` }
	dear := hostileGrant(everything().Budgets[0].Limit, everything().Allow...)
	return []refusedCall{
		{want: reason.KeyMissing, method: "GET", url: chargesURL, authorization: "none"},
		{want: reason.KeyMalformed, method: "GET", url: chargesURL, authorization: "Bearer nothing"},
		{want: reason.KeyMalformed, method: "GET", url: chargesURL, authorization: own[:len(own)-2]},
		{want: reason.KeyReal, method: "GET", url: chargesURL, authorization: "Bearer " + stripeSecret},
		{want: reason.KeyUntrusted, method: "GET", url: chargesURL, authorization: "Bearer " + other.issue(t, "run_1", everything()).Token()},
		{want: reason.KeyNotYet, method: "GET", url: chargesURL, authorization: key(starting(time.Hour))},
		{want: reason.KeyExpired, method: "GET", url: chargesURL, authorization: key(starting(-25 * time.Hour))},
		{want: reason.KeyVendor, method: "GET", url: emailsURL, authorization: key(stripeAlone)},
		{want: reason.HostUnknown, method: "GET", url: "https://evil.example/"},
		{want: reason.RequestInvalid, method: "GET", url: "https://api.stripe.com/v1/./charges"},
		{want: reason.OperationUnknown, method: "GET", url: "https://api.stripe.com/v1/nothing"},
		{want: reason.OperationHardDenied, method: "POST", url: "https://api.stripe.com/v1/webhook_endpoints", contentType: formType, body: "url=https%3A%2F%2Fe.org"},
		{want: reason.OperationDenied, method: "POST", url: refundsURL, contentType: formType, body: "charge=ch_1&amount=5"},
		{want: reason.HeaderDenied, method: "POST", url: intentsURL, header: [2]string{"Content-Encoding", "gzip"}, contentType: formType, body: "amount=5&currency=usd"},
		{want: reason.BodyInvalid, method: "POST", url: intentsURL, contentType: "application/json", body: "{}"},
		{want: reason.ParamDuplicate, method: "POST", url: intentsURL, contentType: formType, body: "amount=5&amount=6&currency=usd"},
		{want: reason.ParamInvalid, method: "POST", url: intentsURL, contentType: formType, body: "amount=5e3&currency=usd"},
		{want: reason.ParamUnknown, method: "POST", url: intentsURL, contentType: formType, body: "amount=5&currency=usd&Amount=7"},
		{want: reason.ParamRedirects, method: "POST", url: intentsURL, contentType: formType, body: "amount=5&currency=usd&transfer_data[destination]=acct_1"},
		{want: reason.ParamDenied, method: "POST", url: messagesURL, contentType: formType, body: strings.Replace(text, "55550101", "55550109", 1)},
		{want: reason.CountryDenied, method: "POST", url: messagesURL, contentType: formType, body: "To=%2B4915112345678&From=%2B14155550101&Body=hi"},
		{want: reason.RecipientDenied, method: "POST", url: emailsURL, contentType: "application/json", body: mail("ann@evil.example")},
		{want: reason.CostUnknown, method: "POST", url: "https://api.resend.com/automations", authorization: key(dear), contentType: "application/json", body: "{}"},
		{want: reason.CurrencyDenied, method: "POST", url: intentsURL, contentType: formType, body: "amount=5&currency=jpy"},
		{want: reason.MaxPerCall, method: "POST", url: intentsURL, contentType: formType, body: "amount=5001&currency=usd"},
		{want: reason.AccountMismatch, method: "POST", url: strings.Replace(messagesURL, twilioAccount, "AC00000000000000000000000000000000", 1), contentType: formType, body: text},
		{want: reason.IdempotencyInvalid, method: "POST", url: intentsURL, header: [2]string{"Idempotency-Key", strings.Repeat("k", 256)}, contentType: formType, body: "amount=5&currency=usd"},
	}
}

func (c refusedCall) request(t testing.TB, own string) *http.Request {
	req := request(t, c.method, c.url, "", c.contentType, c.body)
	switch c.authorization {
	case "":
		req.Header.Set("Authorization", own)
	case "none":
		req.Header.Del("Authorization")
	default:
		req.Header.Set("Authorization", c.authorization)
	}
	if c.header[0] != "" {
		req.Header.Set(c.header[0], c.header[1])
	}
	return req
}

// An agent in a loop is refused a hundred thousand times, for every reason for which nobody has to be asked. Redis is not
// asked once, the vendor is not either, what is on record is as much as a person can read, and memory and goroutines are
// where they were.
func TestAFloodOfRefusalsCostsNothingButTime(t *testing.T) {
	calls := 20_000
	if testing.Short() {
		calls = 5_000
	}
	server := redistest.Serve(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = redisledger.New(rdb, nil) })
	kinds := refusedHere(w, t)
	own, err := w.Issue(t.Context(), narrow())
	if err != nil {
		t.Fatal(err)
	}
	rt := w.Transport(nil)
	flood := func(n int) {
		for i := range n {
			k := kinds[i%len(kinds)]
			req := k.request(t, "Bearer "+own.Token())
			resp, err := rt.RoundTrip(req.WithContext(keybrake.WithCall(t.Context(), keybrake.Call{Tool: "loop", Step: fmt.Sprint(i)})))
			if err != nil || resp.Header.Get("Keybrake-Denial") != string(k.want) {
				t.Fatalf("%s %s: %v, %v, want %s", k.method, k.url, err, resp.Header, k.want)
			}
		}
	}
	flood(3 * len(kinds))
	for len(alertsOf(t, rdb)) == 0 { // that the run is refused is stored once, in the background
		time.Sleep(time.Millisecond)
	}
	heap, goroutines, commands := heapInUse(), runtime.NumGoroutine(), commandsOf(t, server)
	flood(calls)
	if n := commandsOf(t, server) - commands; n != 0 {
		t.Errorf("Redis was asked %d times", n)
	}
	if grown := heapInUse() - heap; grown > 8<<20 {
		t.Errorf("%d bytes are kept of %d refusals", grown, calls)
	}
	if n := runtime.NumGoroutine(); n > goroutines+20 {
		t.Errorf("%d goroutines, before it were %d", n, goroutines)
	}
	if ids := alertsOf(t, rdb); len(ids) != 1 {
		t.Errorf("alerts of one run: %q", ids)
	}
	if n := len(w.fake.Received()); n != 0 {
		t.Errorf("the vendor got %d requests", n)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	records := ofKind(w.sink.Records(), audit.Denied)
	if n := refusalsIn(records); n != int64(calls+3*len(kinds)) || len(records) > 100+calls/100 {
		t.Errorf("%d records of %d refusals, want %d", len(records), n, calls+3*len(kinds))
	}
}

// alertsOf are the ids of the alerts that wait in the tenant of the flood.
func alertsOf(t *testing.T, rdb *redis.Client) []string {
	t.Helper()
	ids, err := rdb.ZRange(t.Context(), "kb:{"+hostileTenant+"}:alerts", 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what had a finalizer
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// commandsOf is how many commands a server has carried out for its clients, less those that ask.
func commandsOf(t *testing.T, s *redistest.Server) (n int) {
	t.Helper()
	for line := range strings.Lines(s.Admin().Info(t.Context(), "commandstats").Val()) {
		name, rest, ok := strings.Cut(line, ":calls=")
		if !ok || name == "cmdstat_info" {
			continue
		}
		var calls int
		if _, err := fmt.Sscanf(rest, "%d,", &calls); err != nil {
			t.Fatal(err)
		}
		n += calls
	}
	if n == 0 {
		t.Fatal("the server says nothing of its commands")
	}
	return n
}

// What a refusal costs: of a call that no rule allows, of one whose body has to be read, and of one without a key.
func BenchmarkRefusal(b *testing.B) {
	w := newWorld(b, nil)
	own, err := w.Issue(b.Context(), narrow())
	if err != nil {
		b.Fatal(err)
	}
	for _, k := range refusedHere(w, b) {
		switch k.want {
		case reason.KeyMissing, reason.KeyUntrusted, reason.OperationDenied, reason.MaxPerCall:
		default:
			continue
		}
		b.Run(string(k.want), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				resp, err := w.Transport(nil).RoundTrip(k.request(b, "Bearer "+own.Token()))
				if err != nil || resp.Header.Get("Keybrake-Denial") != string(k.want) {
					b.Fatal(err, resp)
				}
			}
		})
	}
}
