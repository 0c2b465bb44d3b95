package sqlaudit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keybrake/keybrake-go/audit"
)

// A recordRow is a row of keybrake_records without its number of arrival.
type recordRow struct {
	ID          string `json:"id"`
	Time        int64  `json:"time"`
	Kind        string `json:"kind"`
	Tenant      string `json:"tenant"`
	Agent       string `json:"agent"`
	Run         string `json:"run"`
	Key         string `json:"vault_key"`
	Call        string `json:"call"`
	Reservation string `json:"reservation"`
	Vendor      string `json:"vendor"`
	Operation   string `json:"operation"`
	Class       string `json:"class"`
	Verdict     string `json:"verdict"`
	Outcome     string `json:"outcome"`
	Reason      string `json:"reason"`
	Refusals    int64  `json:"refusals"`
	Writer      string `json:"writer"`
	N           int64  `json:"n"`
	Line        string `json:"line"`
}

var recordsTable = tableOf[recordRow]("keybrake_records", 1)

// An entry is a record as it stands in the database.
type entry struct {
	recordRow
	record audit.Record // read back from the line
}

// entryOf is the entry of a record. What the columns say is made from the line alone, so that it can be made again.
func entryOf(r audit.Record) (entry, error) {
	line, err := lineOf(r)
	if err != nil {
		return entry{}, err
	}
	return entryOfLine(line)
}

func entryOfLine(line string) (entry, error) {
	r, err := recordOf(line)
	if err != nil {
		return entry{}, err
	}
	if r.ID == "" {
		return entry{}, errors.New("it has no id")
	}
	e := entry{record: r, recordRow: recordRow{
		ID: name(r.ID), Time: micros(r.Time), Kind: name(string(r.Kind)), Tenant: name(r.Tenant), Agent: name(r.Agent), Run: name(r.Run),
		Key: name(r.Key), Call: name(r.CallID), Reservation: name(r.Reservation), Vendor: name(r.Vendor), Operation: name(r.Operation),
		Class: name(r.Class), Verdict: name(string(r.Verdict)), Outcome: name(r.Outcome), Reason: name(string(r.Reason)),
		Refusals: refusals(r), Line: line,
	}}
	if r.Chain != nil {
		e.Writer, e.N = name(r.Chain.Writer), r.Chain.N
	}
	return e, nil
}

// refusals is how many refusals a record stands for.
func refusals(r audit.Record) int64 {
	if r.Kind != audit.Denied {
		return 0
	}
	return max(1, r.Count)
}

// lineOf is the record's one line, as the hash of its link is of.
func lineOf(r audit.Record) (string, error) {
	var b bytes.Buffer
	if err := audit.JSON(&b).Write(context.Background(), r); err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte{'\n'})), nil
}

// recordOf reads a line. One that is too long to be read is an error, so that none is ever kept.
func recordOf(line string) (audit.Record, error) {
	for r, err := range audit.Read(strings.NewReader(line)) {
		return r, err
	}
	return audit.Record{}, errors.New("the line is empty")
}

// bare is the record's line without its link: what is the same when a chain writes a record again.
func bare(r audit.Record) (string, error) {
	r.Chain = nil
	return lineOf(r)
}

// longestName is more than a name of the brake's has. Ten of them fit into an entry of a PostgreSQL index.
const longestName = 200

// name is s as a column holds it. PostgreSQL takes no NUL in text, and no long text into an index: then a digest stands at
// the end for what was cut off, so that what differs stays so.
func name(s string) string {
	s = plain(s)
	if len(s) <= longestName {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.ToValidUTF8(s[:longestName-34], "") + "~" + hex.EncodeToString(sum[:16])
}

// plain is s without NUL, and with U+FFFD for each byte that is not UTF-8, as a line has it.
func plain(s string) string {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	return strings.ReplaceAll(s, "\x00", "\u2400")
}

// micros are Unix microseconds, rounded down; 0 for no time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// A callRow is a row of keybrake_calls.
type callRow struct {
	Tenant         string `json:"tenant"`
	Call           string `json:"call"`
	Reservation    string `json:"reservation"`
	Counted        int64  `json:"counted"`
	Attached       int64  `json:"attached"`
	Day            string `json:"day"`
	Agent          string `json:"agent"`
	Run            string `json:"run"`
	Key            string `json:"vault_key"`
	Tool           string `json:"tool"`
	Step           string `json:"step"`
	Policy         string `json:"policy"`
	Customer       string `json:"customer"`
	Vendor         string `json:"vendor"`
	Credential     string `json:"credential"`
	Operation      string `json:"operation"`
	Class          string `json:"class"`
	Verdict        string `json:"verdict"`
	State          string `json:"state"`
	Reason         string `json:"reason"`
	Detail         string `json:"detail"`
	Flag           string `json:"flag"`
	Status         int64  `json:"status"`
	VendorRequest  string `json:"vendor_request"`
	Error          string `json:"error"`
	Refusals       int64  `json:"refusals"`
	Began          int64  `json:"began"`
	Ended          int64  `json:"ended"`
	Changed        int64  `json:"changed"`
	DoubtSince     int64  `json:"doubt_since"`
	Duration       int64  `json:"duration"`
	OwnDuration    int64  `json:"own_duration"`
	LedgerDuration int64  `json:"ledger_duration"`
	VendorDuration int64  `json:"vendor_duration"`
}

// A callKey names a call.
type callKey struct {
	Tenant string `json:"tenant"`
	Call   string `json:"call"`
}

func (r callRow) key() callKey { return callKey{r.Tenant, r.Call} }

func (k callKey) compare(o callKey) int {
	return cmp.Or(strings.Compare(k.Tenant, o.Tenant), strings.Compare(k.Call, o.Call))
}

// An amountRow is a row of keybrake_amounts.
type amountRow struct {
	Tenant   string `json:"tenant"`
	Call     string `json:"call"`
	Meter    string `json:"meter"`
	Currency string `json:"currency"`
	Reserved int64  `json:"reserved"`
	Actual   int64  `json:"actual"`
	Held     int64  `json:"held"`
}

// A spendRow is a row of keybrake_spend; in a change, what is added to it.
type spendRow struct {
	Day        string `json:"day"`
	Tenant     string `json:"tenant"`
	Agent      string `json:"agent"`
	Run        string `json:"run"`
	Vendor     string `json:"vendor"`
	Credential string `json:"credential"`
	Operation  string `json:"operation"`
	Meter      string `json:"meter"`
	Currency   string `json:"currency"`
	Removed    int64  `json:"removed"` // 1: of calls whose records were removed
	Calls      int64  `json:"calls"`
	Actual     int64  `json:"actual"`
	Held       int64  `json:"held"`
}

// A denialRow is a row of keybrake_denials; in a change, what is added to it.
type denialRow struct {
	Day       string `json:"day"`
	Tenant    string `json:"tenant"`
	Agent     string `json:"agent"`
	Run       string `json:"run"`
	Key       string `json:"vault_key"`
	Vendor    string `json:"vendor"`
	Operation string `json:"operation"`
	Reason    string `json:"reason"`
	Policy    string `json:"policy"` // the digest of the one whose rule it is
	Owner     string `json:"owner"`  // the narrowed key whose rule it is
	Rule      int64  `json:"rule"`
	Param     string `json:"param"`
	Budget    string `json:"budget"`
	Removed   int64  `json:"removed"`
	Refusals  int64  `json:"refusals"`
}

// A budgetRow is a row of keybrake_budgets: a budget in one of its windows, as the calls of one run have met it.
type budgetRow struct {
	Tenant   string `json:"tenant"`
	Run      string `json:"run"`
	Key      string `json:"vault_key"` // the issued key whose own it is, or whose narrowed key's
	Owner    string `json:"owner"`     // the narrowed key
	Budget   string `json:"budget"`
	Shared   int64  `json:"shared"`
	Meter    string `json:"meter"`
	Currency string `json:"currency"`
	Reset    int64  `json:"reset"`
	Agent    string `json:"agent"`
	Last     int64  `json:"last"`
	LastID   string `json:"last_id"`
	Cap      int64  `json:"cap"`
	Spent    int64  `json:"spent"`
	Held     int64  `json:"held"`
	Peak     int64  `json:"peak"` // the most that was spent and held
	Used     int64  `json:"used"` // the most of the limit of its time that it was, in thousandths
}

// A runRow is a row of keybrake_runs.
type runRow struct {
	Tenant string `json:"tenant"`
	Run    string `json:"run"`
	Agent  string `json:"agent"`
	First  int64  `json:"first"`
	Last   int64  `json:"last"`
}

// A labelRow is a row of keybrake_labels.
type labelRow struct {
	Tenant string `json:"tenant"`
	Label  string `json:"label"`
	Run    string `json:"run"`
}

var (
	callsTable   = tableOf[callRow]("keybrake_calls", 2)
	amountsTable = tableOf[amountRow]("keybrake_amounts", 4)
	spendTable   = tableOf[spendRow]("keybrake_spend", 10)
	denialsTable = tableOf[denialRow]("keybrake_denials", 14)
	budgetsTable = tableOf[budgetRow]("keybrake_budgets", 9)
	runsTable    = tableOf[runRow]("keybrake_runs", 3)
	labelsTable  = tableOf[labelRow]("keybrake_labels", 3)

	idsOf  = tableOf[idRow]("", 1)
	keysOf = tableOf[callKey]("", 2)
)

type idRow struct {
	ID string `json:"id"`
}

// An amountError names the record whose amounts cannot be meant.
type amountError struct{ id string }

func (e *amountError) Error() string { return "the amounts of record " + e.id + " cannot be meant" }
