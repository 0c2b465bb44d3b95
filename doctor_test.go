package keybrake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

// allow is a policy of rules for these patterns.
func allow(patterns ...string) policy.Policy {
	p := policy.Policy{Budgets: []policy.Budget{policy.Lifetime(policy.USD("10"))}}
	for _, pattern := range patterns {
		p.Allow = append(p.Allow, policy.Rule{Operation: cost.Pattern(pattern)})
	}
	return p
}

// clinic is a world whose credentials are these, by vendor.
func clinic(t *testing.T, refs map[string]string, change func(*keybrake.Config)) *world {
	return newWorld(t, func(c *keybrake.Config) {
		c.Credentials = credentials.Static(refs)
		if change != nil {
			change(c)
		}
	})
}

// Of each kind of credential: what it is, whether it is more than these policies need, and what to do.
func TestDoctor(t *testing.T) {
	refunds := []string{"stripe.refunds.create", "stripe.charges.retrieve"}
	texts, mails := []string{"twilio.messages.create"}, []string{"resend.emails.send"}
	key := func(start string) string {
		return twilioAccount + ":" + start + strings.Repeat("0", 34-len(start)) + ":" + twilioSecret
	}
	for name, tt := range map[string]struct {
		vendor, secret string
		live           bool
		needs          []string
		fit            vendors.Fit
		says           []string
	}{
		"stripe, full": {"stripe", stripeSecret, false, refunds, vendors.Wider, []string{
			"a full secret key of test mode", "payout destinations included", "make a restricted key with charges (read), payment_intents (read), refunds (write);",
		}},
		"stripe, full and live":                            {"stripe", "sk_live_51abc", true, []string{"stripe.customers.*"}, vendors.Wider, []string{"a full secret key of live mode", "with customers (write);"}},
		"stripe, full, for what a wildcard does not reach": {"stripe", stripeSecret, false, []string{"stripe.accounts.capabilities.*"}, vendors.Wider, []string{"with accounts (read);"}},
		"stripe, full, for all":                            {"stripe", stripeSecret, false, []string{"stripe.*"}, vendors.Wider, []string{"name in the policies only what the agents need"}},
		"stripe, restricted":                               {"stripe", "rk_test_51abc", false, refunds, vendors.Fits, []string{"a restricted key of test mode"}},
		"stripe, restricted to nothing":                    {"stripe", fakevendor.WideKey + "51", false, refunds, vendors.Wider, []string{"a restricted key of test mode", "it reads the webhook endpoints, which these policies do not need"}},
		"stripe, restricted to what needs":                 {"stripe", fakevendor.WideKey + "51", false, []string{"stripe.webhook_endpoints.list"}, vendors.Fits, nil},
		"stripe, of the other mode":                        {"stripe", "sk_live_51abc", false, refunds, vendors.Refused, []string{"it cannot be used: the credential is live and the key is not"}},
		"stripe, of no form":                               {"stripe", "pk_test_51abc", false, refunds, vendors.Refused, []string{"publishable keys"}},

		"twilio, token":      {"twilio", twilioAccount + ":" + twilioSecret, false, texts, vendors.Wider, []string{"the account's auth token", "make a restricted API key", "for twilio.messages.create, with reading too"}},
		"twilio, test token": {"twilio", twilioAccount + ":" + fakevendor.TestToken + twilioSecret, false, texts, vendors.Fits, []string{"test credentials, which send nothing"}},
		"twilio, main":       {"twilio", key(fakevendor.MainKey), false, texts, vendors.Wider, []string{"a main API key", "make further keys included"}},
		"twilio, standard":   {"twilio", key("SKb"), false, texts, vendors.Wider, []string{"a standard API key", "everything but manage accounts and keys"}},
		"twilio, restricted": {"twilio", key(fakevendor.RestrictedKey), false, texts, vendors.Untold, []string{"a restricted API key, or one that Twilio does not accept"}},

		"resend, full":                 {"resend", resendSecret, false, mails, vendors.Wider, []string{"a key with full access", "make a key with sending access"}},
		"resend, full, for more":       {"resend", resendSecret, false, []string{"resend.emails.*"}, vendors.Fits, []string{"a key with full access", "nothing narrower"}},
		"resend, sending":              {"resend", fakevendor.SendingKey + "51", false, append(mails, "resend.emails.batch"), vendors.Fits, []string{"a key with sending access"}},
		"resend, sending, for reading": {"resend", fakevendor.SendingKey + "51", false, []string{"resend.emails.list"}, vendors.Narrower, []string{"Resend will refuse resend.emails.list"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := clinic(t, map[string]string{"ref": tt.secret}, nil)
			g := keybrake.Grant{Credentials: map[string]string{tt.vendor: "ref"}, Policy: allow(tt.needs...), Live: tt.live}
			findings, err := w.Doctor(t.Context(), g)
			if err != nil || len(findings) != 1 {
				t.Fatalf("got %v, %v", findings, err)
			}
			f := findings[0]
			if f.Vendor != tt.vendor || f.Credential != "ref" || f.Live != tt.live || f.Fit != tt.fit {
				t.Errorf("got %+v, want it to be %s", f, tt.fit)
			}
			for _, part := range tt.says {
				if !strings.Contains(f.String(), part) {
					t.Errorf("%s\ndoes not say %q", f, part)
				}
			}
			for _, part := range strings.Split(tt.secret, ":") {
				if strings.Contains(f.String(), part) {
					t.Errorf("%s\nshows the credential", f)
				}
			}
			sent := w.fake.Received()
			controls := ofKind(w.sink.Records(), audit.Control)
			if len(sent) != len(controls) || len(sent) > 2 || len(w.fake.Executions()) > 0 {
				t.Errorf("%d requests and %d records", len(sent), len(controls))
			}
			for i, r := range sent {
				if r.Method != http.MethodGet || len(r.Body) > 0 {
					t.Errorf("it sent %s %s", r.Method, r.Path)
				}
				if c := controls[i]; c.Vendor != tt.vendor || c.Credential != "ref" || c.Operation == "" || c.Time.After(r.Time) {
					t.Errorf("the record of %s is %+v", r.Path, c)
				}
			}
		})
	}
}

// What is needed of a credential is what all the grants that use it let through, and there is one finding of it.
func TestDoctorJoinsGrants(t *testing.T) {
	w := newWorld(t, nil)
	read := policy.Policy{Allow: []policy.Rule{{Operation: "resend.*", ReadOnly: true}, {Operation: "stripe.*", ReadOnly: true}}}
	findings, err := w.Doctor(t.Context(),
		keybrake.Grant{Credentials: map[string]string{"resend": "resend", "stripe": "stripe"}, Policy: read},
		keybrake.Grant{Credentials: map[string]string{"resend": "resend"}, Policy: allow("resend.emails.send")},
		keybrake.Grant{Credentials: map[string]string{"twilio": "twilio"}, Policy: read})
	if err != nil || len(findings) != 3 {
		t.Fatalf("got %v, %v", findings, err)
	}
	if f := findings[0]; f.Vendor != "resend" || f.Fit != vendors.Fits {
		t.Errorf("got %s", f) // one of the two reads, which a sending key could not
	}
	if f := findings[2]; f.Vendor != "twilio" || f.Fit != vendors.Wider || !strings.Contains(f.String(), "let no operation of twilio through; leave it out of Grant.Credentials") {
		t.Errorf("got %s", f)
	}
	// Nobody needs Twilio's, so it was not asked about.
	if n := len(w.fake.Received()); n != 2 {
		t.Errorf("%d requests", n)
	}
	if got, err := w.Doctor(t.Context()); err == nil || got != nil {
		t.Errorf("of no grants: %v, %v", got, err)
	}
}

// Operations that are delicate are needed where a rule names them in full, those that are hard-denied never, and all that
// can go through where a policy is only observed.
func TestDoctorNeedsWhatGoesThrough(t *testing.T) {
	sending := fakevendor.SendingKey + "51"
	for name, tt := range map[string]struct {
		p   policy.Policy
		fit vendors.Fit
	}{
		"observed":           {policy.Policy{InsecureObserve: true}, vendors.Narrower},
		"hard-denied":        {allow("resend.emails.send", "resend.api_keys.create"), vendors.Fits},
		"delicate, by name":  {allow("resend.emails.send", "resend.emails.update"), vendors.Narrower},
		"delicate, read":     {policy.Policy{Allow: []policy.Rule{{Operation: "resend.emails.send"}, {Operation: "resend.emails.update", ReadOnly: true}}}, vendors.Fits},
		"a write, read-only": {policy.Policy{Allow: []policy.Rule{{Operation: "resend.emails.send"}, {Operation: "resend.emails.cancel", ReadOnly: true}}}, vendors.Fits},
	} {
		w := clinic(t, map[string]string{"ref": sending}, nil)
		findings, err := w.Doctor(t.Context(), keybrake.Grant{Credentials: map[string]string{"resend": "ref"}, Policy: tt.p})
		if err != nil || findings[0].Fit != tt.fit {
			t.Errorf("%s: %v, %v", name, findings, err)
		}
	}
}

// A credential that the vendor does not accept is a finding, and is fetched anew afterwards.
func TestDoctorOnCredentialsThatAreRefused(t *testing.T) {
	for vendor, secret := range map[string]string{"stripe": stripeSecret, "twilio": twilioAccount + ":" + twilioSecret, "resend": resendSecret} {
		fetched := 0
		w := newWorld(t, func(c *keybrake.Config) {
			c.Credentials = credentials.SourceFunc(func(context.Context, string) (credentials.Credential, error) {
				fetched++
				return credentials.New(secret), nil
			})
		})
		w.fake.AllowCredentials(vendor)
		g := keybrake.Grant{Credentials: map[string]string{vendor: "ref"}, Policy: allow(vendor + ".*")}
		for range 2 {
			findings, err := w.Doctor(t.Context(), g)
			if err != nil || findings[0].Fit != vendors.Refused || !strings.Contains(findings[0].Why, "does not accept it") {
				t.Errorf("%s: %v, %v", vendor, findings, err)
			}
		}
		if fetched != 2 {
			t.Errorf("%s: fetched %d times", vendor, fetched)
		}
	}
}

func TestDoctorOnCredentialsThatAreNotThere(t *testing.T) {
	w := newWorld(t, func(c *keybrake.Config) {
		c.Credentials = credentials.SourceFunc(func(context.Context, string) (credentials.Credential, error) {
			return credentials.Credential{}, errors.New("the store is closed")
		})
	})
	findings, err := w.Doctor(t.Context(), keybrake.Grant{Credentials: map[string]string{"stripe": "ref"}, Policy: allow("stripe.*")})
	if err != nil || findings[0].Fit != vendors.Refused || !strings.HasPrefix(findings[0].Why, "it cannot be used: ") || len(w.fake.Received()) > 0 {
		t.Errorf("got %v, %v", findings, err)
	}
}

// Who has written the credential itself where its reference belongs is told so, and it is not told to the log.
func TestDoctorOnACredentialInPlaceOfItsReference(t *testing.T) {
	w := newWorld(t, nil)
	for name, tt := range map[string]struct {
		policy policy.Policy
		vendor string
		secret string
	}{
		"of one part":          {allow("stripe.*"), "stripe", stripeSecret},
		"of two parts":         {allow("twilio.*"), "twilio", twilioAccount + ":" + twilioSecret},
		"that nothing needs":   {allow("resend.*"), "stripe", stripeSecret},
		"of another vendor":    {allow("resend.*"), "resend", stripeSecret},
		"not of this brake's":  {allow("stripe.*"), "stripe", "sk_live_another4secret"},
		"while nobody records": {allow("stripe.*"), "stripe", stripeSecret},
	} {
		if name == "while nobody records" {
			w.sink.Fail(errors.New("full"))
		}
		findings, err := w.Doctor(t.Context(), keybrake.Grant{Credentials: map[string]string{tt.vendor: tt.secret}, Policy: tt.policy})
		text := fmt.Sprintf("%v %+v %v %+v %s", findings, findings, err, w.sink.Records(), w.log)
		if len(findings) != 1 || findings[0].Fit != vendors.Refused || !strings.Contains(findings[0].Why, "not the reference of one") || len(w.fake.Received()) > 0 {
			t.Errorf("%s: got %v, %v", name, findings, err)
		}
		if part := tt.secret[strings.LastIndexAny(tt.secret, ":_")+1:]; strings.Contains(text, part) {
			t.Errorf("%s: it stands in %s", name, text)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := w.Doctor(ended, keybrake.Grant{Credentials: map[string]string{"stripe": stripeSecret}, Policy: allow("stripe.*")}); err == nil || strings.Contains(err.Error(), stripeSecret) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// What a vendor says instead of an answer is not shown, and decides nothing that the credential's form does not.
func TestDoctorAmongStrangeAnswers(t *testing.T) {
	const canary = "CANARY-said-by-the-vendor"
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"an error":    func(*http.Request) (*http.Response, error) { return nil, errors.New(canary) },
		"a page":      say(502, "<h1>"+canary),
		"no JSON":     say(403, canary),
		"a teapot":    say(418, `{"name":"`+canary+`"}`),
		"a redirect":  say(302, canary),
		"a long one":  say(200, strings.Repeat(canary, 1<<12)),
		"a number":    say(401, `{"name":7,"code":"`+canary+`"}`),
		"its request": func(r *http.Request) (*http.Response, error) { return say(403, r.Header.Get("Authorization"))(r) },
	} {
		w := newWorld(t, func(c *keybrake.Config) { c.Base, c.MaxReply = roundTrips(answer), 16<<10 })
		findings, err := w.Doctor(t.Context(), grant("run", everything()))
		if err != nil || len(findings) != 3 {
			t.Fatalf("%s: %v, %v", name, findings, err)
		}
		for _, f := range findings {
			text := fmt.Sprintf("%v %+v %#v", f, f, f)
			if strings.Contains(text, "CANARY") || strings.Contains(text, twilioSecret) || strings.Contains(text, resendSecret) || strings.Contains(text, stripeSecret) {
				t.Errorf("%s: %s", name, text)
			}
			// Of Stripe and Twilio the form tells that it is the whole account; of Resend nothing does.
			if f.Vendor == "resend" && f.Fit != vendors.Untold || f.Vendor != "resend" && f.Fit != vendors.Wider && f.Fit != vendors.Refused {
				t.Errorf("%s: %s", name, f)
			}
		}
	}
}

func say(status int, body string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Location": {"https://elsewhere.test/"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

type roundTrips func(*http.Request) (*http.Response, error)

func (f roundTrips) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A vendor that hangs costs no more than the time that a call has, and a caller who leaves is told so.
func TestDoctorWaitsNoLonger(t *testing.T) {
	hang := roundTrips(func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() })
	w := newWorld(t, func(c *keybrake.Config) { c.Base, c.CallTimeout = hang, 20*time.Millisecond })
	g := keybrake.Grant{Credentials: map[string]string{"resend": "resend"}, Policy: allow("resend.emails.send")}
	findings, err := w.Doctor(t.Context(), g)
	if err != nil || findings[0].Fit != vendors.Untold || findings[0].Why != "Resend gave no answer that tells" {
		t.Errorf("got %v, %v", findings, err)
	}
	gone := errors.New("the caller left")
	ctx, leave := context.WithCancelCause(t.Context())
	w = newWorld(t, func(c *keybrake.Config) {
		c.Base = roundTrips(func(r *http.Request) (*http.Response, error) { leave(gone); return hang(r) })
	})
	if findings, err := w.Doctor(ctx, g); !errors.Is(err, gone) || findings != nil {
		t.Errorf("got %v, %v", findings, err)
	}
	ctx, leave = context.WithCancelCause(t.Context())
	w = newWorld(t, func(c *keybrake.Config) {
		c.Credentials = credentials.SourceFunc(func(ctx context.Context, _ string) (credentials.Credential, error) {
			leave(gone)
			<-ctx.Done()
			return credentials.Credential{}, ctx.Err()
		})
	})
	if findings, err := w.Doctor(ctx, g); !errors.Is(err, gone) || findings != nil {
		t.Errorf("of a store that hangs: %v, %v", findings, err)
	}
}

func TestDoctorErrors(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.Doctor(t.Context(), keybrake.Grant{Credentials: map[string]string{"paypal": "p"}}); err == nil || err.Error() != `keybrake: doctor: this brake has no vendor "paypal"` {
		t.Errorf("got %v", err)
	}
	w.sink.Fail(errors.New("full"))
	_, err := w.Doctor(t.Context(), keybrake.Grant{Credentials: map[string]string{"stripe": "stripe"}, Policy: allow("stripe.*")})
	if err == nil || !strings.Contains(err.Error(), "the audit sink did not take the record, so nothing is asked") || len(w.fake.Received()) > 0 {
		t.Errorf("got %v after %d requests", err, len(w.fake.Received()))
	}
}

// An adapter of one's own is bound as the others are: it sends to its vendor alone, twice at most, and cannot fail the
// program.
func TestDoctorHoldsAdaptersToTheirPart(t *testing.T) {
	for name, tt := range map[string]struct {
		examine func(*vendors.Exam) vendors.Diagnosis
		why     string
		sent    int
	}{
		"nothing to say": {nil, "resend does not tell what a credential may do", 0},
		"another host": {func(*vendors.Exam) vendors.Diagnosis {
			return vendors.Diagnosis{Look: &vendors.Probe{Host: "api.stripe.com", Path: "/"}}
		}, "the adapter asks for more than it may see", 0},
		"no host": {func(*vendors.Exam) vendors.Diagnosis {
			return vendors.Diagnosis{Look: &vendors.Probe{Path: "/"}}
		}, "the adapter asks for more than it may see", 0},
		"without end": {func(*vendors.Exam) vendors.Diagnosis {
			return vendors.Diagnosis{Look: &vendors.Probe{Host: kbresend.Host, Path: "/domains"}}
		}, "the adapter asks for more than it may see", 2},
		"a panic":    {func(*vendors.Exam) vendors.Diagnosis { panic("oh") }, "the adapter failed", 0},
		"the secret": {func(*vendors.Exam) vendors.Diagnosis { return vendors.Diagnosis{Why: "it is " + resendSecret} }, "it is [keybrake: credential removed]", 0},
	} {
		w := newWorld(t, func(c *keybrake.Config) {
			c.Vendors = slices.Clone(c.Vendors)
			c.Vendors[2].Examine = tt.examine
		})
		findings, err := w.Doctor(t.Context(), keybrake.Grant{Credentials: map[string]string{"resend": "resend"}, Policy: allow("resend.*")})
		if err != nil || findings[0].Fit != vendors.Untold || findings[0].Why != tt.why || len(w.fake.Received()) != tt.sent {
			t.Errorf("%s: %v, %v, after %d requests", name, findings, err, len(w.fake.Received()))
		}
	}
}

// The page shows the example as it is run.
func TestDoctorsPage(t *testing.T) {
	page, err := os.ReadFile("docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("doctor_example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(source), "// begin of the page's part\n")
	shown, rest, _ := strings.Cut(shown, "\t// end of it\n")
	_, output, _ := strings.Cut(rest, "// Output:\n")
	output, _, _ = strings.Cut(output, "}")
	plain := func(s, indent string) string { return strings.TrimSpace(strings.ReplaceAll("\n"+s, "\n"+indent, "\n")) }
	for _, part := range []string{plain(shown, "\t"), plain(output, "\t// ")} {
		if part == "" || !strings.Contains(string(page), "\n"+part+"\n```") {
			t.Errorf("docs/doctor.md does not show:\n%s", part)
		}
	}
}
