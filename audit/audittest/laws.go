package audittest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// New makes a sink that holds nothing yet, and the function that reads back what it holds.
type New = func() (audit.Sink, func() []audit.Record)

// Run tries a sink on every law, each in a subtest by its sentence. It is for sinks from which records can be
// read back whole. One that is an [audit.BatchSink] is tried on the laws of batches, too.
func Run(t *testing.T, newSink New) {
	t.Helper()
	for _, l := range lawsOf(newSink) {
		t.Run(l.sentence, func(t *testing.T) {
			if err := l.try(newSink); err != nil {
				t.Errorf("%s: %v", l.sentence, err)
			}
		})
	}
}

// Test is Run without a testing.T: it returns every law that the sink breaks, and how.
func Test(newSink New) error { return broken(lawsOf(newSink), newSink) }

// RunBroken tries the one law that needs a sink whose store fails: on a full disk, say, or a closed connection.
func RunBroken(t *testing.T, newSink func() audit.Sink) {
	t.Helper()
	if err := TestBroken(newSink); err != nil {
		t.Error(err)
	}
}

// TestBroken is RunBroken without a testing.T.
func TestBroken(newSink func() audit.Sink) error {
	s := newSink()
	for range 3 { // a sink that reports its failure once and then forgets it would let the second call through
		if write(s, Full()) == nil {
			return errors.New("a sink that cannot keep a record says so, every time: Write returned nil")
		}
		if batches(s) != nil && writeBatch(s, batch(0, 2)) == nil {
			return errors.New("a sink that cannot keep a batch says so, every time: WriteBatch returned nil")
		}
	}
	return nil
}

type law struct {
	sentence string
	try      func(New) error
}

var laws = []law{
	{"a record reads back as soon as Write has returned, with every field as it was", readsBack},
	{"a field that is not set reads back as not set", readsBackEmpty},
	{"text that would break its line reads back as it was, in one record", hostileText},
	{"text that is not UTF-8 makes one record, of the same text or of whole text", damagedText},
	{"of records written at once, none is lost, doubled or torn", concurrent},
	{"what becomes of the caller's slices afterwards changes no record", ownCopy},
	{"a sink changes nothing in the record that it is given", noChange},
	{"when the context has ended, Write returns nil only if the record was kept", ended},
}

func readsBack(newSink New) error { return reads(newSink, Full()) }
func readsBackEmpty(newSink New) error {
	return reads(newSink, audit.Record{Version: 1, ID: "r", Time: when, Kind: audit.Denied})
}

// reads writes r to a new sink and compares what comes back.
func reads(newSink New, r audit.Record) error {
	s, read := newSink()
	want := content(r)
	if err := write(s, r); err != nil {
		return err
	}
	return compare(read(), want)
}

func compare(got []audit.Record, want string) error {
	if len(got) != 1 {
		return fmt.Errorf("%d records of one", len(got))
	}
	if c := content(got[0]); c != want {
		return fmt.Errorf("got\n%s\nwant\n%s", c, want)
	}
	return nil
}

// hostile is what a log line must not be broken by: line ends of all kinds, terminal escapes, quotes, an SQL end,
// bidirectional overrides, a byte-order mark, and a line that looks like a record.
const hostile = "a\nb\r\nc\u2028d\u2029e\u0085f\x00g\x1b[2Jh\x7f\u202ei\u2066j\ufeff\"'`\\;--%s<&>\U000e0041\U0001f600\n{\"v\":1,\"id\":\"forged\"}\n"

func hostileText(newSink New) error { return reads(newSink, text(hostile)) }

// text is a record with s in the fields that an agent or a vendor has a say in.
func text(s string) audit.Record {
	return audit.Record{
		Version: 1, ID: "r", Time: when, Kind: audit.Denied, Agent: s, Run: s, Labels: []string{s, s}, Tool: s, Step: s,
		Operation: s, Detail: s, Reasons: []audit.Why{{Code: reason.ParamDenied, Param: s}}, VendorRequest: s, Objects: []string{s},
	}
}

func damagedText(newSink New) error {
	s, read := newSink()
	const damaged = "a\xffb\xc3"
	if err := write(s, text(damaged)); err != nil {
		return err
	}
	got := read()
	if len(got) != 1 {
		return fmt.Errorf("%d records of one", len(got))
	}
	for _, v := range append(got[0].Labels, got[0].Agent, got[0].Step) {
		if v != damaged && (!utf8.ValidString(v) || !strings.HasPrefix(v, "a")) {
			return fmt.Errorf("got %q", v)
		}
	}
	return nil
}

func concurrent(newSink New) error {
	const writers, each = 8, 25
	s, read := newSink()
	var wg sync.WaitGroup
	failed := make(chan error, writers*each)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				failed <- write(s, numbered(w*each+i))
			}
		})
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return all(read(), writers*each)
}

func numbered(n int) audit.Record {
	r := Full()
	r.ID = fmt.Sprintf("r%d", n)
	r.Detail = strings.Repeat(r.ID+" ", 200) // longer than a pipe or a buffer takes at once
	return r
}

func all(got []audit.Record, n int) error {
	seen := map[string]bool{}
	for _, r := range got {
		seen[content(r)] = true
	}
	for i := range n {
		if !seen[content(numbered(i))] {
			return fmt.Errorf("record %d of %d is lost or torn", i, n)
		}
	}
	if len(got) != n {
		return fmt.Errorf("%d records of %d", len(got), n)
	}
	return nil
}

func ownCopy(newSink New) error {
	s, read := newSink()
	r := Full()
	want := content(r)
	if err := write(s, r); err != nil {
		return err
	}
	spoil(r)
	return compare(read(), want)
}

// spoil overwrites what a copy of the struct shares with r.
func spoil(r audit.Record) {
	for _, list := range [][]string{r.Labels, r.Parents, r.Objects, r.Recipients} {
		list[0] = "spoiled"
	}
	for _, list := range [][]cost.Line{r.Reserved, r.Actual, r.Held} {
		list[0].Amount = 666
	}
	r.Reasons[0].Param = "spoiled"
	r.Rules[0].Rule = 666
	r.Rates[0].Value = "666"
	r.Budgets[0].Name = "spoiled"
}

func noChange(newSink New) error {
	s, _ := newSink()
	r := Full()
	want := content(r)
	if err := write(s, r); err != nil {
		return err
	}
	return compare([]audit.Record{r}, want)
}

func ended(newSink New) error {
	s, read := newSink()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan error, 1)
	go func() {
		err := audit.ErrPanicked
		defer func() {
			_ = recover()
			done <- err
		}()
		err = s.Write(ctx, Full())
	}()
	select {
	case err := <-done:
		if n := len(read()); err == nil && n != 1 {
			return fmt.Errorf("Write returned nil, and there are %d records", n)
		}
		return nil
	case <-time.After(patience):
		return errors.New("Write does not return")
	}
}

// patience is how long a write may take before the kit calls it hanging.
var patience = 10 * time.Second

func write(s audit.Sink, r audit.Record) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return audit.Write(ctx, s, r)
}

// content is all that a record says, in a form that can be compared.
func content(r audit.Record) string {
	b, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

var when = time.Date(2026, 11, 24, 23, 59, 59, 123456789, time.UTC)

// Full returns a record with every field set, a new one each time.
func Full() audit.Record {
	return audit.Record{
		Version: 1, ID: "rec_1", Time: when, Kind: audit.Outcome, CallID: "call_1", Reservation: "call_0", Probe: true,
		Count: 9_999, First: when.Add(-9 * time.Second), Last: when.Add(-time.Millisecond),
		Tenant: "acme", Agent: "refund-bot", Run: "run_42", Labels: []string{"nightly", "eu"}, Key: "key_1.ab", Parents: []string{"key_1"}, Policy: "aa.bb", Tool: "refund_customer", Step: "3",
		Vendor: "stripe", Credential: "stripe_live", Operation: "stripe.refunds.create", Class: "outflow",
		Verdict: audit.Deny, Outcome: "in_doubt", Reason: reason.InDoubt, Detail: "the reply did not arrive",
		Reasons:  []audit.Why{{Code: reason.ParamDenied, Of: "key_1.ab", Rule: 2, Param: "reason", Budget: "team:support"}, {Code: reason.MaxPerCall, Rule: -1, Param: "amount"}},
		Rules:    []audit.Rule{{Of: "key_1.ab", Rule: 3}, {Rule: -1}},
		Reserved: []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: 20_000_000}, {Meter: cost.Calls, Amount: 1}},
		Actual:   []cost.Line{{Meter: cost.Fee, Currency: "USD", Amount: 8_300}},
		Held:     []cost.Line{{Meter: cost.Outflow, Currency: "USD", Amount: cost.Max}},
		Rates:    []cost.Rate{{From: "EUR", To: "USD", Value: "1.0825"}},
		Budgets: []audit.Budget{{Name: "team:support", Shared: true, Of: "key_1", Meter: cost.Spend, Currency: "USD", Limit: 500_000_000,
			Spent: 476_500_000, Held: 20_000_000, Left: 3_500_000, Reset: when.Add(time.Second)}},
		Flag: "over bound", Status: 502, VendorRequest: "req_1", Error: audit.ErrorTimeout, HoldOf: "stripe:0123456789abcdef:pi_1", Objects: []string{"re_1", "ch_1"}, Customer: "hmac:2", Recipients: []string{"hmac:1"},
		Idempotency: "sha256:1", Attached: true, Attempt: 2,
		Duration: 1500 * time.Millisecond, OwnDuration: 300 * time.Microsecond, LedgerDuration: 700 * time.Microsecond, VendorDuration: 1 * time.Second,
		Chain: &audit.Link{Writer: "w1", N: 7, Lost: 1, Prev: "aa", Hash: "bb", Sign: "cc"},
	}
}
