package keybrake_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// A crew is keys that have each of the names of a selector in common with some and not with others.
type crew struct {
	w    *world
	keys map[string]keybrake.Key
}

func newCrew(t *testing.T, w *world) crew {
	c := crew{w, map[string]keybrake.Key{}}
	for _, name := range []string{"one", "same run", "same agent", "same label", "same tenant", "other tenant"} {
		c.issue(t, name)
	}
	return c
}

// issue makes the key of that name, or one more like it.
func (c crew) issue(t *testing.T, name string) {
	t.Helper()
	if err := c.tryIssue(t, name); err != nil {
		t.Fatal(err)
	}
}

func (c crew) tryIssue(t *testing.T, name string) error {
	g := grant("run_"+strings.ReplaceAll(name, " ", "_"), everything())
	g.Agent, g.Labels = "agent_"+strings.ReplaceAll(name, " ", "_"), []string{"label_" + strings.ReplaceAll(name, " ", "_")}
	switch name {
	case "same run":
		g.Run = "run_one"
	case "same agent":
		g.Agent = "agent_one"
	case "same label":
		g.Labels = []string{"label_other", "label_one"}
	case "other tenant": // the same names, elsewhere
		g.Tenant, g.Run, g.Agent, g.Labels = "globex", "run_one", "agent_one", []string{"label_one"}
	}
	key, err := c.w.Issue(t.Context(), g)
	if err == nil {
		c.keys[name] = key
	} else if key.Token() != "" {
		t.Errorf("%s: a token beside the error %v", name, err)
	}
	return err
}

// stopped asks for one call of every key to two vendors, and returns who was refused, with the reason.
func (c crew) stopped(t *testing.T) map[string]reason.Code {
	t.Helper()
	stopped := map[string]reason.Code{}
	for name, key := range c.keys {
		for vendor, url := range map[string]string{"stripe": chargesURL, "resend": emailsURL} {
			if d := denial(t, c.w.Transport(nil), request(t, "GET", url, key.Token(), "", "")); d != nil {
				if d.Status != 401 {
					t.Errorf("%s: status %d", name, d.Status)
				}
				stopped[name+" at "+vendor] = d.Reason
			}
		}
	}
	return stopped
}

// both is the names at both vendors.
func both(names ...string) []string {
	var all []string
	for _, n := range names {
		all = append(all, n+" at resend", n+" at stripe")
	}
	slices.Sort(all)
	return all
}

func wantStopped(t *testing.T, what string, got map[string]reason.Code, code reason.Code, want []string) {
	t.Helper()
	names := make([]string, 0, len(got))
	for name, c := range got {
		names = append(names, name)
		if c != code {
			t.Errorf("%s: %s is refused with %s, want %s", what, name, c, code)
		}
	}
	if slices.Sort(names); !slices.Equal(names, want) {
		t.Errorf("%s: stopped are %q, want %q", what, names, want)
	}
}

// Each selector stops what it names, keys issued later included, and nothing beside it. Resume ends a pause, never
// a revoke.
func TestAStopReachesWhatItSelectsAndNothingElse(t *testing.T) {
	everybody := []string{"one", "same run", "same agent", "same label", "same tenant", "other tenant"}
	for name, tt := range map[string]struct {
		selector func(c crew) keybrake.Selector
		text     string
		want     []string
		later    []string // of the keys issued afterwards under the same names, who is stopped
		tenants  []string
	}{
		"key": {
			func(c crew) keybrake.Selector { return keybrake.ByKey("acme", c.keys["one"].ID) }, "tenant:acme key:",
			both("one"), nil, []string{"acme"},
		},
		"run": {
			func(crew) keybrake.Selector { return keybrake.ByRun("acme", "run_one") }, "tenant:acme run:run_one",
			both("one", "same run"), both("one", "same run"), []string{"acme"},
		},
		"agent": {
			func(crew) keybrake.Selector { return keybrake.ByAgent("acme", "agent_one") }, "tenant:acme agent:agent_one",
			both("one", "same agent"), both("one", "same agent"), []string{"acme"},
		},
		"label": {
			func(crew) keybrake.Selector { return keybrake.ByLabel("acme", "label_one") }, "tenant:acme label:label_one",
			both("one", "same label"), both("one", "same label"), []string{"acme"},
		},
		"tenant": {
			func(crew) keybrake.Selector { return keybrake.ByTenant("acme") }, "tenant:acme",
			both(everybody[:5]...), both(everybody[:5]...), []string{"acme"},
		},
		"vendor": {
			func(crew) keybrake.Selector { return keybrake.ByVendor("acme", "stripe") }, "tenant:acme vendor:stripe",
			at("stripe", everybody[:5]...), at("stripe", everybody[:5]...), []string{"acme"},
		},
		"vendor everywhere": {
			func(crew) keybrake.Selector { return keybrake.ByVendorEverywhere("resend") }, "vendor:resend",
			at("resend", everybody...), at("resend", everybody...), []string{"acme", "globex"},
		},
		"everything": {
			func(crew) keybrake.Selector { return keybrake.Everything() }, "all",
			both(everybody...), both(everybody...), []string{"acme", "globex"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			c := newCrew(t, w)
			s := tt.selector(c).Because("it loops")
			if !strings.HasPrefix(s.String(), tt.text) {
				t.Errorf("the selector reads %q, want %q", s, tt.text)
			}
			do := func(what string, verb func(context.Context, keybrake.Selector) (keybrake.Report, error)) {
				t.Helper()
				report, err := verb(t.Context(), s)
				if err != nil || !slices.Equal(report.Tenants, tt.tenants) {
					t.Fatalf("%s: %v, %v", what, report.Tenants, err)
				}
				all := controls(w.sink.Records())
				if r := all[len(all)-1]; r.Detail != what+" "+s.String()+": it loops" {
					t.Errorf("the record says %q", r.Detail)
				}
			}
			wantStopped(t, "at first", c.stopped(t), "", []string{})
			do("pause", w.Pause)
			wantStopped(t, "paused", c.stopped(t), reason.KeyPaused, tt.want)
			first := maps.Clone(c.keys)
			for _, name := range everybody {
				c.issue(t, name) // a pause ends, so the key may be made
			}
			wantStopped(t, "issued while paused", c.stopped(t), reason.KeyPaused, append([]string{}, tt.later...))
			maps.Copy(c.keys, first)
			do("resume", w.Resume)
			wantStopped(t, "resumed", c.stopped(t), "", []string{})
			do("revoke", w.Revoke)
			wantStopped(t, "revoked", c.stopped(t), reason.KeyRevoked, tt.want)
			do("pause", w.Pause)
			wantStopped(t, "revoked, then paused", c.stopped(t), reason.KeyRevoked, tt.want)
			do("resume", w.Resume)
			wantStopped(t, "revoked, then resumed", c.stopped(t), reason.KeyRevoked, tt.want)
			for _, name := range everybody {
				bound := slices.ContainsFunc(tt.later, func(n string) bool { return strings.HasPrefix(n, name+" at ") })
				if err := c.tryIssue(t, name); (err != nil) != bound || bound && !strings.Contains(err.Error(), "was revoked") {
					t.Errorf("%s: a key issued after the revoke: %v", name, err)
				}
			}
		})
	}
}

// at is the names at one vendor.
func at(vendor string, names ...string) []string {
	var all []string
	for _, n := range names {
		all = append(all, n+" at "+vendor)
	}
	slices.Sort(all)
	return all
}

// A stop that reached a tenant nobody had opened reaches it when it is opened.
func TestAStopForEverybodyBindsTenantsOfTomorrow(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.Pause(t.Context(), keybrake.Everything()); err != nil {
		t.Fatal(err)
	}
	g := grant("run_1", everything())
	g.Tenant = "tomorrow"
	key, err := w.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if d := denial(t, w.Transport(nil), request(t, "GET", chargesURL, key.Token(), "", "")); d == nil || d.Reason != reason.KeyPaused {
		t.Errorf("got %v", d)
	}
	if _, err := w.Revoke(t.Context(), keybrake.Everything()); err != nil {
		t.Fatal(err)
	}
	g.Tenant = "the-day-after"
	if key, err := w.Issue(t.Context(), g); err == nil || key.Token() != "" {
		t.Errorf("a key was issued after everything was revoked: %v", err)
	}
}

func TestASelectorThatNamesNothingIsAnError(t *testing.T) {
	l := &watched{}
	w := newWorld(t, watch(l))
	key := w.issue(t, "run_1", everything())
	l.asked()
	for name, s := range map[string]keybrake.Selector{
		"zero": {}, "a reason alone": keybrake.Selector{}.Because("it loops"),
		"no tenant": keybrake.ByRun("", "run_1"), "a key of no tenant": keybrake.ByKey("", key.ID), "no vendor": keybrake.ByVendorEverywhere(""),
		"no tenant's tenant": keybrake.ByTenant(""),
		// A name that is empty, where something narrower was meant, must not select all of the tenant.
		"no run": keybrake.ByRun("acme", ""), "no agent": keybrake.ByAgent("acme", ""), "no label": keybrake.ByLabel("acme", ""),
		"no key": keybrake.ByKey("acme", ""), "no vendor of a tenant": keybrake.ByVendor("acme", ""),
	} {
		for verb, do := range map[string]func(context.Context, keybrake.Selector) (keybrake.Report, error){
			"revoke": w.Revoke, "pause": w.Pause, "resume": w.Resume,
		} {
			if report, err := do(t.Context(), s); err == nil || len(report.Tenants) > 0 || !strings.HasPrefix(err.Error(), "keybrake: "+verb) {
				t.Errorf("%s %s: %v, %v", verb, name, report, err)
			}
		}
	}
	if verbs := l.asked(); len(verbs) > 0 {
		t.Errorf("the ledger was asked to %v", verbs)
	}
	if d := denial(t, w.Transport(nil), request(t, "GET", chargesURL, key.Token(), "", "")); d != nil {
		t.Errorf("after all that the key is stopped: %v", d)
	}
}

// A stop is for calls to come. What is being sent already is booked as if nothing had happened.
func TestTheCallInFlightIsSettledNormally(t *testing.T) {
	w := newWorld(t, nil)
	w.fake.SeedCharge("ch_1", 5000, "usd")
	key := w.issue(t, "run_1", everything())
	release := make(chan struct{})
	w.fake.Misbehave(fakevendor.Fault{Method: "POST", Kind: fakevendor.BlockBefore, Hold: release})
	done := make(chan *keybrake.Denial)
	go func() {
		done <- denial(t, w.Transport(nil), request(t, "POST", refundsURL, key.Token(), formType, "charge=ch_1&amount=2000"))
	}()
	arrived(t, w.fake, 2) // the look at the charge, and the refund
	if _, err := w.Revoke(t.Context(), keybrake.ByRun("acme", "run_1")); err != nil {
		t.Fatal(err)
	}
	if d := denial(t, w.Transport(nil), request(t, "GET", chargesURL, key.Token(), "", "")); d == nil || d.Reason != reason.KeyRevoked {
		t.Errorf("after the stop: %v", d)
	}
	close(release)
	if d := <-done; d != nil {
		t.Errorf("the call in flight: %v", d)
	}
	states, err := w.Balance(t.Context(), key.Token())
	if err != nil || states[0].Spent != 20_000_000 || states[0].Held != 0 {
		t.Errorf("%v, %v", states, err)
	}
	if r := last(w.sink.Records(), audit.Outcome); r.Outcome != "executed" {
		t.Errorf("the record says %+v", r)
	}
}

// A sink that is down must not keep an agent running.
func TestAStopWhoseRecordFailsStillStops(t *testing.T) {
	for name, stop := range map[string]func(*world, keybrake.Selector) (keybrake.Report, error){
		"revoke": func(w *world, s keybrake.Selector) (keybrake.Report, error) { return w.Revoke(context.Background(), s) },
		"pause":  func(w *world, s keybrake.Selector) (keybrake.Report, error) { return w.Pause(context.Background(), s) },
	} {
		w := newWorld(t, nil)
		key := w.issue(t, "run_1", everything())
		w.sink.Fail(errors.New("disk full"))
		if report, err := stop(w, keybrake.ByRun("acme", "run_1")); err != nil || len(report.Tenants) != 1 {
			t.Errorf("%s: %v, %v", name, report, err)
		}
		w.sink.Fail(nil)
		if d := denial(t, w.Transport(nil), request(t, "GET", chargesURL, key.Token(), "", "")); d == nil || d.Status != 401 {
			t.Errorf("%s: %v", name, d)
		}
		if log := w.log.String(); !strings.Contains(log, "disk full") || !strings.Contains(log, name+" tenant:acme run:run_1") {
			t.Errorf("%s: the log says %q", name, log)
		}
	}
}

func TestResumeWhoseRecordFailsResumesNothing(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	if _, err := w.Pause(t.Context(), keybrake.ByRun("acme", "run_1")); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	w.sink.Fail(full)
	if _, err := w.Resume(t.Context(), keybrake.ByRun("acme", "run_1")); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	w.sink.Fail(nil)
	if d := denial(t, w.Transport(nil), request(t, "GET", chargesURL, key.Token(), "", "")); d == nil || d.Reason != reason.KeyPaused {
		t.Errorf("got %v", d)
	}
}

// A stop that the ledger did not carry out is an error, and the record says that it is not whole.
func TestAStopThatTheLedgerDidNotCarryOutIsAnError(t *testing.T) {
	l := &watched{}
	w := newWorld(t, watch(l))
	partial := &ledger.PartialError{Tenants: []string{"globex"}, Err: errors.New("no answer")}
	l.before = func(context.Context, string) error { return partial }
	_, err := w.Revoke(t.Context(), keybrake.Everything().Because("incident 7"))
	var got *ledger.PartialError
	if !errors.As(err, &got) || !slices.Equal(got.Tenants, []string{"globex"}) || !strings.Contains(err.Error(), "globex") {
		t.Errorf("got %v", err)
	}
	if r := last(w.sink.Records(), audit.Control); r.Detail != "revoke all, not wholly carried out: incident 7" {
		t.Errorf("the record says %q", r.Detail)
	}
}

// The record of a control names what it selects, so that it is found under it.
func TestTheRecordOfAControlNamesWhatItSelects(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	for want, s := range map[string]keybrake.Selector{
		"acme|||" + key.ID + "|": keybrake.ByKey("acme", key.ID),
		"acme||run_1||":          keybrake.ByRun("acme", "run_1"),
		"acme|refund-bot|||":     keybrake.ByAgent("acme", "refund-bot"),
		"acme||||stripe":         keybrake.ByVendor("acme", "stripe"),
		"||||stripe":             keybrake.ByVendorEverywhere("stripe"),
		"acme||||":               keybrake.ByTenant("acme"),
		"||||":                   keybrake.Everything(),
	} {
		if _, err := w.Pause(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		r := last(w.sink.Records(), audit.Control)
		if got := fmt.Sprintf("%s|%s|%s|%s|%s", r.Tenant, r.Agent, r.Run, r.Key, r.Vendor); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}

// last is the newest record of a kind.
func last(records []audit.Record, kind audit.Kind) audit.Record {
	of := ofKind(records, kind)
	if len(of) == 0 {
		return audit.Record{}
	}
	return of[len(of)-1]
}

// arrived waits until n requests have reached the fake vendor. The test's own timeout ends it.
func arrived(t testing.TB, fake *fakevendor.Server, n int) {
	t.Helper()
	for len(fake.Received()) < n {
		select {
		case <-t.Context().Done():
			t.Fatalf("%d requests arrived, want %d", len(fake.Received()), n)
		default:
			time.Sleep(time.Millisecond)
		}
	}
}
