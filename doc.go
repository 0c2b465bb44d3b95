// Package keybrake is the brake on an AI agent's vendor keys. An agent is an authorised process that can go
// wrong: it loops, retries, misreads, is prompt-injected. Keybrake is an [http.RoundTripper] that sits under the
// vendor's own SDK, holds the real credential, and lets a call through only if this run may make it and can pay
// for it. The agent holds a short-lived, scoped, revocable vault key in the credential's place.
//
//	brake, err := keybrake.New(ctx, keybrake.Config{…})
//	key, err := brake.Issue(ctx, keybrake.Grant{Tenant: "acme", Agent: "refund-bot", Run: "run_42", …})
//	sc := client.New(key.Token(), stripe.NewBackends(brake.Client()))
//
// # The laws
//
//  1. Never over the cap: no call is admitted that would leave spent + held above a limit, over all goroutines,
//     processes and machines that share the ledger. A call that does not fit is refused, never clipped. What can
//     stand above a limit afterwards is named: a vendor that takes more than its bound (booked in full, and the
//     key is frozen), and a limit that was lowered.
//  2. Nothing is forwarded unpriced: every forwarded call has a name in the catalogue and a bound on its cost,
//     held before the first byte leaves.
//  3. In doubt counts as spent: once a byte has left, only the vendor's proof that it did not execute gives
//     money back. A crash, a timeout, a 5xx, a reply that cannot be read: the hold stays until a [Reconciler] finds
//     out at the vendor, or a person says so.
//  4. Stop means stop: a call whose reserve starts after [Brake.Revoke] or [Brake.Pause] returned is not
//     forwarded, in any process, retries included. Revoke is final.
//  5. Every call is on record, and what cannot be recorded is not forwarded.
//  6. The real credential never comes back: it is in the headers of the outgoing TLS request where the vendor takes
//     it, and in no reply, error, log, trace or record.
//  7. The zero value denies. What weakens this has a name that starts with Insecure.
//
// # The way of a call
//
// [Transport.RoundTrip] identifies, decides, reserves, forwards, settles and records. Identify and decide work in
// memory alone. Reserve is one atomic step in the ledger; where the amount is known at the vendor alone (a full
// refund, a capture), the brake reads it there first and reserves in two. Settle and record have deadlines of their
// own, so that a caller's cancellation cannot skip them.
//
// A refusal is a response in the vendor's own error shape, which the SDK turns into its own error type after
// exactly one RoundTrip; [DenialFrom] finds the [Denial] in it. Package reason has the table of reasons.
//
// # Afterwards
//
// What a reply did not tell is found out later: a [Reconciler] reads at the vendor what became of calls in doubt, and
// what calls did cost in the end, and books it. It only reads, unless Config.InsecureResend is set. What the vendor's
// records do not tell is for a person, by [Brake.InDoubt] and [Brake.Resolve]. docs/vendors.md says, for each vendor,
// what a call can cost, when that is final, and what proves what.
//
// # Units
//
// Money is in micro-units of a currency's major unit (1.50 USD is 1_500_000), see package cost. Everything that
// has a duration is a [time.Duration], everything that has a size is in bytes.
package keybrake
