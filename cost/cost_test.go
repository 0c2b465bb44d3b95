package cost_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/keybrake/keybrake-go/cost"
)

func TestDecimalIsReadAsWritten(t *testing.T) {
	for _, tt := range []struct {
		in     string
		micros int64
		out    string
	}{
		{"0", 0, "0.00"},
		{"0.0", 0, "0.00"},
		{"50", 50_000_000, "50.00"},
		{"0.0083", 8_300, "0.0083"},
		{"0.000001", 1, "0.000001"},
		{"1.5", 1_500_000, "1.50"},
		{"1.50", 1_500_000, "1.50"},
		{"1.500000", 1_500_000, "1.50"},
		{"007", 7_000_000, "7.00"},
		{"9007199254.740991", cost.Max, "9007199254.740991"},
		{strings.Repeat("0", 100) + "1", 1_000_000, "1.00"},
	} {
		got, err := cost.ParseDecimal(tt.in)
		if err != nil || got != tt.micros {
			t.Errorf("%q is read as %d, %v; want %d", tt.in, got, err, tt.micros)
		}
		if s := cost.Decimal(tt.micros); s != tt.out {
			t.Errorf("%d is written as %q, want %q", tt.micros, s, tt.out)
		}
	}
}

func TestDecimalRefuses(t *testing.T) {
	for _, s := range []string{
		"", " ", ".", ".5", "5.", "-1", "+1", "1e3", "0x10", "1_000", "1,5", "1 000", " 1", "1 ", "1\n", "1.5.0", "..", "NaN", "Inf",
		"٥", "１", "5O", "0.0000001", "1.0000000", "$5", "1\x00",
	} {
		if n, err := cost.ParseDecimal(s); err == nil || n != 0 {
			t.Errorf("%q is read as %d, %v", s, n, err)
		}
	}
	for _, s := range []string{"9007199254.740992", "9007199255", "9223372036854.775807", "9223372036854.775808", "18446744073709.551616", strings.Repeat("9", 400)} {
		if n, err := cost.ParseDecimal(s); !errors.Is(err, cost.ErrRange) || n != 0 {
			t.Errorf("%q is read as %d, %v; want ErrRange", s, n, err)
		}
	}
}

// A debt or a difference can be negative, and a log line of one must not read as another amount.
func TestDecimalOfAnyInt64(t *testing.T) {
	for micros, want := range map[int64]string{
		-1:            "-0.000001",
		-1_500_000:    "-1.50",
		math.MaxInt64: "9223372036854.775807",
		math.MinInt64: "-9223372036854.775808",
	} {
		if got := cost.Decimal(micros); got != want {
			t.Errorf("%d is written as %q, want %q", micros, got, want)
		}
	}
}

func TestCountIsReadAsWritten(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "150": 150, "0150": 150, "9007199254740991": cost.Max} {
		if n, err := cost.ParseCount(s); err != nil || n != want {
			t.Errorf("%q is read as %d, %v; want %d", s, n, err, want)
		}
	}
	for _, s := range []string{"", "-1", "+1", "1.0", "1e3", "0x1", " 1", "1 ", "٣", "1_0"} {
		if n, err := cost.ParseCount(s); err == nil || n != 0 {
			t.Errorf("%q is read as %d, %v", s, n, err)
		}
	}
	for _, s := range []string{"9007199254740992", "9223372036854775808", "99999999999999999999999"} {
		if n, err := cost.ParseCount(s); !errors.Is(err, cost.ErrRange) || n != 0 {
			t.Errorf("%q is read as %d, %v; want ErrRange", s, n, err)
		}
	}
}

// What ParseDecimal accepts is the number that the text says, exactly, and comes back from Decimal as it was.
func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{"0", "50", "0.0083", "9007199254.740991", "9007199254.740992", "1e3", "-1", ".5", "1.0000000", "٥", "18446744073709.551616"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := cost.ParseDecimal(s)
		if err != nil {
			if n != 0 {
				t.Fatalf("%q is refused and read as %d", s, n)
			}
			return
		}
		if n < 0 || n > cost.Max {
			t.Fatalf("%q is read as %d, out of range", s, n)
		}
		if strings.Trim(s, "0123456789.") != "" {
			t.Fatalf("%q was read", s)
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok || want.Cmp(big.NewRat(n, cost.MicrosPerUnit)) != 0 {
			t.Fatalf("%q is read as %d", s, n)
		}
		if again, err := cost.ParseDecimal(cost.Decimal(n)); err != nil || again != n {
			t.Fatalf("%d is written as %q and read as %d, %v", n, cost.Decimal(n), again, err)
		}
	})
}

func TestFormatNamesTheUnit(t *testing.T) {
	for want, l := range map[string]cost.Line{
		"20.00 USD":  {Meter: cost.Charge, Currency: "USD", Amount: 20_000_000},
		"0.0083 USD": {Meter: cost.Fee, Currency: "USD", Amount: 8_300},
		"500.00 JPY": {Meter: cost.Outflow, Currency: "JPY", Amount: 500_000_000},
		"3 units":    {Meter: cost.Units, Amount: 3},
		"150 calls":  {Meter: cost.Calls, Amount: 150},
	} {
		if got := l.String(); got != want || got != cost.Format(l.Amount, l.Currency, l.Meter) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLineThatMayReachALedger(t *testing.T) {
	for _, l := range []cost.Line{
		{Meter: cost.Charge, Currency: "USD"},
		{Meter: cost.Outflow, Currency: "EUR", Amount: cost.Max},
		{Meter: cost.Fee, Currency: "XTS", Amount: 1},
		{Meter: cost.Calls, Amount: 1},
		{Meter: cost.Units, Amount: cost.Max},
	} {
		if err := l.Valid(); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
	for name, l := range map[string]cost.Line{
		"the zero line":               {},
		"no meter":                    {Currency: "USD", Amount: 1},
		"an unknown meter":            {Meter: "money", Currency: "USD", Amount: 1},
		"spend, which no line counts": {Meter: cost.Spend, Currency: "USD", Amount: 1},
		"money of no currency":        {Meter: cost.Charge, Amount: 1},
		"a currency in lower case":    {Meter: cost.Charge, Currency: "usd", Amount: 1},
		"a currency of two letters":   {Meter: cost.Charge, Currency: "US", Amount: 1},
		"a currency of four letters":  {Meter: cost.Charge, Currency: "USDT", Amount: 1},
		"a currency beyond ASCII":     {Meter: cost.Charge, Currency: "É$", Amount: 1},
		"calls in a currency":         {Meter: cost.Calls, Currency: "USD", Amount: 1},
		"units in a currency":         {Meter: cost.Units, Currency: "USD", Amount: 1},
		"less than nothing":           {Meter: cost.Charge, Currency: "USD", Amount: -1},
		"more than Max":               {Meter: cost.Charge, Currency: "USD", Amount: cost.Max + 1},
		"the least int64":             {Meter: cost.Calls, Amount: math.MinInt64},
	} {
		if l.Valid() == nil {
			t.Errorf("%s is valid: %+v", name, l)
		}
	}
}

func TestSpendCountsAllMoneyAndNothingElse(t *testing.T) {
	all := []cost.Meter{cost.Charge, cost.Outflow, cost.Fee, cost.Spend, cost.Calls, cost.Units}
	for _, budget := range all {
		for _, line := range all {
			want := budget == line || budget == cost.Spend && line != cost.Calls && line != cost.Units
			if budget.Counts(line) != want {
				t.Errorf("a budget on %s counts %s: %v", budget, line, !want)
			}
		}
		if budget.Counts("") || cost.Meter("").Counts(budget) || !budget.Valid() {
			t.Errorf("%s: the empty meter is counted, or it is not valid itself", budget)
		}
	}
	if cost.Meter("").Valid() || cost.Meter("Charge").Valid() || cost.Meter("").Money() {
		t.Error("what is no meter is valid")
	}
}

// Add and Mul are compared with arithmetic that cannot overflow, at every border where they could.
func TestArithmeticRefusesToOverflow(t *testing.T) {
	edges := []int64{
		math.MinInt64, math.MinInt64 + 1, -cost.Max - 1, -cost.Max, -2, -1, 0, 1, 2, 3, 1_000_000, 94906265, 94906266,
		1 << 31, 1 << 32, cost.Max/2 - 1, cost.Max / 2, cost.Max/2 + 1, cost.Max - 1, cost.Max, cost.Max + 1, 1 << 62, math.MaxInt64 - 1, math.MaxInt64,
	}
	type operation struct {
		name  string
		do    func(a, b int64) (int64, error)
		exact func(z, a, b *big.Int) *big.Int
	}
	for _, op := range []operation{{"+", cost.Add, (*big.Int).Add}, {"×", cost.Mul, (*big.Int).Mul}} {
		for _, a := range edges {
			for _, b := range edges {
				exact := op.exact(new(big.Int), big.NewInt(a), big.NewInt(b))
				fits := a >= 0 && a <= cost.Max && b >= 0 && b <= cost.Max && exact.Cmp(big.NewInt(cost.Max)) <= 0
				got, err := op.do(a, b)
				switch {
				case fits && (err != nil || got != exact.Int64()):
					t.Errorf("%d %s %d is %d, %v; want %v", a, op.name, b, got, err, exact)
				case !fits && (!errors.Is(err, cost.ErrRange) || got != 0):
					t.Errorf("%d %s %d is %d, %v; want ErrRange", a, op.name, b, got, err)
				}
			}
		}
	}
}

func TestSumAddsWhatTheBudgetCounts(t *testing.T) {
	lines := []cost.Line{
		{Meter: cost.Charge, Currency: "USD", Amount: 1},
		{Meter: cost.Outflow, Currency: "USD", Amount: 10},
		{Meter: cost.Fee, Currency: "USD", Amount: 100},
		{Meter: cost.Charge, Currency: "EUR", Amount: 1_000},
		{Meter: cost.Units, Amount: 10_000},
		{Meter: cost.Calls, Amount: 100_000},
	}
	for _, tt := range []struct {
		meter    cost.Meter
		currency cost.Currency
		want     int64
	}{
		{cost.Spend, "USD", 111},
		{cost.Charge, "USD", 1},
		{cost.Outflow, "USD", 10},
		{cost.Fee, "USD", 100},
		{cost.Spend, "EUR", 1_000},
		{cost.Spend, "", 0},
		{cost.Units, "", 10_000},
		{cost.Calls, "", 100_000},
		{cost.Calls, "USD", 0},
	} {
		if got, err := cost.Sum(lines, tt.meter, tt.currency); err != nil || got != tt.want {
			t.Errorf("%s %s: got %d, %v; want %d", tt.meter, tt.currency, got, err, tt.want)
		}
	}
	over := []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: cost.Max}, {Meter: cost.Fee, Currency: "USD", Amount: 1}}
	if got, err := cost.Sum(over, cost.Spend, "USD"); !errors.Is(err, cost.ErrRange) || got != 0 {
		t.Errorf("a sum above Max is %d, %v", got, err)
	}
	negative := []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: 5}, {Meter: cost.Charge, Currency: "USD", Amount: -5}}
	if got, err := cost.Sum(negative, cost.Charge, "USD"); !errors.Is(err, cost.ErrRange) {
		t.Errorf("a negative line lowers the sum to %d, %v", got, err)
	}
}

func ExampleParseDecimal() {
	micros, err := cost.ParseDecimal("0.0083")
	fmt.Println(micros, cost.Decimal(micros), err)
	// Output: 8300 0.0083 <nil>
}
