package ledgertest

import (
	"errors"

	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/reason"
)

// selectors are those that stop key1 and not key2.
func selectors() []ledger.Control {
	return []ledger.Control{
		{Tenant: acme, Key: key1}, {Tenant: acme, Agent: "agent-" + key1}, {Tenant: acme, Run: "run-" + key1},
		{Tenant: acme, Label: "label-" + key1}, {Tenant: acme, Vendor: "vendor-" + key1}, {Vendor: "vendor-" + key1},
		{Tenant: acme, Issuer: "issuer-" + key1}, {Issuer: "issuer-" + key1},
	}
}

// wide are those that stop every key of acme.
func wide() []ledger.Control {
	return []ledger.Control{{Tenant: acme}, {Tenant: acme, All: true}, {All: true}}
}

func (w *world) turn(verb ledger.Verb, c ledger.Control) ledger.Report {
	c.Verb = verb
	return w.control(c)
}

// neighbour is a request of key2, and stranger one of another tenant with the names of key1.
func (w *world) neighbour() ledger.Request { return w.call(key2, lines(usd(1)), purse(1000)) }
func (w *world) stranger() ledger.Request {
	return w.callIn("other", key1, lines(usd(1)), purse(1000))
}

// child is a request of a key that was narrowed from key1, twice where the name has a dot.
func (w *world) child(name string) ledger.Request {
	r := w.pay(1, purse(1000))
	r.Controls = ledger.Names(key1+"."+name, "agent-"+key1, "run-"+key1, nil, "vendor-"+key1)
	return r
}

var controlLaws = []Law{
	{"narrowed-stop", "A narrowed key, which has no row, is stopped by its name and by those of the keys that it was narrowed from, and nobody else is.", func(w *world) {
		w.turn(ledger.Pause, ledger.Control{Tenant: acme, Key: key1 + ".a"})
		w.refuse(w.child("a"), reason.KeyPaused)
		w.refuse(w.child("a.x"), reason.KeyPaused)
		w.admit(w.child("b"))
		w.admit(w.child("ab"))
		w.admit(w.pay(1, purse(1000)))
		w.turn(ledger.Resume, ledger.Control{Tenant: acme, Key: key1 + ".a"})
		w.admit(w.child("a.x"))
		w.turn(ledger.Revoke, ledger.Control{Tenant: acme, Key: key1 + ".a.x"})
		w.refuse(w.child("a.x"), reason.KeyRevoked)
		w.admit(w.child("a"))
		w.turn(ledger.Revoke, ledger.Control{Tenant: acme, Key: key1})
		w.refuse(w.child("b"), reason.KeyRevoked)
		if _, err := w.Control(w.ctx, ledger.Control{Verb: ledger.Revoke, Tenant: acme, Key: "unknown.a"}); !errors.Is(err, ledger.ErrNoKey) {
			w.fail("a key that was narrowed from none is revoked with %v, want ErrNoKey", err)
		}
	}},
	{"narrowed-thaw", "The resume of a narrowed key does not thaw the issued one.", func(w *world) {
		h := w.admit(w.pay(1, purse(1000)))
		w.settle(h, usd(2))
		w.refuse(w.child("a"), reason.KeyFrozen)
		w.turn(ledger.Resume, ledger.Control{Tenant: acme, Key: key1 + ".a"})
		w.refuse(w.child("a"), reason.KeyFrozen)
		w.turn(ledger.Resume, ledger.Control{Tenant: acme, Key: key1})
		w.admit(w.child("a"))
	}},
	{"pause-selectors", "A pause stops what its selector names, by whichever selector, and nothing beside; resume undoes it.", func(w *world) {
		w.open("other", key1)
		for _, c := range selectors() {
			w.turn(ledger.Pause, c)
			d := w.refuse(w.pay(1, purse(1000)), reason.KeyPaused)
			c.Verb = ledger.Pause
			if name, _ := c.Name(); d.Name != name {
				w.fail("the refusal names %q, want %q", d.Name, name)
			}
			w.admit(w.neighbour())
			if c.Tenant != "" {
				w.admit(w.stranger())
			} else {
				w.refuse(w.stranger(), reason.KeyPaused)
			}
			w.turn(ledger.Resume, c)
			w.admit(w.pay(1, purse(1000)))
			w.admit(w.stranger())
		}
	}},
	{"pause-wide", "A pause of a tenant, or of all, stops every key in it.", func(w *world) {
		w.open("other", key1)
		for _, c := range wide() {
			w.turn(ledger.Pause, c)
			w.refuse(w.pay(1, purse(1000)), reason.KeyPaused)
			w.refuse(w.neighbour(), reason.KeyPaused)
			if c.Tenant != "" {
				w.admit(w.stranger())
			} else {
				w.refuse(w.stranger(), reason.KeyPaused)
			}
			w.turn(ledger.Resume, c)
			w.admit(w.pay(1, purse(1000)))
			w.admit(w.neighbour())
			w.admit(w.stranger())
		}
	}},
	{"revoke", "A call whose reserve starts after a revoke is refused, by whichever selector.", func(w *world) {
		for _, c := range selectors() {
			key := w.id("key")
			w.open(acme, key)
			c = ledger.Control{Tenant: c.Tenant, Key: swap(c.Key, key), Agent: swap(c.Agent, "agent-"+key), Run: swap(c.Run, "run-"+key),
				Label: swap(c.Label, "label-"+key), Vendor: swap(c.Vendor, "vendor-"+key), Issuer: swap(c.Issuer, "issuer-"+key)}
			w.admit(w.call(key, lines(usd(1)), purse(10)))
			w.turn(ledger.Revoke, c)
			w.refuse(w.call(key, lines(usd(1)), purse(10)), reason.KeyRevoked)
			w.admit(w.neighbour())
		}
	}},
	{"revoke-wide", "A revoke of everything stops every key of every tenant.", func(w *world) {
		w.open("other", key1)
		report := w.control(ledger.Control{Verb: ledger.Revoke, All: true})
		for _, r := range []ledger.Request{w.pay(1, purse(10)), w.neighbour(), w.stranger()} {
			w.refuse(r, reason.KeyRevoked)
		}
		found := map[string]bool{}
		for _, t := range report.Tenants {
			found[t] = true
		}
		if !found[acme] || !found["other"] {
			w.fail("the report names %v", report.Tenants)
		}
	}},
	{"revoke-final", "Nothing undoes a revoke: neither resume nor pause.", func(w *world) {
		for _, c := range []ledger.Control{{Tenant: acme, Key: key1}, {Vendor: "vendor-" + key2}} {
			w.turn(ledger.Revoke, c)
			w.turn(ledger.Pause, c)
			w.turn(ledger.Resume, c)
		}
		w.refuse(w.pay(1, purse(10)), reason.KeyRevoked)
		w.refuse(w.call(key2, lines(usd(1)), purse(10)), reason.KeyRevoked)
	}},
	{"revoke-first", "Where a call is both paused and revoked, the refusal says revoked.", func(w *world) {
		w.turn(ledger.Pause, ledger.Control{Tenant: acme, All: true})
		w.turn(ledger.Revoke, ledger.Control{Tenant: acme, Run: "run-" + key1})
		w.refuse(w.pay(1, purse(10)), reason.KeyRevoked)
		w.refuse(w.neighbour(), reason.KeyPaused)
	}},
	{"control-later-keys", "A control binds keys that are opened after it.", func(w *world) {
		for _, c := range []ledger.Control{{Run: "run-late"}, {Agent: "agent-late"}, {Label: "label-late"}, {Vendor: "vendor-late"}, {}} {
			c.Tenant = acme
			w.turn(ledger.Pause, c)
			w.open(acme, "late")
			w.refuse(w.call("late", lines(usd(1)), purse(10)), reason.KeyPaused)
			w.turn(ledger.Resume, c)
			w.admit(w.call("late", lines(usd(1)), purse(10)))
		}
	}},
	{"control-later-tenants", "A control of a vendor or of everything binds tenants that are opened after it, until it is resumed.", func(w *world) {
		w.turn(ledger.Pause, ledger.Control{Vendor: "vendor-" + key1})
		w.open("later", key1)
		w.open("later", key2)
		w.refuse(w.callIn("later", key1, lines(usd(1)), purse(10)), reason.KeyPaused)
		w.admit(w.callIn("later", key2, lines(usd(1)), purse(10)))
		w.turn(ledger.Resume, ledger.Control{Vendor: "vendor-" + key1})
		w.admit(w.callIn("later", key1, lines(usd(1)), purse(10)))
		w.open("latest", key1)
		w.admit(w.callIn("latest", key1, lines(usd(1)), purse(10)))
		w.turn(ledger.Revoke, ledger.Control{All: true})
		w.open("last", key1)
		w.refuse(w.callIn("last", key1, lines(usd(1)), purse(10)), reason.KeyRevoked)
	}},
	{"control-own-tenant", "What a tenant has resumed for itself stays resumed when another of its keys is opened, and its own pause is not undone by what was resumed elsewhere.", func(w *world) {
		vendor := ledger.Control{Vendor: "vendor-" + key1}
		mine := vendor
		mine.Tenant = acme
		w.turn(ledger.Pause, vendor)
		w.turn(ledger.Resume, mine)
		w.open(acme, w.id("key"))
		w.admit(w.pay(1, purse(1000)))
		w.turn(ledger.Resume, vendor)
		late := ledger.Control{Tenant: "late", Vendor: "vendor-" + key1}
		w.turn(ledger.Pause, late)
		w.open("late", key1)
		w.refuse(w.callIn("late", key1, lines(usd(1)), purse(10)), reason.KeyPaused)
	}},
	{"control-no-key", "Controlling a key that has no row is ErrNoKey.", func(w *world) {
		for _, v := range []ledger.Verb{ledger.Revoke, ledger.Pause, ledger.Resume} {
			_, err := w.Control(w.ctx, ledger.Control{Verb: v, Tenant: acme, Key: "nobody"})
			w.is(string(v), err, ledger.ErrNoKey)
		}
	}},
	{"control-zero", "A control that names nothing, two things or no verb is an error and stops nobody.", func(w *world) {
		for _, c := range []ledger.Control{
			{}, {Verb: ledger.Revoke}, {Verb: ledger.Revoke, Run: "run-" + key1}, {Verb: ledger.Revoke, Tenant: acme, Run: "run-" + key1, All: true},
			{Tenant: acme, Key: key1}, {Verb: "stop", Tenant: acme, Key: key1},
		} {
			if _, err := w.Control(w.ctx, c); err == nil {
				w.fail("%+v was taken", c)
			}
		}
		w.admit(w.pay(1, purse(10)))
	}},
}

// swap is to where from says that the selector is meant.
func swap(from, to string) string {
	if from == "" {
		return ""
	}
	return to
}
