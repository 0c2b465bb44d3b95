package keybrake_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stripe/stripe-go/v76"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/reason"
)

// This file says that what left counts as spent until there is proof: whatever a vendor does to a call, the books
// never stand below what the vendor has executed.

func TestDoubt(t *testing.T) {
	w := newWorld(t, func(c *keybrake.Config) { // one for all, because a brake takes a while to make
		c.MaxReply, c.Ledger = 1<<20, punctualLedger{c.Ledger}
	})
	for name, test := range map[string]func(*testing.T, *world){
		"the books never stand below what was executed":               theBooksStandAboveWhatWasExecuted,
		"more than the bound is booked in full and freezes the key":   moreThanTheBoundFreezes,
		"a redirect is not followed":                                  aRedirectIsNotFollowed,
		"a caller that goes away loses no hold":                       aCallerThatGoesAway,
		"the end of the caller's context does not skip the booking":   theEndOfTheContextSkipsNoBooking,
		"a reply without its end proves nothing":                      aReplyWithoutItsEnd,
		"Resolve ends a doubt":                                        resolveEndsADoubt,
		"Resolve refuses what it must not touch":                      resolveRefuses,
		"a retry in doubt names the reservation of the first attempt": aRetryInDoubtNamesTheFirst,
	} {
		t.Run(name, func(t *testing.T) { test(t, w) })
	}
}

// A punctualLedger does nothing for a context that has ended, as one across a network would not.
type punctualLedger struct{ ledger.Ledger }

func (l punctualLedger) Reserve(ctx context.Context, r ledger.Request) (ledger.Hold, error) {
	if ctx.Err() != nil {
		return ledger.Hold{}, ctx.Err()
	}
	return l.Ledger.Reserve(ctx, r)
}

func (l punctualLedger) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (ledger.Receipt, error) {
	if ctx.Err() != nil {
		return ledger.Receipt{}, ctx.Err()
	}
	return l.Ledger.Settle(ctx, h, s)
}

func (l punctualLedger) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return l.Ledger.Release(ctx, h, unsent)
}

// A writer makes one call that costs.
type writer struct {
	name  string
	path  string // of the call, and of no other
	pay   sdkCall
	bound int64 // what is reserved for it, in micro-USD
	kept  int64 // what is held for it when it is proved that it was not executed
}

const (
	keyedRefund    = "a refund under a key"
	keylessConfirm = "a confirmation without a key"
	oneText        = "a text"
	oneMail        = "a mail"
)

func writers() []writer {
	return []writer{
		{name: keyedRefund, path: "/refunds", pay: makeRefund(nil), bound: 20_000_000},
		// The intent that is confirmed holds its amount before, and afterwards where nothing came of it.
		{name: keylessConfirm, path: "/confirm", pay: confirmKeyless, bound: 20_000_000, kept: 20_000_000},
		{name: oneText, path: "/Messages", pay: sendText(nil), bound: 13_300},
		{name: oneMail, path: "/emails", pay: sendMail(nil), bound: 900},
	}
}

// confirmKeyless confirms the first intent that was made at the vendor, without parameters and so without a key.
func confirmKeyless(hc *http.Client, token string) error {
	_, err := stripeSDK(hc, token).PaymentIntents.Confirm("pi_3Fake000000000001", nil)
	return err
}

// An ending is what a mishap comes to in the books.
type ending int

const (
	settles  ending = iota // as spent, nothing held
	doubts                 // as held
	releases               // as neither
)

// mishaps are all the ways in which the fake vendor can misbehave, and what each comes to. A refund under a key is
// sent again by stripe-go, so that it settles where the others stay in doubt.
func mishaps() []struct {
	name  string
	fault fakevendor.Fault
	comes map[string]ending
} {
	open := make(chan struct{})
	close(open)
	all := func(e ending) map[string]ending {
		return map[string]ending{keyedRefund: e, keylessConfirm: e, oneText: e, oneMail: e}
	}
	// resent is doubt but for the one that is sent again.
	resent := map[string]ending{keyedRefund: settles, keylessConfirm: doubts, oneText: doubts, oneMail: doubts}
	// shown is doubt where the reply has an amount.
	shown := map[string]ending{keyedRefund: doubts, keylessConfirm: doubts, oneText: doubts, oneMail: settles}
	return []struct {
		name  string
		fault fakevendor.Fault
		comes map[string]ending
	}{
		{"the reply is late", fakevendor.Fault{Kind: fakevendor.Delay, Delay: time.Millisecond}, all(settles)},
		{"the vendor waits before it executes", fakevendor.Fault{Kind: fakevendor.BlockBefore, Hold: open}, all(settles)},
		{"the vendor waits after it has executed", fakevendor.Fault{Kind: fakevendor.BlockAfter, Hold: open}, all(settles)},
		{"the vendor executes late", fakevendor.Fault{Kind: fakevendor.BlockLate, Hold: open}, all(settles)},
		{"the connection breaks before", fakevendor.Fault{Kind: fakevendor.DropBefore}, resent},
		{"the connection breaks after", fakevendor.Fault{Kind: fakevendor.DropAfter}, resent},
		{"400", fakevendor.Fault{Kind: fakevendor.Status, Status: 400}, all(releases)},
		{"401", fakevendor.Fault{Kind: fakevendor.Status, Status: 401}, all(releases)},
		{"404", fakevendor.Fault{Kind: fakevendor.Status, Status: 404}, all(releases)},
		{"429", fakevendor.Fault{Kind: fakevendor.Status, Status: 429}, all(releases)},
		{"408", fakevendor.Fault{Kind: fakevendor.Status, Status: 408}, all(doubts)},
		{"418 in a shape of nobody's", fakevendor.Fault{Kind: fakevendor.StatusAfter, Status: 418, Body: `[]`}, all(doubts)},
		{"500 and not executed", fakevendor.Fault{Kind: fakevendor.Status}, all(doubts)},
		{"500 and executed", fakevendor.Fault{Kind: fakevendor.StatusAfter}, all(doubts)},
		{"a page, and not executed", fakevendor.Fault{Kind: fakevendor.HTML}, resent},
		{"a page under 404, and not executed", fakevendor.Fault{Kind: fakevendor.HTML, Status: 404}, resent},
		{"a page, and executed", fakevendor.Fault{Kind: fakevendor.HTMLAfter}, resent},
		{"a page under 403, and executed", fakevendor.Fault{Kind: fakevendor.HTMLAfter, Status: 403}, resent},
		{"a page under 200", fakevendor.Fault{Kind: fakevendor.BadJSON}, all(doubts)},
		{"nothing under 200", fakevendor.Fault{Kind: fakevendor.BadJSON, Body: " "}, all(doubts)},
		{"an empty object under 200", fakevendor.Fault{Kind: fakevendor.BadJSON, Body: "{}", ContentType: "application/json"}, all(doubts)},
		{"a list under 200", fakevendor.Fault{Kind: fakevendor.BadJSON, Body: "[1]", ContentType: "application/json"}, all(doubts)},
		{"the reply breaks off", fakevendor.Fault{Kind: fakevendor.Truncate}, resent},
		{"half a reply as a whole one", fakevendor.Fault{Kind: fakevendor.TruncateClean}, all(doubts)},
		{"an enormous reply", fakevendor.Fault{Kind: fakevendor.Enormous, Size: 2}, resent},
		{"a redirect", fakevendor.Fault{Kind: fakevendor.Redirect, Body: "https://api.stripe.com/v1/customers"}, all(doubts)},
		{"a redirect to a get", fakevendor.Fault{Kind: fakevendor.Redirect, Status: 303, Body: "/elsewhere"}, all(doubts)},
		{"the secret comes back", fakevendor.Fault{Kind: fakevendor.Echo}, all(settles)},
		{"amounts below zero", fakevendor.Fault{Kind: fakevendor.AmountLie, Body: "-1"}, shown},
		{"amounts in fractions", fakevendor.Fault{Kind: fakevendor.AmountLie, Body: "1.5"}, shown},
		{"amounts in exponents", fakevendor.Fault{Kind: fakevendor.AmountLie, Body: "1e1"}, shown},
		{"amounts beyond all measure", fakevendor.Fault{Kind: fakevendor.AmountLie, Body: "99999999999999999999"}, shown},
		{"amounts twice", fakevendor.Fault{Kind: fakevendor.AmountLie, Body: `1,"amount":2`}, shown},
		{"amounts as objects", fakevendor.Fault{Kind: fakevendor.AmountLie, Body: `{"value":1}`}, shown},
		{"no amounts", fakevendor.Fault{Kind: fakevendor.AmountLie, Body: "null"}, map[string]ending{
			keyedRefund: doubts, keylessConfirm: doubts, oneText: settles, oneMail: settles, // Twilio has none at first
		}},
	}
}

func theBooksStandAboveWhatWasExecuted(t *testing.T, w *world) {
	seen := map[fakevendor.FaultKind]bool{fakevendor.Overcharge: true} // which has a test of its own
	for _, m := range mishaps() {
		seen[m.fault.Kind] = true
		for _, by := range writers() {
			t.Run(m.name+"/"+by.name, func(t *testing.T) {
				s := w.spend(t, everything())
				if by.name == keylessConfirm {
					s.intent()
				}
				m.fault.PathContains = by.path
				w.fake.Misbehave(m.fault)
				from := len(w.sink.Records())
				hc := w.Client()
				hc.Transport = s.count
				err := by.pay(hc, s.key.Token())

				if w.fake.Faults() != 0 {
					t.Fatal("the fault did not happen")
				}
				spent, held := s.books()
				if executed := w.executed(); spent+held < executed {
					t.Errorf("the books say %d + %d and the vendor has executed %d", spent, held, executed)
				}
				switch m.comes[by.name] {
				case settles:
					s.wantExactly(by.bound, 0)
				case doubts:
					s.wantExactly(0, by.bound)
					s.wantOneDoubt(w.sink.Records()[from:])
					if by.name != keyedRefund {
						s.wantTrips(1)
					}
				case releases:
					s.wantExactly(0, by.kept)
					if err == nil {
						t.Error("the vendor's refusal did not reach the caller")
					}
				}
				s.wantNoSecret(err)
			})
		}
	}
	for _, kind := range []fakevendor.FaultKind{
		fakevendor.Delay, fakevendor.BlockBefore, fakevendor.BlockAfter, fakevendor.BlockLate, fakevendor.DropBefore,
		fakevendor.DropAfter, fakevendor.Status, fakevendor.StatusAfter, fakevendor.HTML, fakevendor.HTMLAfter,
		fakevendor.BadJSON, fakevendor.Truncate, fakevendor.TruncateClean, fakevendor.Enormous, fakevendor.Redirect,
		fakevendor.Echo, fakevendor.Overcharge, fakevendor.AmountLie,
	} {
		if !seen[kind] {
			t.Errorf("no row has the fault %q", kind)
		}
	}
}

// books are the key's first budget, in micro-USD.
func (s *spender) books() (spent, held int64) {
	s.t.Helper()
	states, err := s.Balance(s.t.Context(), s.key.Token())
	if err != nil {
		s.t.Fatal(err)
	}
	return states[0].Spent, states[0].Held
}

func (s *spender) wantExactly(spent, held int64) {
	s.t.Helper()
	if gotSpent, gotHeld := s.books(); gotSpent != spent || gotHeld != held {
		s.t.Errorf("spent %d and held %d, want %d and %d", gotSpent, gotHeld, spent, held)
	}
}

// doubts are the reservations of this agent that are in doubt.
func (s *spender) doubts() []ledger.Hold {
	s.t.Helper()
	all, err := s.InDoubt(s.t.Context(), "acme")
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(h ledger.Hold) bool { return h.Key != s.key.ID })
}

// wantOneDoubt says that one reservation is in doubt and that the record of its call says so.
func (s *spender) wantOneDoubt(records []audit.Record) {
	s.t.Helper()
	holds := s.doubts()
	if len(holds) != 1 {
		s.t.Fatalf("%d reservations are in doubt, want 1", len(holds))
	}
	i := slices.IndexFunc(records, func(r audit.Record) bool { return r.Kind == audit.Outcome && r.CallID == holds[0].ID && !r.Probe })
	if i < 0 {
		s.t.Fatal("there is no record of its outcome")
	}
	if r := records[i]; r.Outcome != "in_doubt" || r.Reason != reason.InDoubt || r.Detail == "" || len(r.Actual) != 0 {
		s.t.Errorf("its record is %+v", r)
	}
}

// wantNoSecret looks at all that the agent and the operator got to see.
func (s *spender) wantNoSecret(err error) {
	s.t.Helper()
	seen := fmt.Sprintf("%v %+v %s %+v %s", err, err, s.count.body, s.sink.Records()[s.from:], s.log)
	if s.count.reply != nil {
		seen += fmt.Sprintf("%+v %+v", s.count.reply.Header, s.count.reply.Request)
	}
	basic := base64.StdEncoding.EncodeToString([]byte(twilioAccount + ":" + twilioSecret))
	for _, secret := range []string{stripeSecret, twilioSecret, resendSecret, basic} {
		for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret))} {
			if strings.Contains(seen, form) {
				s.t.Errorf("the secret stands, as %s, in %s", form, seen)
			}
		}
	}
}

// Stripe's replies show what was taken. Twilio's and Resend's do not, so that what they take above the bound is seen
// only when it is looked for.
func moreThanTheBoundFreezes(t *testing.T, w *world) {
	for _, by := range writers()[:2] {
		t.Run(by.name, func(t *testing.T) {
			s := w.spend(t, everything())
			if by.name == keylessConfirm {
				s.intent()
			}
			w.fake.Misbehave(fakevendor.Fault{PathContains: by.path, Kind: fakevendor.Overcharge})
			if err := by.pay(w.Client(), s.key.Token()); err != nil {
				t.Errorf("the call has succeeded at the vendor: %v", err)
			}
			s.wantBooks(40, 0, 40)
			records := w.sink.Records()
			if last := records[len(records)-1]; last.Flag != "over bound" || last.Outcome != "executed" {
				t.Errorf("on record is %+v", last)
			}
			if !strings.Contains(w.log.String(), s.key.ID) {
				t.Error("the log does not name the key")
			}

			wantRefused(t, s.refund(1, ""), reason.KeyFrozen)
			if _, err := w.Resume(t.Context(), keybrake.ByAgent("acme", "refund-bot")); err != nil {
				t.Fatal(err)
			}
			wantRefused(t, s.refund(1, ""), reason.KeyFrozen) // another selector thaws nothing
			other := w.spender(t, w.issue(t, "run_other", everything()))
			if err := other.refund(100, ""); err != nil {
				t.Errorf("another key of the agent: %v", err)
			}
			if _, err := w.Resume(t.Context(), keybrake.ByKey("acme", s.key.ID)); err != nil {
				t.Fatal(err)
			}
			if err := s.refund(100, ""); err != nil {
				t.Errorf("after the key was resumed: %v", err)
			}
			s.wantBooks(41, 0, 42)
		})
	}
}

// The brake's own client returns a redirect. One that follows it comes back to the brake, which does not let it.
func aRedirectIsNotFollowed(t *testing.T, w *world) {
	for name, c := range map[string]struct {
		status    int
		to        string
		following bool
	}{
		"by the brake's client":                       {307, "https://api.stripe.com/v1/customers", false},
		"by a client that follows":                    {307, "https://api.stripe.com/v1/customers", true},
		"by a client that follows, as a read":         {302, "https://api.stripe.com/v1/customers", true},
		"by a client that follows, to another vendor": {308, "https://api.resend.com/emails", true},
		"by a client that follows, to nobody":         {303, "https://evil.example/", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := w.spend(t, everything())
			w.fake.Misbehave(fakevendor.Fault{PathContains: "/payment_intents", Kind: fakevendor.Redirect, Status: c.status, Body: c.to})
			hc := w.Client()
			hc.Transport = s.count
			trips := 1
			if c.following {
				hc.CheckRedirect, trips = nil, 2
			}
			err := keyedPost("2000")(hc, s.key.Token())
			s.wantTrips(trips)
			var reply *replyError
			if _, denied := keybrake.DenialFrom(err); denied != c.following || !denied && (!errors.As(err, &reply) || reply.status != c.status) {
				t.Errorf("the caller got %v", err)
			}
			if n := len(w.fake.Received()); n != 1 {
				t.Errorf("%d requests reached a vendor", n)
			}
			s.wantExactly(0, 20_000_000)
		})
	}
}

// Who gives up a call that is under way learns nothing of its outcome, and loses no hold: it is settled where the
// vendor has answered, else it stays in doubt.
func aCallerThatGoesAway(t *testing.T, w *world) {
	for _, kind := range []fakevendor.FaultKind{fakevendor.BlockBefore, fakevendor.BlockAfter, fakevendor.BlockLate} {
		for _, by := range writers() {
			t.Run(string(kind)+"/"+by.name, func(t *testing.T) {
				s := w.spend(t, everything())
				if by.name == keylessConfirm {
					s.intent()
				}
				from, records := len(w.fake.Executions()), len(w.sink.Records())
				release := make(chan struct{})
				w.fake.Misbehave(fakevendor.Fault{PathContains: by.path, Kind: kind, Hold: release})
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					waitFor(t, func() bool {
						return w.fake.Faults() == 0 && (kind != fakevendor.BlockAfter || len(w.fake.Executions()) > from)
					})
					cancel()
				}()
				err := by.pay(&http.Client{Transport: tripFunc(func(r *http.Request) (*http.Response, error) {
					return s.count.RoundTrip(r.WithContext(ctx))
				})}, s.key.Token())
				if err == nil {
					t.Error("the call was given up and has succeeded")
				}
				s.wantExactly(0, by.bound)
				s.wantOneDoubt(w.sink.Records()[records:])
				close(release)
				if kind == fakevendor.BlockLate {
					waitFor(t, func() bool { return len(w.fake.Executions()) > from })
				}
				if spent, held := s.books(); spent+held < w.executed() {
					t.Errorf("the books say %d + %d and the vendor has executed %d", spent, held, w.executed())
				}
			})
		}
	}
}

// The reply is there and its caller is gone: it is booked all the same.
func theEndOfTheContextSkipsNoBooking(t *testing.T, w *world) {
	s := w.spend(t, everything())
	ctx, cancel := context.WithCancel(t.Context())
	base := w.fake.Transport()
	over := w.Transport(tripFunc(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err != nil || r.Method != http.MethodPost {
			return resp, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(bytes.NewReader(body))
		cancel()
		return resp, err
	}))
	_ = makeRefund(func(p *stripe.RefundParams) { p.Context = ctx })(&http.Client{Transport: over}, s.key.Token())
	if ctx.Err() == nil {
		t.Error("the caller has not gone away")
	}
	s.wantBooks(20, 0, 20)
}

// What came of a reply can be read, and still it did not come whole: it proves neither an execution nor a refusal.
func aReplyWithoutItsEnd(t *testing.T, w *world) {
	base := w.fake.Transport()
	over := &tripCounter{next: w.Transport(tripFunc(func(r *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(r)
		if err == nil && r.Method == http.MethodPost {
			resp.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(resp.Body, iotest.ErrReader(io.ErrUnexpectedEOF)), resp.Body}
		}
		return resp, err
	}))}
	for _, status := range []int{200, 400} {
		s := w.spend(t, everything())
		if status != 200 {
			w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Status, Status: status, Times: 3})
		}
		if err := makeRefund(nil)(&http.Client{Transport: over}, s.key.Token()); err == nil {
			t.Errorf("%d: a reply that broke off passed for a whole one", status)
		}
		s.wantExactly(0, 20_000_000)
		if n := len(s.doubts()); n != 1 {
			t.Errorf("%d: %d reservations are in doubt, want 1", status, n)
		}
	}
}

// A doubtful is a reservation in doubt: a refund of 20 USD that was executed and whose reply was lost.
func (w *world) doubtful(t *testing.T) (*spender, ledger.Hold) {
	t.Helper()
	s := w.spend(t, everything())
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.StatusAfter})
	if err := s.refund(2000, "order-1"); err == nil {
		t.Fatal("the call has succeeded")
	}
	holds := s.doubts()
	if len(holds) != 1 {
		t.Fatalf("%d reservations are in doubt", len(holds))
	}
	return s, holds[0]
}

func outflowLine(micros int64) cost.Line {
	return cost.Line{Meter: cost.Outflow, Currency: "USD", Amount: micros}
}

func resolveEndsADoubt(t *testing.T, w *world) {
	for _, c := range []struct {
		name        string
		resolution  keybrake.Resolution
		spent, held int64
		fails       bool
		frozen      bool
	}{
		{name: "as not executed", resolution: keybrake.NotExecuted()},
		{name: "as executed", resolution: keybrake.Executed(outflowLine(20_000_000)), spent: 20_000_000},
		{name: "as executed at what is held", resolution: keybrake.ExecutedAsHeld(), spent: 20_000_000},
		{name: "as executed at no cost that is named", resolution: keybrake.Executed(), held: 20_000_000, fails: true},
		{name: "as executed for less", resolution: keybrake.Executed(outflowLine(5_000_000)), spent: 5_000_000},
		{name: "as executed for more, which freezes the key", resolution: keybrake.Executed(outflowLine(25_000_000)), spent: 25_000_000, frozen: true},
		{name: "the zero Resolution says nothing", resolution: keybrake.Resolution{}, held: 20_000_000, fails: true},
		{name: "in a currency that no budget counts", resolution: keybrake.Executed(cost.Line{Meter: cost.Outflow, Currency: "EUR", Amount: 1}), held: 20_000_000, fails: true},
		{name: "for an amount that cannot be", resolution: keybrake.Executed(outflowLine(-1)), held: 20_000_000, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, h := w.doubtful(t)
			err := w.Resolve(t.Context(), "acme", h.ID, c.resolution)
			if (err != nil) != c.fails {
				t.Fatalf("Resolve: %v", err)
			}
			s.wantExactly(c.spent, c.held)
			if n := len(s.doubts()); (n == 1) != c.fails {
				t.Errorf("%d reservations are in doubt", n)
			}
			records := w.sink.Records()
			last := records[len(records)-1]
			if !c.fails && (last.Kind != audit.Control || last.Reservation != h.ID || last.Key != s.key.ID || last.Detail == "") {
				t.Errorf("on record is %+v", last)
			}
			err = s.refund(100, "")
			if _, denied := keybrake.DenialFrom(err); denied != c.frozen {
				t.Errorf("the next call: %v", err)
			}
			if c.fails {
				return
			}
			if err := w.Resolve(t.Context(), "acme", h.ID, keybrake.NotExecuted()); err == nil {
				t.Error("what is resolved was resolved again")
			}
		})
	}
}

func resolveRefuses(t *testing.T, w *world) {
	s, h := w.doubtful(t)
	if err := w.Resolve(t.Context(), "acme", "r_nothing", keybrake.NotExecuted()); !errors.Is(err, ledger.ErrNoHold) {
		t.Errorf("a reservation that is none: %v", err)
	}
	if err := w.Resolve(t.Context(), "evil", h.ID, keybrake.NotExecuted()); !errors.Is(err, ledger.ErrNoHold) {
		t.Errorf("another tenant: %v", err)
	}
	w.sink.Fail(errors.New("the disk is full"))
	if err := w.Resolve(t.Context(), "acme", h.ID, keybrake.NotExecuted()); err == nil {
		t.Error("a doubt was resolved without a record")
	}
	w.sink.Fail(nil)
	s.wantExactly(0, 20_000_000)

	if err := s.refund(1000, "order-2"); err != nil {
		t.Fatal(err)
	}
	records := w.sink.Records()
	if err := w.Resolve(t.Context(), "acme", records[len(records)-1].CallID, keybrake.NotExecuted()); err == nil || !strings.Contains(err.Error(), "settled already") {
		t.Errorf("a call that is settled: %v", err)
	}
	s.wantExactly(10_000_000, 20_000_000)
}

// A call that may still be in flight is its process's to settle, until its deadline has passed.
func TestResolveWaitsForACallInFlight(t *testing.T) {
	clock := time.Now()
	books := memory.New()
	books.Now = func() time.Time { return clock }
	w := newWorld(t, func(c *keybrake.Config) { c.Ledger = books })
	s := w.spend(t, everything())
	release, done := make(chan struct{}), make(chan error, 1)
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.BlockAfter, Hold: release})
	go func() { done <- s.refund(2000, "order-1") }()
	waitFor(t, func() bool { return len(w.fake.Executions()) == 1 })

	records := w.sink.Records()
	id := records[len(records)-1].CallID
	if err := w.Resolve(t.Context(), "acme", id, keybrake.NotExecuted()); err == nil || !strings.Contains(err.Error(), "in flight") {
		t.Errorf("a call in flight: %v", err)
	}
	if len(s.doubts()) != 0 {
		t.Error("a call in flight is listed as in doubt")
	}
	clock = clock.Add(time.Hour)
	if len(s.doubts()) != 1 {
		t.Error("a call that is in flight past its deadline is not listed as in doubt")
	}
	if err := w.Resolve(t.Context(), "acme", id, keybrake.Executed(outflowLine(20_000_000))); err != nil {
		t.Errorf("a call that is in flight past its deadline: %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("its process came back: %v", err)
	}
	s.wantBooks(20, 0, 20)
}

// A retry's record names the reservation of the first attempt, which stays the one in doubt.
func aRetryInDoubtNamesTheFirst(t *testing.T, w *world) {
	s, h := w.doubtful(t)
	w.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropBefore, Times: 3})
	if err := s.refund(2000, "order-1"); err == nil {
		t.Fatal("the retry has succeeded")
	}
	records := w.sink.Records()
	last := records[len(records)-1]
	if last.Outcome != "in_doubt" || !last.Attached || last.Reservation != h.ID {
		t.Errorf("on record is %+v", last)
	}
	if holds := s.doubts(); len(holds) != 1 || holds[0].ID != h.ID {
		t.Errorf("in doubt are %v", holds)
	}
	s.wantBooks(0, 20, 20)
}

// An amount below what was asked for exactly is no proof that less was taken.
func TestAReplyThatNamesLessDoesNotLowerWhatIsBooked(t *testing.T) {
	w := newWorld(t, nil)
	for _, by := range writers()[:2] {
		t.Run(by.name, func(t *testing.T) {
			s := w.spend(t, everything())
			if by.name == keylessConfirm {
				s.intent()
			}
			w.fake.Misbehave(fakevendor.Fault{PathContains: by.path, Kind: fakevendor.AmountLie, Body: "1"})
			_ = by.pay(w.Client(), s.key.Token())
			if spent, held := s.books(); spent+held < w.executed() {
				t.Errorf("the books say %d + %d and the vendor has executed %d", spent, held, w.executed())
			}
		})
	}
}
