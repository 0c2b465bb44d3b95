package vendors

import (
	"time"

	"github.com/keybrake/keybrake-go/cost"
)

// A Case is a call whose end is not known yet: it is in doubt, or it was executed and what it cost is not final.
// [Operation.Reconcile] looks at it and changes nothing.
type Case struct {
	// Call is the call as it was sent, with those of its parameters that [Operation.Trace] names, its ids, its host and
	// the headers that redirect money. Everything else of it is gone: no body, no other header.
	Call *Call

	Doubt   bool        // whether it was executed is not known; otherwise it was, and only its cost is not final
	Mark    string      // by which the vendor's object is known as this call's (see [Operation.Stamp]); empty if it has none
	Sent    time.Time   // the vendor cannot have executed it before
	Ended   time.Time   // when its last attempt had ended; the vendor may have executed it a little later
	Now     time.Time   // by the brake's clock
	Bound   Bound       // of which only Kind, Lines and Object are kept, as the row gave them
	Booked  []cost.Line // what the reply said that it cost, where there was one
	Objects []string    // the vendor's ids that the reply named

	Seen []*Reply // the answers to the looks that were asked for so far, in their order
}

// A Finding is what the vendor's own records tell of a [Case]. The zero Finding tells nothing: the hold stays.
type Finding struct {
	// Look, when set, is what to read next; all else is ignored, and the row is asked again with the answer. At most
	// [MostLooks] are made.
	Look *Probe

	// Outcome is what is proven. Unknown: these records do not tell. Executed: it was, and Cost is final. Pending: it
	// was, and Cost is what it has cost so far; Cost.Again says when to look again. NotExecuted: the vendor says in so
	// many words that this call failed and costs nothing; that it cannot be found is not that, but Absent.
	Outcome Outcome
	Cost    Settlement

	// Absent says, with Outcome Unknown, that a list was read to its end which shows everything that the vendor has
	// executed since Sent and which carries marks, and that Mark is not in it. The reconciler takes it for proof only
	// when it is so twice, well after the call has ended. A list that is cut, late, filtered by anything but time, or of
	// objects that need not carry marks, is not such a list.
	Absent bool

	Why string // what was seen, in a sentence for the person who has to decide; never a secret, never a recipient
}

// MostLooks is how many reads one case may take.
const MostLooks = 40

// A Day is a question for what a vendor says that an account was charged on one day of UTC.
type Day struct {
	Start   time.Time // 00:00 UTC
	Account string    // of the credential, where it has one
	Seen    []*Reply  // the answers to the looks that were asked for so far
}

// A Usage is a vendor's answer to a [Day].
type Usage struct {
	Look  *Probe                 // what to read next; all else is ignored. It names its host
	Total []cost.Line            // all of the account's, whoever made the calls
	Runs  map[string][]cost.Line // of it, what carries a run's mark; nil where the vendor's records carry none
	Note  string                 // what the numbers leave out, for people
}
