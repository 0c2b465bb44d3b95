package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

func read(t testing.TB, in io.Reader) []audit.Record {
	t.Helper()
	var out []audit.Record
	lines := bufio.NewScanner(in)
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		var r audit.Record
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			t.Errorf("%v in %q", err, lines.Text())
			continue
		}
		out = append(out, r)
	}
	return out
}

// writes notes each call of Write; it has no lock of its own, so the race detector sees two at once.
type writes struct {
	calls []string
	take  func(line []byte) (int, error)
}

func (w *writes) Write(p []byte) (int, error) {
	w.calls = append(w.calls, string(p))
	if w.take != nil {
		return w.take(p)
	}
	return len(p), nil
}

func TestJSON(t *testing.T) {
	audittest.Run(t, func() (audit.Sink, func() []audit.Record) {
		var w writes
		return audit.JSON(&w), func() []audit.Record { return read(t, strings.NewReader(strings.Join(w.calls, ""))) }
	})
	audittest.RunBroken(t, func() audit.Sink {
		return audit.JSON(&writes{take: func([]byte) (int, error) { return 0, io.ErrClosedPipe }})
	})
	audittest.RunBroken(t, func() audit.Sink {
		return audit.JSON(&writes{take: func(p []byte) (int, error) { return len(p) - 1, nil }})
	})
	audittest.RunBroken(t, func() audit.Sink { return audit.JSON(nil) })
}

// The form of a line is public: programs read it.
func TestJSONLine(t *testing.T) {
	var b bytes.Buffer
	if err := audit.JSON(&b).Write(t.Context(), audittest.Full()); err != nil {
		t.Fatal(err)
	}
	want := `{"v":1,"id":"rec_1","time":"2026-11-24T23:59:59.123456789Z","kind":"outcome","call":"call_1","reservation":"call_0","probe":true,"count":9999,"first":"2026-11-24T23:59:50.123456789Z","last":"2026-11-24T23:59:59.122456789Z",` +
		`"tenant":"acme","agent":"refund-bot","run":"run_42","labels":["nightly","eu"],"key":"key_1.ab","parents":["key_1"],"policy":"aa.bb","tool":"refund_customer","step":"3",` +
		`"vendor":"stripe","credential":"stripe_live","operation":"stripe.refunds.create","class":"outflow","verdict":"deny","outcome":"in_doubt","reason":"in_doubt",` +
		`"detail":"the reply did not arrive","reasons":[{"code":"param_denied","of":"key_1.ab","rule":2,"param":"reason","budget":"team:support"},{"code":"max_per_call","rule":-1,"param":"amount"}],` +
		`"rules":[{"of":"key_1.ab","rule":3},{"rule":-1}],"reserved":[{"meter":"outflow","currency":"USD","amount":20000000},{"meter":"calls","amount":1}],"actual":[{"meter":"fee","currency":"USD","amount":8300}],` +
		`"held":[{"meter":"outflow","currency":"USD","amount":9007199254740991}],"rates":[{"from":"EUR","to":"USD","value":"1.0825"}],"budgets":[{"name":"team:support","shared":true,"of":"key_1","meter":"spend","currency":"USD",` +
		`"limit":500000000,"spent":476500000,"held":20000000,"left":3500000,"reset":"2026-11-25T00:00:00.123456789Z"}],"flag":"over bound","status":502,` +
		`"vendor_request":"req_1","error":"timeout","hold_of":"stripe:0123456789abcdef:pi_1","objects":["re_1","ch_1"],"customer":"hmac:2","recipients":["hmac:1"],"idempotency":"sha256:1","attached":true,"attempt":2,` +
		`"duration_ns":1500000000,"own_ns":300000,"ledger_ns":700000,"vendor_ns":1000000000,"chain":{"writer":"w1","n":7,"lost":1,"prev":"aa","hash":"bb","sign":"cc"}}` + "\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestJSONEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\r\t":                             `a\nb\r\t`,
		"\x1b[2J\x00\x7f":                      `\u001b[2J\u0000\u007f`,
		"\u0085\u009b":                         `\u0085\u009b`,
		"\u2028\u2029":                         `\u2028\u2029`,
		"\u202e\u2066\ufeff\u200b\u200d\u061c": `\u202e\u2066\ufeff\u200b\u200d\u061c`,
		"\U000e0041":                           `\udb40\udc41`,
		"\ue000\uffff":                         `\ue000\uffff`,
		"a\xffb":                               `a\ufffdb`,
		`a"b\c`:                                `a\"b\\c`,
		"a < b && c > d":                       `a < b && c > d`,
		"é ü 漢字 😀 \u00a0":                      "é ü 漢字 😀 \u00a0",
	} {
		var b bytes.Buffer
		if err := audit.JSON(&b).Write(t.Context(), audit.Record{Step: in}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), `"step":"`+want+`"`) {
			t.Errorf("%q: %s", in, b.String())
		}
	}
}

// FuzzRecord writes records with arbitrary texts and numbers in every field. Each is one line of JSON, no longer than its texts
// with every byte escaped, in which nothing stands that a terminal or an editor acts upon, and [audit.Read] gives it back.
func FuzzRecord(f *testing.F) {
	f.Add("a\nb", "\u202e", int64(1), int64(0))
	f.Add("\xff", "{\"id\":1}\n", int64(-1), int64(1)<<62)
	f.Add("\x1b[2J\u2028\u2029\u0085", "\U000e0041\ud7ff\ufeff", int64(cost.Max), int64(-62135596800))
	f.Add(`\u0000"\\`, "</script><!--", int64(1)<<53, int64(253402300799))
	f.Fuzz(func(t *testing.T, a, b string, n, seconds int64) {
		when := time.Unix(seconds, n&(1<<29-1)).UTC()
		line := []cost.Line{{Meter: cost.Meter(a), Currency: cost.Currency(b), Amount: n}}
		r := audit.Record{
			Version: 1, ID: a, Time: when, Kind: audit.Kind(b), CallID: a, Reservation: b, Probe: n&1 > 0, Tenant: a, Agent: b, Run: a, Labels: []string{b, a}, Key: b,
			Tool: a, Step: b, Vendor: a, Credential: b, Operation: a, Class: b, Verdict: audit.Verdict(a), Outcome: b, Reason: reason.Code(a), Detail: b,
			Reasons:  []audit.Why{{Code: reason.Code(b), Rule: int(n), Param: a, Budget: b}},
			Reserved: line, Actual: line, Held: line, Budgets: []audit.Budget{{Name: a, Shared: n&1 == 0, Meter: cost.Meter(b), Currency: cost.Currency(a), Limit: n, Spent: -n, Held: n, Left: n, Reset: when}},
			Flag: b, Status: int(n), VendorRequest: a, Objects: []string{a, b}, Recipients: []string{b}, Idempotency: a, Attached: n&1 > 0,
			Duration: time.Duration(n), LedgerDuration: time.Duration(-n), VendorDuration: time.Duration(n),
		}
		var w writes
		if err := audit.JSON(&w).Write(t.Context(), r); err != nil {
			if y := when.Year(); y >= 1 && y <= 9999 || len(w.calls) > 0 {
				t.Fatalf("%v, and %q is written", err, w.calls)
			}
			return
		}
		text, end := strings.CutSuffix(w.calls[0], "\n")
		if len(w.calls) != 1 || !end || !json.Valid([]byte(text)) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			t.Fatalf("got %q", w.calls)
		}
		if most := 3000 + 6*20*(len(a)+len(b)); len(text) > most {
			t.Fatalf("%d bytes of text make a line of %d", len(a)+len(b), len(text))
		}
		if len(text) > 1<<20 {
			return // no record is as long, and Read says so
		}
		want := r // its lists are r's, which has been written
		validText(reflect.ValueOf(&want).Elem())
		var got []audit.Record
		for r, err := range audit.Read(strings.NewReader(w.calls[0])) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Fatalf("read\n%+v, want\n%+v", got, want)
		}
	})
}

// validText replaces in every string of v the bytes that are not UTF-8, one by one.
func validText(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(each(v.String()))
	case reflect.Slice:
		for i := range v.Len() {
			validText(v.Index(i))
		}
	case reflect.Struct:
		if _, isTime := v.Interface().(time.Time); isTime {
			return
		}
		for i := range v.NumField() {
			validText(v.Field(i))
		}
	}
}

// each replaces every byte that is not UTF-8, one by one.
func each(s string) string { return string([]rune(s)) }

// One call of the writer's Write for each record, so that lines of several processes do not mix in one file.
func TestJSONWritesOnce(t *testing.T) {
	var w writes
	s := audit.JSON(&w)
	for range 2 {
		if err := s.Write(t.Context(), audittest.Full()); err != nil {
			t.Fatal(err)
		}
	}
	if len(w.calls) != 2 || w.calls[0] != w.calls[1] || strings.Count(w.calls[0], "\n") != 1 {
		t.Errorf("got %q", w.calls)
	}
}

func TestJSONSaysWhatFailed(t *testing.T) {
	for want, take := range map[error]func([]byte) (int, error){
		io.ErrClosedPipe: func([]byte) (int, error) { return 0, io.ErrClosedPipe },
		io.ErrShortWrite: func(p []byte) (int, error) { return len(p) / 2, nil },
	} {
		if err := audit.JSON(&writes{take: take}).Write(t.Context(), audittest.Full()); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	late := audittest.Full()
	late.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	var w writes
	if err := audit.JSON(&w).Write(t.Context(), late); err == nil || len(w.calls) != 0 {
		t.Errorf("a time that JSON cannot hold: %v, %q", err, w.calls)
	}
}

func TestJSONWithoutWriter(t *testing.T) {
	if audit.JSON(nil).Write(t.Context(), audittest.Full()) == nil {
		t.Error("Write succeeds")
	}
}

// A failure that wrote nothing leaves nothing to get away from.
func TestJSONAfterAFailure(t *testing.T) {
	w := &writes{take: func([]byte) (int, error) { return 0, io.ErrClosedPipe }}
	s := audit.JSON(w)
	_ = s.Write(t.Context(), audittest.Full())
	w.take = nil
	if err := s.Write(t.Context(), audittest.Full()); err != nil || w.calls[0] != w.calls[1] {
		t.Errorf("%v, %q", err, w.calls)
	}
}

// After a line that was written in part, the next record starts a line of its own.
func TestJSONAfterATornLine(t *testing.T) {
	var b bytes.Buffer
	limit := 10
	s := audit.JSON(&writes{take: func(p []byte) (int, error) {
		n, _ := b.Write(p[:min(limit, len(p))])
		return n, nil
	}})
	if s.Write(t.Context(), audittest.Full()) == nil {
		t.Fatal("a short write succeeds")
	}
	limit = 1 << 20
	for range 2 {
		if err := s.Write(t.Context(), audittest.Full()); err != nil {
			t.Fatal(err)
		}
	}
	torn, rest, _ := strings.Cut(b.String(), "\n")
	if len(torn) != 10 || len(read(t, strings.NewReader(rest))) != 2 || strings.Contains(rest, "\n\n") {
		t.Errorf("got %q", b.String())
	}
}

// A writer that hangs keeps one goroutine; the others that wait for their turn give up at their deadline.
func TestJSONStuckWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := audit.JSON(&writes{take: func(p []byte) (int, error) { <-release; return len(p), nil }})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Write(t.Context(), audittest.Full()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Write(ctx, audittest.Full()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(release)
		wg.Wait()
	})
}
