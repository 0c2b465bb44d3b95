package ledger

import (
	"fmt"
	"strings"
)

// A Verb is what a [Control] does.
type Verb string

// The verbs.
const (
	Revoke Verb = "revoke" // final
	Pause  Verb = "pause"
	Resume Verb = "resume" // undoes Pause and thaws a frozen key; never undoes Revoke
)

// A Control stops calls by what they belong to. Exactly one of Key, Agent, Run, Label, Vendor, Issuer and All selects
// within Tenant; with none of them it is the tenant itself. An empty Tenant is every tenant and is legal for
// Vendor, Issuer and All alone. A control binds keys that are issued later, too.
type Control struct {
	Verb                           Verb
	Tenant                         string
	Key, Agent, Run, Label, Vendor string
	Issuer                         string // the id of the key that signs vault keys
	All                            bool
	Reason                         string // for people; kept with the row
}

// Valid reports what is wrong with c, if anything. A verb that is none would be kept and stop nothing, so it is
// refused.
func (c Control) Valid() error {
	if c.Verb != Revoke && c.Verb != Pause && c.Verb != Resume {
		return fmt.Errorf("ledger: %q is not a verb; revoke, pause or resume", c.Verb)
	}
	_, err := c.Name()
	return err
}

// Name is the row that c writes: "run:run_42". Reserve is given the names that stop its call.
func (c Control) Name() (string, error) {
	names := []string{}
	for _, n := range []struct{ kind, value string }{{"key", c.Key}, {"agent", c.Agent}, {"run", c.Run}, {"label", c.Label}, {"vendor", c.Vendor}, {"issuer", c.Issuer}} {
		if n.value != "" {
			names = append(names, n.kind+":"+n.value)
		}
	}
	if c.All {
		names = append(names, "all")
	}
	switch {
	case len(names) > 1:
		return "", fmt.Errorf("ledger: a selector names one thing, not %s", strings.Join(names, " and "))
	case len(names) == 0 && c.Tenant == "":
		return "", fmt.Errorf("ledger: the selector names nothing; to stop everything, say so")
	case len(names) == 0:
		return "tenant", nil
	case c.Tenant == "" && c.Vendor == "" && c.Issuer == "" && !c.All:
		return "", fmt.Errorf("ledger: selector %s needs a tenant", names[0])
	}
	return names[0], nil
}

// Issued is the id of the key that was issued, where key may be the id of one that was narrowed from it. A narrowed key's
// id is its parent's, a dot and a part of its own. It has no row: what it counts stands in the issued key's, and it is
// stopped by its own name and by those of all that it was narrowed from.
func Issued(key string) string {
	id, _, _ := strings.Cut(key, ".")
	return id
}

// Names are the controls that stop a call of this key, beside that of its issuer. They are checked in one step with the
// key's own row.
func Names(key, agent, run string, labels []string, vendor string) []string {
	names := []string{"all", "tenant", "vendor:" + vendor, "agent:" + agent, "run:" + run}
	for i := range key + "." {
		if i == len(key) || key[i] == '.' {
			names = append(names, "key:"+key[:i])
		}
	}
	for _, l := range labels {
		names = append(names, "label:"+l)
	}
	return names
}

// A Report says whom a [Control] reached.
type Report struct {
	Tenants []string // the tenants in which the control now stands
}

// A PartialError says that a control for every tenant did not reach all of them. The global row stands, so
// tenants opened later are stopped; those named here may still admit calls. Say it again until it succeeds.
type PartialError struct {
	Tenants []string // not reached
	Err     error    // of the first of them
}

// Error names the tenants.
func (e *PartialError) Error() string {
	return fmt.Sprintf("ledger: not stopped yet in tenants %s: %v; repeat until it succeeds", strings.Join(e.Tenants, ", "), e.Err)
}

// Unwrap returns the cause.
func (e *PartialError) Unwrap() error { return e.Err }
