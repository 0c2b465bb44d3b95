package kbresend

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/keybrake/keybrake-go/vendors"
)

// catalogueText is every operation that Resend publishes; its head says what the columns are.
//
//go:embed catalogue.tsv
var catalogueText string

// The columns of a line of the catalogue.
const (
	colName = iota
	colMethod
	colPath
	colClass
	colBody
	colSource
	colParams
	colWhy
	columns
)

const (
	none   = "-"    // an empty column
	coded  = "code" // parameters and prices of the row are in Go
	denied = "deny" // the class of what is never allowed
)

// operations are the rows of the catalogue; those that are coded take what they do from t.
func operations(t tariff) ([]vendors.Operation, error) {
	rows := t.rows()
	var all []vendors.Operation
	for line := range strings.Lines(catalogueText) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		op, err := operation(strings.Split(strings.TrimSuffix(line, "\n"), "\t"), rows)
		if err != nil {
			return nil, fmt.Errorf("kbresend: catalogue: %q: %w", line, err)
		}
		all = append(all, op)
	}
	if len(rows) > 0 {
		return nil, fmt.Errorf("kbresend: the catalogue has %d rows fewer than there is code for", len(rows))
	}
	return all, nil
}

// operation reads one line. It takes the line's code out of rows.
func operation(line []string, rows map[string]vendors.Operation) (op vendors.Operation, err error) {
	if len(line) != columns {
		return op, fmt.Errorf("%d columns, want %d", len(line), columns)
	}
	code, isCoded := rows[line[colName]]
	if isCoded != (line[colParams] == coded) {
		return op, fmt.Errorf("column %q, and code in Go: %t", line[colParams], isCoded)
	}
	delete(rows, line[colName])
	op = code
	op.Name, op.Method, op.Host, op.Path = "resend."+line[colName], line[colMethod], Host, line[colPath]
	op.Class = vendors.Class(line[colClass])
	if op.Class == denied {
		op.Class, op.HardDeny = vendors.Control, line[colWhy]
	}
	switch line[colBody] {
	case "json":
		op.Body = vendors.JSON
	case none:
	default:
		return op, fmt.Errorf("%q is no body", line[colBody])
	}
	if op.Class != vendors.Read {
		op.Outcome = outcome
	}
	if op.Class.Paid() && !isCoded {
		op.Params, op.Bound = schema(line[colParams]), unknown(line[colWhy])
		if slices.Contains(op.Params.Plain, broadcastID) {
			op.Bound = ofThePath(op.Bound)
		}
		if line[colName] == "broadcasts.send" {
			op.Reconcile = reconcileBroadcast
		}
	}
	return op, nil
}

// schema reads names that are separated by spaces; one after ! redirects.
func schema(names string) (s vendors.Schema) {
	for _, name := range strings.Fields(names) {
		if redirects, ok := strings.CutPrefix(name, "!"); ok {
			s.Redirects = append(s.Redirects, redirects)
		} else if name != none {
			s.Plain = append(s.Plain, name)
		}
	}
	return s
}

// broadcastID is what resend-go repeats the path's id as, in the body.
const broadcastID = "broadcast_id"

// ofThePath refuses a body that names another broadcast than the path does.
func ofThePath(bound func(*vendors.Call, *vendors.Reply) (vendors.Bound, error)) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(c *vendors.Call, seen *vendors.Reply) (vendors.Bound, error) {
		if id, sent := vendors.Member(c.JSON, broadcastID); sent && id != c.IDs["id"] {
			return vendors.Bound{}, invalid(broadcastID, "it is another broadcast than the path names")
		}
		return bound(c, seen)
	}
}

// unknown is the bound of what nobody can price before it is sent: such a call needs a ceiling in its rule.
func unknown(why string) func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
	return func(*vendors.Call, *vendors.Reply) (vendors.Bound, error) {
		return vendors.Bound{Kind: vendors.Unknown, Why: why}, nil
	}
}
