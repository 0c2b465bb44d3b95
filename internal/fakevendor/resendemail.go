package fakevendor

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// email is one mail, as it is sent and as it is kept.
type email struct {
	From        string          `json:"from"`
	To          addresses       `json:"to"`
	Cc          addresses       `json:"cc"`
	Bcc         addresses       `json:"bcc"`
	ReplyTo     addresses       `json:"reply_to"`
	Subject     string          `json:"subject"`
	HTML        string          `json:"html"`
	Text        string          `json:"text"`
	ScheduledAt string          `json:"scheduled_at"`
	Template    json.RawMessage `json:"template"`
	Tags        []mailTag       `json:"tags"`

	id, event string
	fee       int64
	created   time.Time
}

// mailTag is a tag, by which its sender knows a mail again.
type mailTag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// tagWord is what names and values of tags are of (Resend's documentation, read November 2026).
var tagWord = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// addresses is a string or an array of them.
type addresses []string

func (a *addresses) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = addresses{one}
		if one == "" {
			*a = nil
		}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// recipients is what Resend counts: every To, CC and BCC is an email of its own
// (Resend's documentation of its quotas, read November 2026).
func (m *email) recipients() int64 { return int64(len(m.To) + len(m.Cc) + len(m.Bcc)) }

func (m *email) validate() *resendError {
	bad := func(name, message string) *resendError { return &resendError{422, name, message} }
	switch {
	case m.From == "":
		return bad("missing_required_field", "Missing `from` field.")
	case len(m.To) == 0:
		return bad("missing_required_field", "Missing `to` field.")
	case m.Template == nil && m.Subject == "":
		return bad("missing_required_field", "Missing `subject` field.")
	case m.Template == nil && m.HTML == "" && m.Text == "":
		return bad("missing_required_field", "Missing `html` or `text` field.")
	case len(m.To) > 50:
		return bad("validation_error", "The `to` field must have at most 50 recipients.")
	}
	for _, a := range slices.Concat(m.To, m.Cc, m.Bcc) {
		if !strings.Contains(a, "@") {
			return bad("validation_error", "Invalid recipient `"+a+"`.")
		}
	}
	for _, tag := range m.Tags {
		if !tagWord.MatchString(tag.Name) || !tagWord.MatchString(tag.Value) {
			return bad("validation_error", "Tags should only contain ASCII letters, numbers, underscores, or dashes.")
		}
	}
	if len(m.Tags) > 75 {
		return bad("validation_error", "An email has at most 75 tags.")
	}
	return nil
}

func (v *resend) send(c *resendCall) (object, *resendError) {
	var m email
	if err := json.Unmarshal(c.body, &m); err != nil {
		return nil, &resendError{400, "validation_error", "The request body is not valid JSON."}
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	return v.accept(c, &m), nil
}

// sendBatch sends all or nothing, or with X-Batch-Validation: permissive the
// valid ones, and names the others (Resend's documentation, read November 2026).
func (v *resend) sendBatch(c *resendCall) (object, *resendError) {
	var batch []*email
	if err := json.Unmarshal(c.body, &batch); err != nil || slices.Contains(batch, nil) {
		return nil, &resendError{400, "validation_error", "The request body must be an array of emails."}
	}
	if len(batch) == 0 || len(batch) > 100 {
		return nil, &resendError{422, "validation_error", "A batch has 1 to 100 emails."}
	}
	permissive := c.header.Get("X-Batch-Validation") == "permissive"
	valid, errs := []*email{}, []object{}
	for i, m := range batch {
		if err := m.validate(); err == nil {
			valid = append(valid, m)
		} else if !permissive {
			return nil, err
		} else {
			errs = append(errs, object{"index": int64(i), "message": err.message})
		}
	}
	data := []object{}
	for _, m := range valid {
		data = append(data, v.accept(c, m))
	}
	if permissive {
		return object{"data": data, "errors": errs}, nil
	}
	return object{"data": data}, nil
}

func (v *resend) find(c *resendCall) (*email, *resendError) {
	for _, m := range v.emails {
		if m.id == c.id {
			return m, nil
		}
	}
	return nil, &resendError{http.StatusNotFound, "not_found", "Email not found"}
}

func (v *resend) retrieve(c *resendCall) (object, *resendError) {
	m, err := v.find(c)
	if err != nil {
		return nil, err
	}
	return m.object(), nil
}

// list pages by limit, after and before, newest first.
func (v *resend) list(c *resendCall) (object, *resendError) {
	all := []object{}
	for _, m := range slices.Backward(v.emails) {
		listed := m.object()
		for _, left := range []string{"object", "html", "text", "tags"} { // what a list does not show (npm resend 6.38.0)
			delete(listed, left)
		}
		all = append(all, listed)
	}
	f, err := parseForm(c.query, nil)
	limit, nerr := 20, error(nil)
	if f.has("limit") {
		limit, nerr = strconv.Atoi(f.str("limit"))
	}
	if err != nil || nerr != nil || limit < 1 || limit > 100 {
		return nil, &resendError{422, "validation_error", "The pagination limit must be a number between 1 and 100."}
	}
	data, more, found := page(all, limit, f.str("after"), f.str("before"))
	if !found {
		return nil, &resendError{422, "validation_error", "The pagination cursor is invalid."}
	}
	return object{"object": "list", "has_more": more, "data": data}, nil
}

// scheduled finds an email that was not sent yet.
func (v *resend) scheduled(c *resendCall) (*email, *resendError) {
	m, err := v.find(c)
	if err == nil && m.event != "scheduled" {
		return nil, &resendError{422, "validation_error", "Only scheduled emails can be changed; this one is " + m.event + "."}
	}
	return m, err
}

func (v *resend) reschedule(c *resendCall) (object, *resendError) {
	m, err := v.scheduled(c)
	if err != nil {
		return nil, err
	}
	var change struct {
		ScheduledAt string `json:"scheduled_at"`
	}
	if json.Unmarshal(c.body, &change) != nil || change.ScheduledAt == "" {
		return nil, &resendError{422, "missing_required_field", "Missing `scheduled_at` field."}
	}
	m.ScheduledAt = change.ScheduledAt
	v.log(c, "email.update", m, Execution{})
	return object{"object": "email", "id": m.id}, nil
}

func (v *resend) cancel(c *resendCall) (object, *resendError) {
	m, err := v.scheduled(c)
	if err != nil {
		return nil, err
	}
	m.event = "canceled"
	v.log(c, "email.cancel", m, billed(-m.fee, -m.recipients()))
	return object{"object": "email", "id": m.id}, nil
}

func (m *email) object() object {
	return object{
		"object": "email", "id": m.id, "from": m.From, "to": orEmpty(m.To), "cc": orEmpty(m.Cc), "bcc": orEmpty(m.Bcc),
		"reply_to": orEmpty(m.ReplyTo), "subject": m.Subject, "html": m.HTML, "text": m.Text,
		"created_at": m.created.UTC().Format("2006-01-02 15:04:05.000000-07"), "last_event": m.event,
		"scheduled_at": orNull(m.ScheduledAt), "tags": append([]mailTag{}, m.Tags...),
	}
}

func orEmpty(a addresses) []string { return append([]string{}, a...) }
