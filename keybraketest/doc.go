// Package keybraketest helps to test, without a network and without a vendor, two things that a program with an agent
// relies on.
//
// [New] is for the policy: does it let through what the agent needs, and stop the rest? It gives a real brake over
// vendors that answer what the test tells them to. The vendor's own SDK goes on top as in production:
//
//	bench := keybraketest.New(t, pol, nil)
//	bench.Handle("stripe.charges.retrieve", keybraketest.JSON(200, `{"object": "charge", …}`))
//	bench.Handle("stripe.refunds.create", keybraketest.JSON(200, `{"object": "refund", …}`))
//	sc := client.New(bench.Key.Token(), stripe.NewBackends(bench.Client()))
//
// [Deny] is for the agent: what does it do when it is refused? Every call is answered with one denial, in the shape
// in which the vendor's SDK gets it in production.
//
// Nothing here is a mock of the brake: identification, policy, ledger, audit and the refusals are those of package
// keybrake. What is canned is the vendor. So a test says what the brake does with a call and with the reply that the
// test has given; whether a vendor really answers so is another question, for the vendor's test mode.
package keybraketest
