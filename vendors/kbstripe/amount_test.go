package kbstripe

import (
	"testing"

	"github.com/keybrake/keybrake-go/cost"
)

// TestExponents says what 1,000 minor units are worth in every currency that Stripe treats in its own way, and
// in some that other tables get wrong. The list is written out again here on purpose: it is checked against
// facts, not against the table.
func TestExponents(t *testing.T) {
	for worth, currencies := range map[string][]cost.Currency{
		"1000.00": {"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"},
		"10.00":   {"USD", "EUR", "GBP", "ISK", "UGX", "HUF", "TWD", "COP", "IDR", "PKR", "RSD", "CZK", "INR", "LAK", "SLE"},
		"1.00":    {"BHD", "JOD", "KWD", "OMR", "TND"},
	} {
		for _, c := range currencies {
			micros, err := money{1000, c}.micros()
			if err != nil || cost.Decimal(micros) != worth {
				t.Errorf("1000 minor units of %s are %s (%v), want %s", c, cost.Decimal(micros), err, worth)
			}
		}
	}
	if n := len(exponents); n != 20 {
		t.Errorf("the table has %d currencies, the test 20", n)
	}
}

func TestSteps(t *testing.T) {
	for _, tt := range []struct {
		currency cost.Currency
		minor    int64
		ok       bool
	}{
		{"ISK", 500, true}, {"ISK", 550, false}, {"ISK", 501, false},
		{"UGX", 500, true}, {"UGX", 550, false},
		{"BHD", 1230, true}, {"BHD", 1234, false}, {"JOD", 1235, false}, {"KWD", 1, false}, {"OMR", 11, false}, {"TND", 9, false},
		{"HUF", 1050, true}, {"TWD", 801, true}, {"USD", 1, true}, {"JPY", 1, true}, {"USD", 0, true},
	} {
		b, err := money{tt.minor, tt.currency}.bound(cost.Charge, "amount")
		if (err == nil) != tt.ok || (err != nil && b.Lines != nil) {
			t.Errorf("%d %s: %v, %v", tt.minor, tt.currency, b, err)
		}
	}
}

func TestForeignCurrencies(t *testing.T) {
	for _, c := range []cost.Currency{"CLF", "IQD", "LYD", "UYI", "UYW", "", "us", "usd"} {
		if _, err := (money{1000, c}).micros(); err == nil {
			t.Errorf("%q has a price", c)
		}
	}
}

func TestRange(t *testing.T) {
	for _, tt := range []struct {
		m  money
		ok bool
	}{
		{money{cost.Max / 10_000, "USD"}, true}, {money{cost.Max/10_000 + 1, "USD"}, false},
		{money{cost.Max / 1_000_000, "JPY"}, true}, {money{cost.Max/1_000_000 + 1, "JPY"}, false},
		{money{-1, "USD"}, false}, {money{cost.Max, "KWD"}, false},
	} {
		if _, err := tt.m.micros(); (err == nil) != tt.ok {
			t.Errorf("%v: %v", tt.m, err)
		}
	}
}

func TestCurrencyOf(t *testing.T) {
	for in, want := range map[string]cost.Currency{
		"usd": "USD", "USD": "USD", "us": "", "usdc": "", "": "", "u$d": "", "ſek": "", "us\x00": "", " us": "",
	} {
		if got := currencyOf(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
