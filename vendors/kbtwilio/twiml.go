package kbtwilio

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"
)

// harmless are the verbs of TwiML that call, text and ask nobody, with the attributes that they may have. Every other
// one leads to more TwiML or to another leg: Dial, Redirect, Gather, Record, Sms, Pay, Enqueue, Refer, Connect, Start.
var harmless = map[string][]string{
	"Hangup": {},
	"Pause":  {"length"},
	"Play":   {"digits", "loop"},
	"Reject": {"reason"},
	"Say":    {"voice", "language"}, // no loop: it would be said, and billed, again
}

// saidBy is how many characters twiml says, or why what it does has no bound. Only a document that this reader and any
// other read alike is taken: no document type, no instructions, nothing beside the one Response.
func saidBy(twiml string) (characters int64, why string) {
	const unbounded = "Twiml: it does more than to say, play, pause and hang up, and may call others; give the rule a ceiling"
	d := xml.NewDecoder(strings.NewReader(twiml))
	depth, verb, seen := 0, "", false
	for {
		token, err := d.RawToken()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, unbounded
		}
		switch e := token.(type) {
		case xml.StartElement:
			depth++
			if !fitsTwiML(e, depth, seen) {
				return 0, unbounded
			}
			seen, verb = true, e.Name.Local
		case xml.EndElement:
			if e.Name.Space != "" || depth == 2 && e.Name.Local != verb || depth == 1 && e.Name.Local != "Response" {
				return 0, unbounded
			}
			depth--
			verb = ""
		case xml.CharData:
			text := strings.TrimSpace(string(e))
			switch {
			case text == "":
			case depth == 2 && verb == "Say":
				characters += int64(len(text)) // bytes, of which there are no fewer than characters
			case depth == 2 && verb == "Play":
			default:
				return 0, unbounded
			}
		case xml.ProcInst:
			if e.Target != "xml" || seen {
				return 0, unbounded
			}
		case xml.Comment:
		default:
			return 0, unbounded
		}
	}
	if !seen || depth != 0 {
		return 0, unbounded
	}
	return characters, ""
}

func fitsTwiML(e xml.StartElement, depth int, seen bool) bool {
	if e.Name.Space != "" {
		return false
	}
	switch depth {
	case 1:
		return !seen && e.Name.Local == "Response" && len(e.Attr) == 0
	case 2:
		attributes, ok := harmless[e.Name.Local]
		return ok && !slices.ContainsFunc(e.Attr, func(a xml.Attr) bool {
			return a.Name.Space != "" || !slices.Contains(attributes, a.Name.Local)
		})
	}
	return false
}
