package sqlaudit_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/cost"
	"github.com/keybrake/keybrake-go/reason"
)

func usd(amount int64) []cost.Line {
	return []cost.Line{{Meter: cost.Charge, Currency: "USD", Amount: amount}}
}

// What the records of a call come to. The call has reserved 20.
func TestTheStateOfACall(t *testing.T) {
	w := newWorld(t, sqlaudit.SQLite)
	n := 0
	said := func(kind audit.Kind, outcome string, actual, held []cost.Line) audit.Record {
		r := executed("", "c1", 20)
		n++
		r.ID, r.Time, r.Kind, r.Outcome, r.Actual, r.Held = fmt.Sprint("e", n), theDay.Add(time.Duration(n)*time.Minute), kind, outcome, actual, held
		if kind == audit.Reconciled || kind == audit.Control {
			r.Credential, r.Reserved = "", nil
		}
		return r
	}
	but := func(r audit.Record, change func(*audit.Record)) audit.Record { change(&r); return r }
	intent := func() audit.Record { return said(audit.Intent, "", nil, nil) }
	done := func(actual int64) audit.Record { return said(audit.Outcome, "executed", usd(actual), nil) }
	doubt := func(held []cost.Line) audit.Record { return said(audit.Outcome, "in_doubt", nil, held) }
	denial := func(count int64) audit.Record {
		return but(said(audit.Denied, "", nil, nil), func(r *audit.Record) {
			r.Verdict, r.Reason, r.Count, r.Reserved = audit.Deny, reason.Unsent, count, nil
		})
	}
	retry := func(outcome string, actual int64) audit.Record {
		return but(said(audit.Outcome, outcome, usd(actual), nil), func(r *audit.Record) {
			r.CallID, r.Reservation, r.Attached, r.Reserved = "c2", "c1", true, []cost.Line{{Meter: cost.Calls, Amount: 1}}
		})
	}
	for name, tt := range map[string]struct {
		records []audit.Record
		state   string
		actual  int64
		held    int64
		calls   int64 // let through, of c1 and c2
		doubt   int   // which record's time it is in doubt since, from 1
	}{
		"on its way":                       {[]audit.Record{intent()}, "open", 0, 20, 1, 0},
		"executed":                         {[]audit.Record{intent(), done(15)}, "executed", 15, 0, 1, 0},
		"executed, without its intent":     {[]audit.Record{done(15)}, "executed", 15, 0, 1, 0},
		"in doubt":                         {[]audit.Record{intent(), doubt(nil)}, "in_doubt", 0, 20, 1, 2},
		"in doubt, without its intent":     {[]audit.Record{doubt(nil)}, "in_doubt", 0, 20, 1, 1},
		"in doubt about a part":            {[]audit.Record{intent(), doubt(usd(7))}, "in_doubt", 0, 7, 1, 2},
		"in doubt and left to a person":    {[]audit.Record{intent(), doubt(nil), said(audit.Reconciled, "in_doubt", nil, usd(20))}, "in_doubt", 0, 20, 1, 2},
		"pending":                          {[]audit.Record{intent(), said(audit.Outcome, "pending", usd(9), usd(11))}, "pending", 9, 11, 1, 0},
		"pending, and nobody knows":        {[]audit.Record{intent(), said(audit.Outcome, "pending", usd(9), usd(11)), said(audit.Reconciled, "in_doubt", nil, nil)}, "in_doubt", 9, 11, 1, 3},
		"not executed":                     {[]audit.Record{intent(), said(audit.Outcome, "not_executed", nil, nil)}, "not_executed", 0, 0, 1, 0},
		"not executed, and in doubt":       {[]audit.Record{intent(), said(audit.Outcome, "not_executed", nil, nil), said(audit.Reconciled, "in_doubt", nil, nil)}, "in_doubt", 0, 20, 1, 3},
		"resolved by a person":             {[]audit.Record{intent(), doubt(nil), but(said(audit.Control, "executed", usd(4), nil), func(r *audit.Record) { r.Reservation, r.Run, r.Vendor = "c1", "", "" })}, "executed", 4, 0, 1, 0},
		"in doubt again":                   {[]audit.Record{intent(), doubt(nil), said(audit.Reconciled, "not_executed", nil, nil), said(audit.Reconciled, "in_doubt", nil, usd(20))}, "in_doubt", 0, 20, 1, 4},
		"adjusted":                         {[]audit.Record{intent(), done(20), but(said(audit.Control, "adjusted", usd(6), nil), func(r *audit.Record) { r.Reservation = "c1" }), retry("executed", 20)}, "adjusted", 6, 0, 2, 0},
		"refused after its intent":         {[]audit.Record{intent(), denial(0)}, "denied", 0, 0, 0, 0},
		"refused":                          {[]audit.Record{denial(0), denial(40)}, "denied", 0, 0, 0, 0},
		"found out later and nothing else": {[]audit.Record{said(audit.Reconciled, "executed", usd(9), nil)}, "unknown", 0, 0, 0, 0},
		"retried":                          {[]audit.Record{intent(), done(20), retry("executed", 20)}, "executed", 20, 0, 2, 0},
		"resolved under another name":      {[]audit.Record{intent(), done(20), retry("executed", 20), but(said(audit.Control, "adjusted", usd(6), nil), func(r *audit.Record) { r.CallID, r.Reservation = "", "c1" })}, "adjusted", 6, 0, 2, 0},
		"retried while in doubt":           {[]audit.Record{intent(), doubt(nil), retry("executed", 8)}, "executed", 8, 0, 2, 0},
		"a retry that was refused":         {[]audit.Record{intent(), doubt(nil), retry("not_executed", 0)}, "in_doubt", 0, 20, 2, 2},
		"a retry in doubt":                 {[]audit.Record{intent(), done(20), retry("in_doubt", 0)}, "executed", 20, 0, 2, 0},
		"only observed":                    {[]audit.Record{intent(), but(done(20), func(r *audit.Record) { r.Verdict = audit.Observe })}, "executed", 20, 0, 1, 0},
		"a look that it needed":            {[]audit.Record{intent(), done(20), but(done(3), func(r *audit.Record) { r.Probe = true })}, "executed", 20, 0, 1, 0},
		"something else was revoked":       {[]audit.Record{intent(), done(20), but(said(audit.Control, "", nil, nil), func(r *audit.Record) { r.CallID = "" })}, "executed", 20, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w.empty(t)
			w.write(t, tt.records...)
			since, refused := int64(0), int64(0)
			if tt.doubt > 0 {
				since = tt.records[tt.doubt-1].Time.UnixMicro()
			}
			for _, r := range tt.records {
				if r.Kind == audit.Denied {
					refused += max(1, r.Count)
				}
			}
			state := tt.state
			if name == "found out later and nothing else" {
				state = "executed" // what is known of it; it counts for nothing
			}
			want := fmt.Sprintf("%q\n", []string{state, fmt.Sprint(since), fmt.Sprint(refused)})
			if got := w.rows(t, "SELECT state, doubt_since, refusals FROM keybrake_calls WHERE call = 'c1'"); got != want {
				t.Errorf("it is %s, want %s", got, want)
			}
			if got := w.rows(t, "SELECT held FROM keybrake_amounts WHERE meter = 'calls' AND held <> 0"); got != "" {
				t.Errorf("calls are held: %s", got)
			}
			want = fmt.Sprintf("%q\n", []string{fmt.Sprint(tt.actual), fmt.Sprint(tt.held), fmt.Sprint(tt.calls)})
			if got := w.rows(t, `SELECT coalesce(sum(CASE meter WHEN 'charge' THEN actual END), 0), coalesce(sum(CASE meter WHEN 'charge' THEN held END), 0),
				coalesce(sum(CASE meter WHEN 'calls' THEN actual END), 0) FROM keybrake_spend`); got != want {
				t.Errorf("spent, held and calls are %s, want %s", got, want)
			}
		})
	}
}

// panicking is a driver that panics as soon as it is asked for anything.
type panicking struct{}

func (panicking) Connect(context.Context) (driver.Conn, error) { return panickingConn{}, nil }
func (panicking) Driver() driver.Driver                        { return nil }

type panickingConn struct{}

func (panickingConn) Prepare(string) (driver.Stmt, error) { panic("secret") }
func (panickingConn) Close() error                        { return nil }
func (panickingConn) Begin() (driver.Tx, error)           { panic("secret") }
func (panickingConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	panic("secret")
}

func TestADriverThatPanicsIsAnError(t *testing.T) {
	db := sql.OpenDB(panicking{})
	defer func() { _ = db.Close() }()
	s := sqlaudit.New(db, sqlaudit.PostgreSQL, nil)
	for range 3 {
		if err := s.Write(t.Context(), executed("e1", "c1", 1)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
}
