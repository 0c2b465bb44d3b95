package kbtwilio

import (
	"encoding/json"
	"errors"

	"github.com/keybrake/keybrake-go/vendors"
)

// actionParams are the parameters of twilio-go v1.31.0's CreateConversationActionRequest, all of them.
var actionParams = vendors.Schema{
	Plain: []string{
		"type", "payload[from][address]", "payload[from][channel]", "payload[to][address]", "payload[to][channel]",
		"payload[content][text]",
	},
	Redirects: []string{
		"payload[from][participantId]", "payload[to][participantId]", // addresses that are at Twilio
		"payload[content][contentId]", "payload[content][variables][*]", "payload[content][mediaUrls]", // content likewise
		"payload[channelSettings][*]", // "forwarded as-is to the downstream sending service"
	},
}

// boundAction knows whom an action reaches and not what it costs: the channel's price, and for SMS the segments of
// each recipient, are not published for this API (beta; twilio-go v1.31.0), so that its rule needs a ceiling.
func boundAction(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	if kind, _ := vendors.Member(c.JSON, "type"); kind != "SEND_MESSAGE" {
		return vendors.Bound{}, invalid("type", "the one action that is known is SEND_MESSAGE")
	}
	payload, _ := vendors.Member(c.JSON, "payload")
	list, _ := vendors.Member(payload, "to")
	recipients, ok := list.([]any)
	if !ok || len(recipients) == 0 {
		return vendors.Bound{}, invalid("payload[to]", "give an array of one recipient or more")
	}
	b := vendors.Bound{Why: "what an action of a conversation costs is not published; give its rule a ceiling"}
	for _, r := range recipients {
		to, country := recipient(r)
		b.Recipients, b.Countries = append(b.Recipients, to), append(b.Countries, country)
	}
	return b, nil
}

// recipient names a recipient that is a phone number given with its channel, SMS; any other is unknown.
func recipient(r any) (to, country string) {
	channel, _ := vendors.Member(r, "channel")
	address, _ := vendors.Member(r, "address")
	if id, byID := vendors.Member(r, "participantId"); byID && id != "" {
		return "?", unknownCountry
	}
	to, _ = address.(string)
	if channel != "SMS" || !e164.MatchString(to) {
		return "?", unknownCountry
	}
	return to, countryOf(to)
}

// settleAction books the ceiling: the reply names the action and no price.
func settleAction(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	var action struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(r.Body, &action); err != nil || action.ID == "" {
		return vendors.Settlement{}, errors.New("kbtwilio: the reply names no action")
	}
	return vendors.Settlement{Actual: b.Lines, Objects: []string{action.ID}}, nil
}
