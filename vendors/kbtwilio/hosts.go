package kbtwilio

import "regexp"

// regional is a product's host in a region, or through an edge into one: api.ie1.twilio.com,
// api.dublin.ie1.twilio.com. twilio-go makes them from TWILIO_REGION and TWILIO_EDGE (v1.31.0). Names of edges and
// regions are Twilio's to add; all of them are below its domain.
var regional = regexp.MustCompile(`^([a-z-]+)(\.[a-z]+(-[a-z]+)*)?\.[a-z]{2}[1-9]\.twilio\.com$`)

// hostOf is the product's host that a regional one is the same as, or empty.
func hostOf(host string) string {
	m := regional.FindStringSubmatch(host)
	if m == nil {
		return ""
	}
	return m[1] + ".twilio.com"
}
