package kbstripe_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

var (
	calledAt = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	since    = fmt.Sprint(calledAt.Add(-time.Minute).Unix())
)

// A looked is one look: what Reconcile asks for, and what Stripe answers.
type looked struct {
	asks  string // operation and path, with its query unescaped
	reply string // status and body; a body alone has status 200
}

// A told is a call whose end is looked up, and what is found.
type told struct {
	name    string
	call    string // "POST /v1/refunds amount=2000&charge=ch_1"
	bound   string // "exact outflow 20.00 USD on in_1"
	pending string // what it has booked so far, "-" for nothing; empty: the call is in doubt
	objects string // that the reply named
	age     time.Duration
	unmark  bool // the call carries no mark
	looks   []looked
	want    string
}

const mark = `"metadata":{"keybrake_run":"run_1","keybrake_call":"rsv_1"}`

// list is a page.
func list_(more bool, elements ...string) string {
	return fmt.Sprintf(`{"object":"list","has_more":%t,"data":[%s]}`, more, strings.Join(elements, ","))
}

// since is a list of what was created since the call.
func sinceCall(operation, path, more string) string {
	return operation + " " + path + "?limit=100&created[gte]=" + since + more
}

func (e told) caseOf(t testing.TB, tab *vendors.Table) *vendors.Case {
	t.Helper()
	method, rest, _ := strings.Cut(e.call, " ")
	path, form, _ := strings.Cut(rest, " ")
	req := &http.Request{Method: method, URL: &url.URL{Scheme: "https", Host: "api.stripe.com", Path: path}, Header: http.Header{}}
	body := []byte(form)
	if strings.HasPrefix(form, "{") {
		req.Header.Set("Content-Type", "application/json")
	} else if form != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	_, c, err := tab.Identify(req, body)
	if err != nil {
		t.Fatalf("%s: %v", e.name, err)
	}
	if c.Operation.Reconcile == nil {
		t.Fatalf("%s: %s has no Reconcile", e.name, c.Operation.Name)
	}
	kept := c.Params[:0:0]
	for _, p := range c.Params {
		for _, name := range c.Operation.Trace {
			if p.Name == name {
				kept = append(kept, p)
			}
		}
	}
	c.Params, c.JSON, c.Header = kept, nil, nil
	s := &vendors.Case{Call: c, Doubt: e.pending == "", Mark: "rsv_1", Sent: calledAt, Ended: calledAt.Add(time.Second), Now: calledAt.Add(max(e.age, time.Hour))}
	if e.unmark {
		s.Mark = ""
	}
	s.Objects = strings.Fields(e.objects)
	s.Bound = readBound(e.bound)
	if e.pending != "" && e.pending != "-" {
		s.Booked = []cost.Line{readLine(e.pending)}
	}
	return s
}

func readBound(s string) (b vendors.Bound) {
	kind, rest, _ := strings.Cut(s, " ")
	line, object, _ := strings.Cut(rest, " on ")
	b.Kind, b.Object = map[string]vendors.Kind{"exact": vendors.Exact, "most": vendors.AtMost}[kind], object
	if line != "nothing" && line != "" {
		b.Lines = []cost.Line{readLine(line)}
	}
	return b
}

func readSeen(s string) *vendors.Reply {
	r := &vendors.Reply{Status: 200, Header: http.Header{}, Body: []byte(s)}
	if status, body, ok := strings.Cut(s, " "); ok {
		if _, err := fmt.Sscanf(status, "%d", &r.Status); err == nil {
			r.Body = []byte(body)
		}
	}
	return r
}

// finds asks the row again and again, and returns what it asked for and what it found in the end.
func (e told) finds(t testing.TB, tab *vendors.Table) (asked []string, f vendors.Finding) {
	t.Helper()
	c := e.caseOf(t, tab)
	for {
		before := fmt.Sprintf("%+v", *c.Call)
		f, err := c.Call.Operation.Reconcile(c)
		if err != nil {
			t.Fatalf("%s: %v", e.name, err)
		}
		if after := fmt.Sprintf("%+v", *c.Call); after != before {
			t.Fatalf("%s: Reconcile has changed the call", e.name)
		}
		if f.Look == nil {
			return asked, f
		}
		asked = append(asked, look(t, tab, f.Look))
		if len(c.Seen) == len(e.looks) {
			return asked, f
		}
		c.Seen = append(c.Seen, readSeen(e.looks[len(c.Seen)].reply))
	}
}

// look writes a look down, and checks that it is a read of the catalogue that costs nothing.
func look(t testing.TB, tab *vendors.Table, p *vendors.Probe) string {
	t.Helper()
	query := vendors.Encode(p.Query)
	req := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "https", Host: "api.stripe.com", Path: p.Path, RawQuery: query}}
	_, c, err := tab.Identify(req, nil)
	if err != nil || c.Operation.Name != p.Operation || c.Operation.Class != vendors.Read || c.Operation.Bound != nil {
		t.Fatalf("%s %s is no read of the catalogue: %v", p.Operation, p.Path, err)
	}
	text, _ := url.QueryUnescape(query)
	if text != "" {
		text = "?" + text
	}
	return strings.TrimPrefix(p.Operation, "stripe.") + " " + p.Path + text
}

// found writes a finding down: "executed outflow 20.00 USD", "pending held charge 50.00 USD on pi_1 again 24h",
// "absent", or "?" where it tells nothing.
func found(f vendors.Finding) string {
	out := []string{}
	switch {
	case f.Look != nil:
		return "look"
	case f.Absent && f.Outcome == vendors.OutcomeUnknown:
		return "absent"
	case f.Outcome == vendors.OutcomeUnknown && f.Why == "":
		return "? without a word"
	case f.Outcome == vendors.OutcomeUnknown:
		return "?"
	}
	out = append(out, f.Outcome.String())
	add := func(word, s string) {
		if s != "" {
			out = append(out, strings.TrimSpace(word+" "+s))
		}
	}
	add("", lines(slices.DeleteFunc(slices.Clone(f.Cost.Actual), func(l cost.Line) bool { return l.Amount == 0 })))
	add("held", lines(f.Cost.Held))
	add("on", f.Cost.Object)
	if f.Cost.Again > 0 {
		add("again", fmt.Sprintf("%dh", f.Cost.Again/time.Hour))
	}
	if f.Cost.Flag != "" {
		add("flag", f.Cost.Flag)
	}
	return strings.Join(out, " ")
}

func TestWhatIsTold(t *testing.T) {
	tab := table(t)
	for _, e := range evidence {
		t.Run(e.name, func(t *testing.T) {
			asked, f := e.finds(t, tab)
			if len(asked) != len(e.looks) {
				t.Fatalf("it asked for %q", asked)
			}
			for i, l := range e.looks {
				if asked[i] != l.asks {
					t.Errorf("look %d:\n got %s\nwant %s", i, asked[i], l.asks)
				}
			}
			if got := found(f); got != e.want {
				t.Errorf("got %q (%s), want %q", got, f.Why, e.want)
			}
			if said := len(f.Cost.Actual)+len(f.Cost.Held) > 0; f.Outcome != vendors.OutcomeUnknown && said != (len(readBound(e.bound).Lines) > 0) {
				t.Error("what a call has cost is said, nothing too, unless it could cost nothing")
			}
		})
	}
}

// Whatever comes in the place of an answer, and cannot be read as that answer, proves nothing: neither that the call was
// executed, nor that it was not, nor that it is absent.
func TestWhatCannotBeReadTellsNothing(t *testing.T) {
	tab := table(t)
	for _, e := range evidence {
		for i := range e.looks {
			body := string(readSeen(e.looks[i].reply).Body)
			for _, other := range []string{
				"500 " + body, "429 " + body, "404 " + body, "302 " + body, "202 " + body,
				`404 {"error":{"type":"invalid_request_error","code":"resource_missing","message":"No such thing"}}`,
				`200 {"error":{"type":"api_error"}}`, "200 <html>", "200 ", "200 null", "200 {}", "200 []", "200 " + body[:len(body)/2], "200 " + body + "{}",
				"200 " + strings.ReplaceAll(body, `"object":`, `"objekt":`),
				"200 " + strings.ReplaceAll(body, `"id":"`, `"id":"other`),
				"200 " + strings.ReplaceAll(body, `"data":[`, `"data":["x",`),
			} {
				if other == "200 "+body || strings.Contains(other, `"id":"other`) && e.want == "absent" {
					continue
				}
				garbled := e
				garbled.looks = append(append([]looked{}, e.looks[:i]...), looked{"", other})
				_, f := garbled.finds(t, tab)
				if got := found(f); got != "?" {
					t.Errorf("%s: with %.80q as answer %d: %s", e.name, other, i, got)
				}
			}
		}
	}
}

// notByAmount are cases whose amount field may be another, or tells nothing.
var notByAmount = []string{"intent with another amount to confirm", "capture in part", "charge captured", "reader confirms", "quote without an invoice"}

// What Stripe shows of another amount, in another currency or with another's mark is not this call's.
func TestWhatIsAnothersTellsNothing(t *testing.T) {
	tab := table(t)
	tried := 0
	for _, e := range evidence {
		if e.pending != "" || !strings.HasPrefix(e.want, "executed") && !strings.HasPrefix(e.want, "pending") || len(e.looks) == 0 || !strings.Contains(e.want, " USD") {
			continue
		}
		last := len(e.looks) - 1
		body := e.looks[last].reply
		for what, other := range map[string]string{
			"currency": strings.ReplaceAll(body, `"currency":"usd"`, `"currency":"eur"`),
			"amount":   strings.ReplaceAll(strings.ReplaceAll(body, `"amount":5000`, `"amount":5001`), `"amount_received":5000`, `"amount_received":5001`),
		} {
			if other == body || strings.Contains(body, `"invoice"`) || slices.Contains(notByAmount, e.name) {
				continue
			}
			tried++
			changed := e
			changed.looks = append(append([]looked{}, e.looks[:last]...), looked{"", other})
			_, f := changed.finds(t, tab)
			if got := found(f); got != "?" && !strings.Contains(got, "unexpected currency") {
				t.Errorf("%s: another %s: %s", e.name, what, got)
			}
		}
		if strings.Contains(e.looks[0].reply, mark) && strings.Contains(e.looks[0].reply, `"list"`) {
			tried++
			changed := e
			changed.looks = []looked{{"", strings.ReplaceAll(e.looks[0].reply, `"keybrake_call":"rsv_1"`, `"keybrake_call":"rsv_2"`)}}
			if _, f := changed.finds(t, tab); found(f) != "absent" {
				t.Errorf("%s: another's mark: %s", e.name, found(f))
			}
		}
	}
	if tried < 40 {
		t.Errorf("only %d were tried", tried)
	}
}

// A list that is not read to its end, or has no end, shows no absence.
func TestAbsence(t *testing.T) {
	tab := table(t)
	e := told{name: "pages", call: "POST /v1/refunds charge=ch_1&amount=5000", bound: "exact outflow 50.00 USD"}
	for i := range 38 {
		e.looks = append(e.looks, looked{"", list_(true, fmt.Sprintf(`{"id":"re_%d","object":"refund","metadata":{}}`, i))})
	}
	asked, f := e.finds(t, tab)
	if found(f) != "look" || len(asked) != 39 || !strings.HasSuffix(asked[38], "&starting_after=re_37") {
		t.Fatalf("%s after %q", found(f), asked[len(asked)-1])
	}
	e.looks = append(e.looks, looked{"", list_(true, `{"id":"re_38","object":"refund","metadata":{}}`)})
	if _, f := e.finds(t, tab); found(f) != "?" {
		t.Errorf("a list of 39 pages that goes on is %s", found(f))
	}
	e.looks[38].reply = list_(false, `{"id":"re_38","object":"refund","metadata":{}}`)
	if _, f := e.finds(t, tab); found(f) != "absent" {
		t.Errorf("a list of 39 pages that ends is %s", found(f))
	}
	e.looks = []looked{{"", list_(true)}}
	if _, f := e.finds(t, tab); found(f) != "?" {
		t.Errorf("an empty page that goes on is %s", found(f))
	}
	e.looks = []looked{{"", list_(true, `{"id":"re_1","object":"refund"}`)}, {"", list_(true, `{"id":"re_1","object":"refund"}`)}}
	if _, f := e.finds(t, tab); found(f) != "?" {
		t.Errorf("a list that repeats itself is %s", found(f))
	}
	e.looks = []looked{{"", list_(false, `{"id":"re_1","object":"refund",`+mark+`}`, `{"id":"re_2","object":"refund",`+mark+`}`)}}
	if _, f := e.finds(t, tab); found(f) != "?" {
		t.Errorf("two of one mark are %s", found(f))
	}
	e.unmark = true
	e.looks = nil
	if _, f := e.finds(t, tab); found(f) != "?" {
		t.Errorf("a call without a mark is %s", found(f))
	}
}

// Every operation that can cost says how it is looked up, and keeps no parameter that it does not take.
func TestEveryPaidOperationIsLookedUp(t *testing.T) {
	covered := map[string]bool{}
	tab := table(t)
	for _, e := range evidence {
		covered[e.caseOf(t, tab).Call.Operation.Name] = true
	}
	for _, op := range tab.Operations() {
		if op.Class == vendors.Read || op.HardDeny != "" {
			continue
		}
		if op.Reconcile == nil {
			t.Errorf("%s has no Reconcile", op.Name)
			continue
		}
		c := &vendors.Call{Operation: op}
		for _, name := range op.Trace {
			c.Params = append(c.Params, vendors.Param{Name: name})
		}
		if unknown, _ := c.Unlisted(op.Params); len(unknown) > 0 {
			t.Errorf("%s traces %v, which it does not take", op.Name, unknown)
		}
		if len(op.Trace) > 0 && !covered[op.Name] {
			t.Errorf("no case looks %s up", op.Name)
		}
	}
}
