package fakevendor

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// twilio is Twilio's Messages, Calls (those into a conference too), daily usage records, the account and its balance. There is
// no idempotency: every POST that arrives is another message or call (Twilio's documentation, read
// November 2026). All other resources and product hosts are 404s.
type twilio struct {
	world *world

	mu       sync.Mutex
	messages []*message
	calls    []*phoneCall
}

func newTwilio(w *world) *twilio { return &twilio{world: w} }

// twilioCall is a request that was authenticated and routed.
type twilioCall struct {
	*call
	form       form
	credential string
	account    string // in the path
	resource   string // in the path: "Messages"
	sid        string // of the message or call in the path; empty for the collection
	xml        bool
}

// twilioError is a refusal in Twilio's shape.
type twilioError struct {
	status, code int
	message      string
}

func (e *twilioError) reply() reply {
	return jsonReply(e.status, object{
		"code": int64(e.code), "message": e.message, "status": int64(e.status),
		"more_info": "https://www.twilio.com/docs/errors/" + strconv.Itoa(e.code),
	})
}

func (v *twilio) refuse(status int, message string) reply {
	code := map[int]int{401: 20003, 403: 20403, 404: 20404, 405: 20004, 429: 20429, 500: 20500, 503: 20503}[status]
	if code == 0 {
		code = 20001
	}
	return v.stamp((&twilioError{status, code, message}).reply())
}

func (v *twilio) stamp(r reply) reply {
	return r.set("Twilio-Request-Id", fmt.Sprintf("RQ%032x", time.Now().UnixNano()))
}

// resourcePath is a resource under its name, messages under their legacy one too, with the
// suffix that chooses the reply's format; none is XML. The host may be that of
// an edge or region too.
var resourcePath = regexp.MustCompile(`^/2010-04-01/Accounts/(AC[0-9A-Za-z]+)/(?:SMS/)?` +
	`(Messages|Calls|Usage/Records/Daily|Conferences/[0-9A-Za-z_-]+/Participants)(?:/((?:SM|MM|CA)[0-9a-f]{32}))?(\.json|\.xml)?$`)

func (v *twilio) serve(c *call) reply {
	user, password, ok := basic(c.header)
	credential := user + ":" + password
	if !ok || !wellFormed(user, password) || !v.world.guard.accepts("twilio", credential) {
		return v.stamp((&twilioError{http.StatusUnauthorized, 20003, "Authenticate"}).reply())
	}
	if own := accountPath.FindStringSubmatch(c.path); own != nil && c.method == http.MethodGet && strings.HasPrefix(c.host, "api.") {
		return v.stamp(c.finish(v.own(c, user, password, own[1], own[2] != "")))
	}
	m := resourcePath.FindStringSubmatch(c.path)
	if m == nil || !strings.HasPrefix(c.host, "api.") {
		return v.stamp(c.finish(v.notFound(c)))
	}
	if strings.HasPrefix(user, "AC") && user != m[1] {
		return v.stamp((&twilioError{http.StatusUnauthorized, 20003, "Authenticate"}).reply())
	}
	f, err := parseForm(c.query, c.body)
	if err != nil {
		return v.refuse(http.StatusBadRequest, "The request body could not be read.")
	}
	return v.stamp(c.finish(v.execute(&twilioCall{c, f, credential, m[1], m[2], m[3], m[4] != ".json"})))
}

var accountPath = regexp.MustCompile(`^/2010-04-01/Accounts/(AC[0-9A-Za-z]+)(/Balance)?\.json$`)

// own is the account itself, or its balance, for a credential that reaches it (twilio.com/docs/iam/api-keys, error 20003 and
// error 20008, read November 2026).
func (v *twilio) own(c *call, user, password, account string, balance bool) reply {
	token, standard := strings.HasPrefix(user, "AC"), !strings.HasPrefix(user, RestrictedKey)
	switch {
	case token && user != account:
		return (&twilioError{http.StatusUnauthorized, 20003, "Authenticate"}).reply()
	case token && strings.HasPrefix(password, TestToken):
		return (&twilioError{http.StatusForbidden, 20008, "Resource not accessible with Test Account Credentials"}).reply()
	case token || strings.HasPrefix(user, MainKey) || balance && standard:
	default:
		return (&twilioError{http.StatusUnauthorized, 20003, "Authentication Error - invalid username"}).reply()
	}
	if balance {
		return jsonReply(http.StatusOK, object{"account_sid": account, "balance": "100.00", "currency": "USD"})
	}
	return jsonReply(http.StatusOK, object{"sid": account, "status": "active", "type": "Full", "friendly_name": "fake", "auth_token": "never-read-this"})
}

// wellFormed accepts the account's own token and API keys.
func wellFormed(user, password string) bool {
	return password != "" && (strings.HasPrefix(user, "AC") || strings.HasPrefix(user, "SK"))
}

func (v *twilio) notFound(c *call) reply {
	return (&twilioError{http.StatusNotFound, 20404, "The requested resource " + c.path + " was not found"}).reply()
}

// execute does what method and path ask for.
func (v *twilio) execute(c *twilioCall) reply {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case c.resource == "Messages":
		return v.executeMessage(c)
	case c.xml: // calls and usage are JSON alone here
		return v.notFound(c.call)
	case c.resource == "Calls":
		return v.executeCall(c)
	case c.resource == "Usage/Records/Daily" && c.sid == "" && c.method == http.MethodGet:
		return v.usage(c)
	case strings.HasPrefix(c.resource, "Conferences/") && c.sid == "" && c.method == http.MethodPost:
		return v.participant(c)
	}
	return v.notFound(c.call)
}

func (v *twilio) executeMessage(c *twilioCall) reply {
	switch {
	case c.sid == "" && c.method == http.MethodPost:
		return c.answer(v.create(c))
	case c.sid == "" && c.method == http.MethodGet:
		return v.listMessages(c)
	case c.sid == "":
		return notAllowed()
	}
	m := v.find(c)
	if m == nil {
		return v.notFound(c.call)
	}
	switch c.method {
	case http.MethodGet:
		return c.answer(m, nil)
	case http.MethodPost:
		return c.answer(v.update(c, m))
	case http.MethodDelete:
		m.deleted = true // it was billed all the same
		v.log(c, "sms.delete", m.sid, Execution{})
		return reply{status: http.StatusNoContent}
	}
	return notAllowed()
}

func notAllowed() reply {
	return (&twilioError{http.StatusMethodNotAllowed, 20004, "Method not allowed"}).reply()
}

// answer is the message in the format that the path's suffix asked for.
func (c *twilioCall) answer(m *message, err *twilioError) reply {
	status := http.StatusOK
	if c.sid == "" && c.method == http.MethodPost {
		status = http.StatusCreated
	}
	switch {
	case err != nil:
		return err.reply()
	case !c.xml:
		return jsonReply(status, m.object())
	}
	body, _ := xml.Marshal(struct {
		XMLName xml.Name `xml:"TwilioResponse"`
		Sid     string   `xml:"Message>Sid"`
		Status  string   `xml:"Message>Status"`
	}{Sid: m.sid, Status: m.status})
	return reply{status: status, body: append([]byte(xml.Header), body...)}.set("Content-Type", "application/xml")
}

func (v *twilio) find(c *twilioCall) *message {
	for _, m := range v.messages {
		if m.sid == c.sid && m.account == c.account && !m.deleted {
			return m
		}
	}
	return nil
}

func (v *twilio) log(c *twilioCall, kind, sid string, e Execution) {
	e.Vendor, e.Kind, e.Object = "twilio", kind, sid
	e.Credential, e.Account, e.Request = c.credential, c.account, c.index
	e.IdempotencyKey = c.header.Get("Idempotency-Key") // Twilio ignores it
	v.world.journal.execute(e)
}
