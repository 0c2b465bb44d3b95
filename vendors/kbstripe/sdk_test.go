package kbstripe_test

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors"
	"github.com/keybrake/keybrake-go/vendors/kbstripe"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
)

// recorder answers every call with an empty list, which stripe-go reads as any object, and keeps the last one.
type recorder struct {
	req  *http.Request
	body []byte
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	defer req.Body.Close()
	body, err := io.ReadAll(req.Body)
	r.req, r.body = req, body
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(`{"object":"list","data":[],"has_more":false}`)),
	}, err
}

// A sent is one call of stripe-go. params is filled by reflection before send is called with it; foreign are
// the parameters that its Go struct shares with other operations and that Stripe does not document for this one.
type sent struct {
	name    string
	params  any
	send    func(*client.API, any) error
	foreign []string
}

// call makes a sent out of a typed method of stripe-go.
func call[P, R any](name string, send func(*client.API, *P) (R, error), foreign ...string) sent {
	return sent{name, new(P), func(sc *client.API, p any) error {
		_, err := send(sc, p.(*P))
		return err
	}, foreign}
}

type iterator interface {
	Next() bool
	Err() error
}

func list[P any, I iterator](name string, send func(*client.API, *P) I) sent {
	return sent{name, new(P), func(sc *client.API, p any) error {
		it := send(sc, p.(*P))
		it.Next()
		return it.Err()
	}, nil}
}

// What PaymentIntentParams and ChargeParams hold for other operations than the one that they are sent with.
var (
	notOnUpdate = []string{"confirm", "confirmation_method", "confirmation_token", "error_on_requires_action", "mandate", "mandate_data", "off_session", "radar_options", "return_url", "use_stripe_sdk"}
	notOnCreate = []string{"fraud_details", "default_for_currency"}
)

var calls = []sent{
	call("stripe.payment_intents.create", func(sc *client.API, p *stripe.PaymentIntentParams) (*stripe.PaymentIntent, error) {
		return sc.PaymentIntents.New(p)
	}),
	call("stripe.payment_intents.retrieve", func(sc *client.API, p *stripe.PaymentIntentParams) (*stripe.PaymentIntent, error) {
		return sc.PaymentIntents.Get("pi_1", p)
	}),
	call("stripe.payment_intents.update", func(sc *client.API, p *stripe.PaymentIntentParams) (*stripe.PaymentIntent, error) {
		return sc.PaymentIntents.Update("pi_1", p)
	}, notOnUpdate...),
	call("stripe.payment_intents.confirm", func(sc *client.API, p *stripe.PaymentIntentConfirmParams) (*stripe.PaymentIntent, error) {
		return sc.PaymentIntents.Confirm("pi_1", p)
	}),
	call("stripe.payment_intents.capture", func(sc *client.API, p *stripe.PaymentIntentCaptureParams) (*stripe.PaymentIntent, error) {
		return sc.PaymentIntents.Capture("pi_1", p)
	}),
	call("stripe.payment_intents.increment_authorization", func(sc *client.API, p *stripe.PaymentIntentIncrementAuthorizationParams) (*stripe.PaymentIntent, error) {
		return sc.PaymentIntents.IncrementAuthorization("pi_1", p)
	}),
	call("stripe.payment_intents.cancel", func(sc *client.API, p *stripe.PaymentIntentCancelParams) (*stripe.PaymentIntent, error) {
		return sc.PaymentIntents.Cancel("pi_1", p)
	}),
	list("stripe.payment_intents.list", func(sc *client.API, p *stripe.PaymentIntentListParams) iterator { return sc.PaymentIntents.List(p) }),
	list("stripe.payment_intents.search", func(sc *client.API, p *stripe.PaymentIntentSearchParams) iterator { return sc.PaymentIntents.Search(p) }),

	call("stripe.charges.create", func(sc *client.API, p *stripe.ChargeParams) (*stripe.Charge, error) { return sc.Charges.New(p) }, notOnCreate...),
	call("stripe.charges.retrieve", func(sc *client.API, p *stripe.ChargeParams) (*stripe.Charge, error) { return sc.Charges.Get("ch_1", p) }),
	call("stripe.charges.retrieve", func(sc *client.API, p *stripe.ChargeParams) (*stripe.Charge, error) { return sc.Charges.Get("py_1", p) }),
	call("stripe.charges.update", func(sc *client.API, p *stripe.ChargeParams) (*stripe.Charge, error) {
		return sc.Charges.Update("ch_1", p)
	}),
	call("stripe.charges.capture", func(sc *client.API, p *stripe.ChargeCaptureParams) (*stripe.Charge, error) {
		return sc.Charges.Capture("ch_1", p)
	}),
	list("stripe.charges.list", func(sc *client.API, p *stripe.ChargeListParams) iterator { return sc.Charges.List(p) }),
	list("stripe.charges.search", func(sc *client.API, p *stripe.ChargeSearchParams) iterator { return sc.Charges.Search(p) }),

	call("stripe.refunds.create", func(sc *client.API, p *stripe.RefundParams) (*stripe.Refund, error) { return sc.Refunds.New(p) }),
	call("stripe.refunds.retrieve", func(sc *client.API, p *stripe.RefundParams) (*stripe.Refund, error) { return sc.Refunds.Get("re_1", p) }),
	call("stripe.refunds.update", func(sc *client.API, p *stripe.RefundParams) (*stripe.Refund, error) {
		return sc.Refunds.Update("pyr_1", p)
	}),
	call("stripe.refunds.cancel", func(sc *client.API, p *stripe.RefundCancelParams) (*stripe.Refund, error) {
		return sc.Refunds.Cancel("re_1", p)
	}),
	list("stripe.refunds.list", func(sc *client.API, p *stripe.RefundListParams) iterator { return sc.Refunds.List(p) }),

	call("stripe.customers.create", func(sc *client.API, p *stripe.CustomerParams) (*stripe.Customer, error) { return sc.Customers.New(p) }),
	call("stripe.customers.retrieve", func(sc *client.API, p *stripe.CustomerParams) (*stripe.Customer, error) {
		return sc.Customers.Get("cus_1", p)
	}),
	call("stripe.customers.update", func(sc *client.API, p *stripe.CustomerParams) (*stripe.Customer, error) {
		return sc.Customers.Update("cus_1", p)
	}),
	call("stripe.customers.delete", func(sc *client.API, p *stripe.CustomerParams) (*stripe.Customer, error) {
		return sc.Customers.Del("cus_1", p)
	}),
	list("stripe.customers.list", func(sc *client.API, p *stripe.CustomerListParams) iterator { return sc.Customers.List(p) }),
	list("stripe.customers.search", func(sc *client.API, p *stripe.CustomerSearchParams) iterator { return sc.Customers.Search(p) }),

	call("stripe.transfers.create", func(sc *client.API, p *stripe.TransferParams) (*stripe.Transfer, error) { return sc.Transfers.New(p) }),
	call("stripe.transfers.retrieve", func(sc *client.API, p *stripe.TransferParams) (*stripe.Transfer, error) {
		return sc.Transfers.Get("tr_1", p)
	}),
	call("stripe.transfers.update", func(sc *client.API, p *stripe.TransferParams) (*stripe.Transfer, error) {
		return sc.Transfers.Update("tr_1", p)
	}),
	list("stripe.transfers.list", func(sc *client.API, p *stripe.TransferListParams) iterator { return sc.Transfers.List(p) }),

	call("stripe.payouts.create", func(sc *client.API, p *stripe.PayoutParams) (*stripe.Payout, error) { return sc.Payouts.New(p) }),
	call("stripe.payouts.retrieve", func(sc *client.API, p *stripe.PayoutParams) (*stripe.Payout, error) { return sc.Payouts.Get("po_1", p) }),
	call("stripe.payouts.update", func(sc *client.API, p *stripe.PayoutParams) (*stripe.Payout, error) {
		return sc.Payouts.Update("po_1", p)
	}),
	call("stripe.payouts.cancel", func(sc *client.API, p *stripe.PayoutParams) (*stripe.Payout, error) {
		return sc.Payouts.Cancel("po_1", p)
	}),
	list("stripe.payouts.list", func(sc *client.API, p *stripe.PayoutListParams) iterator { return sc.Payouts.List(p) }),

	call("stripe.balance.retrieve", func(sc *client.API, p *stripe.BalanceParams) (*stripe.Balance, error) { return sc.Balance.Get(p) }),
}

// TestEveryCallOfTheSDK sends the whole catalogue with the real stripe-go, once without parameters and once
// with all of them, and asks the table what it saw.
func TestEveryCallOfTheSDK(t *testing.T) {
	tab, rec := table(t), &recorder{}
	sc := client.New("sk_test_1", stripe.NewBackends(&http.Client{Transport: rec}))
	for _, s := range calls {
		t.Run(s.name, func(t *testing.T) {
			if c := s.identify(t, tab, rec, sc); len(c.Params) != 0 {
				t.Errorf("empty params sent %v", c.Params)
			}
			fill(reflect.ValueOf(s.params).Elem(), 0)
			c := s.identify(t, tab, rec, sc)
			if !c.Operation.Class.Paid() {
				return
			}
			if len(c.Params) < 5 {
				t.Fatalf("filled params sent only %v", c.Params)
			}
			unknown, _ := c.Unlisted(c.Operation.Params)
			for _, name := range unknown {
				root, _, _ := strings.Cut(name, "[")
				if !slices.Contains(s.foreign, root) {
					t.Errorf("parameter %q is not in the catalogue", name)
				}
			}
			for _, name := range s.foreign {
				if !slices.ContainsFunc(unknown, func(u string) bool { return u == name || strings.HasPrefix(u, name+"[") }) {
					t.Errorf("parameter %q is in the catalogue of an operation that Stripe does not document it for", name)
				}
			}
		})
	}
}

func (s sent) identify(t *testing.T, tab *vendors.Table, rec *recorder, sc *client.API) *vendors.Call {
	t.Helper()
	if err := s.send(sc, s.params); err != nil {
		t.Fatal(err)
	}
	_, c, err := tab.Identify(rec.req, bytes.TrimSpace(rec.body))
	if err != nil {
		t.Fatal(err)
	}
	if c.Operation.Name != s.name {
		t.Fatalf("identified as %s", c.Operation.Name)
	}
	if want := rec.req.Header.Get("Idempotency-Key"); c.Operation.Method == "POST" && c.Key != want {
		t.Errorf("idempotency key %q, want %q", c.Key, want)
	}
	return c
}

// TestEveryOperationIsCalled says that stripe-go was asked for every operation whose row stands in Go, where a
// person has written down what its parameters do. The paths of all others are compared in internal/stripemock.
func TestEveryOperationIsCalled(t *testing.T) {
	costs := costs(t)
	for _, op := range kbstripe.New(nil).Operations {
		if costs[op.Name] == "go" && !slices.ContainsFunc(calls, func(s sent) bool { return s.name == op.Name }) {
			t.Errorf("no call of %s", op.Name)
		}
	}
}

// skipped are fields of stripe-go's structs that are no parameters, or that stand for one that another field
// sends already.
var skipped = []string{"Params", "ListParams", "SearchParams", "CreatedRange", "ArrivalDateRange", "Token"}

// fill sets every optional field of a struct of stripe-go's.
func fill(v reflect.Value, depth int) {
	if depth > 12 {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && !slices.Contains(skipped, f.Name) {
				fill(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		if v.Type().Elem().Kind() == reflect.String {
			v.SetMapIndex(reflect.ValueOf("k"), reflect.ValueOf("v"))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Bool:
		v.SetBool(true)
	}
}
