package kbtwilio

import "github.com/keybrake/keybrake-go/vendors"

// What a room is where the request does not say (Twilio's documentation, read November 2026). Participants can be 50
// at most, and each can stay for a day.
const (
	mostParticipants = 50
	longestStay      = 24 * 60 * 60
	usualStay        = 4 * 60 * 60
)

// boundRoom prices a room as if everybody who fits came and stayed. Recordings and transcripts have no price here.
func (t tariff) boundRoom(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	people, err := count(c, "MaxParticipants", mostParticipants, mostParticipants)
	if err != nil {
		return vendors.Bound{}, err
	}
	seconds, err := count(c, "MaxParticipantDuration", longestStay, usualStay)
	if err != nil {
		return vendors.Bound{}, err
	}
	b := bill{tariff: t}
	b.use(people*((seconds+59)/60), "video")
	for _, name := range []string{"RecordParticipantsOnConnect", "RecordingRules", "TranscribeParticipantsOnConnect", "TranscriptionsConfiguration", "LargeRoom"} {
		if value, _ := c.Get(name); value != "" && value != "false" {
			b.add(0, 0, name+": the rate card has no price for it; leave it out, or give the rule a ceiling")
		}
	}
	return b.bound("?", unknownCountry)
}
