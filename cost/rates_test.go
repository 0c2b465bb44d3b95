package cost_test

import (
	"errors"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/cost"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func table() cost.Rates {
	return cost.Rates{
		To: "USD", Of: map[cost.Currency]string{"EUR": "1.0842", "JPY": "0.0064", "KWD": "3.25", "GBP": "1"},
		AsOf: noon, MaxAge: 24 * time.Hour, Haircut: 200,
	}
}

func TestARateIsExactAndRoundsUp(t *testing.T) {
	for _, tt := range []struct {
		from   cost.Currency
		amount int64
		rate   string
		want   int64
	}{
		{"EUR", 20_000_000, "1.105884", 22_117_680},
		{"EUR", 1, "1.105884", 2}, // a rest of a micro-unit is one
		{"EUR", 0, "1.105884", 0},
		{"JPY", 500_000_000, "0.006528", 3_264_000},
		{"KWD", 1_000_000, "3.315", 3_315_000},
		{"GBP", 1_000_000, "1.02", 1_020_000},
	} {
		rate, err := table().Rate(tt.from, noon)
		if err != nil || rate.Value != tt.rate {
			t.Errorf("rate of %s: %v, %v, want %s", tt.from, rate, err, tt.rate)
			continue
		}
		l, err := rate.Convert(cost.Line{Meter: cost.Outflow, Currency: tt.from, Amount: tt.amount})
		if want := (cost.Line{Meter: cost.Outflow, Currency: "USD", Amount: tt.want}); err != nil || l != want {
			t.Errorf("%d of %s count as %v, %v, want %v", tt.amount, tt.from, l, err, want)
		}
	}
}

func TestARateLeavesOtherCurrenciesAlone(t *testing.T) {
	rate := cost.Rate{From: "EUR", To: "USD", Value: "2"}
	for _, l := range []cost.Line{{Meter: cost.Charge, Currency: "JPY", Amount: 5}, {Meter: cost.Units, Amount: 5}} {
		if got, err := rate.Convert(l); got != l || err != nil {
			t.Errorf("%v became %v, %v", l, got, err)
		}
	}
}

func TestARateThatCannotBeReadConvertsNothing(t *testing.T) {
	line := cost.Line{Meter: cost.Charge, Currency: "EUR", Amount: 5}
	for _, rate := range []cost.Rate{
		{From: "EUR", To: "USD"}, {From: "EUR", Value: "1"}, {From: "EUR", To: "USD", Value: "-1"}, {From: "EUR", To: "USD", Value: "0"},
		{From: "EUR", To: "USD", Value: "1e3"}, {From: "EUR", To: "USD", Value: "1/2"}, {From: "EUR", To: "USD", Value: ".5"}, {From: "EUR", To: "USD", Value: "1."},
	} {
		if got, err := rate.Convert(line); err == nil {
			t.Errorf("%+v made %v of %v", rate, got, line)
		}
	}
	line.Amount = cost.Max
	if got, err := (cost.Rate{From: "EUR", To: "USD", Value: "1.1"}).Convert(line); !errors.Is(err, cost.ErrRange) {
		t.Errorf("the most there is became %v, %v", got, err)
	}
}

func TestRatesThatAreStaleMissingOrToComeGiveNoRate(t *testing.T) {
	for name, tt := range map[string]struct {
		of   cost.Currency
		now  time.Time
		want string
	}{
		"too old":           {"EUR", noon.Add(24*time.Hour + 1), "may be used for 24h"},
		"of a time to come": {"EUR", noon.Add(-2 * time.Hour), "yet to come"},
		"missing":           {"SEK", noon, "no rate of SEK to USD"},
		"of the table's":    {"USD", noon, "no rate of USD"},
	} {
		if rate, err := table().Rate(tt.of, tt.now); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v, want %q", name, rate, err, tt.want)
		}
	}
	if _, err := table().Rate("EUR", noon.Add(24*time.Hour)); err != nil {
		t.Errorf("at the end of their age: %v", err)
	}
}

func TestRatesThatCannotBeMeantAreRefused(t *testing.T) {
	for name, change := range map[string]func(*cost.Rates){
		"no currency":  func(r *cost.Rates) { r.To = "" },
		"no date":      func(r *cost.Rates) { r.AsOf = time.Time{} },
		"no age":       func(r *cost.Rates) { r.MaxAge = 0 },
		"for ever":     func(r *cost.Rates) { r.MaxAge = cost.MostRateAge + 1 },
		"a gain":       func(r *cost.Rates) { r.Haircut = -1 },
		"a rate of 0":  func(r *cost.Rates) { r.Of["SEK"] = "0" },
		"no number":    func(r *cost.Rates) { r.Of["SEK"] = "0,1" },
		"of itself":    func(r *cost.Rates) { r.Of["USD"] = "1" },
		"of no one":    func(r *cost.Rates) { r.Of["eur"] = "1" },
		"huge haircut": func(r *cost.Rates) { r.Haircut = 5001 },
	} {
		r := table()
		r.Of = maps.Clone(r.Of)
		change(&r)
		if r.Valid() == nil {
			t.Errorf("%s: valid", name)
		}
		if rate, err := r.Rate("EUR", noon); err == nil {
			t.Errorf("%s: gave %v", name, rate)
		}
	}
}

// FuzzRate counts arbitrary amounts by arbitrary rates: a table that is valid has a rate that can be used, with which an amount
// is counted at no less than its exact worth with the haircut, and less than one micro-unit more, or refused as out of range.
func FuzzRate(f *testing.F) {
	f.Add("1.0842", 200, int64(1_000_000))
	f.Add("0.0000000000000000000000000001", 1, int64(1))
	f.Add("999999999999", 5000, int64(1))
	f.Add("0.00000000000000000000000000001", 1, int64(cost.Max))
	f.Add("150", 0, int64(cost.Max))
	f.Add("1e3", -1, int64(-1))
	f.Add("1/3", 5001, int64(0))
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string, haircut int, amount int64) {
		table := cost.Rates{To: "USD", Of: map[cost.Currency]string{"EUR": value}, AsOf: now, MaxAge: time.Hour, Haircut: haircut}
		line := cost.Line{Meter: cost.Charge, Currency: "EUR", Amount: amount}
		if table.Valid() != nil || line.Valid() != nil {
			return
		}
		rate, err := table.Rate("EUR", now)
		if err != nil {
			t.Fatalf("%q with %d: %v", value, haircut, err)
		}
		exact, ok := new(big.Rat).SetString(value)
		if !ok || strings.Trim(value, "0123456789.") != "" {
			t.Fatalf("%q is a rate", value)
		}
		exact.Mul(exact, big.NewRat(int64(10_000+haircut), 10_000))
		exact.Mul(exact, big.NewRat(amount, 1))
		got, err := rate.Convert(line)
		if err != nil {
			if !errors.Is(err, cost.ErrRange) || exact.Cmp(big.NewRat(cost.Max, 1)) <= 0 || got != line {
				t.Fatalf("%d at %q with %d: %v, %v", amount, value, haircut, got, err)
			}
			return
		}
		over := new(big.Rat).Sub(big.NewRat(got.Amount, 1), exact)
		if got.Currency != "USD" || over.Sign() < 0 || over.Cmp(big.NewRat(1, 1)) >= 0 {
			t.Fatalf("%d at %q with %d is counted as %v", amount, value, haircut, got)
		}
	})
}
