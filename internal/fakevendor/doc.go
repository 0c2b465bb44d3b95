// Package fakevendor is a stateful fake of Stripe, Twilio and Resend on a
// loopback TLS listener.
//
// It is the oracle of the tests: it keeps objects, honours idempotency keys as
// each vendor does, and logs what it really executed and with which credential.
// What our own books say is compared with that log, never the other way round,
// so this package imports nothing of ours.
//
// A client reaches it by changing the dial alone ([Dial], [Server.Transport]):
// URL, Host, SNI and certificate checks stay production's.
//
//	fake, err := fakevendor.Start()
//	defer fake.Close()
//	fake.SeedCharge("ch_1", 5000, "usd")
//	fake.Misbehave(fakevendor.Fault{PathContains: "/refunds", Kind: fakevendor.DropAfter})
//	sc := client.New("sk_test_1", stripe.NewBackends(&http.Client{Transport: fake.Transport()}))
//	_, err = sc.Refunds.New(&stripe.RefundParams{Charge: stripe.String("ch_1")})
//	fmt.Println(len(fake.Executions())) // 1: the refund ran once, although its first reply was lost
//
// What it is not: it checks no unknown parameters, no minimum amounts and no
// rate limits, its searches are consistent at once, and all credentials of one
// vendor and mode are one account. Where Stripe is known to behave otherwise a
// comment says so. What the vendors document was read in November 2026.
package fakevendor
