package keybrake

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/token"
	"github.com/keybrake/keybrake-go/ledger"
)

// A Selector says whose calls to stop. The zero Selector is an error.
type Selector struct{ control ledger.Control }

// by selects what one name stands for. Without the name it would select all of the tenant, so it selects nothing.
func by(name string, c ledger.Control) Selector {
	if name == "" {
		return Selector{}
	}
	return Selector{c}
}

// ByKey selects one vault key, by its id, and what was narrowed from it. An id that was never issued is an error; what stands
// behind the dot in a narrowed key's id is not known to the ledger, so that a slip there stops nobody and says nothing.
func ByKey(tenant, id string) Selector { return by(id, ledger.Control{Tenant: tenant, Key: id}) }

// ByRun selects all keys of a run.
func ByRun(tenant, run string) Selector { return by(run, ledger.Control{Tenant: tenant, Run: run}) }

// ByAgent selects all keys of an agent.
func ByAgent(tenant, agent string) Selector {
	return by(agent, ledger.Control{Tenant: tenant, Agent: agent})
}

// ByLabel selects all keys that carry a label.
func ByLabel(tenant, label string) Selector {
	return by(label, ledger.Control{Tenant: tenant, Label: label})
}

// ByTenant selects all keys of a tenant.
func ByTenant(tenant string) Selector { return Selector{ledger.Control{Tenant: tenant}} }

// ByVendor selects a tenant's calls to one vendor.
func ByVendor(tenant, vendor string) Selector {
	return by(vendor, ledger.Control{Tenant: tenant, Vendor: vendor})
}

// ByVendorEverywhere selects every tenant's calls to one vendor.
func ByVendorEverywhere(vendor string) Selector { return Selector{ledger.Control{Vendor: vendor}} }

// ByIssuer selects every tenant's vault keys that were signed with the private half of a key: when others may know it.
func ByIssuer(public ed25519.PublicKey) Selector {
	if len(public) != ed25519.PublicKeySize {
		return Selector{}
	}
	return Selector{ledger.Control{Issuer: issuerName(token.IDOf(public))}}
}

// Everything selects every call of every tenant.
func Everything() Selector { return Selector{ledger.Control{All: true}} }

// Because adds a reason, for people: it stands in the record and in the ledger's row.
func (s Selector) Because(why string) Selector {
	s.control.Reason = why
	return s
}

// String names what s selects.
func (s Selector) String() string {
	name, err := s.control.Name()
	if err != nil {
		return "nothing"
	}
	if s.control.Tenant != "" {
		return strings.TrimSuffix("tenant:"+s.control.Tenant+" "+name, " tenant")
	}
	return name
}

// A Report is what a revoke or a pause has reached, and what it leaves to look after: the calls that were admitted
// before it and are not over.
type Report struct {
	Tenants []string      // in which it now stands
	Open    []ledger.Hold // in flight, pending at the vendor, or in doubt, by tenant and then oldest first
	AtRisk  []cost.Line   // what they hold together: the most that they may yet cost

	// Unlisted are tenants whose open calls could not be listed. They are stopped all the same.
	Unlisted []string
}

// Revoke stops what s selects, for good: keys issued later under the same names are stopped as well. When it
// returns without error, no call whose reserve starts afterwards is forwarded, in any process that shares the
// ledger. A call that is being forwarded already is in the report; it is cut off where its policy says so (see
// [Brake.Watch]). A [*ledger.PartialError] names the tenants that were not reached.
func (b *Brake) Revoke(ctx context.Context, s Selector) (Report, error) {
	return b.stop(ctx, s, ledger.Revoke)
}

// Pause stops what s selects as [Brake.Revoke] does, until [Brake.Resume]. It cuts nothing off.
func (b *Brake) Pause(ctx context.Context, s Selector) (Report, error) {
	return b.stop(ctx, s, ledger.Pause)
}

// stop takes effect first and is recorded afterwards: a sink that is down must not keep an agent running.
func (b *Brake) stop(ctx context.Context, s Selector, verb ledger.Verb) (Report, error) {
	if err := s.check(verb); err != nil {
		return Report{}, err
	}
	reached, err := b.control(ctx, s, verb)
	s.control.Verb = verb
	b.flights.cutOff(s.control) // on error too: a revoke may have reached some
	detail := string(verb) + " " + s.String()
	if err != nil {
		detail += ", not wholly carried out"
	}
	if recordErr := b.recordControl(ctx, s.record(detail)); recordErr != nil {
		b.log().ErrorContext(ctx, "keybrake: no record of a control", "control", detail, "error", recordErr)
	}
	return b.report(ctx, s, reached.Tenants), err
}

// report lists the open calls of what was stopped. It comes last: what stops must not wait for it.
func (b *Brake) report(ctx context.Context, s Selector, tenants []string) Report {
	r := Report{Tenants: tenants}
	name, _ := s.control.Name() // was checked
	for _, t := range tenants {
		ctx, cancel := context.WithTimeout(ctx, b.cfg.LedgerTimeout)
		open, err := b.cfg.Ledger.Unsettled(ctx, t, name)
		cancel()
		if err != nil {
			b.log().WarnContext(ctx, "keybrake: the open calls of what was stopped are not listed", "tenant", t, "error", err)
			r.Unlisted = append(r.Unlisted, t)
		}
		r.Open = append(r.Open, open...)
	}
	for _, h := range r.Open {
		r.AtRisk = addLines(r.AtRisk, b.atRisk(h))
	}
	return r
}

// addLines adds more to sum, by meter and currency. What cannot be added stays the most that can be said.
func addLines(sum, more []cost.Line) []cost.Line {
	for _, l := range more {
		i := slices.IndexFunc(sum, func(o cost.Line) bool { return o.Meter == l.Meter && o.Currency == l.Currency })
		if i < 0 {
			sum = append(sum, l)
			continue
		}
		total, err := cost.Add(sum[i].Amount, l.Amount)
		if err != nil {
			total = cost.Max
		}
		sum[i].Amount = total
	}
	return sum
}

// Resume undoes a pause of the same selector (one by run does not undo one by agent), and thaws a key that was frozen
// because the vendor took more than its bound. It never undoes a revoke: of what is revoked it changes nothing,
// without an error. The record is written first.
func (b *Brake) Resume(ctx context.Context, s Selector) (Report, error) {
	if err := s.check(ledger.Resume); err != nil {
		return Report{}, err
	}
	if err := b.recordControl(ctx, s.record("resume "+s.String())); err != nil {
		return Report{}, fmt.Errorf("keybrake: resume: the audit sink did not take the record, so nothing is resumed: %w", err)
	}
	reached, err := b.control(ctx, s, ledger.Resume)
	return Report{Tenants: reached.Tenants}, err
}

func (b *Brake) control(ctx context.Context, s Selector, verb ledger.Verb) (ledger.Report, error) {
	s.control.Verb = verb
	report, err := b.cfg.Ledger.Control(ctx, s.control)
	if err != nil {
		return report, fmt.Errorf("keybrake: %s %s: %w", verb, s, err)
	}
	return report, nil
}

// check refuses what selects nothing, and what is no name: it would stop nothing, stand in records, and be a token
// where somebody slips.
func (s Selector) check(verb ledger.Verb) error {
	c := s.control
	c.Verb = verb
	err := c.Valid()
	for _, n := range []struct{ field, name string }{
		{"the tenant", c.Tenant}, {"the key's id", c.Key}, {"the agent", c.Agent}, {"the run", c.Run}, {"the label", c.Label}, {"the vendor", c.Vendor}, {"the issuer", c.Issuer},
	} {
		if err == nil && n.name != "" {
			err = checkName(n.field, n.name)
		}
	}
	if err != nil {
		return fmt.Errorf("keybrake: %s: %w", verb, err)
	}
	return nil
}

func (s Selector) record(detail string) audit.Record {
	if s.control.Reason != "" {
		detail += ": " + s.control.Reason
	}
	c := s.control
	return audit.Record{Tenant: c.Tenant, Agent: c.Agent, Run: c.Run, Key: c.Key, Vendor: c.Vendor, Detail: detail}
}
