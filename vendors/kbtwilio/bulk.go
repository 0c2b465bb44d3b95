package kbtwilio

import (
	"github.com/keybrake/keybrake-go/vendors"
)

// boundBulk knows whom one call sends to and not what it costs: an entry may be a group of a million, and texts are
// templates that are filled in for each (Twilio's documentation of Bulk Messaging, read November 2026).
func boundBulk(c *vendors.Call, _ *vendors.Reply) (vendors.Bound, error) {
	to, _ := vendors.Member(c.JSON, "to")
	list, ok := to.([]any)
	if !ok || len(list) == 0 {
		return vendors.Bound{}, invalid("to", "give an array of one recipient or more")
	}
	b := vendors.Bound{Why: "what a message to many costs is not known before it is sent; give its rule a ceiling"}
	for _, r := range list {
		address, _ := vendors.Member(r, "address")
		number, _ := address.(string)
		if !e164.MatchString(number) {
			b.Recipients, b.Countries = append(b.Recipients, "?"), append(b.Countries, unknownCountry)
			continue
		}
		b.Recipients, b.Countries = append(b.Recipients, number), append(b.Countries, countryOf(number))
	}
	return b, nil
}

// settleBulk books the ceiling: the reply is empty but for the operation's id.
func settleBulk(_ *vendors.Call, b vendors.Bound, r *vendors.Reply) (vendors.Settlement, error) {
	s := vendors.Settlement{Actual: b.Lines}
	if id := r.Header.Get("operationId"); id != "" && len(id) <= 64 {
		s.Objects = []string{id}
	}
	return s, nil
}
