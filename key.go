package keybrake

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/books"
	"github.com/keybrake/keybrake-go/internal/token"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// A Grant is what a vault key is issued for: who, with which credentials, under which policy, from when to when.
// Names are 1 to 64 of the characters A-Z a-z 0-9 : . _ - .
type Grant struct {
	Tenant, Agent, Run string
	Labels             []string // further names by which the key can be stopped

	// Credentials are the references of the real credentials, by vendor. A vendor that is not here is refused.
	Credentials map[string]string

	Policy policy.Policy

	TTL       time.Duration // from NotBefore, or from now; at most Config.MaxTTL
	NotBefore time.Time     // zero: at once

	// Live says that the key moves real money. A credential whose mode the vendor can tell has to match.
	Live bool

	// Peer binds the key to one client of a program that forwards for others, such as a proxy: it is refused from any
	// other (see [WithPeer]). Zero: whoever has the key can use it. In the process that makes the calls it adds nothing,
	// because what runs there can say who it is.
	Peer Peer
}

// A Key is an issued vault key. It prints as its id; only Token returns the secret.
type Key struct {
	ID      string // by which it is revoked, and by which it stands in records
	Expires time.Time
	token   func() string // a func prints as an address, never as the token
}

// Token is the bearer token to give to the agent, in place of the vendor's credential.
func (k Key) Token() string {
	if k.token == nil {
		return ""
	}
	return k.token()
}

// String hides the token.
func (k Key) String() string { return "[vault key " + k.ID + "]" }

// GoString hides the token.
func (k Key) GoString() string { return k.String() }

// Format hides the token under every verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// MarshalText hides the token from encoders.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue hides the token from slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// claims is a grant as it stands in a token. A reader that does not know a field refuses the token, because the
// field could be one that narrows it.
type claims struct {
	ID          string            `json:"id"`
	Tenant      string            `json:"tenant"`
	Agent       string            `json:"agent"`
	Run         string            `json:"run"`
	Labels      []string          `json:"labels,omitempty"`
	Credentials map[string]string `json:"credentials,omitempty"`
	NotBefore   int64             `json:"nbf"` // Unix seconds
	Expires     int64             `json:"exp"` // Unix seconds
	Peer        Peer              `json:"peer,omitempty"`
	RawPolicy   json.RawMessage   `json:"policy"`

	policy policy.Policy
	live   bool
	issuer token.KeyID
	less   []*narrowing // what narrows it, the issued key's child first
	named  string       // the digest of all its policies
}

// readClaims reads what a token says: the grant, and the narrowings behind it.
func readClaims(t token.Token) (*claims, error) {
	c := &claims{live: t.Live, issuer: t.Issuer}
	if err := readBlock(t.Claims[0], c); err != nil {
		return nil, err
	}
	p, err := policy.ParseJSON("vault key", c.RawPolicy)
	if err != nil {
		return nil, err
	}
	c.policy = p
	for _, text := range t.Claims[1:] {
		n := &narrowing{}
		if err := readBlock(text, n); err != nil {
			return nil, err
		}
		if err := c.narrow(n); err != nil {
			return nil, err
		}
	}
	c.named = c.digest()
	return c, nil
}

// readBlock reads one block's claims, which have to be in the one form in which they are written: of a name that stands
// twice or in other letters, or of more text behind, readers differ in what it says.
func readBlock(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if again, err := json.Marshal(into); err != nil || !bytes.Equal(again, text) {
		return errors.New("claims that are not in the one form in which they are written")
	}
	return nil
}

// newID makes a random id of 26 lower-case letters and digits after prefix.
func newID(prefix string) string { return prefix + strings.ToLower(rand.Text()) }

// Issue makes a vault key. It refuses a grant that would not do what its words say: a rule that names no
// operation of the granted vendors, a rule that costs money and no budget covers, a shared budget that has no row,
// a credential reference that is unknown or of the wrong mode. What cannot be recorded is not issued.
//
// The key's own limits stand in its token from now on. Those of shared budgets stay in the ledger: a limit in the
// policy that is the row's own says nothing more, and moves with the row; any other holds beside the row's, so that
// the lower of the two counts.
func (b *Brake) Issue(ctx context.Context, g Grant) (Key, error) {
	issuer := b.keys.Load().issuer
	if issuer == nil {
		return Key{}, ErrNotIssuer
	}
	if err := b.checkGrant(ctx, &g); err != nil {
		return Key{}, fmt.Errorf("keybrake: issue: %w", err)
	}
	c := claims{
		ID: newID("k"), Tenant: g.Tenant, Agent: g.Agent, Run: g.Run, Labels: g.Labels, Credentials: g.Credentials,
		NotBefore: g.NotBefore.Unix(), Expires: g.NotBefore.Add(g.TTL).Unix(), Peer: g.Peer, issuer: token.IDOf(issuer.Public()),
	}
	var err error
	if c.RawPolicy, err = g.Policy.JSON(); err != nil {
		return Key{}, fmt.Errorf("keybrake: issue: %w", err)
	}
	c.named = g.Policy.Digest()
	text, err := json.Marshal(c)
	if err != nil {
		return Key{}, fmt.Errorf("keybrake: issue: %w", err)
	}
	signed, err := token.Sign(issuer.private(), g.Live, text)
	if err != nil {
		return Key{}, fmt.Errorf("keybrake: issue: %w", err)
	}
	key := Key{ID: c.ID, Expires: time.Unix(c.Expires, 0).UTC(), token: func() string { return signed }}
	if err := b.open(ctx, c, key); err != nil {
		return Key{}, err // never a token with an error
	}
	return key, nil
}

// open records the key and makes its row. On error the token must not be used, so the caller gets none, and a record says that
// of a key that is on record already.
func (b *Brake) open(ctx context.Context, c claims, key Key) error {
	r := audit.Record{Tenant: c.Tenant, Agent: c.Agent, Run: c.Run, Labels: c.Labels, Key: c.ID, Policy: c.named, Detail: "issued"}
	if err := b.recordControl(ctx, r); err != nil {
		return fmt.Errorf("keybrake: issue: the audit sink did not take the record, so no key is issued: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, b.cfg.LedgerTimeout)
	defer cancel()
	err := b.cfg.Ledger.Open(within, ledger.Key{Tenant: c.Tenant, ID: c.ID, Expires: key.Expires})
	if err != nil {
		err = fmt.Errorf("keybrake: issue: the ledger did not open the key's row: %w", err)
	} else {
		err = b.checkAlive(within, c, key)
	}
	if err != nil {
		r.Kind, r.Detail = audit.Control, "not issued after all: nobody was given its token"
		b.try(ctx, r)
	}
	return err
}

// checkAlive refuses a key that a standing revoke would stop at its first call. It asks as a read that costs
// nothing, which leaves nothing behind. A pause is no reason, since it ends; nor is an end that
// lies in the past, which is what was asked for.
func (b *Brake) checkAlive(ctx context.Context, c claims, key Key) error {
	names := c.controls("")
	for vendor := range c.Credentials {
		names = append(names, c.controls(vendor)...)
	}
	_, err := b.cfg.Ledger.Reserve(ctx, ledger.Request{
		Tenant: c.Tenant, ID: newID("r"), Nonce: newID("n"), Key: c.ID, Expires: key.Expires,
		Controls: names, Operation: "keybrake.issue", Read: true, Deadline: time.Minute,
	})
	var denied *ledger.Denied
	switch {
	case err == nil, errors.As(err, &denied) && (denied.Code == reason.KeyPaused || denied.Code == reason.KeyExpired):
		return nil
	case denied != nil && denied.Code == reason.KeyRevoked && strings.HasPrefix(denied.Name, "issuer:"):
		return fmt.Errorf("keybrake: issue: %s, the signing key, was revoked, which is final; sign with another one (Brake.Rotate)", denied.Name)
	case denied != nil && denied.Code == reason.KeyRevoked:
		return fmt.Errorf("keybrake: issue: %s was revoked, which is final for that name: keys issued later under it are stopped as well; use another name", denied.Name)
	}
	return fmt.Errorf("keybrake: issue: %w", err)
}

// checkGrant refuses what cannot be meant, and completes g.
func (b *Brake) checkGrant(ctx context.Context, g *Grant) error {
	if g.NotBefore.IsZero() {
		g.NotBefore = time.Now()
	}
	errs := []error{
		checkName("Tenant", g.Tenant), checkName("Agent", g.Agent), checkName("Run", g.Run),
		g.Policy.Validate(), g.Peer.check(),
	}
	for i, l := range g.Labels {
		errs = append(errs, checkName(fmt.Sprintf("Labels[%d]", i), l))
	}
	if g.TTL <= 0 || g.TTL > b.cfg.MaxTTL {
		errs = append(errs, fmt.Errorf("TTL is %v; it has to be above zero and at most %v (Config.MaxTTL)", g.TTL, b.cfg.MaxTTL))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := b.checkCredentials(ctx, *g); err != nil {
		return err
	}
	if err := b.checkBudgets(ctx, g); err != nil {
		return err
	}
	return b.checkRules(ctx, *g)
}

const nameAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:._-"

func checkName(field, name string) error {
	switch {
	case strings.HasPrefix(name, token.Prefix):
		return fmt.Errorf("%s is a vault key's token; give its id, Key.ID", field)
	case len(name) > 64:
		return fmt.Errorf("%s is longer than a name of 1 to 64 bytes may be", field) // and could be anything, so it is not shown
	case name == "" || strings.Trim(name, nameAlphabet) != "":
		return fmt.Errorf("%s %q is not a name of 1 to 64 of the characters A-Z a-z 0-9 : . _ -", field, name)
	}
	return nil
}

// checkCredentials resolves every reference, so that a typo shows here and not at an agent's first call.
func (b *Brake) checkCredentials(ctx context.Context, g Grant) error {
	var errs []error
	for _, vendor := range slices.Sorted(maps.Keys(g.Credentials)) {
		v := b.vendors[vendor]
		if v == nil {
			errs = append(errs, fmt.Errorf("in Grant.Credentials[%q]: no such vendor in Config.Vendors", vendor))
			continue
		}
		_, err := b.placement(ctx, v, g.Credentials[vendor], g.Live)
		switch {
		case errors.Is(err, credentials.ErrUnknown) && b.isCredential(g.Credentials[vendor]):
			// The error would show it.
			errs = append(errs, fmt.Errorf("in Grant.Credentials[%q]: this is a credential and not a reference of one; put it into Config.Credentials, and rotate it if it stood in a log", vendor))
		case err != nil:
			errs = append(errs, fmt.Errorf("in Grant.Credentials[%q]: %w", vendor, err))
		}
	}
	return errors.Join(errs...)
}

// placement fetches a credential and reads it as the vendor's. A live credential serves live keys alone.
func (b *Brake) placement(ctx context.Context, v *vendors.Vendor, ref string, live bool) (vendors.Placement, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.LedgerTimeout)
	defer cancel()
	secret, err := b.creds.Get(ctx, ref)
	if err != nil {
		return vendors.Placement{}, err
	}
	p, err := place(v, secret)
	switch {
	case err != nil:
		return p, err
	case p.Header == "" || p.Value == "":
		return p, fmt.Errorf("the %s adapter placed no credential", v.Name)
	case !placedWhereSaid(v, p):
		return p, fmt.Errorf("the %s adapter placed the credential in a header that it does not name as one of credentials, or twice in one", v.Name)
	case live && p.Mode == vendors.ModeTest:
		return p, errors.New("the credential is of test mode and the key is live; unset Grant.Live or use the live credential")
	case !live && p.Mode == vendors.ModeLive:
		return p, errors.New("the credential is live and the key is not; set Grant.Live if the agent shall move real money")
	}
	return p, nil
}

// placedWhereSaid reports whether every part of p has a header of its own, of those that are never copied from an agent's
// request. In any other, what the agent sent could go out beside it.
func placedWhereSaid(v *vendors.Vendor, p vendors.Placement) bool {
	seen := map[string]bool{}
	for _, h := range append([]vendors.Param{{Name: p.Header, Value: p.Value}}, p.Also...) {
		if seen[h.Name] || h.Value == "" || h.Name != "Authorization" && !slices.Contains(v.CredentialHeaders, h.Name) {
			return false
		}
		seen[h.Name] = true
	}
	return true
}

// checkBudgets looks the shared budgets up, and takes from g's policy the limits that are the rows' own.
func (b *Brake) checkBudgets(ctx context.Context, g *Grant) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.LedgerTimeout)
	defer cancel()
	g.Policy.Budgets = slices.Clone(g.Policy.Budgets)
	for i, want := range g.Policy.Budgets {
		if want.Scope == "" {
			continue
		}
		row, err := b.cfg.Ledger.Budget(ctx, g.Tenant, want.Scope)
		if errors.Is(err, ledger.ErrNoBudget) {
			return fmt.Errorf("in Grant.Policy.budgets[%d]: tenant %s has no shared budget %q; make it with Brake.SetBudget first", i, g.Tenant, want.Scope)
		}
		if err != nil {
			return fmt.Errorf("in Grant.Policy.budgets[%d]: %w", i, err)
		}
		if want.Limit.IsZero() {
			continue
		}
		if got := books.Budget(want); !ledger.SameCount(row, got) {
			return fmt.Errorf("in Grant.Policy.budgets[%d]: shared budget %q counts %s by %s there, and %s by %s in this policy; the row decides, so write the same or policy.Scoped(%q)",
				i, want.Scope, describe(row), row.Window, describe(got), got.Window, want.Scope)
		}
		if want.Limit.Value == row.Limit {
			g.Policy.Budgets[i] = policy.Budget{Name: want.Name, Scope: want.Scope}
		}
	}
	return nil
}

func describe(b ledger.Budget) string {
	s := string(b.Meter)
	if b.Currency != "" {
		s += " in " + string(b.Currency)
	}
	if len(b.Operations) > 0 {
		s += fmt.Sprintf(" of %v", b.Operations)
	}
	if b.Zone != "" {
		s += " (" + b.Zone + ")"
	}
	return s
}

// checkRules refuses a rule that can allow nothing, one that costs money without a budget that counts it, and a
// budget that counts nothing.
func (b *Brake) checkRules(ctx context.Context, g Grant) error {
	budgets, err := b.resolve(ctx, g.Tenant, books.Of(g.Policy))
	if err != nil {
		return err
	}
	errs := []error{b.checkOnly(g.Policy), b.checkCurrency(budgets)}
	if _, keeps := b.cfg.Ledger.(ledger.Keeper); g.Policy.Repeat.Answer && !keeps {
		errs = append(errs, errors.New("in Grant.Policy.repeat.answer: this ledger keeps no answers; use one that is a ledger.Keeper, or leave it out and have repetitions refused"))
	}
	for i, r := range g.Policy.Allow {
		if err := errors.Join(b.checkRule(r, g.Credentials, budgets), b.checkAmounts(r)); err != nil {
			errs = append(errs, fmt.Errorf("in Grant.Policy.allow[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// resolve replaces shared budgets by their rows.
func (b *Brake) resolve(ctx context.Context, tenant string, budgets []ledger.Budget) ([]ledger.Budget, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.LedgerTimeout)
	defer cancel()
	for i, want := range budgets {
		if !want.Shared {
			continue
		}
		row, err := b.cfg.Ledger.Budget(ctx, tenant, want.Name)
		if err != nil {
			return nil, fmt.Errorf("shared budget %q: %w", want.Name, err)
		}
		budgets[i] = ledger.Lower(row, want)
	}
	return budgets, nil
}

func (b *Brake) checkRule(r policy.Rule, granted map[string]string, budgets []ledger.Budget) error {
	named, never := false, ""
	for _, op := range b.table.Operations() {
		asked := asking(op)
		asked.Delicate = asked.Delicate && op.HardDeny == "" // of what is never allowed a wildcard hears that
		if !r.Names(asked) {
			continue
		}
		if op.HardDeny != "" {
			never = fmt.Sprintf("%s is never allowed through a vault key: %s", op.Name, op.HardDeny)
			continue
		}
		vendor, _, _ := strings.Cut(op.Name, ".")
		if granted[vendor] == "" {
			return fmt.Errorf("%s is an operation of %s, for which the grant has no credential", op.Name, vendor)
		}
		named = true
		line := cost.Line{Meter: op.Class.Meter()}
		if op.Class.Paid() && !slices.ContainsFunc(budgets, func(k ledger.Budget) bool { return k.Meter.Money() && k.Counts(op.Name, line) }) {
			return fmt.Errorf("%s costs money and no budget counts its %s; add one such as policy.Lifetime(policy.USD(\"80\"))", op.Name, line.Meter)
		}
	}
	switch {
	case named:
		return nil
	case never != "":
		return errors.New(never)
	}
	return fmt.Errorf("%q names no operation that a vault key can be allowed; docs/operations.md lists them", string(r.Operation))
}

// checkOnly refuses a filter that fits no operation: the budget would count nothing, and nobody would see why.
func (b *Brake) checkOnly(p policy.Policy) error {
	var errs []error
	operations := b.table.Operations()
	for i, budget := range p.Budgets {
		for j, only := range budget.Only {
			if !slices.ContainsFunc(operations, func(op *vendors.Operation) bool { return only.Match(op.Name) }) {
				errs = append(errs, fmt.Errorf("in Grant.Policy.budgets[%d].only[%d]: %q names no operation, so the budget would not count it; docs/operations.md lists them", i, j, string(only)))
			}
		}
	}
	return errors.Join(errs...)
}
