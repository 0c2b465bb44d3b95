package sqlaudit_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

// theDay is one of which made-up records tell.
var theDay = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// A story makes up records as a brake writes them, and as it never would.
type story struct {
	*rand.Rand
	n    int
	wild bool // a call has records of several credentials
}

func newStory(seed uint64) *story { return &story{Rand: rand.New(rand.NewPCG(seed, 6))} }

func wildStory(seed uint64) *story {
	s := newStory(seed)
	s.wild = true
	return s
}

// records are those of a few calls over two days, in the order of their making.
func (s *story) records(calls int) (list []audit.Record) {
	for range calls {
		list = append(list, s.call(fmt.Sprintf("c%d", s.IntN(calls)))...)
	}
	return list
}

func (s *story) call(id string) (list []audit.Record) {
	tenant := pick(s.Rand, "acme", "acme", "umbrella")
	at := theDay.Add(time.Duration(s.Int64N(int64(47 * time.Hour))))
	of := audit.Record{
		Version: 1, CallID: id, Tenant: tenant, Agent: pick(s.Rand, "bot", "clerk"), Run: pick(s.Rand, "run_1", "run_2", "run_3"), Key: pick(s.Rand, "k1", "k1.a"),
		Labels: []string{pick(s.Rand, "nightly", "eu")}, Vendor: "acme", Credential: "acme",
		Operation: pick(s.Rand, "acme.orders.create", "acme.mails.send"), Class: "charge", Verdict: pick(s.Rand, audit.Allow, audit.Allow, audit.Observe),
		Budgets: s.budgets(at),
	}
	if strings.HasSuffix(id, "3") || s.wild && s.IntN(4) == 0 {
		of.Credential = "other"
	}
	add := func(after time.Duration, kind audit.Kind, change func(*audit.Record)) {
		r := of
		s.n++
		r.ID, r.Kind, r.Time = fmt.Sprintf("e%d", s.n), kind, at.Add(after)
		r.Budgets = s.budgets(r.Time)
		change(&r)
		list = append(list, r)
	}
	reserved := []cost.Line{s.line(), {Meter: cost.Calls, Amount: 1}}
	intent := func(r *audit.Record) { r.Reserved = reserved }
	if s.IntN(6) == 0 { // a look that it needed
		add(-time.Second, audit.Intent, func(r *audit.Record) { r.Probe = true })
		add(-time.Second/2, audit.Outcome, func(r *audit.Record) { r.Probe, r.Outcome, r.Actual = true, "executed", []cost.Line{s.line()} })
	}
	if s.IntN(6) == 0 {
		add(0, audit.Denied, func(r *audit.Record) {
			r.Verdict, r.Reason, r.Reasons = audit.Deny, reason.ParamDenied, []audit.Why{{Code: reason.ParamDenied, Rule: s.IntN(2), Param: "amount"}}
		})
		add(10*time.Second, audit.Denied, func(r *audit.Record) {
			r.Verdict, r.Reason, r.Count, r.First, r.Last = audit.Deny, reason.ParamDenied, s.Int64N(900)+1, r.Time.Add(-9*time.Second), r.Time
		})
		return list
	}
	if s.IntN(4) > 0 {
		add(0, audit.Intent, intent)
	}
	switch s.IntN(6) {
	case 0:
	case 1:
		add(time.Second, audit.Denied, func(r *audit.Record) { r.Verdict, r.Reason = audit.Deny, reason.Unsent })
	default:
		add(s.pause(), audit.Outcome, func(r *audit.Record) {
			intent(r)
			s.outcome(r)
			r.Status, r.Duration, r.VendorDuration = 200+s.IntN(4)*100, s.pause(), s.pause()
		})
	}
	for range s.IntN(3) { // retries
		retry := of
		s.n++
		retry.CallID, retry.Reservation, retry.Attached = fmt.Sprintf("r%d", s.n), id, true
		was := of
		of = retry
		after := s.pause() * 2
		add(after, audit.Intent, func(r *audit.Record) { r.Reserved = []cost.Line{{Meter: cost.Calls, Amount: 1}} })
		add(after+time.Second, audit.Outcome, func(r *audit.Record) {
			r.Reserved = []cost.Line{{Meter: cost.Calls, Amount: 1}}
			s.outcome(r)
		})
		of = was
	}
	for range s.IntN(3) { // what was found out later
		add(s.pause()*20, pick(s.Rand, audit.Reconciled, audit.Control), func(r *audit.Record) {
			r.Labels, r.Credential, r.Budgets, r.Verdict = nil, "", nil, ""
			if r.Kind == audit.Control {
				r.Reservation, r.CallID, r.Agent, r.Run, r.Vendor = id, pick(s.Rand, id, id, ""), "", "", ""
			}
			s.outcome(r)
		})
	}
	return list
}

// pause is often the same, so that records are of one time.
func (s *story) pause() time.Duration { return time.Duration(s.IntN(6)) * 7 * time.Minute }

func (s *story) line() cost.Line {
	return cost.Line{Meter: pick(s.Rand, cost.Charge, cost.Fee), Currency: pick(s.Rand, cost.Currency("USD"), "EUR"), Amount: s.Int64N(50)}
}

func (s *story) outcome(r *audit.Record) {
	r.Outcome = pick(s.Rand, "executed", "executed", "adjusted", "not_executed", "pending", "in_doubt", "")
	r.Reason, r.Actual, r.Held = "", nil, nil
	if r.Kind == audit.Outcome && r.Outcome == "" {
		r.Outcome = "executed"
	}
	if r.Kind == audit.Control && r.Outcome == "executed" && s.IntN(2) == 0 {
		r.Outcome = "adjusted"
	}
	switch {
	case r.Outcome == "executed" || r.Outcome == "adjusted" || r.Outcome == "pending":
		r.Actual = []cost.Line{s.line()}
		if s.IntN(3) == 0 {
			r.Held = []cost.Line{s.line()}
		}
	case r.Outcome == "in_doubt":
		r.Reason, r.Detail = reason.InDoubt, "no reply"
		if s.IntN(2) == 0 {
			r.Held = []cost.Line{s.line(), s.line()}
		}
	}
}

func (s *story) budgets(at time.Time) []audit.Budget {
	return []audit.Budget{
		{Name: "lifetime", Meter: cost.Spend, Currency: "USD", Limit: 1000, Spent: s.Int64N(1000), Held: s.Int64N(300)},
		{Name: "team", Shared: true, Meter: cost.Calls, Limit: pick[int64](s.Rand, 0, 100), Spent: s.Int64N(100), Reset: at.Truncate(24*time.Hour).AddDate(0, 0, 1)},
		{Name: "own", Of: "k1.a", Meter: cost.Calls, Limit: 10, Spent: s.Int64N(10)},
	}
}

// shuffled are the records in some order, some of them more than once.
func (s *story) shuffled(list []audit.Record) []audit.Record {
	all := append([]audit.Record(nil), list...)
	for range len(list) / 4 {
		all = append(all, pick(s.Rand, list...))
	}
	s.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// batches are the records in pieces.
func (s *story) batches(list []audit.Record) (batches [][]audit.Record) {
	for len(list) > 0 {
		n := min(len(list), 1+s.IntN(12))
		batches = append(batches, list[:n])
		list = list[n:]
	}
	return batches
}

var derived = []string{"calls", "amounts", "spend", "denials", "budgets", "runs", "labels"}

// dump is all that is derived, as text. Rows of sums that count nothing say nothing.
func (w *world) dump(t testing.TB) string {
	t.Helper()
	var text strings.Builder
	for _, table := range derived {
		where := ""
		if table == "spend" {
			where = " WHERE calls <> 0 OR actual <> 0 OR held <> 0"
		}
		if table == "amounts" {
			where = " WHERE reserved <> 0 OR actual <> 0 OR held <> 0"
		}
		fmt.Fprintln(&text, table)
		rows := w.rows(t, "SELECT * FROM keybrake_"+table+where)
		text.WriteString(rows)
	}
	return text.String()
}

// rows is the answer to a query, one row a line, in the order of their text.
func (w *world) rows(t testing.TB, query string, args ...any) string {
	t.Helper()
	rows, err := w.db.QueryContext(t.Context(), query, args...)
	must(t, err)
	defer func() { _ = rows.Close() }()
	cols, err := rows.Columns()
	must(t, err)
	var lines []string
	for rows.Next() {
		row, to := make([]string, len(cols)), make([]any, len(cols))
		for i := range row {
			to[i] = &row[i]
		}
		must(t, rows.Scan(to...))
		lines = append(lines, fmt.Sprintf("%q\n", row))
	}
	must(t, rows.Err())
	return sortedText(lines)
}
