package vendors

// An Exam is a question for what a credential may do at its vendor, beside what it is needed for. [Vendor.Examine]
// answers it: as a pure function, by what the credential's form tells and by the answers to the looks that it asks for.
type Exam struct {
	Kind    string // of the credential, as [Placement] has it
	Mode    Mode
	Account string // where the credential says so

	Needs []*Operation // what the policies let through with it, in the catalogue's order, each name once; never none

	// Seen are the answers to the looks so far, in their order. One of status 0 could not be had: the vendor did not
	// answer in time, or not so that it can be read.
	Seen []*Reply
}

// MostExamLooks is how many reads one exam may take.
const MostExamLooks = 2

// A Diagnosis says what a credential may do. The zero Diagnosis tells nothing. Its texts are for people, in the adapter's
// own words: nothing of a reply, and no part of a credential, stands in them.
type Diagnosis struct {
	// Look, when set, is what to read next; all else is ignored, and Examine is asked again with the answer. It is sent as
	// a GET and names its host; it need not be in the catalogue, because no agent can cause it, and it must change nothing
	// and cost nothing.
	Look *Probe

	Fit Fit
	Is  string // what it is: "a full secret key of live mode"
	Why string // what of it is more than needed, or less, or why nothing can be told
	Do  string // what to do about it, empty if nothing
}

// A Fit is how a credential compares with what it is needed for.
type Fit string

// The fits. Untold is the zero value.
const (
	Untold   Fit = ""         // the vendor does not tell, or did not answer
	Fits     Fit = "fits"     // nothing was seen that is more than needed; the vendor does not show everything
	Wider    Fit = "wider"    // it may do what no policy needs
	Narrower Fit = "narrower" // it cannot do what a policy lets through: the vendor will refuse that
	Refused  Fit = "refused"  // the vendor does not accept it at all, or it is not for this use
)

// String is the fit as it stands in a log line.
func (f Fit) String() string {
	if f == Untold {
		return "untold"
	}
	return string(f)
}
