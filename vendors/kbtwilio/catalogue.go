package kbtwilio

import (
	_ "embed"
	"slices"
	"strings"
	"sync"

	"github.com/keybrake/keybrake-go/vendors"
)

// catalogue is every operation of Twilio's that its Go library has. internal/twiliocatalogue makes it; the columns
// are told at its head.
//
//go:embed catalogue.tsv
var catalogue string

// listed are the operations of the catalogue. A paid one has no rule for its cost yet: it goes through under a
// policy's ceiling alone. A line that is not of the catalogue's form is an operation that the table refuses.
var listed = sync.OnceValue(func() []vendors.Operation {
	var ops []vendors.Operation
	for line := range strings.Lines(catalogue) {
		if !strings.HasPrefix(line, "#") {
			ops = append(ops, parseRow(strings.Split(strings.TrimSuffix(line, "\n"), "\t")))
		}
	}
	return ops
})

func parseRow(f []string) vendors.Operation {
	if len(f) != 8 {
		return vendors.Operation{Name: "not a row of the catalogue"}
	}
	op := vendors.Operation{
		Class: vendors.Class(f[0]), Name: f[1], Method: f[2], Host: f[3], Path: f[4],
		Body: map[string]vendors.Encoding{"form": vendors.Form, "json": vendors.JSON}[f[5]],
	}
	if op.Class != vendors.Read {
		op.Outcome = outcome
	}
	if f[7] != "-" {
		// A reason that nobody wrote down still denies.
		op.HardDeny = "it is denied for a reason that is missing here: " + f[7]
		if why, ok := reasons[f[7]]; ok {
			op.HardDeny = why
		}
	}
	for name := range strings.FieldsSeq(f[6]) {
		name, redirects := strings.CutPrefix(name, "!")
		switch {
		case name == "-":
			continue
		case redirects:
			op.Params.Redirects = append(op.Params.Redirects, name)
		case op.Class.Paid():
			op.Params.Plain = append(op.Params.Plain, name)
		}
		// In a form and a query [*] is an array, which Twilio takes by repetition; in a document it is whatever is below.
		if list, isList := strings.CutSuffix(name, "[*]"); isList && op.Body != vendors.JSON {
			op.Params.Lists = append(op.Params.Lists, list)
		}
	}
	if op.Class.Paid() {
		op.Bound = noPrice
	}
	return op
}

// noPrice is the bound of what costs and whose price is neither in the call nor on the rate card.
func noPrice(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return vendors.Bound{
		Why:        "what it costs does not follow from the call; give its rule a ceiling",
		Recipients: []string{"?"}, Countries: []string{unknownCountry},
	}, nil
}

// join is the operations of coded and those of the catalogue that none of them is.
func join(coded []vendors.Operation) []vendors.Operation {
	have := map[string]bool{}
	for _, op := range coded {
		have[shape(op)] = true
	}
	return append(slices.Clone(coded), slices.DeleteFunc(slices.Clone(listed()), func(op vendors.Operation) bool {
		return have[shape(op)]
	})...)
}

// shape is what two rows have in common that are one call: names and prefixes of ids apart.
func shape(op vendors.Operation) string {
	parts := strings.Split(op.Path, "/")
	for i, p := range parts {
		if head, rest, ok := strings.Cut(p, "{"); ok {
			_, tail, _ := strings.Cut(rest, "}")
			parts[i] = head + "{}" + tail
		}
	}
	return op.Method + " " + op.Host + strings.Join(parts, "/")
}
