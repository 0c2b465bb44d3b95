package keybrake

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/ledger"
	"github.com/keybrake/keybrake-go/policy"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// A Denial is why a call was not forwarded, or, with reason [reason.InDoubt], why its outcome is not known. It
// holds no secret and nothing that the agent sent. What one learns from [DenialFrom] in another process comes
// from the message alone: then only the fields that the marker has room for are set.
type Denial struct {
	Reason    reason.Code
	Status    int    // the HTTP status of the refusal
	Operation string // empty when the call could not be named
	Param     string // the parameter at fault, if it is one
	Detail    string // what happened and what to do

	// Of the first budget that does not cover the call, for budget_exceeded: amounts in micro-units of Currency,
	// or counts of Meter.
	Budget            string
	Meter             cost.Meter
	Currency          cost.Currency
	Need, Left, Limit int64
	Spent, Held       int64     // not in the message's marker
	Reset             time.Time // when its window ends; zero for lifetime

	// Reservation is the id under which the money of a call in doubt stays held.
	Reservation string

	cause error // the end of the caller's context
}

// Unwrap returns the context's error where the caller's context ended before the call was sent, else nil.
func (d *Denial) Unwrap() error { return d.cause }

// Error is the denial for a log line.
func (d *Denial) Error() string {
	var b strings.Builder
	b.WriteString(d.head())
	switch {
	case d.Budget != "" && d.Meter != "" && d.Reason != reason.RepeatExceeded:
		fmt.Fprintf(&b, "budget %s has %s left of %s, needs %s", d.Budget,
			cost.Format(d.Left, d.Currency, d.Meter), amount(d.Limit, d.Currency), amount(d.Need, d.Currency))
		if !d.Reset.IsZero() {
			b.WriteString("; resets " + d.Reset.UTC().Format("2006-01-02T15:04Z"))
		}
	case d.Detail != "":
		b.WriteString(d.Detail)
	default:
		entry, _ := reason.Lookup(d.Reason)
		b.WriteString(entry.Sentence)
	}
	return b.String()
}

// head is what Error starts with.
func (d *Denial) head() string {
	head := "refused"
	if d.Reason == reason.InDoubt {
		head = "in doubt:"
	}
	if d.Operation != "" {
		head += " " + d.Operation
	}
	head += ": "
	if d.Param != "" {
		head += "parameter " + d.Param + ": "
	}
	return head
}

func amount(n int64, c cost.Currency) string {
	if c == "" {
		return strconv.FormatInt(n, 10)
	}
	return cost.Decimal(n)
}

// DenialFrom finds the denial in an error from a vendor's SDK: the *Denial itself where the transport returned
// it as an error, else the marker that ends the message of the vendor-shaped reply. It works in another
// process and for every SDK, since it reads only the error's text. It is advice, not proof: an agent can write
// such a text too.
func DenialFrom(err error) (*Denial, bool) {
	if err == nil {
		return nil, false
	}
	var d *Denial
	if errors.As(err, &d) {
		return d, true
	}
	return parseMarker(err.Error())
}

// denialOf turns what a step refused with into a Denial.
func denialOf(err error, operation string) *Denial {
	d := &Denial{Reason: reason.LedgerUnavailable, Operation: operation}
	var denial *Denial
	var refusal *vendors.Refusal
	var denied *ledger.Denied
	switch {
	case errors.As(err, &denial):
		d = denial
		d.Operation = operation
	case errors.As(err, &refusal):
		d.Reason, d.Param, d.Detail = refusal.Code, refusal.Param, refusal.Detail
	case errors.As(err, &denied):
		d.fromLedger(denied)
	}
	entry, _ := reason.Lookup(d.Reason)
	d.Status = entry.Status
	return d
}

func (d *Denial) fromLedger(denied *ledger.Denied) {
	d.Reason = denied.Code
	entry, _ := reason.Lookup(d.Reason)
	if denied.Name != "" {
		d.Detail = entry.Sentence + " (" + denied.Name + ")"
	}
	if d.Reason == reason.KeyRevoked && !strings.HasPrefix(denied.Name, "key:") {
		d.Detail = denied.Name + " is revoked; this is final for the name, and keys issued later under it are stopped as well"
	}
	if len(denied.Shortfalls) == 0 {
		return
	}
	// The one that resets last: waiting for another would be in vain. Lifetime never resets.
	worst := denied.Shortfalls[0]
	for _, s := range denied.Shortfalls[1:] {
		if !worst.Reset.IsZero() && (s.Reset.IsZero() || s.Reset.After(worst.Reset)) {
			worst = s
		}
	}
	d.Budget, d.Meter, d.Currency, d.Reset = worst.Name, worst.Meter, worst.Currency, worst.Reset
	d.Need, d.Left, d.Limit = worst.Need, worst.Left(), worst.Limit
	d.Spent, d.Held = worst.Spent, worst.Held
	if d.Reason == reason.RepeatExceeded {
		d.Detail = fmt.Sprintf("the run has made this very call as often as its policy allows, %s in %s; the next may go out at %s",
			policy.Calls(worst.Limit), worst.Window.Rolls(), worst.Reset.UTC().Format("2006-01-02T15:04:05Z"))
	}
}

// maxMarker bounds the marker with its brackets, in bytes: SDKs and logs cut long messages.
const maxMarker = 200

// marker is the denial as it ends the message: "[kbd_" fields "]", of [A-Za-z0-9_] only, because the SDKs
// escape other characters in their error texts. Fields are separated by two underscores; the first is the
// reason, each other starts with its letter. A field that does not fit is left out.
func (d *Denial) marker() string {
	m := "[kbd_" + string(d.Reason)
	add := func(letter, value string) {
		if value != "" && len(m)+len(value)+4 <= maxMarker {
			m += "__" + letter + value
		}
	}
	add("b", escape(d.Budget))
	if d.Budget != "" {
		add("m", string(d.Meter))
		add("c", string(d.Currency))
		add("l", strconv.FormatInt(d.Left, 10))
		add("k", strconv.FormatInt(d.Limit, 10))
		add("n", strconv.FormatInt(d.Need, 10))
		if !d.Reset.IsZero() {
			add("r", strconv.FormatInt(d.Reset.Unix(), 10))
		}
	}
	add("i", escape(d.Reservation))
	add("o", escape(d.Operation))
	add("p", escape(d.Param))
	return m + "]"
}

const markerAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

func parseMarker(s string) (*Denial, bool) {
	start := strings.LastIndex(s, "[kbd_")
	if start < 0 {
		return nil, false
	}
	body, _, ok := strings.Cut(s[start+len("[kbd_"):], "]")
	if !ok || len(body) > maxMarker || strings.Trim(body, markerAlphabet) != "" {
		return nil, false
	}
	fields := strings.Split(body, "__")
	entry, known := reason.Lookup(reason.Code(fields[0]))
	if fields[0] == "" || strings.Trim(fields[0], "abcdefghijklmnopqrstuvwxyz_") != "" {
		return nil, false
	}
	d := &Denial{Reason: entry.Code, Status: entry.Status}
	if known {
		d.Detail = entry.Sentence
	}
	for _, f := range fields[1:] {
		d.set(f)
	}
	if detail := d.detailIn(s[:start]); detail != "" {
		d.Detail = detail
	}
	return d, true
}

// detailIn finds the detail in the text before a marker, where [Denial.Error] has put it. stripe-go's errors are
// JSON, so there it is escaped.
func (d *Denial) detailIn(text string) string {
	head := d.head()
	at := strings.LastIndex(text, head)
	if at < 0 || d.Budget != "" && d.Reason != reason.RepeatExceeded {
		return ""
	}
	detail := strings.TrimSpace(text[at+len(head):])
	var plain string
	if json.Unmarshal([]byte(`"`+detail+`"`), &plain) == nil {
		detail = plain
	}
	return clip(detail)
}

// set takes one field of a marker. A field that this version does not know is skipped, and so is a number that the
// brake does not write.
func (d *Denial) set(field string) {
	if field == "" {
		return
	}
	value := field[1:]
	number, err := strconv.ParseInt(value, 10, 64)
	if strings.Contains("lknr", field[:1]) && (err != nil || number > cost.Max) {
		return
	}
	switch field[0] {
	case 'b':
		d.Budget = unescape(value)
	case 'm':
		d.Meter = cost.Meter(value)
	case 'c':
		d.Currency = cost.Currency(value)
	case 'l':
		d.Left = number
	case 'k':
		d.Limit = number
	case 'n':
		d.Need = number
	case 'r':
		d.Reset = time.Unix(min(number, 1<<37), 0).UTC() // in four digits of a year
	case 'i':
		d.Reservation = unescape(value)
	case 'o':
		d.Operation = unescape(value)
	case 'p':
		d.Param = unescape(value)
	}
}

// escape writes every byte but [A-Za-y0-9] as Z and two hex digits.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= 'a' && c <= 'z' || c >= 'A' && c < 'Z' || c >= '0' && c <= '9' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "Z%02x", c)
		}
	}
	return b.String()
}

// unescape undoes escape, less what would not stay on one line of a log: whoever writes a marker can write anything.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == 'Z' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return clip(b.String())
}
