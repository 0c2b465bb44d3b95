package queries_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/internal/auditgen"
)

// An oracle answers the questions from the records alone, one after the other, as a person with much time would. It knows no
// table. What a call did cost is what the latest of its records says, as in the drift report of the brake.
type oracle struct {
	world   *auditgen.World
	records []audit.Record
	spends  []*spend // and each call that was let through once more, as a spend of one call
	byID    map[[2]string]*spend
}

// A spend is what the records say of one reservation.
type spend struct {
	tenant, id, run, agent        string
	vendor, credential, operation string
	began                         time.Time
	booked, held                  []cost.Line
	outcome, reason, detail       string
}

func newOracle(w *auditgen.World) *oracle {
	o := &oracle{world: w, records: slices.Collect(w.Records()), byID: map[[2]string]*spend{}}
	for _, r := range o.records {
		o.note(r)
	}
	return o
}

func (o *oracle) note(r audit.Record) {
	id := cmp.Or(r.Reservation, r.CallID)
	said := r.Kind != audit.Denied && (r.Kind == audit.Intent || r.Outcome != "")
	if id == "" || r.Probe || !said {
		return
	}
	if r.Kind == audit.Intent {
		o.spends = append(o.spends, o.begin(r, []cost.Line{{Meter: cost.Calls, Amount: 1}}, nil))
	}
	key := [2]string{r.Tenant, id}
	s := o.byID[key]
	if s == nil {
		s = o.begin(r, nil, money(r.Reserved))
		o.byID[key] = s
		o.spends = append(o.spends, s)
	}
	switch r.Outcome {
	case audit.OutcomeExecuted, audit.OutcomePending, audit.OutcomeAdjusted:
		s.outcome, s.booked, s.held, s.reason, s.detail = r.Outcome, money(r.Actual), money(r.Held), "", ""
	case "not_executed":
		if !r.Attached {
			s.outcome, s.booked, s.held, s.reason, s.detail = r.Outcome, nil, nil, "", ""
		}
	case "in_doubt":
		s.outcome, s.reason, s.detail = r.Outcome, string(r.Reason), r.Detail
	}
}

func (o *oracle) begin(r audit.Record, booked, held []cost.Line) *spend {
	return &spend{
		tenant: r.Tenant, id: cmp.Or(r.Reservation, r.CallID), run: r.Run, agent: r.Agent, vendor: r.Vendor, credential: r.Credential,
		operation: r.Operation, began: r.Time, booked: booked, held: held,
	}
}

// money are the lines but the count of calls, which is not what a call costs.
func money(lines []cost.Line) []cost.Line {
	return slices.DeleteFunc(slices.Clone(lines), func(l cost.Line) bool { return l.Meter == cost.Calls })
}

// A sum is what spends have cost and hold together, of one meter and currency.
type sum struct{ cost, held int64 }

// sums adds up spends by names that are made of each of them. Names have their columns separated by |, and get the meter and
// the currency as two more.
func (o *oracle) sums(name func(*spend) string, which func(*spend) bool) map[string]sum {
	out := map[string]sum{}
	for _, s := range o.spends {
		if !which(s) {
			continue
		}
		for i, lines := range [][]cost.Line{s.booked, s.held} {
			for _, l := range lines {
				key := name(s) + "|" + string(l.Meter) + "|" + string(l.Currency)
				was := out[key]
				*[]*int64{&was.cost, &was.held}[i] += l.Amount
				out[key] = was
			}
		}
	}
	return out
}

// rows are sums as rows, in the order of their names.
func rowsOf(sums map[string]sum) (list []row) {
	for name, s := range sums {
		list = append(list, append(strings.Split(name, "|"), fmt.Sprint(s.cost), fmt.Sprint(s.held)))
	}
	slices.SortFunc(list, func(x, y row) int { return slices.Compare(x, y) })
	return list
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// between reports whether a spend began on one of the days.
func (s *spend) between(from, until time.Time) bool {
	return !s.began.Before(from) && s.began.Before(until)
}

// A row is the columns of an answer as text.
type row []string

// columns makes a row.
func columns(values ...any) row {
	var r row
	for _, v := range values {
		if t, ok := v.(time.Time); ok {
			v = t.UnixMicro()
		}
		r = append(r, fmt.Sprint(v))
	}
	return r
}

// by sorts rows by some of their columns: those that are negative count from 1 and fall, as numbers; the others count from 0
// and rise, as text.
func by(rows []row, columns ...int) []row {
	slices.SortStableFunc(rows, func(x, y row) int {
		for _, c := range columns {
			order := 0
			if c < 0 {
				order = cmp.Compare(number(y[-c-1]), number(x[-c-1]))
			} else {
				order = strings.Compare(x[c], y[c])
			}
			if order != 0 {
				return order
			}
		}
		return 0
	})
	return rows
}

func number(s string) (n int64) {
	if _, err := fmt.Sscan(s, &n); err != nil {
		panic(err)
	}
	return n
}
