package kbtwilio_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"
	conversations "github.com/twilio/twilio-go/rest/conversations/v2"
)

const (
	me  = "AC0123456789abcdef0123456789abcdef"
	sms = "SM0123456789abcdef0123456789abcdef"
	mms = "MM0123456789abcdef0123456789abcdef"
)

// recorder identifies each request that the SDK makes and answers it.
type recorder struct {
	table  *vendors.Table
	answer func(*vendors.Vendor, *vendors.Call) vendors.Response
	calls  []*vendors.Call
	errs   []error
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	v, c, err := r.table.Identify(req, body)
	r.calls, r.errs = append(r.calls, c), append(r.errs, err)
	a := r.answer(v, c)
	return &http.Response{StatusCode: a.Status, Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.Body)), Request: req}, nil
}

func ok(*vendors.Vendor, *vendors.Call) vendors.Response {
	return vendors.Response{Status: 200, Header: http.Header{}, Body: []byte("{}")}
}

func sdk(t *testing.T, answer func(*vendors.Vendor, *vendors.Call) vendors.Response) (*twilio.RestClient, *recorder) {
	t.Helper()
	r := &recorder{table: table(t), answer: answer}
	c := &client.Client{Credentials: client.NewCredentials(me, "vaultkey"), HTTPClient: &http.Client{Transport: r}}
	c.SetAccountSid(me)
	return twilio.NewRestClientWithParams(twilio.ClientParams{Client: c}), r
}

// fill sets every field of a struct of parameters, except those of the path.
func fill(v reflect.Value, skip ...string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), skip...)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1_800_000_000, 0)))
			return
		}
		for i := range v.NumField() {
			if !slices.Contains(skip, v.Type().Field(i).Name) {
				fill(v.Field(i), skip...)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2)) // two: a list in a form is sent by repetition
		fill(v.Index(0), skip...)
		fill(v.Index(1), skip...)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, skip...)
		v.SetMapIndex(reflect.ValueOf("k"), value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1)
	}
}

func filled[P any](skip ...string) *P {
	p := new(P)
	fill(reflect.ValueOf(p).Elem(), skip...)
	return p
}

func TestSDKCallsAreIdentified(t *testing.T) {
	for _, call := range []struct {
		name string
		send func(*twilio.RestClient)
	}{
		{"twilio.messages.create", func(c *twilio.RestClient) {
			_, _ = c.Api.CreateMessage(filled[api.CreateMessageParams]("PathAccountSid"))
		}},
		{"twilio.messages.retrieve", func(c *twilio.RestClient) { _, _ = c.Api.FetchMessage(sms, nil) }},
		{"twilio.messages.retrieve", func(c *twilio.RestClient) { _, _ = c.Api.FetchMessage(mms, nil) }},
		{"twilio.messages.list", func(c *twilio.RestClient) {
			_, _ = c.Api.PageMessage(filled[api.ListMessageParams]("PathAccountSid"), "", "") // with DateSent< and DateSent>
		}},
		{"twilio.messages.update", func(c *twilio.RestClient) {
			_, _ = c.Api.UpdateMessage(sms, (&api.UpdateMessageParams{}).SetStatus("canceled"))
		}},
		{"twilio.messages.delete", func(c *twilio.RestClient) { _ = c.Api.DeleteMessage(sms, nil) }},
		{"twilio.conversations.actions.create", func(c *twilio.RestClient) {
			_, _ = c.ConversationsV2.CreateConversationAction("conv_1", filled[conversations.CreateConversationActionParams]())
		}},
	} {
		c, r := sdk(t, ok)
		call.send(c)
		if len(r.calls) != 1 || r.errs[0] != nil {
			t.Errorf("%s: %d calls, errors %v", call.name, len(r.calls), r.errs)
			continue
		}
		got := r.calls[0]
		if got.Operation.Name != call.name {
			t.Errorf("got %s, want %s", got.Operation.Name, call.name)
		}
		if unknown, _ := got.Unlisted(got.Operation.Params); got.Operation.Class.Paid() && unknown != nil {
			t.Errorf("%s: parameters that the SDK knows and the catalogue does not: %v", call.name, unknown)
		}
	}
}

// TestCreateSchemaIsTheSDKs says that both know the same parameters: one that the SDK dropped is worth a look too.
func TestCreateSchemaIsTheSDKs(t *testing.T) {
	var known []string
	params := reflect.TypeFor[api.CreateMessageParams]()
	for i := range params.NumField() {
		if name := params.Field(i).Name; name != "PathAccountSid" {
			known = append(known, name)
		}
	}
	op := table(t).Lookup("twilio.messages.create")
	var listed []string
	for _, name := range slices.Concat(op.Params.Plain, op.Params.Redirects) {
		listed = append(listed, strings.TrimSuffix(name, "[*]"))
	}
	slices.Sort(known)
	slices.Sort(listed)
	if !slices.Equal(known, listed) {
		t.Errorf("the SDK knows %v\nthe catalogue lists %v", known, listed)
	}
}

func denial(v *vendors.Vendor, c *vendors.Call) vendors.Response {
	return v.Refuse(c, vendors.Refusal{Code: reason.BudgetExceeded, Status: 429, Message: "no <budget> [kbd_budget_exceeded]"})
}

func TestRefusalIsTwiliosError(t *testing.T) {
	c, r := sdk(t, denial)
	_, err := c.Api.CreateMessage((&api.CreateMessageParams{}).SetTo("+14155550100"))
	var classic *client.TwilioRestError
	if !errors.As(err, &classic) || len(r.calls) != 1 {
		t.Fatalf("%d calls, error %T %v", len(r.calls), err, err)
	}
	if classic.Status != 429 || classic.Code != 20429 || !strings.HasSuffix(classic.Message, "[kbd_budget_exceeded]") {
		t.Errorf("got %+v", classic)
	}
	why, _ := classic.Details["keybrake"].(map[string]any)
	if why["reason"] != "budget_exceeded" {
		t.Errorf("details %v", classic.Details)
	}
}

func TestRefusalIsTwiliosErrorOfV1(t *testing.T) {
	c, r := sdk(t, denial)
	_, err := c.ConversationsV2.CreateConversationAction("conv_1", nil)
	var v1 *client.RestErrorV1
	if !errors.As(err, &v1) || len(r.calls) != 1 {
		t.Fatalf("%d calls, error %T %v", len(r.calls), err, err)
	}
	if v1.HttpStatusCode != 429 || v1.Code != 20429 || !strings.HasSuffix(v1.Message, "[kbd_budget_exceeded]") || v1.Params["keybrake"] == nil {
		t.Errorf("got %+v", v1)
	}
}

// TestSDKResends says that resends is right about the SDK: a page for which it answers true is sent again, and one
// for which it answers false is not.
func TestSDKResends(t *testing.T) {
	for _, page := range []string{`<html>`, ``, `{"code":"1"}`, `{"code":1,"params":[]}`, `{"userError":1}`, `null`, `{}`, `[]`, `{"code":20001,"message":"m"} x`, `{"details":3}`, `{"code":1.5}`} {
		for _, status := range []int{400, 429, 500, 503, 307} {
			told := false
			c, r := sdk(t, func(v *vendors.Vendor, c *vendors.Call) vendors.Response {
				told = v.Resends(c, &vendors.Reply{Status: status, Header: http.Header{}, Body: []byte(page)})
				return vendors.Response{Status: status, Header: http.Header{}, Body: []byte(page)}
			})
			_, _ = c.ConversationsV2.CreateConversationAction("conv_1", &conversations.CreateConversationActionParams{CreateConversationActionRequest: &conversations.CreateConversationActionRequest{}})
			if again := len(r.calls) > 1; again != told {
				t.Errorf("status %d, %q: sent %d times, Resends said %v", status, page, len(r.calls), told)
			}
		}
	}
}

func TestClassicCallsAreNotResent(t *testing.T) {
	c, r := sdk(t, func(v *vendors.Vendor, c *vendors.Call) vendors.Response {
		if v.Resends(c, &vendors.Reply{Status: 503, Body: []byte("<html>")}) {
			t.Error("a classic call would be sent again")
		}
		return vendors.Response{Status: 503, Body: []byte("<html>")}
	})
	if _, err := c.Api.CreateMessage(nil); err == nil || len(r.calls) != 1 {
		t.Errorf("%d calls, error %v", len(r.calls), err)
	}
}

func TestEveryReasonIsRefused(t *testing.T) {
	refuse := kbtwilio.New(nil).Refuse
	for _, row := range reason.All() {
		got := refuse(nil, vendors.Refusal{Code: row.Code, Detail: "detail"})
		var body map[string]any
		if err := json.Unmarshal(got.Body, &body); err != nil || got.Status != row.Status || got.Header.Get("Content-Type") == "" {
			t.Errorf("%s: status %d, %v", row.Code, got.Status, err)
		}
		if body["message"] == "" || body["status"] != float64(row.Status) {
			t.Errorf("%s: %s", row.Code, got.Body)
		}
	}
}
