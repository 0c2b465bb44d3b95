package stripemock

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go"
	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/credentials"
	"github.com/keybrake/keybrake-go/ledger/memory"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/stripe/stripe-go/v76/form"
)

// An sdkCall is one line of testdata/sdk.tsv: one call of stripe-go.
type sdkCall struct {
	method    string   // of client.API: "Refunds.New"
	operation string   // what it stands for; "-" where the method sends nothing
	args      []string // ids in their order, and Field=value for what stands in the parameters
	end       string   // "sent", "sent after" the reads that price it, or why it is refused
	byRule    bool     // the operation's name is made of the method's
}

func (s sdkCall) String() string {
	return strings.TrimSpace(s.method + " " + strings.Join(s.args, " "))
}

func (s sdkCall) service() string {
	service, _, _ := strings.Cut(s.method, ".")
	return service
}

func readSDKCalls(t *testing.T) (calls []sdkCall) {
	t.Helper()
	const otherwise = "# Where the SDK's word and Stripe's path are not the same.\n"
	byRule := true
	text, err := os.ReadFile("testdata/sdk.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line == "\n" || line[0] == '#' {
			byRule = byRule && line != otherwise
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			t.Fatalf("sdk.tsv: %d fields in %q", len(f), line)
		}
		calls = append(calls, sdkCall{f[0], f[1], strings.Fields(f[2]), f[3], byRule})
	}
	return calls
}

// sdkMethods are the methods of every service of api, by "Service.Method".
func sdkMethods(api *client.API) map[string]reflect.Value {
	methods := map[string]reflect.Value{}
	v := reflect.ValueOf(api).Elem()
	for i := range v.NumField() {
		service := v.Field(i)
		for j := range service.NumMethod() {
			methods[v.Type().Field(i).Name+"."+service.Type().Method(j).Name] = service.Method(j)
		}
	}
	return methods
}

func sdkMethod(api *client.API, name string) reflect.Value {
	service, method, _ := strings.Cut(name, ".")
	if s := reflect.ValueOf(api).Elem().FieldByName(service); s.IsValid() {
		return s.MethodByName(method)
	}
	return reflect.Value{}
}

// Every method of stripe-go is in the table, and the table has no others. What is new in an SDK fails here until someone
// has written down what it stands for.
func TestTheTableHasEveryMethodOfTheSDK(t *testing.T) {
	methods, listed := sdkMethods(client.New("sk_test_1", stripe.NewBackends(nil))), map[string]bool{}
	if len(methods) < 470 {
		t.Fatalf("found %d methods in stripe-go", len(methods))
	}
	for _, s := range readSDKCalls(t) {
		listed[s.method] = true
		if !methods[s.method].IsValid() {
			t.Errorf("gone: %s", s.method)
		}
	}
	for method := range methods {
		if !listed[method] {
			t.Errorf("new:  %s", method)
		}
	}
}

// words are how stripe-go calls what an operation does, where Stripe's paths call it otherwise.
var words = map[string]string{"New": "create", "Get": "retrieve", "GetByID": "retrieve", "Del": "delete"}

// The table says what a method stands for, and the method's own name says it too: Refunds.New is refunds.create. The
// others stand apart in the table, because somebody has to have read them.
func TestAMethodStandsForWhatItIsCalled(t *testing.T) {
	for _, s := range readSDKCalls(t) {
		service, verb, _ := strings.Cut(s.method, ".")
		if word, ok := words[verb]; ok {
			verb = word
		}
		name := strings.NewReplacer(".", "", "_", "").Replace(strings.TrimPrefix(s.operation, "stripe."))
		if same := strings.EqualFold(name, service+verb); same != s.byRule {
			t.Errorf("%s stands for %s, in the wrong part of the table", s.method, s.operation)
		}
	}
}

// staged are what Stripe's objects say before and after a call, where stripe-mock's own make it one that Stripe would
// refuse, or say that it has not been carried out.
var staged = map[string]struct{ before, after state }{
	"PaymentIntents.Confirm":                {confirmed, paid},
	"PaymentIntents.Capture":                {authorised, paid},
	"PaymentIntents.Cancel":                 {nil, canceled},
	"PaymentIntents.ApplyCustomerBalance":   {nil, paid},
	"PaymentIntents.IncrementAuthorization": {authorised, state{"payment_intent": {"status": "requires_capture", "amount_capturable": 1500}}},
	"Charges.New":                           {nil, state{"charge": {"captured": true, "amount_captured": 100}}},
	"Charges.Capture":                       {uncaptured, captured},
	"Refunds.New":                           {refundable, nil},
	"TerminalReaders.RefundPayment":         {refundable, nil},
	"Invoices.FinalizeInvoice":              {nil, open},
	"Invoices.SendInvoice":                  {open, open},
	"Invoices.Pay":                          {open, settled},
	"Invoices.VoidInvoice":                  {nil, voided},
	"Invoices.MarkUncollectible":            {nil, hopeless},
	"CreditNotes.New":                       {settled, nil},
	"Subscriptions.Cancel":                  {nil, ended},
	"SubscriptionSchedules.Cancel":          {nil, state{"subscription_schedule": {"status": "canceled"}}},
	"CheckoutSessions.New":                  {nil, session},
	"CheckoutSessions.Expire":               {nil, lapsed},
	"Quotes.Accept":                         {oneTime, accepted},
	"Disputes.Close":                        {nil, lost},
	"IssuingAuthorizations.Approve":         {nil, state{"issuing.authorization": {"amount": 700}}},
	"TreasuryCreditReversals.New":           {state{"treasury.received_credit": {"amount": 1000}}, nil},
	"stripe.billing.credit_grants.create":   {nil, granted},
	"stripe.charges.dispute.close":          {state{"dispute": {"charge": "ch_1"}}, lost},
	"stripe.customers.subscriptions.cancel": {nil, ended},
	"TreasuryDebitReversals.New":            {state{"treasury.received_debit": {"amount": 1000}}, nil},
}

// TestTheBrakeKnowsEveryCallOfTheSDK sends every call of the table with stripe-go, through a brake, to stripe-mock. The
// key's policy names one operation. So a call that was taken for another one would be refused.
func TestTheBrakeKnowsEveryCallOfTheSDK(t *testing.T) {
	b := newBraked(t)
	for _, s := range readSDKCalls(t) {
		t.Run(s.String(), func(t *testing.T) {
			stage := staged[s.method]
			b.after = stage.after
			b.in(stage.before, func() { b.call(t, s) })
		})
	}
}

func (b *braked) call(t *testing.T, s sdkCall) {
	method := sdkMethod(b.sdk(t, s.operation), s.method)
	if !method.IsValid() {
		t.Fatal("stripe-go has no such method")
	}
	err := invoke(method, s.arguments(t, method.Type()))
	if s.operation == "-" {
		if arrived := b.arrived(); len(b.took()) > 0 || len(arrived) > 0 {
			t.Fatalf("it sends something: %v", arrived)
		}
		return
	}
	b.check(t, s.operation, s.end, err)
}

// An object that stripe-mock has made is found again by the id that it gave it: ids are as long as Stripe's, and begin as
// Stripe's begin.
func TestTheBrakeKnowsTheIdsOfWhatTheSDKMakes(t *testing.T) {
	b, calls, found := newBraked(t), readSDKCalls(t), 0
	for _, s := range calls {
		resource, makes := strings.CutSuffix(s.operation, ".create")
		i := slices.IndexFunc(calls, func(c sdkCall) bool { return c.operation == resource+".retrieve" && c.service() == s.service() })
		if !makes || !strings.HasPrefix(s.end, "sent") || i < 0 {
			continue
		}
		t.Run(s.service(), func(t *testing.T) {
			stage := staged[s.method]
			b.after = stage.after
			var id reflect.Value
			b.in(stage.before, func() {
				method := sdkMethod(b.sdk(t, s.operation), s.method)
				id = reflect.Indirect(method.Call(s.arguments(t, method.Type()))[0]).FieldByName("ID")
			})
			b.took()
			b.arrived()
			if !id.IsValid() || id.String() == "" {
				t.Fatal("it has no id")
			}
			get := calls[i]
			get.args = append([]string{id.String()}, get.args[1:]...)
			b.call(t, get)
			found++
		})
	}
	if found < 55 {
		t.Errorf("only %d objects were made and found", found)
	}
}

// check compares what became of a call with the table, and with what stripe-go says about it.
func (b *braked) check(t *testing.T, operation, want string, err error) {
	t.Helper()
	end, why := b.end(t, operation)
	if end != want {
		t.Errorf("%s, want %s (%s%v)", end, want, why, err)
	}
	if sent := strings.HasPrefix(end, "sent"); sent && err != nil {
		t.Errorf("stripe-go cannot read the reply: %v", err)
	} else if !sent && err == nil {
		t.Error("stripe-go takes the refusal for a reply")
	}
}

// end says what became of a call, after a look at all that the brake recorded and that stripe-mock got: one request, after
// those that the brake made to price it, each as the row says that it records.
func (b *braked) end(t *testing.T, operation string) (end, why string) {
	t.Helper()
	records, arrived := b.took(), b.arrived()
	if len(records) == 0 {
		t.Fatalf("the brake saw no call; stripe-mock got %v", arrived)
	}
	last, sent := records[len(records)-1], []string(nil)
	for _, r := range records {
		if r.CallID != last.CallID {
			t.Fatal("stripe-go sent the call again")
		}
		if r.Kind == audit.Outcome {
			sent = append(sent, r.Operation)
		}
	}
	if last.Operation == "" { // it has no name in the catalogue
		return string(last.Reason), last.Detail
	}
	if last.Operation != operation {
		t.Fatalf("the brake takes it for %q (%s)", last.Operation, last.Detail)
	}
	if len(arrived) != len(sent) {
		t.Fatalf("stripe-mock got %v, and the brake recorded %v", arrived, sent)
	}
	for i, name := range sent {
		if !b.isRow(name, arrived[i]) {
			t.Errorf("stripe-mock got %s for %s", arrived[i], name)
		}
	}
	if last.Kind == audit.Denied {
		return strings.Join(append([]string{string(last.Reason)}, after(sent)...), " "), last.Detail
	}
	if last.Outcome != "executed" && last.Outcome != "pending" {
		return fmt.Sprintf("%s %d", last.Outcome, last.Status), last.Detail
	}
	how := "sent"
	if slices.ContainsFunc(last.Reserved, func(l cost.Line) bool { return l.Currency != "" && l.Amount == ceiling.Value }) {
		how = "sent at the ceiling"
	}
	return strings.Join(append([]string{how}, after(sent[:len(sent)-1])...), " "), ""
}

func after(reads []string) []string {
	if len(reads) == 0 {
		return nil
	}
	return append([]string{"after"}, reads...)
}

// isRow reports whether "METHOD host/path" is one of the operation's rows.
func (b *braked) isRow(name, request string) bool {
	return slices.ContainsFunc(b.rows[name], func(op *vendors.Operation) bool {
		var path strings.Builder
		rest := op.Path
		for _, at := range segment.FindAllString(op.Path, -1) {
			before, after, _ := strings.Cut(rest, at)
			_, prefix, _ := strings.Cut(strings.Trim(at, "{}"), ":")
			path.WriteString(regexp.QuoteMeta(before) + regexp.QuoteMeta(prefix) + "[^/]+")
			rest = after
		}
		return regexp.MustCompile("^" + op.Method + " " + regexp.QuoteMeta(op.Host) + path.String() + regexp.QuoteMeta(rest) + "$").MatchString(request)
	})
}

// A braked is stripe-mock behind a brake.
type braked struct {
	*mock
	brake    *keybrake.Brake
	backends *stripe.Backends
	rows     map[string][]*vendors.Operation

	mu      sync.Mutex
	records []audit.Record
}

// newBraked puts a brake before stripe-mock.
func newBraked(t *testing.T) *braked {
	t.Helper()
	m := serve(t, false)
	b := newBrake(t, m.client.Transport)
	b.mock, b.backends = m, backends(b.brake.Client())
	return b
}

// newBrake puts a brake before base.
func newBrake(t *testing.T, base http.RoundTripper) *braked {
	t.Helper()
	b := &braked{rows: map[string][]*vendors.Operation{}}
	for _, op := range table(t).Operations() {
		b.rows[op.Name] = append(b.rows[op.Name], op)
	}
	issuer, err := keybrake.NewIssuer()
	if err != nil {
		t.Fatal(err)
	}
	b.brake, err = keybrake.New(t.Context(), keybrake.Config{
		Issuer: issuer, Ledger: memory.New(), Vendors: []vendors.Vendor{kbstripe.New(nil)}, Audit: b, Base: base,
		Credentials: credentials.Static(map[string]string{"stripe": "sk_test_51Hreal4secret5never6shown"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// backends are those of stripe-go over hc, with its own rule of when to send a call again.
func backends(hc *http.Client) *stripe.Backends {
	backend := func(kind stripe.SupportedBackend) stripe.Backend {
		return stripe.GetBackendWithConfig(kind, &stripe.BackendConfig{HTTPClient: hc, LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull}})
	}
	return &stripe.Backends{API: backend(stripe.APIBackend), Connect: backend(stripe.ConnectBackend), Uploads: backend(stripe.UploadsBackend)}
}

// Write is the brake's audit sink.
func (b *braked) Write(_ context.Context, r audit.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Kind != audit.Control {
		b.records = append(b.records, r)
	}
	return nil
}

// took returns the records that were written since it was last asked.
func (b *braked) took() []audit.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	records := b.records
	b.records = nil
	return records
}

// sdk is stripe-go with a key whose policy names one operation, with all parameters that redirect it and with a ceiling
// where it has no price. No policy names what is never allowed, so there it is a wildcard.
func (b *braked) sdk(t *testing.T, operation string) *client.API {
	t.Helper()
	if operation == "-" {
		return client.New("sk_test_1", b.backends)
	}
	return client.New(b.key(t, b.rule(t, operation, true)), b.backends)
}

func (b *braked) rule(t *testing.T, operation string, redirects bool) policy.Rule {
	t.Helper()
	rows := b.rows[operation]
	if len(rows) == 0 {
		t.Fatalf("the catalogue has no %s", operation)
	}
	if rows[0].HardDeny != "" {
		return policy.Rule{Operation: "stripe.*"}
	}
	rule := policy.Rule{Operation: cost.Pattern(operation), Ceiling: ceiling}
	if redirects {
		rule.Params = policy.Params{}
		for _, name := range rows[0].Params.Redirects {
			rule.Params[name] = policy.Any()
		}
	}
	return rule
}

// ceiling is an amount that no call of the table costs by itself.
var ceiling = policy.USD("9999.99")

func (b *braked) key(t *testing.T, rule policy.Rule) string {
	t.Helper()
	key, err := b.brake.Issue(t.Context(), keybrake.Grant{
		Tenant: "acme", Agent: "sdk", Run: "all", TTL: time.Hour, Credentials: map[string]string{"stripe": "stripe"},
		Policy: policy.Policy{Allow: []policy.Rule{rule}, Budgets: []policy.Budget{policy.Lifetime(policy.USD("1000000"))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return key.Token()
}

// invoke calls a method and reads all of its answer: one page of a list, a stream to its end.
func invoke(method reflect.Value, args []reflect.Value) error {
	out := method.Call(args)
	if list, ok := out[0].Interface().(interface {
		Next() bool
		Err() error
	}); ok {
		for list.Next() {
		}
		return list.Err()
	}
	if stream, ok := out[0].Interface().(*stripe.APIStream); ok && stream != nil && stream.LastResponse != nil {
		_, _ = io.Copy(io.Discard, stream.LastResponse.Body)
		_ = stream.LastResponse.Body.Close()
	}
	err, _ := out[len(out)-1].Interface().(error)
	return err
}

// arguments are what the line says, for a method of this type.
func (s sdkCall) arguments(t *testing.T, method reflect.Type) (in []reflect.Value) {
	t.Helper()
	args := s.args
	for i := range method.NumIn() {
		if method.In(i).Kind() == reflect.String {
			if len(args) == 0 || strings.Contains(args[0], "=") {
				t.Fatal("the table gives no id")
			}
			in, args = append(in, reflect.ValueOf(args[0])), args[1:]
			continue
		}
		params := reflect.New(method.In(i).Elem())
		for _, arg := range args {
			path, value, ok := strings.Cut(arg, "=")
			if !ok {
				t.Fatalf("the method has no place for %s", arg)
			}
			if err := set(params, strings.Split(path, "."), value); err != nil {
				t.Fatalf("%s: %v", arg, err)
			}
		}
		in, args = append(in, params), nil
	}
	if len(args) > 0 {
		t.Fatalf("the method has no place for %v", args)
	}
	return in
}

// set gives the field at path a value. Of a list it makes the first element.
func set(v reflect.Value, path []string, value string) (err error) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return set(v.Elem(), path, value)
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		return set(v.Index(0), path, value)
	case reflect.Map:
		if len(path) == 0 {
			return fmt.Errorf("%v needs a key", v.Type())
		}
		v.Set(reflect.MakeMap(v.Type()))
		element := reflect.New(v.Type().Elem()).Elem()
		if err := set(element, path[1:], value); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(path[0]), element)
		return nil
	case reflect.Struct:
		if len(path) == 0 || !v.FieldByName(path[0]).IsValid() {
			return fmt.Errorf("%v has no field %v", v.Type(), path)
		}
		return set(v.FieldByName(path[0]), path[1:], value)
	case reflect.String:
		v.SetString(value)
	case reflect.Interface:
		v.Set(reflect.ValueOf(strings.NewReader(value)))
	case reflect.Bool:
		v.SetBool(value == "true")
	case reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(value, 10, 64)
		v.SetInt(n)
	case reflect.Float64:
		var f float64
		f, err = strconv.ParseFloat(value, 64)
		v.SetFloat(f)
	default:
		return fmt.Errorf("no value for %v", v.Type())
	}
	return err
}

// A rawCall is one line of testdata/raw.tsv: one call that stripe-go has no method for.
type rawCall struct {
	operation, method, path string
	form                    url.Values
	end                     string
}

func readRawCalls(t *testing.T) (calls []rawCall) {
	t.Helper()
	text, err := os.ReadFile("testdata/raw.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line == "\n" || line[0] == '#' {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			t.Fatalf("raw.tsv: %d fields in %q", len(f), line)
		}
		method, path, _ := strings.Cut(f[1], " ")
		calls = append(calls, rawCall{f[0], method, path, values(t, f[2]), f[3]})
	}
	return calls
}

// No operation that Stripe describes is left out of both tables, and none stands in both.
func TestEveryOperationIsSentByTheSDK(t *testing.T) {
	named, raw := map[string]bool{}, map[string]bool{}
	for _, s := range readSDKCalls(t) {
		named[s.operation] = true
	}
	for _, s := range readRawCalls(t) {
		if raw[s.operation] = true; named[s.operation] {
			t.Errorf("stripe-go has a method for %s, which is in sdk.tsv", s.operation)
		}
	}
	for _, op := range table(t).Operations() {
		if !named[op.Name] && !raw[op.Name] && documented(t, op) != nil {
			t.Errorf("nothing sends %s (%s %s)", op.Name, op.Method, op.Path)
		}
	}
}

// TestTheBrakeKnowsEveryOtherCall does the same for what the SDK has no method for.
func TestTheBrakeKnowsEveryOtherCall(t *testing.T) {
	b := newBraked(t)
	for _, s := range readRawCalls(t) {
		t.Run(s.operation+" "+s.path, func(t *testing.T) {
			body := &form.Values{}
			for name, value := range s.form {
				body.Add(name, value[0])
			}
			key := b.key(t, b.rule(t, s.operation, true))
			stage := staged[s.operation]
			b.after = stage.after
			b.in(stage.before, func() {
				err := b.backends.API.CallRaw(s.method, s.path, key, body, &stripe.Params{}, &stripe.APIResource{})
				b.check(t, s.operation, s.end, err)
			})
		})
	}
}
