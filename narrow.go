package keybrake

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/internal/books"
	"github.com/keybrake/keybrake-go/internal/token"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
)

// A Narrowing says what a vault key for a sub-agent may do less than the key that it is made of. Tenant, agent, run,
// credentials and the vendors are the parent's and cannot change.
type Narrowing struct {
	// Allow are rules that a call has to pass as well, beside those of the parent. They name an operation, its parameters,
	// countries and recipients as a policy's do; a ceiling stays the parent's. nil: all that the parent may.
	Allow []policy.Rule

	// Budgets are the child's own, which it draws on beside all that its parent draws on. They cannot be shared ones and
	// raise no alerts: both belong to whoever issues keys.
	Budgets []policy.Budget

	Labels []string // further names by which the child can be stopped, beside its parent's; at most 16

	TTL time.Duration // from now, in whole seconds; zero: it ends when its parent does
}

// Narrow makes a vault key for a sub-agent that may do less, without asking anybody: neither a brake nor its ledger nor
// the issuer is needed, and no record is made before the child's first call. The child spends from its own budgets and from
// those of every key that it was narrowed from; whoever revokes or pauses one of these stops the child too, and its own id
// stops it alone. A key can be narrowed four times over.
//
// What is narrowed cannot be widened again: the child holds no secret of its parent. A rule that names what the parent may
// not do allows nothing, and nothing says so here, where the issued policy need not be known.
func (k Key) Narrow(n Narrowing) (Key, error) {
	child, err := k.narrow(n)
	if err != nil {
		return Key{}, fmt.Errorf("keybrake: narrow: %w", err)
	}
	return child, nil
}

func (k Key) narrow(n Narrowing) (Key, error) {
	if err := n.check(k); err != nil {
		return Key{}, err
	}
	block := narrowing{ID: newID("")[:childLen], Labels: n.Labels, All: n.Allow == nil, policy: policy.Policy{Allow: n.Allow, Budgets: n.Budgets}}
	if n.TTL > 0 {
		block.Expires = time.Now().Add(n.TTL).Unix()
	}
	if err := errors.Join(block.policy.Validate(), block.check(k.Expires)); err != nil {
		return Key{}, err
	}
	var err error
	if block.RawPolicy, err = block.policy.JSON(); err != nil {
		return Key{}, err
	}
	text, err := json.Marshal(block)
	if err != nil {
		return Key{}, err
	}
	signed, err := token.Narrow(k.Token(), text)
	if err != nil {
		return Key{}, err
	}
	return ParseKey(signed)
}

// check refuses what cannot be meant.
func (n Narrowing) check(parent Key) error {
	switch {
	case parent.token == nil:
		return errors.New("the zero Key has nothing to narrow; use one that was issued, or ParseKey")
	case n.Allow == nil && n.Budgets == nil && n.Labels == nil && n.TTL == 0:
		return errors.New("the Narrowing says nothing, so the child would be its parent; give it rules, budgets, labels or a TTL")
	case n.Allow != nil && len(n.Allow) == 0:
		return errors.New("Narrowing.Allow is empty, so the child could do nothing; leave it nil for all that the parent may")
	case n.TTL < 0 || n.TTL > 0 && n.TTL < time.Second:
		return fmt.Errorf("Narrowing.TTL is %v; it has to be at least one second, or zero for the parent's end", n.TTL)
	case time.Now().Add(n.TTL).After(parent.Expires):
		return fmt.Errorf("Narrowing.TTL is %v and the parent ends earlier, at %s; leave it zero to end with it", n.TTL, parent.Expires.Format(time.RFC3339))
	}
	return nil
}

// ParseKey reads a vault key from its token, for an agent that was given one and narrows it for another. It checks that the
// token is whole, and not who has signed it: a brake does that at every call.
func ParseKey(vaultKey string) (Key, error) {
	t, err := token.Read(strings.TrimSpace(vaultKey))
	if err != nil {
		return Key{}, fmt.Errorf("keybrake: this is not the token of a vault key, or it is damaged")
	}
	c, err := readClaims(t)
	if err != nil {
		return Key{}, fmt.Errorf("keybrake: the vault key says something that this version does not know: %w", err)
	}
	text := strings.Clone(strings.TrimSpace(vaultKey))
	return Key{ID: c.name(), Expires: c.expires(), token: func() string { return text }}, nil
}

// childLen is the length of a narrowed key's own part of its id. It keeps the longest id, of four times narrowed ones,
// within the length of a name.
const childLen = 8

// mostLabels of one narrowing: whoever holds a key can add as many as he likes, and the ledger keeps them with each call.
const mostLabels = 16

// A narrowing is a [Narrowing] as it stands in a token. A reader that does not know a field refuses the token.
type narrowing struct {
	ID        string          `json:"id"`
	Labels    []string        `json:"labels,omitempty"`
	Expires   int64           `json:"exp,omitempty"` // Unix seconds; zero: its parent's
	All       bool            `json:"all,omitempty"` // the rules are the parent's
	RawPolicy json.RawMessage `json:"policy"`

	policy policy.Policy
}

// narrow appends n to c. What Narrow never makes was made by somebody who tries what it does, and is refused with all of
// the token, though it would give nothing that the parent does not have.
func (c *claims) narrow(n *narrowing) error {
	var err error
	if n.policy, err = policy.ParseJSON("vault key", n.RawPolicy); err != nil {
		return err
	}
	if err := n.check(c.expires()); err != nil {
		return err
	}
	c.less = append(c.less, n)
	return nil
}

// check refuses what is not a parent's to give, where the parent ends at end.
func (n *narrowing) check(end time.Time) error {
	var errs []error
	if len(n.ID) != childLen || strings.Trim(n.ID, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		errs = append(errs, errors.New("a narrowed key's part of its id is not of the form that they have"))
	}
	if len(n.Labels) > mostLabels {
		errs = append(errs, fmt.Errorf("Narrowing.Labels are %d; each is kept with every call, so there may be %d", len(n.Labels), mostLabels))
	}
	for i, l := range n.Labels {
		errs = append(errs, checkName(fmt.Sprintf("Narrowing.Labels[%d]", i), l))
	}
	if n.All != (len(n.policy.Allow) == 0) {
		errs = append(errs, errors.New("a narrowed key has rules of its own or all of its parent's"))
	}
	for i, r := range n.policy.Allow {
		if !r.Ceiling.IsZero() {
			errs = append(errs, fmt.Errorf("in Narrowing.Allow[%d]: a ceiling is what is reserved, and that is the issued key's to say; use MaxPerCall", i))
		}
	}
	for i, b := range n.policy.Budgets {
		if len(b.AlertAt) > 0 { // of the tenant's alerts the oldest go when there are too many
			errs = append(errs, fmt.Errorf("in Narrowing.Budgets[%d]: alerts are for whoever issues keys; an agent that makes up keys could drown them", i))
		}
		if b.Scope != "" {
			errs = append(errs, fmt.Errorf("in Narrowing.Budgets[%d]: %q is shared; a narrowed key draws on its parent's shared budgets already, and has only its own beside", i, b.Scope))
		}
	}
	if p := n.policy; !p.Repeat.IsZero() || p.CancelOnRevoke || p.InsecureObserve {
		errs = append(errs, errors.New("a narrowed key has rules and budgets; the rest of its policy is its parent's"))
	}
	if n.Expires < 0 || n.Expires > end.Unix() {
		errs = append(errs, errors.New("a narrowed key ends no later than its parent"))
	}
	return errors.Join(errs...)
}

// name is the id of the key: that of the issued one, and the part of each that narrows it.
func (c *claims) name() string { return c.nameAt(len(c.less)) }

func (c *claims) nameAt(depth int) string {
	name := c.ID
	for _, n := range c.less[:depth] {
		name += "." + n.ID
	}
	return name
}

// labels are those of all its keys.
func (c *claims) labels() []string {
	all := slices.Clone(c.Labels)
	for _, n := range c.less {
		all = append(all, n.Labels...)
	}
	return all
}

// expires is the earliest end of all its keys.
func (c *claims) expires() time.Time {
	end := c.Expires
	for _, n := range c.less {
		if n.Expires != 0 {
			end = min(end, n.Expires)
		}
	}
	return time.Unix(end, 0).UTC()
}

// parents are the ids of the keys that it was narrowed from, the issued one's first.
func (c *claims) parents() (list []string) {
	for depth := range c.less {
		list = append(list, c.nameAt(depth))
	}
	return list
}

// digest names the policies of all its keys, as the id names the keys.
func (c *claims) digest() string {
	text := c.policy.Digest()
	for _, n := range c.less {
		text += "." + n.policy.Digest()
	}
	return text
}

// A share is what one of a call's keys allows.
type share struct {
	of string // the id of the narrowed key; empty for the issued one
	policy.Policy
}

// policies are what each of its keys allows, the issued one's first; of those that narrow it only those with rules. A call
// has to pass all of them.
func (c *claims) policies() []share {
	list := []share{{"", c.policy}}
	for i, n := range c.less {
		if !n.All {
			list = append(list, share{c.nameAt(i + 1), n.policy})
		}
	}
	return list
}

// books are the budgets of all its keys. What narrows a key is enforced, also where the issued policy is only observed.
func (c *claims) books() []ledger.Budget {
	all := books.Of(c.policy)
	for i, n := range c.less {
		for _, b := range books.Of(n.policy) {
			b.Of = c.nameAt(i + 1)
			all = append(all, b)
		}
	}
	return all
}

// controls are the names whose revoke or pause stops a call to vendor.
func (c *claims) controls(vendor string) []string {
	return append(ledger.Names(c.name(), c.Agent, c.Run, c.labels(), vendor), "issuer:"+issuerName(c.issuer))
}

func issuerName(id token.KeyID) string { return hex.EncodeToString(id[:]) }
