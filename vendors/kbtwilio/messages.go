package kbtwilio

import (
	"strings"

	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
	"github.com/keybrake/keybrake-go/vendors"
)

// messageParams are the parameters of twilio-go v1.31.0's CreateMessageParams, all of them.
var messageParams = vendors.Schema{
	Plain: []string{
		"To", "From", "Body",
		"Attempt", "ProvideFeedback", "ValidityPeriod", // counted, answered later, how long it may wait
		"SmartEncoded",             // only ever makes fewer segments
		"SendAsMms", "ShortenUrls", // boundMessage refuses to price them unless they are false
	},
	Redirects: []string{
		"MessagingServiceSid", "FallbackFrom", // somebody else's choice of the sender, and perhaps of the channel
		"StatusCallback", "ApplicationSid", // tells a URL of every step
		"ScheduleType", "SendAt", // takes effect later, perhaps after the key has ended
		"ContentSid", "ContentVariables", "PersistentAction", "MediaUrl[*]", // content that is not in the request
		"ContentRetention", "AddressRetention", // hides from a later look what was sent, and to whom
		"RiskCheck",                    // "disable" switches off the guard against pumping
		"ForceDelivery", "TrafficType", // reserved: what they do is not documented
		"MaxPrice", // no effect since 2024-06-03: who sends it relies on a cap that is not there
	},
}

// unpriced are the parameters with which the number of segments does not say what a message costs.
var unpriced = []struct{ name, why string }{
	{"ContentSid", "the text is a template at Twilio; send Body, or give the rule a ceiling"},
	{"ContentVariables", "the text is a template at Twilio; send Body, or give the rule a ceiling"},
	{"MediaUrl", "it is a picture message, for which the rate card has no price; give the rule a ceiling"},
	{"SendAsMms", "it is a picture message, for which the rate card has no price; give the rule a ceiling"},
	{"PersistentAction", "it is for other channels than SMS, for which the rate card has no price; give the rule a ceiling"},
	{"ShortenUrls", "Twilio changes the text before it counts it; give the rule a ceiling"},
}

// boundMessage prices one text: the most segments that its body can be, at the dearest price of its destination.
func (t tariff) boundMessage(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	to, country, err := destination(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	b := vendors.Bound{Recipients: []string{to}, Countries: []string{country}}
	if b.Why = whyUnpriced(c); b.Why != "" {
		return b, nil
	}
	body, _ := c.Get("Body")
	segments := int64(mostSegments(body, country))
	b.Lines = []cost.Line{{Meter: cost.Units, Amount: segments}}
	perSegment, why := t.perSegment(to, country)
	if b.Why = why; why != "" {
		return b, nil
	}
	fee, err := cost.Mul(segments, perSegment)
	if err != nil {
		return vendors.Bound{}, err
	}
	b.Kind = vendors.AtMost
	b.Lines = append([]cost.Line{{Meter: cost.Fee, Currency: t.card.Currency, Amount: fee}}, b.Lines...)
	return b, nil
}

// destination is the number that a text goes to and its country. Twilio takes other addresses in To; each is another
// channel at another price, or a list.
func destination(c *vendors.Call) (to, country string, err error) {
	to, _ = c.Get("To")
	if !e164.MatchString(to) {
		return "", "", invalid("To", "give one number in E.164 form, + and 7 to 15 digits; other channels and lists are not priced")
	}
	if from, _ := c.Get("From"); strings.Contains(from, ":") {
		return "", "", invalid("From", "give a number, a short code or a sender's name; other channels are not priced")
	}
	return to, countryOf(to), nil
}

// whyUnpriced is why the segments of c's body do not bound its cost, or empty.
func whyUnpriced(c *vendors.Call) string {
	for _, u := range unpriced {
		if value, _ := c.Get(u.name); c.Has(u.name) && value != "false" {
			return u.name + ": " + u.why
		}
	}
	if _, sent := c.Get("Body"); !sent {
		return "there is no Body; send one, or give the rule a ceiling"
	}
	return ""
}

// boundUpdate allows the two updates that Twilio documents, neither of which costs: to cancel what is not yet sent,
// and to blank the body.
func boundUpdate(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	for _, p := range c.Params {
		switch {
		case p.Name == "Status" && p.Value == "canceled":
		case p.Name == "Body" && p.Value == "":
		case p.Name == "Status":
			return vendors.Bound{}, invalid(p.Name, "a message can only be set to canceled")
		case p.Name == "Body":
			return vendors.Bound{}, invalid(p.Name, "a body can only be made empty")
		default:
			return vendors.Bound{}, &vendors.Refusal{Code: reason.ParamUnknown, Param: vendors.Collapse(p.Name), Detail: "an update takes Status and Body"}
		}
	}
	return vendors.Bound{Kind: vendors.Exact}, nil
}

func invalid(param, format string, args ...any) *vendors.Refusal {
	r := vendors.Refuse(reason.ParamInvalid, format, args...)
	r.Param = param
	return r
}
