// Package story tells ledgers random stories: sequences of everything the contract of package ledger allows, and of
// some that it refuses, at times of which windows begin and end, clocks go back and daylight saving changes. It has
// tests alone. After each step
//
//   - the ledger under test must have answered as ledger/memory did, the reference, and have the same books,
//   - what it admitted must fit, by an addition over all that it admitted which knows nothing of slots or counters,
//   - its counters must be the sum of its reservations.
//
// A story that fails is told again and again, shorter, until nothing can be left out. Its steps are printed, and how to
// hear it again:
//
//	go test ./story -run TestRedis -rapid.failfile=testdata/rapid/…
//	go test ./story -run TestRedis -rapid.seed=…
//
// More and longer stories: -rapid.checks=5000 -rapid.steps=80, or KEYBRAKE_LONG=1. The files in testdata/rapid are of
// one machine's failures and are not kept: what a story has found becomes a law of ledger/ledgertest.
package story
