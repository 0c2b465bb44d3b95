package kbresend_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
)

// catalogued are the lines of the catalogue, by columns.
func catalogued(t *testing.T) [][]string {
	t.Helper()
	text, err := os.ReadFile("catalogue.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.Split(strings.TrimSpace(line), "\t"))
		}
	}
	if len(lines) < 140 {
		t.Fatalf("%d lines", len(lines))
	}
	return lines
}

const anID = "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"

var templateID = regexp.MustCompile(`\{[a-z]+\}`)

// Every line is an operation that is found by its own call, is of the class that the line says, and is refused for
// good where the line says so. None hides another.
func TestEveryLineOfTheCatalogueIsFound(t *testing.T) {
	tab := table(t)
	for _, line := range catalogued(t) {
		req := &http.Request{Method: line[1], URL: &url.URL{Scheme: "https", Host: kbresend.Host, Path: templateID.ReplaceAllString(line[2], anID)}}
		_, c, err := tab.Identify(req, nil)
		if c == nil || c.Operation.Name != "resend."+line[0] {
			t.Errorf("%s: found %+v, %v", line[0], c, err)
			continue
		}
		var r *vendors.Refusal
		hard := errors.As(err, &r) && r.Code == reason.OperationHardDenied
		if hard != (line[3] == "deny") || !hard && (err != nil || string(c.Operation.Class) != line[3]) {
			t.Errorf("%s: class %s, %v", line[0], c.Operation.Class, err)
		}
		if (line[3] == "deny" || line[3] == "control" || c.Operation.Class.Paid() && line[6] != "code") && line[7] == "-" {
			t.Errorf("%s: why?", line[0])
		}
	}
}

// What makes keys or takes the events is denied for good, what cannot be priced says so, and what changes where mails
// come from or go to is control: a slip in one letter of the table would not be seen by the test above.
func TestClassesThatMatter(t *testing.T) {
	for _, op := range kbresend.New(nil).Operations {
		name := strings.TrimPrefix(op.Name, "resend.")
		first, _, _ := strings.Cut(name, ".")
		one := []string{"domains.claim.create", "domains.claim.verify", "suppressions.delete", "suppressions.batch.remove", "logs.retrieve"}
		if denied := op.HardDeny != ""; denied != (slices.Contains([]string{"api_keys", "webhooks", "oauth"}, first) || slices.Contains(one, name)) {
			t.Errorf("%s: denied for good: %t", name, denied)
		}
		writes := op.Method != http.MethodGet
		if op.HardDeny == "" && writes == (op.Class == vendors.Read) {
			t.Errorf("%s is of class %s and a %s", name, op.Class, op.Method)
		}
		if writes && slices.Contains([]string{"domains", "contacts", "topics", "segments", "suppressions"}, first) && op.Class != vendors.Control {
			t.Errorf("%s is of class %s", name, op.Class)
		}
		if words := strings.FieldsFunc(name, func(r rune) bool { return r == '.' }); slices.Contains([]string{"send", "batch", "reply", "forward"}, words[len(words)-1]) && op.Class != vendors.Fee {
			t.Errorf("%s is of class %s", name, op.Class)
		}
	}
}

// The catalogue has what the SDK calls and marks it so: each method of each of the SDK's services is called, and what
// it sends is compared with the table.
func TestCatalogueIsTheSDKs(t *testing.T) {
	client, r := sdk(t, ok)
	services := reflect.ValueOf(client).Elem()
	for i := range services.NumField() {
		if service := services.Field(i); service.Kind() == reflect.Interface && services.Type().Field(i).IsExported() {
			callAll(t, service)
		}
	}
	sent := map[string]bool{}
	for i, c := range r.calls {
		if c == nil {
			t.Errorf("the SDK makes a call that the catalogue has not: %v", r.errs[i])
			continue
		}
		sent[strings.TrimPrefix(c.Operation.Name, "resend.")] = true
	}
	var marked, unsent []string
	for _, line := range catalogued(t) {
		if line[5] == "go" {
			marked = append(marked, line[0])
		}
	}
	for _, name := range marked {
		if !sent[name] {
			unsent = append(unsent, name)
		}
		delete(sent, name)
	}
	if len(sent) > 0 || len(unsent) > 0 {
		t.Errorf("the SDK calls what is not marked \"go\": %v; and does not call any more: %v", sent, unsent)
	}
}

// callAll calls each method of an SDK's service that takes a context, with every argument filled in.
func callAll(t *testing.T, service reflect.Value) {
	for i := range service.NumMethod() {
		name, method := service.Type().Method(i).Name, service.Method(i)
		var in []reflect.Value
		for j := range method.Type().NumIn() {
			v := reflect.New(method.Type().In(j)).Elem()
			if v.Type() == reflect.TypeFor[context.Context]() {
				v.Set(reflect.ValueOf(t.Context()))
			} else {
				fill(v)
				identify(v)
			}
			in = append(in, v)
		}
		if name == "Verify" { // of a webhook's signature: it sends nothing
			continue
		}
		method.Call(in)
	}
}

// identify makes an id of every string: some of them go into paths.
func identify(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		identify(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				identify(v.Field(i))
			}
		}
	case reflect.String:
		v.SetString(anID)
	}
}

func TestPlans(t *testing.T) {
	for o, want := range map[kbresend.Options]string{
		{}:                       "fee 0.0018 USD, 2 units",
		{Plan: kbresend.Pro}:     "fee 0.0018 USD, 2 units",
		{Plan: kbresend.Scale}:   "fee 0.0018 USD, 2 units",
		{Plan: kbresend.Free}:    "fee 0.00 USD, 2 units",
		{Plan: "gold"}:           "",
		{PricePerRecipient: "1"}: "fee 2.00 USD, 2 units",
		{Plan: kbresend.Free, PricePerRecipient: "0.5"}:                          "fee 1.00 USD, 2 units",
		{Plan: "gold", PricePerRecipient: "0.5", PricePerBroadcastRecipient: ""}: "fee 1.00 USD, 2 units",
		{PricePerBroadcastRecipient: "cheap"}:                                    "",
	} {
		b, err := bound(t, &o)
		if want != lines(b.Lines) || (err == nil) != (want != "") {
			t.Errorf("%+v: %s, %v", o, lines(b.Lines), err)
		}
		if registered := kbresend.New(&o).Err == nil; registered != (want != "") {
			t.Errorf("%+v: registered %t", o, registered)
		}
	}
}

// A broadcast whose price nobody has given is not sent without a ceiling, and is never free.
func TestBroadcastWithoutPrice(t *testing.T) {
	tree, err := vendors.DecodeJSON([]byte(`{"segment_id":"seg_1","send":true}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []*kbresend.Options{nil, {PricePerBroadcastRecipient: "cheap"}} {
		op := named(t, o, "resend.broadcasts.create")
		b, err := op.Bound(&vendors.Call{Operation: &op, JSON: tree}, nil)
		if err != nil || b.Kind != vendors.Unknown || b.Probe != nil || !strings.Contains(b.Why, "PricePerBroadcastRecipient") {
			t.Errorf("%+v: %+v, %v", o, b, err)
		}
	}
}
