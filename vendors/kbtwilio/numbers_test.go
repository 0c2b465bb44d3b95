package kbtwilio

import (
	"strings"
	"testing"
)

func TestCountryOf(t *testing.T) {
	for number, want := range map[string]string{
		"+14155550100": "US", "+16045550100": "CA", "+18765550100": "JM", "+17875550100": "PR", "+13405550100": "VI",
		"+16715550100": "GU", "+12425550100": "BS", "+18095550100": "DO", "+18685550100": "TT", "+13455550100": "KY",
		"+19005550100": "?", "+18005550100": "?", "+18885550100": "?", "+15005550006": "?", "+14159765555": "?",
		"+12005550100": "?", "+14151550100": "?", "+1415555010": "?", "+141555501000": "?", "+16005550100": "?",

		"+447700900123": "GB", "+447797712345": "JE", "+447624123456": "IM", "+447781123456": "GG",
		"+441534123456": "JE", "+447911123456": "GG", "+447912345678": "GB", "+447012345678": "?", "+449012345678": "?",
		"+79161234567": "RU", "+77012345678": "KZ", "+78091234567": "?", "+79409112345": "?",
		"+393123456789": "IT", "+390669812345": "VA", "+4791234567": "NO", "+4779123456": "SJ",
		"+61412345678": "AU", "+61891641234": "CX", "+61891621234": "CC", "+358181234": "AX", "+358401234567": "FI",
		"+212612345678": "MA", "+212528812345": "EH", "+262692123456": "RE", "+262639012345": "YT",
		"+59995181234": "CW", "+5993181234": "BQ", "+672312345": "NF", "+672112345": "AQ",
		"+491701234567": "DE", "+971501234567": "AE", "+420601123456": "CZ", "+8801712345678": "BD",
		"+2348012345678": "NG", "+923001234567": "PK", "+38344123456": "XK", "+211912345678": "SS",

		"+881612345678": "?", "+882161234567": "?", "+883510012345": "?", "+870773123456": "?", "+878101234567": "?",
		"+979123456789": "?", "+80012345678": "?", "+80812345678": "?", "+888123456789": "?", "+9991234567": "?",
		"+2101234567": "?", "+3841234567": "?",
	} {
		if !e164.MatchString(number) {
			t.Errorf("%s is not of E.164 form", number)
		}
		if got := countryOf(number); got != want {
			t.Errorf("%s: got %s, want %s", number, got, want)
		}
	}
}

// TestNumberTables says that no prefix belongs to two countries and that each is well formed: index would keep
// one of the two at random.
func TestNumberTables(t *testing.T) {
	for _, table := range []map[string]string{callingCodes, areaCodes} {
		owner := map[string]string{}
		for country, list := range table {
			if country != unknownCountry && (len(country) != 2 || strings.ToUpper(country) != country) {
				t.Errorf("%q is not a country", country)
			}
			for prefix := range strings.FieldsSeq(list) {
				if other, taken := owner[prefix]; taken {
					t.Errorf("%s belongs to %s and %s", prefix, other, country)
				}
				if owner[prefix] = country; strings.Trim(prefix, "0123456789") != "" || prefix[0] == '0' {
					t.Errorf("%s: %q is not a prefix", country, prefix)
				}
			}
		}
	}
	if len(callingCodes) < 215 || len(areaCodes) != 25 {
		t.Errorf("%d countries, %d of them under +1", len(callingCodes)+len(areaCodes), len(areaCodes))
	}
}

func TestRateCard(t *testing.T) {
	card := newTariff(RateCard{Date: "2026-11-01", Rates: []Rate{
		{"GB", "", "0.04"}, {"GB", "447", "0.05"}, {"GB", "4477", "0.055"}, {"GB", "+4477", "0.06"}, {"GB", "4477", "0.05"}, {"?", "", "0.01"}, {"US", "1415", "0.01"},
	}})
	for _, c := range []struct {
		number string
		want   int64
	}{
		{"+442012345678", 40_000}, {"+447912345678", 50_000}, {"+447700900123", 60_000}, {"+14155550100", 10_000},
		{"+12125550100", 0}, {"+19005550100", 0}, {"+881612345678", 0}, {"+491701234567", 0},
	} {
		got, why := card.perSegment(c.number, countryOf(c.number))
		if got != c.want || (why == "") != (c.want > 0) {
			t.Errorf("%s: got %d (%s), want %d", c.number, got, why, c.want)
		}
	}
	for name, bad := range map[string]RateCard{
		"price":    {Rates: []Rate{{"US", "", "0.01"}, {"GB", "", "0,04"}}},
		"negative": {Rates: []Rate{{"US", "", "-0.01"}}},
		"empty":    {Rates: []Rate{{"US", "", ""}}},
		"currency": {Currency: "usd", Rates: []Rate{{"US", "", "0.01"}}},
		"prefix":   {Rates: []Rate{{"US", "", "0.01"}, {"US", "1-415", "0.50"}}},
	} {
		if _, why := newTariff(bad).perSegment("+14155550100", "US"); why == "" {
			t.Errorf("%s: a card with a mistake priced a number", name)
		}
	}
	if _, why := newTariff(RateCard{}).perSegment("+14155550100", "US"); why == "" {
		t.Error("an empty card priced a number")
	}
}
