// Package stripemock compares the catalogue of vendors/kbstripe with Stripe's own description of its API: the
// OpenAPI document that github.com/stripe/stripe-mock carries, and stripe-mock's server, which refuses a request
// that does not fit it. The tests say that every row's path is Stripe's, that every parameter that the catalogue
// names is Stripe's, that Stripe documents none which the catalogue overlooks, and that the table reads replies
// in the shape that Stripe publishes today.
//
// They also send every call that the real stripe-go can make, through a brake, to stripe-mock: once with what it cannot
// do without (testdata/sdk.tsv, and raw.tsv for what the SDK has no method for) and once with every parameter that the
// SDK has for it (filled.tsv). The tables say what each call has to be taken for and what becomes of it.
//
// stripe-mock keeps no state and moves no money (it accepts amount=-5), so nothing here is evidence of what a
// call costs. It is a module of its own, so that stripe-mock and what it needs stay out of the library's go.sum.
package stripemock
