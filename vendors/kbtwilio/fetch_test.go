package kbtwilio_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

const token = "0123456789abcdef0123456789abcdef"

// pricingAPI serves the price lists of testdata as pricing.twilio.com, for the account's own credential alone. change
// may answer instead, and says so. The client that is returned reaches it whatever host it asks for.
func pricingAPI(t *testing.T, change func(http.ResponseWriter, *http.Request) bool) *http.Client {
	t.Helper()
	lists := map[string]string{
		"/v1/Messaging/Countries/US": "messaging-us", "/v1/Messaging/Countries/DE": "messaging-de",
		"/v2/Voice/Countries/US": "voice-us", "/v2/Voice/Countries/GB": "voice-gb", "/v1/PhoneNumbers/Countries/GB": "numbers-gb",
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		list, known := lists[r.URL.Path]
		switch {
		case r.Host != "pricing.twilio.com" || r.Method != "GET" || user != me || password != token:
			w.WriteHeader(401)
			fmt.Fprint(w, `{"code": 20003, "message": "Authenticate", "status": 401}`)
		case change != nil && change(w, r):
		case !known:
			w.WriteHeader(404)
			fmt.Fprint(w, `{"code": 20404, "message": "The requested resource was not found", "status": 404}`)
		default:
			text, err := os.ReadFile("testdata/pricing/" + list + ".json")
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(text)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // connections that a failure elsewhere cuts off
	server.StartTLS()
	t.Cleanup(server.Close)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
		},
		TLSClientConfig: &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestFetchedCardIsThatOfTheFiles says that what is fetched is priced as what is read from files, and that what Twilio
// has no price of loses the one that it had.
func TestFetchedCardIsThatOfTheFiles(t *testing.T) {
	start := kbtwilio.DefaultRates()
	start.Rates = append(start.Rates, kbtwilio.Rate{Country: "GB", PerSegment: "0.05"})
	card, err := start.Fetch(t.Context(), pricingAPI(t, nil), []string{me + ":" + token}, "US", "DE", "GB")
	if err != nil {
		t.Fatal(err)
	}
	want := full(t)
	rates := func(c kbtwilio.RateCard) (s []string) {
		for _, r := range c.Rates {
			s = append(s, r.Country+r.Prefix+" "+r.PerSegment)
		}
		for _, r := range c.Calls {
			s = append(s, r.Country+r.Prefix+" "+r.PerMinute)
		}
		for _, r := range c.Numbers {
			if r.Country != "US" { // of which the API here has none, and the files neither
				s = append(s, r.Country+r.Type+" "+r.Monthly)
			}
		}
		slices.Sort(s)
		return s
	}
	if got := rates(card); !slices.Equal(got, rates(want)) {
		t.Errorf("fetched %q, want %q", got, rates(want))
	}
	for _, r := range card.Numbers {
		if r.Country == "US" {
			t.Errorf("a price that Twilio does not have any more: %+v", r)
		}
	}
	if _, err := time.Parse(time.DateOnly, card.Date); err != nil || card.Date <= kbtwilio.DefaultRates().Date || !strings.Contains(card.Source, "Pricing API for 3 countries") || !strings.Contains(card.Source, "2026-11-09") {
		t.Errorf("as of %s, from %q", card.Date, card.Source)
	}
	if v := kbtwilio.New(&kbtwilio.Options{Rates: &card}); v.Err != nil {
		t.Error(v.Err)
	}
	if len(start.Rates) != 3 || len(start.Numbers) != 2 {
		t.Error("the card that was fetched over has changed")
	}
}

// TestFetchFailsWhole says that a card is fetched whole or not at all, and that no error tells the credential.
func TestFetchFailsWhole(t *testing.T) {
	answer := func(path string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != path {
				return false
			}
			w.Header().Set("Location", "https://pricing.twilio.com/v1/Messaging/Countries/US")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		}
	}
	const us, gb = "/v1/Messaging/Countries/US", "/v1/PhoneNumbers/Countries/GB"
	good := []string{me, token}
	for name, c := range map[string]struct {
		credential []string
		countries  []string
		change     func(http.ResponseWriter, *http.Request) bool
		want       string
	}{
		"no countries":                  {good, nil, nil, "1 to 300"},
		"a country's name":              {good, []string{"Germany"}, nil, "two capitals"},
		"a path for a country":          {good, []string{"U/"}, nil, "two capitals"},
		"a country twice":               {good, []string{"US", "US"}, nil, "stands twice"},
		"a credential of no form":       {[]string{"sk_live_secret1"}, []string{"US"}, nil, "neither"},
		"another account":               {[]string{"AC00000000000000000000000000000001", token}, []string{"US"}, nil, "status 401 and error 20003"},
		"a country that Twilio has not": {good, []string{"AQ"}, nil, "prices of AQ: Twilio has none at all"},
		"an error":                      {good, []string{"US"}, answer(us, 500, "{}"), "texts of US: it was answered with status 500"},
		"too many requests":             {good, []string{"US"}, answer(us, 429, `{"code": 20429, "message": "Too Many Requests"}`), "error 20429"},
		"a 404 of something between":    {good, []string{"US"}, answer(us, 404, `<html>`), "status 404 and error 0"},
		"a page":                        {good, []string{"US"}, answer(us, 200, `<html>`), "not of that country and kind"},
		"a redirect":                    {good, []string{"GB"}, answer(gb, 302, ``), "numbers of GB: it was answered with status 302"},
		"another country":               {good, []string{"US"}, answer(us, 200, `{"iso_country": "DE", "price_unit": "USD", "outbound_sms_prices": []}`), "not of that country"},
		"another kind":                  {good, []string{"US"}, answer(us, 200, `{"iso_country": "US", "price_unit": "USD", "phone_number_prices": []}`), "not of that country and kind"},
		"another currency":              {good, []string{"US"}, answer(us, 200, `{"iso_country": "US", "price_unit": "EUR", "outbound_sms_prices": []}`), "EUR"},
		"an answer without an end":      {good, []string{"US"}, answer(us, 200, `{"padding": "`+strings.Repeat("x", 9<<20)+`"}`), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			card, err := kbtwilio.DefaultRates().Fetch(t.Context(), pricingAPI(t, c.change), c.credential, c.countries...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if card.Rates != nil || card.Fees != nil {
				t.Errorf("a card comes with the error: %+v", card)
			}
			for _, secret := range append(c.credential[1:], "secret1", "Basic", "QUMwMTIz") {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells %s: %v", secret, err)
				}
			}
		})
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := kbtwilio.DefaultRates().Fetch(gone, pricingAPI(t, nil), good, "US"); err == nil {
		t.Error("fetched with a context that is over")
	}
	if _, err := kbtwilio.DefaultRates().Fetch(t.Context(), &http.Client{Transport: talkative{}}, good, "US"); err == nil || strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "Basic") {
		t.Errorf("a transport that tells what it was given: %v", err)
	}
}

// talkative is a transport whose errors hold the credential.
type talkative struct{}

func (talkative) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("cannot send %v", r.Header)
}
