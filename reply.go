package keybrake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// denialHeader names the reason in every refusal.
const denialHeader = "Keybrake-Denial"

// deny records the refusal and answers it in the vendor's own shape. When the caller's context has ended there is
// nobody to answer, so that is returned as net/http does.
func (t *Transport) deny(a *attempt, err error) (*http.Response, error) {
	operation := ""
	if a.call.Operation != nil {
		operation = a.call.Operation.Name
	}
	d := denialOf(err, operation)
	first := a.firstAnswer(err)
	a.recordDenial(d)
	if first != nil {
		return first, nil
	}
	if d.Reason == reason.Canceled {
		return nil, d
	}
	return t.refuse(a, d)
}

// refusal is d as the vendor would say it.
func (a *attempt) refusal(d *Denial) *http.Response {
	// Vendors' errors name the parameter behind the message, and its name is the agent's: it must not pass for a marker.
	param := strings.ReplaceAll(d.Param, "[kbd_", "[kbd-")
	r := vendors.Refusal{Code: d.Reason, Param: param, Detail: d.Detail, Status: d.Status, Message: d.Error() + " " + d.marker()}
	write := refuseAnybody
	if a.vendor != nil {
		write = a.vendor.Refuse
	}
	var out vendors.Response
	if err := contain(func() error { out = write(a.call, r); return nil }); err != nil {
		out = refuseAnybody(a.call, r)
	}
	header := out.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set(denialHeader, string(d.Reason))
	if !d.Reset.IsZero() {
		header.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(time.Until(d.Reset).Seconds())))))
	}
	return a.response(d.Status, "HTTP/1.1", header, out.Body, nil)
}

// refuseAnybody is the refusal for a host of no registered vendor: one of the vendor's other hosts, most likely. Which
// SDK will read it is not known, so it is an error of Stripe, of Twilio and of Resend at once.
func refuseAnybody(_ *vendors.Call, r vendors.Refusal) vendors.Response {
	code := "keybrake_" + string(r.Code)
	text, _ := json.Marshal(map[string]any{ // strings and numbers: it cannot fail
		"error": map[string]string{"type": "invalid_request_error", "code": code, "message": r.Message},
		"name":  code, "message": r.Message, "statusCode": r.Status,
		"code": 20_000 + r.Status, "status": r.Status, "httpStatusCode": r.Status,
	})
	header := http.Header{"Content-Type": {"application/json"}, "Stripe-Should-Retry": {"false"}}
	return vendors.Response{Status: r.Status, Header: header, Body: text}
}

// reply hands the vendor's reply on as it came, with one exception: a call whose outcome is not known, and that an SDK
// would send again although no key protects it or a revoke has cut it off, gets a refusal that is not retried and that
// names the reservation.
func (t *Transport) reply(a *attempt) (*http.Response, error) {
	cut := a.landing.Err != nil && a.cutOff() != nil
	switch {
	case a.outcome == vendors.OutcomeUnknown && (cut || a.resent()):
		return t.refuse(a, denialOf(&Denial{
			Reason: reason.InDoubt, Reservation: a.permit.Hold().ID,
			Detail: a.doubt + "; it may have been executed, so its money stays held; do not send it again",
		}, a.call.Operation.Name))
	case a.landing.Err != nil:
		return nil, a.scrubError(a.landing.Err)
	}
	header := a.replyHeader()
	a.keepAnswer(header)
	return a.response(a.landing.Status, a.landing.Proto, header, a.landing.Body, a.scrubError(a.landing.Cut)), nil
}

// refuse answers d, as an error where the caller wants one.
func (t *Transport) refuse(a *attempt, d *Denial) (*http.Response, error) {
	if t.DenyAsError {
		return nil, d
	}
	return a.refusal(d), nil
}

// resent reports whether an SDK would send the call again although nothing protects it from being executed twice.
func (a *attempt) resent() bool {
	if a.free() || a.protected() || a.vendor.Resends == nil {
		return false
	}
	again := true // an adapter that fails to answer: fails closed
	_ = contain(func() error { again = a.vendor.Resends(a.call, a.reply); return nil })
	return again
}

// replyHeader is the vendor's header without what could change the SDK's next call: cookies, another route, our own
// names, and for a write that nothing protects the invitations to send it again.
func (a *attempt) replyHeader() http.Header {
	header := http.Header{}
	for name, values := range a.landing.Header {
		name = http.CanonicalHeaderKey(name)
		if name == "Set-Cookie" || name == "Alt-Svc" || strings.HasPrefix(name, "Keybrake-") {
			continue
		}
		if slices.Contains(a.vendor.RetryHeaders, name) && !a.free() && !a.protected() {
			continue
		}
		for _, v := range values {
			header.Add(name, v)
		}
	}
	header.Del("Content-Length") // of what came; response says what goes
	return header
}

// response answers the caller's request. The body ends with cut, if that is not nil.
func (a *attempt) response(status int, proto string, header http.Header, body []byte, cut error) *http.Response {
	r := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: proto, Header: header, Request: a.req, ContentLength: int64(len(body)),
	}
	r.ProtoMajor, r.ProtoMinor, _ = http.ParseHTTPVersion(proto)
	var from io.Reader = bytes.NewReader(body)
	if cut != nil {
		r.ContentLength = -1
		from = io.MultiReader(from, broken{cut})
	}
	r.Body = io.NopCloser(from)
	if cut == nil {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return r
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// A wireError is what a base transport's error says, and nothing of what it holds: it could hold the request,
// hence the credential.
type wireError struct {
	text    string
	timeout bool
	cause   error
}

func (e *wireError) Error() string   { return e.text }
func (e *wireError) Timeout() bool   { return e.timeout }
func (e *wireError) Temporary() bool { return false }
func (e *wireError) Unwrap() error   { return e.cause }

// causes are what a caller may want to find in an error; none of them holds anything.
var causes = []error{
	context.Canceled, context.DeadlineExceeded, os.ErrDeadlineExceeded, io.ErrUnexpectedEOF, io.EOF,
	syscall.ECONNRESET, syscall.EPIPE, http.ErrHandlerTimeout, errTooLarge,
}

func (a *attempt) scrubError(err error) error { return scrubError(a.secret, err) }

func scrubError(secret vendors.Placement, err error) error {
	if err == nil {
		return nil
	}
	e := &wireError{text: scrub(secret, err.Error())}
	var timeout interface{ Timeout() bool }
	e.timeout = errors.As(err, &timeout) && timeout.Timeout()
	for _, cause := range causes {
		if errors.Is(err, cause) {
			e.cause = cause
			break
		}
	}
	return e
}
