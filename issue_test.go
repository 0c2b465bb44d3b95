package keybrake_test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/token"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
)

// A watched ledger is a real one that a test looks at, and that can fail as one behind a network does: before a
// verb is carried out, or after. Like such a one it does nothing for a context that has ended.
type watched struct {
	ledger.Ledger
	before, after func(ctx context.Context, verb string) error

	mu    sync.Mutex
	verbs []string
}

func (l *watched) do(ctx context.Context, verb string, carryOut func() error) error {
	l.mu.Lock()
	l.verbs = append(l.verbs, verb)
	l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.before != nil {
		if err := l.before(ctx, verb); err != nil {
			return err
		}
	}
	if err := carryOut(); err != nil || l.after == nil {
		return err
	}
	return l.after(ctx, verb)
}

// asked returns the verbs so far and forgets them.
func (l *watched) asked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.verbs = nil }()
	return l.verbs
}

func (l *watched) Open(ctx context.Context, k ledger.Key) error {
	return l.do(ctx, "open", func() error { return l.Ledger.Open(ctx, k) })
}

func (l *watched) SetBudget(ctx context.Context, tenant string, b ledger.Budget) error {
	return l.do(ctx, "set budget", func() error { return l.Ledger.SetBudget(ctx, tenant, b) })
}

func (l *watched) Budget(ctx context.Context, tenant, name string) (b ledger.Budget, err error) {
	err = l.do(ctx, "budget", func() error { b, err = l.Ledger.Budget(ctx, tenant, name); return err })
	return b, err
}

func (l *watched) Reserve(ctx context.Context, r ledger.Request) (h ledger.Hold, err error) {
	err = l.do(ctx, "reserve", func() error { h, err = l.Ledger.Reserve(ctx, r); return err })
	return h, err
}

func (l *watched) Raise(ctx context.Context, h ledger.Hold, r ledger.Request) (raised ledger.Hold, err error) {
	err = l.do(ctx, "raise", func() error { raised, err = l.Ledger.Raise(ctx, h, r); return err })
	return raised, err
}

func (l *watched) Settle(ctx context.Context, h ledger.Hold, s ledger.Settlement) (r ledger.Receipt, err error) {
	err = l.do(ctx, "settle", func() error { r, err = l.Ledger.Settle(ctx, h, s); return err })
	return r, err
}

func (l *watched) Release(ctx context.Context, h ledger.Hold, unsent bool) error {
	return l.do(ctx, "release", func() error { return l.Ledger.Release(ctx, h, unsent) })
}

func (l *watched) Control(ctx context.Context, c ledger.Control) (r ledger.Report, err error) {
	err = l.do(ctx, "control", func() error { r, err = l.Ledger.Control(ctx, c); return err })
	return r, err
}

// watch puts a watched ledger into a config.
func watch(l *watched) func(*keybrake.Config) {
	return func(c *keybrake.Config) {
		l.Ledger = c.Ledger
		c.Ledger = l
	}
}

// controls are the records of what was done to keys and budgets.
func controls(records []audit.Record) []audit.Record { return ofKind(records, audit.Control) }

func ofKind(records []audit.Record, kind audit.Kind) []audit.Record {
	var of []audit.Record
	for _, r := range records {
		if r.Kind == kind {
			of = append(of, r)
		}
	}
	return of
}

// A grant that would not do what its words say is refused, with the field that is at fault.
func TestIssueRefuses(t *testing.T) {
	w := newWorld(t, func(c *keybrake.Config) {
		c.MaxTTL = 3 * time.Hour
		c.Credentials = credentials.Static(map[string]string{
			"stripe": stripeSecret, "stripe_live": "sk_live_51Hreal4secret5never6shown", "resend": resendSecret, "typo": "pk_test_1",
		})
	})
	for name, b := range map[string]policy.Budget{
		"team:spend": policy.Daily(policy.USD("500")), "team:mails": policy.Daily(policy.Units(1000)),
	} {
		if err := w.SetBudget(t.Context(), "acme", b.Shared(name)); err != nil {
			t.Fatal(err)
		}
	}
	good := keybrake.Grant{
		Tenant: "acme", Agent: "refund-bot", Run: "run_1", Credentials: map[string]string{"stripe": "stripe"}, TTL: time.Hour,
		Policy: policy.Policy{
			Allow:   []policy.Rule{{Operation: "stripe.refunds.create"}},
			Budgets: []policy.Budget{policy.Lifetime(policy.USD("80"))},
		},
	}
	if _, err := w.Issue(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	issued := len(w.sink.Records())
	for name, tt := range map[string]struct {
		change func(*keybrake.Grant)
		want   []string
	}{
		"no tenant":            {func(g *keybrake.Grant) { g.Tenant = "" }, []string{"Tenant", "1 to 64"}},
		"a tenant with spaces": {func(g *keybrake.Grant) { g.Tenant = "acme inc" }, []string{`Tenant "acme inc"`}},
		"no agent":             {func(g *keybrake.Grant) { g.Agent = "" }, []string{"Agent"}},
		"no run":               {func(g *keybrake.Grant) { g.Run = "" }, []string{"Run"}},
		"a run of 65":          {func(g *keybrake.Grant) { g.Run = strings.Repeat("x", 65) }, []string{"Run", "1 to 64"}},
		"a run with a slash":   {func(g *keybrake.Grant) { g.Run = "a/b" }, []string{"Run"}},
		"an empty label":       {func(g *keybrake.Grant) { g.Labels = []string{"eu", ""} }, []string{"Labels[1]"}},
		"several faults": {
			func(g *keybrake.Grant) { g.Run, g.TTL, g.Policy.Allow[0].Operation = "", 0, "" },
			[]string{"Run", "TTL", "allow[0].operation"},
		},

		"no life":             {func(g *keybrake.Grant) { g.TTL = 0 }, []string{"TTL", "3h0m0s", "Config.MaxTTL"}},
		"a negative life":     {func(g *keybrake.Grant) { g.TTL = -time.Hour }, []string{"TTL"}},
		"a life that is over": {func(g *keybrake.Grant) { g.TTL = 3*time.Hour + 1 }, []string{"TTL", "at most 3h0m0s"}},

		"a vendor that is not there":     {func(g *keybrake.Grant) { g.Credentials["acme"] = "stripe" }, []string{`Credentials["acme"]`, "no such vendor"}},
		"a reference that is not there":  {func(g *keybrake.Grant) { g.Credentials["stripe"] = "strype" }, []string{`Credentials["stripe"]`, `"strype"`}},
		"a credential of another vendor": {func(g *keybrake.Grant) { g.Credentials["stripe"] = "resend" }, []string{`Credentials["stripe"]`, "not a Stripe secret"}},
		"a credential that is none":      {func(g *keybrake.Grant) { g.Credentials["stripe"] = "typo" }, []string{`Credentials["stripe"]`, "not a Stripe secret"}},
		"a live credential for a test key": {
			func(g *keybrake.Grant) { g.Credentials["stripe"] = "stripe_live" },
			[]string{`Credentials["stripe"]`, "live and the key is not", "Grant.Live"},
		},
		"a test credential for a live key": {
			func(g *keybrake.Grant) { g.Live = true },
			[]string{`Credentials["stripe"]`, "test mode and the key is live"},
		},

		"a literal that cannot be read":             {func(g *keybrake.Grant) { g.Policy.Budgets[0].Limit = policy.USD("8O") }, []string{"budgets[0].limit", "8O"}},
		"a rule for nothing of the catalogue":       {func(g *keybrake.Grant) { g.Policy.Allow[0].Operation = "stripe.refunds.make" }, []string{"allow[0]", "stripe.refunds.make", "names no operation"}},
		"a rule for what is never allowed":          {func(g *keybrake.Grant) { g.Policy.Allow[0].Operation = "stripe.ephemeral_keys.*" }, []string{"allow[0]", "never allowed through a vault key"}},
		"a read-only rule for a write":              {func(g *keybrake.Grant) { g.Policy.Allow[0].ReadOnly = true }, []string{"allow[0]", "names no operation"}},
		"a rule for a vendor without credential":    {func(g *keybrake.Grant) { g.Policy.Allow[0].Operation = "resend.emails.send" }, []string{"allow[0]", "resend", "no credential"}},
		"a rule that costs, and no budget":          {func(g *keybrake.Grant) { g.Policy.Budgets = nil }, []string{"allow[0]", "stripe.refunds.create costs money", "no budget counts its outflow"}},
		"a rule that costs, and a budget of others": {func(g *keybrake.Grant) { g.Policy.Budgets[0].Only = []cost.Pattern{"stripe.charges.*"} }, []string{"no budget counts its outflow"}},
		"a rule that costs, and a budget of calls":  {func(g *keybrake.Grant) { g.Policy.Budgets[0] = policy.Lifetime(policy.Calls(5)) }, []string{"no budget counts its outflow"}},
		"a rule that costs, and a budget of another meter": {
			func(g *keybrake.Grant) { g.Policy.Budgets[0] = g.Policy.Budgets[0].On("charge") },
			[]string{"no budget counts its outflow"},
		},
		"a rule that costs, and a shared budget of another meter": {
			func(g *keybrake.Grant) { g.Policy.Budgets = []policy.Budget{policy.Scoped("team:mails")} },
			[]string{"no budget counts its outflow"},
		},

		"a shared budget without a row": {
			func(g *keybrake.Grant) { g.Policy.Budgets = []policy.Budget{policy.Scoped("team:none")} },
			[]string{"budgets[0]", `no shared budget "team:none"`, "Brake.SetBudget"},
		},
		"a shared budget of another tenant": {
			func(g *keybrake.Grant) {
				g.Tenant, g.Policy.Budgets = "globex", []policy.Budget{policy.Scoped("team:spend")}
			},
			[]string{"tenant globex", `no shared budget "team:spend"`},
		},
		"a shared budget of another window": {
			func(g *keybrake.Grant) {
				g.Policy.Budgets = []policy.Budget{policy.Monthly(policy.USD("500")).Shared("team:spend")}
			},
			[]string{"budgets[0]", "by day there", "by month in this policy", `policy.Scoped("team:spend")`},
		},
		"a shared budget of another zone": {
			func(g *keybrake.Grant) {
				g.Policy.Budgets = []policy.Budget{policy.Daily(policy.USD("5")).In("Europe/Oslo").Shared("team:spend")}
			},
			[]string{"Europe/Oslo"},
		},
		"a shared budget in another currency": {
			func(g *keybrake.Grant) {
				g.Policy.Budgets = []policy.Budget{policy.Daily(policy.Money("5", "EUR")).Shared("team:spend")}
			},
			[]string{"spend in USD", "spend in EUR"},
		},
		"a shared budget of other operations": {
			func(g *keybrake.Grant) {
				g.Policy.Budgets = []policy.Budget{policy.Daily(policy.USD("5")).For("stripe.refunds.*").Shared("team:spend")}
			},
			[]string{"stripe.refunds.*"},
		},
		"a grant that no token holds": {
			func(g *keybrake.Grant) {
				for range 200 {
					g.Policy.Allow = append(g.Policy.Allow, policy.Rule{Operation: "stripe.refunds.create", Params: policy.Params{"reason": policy.OneOf("duplicate")}})
				}
			},
			[]string{"8 KiB", "shorten its policy"},
		},
	} {
		g := good
		g.Credentials = maps.Clone(good.Credentials)
		g.Policy.Allow = append([]policy.Rule(nil), good.Policy.Allow...)
		g.Policy.Budgets = append([]policy.Budget(nil), good.Policy.Budgets...)
		tt.change(&g)
		key, err := w.Issue(t.Context(), g)
		if err == nil || key.Token() != "" || key.ID != "" {
			t.Errorf("%s: %v, %v", name, key, err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
	}
	if n := len(w.sink.Records()); n != issued {
		t.Errorf("%d records of keys that were not issued", n-issued)
	}
}

// What cannot be recorded is not issued, and what has no row does not spend.
func TestIssueLeavesNoKeyBehindWhenItFails(t *testing.T) {
	l := &watched{}
	w := newWorld(t, watch(l))
	w.sink.Fail(errors.New("disk full"))
	key, err := w.Issue(t.Context(), grant("run_1", everything()))
	if err == nil || !strings.Contains(err.Error(), "disk full") || !strings.Contains(err.Error(), "no key is issued") || key.Token() != "" {
		t.Errorf("a sink that fails: %v, %v", key, err)
	}
	if verbs := l.asked(); len(verbs) != 0 {
		t.Errorf("a sink that fails: the ledger was asked to %v", verbs)
	}
	w.sink.Fail(nil)

	l.before = func(context.Context, string) error { return errors.New("ledger down") }
	key, err = w.Issue(t.Context(), grant("run_1", everything()))
	if err == nil || !strings.Contains(err.Error(), "ledger down") || key.Token() != "" {
		t.Errorf("a ledger that fails: %v, %v", key, err)
	}
	shared := everything()
	shared.Budgets = append(shared.Budgets, policy.Scoped("team:support"))
	if _, err = w.Issue(t.Context(), grant("run_1", shared)); err == nil || !strings.Contains(err.Error(), "ledger down") {
		t.Errorf("a ledger that cannot tell the shared budget: %v", err)
	}

	// The token of a key that has no row, as one would be that an issuer signed and no ledger opened.
	l.before = nil
	other := newWorld(t, func(c *keybrake.Config) { c.Issuer = w.issuer })
	if d := intent(t, w.Transport(nil), other.issue(t, "run_1", everything()).Token(), 100); d == nil || d.Reason != reason.KeyUnknown || d.Status != 401 {
		t.Errorf("a key without a row: %v", d)
	}
}

func TestIssueIsOnRecord(t *testing.T) {
	w := newWorld(t, nil)
	g := grant("run_1", everything())
	g.Labels = []string{"eu", "night"}
	key, err := w.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	records := controls(w.sink.Records())
	if len(records) != 1 {
		t.Fatalf("%d records", len(records))
	}
	r := records[0]
	if r.Tenant != "acme" || r.Agent != "refund-bot" || r.Run != "run_1" || strings.Join(r.Labels, " ") != "eu night" || r.Key != key.ID || r.Detail != "issued" || r.ID == "" || r.Version != 1 || r.Time.IsZero() {
		t.Errorf("got %+v", r)
	}
}

// A shared budget's limit is its row's, for keys that were issued before it was revised too. What a token lowers it
// to, stays.
func TestSharedBudgetsAreTheirRows(t *testing.T) {
	w := newWorld(t, nil)
	set := func(dollars string) {
		t.Helper()
		if err := w.SetBudget(t.Context(), "acme", policy.Lifetime(policy.USD(dollars)).Shared("team:support")); err != nil {
			t.Fatal(err)
		}
	}
	set("10")
	issue := func(b policy.Budget) string {
		return w.issue(t, "run_1", policy.Policy{
			Allow: []policy.Rule{{Operation: "stripe.payment_intents.create"}}, Budgets: []policy.Budget{b},
		}).Token()
	}
	bare := issue(policy.Scoped("team:support"))
	equal := issue(policy.Lifetime(policy.USD("10")).Shared("team:support"))
	higher := issue(policy.Lifetime(policy.USD("900")).Shared("team:support"))
	lower := issue(policy.Lifetime(policy.USD("4")).Shared("team:support"))
	spend := func(who, token string, dollars int, limit int64) {
		t.Helper()
		d := intent(t, w.Transport(nil), token, dollars*100)
		switch {
		case limit == 0 && d != nil:
			t.Errorf("%s: %v", who, d)
		case limit > 0 && (d == nil || d.Reason != reason.BudgetExceeded || d.Budget != "team:support" || d.Limit != limit*1_000_000):
			t.Errorf("%s: %+v, want a limit of %d", who, d, limit)
		}
	}
	spend("lower, above its own limit", lower, 5, 4)
	spend("bare", bare, 4, 0)
	spend("lower, after the others have spent", lower, 1, 4)
	spend("equal", equal, 6, 0)
	spend("higher", higher, 1, 10)

	set("20")
	spend("bare, raised", bare, 1, 0)
	spend("equal, raised", equal, 1, 0)
	spend("higher, raised", higher, 1, 0)
	spend("higher, beyond the raise", higher, 8, 20)
	spend("lower, raised", lower, 1, 4)

	set("13")
	spend("bare, lowered", bare, 1, 13)
	spend("equal, lowered", equal, 1, 13)
	spend("higher, lowered", higher, 1, 13)
	if n := len(w.fake.Executions()); n != 5 {
		t.Errorf("%d calls were executed", n)
	}
}

// Whoever prints a key, on purpose or by a slip, prints its id.
func TestAKeyPrintsNowhere(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", everything())
	holder := struct {
		Key  keybrake.Key
		Ptr  *keybrake.Key
		List []keybrake.Key
		Any  any
	}{key, &key, []keybrake.Key{key}, key}
	var printed strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p"} {
		for _, value := range []any{key, &key, holder, &holder, []any{key}, map[string]keybrake.Key{"k": key}} {
			fmt.Fprintf(&printed, verb+"\n", value)
		}
	}
	text, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(text)
	for _, h := range []slog.Handler{slog.NewTextHandler(&printed, nil), slog.NewJSONHandler(&printed, nil)} {
		slog.New(h).Info("issued", "key", key, "ptr", &key, "holder", holder)
	}
	fmt.Fprintln(&printed, key, errors.New(key.String()))
	if strings.Contains(printed.String(), token.Prefix) || strings.Contains(printed.String(), fmt.Sprintf("%x", token.Prefix)) {
		t.Errorf("a print holds the token: %s", printed.String())
	}
	if !strings.Contains(printed.String(), key.ID) {
		t.Error("no print holds the id")
	}
	if (keybrake.Key{}).Token() != "" {
		t.Error("the zero key has a token")
	}
}

// twilio-go takes no other characters in a password, and no header is as long as it likes.
func TestATokenIsAlphanumericAndShort(t *testing.T) {
	w := newWorld(t, nil)
	for _, n := range []int{1, 40} {
		p := everything()
		for range n {
			p.Allow = append(p.Allow, policy.Rule{Operation: "resend.emails.send", Recipients: []string{"*@acme.com"}})
		}
		text := w.issue(t, "run_1", p).Token()
		if !regexp.MustCompile(`^kbrake1test[A-Za-z0-9]+$`).MatchString(text) || len(text) > 8<<10 {
			t.Errorf("%d bytes: %s", len(text), text)
		}
	}
}

// Each SDK sends its credential in its own way: Stripe and Resend as a bearer, Twilio as password beside the
// account, and some tools as user name with an empty password.
func TestATokenWorksWhereverAnSDKSendsIt(t *testing.T) {
	w := newWorld(t, nil)
	tok := w.issue(t, "run_1", everything()).Token()
	for name, authorize := range map[string]func(*http.Request){
		"bearer":                        func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+tok) },
		"bearer in lower case":          func(r *http.Request) { r.Header.Set("Authorization", "bearer "+tok) },
		"basic password":                func(r *http.Request) { r.SetBasicAuth(twilioAccount, tok) },
		"basic password, nobody's name": func(r *http.Request) { r.SetBasicAuth("", tok) },
		"basic user":                    func(r *http.Request) { r.SetBasicAuth(tok, "") },
		"basic user, a password of x":   func(r *http.Request) { r.SetBasicAuth(tok, "x") },
	} {
		for _, url := range []string{chargesURL, messagesURL, emailsURL} {
			req := request(t, "GET", url, "", "", "")
			authorize(req)
			if d := denial(t, w.Transport(nil), req); d != nil {
				t.Errorf("%s to %s: %v", name, url, d)
			}
		}
	}
	for _, r := range w.fake.Received() {
		if r.Status != 200 {
			t.Errorf("%s %s: the vendor answered %d", r.Method, r.Host, r.Status)
		}
	}
}

func TestATokenThatWasChangedInAnyCharacterIsRefusedAtOnce(t *testing.T) {
	l := &watched{}
	w := newWorld(t, watch(l))
	text := w.issue(t, "run_1", everything()).Token()
	rt := w.Transport(nil)
	if d := denial(t, rt, request(t, "GET", chargesURL, text, "", "")); d != nil {
		t.Fatalf("unchanged: %v", d)
	}
	received := len(w.fake.Received())
	l.asked()
	for i := range text {
		for _, c := range "A7z" {
			if rune(text[i]) == c {
				continue
			}
			changed := text[:i] + string(c) + text[i+1:]
			if d := denial(t, rt, request(t, "GET", chargesURL, changed, "", "")); d == nil || d.Reason != reason.KeyMalformed || d.Status != 401 {
				t.Fatalf("character %d changed to %c: %v", i, c, d)
			}
		}
	}
	for _, cut := range []string{text[:len(text)-1], text[1:], text + "A", text + " ", " " + text, strings.ToLower(text), ""} {
		if d := denial(t, rt, request(t, "GET", chargesURL, cut, "", "")); d == nil || d.Reason != reason.KeyMalformed {
			t.Errorf("%q: %v", cut, d)
		}
	}
	if verbs := l.asked(); len(verbs) != 0 || len(w.fake.Received()) != received {
		t.Errorf("the ledger was asked to %v, the vendor got %d requests", verbs, len(w.fake.Received())-received)
	}
}

// forge takes a token apart, lets change work on what is signed, and puts a right checksum under the result: what
// someone would do who knows the format and has no issuer's key.
func forge(t testing.TB, text string, change func(body []byte) []byte) string {
	t.Helper()
	const head, check = len(token.Prefix) + len("test"), 7
	plain := base32.StdEncoding.WithPadding(base32.NoPadding)
	body, err := plain.DecodeString(text[head : len(text)-check])
	if err != nil {
		t.Fatal(err)
	}
	return sum(text[:head] + plain.EncodeToString(change(body)))
}

// sum puts the checksum of vault keys under a text.
func sum(text string) string {
	crc := crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))
	return text + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(binary.BigEndian.AppendUint32(nil, crc))
}

// The checksum finds damage, the signature finds intent: nothing that a token says can be changed with a checksum
// put right.
func TestATokenThatWasForgedIsRefusedAtOnce(t *testing.T) {
	l := &watched{}
	w := newWorld(t, watch(l))
	text := w.issue(t, "run_1", everything()).Token()
	rt := w.Transport(nil)
	if same := forge(t, text, func(body []byte) []byte { return body }); same != text {
		t.Fatal("a forgery that changes nothing is another token; the test cannot tell")
	}
	l.asked()
	const claims = 12 // version, key id, count, length
	for name, tt := range map[string]struct {
		token string
		want  reason.Code
	}{
		"a larger budget": {forge(t, text, func(b []byte) []byte {
			return bytes.Replace(b, []byte("100.00 USD"), []byte("900.00 USD"), 1)
		}), reason.KeyUntrusted},
		"another run":             {forge(t, text, func(b []byte) []byte { return bytes.Replace(b, []byte("run_1"), []byte("run_2"), 1) }), reason.KeyUntrusted},
		"one bit of the claims":   {forge(t, text, func(b []byte) []byte { b[claims+20] ^= 1; return b }), reason.KeyUntrusted},
		"one bit of signature":    {forge(t, text, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }), reason.KeyUntrusted},
		"no signature":            {forge(t, text, func(b []byte) []byte { return append(b[:len(b)-64], make([]byte, 64)...) }), reason.KeyUntrusted},
		"an issuer of nobody's":   {forge(t, text, func(b []byte) []byte { b[1] ^= 1; return b }), reason.KeyUntrusted},
		"another version":         {forge(t, text, func(b []byte) []byte { b[0] = 2; return b }), reason.KeyMalformed},
		"two blocks":              {forge(t, text, func(b []byte) []byte { b[9] = 2; return b }), reason.KeyMalformed},
		"no block":                {forge(t, text, func(b []byte) []byte { b[9] = 0; return b }), reason.KeyMalformed},
		"a length beyond the end": {forge(t, text, func(b []byte) []byte { b[10] = 0xff; return b }), reason.KeyMalformed},
		"nothing":                 {forge(t, text, func([]byte) []byte { return nil }), reason.KeyMalformed},
		"live made of test":       {sum(strings.Replace(text[:len(text)-7], "kbrake1test", "kbrake1live", 1)), reason.KeyUntrusted},
		"a mode of nobody's":      {sum(strings.Replace(text[:len(text)-7], "kbrake1test", "kbrake1both", 1)), reason.KeyMalformed},
		"padding":                 {sum(text[:len(text)-7] + "="), reason.KeyMalformed},
		"a megabyte":              {"kbrake1test" + strings.Repeat("A", 1<<20), reason.KeyMalformed},
	} {
		if d := denial(t, rt, request(t, "GET", chargesURL, tt.token, "", "")); d == nil || d.Reason != tt.want || d.Status != 401 {
			t.Errorf("%s: %v, want %s", name, d, tt.want)
		}
	}
	other, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := newWorld(t, func(c *keybrake.Config) { c.Issuer = other })
	if d := denial(t, rt, request(t, "GET", chargesURL, elsewhere.issue(t, "run_1", everything()).Token(), "", "")); d == nil || d.Reason != reason.KeyUntrusted {
		t.Errorf("a token of another issuer: %v", d)
	}
	if verbs := l.asked(); len(verbs) != 0 || len(w.fake.Received()) != 0 {
		t.Errorf("the ledger was asked to %v, the vendor got %d requests", verbs, len(w.fake.Received()))
	}
}

// A key is good from its start, less half a minute for clocks that differ, to its end, to the second.
func TestAKeyIsGoodInItsTimeOnly(t *testing.T) {
	fake := newWorld(t, nil).fake
	today := time.Now() // of the fake's certificate; the bubble's clock is another
	synctest.Test(t, func(t *testing.T) {
		base := fake.Transport()
		base.TLSClientConfig.Time = func() time.Time { return today }
		base.DisableKeepAlives = true // the bubble's clock stands still while a connection is open
		l := &watched{}
		c := smallConfig(t)
		c.Base = base
		watch(l)(&c)
		brake, err := keybrake.New(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now().Add(time.Hour)
		key, err := brake.Issue(context.Background(), keybrake.Grant{
			Tenant: "acme", Agent: "mailer", Run: "run_1", Credentials: map[string]string{"resend": "resend"},
			Policy:    policy.Policy{Allow: []policy.Rule{{Operation: "resend.emails.list"}}},
			NotBefore: start, TTL: time.Hour,
		})
		if err != nil || !key.Expires.Equal(start.Add(time.Hour)) {
			t.Fatalf("expires %v, %v", key.Expires, err)
		}
		for _, tt := range []struct {
			at   time.Duration // after the start
			want reason.Code
		}{
			{-time.Hour, reason.KeyNotYet},
			{-31 * time.Second, reason.KeyNotYet},
			{-30 * time.Second, ""},
			{0, ""},
			{time.Hour - time.Nanosecond, ""},
			{time.Hour, reason.KeyExpired},
			{48 * time.Hour, reason.KeyExpired},
		} {
			time.Sleep(time.Until(start.Add(tt.at)))
			l.asked()
			d := denial(t, brake.Transport(nil), request(t, "GET", emailsURL, key.Token(), "", ""))
			if got := codeOf(d); got != tt.want {
				t.Errorf("%v after the start: %v, want %q", tt.at, d, tt.want)
			}
			if verbs := l.asked(); (tt.want == "") != (len(verbs) > 0) {
				t.Errorf("%v after the start: the ledger was asked to %v", tt.at, verbs)
			}
		}
	})
}

func codeOf(d *keybrake.Denial) reason.Code {
	if d == nil {
		return ""
	}
	return d.Reason
}

// The zero policy is one: it allows nothing, and the refusal says so.
func TestAKeyOfTheZeroPolicyIsRefusedByIt(t *testing.T) {
	w := newWorld(t, nil)
	key := w.issue(t, "run_1", policy.Policy{})
	if got := refusedFor(t, w.Transport(nil), request(t, "GET", chargesURL, key.Token(), "", "")); got != reason.OperationDenied {
		t.Errorf("refused for %q", got)
	}
}
