package kbtwilio

import (
	"regexp"
	"time"

	"github.com/keybrake/keybrake-go/vendors"
)

var (
	verificationSid = regexp.MustCompile(`^VE[0-9a-fA-F]{32}$`)
	attemptSid      = regexp.MustCompile(`^VL[0-9a-fA-F]{32}$`)
	numberSid       = regexp.MustCompile(`^PN[0-9a-fA-F]{32}$`)
)

// verificationTrail is the trail of an attempt to verify. Twilio lists attempts by text, call and WhatsApp of the last 30
// days (Twilio's documentation, read November 2026).
func verificationTrail() trail {
	return trail{
		one: "twilio.verify.services.verifications.retrieve", own: verificationSid, cost: atBound(""),
		path: func(c *vendors.Call, sid string) string { return c.Path + "/" + sid },
		list: "twilio.verify.attempts.list", name: "attempts", sid: attemptSid,
		in: func(*vendors.Call) string { return "/v2/Attempts" },
		query: func(c *vendors.Case) []vendors.Param {
			if param(c, "To") == "" {
				return nil
			}
			return []vendors.Param{
				{Name: "ChannelData.To", Value: param(c, "To")}, {Name: "VerifyServiceSid", Value: c.Call.IDs["ServiceSid"]},
				{Name: "DateCreatedAfter", Value: c.Sent.Add(-slack).UTC().Format(time.RFC3339)},
			}
		},
		ours: func(c *vendors.Case, r record) bool {
			return r.Verify == c.Call.IDs["ServiceSid"] && r.ChannelData.To == param(c, "To") && r.Channel == param(c, "Channel")
		},
	}
}

// numberTrail is the trail of a number that was bought by name: an account has it once.
func numberTrail() trail {
	return trail{
		one: "twilio.incoming_phone_numbers.retrieve", own: numberSid, path: object("IncomingPhoneNumbers"), cost: atBound("recurring"),
		list: "twilio.incoming_phone_numbers.list", in: collection("IncomingPhoneNumbers"), name: "incoming_phone_numbers", sid: numberSid,
		query: func(c *vendors.Case) []vendors.Param {
			if param(c, "PhoneNumber") == "" {
				return nil // an area's number is any
			}
			return []vendors.Param{{Name: "PhoneNumber", Value: param(c, "PhoneNumber")}}
		},
		ours: func(c *vendors.Case, r record) bool { return r.Number == param(c, "PhoneNumber") },
	}
}

// atBound is the cost of what Twilio names no price of: what was reserved.
func atBound(flag string) func(*vendors.Case, record) vendors.Finding {
	return func(c *vendors.Case, r record) vendors.Finding { return executed(r.Sid, c.Bound.Lines, flag) }
}
