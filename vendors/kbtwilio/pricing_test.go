package kbtwilio_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/vendors/kbtwilio"
)

// priceLists are answers of the Pricing API in the form that its documentation and twilio-go give them.
func priceLists(t testing.TB) (documents [][]byte) {
	t.Helper()
	files, err := filepath.Glob("testdata/pricing/*.json")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d price lists, %v", len(files), err)
	}
	for _, file := range files {
		d, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, d)
	}
	return documents
}

// full is the default card with the price lists of testdata and a fee of each kind.
func full(t testing.TB) kbtwilio.RateCard {
	t.Helper()
	card, err := kbtwilio.DefaultRates().WithPrices(priceLists(t)...)
	if err != nil {
		t.Fatal(err)
	}
	card.Fees = map[string]string{
		"mms.US": "0.032", "whatsapp.DE": "0.14", "messenger": "0.01", "rcs.US": "0.02", "call.sip": "0.004",
		"call.client": "0.004", "call.machine_detection": "0.0075", "call.recording": "0.0025", "call.say": "0.0008",
		"conference": "0.0018", "pay": "0.10", "number.verification": "0.06", "verify.sms.US": "0.03", "verify.email": "0.02",
		"verify.success": "0.05", "lookup.line_type_intelligence": "0.008", "lookup.sim_swap": "0.1", "video": "0.004",
	}
	return card
}

func TestWithPrices(t *testing.T) {
	card := full(t)
	want := map[kbtwilio.Rate]bool{
		{Country: "US", PerSegment: "0.0133"}: true, {Country: "DE", PerSegment: "0.107001"}: true, {Country: "CA", PerSegment: "0.025"}: true,
	}
	for _, r := range card.Rates {
		if !want[r] {
			t.Errorf("a price of texts: %+v", r)
		}
		delete(want, r)
	}
	if len(want) > 0 {
		t.Errorf("no price of texts: %v", slices.Collect(maps.Keys(want)))
	}
	calls := map[string]string{}
	for _, r := range card.Calls {
		calls[r.Country+" "+r.Prefix] = r.PerMinute
	}
	// 1212 and 447 have a price for callers at home alone; callers from elsewhere pay that of the shorter prefix.
	for prefix, price := range map[string]string{"US 1": "0.014", "US 1907": "0.09", "US 1212": "0.014", "GB 44": "0.05", "GB 447": "0.05"} {
		if calls[prefix] != price {
			t.Errorf("%s: %s a minute, want %s", prefix, calls[prefix], price)
		}
	}
	if len(card.Numbers) != 5 { // of the US by default, of GB by the list
		t.Errorf("prices of numbers: %+v", card.Numbers)
	}
}

func TestWithPricesRefuses(t *testing.T) {
	const de = `{"iso_country":"DE","price_unit":"USD","outbound_sms_prices":[{"prices":[{"number_type":"mobile","current_price":"0.1"}]}]}`
	for name, docs := range map[string][]string{
		"no JSON":                            {`<html>`},
		"more after it":                      {de + `{}`},
		"a name twice":                       {strings.Replace(de, `"USD",`, `"USD","price_unit":"USD",`, 1)},
		"another currency":                   {strings.Replace(de, "USD", "EUR", 1)},
		"no currency":                        {strings.Replace(de, "USD", "", 1)},
		"no country":                         {strings.Replace(de, "DE", "", 1)},
		"a country's name":                   {strings.Replace(de, "DE", "Germany", 1)},
		"a price of none":                    {strings.Replace(de, `"0.1"`, `""`, 1)},
		"a price that is no number":          {strings.Replace(de, `"0.1"`, `"0,1"`, 1)},
		"a number for a price":               {strings.Replace(de, `"0.1"`, `0.1`, 1)},
		"a negative price":                   {strings.Replace(de, `"0.1"`, `"-0.1"`, 1)},
		"a price left out":                   {strings.Replace(de, `,"current_price":"0.1"`, ``, 1)},
		"no prices":                          {`{"iso_country":"DE","price_unit":"USD"}`},
		"two kinds":                          {strings.Replace(de, `"price_unit"`, `"phone_number_prices":[],"price_unit"`, 1)},
		"the same twice":                     {de, de},
		"calls of v1":                        {`{"iso_country":"DE","price_unit":"USD","outbound_prefix_prices":[{"prefixes":["49"],"current_price":"0.1"}]}`},
		"a prefix of letters":                {`{"iso_country":"DE","price_unit":"USD","outbound_prefix_prices":[{"destination_prefixes":["4x"],"current_price":"0.1"}]}`},
		"an empty prefix":                    {`{"iso_country":"DE","price_unit":"USD","outbound_prefix_prices":[{"destination_prefixes":[""],"current_price":"0.1"}]}`},
		"a type of number that nobody knows": {`{"iso_country":"DE","price_unit":"USD","phone_number_prices":[{"number_type":"gold","current_price":"0.1"}]}`},
	} {
		var documents [][]byte
		for _, d := range docs {
			documents = append(documents, []byte(d))
		}
		card, err := kbtwilio.DefaultRates().WithPrices(documents...)
		if err == nil || card.Rates != nil {
			t.Errorf("%s: %+v, %v", name, card, err)
		}
	}
	us := priceLists(t)[1]
	if _, err := (kbtwilio.RateCard{}).WithPrices(us); err == nil || !strings.Contains(err.Error(), "carriers") {
		t.Errorf("texts of the United States without the carriers' fees: %v", err)
	}
	card, err := kbtwilio.DefaultRates().WithPrices([]byte(`{"iso_country":"CA","price_unit":"USD","outbound_sms_prices":[]}`))
	if err != nil || slices.ContainsFunc(card.Rates, func(r kbtwilio.Rate) bool { return r.Country == "CA" }) {
		t.Errorf("a country without a price keeps one: %+v, %v", card.Rates, err)
	}
}

func TestFeesAreKnownByName(t *testing.T) {
	for name, good := range map[string]bool{
		"mms.US": true, "messenger": true, "lookup.sim_swap": true, "video": true,
		"mms": false, "mms.us": false, "mms.USA": false, "messenger.US": false, "lookup.": false, "lookup.X": false, "vidoe": false, "": false,
	} {
		v := kbtwilio.New(&kbtwilio.Options{Rates: &kbtwilio.RateCard{Fees: map[string]string{name: "1"}}})
		if (v.Err == nil) != good {
			t.Errorf("%q: %v", name, v.Err)
		}
	}
}
