package kbresend_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbresend"
	"github.com/resend/resend-go/v2"
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

func sdk(t *testing.T, answer func(*vendors.Vendor, *vendors.Call) vendors.Response) (*resend.Client, *recorder) {
	t.Helper()
	r := &recorder{table: table(t), answer: answer}
	return resend.NewCustomClient(&http.Client{Transport: r}, "vaultkey"), r
}

// fill sets every field. Strings are addresses, so that what is read as one can be read.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("X-Header"), reflect.ValueOf("v"))
	case reflect.String:
		v.SetString("ann@example.com")
	case reflect.Uint8:
		v.SetUint(255)
	}
}

func filled() *resend.SendEmailRequest {
	p := new(resend.SendEmailRequest)
	fill(reflect.ValueOf(p).Elem())
	return p
}

func TestSDKCallsAreIdentified(t *testing.T) {
	const id = "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"
	ten := 10
	for _, call := range []struct {
		name  string
		units int64
		send  func(*resend.Client) error
	}{
		{"resend.emails.send", 6, func(c *resend.Client) error { _, err := c.Emails.Send(filled()); return err }},
		{"resend.emails.send", 6, func(c *resend.Client) error {
			_, err := c.Emails.SendWithOptions(context.Background(), filled(), &resend.SendEmailOptions{IdempotencyKey: "k1"})
			return err
		}},
		{"resend.emails.batch", 12, func(c *resend.Client) error {
			_, err := c.Batch.Send([]*resend.SendEmailRequest{filled(), filled()})
			return err
		}},
		{"resend.emails.batch", 6, func(c *resend.Client) error {
			_, err := c.Batch.SendWithOptions(context.Background(), []*resend.SendEmailRequest{filled()}, &resend.BatchSendEmailOptions{IdempotencyKey: "k1", BatchValidation: resend.BatchValidationPermissive})
			return err
		}},
		{"resend.emails.retrieve", 0, func(c *resend.Client) error { _, err := c.Emails.Get(id); return err }},
		{"resend.emails.list", 0, func(c *resend.Client) error {
			_, err := c.Emails.ListWithOptions(context.Background(), &resend.ListOptions{Limit: &ten})
			return err
		}},
		{"resend.emails.update", 0, func(c *resend.Client) error {
			_, err := c.Emails.Update(&resend.UpdateEmailRequest{Id: id, ScheduledAt: "in 1 day"})
			return err
		}},
		{"resend.emails.cancel", 0, func(c *resend.Client) error { _, err := c.Emails.Cancel(id); return err }},
	} {
		c, r := sdk(t, ok)
		if err := call.send(c); err != nil {
			t.Errorf("%s: %v", call.name, err)
		}
		if len(r.calls) != 1 || r.errs[0] != nil {
			t.Errorf("%s: %d calls, errors %v", call.name, len(r.calls), r.errs)
			continue
		}
		got := r.calls[0]
		if got.Operation.Name != call.name {
			t.Errorf("got %s, want %s", got.Operation.Name, call.name)
		}
		if call.units == 0 {
			continue
		}
		if unknown, _ := got.Unlisted(got.Operation.Params); unknown != nil {
			t.Errorf("%s: parameters that the SDK knows and the catalogue does not: %v", call.name, unknown)
		}
		b, err := got.Operation.Bound(got, nil)
		if err != nil || b.Lines[1].Amount != call.units {
			t.Errorf("%s: bound %+v, %v", call.name, b, err)
		}
	}
}

// TestSDKHeaders says that the agent's key and the validation mode are read where the SDK writes them.
func TestSDKHeaders(t *testing.T) {
	c, r := sdk(t, ok)
	_, _ = c.Batch.SendWithOptions(context.Background(), []*resend.SendEmailRequest{filled()}, &resend.BatchSendEmailOptions{IdempotencyKey: "k1", BatchValidation: resend.BatchValidationPermissive})
	got := r.calls[0]
	if got.Key != "k1" || got.Header.Get("x-batch-validation") != "permissive" {
		t.Errorf("key %q, headers %v", got.Key, got.Header)
	}
	if got.Operation.KeyMemory.Hours() != 23 || got.Operation.KeyMax != 256 {
		t.Errorf("Resend remembers a key of 256 characters for 24 hours; got %v, %d", got.Operation.KeyMemory, got.Operation.KeyMax)
	}
}

func TestRefusalReachesTheSDK(t *testing.T) {
	const message = "no <budget> [kbd_budget_exceeded]"
	for status, retryAfter := range map[int]string{429: "", 403: "", 401: "", 503: ""} {
		c, r := sdk(t, func(v *vendors.Vendor, c *vendors.Call) vendors.Response {
			return v.Refuse(c, vendors.Refusal{Code: reason.BudgetExceeded, Status: status, Message: message})
		})
		_, err := c.Emails.Send(filled())
		if err == nil || len(r.calls) != 1 || !strings.HasSuffix(err.Error(), "[kbd_budget_exceeded]") && status != 429 {
			t.Errorf("status %d: %d calls, %v", status, len(r.calls), err)
		}
		var limited *resend.RateLimitError
		if errors.As(err, &limited) != (status == 429) {
			t.Errorf("status %d: %T", status, err)
		}
		if limited != nil && (limited.Message != message || limited.RetryAfter != retryAfter) {
			t.Errorf("got %+v", limited)
		}
	}
}

func TestEveryReasonIsRefused(t *testing.T) {
	refuse := kbresend.New(nil).Refuse
	for _, row := range reason.All() {
		got := refuse(nil, vendors.Refusal{Code: row.Code, Detail: "detail"})
		var body struct {
			Name, Message string
			StatusCode    int
		}
		if err := json.Unmarshal(got.Body, &body); err != nil || got.Status != row.Status || body.StatusCode != row.Status {
			t.Errorf("%s: status %d, %s, %v", row.Code, got.Status, got.Body, err)
		}
		if body.Name != "keybrake_"+string(row.Code) || body.Message == "" || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %s", row.Code, got.Body)
		}
	}
}
