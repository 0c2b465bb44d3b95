package fakevendor

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// resend is Resend's emails resource, and a list of no domains. Everything else is a 404.
type resend struct {
	world *world
	keys  keys

	mu     sync.Mutex
	emails []*email
}

func newResend(w *world) *resend { return &resend{world: w} }

// mailFee is micro-USD for one recipient, Resend's overage price (Resend's documentation, read November 2026).
const mailFee = 900

// resendError is a refusal in Resend's shape.
type resendError struct {
	status        int
	name, message string
}

func (e *resendError) reply() reply {
	return jsonReply(e.status, object{"name": e.name, "message": e.message, "statusCode": int64(e.status)})
}

var resendNames = map[int]string{
	400: "validation_error", 401: "missing_api_key", 403: "invalid_api_key", 404: "not_found", 405: "method_not_allowed",
	409: "concurrent_idempotent_requests", 422: "validation_error", 429: "rate_limit_exceeded",
}

func (v *resend) refuse(status int, message string) reply {
	name := resendNames[status]
	if name == "" {
		name = "application_error"
	}
	return stampMail((&resendError{status, name, message}).reply())
}

// stampMail adds what every reply carries: Resend's limit is per team and second.
func stampMail(r reply) reply {
	return r.set("Ratelimit-Limit", "5").set("Ratelimit-Remaining", "4").set("Ratelimit-Reset", "1")
}

// resendCall is a request that was authenticated.
type resendCall struct {
	*call
	credential string
	id         string // of the email in the path
}

var (
	mailKey  = regexp.MustCompile(`^re_[A-Za-z0-9_]+$`)
	mailPath = regexp.MustCompile(`^/emails/([0-9a-f-]{36})(/cancel)?$`)
)

func (v *resend) serve(c *call) reply {
	key, ok := bearer(c.header)
	if !ok {
		return v.refuse(http.StatusUnauthorized, "Missing API key in the authorization header.")
	}
	if !mailKey.MatchString(key) || !v.world.guard.accepts("resend", key) {
		return v.refuse(http.StatusForbidden, "API key is invalid.")
	}
	if strings.HasPrefix(key, SendingKey) && (c.method != http.MethodPost || c.path != "/emails" && c.path != "/emails/batch") {
		return stampMail((&resendError{http.StatusUnauthorized, "restricted_api_key", "This API key is restricted to only send emails"}).reply())
	}
	return stampMail(v.route(&resendCall{call: c, credential: key}))
}

func (v *resend) route(c *resendCall) reply {
	switch c.method + " " + c.path {
	case "POST /emails":
		return v.deduplicate(c, v.send)
	case "POST /emails/batch":
		return v.deduplicate(c, v.sendBatch)
	case "GET /emails":
		return v.run(c, v.list)
	case "GET /domains":
		return v.run(c, func(*resendCall) (object, *resendError) {
			return object{"object": "list", "has_more": false, "data": []any{}}, nil
		})
	}
	m := mailPath.FindStringSubmatch(c.path)
	if m == nil {
		return c.finish(v.refuse(http.StatusNotFound, "The requested endpoint does not exist"))
	}
	c.id = m[1]
	switch c.method + " " + m[2] {
	case "GET ":
		return v.run(c, v.retrieve)
	case "PATCH ":
		return v.run(c, v.reschedule)
	case "POST /cancel":
		return v.run(c, v.cancel)
	}
	return c.finish(v.refuse(http.StatusMethodNotAllowed, "Method not allowed"))
}

// run executes under the lock, and the fault's hook without it.
func (v *resend) run(c *resendCall, do func(*resendCall) (object, *resendError)) reply {
	r, _ := v.try(c, do)
	return r
}

func (v *resend) try(c *resendCall, do func(*resendCall) (object, *resendError)) (r reply, keep bool) {
	r, keep = v.locked(c, do)
	return c.finish(r), keep
}

func (v *resend) locked(c *resendCall, do func(*resendCall) (object, *resendError)) (r reply, keep bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	o, err := do(c)
	if err != nil {
		return err.reply(), false
	}
	return jsonReply(http.StatusOK, o), true
}

// deduplicate executes once for each idempotency key (Resend's documentation, read November 2026): the same
// payload gets the same reply, another one and one in flight are 409s.
func (v *resend) deduplicate(c *resendCall, do func(*resendCall) (object, *resendError)) reply {
	key := c.header.Get("Idempotency-Key")
	if key == "" {
		return v.run(c, do)
	}
	if len(key) > 256 {
		return (&resendError{400, "invalid_idempotency_key", "The key must be between 1-256 chars."}).reply()
	}
	fingerprint := c.path + " " + c.header.Get("X-Batch-Validation") + "\n" + strings.TrimSpace(string(c.body))
	r, verdict := v.keys.once(key, fingerprint, func() (reply, bool) { return v.try(c, do) })
	switch verdict {
	case mismatch:
		return (&resendError{409, "invalid_idempotent_request",
			"This idempotency key has already been used on a request with a different payload."}).reply()
	case inFlight:
		return (&resendError{409, "concurrent_idempotent_requests",
			"Another request with the same idempotency key is still in progress."}).reply()
	}
	return r
}

func (v *resend) log(c *resendCall, kind string, m *email, e Execution) {
	e.Vendor, e.Kind, e.Object = "resend", kind, m.id
	e.Credential, e.IdempotencyKey, e.Request = c.credential, c.header.Get("Idempotency-Key"), c.index
	v.world.journal.execute(e)
}

// accept stores an email and books its recipients.
func (v *resend) accept(c *resendCall, m *email) object {
	m.id = fmt.Sprintf("00000000-0000-4000-8000-%012x", len(v.emails)+1)
	m.created, m.fee, m.event = time.Now(), m.recipients()*mailFee*c.factor, "delivered"
	if m.ScheduledAt != "" {
		m.event = "scheduled"
	}
	v.emails = append(v.emails, m)
	v.log(c, "email", m, billed(m.fee, m.recipients()))
	return object{"id": m.id}
}
