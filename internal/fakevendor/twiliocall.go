package fakevendor

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// phoneCall is one outgoing call. What its TwiML does is not followed.
type phoneCall struct {
	sid, account, to, from string
	status                 string
	seconds                int64
	fee                    int64 // micro-USD; known when the call has ended
	factor                 int64
	priced, deleted        bool
	created                time.Time
}

// callRates are micro-USD a minute by destination prefix, of a plausible size and no more.
var callRates = map[string]int64{"1": 14_000, "44": 15_800, "49": 18_000, "81": 83_000}

const otherCallRate = 200_000

// executeCall is the Calls resource.
func (v *twilio) executeCall(c *twilioCall) reply {
	switch {
	case c.sid == "" && c.method == http.MethodPost:
		p, err := v.dial(c)
		if err != nil {
			return err.reply()
		}
		return jsonReply(http.StatusCreated, p.object())
	case c.sid == "" && c.method == http.MethodGet:
		return v.listCalls(c)
	case c.sid == "":
		return notAllowed()
	}
	i := slices.IndexFunc(v.calls, func(p *phoneCall) bool { return p.sid == c.sid && p.account == c.account && !p.deleted })
	if i < 0 {
		return v.notFound(c.call)
	}
	p := v.calls[i]
	switch {
	case c.method == http.MethodDelete:
		p.deleted = true
		v.log(c, "call.delete", p.sid, Execution{})
		return reply{status: http.StatusNoContent}
	case c.method == http.MethodPost && (c.form.str("Status") == "completed" || c.form.str("Status") == "canceled"):
		v.log(c, "call.update", p.sid, Execution{})
		if p.status == "queued" {
			p.status = "canceled"
		}
	case c.method == http.MethodPost:
		return (&twilioError{http.StatusBadRequest, 21220, "Call is not in-progress. Cannot redirect."}).reply()
	case c.method != http.MethodGet:
		return notAllowed()
	}
	return jsonReply(http.StatusOK, p.object())
}

// dial places a call. It stays queued until [Server.HangUp] or [Server.FillPrices].
func (v *twilio) dial(c *twilioCall) (*phoneCall, *twilioError) {
	f, bad := c.form, func(code int, message string) (*phoneCall, *twilioError) {
		return nil, &twilioError{http.StatusBadRequest, code, message}
	}
	switch to := f.str("To"); {
	case to == "":
		return bad(21201, "No 'To' number is specified")
	case f.str("From") == "":
		return bad(21213, "No 'From' number is specified")
	case !number.MatchString(to) && !strings.HasPrefix(to, "client:") && !strings.HasPrefix(to, "sip:"):
		return bad(21211, "Invalid 'To' Phone Number: "+to)
	case c.resource == "Calls" && f.str("Url") == "" && f.str("Twiml") == "" && f.str("ApplicationSid") == "":
		return bad(21205, "Url parameter is required.")
	}
	p := &phoneCall{
		sid: fmt.Sprintf("CA%032x", c.index+1), account: c.account, to: f.str("To"), from: f.str("From"),
		status: "queued", factor: c.factor, created: time.Now(),
	}
	v.calls = append(v.calls, p)
	v.log(c, "call", p.sid, billed(0, 0)) // for ringing nothing is billed
	return p, nil
}

// participant dials somebody into a conference.
func (v *twilio) participant(c *twilioCall) reply {
	p, err := v.dial(c)
	if err != nil {
		return err.reply()
	}
	created := p.created.UTC().Format(time.RFC1123Z)
	return jsonReply(http.StatusCreated, object{
		"account_sid": p.account, "call_sid": p.sid, "conference_sid": "CF" + p.sid[2:], "status": "queued",
		"date_created": created, "date_updated": created,
		"uri": "/2010-04-01/Accounts/" + p.account + "/Conferences/CF" + p.sid[2:] + "/Participants/" + p.sid + ".json",
	})
}

// listCalls is a page of the account's calls that the filters let through. When a call
// starts that is still in a queue is not established: here it is when it was created.
func (v *twilio) listCalls(c *twilioCall) reply {
	var all []object
	for _, p := range v.calls {
		f := c.form
		if p.account == c.account && !p.deleted && f.equal("To", p.to) && f.equal("From", p.from) && f.equal("Status", p.status) &&
			f.equal("ParentCallSid", "") && f.between("StartTime", p.created) {
			all = append(all, p.object())
		}
	}
	return c.page("calls", all)
}

// hangUp ends a call. It is billed by the minute, and one that nobody answered is not.
func (v *twilio) hangUp(p *phoneCall, seconds int64) {
	p.status, p.seconds = "no-answer", seconds
	if seconds > 0 {
		p.status = "completed"
		p.fee = callRate(p.to) * ((seconds + 59) / 60) * p.factor
	}
	e := billed(p.fee, 0)
	e.Vendor, e.Kind, e.Object, e.Account, e.Request = "twilio", "call.conclude", p.sid, p.account, -1
	v.world.journal.execute(e)
}

func callRate(to string) int64 {
	digits, isNumber := strings.CutPrefix(to, "+")
	for n := min(4, len(digits)); isNumber && n > 0; n-- {
		if rate, ok := callRates[digits[:n]]; ok {
			return rate
		}
	}
	return otherCallRate
}

// HangUp ends a call of Twilio's that has lasted so many seconds; none means that nobody
// answered. Its fee is executed now, and shown by [Server.FillPrices].
func (s *Server) HangUp(sid string, seconds int64) error {
	v := s.world.Load().twilio
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.calls {
		if p.sid == sid && p.status == "queued" {
			v.hangUp(p, seconds)
			return nil
		}
	}
	return fmt.Errorf("fakevendor: there is no call %s to end", sid)
}

// object is p as Twilio answers it.
func (p *phoneCall) object() object {
	created := p.created.UTC().Format(time.RFC1123Z)
	path := "/2010-04-01/Accounts/" + p.account + "/Calls/" + p.sid
	o := object{
		"sid": p.sid, "account_sid": p.account, "to": p.to, "from": p.from, "status": p.status,
		"parent_call_sid": nil, "direction": "outbound-api", "api_version": "2010-04-01",
		"date_created": created, "date_updated": created, "start_time": nil, "end_time": nil,
		"duration": nil, "price": nil, "price_unit": "USD", "uri": path + ".json",
		"subresource_uris": object{"recordings": path + "/Recordings.json"},
	}
	if p.status == "completed" {
		o["start_time"], o["duration"] = created, strconv.FormatInt(p.seconds, 10)
		o["end_time"] = p.created.Add(time.Duration(p.seconds) * time.Second).UTC().Format(time.RFC1123Z)
	}
	if p.priced {
		o["price"] = price(p.fee)
	}
	return o
}
