package kbtwilio_test

import (
	"errors"
	"os/exec"
	"path"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/internal/twiliocatalogue"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
	"github.com/twilio/twilio-go"
)

// surface is every call of twilio-go, out of its source.
func surface(t *testing.T) []twiliocatalogue.Call {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/twilio/twilio-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	calls, err := twiliocatalogue.Surface(strings.TrimSpace(string(dir)))
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// A sender is one method of the SDK and the row that its call has to be.
type sender struct {
	call twiliocatalogue.Call
	row  *vendors.Operation
}

var id = regexp.MustCompile(`\{[A-Za-z]+(?::(?:([A-Za-z0-9]+)|\*))?\}`)

// plain is a path without the names of its ids.
func plain(path string) string { return id.ReplaceAllString(path, "{}") }

// senders finds the row of each call by method, host and path, not by what the table says.
func senders(t *testing.T) []sender {
	t.Helper()
	rows := map[string]*vendors.Operation{}
	for _, op := range table(t).Operations() {
		if key := op.Method + " " + op.Host + plain(op.Path); rows[key] == nil {
			rows[key] = op
		}
	}
	var all []sender
	for _, c := range surface(t) {
		row := rows[c.Method+" "+c.Host+plain(c.Path)]
		if row == nil {
			t.Errorf("%s/%s %s has no row", c.Product, c.Version, c.Func)
			continue
		}
		all = append(all, sender{c, row})
	}
	return all
}

// send calls the SDK's method with every parameter set, and an id that fits the row for each that the path needs.
func (s sender) send(t *testing.T, c *twilio.RestClient) {
	t.Helper()
	services := reflect.ValueOf(c).Elem()
	for i := range services.NumField() {
		service := services.Field(i)
		if service.Kind() != reflect.Pointer || !strings.HasSuffix(service.Type().Elem().PkgPath(), path.Join("/rest", s.call.Product, s.call.Version)) {
			continue
		}
		method := service.MethodByName(s.call.Func)
		if !method.IsValid() {
			t.Fatalf("%s: no such method", s.call.Func)
		}
		method.Call(s.args(method.Type()))
		return
	}
	t.Fatalf("the client has no %s %s", s.call.Product, s.call.Version)
}

func (s sender) args(f reflect.Type) (args []reflect.Value) {
	var given []string
	for _, m := range id.FindAllStringSubmatch(s.row.Path, -1) {
		if m[1] != "AC" || s.call.Product != "api" || !strings.Contains(s.call.Path, "{AccountSid}") {
			given = append(given, m[1]+"0123456789abcdef0123456789abcdef")
		}
	}
	for i := range f.NumIn() {
		switch f.In(i).Kind() {
		case reflect.String:
			value := ""
			if len(given) > 0 {
				value, given = given[0], given[1:]
			}
			args = append(args, reflect.ValueOf(value))
		case reflect.Pointer:
			args = append(args, reflect.New(f.In(i).Elem()))
			fill(args[i].Elem(), "PathAccountSid", "ContentEncoding")
		default:
			args = append(args, reflect.Zero(f.In(i)))
			given = given[min(1, len(given)):]
		}
	}
	return args
}

// TestEverySDKCallIsIdentified sends every call that twilio-go has, through its real client, with every parameter
// set, to its usual host, and some of them by way of an edge. Each must be found as its own row, and each that costs must be known
// with all its parameters.
func TestEverySDKCallIsIdentified(t *testing.T) {
	t.Parallel()
	// What is refused with every parameter set, as it should be. Without the parameter at fault they go through.
	odd := map[string]string{
		"twilio.insights.v3.insights_domains.conversations.query.create": "a query beside a document",
		"twilio.knowledge.knowledge_bases.knowledge.patch":               "a query beside a document",
		"twilio.verify.attempts.list":                                    `a name with a backslash, "ChannelData\.To"`,
		"twilio.flex.interactions.channels.transfers.create":             "a document with names of the caller's choice",
		"twilio.numbers.hosted_number.orders.bulk.create":                "a document with names of the caller's choice",
	}
	all := senders(t)
	for _, edge := range []string{"", "dublin"} {
		products := map[string]bool{}
		c, r := sdk(t, ok)
		c.SetEdge(edge)
		for i, s := range all {
			if edge != "" && i%8 != 0 {
				continue // the way through an edge is one for all; some of each product will do
			}
			r.calls, r.errs = nil, nil
			s.send(t, c)
			if len(r.calls) == 0 || r.calls[0] == nil {
				t.Errorf("%s: %d calls, errors %v", s.call.Func, len(r.calls), r.errs)
				continue
			}
			got := r.calls[0]
			products[s.call.Product] = true
			if got.Operation != s.row {
				t.Errorf("%s/%s %s is taken for %s, not %s", s.call.Product, s.call.Version, s.call.Func, got.Operation.Name, s.row.Name)
			}
			if edge != "" && !strings.Contains(got.Host, ".dublin.us1.") {
				t.Errorf("%s goes to %s", s.call.Func, got.Host)
			}
			var refused *vendors.Refusal
			switch {
			case s.row.HardDeny != "":
				if !errors.As(r.errs[0], &refused) || refused.Code != reason.OperationHardDenied {
					t.Errorf("%s is not denied for good: %v", s.row.Name, r.errs[0])
				}
			case odd[s.row.Name] != "":
				unknown, _ := got.Unlisted(s.row.Params)
				if r.errs[0] == nil && unknown == nil {
					t.Errorf("%s goes through with %s", s.row.Name, odd[s.row.Name])
				}
			case r.errs[0] != nil:
				t.Errorf("%s: %v", s.row.Name, r.errs[0])
			case s.row.Class.Paid():
				if unknown, _ := got.Unlisted(s.row.Params); unknown != nil {
					t.Errorf("%s: parameters that the SDK knows and the catalogue does not: %v", s.row.Name, unknown)
				}
			}
		}
		if want := 37; len(products) < want && (edge == "" || len(products) < want-7) { // the small ones may be left out
			t.Errorf("calls of %d products were sent, want all %d", len(products), want)
		}
	}
}

// TestCatalogueDeniesWhatItCannotPrice says for every row that costs and has no code, that it has no bound: a
// policy's ceiling is the only way through. And that nothing that is denied has lost its reason.
func TestCatalogueDeniesWhatItCannotPrice(t *testing.T) {
	coded := map[string]bool{}
	for _, op := range kbtwilio.Coded() {
		coded[op.Name] = true
	}
	for _, op := range table(t).Operations() {
		if strings.Contains(op.HardDeny, "missing") {
			t.Errorf("%s: %s", op.Name, op.HardDeny)
		}
		if !op.Class.Paid() || op.HardDeny != "" || coded[op.Name] {
			continue
		}
		b, err := op.Bound(&vendors.Call{Operation: op}, nil)
		if err != nil || b.Kind != vendors.Unknown || b.Why == "" || b.Lines != nil {
			t.Errorf("%s: bound %+v, %v", op.Name, b, err)
		}
	}
}
