package keybrake_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

const hardDenyFile = "docs/hard-deny.md"

// The page of what is never allowed is that of the catalogues. With UPDATE_DOCS set, it is written.
func TestDocsListWhatIsNeverAllowed(t *testing.T) {
	want := hardDenyDoc()
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(hardDenyFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(hardDenyFile); err != nil || string(got) != want {
		t.Errorf("%s is not what the catalogues say (%v); run UPDATE_DOCS=1 go test -run %s .", hardDenyFile, err, t.Name())
	}
}

func hardDenyDoc() string {
	var b strings.Builder
	b.WriteString(`# Never allowed

These operations are refused whatever a policy says: a wildcard does not allow them, their full name does not, and neither does a policy that is only observed. The refusal is 403 with the reason ` + "`" + string(reason.OperationHardDenied) + "`" + `, nothing is sent and no budget is touched. People do these things, with the vendor's own credential.

They are what would let an agent out of the brake, or take the vendor's own brake off:

- what makes, shows or changes a key, token, secret, session or login link, with which somebody acts past the brake;
- webhooks and event destinations, which tell an address of the caller's choice what happens on the account;
- where money is paid out, and where calls and texts to the account go;
- what lets someone outside spend: SIP users and networks, cards, code that runs at the vendor with the account's own token;
- the vendor's own guards: countries, safe lists, rate limits, fraud lists, suppressions, alarms.

What changes other settings is of class control: a rule has to give its full name, because no wildcard allows it ([operations.md](operations.md)). An operation that is in neither list is unknown, and refused too.
`)
	for _, v := range catalogues() {
		fmt.Fprintf(&b, "\n## %s\n", v.Name)
		var whys []string
		for _, op := range v.Operations {
			if op.HardDeny != "" && !slices.Contains(whys, op.HardDeny) {
				whys = append(whys, op.HardDeny)
			}
		}
		for _, why := range whys {
			fmt.Fprintf(&b, "\nBecause %s:\n\n| operation | call |\n|---|---|\n", why)
			for _, op := range v.Operations {
				if op.HardDeny == why {
					fmt.Fprintf(&b, "| `%s` | `%s %s%s` |\n", op.Name, op.Method, op.Host, op.Path)
				}
			}
		}
	}
	return b.String()
}

// Every operation that is denied for good is, under a rule that gives its full name, under one that allows everything
// and under a policy that is only observed. Nothing of it goes out, and the caller is told why.
func TestNothingAllowsWhatIsNeverAllowed(t *testing.T) {
	var sent atomic.Int32
	w := newWorld(t, func(c *keybrake.Config) {
		c.Base = roundTripper(func(r *http.Request) (*http.Response, error) {
			sent.Add(1)
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})
	})
	budgets := []policy.Budget{policy.Lifetime(policy.USD("100"))}
	wild := everything()
	observed := everything()
	observed.InsecureObserve = true
	tokens := map[string]string{"*": w.issue(t, "run_1", wild).Token(), "observed": w.issue(t, "run_2", observed).Token()}
	denied := 0
	for _, v := range catalogues() {
		for _, op := range v.Operations {
			if op.HardDeny == "" {
				continue
			}
			denied++
			for under, token := range tokens {
				d := denial(t, w.Transport(nil), callOf(t, op, token))
				if d == nil || d.Reason != reason.OperationHardDenied || d.Status != 403 || !strings.Contains(d.Detail, op.HardDeny[:12]) {
					t.Errorf("%s under %s: %+v", op.Name, under, d)
				}
			}
			// A rule that names it would promise what is not so: no key is issued for it.
			p := policy.Policy{Allow: []policy.Rule{{Operation: cost.Pattern(op.Name)}}, Budgets: budgets}
			if _, err := w.Issue(t.Context(), grant("run_3", p)); err == nil || !strings.Contains(err.Error(), "never allowed") {
				t.Errorf("%s: a key was issued under a rule that names it: %v", op.Name, err)
			}
		}
	}
	if denied < 300 || sent.Load() != 0 {
		t.Errorf("%d operations are denied for good, and %d calls went out", denied, sent.Load())
	}
}

var anyID = regexp.MustCompile(`\{([^}:]*):?([^}]*)\}`)

// callOf is a call of op with the vault key.
func callOf(t testing.TB, op vendors.Operation, token string) *http.Request {
	t.Helper()
	path := anyID.ReplaceAllStringFunc(op.Path, func(id string) string {
		prefix := strings.TrimSuffix(anyID.FindStringSubmatch(id)[2], "*")
		if strings.Contains(id, "AccountSid") || prefix == "AC" {
			return twilioAccount
		}
		return prefix + "0123456789abcdef0123456789abcdef"
	})
	contentType := map[vendors.Encoding]string{vendors.Form: formType, vendors.JSON: "application/json"}[op.Body]
	body := map[vendors.Encoding]string{vendors.JSON: "{}"}[op.Body]
	req := request(t, op.Method, "https://"+op.Host+path, token, contentType, body)
	if strings.HasPrefix(op.Name, "twilio.") {
		req.SetBasicAuth(twilioAccount, token)
	}
	return req
}

// looksDangerous is how an operation reads that makes a secret or a session, moves a destination, or takes a guard off.
var looksDangerous = regexp.MustCompile(`(?i)key|token|secret|session|webhook|hook|credential|oauth|login|link|account|payout|destination|sink|subscription|safe.?list|permission|geo|grant|access.?control|domain|certificate|variable|sip|trunk|password|user|role|auth|rate.?limit|suppression|alert|trigger|export|forward|callback|radar|fraud`)

// reviewed are the writes that look like that, are of a class that a policy can allow, and why they may be. The names are
// patterns as in a policy.
var reviewed = map[string]string{
	"resend.domains.*":                                               "nothing is sent or received for a domain before its owner has changed its DNS",
	"resend.inboxes.threads.emails.forward":                          "a mail, which is priced",
	"resend.suppressions.batch.add":                                  "it keeps mail from an address",
	"resend.suppressions.create":                                     "it keeps mail from an address",
	"stripe.accounts.capabilities.update":                            "it ends or describes another account, by its full name; none of these can say where money goes",
	"stripe.accounts.create":                                         "an account for money that comes in to somebody new; where it is paid out, external_account, has to be granted by name",
	"stripe.accounts.delete":                                         "it ends or describes another account, by its full name; none of these can say where money goes",
	"stripe.accounts.people.*":                                       "it ends or describes another account, by its full name; none of these can say where money goes",
	"stripe.accounts.persons.*":                                      "it ends or describes another account, by its full name; none of these can say where money goes",
	"stripe.accounts.reject":                                         "it ends or describes another account, by its full name; none of these can say where money goes",
	"stripe.accounts.unreject":                                       "it ends or describes another account, by its full name; none of these can say where money goes",
	"stripe.billing.alerts.*":                                        "an alert is on what a customer has used, and stops nothing",
	"stripe.billing.credit_grants.*":                                 "money: the call is priced and reserved",
	"stripe.checkout.sessions.*":                                     "money: the call is priced and reserved",
	"stripe.customers.bank_accounts.*":                               "a customer's own account, from which the customer pays",
	"stripe.customers.subscriptions.*":                               "money: the call is priced and reserved",
	"stripe.file_links.*":                                            "a link to one file, by its full name; it shows that file and lets nobody act",
	"stripe.financial_connections.accounts.*":                        "it looks at a customer's account at a bank, with the customer's consent; nobody acts with it on ours",
	"stripe.financial_connections.sessions.create":                   "it looks at a customer's account at a bank, with the customer's consent; nobody acts with it on ours",
	"stripe.identity.verification_sessions.*":                        "with its session a customer shows an identity document, and does nothing else",
	"stripe.issuing.authorizations.*":                                "one payment by a card, of which the approval is reserved",
	"stripe.issuing.tokens.update":                                   "it ends or suspends a card's token in a telephone, or makes it active under a ceiling",
	"stripe.link_account_sessions.create":                            "it looks at a customer's account at a bank, with the customer's consent; nobody acts with it on ours",
	"stripe.linked_accounts.*":                                       "it looks at a customer's account at a bank, with the customer's consent; nobody acts with it on ours",
	"stripe.payment_intents.increment_authorization":                 "money: the call is priced and reserved",
	"stripe.payment_links.*":                                         "money: the call is priced and reserved",
	"stripe.payouts.*":                                               "money: the call is priced and reserved",
	"stripe.radar.payment_evaluations.create":                        "money: the call is priced and reserved",
	"stripe.subscription_items.*":                                    "money: the call is priced and reserved",
	"stripe.subscription_schedules.*":                                "money: the call is priced and reserved",
	"stripe.subscriptions.*":                                         "money: the call is priced and reserved",
	"stripe.test_helpers.*":                                          "a test helper, which exists in test mode alone",
	"stripe.treasury.financial_accounts.create":                      "a new financial account is empty, and moving money into it is another call",
	"stripe.v2.money_management.payout_intents.*":                    "money: the call is priced and reserved",
	"twilio.accounts.contacts.bulk.create":                           "contacts of the account, whose consent is another call",
	"twilio.bulkexports.exports.jobs.delete":                         "it takes back a job",
	"twilio.calls.siprec.*":                                          "it copies a call's sound to a connector that people have installed; its cost has a ceiling",
	"twilio.calls.user_defined_message_subscriptions.delete":         "it ends a subscription, or sends one into a call that is going on",
	"twilio.calls.user_defined_messages.create":                      "it ends a subscription, or sends one into a call that is going on",
	"twilio.chat.services.roles.*":                                   "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.chat.services.users.*":                                   "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.chat.v1.services.roles.*":                                "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.chat.v1.services.users.*":                                "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.conversations.roles.*":                                   "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.conversations.services.roles.*":                          "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.conversations.services.users.*":                          "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.conversations.users.*":                                   "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.flex.v2.instances.users.update":                          "a person at a desk, by the full name of the operation",
	"twilio.frontline.users.update":                                  "a person at a desk, by the full name of the operation",
	"twilio.insights.v3.insights_domains.conversations.query.create": "a question about calls that were",
	"twilio.ip_messaging.services.roles.*":                           "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.ip_messaging.services.users.*":                           "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.ip_messaging.v1.services.roles.*":                        "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.ip_messaging.v1.services.users.*":                        "what people may do in a chat, and who is in it; nobody acts on the account with it",
	"twilio.messaging.link_shortening.domains.messaging_services.*":  "which short links a service uses; where they lead is another call",
	"twilio.messaging.services.destination_alpha_senders.*":          "the sender that texts to a country show",
	"twilio.numbers.hosted_number.authorization_documents.*":         "papers for an authority or a carrier, by the full name of the operation",
	"twilio.numbers.regulatory_compliance.end_users.*":               "papers for an authority or a carrier, by the full name of the operation",
	"twilio.proxy.services.sessions.*":                               "a session is two people who call each other; its cost has a ceiling",
	"twilio.routes.sip_domains.update":                               "in which of Twilio's regions a domain is served",
	"twilio.routes.trunks.update":                                    "in which of Twilio's regions a domain is served",
	"twilio.studio.flows.test_users.update":                          "who may try a flow before it is published",
	"twilio.sync.services.documents.permissions.*":                   "who may read and write a shared object; and Key is the name of an entry",
	"twilio.sync.services.lists.permissions.*":                       "who may read and write a shared object; and Key is the name of an entry",
	"twilio.sync.services.maps.items.*":                              "who may read and write a shared object; and Key is the name of an entry",
	"twilio.sync.services.maps.permissions.*":                        "who may read and write a shared object; and Key is the name of an entry",
	"twilio.trunking.trunks.delete":                                  "it takes a way in away, or records what comes through it",
	"twilio.trunking.trunks.phone_numbers.delete":                    "it takes a way in away, or records what comes through it",
	"twilio.trunking.trunks.recording.update":                        "it takes a way in away, or records what comes through it",
	"twilio.trusthub.end_users.*":                                    "papers for an authority or a carrier, by the full name of the operation",
	"twilio.verify.services.passkeys.*":                              "a customer's passkey at the account's own service",
	"twilio.video.composition_hooks.*":                               "it makes films of recordings, at a cost with a ceiling; where they are kept is another call",
	"twilio.voice.v2.account_default_configuration.*":                "how calls are recorded and written down, by the full name of the operation",
}

// An operation that changes something and whose name or path reads as if it had to be denied for good is, or stands in the
// list above with a reason. A new one of a new catalogue fails here until somebody has looked at it.
func TestWhatLooksDangerousIsNeverAllowedOrReviewed(t *testing.T) {
	used := map[string]bool{}
	for _, v := range catalogues() {
		for _, op := range v.Operations {
			// The account in Twilio's classic paths is the credential's own.
			path := strings.ReplaceAll(op.Path, "/Accounts/{AccountSid:AC}/", "/")
			if op.HardDeny != "" || op.Method == http.MethodGet || !looksDangerous.MatchString(op.Name+" "+path) {
				continue
			}
			found := ""
			for pattern, why := range reviewed {
				if cost.Pattern(pattern).Match(op.Name) && len(why) > 10 && len(pattern) > len(found) {
					found = pattern
				}
			}
			if found == "" {
				t.Errorf("%s (%s %s%s, %s): deny it for good, or say in this test why not", op.Name, op.Method, op.Host, op.Path, op.Class)
			}
			used[found] = true
		}
	}
	for pattern := range reviewed {
		if !used[pattern] {
			t.Errorf("no operation is reviewed as %s", pattern)
		}
	}
}
