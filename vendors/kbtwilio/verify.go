package kbtwilio

import (
	"encoding/json"
	"errors"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/vendors"
)

// boundVerification is the fee of one attempt by its channel. What a success costs is a matter of the check.
func (t tariff) boundVerification(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	to, _ := c.Get("To")
	channel, _ := c.Get("Channel")
	b := bill{tariff: t}
	if channel == "email" {
		b.use(1, "verify.email")
		return b.bound(to, unknownCountry)
	}
	if !e164.MatchString(to) {
		return vendors.Bound{}, invalid("To", "give one number in E.164 form, + and 7 to 15 digits")
	}
	country := countryOf(to)
	switch channel {
	case "sms", "call", "whatsapp", "rcs", "sna":
		if country == unknownCountry {
			_, why := t.perSegment(to, country)
			b.add(0, 0, why)
			break
		}
		b.use(1, "verify."+channel+"."+country)
	default: // "auto" is Twilio's choice
		b.add(0, 0, "Channel: which one is used decides the price; name sms, call, whatsapp, rcs, sna or email, or give the rule a ceiling")
	}
	return b.bound(to, country)
}

// boundVerificationCheck is the fee of a success.
func (t tariff) boundVerificationCheck(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	b := bill{tariff: t}
	b.use(1, "verify.success")
	return b.bound("?", unknownCountry)
}

// boundVerificationUpdate lets a verification be called off for nothing; to approve it is a success.
func (t tariff) boundVerificationUpdate(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
	if status, _ := c.Get("Status"); status == "canceled" {
		return vendors.Bound{Kind: vendors.Exact}, nil
	}
	return t.boundVerificationCheck(c, seen)
}

// settleVerified books the fee of a success where there was one.
func (t tariff) settleVerified(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	var v struct{ Sid, Status string }
	if err := json.Unmarshal(r.Body, &v); err != nil || v.Sid == "" {
		return vendors.Settlement{}, errors.New("kbtwilio: the reply names no verification")
	}
	s := vendors.Settlement{Actual: b.Lines, Objects: []string{v.Sid}}
	switch v.Status {
	case "pending", "canceled", "max_attempts_reached", "deleted", "failed", "expired":
		s.Actual = nothing(b.Lines)
	case "approved":
	default:
		return vendors.Settlement{}, errors.New("kbtwilio: the reply's status is not known")
	}
	return s, nil
}

// nothing is lines with no amount.
func nothing(lines []cost.Line) []cost.Line {
	zero := make([]cost.Line, 0, len(lines))
	for _, l := range lines {
		l.Amount = 0
		zero = append(zero, l)
	}
	return zero
}
