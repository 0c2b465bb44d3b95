package kbtwilio

import (
	"slices"
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
	Lists: []string{"MediaUrl", "PersistentAction"},
}

// unpriced are the parameters with which the request does not say what a message costs.
var unpriced = []struct{ name, why string }{
	{"ContentSid", "the text is a template at Twilio; send Body, or give the rule a ceiling"},
	{"ContentVariables", "the text is a template at Twilio; send Body, or give the rule a ceiling"},
	{"PersistentAction", "it is for other channels than SMS, for which the rate card has no price; give the rule a ceiling"},
	{"ShortenUrls", "Twilio changes the text before it counts it; give the rule a ceiling"},
	{"MessagingServiceSid", "the service chooses the sender and the channel, RCS among them; send From alone, or give the rule a ceiling"},
}

// boundMessage prices one message by its channel.
func (t tariff) boundMessage(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	channel, to, country, err := destination(c)
	if err != nil {
		return vendors.Bound{}, err
	}
	b, units := bill{tariff: t}, int64(0)
	if why := whyUnpriced(c); why != "" {
		b.add(0, 0, why)
	} else {
		units = b.message(c, channel, to, country)
	}
	bound, err := b.bound(to, country)
	if units > 0 && err == nil {
		bound.Lines = append(bound.Lines, cost.Line{Meter: cost.Units, Amount: units})
	}
	return bound, err
}

// message puts a message on the bill and returns how many units it is, 0 where they are not known. A text is the most
// segments that its body can be, at the dearest price of its destination.
func (b *bill) message(c *vendors.Call, channel, to, country string) (units int64) {
	body, sent := c.Get("Body")
	media := pictures(c)
	if channel != "" && channel != "messenger" && country == unknownCountry {
		b.add(0, 0, "the number is of no known country; give the rule a ceiling")
		return 1
	}
	switch {
	case channel == "messenger":
		b.use(1, channel)
		return 1
	case channel == "whatsapp":
		b.use(1, "whatsapp."+country)
		return 1
	case media != "":
		price, why := b.tariff.fee("mms." + country)
		if why != "" || channel != "" {
			b.add(0, 0, media+": it is a picture message, for which the rate card has no price; give the rule a ceiling")
			return 0
		}
		b.add(1, price, "")
		return 1
	case !sent:
		b.add(0, 0, "there is no Body; send one, or give the rule a ceiling")
		return 0
	case channel == "rcs": // 160 bytes a unit: Twilio's calculator, release 1.3.0, read November 2026
		units = max(1, (int64(len(body))+159)/160)
		b.use(units, "rcs."+country)
		return units
	}
	units = int64(mostSegments(body, country))
	price, why := b.tariff.perSegment(to, country)
	b.add(units, price, why)
	return units
}

// whyUnpriced is the parameter for which c's cost has no bound, and why, or empty.
func whyUnpriced(c *vendors.Call) string {
	for _, u := range unpriced {
		if slices.ContainsFunc(c.Params, func(p vendors.Param) bool { return p.Name == u.name && p.Value != "false" }) {
			return u.name + ": " + u.why
		}
	}
	return ""
}

// pictures is the parameter that makes c a picture message, or empty.
func pictures(c *vendors.Call) string {
	if c.Has("MediaUrl") {
		return "MediaUrl"
	}
	if value, ok := c.Get("SendAsMms"); ok && value != "false" {
		return "SendAsMms"
	}
	return ""
}

// destination is the channel that a message goes by, empty for a text, the address or "?", and its country. A list
// is refused, and so is a sender of another channel.
func destination(c *vendors.Call) (channel, to, country string, err error) {
	to, _ = c.Get("To")
	from, _ := c.Get("From")
	channel, address, found := strings.Cut(to, ":")
	if !found {
		channel, address = "", to
	}
	switch channel {
	case "messenger":
		if strings.ContainsAny(address, ", +:") || address == "" {
			return "", "", "", invalid("To", "give one address")
		}
		to, country = "?", unknownCountry
	case "", "whatsapp", "rcs":
		if !e164.MatchString(address) {
			return "", "", "", invalid("To", "give one number in E.164 form, + and 7 to 15 digits, or one with whatsapp: or rcs: before it; other channels and lists are not priced")
		}
		country = countryOf(address)
	default:
		return "", "", "", invalid("To", "give one number in E.164 form, + and 7 to 15 digits, or one with whatsapp: or rcs: before it; other channels and lists are not priced")
	}
	sender, _, named := strings.Cut(from, ":")
	if named && sender != channel || !named && channel != "" && from != "" {
		return "", "", "", invalid("From", "give a sender of the channel that To names")
	}
	return channel, to, country, nil
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
