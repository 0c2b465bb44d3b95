package keybrake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/internal/flight"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
)

// A Finding is what the doctor found about one credential. It holds no part of it and no word of the vendor's.
type Finding struct {
	Vendor     string
	Credential string // its reference, as in Grant.Credentials; "[credential]" where a credential stands there itself
	Live       bool   // as in Grant.Live

	Fit vendors.Fit
	Is  string // what it is: "a full secret key of live mode"
	Why string // what of it is more than the policies need, or less, or why nothing can be told
	Do  string // what to do about it, empty if nothing
}

// String is the finding in one line.
func (f Finding) String() string {
	s := fmt.Sprintf("%s credential %q: %s", f.Vendor, f.Credential, f.Fit)
	for _, part := range []string{f.Is, f.Why, f.Do} {
		if part != "" {
			s += "; " + part
		}
	}
	return s
}

// Doctor asks the vendors what the real credentials may do, and says where that is more than the policies need: whoever
// steals a credential, or finds a way around the brake, has what the vendor allows it and not what the policies do. It is
// for a program's start, with the grants that the program will issue; of those only Credentials, Policy and Live count.
// There is one finding for each credential, by vendor and reference.
//
// It sends at most two GETs for each credential, which change and cost nothing, and waits ten seconds for both or
// Config.CallTimeout if that is shorter. Each is in a control record before it is sent; a sink that does not take it is an
// error, and nothing is sent then. So are a grant that names no vendor of this brake and a context that has ended. A
// vendor that does not answer, and a credential that cannot be had, is a finding.
//
// vendors.Fits says that nothing more was seen than needed. It does not say that there is nothing: no vendor lists a
// key's permissions to the key itself. Doctor changes nothing, so a caller may go on with any finding.
func (b *Brake) Doctor(ctx context.Context, grants ...Grant) ([]Finding, error) {
	if len(grants) == 0 {
		return nil, errors.New("keybrake: doctor: no grant is given, so there is no credential to look at; give those that the program will issue")
	}
	patients, err := b.patients(grants)
	if err != nil {
		return nil, fmt.Errorf("keybrake: doctor: %w", err)
	}
	var findings []Finding
	for _, p := range patients {
		f, err := b.examine(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("keybrake: doctor: %s: %w", p.vendor.Name, err)
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// A patient is one credential and the policies that it is used under.
type patient struct {
	account  // its secret is fetched when it is examined
	policies []policy.Policy
}

// patients are the credentials of the grants, each once, in order.
func (b *Brake) patients(grants []Grant) ([]*patient, error) {
	type id struct {
		vendor, ref string
		live        bool
	}
	all := map[id]*patient{}
	for _, g := range grants {
		for vendor, ref := range g.Credentials {
			v := b.vendors[vendor]
			if v == nil {
				return nil, fmt.Errorf("this brake has no vendor %q", clip(vendor))
			}
			at := id{vendor, ref, g.Live}
			if all[at] == nil {
				all[at] = &patient{account: account{vendor: v, ref: ref, live: g.Live}}
			}
			all[at].policies = append(all[at].policies, g.Policy)
		}
	}
	return slices.SortedFunc(maps.Values(all), func(x, y *patient) int {
		return cmp.Or(strings.Compare(x.vendor.Name, y.vendor.Name), strings.Compare(x.ref, y.ref), strings.Compare(fmt.Sprint(x.live), fmt.Sprint(y.live)))
	}), nil
}

// needs are the operations of the vendor that a policy lets through, whatever their parameters.
func (p *patient) needs() (ops []*vendors.Operation) {
	seen := map[string]bool{}
	for i := range p.vendor.Operations {
		op := &p.vendor.Operations[i]
		needed := slices.ContainsFunc(p.policies, func(pol policy.Policy) bool {
			return pol.InsecureObserve || slices.ContainsFunc(pol.Allow, func(r policy.Rule) bool { return r.Names(asking(op)) })
		})
		if op.HardDeny == "" && needed && !seen[op.Name] {
			seen[op.Name] = true
			ops = append(ops, op)
		}
	}
	return ops
}

// examine is the whole of one credential's exam. An error is for the caller: the exam did not take place.
func (b *Brake) examine(ctx context.Context, p *patient) (Finding, error) {
	f := Finding{Vendor: p.vendor.Name, Credential: p.ref, Live: p.live}
	needs := p.needs()
	within, cancel := context.WithTimeout(ctx, min(b.cfg.CallTimeout, 10*time.Second))
	defer cancel()
	secret, err := b.placement(within, p.vendor, p.ref, p.live)
	switch {
	case ctx.Err() != nil:
		return f, context.Cause(ctx)
	case errors.Is(err, credentials.ErrUnknown) && b.isCredential(p.ref):
		// The error would show it, and so would the reference.
		f.Credential, f.Fit, f.Why = "[credential]", vendors.Refused, "what stands in Grant.Credentials is a credential and not the reference of one"
		f.Do = "put it into Config.Credentials and its reference into the grant, and rotate it if it stood in a log"
		return f, nil
	case len(needs) == 0:
		f.Fit, f.Why, f.Do = vendors.Wider, "these policies let no operation of "+f.Vendor+" through", "leave it out of Grant.Credentials"
		return f, nil
	case p.vendor.Examine == nil:
		f.Why = f.Vendor + " does not tell what a credential may do"
		return f, nil
	case err != nil:
		f.Fit, f.Why = vendors.Refused, "it cannot be used: "+err.Error()
		return f, nil
	}
	p.secret = secret
	d, err := b.diagnose(within, p, needs)
	switch {
	case ctx.Err() != nil:
		return f, context.Cause(ctx)
	case err != nil:
		return f, err
	case d.Fit == vendors.Refused:
		b.creds.Drop(p.ref) // one rotated meanwhile is fetched
	}
	f.Fit, f.Is, f.Why, f.Do = d.Fit, scrub(secret, d.Is), scrub(secret, d.Why), scrub(secret, d.Do)
	return f, nil
}

// diagnose asks the adapter, and makes the looks that it wants.
func (b *Brake) diagnose(ctx context.Context, p *patient, needs []*vendors.Operation) (d vendors.Diagnosis, err error) {
	e := &vendors.Exam{Kind: p.secret.Kind, Mode: p.secret.Mode, Account: p.secret.Account, Needs: needs}
	for {
		if contain(func() error { d = p.vendor.Examine(e); return nil }) != nil {
			return vendors.Diagnosis{Why: "the adapter failed"}, nil
		}
		if d.Look == nil {
			return d, nil
		}
		if len(e.Seen) == vendors.MostExamLooks || b.table.Vendor(d.Look.Host) != p.vendor {
			// Fails closed: what the adapter asks for beyond its vendor is not sent, because it would carry the credential.
			return vendors.Diagnosis{Why: "the adapter asks for more than it may see"}, nil
		}
		reply, err := b.listen(ctx, p, d.Look)
		if err != nil {
			return vendors.Diagnosis{}, err
		}
		e.Seen = append(e.Seen, reply)
	}
}

// listen makes one look, on record first. What is no answer is a reply of status 0; an error means that nothing was sent.
func (b *Brake) listen(ctx context.Context, p *patient, l *vendors.Probe) (*vendors.Reply, error) {
	err := b.recordControl(ctx, audit.Record{
		Vendor: p.vendor.Name, Credential: p.ref, Operation: l.Operation, Detail: "doctor: a look at what the credential may do",
	})
	if err != nil {
		return nil, fmt.Errorf("the audit sink did not take the record, so nothing is asked: %w", err)
	}
	landing := clean(p.secret, b.gate.Look(ctx, flight.Outgoing{
		Method: http.MethodGet, Host: l.Host, Path: l.Path, Query: vendors.Encode(l.Query),
		Credential: func() http.Header { return headersOf(p.secret) },
	}))
	closeRest(landing)
	if cmp.Or(landing.Err, landing.Cut) != nil || landing.Rest != nil {
		return &vendors.Reply{}, nil
	}
	return &vendors.Reply{Status: landing.Status, Header: landing.Header, Body: landing.Body}, nil
}
