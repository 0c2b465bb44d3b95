package queries_test

import (
	"database/sql"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keybrake/keybrake-go/audit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit"
	"github.com/keybrake/keybrake-go/audit/sqlaudit/queries"
	"github.com/keybrake/keybrake-go/internal/auditgen"
)

// A question is asked with some arguments, and the oracle knows the answer.
type question struct {
	name   string
	args   queries.Args
	answer []row
	has    row // a row of the answer, or the beginning of one, that is known without the oracle
}

// questions ask each query, some of them more than once.
func questions(o *oracle) (list []question) {
	until := o.world.Until
	month, week := time.Date(until.Year(), until.Month(), 1, 0, 0, 0, 0, time.UTC), until.AddDate(0, 0, -7)
	for _, span := range [][2]time.Time{{o.world.Start, until}, {month, until}, {until.AddDate(0, 0, -5), until.AddDate(0, 0, -4)}} {
		from, until := span[0], span[1]
		args := queries.Args{"tenant": auditgen.LoopTenant, "from_day": from, "until_day": until}
		mine := func(s *spend) bool { return s.tenant == auditgen.LoopTenant && s.between(from, until) }
		runs := by(rowsOf(o.sums(func(s *spend) string { return s.run }, mine)), -4, -5)
		loop := columns(auditgen.LoopRun, "outflow", "USD", auditgen.LoopCost, 0)
		list = append(list,
			question{"cost_per_run", with(args, "most", 1_000_000), runs, loop},
			question{"cost_per_run", with(args, "most", 3), runs[:min(3, len(runs))], nil},
			question{"cost_per_agent", args, rowsOf(o.sums(func(s *spend) string { return s.agent }, mine)), nil},
			question{"cost_per_day_and_vendor", args, rowsOf(o.sums(func(s *spend) string { return day(s.began) + "|" + s.vendor }, mine)), nil},
			question{
				"cost_per_tenant", queries.Args{"from_day": from, "until_day": until},
				rowsOf(o.sums(func(s *spend) string { return s.tenant }, func(s *spend) bool { return s.between(from, until) })), nil,
			},
		)
		if refused := o.denials(auditgen.LoopTenant, from, until); len(refused) > 0 {
			list = append(list, question{"denials_by_rule", args, refused, nil})
		}
	}
	for _, run := range o.runsWorthTelling() {
		args := queries.Args{"tenant": run[0], "run": run[1]}
		of := func(s *spend) bool { return s.tenant == run[0] && s.run == run[1] }
		list = append(list, question{"what_run_did", args, o.story(run[0], run[1]), nil})
		if run[1] != auditgen.StormRun { // which has cost nothing
			list = append(list, question{"cost_of_run", args, rowsOf(o.sums(func(s *spend) string { return s.operation }, of)), nil})
		}
	}
	figured, figuredUntil := o.figured()
	now := queries.Args{"open_since": until.Add(-time.Hour)}
	stormed := columns("param_denied", o.policyOf(auditgen.StormRun), "", auditgen.StormRule, "amount", "", "stripe.refunds.create", auditgen.StormCount, 1)
	return append(list,
		question{"denials_by_rule", queries.Args{"tenant": auditgen.StormTenant, "from_day": month, "until_day": until}, o.denials(auditgen.StormTenant, month, until), stormed},
		question{"in_doubt", now, o.doubts(), nil},
		question{"in_doubt_sum", now, o.doubtSums(), columns(auditgen.DoubtTenant, "outflow", "USD", auditgen.Doubts, auditgen.DoubtSum)},
		o.doubtsOnRecord(),
		question{"near_budgets", queries.Args{"since": month}, o.near(month), columns(auditgen.NearTenant, "", "", "", auditgen.NearBudget, "spend", "USD")},
		question{
			"runs_out_of_line",
			queries.Args{"tenant": auditgen.LoopTenant, "label": auditgen.LoopLabel, "history": o.world.Start, "from": week, "until": until, "times": 5, "least": 5},
			o.outOfLine(auditgen.LoopTenant, auditgen.LoopLabel, o.world.Start, week, until, 5, 5), columns(auditgen.LoopRun, "outflow", "USD", auditgen.LoopCost),
		},
		question{"near_budgets", queries.Args{"since": o.world.Start}, o.near(o.world.Start), nil},
		question{
			"runs_out_of_line",
			queries.Args{"tenant": auditgen.LoopTenant, "label": auditgen.LoopLabel, "history": month.AddDate(0, -1, 0), "from": month, "until": until, "times": 1, "least": 2},
			o.outOfLine(auditgen.LoopTenant, auditgen.LoopLabel, month.AddDate(0, -1, 0), month, until, 1, 2), nil,
		},
		question{
			"spend_against_vendor", queries.Args{"from_day": figured, "until_day": figuredUntil},
			o.againstVendor(), columns(day(o.world.MissingDay()), auditgen.MissingVendor, auditgen.MissingVendor, "fee", "USD"),
		},
		o.projection("acme", month, until.AddDate(0, 0, -12), until.AddDate(0, 0, -5), 12),
		o.projection("acme", month, until.AddDate(0, 0, -5), until, 7),
		o.projection("acme", until, until.AddDate(0, 0, -7), until, 30), // of a month that has just begun
	)
}

func (o *oracle) projection(tenant string, month, week, today time.Time, left int) question {
	args := queries.Args{"tenant": tenant, "month_day": month, "week_day": week, "today_day": today, "left": left}
	return question{"projected_month", args, o.projected(tenant, month, week, today, int64(left)), nil}
}

// doubtsOnRecord asks for the doubts without the calls whose processes have ended.
func (o *oracle) doubtsOnRecord() question {
	n, held := 0, int64(0)
	for _, s := range o.byID {
		if s.outcome == audit.OutcomeInDoubt {
			n, held = n+1, held+s.held[0].Amount
		}
	}
	answer := o.doubtSums()
	answer[0][3], answer[0][4] = fmt.Sprint(n), fmt.Sprint(held)
	return question{"in_doubt_sum", queries.Args{"open_since": 0}, answer, columns(auditgen.DoubtTenant, "outflow", "USD", auditgen.Doubts-auditgen.DoubtsUnsaid)}
}

func with(args queries.Args, name string, value any) queries.Args {
	out := queries.Args{name: value}
	for k, v := range args {
		out[k] = v
	}
	return out
}

// Every query, as docs/audit.md prints it, answers in both databases what the records alone say.
func TestAnswersAreRight(t *testing.T) {
	list := questions(known())
	for _, q := range queries.All() {
		if !slices.ContainsFunc(list, func(asked question) bool { return asked.name == q.Name }) {
			t.Errorf("%s is not asked", q.Name)
		}
	}
	each(t, func(t *testing.T, db *sql.DB, _ sqlaudit.Dialect) {
		for _, q := range list {
			got := ask(t, db, q.name, q.args)
			if len(q.answer) == 0 {
				t.Errorf("%s %v: the answer is empty, which shows nothing", q.name, q.args)
			}
			for i := range max(len(got), len(q.answer)) {
				switch {
				case i >= len(got):
					t.Errorf("%s %v: row %d of %d is missing: %v", q.name, q.args, i, len(q.answer), q.answer[i])
				case i >= len(q.answer):
					t.Errorf("%s %v: a row too many: %v", q.name, q.args, got[i])
				case !slices.Equal(got[i], q.answer[i]):
					t.Errorf("%s %v: row %d is\n%v, not\n%v", q.name, q.args, i, got[i], q.answer[i])
				default:
					continue
				}
				break
			}
			if q.has != nil && !slices.ContainsFunc(got, func(r row) bool { return len(r) >= len(q.has) && slices.Equal(r[:len(q.has)], q.has) }) {
				t.Errorf("%s %v: there is no row %v", q.name, q.args, q.has)
			}
		}
	})
}

var sqlBlock = regexp.MustCompile("(?s)\n### `([a-z_]+)`\n.*?```sql\n(.*?)```")

// printed are the queries as docs/audit.md prints them, by name.
func printed(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/audit.md")
	must(t, err)
	out := map[string]string{}
	for _, m := range sqlBlock.FindAllStringSubmatch(string(page), -1) {
		out[m[1]] = m[2]
	}
	return out
}

// The page prints each query whole, and the files are what it prints. With UPDATE_AUDIT_MD set, it is written.
func TestThePagePrintsTheFiles(t *testing.T) {
	if os.Getenv("UPDATE_AUDIT_MD") != "" {
		update(t)
	}
	page := printed(t)
	for _, q := range queries.All() {
		if page[q.Name] != q.SQL {
			t.Errorf("docs/audit.md does not print %s as it is; run UPDATE_AUDIT_MD=1 go test -run %s .", q.Name, t.Name())
		}
		delete(page, q.Name)
	}
	for name := range page {
		t.Errorf("docs/audit.md prints %s, which is no query", name)
	}
}

const pageStart, pageEnd = "<!-- questions: made by a test from audit/sqlaudit/queries -->\n", "<!-- /questions -->"

func update(t *testing.T) {
	text, err := os.ReadFile("../../../docs/audit.md")
	must(t, err)
	before, rest, ok := strings.Cut(string(text), pageStart)
	_, after, ok2 := strings.Cut(rest, pageEnd)
	if !ok || !ok2 {
		t.Fatal("docs/audit.md has no place for the questions")
	}
	var b strings.Builder
	for _, q := range queries.All() {
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n```sql\n%s```\n", q.Name, q.Question, q.SQL)
	}
	must(t, os.WriteFile("../../../docs/audit.md", []byte(before+pageStart+b.String()+"\n"+pageEnd+after), 0o644))
}

// A query says what it answers and what each of its parameters is, and uses each of them.
// The README shows the query of one run's cost.
func TestTheReadmeShowsTheCostOfARun(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	must(t, err)
	q, _ := queries.Find("cost_of_run")
	_, statement, _ := strings.Cut(q.SQL, "-- $2 run\n")
	if statement == "" || !strings.Contains(string(readme), "```sql\n"+statement+"```") {
		t.Errorf("the README does not show\n%s", statement)
	}
}

func TestQueriesSayWhatTheyTake(t *testing.T) {
	for _, q := range queries.All() {
		if len(q.Question) < 20 || !strings.HasSuffix(q.Question, "?") {
			t.Errorf("%s asks %q", q.Name, q.Question)
		}
		for i := range len(q.Params) + 1 {
			number := fmt.Sprintf("$%d", i+1)
			described := strings.Contains(q.SQL, "\n-- "+number+" "+at(q.Params, i))
			_, body, _ := strings.Cut(q.SQL[strings.LastIndex(q.SQL, "\n-- ")+1:], "\n")
			used := strings.Contains(body, number)
			if want := i < len(q.Params); described != want || used != want {
				t.Errorf("%s: %s is described: %t, used: %t", q.Name, number, described, used)
			}
		}
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

func TestArgumentsAreAllOfThemAndNoOthers(t *testing.T) {
	q, _ := queries.Find("cost_of_run")
	for _, args := range []queries.Args{nil, {"tenant": "acme"}, {"tenant": "acme", "run": "r", "Run": "r"}} {
		if _, err := q.Values(args); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	if _, err := queries.Run(t.Context(), nil, "cost", nil); err == nil {
		t.Error("a query that is not there runs")
	}
	at := time.Date(2026, 11, 24, 1, 0, 0, 7000, time.FixedZone("", 2*3600))
	p, _ := queries.Find("cost_per_tenant")
	values, err := p.Values(queries.Args{"until_day": at, "from_day": "2026-11-01"})
	if err != nil || values[0] != "2026-11-01" || values[1] != "2026-11-23" {
		t.Errorf("days are given as %v, %v", values, err)
	}
	d, _ := queries.Find("in_doubt")
	if values, err := d.Values(queries.Args{"open_since": at}); err != nil || values[0] != at.UnixMicro() {
		t.Errorf("a time is given as %v, %v", values, err)
	}
}
