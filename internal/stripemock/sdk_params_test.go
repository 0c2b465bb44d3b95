package stripemock

import (
	"bytes"
	"flag"
	"io"
	"maps"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/stripe/stripe-mock/spec"
)

var update = flag.Bool("update", false, "write testdata/filled.tsv anew, to be read before it is committed")

// A wire stands between stripe-go and the brake, and keeps the last request. Cut, it passes nothing on.
type wire struct {
	brake http.RoundTripper
	cut   bool
	req   *http.Request
	body  []byte
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.req, w.body = req, nil
	if req.Body != nil {
		defer req.Body.Close()
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		w.body = body
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	if w.cut {
		return refusing{}.RoundTrip(req)
	}
	return w.brake.RoundTrip(req)
}

// refusing is a Stripe that refuses every call, in a way that stripe-go does not try again.
type refusing struct{}

func (refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	body := `{"error":{"type":"invalid_request_error","message":"no"}}`
	if req.URL.Host == "connect.stripe.com" {
		body = `{"error":"invalid_request","error_description":"no"}`
	}
	return &http.Response{
		StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// TestWhatTheSDKCanSay sends every call of the table with every parameter that stripe-go has for it, to a brake that
// grants all that a rule can grant. No call is refused for its form. What a rule has to grant, and what is refused all
// the same, is in testdata/filled.tsv, for a person to read.
func TestWhatTheSDKCanSay(t *testing.T) {
	b := newBrake(t, refusing{})
	w := &wire{brake: b.brake.Transport(nil)}
	b.backends = backends(&http.Client{Transport: w})
	tab, known := table(t), paramsByStruct(t)
	var got strings.Builder
	got.WriteString(filledHead)
	for _, s := range readSDKCalls(t) {
		if s.operation == "-" {
			continue
		}
		t.Run(s.String(), func(t *testing.T) {
			said := b.say(t, w, tab, s, false)
			line := said.line(s, known)
			if said.filler.alternatives > 0 {
				if other := b.say(t, w, tab, s, true).line(s, known); other != line {
					line += other
				}
			}
			got.WriteString(line)
		})
	}
	compare(t, "testdata/filled.tsv", got.String())
}

const filledHead = `# What a brake makes of a call of stripe-go v76.25.0 that has every parameter which the SDK's structs have, where there is
# something to grant or to refuse. Made by go test -run TestWhatTheSDKCanSay -update; read by a person, November 2026.
#
#	call      the method, and what sdk.tsv gives it
#	end       once a rule grants all of it: "sent", or why it is refused; "probe_failed" where its price stands at Stripe,
#	          because the Stripe of this test answers no read
#	redirects what the rule has to name because it redirects money or effect, beside Stripe-Account, which every call has
#	shared    what is refused because Stripe takes it on another operation, with which the SDK shares the struct
#	older     what is refused because Stripe's description no longer has it, and review.tsv does not either
#	left out  what is refused though Stripe documents it for this very operation
`

// compare tells a reviewed file from what the code does now.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	is, should := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for _, line := range is {
		if !slices.Contains(should, line) {
			t.Errorf("%s does not have: %s", file, line)
		}
	}
	for _, line := range should {
		if !slices.Contains(is, line) {
			t.Errorf("%s has: %s", file, line)
		}
	}
}

// A said is one call with all its parameters, and what became of it.
type said struct {
	filler             *filler
	params             reflect.Type // of the struct
	call               *vendors.Call
	unknown, redirects []string
	end                string
}

// say makes the call, first to see what it says and then to a brake that grants all of it.
func (b *braked) say(t *testing.T, w *wire, tab *vendors.Table, s sdkCall, second bool) *said {
	t.Helper()
	row := b.rows[s.operation][0]
	said := &said{filler: &filler{doc: schemasOf(t, row), second: second}}
	rule := b.rule(t, s.operation, false)
	w.cut = true
	said.send(t, b, s, "sk_test_1")
	w.cut = false
	if row.HardDeny == "" && s.end != string(reason.OperationUnknown) {
		_, c, err := tab.Identify(w.req, w.body)
		if err != nil {
			t.Fatalf("refused for its form: %v", err)
		}
		if said.call = c; row.Class.Paid() {
			said.unknown, said.redirects = c.Unlisted(row.Params)
		}
		rule.Params = policy.Params{"Stripe-Account": policy.Any()}
		for _, name := range slices.Concat(said.unknown, said.redirects) {
			root, _, _ := strings.Cut(name, "[")
			rule.Params[root+"[*]"] = policy.Any()
		}
	}
	said.send(t, b, s, b.key(t, rule))
	records := b.took()
	if len(records) == 0 {
		t.Fatal("the brake saw no call")
	}
	last := records[len(records)-1]
	if records[0].CallID != last.CallID {
		t.Error("stripe-go sent the call again")
	}
	if said.end = "sent"; last.Kind == audit.Denied {
		said.end = string(last.Reason)
	}
	if last.Operation != s.operation && last.Reason != reason.OperationUnknown {
		t.Errorf("taken for %s", last.Operation)
	}
	if last.Kind == audit.Denied && last.Reason != reason.OperationHardDenied && last.Reason != reason.OperationUnknown && (!row.Class.Paid() || slices.Contains(formal, last.Reason)) {
		t.Errorf("refused: %s", last.Detail)
	}
	return said
}

// formal are the reasons that say how a call is written, and not what it would do.
var formal = []reason.Code{
	reason.RequestInvalid, reason.HeaderDenied, reason.BodyInvalid, reason.ParamDuplicate, reason.ParamUnknown, reason.ParamRedirects, reason.IdempotencyInvalid,
}

// send makes the call with every field set.
func (s *said) send(t *testing.T, b *braked, c sdkCall, key string) {
	t.Helper()
	method := sdkMethod(client.New(key, b.backends), c.method)
	args := c.arguments(t, method.Type())
	for _, params := range args {
		if s.filler.alternatives = 0; params.Kind() == reflect.Pointer {
			s.params = params.Type().Elem()
			s.filler.fill(params.Elem(), "")
		}
	}
	if err := invoke(method, args); err == nil {
		t.Error("stripe-go takes the refusal for a reply")
	}
}

// line is the call's line in the reviewed file; empty where there is nothing to review.
func (s *said) line(c sdkCall, known map[reflect.Type]map[string]bool) string {
	if s.call == nil {
		return ""
	}
	var shared, older, left []string
	for _, name := range s.unknown {
		switch {
		case s.filler.doc[name] != nil:
			left = append(left, name)
		case known[s.params][name]:
			shared = append(shared, name)
		default:
			older = append(older, name)
		}
	}
	line := strings.Join([]string{s.end, s.entries(), s.groups(shared), s.groups(older), s.groups(left)}, "\t")
	if line == "sent\t\t\t\t" {
		return ""
	}
	return c.String() + "\t" + line + "\n"
}

// entries are those of the catalogue that the call's redirecting parameters fall under, but for the header that every
// call can carry.
func (s *said) entries() string {
	var found []string
	for _, entry := range s.call.Operation.Params.Redirects {
		if entry != "Stripe-Account" && slices.ContainsFunc(s.redirects, func(name string) bool { return listed([]string{entry}, name) != "" }) {
			found = append(found, entry)
		}
	}
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(found))), " ")
}

// groups writes a group once, where all that the call says of it is in names.
func (s *said) groups(names []string) string {
	var short []string
	for _, name := range names {
		root, _, grouped := strings.Cut(name, "[")
		if grouped && !slices.ContainsFunc(s.call.Params, func(p vendors.Param) bool {
			n := vendors.Collapse(p.Name)
			return strings.HasPrefix(n, root+"[") && !slices.Contains(names, n)
		}) {
			name = root + "[*]"
		}
		short = append(short, name)
	}
	return strings.Join(slices.Compact(short), " ")
}

// schemasOf are the parameters that Stripe documents for an operation, by name without list positions.
func schemasOf(t *testing.T, op *vendors.Operation) map[string]*spec.Schema {
	t.Helper()
	all := map[string]*spec.Schema{}
	doc := documented(t, op)
	if doc == nil {
		return all
	}
	if doc.RequestBody != nil {
		for _, media := range doc.RequestBody.Content {
			schemas(media.Schema, "", all)
		}
	}
	for _, p := range doc.Parameters {
		if p.In == "query" {
			schemas(p.Schema, p.Name, all)
		}
	}
	return all
}

func schemas(s *spec.Schema, name string, all map[string]*spec.Schema) {
	switch {
	case len(s.AnyOf) > 0:
		for _, choice := range s.AnyOf {
			schemas(choice, name, all)
		}
	case s.Items != nil:
		schemas(s.Items, name, all)
	case len(s.Properties) > 0:
		for key, field := range s.Properties {
			schemas(field, below(name, key), all)
		}
	case s.AdditionalProperties != nil:
		schemas(s.AdditionalProperties, below(name, "k"), all)
	default:
		if was := all[name]; was == nil || len(was.Enum) == 0 {
			all[name] = s
		}
	}
}

// paramsByStruct are the parameters that Stripe documents for any operation that a struct of stripe-go is sent with.
func paramsByStruct(t *testing.T) map[reflect.Type]map[string]bool {
	t.Helper()
	rows := map[string]*vendors.Operation{}
	for _, op := range table(t).Operations() {
		rows[op.Name] = op
	}
	methods, all := sdkMethods(client.New("sk_test_1", stripe.NewBackends(nil))), map[reflect.Type]map[string]bool{}
	for _, s := range readSDKCalls(t) {
		method := methods[s.method].Type()
		if s.operation == "-" || method.NumIn() == 0 || method.In(method.NumIn()-1).Kind() != reflect.Pointer {
			continue
		}
		params := method.In(method.NumIn() - 1).Elem()
		if all[params] == nil {
			all[params] = map[string]bool{}
		}
		for name := range schemasOf(t, rows[s.operation]) {
			all[params][name] = true
		}
	}
	return all
}

// A filler sets the fields of stripe-go's structs that are not set yet. Some stand for the same parameter: Created and
// CreatedRange, TrialEnd and TrialEndNow. It sets the first of them, or the second.
type filler struct {
	doc          map[string]*spec.Schema
	second       bool
	alternatives int
}

// notSaid are the fields that are no parameters of the call, or that repeat another's.
var notSaid = []string{"Context", "Headers", "Extra", "Filters", "Single", "IdempotencyKey", "StripeVersion", "FileReader", "Token"}

func (f *filler) fill(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		f.fill(v.Elem(), name)
	case reflect.Struct:
		f.fields(v, name)
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		f.fill(v.Index(0), name)
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i), name)
		}
	case reflect.Map:
		if v.Len() == 0 {
			element := reflect.New(v.Type().Elem()).Elem()
			f.fill(element, below(name, "k"))
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf("k"), element)
		}
	case reflect.String:
		if v.IsZero() {
			v.SetString(f.text(name))
		}
	case reflect.Int64:
		v.SetInt(max(v.Int(), 1))
	case reflect.Float64:
		v.SetFloat(max(v.Float(), 1))
	case reflect.Bool:
		v.SetBool(true)
	}
}

func (f *filler) fields(v reflect.Value, name string) {
	kind := v.Type()
	if token := v.FieldByName("Token"); token.IsValid() && !token.IsZero() {
		return // it stands for the others
	}
	for i := range v.NumField() {
		field := kind.Field(i)
		tag, _, _ := strings.Cut(field.Tag.Get("form"), ",")
		switch {
		case !field.IsExported() || field.Tag == "" || slices.Contains(notSaid, field.Name):
		case tag == "-" && field.Name == "StripeAccount":
			f.fill(v.Field(i), name)
		case (tag == "-" || tag == "*") && strings.HasSuffix(field.Type.String(), "string"): // in the path, or for a token
		case !f.takes(kind, field):
		case field.Anonymous && tag == "*":
			f.embedded(v, v.Field(i), name)
		case tag == "*" || tag == "-":
			if base := alternatives(kind)[field.Name]; base != "" {
				v.FieldByName(base).SetZero()
			}
			f.fill(v.Field(i), name)
		default:
			f.fill(v.Field(i), below(name, tag))
		}
	}
}

// embedded fills Params, ListParams or SearchParams, but for what the struct around it has itself, and for metadata and
// expand: stripe-go takes those of the outer struct alone.
func (f *filler) embedded(outer, v reflect.Value, name string) {
	for i := range v.NumField() {
		own := v.Type().Field(i).Name
		if field, ok := outer.Type().FieldByName(own); own == "Metadata" || own == "Expand" || ok && len(field.Index) == 1 {
			defer v.Field(i).SetZero()
		}
	}
	f.fill(v, name)
}

// takes reports whether a field is the one of its alternatives that is to be set.
func (f *filler) takes(kind reflect.Type, field reflect.StructField) bool {
	others := alternatives(kind)
	if base := others[field.Name]; base != "" {
		f.alternatives++
		return f.second && base != third
	}
	return !f.second || !slices.Contains(slices.Collect(maps.Values(others)), field.Name)
}

// third is in the place of the other field where two fields say otherwise what it says: BillingCycleAnchorNow is set, and
// BillingCycleAnchorUnchanged never is.
const third = "-"

var alternativesOf = map[reflect.Type]map[string]string{}

// alternatives are the fields of a struct that say otherwise what another field says, each with that field.
func alternatives(kind reflect.Type) map[string]string {
	if known, ok := alternativesOf[kind]; ok {
		return known
	}
	others, bases := map[string]string{}, map[string]bool{}
	for i := range kind.NumField() {
		field, base := kind.Field(i), ""
		tag := field.Tag.Get("form")
		other := field.Type == reflect.TypeFor[*stripe.RangeQueryParams]() || tag == "-" && field.Type.String() == "*bool"
		for j := range kind.NumField() {
			o := kind.Field(j)
			if same := tag != "" && tag != "*" && tag != "-" && o.Tag.Get("form") == tag && j < i; same {
				base = o.Name
			}
			if other && i != j && strings.HasPrefix(field.Name, o.Name) && len(o.Name) > len(base) {
				base = o.Name
			}
		}
		if bases[base] {
			base = third
		}
		if base != "" {
			others[field.Name], bases[base] = base, true
		}
	}
	alternativesOf[kind] = others
	return others
}

// text is a value of the form that Stripe documents, or that the parameter's name tells.
func (f *filler) text(name string) string {
	if s := f.doc[vendors.Collapse(name)]; s != nil {
		for _, value := range s.Enum {
			if text, ok := value.(string); ok && text != "" {
				return text
			}
		}
	}
	last := strings.Trim(name[strings.LastIndexByte(name, '[')+1:], "]")
	for _, known := range slices.Sorted(maps.Keys(texts)) {
		if strings.HasSuffix(last, known) {
			return texts[known]
		}
	}
	return "x1"
}

var texts = map[string]string{
	"currency": "usd", "country": "US", "email": "jenny@example.com", "url": "https://example.com", "amount_decimal": "100", "unit_amount_decimal": "100",
	"phone": "+14155550100",
}
