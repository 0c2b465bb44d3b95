package fakevendor

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// message is one SMS or MMS.
type message struct {
	sid, account, to, from, service, body string
	status                                string
	media                                 int
	segments                              int64
	fee                                   int64 // micro-USD, what it will finally cost
	priced                                bool  // the fee is shown
	deleted                               bool
	created                               time.Time
}

// smsRates are micro-USD for one segment by destination prefix; the longest one
// counts. US and Canada, UAE and Czechia are Twilio's (November 2026), the others
// are of a plausible size and no more.
var smsRates = map[string]int64{
	"1": 8_300, "44": 46_300, "49": 97_000, "33": 79_800, "971": 109_000, "420": 67_000, "81": 88_000, "91": 83_000,
}

const (
	otherRate  = 150_000 // a segment to anywhere else
	mmsFee     = 22_000  // a message with media, whatever its length
	channelFee = 5_000   // a WhatsApp, Messenger or RCS message
)

var (
	number  = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
	channel = regexp.MustCompile(`^(whatsapp|messenger|rcs):(.+)$`)
)

// create accepts a message. Until [Server.FillPrices] its price is null and,
// with a messaging service, its segments are "0".
func (v *twilio) create(c *twilioCall) (*message, *twilioError) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	f := c.form
	m := &message{
		sid: fmt.Sprintf("SM%032x", c.index+1), account: c.account, to: f.str("To"), from: f.str("From"),
		service: f.str("MessagingServiceSid"), body: f.str("Body"), media: len(f["MediaUrl"]),
		segments: segments(f.str("Body")), status: "queued", created: time.Now(),
	}
	switch {
	case f.str("ScheduleType") == "fixed":
		m.status = "scheduled"
	case m.service != "":
		m.status = "accepted"
	}
	m.fee = fee(m) * c.factor
	v.messages = append(v.messages, m)
	v.log(c, "sms", m.sid, billed(m.fee, m.segments))
	return m, nil
}

// validate refuses what Twilio refuses at once, unbilled, by its own codes.
func (c *twilioCall) validate() *twilioError {
	f, bad := c.form, func(code int, message string) *twilioError {
		return &twilioError{http.StatusBadRequest, code, message}
	}
	to := f.str("To")
	switch {
	case to == "":
		return bad(21604, "A 'To' phone number is required.")
	case f.str("From") == "" && f.str("MessagingServiceSid") == "":
		return bad(21603, "A 'From' phone number is required.")
	case f.str("Body") == "" && !f.has("MediaUrl") && f.str("ContentSid") == "":
		return bad(21602, "Message body is required.")
	case len([]rune(f.str("Body"))) > 1600:
		return bad(21617, "The concatenated message body exceeds the 1600 character limit")
	case !channel.MatchString(to) && (!number.MatchString(to) || to == "+15005550001"):
		return bad(21211, "Invalid 'To' Phone Number: "+to)
	}
	return nil
}

// fee is what a message will cost.
func fee(m *message) int64 {
	switch {
	case channel.MatchString(m.to):
		return channelFee
	case m.media > 0:
		return mmsFee
	}
	digits := strings.TrimPrefix(m.to, "+")
	for n := min(4, len(digits)); n > 0; n-- {
		if rate, ok := smsRates[digits[:n]]; ok {
			return rate * m.segments
		}
	}
	return otherRate * m.segments
}

// update cancels a message that was not sent yet, or empties a body.
func (v *twilio) update(c *twilioCall, m *message) (*message, *twilioError) {
	switch {
	case c.form.str("Status") == "canceled":
		if m.status != "scheduled" && m.status != "accepted" && m.status != "queued" {
			return nil, &twilioError{http.StatusBadRequest, 20001, "Message " + m.sid + " is " + m.status + " and cannot be canceled"}
		}
		m.status = "canceled"
		v.log(c, "sms.cancel", m.sid, billed(-m.fee, -m.segments))
	case c.form.has("Body") && c.form.str("Body") == "":
		m.body = ""
		v.log(c, "sms.redact", m.sid, Execution{})
	default:
		return nil, &twilioError{http.StatusBadRequest, 20001, "Only Status=canceled or an empty Body can be posted."}
	}
	return m, nil
}

// listMessages is a page of the account's messages that the filters let through. When
// Twilio says a message was sent that is still in a queue is not established: here it
// is when it was created.
func (v *twilio) listMessages(c *twilioCall) reply {
	var all []object
	for _, m := range v.messages {
		if m.account == c.account && !m.deleted && c.form.equal("To", m.to) && c.form.equal("From", m.from) && c.form.between("DateSent", m.created) {
			all = append(all, m.object())
		}
	}
	return c.page("messages", all)
}

// object is m as Twilio answers it: numbers are strings, price is null until it
// is known and then negative (Twilio's documentation, read November 2026).
func (m *message) object() object {
	created := m.created.UTC().Format(time.RFC1123Z)
	path := "/2010-04-01/Accounts/" + m.account + "/Messages/" + m.sid
	o := object{
		"sid": m.sid, "account_sid": m.account, "to": m.to, "from": orNull(m.from), "body": m.body, "status": m.status,
		"messaging_service_sid": orNull(m.service), "num_media": strconv.Itoa(m.media),
		"num_segments": strconv.FormatInt(m.segments, 10), "price": nil, "price_unit": "USD",
		"direction": "outbound-api", "api_version": "2010-04-01", "error_code": nil, "error_message": nil,
		"date_created": created, "date_updated": created, "date_sent": nil,
		"uri":              path + ".json",
		"subresource_uris": object{"media": path + "/Media.json"},
	}
	switch {
	case m.priced:
		o["price"], o["date_sent"] = price(m.fee), o["date_created"]
		if m.status == "failed" {
			o["error_code"], o["error_message"] = int64(30005), "Unknown destination handset"
		}
	case m.service != "":
		o["num_segments"] = "0" // until a sender is assigned
	}
	return o
}

// price is micros as Twilio writes a debit: negative, five decimals or more.
func price(micros int64) string {
	s := fmt.Sprintf("-%d.%06d", micros/1_000_000, micros%1_000_000)
	return strings.TrimSuffix(s, "0")
}

// FillPrices lets every message that was queued or accepted be delivered and
// every call that has not ended last a minute, and shows their prices, as Twilio
// does up to a day later. Scheduled and cancelled messages stay as they are.
func (s *Server) FillPrices() {
	v := s.world.Load().twilio
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.messages {
		if m.status == "queued" || m.status == "accepted" {
			m.status, m.priced = "delivered", true
		}
	}
	for _, p := range v.calls {
		if p.status == "queued" {
			v.hangUp(p, 60)
		}
		p.priced = p.status == "completed"
	}
}
