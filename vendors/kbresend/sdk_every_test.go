package kbresend_test

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/resend/resend-go/v2"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/audittest"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

// sdkCalls are the methods of resend-go's services, without "With…", and the operation that each is.
var sdkCalls = map[string]string{
	"Emails.Send": "emails.send", "Emails.Get": "emails.retrieve", "Emails.List": "emails.list", "Emails.Update": "emails.update", "Emails.Cancel": "emails.cancel",
	"Batch.Send":     "emails.batch",
	"ApiKeys.Create": "api_keys.create", "ApiKeys.List": "api_keys.list", "ApiKeys.Remove": "api_keys.delete",
	"Domains.Create": "domains.create", "Domains.Get": "domains.retrieve", "Domains.List": "domains.list", "Domains.Update": "domains.update",
	"Domains.Verify": "domains.verify", "Domains.Remove": "domains.delete",
	"Audiences.Create": "audiences.create", "Audiences.Get": "audiences.retrieve", "Audiences.List": "audiences.list", "Audiences.Remove": "audiences.delete",
	"Contacts.Create": "audiences.contacts.create", "Contacts.Get": "audiences.contacts.retrieve", "Contacts.List": "audiences.contacts.list",
	"Contacts.Update": "audiences.contacts.update", "Contacts.Remove": "audiences.contacts.delete",
	"Broadcasts.Create": "broadcasts.create", "Broadcasts.Get": "broadcasts.retrieve", "Broadcasts.List": "broadcasts.list", "Broadcasts.Update": "broadcasts.update",
	"Broadcasts.Send": "broadcasts.send", "Broadcasts.Remove": "broadcasts.delete",
	"Webhooks.Create": "webhooks.create", "Webhooks.Get": "webhooks.retrieve", "Webhooks.List": "webhooks.list", "Webhooks.Update": "webhooks.update", "Webhooks.Remove": "webhooks.delete",
}

var withWhat = regexp.MustCompile(`With(Context|Options)$`)

// each calls f with every method of the SDK's services that sends something.
func each(c *resend.Client, f func(name string, method reflect.Value)) {
	services := reflect.ValueOf(c).Elem()
	for i := range services.NumField() {
		field := services.Type().Field(i)
		if service := services.Field(i); field.IsExported() && service.Kind() == reflect.Interface {
			for j := range service.NumMethod() {
				if name := service.Type().Method(j).Name; field.Name+"."+name != "Webhooks.Verify" { // of a signature: it sends nothing
					f(field.Name+"."+name, service.Method(j))
				}
			}
		}
	}
}

// full are a method's arguments, every field of them set.
func full(t *testing.T, name string, method reflect.Type) []reflect.Value {
	var in []reflect.Value
	for i := range method.NumIn() {
		v := reflect.New(method.In(i)).Elem()
		if v.Type() == reflect.TypeFor[context.Context]() {
			v.Set(reflect.ValueOf(t.Context()))
		} else {
			fill(v)
			if !strings.Contains(name, ".Send") || strings.HasPrefix(name, "Broadcasts") {
				identify(v)
			}
		}
		switch v := v.Interface().(type) {
		case *resend.SendEmailRequest:
			v.Tags = []resend.Tag{{Name: "category", Value: "welcome"}}
		case []*resend.SendEmailRequest:
			for _, m := range v {
				m.Tags = []resend.Tag{{Name: "category", Value: "welcome"}}
			}
		case *resend.SendEmailOptions:
			v.IdempotencyKey = name
		case *resend.BatchSendEmailOptions:
			v.IdempotencyKey, v.BatchValidation = name, resend.BatchValidationPermissive
		case *resend.ListOptions:
			v.Before = nil // there is one cursor
		}
		in = append(in, v)
	}
	return in
}

// Every method of resend-go goes through a real brake, to a vendor that notes what arrives: with the real credential,
// once, as the operation that it is; or, if that is denied for good, not at all.
func TestEverySDKCallThroughTheBrake(t *testing.T) {
	const secret = "re_Real4Secret_5Never6Shown7"
	vendor := kbresend.New(&kbresend.Options{PricePerBroadcastRecipient: "0"})
	f := fake(t)
	sink := &audittest.Recorder{}
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	brake, err := keybrake.New(t.Context(), keybrake.Config{
		Issuer: issuer, Ledger: memory.New(), Vendors: []vendors.Vendor{vendor}, Audit: sink, Base: f.Transport(),
		Credentials: credentials.Static(map[string]string{"resend": secret}),
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{} // one for each operation that may be allowed, and for nothing else
	for name, rule := range rulesOf(vendor) {
		key, err := brake.Issue(t.Context(), keybrake.Grant{
			Tenant: "acme", Agent: "mailer", Run: "run_1", TTL: time.Hour,
			Credentials: map[string]string{"resend": "resend"},
			Policy:      policy.Policy{Allow: []policy.Rule{rule}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("100"))}},
		})
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = key.Token()
	}
	c := resend.NewCustomClient(brake.Client(), "")
	called := map[string]bool{}
	each(c, func(name string, method reflect.Value) {
		short := withWhat.ReplaceAllString(name, "")
		want, known := sdkCalls[short]
		if !known {
			t.Errorf("%s: which operation is it?", name)
			return
		}
		called[short] = true
		denied := keys["resend."+want] == ""
		if c.ApiKey = keys["resend."+want]; denied {
			c.ApiKey = keys["resend.emails.send"]
		}
		received, records := len(f.Received()), len(sink.Records())
		method.Call(full(t, name, method.Type()))
		all := sink.Records()
		last := all[len(all)-1]
		if len(all) == records { // a refusal like one before is counted with it
			alike := slices.IndexFunc(all, func(r audit.Record) bool { return r.Kind == audit.Denied && r.Operation == "resend."+want })
			last = all[max(0, alike)]
		}
		if last.Operation != "resend."+want {
			t.Errorf("%s is taken for %s (%s), want %s", name, last.Operation, last.Reason, want)
		}
		arrived := f.Received()[received:]
		switch {
		case denied || strings.HasPrefix(want, "api_keys.") || strings.HasPrefix(want, "webhooks."):
			if len(arrived) > 0 || last.Reason != reason.OperationHardDenied {
				t.Errorf("%s is not denied for good: %+v", name, last)
			}
		case len(arrived) != 1 || last.Verdict != audit.Allow:
			t.Errorf("%s: %d requests arrived: %s %s %v", name, len(arrived), last.Verdict, last.Reason, last.Reasons)
		case arrived[0].Header.Get("Authorization") != "Bearer "+secret || strings.Contains(fmt.Sprint(arrived[0]), c.ApiKey):
			t.Errorf("%s goes out as %v", name, arrived[0].Header)
		}
	})
	for name := range sdkCalls {
		if !called[name] {
			t.Errorf("the SDK has no %s any more", name)
		}
	}
	if sent := len(f.Executions()); sent < 8 {
		t.Errorf("%d mails were sent, want those of all ways to send", sent)
	}
}

// rulesOf allow each operation by its name, with a ceiling where it needs one and a grant for what redirects.
func rulesOf(v vendors.Vendor) map[string]policy.Rule {
	rules := map[string]policy.Rule{}
	for _, op := range v.Operations {
		if op.HardDeny != "" {
			continue
		}
		r := policy.Rule{Operation: cost.Pattern(op.Name)}
		if op.Class.Paid() {
			r.Params = policy.Params{}
			for _, p := range op.Params.Redirects {
				r.Params[p] = policy.Match{Any: true}
			}
			if b, err := op.Bound(&vendors.Call{Operation: &op, Header: http.Header{}}, nil); err == nil && b.Kind == vendors.Unknown {
				r.Ceiling = policy.USD("1")
			}
		}
		rules[op.Name] = r
	}
	return rules
}
