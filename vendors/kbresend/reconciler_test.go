package kbresend_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/resend/resend-go/v2"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/fakevendor"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

// A post is a brake over the fake Resend, a client of resend-go with a vault key, and a reconciler whose clock is late.
type post struct {
	vendorAt
	*keybrake.Brake
	client     *resend.Client
	key        keybrake.Key
	reconciler *keybrake.Reconciler
	ahead      atomic.Int64 // of the ledger's clock and the reconciler's
}

func (p *post) now() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) }

func newPost(t *testing.T, stamp bool) *post {
	t.Helper()
	p := &post{vendorAt: fake(t)}
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	books := memory.New()
	books.Now = p.now
	p.Brake, err = keybrake.New(t.Context(), keybrake.Config{
		Issuer: issuer, Ledger: books, Vendors: []vendors.Vendor{kbresend.New(nil)}, Audit: &audittest.Recorder{}, Base: p.Server.Transport(),
		Credentials: credentials.Static(map[string]string{"resend": "re_Real4Secret"}), Stamp: stamp,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.key, err = p.Issue(t.Context(), keybrake.Grant{
		Tenant: "acme", Agent: "mailer", Run: "run:1", TTL: 24 * time.Hour, Credentials: map[string]string{"resend": "resend"},
		Policy: policy.Policy{
			Allow:   []policy.Rule{{Operation: "resend.emails.*", Params: policy.Params{"scheduled_at": {Any: true, Optional: true}}}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("1"))},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.client = resend.NewCustomClient(p.Client(), p.key.Token())
	p.reconciler, err = p.Reconciler(keybrake.ReconcilerConfig{
		Tenants: []string{"acme"}, Pace: time.Nanosecond, Gap: time.Nanosecond,
		Person: func(_ context.Context, u keybrake.Unresolved) {
			t.Logf("left to a person: %s, looked by %v", u.Why, u.Looked)
		},
		Now: p.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *post) want(t *testing.T, spent, held string) {
	t.Helper()
	states, err := p.Balance(t.Context(), p.key.Token())
	if err != nil || cost.Decimal(states[0].Spent) != spent || cost.Decimal(states[0].Held) != held {
		t.Errorf("the books show %+v, %v, want %s spent and %s held", states, err, spent, held)
	}
}

func (p *post) pass(t *testing.T) keybrake.Progress {
	t.Helper()
	got, err := p.reconciler.Pass(t.Context())
	if err != nil {
		t.Error(err)
	}
	return got
}

func letter() *resend.SendEmailRequest {
	return &resend.SendEmailRequest{From: "Acme <ops@acme.com>", To: []string{"ann@example.com", "bob@example.com"}, Subject: "Hi", Text: "<hello> & you"}
}

// A mail whose reply is lost is in doubt, and found at Resend by the marks that it carries: beside one such as it from
// elsewhere, which without marks keeps it in doubt.
func TestALostReplyIsFound(t *testing.T) {
	for _, stamp := range []bool{true, false} {
		p := newPost(t, stamp)
		p.do(t, "POST", "/emails", letter())
		p.Misbehave(fakevendor.Fault{Method: "POST", Kind: fakevendor.DropAfter})
		if _, err := p.client.Emails.Send(letter()); err == nil {
			t.Fatal("the reply was not lost")
		}
		p.want(t, "0.00", "0.0018")
		p.ahead.Store(int64(2 * time.Hour))
		p.pass(t)
		if stamp {
			p.want(t, "0.0018", "0.00")
		} else {
			p.want(t, "0.00", "0.0018")
		}
		last := p.Received()[1]
		if got := string(last.Body); strings.Contains(got, `{"name":"keybrake_run","value":"run_x3a_1"}`) != stamp || !strings.Contains(got, "hello") {
			t.Errorf("stamped %t: %s", stamp, got)
		}
	}
}

// A scheduled mail counts until Resend says that it was canceled.
func TestACanceledMailIsGivenBack(t *testing.T) {
	p := newPost(t, true)
	m := letter()
	m.ScheduledAt = time.Now().Add(24 * time.Hour).Format(time.RFC3339)
	sent, err := p.client.Emails.Send(m)
	if err != nil {
		t.Fatal(err)
	}
	p.want(t, "0.0018", "0.00")
	p.ahead.Store(int64(2 * time.Hour))
	if got := p.pass(t); got.Pending != 1 {
		t.Errorf("%+v", got)
	}
	p.want(t, "0.0018", "0.00")
	if _, err := p.client.Emails.Cancel(sent.Id); err != nil {
		t.Fatal(err)
	}
	p.want(t, "0.0018", "0.00")          // a cancellation by itself gives nothing back
	p.ahead.Store(int64(25 * time.Hour)) // when it would have been sent
	p.pass(t)
	p.want(t, "0.00", "0.00")
}
