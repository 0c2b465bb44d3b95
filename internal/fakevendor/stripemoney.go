package fakevendor

import "strings"

// Exponents of Stripe's own table, which is not ISO 4217's (from
// docs.stripe.com/currencies, read 2026-11). All others have 2, ISK
// and UGX among them, although UGX is on Stripe's zero-decimal list too.
const (
	zeroDecimals  = " bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf "
	threeDecimals = " bhd jod kwd omr tnd "
)

// micros converts minor units of currency into micro-units of its major unit.
func micros(minor int64, currency string) int64 {
	switch c := " " + strings.ToLower(currency) + " "; {
	case strings.Contains(zeroDecimals, c):
		return minor * 1_000_000
	case strings.Contains(threeDecimals, c):
		return minor * 1_000
	}
	return minor * 10_000
}
