package kbresend

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"strings"
	"unicode"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// The limits that Resend documents (Resend's documentation, read November 2026).
const (
	maxTo    = 50  // addresses in "to" of one mail
	maxBatch = 100 // mails in one batch
)

// currency is the one that Resend bills in.
const currency cost.Currency = "USD"

// A tariff is the prices of one recipient in micro-units, or why there are none.
type tariff struct {
	perRecipient int64
	perBroadcast *int64 // nil: not known
	err          error
}

func newTariff(o Options) (t tariff) {
	mail := o.PricePerRecipient
	if mail == "" {
		mail, t.err = o.Plan.price()
	}
	if t.err == nil {
		t.perRecipient, t.err = price("PricePerRecipient", mail)
	}
	if t.err == nil && o.PricePerBroadcastRecipient != "" {
		var n int64
		if n, t.err = price("PricePerBroadcastRecipient", o.PricePerBroadcastRecipient); t.err == nil {
			t.perBroadcast = &n
		}
	}
	return t
}

func price(option, decimal string) (int64, error) {
	n, err := cost.ParseDecimal(decimal)
	if err != nil {
		err = fmt.Errorf("kbresend: Options.%s cannot be read: %w", option, err)
	}
	return n, err
}

// lines is what mails to n recipients cost.
func (t tariff) lines(n int) ([]cost.Line, error) {
	if t.err != nil {
		return nil, vendors.Refuse(reason.CostUnknown, "%v", t.err)
	}
	return linesAt(t.perRecipient, n)
}

// bound is the cost of mails to all of recipients.
func (t tariff) bound(recipients []string) (vendors.Bound, error) {
	lines, err := t.lines(len(recipients))
	if err != nil {
		return vendors.Bound{}, err
	}
	return vendors.Bound{Kind: vendors.Exact, Lines: lines, Recipients: recipients}, nil
}

// boundSend counts the recipients of one mail.
func (t tariff) boundSend(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	if err := checkHeaders(c); err != nil {
		return vendors.Bound{}, err
	}
	recipients, err := recipientsOf(c.JSON)
	if err != nil {
		return vendors.Bound{}, err
	}
	return t.bound(recipients)
}

// boundBatch counts the recipients of all mails of a batch, whatever its validation mode.
func (t tariff) boundBatch(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	if err := checkHeaders(c); err != nil {
		return vendors.Bound{}, err
	}
	mails, err := mailsOf(c.JSON)
	if err != nil {
		return vendors.Bound{}, err
	}
	var all []string
	for _, m := range mails {
		recipients, err := recipientsOf(m)
		if err != nil {
			return vendors.Bound{}, err
		}
		all = append(all, recipients...)
	}
	return t.bound(all)
}

// mailsOf are the elements of a batch.
func mailsOf(body any) ([]any, error) {
	mails, ok := body.([]any)
	if !ok || len(mails) == 0 || len(mails) > maxBatch {
		return nil, vendors.Refuse(reason.BodyInvalid, "a batch is an array of 1 to %d mails", maxBatch)
	}
	return mails, nil
}

// recipientsOf checks one mail and returns everyone it goes to, each as often as it is named: Resend counts every
// entry, and does not say that it counts an address once that is named twice. A mail to nobody is refused, so that
// a way of sending that needs no "to" is not taken for one that costs nothing.
func recipientsOf(m any) ([]string, error) {
	if err := checkFrom(m); err != nil {
		return nil, err
	}
	var all []string
	for _, field := range []string{"to", "cc", "bcc"} {
		addresses, err := addressesOf(m, field)
		if err != nil {
			return nil, err
		}
		if field == "to" && (len(addresses) == 0 || len(addresses) > maxTo) {
			return nil, invalid(field, "name 1 to %d recipients", maxTo)
		}
		all = append(all, addresses...)
	}
	return all, nil
}

// checkFrom refuses a sender that two readers could read as two senders. It stays a parameter as it was sent, so
// a rule about its domain has to read it with [Address].
func checkFrom(m any) error {
	from, sent := vendors.Member(m, "from")
	if _, template := vendors.Member(m, "template"); !sent && template {
		return nil // the template names its sender
	}
	s, ok := from.(string)
	if !ok {
		return invalid("from", "name one sender as a string")
	}
	if _, err := Address(s); err != nil {
		return invalid("from", "%v", err)
	}
	return nil
}

// headerParam matches the name of a mail's own header among the call's parameters, in a mail and in a batch.
var headerParam = regexp.MustCompile(`^(?:\[[0-9]+\]\[headers\]|headers)(?:\[(.*)\])?$`)

// addressing are the headers of a mail that say again who it is from and to, and of what it is made. Whether
// Resend sends to them is not documented, so that a recipient there would be one whom nobody counts.
var addressing = map[string]bool{
	"from": true, "sender": true, "return-path": true, "to": true, "cc": true, "bcc": true, "apparently-to": true,
	"resent-from": true, "resent-sender": true, "resent-to": true, "resent-cc": true, "resent-bcc": true,
	"content-type": true, "content-transfer-encoding": true, "mime-version": true,
}

// checkHeaders refuses headers that address a mail or that could start another header, even where a rule grants
// headers.
func checkHeaders(c *vendors.Call) error {
	for _, p := range c.Params {
		m := headerParam.FindStringSubmatch(p.Name)
		switch {
		case m == nil:
		case m[1] == "" || strings.ContainsFunc(m[1], notToken):
			return invalid("headers", "give an object of header names, of letters, digits and -, and strings")
		case addressing[strings.ToLower(m[1])]:
			return invalid("headers", "a header cannot say who a mail is from or to, or what it is made of; use the mail's own fields")
		case strings.ContainsFunc(p.Value, unicode.IsControl):
			return invalid("headers", "a header's value has no control characters")
		}
	}
	return nil
}

// notToken is stricter than RFC 5322, where only controls, spaces and colons are out: brackets would let one header
// pass for another in a parameter's name.
func notToken(r rune) bool {
	return r != '-' && r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
}

// addressesOf reads a field that is one address or an array of them. An absent or null field names nobody.
func addressesOf(m any, field string) ([]string, error) {
	var entries []any
	value, _ := vendors.Member(m, field)
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		entries = []any{v}
	case []any:
		entries = v
	default:
		return nil, invalid(field, "give a string or an array of strings")
	}
	addresses := make([]string, 0, len(entries))
	for _, e := range entries {
		s, ok := e.(string)
		if !ok {
			return nil, invalid(field, "give a string or an array of strings")
		}
		a, err := Address(s)
		if err != nil {
			return nil, invalid(field, "%v", err)
		}
		addresses = append(addresses, a)
	}
	return addresses, nil
}

// Address reads s as exactly one mail address, "ann@example.com" or "Ann <ann@example.com>", and returns the
// address itself with its domain in lower case. It refuses whatever a second reader could take for another
// or for more than one: lists, groups, comments, quoted local parts, unprintable characters. Its errors do not
// repeat s.
func Address(s string) (string, error) {
	s = strings.Trim(s, " ")
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return "", errors.New("an address has no control or unprintable characters")
	}
	if strings.ContainsAny(s, ",;") {
		return "", errors.New("one string is one address; give several as an array, and a name without , or ;")
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != bare(s) {
		return "", errors.New("give an address as ann@example.com or Ann <ann@example.com>")
	}
	at := strings.LastIndexByte(a.Address, '@')
	return a.Address[:at] + strings.ToLower(a.Address[at:]), nil
}

// bare is what stands between the first < and a > at the end of s, or s itself where it has no <.
func bare(s string) string {
	_, rest, angle := strings.Cut(s, "<")
	if !angle {
		return s
	}
	inner, ok := strings.CutSuffix(rest, ">")
	if !ok {
		return ""
	}
	return inner
}

func invalid(param, format string, args ...any) *vendors.Refusal {
	r := vendors.Refuse(reason.ParamInvalid, format, args...)
	r.Param = param
	return r
}
