package keybrake_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/resend/resend-go/v2"
	"github.com/stripe/stripe-go/v76"
	twilioapi "github.com/twilio/twilio-go/rest/api/v2010"
	conversations "github.com/twilio/twilio-go/rest/conversations/v2"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// This file is the table of sdk_test.go: how each reason comes about, for each SDK, from the key to the vendor.

// refusalRows covers package reason's table.
func refusalRows(t *testing.T) []refusalRow {
	stranger, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	emptied, restored, stopped, nobody := memory.New(), memory.New(), memory.New(), nobodyListens(t)
	slow, fast := memory.New(), memory.New()
	slow.Now = func() time.Time { return time.Now().Add(-3 * time.Hour) }
	fast.Now = func() time.Time { return time.Now().Add(3 * time.Hour) }
	return []refusalRow{
		{code: reason.KeyMissing, by: onTheWay(func(r *http.Request) { r.Header.Del("Authorization") })},
		{code: reason.KeyMalformed, how: "cut", by: func(s *sdkStage) { s.before = func(*keybrake.Brake) { s.token = s.token[:len(s.token)-1] } }},
		{
			code: reason.KeyMalformed, how: "nothing of anybody's",
			by:  func(s *sdkStage) { s.before = func(*keybrake.Brake) { s.token = "hunter2" } },
			not: map[string]string{twilioGo: noForm, twilioV1: noForm},
		},
		{code: reason.KeyAmbiguous, by: onTheWay(func(r *http.Request) { r.Header.Add("Authorization", "Bearer other") })},
		{code: reason.KeyReal, by: func(s *sdkStage) {
			s.before = func(*keybrake.Brake) {
				s.token = map[string]string{"stripe": stripeSecret, "twilio": twilioSecret, "resend": resendSecret}[s.vendor()]
			}
		}},
		{code: reason.KeyUntrusted, by: simply, enforce: func(c *keybrake.Config) { c.Issuer = stranger }},
		{code: reason.KeyNotYet, by: func(s *sdkStage) { s.grant.NotBefore = time.Now().Add(time.Hour) }},
		{
			code: reason.KeyExpired, how: "by the clock of the process",
			enforce: func(c *keybrake.Config) { c.Ledger = slow },
			by: func(s *sdkStage) {
				s.grant.NotBefore = time.Now().Add(-2 * time.Hour)
				s.before = func(*keybrake.Brake) { s.openIn(slow) }
			},
		},
		{
			code: reason.KeyExpired, how: "by the clock of the ledger",
			enforce: func(c *keybrake.Config) { c.Ledger = fast },
			by:      func(s *sdkStage) { s.before = func(*keybrake.Brake) { s.openIn(fast) } },
		},
		{code: reason.KeyUnknown, how: "the ledger was emptied", by: simply, enforce: func(c *keybrake.Config) { c.Ledger = emptied }},
		{code: reason.KeyRevoked, how: "by run", by: func(s *sdkStage) {
			s.before = func(b *keybrake.Brake) { s.stop(b.Revoke, keybrake.ByRun(s.grant.Tenant, "run_1")) }
		}},
		{
			code: reason.KeyRevoked, how: "everywhere",
			enforce: func(c *keybrake.Config) { c.Ledger = stopped },
			by: func(s *sdkStage) {
				s.before = func(b *keybrake.Brake) { s.openIn(stopped); s.stop(b.Revoke, keybrake.Everything()) }
			},
		},
		{code: reason.KeyPaused, by: func(s *sdkStage) {
			s.before = func(b *keybrake.Brake) { s.stop(b.Pause, keybrake.ByAgent(s.grant.Tenant, "refund-bot")) }
		}},
		{code: reason.KeyFrozen, how: "after the vendor took twice", by: func(s *sdkStage) {
			s.before = func(b *keybrake.Brake) {
				s.fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.Overcharge})
				if err := makeRefund(nil)(b.Client(), s.token); err != nil {
					s.t.Fatal(err)
				}
			}
		}},
		{code: reason.KeyPeer, by: func(s *sdkStage) { s.grant.Peer = keybrake.PeerUID(1000) }},
		{code: reason.KeyVendor, by: func(s *sdkStage) {
			other := "resend"
			if s.vendor() == other {
				other = "stripe"
			}
			s.grant.Credentials = map[string]string{other: other}
			s.grant.Policy.Allow = []policy.Rule{{Operation: cost.Pattern(other + ".*")}}
		}},

		{code: reason.RequestInvalid, how: "another Host header", by: onTheWay(func(r *http.Request) { r.Host = "evil.example" })},
		{
			code: reason.RequestInvalid, how: "a path that leads elsewhere",
			by: onTheWay(func(r *http.Request) { r.URL.Path = "/v1/../" + strings.TrimPrefix(r.URL.Path, "/") }),
			own: map[string]provocation{twilioGo: callsInstead(func(hc *http.Client, token string) error {
				_, err := twilioSDK(hc, twilioAccount, twilioAccount, token).Api.FetchMessage("../Calls/CA1", nil)
				return err
			})},
		},
		{
			code: reason.HostUnknown, how: "a host of the vendor's that the catalogue does not have",
			by: onTheWay(func(r *http.Request) { r.URL.Host, r.Host = "status."+r.URL.Host, "" }),
			own: map[string]provocation{
				twilioGo: callsInstead(func(hc *http.Client, token string) error {
					c := twilioSDK(hc, twilioAccount, twilioAccount, token)
					c.SetRegion("nowhere")
					_, err := c.LookupsV2.FetchPhoneNumber("+14155550100", nil)
					return err
				}),
			},
		},
		{code: reason.HostUnknown, how: "not https", by: onTheWay(func(r *http.Request) { r.URL.Scheme = "http" })},
		{code: reason.HeaderDenied, by: onTheWay(func(r *http.Request) { r.Header.Set("X-HTTP-Method-Override", "DELETE") })},
		{code: reason.BodyInvalid, how: "another content type", by: onTheWay(func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") })},
		{code: reason.BodyInvalid, how: "shorter than announced", by: onTheWay(func(r *http.Request) { r.ContentLength = 5000 })},
		{
			code: reason.ParamDuplicate,
			own: map[string]provocation{
				stripeGo:    callsInstead(makeRefund(func(p *stripe.RefundParams) { p.AddExtra("amount", "99999") })),
				twilioGo:    rewriting(func(body string) string { return body + "&To=%2B14155550101" }),
				twilioV1:    rewriting(func(body string) string { return strings.Replace(body, "{", `{"type":"OTHER",`, 1) }),
				resendGo:    rewriting(func(body string) string { return strings.Replace(body, "{", `{"subject":"Other",`, 1) }),
				plainHTTP:   callsInstead(postIntent(func(form url.Values, _ http.Header) { form.Add("amount", "1") })),
				plainErrors: callsInstead(postIntent(func(form url.Values, _ http.Header) { form.Add("amount", "1") })),
			},
		},
		{
			code: reason.ParamInvalid,
			own: map[string]provocation{
				stripeGo:    callsInstead(makeRefund(func(p *stripe.RefundParams) { p.Amount = stripe.Int64(-2000) })),
				twilioGo:    callsInstead(sendText(func(p *twilioapi.CreateMessageParams) { p.SetTo("0415555") })),
				twilioV1:    callsInstead(sendAction(func(r *conversations.CreateConversationActionRequest) { r.Type = "START_CALL" })),
				resendGo:    callsInstead(sendMail(func(r *resend.SendEmailRequest, _ *resend.SendEmailOptions) { r.To = []string{"nobody"} })),
				plainHTTP:   callsInstead(postIntent(func(form url.Values, _ http.Header) { form.Set("currency", "dollars") })),
				plainErrors: callsInstead(postIntent(func(form url.Values, _ http.Header) { form.Set("currency", "dollars") })),
			},
		},
		{
			code: reason.ParamUnknown,
			own: map[string]provocation{
				stripeGo:    callsInstead(makeRefund(func(p *stripe.RefundParams) { p.AddExtra("hasty", "true") })),
				twilioGo:    rewriting(func(body string) string { return body + "&Hasty=true" }),
				twilioV1:    rewriting(func(body string) string { return strings.Replace(body, "{", `{"hasty":true,`, 1) }),
				resendGo:    rewriting(func(body string) string { return strings.Replace(body, "{", `{"hasty":true,`, 1) }),
				plainHTTP:   callsInstead(postIntent(func(form url.Values, _ http.Header) { form.Set("hasty", "true") })),
				plainErrors: callsInstead(postIntent(func(form url.Values, _ http.Header) { form.Set("hasty", "true") })),
			},
		},
		{
			code: reason.ParamRedirects,
			own: map[string]provocation{
				stripeGo: callsInstead(makeRefund(func(p *stripe.RefundParams) { p.SetStripeAccount("acct_1") })),
				twilioGo: callsInstead(sendText(func(p *twilioapi.CreateMessageParams) { p.SetStatusCallback("https://evil.example/") })),
				twilioV1: callsInstead(sendAction(func(r *conversations.CreateConversationActionRequest) {
					r.Payload.Content.MediaUrls = []string{"https://evil.example/"}
				})),
				resendGo: callsInstead(sendMail(func(r *resend.SendEmailRequest, _ *resend.SendEmailOptions) {
					r.Headers = map[string]string{"X-Other": "1"}
				})),
				plainHTTP:   callsInstead(postIntent(func(_ url.Values, h http.Header) { h.Set("Stripe-Account", "acct_1") })),
				plainErrors: callsInstead(postIntent(func(form url.Values, _ http.Header) { form.Set("on_behalf_of", "acct_1") })),
			},
		},
		{code: reason.ParamDenied, by: oneRule(func(r *policy.Rule) { r.Params = policy.Params{"approved_by": policy.OneOf("a person")} })},
		{
			code: reason.AccountMismatch,
			own: map[string]provocation{
				twilioGo: callsInstead(func(hc *http.Client, token string) error {
					other := strings.Replace(twilioAccount, "0", "1", 1)
					_, err := twilioSDK(hc, other, twilioAccount, token).Api.FetchMessage("SM0123456789abcdef0123456789abcdef", nil)
					return err
				}),
				twilioV1: callsInstead(func(hc *http.Client, token string) error {
					other := strings.Replace(twilioAccount, "0", "1", 1)
					return runAction(twilioSDK(hc, other, other, token), nil)
				}),
			},
			not: map[string]string{
				stripeGo:    "a Stripe key names no account",
				resendGo:    "a Resend key names no account",
				plainHTTP:   "a Stripe key names no account",
				plainErrors: "a Stripe key names no account",
			},
		},
		{
			code: reason.OperationUnknown,
			by:   onTheWay(func(r *http.Request) { r.URL.Path += "s" }),
			own: map[string]provocation{
				twilioGo: callsInstead(func(hc *http.Client, token string) error {
					_, err := twilioSDK(hc, "", twilioAccount, token).Api.CreateMessage((&twilioapi.CreateMessageParams{}).SetTo("+14155550100"))
					return err // an account that was forgotten
				}),
				resendGo: callsInstead(func(hc *http.Client, token string) error {
					_, err := resend.NewCustomClient(hc, token).Domains.Get("acme.com") // an id is none
					return err
				}),
			},
		},
		{
			code: reason.OperationHardDenied,
			own: map[string]provocation{
				stripeGo: callsInstead(func(hc *http.Client, token string) error {
					_, err := stripeSDK(hc, token).WebhookEndpoints.New(&stripe.WebhookEndpointParams{URL: stripe.String("https://evil.example/")})
					return err
				}),
				twilioGo: callsInstead(func(hc *http.Client, token string) error {
					_, err := twilioSDK(hc, twilioAccount, twilioAccount, token).Api.CreateNewKey(nil)
					return err
				}),
				resendGo: callsInstead(func(hc *http.Client, token string) error {
					_, err := resend.NewCustomClient(hc, token).ApiKeys.Create(&resend.CreateApiKeyRequest{Name: "mine"})
					return err
				}),
				plainHTTP:   onTheWay(func(r *http.Request) { r.URL.Path = "/v1/tokens" }),
				plainErrors: onTheWay(func(r *http.Request) { r.URL.Path = "/v1/tokens" }),
			},
			not: map[string]string{twilioV1: "no API that twilio-go asks in the v1.0 form has an operation that is hard-denied"},
		},
		{code: reason.OperationDenied, by: func(s *sdkStage) {
			s.grant.Policy.Allow = []policy.Rule{{Operation: "stripe.customers.*"}}
		}},
		{code: reason.CountryDenied, how: "not among the countries, or of an operation that tells none",
			by: oneRule(func(r *policy.Rule) { r.Countries = []string{"CA"} })},
		{code: reason.RecipientDenied, how: "not among the recipients, or of an operation that tells none",
			by: oneRule(func(r *policy.Rule) { r.Recipients = []string{"+49*", "*@acme.com"} })},
		{
			code: reason.CostUnknown,
			own: map[string]provocation{
				stripeGo: inTurn(
					oneRule(func(r *policy.Rule) { r.Params = policy.Params{"origin": policy.Any(), "customer": policy.Any()} }),
					callsInstead(makeRefund(func(p *stripe.RefundParams) {
						p.Charge, p.Origin, p.Customer = nil, stripe.String("customer_balance"), stripe.String("cus_1")
					}))),
				twilioGo: inTurn(
					oneRule(func(*policy.Rule) {}),
					callsInstead(sendText(func(p *twilioapi.CreateMessageParams) { p.SetTo("+4917012345678") }))),
				twilioV1:    oneRule(func(r *policy.Rule) { r.Ceiling = policy.Amount{} }),
				plainHTTP:   inTurn(capturing, capturePath),
				plainErrors: inTurn(capturing, capturePath),
			},
			not: map[string]string{resendGo: "every mail that can be read has a price"},
		},
		{code: reason.CurrencyDenied, by: func(s *sdkStage) {
			s.grant.Policy.Budgets = []policy.Budget{policy.Lifetime(policy.Money("100", "EUR"))}
		}},
		{
			code: reason.CurrencyDenied, how: "there is no rate",
			enforce: func(c *keybrake.Config) {
				c.Rates = func() cost.Rates { return cost.Rates{To: "EUR", AsOf: time.Now(), MaxAge: time.Hour} }
			},
			not: map[string]string{twilioV1: "it costs its rule's ceiling, which is counted as it stands"},
			by:  func(*sdkStage) {},
		},
		{
			code: reason.KeyAmbiguous, how: "the key would go out in another header too",
			by: func(s *sdkStage) {
				onTheWay(func(r *http.Request) { r.Header.Set("User-Agent", "agent "+s.token) })(s)
			},
		},
		{
			code: reason.MaxPerCall,
			by:   oneRule(func(r *policy.Rule) { r.MaxPerCall = policy.USD("0.0001") }),
			not:  map[string]string{twilioV1: "it costs its rule's ceiling, which is never above the limit for one call"},
		},
		{
			code: reason.ProbeFailed, how: "there is no such object",
			own: map[string]provocation{
				stripeGo:    callsInstead(makeRefund(func(p *stripe.RefundParams) { p.Charge = stripe.String("ch_2") })),
				plainHTTP:   inTurn(capturing, onTheWay(func(r *http.Request) { r.URL.Path = "/v1/payment_intents/pi_2/capture" })),
				plainErrors: inTurn(capturing, onTheWay(func(r *http.Request) { r.URL.Path = "/v1/payment_intents/pi_2/capture" })),
			},
			not: map[string]string{twilioGo: noProbe, twilioV1: noProbe, resendGo: noProbe},
		},
		{
			code: reason.Unsent, how: "and the amount is known there alone",
			enforce: func(c *keybrake.Config) { c.Base = nobody },
			own:     map[string]provocation{stripeGo: simply, plainHTTP: inTurn(capturing, capturePath), plainErrors: inTurn(capturing, capturePath)},
			not:     map[string]string{twilioGo: noProbe, twilioV1: noProbe, resendGo: noProbe},
		},
		{
			code: reason.IdempotencyInvalid,
			by:   onTheWay(func(r *http.Request) { r.Header.Set("Idempotency-Key", strings.Repeat("k", 300)) }),
			own: map[string]provocation{
				stripeGo: callsInstead(makeRefund(func(p *stripe.RefundParams) { p.Headers = http.Header{"Idempotency-Key": {""}} })),
				resendGo: callsInstead(sendMail(func(_ *resend.SendEmailRequest, o *resend.SendEmailOptions) {
					o.IdempotencyKey = strings.Repeat("k", 300)
				})),
			},
			not: map[string]string{twilioGo: noKey, twilioV1: noKey},
		},
		{
			code: reason.IdempotencyConflict,
			own: map[string]provocation{
				stripeGo: afterFirst(
					makeRefund(func(p *stripe.RefundParams) { p.SetIdempotencyKey("order-1") }),
					makeRefund(func(p *stripe.RefundParams) { p.SetIdempotencyKey("order-1"); p.Amount = stripe.Int64(2001) })),
				resendGo: afterFirst(
					sendMail(func(_ *resend.SendEmailRequest, o *resend.SendEmailOptions) { o.IdempotencyKey = "order-1" }),
					sendMail(func(r *resend.SendEmailRequest, o *resend.SendEmailOptions) {
						o.IdempotencyKey, r.To = "order-1", []string{"eve@example.com"}
					})),
				plainHTTP:   afterFirst(keyedPost("2000"), keyedPost("2001")),
				plainErrors: afterFirst(keyedPost("2000"), keyedPost("2001")),
			},
			not: map[string]string{twilioGo: noKey, twilioV1: noKey},
		},
		{
			code: reason.IdempotencyInFlight, how: "the first attempt still looks at the vendor",
			own: map[string]provocation{stripeGo: func(s *sdkStage) {
				s.call = makeRefund(func(p *stripe.RefundParams) { p.SetIdempotencyKey("order-1") })
				s.before = func(b *keybrake.Brake) { s.blockedProbe(b, s.call) }
			}},
			not: map[string]string{twilioGo: noKey, twilioV1: noKey, resendGo: noProbe, plainHTTP: "its operation looks at nothing", plainErrors: "its operation looks at nothing"},
		},

		{code: reason.BudgetExceeded, how: "of the key, which has spent some", by: inTurn(onBudgets(policy.Lifetime(policy.USD("0.0013"))), func(s *sdkStage) {
			s.before = func(b *keybrake.Brake) {
				if err := sendMail(nil)(b.Client(), s.token); err != nil {
					s.t.Fatal(err)
				}
			}
		})},
		{code: reason.BudgetExceeded, how: "of the key, with a name of its own", by: onBudgets(policy.Budget{
			Name: "kbd_Z__p-.:_zZ9", Limit: policy.USD("0.0005"), Window: cost.Lifetime,
		})},
		{code: reason.BudgetExceeded, how: "of calls", by: onBudgets(policy.Lifetime(policy.USD("100")), policy.Lifetime(policy.Calls(0)))},
		{code: reason.BudgetExceeded, how: "of the day, shared", wait: true, by: inTurn(
			sharing(policy.Daily(policy.USD("0.0005")).Shared("team:support").In("America/New_York")),
			onBudgets(policy.Scoped("team:support"), policy.Lifetime(policy.USD("100"))))},
		{code: reason.BudgetExceeded, how: "of the run and of the hour: waiting would not help", by: onBudgets(
			policy.Hourly(policy.USD("0.0005")), policy.Lifetime(policy.USD("0.0004")))},
		{
			code: reason.BudgetMissing, how: "the ledger was restored without it",
			enforce: func(c *keybrake.Config) { c.Ledger = restored },
			by: inTurn(sharing(policy.Daily(policy.USD("500")).Shared("team:support")), func(s *sdkStage) {
				onBudgets(policy.Scoped("team:support"))(s)
				s.before = func(*keybrake.Brake) { s.openIn(restored) }
			}),
		},

		{code: reason.RepeatExceeded, wait: true, by: func(s *sdkStage) {
			s.grant.Policy.Repeat = policy.Times(1, time.Hour)
			s.before = func(b *keybrake.Brake) {
				if _, denied := keybrake.DenialFrom(s.agent.pay(b.Client(), s.token)); denied {
					s.t.Fatal("the first call was refused")
				}
			}
		}},
		{code: reason.LedgerUnavailable, by: simply, enforce: func(c *keybrake.Config) { c.Ledger = deadLedger{c.Ledger} }},
		{code: reason.LedgerFrozen, by: simply, enforce: func(c *keybrake.Config) { c.Ledger = frozenLedger{c.Ledger} }},
		{code: reason.CredentialUnavailable, how: "the source is down", by: simply, enforce: func(c *keybrake.Config) {
			c.Credentials = credentials.SourceFunc(func(context.Context, string) (credentials.Credential, error) {
				return credentials.Credential{}, errors.New("the vault is sealed")
			})
		}},
		{code: reason.CredentialUnavailable, how: "the reference is gone", by: simply, enforce: func(c *keybrake.Config) {
			c.Credentials = credentials.Static(nil)
		}},
		{code: reason.AuditUnavailable, by: func(s *sdkStage) {
			s.before = func(*keybrake.Brake) { s.sink.Fail(errors.New("the disk is full")) }
			s.t.Cleanup(func() { s.sink.Fail(nil) })
		}},
		{
			code: reason.Canceled, how: "before it was sent",
			by: func(s *sdkStage) {
				s.on = func(r *http.Request) *http.Request { return r.WithContext(endedContext()) }
			},
			own: map[string]provocation{
				stripeGo: callsInstead(makeRefund(func(p *stripe.RefundParams) { p.Context = endedContext() })),
				resendGo: callsInstead(func(hc *http.Client, token string) error {
					_, err := resend.NewCustomClient(hc, token).Emails.SendWithContext(endedContext(), &resend.SendEmailRequest{From: "bot@acme.com", To: []string{"ann@example.com"}, Text: "x"})
					return err
				}),
			},
		},
		{
			code: reason.Unsent, by: simply, enforce: func(c *keybrake.Config) { c.Base = nobody },
			own: map[string]provocation{stripeGo: callsInstead(func(hc *http.Client, token string) error {
				_, err := stripeSDK(hc, token).PaymentIntents.New(&stripe.PaymentIntentParams{Amount: stripe.Int64(2000), Currency: stripe.String("usd")})
				return err // which nothing is looked up for
			})},
		},
		{
			code: reason.InDoubt,
			own: map[string]provocation{
				stripeGo: inTurn(confirming, func(s *sdkStage) {
					s.call = func(hc *http.Client, token string) error {
						_, err := stripeSDK(hc, token).PaymentIntents.Confirm("pi_3Fake000000000001", nil)
						return err
					}
				}),
				twilioGo:    dropping("/Messages", fakevendor.DropAfter, 1),
				twilioV1:    dropping("/Actions", fakevendor.HTMLAfter, 0), // the fake has no conversations to execute
				resendGo:    dropping("/emails", fakevendor.DropAfter, 1),
				plainHTTP:   dropping("/payment_intents", fakevendor.DropAfter, 1),
				plainErrors: dropping("/payment_intents", fakevendor.DropAfter, 1),
			},
		},
		{
			code: reason.InDoubt, how: "cut off by a revoke",
			by:  cutOff("POST", 1),
			own: map[string]provocation{twilioV1: cutOff("POST", 0)}, // the fake has no conversations to execute
		},
		{
			code: reason.KeyRevoked, how: "a read that is cut off",
			own: map[string]provocation{stripeGo: inTurn(cutOff("GET", 0), callsInstead(func(hc *http.Client, token string) error {
				_, err := stripeSDK(hc, token).Charges.Get("ch_1", nil)
				return err
			}))},
			not: map[string]string{twilioGo: "as stripe-go", twilioV1: "as stripe-go", resendGo: "as stripe-go", plainHTTP: "as stripe-go", plainErrors: "as stripe-go"},
		},
	}
}

// Why an agent cannot come to a refusal.
const (
	noProbe = "no operation of this vendor is looked up first"
	noForm  = "Twilio's secrets have no form, so whatever is no vault key may be one"
	noKey   = "this vendor honours no idempotency key, so there is none to look at"
)

// onTheWay changes every request on its way to the transport, as what lies between SDK and transport might.
func onTheWay(change func(*http.Request)) provocation {
	return func(s *sdkStage) {
		s.on = func(r *http.Request) *http.Request {
			r = r.Clone(r.Context())
			change(r)
			return r
		}
	}
}

// rewriting changes the body.
func rewriting(change func(body string) string) provocation {
	return onTheWay(func(r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text := change(string(body))
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	})
}

// callsInstead makes another call than the agent's own.
func callsInstead(c sdkCall) provocation { return func(s *sdkStage) { s.call = c } }

// afterFirst makes a first call before the one that counts.
func afterFirst(first, second sdkCall) provocation {
	return func(s *sdkStage) {
		s.call = second
		s.before = func(b *keybrake.Brake) {
			if err := first(b.Client(), s.token); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// oneRule has one rule in the policy, for the agent's operation.
func oneRule(change func(*policy.Rule)) provocation {
	return func(s *sdkStage) {
		r := policy.Rule{Operation: cost.Pattern(s.agent.operation)}
		if s.agent.name == twilioV1 {
			r.Ceiling = policy.USD("1")
		}
		change(&r)
		s.grant.Policy.Allow = []policy.Rule{r}
	}
}

func onBudgets(b ...policy.Budget) provocation {
	return func(s *sdkStage) { s.grant.Policy.Budgets = b }
}

// sharing makes a budget of the tenant.
func sharing(b policy.Budget) provocation {
	return func(s *sdkStage) {
		if err := s.SetBudget(s.t.Context(), s.grant.Tenant, b); err != nil {
			s.t.Fatal(err)
		}
	}
}

// simply changes nothing: the enforcing process is different enough.
func simply(*sdkStage) {}

func inTurn(first, second provocation) provocation {
	return func(s *sdkStage) { first(s); second(s) }
}

// capturing and capturePath have the agent capture the intent of the seeded charge, which was captured long ago.
func capturing(s *sdkStage) {
	s.call = postIntent(func(form url.Values, _ http.Header) { form.Del("amount"); form.Del("currency") })
}

var capturePath = onTheWay(func(r *http.Request) { r.URL.Path = "/v1/payment_intents/pi_1/capture" })

func keyedPost(amount string) sdkCall {
	return postIntent(func(form url.Values, h http.Header) {
		form.Set("amount", amount)
		h.Set("Idempotency-Key", "order-1")
	})
}

// confirming leaves an intent to confirm, and the connection breaks when that is executed.
func confirming(s *sdkStage) {
	s.executes = 1
	s.before = func(b *keybrake.Brake) {
		_, err := stripeSDK(b.Client(), s.token).PaymentIntents.New(&stripe.PaymentIntentParams{
			Amount: stripe.Int64(2000), Currency: stripe.String("usd"), PaymentMethod: stripe.String("pm_card_visa"),
		})
		if err != nil {
			s.t.Fatal(err)
		}
		s.fake.Misbehave(fakevendor.Fault{PathContains: "/confirm", Kind: fakevendor.DropAfter})
	}
}

func dropping(path string, kind fakevendor.FaultKind, executes int) provocation {
	return func(s *sdkStage) {
		s.executes = executes
		s.fake.Misbehave(fakevendor.Fault{PathContains: path, Kind: kind})
	}
}

// cutOff revokes the run when its call is at the vendor, which has executed it and does not answer.
func cutOff(method string, executes int) provocation {
	return func(s *sdkStage) {
		s.executes = executes
		s.grant.Policy.CancelOnRevoke = true
		s.fake.Misbehave(fakevendor.Fault{Method: method, Kind: fakevendor.BlockAfter})
		s.before = func(b *keybrake.Brake) {
			done := make(chan struct{})
			s.t.Cleanup(func() { <-done })
			want := len(s.fake.Executions()) + executes
			go func() {
				defer close(done)
				there := func(r fakevendor.Received) bool { return r.Method == method }
				for (!slices.ContainsFunc(s.fake.Received(), there) || len(s.fake.Executions()) < want) && s.t.Context().Err() == nil {
					time.Sleep(time.Millisecond)
				}
				if _, err := b.Revoke(context.WithoutCancel(s.t.Context()), keybrake.ByRun(s.grant.Tenant, "run_1")); err != nil {
					s.t.Error(err)
				}
			}()
		}
	}
}

// blockedProbe makes call in another goroutine, whose look at the vendor does not end before the test.
func (s *sdkStage) blockedProbe(b *keybrake.Brake, call sdkCall) {
	release, done := make(chan struct{}), make(chan error, 1)
	s.fake.Misbehave(fakevendor.Fault{Method: "GET", Kind: fakevendor.BlockBefore, Hold: release})
	go func() { done <- call(b.Client(), s.token) }()
	s.t.Cleanup(func() {
		close(release)
		if err := <-done; err != nil {
			s.t.Errorf("the first attempt: %v", err)
		}
	})
	waitFor(s.t, func() bool { return s.fake.Faults() == 0 })
}

// waitFor waits for what other goroutines bring about. The test's own timeout ends it.
func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	for !done() {
		if t.Context().Err() != nil {
			t.Fatal("it did not come about")
		}
		time.Sleep(time.Millisecond)
	}
}

func endedContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// A deadLedger does not answer a reserve.
type deadLedger struct{ ledger.Ledger }

func (deadLedger) Reserve(context.Context, ledger.Request) (ledger.Hold, error) {
	return ledger.Hold{}, errors.New("connection refused")
}

// A frozenLedger has lost writes that it had acknowledged.
type frozenLedger struct{ ledger.Ledger }

func (frozenLedger) Reserve(context.Context, ledger.Request) (ledger.Hold, error) {
	return ledger.Hold{}, &ledger.Denied{Code: reason.LedgerFrozen, Name: "writes were lost"}
}

// nobodyListens is net/http's transport to a port where nobody listens any more.
func nobodyListens(t testing.TB) *http.Transport {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}
}

func (s *sdkStage) vendor() string {
	vendor, _, _ := strings.Cut(s.agent.operation, ".")
	return vendor
}
